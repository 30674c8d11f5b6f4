"""FTRL (arXiv 2508.08791): Parquet, each row with its tools, their Python, gold sub-answers and an answer.

The answer is right when every piece of it is found in what was said (`contains`), FTRL's own rule.
"""

from __future__ import annotations

import re
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

import orjson

from tmcli import streams
from tmcli.errors import InputError
from tmcli.records import Json, Task, from_json, new_task, to_json

COLUMNS = ("messages", "tools", "codes", "unsolved_set", "answer")
_PROMPT = re.compile(r"\APlease call given tools.*?\nQuestion: ", re.DOTALL)


def read(path: str) -> Iterator[Task]:
    """The tasks of a file, or of stdin (`-`)."""
    source = streams.open_source(path)

    def tasks() -> Iterator[Task]:
        try:
            for number, row in _rows(source, COLUMNS, "data_source"):
                try:
                    yield _task(row, Path(source.name).name, number)
                except InputError as error:
                    raise error.at(source.name, number) from error
        finally:
            source.close()

    return tasks()


def _task(row: Json, file: str, number: int) -> Task:
    golds = _parsed(row, "unsolved_set", dict)
    category = str(row.get("data_source") or "").rpartition("/")[2]
    asked = [turn.get("content") or "" for turn in row["messages"] or [] if turn.get("role") == "user"]
    if not asked:
        raise InputError("no user turn", "drop the row", field="messages")
    task = new_task(
        messages=[{"role": "user", "content": _PROMPT.sub("", text)} for text in asked],
        tools=_parsed(row, "tools", list),
        env={"kind": "python", "codes": _parsed(row, "codes", dict)},
        answer=[row["answer"]],
        check="contains",
        subgoals=golds,
        tags={
            "dataset": "ftrl",
            **({"category": category} if category else {}),
            "hops": sum(map(len, golds.values())),
            "drift": [],
        },
        source=f"ftrl:{file}:{number}",
    )
    from_json(to_json(task))  # other people's data: every field is checked
    return task


def _parsed(row: Json, column: str, kind: type) -> Any:
    try:
        value = orjson.loads(row[column])
    except (orjson.JSONDecodeError, TypeError) as error:
        raise InputError(f"not JSON text: {error}", "correct or drop the row", field=column) from error
    if not isinstance(value, kind):
        due = "an object" if kind is dict else "an array"
        raise InputError(f"JSON text that is not {due}", "correct or drop the row", field=column)
    return value


def _rows(source: streams.Source, columns: tuple[str, ...], *optional: str) -> Iterator[tuple[int, Json]]:
    """(row number from 1, its columns) of a Parquet file that is not ours."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    with tempfile.TemporaryFile() as spool:
        file: IO[bytes] | Any = source.file
        try:
            if not file.seekable():
                shutil.copyfileobj(file, spool, 1 << 20)
                file = spool
            parquet = pq.ParquetFile(file, pre_buffer=False)
            names = parquet.schema_arrow.names
            for column in columns:
                if column not in names:
                    remedy = f"this import needs the columns {', '.join(columns)}"
                    raise InputError(f"the file has no column {column!r}", remedy, source=source.name)
            wanted = [*columns, *(name for name in optional if name in names)]
            number = 0
            for batch in parquet.iter_batches(batch_size=16, columns=wanted, use_threads=False):
                for row in batch.to_pylist():
                    number += 1
                    yield number, row
        except (pa.ArrowException, OSError) as error:
            problem = f"not a Parquet file, or a damaged one: {str(error).splitlines()[0]}"
            raise InputError(problem, "get the file again", source=source.name) from error
