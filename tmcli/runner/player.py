"""Whoever plays many episodes at once, here or on other machines."""

from __future__ import annotations

import asyncio
import threading
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator
from functools import partial
from types import TracebackType
from typing import Self

from tmcli.meter import Meter
from tmcli.records import Task, Trajectory
from tmcli.runner.jobs import Job
from tmcli.runner.run import Run


class Player(ABC):
    """Plays in an event loop in a thread of its own. Where one episode is played, `play` tells."""

    key: str
    """Hash of everything that shapes an episode: the resume key."""

    def __init__(self, concurrency: int, meter: Meter) -> None:
        self.concurrency = concurrency
        self.meter = meter
        self.stopped = ""
        """Why a run ended before its jobs did, where that is no error."""
        self._runs: list[Run] = []
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None

    @property
    def running(self) -> int:
        """Episodes that are played at this moment."""
        return sum(len(run.tasks) for run in self._runs)

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
        run = Run(self, self._started(), jobs, ordered)
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
            self._loop = self._thread = None  # a later `run` begins anew

    def _started(self) -> asyncio.AbstractEventLoop:
        """The loop, running."""
        if self._loop is None:
            self._loop = asyncio.new_event_loop()
            live = partial(self._live, self._loop)
            self._thread = threading.Thread(target=live, name="episodes", daemon=True)
            self._thread.start()
        return self._loop

    def _live(self, loop: asyncio.AbstractEventLoop) -> None:
        """The thread of the event loop. At the end, whatever still runs in it is cancelled."""
        with asyncio.Runner(loop_factory=lambda: loop):
            while True:
                try:
                    loop.run_forever()
                except SystemExit as error:  # nobody reads a recording any more; asyncio lets that through
                    for run in self._runs:
                        run.halt(error)
                else:
                    return
