"""One worker of a cluster: a runner of its own, fed by the driver.

The driver and a worker exchange: new episodes go there, and those that ended come back, as plain bytes.
A worker writes nothing; when it dies, only what it had not handed over is played again.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import platform
import socket
from collections import Counter
from dataclasses import dataclass, field, replace
from importlib.metadata import version

from tmcli.errors import Spent
from tmcli.meter import Budget, Meter
from tmcli.prices import BASE_URLS
from tmcli.records import Task, decode, encode, expect
from tmcli.runner import Runner, Setup

BEAT_S = 1.0
"""At the latest then a worker reports, also when nothing has ended."""
LINGER_S = 0.01
"""What ends so shortly after the first travels with it."""

NAMES = ("OPENAI_API_KEY", *BASE_URLS, "TOOLBENCH_KEY")
"""Variables that a worker is told by the driver. They travel as arguments of a call: the environments that
Ray knows of (`runtime_env`) are written to its logs and shown on its dashboard."""


@dataclass(frozen=True, slots=True)
class Parcel:
    """An episode to play, on its way."""

    number: int
    task: bytes
    sample: int


@dataclass(frozen=True, slots=True)
class Opened:
    """Who a worker is."""

    host: str
    pid: int
    key: str
    versions: dict[str, str]


@dataclass(slots=True)
class Count:
    """What a worker asked of servers: since its last report, but for `limit`."""

    requests: int = 0
    retries: Counter[str] = field(default_factory=Counter)
    cached: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    usd: float = 0.0
    limit: int | None = None

    @classmethod
    def of(cls, meter: Meter) -> Count:
        """All so far."""
        return cls(
            meter.requests,
            Counter(meter.retries),
            meter.cached,
            meter.prompt_tokens,
            meter.completion_tokens,
            meter.usd or 0.0,
            meter.limit,
        )

    def since(self, before: Count) -> Count:
        return Count(
            self.requests - before.requests,
            self.retries - before.retries,
            self.cached - before.cached,
            self.prompt_tokens - before.prompt_tokens,
            self.completion_tokens - before.completion_tokens,
            self.usd - before.usd,
            self.limit,
        )

    def amounts(self) -> dict[str, float]:
        """By the names of a budget."""
        tokens = self.prompt_tokens + self.completion_tokens
        return {"usd": self.usd, "requests": self.requests, "tokens": tokens}

    def add_to(self, meter: Meter) -> None:
        meter.requests += self.requests
        meter.retries += self.retries
        meter.cached += self.cached
        meter.prompt_tokens += self.prompt_tokens
        meter.completion_tokens += self.completion_tokens
        if meter.usd is not None:
            meter.usd += self.usd


@dataclass(slots=True)
class Report:
    """What came of a worker's episodes since its last report."""

    played: list[tuple[int, bytes]] = field(default_factory=list)
    """Number of the parcel, its judged trajectory."""
    dropped: list[int] = field(default_factory=list)
    """Parcels that its share of the budget did not reach for."""
    failed: list[tuple[int, Exception]] = field(default_factory=list)
    """What an episode raised: something that must stop the run."""
    count: Count = field(default_factory=Count)


class Worker:
    """What runs on the machines of the cluster: an actor whose calls share one event loop."""

    def __init__(self) -> None:
        self.runner: Runner | None = None
        self.running: dict[asyncio.Task[bytes], int] = {}
        self.reported = Count()

    async def open(self, setup: Setup, folder: str, told: dict[str, str]) -> Opened | Exception:
        """Build the runner. An error that the user should read comes back as a value: raised, Ray would
        wrap it."""
        with contextlib.suppress(OSError):  # where there is such a folder, paths mean what the user means
            os.chdir(folder)
        os.environ.update(told)
        try:
            # The driver keeps the budget; a share of it comes with each exchange.
            self.runner = replace(setup, budget=Budget()).open()
        except Exception as error:  # noqa: BLE001 - told by the driver
            return error
        self.slots = asyncio.Semaphore(setup.concurrency)
        return Opened(
            socket.gethostname(),
            os.getpid(),
            self.runner.key,
            {"tm": version("tmcli"), "Python": platform.python_version()},
        )

    async def exchange(self, parcels: list[Parcel], share: Budget) -> Report:
        """Take new episodes; wait until one ends, or for a second; what has ended."""
        assert self.runner is not None
        self.runner.meter.budget = share
        for parcel in parcels:
            self.running[asyncio.create_task(self._play(self.runner, parcel))] = parcel.number
        if self.running:
            ended, _ = await asyncio.wait(self.running, timeout=BEAT_S, return_when=asyncio.FIRST_COMPLETED)
            if ended:
                await asyncio.sleep(LINGER_S)
        report = Report()
        for episode in [one for one in self.running if one.done()]:
            number = self.running.pop(episode)
            try:
                report.played.append((number, episode.result()))
            except Spent:
                report.dropped.append(number)
            except Exception as error:  # noqa: BLE001 - raised by the driver
                report.failed.append((number, error))
        now = Count.of(self.runner.meter)
        report.count, self.reported = now.since(self.reported), now
        return report

    async def close(self) -> None:
        """End what runs: connections, tools, their processes."""
        for episode in self.running:
            episode.cancel()
        await asyncio.gather(*self.running, return_exceptions=True)
        if self.runner is not None:
            await self.runner.aclose()

    async def _play(self, runner: Runner, parcel: Parcel) -> bytes:
        async with self.slots:
            return encode(await runner.play(expect(decode(parcel.task), Task), parcel.sample))
