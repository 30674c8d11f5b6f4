"""A local transformers model that plays all running episodes as one batch.

Token ids in, token ids out: a conversation holds the ids of its whole dialogue and the key/value cache
that belongs to them. Each turn only the new ids (tool replies and the next header) are prefilled, and
what was sampled is never tokenised again.

Requests are batched in waves: a wave starts when every open conversation waits for an answer (or when
`PATIENCE_S` has passed since the last request), so with quick tools the batches, and therefore the
bytes, do not depend on timing. Rows that finish leave the batch.

Heavy: imported only when a local policy is asked for.
"""

from __future__ import annotations

import asyncio
import hashlib
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

import torch
from transformers import DynamicCache
from transformers.cache_utils import DynamicLayer

from tmcli import model as models
from tmcli.chat import Chat, Template
from tmcli.checkpoint import weights_key
from tmcli.errors import PolicyFailure
from tmcli.policies import Finish, Reply, Sampling
from tmcli.protocol import parse
from tmcli.records import Json, Task

PATIENCE_S = 0.05
"""How long a wave waits for conversations whose tools are still running."""
GRACE_S = 0.005
MAX_BATCH = 64
"""Rows of one wave; more wait for the next."""
GROWTH = 128
"""Positions by which a cache buffer grows."""


@dataclass(slots=True, eq=False)
class Episode:
    """The state of one conversation. Shapes: heads H, cached positions T, head size D."""

    seed: int
    tools: list[Json]
    ids: list[int] = field(default_factory=list)
    mask: list[int] = field(default_factory=list)
    logprobs: list[float] = field(default_factory=list)
    cache: list[tuple[torch.Tensor, torch.Tensor]] = field(default_factory=list)
    """Per layer: keys and values, each (H, T, D), for `ids[:T]`."""
    n_messages: int = 0
    """How many messages `ids` already holds."""

    @property
    def cached(self) -> int:
        return self.cache[0][0].shape[1] if self.cache else 0

    def hear(self, ids: list[int]) -> None:
        self.ids += ids
        self.mask += [0] * len(ids)
        self.logprobs += [0.0] * len(ids)

    def say(self, token: int, logprob: float) -> None:
        self.ids.append(token)
        self.mask.append(1)
        self.logprobs.append(logprob)


class Local:
    """A model in this process as a policy."""

    def __init__(self, name: str, model: Any, chat: Chat, sampling: Sampling, weights: str = "") -> None:
        """`weights` tells checkpoints of one name apart: the key of the run that wrote them."""
        self.name = name
        self.model = model
        self.chat = chat
        self._sampling = sampling
        self.weights = weights
        chat.stop_ids |= _ends(model)
        self._n_open = 0
        self._waiting: list[tuple[Episode, asyncio.Future[tuple[list[int], Finish]]]] = []
        self._timer: asyncio.TimerHandle | None = None
        self._running: asyncio.Task[None] | None = None
        # One thread: torch calls must not overlap, and the event loop keeps serving tools meanwhile.
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="generate")

    @classmethod
    def load(cls, name: str, sampling: Sampling, template: Template = "auto") -> Self:
        """Load weights by name. Raises `UsageError` for names that mean no model."""
        model, tokenizer = models.load(name)
        return cls(name, model, Chat(tokenizer, template), sampling, weights_key(Path(name)))

    @property
    def sampling(self) -> Json:
        return {**self._sampling.to_json(), "weights": self.weights}

    def open(self, task: Task, sample: int) -> LocalConversation:
        self._n_open += 1
        words = f"{self._sampling.seed}:{task.id}#{sample}".encode()
        seed = int.from_bytes(hashlib.sha256(words).digest()[:8], "big") >> 1
        return LocalConversation(self, Episode(seed, task.tools))

    async def aclose(self) -> None:
        if self._running is not None:
            await asyncio.gather(self._running, return_exceptions=True)
        self._thread.shutdown()

    # ---- waves ---------------------------------------------------------------------------------

    async def generate(self, episode: Episode) -> tuple[list[int], Finish]:
        """The ids of the next turn; they are already in `episode`."""
        future: asyncio.Future[tuple[list[int], Finish]] = asyncio.get_running_loop().create_future()
        self._waiting.append((episode, future))
        self._consider()
        return await future

    def leave(self) -> None:
        """A conversation was closed: the others need not wait for it."""
        self._n_open -= 1
        self._consider()

    def _consider(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if not self._waiting or (self._running is not None and not self._running.done()):
            return
        loop = asyncio.get_running_loop()
        if len(self._waiting) >= self._n_open:
            # A moment's grace: an episode that just ended is being replaced by the next one.
            self._timer = loop.call_later(GRACE_S, self._start)
        else:
            self._timer = loop.call_later(PATIENCE_S, self._start)

    def _start(self) -> None:
        self._timer = None
        if self._waiting and (self._running is None or self._running.done()):
            self._running = asyncio.get_running_loop().create_task(self._wave())

    async def _wave(self) -> None:
        batch, self._waiting = self._waiting[:MAX_BATCH], self._waiting[MAX_BATCH:]
        batch = [(episode, future) for episode, future in batch if not future.cancelled()]
        try:
            said = await asyncio.get_running_loop().run_in_executor(
                self._thread, self._sample, [episode for episode, _ in batch]
            )
        except Exception as error:  # noqa: BLE001 - whatever torch raises: these have no answer
            for _, future in batch:
                if not future.done():
                    future.set_exception(PolicyFailure(f"generation failed: {type(error).__name__}: {error}"))
        else:
            for (_, future), reply in zip(batch, said, strict=True):
                if not future.done():
                    future.set_result(reply)
        finally:
            asyncio.get_running_loop().call_soon(self._consider)

    # ---- tensors -------------------------------------------------------------------------------

    @torch.inference_mode()
    def _sample(self, episodes: list[Episode]) -> list[tuple[list[int], Finish]]:
        """One turn for each episode. B rows; row i has `cached` positions and new ids to prefill.

        Slots of the batch cache: [pad | cached] up to the longest cache, then [pad | new], then one
        slot a step; holes are masked, positions count real tokens only.
        """
        was_training = self.model.training
        self.model.eval()
        try:
            return self._decode(episodes)
        finally:
            self.model.train(was_training)

    def _decode(self, episodes: list[Episode]) -> list[tuple[list[int], Finish]]:
        device = self.model.device
        context = int(getattr(self.model.config, "max_position_embeddings", 1 << 30))
        said: list[list[int]] = [[] for _ in episodes]
        finish: list[Finish] = ["length"] * len(episodes)
        rows = [i for i, e in enumerate(episodes) if len(e.ids) < context]
        if not rows:
            return list(zip(said, finish, strict=True))
        active = [episodes[i] for i in rows]
        cache, past_mask = _stack(active)
        new = [e.ids[e.cached :] for e in active]
        width = max(len(ids) for ids in new)
        ids = torch.tensor([[0] * (width - len(n)) + n for n in new], device=device)  # (B, width)
        new_mask = torch.tensor([[0] * (width - len(n)) + [1] * len(n) for n in new], device=device)
        mask = torch.cat([past_mask.to(device), new_mask], dim=1)  # (B, slots)
        positions = (mask.cumsum(1) - 1).clamp(min=0)[:, -width:]
        generators = [_generator(e) for e in active]
        for step in range(self._sampling.max_new_tokens):
            logits = self.model(
                input_ids=ids,
                attention_mask=mask,
                position_ids=positions,
                past_key_values=cache,
                use_cache=True,
                logits_to_keep=1,
            ).logits[:, -1]  # (B, vocabulary)
            tokens, logprobs = _choose(logits, self._sampling, generators)
            kept: list[int] = []
            for b, (i, token, logprob) in enumerate(zip(rows, tokens, logprobs, strict=True)):
                episodes[i].say(token, logprob)
                said[i].append(token)
                if token in self.chat.stop_ids:
                    finish[i] = "stop"
                elif len(episodes[i].ids) < context:
                    kept.append(b)
            last = step == self._sampling.max_new_tokens - 1
            if last or len(kept) < len(rows):
                _unstack(cache, mask, [(b, episodes[i]) for b, i in enumerate(rows) if last or b not in kept])
            if last or not kept:
                break
            if len(kept) < len(rows):
                index = torch.tensor(kept, device=device)
                cache.batch_select_indices(index)
                mask = mask[index]
                rows, tokens = [rows[b] for b in kept], [tokens[b] for b in kept]
                generators = [generators[b] for b in kept]
            ids = torch.tensor(tokens, device=device)[:, None]
            positions = mask.sum(1, keepdim=True)
            mask = torch.cat([mask, mask.new_ones(len(rows), 1)], dim=1)
        return list(zip(said, finish, strict=True))


class LocalConversation:
    """One episode with a local model."""

    def __init__(self, policy: Local, episode: Episode) -> None:
        self._policy = policy
        self._episode = episode
        self._closed = False

    async def reply(self, messages: list[Json]) -> Reply:
        chat, episode = self._policy.chat, self._episode
        if not episode.ids:
            episode.hear(chat.prompt_ids(messages, episode.tools))
        else:
            if episode.ids[-1] != chat.turn_end_id:  # cut, or ended otherwise
                episode.hear([chat.turn_end_id])
            episode.hear(chat.suffix_ids(messages[episode.n_messages :]))
        n_prompt = len(episode.ids)
        said, finish = await self._policy.generate(episode)
        episode.n_messages = len(messages) + 1
        thoughts, aloud = chat.heard(said)  # no markup counts in thoughts
        turn = parse(aloud)
        content = turn.text
        if turn.faults:  # what could not be read stays visible as it was written
            content = aloud
            if turn.calls:
                content = turn.text + "".join(f"<tool_call>{fault.text}</tool_call>" for fault in turn.faults)
        extra = {"reasoning_content": thoughts} if thoughts.strip() else {}
        return Reply(content, turn, finish, n_prompt, len(said), extra=extra)

    @property
    def tokens(self) -> Json | None:
        episode = self._episode
        return {
            "ids": episode.ids,
            "mask": episode.mask,
            "logprobs": episode.logprobs,
            "vocabulary": self._policy.chat.vocabulary,
            "template": self._policy.chat.form,
        }

    def close(self) -> None:
        if not self._closed:
            self._closed = True
            self._episode.cache = []
            self._policy.leave()


class GrowingLayer(DynamicLayer):
    """A cache layer that writes into a buffer with room to grow: concatenating the whole cache for
    every token is what makes plain generation slow on CPUs."""

    keys: torch.Tensor
    values: torch.Tensor
    _room: tuple[torch.Tensor, torch.Tensor] | None = None

    def update(
        self, key_states: torch.Tensor, value_states: torch.Tensor, *args: Any, **kwargs: Any
    ) -> tuple[torch.Tensor, torch.Tensor]:
        if not self.is_initialized:
            self.lazy_initialization(key_states, value_states)
        start = self.get_seq_length()
        end = start + key_states.shape[-2]
        # `batch_select_indices` and a first fill replace `keys`: then the buffer is not theirs any more.
        fits = self._room is not None and self._room[0].shape[-2] >= end
        if not fits or self._room is None or self.keys.data_ptr() != self._room[0].data_ptr():
            self._room = (_buffer(key_states, end + GROWTH), _buffer(value_states, end + GROWTH))
            if start:
                self._room[0][:, :, :start] = self.keys
                self._room[1][:, :, :start] = self.values
        self._room[0][:, :, start:end] = key_states
        self._room[1][:, :, start:end] = value_states
        self.keys, self.values = self._room[0][:, :, :end], self._room[1][:, :, :end]
        return self.keys, self.values


def _ends(model: Any) -> frozenset[int]:
    """What the model itself counts as the end of a turn."""
    ends = getattr(model.generation_config, "eos_token_id", None)
    return frozenset(ends if isinstance(ends, list) else {ends} - {None})


def _buffer(like: torch.Tensor, length: int) -> torch.Tensor:
    return like.new_empty(*like.shape[:2], length, like.shape[-1])


def _stack(episodes: list[Episode]) -> tuple[DynamicCache, torch.Tensor]:
    """The caches of B episodes as one, right-aligned, and its mask (B, P)."""
    longest = max(e.cached for e in episodes)
    rows = [[0] * (longest - e.cached) + [1] * e.cached for e in episodes]
    mask = torch.tensor(rows).reshape(len(episodes), longest)
    cache = DynamicCache()
    cache.layer_class_to_replicate = GrowingLayer
    some = next((e for e in episodes if e.cached), None)
    if some is None:
        return cache, mask
    for layer in range(len(some.cache)):
        heads, _, size = some.cache[layer][0].shape
        stacked = []
        for part in (0, 1):
            room = some.cache[layer][part].new_zeros(len(episodes), heads, longest, size)
            for b, e in enumerate(episodes):
                if e.cached:
                    room[b, :, longest - e.cached :] = e.cache[layer][part]
            stacked.append(room)
        cache.update(stacked[0], stacked[1], layer)
    return cache, mask


def _unstack(cache: DynamicCache, mask: torch.Tensor, leaving: list[tuple[int, Episode]]) -> None:
    """Give rows that leave the batch their caches back, without the holes."""
    for b, episode in leaving:
        slots = mask[b].nonzero().squeeze(1)  # the token just sampled is not cached yet
        episode.cache = [(layer.keys[b][:, slots], layer.values[b][:, slots]) for layer in cache.layers]


def _generator(episode: Episode) -> torch.Generator:
    """Random numbers that depend on seed, task, sample and position, not on the batch."""
    return torch.Generator().manual_seed((episode.seed + len(episode.ids)) % (1 << 63))


def _choose(
    logits: torch.Tensor, sampling: Sampling, generators: list[torch.Generator]
) -> tuple[list[int], list[float]]:
    """(B, vocabulary) -> a token a row and its log-probability under softmax(logits / temperature),
    before the top-p cut (temperature 1 when greedy)."""
    scores = torch.log_softmax(logits.float() / (sampling.temperature or 1.0), dim=-1).cpu()
    if sampling.temperature == 0:
        tokens = scores.argmax(-1)
    else:
        probabilities = scores.exp()
        if sampling.top_p < 1:
            ordered, order = probabilities.sort(-1, descending=True)
            ordered[ordered.cumsum(-1) - ordered >= sampling.top_p] = 0  # the first always stays
            probabilities = torch.zeros_like(probabilities).scatter_(-1, order, ordered)
        tokens = torch.cat(
            [torch.multinomial(p, 1, generator=g) for p, g in zip(probabilities, generators, strict=True)]
        )
    chosen = scores.gather(-1, tokens[:, None]).squeeze(1)
    return tokens.tolist(), chosen.tolist()
