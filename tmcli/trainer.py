"""What the two trainers share: precision, LoRA, and steps told as they happen. Heavy: lazily imported."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from peft import LoraConfig
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from tmcli.checkpoint import Metrics
from tmcli.model import best_dtype
from tmcli.records import Json

OnStep = Callable[[int, int, Json], None]
"""`(step, total, logs)` at every logged step."""


def precision() -> Json:
    """Training arguments for this machine: bf16 autocast where it is fast, and the CPU if need be."""
    return {"bf16": best_dtype() == torch.bfloat16, "use_cpu": not torch.cuda.is_available()}


def lora(rank: int) -> LoraConfig:
    """LoRA on every linear layer, alpha = 2 * rank, no dropout: small data, few steps."""
    return LoraConfig(
        r=rank, lora_alpha=2 * rank, lora_dropout=0.0, target_modules="all-linear", task_type="CAUSAL_LM"
    )


class LoggedSteps(TrainerCallback):  # type: ignore[misc]  # transformers ships no types for it
    """Each logged step to `metrics.jsonl` and to the caller."""

    def __init__(self, metrics: Metrics, on_step: OnStep) -> None:
        self.metrics = metrics
        self.on_step = on_step

    def on_log(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        logs: Json | None = None,
        **kwargs: Any,
    ) -> None:
        line = {"step": state.global_step, **(logs or {})}
        self.metrics.write(line)
        self.on_step(state.global_step, state.max_steps, line)
