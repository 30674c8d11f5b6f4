"""Children that serve many sessions each: a few for a whole run, one for each processor.

    rooms = Rooms(zygote, timeout_s=10.0)
    child = await rooms.least_full()
    number = child.join()

For code that is ours, see `toolbox.py`. A session costs no process then, only its world.
"""

from __future__ import annotations

import asyncio
import os

from tmcli.environments.child import Child
from tmcli.environments.children import Zygote

MAX_ROOMS = max(1, min(4, os.cpu_count() or 1))
"""More are opened only when these are full."""
FULL = 256
"""Sessions of one child, which bounds the worlds it holds."""


class Rooms:
    """The shared children of one zygote."""

    def __init__(self, zygote: Zygote, timeout_s: float) -> None:
        self.zygote = zygote
        self.timeout_s = timeout_s
        self._open: list[Child] = []
        self._door = asyncio.Lock()

    async def least_full(self) -> Child:
        """One that has room for a session: join it before anything is awaited."""
        async with self._door:
            for ended in [child for child in self._open if child.end is not None]:
                ended.close()
                self._open.remove(ended)
            most = 1 if len(self._open) < MAX_ROOMS else FULL
            child = min(self._open, key=lambda child: len(child.sessions), default=None)
            if child is not None and len(child.sessions) < most:
                return child
            child = await Child.open(self.zygote, self.timeout_s, shared=True)
            self._open.append(child)
            return child

    def close(self) -> None:
        """End them all."""
        for child in self._open:
            child.close()
        self._open.clear()
