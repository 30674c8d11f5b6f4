"""Many episodes at once: concurrent inside, plain ordered iterators outside.

    with Runner(policy, limits, concurrency=8) as runner:
        for trajectory in runner.run(jobs(tasks, samples=4)):
            ...

Each episode is its own asyncio task; there is no barrier between turns. Output keeps the order of the
input, with a bounded look-ahead, so memory does not grow with the number of episodes.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from collections.abc import AsyncGenerator, Container, Iterable, Iterator
from dataclasses import dataclass
from types import TracebackType
from typing import Self

from tmcli.environments.recording import Recorder
from tmcli.environments.world import World
from tmcli.episode import Limits, play
from tmcli.errors import RunError
from tmcli.meter import Budget, Meter, Price
from tmcli.policies import Policy, Sampling, Service, load
from tmcli.records import Task, Trajectory, digest


@dataclass(frozen=True, slots=True)
class Setup:
    """Everything a runner is made of, as plain data that can be sent to another machine."""

    policy: str
    sampling: Sampling = Sampling()
    limits: Limits = Limits()
    service: Service = Service()
    concurrency: int = 8
    price: Price | None = None
    budget: Budget = Budget()
    timeout_s: float = 10.0
    simulate: bool = False
    replay: str | None = None

    def open(self, record: Recorder | None = None) -> Runner:
        """A runner, with a policy and a world of its own."""
        meter = Meter(self.price, self.budget)
        world = World(self.timeout_s, simulate=self.simulate, record=record, replay=self.replay)
        policy = load(self.policy, self.sampling, self.limits.style, self.service, meter)
        return Runner(policy, self.limits, concurrency=self.concurrency, world=world, meter=meter)


Job = tuple[Task, int]
"""A task and which sample of it to play."""

LOOKAHEAD = 4
"""Started but not yet yielded episodes, in multiples of the concurrency."""

BREAKER = 8
"""So many invalid episodes at the very start, and no valid one, stop the run: the world is down."""


class Runner:
    """One event loop, one world of tools, one policy, for as many `run`s as wanted. Closes both."""

    def __init__(
        self,
        policy: Policy,
        limits: Limits,
        *,
        concurrency: int = 8,
        world: World | None = None,
        meter: Meter | None = None,
    ) -> None:
        self.policy = policy
        self.meter = Meter() if meter is None else meter
        self.limits = limits
        self.concurrency = concurrency
        self.world = World() if world is None else world
        self.asyncio = asyncio.Runner()
        self._open: set[AsyncGenerator[Trajectory, None]] = set()
        self._waiting: asyncio.Task[Trajectory] | None = None

    @property
    def key(self) -> str:
        """Hash of everything that shapes an episode: the resume key."""
        return digest([self.policy.name, self.policy.sampling, self.limits.to_json(), self.world.key])

    def run(self, jobs: Iterable[Job]) -> Iterator[Trajectory]:
        """Play the jobs; trajectories come in the order of the jobs, each as soon as it can.

        Raises `RunError` when the first `BREAKER` episodes all break on infrastructure; none of them is
        yielded then, so no output fills with them.
        """
        episodes = self._episodes(jobs)
        self._open.add(episodes)
        held: list[Trajectory] | None = []
        try:
            while True:
                try:
                    trajectory = self.asyncio.run(self._next(episodes))
                except StopAsyncIteration:
                    yield from held or []
                    return
                if held is not None and trajectory.status == "invalid":
                    held.append(trajectory)
                    if len(held) == BREAKER:
                        raise RunError(
                            f"the first {BREAKER} episodes all broke: {trajectory.failure}",
                            "mend that and run again; nothing was learned about the policy",
                        )
                    continue
                yield from held or []
                held = None
                yield trajectory
        finally:
            self._end(episodes)

    def _end(self, episodes: AsyncGenerator[Trajectory, None]) -> None:
        """Cancel what is still played. An iterator that was left early may be closed after the runner."""
        if episodes in self._open:
            self._open.remove(episodes)
            # A signal in the last moment of the loop leaves it stopping, once: let it.
            with contextlib.suppress(RuntimeError):
                self.asyncio.run(asyncio.sleep(0))
            self.asyncio.run(self._closed(episodes))

    async def _next(self, episodes: AsyncGenerator[Trajectory, None]) -> Trajectory:
        self._waiting = asyncio.current_task()
        return await anext(episodes)

    async def _closed(self, episodes: AsyncGenerator[Trajectory, None]) -> None:
        if self._waiting is not None and not self._waiting.done():  # a signal broke the loop in the middle
            self._waiting.cancel()
            await asyncio.wait([self._waiting])
        await episodes.aclose()

    async def _episodes(self, jobs: Iterable[Job]) -> AsyncGenerator[Trajectory, None]:
        started: deque[asyncio.Task[Trajectory]] = deque()
        slots = asyncio.Semaphore(self.concurrency)
        key = self.key

        async def episode(task: Task, sample: int) -> Trajectory:
            try:
                return await play(task, sample, self.policy, self.world, self.limits, key)
            finally:
                slots.release()

        try:
            for task, sample in jobs:
                await slots.acquire()
                started.append(asyncio.create_task(episode(task, sample)))
                while started and (started[0].done() or len(started) >= LOOKAHEAD * self.concurrency):
                    yield await started.popleft()
            while started:
                yield await started.popleft()
        finally:
            for waiting in started:
                waiting.cancel()
            await asyncio.gather(*started, return_exceptions=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            for episodes in list(self._open):
                self._end(episodes)
            self.asyncio.run(self._close())
        finally:
            self.asyncio.close()

    async def _close(self) -> None:
        await self.policy.aclose()
        await self.world.close()


def jobs(tasks: Iterable[Task], samples: int = 1, done: Container[str] = ()) -> Iterator[Job]:
    """Every task `samples` times, leaving out the trajectory ids in `done`."""
    for task in tasks:
        for sample in range(samples):
            if f"{task.id}#{sample}" not in done:
                yield task, sample
