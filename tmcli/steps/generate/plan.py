"""What the n-th proposal is to be about: drawn from the seed, so that many proposals differ.

    draw = draw_for(catalog, seed=0, number=17)
    draw.task(avoid=["How many pages has Silent Harbor?"])     # what the teacher is asked to do

Where tools have worlds, the proposer is shown a part of its own, for many tools list nothing and can only be
asked for what one knows by name. Whoever solves sees none of it.

Kinds of requests and tools take turns in shuffled rounds: every tool comes up, and no kind is forgotten.
A draw depends on the seed and its number alone, never on what was proposed before.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import orjson

from tmcli import toolbox
from tmcli.catalog import Catalog
from tmcli.protocol import CANNOT
from tmcli.records import Json, Task

KINDS: dict[str, str] = {
    "one_call": "One call is enough to answer it, once one knows which.",
    "chain": "Two calls answer it, and the second needs what the first brings.",
    "long_chain": "Three or more calls answer it, most of which need what an earlier one brought.",
    "parallel": "It asks the same about two or three things, which calls that do not need each other bring, "
    "and puts the replies together: a sum, a difference, a count.",
    "choose": "It asks which one of several things has most, least, the earliest or the only one of "
    "something. The question does not name them: they are to be found.",
    "recover": "The obvious first call fails, or does not bring what one would think: a name is written "
    "otherwise, a format or unit is another, an id must be found first. What the tools answer tells how to "
    "go on.",
    "condition": "It holds a condition: what is wanted depends on what a first call brings.",
    "cannot": "It sounds like the others, but the tools cannot do it, which only calling them tells: what is "
    f'asked for does not exist, or nothing brings it. Its answer is "{CANNOT}".',
}
"""What a request may ask for."""

TURNS = ("one_call", "chain", "chain", "chain", "long_chain", "long_chain", "parallel", "parallel",
         "choose", "choose", "recover", "condition", "cannot")  # fmt: skip
"""One round of kinds: the share of each."""

MANNERS = (
    "as a plain question",
    "as a short command",
    "with a sentence about why the user wants to know",
    "as somebody in a hurry would type it, but with all that is needed",
    "politely, in two sentences",
    "in the words of the trade",
)

SHOWN = 64
"""Of a source with more tools, a task has so many: drawn for each, with those it is about."""

MAX_SEED = 1 << 30
"""Worlds of proposals. The built-in suites that are held out begin here, see `templates.py`."""


ROWS = 4
"""Of each table of a world, the proposer is shown so many rows."""

MAX_SHOWN_CHARS = 4000
"""Of a world, in all."""


@dataclass(frozen=True, slots=True)
class Draw:
    """One proposal to be made."""

    catalog: Catalog
    number: int
    world: int
    """The seed of its world, where the tools have worlds."""
    kind: str
    manner: str
    focus: list[str]
    """Tools that the question is to be about."""
    tools: list[Json]
    """What proposer and solvers are shown."""

    def task(self, avoid: Sequence[str] = ()) -> Task:
        """What the proposer is given to do, as a task without a gold."""
        return self.catalog.task(
            self.world,
            messages=[{"role": "user", "content": self.brief(avoid)}],
            tools=self.tools,
            source=f"proposal:{self.number}",
        )

    def brief(self, avoid: Sequence[str] = ()) -> str:
        """The request, in words. The number tells apart what else would be the same request twice."""
        lines = [
            f"Proposal {self.number}: write one question.",
            f"Kind: {KINDS[self.kind]}",
            f"It is about what {' and '.join(self.focus)} can tell or do; other tools may help.",
            f"Write it {self.manner}.",
        ]
        if (world := self._part_of_world()) is not None:
            lines += [
                "Some of what the tools know, for you alone; see with calls what they say of it:",
                world,
            ]
        if avoid:
            lines += ["Ask something quite different from these:", *(f"- {question}" for question in avoid)]
        return "\n".join(lines)

    def _part_of_world(self) -> str | None:
        """A few rows of each table of its world, as JSON; None where there is no world."""
        if self.catalog.env["kind"] != "toolbox":
            return None
        world = toolbox.load(self.catalog.env["toolbox"]).world(self.world)
        if world is None:
            return None
        rng = random.Random(f"world:{self.world}")
        return orjson.dumps(_few(world, rng), default=str).decode()[:MAX_SHOWN_CHARS]


def draw_for(catalog: Catalog, seed: int, number: int) -> Draw:
    """The draw of a number."""
    start = f"{catalog.source}:{seed}"
    rng = random.Random(f"{start}:{number}")
    tools = {tool["function"]["name"]: tool for tool in catalog.tools}
    kind = _in_turn(TURNS, f"{start}:kind", number)
    focus = [_in_turn(sorted(tools), f"{start}:tool", number)]
    others = [name for name in sorted(tools) if name not in focus]
    focus += rng.sample(others, min(len(others), 0 if kind == "one_call" else rng.choice((0, 1, 2))))
    world, manner = rng.randrange(MAX_SEED), rng.choice(MANNERS)
    shown = set(tools)
    if len(tools) > SHOWN:
        rest = [name for name in sorted(tools) if name not in focus]
        shown = {*focus, *rng.sample(rest, SHOWN - len(focus))}
    return Draw(
        catalog, number, world, kind, manner, focus, [tool for name, tool in tools.items() if name in shown]
    )


def _in_turn(things: Sequence[str], name: str, number: int) -> str:
    """The thing whose turn it is: each comes once a round, every round in another order."""
    turn, place = divmod(number, len(things))
    order = list(things)
    random.Random(f"{name}:{turn}").shuffle(order)
    return order[place]


def _few(value: Any, rng: random.Random) -> Any:
    """At most `ROWS` rows of every table in it. An object is a table when it maps to objects."""
    if isinstance(value, dict):
        names = list(value)
        if len(names) > ROWS and all(isinstance(row, dict | list) for row in value.values()):
            names = rng.sample(names, ROWS)
        return {str(name): _few(value[name], rng) for name in names}
    if isinstance(value, list | tuple):
        rows = list(value)
        return [_few(row, rng) for row in (rows if len(rows) <= ROWS else rng.sample(rows, ROWS))]
    return value
