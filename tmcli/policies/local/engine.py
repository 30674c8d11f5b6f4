"""Many turns at once with one model: what thread-bound, blocking code does for `Local`.

    engine = Engine(model, stop_ids, sampling, max_batch_tokens)
    ended = engine.run([episode, ...])     # until a turn ended; the others go on with the next `run`

Rows that finish leave and new ones enter between steps. Of a new row only those tokens are prefilled that are
neither kept from its earlier turns nor the beginning of a row that is here already (then they are copied).

Slots are in this order: rows that are decoded, rows that wait for their tools, nothing. What they all may
hold is bounded by `max_batch_tokens`: then waiting rows lose what is kept of them, new rows wait, and at last
running rows are put back. Nothing is lost but time: their ids stay, and are prefilled again.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Sequence
from typing import Any

import torch

from tmcli import console
from tmcli.policies import Sampling
from tmcli.policies.local.attention import Decode, Prefill
from tmcli.policies.local.choice import choose
from tmcli.policies.local.ending import Ending
from tmcli.policies.local.episode import Episode
from tmcli.policies.local.slots import GROWTH, Slots
from tmcli.policies.local.speed import Speed
from tmcli.policies.local.twin import Twin

SHARED = 16
"""A common beginning shorter than this is not worth a copy."""
PREFILL = 2048
"""New tokens of one forward pass, about."""


class Engine:
    """Runs in one thread at a time."""

    def __init__(
        self,
        model: Any,
        stop_ids: frozenset[int],
        sampling: Sampling,
        max_batch_tokens: int | None,
        ending: Ending | None = None,
    ) -> None:
        self.twin = Twin(model)
        self.stop_ids = stop_ids
        self.ending = ending
        """None: turns end by `stop_ids` and limits alone."""
        self.sampling = sampling
        config = model.config.get_text_config()
        self.context = int(getattr(config, "max_position_embeddings", None) or 1 << 30)
        self.max_batch_tokens = max_batch_tokens or _default_tokens(config, model)
        self.speed = Speed()
        self.interrupted = threading.Event()
        """Set from any thread: `run` is to return after this step, since there are new rows."""
        self._device = model.device
        self._slots = Slots()
        self._rows: list[Episode] = []
        """By slot."""
        self._n = 0
        """How many of them are decoded."""
        self._queue: list[Episode] = []
        """Turns that wait for room."""
        self._ended: list[Episode] = []
        """Turns that ended and are still to be told of: also when the step they ended in fails."""

    @property
    def is_busy(self) -> bool:
        return bool(self._n or self._queue)

    def refresh(self) -> None:
        """The weights have changed."""
        self.twin.refresh()
        self._drop_all()

    def rest(self) -> None:
        """No conversation is open: others may have the memory."""
        self._drop_all()

    @torch.inference_mode()
    def run(self, newcomers: Sequence[Episode]) -> list[Episode]:
        """Go on with all turns, and with new ones, until one has ended or `interrupted` is set."""
        for episode in newcomers:
            episode.begin()
        self._queue += newcomers
        try:
            while True:
                try:
                    self._advance()
                except (RuntimeError, MemoryError) as error:
                    if not _is_out_of_memory(error):
                        raise
                    self._shrink(error)
                else:
                    if self._ended or not self.is_busy or self.interrupted.is_set():
                        ended, self._ended = self._ended, []
                        return ended
        except BaseException:
            self._queue, self._ended = [], []
            self._drop_all()
            raise

    def _advance(self) -> None:
        """Admit what fits, and take one step."""
        self._forget_closed()
        self._admit()
        if not self._ended and self._n:
            self._decode()

    # ---- rows come ---------------------------------------------------------------------------------

    def _admit(self) -> None:
        """Prefill turns that wait, as far as there is room."""
        while self._queue:
            entering: list[Episode] = []
            for episode in list(self._queue):
                if len(episode.ids) >= self.context or self.sampling.max_new_tokens < 1:
                    self._queue.remove(episode)
                    episode.finish = "length"
                    self._ended.append(episode)
                    continue
                if not self._make_room([*self._rows[: self._n], episode]):
                    break
                shared = self._beginning(episode, entering)
                if shared is None:  # another that enters now begins alike: copy it then
                    continue
                self._queue.remove(episode)
                self._enter(episode, *shared)
                entering.append(episode)
            if not entering:
                break
            self._prefill(entering)

    def _make_room(self, running: list[Episode], more: int = 1) -> bool:
        """Let these rows fit, each with `more` positions; rows that wait may have to go. False: no room."""
        longest = max(len(episode.ids) for episode in running) + more
        needed = -(-longest // GROWTH) * GROWTH
        room = max(self._slots.room, needed)
        if len(running) * room > self.max_batch_tokens:
            room = needed  # the rows that needed more are gone
        most = max(1, self.max_batch_tokens // room)
        if len(running) > most:
            return False
        waiting = [episode for episode in self._rows[self._n :] if episode not in running]
        waiting.sort(key=lambda episode: episode.n_cached <= room)  # what would be cut off goes first
        while waiting and (len(running) + len(waiting) > most or waiting[0].n_cached > room):
            self._drop(waiting.pop(0))
        n_rows = len(running) + len(waiting)
        if n_rows > self._slots.size:
            n_rows = min(most, max(n_rows, self._slots.size * 3 // 2))
        self._slots.resize(min(most, max(n_rows, self._slots.size)), room)
        return True

    def _beginning(self, episode: Episode, entering: list[Episode]) -> tuple[int, int] | None:
        """(slot, positions) of the row that a new one begins like; None: that one is not prefilled yet."""
        best = 0, 0
        if episode.n_cached:
            return best
        for slot, row in enumerate(self._rows):
            length = _common(episode.ids, row.ids)
            cached = min(length, row.n_cached)
            if row in entering and length > max(best[1], cached) + SHARED:
                return None
            if cached > best[1]:
                best = slot, cached
        return (best[0], min(best[1], len(episode.ids) - 1)) if best[1] >= SHARED else (0, 0)

    def _enter(self, episode: Episode, source: int, n_shared: int) -> None:
        if episode not in self._rows:
            self._rows.append(episode)
            episode.n_cached = n_shared
            if n_shared:
                self._slots.copy(source, len(self._rows) - 1, n_shared)
        self._swap(self._rows.index(episode), self._n)
        self._n += 1

    def _prefill(self, entering: list[Episode]) -> None:
        """Read what is new of these rows, and sample their first tokens."""
        while entering:
            part = [entering.pop(0)]
            n_new = len(part[0].ids) - part[0].n_cached
            while entering and n_new + len(entering[0].ids) - entering[0].n_cached <= PREFILL:
                n_new += len(entering[0].ids) - entering[0].n_cached
                part.append(entering.pop(0))
            started = time.perf_counter()
            ids: list[int] = []
            positions: list[int] = []
            rows: list[tuple[int, int, int]] = []
            ends: list[int] = []
            for episode in part:
                new = episode.ids[episode.n_cached :]
                rows.append((self._rows.index(episode), episode.n_cached, len(new)))
                ids += new
                positions += range(episode.n_cached, len(episode.ids))
                ends.append(len(ids) - 1)
            step = Prefill(self._slots, rows)
            logits = self._forward(torch.tensor(ids), torch.tensor(positions), step, torch.tensor(ends))
            self._say(part, logits)
            self.speed.prefilled += len(ids)
            self.speed.prefill_s += time.perf_counter() - started

    # ---- steps -------------------------------------------------------------------------------------

    def _decode(self) -> None:
        while not self._make_room(self._rows[: self._n]):
            self._put_back()
        started = time.perf_counter()
        rows = self._rows[: self._n]
        lengths = torch.tensor([episode.n_cached for episode in rows])
        slots = torch.arange(len(rows), device=self._device)
        step = Decode(self._slots, lengths.to(self._device), 1 + int(lengths.max()), slots)
        logits = self._forward(torch.tensor([episode.ids[-1] for episode in rows]), lengths, step, 0)
        self._say(rows, logits)
        self.speed.steps += 1
        self.speed.sample_s += time.perf_counter() - started

    def _forward(
        self, ids: torch.Tensor, positions: torch.Tensor, step: Prefill | Decode, keep: torch.Tensor | int
    ) -> torch.Tensor:
        """Logits (rows, vocabulary)."""
        out = self.twin.module(
            input_ids=ids[None].to(self._device),
            position_ids=positions[None].to(self._device),
            use_cache=False,
            logits_to_keep=keep if isinstance(keep, int) else keep.to(self._device),
            ragged=step,
        )
        logits: torch.Tensor = out.logits[0]
        return logits

    def _say(self, rows: list[Episode], logits: torch.Tensor) -> None:
        """Sample a token for each row; rows whose turn ended leave."""
        tokens, logprobs = choose(logits, self.sampling, [episode.draw() for episode in rows])
        ended = []
        for episode, token, logprob in zip(rows, tokens, logprobs, strict=True):
            episode.n_cached = len(episode.ids)
            episode.say(token, logprob)
            if token in self.stop_ids or (self.ending is not None and self.ending.is_past(episode)):
                episode.finish = "stop"
            elif len(episode.ids) >= self.context or len(episode.said) >= self.sampling.max_new_tokens:
                episode.finish = "length"
            else:
                continue
            ended.append(episode)
        for episode in ended:
            self._leave(self._rows.index(episode))
        self._ended += ended
        self.speed.sampled += len(rows)

    # ---- rows go -----------------------------------------------------------------------------------

    def _leave(self, slot: int) -> None:
        """A running row waits from now on; what is cached of it stays."""
        self._n -= 1
        self._swap(slot, self._n)

    def _put_back(self) -> None:
        """The last running row has no room."""
        episode = self._rows[self._n - 1]
        self._drop(episode)
        self._queue.insert(0, episode)

    def _drop(self, episode: Episode) -> None:
        """Give a row's slot to others."""
        slot = self._rows.index(episode)
        if slot < self._n:
            self._leave(slot)
            slot = self._n
        last = len(self._rows) - 1
        self._swap(slot, last)
        self._rows.pop()
        episode.n_cached = 0

    def _drop_all(self) -> None:
        for episode in self._rows:
            episode.n_cached = 0
        self._rows, self._n = [], 0
        self._slots.clear()

    def _forget_closed(self) -> None:
        self._queue = [episode for episode in self._queue if not episode.is_closed]
        for episode in [episode for episode in self._rows if episode.is_closed]:
            self._drop(episode)

    def _shrink(self, error: BaseException) -> None:
        """Out of memory: all running rows are put back, and half as much runs from now on."""
        running = self._rows[: self._n]
        used = max(1, self._slots.size * self._slots.room)
        if len(running) + len(self._queue) and min(used, self.max_batch_tokens) <= GROWTH:
            raise error
        self.max_batch_tokens = min(used, self.max_batch_tokens) // 2
        self._queue = running + self._queue
        self._drop_all()
        if self._device.type == "cuda":
            torch.cuda.empty_cache()
        console.warn(f"out of memory: from now on at most {self.max_batch_tokens} tokens run at once")

    def _swap(self, one: int, other: int) -> None:
        if one != other:
            rows = self._rows
            self._slots.swap(one, other, max(rows[one].n_cached, rows[other].n_cached))
            rows[one], rows[other] = rows[other], rows[one]


def _is_out_of_memory(error: BaseException) -> bool:
    return isinstance(error, torch.OutOfMemoryError | MemoryError) or "can't allocate memory" in str(error)


def _common(one: list[int], other: list[int]) -> int:
    """How many ids both begin with."""
    low, high = 0, min(len(one), len(other))
    while low < high:
        middle = (low + high + 1) // 2
        if one[low:middle] == other[low:middle]:
            low = middle
        else:
            high = middle - 1
    return low


def _default_tokens(config: Any, model: Any) -> int:
    """Positions that fit into 40% of the memory that is free now, at most 131072."""
    heads = getattr(config, "num_key_value_heads", None) or config.num_attention_heads
    width = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
    size: int = 2 * config.num_hidden_layers * heads * width * model.dtype.itemsize
    return max(GROWTH, min(1 << 17, int(0.4 * _free_bytes(model.device)) // size))


def _free_bytes(device: torch.device) -> int:
    if device.type == "cuda":
        return int(torch.cuda.mem_get_info(device)[0])
    return os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
