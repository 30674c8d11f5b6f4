"""The same episodes for whoever generates: how long each turn is, and that it calls a tool, is fixed.

    folder = endless("smollm2", Path("model"))       # the model, less its wish to end a turn
    episodes = [Episode(task) for task in tasks(8)]
    episodes[0].reply()                              # what the call brings, as tm's sandbox writes it

A model that says what it likes gives every contender other work to do. So each turn has exactly `new`
tokens, whatever they are, and counts as a call of `rank_by_rain` on a day that the episode's world knows; the
last turn is the answer. The tokens themselves are the model's own. That a turn is not ended early is seen to
in the weights: the row of the output layer that belongs to the turn end is 0.
"""

from __future__ import annotations

import ctypes
import gc
import json
import os
import re
from abc import ABC, abstractmethod
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import groupby, islice
from operator import itemgetter
from pathlib import Path
from typing import Any

from tmcli import suites, toolbox
from tmcli.protocol import prompt
from tmcli.records import Json, Task

Played = tuple[float, list[list[list[int]]]]
"""Seconds, and the ids of each turn of each episode."""

BOX = "weather"
CALL = "rank_by_rain"
DAY = "measured_on"


def endless(name: str, folder: Path) -> Path:
    """Write the model `name` to `folder`, never ending a turn, in fp32, with the template that tm chooses."""
    import torch

    from tmcli import model as models
    from tmcli.chat import Chat

    model, tokenizer = models.load(name, dtype=torch.float32)
    chat = Chat(tokenizer)
    output = torch.nn.Linear(*reversed(model.lm_head.weight.shape), bias=False)
    output.weight.data.copy_(model.lm_head.weight.data)
    output.weight.data[sorted(chat.stop_ids)] = 0
    model.lm_head = output
    model.config.tie_word_embeddings = False
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def tasks(n: int) -> list[Task]:
    """`n` tasks of one toolbox, all with the same tools in the same order."""
    own = (task for task in suites.suite(BOX, 4 * n + 20) if "distractors" not in task.env)
    return [
        replace(task, tools=sorted(task.tools, key=lambda tool: tool["function"]["name"]))
        for task in islice(own, n)
    ]


@dataclass(frozen=True)
class Episode:
    """One episode's world."""

    task: Task

    @cached_property
    def world(self) -> Any:
        return toolbox.load(BOX).world(self.task.env["seed"])

    @cached_property
    def arguments(self) -> Json:
        """Of the call that each of its turns is."""
        reading = next(iter(self.world["readings"]))
        return {DAY: reading.split()[-1]}

    def reply(self) -> str:
        """What the call brings."""
        return json.dumps(toolbox.load(BOX).call(self.world, CALL, self.arguments), ensure_ascii=False)

    def opening(self) -> list[Json]:
        return [{"role": "system", "content": prompt("trial")}, *self.task.messages]

    def told(self) -> list[Json]:
        return [{"role": "tool", "tool_call_id": "call_0", "name": CALL, "content": self.reply()}]


def runs(ids: list[int], mask: list[int]) -> list[list[int]]:
    """The turns: the runs of ids that were sampled."""
    pairs = groupby(zip(ids, mask, strict=True), key=itemgetter(1))
    return [[token for token, _ in run] for sampled, run in pairs if sampled]


class Peak:
    """The most memory this process held since `reset`, in MB (Linux)."""

    def reset(self) -> None:
        gc.collect()
        ctypes.CDLL(None).malloc_trim(0)
        Path("/proc/self/clear_refs").write_text("5")

    @property
    def mb(self) -> float:
        found = re.search(r"VmHWM:\s+(\d+)", Path("/proc/self/status").read_text())
        assert found
        return int(found[1]) / 1024


class Contender(ABC):
    """Plays the episodes that it was prepared for, again and again."""

    episodes: list[Episode]
    turns: int
    new: int

    def prepare(self, episodes: list[Episode], turns: int, new: int) -> None:
        """Nobody's clock runs here."""
        self.episodes, self.turns, self.new = episodes, turns, new

    @abstractmethod
    def play(self) -> Played:
        """All episodes once."""


def quiet() -> None:
    """What libraries print about themselves is not of interest here."""
    os.environ["TRL_EXPERIMENTAL_SILENCE"] = "1"
    from tmcli import model as models

    models.quiet()
