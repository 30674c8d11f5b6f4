"""Calls of the execution phase: do they fit what was shown, and is something learned from errors?

What a tool accepted is right, whatever its documents say: they may be stale. Of a call that it refused, what
an earlier reply taught (a name, a value, a parameter that it spoke of) is not held against the documents
either. Trials are free.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Any

from tmcli.environments import arguments
from tmcli.filters.rounds import Round, calls_of, quoted
from tmcli.filters.view import View
from tmcli.records import Json
from tmcli.score import Made

Check = Callable[[View], str | None]

_OPEN = frozenset(("$ref", "$dynamicRef", "allOf", "anyOf", "oneOf", "if", "patternProperties"))
"""A schema with one of these says more than its `properties`."""
_STRANGE = re.compile(
    r"(?:unknown|unexpected|unrecogni[sz]ed|invalid|extra|no)\W+(?:\w+\W+)?\Z", re.IGNORECASE
)
"""What stands before a parameter that does not exist."""
_PASSING = re.compile(
    r"time[d -]*out|temporar|rate.?limit|too many (?:requests|calls)|unavailable|overloaded|\bbusy\b"
    r"|try again (?:later|in\b)|\b(?:429|50[0234])\b|connection (?:reset|refused|closed|error)",
    re.IGNORECASE,
)
"""Errors that pass by themselves: the same call again is right then."""


def invalid_call(most: int) -> Check:
    """More than `most` execution calls that a tool refused, and that name no tool or break its schema."""

    def check(view: View) -> str | None:
        wrong: list[str] = []
        for one, call in view.failures:
            if one.trained and (why := _wrong(view, one, call)):
                wrong.append(f"turn {one.number}: {why}")
        return "; ".join(wrong) if len(wrong) > most else None

    return check


def _wrong(view: View, one: Round, call: Made) -> str | None:
    """What is wrong with a refused call by what was shown and taught, or None."""
    given = call.arguments
    try:
        shown = view.schema(call.name)
        if not shown:
            taught = _holds(_Taught(view, one).replies, call.name)
            return None if taught else f"no tool is named {quoted(call.name)}"
        if not isinstance(given, dict):
            return None
        schema = shown[0] if isinstance(shown[0], dict) else {}
        tool: Json = {"function": {"name": call.name, "parameters": schema}}
        is_open = not _OPEN.isdisjoint(schema)
        if not is_open and arguments.fault([tool], call.name, given):
            return _misused(call, schema, _Taught(view, one))
        if view.task.tags.get("drift") and not is_open:
            return None  # ranges and forms are those of the tool then, not of its documents
        return _broken(call, schema, _Taught(view, one))
    except RecursionError:  # nested too deep to be looked at: nobody knows
        return None


def _misused(call: Made, schema: Json, taught: _Taught) -> str | None:
    """By names, types and closed lists, but for what was taught."""
    given = call.arguments
    properties = schema.get("properties")
    properties = properties if isinstance(properties, dict) else {}
    unknown = [name for name in given if name not in properties]
    if unknown and schema.get("additionalProperties") in (None, False):
        # Where a reply taught a name, the documents are stale: they say nothing more.
        strange = next((name for name in unknown if not taught.parameter(name)), None)
        return strange and f"{quoted(call.name)} has no parameter {quoted(strange)}"
    required = schema.get("required")
    for name in required if isinstance(required, list) else ():
        if isinstance(name, str) and name not in given and not taught.unknown(name):
            return f"{quoted(call.name)} lacks {quoted(name)}"
    for name in given:
        if name in properties and not taught.parameter(name) and not taught.value(given[name]):
            one: Json = {"function": {"name": "", "parameters": {"properties": {name: properties[name]}}}}
            if fault := arguments.fault([one], "", {name: given[name]}):
                return f"{quoted(call.name)}: {fault[:200]}"
    return None


def _broken(call: Made, schema: Json, taught: _Taught) -> str | None:
    """By all that JSON Schema knows; what is no schema, or points nowhere, is never broken."""
    from tmcli.environments import validation

    given = call.arguments
    if any(taught.parameter(name) or taught.value(given[name]) for name in given):
        return None
    broken = validation.worst(validation.checker(schema), given)
    return broken and f"{quoted(call.name)}: {broken[:200]}"


class _Taught:
    """What the replies before a turn say, where it may gainsay the documents."""

    def __init__(self, view: View, now: Round) -> None:
        calls = [call for one in view.rounds[: now.number - 1] for call in one.calls]
        self.replies = "\n".join(call.reply or "" for call in calls)
        self.refusals = "\n".join(call.reply or "" for call in calls if not call.ok)

    def parameter(self, name: str) -> bool:
        """Did a refusal speak of it, or a reply say that it can be given (`page=2`)?"""
        return _holds(self.refusals, name) or f"{name}=" in self.replies

    def unknown(self, name: str) -> bool:
        """Did a refusal say that there is no such parameter?"""
        return any(
            _STRANGE.search(self.refusals[max(0, at - 40) : at]) for at in _places(self.refusals, name)
        )

    def value(self, value: Any) -> bool:
        """Did a reply write it so?"""
        return isinstance(value, str) and len(value) > 1 and _holds(self.replies, value)


def _holds(text: str, word: str) -> bool:
    return next(_places(text, word), None) is not None


def _places(text: str, word: str) -> Iterator[int]:
    """Where it stands as a word of its own. (A pattern for each word would be compiled each time.)"""
    at = text.find(word) if word else -1
    while at >= 0:
        around = text[at - 1 : at] + text[at + len(word) : at + len(word) + 1]
        if not any(c.isalnum() or c == "_" for c in around):
            yield at
        at = text.find(word, at + 1)


def unchanged_retry(most: int) -> Check:
    """More than `most` execution calls that failed and, unchanged, failed again, with no call in between that
    worked. An error that passes by itself, as a time-out, asks for just that."""

    def check(view: View) -> str | None:
        failures = view.failures
        if len(failures) < 2 or len(failures) == len({call.name for _, call in failures}):
            return None
        again: list[str] = []
        last: dict[bytes, int] = {}
        """Call -> the turn in which it failed last."""
        for one, call in failures:
            turn = last.setdefault(call.key, one.number)
            last[call.key] = one.number
            if turn < one.number and one.trained and not _PASSING.search(call.reply or ""):
                between = view.rounds[turn : one.number - 1]
                if not any(made.ok for other in between for made in other.calls):
                    again.append(f"turn {one.number}: {quoted(call.name)}, as it failed in turn {turn}")
        return "; ".join(again) if len(again) > most else None

    return check


def execution_errors(most: int) -> Check:
    """More than `most` turns of the execution phase with a call that failed."""

    def check(view: View) -> str | None:
        if sum(not call.ok for call in calls_of(view)) <= most:
            return None
        wrong = [
            f"turn {one.number}: {quoted(call.name)}"
            for one in view.rounds
            if one.phase == "execution" and one.trained
            for call in [next((call for call in one.calls if not call.ok), None)]
            if call is not None
        ]
        return f"errors in {len(wrong)} turns, {'; '.join(wrong)}" if len(wrong) > most else None

    return check
