"""The trainer of `tm rl`: TRL's GRPOTrainer with the same loss, over whole episodes, at the machine's speed.

    trainer = Grpo(model=model, args=GRPOConfig(...), train_dataset=..., processing_class=tokenizer,
                   peft_config=adapter(options), rollouts=R, advantage="split", auxiliary=A, held_out=play)
    trainer.train()

`R(prompts, trainer)` is TRL's `rollout_func`: it returns `prompt_ids`, `completion_ids`, `env_mask` (1 where
the policy sampled) and `logprobs` (or None), one entry a prompt, and leaves in `R.batch` what else is to be
known of them: the rewards, each token's phase and class, and sums to log.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import Any, Literal

import torch
from torch.optim.lr_scheduler import LambdaLR
from trl import GRPOConfig, GRPOTrainer

from tmcli.records import Json
from tmcli.trainer import advantages
from tmcli.trainer.asked import Auxiliary, Batch, Rollouts
from tmcli.trainer.compass import tapped
from tmcli.trainer.end_to_end import EndToEnd
from tmcli.trainer.memory import give_back
from tmcli.trainer.spans import CODES, NONE

Advantage = Literal["joint", "split"]

__all__ = ["Advantage", "Auxiliary", "Batch", "Grpo", "Rollouts"]

AUXILIARY = "auxiliary.pt"
"""Its state, in a checkpoint."""


def joint(**_: Any) -> list[float | None]:
    """TRL wants a reward function, for its name; the rewards are in `R.batch`."""
    raise NotImplementedError


class Grpo(EndToEnd):
    """`train_dataset` has a column `prompt` that the rollouts understand.

    `held_out()` plays what is held out and gives the same numbers in each process; it is called where a
    callback sets `should_evaluate`, and what it returns is logged as `eval_...`.
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
        super().__init__(model=model, args=args, reward_funcs=[joint], rollout_func=self._play, **more)

    def create_scheduler(self, num_training_steps: int, optimizer: Any = None) -> Any:
        """A constant rate that rises first. transformers' own is 0 in the first step: its episodes would have
        been played for nothing."""
        if self.args.lr_scheduler_type != "constant_with_warmup":
            return super().create_scheduler(num_training_steps, optimizer)
        rise = self.args.get_warmup_steps(num_training_steps) + 1
        self.lr_scheduler = LambdaLR(optimizer or self.optimizer, lambda step: min(1.0, (step + 1) / rise))
        return self.lr_scheduler

    def _play(self, prompts: list[str], trainer: Any) -> Json:
        give_back()
        with self.computing(for_training=False):
            output = self.rollouts(prompts, trainer)
        give_back()
        width = max(map(len, output["completion_ids"]))
        self.mask = _padded(output["env_mask"], width, 0).to(self.accelerator.device)
        return output

    def _calculate_rewards(self, inputs: Any, prompts: Any, completions: Any, ids: Any) -> torch.Tensor:
        return self._gathered("joint")[:, None]

    def _gathered(self, name: str) -> torch.Tensor:
        """(N,): the rewards of all processes, nan for None."""
        rewards = advantages.rewards_tensor(self.rollouts.batch.rewards[name], self.accelerator.device)
        gathered: torch.Tensor = self.accelerator.gather(rewards)
        return gathered

    def _generate_and_score_completions(self, inputs: list[Json]) -> Json:
        output = super()._generate_and_score_completions(inputs)
        batch, width = self.rollouts.batch, output["completion_ids"].shape[1]
        if self.advantage == "split":
            phases = _padded(batch.phases, width, NONE).to(self.accelerator.device)
            found = {phase: self._local(phase) for phase in CODES}
            output["advantages"] = advantages.by_phase(found, phases)
        if self.auxiliary is not None:
            classes = _padded(batch.classes, width, -1).to(self.accelerator.device)
            output["classes"] = classes.masked_fill(output["tool_mask"] == 0, -1)  # as the loss
        self.note(batch.sums)
        return output

    def _local(self, name: str) -> torch.Tensor:
        """(n,): the advantages of this process's episodes."""
        found = advantages.normalised(self._gathered(name), self.num_generations, self.scale_rewards)
        mine: torch.Tensor = found.chunk(self.accelerator.num_processes)[self.accelerator.process_index]
        return mine

    def _compute_loss(self, model: Any, inputs: Json) -> torch.Tensor:
        auxiliary = self.auxiliary
        with nullcontext() if auxiliary is None else tapped(self.model, auxiliary.layer) as seen:
            loss: torch.Tensor = super()._compute_loss(model, inputs)
        if auxiliary is not None and seen is not None:
            added = auxiliary.loss(seen.hidden, self._classes(inputs))
            self._metrics["train"]["auxiliary_loss"].append(added.item())
            loss = loss + auxiliary.weight * added / self.current_gradient_accumulation_steps
        return loss

    def _lesson(self, found: torch.Tensor, mask: torch.Tensor) -> bool:
        return self.auxiliary is not None or super()._lesson(found, mask)

    def _classes(self, inputs: Json) -> torch.Tensor:
        """(T,), as the hidden states are laid out."""
        classes: torch.Tensor = inputs["classes"]
        if not self.end_to_end:
            none = torch.full_like(inputs["prompt_ids"], -1)
            return torch.cat([none, classes], 1).flatten()
        laid = self.laid
        assert laid is not None
        out = classes.new_full((laid.inputs["input_ids"].shape[1],), -1)
        return out.index_put((laid.at,), classes[laid.rows, laid.places])

    def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
        if self.auxiliary is not None and "loss" in logs:
            self.note(self.auxiliary.sums_since())
        super().log(logs, start_time)

    def evaluate(self, *_: Any, **__: Any) -> dict[str, Any]:
        assert self.held_out is not None
        self.model.eval()
        found: dict[str, Any] = {f"eval_{name}": value for name, value in self.held_out().items()}
        self.log(dict(found))
        self.model.train()
        self.control: Any = self.callback_handler.on_evaluate(self.args, self.state, self.control, found)
        return found

    def create_optimizer(self, *args: Any) -> torch.optim.Optimizer:
        optimizer: torch.optim.Optimizer = super().create_optimizer(*args)
        if self.auxiliary is not None:
            optimizer.add_param_group({"params": list(self.auxiliary.parameters()), "weight_decay": 0.0})
            self.auxiliary.follow(optimizer)
        return optimizer

    def _save_checkpoint(self, model: Any, trial: Any) -> None:
        super(GRPOTrainer, self)._save_checkpoint(model, trial)  # TRL's would write a model card
        if self.auxiliary is not None and self.args.should_save:
            folder = Path(self.args.output_dir) / f"checkpoint-{self.state.global_step}"
            torch.save(self.auxiliary.state_dict(), folder / AUXILIARY)

    def _load_optimizer_and_scheduler(self, checkpoint: str | None) -> None:
        super()._load_optimizer_and_scheduler(checkpoint)
        if self.auxiliary is not None and checkpoint is not None:
            self.auxiliary.load_state_dict(torch.load(Path(checkpoint) / AUXILIARY, weights_only=True))


def _padded(rows: list[list[int]], width: int, value: int) -> torch.Tensor:
    """(N, width)"""
    return torch.tensor([[*row, *[value] * (width - len(row))] for row in rows])
