"""Episodes on the workers of a Ray cluster: a player like `Runner`, on many machines.

    with Cluster(setup, "10.0.0.5:6379", workers=16) as cluster:
        for trajectory in cluster.run(jobs(tasks, samples=4)):
            ...

Each worker is a process with a runner of its own. The driver, here, hands out episodes and alone writes, so
a worker or a machine that dies loses nothing and doubles nothing: what it had not handed over is played again
elsewhere. No worker waits for another: each always holds a few episodes more than it plays at once.
"""

from __future__ import annotations

import asyncio
import os
from collections import deque
from collections.abc import Iterable
from contextlib import ExitStack
from math import ceil
from types import TracebackType
from typing import Self

from tmcli import console
from tmcli.cluster.connection import connection
from tmcli.cluster.errand import Errand, Hand
from tmcli.cluster.shares import Shares
from tmcli.cluster.worker import NAMES, Opened, Parcel, Report, Worker
from tmcli.errors import RunError, Spent, UsageError
from tmcli.meter import REMEDY, Meter
from tmcli.policies import is_local
from tmcli.records import Task, Trajectory, decode, encode, expect
from tmcli.runner import Player, Setup

LOST = 5
"""So many workers may die over one episode, or before they are ready, until the run stops."""
PATIENCE_S = 30.0
"""So long without any worker, and the user is told."""
CLOSE_S = 5.0
"""So long workers have to end what they started."""


class Cluster(Player):
    """A player whose episodes are played by `workers` processes, each `setup.concurrency` at once."""

    def __init__(self, setup: Setup, address: str | None = None, workers: int | None = None) -> None:
        super().__init__(setup.concurrency, Meter(setup.price, setup.budget))
        self.setup = setup
        self.address = address
        self.workers = workers
        self._room = setup.concurrency + max(1, setup.concurrency // 8)
        """Of a worker: so that it has the next at hand."""
        self._shares = Shares(self.meter)
        self._queue: deque[Errand] = deque()
        self._hands: list[Hand] = []
        self._services: list[asyncio.Task[None]] = []
        self._changed = asyncio.Event()
        self._n_errands = self._n_started = self._n_stillborn = 0
        self._first: asyncio.Future[Opened]
        self._stack = ExitStack()

    # ---- open and close: the caller's thread ---------------------------------------------------------

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            self._ray = stack.enter_context(connection(self.address))
            there = self._ray.cluster_resources()
            n = self.workers or max(1, int(there.get("CPU", 1)))
            self._gpus = 1 if is_local(self.setup.policy) and there.get("GPU") else 0
            machines = sum(node["Alive"] for node in self._ray.nodes())
            cluster = f"a Ray cluster of {machines} machine{'s' * (machines > 1)}"
            console.note(f"{n} worker{'s' * (n > 1)} on {cluster}")
            self.concurrency = n * self._room
            stack.push(super().__exit__)
            self.key = asyncio.run_coroutine_threadsafe(self._open(n), self._started()).result().key
            self._stack = stack.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.__exit__(kind, error, trace)

    # ---- the loop's thread ---------------------------------------------------------------------------

    async def _open(self, n: int) -> Opened:
        """Start the workers; the first that is ready, or why none can be."""
        self._first = asyncio.get_running_loop().create_future()
        self._services = [asyncio.create_task(self._service()) for _ in range(n)]
        waiting = asyncio.create_task(self._tell_waiting())
        try:
            return await self._first
        finally:
            waiting.cancel()

    async def play(self, task: Task, sample: int) -> Trajectory:
        for service in self._services:
            if service.done():
                service.result()  # what ended it ends the run
        self._n_errands += 1
        parcel = Parcel(self._n_errands, encode(task), sample)
        errand = Errand(parcel, asyncio.get_running_loop().create_future())
        self._queue.append(errand)
        self._changed.set()
        return await errand.result

    async def aclose(self) -> None:
        for service in self._services:
            service.cancel()
        await asyncio.gather(*self._services, return_exceptions=True)
        ends = [hand.actor.close.remote().as_future() for hand in self._hands if hand.opened]
        if ends:
            ended, _ = await asyncio.wait(ends, timeout=CLOSE_S)
            for end in ended:
                end.exception()  # whatever it was: the worker is ended now
        for hand in self._hands:
            self._ray.kill(hand.actor)

    async def _service(self) -> None:
        """Keep one worker busy; when it dies, another in its place."""
        try:
            while True:
                hand = self._start()
                try:
                    await self._greet(hand)
                    while True:
                        await self._exchange(hand)
                except self._ray.exceptions.RayTaskError as error:
                    raise error.cause from error
                except self._ray.exceptions.RayError as error:
                    self._mourn(hand, error)
        except Exception as error:
            if not self._first.done():
                self._first.set_exception(error)
            for errand in [*self._queue, *(errand for hand in self._hands for errand in hand.held.values())]:
                errand.settle(error)
            raise

    def _start(self) -> Hand:
        """A worker where a machine of the cluster has room, now or later."""
        remote = self._ray.remote(num_cpus=1, num_gpus=self._gpus, scheduling_strategy="SPREAD")
        self._n_started += 1
        hand = Hand(f"w{self._n_started}", remote(Worker).remote())
        self._hands.append(hand)
        return hand

    async def _greet(self, hand: Hand) -> None:
        """Tell a worker what is played; it is ready, or says why it cannot be."""
        told = {name: os.environ[name] for name in NAMES if os.environ.get(name)}
        answer: Opened | Exception = await hand.actor.open.remote(self.setup, os.getcwd(), told)
        if isinstance(answer, Exception):
            raise answer
        first = self._first.result() if self._first.done() else answer
        for what, there in answer.versions.items():
            if there != first.versions[what]:
                raise UsageError(
                    f"{answer.host} has {what} {there}, {first.host} has {first.versions[what]}",
                    "install the same on all machines of the cluster",
                )
        if answer.key != first.key:
            raise UsageError(
                f"what is played on {answer.host} is not what is played on {first.host}",
                "the checkpoint and the environment variables must be the same on all machines",
            )
        hand.opened = answer
        self._n_stillborn = 0
        if not self._first.done():
            self._first.set_result(answer)

    async def _exchange(self, hand: Hand) -> None:
        """Give the worker what it has room for, and take what it has played."""
        workers = [one for one in self._hands if one.opened]
        fair = ceil((len(self._queue) + sum(len(one.held) for one in workers)) / len(workers))
        n = min(len(self._queue), max(0, min(fair, self._room) - len(hand.held)))
        share = self._shares.grant(hand.name, len(hand.held) + n, len(workers))
        if share is None:
            n = 0
            share = self._shares.held(hand.name)
            if not any(one.held for one in workers):  # nobody will give anything back
                self._drop(self._queue)
                self._queue.clear()
        taken = [self._queue.popleft() for _ in range(n)]
        hand.held |= {errand.parcel.number: errand for errand in taken}
        if not hand.held:
            self._changed.clear()
            await self._changed.wait()
            return
        report: Report = await hand.actor.exchange.remote([errand.parcel for errand in taken], share)
        report.count.add_to(self.meter)
        hand.limit = report.count.limit
        limits = [one.limit for one in workers if one.limit is not None]
        self.meter.limit = sum(limits) if limits else None
        for number, line in report.played:
            hand.held.pop(number).settle(expect(decode(line), Trajectory))
        for number, error in report.failed:
            hand.held.pop(number).settle(error)
        dropped = [hand.held.pop(number) for number in report.dropped]
        self._shares.used(hand.name, report.count.amounts(), share, len(hand.held))
        if dropped and self.meter.has_room(0):
            self._queue.extendleft(dropped)  # its share was too small, the whole is not used up
        else:
            self._drop(dropped)
        self._changed.set()

    def _drop(self, errands: Iterable[Errand]) -> None:
        """The budget does not reach for these."""
        for errand in errands:
            errand.settle(Spent(self.meter.stopped or "the budget is nearly used up", REMEDY))

    def _mourn(self, hand: Hand, error: Exception) -> None:
        """A worker died: what it held is played elsewhere."""
        reason = str(error).strip().split("\n")[0][:300] or type(error).__name__
        self._hands.remove(hand)
        self._ray.kill(hand.actor)
        self._shares.died(hand.name, len(hand.held))
        if hand.opened is None:
            self._n_stillborn += 1
            if self._n_stillborn > LOST:
                raise RunError(
                    f"the workers cannot start: {reason}",
                    "see whether python -m tmcli --version runs on each machine of the cluster",
                )
            return
        console.warn(f"a worker on {hand.opened.host} died; {len(hand.held)} episodes are played again")
        console.detail(reason)
        for errand in hand.held.values():
            errand.deaths += 1
            if errand.deaths > LOST:
                errand.settle(
                    RunError(
                        f"{errand.deaths} workers died while they played one task: {reason}",
                        "what is done is kept, --resume continues; -v tells more",
                    )
                )
            else:
                self._queue.append(errand)
        hand.held.clear()
        self._changed.set()

    async def _tell_waiting(self) -> None:
        await asyncio.sleep(PATIENCE_S)
        room = "a CPU and a GPU" if self._gpus else "a CPU"
        console.warn(f"no worker has found room on the cluster yet; each needs {room}")
