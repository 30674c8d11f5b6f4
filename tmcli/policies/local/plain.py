"""Turns one by one through `generate`, for models that the engine cannot run.

Those carry another state than keys and values (Mamba, LFM2, Qwen3-Next), or compute their attention
themselves (Bloom, StableLM). Each turn reads its whole dialogue again: slow, and right. The same face as
`Engine`; tokens are chosen alike.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from typing import Any

import torch
from transformers import LogitsProcessor, LogitsProcessorList, StoppingCriteria, StoppingCriteriaList

from tmcli.policies import Sampling
from tmcli.policies.local.choice import choose
from tmcli.policies.local.ending import Ending
from tmcli.policies.local.episode import Episode
from tmcli.policies.local.speed import Speed


class Plain:
    """Runs in one thread at a time."""

    def __init__(
        self, model: Any, stop_ids: frozenset[int], sampling: Sampling, ending: Ending | None = None
    ) -> None:
        self.model = model
        self.stop_ids = stop_ids
        self.ending = ending
        self.sampling = sampling
        self.context = int(
            getattr(model.config.get_text_config(), "max_position_embeddings", None) or 1 << 30
        )
        self.speed = Speed()
        self.interrupted = threading.Event()
        self._queue: list[Episode] = []

    @property
    def is_busy(self) -> bool:
        return bool(self._queue)

    def refresh(self) -> None:
        """Nothing is kept that could be stale."""

    def rest(self) -> None:
        """Nothing is kept."""

    def run(self, newcomers: Sequence[Episode]) -> list[Episode]:
        """The next turn in the queue."""
        for episode in newcomers:
            episode.begin()
        self._queue += newcomers
        while self._queue:
            episode = self._queue.pop(0)
            if not episode.is_closed:
                try:
                    self._turn(episode)
                except BaseException:
                    self._queue = []
                    raise
                return [episode]
        return []

    @torch.inference_mode()
    def _turn(self, episode: Episode) -> None:
        n_new = min(self.sampling.max_new_tokens, self.context - len(episode.ids))
        if n_new >= 1:
            started = time.perf_counter()
            was_training = self.model.training
            self.model.eval()
            ids = torch.tensor([episode.ids], device=self.model.device)
            try:
                self.model.generate(
                    ids,
                    attention_mask=torch.ones_like(ids),
                    max_new_tokens=n_new,
                    min_new_tokens=0,
                    do_sample=False,
                    eos_token_id=sorted(self.stop_ids) or None,
                    logits_processor=LogitsProcessorList([_Chooser(episode, self.sampling)]),
                    stopping_criteria=StoppingCriteriaList([_Past(episode, self.ending)]),
                )
            finally:
                self.model.train(was_training)
            self.speed.prefilled += episode.n_before
            self.speed.sampled += len(episode.said)
            self.speed.steps += len(episode.said)
            self.speed.sample_s += time.perf_counter() - started
        ended = bool(episode.said) and episode.ids[-1] in self.stop_ids
        episode.finish = "stop" if ended or _Past(episode, self.ending).is_so() else "length"


class _Past(StoppingCriteria):
    """Ends a turn that goes on after its calls or its answer."""

    def __init__(self, episode: Episode, ending: Ending | None) -> None:
        self.episode = episode
        self.ending = ending

    def is_so(self) -> bool:
        return self.ending is not None and bool(self.episode.said) and self.ending.is_past(self.episode)

    def __call__(self, input_ids: torch.Tensor, scores: torch.Tensor, **more: Any) -> torch.Tensor:
        return torch.full((1,), self.is_so(), dtype=torch.bool, device=input_ids.device)


class _Chooser(LogitsProcessor):
    """Chooses the token, and leaves `generate` no other."""

    def __init__(self, episode: Episode, sampling: Sampling) -> None:
        self.episode = episode
        self.sampling = sampling

    def __call__(self, input_ids: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
        tokens, logprobs = choose(scores, self.sampling, [self.episode.draw()])
        self.episode.say(tokens[0], logprobs[0])
        forced = torch.full_like(scores, -torch.inf)
        forced[0, tokens[0]] = 0
        return forced
