"""A dialogue turn by turn: what the model said and called, and what it had been shown before.

    for one in view.rounds:            # one.number: 1 is the model's first turn
        for call in one.calls: ...     # `score.Made`: name, arguments, ok, reply

What has weight 0 is not trained on (`trained` is false): rules that look for what should not be learned pass
over it.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple, Protocol

import orjson

from tmcli.records import Json
from tmcli.score import Made

SHOWN = 80
"""Characters of a text that a reason quotes."""


class Dialogue(Protocol):
    """What rounds are read from: a `View`."""

    @property
    def tools(self) -> list[Json]: ...
    @property
    def turns(self) -> list[Json]: ...
    @property
    def messages(self) -> list[Json]: ...
    @property
    def played(self) -> list[tuple[Json, Json, list[Json]]]: ...
    @property
    def calls(self) -> list[Made]: ...
    @property
    def rounds(self) -> list[Round]: ...


class Round(NamedTuple):
    """One turn of the model."""

    number: int
    phase: str
    message: Json
    text: str
    calls: list[Made]
    trained: bool


def rounds(view: Dialogue) -> list[Round]:
    made = view.calls
    out: list[Round] = []
    at = 0
    for number, (turn, message, _) in enumerate(view.played, 1):
        end = at + len(turn["calls"])
        text = message.get("content") or ""
        out.append(Round(number, turn["phase"], message, text, made[at:end], message.get("weight") != 0))
        at = end
    return out


def tries(view: Dialogue) -> bool:
    """Is there a trial turn?"""
    return any(turn["phase"] == "trial" for turn in view.turns)


def shown_before(view: Dialogue) -> Iterator[tuple[Round, str]]:
    """Each round with all that was shown until then, in lower case: questions, calls and replies, but no
    word of the model's own. For tools see `documents`."""
    due = iter(view.rounds)
    one = next(due, None)
    shown = ""
    parts: list[str] = []
    for message in view.messages:
        if one is not None and message is one.message:
            shown = "\n".join([shown, *parts])
            parts = []
            yield one, shown
            parts.append(orjson.dumps([call[1:3] for call in one.calls], default=repr).decode().lower())
            one = next(due, None)
        elif message["role"] != "assistant":
            parts.append((message.get("content") or "").lower())


def documents(view: Dialogue) -> str:
    """The tools as they were shown, in lower case."""
    return orjson.dumps(view.tools).decode().lower()


def quoted(text: str) -> str:
    """A part of what a model wrote, for a reason.

    >>> quoted("it's"), len(quoted("x" * 1000))
    ('"it\\'s"', 85)
    """
    cut = text if len(text) <= SHOWN else f"{text[:SHOWN]}..."
    return f'"{cut}"' if cut.isprintable() else repr(cut)
