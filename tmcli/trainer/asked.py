"""What the trainer of `tm rl` asks of those it works with: who plays, and who adds a loss of its own.

class Rollouts:                        # gives episodes, and what else is to be known of them
    batch: Batch
    def __call__(self, prompts, trainer): ...
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, Protocol

import torch

from tmcli.records import Json


@dataclass(slots=True)
class Batch:
    """What the trainer learns of the episodes of one call of the rollouts, besides their tokens.

    One entry an episode, in the order of the prompts; only those of this process.
    """

    rewards: dict[str, list[float | None]]
    """`joint`, and for `--advantage split` also `trial` and `execution`. None: leaves its group."""
    phases: list[list[int]] = field(default_factory=list)
    """Per completion token, as `spans.phases` has them (0 not sampled, 1 trial, 2 execution)."""
    classes: list[list[int]] = field(default_factory=list)
    """Per completion token: the function class of the call that ends here, or -1. For the auxiliary loss."""
    sums: dict[str, tuple[float, float]] = field(default_factory=dict)
    """Metric -> (sum, count): added over the processes, logged as sum / count, None where the count is 0."""


class Rollouts(Protocol):
    """Plays the episodes that the trainer asks for."""

    batch: Batch

    def __call__(self, prompts: list[str], trainer: Any) -> Json:
        """One entry a prompt. A group's members are neighbours; of several processes each gets its part."""


class Auxiliary(Protocol):
    """A loss on hidden states that is learned from beside the policy's (`compass.Compass`). Its state is no
    part of the model."""

    layer: int
    """After how many blocks it looks."""
    weight: float

    def loss(self, hidden: torch.Tensor, classes: torch.Tensor) -> torch.Tensor:
        """Scalar, of hidden states (T, H) and classes (T,), -1 where no call ends. Asked once a pass and
        process, also where no call ends in the pass."""

    def parameters(self) -> Iterable[torch.nn.Parameter]:
        """What the optimizer moves along."""

    def follow(self, optimizer: torch.optim.Optimizer) -> None:
        """Its steps are ours too."""

    def sums_since(self) -> dict[str, tuple[float, float]]:
        """As `Batch.sums`, since this was last asked."""

    def state_dict(self) -> Json:
        """Saved with the trainer's checkpoints."""

    def load_state_dict(self, state: Json) -> object:
        """What `state_dict` gave."""
