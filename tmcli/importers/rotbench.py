"""RoTBench (arXiv 2401.08326): one next call, with tools whose names were disturbed, as a JSON array.

    [{"id": ..., "scenario": "TG", "conversations": [
        {"from": "system", "value": "... following tools:\\n[{\"name\": ...}]\\n\\nLet's Begin!"},
        {"from": "user", "value": "...\\nBegin!\\n"},
        {"from": "assistant", "value": "Thought:\\nAction: NAME\\nAction Input: {...}"},
        {"from": "function", "value": ...},
        {"from": "assistant", "value": ["Thought: ...\\nAction: NAME\\nAction Input: {...}", ...]}]}]

The last turn is the accepted next calls, the record's `ground_truth`. Those before it (files of the third
turn) are part of the question, as native calls. Its prompt stays out, with its form of Thought and Action.
The last tool ends the task and the last but one asks the user, whatever they are named: `ends` and `asks`
say it, for RoTBench's rule (`score/benchmarks/rotbench.py`). Nothing is run (`{"kind": "simulate"}`).
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import orjson

from tmcli import streams
from tmcli.errors import InputError
from tmcli.records import Json, Task, from_json, new_task, to_json

_END = "\n\nLet's Begin!"
_FIX = "get the file again: Data/First_Turn/clean.json of RoTBench, say"


def read(path: str) -> Iterator[Task]:
    """The tasks of a file, or of stdin (`-`)."""
    source = streams.open_source(path)
    try:
        rows = orjson.loads(b"".join(streams.lines(source)))
    except orjson.JSONDecodeError as error:
        raise InputError(f"not JSON: {error}", _FIX, source=source.name) from error
    finally:
        source.close()
    if not isinstance(rows, list):
        raise InputError("no JSON array of questions", _FIX, source=source.name)

    def tasks() -> Iterator[Task]:
        for number, row in enumerate(rows, 1):
            try:
                yield _task(row, Path(source.name), number)
            except InputError as error:
                raise error.at(source.name, number) from error

    return tasks()


def _task(row: Any, file: Path, number: int) -> Task:
    try:
        head, *turns, last = row["conversations"]
        tools = orjson.loads(head["value"][head["value"].index("[") : -len(_END)])
        golds = [_call(text) for text in last["value"]]
        messages = [_message(turn, i) for i, turn in enumerate(turns)]
        names = [tool["name"] for tool in tools]
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise InputError(f"no conversation of RoTBench: {error!r}", _FIX, field="conversations") from error
    task = new_task(
        messages=messages,
        tools=[{"type": "function", "function": tool} for tool in tools],
        env={"kind": "simulate"},
        answer=[],
        check="judge",
        tags={
            "dataset": "rotbench",
            "noise": file.stem,
            "turn": (len(turns) + 1) // 2,
            "scenario": row.get("scenario"),
            "drift": [],
        },
        source=f"rotbench:{file.name}:{number}",
        extra={"ground_truth": golds, "ends": names[-1], "asks": names[-2] if len(names) > 1 else ""},
    )
    from_json(to_json(task))  # other people's data: every field is checked
    return task


def _call(text: str) -> Json:
    """The name and arguments of a turn in the form of Thought and Action.

    >>> _call('Thought:\\nAction: find\\nAction Input: {"a": 1}')
    {'name': 'find', 'arguments': {'a': 1}}
    """
    said, _, given = text.partition("Action Input:")
    return {"name": said.partition("Action:")[2].strip(), "arguments": orjson.loads(given)}


def _message(turn: Json, i: int) -> Json:
    text = turn["value"]
    if turn["from"] == "user":
        return {"role": "user", "content": text.removesuffix("\nBegin!\n")}
    if turn["from"] == "function":
        return {"role": "tool", "tool_call_id": f"before_{i - 1}", "content": text}
    call = {"id": f"before_{i}", "type": "function", "function": _call(text)}
    return {"role": "assistant", "content": "", "tool_calls": [call]}
