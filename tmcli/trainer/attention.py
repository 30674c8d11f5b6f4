"""Attention over rows laid end to end: each token sees its own row's past and nothing else, without padding.

    if attention.keeps_rows_apart(model):
        attention.use(model)      # from now on it needs `cu_seq_lens_q`, as in TRL's padding-free batches

On a CPU only. Rows are told apart by where they begin, not by a mask as large as the square of all tokens,
and what a sliding window leaves out is not computed. Queries go in blocks that fit the cache: twice as fast
in bf16 as PyTorch's flash kernel for CPUs, as fast in fp32. As there, no probabilities are kept for the way
back; they are computed again.

Rows that begin alike can share their beginning: it is one row of its own, laid before them, and `row_parents`
says for each row which row it goes on from, -1 for none. A prompt is then computed once for all its episodes.

Not for models that carry a state from token to token, that cap scores, or whose attention is not causal:
`keeps_rows_apart` is false for them.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from itertools import pairwise
from typing import Any

import torch
from transformers import AttentionInterface

NAME = "tm_rows"

BLOCK = 128
"""Queries at a time."""


def keeps_rows_apart(model: Any) -> bool:
    """Can the model's rows be laid end to end with nothing passing from one to the next?"""
    config = model.config.get_text_config()
    layers = set(getattr(config, "layer_types", None) or ["full_attention"])
    return bool(
        config._attn_implementation in ("sdpa", NAME)
        and model._supports_attention_backend
        and not model._is_stateful
        and layers <= {"full_attention", "sliding_attention"}
        and not getattr(config, "use_bidirectional_attention", False)
        and not getattr(config, "attention_dropout", 0)
    )


def use(model: Any, name: str = NAME) -> None:
    """Let the model attend this way, or another, from now on."""
    AttentionInterface.register(NAME, attend)
    if model.config._attn_implementation != name:
        model.set_attn_implementation(name)


def attend(
    module: torch.nn.Module,  # noqa: ARG001
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: None,  # noqa: ARG001
    *,
    cu_seq_lens_q: torch.Tensor,
    row_parents: torch.Tensor | None = None,
    scaling: float | None = None,
    sliding_window: int | None = None,
    **more: Any,  # noqa: ARG001
) -> tuple[torch.Tensor, None]:
    """What a transformers model calls; query (1, H, T, D), key and value (1, G, T, D), G heads for H."""
    _, n_heads, n_tokens, width = query.shape
    n_groups = key.shape[1]
    if torch.is_autocast_enabled("cpu"):
        dtype = torch.get_autocast_dtype("cpu")
        query, key, value = query.to(dtype), key.to(dtype), value.to(dtype)
    bounds = cu_seq_lens_q.tolist()
    parents = [-1] * (len(bounds) - 1) if row_parents is None else row_parents.tolist()
    blocks = list(_blocks(bounds, parents, sliding_window))
    seen: torch.Tensor = _Attention.apply(  # type: ignore[no-untyped-call]
        query.reshape(n_groups, n_heads // n_groups, n_tokens, width),
        key[0],
        value[0],
        width**-0.5 if scaling is None else scaling,
        blocks,
        sliding_window,
    )
    return seen.flatten(0, 1).transpose(0, 1)[None], None  # (1, T, H, D)


Span = tuple[int, int]
Block = tuple[list[Span], int, int]
"""(where its keys are, first query, end). The last keys are those of its queries."""


def _blocks(bounds: list[int], parents: list[int], window: int | None) -> Iterator[Block]:
    for (row, end), parent in zip(pairwise(bounds), parents, strict=True):
        before = (bounds[parent], bounds[parent + 1]) if parent >= 0 else (row, row)
        for start in range(row, end, BLOCK):
            stop = min(start + BLOCK, end)
            hidden = max(0, before[1] - before[0] + start - row - window + 1) if window else 0
            seen = min(hidden, before[1] - before[0])
            spans = [(before[0] + seen, before[1]), (row + hidden - seen, stop)]
            yield [span for span in spans if span[0] < span[1]], start, stop


class _Attention(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        q: torch.Tensor,  # (G, N, T, D): N query heads for each of G key heads
        k: torch.Tensor,  # (G, T, D)
        v: torch.Tensor,  # (G, T, D)
        scale: float,
        blocks: list[Block],
        window: int | None,
    ) -> torch.Tensor:
        out = q.new_empty(*q.shape[:-1], v.shape[-1])
        for spans, start, end in blocks:
            p = _probabilities(q[:, :, start:end], _gathered(k, spans), scale, window)
            out[:, :, start:end] = _by_query(p @ _gathered(v, spans), end - start)
        ctx.save_for_backward(q, k, v, out)
        ctx.scale, ctx.blocks, ctx.window = scale, blocks, window
        return out

    @staticmethod
    def backward(ctx: Any, *gradients: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        q, k, v, out = ctx.saved_tensors
        d_out = gradients[0].to(q.dtype)
        d_q = torch.empty_like(q)
        d_k, d_v = (torch.zeros_like(x, dtype=torch.float32) for x in (k, v))  # sums over blocks
        mean = (d_out * out).sum(-1, keepdim=True)  # (G, N, T, 1)
        for spans, start, end in ctx.blocks:
            keys = _gathered(k, spans)
            p = _probabilities(q[:, :, start:end], keys, ctx.scale, ctx.window)
            d_block = d_out[:, :, start:end].flatten(1, 2)
            _add(d_v, spans, p.mT @ d_block)
            d_scores = d_block @ _gathered(v, spans).mT
            d_scores.sub_(mean[:, :, start:end].flatten(1, 2)).mul_(p).mul_(ctx.scale)
            d_q[:, :, start:end] = _by_query(d_scores @ keys, end - start)
            _add(d_k, spans, d_scores.mT @ q[:, :, start:end].flatten(1, 2))
        return d_q, d_k.to(k.dtype), d_v.to(v.dtype), None, None, None


def _probabilities(q: torch.Tensor, k: torch.Tensor, scale: float, window: int | None) -> torch.Tensor:
    """(G, N * n, keys): how much each query (G, N, n, D) attends to each key (G, keys, D) it may see."""
    n, n_keys = q.shape[2], k.shape[1]
    scores = (q * scale).flatten(1, 2) @ k.mT
    by_query = _by_query(scores, n)
    by_query[..., n_keys - n :].masked_fill_(torch.ones(n, n, dtype=torch.bool).triu(1), -math.inf)
    if window and n_keys > window:  # a view: the oldest keys are too old for some of the block's queries
        old = by_query[..., : n_keys - window]
        distance = torch.arange(n_keys - n, n_keys)[:, None] - torch.arange(old.shape[-1])
        old.masked_fill_(distance >= window, -math.inf)
    return scores.softmax(-1)


def _gathered(x: torch.Tensor, spans: list[Span]) -> torch.Tensor:
    """(G, keys, D) of (G, T, D)."""
    parts = [x[:, start:end] for start, end in spans]
    return parts[0] if len(parts) == 1 else torch.cat(parts, 1)


def _add(sums: torch.Tensor, spans: list[Span], x: torch.Tensor) -> None:
    """The other way: `x` (G, keys, D) to where its keys came from."""
    at = 0
    for start, end in spans:
        sums[:, start:end] += x[:, at : at + end - start]
        at += end - start


def _by_query(x: torch.Tensor, n: int) -> torch.Tensor:
    """(G, N * n, ...) as (G, N, n, ...), a view."""
    return x.view(x.shape[0], -1, n, x.shape[-1])
