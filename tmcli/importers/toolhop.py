"""ToolHop (arXiv 2501.02506): a JSON array of questions, each with the tools of its hops and their Python.

    {"id": 0, "question": ..., "answer": ..., "sub_task": {sub-question: sub-answer},
     "tools": {sub-question: schema}, "functions": [source], "domain": ..., "answer_type": ...}

An answer is right when it contains the gold (`contains`), in lower case and without commas. Of ToolHop's own
scorer these ways are not kept: to look into the last tool reply as well; to strip every zero and dot off the
ends of gold and answer, so that any text with a 1 answers `100` (here only a final `.0` of a gold goes); and
to miss a gold that has a comma. A sub-answer is a sub-goal of the tool of its sub-question.

The papers ask in three scenarios: `free` (the default), `mandatory` (`--from toolhop:mandatory`: the question
demands that tools be called) and `direct` (no tools at all). The tag `scenario` says which. FTRL's scorer,
which `tm eval` follows for `toolhop`, takes the gold as it stands in the file: where it differs from the
`answer`, it is the record's `ground_truth`.

JSON lines of such rows are read as well. An array is held in memory while it is read (ToolHop's: 20 MB).
"""

from __future__ import annotations

import ast
import re
import warnings
from collections.abc import Iterator
from itertools import chain
from pathlib import Path
from typing import Any

import orjson

from tmcli import streams
from tmcli.errors import InputError
from tmcli.records import Task, from_json, new_task, to_json

SCENARIOS = ("free", "mandatory", "direct")
DEMAND = "\n\nYou must call a tool at every step: do not use your own knowledge."
"""What FTRL's scorer asks for in the scenario `mandatory`, in our words."""


def read(path: str, scenario: str = SCENARIOS[0]) -> Iterator[Task]:
    """The tasks of a file, or of stdin (`-`)."""
    source = streams.open_source(path)

    def tasks() -> Iterator[Task]:
        try:
            for number, row in _rows(source):
                try:
                    yield _task(row, Path(source.name).name, number, scenario)
                except InputError as error:
                    raise error.at(source.name, number) from error
        finally:
            source.close()

    return tasks()


def _rows(source: streams.Source) -> Iterator[tuple[int, Any]]:
    """(row number from 1, row) of an array, or of lines."""
    lines = streams.lines(source)
    first = next((line for line in lines if line.strip()), b"")
    if not first.lstrip().startswith(b"["):
        for number, line in enumerate(chain([first], lines), 1):
            if line.strip():
                yield number, _json(line, source.name, number)
        return
    rows = _json(first + b"".join(lines), source.name, 1)
    yield from enumerate(rows, 1)


def _json(data: bytes, name: str, number: int) -> Any:
    try:
        return orjson.loads(data)
    except orjson.JSONDecodeError as error:
        raise InputError(f"not JSON: {error.msg}", "get the file again", source=name, line=number) from error


def _task(row: Any, file: str, number: int, scenario: str) -> Task:
    tools = _part(row, "tools", dict) if scenario != "direct" else {}
    sources = _part(row, "functions", list)
    # the same tool may serve two sub-questions: it is shown once, as it stands last
    schemas = {_named(schema, f"tools.{asked}"): schema for asked, schema in tools.items()}
    answers = _part(row, "sub_task", dict)
    subgoals: dict[str, list[str]] = {}
    for asked, answer in answers.items():
        if asked in tools:
            subgoals.setdefault(tools[asked]["name"], []).append(_gold(answer))
    gold = _gold(row.get("answer"))
    raw = str(row["answer"])
    asked = _part(row, "question", str) + (DEMAND if scenario == "mandatory" else "")
    task = new_task(
        messages=[{"role": "user", "content": asked}],
        tools=[{"type": "function", "function": schema} for schema in schemas.values()],
        env={"kind": "python", "codes": {name: _source(name, sources) for name in schemas}},
        answer=[gold],
        check="contains",
        subgoals=subgoals or None,
        tags={
            "dataset": "toolhop",
            "scenario": scenario,
            **({"answer_type": kind} if isinstance(kind := row.get("answer_type"), str) else {}),
            **({"domain": domain.lower()} if isinstance(domain := row.get("domain"), str) else {}),
            "hops": len(answers),
            "drift": [],
        },
        source=f"toolhop:{file}:{row.get('id', number)}",
        extra={"ground_truth": [raw]} if raw != gold else {},
    )
    from_json(to_json(task))  # other people's data: every field is checked
    return task


def _part(row: Any, name: str, kind: type) -> Any:
    if not isinstance(row, dict):
        raise InputError("a row that is not an object", "this import needs ToolHop's JSON")
    if not isinstance(row.get(name), kind):
        due = "an object" if kind is dict else "an array" if kind is list else "a text"
        raise InputError(f"not {due}", "correct or drop the row", field=name)
    return row[name]


def _named(schema: Any, field: str) -> str:
    name = schema.get("name") if isinstance(schema, dict) else None
    if not isinstance(name, str):
        raise InputError("a tool without a name", "correct or drop the row", field=field)
    return name


def _gold(answer: Any) -> str:
    """A gold as text, without the `.0` of a whole number."""
    if not isinstance(answer, (str, int, float)) or isinstance(answer, bool):
        raise InputError("an answer that is no text", "correct or drop the row", field="answer")
    return re.sub(r"\A(-?\d+)\.0+\Z", r"\1", str(answer).strip())


def _source(name: str, sources: list[Any]) -> str:
    """The last source that defines a function of this name, as ToolHop runs them; an empty one (the tool is
    not defined, which a call tells) where there is none."""
    for source in reversed(sources):
        if isinstance(source, str) and name in _defined(source):
            return source
    return ""


def _defined(source: str) -> list[str]:
    try:
        with warnings.catch_warnings():  # the compiler warns about other people's escapes
            warnings.simplefilter("ignore")
            body = ast.parse(source).body
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return re.findall(r"^def\s+(\w+)", source, re.MULTILINE)  # it cannot run: a call tells why
    return [part.name for part in body if isinstance(part, ast.FunctionDef)]
