"""tm's side: the local policy behind the Runner, tools in the sandbox, as `tm rollout` and `tm rl` play."""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path
from typing import Any

from peers.same_work import CALL, Contender, Episode, Played, runs

from tmcli import model as models
from tmcli.chat import Chat
from tmcli.episode import Limits
from tmcli.policies import Reply, Sampling
from tmcli.policies.local import Local
from tmcli.protocol import Call, Turn
from tmcli.records import Json, Task
from tmcli.runner import Job, Runner


class Calling(Local):
    """The local policy, each turn read as a call; the last as an answer, right every other time."""

    turns = 1

    def open(self, task: Task, sample: int) -> Any:
        return Fixed(super().open(task, sample), task, sample, self.turns)


class Fixed:
    """One conversation of it."""

    def __init__(self, conversation: Any, task: Task, sample: int, turns: int) -> None:
        self.conversation = conversation
        self.arguments = Episode(task).arguments
        self.answer = (task.answer or [""])[0] if sample % 2 else "unknown"
        self.left = turns

    async def reply(self, messages: list[Json]) -> Reply:
        reply: Reply = await self.conversation.reply(messages)
        self.left -= 1
        if self.left:
            turn = Turn("trial", reply.content, (Call(CALL, self.arguments),))
        else:
            turn = Turn("execution", f"<answer>{self.answer}</answer>", tags={"answer": self.answer})
        return replace(reply, turn=turn, finish="stop")

    @property
    def tokens(self) -> Json | None:
        tokens: Json | None = self.conversation.tokens
        return tokens

    def close(self) -> None:
        self.conversation.close()


class Tm(Contender):
    def __init__(self, folder: Path) -> None:
        self.model, tokenizer = models.load(str(folder))
        self.chat = Chat(tokenizer)

    def play(self) -> Played:
        policy = Calling("endless", self.model, self.chat, Sampling(max_new_tokens=self.new))
        policy.turns = self.turns
        limits = Limits(max_turns=self.turns, max_tokens=1 << 20)
        with Runner(policy, limits, concurrency=len(self.episodes)) as runner:
            started = time.perf_counter()
            played = list(runner.run([Job(episode.task, (0,)) for episode in self.episodes]))
            seconds = time.perf_counter() - started
        assert all(trajectory.tokens for trajectory in played), played[0].failure
        tokens = [trajectory.tokens or {} for trajectory in played]
        return seconds, [runs(one["ids"], one["mask"]) for one in tokens]
