"""TRL's GRPOTrainer with the same loss, at the machine's speed.

    class Grpo(EndToEnd): ...                    # `self.mask`: which completion tokens were sampled

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
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from copy import deepcopy
from typing import Any

import torch
from accelerate.utils import gather_object
from peft import PeftModel
from trl import GRPOConfig, GRPOTrainer
from trl.trainer.utils import add_fused_lm_head, split_tensor_dict

from tmcli.records import Json
from tmcli.trainer import attention, logprobs


class EndToEnd(GRPOTrainer):  # type: ignore[misc]  # trl ships no types
    """With `sampling_cap`, losses are weighed by what the policy and whoever sampled for it think of each
    token, up to this (truncated importance sampling), where the rollouts tell `logprobs`."""

    mask: torch.Tensor
    """(B, C): 1 where the policy sampled, of the episodes at hand."""

    def __init__(
        self, *, model: Any, args: GRPOConfig, sampling_cap: float | None = None, **more: Any
    ) -> None:
        self.sampling_cap = sampling_cap
        self.end_to_end = model.device.type == "cpu" and attention.keeps_rows_apart(model)
        full = not (more.get("peft_config") or isinstance(model, PeftModel))
        reference = deepcopy(model).eval().requires_grad_(False) if args.beta and full else None
        beta, args.beta = args.beta, 0.0 if full else args.beta  # TRL would load the reference by its name
        os.environ["TRL_EXPERIMENTAL_SILENCE"] = "1"  # we know: the minor version is pinned
        super().__init__(model=model, args=args, **more)
        args.beta = self.beta = beta
        self.ref_model = reference
        if reference is not None:
            add_fused_lm_head(reference, temperature=args.temperature)
        for one in filter(None, (self.model, reference)):
            logprobs.score_head(_base(one))
        for parameter in self.model.parameters():
            if parameter.requires_grad:
                parameter.data = parameter.data.float()  # of an adapter on 4 bits TRL makes bf16
        self.end_to_end &= not (self._entropy_bonus_enabled or self.aux_loss_enabled)
        self.num_iterations: int = args.num_iterations
        self.laid: logprobs.Laid | None = None
        """How the episodes of the last pass were laid out."""
        self._buffered_inputs: list[Json] | None = None
        self._scored: Any = None
        self._apart = 0.0, 0.0
        self._usual_attention: str = _base(self.model).config._attn_implementation
        self._casting = [m for m in self.model.modules() if hasattr(m, "cast_input_dtype_enabled")]
        self._way = self._usual_attention, True

    def _generate_and_score_completions(self, inputs: list[Json]) -> Json:
        self.num_iterations = 1  # TRL asks for no log-probs then; the first update tells them
        output: Json = super()._generate_and_score_completions(inputs)
        self.num_iterations = self.args.num_iterations
        return output

    def _prepare_inputs(self, generation_batch: Any) -> Json:
        """As TRL's, in the order of the rollouts: a group's members come in the same pass."""
        n_passes = self.args.steps_per_generation
        if self._step % (n_passes * self.num_iterations) == 0 or self._buffered_inputs is None:
            batch = self._generate_and_score_completions(generation_batch)
            self._buffered_inputs = split_tensor_dict(batch, n_passes)
        inputs: Json = self._buffered_inputs[self._step % n_passes]
        return inputs

    def training_step(self, model: Any, inputs: Any, num_items_in_batch: Any = None) -> torch.Tensor:
        with self.computing(for_training=True):  # also the way back, where activations are computed again
            loss: torch.Tensor = super().training_step(model, inputs, num_items_in_batch)
        if self.accelerator.sync_gradients:
            for parameter in self.model.parameters():
                if parameter.requires_grad and parameter.grad is None:
                    parameter.grad = torch.zeros_like(parameter)  # nothing learned; momentum goes on
        return loss

    @contextmanager
    def computing(self, *, for_training: bool) -> Iterator[None]:
        """How the models attend, and whether an adapter takes its input to fp32 (autocast takes it back)."""
        tuned = for_training and self.end_to_end
        before = self._way
        try:
            self._go(attention.NAME if tuned else self._usual_attention, not for_training)
            yield
        finally:
            self._go(*before)

    def _go(self, attend: str, cast: bool) -> None:
        self._way = attend, cast
        for model in (self.model, self.ref_model):
            if model is not None:
                attention.use(_base(model), attend)
        for module in self._casting:
            module.cast_input_dtype_enabled = cast

    def _compute_loss(self, model: Any, inputs: Json) -> torch.Tensor:
        mask = self.mask = inputs["completion_mask"] * inputs["tool_mask"]
        lesson = self._lesson(inputs["advantages"], mask)
        with nullcontext() if lesson else torch.no_grad():
            scored = self._per_token(model, inputs)
            if "old_per_token_logps" not in inputs:  # kept for the updates after this one
                inputs["old_per_token_logps"] = scored[0].detach()
                self._count_sampling(inputs, mask)
            if self.sampling_cap is not None and "sampling_per_token_logps" in inputs:
                inputs = inputs | {"advantages": self._corrected(inputs)}
            self._scored = scored
            try:
                loss: torch.Tensor = super()._compute_loss(model, inputs)
            finally:
                self._scored = None
        return loss if lesson else loss.detach().requires_grad_()

    def _lesson(self, found: torch.Tensor, mask: torch.Tensor) -> bool:
        """Is there anything to learn in this pass? Yes, where processes are about to share gradients."""
        if self.beta or self._entropy_bonus_enabled or self.aux_loss_enabled:
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
        n, found = len(input_ids), []
        for start in range(0, n, batch_size or n):
            rows = slice(start, start + (batch_size or n))
            ids, seen, mask = input_ids[rows], attention_mask[rows], self.mask[rows]
            prompts = [one[there == 1].tolist() for one, there in _ends(ids, seen, 0, -logits_to_keep)]
            completions = [one[there == 1].tolist() for one, there in _ends(ids, seen, -logits_to_keep, None)]
            self.laid = logprobs.lay(prompts, completions, mask.tolist())
            with self.accelerator.autocast():
                found.append(logprobs.scored(model, self.laid, mask.shape, self.temperature))
        logps, entropies = (torch.cat(parts) for parts in zip(*found, strict=True))
        return logps, entropies, None

    def _corrected(self, inputs: Json) -> torch.Tensor:
        """(B, C): advantages, weighed by policy / sampler. All losses but vespo's are linear in them."""
        found: torch.Tensor = inputs["advantages"]
        ratio = (inputs["old_per_token_logps"] - inputs["sampling_per_token_logps"]).nan_to_num(0.0).exp()
        weighed: torch.Tensor = found.reshape(len(found), -1) * ratio.clamp(max=self.sampling_cap)
        return weighed

    def _count_sampling(self, inputs: Json, mask: torch.Tensor) -> None:
        """How far the sampler's log-probabilities are from the policy's: 0, were both computed alike."""
        if "sampling_per_token_logps" in inputs:
            apart = (inputs["old_per_token_logps"] - inputs["sampling_per_token_logps"]).abs()
            there = (mask == 1) & ~apart.isnan()
            total, count = self._apart
            self._apart = total + apart[there].sum().item(), count + there.sum().item()

    def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
        self.note({"sampling/logp_difference": self._apart} if self._apart[1] else {})
        self._apart = 0.0, 0.0
        super().log(logs, start_time)

    def note(self, sums: dict[str, tuple[float, float]]) -> None:
        """Log sum / count over all processes; nan, which is logged as None, where the count is 0."""
        for name in sorted(set(gather_object(list(sums)))):
            self._metrics["train"][name].append(self._mean(*sums.get(name, (0.0, 0.0))))

    def _mean(self, total: float, count: float) -> float:
        local = torch.tensor([total, count], dtype=torch.float64, device=self.accelerator.device)
        total, count = self.accelerator.reduce(local, reduction="sum").tolist()
        return total / count if count else torch.nan


def _base(model: Any) -> Any:
    """Without the adapter around it."""
    return model.get_base_model() if isinstance(model, PeftModel) else model


def _ends(
    ids: torch.Tensor, seen: torch.Tensor, start: int, stop: int | None
) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
    """(ids, mask) of each row, from one column to another."""
    yield from zip(ids[:, start:stop], seen[:, start:stop], strict=True)
