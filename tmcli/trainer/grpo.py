"""The trainer of `tm rl`: TRL's GRPOTrainer with the same loss, over whole episodes, at the machine's speed.

    trainer = Grpo(model=model, args=GRPOConfig(...), train_dataset=..., processing_class=tokenizer,
                   peft_config=adapter(options), rollouts=R, advantage="split", auxiliary=A, held_out=play)
    trainer.train()

`R(prompts, trainer)` is TRL's `rollout_func`: it returns `prompt_ids`, `completion_ids`, `env_mask` (1 where
the policy sampled) and `logprobs` (or None), one entry a prompt, and leaves in `R.batch` what else is to be
known of them: the rewards, each token's phase and class, and sums to log.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

import torch
from accelerate.utils import gather_object
from trl import GRPOConfig, GRPOTrainer

from tmcli.records import Json
from tmcli.trainer import advantages
from tmcli.trainer.spans import CODES, NONE

Advantage = Literal["joint", "split"]


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
    """A loss on hidden states that is learned from beside the policy's. Its state is no part of the model."""

    layer: int
    """Whose output it looks at, from 1; 0 are the embeddings."""
    weight: float

    def loss(self, hidden: torch.Tensor, classes: torch.Tensor) -> torch.Tensor:
        """Scalar, of hidden states (T, H) and classes (T,), -1 where no call ends. Asked once a pass and
        process, also where no call ends in the pass."""

    def parameters(self) -> Iterable[torch.nn.Parameter]:
        """What the optimizer moves along."""

    def metrics(self) -> dict[str, tuple[float, float]]:
        """As `Batch.sums`, since it was last asked; once a step."""

    def state_dict(self) -> dict[str, Any]:
        """Saved with the trainer's checkpoints."""

    def load_state_dict(self, state: dict[str, Any]) -> object:
        """What `state_dict` gave."""


def _played(**_: Any) -> list[float | None]:
    """TRL wants a reward function; `R.batch` has the rewards."""
    raise AssertionError


_played.__name__ = "joint"


class Grpo(GRPOTrainer):  # type: ignore[misc]  # trl ships no types
    """`args` must have `max_steps`; `train_dataset` has a column `prompt` that the rollouts understand.

    `held_out()` plays what is held out; it is called where a callback sets `should_evaluate`, and what it
    returns is logged as `eval_...`.
    """

    def __init__(
        self,
        *,
        model: Any,
        args: GRPOConfig,
        rollouts: Rollouts,
        advantage: Advantage = "joint",
        auxiliary: Auxiliary | None = None,
        held_out: Callable[[], dict[str, float | None]] | None = None,
        **more: Any,
    ) -> None:
        self.rollouts = rollouts
        self.advantage = advantage
        self.auxiliary = auxiliary
        self.held_out = held_out
        super().__init__(model=model, args=args, reward_funcs=[_played], rollout_func=self._play, **more)

    def _play(self, prompts: list[str], trainer: Any) -> Json:
        return self.rollouts(prompts, trainer)

    def _calculate_rewards(self, inputs: Any, prompts: Any, completions: Any, ids: Any) -> torch.Tensor:
        return self._gathered("joint")[:, None]

    def _gathered(self, name: str) -> torch.Tensor:
        """(N,): the rewards of all processes, nan for None."""
        rewards = advantages.rewards_tensor(self.rollouts.batch.rewards[name], self.accelerator.device)
        return self.accelerator.gather(rewards)  # type: ignore[no-any-return]

    def _generate_and_score_completions(self, inputs: list[Json]) -> Json:
        output: Json = super()._generate_and_score_completions(inputs)
        batch = self.rollouts.batch
        if self.advantage == "split":
            phases = _padded(batch.phases, output["completion_ids"].shape[1], NONE).to(
                self.accelerator.device
            )
            output["advantages"] = advantages.by_phase({phase: self._local(phase) for phase in CODES}, phases)
        for name, value in self._summed(batch.sums).items():
            self._metrics["train"][name].append(value)
        return output

    def _local(self, name: str) -> torch.Tensor:
        """(n,): the advantages of this process's episodes."""
        found = advantages.normalised(self._gathered(name), self.num_generations, self.scale_rewards)
        return found.chunk(self.accelerator.num_processes)[self.accelerator.process_index]

    def _summed(self, sums: dict[str, tuple[float, float]]) -> dict[str, float]:
        """sum / count over all processes; nan, which is logged as None, where the count is 0."""
        names = sorted(set(gather_object(list(sums))))
        local = torch.tensor([sums.get(name, (0.0, 0.0)) for name in names], dtype=torch.float64).view(-1, 2)
        total = self.accelerator.reduce(local.to(self.accelerator.device), reduction="sum")
        return {
            name: value / count if count else torch.nan
            for name, (value, count) in zip(names, total.tolist(), strict=True)
        }


def _padded(rows: list[list[int]], width: int, value: int) -> torch.Tensor:
    """(N, width)"""
    return torch.tensor([[*row, *[value] * (width - len(row))] for row in rows])
