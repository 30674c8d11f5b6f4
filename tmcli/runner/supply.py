"""Jobs on their way in, taken by a thread of its own: the next task may be long in coming.

    supply = Supply(jobs, on_more, on_error)        # both are called in that thread
    supply.start()
    supply.ask(4)
    for job in supply.taken(): ...
    supply.close()

All but `on_more` and `on_error` belongs to one other thread, `start` and `join` apart.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from queue import SimpleQueue

from tmcli.runner.jobs import Job


class Supply:
    """The jobs of one run."""

    def __init__(
        self, jobs: Iterable[Job], on_more: Callable[[], None], on_error: Callable[[BaseException], None]
    ) -> None:
        self.n_asked = 0
        """Asked for, and not taken yet."""
        self.is_drained = False
        """All that there were are taken."""
        self._jobs = jobs
        self._on_more = on_more
        self._on_error = on_error
        self._permits: SimpleQueue[int] = SimpleQueue()
        self._inbox: deque[Job | None] = deque()
        self._told = False
        """Was it said that there is more in the inbox?"""
        self._is_pulling = True
        self._is_closed = False
        self._thread = threading.Thread(target=self._pull, name="tasks", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def ask(self, n: int) -> None:
        """Bring `n` more."""
        self.n_asked += n
        self._permits.put(n)

    def taken(self) -> Iterator[Job]:
        """What has come."""
        self._told = False
        while self._inbox:
            job = self._inbox.popleft()
            if job is None:
                self.is_drained = True
            else:
                self.n_asked -= 1
                yield job

    def close(self) -> None:
        """No more jobs are wanted."""
        self._is_closed = True
        self._permits.put(0)

    def join(self) -> None:
        """Wait for the thread of a closed one, unless it waits for a task that may never come."""
        if not self._is_pulling and self._thread.ident is not None:
            self._thread.join()

    def _pull(self) -> None:
        try:
            jobs = iter(self._jobs)
            while n := self._wait():
                for _ in range(n):
                    # in this order: `join` must not wait for a task that nobody wants any more
                    self._is_pulling = True
                    if self._is_closed or (job := next(jobs, None)) is None:
                        return
                    self._bring(job)
        except BaseException as error:  # noqa: BLE001 - raised where the run was called
            self._on_error(error)
        finally:
            self._is_pulling = False
            self._bring(None)

    def _wait(self) -> int:
        self._is_pulling = False
        return self._permits.get()

    def _bring(self, job: Job | None) -> None:
        self._inbox.append(job)
        if not self._told:
            self._told = True
            self._on_more()
