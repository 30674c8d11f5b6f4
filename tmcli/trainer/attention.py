"""Attention over rows laid end to end: each token sees its own row's past and nothing else, without padding.

    if attention.keeps_rows_apart(model):
        attention.use(model)      # from now on it needs `cu_seq_lens_q`, as in TRL's padding-free batches

On a CPU only. Rows are told apart by where they begin, not by a mask as large as the square of all tokens,
and what a sliding window leaves out is not computed. Queries go in blocks that fit the cache: twice as fast
in bf16 as PyTorch's flash kernel for CPUs, as fast in fp32. As there, no probabilities are kept for the way
back; they are computed again.

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


def use(model: Any) -> None:
    """Let the model attend this way from now on."""
    AttentionInterface.register(NAME, attend)
    model.set_attn_implementation(NAME)


def attend(
    module: torch.nn.Module,  # noqa: ARG001
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: None,  # noqa: ARG001
    *,
    cu_seq_lens_q: torch.Tensor,
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
    blocks = list(_blocks(cu_seq_lens_q.tolist(), sliding_window))
    seen: torch.Tensor = _Attention.apply(  # type: ignore[no-untyped-call]
        query.reshape(n_groups, n_heads // n_groups, n_tokens, width),
        key[0],
        value[0],
        width**-0.5 if scaling is None else scaling,
        blocks,
        sliding_window,
    )
    return seen.flatten(0, 1).transpose(0, 1)[None], None  # (1, T, H, D)


def _blocks(bounds: list[int], window: int | None) -> Iterator[tuple[int, int, int]]:
    """(first key, first query, end) of each block."""
    for row, end in pairwise(bounds):
        for start in range(row, end, BLOCK):
            yield max(row, start - window + 1) if window else row, start, min(start + BLOCK, end)


class _Attention(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        q: torch.Tensor,  # (G, N, T, D): N query heads for each of G key heads
        k: torch.Tensor,  # (G, T, D)
        v: torch.Tensor,  # (G, T, D)
        scale: float,
        blocks: list[tuple[int, int, int]],
        window: int | None,
    ) -> torch.Tensor:
        out = q.new_empty(*q.shape[:-1], v.shape[-1])
        for key, start, end in blocks:
            p = _probabilities(q, k, scale, key, start, end, window)
            out[:, :, start:end] = _by_query(p @ v[:, key:end], end - start)
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
        for key, start, end in ctx.blocks:
            p = _probabilities(q, k, ctx.scale, key, start, end, ctx.window)
            d_block = d_out[:, :, start:end].flatten(1, 2)
            d_v[:, key:end] += p.mT @ d_block
            d_scores = d_block @ v[:, key:end].mT
            d_scores.sub_(mean[:, :, start:end].flatten(1, 2)).mul_(p).mul_(ctx.scale)
            d_q[:, :, start:end] = _by_query(d_scores @ k[:, key:end], end - start)
            d_k[:, key:end] += d_scores.mT @ q[:, :, start:end].flatten(1, 2)
        return d_q, d_k.to(k.dtype), d_v.to(v.dtype), None, None, None


def _probabilities(
    q: torch.Tensor, k: torch.Tensor, scale: float, key: int, start: int, end: int, window: int | None
) -> torch.Tensor:
    """(G, N * queries, keys): how much each query of the block attends to each key it may see."""
    n = end - start
    scores = (q[:, :, start:end] * scale).flatten(1, 2) @ k[:, key:end].mT
    by_query = _by_query(scores, n)
    by_query[..., start - key :].masked_fill_(torch.ones(n, n, dtype=torch.bool).triu(1), -math.inf)
    if window and end - key > window:  # a view: the oldest keys are too old for some of the block's queries
        old = by_query[..., : end - key - window]
        distance = torch.arange(start, end)[:, None] - torch.arange(key, key + old.shape[-1])
        old.masked_fill_(distance >= window, -math.inf)
    return scores.softmax(-1)


def _by_query(x: torch.Tensor, n: int) -> torch.Tensor:
    """(G, N * n, ...) as (G, N, n, ...), a view."""
    return x.view(x.shape[0], -1, n, x.shape[-1])
