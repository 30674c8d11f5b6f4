"""Any record as a person reads it.

for line in readable(record): ...       # a trajectory's `transcript`, or what the other kinds hold
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from tmcli.records import AnyRecord, Json, Run, Score, Task, Trajectory
from tmcli.report.transcript import Line, arguments, number, plain, spoken, tags, transcript

DEEPEST = 30
"""Characters that values within values stand in, at most."""


def readable(record: AnyRecord, *, full: bool = True) -> Iterator[Line]:
    """Its lines, an empty one at the end."""
    match record:
        case Trajectory():
            yield from transcript(record, full=full)
            return
        case Task():
            yield from _task(record, full=full)
        case Score():
            yield from _score(record)
        case Run():
            yield from _run(record)
    yield Line("")


def _task(task: Task, *, full: bool) -> Iterator[Line]:
    yield Line(f"== {task.id}  task  {tags(task.tags)}".rstrip(), "head")
    for message in task.messages:
        yield from spoken(message["role"], message.get("content") or "", "user", full=full)
    yield Line("")
    yield Line(f"tools ({task.env['kind']})", "execution")
    for shown in task.tools:
        yield from _tool(shown["function"], full=full)
    yield Line("")
    if task.plan:
        yield Line("plan", "execution")
        for call in task.plan:
            yield Line(f"   -> {call.get('name')}({arguments(call.get('arguments'))})", "call")
        yield Line("")
    for tool, golds in (task.subgoals or {}).items():
        yield from spoken("sub-goal", f"{tool}: {' | '.join(golds)}", "plan", full=full)
    accepted = " | ".join(task.answer) if task.answer else "(nobody knows)"
    yield from spoken(f"accepted ({task.check})", accepted, "right", full=full)


def _tool(function: Json, *, full: bool) -> Iterator[Line]:
    schema = function.get("parameters")
    known = schema if isinstance(schema, dict) else {}
    properties, required = known.get("properties"), known.get("required")
    names = list(properties) if isinstance(properties, dict) else []
    due = required if isinstance(required, list) else []
    told = ", ".join(name if name in due else f"{name}?" for name in names)
    yield Line(f"   {function['name']}({told})", "call")
    if function.get("description"):
        yield from spoken("about", str(function["description"]), "reply", "      ", full=full)


def _score(score: Score) -> Iterator[Line]:
    name = score.policy.get("name", "")
    yield Line(f"== {score.id}  score  {name}  {tags(score.tags)}".rstrip(), "head")
    word = "not judged" if score.correct is None else "right" if score.correct else "wrong"
    part = {"right": "right", "wrong": "wrong"}.get(word, "unknown")
    yield Line(f"{word} (stop: {score.stop}), {score.calls} calls, {score.errors} errors", part)  # type: ignore[arg-type]
    yield Line("  ".join(f"{name} {_value(value)}" for name, value in score.scores.items()), "score")


def _run(run: Run) -> Iterator[Line]:
    where = f" -> {run.output}" if run.output else ""
    yield Line(f"== run of tm {run.step}, {run.seconds:.1f} s{where}", "head")
    for title, values in (
        ("options", run.options),
        ("versions", run.versions),
        ("counts", run.counts),
        ("metrics", run.metrics),
    ):
        if values:
            yield Line(title, "execution")
        for name, value in values.items():
            if value not in (None, "", [], {}):
                yield from _told(name, value, "   ")


def _told(name: str, value: Any, indent: str) -> Iterator[Line]:
    """A name with its value; lists of objects and objects line by line."""
    if isinstance(value, dict) and len(indent) < DEEPEST:
        yield Line(f"{indent}{name}")
        for key, item in value.items():
            yield from _told(key, item, f"{indent}   ")
    elif isinstance(value, list) and any(isinstance(item, dict) for item in value):
        for i, item in enumerate(value, start=1):
            yield from _told(f"{name} {i}", item, indent)
    else:
        yield Line(f"{indent}{name}: {_value(value)}")


def _value(value: Any) -> str:
    if isinstance(value, list):
        return ", ".join(map(_value, value))
    return number(value) if value is None or isinstance(value, float) else plain(value)
