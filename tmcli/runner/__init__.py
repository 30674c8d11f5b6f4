"""Many episodes at once: concurrent inside, plain iterators outside.

    with Runner(policy, limits, concurrency=8) as runner:
        for trajectory in runner.run(jobs(tasks, samples=4)):
            ...

Episodes go on whatever the caller does with what is finished, and however long the next task takes to come.
There is no barrier anywhere. What waits is bounded in both directions, so memory does not grow with the
number of episodes.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from tmcli.environments.recording import Recorder
from tmcli.environments.world import World
from tmcli.episode import Limits, play
from tmcli.errors import InputError
from tmcli.meter import Budget, Meter, Price
from tmcli.policies import Policy, Sampling, Service, load
from tmcli.records import Task, Trajectory, digest
from tmcli.runner.breaker import BREAKER, STREAK, Breaker
from tmcli.runner.jobs import Job, jobs, shard
from tmcli.runner.player import Player
from tmcli.runner.run import LOOKAHEAD
from tmcli.score import judge

__all__ = ["BREAKER", "LOOKAHEAD", "STREAK", "Breaker", "Job", "Player", "Runner", "Setup", "jobs", "shard"]


@dataclass(frozen=True, slots=True)
class Setup:
    """Everything a runner is made of, as plain data that can be sent to another machine."""

    policy: str
    """As users name it."""
    sampling: Sampling = field(default_factory=Sampling)
    limits: Limits = field(default_factory=Limits)
    service: Service = field(default_factory=Service)
    concurrency: int = 8
    """Episodes at once."""
    price: Price | None = None
    budget: Budget = field(default_factory=Budget)
    timeout_s: float = 10.0
    """Of one call of a tool."""
    simulate: bool = False
    """Answer from the tools' documents where a server would be asked."""
    replay: str | None = None
    """A file whose calls are answered again; no tool runs then."""
    max_batch_tokens: int | None = None
    """Tokens of all episodes that a local model holds at once; None: what memory allows."""

    def open(self, record: Recorder | None = None) -> Runner:
        """A runner, with a policy and a world of its own."""
        meter = Meter(self.price, self.budget)
        world = World(self.timeout_s, simulate=self.simulate, record=record, replay=self.replay)
        style, most = self.limits.style, self.max_batch_tokens
        policy = load(self.policy, self.sampling, style, self.service, meter, max_batch_tokens=most)
        return Runner(policy, self.limits, concurrency=self.concurrency, world=world, meter=meter)


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
        try:
            return judge(await play(task, sample, self.policy, self.world, self.limits, self.key))
        except InputError as error:
            raise error.at(f"task {task.id}", None) from error

    async def aclose(self) -> None:
        await self.policy.aclose()
        await self.world.close()
