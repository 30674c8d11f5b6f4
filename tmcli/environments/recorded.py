"""What a line tells that can be replayed, a recording or a trajectory: whose episode it is, and what the
episode's calls brought. `recording.py` says what a recording looks like.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import orjson

from tmcli.environments.recording import KIND
from tmcli.errors import InputError
from tmcli.records import VERSION, Json, Trajectory, expect, from_json

NOT_MADE = '{"error":"too many calls in one turn'
"""How a trajectory tells of calls that no tool was asked."""

Answer = tuple[bool, str] | str
"""(ok, text), or the failure that ended the episode."""


def whose(line: bytes, path: str, number: int) -> tuple[str, int | None]:
    """(task, sample) of a line that can be replayed, else `InputError` with its place."""
    try:
        value = orjson.loads(line)
        kind = value.get("kind") if isinstance(value, dict) else None
        if kind == Trajectory.kind:
            played = expect(from_json(value), Trajectory)
            number_of = played.id.rpartition("#")[2]
            return str(played.task.get("id")), int(number_of) if number_of.isdecimal() else None
        if kind != KIND:
            due = "a recording or a trajectory is due"
            remedy = "tm synth, rollout and rl --record FILE make recordings"
            raise InputError(f"a line of kind {kind!r} where {due}", remedy, field="kind")
        if value.get("v") != VERSION:
            raise InputError(f"version {value.get('v')!r} is not {VERSION}", "record again", field="v")
        of, nth = value.get("task"), value.get("sample")
        if not isinstance(of, str) or not isinstance(nth, int | None):
            raise InputError("no task id with the number of a sample", "record again", field="task")
        if not isinstance(value.get("calls"), list):
            raise InputError("no array of calls", "record again", field="calls")
        list(calls(value))
    except orjson.JSONDecodeError as error:
        problem = f"not JSON: {error.msg}"
        raise InputError(problem, "record again", source=path, line=number) from error
    except InputError as error:
        raise error.at(path, number) from error
    return of, nth


def calls(value: Json) -> Iterator[tuple[str, Json, Answer]]:
    """(name, arguments, answer) of a recording's or a trajectory's calls, in their order."""
    if value["kind"] == Trajectory.kind:
        yield from _calls_of_trajectory(value)
        return
    for i, made in enumerate(value["calls"]):
        try:
            answer = made["failure"] if "failure" in made else (bool(made["ok"]), made["text"])
            if not isinstance(made["name"], str) or not isinstance(made["arguments"], dict):
                raise TypeError
            if not isinstance(answer if isinstance(answer, str) else answer[1], str):
                raise TypeError
        except (KeyError, TypeError) as error:
            problem = "not a call with name, arguments, ok and text"
            raise InputError(problem, "record again", field=f"calls[{i}]") from error
        yield made["name"], made["arguments"], answer


def _calls_of_trajectory(value: Json) -> Iterator[tuple[str, Json, Answer]]:
    """Replies stand in the messages, whether they were errors in the turns' labels."""
    replies: dict[int, str] = {}
    asked: list[tuple[str, Json, bool | None]] = []
    waiting: dict[Any, int] = {}
    turns: Iterator[Json] = iter(value["turns"])
    for message in value["messages"]:
        if message["role"] == "assistant":
            labels: list[Json] = next(turns, {}).get("calls", [])
            for i, call in enumerate(message.get("tool_calls") or []):
                function = call["function"]
                waiting[call.get("id")] = len(asked)
                asked.append((function["name"], _arguments(function), _was_ok(labels, i)))
        elif message["role"] == "tool" and message.get("tool_call_id") in waiting:
            replies[waiting.pop(message["tool_call_id"])] = message.get("content") or ""
    failure = value.get("failure") if value.get("status") == "invalid" else None
    for i, (name, arguments, ok) in enumerate(asked):
        text = replies.get(i)
        if text is None and failure is not None:
            yield name, arguments, failure
        elif text is not None and not text.startswith(NOT_MADE):
            yield name, arguments, (not text.startswith('{"error"') if ok is None else ok, text)


def _arguments(function: Json) -> Json:
    """An object; other programs write it as JSON text."""
    arguments = function.get("arguments")
    if isinstance(arguments, str):
        try:
            arguments = orjson.loads(arguments)
        except orjson.JSONDecodeError:
            arguments = None
    return arguments if isinstance(arguments, dict) else {}


def _was_ok(labels: list[Json], i: int) -> bool | None:
    ok = labels[i].get("ok") if i < len(labels) else None
    return ok if isinstance(ok, bool) else None
