"""What a run would ask and cost, before anything is asked (`--dry-run`).

    estimate(jobs(tasks, samples=4), setup).tell()

Nothing is sent and nothing written. The size of each task's first request is known exactly: system prompt,
tools and question. What follows is known only in part:

    low       all calls at once, then the answer: two requests, hardly longer than the first
    typical   as the scripted expert plays it in its environment, in twice its words; where it cannot (no
              plan, or tools that are not ours to call here): six turns of middling size
    high      every episode uses all its turns and fills its context, evenly

Each turn sends the whole dialogue again, so prompts grow with the turns; a server that caches prefixes may
bill less of them. A token is taken to be four characters. Thoughts that a server bills and hides come on top.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Iterable, Iterator
from dataclasses import astuple, dataclass, replace

import orjson

from tmcli import console
from tmcli.environments.world import World
from tmcli.episode import play
from tmcli.errors import TmError
from tmcli.meter import CHARS_PER_TOKEN, Price
from tmcli.policies import is_local, is_scripted
from tmcli.policies.scripted import Scripted
from tmcli.protocol import prompt
from tmcli.records import Json, Task
from tmcli.runner import Job, Setup

PER_MESSAGE = 4
"""Tokens of the marks around each message."""
N_PLAYED = 40
"""Tasks the expert plays to see how an episode grows, drawn from all of them."""
AT_ONCE = 8
OURS = ("toolbox", "python")
"""Environments that can be played without asking anybody."""
WORDS = 2.0
"""How much more a model says than the expert, who says what is needed. Ours, as are the next three."""
TURNS, SAID, HEARD = 6, 120, 150
"""A middling episode where nobody can play it: turns, and tokens said and heard in each."""


@dataclass(frozen=True, slots=True)
class Amount:
    """So much is asked for."""

    requests: float = 0.0
    tokens_in: float = 0.0
    tokens_out: float = 0.0

    def usd(self, price: Price | None) -> float | None:
        return None if price is None else price.of(self.tokens_in, self.tokens_out)


@dataclass(frozen=True, slots=True)
class Shape:
    """How an episode goes on from its first request, on average."""

    turns: float
    grown: float
    """Tokens that later requests hold beside the first, summed over the turns."""
    said: float
    """Tokens of the model, all turns."""


@dataclass(frozen=True, slots=True)
class Estimate:
    """What a run would ask for, and what that costs where a price is known."""

    n_tasks: int
    n_episodes: int
    """At most: with `enough` there may be fewer."""
    n_played: int
    """Tasks the expert played for it."""
    low: Amount
    typical: Amount
    high: Amount
    price: Price | None
    asks: bool
    """Is there a server to ask and to pay?"""
    setup: Setup

    def tell(self) -> None:
        """Show it on stderr."""
        limits = self.setup.limits
        title = f"{self.n_episodes:,} episodes of {self.n_tasks:,} tasks, estimated; nothing was asked"
        columns = ["", "requests" if self.asks else "turns", "tokens in", "tokens out", "USD"]
        rows = [
            [name, *(f"{n:,.0f}" for n in (one.requests, one.tokens_in, one.tokens_out)), one.usd(self.price)]
            for name, one in (("low", self.low), ("typical", self.typical), ("high", self.high))
        ]
        if not self.asks:
            rows, columns = [row[:-1] for row in rows], columns[:-1]
        console.table(title, columns, [[*row[:4], *map(_usd, row[4:])] for row in rows])
        seen = f"as the expert plays {self.n_played:,} of the tasks, in twice its words"
        guess = f"{TURNS} turns of middling size (there is no task that the expert could play here)"
        console.note("low: all calls at once, then the answer")
        console.note(f"typical: {seen if self.n_played else guess}")
        console.note(f"high: all {limits.max_turns} turns, and {limits.max_tokens:,} tokens of dialogue")
        if self.asks:
            console.note("each turn sends the whole dialogue again; where a server caches it, it costs less")
            if self.price is None:
                console.note("the price of this model is not known: give --price-in and --price-out")
            else:
                each = f"${self.price.usd_in:g} in, ${self.price.usd_out:g} out"
                console.note(f"a million tokens cost {each}; prices may have changed")


def estimate(jobs: Iterable[Job], setup: Setup) -> Estimate:
    """What playing these jobs would ask for."""
    asks = not is_scripted(setup.policy) and not is_local(setup.policy)
    n_tasks = n_all = n_few = n_playable = 0
    firsts = 0.0  # tokens of the first requests, each as often as its task is played
    drawn: list[Task] = []
    rng = random.Random(0)
    for job in jobs:
        task, n = job.task, len(job.samples)
        n_tasks += 1
        n_all += n
        n_few += n if job.enough is None else min(n, max(1, job.enough - len(job.right)))
        firsts += n * first_request(task, setup, asks)
        # every task with a plan has the same chance to be played
        if task.plan and task.env.get("kind") in OURS:
            n_playable += 1
            if len(drawn) < N_PLAYED:
                drawn.append(task)
            elif (i := rng.randrange(n_playable)) < N_PLAYED:
                drawn[i] = task
    shapes = _shapes(drawn, setup)
    low, typical = (_mean(list(shape)) for shape in zip(*shapes, strict=True)) if shapes else (_LOW, _TYPICAL)
    turns, most = setup.limits.max_turns, setup.limits.max_tokens
    first = firsts / max(1, n_all)
    few = n_few / max(1, n_all)
    room = max(0.0, most - first)
    high = Shape(turns, (turns - 1) * room / 2, room)
    typical = Shape(*map(min, astuple(typical), astuple(high)))
    low = Shape(*map(min, astuple(low), astuple(typical)))
    return Estimate(
        n_tasks,
        n_all,
        len(shapes),
        _amount(low, first, n_all * few),
        _amount(typical, first, n_all * (1 + few) / 2),
        _amount(high, first, n_all),
        setup.price,
        asks,
        setup,
    )


def first_request(task: Task, setup: Setup, asks: bool) -> float:
    """Tokens of the first request of a task: what a served model is told, or a local one."""
    system: Json = {"role": "system", "content": prompt(setup.limits.style)}
    if asks:
        from tmcli.policies.openai.wire import outgoing

        system = outgoing(system)
    return tokens([system, *task.messages], task.tools)


def tokens(messages: Iterable[Json], tools: list[Json] | None = None) -> float:
    """About how many tokens these messages are."""
    return sum(map(_message, messages)) + (len(orjson.dumps(tools)) / CHARS_PER_TOKEN if tools else 0)


def _message(message: Json) -> float:
    n = len(str(message.get("content") or ""))
    for call in message.get("tool_calls") or ():
        arguments = call["function"]["arguments"]
        text = arguments if isinstance(arguments, str) else orjson.dumps(arguments).decode()
        n += len(call["function"]["name"]) + len(text)
    return PER_MESSAGE + n / CHARS_PER_TOKEN


_LOW = Shape(2, HEARD, SAID)
_TYPICAL = Shape(TURNS, (SAID + HEARD) * TURNS * (TURNS - 1) / 2, SAID * TURNS)


def _amount(shape: Shape, first: float, n: float) -> Amount:
    return Amount(n * shape.turns, n * (shape.turns * first + shape.grown), n * shape.said)


def _mean(shapes: list[Shape]) -> Shape:
    return Shape(*(sum(column) / len(shapes) for column in zip(*map(astuple, shapes), strict=True)))


def _shapes(tasks: list[Task], setup: Setup) -> list[tuple[Shape, Shape]]:
    """(low, typical) of each task that the expert can play here."""
    limits = replace(setup.limits, max_tokens=10**9, hints=False)
    expert = Scripted(limits.style)
    slots = asyncio.Semaphore(AT_ONCE)

    async def shape(task: Task, world: World) -> tuple[Shape, Shape] | None:
        async with slots:
            try:
                played = await play(task, 0, expert, world, limits)
            except TmError:  # a plan that cannot be read: the run itself says so
                return None
        if played.status != "ok":
            return None
        return _low(played.messages), _typical(played.messages)

    async def all_of_them() -> list[tuple[Shape, Shape]]:
        world = World(setup.timeout_s)
        try:
            seen = await asyncio.gather(*(shape(task, world) for task in tasks))
        finally:
            await world.close()
        return [one for one in seen if one is not None]

    return asyncio.run(all_of_them()) if tasks else []


def _turns(messages: list[Json]) -> Iterator[tuple[float, float]]:
    """(tokens said, tokens heard before) of each turn after the task's own messages."""
    heard = 0.0
    at = next(i for i, message in enumerate(messages) if message["role"] == "assistant")
    for message in messages[at:]:
        if message["role"] == "assistant":
            yield tokens([message]), heard
            heard = 0.0
        else:
            heard += tokens([message])


def _low(messages: list[Json]) -> Shape:
    said = sorted(said for said, _ in _turns(messages))[:2]
    return Shape(len(said), 0.0, sum(said))


def _typical(messages: list[Json]) -> Shape:
    n = 0
    grown = said_so_far = heard_so_far = 0.0
    for said, heard in _turns(messages):
        heard_so_far += heard
        grown += said_so_far + heard_so_far
        said_so_far += WORDS * said
        n += 1
    return Shape(n, grown, said_so_far)


def _usd(value: object) -> object:
    return f"{value:,.2f}" if isinstance(value, float) else value
