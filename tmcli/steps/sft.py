"""sft: imitate trajectories, on TRL's SFTTrainer.

What carries loss is exactly what the model would have to sample: assistant text, calls and the turn-end
token: no tool reply, and nothing of a message of weight 0 (an answer that was sent back as wrong). Ids and
mask come from `chat.py`, or from the trajectory's own `tokens` where a policy with the same tokenizer really
sampled them; the trainer gets them as labels.

Hyper-parameters are ours (ToolMaster's are not public).
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from tmcli import checkpoint
from tmcli.errors import InputError
from tmcli.records import Json, Run, Trajectory

if TYPE_CHECKING:
    from tmcli.chat import Chat


@dataclass(frozen=True, slots=True)
class SftOptions:
    """What a user turns; defaults are measured on the demo (SmolLM2-135M)."""

    model: str = "smollm2"
    template: Literal["auto", "tm", "own"] = "auto"
    full: bool = False
    """Train all weights instead of LoRA."""
    rank: int = 32
    learning_rate: float = 2e-3
    """For LoRA; `--full` wants about a tenth."""
    epochs: float = 1.0
    batch_size: int = 4
    max_length: int = 2048
    """Tokens; a longer trajectory is left out and counted, never cut: a cut one ends without an answer."""
    adapter_only: bool = False
    seed: int = 0


def examples(
    trajectories: Iterable[Trajectory], chat: Chat, max_length: int, counts: Json
) -> Iterator[tuple[list[int], list[int]]]:
    """(ids, mask) of each trajectory that can be trained on; `counts` tells what was left out."""
    counts.update({"in": 0, "trained": 0, "no_assistant_turn": 0, "too_long": 0, "invalid": 0})
    for trajectory in trajectories:
        counts["in"] += 1
        if trajectory.status == "invalid":
            counts["invalid"] += 1
            continue
        if not any(
            message["role"] == "assistant" and message.get("weight") != 0 for message in trajectory.messages
        ):
            counts["no_assistant_turn"] += 1
            continue
        ids, mask = chat.encode_trajectory(trajectory)
        if len(ids) > max_length:
            counts["too_long"] += 1
            continue
        counts["trained"] += 1
        yield ids, mask


def sft(
    trajectories: Iterable[Trajectory],
    output: Path,
    options: SftOptions,
    *,
    resume: bool = False,
    force: bool = False,
    on_step: Callable[[int, int, Json], None] = lambda step, total, logs: None,
) -> Run:
    """Train and write the checkpoint folder `output`; all trajectories are held in memory.

    `on_step(step, total, logs)` is called at every logged step. Raises `InputError` when nothing is left
    to train on, `OutputError` when `output` must not be overwritten.
    """
    records = list(trajectories)
    if not records:
        raise InputError("no trajectory is left to train on", "see what tm filter keeps and why")
    resolved = checkpoint.resolved(asdict(options), options.model, [record.id for record in records])
    if resume and (run := checkpoint.finished(output, resolved["key"])) is not None:
        return run
    started = time.monotonic()
    with checkpoint.building(output, force=force) as part:
        import torch

        from tmcli import model as models
        from tmcli.chat import Chat

        # All weights are trained in fp32: AdamW's small steps vanish in bf16 weights.
        model, tokenizer = models.load(options.model, dtype=torch.float32 if options.full else None)
        chat = Chat(tokenizer, options.template)
        counts: Json = {}
        rows = list(examples(records, chat, options.max_length, counts))
        if not rows:
            raise InputError(
                f"no trajectory is left to train on: {counts}", "see what tm filter keeps and why"
            )
        metrics = checkpoint.Metrics(part)
        trainer = _trainer(model, tokenizer, rows, options, part, metrics, on_step)
        trainer.train()
        n_tokens = sum(len(ids) for ids, _ in rows)
        seconds = time.monotonic() - started
        checkpoint.save(part, trainer.model, tokenizer, adapter_only=options.adapter_only)
        run = Run(
            step="sft",
            options=resolved,
            versions=checkpoint.versions(),
            counts=counts | {"tokens": n_tokens, "trained_tokens": sum(sum(mask) for _, mask in rows)},
            seconds=round(seconds, 3),
            output=str(output),
            metrics={
                "loss": metrics.last.get("loss"),
                "token_accuracy": metrics.last.get("mean_token_accuracy"),
                "tokens_per_second": round(n_tokens * options.epochs / metrics.last["train_runtime"], 1),
            },
        )
        checkpoint.write_run(part, run)
    return run


def _trainer(
    model: Any,
    tokenizer: Any,
    rows: list[tuple[list[int], list[int]]],
    options: SftOptions,
    part: Path,
    metrics: checkpoint.Metrics,
    on_step: Callable[[int, int, Json], None],
) -> Any:
    from datasets import Dataset
    from transformers import PrinterCallback
    from trl import SFTConfig

    from tmcli.trainer import LabelledLoss, LoggedSteps, accumulation, lora, quiet_arguments

    dataset = Dataset.from_dict(
        {
            "input_ids": [ids for ids, _ in rows],
            "labels": [[i if m else -100 for i, m in zip(ids, mask, strict=True)] for ids, mask in rows],
        }
    )
    accumulated = accumulation(options.batch_size)
    config = SFTConfig(
        num_train_epochs=options.epochs,
        per_device_train_batch_size=options.batch_size // accumulated,
        gradient_accumulation_steps=accumulated,
        learning_rate=options.learning_rate,
        lr_scheduler_type="linear",
        warmup_steps=0.05,
        max_length=options.max_length,
        train_sampling_strategy="group_by_length",
        seed=options.seed,
        **quiet_arguments(part),
    )
    trainer: Any = LabelledLoss(
        model=model,
        args=config,
        train_dataset=dataset,
        processing_class=tokenizer,
        peft_config=None if options.full else lora(options.rank),
    )
    trainer.remove_callback(PrinterCallback)
    trainer.add_callback(LoggedSteps(metrics, on_step))
    return trainer
