"""What is remembered of a survivor to balance a data set: small, and independent of the line."""

from __future__ import annotations

import hashlib
from typing import NamedTuple

import orjson

from tmcli.filters.view import View

MAX_NAME = 200
"""Characters of a name that are kept: names come from outside."""


class Facts(NamedTuple):
    """One trajectory among the others."""

    task: str
    toolbox: str
    hops: str
    drift: str
    """The kinds, joined by `+`; "none" without any."""
    tools: tuple[str, ...]
    """Names that were called, each once, sorted."""
    length: int
    """Bytes of the line."""
    calls: int
    """64 bits of the sequence of calls: phases and names."""

    @classmethod
    def of(cls, view: View) -> Facts:
        toolbox, hops, drift = strata(view)
        readable = [(call.phase, call.name) for call in view.calls if call.readable]
        names = sorted({name[:MAX_NAME] for _, name in readable})
        signature = hashlib.blake2b(orjson.dumps(readable), digest_size=8).digest()
        return cls(
            view.task.id[:MAX_NAME],
            toolbox,
            hops,
            drift,
            tuple(names),
            len(view.line),
            int.from_bytes(signature, "little"),
        )


def strata(view: View) -> tuple[str, str, str]:
    """(toolbox, hops, drift) as the task's tags tell; `-` where they do not."""
    tags = view.task.tags
    drift = tags.get("drift")
    if drift.__class__ is list:
        drift = "+".join(map(str, drift)) if drift else "none"
    return _tag(tags.get("toolbox")), _tag(tags.get("hops")), _tag(drift)


def _tag(value: object) -> str:
    if value.__class__ is str and len(value) <= MAX_NAME:
        return value
    return "-" if value is None else str(value)[:MAX_NAME]


class Mix(NamedTuple):
    """What kinds of trajectory there are, for the summary."""

    toolbox: str
    hops: str
    drift: str
    stop: str
    phases: str
    """trial, execution, or trial+execution."""


_mixes: dict[tuple[object, ...], Mix] = {}
MAX_MIXES = 2000


def mix(view: View) -> Mix:
    """The same object for the same kind, while there are few."""
    trial = execution = False
    for turn in view.steps:
        if turn.phase == "trial":
            trial = True
        else:
            execution = True
    tags = view.task.tags
    toolbox, hops, drift = tags.get("toolbox"), tags.get("hops"), tags.get("drift")
    if not (toolbox.__class__ is str and hops.__class__ is int and drift.__class__ is list):
        return _mix(view, trial, execution)
    try:
        key = toolbox, hops, "+".join(drift) if drift else "none", view.stop, trial, execution
        return _mixes[key]
    except KeyError:
        found = _mix(view, trial, execution)
        if len(_mixes) < MAX_MIXES:
            _mixes[key] = found
        return found
    except TypeError:  # drift of something else than words
        return _mix(view, trial, execution)


def _mix(view: View, trial: bool, execution: bool) -> Mix:
    phases = [name for name, came in (("trial", trial), ("execution", execution)) if came]
    return Mix(*strata(view), view.stop, "+".join(phases) or "-")
