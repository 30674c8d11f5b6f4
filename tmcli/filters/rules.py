"""The rules of `filter`: trajectory -> the reason to drop it, or None.

An error in the trial phase is never a defect: failing on purpose is the method. Right and wrong are
judged anew from the record; a stored `reward` is not trusted. The first rule that finds a defect
names it, so the order of `standard` is part of the result.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Container
from typing import get_args

import orjson

from tmcli.records import Drop, Trajectory
from tmcli.score import correct, made, played, task_in

Rule = Callable[[Trajectory], Drop | None]
REASONS: tuple[Drop, ...] = get_args(Drop)
EXTRA: tuple[Drop, ...] = ("hinted",)
"""Reasons for which nothing is dropped unless asked."""


def standard(
    keep: Container[str] = (), max_chars: int | None = None, drop: Container[str] = ()
) -> list[Rule]:
    """The usual rules in order, without those whose reason is in `keep`, with those of `EXTRA` in `drop`."""
    rules: dict[Drop, Rule] = {
        "invalid_status": invalid_status,
        "role_order": role_order,
        "unanswered_call": unanswered_call,
        "no_answer": no_answer,
        "wrong_answer": wrong_answer,
        "unjudged": unjudged,
        "no_calls": no_calls,
        "protocol": protocol,
    }
    if max_chars is not None:
        rules["too_long"] = too_long(max_chars)
    if "hinted" in drop:
        rules["hinted"] = hinted
    rules["duplicate"] = duplicate()
    return [rule for reason, rule in rules.items() if reason not in keep]


def invalid_status(trajectory: Trajectory) -> Drop | None:
    """The world broke: the episode says nothing about the policy."""
    return "invalid_status" if trajectory.status == "invalid" else None


def role_order(trajectory: Trajectory) -> Drop | None:
    """Instructions, then the user, then assistant turns; tool replies follow an assistant turn only."""
    before = "start"
    for message in trajectory.messages:
        role = message["role"]
        if before not in _AFTER[role]:
            return "role_order"
        before = "system" if role == "developer" else role
    return None if before in ("assistant", "tool") else "role_order"


_AFTER = {
    "system": ("start", "system"),
    "developer": ("start", "system"),
    "user": ("start", "system", "user", "assistant"),
    "assistant": ("user", "tool"),
    "tool": ("assistant", "tool"),
}
"""Role -> what may stand before it."""


def unanswered_call(trajectory: Trajectory) -> Drop | None:
    """Every call is answered exactly once, in its turn, and every reply answers a call.

    The reply to something that was no readable call is named `invalid` and has no call to point at.
    """
    asked: list[str] = []
    for message in trajectory.messages:
        if message["role"] == "tool":
            call_id = message.get("tool_call_id")
            if call_id in asked:
                asked.remove(call_id)
            elif message.get("name") != "invalid":
                return "unanswered_call"
        elif asked:
            return "unanswered_call"
        else:
            asked = [str(call.get("id")) for call in message.get("tool_calls") or []]
    return "unanswered_call" if asked else None


def no_answer(trajectory: Trajectory) -> Drop | None:
    """The episode ended without an answer."""
    return None if (trajectory.prediction or "").strip() else "no_answer"


def wrong_answer(trajectory: Trajectory) -> Drop | None:
    """The answer fits no gold."""
    return "wrong_answer" if _correct(trajectory) is False else None


def unjudged(trajectory: Trajectory) -> Drop | None:
    """Nobody knows the gold, or only a judge could tell."""
    return "unjudged" if _correct(trajectory) is None else None


def no_calls(trajectory: Trajectory) -> Drop | None:
    """No tool was called: nothing to learn about tools."""
    return None if any(message.get("tool_calls") for _, message, _ in played(trajectory)) else "no_calls"


def protocol(trajectory: Trajectory) -> Drop | None:
    """A call of the execution phase could not be read."""
    bad = any(turn["phase"] == "execution" and turn.get("state") == "invalid" for turn in trajectory.turns)
    return "protocol" if bad else None


def too_long(max_chars: int) -> Rule:
    """More characters in the dialogue (texts and call arguments) than `max_chars`."""

    def rule(trajectory: Trajectory) -> Drop | None:
        n = sum(len(message.get("content") or "") for message in trajectory.messages)
        for _, message, _ in played(trajectory):
            for call in message.get("tool_calls") or []:
                n += len(orjson.dumps(call["function"].get("arguments")).decode())
        return "too_long" if n > max_chars else None

    return rule


def hinted(trajectory: Trajectory) -> Drop | None:
    """An answer was sent back as wrong before the last one. The turn that was wrong has weight 0, but not
    every trainer knows it, and nobody says so to a model in use."""
    return "hinted" if any(turn.get("hint") for turn in trajectory.turns) else None


def duplicate() -> Rule:
    """The same task, calls and answer were kept before, both with a hint or both without. Remembers 16 bytes
    a trajectory."""
    seen: set[bytes] = set()

    def rule(trajectory: Trajectory) -> Drop | None:
        key = fingerprint(trajectory)
        if key in seen:
            return "duplicate"
        seen.add(key)
        return None

    return rule


def fingerprint(trajectory: Trajectory) -> bytes:
    """What duplicates share: 16 bytes of task, calls and answer, and whether there was a hint."""
    what = hashlib.blake2b(digest_size=16)
    calls = [(call.phase, call.key) for call in made(trajectory)]
    what.update(repr((trajectory.task.get("id"), calls, trajectory.prediction)).encode())
    what.update((hinted(trajectory) or "").encode())
    return what.digest()


def _correct(trajectory: Trajectory) -> bool | None:
    task = task_in(trajectory)
    return correct(trajectory.prediction, task.answer, task.check)
