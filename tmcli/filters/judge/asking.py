"""One model behind a server, asked short questions about many records at once.

    with Asking("gpt-4o", service, price, budget) as asking:
        for item, found in asking.run(items, work): ...

    async def work(item):                       # in the event loop
        async with asking.room() as room:
            if room is None: ...                # the budget is used up
            said = await room.ask(messages)     # Said(text, trouble)

Limits, retries, cache and budget are those of `policies/openai`. The questions about one record go to one
server, which has read it by then.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine, Iterable, Iterator
from contextlib import asynccontextmanager
from typing import Any, NamedTuple, Self, TypeVar

from tmcli.errors import PolicyFailure, UsageError
from tmcli.filters.inorder import InOrder
from tmcli.filters.judge.estimate import MAX_NEW_TOKENS
from tmcli.ledger import spent
from tmcli.meter import Budget, Meter, Price
from tmcli.policies import Sampling, Service, is_local, is_scripted
from tmcli.policies.openai import OpenAI
from tmcli.policies.openai.dialect import refused
from tmcli.policies.openai.outcomes import Unfit, finish
from tmcli.policies.openai.speech import listen
from tmcli.policies.openai.usage import tokens
from tmcli.records import Json

T = TypeVar("T")
R = TypeVar("R")

BLIND = 16
"""So many records at the start without a single verdict stop a run: it costs, and brings nothing."""
USED_UP = "not asked: the budget is used up"
TOO_LONG = "not asked: the record is too long to be shown whole"


class Said(NamedTuple):
    """What a judge answered."""

    text: str
    trouble: str = ""
    """Why there is no verdict in it, should there be none."""


class Asking:
    """One judge, for a whole run."""

    def __init__(
        self,
        policy: str,
        service: Service = Service(),
        price: Price | None = None,
        budget: Budget | None = None,
        concurrency: int = 8,
    ) -> None:
        """Raises `UsageError` where the policy is no model behind a server."""
        if is_scripted(policy) or is_local(policy):
            raise UsageError(
                f"--judge {policy}: a judge is a model behind a server",
                "name one as gpt-4o or MODEL@URL; vllm serve and llama-server make one of a local model",
            )
        self.meter = Meter(price, budget or Budget())
        sampling = Sampling(max_new_tokens=MAX_NEW_TOKENS)
        self.policy = OpenAI(policy, sampling, service=service, meter=self.meter)
        self._many = InOrder(self.policy.aclose, concurrency)
        self._running = 0
        self._ended = asyncio.Event()

    @property
    def metrics(self) -> dict[str, float]:
        """What it took, for a `run` record."""
        meter = self.meter
        took: dict[str, float] = {"requests": meter.requests, "cached": meter.cached}
        took |= {"prompt_tokens": meter.prompt_tokens, "completion_tokens": meter.completion_tokens}
        return took if meter.usd is None else took | {"usd": round(meter.usd, 10)}

    def spent(self) -> str:
        """The same as a sentence; empty where nobody was asked."""
        said = spent(self.meter)
        return f"--judge {self.policy.name}: {said}" if said else ""

    def run(self, items: Iterable[T], work: Callable[[T], Coroutine[Any, Any, R]]) -> Iterator[tuple[T, R]]:
        """Each item with what became of it, in order."""
        return self._many.run(items, work)

    def __enter__(self) -> Self:
        self._many.__enter__()
        return self

    def __exit__(self, *error: object) -> None:
        self._many.__exit__(*error)

    # ---- in the event loop

    @asynccontextmanager
    async def room(self) -> AsyncIterator[Room | None]:
        """For the questions about one record, once the budget has room for one more; None: it is used up."""
        while not self.meter.has_room(self._running):
            if not self._running:
                yield None
                return
            self._ended.clear()
            await self._ended.wait()
        self._running += 1
        try:
            yield Room(self.policy, self.meter)
        finally:
            self._running -= 1
            self._ended.set()


class Room:
    """The questions about one record."""

    def __init__(self, policy: OpenAI, meter: Meter) -> None:
        self._policy = policy
        self._meter = meter
        self._stick = policy.stick()
        self._used: list[tuple[int, int]] = []

    async def ask(self, messages: list[Json], seed: int = 0) -> Said:
        """One request. Raises `Spent` when the budget is used up, and what a wrong set-up raises."""
        policy = self._policy
        try:
            choice = await policy.dialect.ask(policy, lambda _: {"messages": messages}, seed, self._stick)
        except Unfit as unfit:
            return Said("", str(refused(unfit, "text")))
        except PolicyFailure as failure:
            return Said("", str(failure))
        self._used.append(tokens(choice))
        speech = listen(choice)
        ended = finish(choice.get("finish_reason"), speech.refusal)
        if ended == "refusal":
            return Said(speech.said, f"it refused: {speech.refusal}")
        return Said(speech.said, "its reply was cut before a verdict" if ended == "length" else "")

    def done(self) -> None:
        """All was asked: what it took tells the budget what the next one will take."""
        self._meter.took(len(self._used), sum(n for n, _ in self._used), sum(n for _, n in self._used))
