"""Episodes on their way to workers and back, as the driver keeps account of them."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import Any

from tmcli.cluster.worker import Opened, Parcel
from tmcli.records import Trajectory


@dataclass(eq=False, slots=True)
class Errand:
    """An episode that waits to be played, or is."""

    parcel: Parcel
    result: asyncio.Future[Trajectory]
    deaths: int = 0
    """Workers that died while they held it."""

    def settle(self, what: Trajectory | Exception) -> None:
        """Tell who waits for it what came of it."""
        if self.result.done():  # cancelled: nobody waits any more
            return
        if isinstance(what, Exception):
            self.result.set_exception(what)
        else:
            self.result.set_result(what)


@dataclass(eq=False, slots=True)
class Hand:
    """The driver's end of a worker."""

    name: str
    actor: Any
    opened: Opened | None = None
    held: dict[int, Errand] = field(default_factory=dict)
    """What it has not handed over."""
    limit: int | None = None
    """Requests that its servers may be sent at once, as it last said."""
