"""Policies that try to earn more than they deserve: the scripted expert, with turns of their own around it.

    Cheat(Scripted(), before=lambda task, turn: ['<trial>x</trial><tool_call>{"name": "f"}</tool_call>'])

The expert never sees what was said beside it.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from players import said

from tmcli.policies import Reply
from tmcli.policies.scripted import Scripted
from tmcli.protocol import describe
from tmcli.records import Json, Task

Before = Callable[[Task, int], Sequence[str]]
"""(task, number of the expert's turn that is due) -> turns to say first."""


@dataclass
class Cheat:
    expert: Scripted
    before: Before = lambda task, turn: ()
    change: Callable[[Reply], Reply] = lambda reply: reply
    """What becomes of the expert's turns."""
    name: str = "cheat"

    @property
    def sampling(self) -> Json:
        return {}

    def open(self, task: Task, sample: int) -> Dialogue:
        return Dialogue(self, task, sample)

    async def aclose(self) -> None:
        pass


class Dialogue:
    tokens = None

    def __init__(self, cheat: Cheat, task: Task, sample: int) -> None:
        self.cheat, self.task = cheat, task
        self.expert = cheat.expert.open(task, sample)
        self.turn = 0
        self.due: list[str] | None = None
        self.own: list[int] = []
        """Where messages of ours begin."""
        self.seen: list[Json] = []
        """The dialogue as the expert knows it."""
        self.read = 0

    async def reply(self, messages: list[Json]) -> Reply:
        new = messages[self.read :]
        self.read = len(messages)
        if not self.own:
            self.seen += new
        self.own = []
        if self.due is None:
            self.due = list(self.cheat.before(self.task, self.turn))
        if self.due:
            self.own = [len(messages)]
            return said(self.due.pop(0))
        self.due = None
        self.turn += 1
        return self.cheat.change(await self.expert.reply(self.seen))

    def close(self) -> None:
        self.expert.close()


def written(name: str, /, **arguments: Any) -> str:
    """A call as a model writes it."""
    return f"<tool_call>{json.dumps({'name': name, 'arguments': arguments})}</tool_call>"


def shown(task: Task) -> list[str]:
    return [tool["function"]["name"] for tool in task.tools]


def retold(reply: Reply, text: str) -> Reply:
    """The same calls behind other words."""
    return replace(reply, content=text, turn=describe(text, reply.turn.calls, reply.turn.faults))
