"""All environments behind one door: `open(task)` looks at `task.env["kind"]`.

world = World(timeout_s=10.0, memory_mb=512)
session = world.open(task)
observation = await session.call("find_book", {"title": "Emma"})
await session.close()
await world.close()
"""

from __future__ import annotations

from collections.abc import Callable

from tmcli.environments import Session, python, toolbox
from tmcli.environments.sandbox import Sandbox
from tmcli.errors import UsageError, did_you_mean
from tmcli.records import Task

KINDS: dict[str, Callable[[Task, Sandbox], Session]] = {
    "toolbox": toolbox.open_session,
    "python": python.open_session,
}


class World:
    """The machinery of all episodes; each opens its own session."""

    def __init__(self, timeout_s: float = 10.0, memory_mb: int = 512) -> None:
        self.sandbox = Sandbox(timeout_s, memory_mb)

    def open(self, task: Task) -> Session:
        """The task's tools. Nothing is started before the first call."""
        kind = task.env.get("kind")
        if kind not in KINDS:
            raise UsageError(f"no environment is of kind {kind!r}", did_you_mean(str(kind), KINDS))
        return KINDS[kind](task, self.sandbox)

    async def close(self) -> None:
        """End all tool processes. May be called twice."""
        await self.sandbox.close()
