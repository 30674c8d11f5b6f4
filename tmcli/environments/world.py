"""All environments behind one door: `open(task)` looks at `task.env["kind"]`.

    world = World(timeout_s=10.0, memory_mb=512)
    session = world.open(task)
    observation = await session.call("find_book", {"title": "Emma"})
    await session.close()
    await world.close()

Each kind is a module of this package with `open_session(task, machinery)`, imported when a task needs it.
Around it come the task's words, its drift and, outermost, the recorder: recorded is what the model
was told. A replay stands in for all of it.
"""

from __future__ import annotations

from importlib import import_module

from tmcli.environments import Session
from tmcli.environments.machinery import Machinery
from tmcli.environments.recording import Recorder
from tmcli.errors import UsageError, did_you_mean
from tmcli.records import Json, Task

KINDS = ("toolbox", "python", "http", "mcp", "stabletoolbench", "replay", "simulate")
"""What `env.kind` may be: the modules beside this one."""


class World:
    """The machinery of all episodes; each opens its own session."""

    def __init__(
        self,
        timeout_s: float = 10.0,
        memory_mb: int = 512,
        simulate: bool = False,
        record: Recorder | None = None,
        replay: str | None = None,
    ) -> None:
        """`record`: where to keep what every call brought. `replay`: a file to answer from instead."""
        self.machinery = Machinery(timeout_s, memory_mb, simulate)
        self.recorder = record
        self.replay = replay
        if replay is not None:  # a file that cannot be read is told at once
            self._replayed("", 0)

    @property
    def key(self) -> Json:
        """What of these options shapes an episode, for the resume key: not where its replies come from."""
        return {"simulate": True} if self.machinery.simulate else {}

    def open(self, task: Task, sample: int = 0) -> Session:
        """The task's tools, for its n-th episode. Nothing is started before the first call."""
        session = self._session(task, sample) if self.replay is None else self._replayed(task.id, sample)
        return session if self.recorder is None else self.recorder.over(session, task.id, sample)

    async def close(self) -> None:
        """End all machinery. May be called twice."""
        await self.machinery.aclose()
        if self.recorder is not None:
            await self.recorder.aclose()

    def _session(self, task: Task, sample: int) -> Session:
        kind = task.env.get("kind")
        if kind not in KINDS:
            raise UsageError(f"no environment is of kind {kind!r}", did_you_mean(str(kind), KINDS))
        module = import_module(f"tmcli.environments.{kind}")
        which = (sample,) if kind == "replay" else ()  # the others do not tell episodes apart
        session: Session = module.open_session(task, self.machinery, *which)
        if "words" in task.env:
            from tmcli.environments.relabeled import Relabeled

            session = Relabeled(session, task)
        if task.env.get("drift"):
            from tmcli.environments.drifted import Drifted

            session = Drifted(session, task)
        return session

    def _replayed(self, task_id: str, sample: int) -> Session:
        from tmcli.environments.replay import replay

        assert self.replay is not None
        return replay(self.replay, self.machinery).over(task_id, sample)
