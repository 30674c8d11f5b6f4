"""Where tools run. One small file per kind behind one interface:

    world = World()                       # machinery shared by all episodes (warm sandbox processes)
    session = world.open(task)            # single-use; resets nothing, shares nothing
    observation = await session.call(name, arguments)
    await session.close()
    await world.close()

An environment returns what really happened, errors included. `EnvironmentFailure` is something else:
the machinery itself broke.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol


@dataclass(frozen=True, slots=True)
class Observation:
    """What one call brought."""

    ok: bool
    """False: the tool answered with an error, or the call could not be made as written."""
    text: str
    """What the model reads: the result as JSON text, or `{"error": ...}`."""
    ms: float
    """Wall time of the call in milliseconds."""


class Session(Protocol):
    """One episode's tools."""

    async def call(self, name: str, arguments: dict[str, Any]) -> Observation: ...

    async def close(self) -> None: ...
