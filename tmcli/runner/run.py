"""One run of many episodes: what starts when, and what is handed over when.

Three threads: the caller's, which uses what is finished; one that takes the jobs (`supply.py`); and the event
loop's, in which the episodes are played and everything is decided. So episodes go on whatever the other two
wait for.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections import deque
from collections.abc import Callable, Coroutine, Iterable, Iterator
from functools import partial
from queue import SimpleQueue
from typing import Any, Protocol

from tmcli import console
from tmcli.errors import Spent
from tmcli.meter import Meter
from tmcli.records import Task, Trajectory
from tmcli.runner.breaker import BREAKER, Breaker
from tmcli.runner.jobs import Job
from tmcli.runner.place import Place
from tmcli.runner.supply import Supply

LOOKAHEAD = 4
"""Started but not yet used episodes, in multiples of the concurrency."""

BATCH_S = 0.005
"""How long finished episodes wait for others, to be handed over together."""

USED = 32
"""How many episodes the caller uses before it says so."""


class Plays(Protocol):
    """What a run needs of its player."""

    concurrency: int
    meter: Meter
    stopped: str

    def play(self, task: Task, sample: int) -> Coroutine[Any, Any, Trajectory]: ...


class Run:
    """One `run` of a player. `given`, `interrupt` and `end` belong to the caller's thread, the rest to the
    loop's."""

    def __init__(
        self, player: Plays, loop: asyncio.AbstractEventLoop, jobs: Iterable[Job], ordered: bool
    ) -> None:
        self.player = player
        self.loop = loop
        self.supply = Supply(jobs, partial(self._call, self._fill), partial(self._call, self.halt))
        self.ordered = ordered
        self.error: BaseException | None = None
        self.batches: SimpleQueue[list[Trajectory] | None] = SimpleQueue()
        self.finished = threading.Event()
        self.stopping = False
        """No more episodes start."""
        self.breaker = Breaker()
        self.tasks: set[asyncio.Task[Trajectory]] = set()
        self.startable: deque[Place] = deque()
        self.places: deque[Place] = deque()
        self.where: dict[int, tuple[Place, int]] = {}
        self.waiting = 0
        """Episodes that were started and that the caller has not used yet."""
        self.out: list[Trajectory] = []
        self.flushing = False

    # ---- the caller's thread

    def given(self) -> Iterator[Trajectory]:
        """What is finished, as it comes."""
        self.supply.start()
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
            self._call(self.halt, GeneratorExit())
            self.finished.wait()
        self.supply.join()

    def _call(self, what: Callable[..., None], *arguments: Any) -> None:
        with contextlib.suppress(RuntimeError):  # the loop is closed: there is nothing to do any more
            self.loop.call_soon_threadsafe(self._guarded, what, *arguments)

    # ---- the loop's thread

    def _guarded(self, what: Callable[..., None], *arguments: Any) -> None:
        """A mistake in here must end the run: asyncio would log it, and the caller wait for ever."""
        try:
            what(*arguments)
        except BaseException as error:  # noqa: BLE001 - raised in the caller's thread
            self.halt(error)

    def _fill(self) -> None:
        """Start what can start, and ask for more jobs."""
        for job in self.supply.taken():
            place = Place(job)
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
                    self._spent(self.player.meter.stopped)
                break
            sample = place.job.samples[place.started]
            task = self.loop.create_task(self.player.play(place.job.task, sample))
            index = self.breaker.began()
            task.add_done_callback(partial(self._guarded, self._done, place, place.started, index))
            self.tasks.add(task)
            place.started += 1
            place.running += 1
            self.waiting += 1
            if not place.startable:
                self.startable.remove(place)  # one of the first two or three
        if not self.stopping and not self.supply.is_drained:
            more = min(self.player.concurrency, self._room()) - len(self.startable) - self.supply.n_asked
            if more > 0:
                self.supply.ask(more)
        self._end_if_over()

    def _room(self) -> int:
        most = LOOKAHEAD * self.player.concurrency + min(len(self.breaker.held), BREAKER)
        return most - self.waiting

    def _next(self) -> Place | None:
        """Whose sample starts next. The first in the order may always: the others wait for it."""
        if not self.startable:
            return None
        if self._room() > 0:
            return self.startable[0]
        if self.places and self.places[0].startable:
            return self.places[0]
        return None

    def _done(self, place: Place, position: int, index: int, task: asyncio.Task[Trajectory]) -> None:
        self.tasks.discard(task)
        trajectory: Trajectory | None = None
        error = None if task.cancelled() else task.exception()
        if isinstance(error, Spent):
            self._spent(str(error))
        elif error is not None:
            self.halt(error)
        elif not task.cancelled():
            trajectory = task.result()
            self.player.meter.played(trajectory)
        self._ended(place, position, index, trajectory)

    def _ended(self, place: Place, position: int, index: int, trajectory: Trajectory | None) -> None:
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
            self.halt(self.breaker.error)
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
            self.loop.call_later(BATCH_S, self._guarded, self._flush)

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
            self.halt(KeyboardInterrupt())
        elif self.error is None:
            self.error = KeyboardInterrupt()
            self._start_no_more()
            if self.tasks:
                one = len(self.tasks) == 1
                episodes = "the episode that runs" if one else f"{len(self.tasks)} episodes"
                console.note(f"finishing {episodes}; Ctrl-C again stops now")
            self._end_if_over()

    def _spent(self, why: str) -> None:
        self.player.stopped = self.player.stopped or why
        self._start_no_more()

    def halt(self, error: BaseException) -> None:
        """Cancel all episodes; what is finished is still given, then `error` is raised."""
        self.error = self.error or error
        self._start_no_more()
        for task in self.tasks:
            task.cancel()
        self._end_if_over()

    def _start_no_more(self) -> None:
        self.stopping = True
        self.supply.close()

    def _end_if_over(self) -> None:
        over = self.stopping or (self.supply.is_drained and not self.startable)
        if not over or self.tasks or self.finished.is_set():
            return
        if self.error is None:
            for index, trajectory in self.breaker.over():
                self._release(index, trajectory)
        for place in self.places:
            self.out += [whole for _, whole in sorted(place.ended.items()) if whole is not None]
        self.places.clear()
        self._start_no_more()
        self._flush()
        self.batches.put(None)
        self.finished.set()
