"""How likely a model finds the tokens that were sampled, and how sure it is there; of no other tokens.

    score_head(model)                                  # once: teaches its `forward` the way below
    laid = lay(prompts, completions, masks)            # rows end to end, a prompt they share only once
    logps, entropies = scored(model, laid, shape, temperature)

Over 49k words the output layer is most of a small model's step on a CPU; TRL computes it for every position,
prompts and tool replies too, and three times. Here it is computed twice, where a token was sampled.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from transformers.utils import ModelOutput

ROWS = 64
"""Rows of logits at a time: what they are turned into stays in the cache."""


@dataclass(slots=True)
class Laid:
    """Episodes end to end, T tokens, of which N were sampled."""

    inputs: dict[str, torch.Tensor]
    """What the model takes."""
    columns: torch.Tensor
    """(N,): where each sampled token is predicted."""
    targets: torch.Tensor
    """(N,): its id."""
    rows: torch.Tensor
    """(N,): its episode."""
    places: torch.Tensor
    """(N,): its place in the episode's completion."""
    at: torch.Tensor
    """(N,): where it is itself."""


def lay(
    prompts: Sequence[Sequence[int]], completions: Sequence[Sequence[int]], masks: Sequence[Sequence[int]]
) -> Laid:
    """Nothing that follows an episode's last sampled token is laid out, nor an episode without any."""
    by_prompt: dict[tuple[int, ...], list[int]] = {}
    for i, (prompt, mask) in enumerate(zip(prompts, masks, strict=True)):
        if any(mask):
            by_prompt.setdefault(tuple(prompt), []).append(i)
    ids: list[int] = []
    positions: list[int] = []
    bounds, parents = [0], []
    sampled: list[tuple[int, int, int, int, int]] = []

    def row(tokens: Sequence[int], first: int, parent: int) -> None:
        ids.extend(tokens)
        positions.extend(range(first, first + len(tokens)))
        bounds.append(len(ids))
        parents.append(parent)

    for prompt, members in by_prompt.items():
        shared = len(members) > 1
        parent, last = -1, -1
        if shared:
            parent = len(parents)
            row(prompt, 0, -1)
            last = len(ids) - 1
        for i in members:
            end = len(masks[i]) - list(reversed(masks[i])).index(1)
            tokens = completions[i][:end]
            row(tokens if shared else [*prompt, *tokens], len(prompt) if shared else 0, parent)
            begin = len(ids) - end
            before = last if shared else begin - 1
            for j in range(end):
                if masks[i][j]:
                    sampled.append((begin + j - 1 if j else before, tokens[j], i, j, begin + j))
    if not ids:  # something must flow
        row(prompts[0][:1], 0, -1)
    columns, targets, rows, places, at = torch.tensor(sampled, dtype=torch.long).view(-1, 5).unbind(1)
    inputs = {
        "input_ids": torch.tensor([ids]),
        "position_ids": torch.tensor([positions]),
        "cu_seq_lens_q": torch.tensor(bounds, dtype=torch.int32),
        "row_parents": torch.tensor(parents),
    }
    return Laid(inputs, columns, targets, rows, places, at)


def scored(
    model: Any, laid: Laid, shape: torch.Size, temperature: float
) -> tuple[torch.Tensor, torch.Tensor]:
    """(log-probs, entropies), (B, C) each, 0 where no token was sampled."""
    out = model(**laid.inputs, columns=laid.columns, targets=laid.targets, temperature=temperature)
    where = (laid.rows, laid.places)
    empty = out.log_probs.new_zeros(shape)
    return empty.index_put(where, out.log_probs), empty.index_put(where, out.entropy)


@dataclass
class Scored(ModelOutput):  # type: ignore[misc]  # transformers ships no types for it
    """Of each sampled token; (N,) each."""

    log_probs: torch.Tensor | None = None
    entropy: torch.Tensor | None = None


def score_head(model: Any) -> None:
    """Let `model(..., columns=, targets=, temperature=)` return `Scored`. Inside `forward`, for what wraps it
    (several processes, mixed precision) must see one forward pass, and not a copy of all logits."""
    usual = model.forward

    def forward(*args: Any, targets: torch.Tensor | None = None, **more: Any) -> Any:
        if targets is None:
            return usual(*args, **more)
        columns, temperature = more.pop("columns"), more.pop("temperature")
        logits = usual(*args, **more, use_cache=False, logits_to_keep=columns).logits[0]
        return Scored(*_Chosen.apply(logits, targets, temperature))  # type: ignore[no-untyped-call]

    model.forward = forward


class _Chosen(torch.autograd.Function):
    """Log-probability of one id a row, and the entropy (which has no gradient)."""

    @staticmethod
    def forward(
        ctx: Any,
        logits: torch.Tensor,  # (N, V), of any precision
        targets: torch.Tensor,  # (N,)
        temperature: float,
    ) -> tuple[torch.Tensor, torch.Tensor]:
        chosen, entropies, totals = logits.new_empty(3, len(targets), dtype=torch.float32)
        for rows in _some(targets):
            z = logits[rows].float() / temperature
            total = z.logsumexp(-1, keepdim=True)
            at_target = z.gather(1, targets[rows, None])
            z -= total
            entropies[rows] = -(z.exp() * z).nan_to_num(0.0).sum(-1)  # 0 log 0 = 0
            chosen[rows] = (at_target - total)[:, 0]
            totals[rows] = total[:, 0]
        ctx.save_for_backward(logits, targets, totals)
        ctx.temperature = temperature
        ctx.mark_non_differentiable(entropies)
        return chosen, entropies

    @staticmethod
    def backward(ctx: Any, *gradients: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        logits, targets, totals = ctx.saved_tensors
        gradient = gradients[0] / ctx.temperature
        out = torch.empty_like(logits)
        for rows in _some(targets):
            p = (logits[rows].float() / ctx.temperature).sub_(totals[rows, None]).exp_()
            p.mul_(-gradient[rows, None]).scatter_add_(1, targets[rows, None], gradient[rows, None])
            out[rows] = p
        return out, None, None


def _some(rows: torch.Tensor) -> list[slice]:
    return [slice(start, start + ROWS) for start in range(0, len(rows), ROWS)]
