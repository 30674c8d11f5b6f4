"""The calls of an episode with their replies, and what each was good for.

calls = made(trajectory)
labels(calls, trajectory.prediction)    # direct | useful_trial | wasted_trial, one a call
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import compress
from typing import Any, Literal, NamedTuple, Protocol

import orjson

from tmcli.protocol import Phase
from tmcli.records import Json

Label = Literal["direct", "useful_trial", "wasted_trial"]

_NOTHING = ("", "null", "none", "[]", "{}", '""')
"""Replies (in lower case) that bring nothing: a decoy's, most of all."""


class Dialogue(Protocol):
    """What calls are read from: a trajectory, or what `filter` sees of one."""

    @property
    def messages(self) -> list[Json]: ...
    @property
    def turns(self) -> list[Json]: ...


class Made(NamedTuple):
    """One call of an episode with the reply it got."""

    phase: Phase
    name: str
    arguments: Any
    ok: bool
    reply: str | None
    """None: it was never answered."""
    readable: bool = True
    """False: the model wrote something that was no call; it was told so."""

    @property
    def key(self) -> bytes:
        """Name and canonical arguments: equal calls have equal keys."""
        try:
            return orjson.dumps([self.name, self.arguments], default=repr, option=CANONICAL)
        except TypeError:  # nested deeper than orjson writes
            return repr((self.name, self.arguments)).encode()


CANONICAL = orjson.OPT_SORT_KEYS | orjson.OPT_NON_STR_KEYS


def made(trajectory: Dialogue) -> list[Made]:
    """All calls of an episode in order; replies are found by `tool_call_id` within the turn, since
    some servers count their ids anew every turn."""
    calls: list[Made] = []
    for turn, message, replies in played(trajectory):
        if not turn["calls"]:
            continue
        asked = message.get("tool_calls") or []
        answered = [_id(reply.get("tool_call_id")) for reply in replies]
        ids = [_id(call.get("id")) for call in asked]
        if len(ids) > 1 and len(set(ids)) < len(ids):  # no ids of their own: answered in their order
            ids, answered = [str(i) for i in range(len(ids))], [str(i) for i in range(len(replies))]
        told = [reply.get("content") for reply in replies]
        by_id = dict(zip(answered, told, strict=True))
        rest: list[str | None] = []
        if len(turn["calls"]) > len(asked):
            rest = [text for one, text in zip(answered, told, strict=True) if one not in ids]
        for i, call in enumerate(turn["calls"]):
            readable = i < len(asked)
            if readable:
                reply = by_id.get(ids[i])
            else:
                reply = rest[i - len(asked)] if i - len(asked) < len(rest) else None
            ok = readable and call.get("ok") is True
            calls.append(Made(turn["phase"], call["name"], call.get("arguments"), ok, reply, readable))
    return calls


def _id(value: Any) -> str:
    """The id of a call, whatever a server made of it."""
    return value if value.__class__ is str else repr(value)


def played(trajectory: Dialogue) -> Iterator[tuple[Json, Json, list[Json]]]:
    """(turn, assistant message, the tool messages after it) of each turn that was played.

    A task may bring assistant messages of its own, so turns are matched from the end.
    """
    spans: list[tuple[Json, list[Json]]] = []
    replies: list[Json] = []
    for message in trajectory.messages:
        role = message["role"]
        if role == "assistant":
            replies = []
            spans.append((message, replies))
        elif role == "tool":
            replies.append(message)
    turns = trajectory.turns
    for turn, (message, replies) in zip(turns, spans[-len(turns) or len(spans) :], strict=False):
        yield turn, message, replies


def labels(
    calls: list[Made],
    prediction: str | None,
    keys: list[bytes] | None = None,
    news: list[bool] | None = None,
) -> list[Label]:
    """What each call was good for, by cheap rules. `keys`, `news`: theirs, where they are known (`fresh`).

    `direct`: a call of the execution phase. A trial is useful when it repeats no call, brings a reply
    not seen before, and is used later (its tool is called in execution, or something it found is passed
    to a later call or is the answer) or rules the tool out (an error or an empty reply, and the tool is
    left alone for good). Every other trial is wasted.
    """
    out: list[Label] = ["direct"] * len(calls)
    tried = [i for i, call in enumerate(calls) if call.phase != "execution"]
    if not tried:
        return out
    keys = keys or [call.key for call in calls]
    news = news or fresh(calls, keys)
    all_new = all(news)
    for i in tried:
        call, key = calls[i], keys[i]
        later = calls[i + 1 :] if all_new else list(compress(calls[i + 1 :], news[i + 1 :]))
        again = [after.phase for after in later if after.readable and after.name == call.name]
        new = call.readable and call.reply is not None and key not in keys[:i]
        if not new or any(call.reply == before.reply for before in calls[:i]):
            out[i] = "wasted_trial"
            continue
        ruled_out = not again and (not call.ok or (call.reply or "").strip().lower() in _NOTHING)
        used = ruled_out or "execution" in again or (call.ok and found(call, later, prediction))
        out[i] = "useful_trial" if used else "wasted_trial"
    return out


def fresh(calls: list[Made], keys: list[bytes] | None = None) -> list[bool]:
    """Is there something to win by each call: did none like it work before in its phase? `keys`: theirs."""
    worked: set[tuple[Phase, bytes]] = set()
    out: list[bool] = []
    for call, key in zip(calls, keys or [call.key for call in calls], strict=True):
        which = (call.phase, key)
        out.append(which not in worked)
        if call.ok:
            worked.add(which)
    return out


def found(call: Made, later: list[Made], prediction: str | None) -> bool:
    """Does a later call or the answer hold a value that this reply brought, and the call itself did not?"""
    return bool(brought(call, later, prediction))


def brought(call: Made, later: list[Made], prediction: str | None) -> list[str]:
    """The values of later calls and of the answer that this reply held, and the call itself did not."""
    text = call.reply
    if not text:
        return []
    wanted = {value for after in later for value in values(after.arguments)}
    wanted.add((prediction or "").strip())
    wanted.difference_update(values(call.arguments))
    if text.isascii():  # most values are not in it: found out many times quicker
        low = text.lower()
        wanted = {value for value in wanted if not value.isascii() or value.lower() in low}
    return [value for value in wanted if any(map(str.isalnum, value)) and holds(text, value)]


def holds(text: str, value: str) -> bool:
    """Does a text hold a value that is no part of a longer word? In upper or lower case.

    >>> holds('{"id": "B41"}', "b41"), holds("B417", "B41"), holds("the caf\u00c9", "CAF\u00e9")
    (True, False, True)
    """
    if not (text.isascii() and value.isascii()):
        return re.search(rf"(?<!\w){re.escape(value)}(?!\w)", text, re.IGNORECASE) is not None
    return found_at(text.lower(), value.lower()) >= 0  # the same; re would compile each value anew


def found_at(text: str, value: str) -> int:
    """Where a text first holds a value that is no part of a longer word, both in lower case; -1: nowhere."""
    at = text.find(value)
    while at >= 0:
        end = at + len(value)
        if not (_in_word(text[at - 1 : at]) or _in_word(text[end : end + 1])):
            return at
        at = text.find(value, at + 1)
    return -1


def _in_word(letter: str) -> bool:
    return letter.isalnum() or letter == "_"


def values(arguments: Any) -> Iterator[str]:
    """The texts and numbers in an argument object, however deep."""
    out: list[str] = []
    _collect(arguments, out)
    return iter(out)


def _collect(value: Any, out: list[str]) -> None:
    if isinstance(value, str):
        out.append(value.strip())
    elif isinstance(value, (dict, list)):
        for item in value.values() if isinstance(value, dict) else value:
            _collect(item, out)
    elif isinstance(value, (int, float)) and not isinstance(value, bool):
        out.append(str(value))


def repeated(calls: list[Made], keys: list[bytes] | None = None) -> int:
    """Calls that repeat an earlier one of their phase: doing in execution what was tried is no repeat."""
    keys = keys or [call.key for call in calls]
    return len(calls) - len({(call.phase, key) for call, key in zip(calls, keys, strict=True)})
