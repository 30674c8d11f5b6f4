"""How the scripted expert plays, beside its style: the parts of the method that a study leaves out.

    manner("scripted:trials=4,notes=off")
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from tmcli.errors import UsageError

SWITCH = {"on": True, "off": False}


@dataclass(frozen=True, slots=True)
class Manner:
    """How it plays in style trial; what the study leaves out, one by one."""

    trials: int = 1
    """Tools it tries until it has the right one, at most; 0: it executes at once."""
    notes: bool = True
    """It says in <experience> what it learned."""
    corrections: bool = True
    """It meets errors while executing, and mends them; else it knows all once it has tried."""


USUAL = Manner()


def manner(text: str) -> Manner:
    """`scripted`, or `scripted:trials=4,notes=off,corrections=off`. Raises `UsageError`.

    >>> manner("scripted:trials=4,notes=off")
    Manner(trials=4, notes=False, corrections=True)
    """
    _, colon, told = text.partition(":")
    found: dict[str, Any] = {}
    for word in told.split(",") if colon else []:
        name, _, value = word.partition("=")
        if name == "trials" and value.isdecimal():
            found[name] = int(value)
        elif name in ("notes", "corrections") and value in SWITCH:
            found[name] = SWITCH[value]
        else:
            raise UsageError(
                f"the scripted teacher knows no {word!r}", "write scripted:trials=N,notes=off,corrections=off"
            )
    return Manner(**found)
