"""How much better than its group an episode was, as a whole or in each of its phases.

    advantages = normalised(rewards, group_size)                 # (N,); a reward is nan where there is none
    by_phase({"trial": t, "execution": e}, phases)               # (N, T), by the phase of each token

Joint is what TRL's trainer computes: (reward - mean of the group) / (its spread + 1e-4). Split gives the
tokens of trial turns the trial reward normalised so, and those of execution turns the execution reward: what
went wrong in solving does not blame the trials, and the other way round. A member without a reward leaves its
group; where fewer than two are left, nothing is learned (0).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal

import torch
from trl.trainer.utils import nanstd

from tmcli.protocol import Phase
from tmcli.trainer.spans import CODES

Scale = Literal["group", "batch", "none"]


def rewards_tensor(rewards: Sequence[float | None], device: torch.device | str = "cpu") -> torch.Tensor:
    """(N,), nan for None."""
    return torch.tensor([torch.nan if r is None else r for r in rewards], dtype=torch.float32, device=device)


def normalised(rewards: torch.Tensor, group_size: int, scale: Scale = "group") -> torch.Tensor:
    """(N,): rewards (N,) against the mean of their group of `group_size` neighbours, by their spread."""
    groups = rewards.view(-1, group_size)
    advantages = groups - groups.nanmean(1, keepdim=True)
    valid = (~groups.isnan()).sum(1, keepdim=True)
    if scale == "group":
        advantages = advantages / (nanstd(groups, dim=1)[:, None] + 1e-4)
    elif scale == "batch":
        advantages = advantages / (nanstd(rewards) + 1e-4)
    return torch.where(valid < 2, 0.0, advantages).nan_to_num(0.0).flatten()


def by_phase(advantages: Mapping[Phase, torch.Tensor], phases: torch.Tensor) -> torch.Tensor:
    """(N, T): each token's advantage by the phase (N, T) it was sampled in; 0 where none was."""
    out = torch.zeros(phases.shape, device=phases.device)
    for phase, code in CODES.items():
        out = torch.where(phases == code, advantages[phase][:, None], out)
    return out
