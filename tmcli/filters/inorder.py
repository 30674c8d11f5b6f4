"""Slow work on many records at once; what comes of it, in the order of the records.

    with InOrder(world.close, concurrency=8) as many:
        for item, result in many.run(items, work):      # work: item -> coroutine
            ...

The work is done in an event loop in a thread of its own. No more than `concurrency` items are worked on at
once, and few wait on either side, so memory does not grow with their number. What work raises is raised where
its result is due; leaving early calls off what still runs.
"""

from __future__ import annotations

import asyncio
import threading
from collections import deque
from collections.abc import Awaitable, Callable, Coroutine, Iterable, Iterator
from concurrent.futures import Future
from typing import Any, Self, TypeVar

T = TypeVar("T")
R = TypeVar("R")

LOOKAHEAD = 4
"""Items begun and not yet given back, in multiples of the concurrency."""


class InOrder:
    """One event loop, for as many `run`s as wanted, one after the other."""

    def __init__(self, aclose: Callable[[], Awaitable[None]], concurrency: int = 8) -> None:
        """`aclose`: what ends the machinery that the work needs."""
        self.concurrency = concurrency
        self._aclose = aclose
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._live, name="in order", daemon=True)

    def run(self, items: Iterable[T], work: Callable[[T], Coroutine[Any, Any, R]]) -> Iterator[tuple[T, R]]:
        """Each item with its result."""
        slots = asyncio.Semaphore(self.concurrency)  # first come, first served
        begun: deque[tuple[T, Future[R]]] = deque()

        async def one(item: T) -> R:
            async with slots:
                return await work(item)

        try:
            for item in items:
                begun.append((item, asyncio.run_coroutine_threadsafe(one(item), self._loop)))
                while begun and (len(begun) >= LOOKAHEAD * self.concurrency or begun[0][1].done()):
                    yield _due(begun)
            while begun:
                yield _due(begun)
        finally:
            for _, result in begun:
                result.cancel()

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        asyncio.run_coroutine_threadsafe(self._end(), self._loop).result()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()

    async def _end(self) -> None:
        """What was called off comes to its end first."""
        me = asyncio.current_task()
        running = [task for task in asyncio.all_tasks() if task is not me]
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)
        await self._aclose()

    def _live(self) -> None:
        with asyncio.Runner(loop_factory=lambda: self._loop) as runner:
            runner.get_loop().run_forever()


def _due(begun: deque[tuple[T, Future[R]]]) -> tuple[T, R]:
    item, result = begun[0]
    found = result.result()
    begun.popleft()
    return item, found
