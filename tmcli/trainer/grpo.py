"""The trainer of `tm rl`: TRL's GRPOTrainer with the same loss, over whole episodes, at the machine's speed.

    trainer = Grpo(model=model, args=GRPOConfig(...), train_dataset=..., processing_class=tokenizer,
                   peft_config=adapter(options), rollouts=R, advantage="split", auxiliary=A, held_out=play)
    trainer.train()

`R(prompts, trainer)` is TRL's `rollout_func`: it returns `prompt_ids`, `completion_ids`, `env_mask` (1 where
the policy sampled) and `logprobs` (or None), one entry a prompt, and leaves in `R.batch` what else is to be
known of them: the rewards, each token's phase and class, and sums to log.

The loss is TRL's, by its own code; what it is computed from comes cheaper where rows can be laid end to end
(on a CPU, `attention.keeps_rows_apart`), elsewhere from TRL too:

- No padding, a prompt once for all its episodes in a pass, and the output layer only where something was
  sampled (`logprobs.py`). So a pass takes an advantage from a group's members being in it together: the order
  of the rollouts is kept (TRL shuffles).
- The first update of a batch starts from the weights that played it: its log-probabilities are the old ones
  of the updates after it, without a forward pass of their own.
- A pass in which nothing has an advantage is only read, for its metrics.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from copy import deepcopy
from pathlib import Path
from typing import Any, Literal

import torch
from accelerate.utils import gather_object
from peft import PeftModel
from trl import GRPOConfig, GRPOTrainer
from trl.trainer.utils import split_tensor_dict

from tmcli.records import Json
from tmcli.trainer import advantages, attention, logprobs
from tmcli.trainer.asked import Auxiliary, Batch, Rollouts
from tmcli.trainer.compass import tapped
from tmcli.trainer.spans import CODES, NONE

Advantage = Literal["joint", "split"]

__all__ = ["Advantage", "Auxiliary", "Batch", "Grpo", "Rollouts"]

AUXILIARY = "auxiliary.pt"
"""Its state, in a checkpoint."""


def joint(**_: Any) -> list[float | None]:
    """TRL wants a reward function, for its name; the rewards are in `R.batch`."""
    raise NotImplementedError


class Grpo(GRPOTrainer):  # type: ignore[misc]  # trl ships no types
    """`train_dataset` has a column `prompt` that the rollouts understand.

    `held_out()` plays what is held out and gives the same numbers in each process; it is called where a
    callback sets `should_evaluate`, and what it returns is logged as `eval_...`. With `sampling_cap`, losses
    are weighed by what the policy and whoever sampled for it think of each token, up to this (truncated
    importance sampling), where the rollouts tell `logprobs`.
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
        sampling_cap: float | None = None,
        **more: Any,
    ) -> None:
        self.rollouts = rollouts
        self.advantage = advantage
        self.auxiliary = auxiliary
        self.held_out = held_out
        self.sampling_cap = sampling_cap
        self.end_to_end = model.device.type == "cpu" and attention.keeps_rows_apart(model)
        full = not (more.get("peft_config") or isinstance(model, PeftModel))
        reference = deepcopy(model).eval().requires_grad_(False) if args.beta and full else None
        beta, args.beta = args.beta, 0.0 if full else args.beta  # TRL would load the reference by its name
        os.environ["TRL_EXPERIMENTAL_SILENCE"] = "1"  # we know: the minor version is pinned
        super().__init__(model=model, args=args, reward_funcs=[joint], rollout_func=self._play, **more)
        args.beta = self.beta = beta
        self.ref_model = reference
        for parameter in self.model.parameters():
            if parameter.requires_grad:
                parameter.data = parameter.data.float()  # of an adapter on 4 bits TRL makes bf16
        for one in filter(None, (self.model, reference)):
            logprobs.score_head(_base(one))
        self.num_iterations: int = args.num_iterations
        self._buffered_inputs: list[Json] | None = None
        self.end_to_end &= not (self._entropy_bonus_enabled or self.aux_loss_enabled)
        self._usual_attention: str = _base(self.model).config._attn_implementation
        self._casting = [m for m in self.model.modules() if hasattr(m, "cast_input_dtype_enabled")]
        self._mask: torch.Tensor | None = None
        self._laid: logprobs.Laid | None = None
        self._scored: Any = None

    # --- what is asked of the rollouts

    def _play(self, prompts: list[str], trainer: Any) -> Json:
        with self._computing(for_training=False):
            output = self.rollouts(prompts, trainer)
        width = max(map(len, output["completion_ids"]))
        self._mask = _padded(output["env_mask"], width, 0).to(self.accelerator.device)
        return output

    def _calculate_rewards(self, inputs: Any, prompts: Any, completions: Any, ids: Any) -> torch.Tensor:
        return self._gathered("joint")[:, None]

    def _gathered(self, name: str) -> torch.Tensor:
        """(N,): the rewards of all processes, nan for None."""
        rewards = advantages.rewards_tensor(self.rollouts.batch.rewards[name], self.accelerator.device)
        gathered: torch.Tensor = self.accelerator.gather(rewards)
        return gathered

    def _generate_and_score_completions(self, inputs: list[Json]) -> Json:
        self.num_iterations = 1  # TRL asks for no log-probs then; the first update tells them
        output: Json = super()._generate_and_score_completions(inputs)
        self.num_iterations = self.args.num_iterations
        batch, width = self.rollouts.batch, output["completion_ids"].shape[1]
        if self.advantage == "split":
            phases = _padded(batch.phases, width, NONE).to(self.accelerator.device)
            found = {phase: self._local(phase) for phase in CODES}
            output["advantages"] = advantages.by_phase(found, phases)
        if self.auxiliary is not None:
            output["classes"] = _padded(batch.classes, width, -1).to(self.accelerator.device)
        self._note(batch.sums)
        return output

    def _local(self, name: str) -> torch.Tensor:
        """(n,): the advantages of this process's episodes."""
        found = advantages.normalised(self._gathered(name), self.num_generations, self.scale_rewards)
        mine: torch.Tensor = found.chunk(self.accelerator.num_processes)[self.accelerator.process_index]
        return mine

    def _prepare_inputs(self, generation_batch: Any) -> Json:
        """As TRL's, in the order of the rollouts: a group's members come in the same pass."""
        n_passes = self.args.steps_per_generation
        if self._step % (n_passes * self.num_iterations) == 0 or self._buffered_inputs is None:
            batch = self._generate_and_score_completions(generation_batch)
            self._buffered_inputs = split_tensor_dict(batch, n_passes)
        inputs: Json = self._buffered_inputs[self._step % n_passes]
        return inputs

    # --- the loss

    def training_step(self, model: Any, inputs: Any, num_items_in_batch: Any = None) -> torch.Tensor:
        with self._computing(for_training=True):  # also the way back, where activations are computed again
            loss: torch.Tensor = super().training_step(model, inputs, num_items_in_batch)
        if self.accelerator.sync_gradients:
            for parameter in self.model.parameters():
                if parameter.requires_grad and parameter.grad is None:
                    parameter.grad = torch.zeros_like(parameter)  # nothing learned; momentum goes on
        return loss

    @contextmanager
    def _computing(self, *, for_training: bool) -> Iterator[None]:
        """How the models attend, and whether an adapter takes its input to fp32 (autocast takes it back)."""
        tuned = for_training and self.end_to_end
        models = [_base(model) for model in (self.model, self.ref_model) if model is not None]
        before = models[0].config._attn_implementation
        try:
            self._compute(models, attention.NAME if tuned else self._usual_attention, cast=not for_training)
            yield
        finally:
            self._compute(models, before, cast=before == self._usual_attention)

    def _compute(self, models: list[Any], attend: str, *, cast: bool) -> None:
        for model in models:
            attention.use(model, attend)
        for module in self._casting:
            module.cast_input_dtype_enabled = cast

    def _compute_loss(self, model: Any, inputs: Json) -> torch.Tensor:
        mask = self._mask = inputs["completion_mask"] * inputs["tool_mask"]
        lesson = self._lesson(inputs["advantages"], mask)
        tap = nullcontext() if self.auxiliary is None else tapped(self.model, self.auxiliary.layer)
        with nullcontext() if lesson else torch.no_grad():
            with tap as seen:
                scored = self._per_token(model, inputs)
            if "old_per_token_logps" not in inputs:  # kept for the updates after this one
                inputs["old_per_token_logps"] = scored[0].detach()
                self._note_sampling(inputs, mask)
            if self.sampling_cap is not None and "sampling_per_token_logps" in inputs:
                inputs = inputs | {"advantages": self._corrected(inputs)}
            self._scored = scored
            try:
                loss: torch.Tensor = super()._compute_loss(model, inputs)
            finally:
                self._scored = None
        if self.auxiliary is not None and seen is not None:
            added = self.auxiliary.loss(seen.hidden, self._classes(inputs))
            self._metrics["train"]["auxiliary_loss"].append(added.item())
            loss = loss + self.auxiliary.weight * added / self.current_gradient_accumulation_steps
        return loss if lesson else loss.detach().requires_grad_()

    def _lesson(self, found: torch.Tensor, mask: torch.Tensor) -> bool:
        """Is there anything to learn in this pass? Yes, where processes are about to share gradients."""
        if self.beta or self.auxiliary is not None or self._entropy_bonus_enabled or self.aux_loss_enabled:
            return True
        if self.accelerator.num_processes > 1 and self.accelerator.sync_gradients:
            return True
        return bool((found.reshape(len(found), -1) * mask).any())

    def _per_token(self, model: Any, inputs: Json) -> Any:
        ids = torch.cat([inputs["prompt_ids"], inputs["completion_ids"]], 1)
        seen = torch.cat([inputs["prompt_mask"], inputs["completion_mask"]], 1)
        width = inputs["completion_ids"].shape[1]
        return self._get_per_token_logps_and_entropies(
            model, ids, seen, width, compute_entropy=True, compute_aux_loss=self.aux_loss_enabled
        )

    def _get_per_token_logps_and_entropies(
        self,
        model: Any,
        input_ids: torch.Tensor,
        attention_mask: torch.Tensor,
        logits_to_keep: int,
        batch_size: int | None = None,
        **more: Any,
    ) -> Any:
        """(log-probs, entropies, None), (B, C) each: 0 where nothing was sampled. TRL asks for it."""
        if self._scored is not None:
            return self._scored
        if not self.end_to_end:
            return super()._get_per_token_logps_and_entropies(
                model, input_ids, attention_mask, logits_to_keep, batch_size, **more
            )
        assert self._mask is not None
        n, found = len(input_ids), []
        for start in range(0, n, batch_size or n):
            rows = slice(start, start + (batch_size or n))
            ids, seen, mask = input_ids[rows], attention_mask[rows], self._mask[rows]
            prompts = [one[there == 1].tolist() for one, there in _ends(ids, seen, 0, -logits_to_keep)]
            completions = [one[there == 1].tolist() for one, there in _ends(ids, seen, -logits_to_keep, None)]
            self._laid = logprobs.lay(prompts, completions, mask.tolist())
            with self.accelerator.autocast():
                found.append(logprobs.scored(model, self._laid, mask.shape, self.temperature))
        logps, entropies = (torch.cat(parts) for parts in zip(*found, strict=True))
        return logps, entropies, None

    def _classes(self, inputs: Json) -> torch.Tensor:
        """(T,), as the hidden states are laid out."""
        classes: torch.Tensor = inputs["classes"]
        if not self.end_to_end:
            none = torch.full_like(inputs["prompt_ids"], -1)
            return torch.cat([none, classes], 1).flatten()
        laid = self._laid
        assert laid is not None
        out = classes.new_full((laid.inputs["input_ids"].shape[1],), -1)
        return out.index_put((laid.at,), classes[laid.rows, laid.places])

    def _corrected(self, inputs: Json) -> torch.Tensor:
        """(B, C): advantages, weighed by policy / sampler. All losses but vespo's are linear in them."""
        found: torch.Tensor = inputs["advantages"]
        ratio = (inputs["old_per_token_logps"] - inputs["sampling_per_token_logps"]).nan_to_num(0.0).exp()
        weighed: torch.Tensor = found.reshape(len(found), -1) * ratio.clamp(max=self.sampling_cap)
        return weighed

    def _note_sampling(self, inputs: Json, mask: torch.Tensor) -> None:
        """How far the sampler's log-probabilities are from the policy's: 0, were both computed alike."""
        if "sampling_per_token_logps" in inputs:
            apart = (inputs["old_per_token_logps"] - inputs["sampling_per_token_logps"]).abs()
            there = (mask == 1) & ~apart.isnan()
            mean = self._mean(apart[there].sum().item(), there.sum().item())
            self._metrics["train"]["sampling/logp_difference"].append(mean)

    # --- what is told and kept

    def _note(self, sums: dict[str, tuple[float, float]]) -> None:
        """Log sum / count over all processes; nan, which is logged as None, where the count is 0."""
        for name in sorted(set(gather_object(list(sums)))):
            self._metrics["train"][name].append(self._mean(*sums.get(name, (0.0, 0.0))))

    def _mean(self, total: float, count: float) -> float:
        local = torch.tensor([total, count], dtype=torch.float64, device=self.accelerator.device)
        total, count = self.accelerator.reduce(local, reduction="sum").tolist()
        return total / count if count else torch.nan

    def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
        if self.auxiliary is not None and "loss" in logs:
            self._note(self.auxiliary.sums_since())
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


def _base(model: Any) -> Any:
    """Without the adapter around it."""
    return model.get_base_model() if isinstance(model, PeftModel) else model


def _ends(
    ids: torch.Tensor, seen: torch.Tensor, start: int, stop: int | None
) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
    """(ids, mask) of each row, from one column to another."""
    yield from zip(ids[:, start:stop], seen[:, start:stop], strict=True)


def _padded(rows: list[list[int]], width: int, value: int) -> torch.Tensor:
    """(N, width)"""
    return torch.tensor([[*row, *[value] * (width - len(row))] for row in rows])
