"""What the two trainers share: precision, LoRA, and steps told as they happen. Heavy: lazily imported."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch
from datasets import Dataset, disable_progress_bars
from peft import LoraConfig
from torch.utils.data import Sampler
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments
from trl import SFTTrainer

from tmcli import model as models
from tmcli.checkpoint import Metrics
from tmcli.model import best_dtype
from tmcli.records import Json

SHOWN = {
    "loss": "loss",
    "mean_token_accuracy": "accuracy",
    "reward": "reward",
    "reward_std": "spread",
    "completions/mean_length": "tokens",
}
"""What a person sees of a logged step; `metrics.jsonl` has all of it."""

OnStep = Callable[[int, int, Json], None]
"""`(step, total, logs)` at every logged step."""


def quiet_arguments(part: Path) -> Json:
    """Training arguments that both trainers share: this machine's precision, and nothing printed, sent
    or saved but what we write ourselves."""
    disable_progress_bars()
    return {
        "output_dir": str(part),
        "bf16": best_dtype() == torch.bfloat16,
        "use_cpu": not torch.cuda.is_available(),
        "gradient_checkpointing": False,
        "logging_steps": 1,
        "save_strategy": "no",
        "report_to": "none",
        "disable_tqdm": True,
    }


def accumulation(batch_size: int) -> int:
    """Over how many passes a batch is spread: on a CPU small passes win (less padding, and tensors that
    the allocator reuses instead of asking the kernel for fresh pages); a GPU takes the batch whole."""
    if torch.cuda.is_available():
        return 1
    return next(batch_size // n for n in (2, 1) if batch_size % n == 0)


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
        shown = {name: line[key] for key, name in SHOWN.items() if key in line}
        self.on_step(state.global_step, state.max_steps, shown)


class LabelledLoss(SFTTrainer):  # type: ignore[misc]
    """TRL's SFTTrainer with the same loss, computed only at columns where some row has a label.

    The output layer over masked tokens is most of a small model's step on a CPU; TRL's fused head avoids
    it too, but its entropy and chunk passes over 49k words cost more there than they save
    (`tests/benchmarks/sft.py` shows both).
    """

    def compute_loss(
        self,
        model: Any,
        inputs: Json,
        return_outputs: bool = False,
        num_items_in_batch: torch.Tensor | int | None = None,
    ) -> Any:
        """Mean negative log-likelihood over the labelled tokens of the whole (accumulated) batch."""
        labels = inputs["labels"][:, 1:]  # (B, T-1): position t predicts token t+1
        columns = (labels != -100).any(0).nonzero().squeeze(1)  # (C,)
        outputs = model(
            input_ids=inputs["input_ids"],
            attention_mask=inputs["attention_mask"],
            use_cache=False,
            logits_to_keep=columns,
        )
        due = labels[:, columns].flatten()  # (B*C,)
        logits = outputs.logits.flatten(0, 1).float()  # (B*C, vocabulary)
        n_labelled = (due != -100).sum()
        total = torch.nn.functional.cross_entropy(logits, due, ignore_index=-100, reduction="sum")
        loss = total / (n_labelled if num_items_in_batch is None else num_items_in_batch)
        if self.args.average_tokens_across_devices and num_items_in_batch is not None:
            loss = loss * self.accelerator.num_processes  # DDP averages the gradients over the ranks
        mode = "train" if self.model.training else "eval"
        with torch.no_grad():
            right = ((logits.argmax(-1) == due) & (due != -100)).sum() / n_labelled
        self._metrics[mode]["mean_token_accuracy"].append(right.item())
        return (loss, outputs) if return_outputs else loss


# ---- what `tm sft` asks for ------------------------------------------------------------------------------


def load(options: Any) -> tuple[Any, Any]:
    """Model and tokenizer, to be trained as the options say."""
    # All weights are trained in fp32: AdamW's small steps vanish in bf16 weights.
    return models.load(options.model, dtype=torch.float32 if options.full else None)


def arguments(part: Path, options: Any, n_processes: int = 1) -> Json:
    """Training arguments: `batch_size` is of all processes together."""
    each = options.batch_size // n_processes
    accumulated = accumulation(each)
    return quiet_arguments(part) | {
        "num_train_epochs": options.epochs,
        "per_device_train_batch_size": each // accumulated,
        "gradient_accumulation_steps": accumulated,
        "learning_rate": options.learning_rate,
        "lr_scheduler_type": "linear",
        "warmup_steps": 0.05,
        "max_length": options.max_length,
        "seed": options.seed,
    }


def dataset(rows: list[tuple[list[int], list[int]]]) -> Dataset:
    """Rows of ids and mask, as the trainer takes them."""
    labels = [[i if m else -100 for i, m in zip(ids, mask, strict=True)] for ids, mask in rows]
    return Dataset.from_dict({"input_ids": [ids for ids, _ in rows], "labels": labels})


def adapter(options: Any) -> LoraConfig | None:
    """What is trained beside the weights, unless these are."""
    return None if options.full else lora(options.rank)


def merged(model: Any, options: Any) -> Any:  # noqa: ARG001
    """The model with its adapter in its weights."""
    return model.merge_and_unload() if hasattr(model, "merge_and_unload") else model


class Order(Sampler[int]):
    """Rows in an order that follows from the seed and the pass alone, so that a resumed run keeps to it."""

    def __init__(self, n: int, seed: int) -> None:
        self.n, self.seed, self.epoch = n, seed, 0

    def set_epoch(self, epoch: int) -> None:
        self.epoch = epoch

    def __len__(self) -> int:
        return self.n

    def __iter__(self) -> Iterator[int]:
        generator = torch.Generator().manual_seed(self.seed * 1_000_003 + self.epoch)
        yield from torch.randperm(self.n, generator=generator).tolist()


class Sft(LabelledLoss):
    """The trainer of `tm sft`."""

    def _get_train_sampler(self, train_dataset: Dataset | None = None) -> Order:
        return Order(len(train_dataset or self.train_dataset), self.args.seed)
