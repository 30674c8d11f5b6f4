"""Many episodes at once: concurrent inside, plain iterators outside.

    with Runner(policy, limits, concurrency=8) as runner:
        for trajectory in runner.run(jobs(tasks, samples=4)):
            ...

Episodes are played in an event loop in a thread of its own, so that they go on whatever the caller does
with what is finished, and however long the next task takes to come. There is no barrier anywhere. What
waits is bounded in both directions, so memory does not grow with the number of episodes.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable, Container, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from queue import SimpleQueue
from types import TracebackType
from typing import Any, Self

from tmcli import console
from tmcli.environments.recording import Recorder
from tmcli.environments.world import World
from tmcli.episode import Limits, play
from tmcli.errors import RunError, Spent, UsageError
from tmcli.journal import Order
from tmcli.meter import Budget, Meter, Price
from tmcli.policies import Policy, Sampling, Service, load
from tmcli.records import Task, Trajectory, digest
from tmcli.score import judge


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


LOOKAHEAD = 4
"""Started but not yet taken episodes, in multiples of the concurrency."""

BREAKER = 8
"""So many invalid episodes at the very start, and no valid one, stop the run: the world is down."""

STREAK = 64
"""So many invalid episodes in a row stop it later."""

BATCH_S = 0.005
"""How long finished episodes wait for others, to be handed over together."""

USED = 32
"""How many episodes the caller uses before it says so."""


# ---- what is to be played ------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Job:
    """Samples of one task to play."""

    task: Task
    samples: tuple[int, ...] = (0,)
    enough: int | None = None
    """So many right ones are enough: no further sample is played then."""
    correct: int = 0
    """How many right ones there are already."""


def jobs(
    tasks: Iterable[Task],
    samples: int = 1,
    done: Container[str] = (),
    *,
    enough: int | None = None,
    shard: tuple[int, int] = (1, 1),
    order: Order | None = None,
) -> Iterator[Job]:
    """Every task `samples` times, leaving out the trajectory ids in `done`. `enough`: one sample after the
    other until so many are right, counting those that `done` (a mapping) says are.

    A task that comes twice is played once. `shard` (i, n): only each n-th task, from the i-th. `order`
    learns the order of the tasks.
    """
    order = Order() if order is None else order
    i, n = shard
    n_twice = position = 0
    for task in tasks:
        if not order.add(task.id):
            n_twice += 1
            continue
        position += 1
        if position % n != i % n:
            continue
        ids = {sample: f"{task.id}#{sample}" for sample in range(samples)}
        missing = tuple(sample for sample, name in ids.items() if name not in done)
        correct = 0
        if enough is not None and isinstance(done, Mapping):
            correct = sum(done.get(name) is True for name in ids.values())
        if missing and (enough is None or correct < enough):
            yield Job(task, missing, enough, correct)
    if n_twice:
        console.warn(f"{n_twice} tasks come more than once; each is played once")


def shard(text: str) -> tuple[int, int]:
    """`I/N` of `--shard`: (I, N). Nothing means all.

    >>> shard("2/4"), shard("")
    ((2, 4), (1, 1))
    """
    if not text.strip():
        return 1, 1
    first, slash, second = (part.strip() for part in text.partition("/"))
    if not (slash and first.isdecimal() and second.isdecimal() and 1 <= int(first) <= int(second)):
        raise UsageError(f"--shard {text!r} is no part of a whole", "write I/N, from 1/N to N/N")
    return int(first), int(second)


# ---- who plays -------------------------------------------------------------------------------------


class Player(ABC):
    """Plays many episodes at once, in an event loop of its own. Where one is played is told by `play`: here
    (`Runner`), or on other machines."""

    key: str
    """Hash of everything that shapes an episode: the resume key."""

    def __init__(self, concurrency: int, meter: Meter) -> None:
        self.concurrency = concurrency
        self.meter = meter
        self.stopped = ""
        """Why a run ended before its jobs did, where that is no error."""
        self._runs: list[_Run] = []
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None

    @abstractmethod
    async def play(self, task: Task, sample: int) -> Trajectory:
        """One episode, judged. Raises `Spent`, and what a wrong set-up raises."""

    @abstractmethod
    async def aclose(self) -> None:
        """End what episodes were played with."""

    def run(self, jobs: Iterable[Job], *, ordered: bool = True) -> Iterator[Trajectory]:
        """Play the jobs; judged trajectories come as they end, or in the order of the jobs.

        Raises `RunError` when the first `BREAKER` episodes all break on infrastructure; none of them is
        given then, so no output fills with them. Also when `STREAK` in a row do so later, and what an
        episode raised. All that is finished is given before. `stop` ends it with KeyboardInterrupt, a
        budget without an error, see `stopped`.
        """
        run = _Run(self, self._started(), jobs, ordered)
        self._runs.append(run)
        try:
            yield from run.given()
        finally:
            run.end()
            self._runs.remove(run)

    def stop(self, now: bool) -> bool:
        """Start no more episodes, and finish those that run, or cancel them `now`. False: nothing runs.
        May be called in a signal handler."""
        for run in self._runs:
            run.interrupt(now)
        return bool(self._runs)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for run in list(self._runs):
            run.end()
        loop = self._started()
        try:
            asyncio.run_coroutine_threadsafe(self.aclose(), loop).result()
        finally:
            loop.call_soon_threadsafe(loop.stop)
            if self._thread is not None:
                self._thread.join()

    def _started(self) -> asyncio.AbstractEventLoop:
        """The loop, running."""
        if self._loop is None:
            self._loop = asyncio.new_event_loop()
            self._thread = threading.Thread(target=_live, args=(self._loop,), name="episodes", daemon=True)
            self._thread.start()
        return self._loop


class Runner(Player):
    """One world of tools and one policy, for as many `run`s as wanted. Closes both."""

    def __init__(
        self,
        policy: Policy,
        limits: Limits,
        *,
        concurrency: int = 8,
        world: World | None = None,
        meter: Meter | None = None,
    ) -> None:
        super().__init__(concurrency, Meter() if meter is None else meter)
        self.policy = policy
        self.limits = limits
        self.world = World() if world is None else world
        # once, before any request: what a policy finds out about its server makes no other run of it
        self.key = digest([policy.name, policy.sampling, limits.to_json(), self.world.key])

    async def play(self, task: Task, sample: int) -> Trajectory:
        return judge(await play(task, sample, self.policy, self.world, self.limits, self.key))

    async def aclose(self) -> None:
        await self.policy.aclose()
        await self.world.close()


def _live(loop: asyncio.AbstractEventLoop) -> None:
    """The thread of the event loop."""
    asyncio.set_event_loop(loop)
    try:
        loop.run_forever()
        loop.run_until_complete(loop.shutdown_asyncgens())
        loop.run_until_complete(loop.shutdown_default_executor())
    finally:
        asyncio.set_event_loop(None)
        loop.close()


class Breaker:
    """Stops a run in which episodes only break. Goes by the order in which they were *started*, so that
    broken ones, which end soon, are not held against slow ones that go well.

        index = breaker.began()
        for index, trajectory in breaker.ended(index, trajectory): ...     # what may be written now
        if breaker.error: raise breaker.error
    """

    def __init__(self) -> None:
        self.error: RunError | None = None
        self.held: list[tuple[int, Trajectory]] = []
        """Broken ones from before the first valid one."""
        self._any_valid = False
        self._streak = 0
        self._first = 0
        self._ends: deque[bool | None] = deque()
        """Of the episodes from `_first` on: was it valid? None: it still runs."""

    def began(self) -> int:
        self._ends.append(None)
        return self._first + len(self._ends) - 1

    def ended(self, index: int, trajectory: Trajectory | None) -> list[tuple[int, Trajectory]]:
        """What may be written now. None: the episode was dropped."""
        broken = trajectory is not None and trajectory.status == "invalid"
        self._ends[index - self._first] = not broken
        while self._ends and self._ends[0] is not None:
            self._streak = 0 if self._ends.popleft() else self._streak + 1
            self._first += 1
        if trajectory is None:
            return []
        if broken:
            self._judge(trajectory.failure or "no reason given")
            if not self._any_valid:
                self.held.append((index, trajectory))
                return []
            return [(index, trajectory)]
        self._any_valid = True
        return [*self.over(), (index, trajectory)]

    def over(self) -> list[tuple[int, Trajectory]]:
        """What was held back, when the run has ended well."""
        held, self.held = self.held, []
        return held

    def _judge(self, failure: str) -> None:
        if not self._any_valid and self._streak >= BREAKER:
            self.error = RunError(
                f"the first {self._streak} episodes all broke: {failure}",
                "mend that and run again; nothing was learned about the policy",
            )
        elif self._streak >= STREAK:
            self.error = RunError(
                f"{self._streak} episodes in a row broke: {failure}",
                "mend that; what is done is kept, --resume continues",
            )


@dataclass(slots=True, eq=False)
class _Place:
    """A job's place in the order, and how far it is."""

    job: Job
    started: int = 0
    running: int = 0
    correct: int = 0
    given: int = 0
    ended: dict[int, Trajectory | None] = field(default_factory=dict)
    """Position in the job's samples -> what came of it, until it is given."""

    @property
    def startable(self) -> bool:
        """May one more sample start? With `enough`, only one that a run of one after the other would play
        too: as many at once as right ones are missing. So what is played does not depend on the concurrency
        or on where a run was stopped."""
        enough = self.job.enough
        return self.started < len(self.job.samples) and (
            enough is None or self.running < enough - self.job.correct - self.correct
        )

    @property
    def over(self) -> bool:
        return not self.running and not self.startable


class _Run:
    """One `run` of a player. `given`, `interrupt` and `end` belong to the caller's thread, `_pull` to the
    thread that takes the jobs, all the rest to the loop's."""

    def __init__(
        self, player: Player, loop: asyncio.AbstractEventLoop, jobs: Iterable[Job], ordered: bool
    ) -> None:
        self.player = player
        self.loop = loop
        self.jobs = jobs
        self.ordered = ordered
        self.error: BaseException | None = None
        self.batches: SimpleQueue[list[Trajectory] | None] = SimpleQueue()
        self.finished = threading.Event()
        self.stopping = False
        """No more episodes start."""
        # jobs on their way in
        self.permits: SimpleQueue[int] = SimpleQueue()
        self.inbox: deque[Job | None] = deque()
        self.asked = 0
        self.drained = False
        self.woken = False
        self.pulling = True
        self.puller = threading.Thread(target=self._pull, name="tasks", daemon=True)
        # episodes
        self.breaker = Breaker()
        self.tasks: set[asyncio.Task[Trajectory]] = set()
        self.startable: deque[_Place] = deque()
        self.places: deque[_Place] = deque()
        self.where: dict[int, tuple[_Place, int]] = {}
        self.waiting = 0
        """Episodes that were started and that the caller has not used yet."""
        self.out: list[Trajectory] = []
        self.flushing = False

    # ---- the caller's thread

    def given(self) -> Iterator[Trajectory]:
        """What is finished, as it comes."""
        self.puller.start()
        self._call(self._fill)
        used = 0
        while (batch := self.batches.get()) is not None:
            for trajectory in batch:
                yield trajectory
                used += 1
                if used == USED:
                    self._call(self._use, used)
                    used = 0
            if used:
                self._call(self._use, used)
                used = 0
        if self.error is not None:
            raise self.error

    def interrupt(self, now: bool) -> None:
        """A signal asks to stop."""
        self._call(self._interrupt, now)

    def end(self) -> None:
        """Cancel what is still played. An iterator that was left early may be closed after the runner."""
        if not self.finished.is_set():
            self._call(self._halt, GeneratorExit())
            self.finished.wait()
        if not self.pulling:  # else it waits for a task that may never come
            self.puller.join()

    def _call(self, what: Callable[..., None], *arguments: Any) -> None:
        with contextlib.suppress(RuntimeError):  # the loop is closed: there is nothing to do any more
            self.loop.call_soon_threadsafe(what, *arguments)

    # ---- the thread that takes the jobs

    def _pull(self) -> None:
        jobs = iter(self.jobs)
        self.pulling = False
        try:
            while n := self.permits.get():
                for _ in range(n):
                    if self.stopping:
                        return
                    self.pulling = True
                    job = next(jobs, None)
                    self.pulling = False
                    if job is None:
                        return
                    self._bring(job)
        except BaseException as error:  # noqa: BLE001 - raised where `run` was called
            self.pulling = False
            self._call(self._halt, error)
        finally:
            self._bring(None)

    def _bring(self, job: Job | None) -> None:
        self.inbox.append(job)
        if not self.woken:
            self.woken = True
            self._call(self._fill)

    # ---- the loop's thread

    def _fill(self) -> None:
        """Start what can start, and ask for more jobs."""
        self.woken = False
        while self.inbox:
            job = self.inbox.popleft()
            if job is None:
                self.drained = True
                continue
            self.asked -= 1
            place = _Place(job)
            if self.ordered:
                self.places.append(place)
            if place.startable:
                self.startable.append(place)
        self._start()

    def _start(self) -> None:
        while not self.stopping and len(self.tasks) < self.player.concurrency:
            place = self._next()
            if place is None:
                break
            if not self.player.meter.has_room(len(self.tasks)):
                if not self.tasks:
                    self._spent(self.player.meter.stopped or "the budget is used up")
                break
            sample = place.job.samples[place.started]
            task = self.loop.create_task(self.player.play(place.job.task, sample))
            task.add_done_callback(partial(self._done, place, place.started, self.breaker.began()))
            self.tasks.add(task)
            place.started += 1
            place.running += 1
            self.waiting += 1
            if not place.startable:
                self.startable.remove(place)  # one of the first two or three
        if not self.stopping and not self.drained:
            more = min(self.player.concurrency, self._room()) - len(self.startable) - self.asked
            if more > 0:
                self.asked += more
                self.permits.put(more)
        self._end_if_over()

    def _room(self) -> int:
        most = LOOKAHEAD * self.player.concurrency + min(len(self.breaker.held), BREAKER)
        return most - self.waiting

    def _next(self) -> _Place | None:
        """Whose sample starts next. The first in the order may always: the others wait for it."""
        if not self.startable:
            return None
        if self._room() > 0:
            return self.startable[0]
        if self.places and self.places[0].startable:
            return self.places[0]
        return None

    def _done(self, place: _Place, position: int, index: int, task: asyncio.Task[Trajectory]) -> None:
        self.tasks.discard(task)
        trajectory: Trajectory | None = None
        error = None if task.cancelled() else task.exception()
        if isinstance(error, Spent):
            self._spent(str(error))
        elif error is not None:
            self._halt(error)
        elif not task.cancelled():
            trajectory = task.result()
            self.player.meter.played(trajectory)
        self._ended(place, position, index, trajectory)

    def _ended(self, place: _Place, position: int, index: int, trajectory: Trajectory | None) -> None:
        could_start = place.startable
        place.running -= 1
        if trajectory is None:
            self.waiting -= 1
            place.ended[position] = None
        else:
            place.correct += trajectory.scores.get("answer") == 1.0
            self.where[index] = place, position
        if place.startable and not could_start:
            self.startable.appendleft(place)
        for released, whole in self.breaker.ended(index, trajectory):
            self._release(released, whole)
        if self.breaker.error is not None:
            self._halt(self.breaker.error)
        self._give()
        self._start()

    def _release(self, index: int, trajectory: Trajectory) -> None:
        place, position = self.where.pop(index)
        if self.ordered:
            place.ended[position] = trajectory
        else:
            self.out.append(trajectory)

    def _give(self) -> None:
        """Hand over what is due, together with what ends in the next moment."""
        while self.places:
            place = self.places[0]
            while place.given in place.ended:
                trajectory = place.ended.pop(place.given)
                place.given += 1
                if trajectory is not None:
                    self.out.append(trajectory)
            if place.given < place.started or not place.over:
                break
            self.places.popleft()
        if self.out and not self.flushing:
            self.flushing = True
            self.loop.call_later(BATCH_S, self._flush)

    def _flush(self) -> None:
        self.flushing = False
        if self.out:
            self.batches.put(self.out)
            self.out = []

    def _use(self, n: int) -> None:
        self.waiting -= n
        self._start()

    # ---- ends

    def _interrupt(self, now: bool) -> None:
        if now:
            self._halt(KeyboardInterrupt())
        elif self.error is None:
            self.error = KeyboardInterrupt()
            self.stopping = True
            if self.tasks:
                one = len(self.tasks) == 1
                episodes = "the episode that runs" if one else f"{len(self.tasks)} episodes"
                console.note(f"finishing {episodes}; Ctrl-C again stops now")
            self._end_if_over()

    def _spent(self, why: str) -> None:
        self.player.stopped = self.player.stopped or why
        self.stopping = True

    def _halt(self, error: BaseException) -> None:
        """Cancel all episodes; what is finished is still given, then `error` is raised."""
        self.error = self.error or error
        self.stopping = True
        for task in self.tasks:
            task.cancel()
        self._end_if_over()

    def _end_if_over(self) -> None:
        over = self.stopping or (self.drained and not self.startable)
        if not over or self.tasks or self.finished.is_set():
            return
        if self.error is None:
            for index, trajectory in self.breaker.over():
                self._release(index, trajectory)
        for place in self.places:
            self.out += [whole for _, whole in sorted(place.ended.items()) if whole is not None]
        self.places.clear()
        self.stopping = True
        self._flush()
        self.permits.put(0)
        self.batches.put(None)
        self.finished.set()
