"""Attention over rows of many lengths, whose past is in slots: no padding, no copies, no repeated heads.

    logits = model(input_ids=ids, position_ids=positions, use_cache=False, ragged=Prefill(...) or Decode(...))

The tokens of all rows come end to end, as one row (1, T). Each layer writes its new keys and values into the
rows' slots, then attends: a prefill row by row, a decoding step (one token a row) as one product over all.
Registered in transformers' `AttentionInterface`, so it serves every architecture that asks that interface.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

import torch
from transformers import AttentionInterface

from tmcli.policies.local.slots import Slots

NAME = "tm_slots"

BLOCK = 128
"""Queries at a time in a prefill: their scores fit the processor's cache."""


@dataclass(slots=True)
class Prefill:
    """New tokens of some rows: (slot, cached positions, new positions) in the order of the tokens."""

    slots: Slots
    rows: list[tuple[int, int, int]]


@dataclass(slots=True)
class Decode:
    """One new token for each of the first `len(lengths)` slots."""

    slots: Slots
    lengths: torch.Tensor
    """(B,): cached positions, so the new token's position."""
    longest: int
    """Positions that the longest row has with its new token."""
    rows: torch.Tensor
    """0...B-1"""
    masks: dict[int | None, torch.Tensor] = field(default_factory=dict)
    """By window: (B, 1, 1, T), what is added to scores."""

    def mask(self, window: int | None, dtype: torch.dtype) -> torch.Tensor:
        if window not in self.masks:
            distance = self.lengths[:, None] - torch.arange(self.longest, device=self.lengths.device)
            hidden = distance < 0 if not window else (distance < 0) | (distance >= window)
            added = torch.zeros(hidden.shape, dtype=dtype, device=hidden.device)
            self.masks[window] = added.masked_fill_(hidden, -math.inf)[:, None, None]
        return self.masks[window]


def serves(model: Any) -> bool:
    """Can the model's attention go through here? Not where a state other than keys and values goes from
    token to token, nor where a mask says more than that a past is seen, or the latest part of it."""
    config = model.config.get_text_config()
    layers = set(getattr(config, "layer_types", None) or ["full_attention"])
    return bool(
        model._supports_attention_backend
        and not model._is_stateful
        and layers <= {"full_attention", "sliding_attention"}
        and not getattr(config, "use_bidirectional_attention", False)
    )


def register() -> None:
    AttentionInterface.register(NAME, attend)


def attend(
    module: torch.nn.Module,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: None,  # noqa: ARG001
    *,
    ragged: Prefill | Decode,
    scaling: float | None = None,
    sliding_window: int | None = None,
    softcap: float | None = None,
    s_aux: torch.Tensor | None = None,
    **more: Any,  # noqa: ARG001
) -> tuple[torch.Tensor, None]:
    """What a transformers model calls; query (1, H, T, D), key and value (1, G, T, D), G heads for H."""
    index: Any = module.layer_idx
    keys, values = ragged.slots.layer(index, key, value)
    query = query * (query.shape[-1] ** -0.5 if scaling is None else scaling)
    sees = _Sees(sliding_window, softcap, s_aux)
    if isinstance(ragged, Decode):
        out = _decode(query[0], key[0], value[0], keys, values, ragged, sees)
    else:
        out = _prefill(query[0], key[0], value[0], keys, values, ragged, sees)
    return out[None], None  # (1, T, H, D)


@dataclass(slots=True)
class _Sees:
    """What shapes the probabilities of a layer, beside its scores."""

    window: int | None
    softcap: float | None
    sinks: torch.Tensor | None
    """(H,): a score that each head may give to nothing at all (GPT-OSS)."""

    def capped(self, scores: torch.Tensor) -> torch.Tensor:
        return scores if self.softcap is None else (scores / self.softcap).tanh_().mul_(self.softcap)

    def probabilities(self, scores: torch.Tensor, *queries: int) -> torch.Tensor:
        """Softmax over the keys, one of whose terms may be a sink. (B, G, N, keys), or (G, N, queries, keys),
        which `queries`, a 1, says."""
        if self.sinks is None:
            return scores.softmax(-1)
        n_groups = scores.shape[0] if queries else scores.shape[1]
        sinks = self.sinks.to(scores.dtype).view(n_groups, -1, *queries, 1).expand(*scores.shape[:-1], 1)
        return torch.cat([scores, sinks], -1).softmax(-1)[..., :-1]


def _decode(
    query: torch.Tensor,  # (H, B, D)
    key: torch.Tensor,  # (G, B, D)
    value: torch.Tensor,  # (G, B, D)
    keys: torch.Tensor,
    values: torch.Tensor,
    step: Decode,
    sees: _Sees,
) -> torch.Tensor:
    n_groups, n_rows, _ = key.shape
    keys[step.rows, :, :, step.lengths] = key.transpose(0, 1)
    values[step.rows, :, step.lengths] = value.transpose(0, 1)
    grouped = query.transpose(0, 1).reshape(n_rows, n_groups, -1, query.shape[-1])  # (B, G, N, D)
    scores = sees.capped(grouped @ keys[:n_rows, :, :, : step.longest])  # (B, G, N, T)
    scores += step.mask(sees.window, scores.dtype)
    seen = sees.probabilities(scores) @ values[:n_rows, :, : step.longest]
    return seen.flatten(1, 2)  # (B, H, D)


def _prefill(
    query: torch.Tensor,  # (H, T, D)
    key: torch.Tensor,  # (G, T, D)
    value: torch.Tensor,  # (G, T, D)
    keys: torch.Tensor,
    values: torch.Tensor,
    step: Prefill,
    sees: _Sees,
) -> torch.Tensor:
    n_heads, n_tokens, width = query.shape
    n_groups = key.shape[0]
    out = query.new_empty(n_tokens, n_heads, value.shape[-1])
    first = 0
    for slot, past, n_new in step.rows:
        end = first + n_new
        keys[slot, :, :, past : past + n_new] = key[:, first:end].mT
        values[slot, :, past : past + n_new] = value[:, first:end]
        for start in range(0, n_new, BLOCK):
            n = min(BLOCK, n_new - start)
            last = past + start + n  # keys that the block's last query sees
            begin = max(0, past + start - sees.window + 1) if sees.window else 0
            q = query[:, first + start : first + start + n].reshape(n_groups, -1, width)  # (G, N * n, D)
            scores = sees.capped(q @ keys[slot, :, :, begin:last]).view(n_groups, -1, n, last - begin)
            scores.masked_fill_(_hidden(past + start, n, begin, last, sees.window, q.device), -math.inf)
            seen = sees.probabilities(scores, 1).flatten(1, 2) @ values[slot, :, begin:last]  # (G, N * n, D)
            out[first + start : first + start + n] = seen.view(n_heads, n, -1).transpose(0, 1)
        first = end
    return out


def _hidden(
    position: int, n: int, begin: int, last: int, window: int | None, device: torch.device
) -> torch.Tensor:
    """(n, keys): what the queries at `position`... may not see of the keys begin...last."""
    distance = (
        torch.arange(position, position + n, device=device)[:, None]
        - torch.arange(begin, last, device=device)[None]
    )
    return distance < 0 if not window else (distance < 0) | (distance >= window)
