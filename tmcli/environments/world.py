"""All environments behind one door: `open(task)` looks at `task.env["kind"]`.

    world = World(timeout_s=10.0, memory_mb=512)
    session = world.open(task)
    observation = await session.call("find_book", {"title": "Emma"})
    await session.close()
    await world.close()

Each kind is a module of this package with `open_session(task, machinery)`, imported when a task needs it.
"""

from __future__ import annotations

from importlib import import_module

from tmcli.environments import Session
from tmcli.environments.machinery import Machinery
from tmcli.errors import UsageError, did_you_mean
from tmcli.records import Json, Task

KINDS = ("toolbox", "python")
"""What `env.kind` may be: the modules beside this one."""


class World:
    """The machinery of all episodes; each opens its own session."""

    def __init__(self, timeout_s: float = 10.0, memory_mb: int = 512, simulate: bool = False) -> None:
        self.machinery = Machinery(timeout_s, memory_mb, simulate)

    @property
    def key(self) -> Json:
        """What of these options shapes an episode, for the resume key."""
        return {"simulate": True} if self.machinery.simulate else {}

    def open(self, task: Task) -> Session:
        """The task's tools. Nothing is started before the first call."""
        kind = task.env.get("kind")
        if kind not in KINDS:
            raise UsageError(f"no environment is of kind {kind!r}", did_you_mean(str(kind), KINDS))
        session: Session = import_module(f"tmcli.environments.{kind}").open_session(task, self.machinery)
        return session

    async def close(self) -> None:
        """End all machinery. May be called twice."""
        await self.machinery.aclose()
