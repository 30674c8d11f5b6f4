"""The contenders that transformers itself brings: `generate`, and its continuous batching.

Each turn gets the whole dialogue again, as both are made: nothing is kept between calls.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import torch
from peers.same_work import Contender, Played

from tmcli import model as models
from tmcli.chat import Chat

Ids = list[list[int]]

PAGE = 64
"""Positions of a page of the paged cache; smaller ones waste less on short dialogues."""


class Generate(Contender):
    """Rows padded on the left, decoded together."""

    def __init__(self, folder: Path) -> None:
        self.model, tokenizer = models.load(str(folder))
        self.chat = Chat(tokenizer)
        tokenizer.padding_side = "left"

    def play(self) -> Played:
        """All episodes in step: a turn, the calls, the next turn."""
        started = time.perf_counter()
        chat, episodes = self.chat, self.episodes
        contexts = [chat.prompt_ids(episode.opening(), episode.task.tools) for episode in episodes]
        said: list[Ids] = [[] for _ in episodes]
        for _ in range(self.turns):
            for row, ids in enumerate(self.turn(contexts, self.new)):
                said[row].append(ids)
                contexts[row] = [*contexts[row], *ids, chat.turn_end_id]
                contexts[row] += chat.suffix_ids(episodes[row].told())
        return time.perf_counter() - started, said

    @torch.inference_mode()
    def turn(self, contexts: Ids, new: int) -> Ids:
        batch = self.chat.tokenizer.pad({"input_ids": contexts}, return_tensors="pt")
        out: Any = self.model.generate(**batch, max_new_tokens=new, do_sample=False)
        said: Ids = out[:, batch["input_ids"].shape[1] :].tolist()
        return said


class Continuous(Generate):
    """`generate_batch`: paged attention, rows come and go. As TRL calls it: a manager for each turn."""

    @torch.no_grad()
    def turn(self, contexts: Ids, new: int) -> Ids:
        from transformers import ContinuousBatchingConfig, GenerationConfig

        pages = sum((len(ids) + new) // PAGE + 1 for ids in contexts)
        out = self.model.generate_batch(
            contexts,
            generation_config=GenerationConfig(max_new_tokens=new, do_sample=False, eos_token_id=-1),
            continuous_batching_config=ContinuousBatchingConfig(
                page_size=PAGE, num_blocks=pages + len(contexts), max_batch_tokens=512
            ),
        )
        for one in out.values():
            if one.error:
                raise RuntimeError(one.error)
        return [one.generated_tokens for one in out.values()]
