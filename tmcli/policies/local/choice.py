"""The next token of each row, and its log-probability."""

from __future__ import annotations

import torch

from tmcli.policies import Sampling


def choose(logits: torch.Tensor, sampling: Sampling, draws: list[float]) -> tuple[list[int], list[float]]:
    """(B, vocabulary) -> a token a row and its log-probability under softmax(logits / temperature), before
    the top-p cut (temperature 1 when greedy). `draws`: a random number in [0, 1) for each row."""
    scores = logits.float()
    if sampling.temperature:
        scores = scores / sampling.temperature
    total = scores.logsumexp(-1, keepdim=True)
    if sampling.temperature == 0:
        tokens = scores.argmax(-1, keepdim=True)
    else:
        tokens = _drawn((scores - total).exp_(), sampling.top_p, draws)
    chosen = scores.gather(-1, tokens) - total
    return tokens[:, 0].tolist(), chosen[:, 0].tolist()


def _drawn(p: torch.Tensor, top_p: float, draws: list[float]) -> torch.Tensor:
    """(B, 1): the token in whose share of the cumulated probabilities the draw falls."""
    order = None
    if top_p < 1:
        p, order = p.sort(-1, descending=True)
        p[p.cumsum(-1) - p >= top_p] = 0  # the first always stays
    sums = p.cumsum(-1, dtype=torch.float64)
    aim = torch.tensor(draws, dtype=torch.float64, device=p.device)[:, None] * sums[:, -1:]
    places = torch.searchsorted(sums, aim, right=True).clamp_(max=p.shape[-1] - 1)
    return places if order is None else order.gather(-1, places)
