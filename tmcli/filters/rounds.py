"""A dialogue turn by turn: what the model said and called, and what it had been shown before.

    for one in view.rounds:            # one.number: 1 is the model's first turn
        for call in one.calls: ...     # `score.Made`: name, arguments, ok, reply

What has weight 0 is not trained on (`trained` is false): rules that look for what should not be learned pass
over it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Protocol

import orjson
from msgspec import UNSET, Struct

from tmcli.filters.shape import AnyMade, AnyMessage, AnyTurn, Message, Turn
from tmcli.filters.shape import Made as Label
from tmcli.records import Json
from tmcli.score import Made

SHOWN = 80
"""Characters of a text that a reason quotes."""

Said = Message | AnyMessage
_new: Any = tuple.__new__


class Dialogue(Protocol):
    """What rounds are read from: a `View`."""

    @property
    def tools(self) -> list[Json]: ...
    @property
    def talk(self) -> Sequence[Said]: ...
    @property
    def steps(self) -> Sequence[Turn | AnyTurn]: ...
    @property
    def rounds(self) -> list[Round]: ...


class Round(Struct, gc=False):
    """One turn of the model."""

    number: int
    phase: str
    message: Said
    text: str
    calls: list[Made]
    trained: bool


def rounds(view: Dialogue) -> list[Round]:
    """Those that were played, as `score.played` and `score.made` find them."""
    spans: list[tuple[Said, list[Said]]] = []
    replies: list[Said] = []
    for message in view.talk:
        role = message.role
        if role == "assistant":
            replies = []
            spans.append((message, replies))
        elif role == "tool":
            replies.append(message)
    turns = view.steps
    out: list[Round] = []
    for turn, (message, replies) in zip(turns, spans[-len(turns) or len(spans) :], strict=False):
        phase = turn.phase
        calls = _made(phase, turn.calls, message, replies) if turn.calls else []
        out.append(Round(len(out) + 1, phase, message, message.content or "", calls, message.weight != 0))
    return out


def _made(phase: Any, labels: Sequence[Label | AnyMade], message: Said, replies: list[Said]) -> list[Made]:
    """A call that could not be read has a label and a reply, but is not asked."""
    asked = message.tool_calls or ()
    if len(labels) == len(asked) == len(replies) == 1 and asked[0].id == replies[0].tool_call_id:
        return [_call(phase, labels[0], _text(replies[0]), True)]  # as in most turns
    ids, answered = [_id(call.id) for call in asked], [_id(reply.tool_call_id) for reply in replies]
    if len(ids) > 1 and len(set(ids)) < len(ids):  # no ids of their own: answered in their order
        ids, answered = [str(i) for i in range(len(ids))], [str(i) for i in range(len(replies))]
    told = list(map(_text, replies))
    by_id = dict(zip(answered, told, strict=True))
    answers = [by_id.get(i) for i in ids]
    if len(labels) > len(asked):
        answers += [text for one, text in zip(answered, told, strict=True) if one not in ids]
    answers += [None] * (len(labels) - len(answers))
    return [_call(phase, label, answers[i], i < len(asked)) for i, label in enumerate(labels)]


def _call(phase: Any, label: Label | AnyMade, reply: str | None, readable: bool) -> Made:
    arguments = None if label.arguments is UNSET else label.arguments
    made: Made = _new(Made, (phase, label.name, arguments, readable and label.ok is True, reply, readable))
    return made


def _text(message: Said) -> str | None:
    return None if message.content is UNSET else message.content


def _id(value: Any) -> str:
    if value.__class__ is str:
        return str(value)
    return repr(None if value is UNSET else value)


def calls_of(view: Dialogue) -> list[Made]:
    """All calls in order: `view.calls`, but for numbers of more than 64 bits, and quicker."""
    return [call for one in view.rounds for call in one.calls]


def failures(rounds: list[Round]) -> list[tuple[Round, Made]]:
    """The calls of the execution phase that could be read and failed."""
    return [
        (one, call)
        for one in rounds
        for call in one.calls
        if not call.ok and call.readable and one.phase == "execution"
    ]


def shown_before(view: Dialogue) -> Iterator[tuple[Round, str]]:
    """Each round with all that was shown until then, in lower case: questions, calls and replies, but no
    word of the model's own. For tools see `documents`."""
    due = iter(view.rounds)
    one = next(due, None)
    shown = ""
    parts: list[str] = []
    for message in view.talk:
        if one is not None and message is one.message:
            shown = "\n".join([shown, *parts])
            yield one, shown
            parts = [spelled([call[1:3] for call in one.calls]).lower()]
            one = next(due, None)
        elif message.role != "assistant":
            parts.append((message.content or "").lower())


def documents(view: Dialogue) -> str:
    """The tools as they were shown, in lower case."""
    return spelled(view.tools).lower()


def spelled(value: Any) -> str:
    """JSON of anything; nothing for what is nested too deep to be written."""
    try:
        return orjson.dumps(value, default=repr).decode()
    except TypeError:  # or an integer of more than 64 bits
        try:
            return repr(value)
        except (TypeError, RecursionError):
            return ""


def quoted(text: str) -> str:
    """A part of what a model wrote, for a reason.

    >>> quoted("it's"), len(quoted("x" * 1000))
    ('"it\\'s"', 85)
    """
    cut = text if len(text) <= SHOWN else f"{text[:SHOWN]}..."
    return f'"{cut}"' if cut.isprintable() else repr(cut)
