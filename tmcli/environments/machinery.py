"""What all sessions of a world share: the sandbox, clients, counters. Made when first needed.

    machinery = Machinery(timeout_s=10.0)
    client = machinery.shared("http", make_client)      # one for all sessions, closed with the world

A shared part has `async def aclose(self)`. What it has to say about the whole run (calls that were never
recorded, a server that takes wrong arguments) it says there, with `console.warn`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol, TypeVar, cast

from tmcli.environments.sandbox import Sandbox


class Shared(Protocol):
    """Lives as long as the world."""

    async def aclose(self) -> None: ...


P = TypeVar("P", bound=Shared)


class Machinery:
    """The parts, and the options that every environment obeys."""

    def __init__(self, timeout_s: float = 10.0, memory_mb: int = 512, simulate: bool = False) -> None:
        self.timeout_s = timeout_s
        """Seconds one call may take."""
        self.simulate = simulate
        """Answer from documents where a server would be asked."""
        self.sandbox = Sandbox(timeout_s, memory_mb)
        self._shared: dict[str, Any] = {}

    def shared(self, name: str, make: Callable[[], P]) -> P:
        """The part of this name, made when there is none yet."""
        if name not in self._shared:
            self._shared[name] = make()
        return cast(P, self._shared[name])

    async def aclose(self) -> None:
        """End all parts. May be called twice, and used again."""
        parts, self._shared = self._shared, {}
        for part in parts.values():
            await part.aclose()
        await self.sandbox.close()
