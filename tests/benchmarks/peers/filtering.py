"""The contenders of `tests/benchmarks/filter.py`: the same predicates and exact duplicates, each its way.

    python filtering.py NAME IN.jsonl OUT.jsonl

Kept is what did not fail (`status`), has an answer (`prediction`) and at most 12 turns; of the same task,
answer and calls the first. Exits with 3 where the library is not installed. Nothing of ours is imported.
"""

from __future__ import annotations

import hashlib
import sys
import tempfile
from typing import Any, BinaryIO

MOST = 12


def digest(*parts: bytes) -> bytes:
    return hashlib.blake2b(b"\0".join(parts), digest_size=16).digest()


def with_orjson(source: BinaryIO, out: BinaryIO) -> None:
    """The loop that everybody writes; the line is passed through."""
    import orjson

    seen: set[bytes] = set()
    for line in source:
        record = orjson.loads(line)
        turns = record["turns"]
        if record.get("status") == "invalid" or not (record["prediction"] or "").strip() or len(turns) > MOST:
            continue
        calls = [[turn["phase"], turn["calls"]] for turn in turns]
        key = digest(orjson.dumps([record["task"]["id"], record["prediction"], calls]))
        if key not in seen:
            seen.add(key)
            out.write(line)


def with_json(source: BinaryIO, out: BinaryIO) -> None:
    import json

    seen: set[bytes] = set()
    for line in source:
        record = json.loads(line)
        turns = record["turns"]
        if record.get("status") == "invalid" or not (record["prediction"] or "").strip() or len(turns) > MOST:
            continue
        calls = [[turn["phase"], turn["calls"]] for turn in turns]
        key = digest(json.dumps([record["task"]["id"], record["prediction"], calls]).encode())
        if key not in seen:
            seen.add(key)
            out.write(line)


def with_msgspec(source: BinaryIO, out: BinaryIO) -> None:
    """Only the fields that are asked for are decoded; calls stay bytes."""
    import msgspec

    turn = msgspec.defstruct("Turn", [("phase", str), ("calls", msgspec.Raw)])
    task = msgspec.defstruct("Task", [("id", str)])
    fields: Any = [("task", task), ("prediction", str | None), ("turns", list[turn]), ("status", str, "ok")]
    decode = msgspec.json.Decoder(msgspec.defstruct("Trajectory", fields)).decode
    seen: set[bytes] = set()
    for line in source:
        record = decode(line)
        if record.status == "invalid" or not (record.prediction or "").strip() or len(record.turns) > MOST:
            continue
        calls = [part for turn in record.turns for part in (turn.phase.encode(), bytes(turn.calls))]
        key = digest(record.task.id.encode(), (record.prediction or "").encode(), *calls)
        if key not in seen:
            seen.add(key)
            out.write(line)


def with_pysimdjson(source: BinaryIO, out: BinaryIO) -> None:
    """Lazy: what is not asked for is not made."""
    import simdjson

    parser = simdjson.Parser()
    seen: set[bytes] = set()
    for line in source:
        record = parser.parse(line)
        turns = record["turns"]
        prediction = record["prediction"]
        if record["status"] != "invalid" and (prediction or "").strip() and len(turns) <= MOST:
            key = digest(record["task"]["id"].encode(), prediction.encode(), turns.mini)
            if key not in seen:
                seen.add(key)
                out.write(line)
        del record, turns  # a parser has one document


def with_polars(source: BinaryIO, out: BinaryIO) -> None:
    """Lines as a column of text, decoded as far as it is asked for; calls differ in their fields: as text."""
    import polars as pl

    fields = {
        "status": pl.String,
        "prediction": pl.String,
        "task": pl.Struct({"id": pl.String}),
        "turns": pl.List(pl.Struct({"phase": pl.String})),
    }
    lines = pl.read_csv(
        source.name, has_header=False, separator="\x01", quote_char=None, new_columns=["line"]
    )
    kept = (
        lines.with_columns(pl.col("line").str.json_decode(pl.Struct(fields)).alias("r"))
        .unnest("r")
        .filter(
            (pl.col("status") != "invalid")
            & (pl.col("prediction").fill_null("").str.strip_chars() != "")
            & (pl.col("turns").list.len() <= MOST)
        )
        .with_columns(
            pl.col("task").struct.field("id"),
            pl.col("line").str.json_path_match("$.turns").hash().alias("calls"),
        )
        .unique(["id", "prediction", "calls"], keep="first", maintain_order=True)
    )
    kept.select("line").write_csv(out.name, include_header=False, separator="\x01", quote_style="never")


def with_duckdb(source: BinaryIO, out: BinaryIO) -> None:
    import duckdb

    duckdb.sql("SET threads = 1")
    duckdb.sql(
        f"""
        COPY (
            SELECT json FROM (
                SELECT json, row_number() OVER () AS n, json->>'$.task.id' AS task,
                       json->>'$.prediction' AS answer, md5(json->'$.turns') AS calls
                FROM read_json_objects('{source.name}', format = 'newline_delimited')
                WHERE json->>'$.status' <> 'invalid' AND trim(coalesce(json->>'$.prediction', '')) <> ''
                  AND json_array_length(json, '$.turns') <= {MOST}
            )
            QUALIFY row_number() OVER (PARTITION BY task, answer, calls ORDER BY n) = 1 ORDER BY n
        ) TO '{out.name}' (FORMAT csv, HEADER false, QUOTE '', ESCAPE '', DELIMITER '\x01')
        """
    )


def with_datatrove(source: BinaryIO, out: BinaryIO) -> None:
    """Its reader, filter and writer as one local task."""
    import json
    import os
    from pathlib import Path

    from datatrove.executor import LocalPipelineExecutor
    from datatrove.pipeline.filters import LambdaFilter
    from datatrove.pipeline.readers import JsonlReader
    from datatrove.pipeline.writers import JsonlWriter

    seen: set[bytes] = set()

    def read(_: Any, record: dict[str, Any], path: str, index: int) -> dict[str, Any]:
        return {"text": "trajectory", "id": record["id"], "metadata": record}

    def keep(document: Any) -> bool:
        record = document.metadata
        turns = record["turns"]
        if record.get("status") == "invalid" or not (record["prediction"] or "").strip() or len(turns) > MOST:
            return False
        calls = [[turn["phase"], turn["calls"]] for turn in turns]
        key = digest(json.dumps([record["task"]["id"], record["prediction"], calls]).encode())
        new = key not in seen
        seen.add(key)
        return new

    path, target = Path(source.name), Path(out.name)
    with tempfile.TemporaryDirectory(dir=target.parent) as folder:
        reader = JsonlReader(str(path.parent), glob_pattern=path.name, adapter=read, compression=None)
        writer = JsonlWriter(
            folder, "${rank}.jsonl", compression=None, adapter=lambda self, document: document.metadata
        )
        pipeline = [reader, LambdaFilter(keep), writer]
        LocalPipelineExecutor(pipeline, tasks=1, logging_dir=f"{folder}/logs").run()
        os.replace(f"{folder}/00000.jsonl", target)


def with_datasets(source: BinaryIO, out: BinaryIO) -> None:
    """Rows of text, read in the filter: its JSON reader types every field, which takes far longer."""
    import json

    import datasets

    seen: set[bytes] = set()

    def keep(line: str) -> bool:
        record = json.loads(line)
        turns = record["turns"]
        if record.get("status") == "invalid" or not (record["prediction"] or "").strip() or len(turns) > MOST:
            return False
        calls = [[turn["phase"], turn["calls"]] for turn in turns]
        key = digest(json.dumps([record["task"]["id"], record["prediction"], calls]).encode())
        new = key not in seen
        seen.add(key)
        return new

    datasets.disable_progress_bars()
    with tempfile.TemporaryDirectory() as folder:
        rows = datasets.load_dataset("text", data_files=source.name, split="train", cache_dir=folder)
        for batch in rows.filter(keep, input_columns="text").iter(1000):
            for line in batch["text"]:
                out.write(line.encode() + b"\n")


def main(name: str, source: str, out: str) -> None:
    with open(source, "rb") as lines, open(out, "wb") as kept:
        globals()[f"with_{name}"](lines, kept)


if __name__ == "__main__":
    try:
        main(*sys.argv[1:])
    except ImportError as error:
        print(error, file=sys.stderr)
        raise SystemExit(3) from None
