"""One trajectory as a person reads it: what was tried, what came back, what was learned, what it is worth."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise

import orjson

from tmcli.protocol import describe, strip_markup
from tmcli.records import Json, Trajectory
from tmcli.score import Made, judge, labels, made, played, task_in

SAID = {"experience": "learned", "trial": "try", "plan": "plan", "answer": "answer"}
"""What a tag is called here, in the order in which it is told."""


def transcript(trajectory: Trajectory) -> str:
    """The text, not yet made safe for a terminal. Scores are judged anew."""
    return "\n".join(_lines(trajectory)) + "\n"


def _lines(trajectory: Trajectory) -> Iterator[str]:
    task = task_in(trajectory)
    judged = judge(trajectory)
    calls = made(trajectory)
    marks = labels(calls, trajectory.prediction)
    tags = ", ".join(
        f"{key} {_plain(value)}" for key, value in task.tags.items() if value not in ([], None, "")
    )
    yield f"== {trajectory.id}  {trajectory.policy.get('name', '')}  {f'({tags})' if tags else ''}".rstrip()
    for message in task.messages:
        yield from _said(message["role"], message.get("content") or "")
    after = {id(said): told for said, told in pairwise(trajectory.messages)}
    n = 0
    for i, (turn, message, _) in enumerate(played(trajectory), start=1):
        state = "" if turn.get("state", "ok") == "ok" else f", {turn['state']}"
        yield f"\n{i}. {turn['phase']}{state}"
        yield from _text(message.get("content") or "")
        for call, mark in zip(calls[n:], marks[n : n + len(turn["calls"])], strict=False):
            yield from _call(call, mark)
        n += len(turn["calls"])
        if turn.get("hint"):
            yield from _said("hint", after.get(id(message), {}).get("content") or "", "   ")
    answer = judged.scores.get("answer")
    verdict = "not judged" if answer is None else "right" if answer else "wrong"
    due = f"; accepted: {' | '.join(task.answer)}" if task.answer else ""
    yield f"\n{verdict}: {trajectory.prediction or 'no answer'} (stop: {trajectory.stop}){due}"
    if trajectory.failure is not None:
        yield f"invalid: {trajectory.failure}"
    if judged.scores:
        parts = "  ".join(f"{name} {_number(value)}" for name, value in judged.scores.items())
        yield f"reward {_number(judged.reward)} = {parts}"


def _text(content: str) -> Iterator[str]:
    """The tagged parts of a turn by their names, then what it said outside of them."""
    tags = describe(content).tags
    bare = strip_markup(content)
    for tag, name in SAID.items():
        if tags.get(tag):
            yield from _said(name, tags[tag], "   ")
            bare = bare.replace(tags[tag], "", 1)
    if bare.strip():
        yield from _said("said", bare.strip(), "   ")


def _call(call: Made, mark: str) -> Iterator[str]:
    arguments = call.arguments if isinstance(call.arguments, dict) else {}
    told = ", ".join(f"{name}={orjson.dumps(value).decode()}" for name, value in arguments.items())
    wasted = "   (wasted)" if mark == "wasted_trial" else ""
    yield (
        f"   -> {call.name}({told}){wasted}"
        if call.readable
        else f"   -> a call that could not be read{wasted}"
    )
    yield from _said(
        "<-" if call.ok else "<- error", call.reply if call.reply is not None else "(never answered)", "   "
    )


def _said(who: str, text: str, indent: str = "") -> Iterator[str]:
    first, *rest = text.split("\n")
    yield f"{indent}{who}{'' if who.startswith('<-') else ':'} {first}"
    for line in rest:
        yield f"{indent}   {line}"


def _plain(value: Json | list[str] | str) -> str:
    return "+".join(map(str, value)) if isinstance(value, list) else str(value)


def _number(value: float | None) -> str:
    return "unknown" if value is None else f"{value:.3g}"
