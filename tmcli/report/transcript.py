"""A trajectory as a person reads it: what was tried, what came back, what was learned, what it is worth.

    for line in transcript(trajectory):        # lines with their part, to be coloured: `report/terminal.py`
        print(line.text)
    steps(trajectory)                          # the same, turn by turn, as data

Long texts are folded, unless `full`. Nothing here is safe for a terminal yet: models and tools said it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import Any, Literal, NamedTuple

import orjson

from tmcli.protocol import describe, strip_markup
from tmcli.records import Json, Trajectory
from tmcli.score import Label, Made, judge, labels, made, played, task_in

SAID = {"experience": "learned", "trial": "try", "plan": "plan", "answer": "answer"}
"""What a tag is called here, in the order in which it is told."""

Part = Literal[
    "", "head", "user", "trial", "execution", "invalid", "learned", "try", "plan", "answer", "said", "hint",
    "call", "wasted", "reply", "error", "right", "wrong", "unknown", "score", "same", "differs", "removed",
    "added",
]  # fmt: skip
"""What a line is, for its colour."""

MAX_LINES, MAX_CHARS = 12, 1200
"""Of one text: longer ones are folded."""


class Line(NamedTuple):
    """One line of a text."""

    text: str
    part: Part = ""


class Step(NamedTuple):
    """One turn of the model, with what it brought."""

    number: int
    phase: str
    state: str
    said: list[tuple[str, str]]
    """(learned | try | plan | answer | said, text), in the order in which it is told."""
    calls: list[tuple[Made, Label]]
    hint: str | None = None
    """What it was sent back with, where it was a wrong answer."""


def steps(trajectory: Trajectory) -> list[Step]:
    """The turns that were played."""
    calls = made(trajectory)
    marked = list(zip(calls, labels(calls, trajectory.prediction), strict=True))
    after = {id(said): told for said, told in pairwise(trajectory.messages)}
    out: list[Step] = []
    n = 0
    for number, (turn, message, _) in enumerate(played(trajectory), start=1):
        mine = marked[n : n + len(turn["calls"])]
        n += len(mine)
        hint = (after.get(id(message), {}).get("content") or "") if turn.get("hint") else None
        said = list(_tagged(message.get("content") or ""))
        out.append(Step(number, turn["phase"], turn.get("state", "ok"), said, mine, hint))
    return out


def transcript(trajectory: Trajectory, *, full: bool = True) -> Iterator[Line]:
    """All of it. Scores are judged anew."""
    yield from head(trajectory)
    for message in task_in(trajectory).messages:
        yield from spoken(message["role"], message.get("content") or "", "user", full=full)
    for step in steps(trajectory):
        yield Line("")
        yield from told(step, full=full)
    yield Line("")
    yield from verdict(trajectory)
    yield Line("")


def head(trajectory: Trajectory) -> Iterator[Line]:
    """Which one it is, and who played it."""
    name = trajectory.policy.get("name", "")
    yield Line(f"== {trajectory.id}  {name}  {tags(task_in(trajectory).tags)}".rstrip(), "head")


def told(step: Step, *, full: bool = True) -> Iterator[Line]:
    """One turn."""
    state = "" if step.state == "ok" else f", {step.state}"
    phase: Part = "invalid" if step.state == "invalid" else "trial" if step.phase == "trial" else "execution"
    yield Line(f"{step.number}. {step.phase}{state}", phase)
    for who, text in step.said:
        yield from spoken(who, text, _PARTS.get(who, "said"), "   ", full=full)
    for call, mark in step.calls:
        yield from _called(call, mark, full=full)
    if step.hint is not None:
        yield from spoken("hint", step.hint, "hint", "   ", full=full)


def verdict(trajectory: Trajectory) -> Iterator[Line]:
    """Right or wrong, and the parts of the reward."""
    task, judged = task_in(trajectory), judge(trajectory)
    answer = judged.scores.get("answer")
    word: Part = "unknown" if answer is None else "right" if answer else "wrong"
    due = f"; accepted: {' | '.join(task.answer)}" if task.answer else ""
    said = "not judged" if answer is None else word
    result = f"{said}: {trajectory.prediction or 'no answer'} (stop: {trajectory.stop}){due}"
    yield from (Line(text, word) for text in result.split("\n"))
    if trajectory.failure is not None:
        yield from (Line(text, "error") for text in f"invalid: {trajectory.failure}".split("\n"))
    if judged.scores:
        parts = "  ".join(f"{name} {number(value)}" for name, value in judged.scores.items())
        yield Line(f"reward {number(judged.reward)} = {parts}", "score")


def tags(known: Json) -> str:
    """
    >>> tags({"split": "seen", "drift": ["stale", "wrap"], "hops": None})
    '(split seen, drift stale+wrap)'
    """
    words = [f"{key} {plain(value)}" for key, value in known.items() if value not in ([], None, "")]
    return f"({', '.join(words)})" if words else ""


def spoken(who: str, text: str, part: Part, indent: str = "", *, full: bool = True) -> Iterator[Line]:
    """A text after the word for who says it; the further lines stand in."""
    first, *rest = text.split("\n") if full else folded(text)
    yield Line(f"{indent}{who}{'' if who.startswith('<-') else ':'} {first}", part)
    for line in rest:
        yield Line(f"{indent}   {line}", part)


def folded(text: str) -> list[str]:
    """Its lines, the middle of a long one left out: the end often tells why.

    >>> folded("\\n".join(map(str, range(20))))[7:10]
    ['7', '... 8 more lines, 21 characters (--full) ...', '16']
    """
    lines = text.split("\n")
    if len(lines) > MAX_LINES:
        first, last = lines[: MAX_LINES - 4], lines[-4:]
        out = lines[len(first) : -4]
        left = f"... {len(out)} more lines, {len('|'.join(out))} characters (--full) ..."
        lines = [*first, left, *last]
    most = MAX_CHARS // len(lines) if len(text) > MAX_CHARS else MAX_CHARS
    return [_cut(line, max(most, 200)) for line in lines]


def _cut(line: str, most: int) -> str:
    left = len(line) - most
    return (
        line
        if left <= 0
        else f"{line[: most - 60]} ... {left + 20} more characters (--full) ... {line[-40:]}"
    )


_PARTS: dict[str, Part] = {"learned": "learned", "try": "try", "plan": "plan", "answer": "answer"}


def _tagged(content: str) -> Iterator[tuple[str, str]]:
    """The tagged parts of a turn by their names, then what it said outside of them."""
    found = describe(content).tags
    bare = strip_markup(content)
    for tag, name in SAID.items():
        if found.get(tag):
            yield name, found[tag]
            bare = bare.replace(found[tag], "", 1)
    if bare.strip():
        yield "said", bare.strip()


def _called(call: Made, mark: str, *, full: bool) -> Iterator[Line]:
    wasted = "   (wasted)" if mark == "wasted_trial" else ""
    part: Part = "wasted" if wasted else "call"
    if not call.readable:
        yield Line(f"   -> a call that could not be read{wasted}", part)
    else:
        text = f"{call.name}({arguments(call.arguments)})"
        first, *rest = text.split("\n") if full else folded(text)
        yield Line(f"   -> {first}{'' if rest else wasted}", part)
        for i, line in enumerate(rest, start=1):
            yield Line(f"      {line}{wasted if i == len(rest) else ''}", part)
    reply = "(never answered)" if call.reply is None else call.reply
    yield from spoken(
        "<-" if call.ok else "<- error", reply, "reply" if call.ok else "error", "   ", full=full
    )


def arguments(given: Any) -> str:
    """
    >>> arguments({"title": "Emma", "n": 1})
    'title="Emma", n=1'
    """
    items: Sequence[tuple[str, Any]] = list(given.items()) if isinstance(given, dict) else []
    return ", ".join(f"{name}={_json(value)}" for name, value in items)


def _json(value: Any) -> str:
    try:
        return orjson.dumps(value).decode()
    except TypeError:  # nested deeper than orjson writes
        return repr(value)


def plain(value: Any) -> str:
    """A tag as a word."""
    return "+".join(map(str, value)) if isinstance(value, list) else str(value)


def number(value: float | None) -> str:
    """Three digits; None: nobody knows."""
    return "unknown" if value is None else f"{value:.3g}"
