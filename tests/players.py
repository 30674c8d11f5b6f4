"""Policies for tests of the loop: they say what they were told to, in the order of the turns."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from tmcli.errors import TmError
from tmcli.policies import Reply
from tmcli.protocol import parse
from tmcli.records import Json, Task, new_task

ADD = "def add(a, b):\n    return a + b\n"
FAIL = "def fail():\n    raise ValueError('the shop is closed')\n"
LONG = "def long():\n    return 'x' * 5000\n"


def schema(name: str, *parameters: str) -> Json:
    properties = {parameter: {"type": "integer"} for parameter in parameters}
    function = {"name": name, "parameters": {"type": "object", "properties": properties}}
    return {"type": "function", "function": function}


def sum_task(n: int = 0, **more: Any) -> Task:
    """How much is n + 1? With tools that add, fail and talk too much."""
    known: Json = {
        "messages": [{"role": "user", "content": f"How much is {n} + 1?"}],
        "tools": [schema("add", "a", "b"), schema("fail"), schema("long")],
        "env": {"kind": "python", "codes": {"add": ADD, "fail": FAIL, "long": LONG}},
        "answer": [str(n + 1)],
        "check": "number",
    }
    return new_task(**(known | more))


def said(content: str, **more: Any) -> Reply:
    """A turn written as text."""
    turn = parse(content)
    return replace(Reply(turn.text, turn), **more)


Turn = Reply | TmError


@dataclass
class Player:
    """Says its turns, in each episode from the first; the last again and again. An error is raised."""

    turns: Sequence[Turn] | Callable[[Task, int], Sequence[Turn]]
    delay_s: Callable[[Task, int], float] = lambda task, sample: 0.0
    tokens: Json | None = None
    name: str = "player"
    sampling: Json = field(default_factory=dict)
    running: int = 0
    most_running: int = 0
    opened: int = 0
    closed: int = 0

    def open(self, task: Task, sample: int) -> PlayerConversation:
        turns = self.turns(task, sample) if callable(self.turns) else self.turns
        self.opened += 1
        self.running += 1
        self.most_running = max(self.most_running, self.running)
        return PlayerConversation(self, list(turns), self.delay_s(task, sample))

    async def aclose(self) -> None:
        pass


@dataclass
class PlayerConversation:
    player: Player
    turns: list[Turn]
    delay_s: float
    heard: list[Json] = field(default_factory=list)

    @property
    def tokens(self) -> Json | None:
        return self.player.tokens

    async def reply(self, messages: list[Json]) -> Reply:
        self.heard = list(messages)
        await asyncio.sleep(self.delay_s)
        turn = self.turns.pop(0) if len(self.turns) > 1 else self.turns[0]
        if isinstance(turn, TmError):
            raise turn
        return turn

    def close(self) -> None:
        self.player.running -= 1
        self.player.closed += 1
