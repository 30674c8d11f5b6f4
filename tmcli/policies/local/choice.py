"""The next token of each row, and its log-probability."""

from __future__ import annotations

import torch

from tmcli.policies import Sampling

BLOCK = 256
"""Probabilities are cumulated within one block of the vocabulary, and over the sums of blocks."""


def choose(logits: torch.Tensor, sampling: Sampling, draws: list[float]) -> tuple[list[int], list[float]]:
    """(B, vocabulary) -> a token a row and its log-probability under softmax(logits / temperature), before
    the top-p cut (temperature 1 when greedy). `draws`: a random number in [0, 1) for each row."""
    scores = logits.float()
    if sampling.temperature not in (0, 1):
        scores = scores / sampling.temperature
    scores = torch.log_softmax(scores, -1)
    if sampling.temperature == 0:
        tokens = scores.argmax(-1, keepdim=True)
    else:
        tokens = _drawn(scores.exp(), sampling.top_p, draws)
    return tokens[:, 0].tolist(), scores.gather(-1, tokens)[:, 0].tolist()


def _drawn(p: torch.Tensor, top_p: float, draws: list[float]) -> torch.Tensor:
    """(B, 1): the token in whose share of the cumulated probabilities the draw falls."""
    order = None
    if top_p < 1:
        p, order = p.sort(-1, descending=True)
        p[:, 1:][(p.cumsum(-1) - p)[:, 1:] >= top_p] = 0  # the first always stays
    if p.shape[-1] % BLOCK:
        p = torch.nn.functional.pad(p, (0, BLOCK - p.shape[-1] % BLOCK))
    blocks = p.view(len(p), -1, BLOCK)
    sums = blocks.sum(-1).double().cumsum(-1)  # (B, blocks)
    aim = torch.tensor(draws, dtype=torch.float64, device=p.device)[:, None] * sums[:, -1:]
    block = torch.searchsorted(sums, aim, right=True).clamp_(max=sums.shape[-1] - 1)
    before = torch.where(block > 0, sums.gather(-1, (block - 1).clamp(min=0)), 0.0)
    rows = torch.arange(len(p), device=p.device)
    within = blocks[rows, block[:, 0]].double().cumsum(-1)  # (B, BLOCK)
    # never behind the last token of the block that can be said at all: sums are rounded
    rest = torch.minimum(aim - before, within[:, -1:] * (1 - 1e-12))
    places = block * BLOCK + torch.searchsorted(within, rest, right=True).clamp_(max=BLOCK - 1)
    return places if order is None else order.gather(-1, places)
