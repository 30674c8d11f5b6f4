"""Training: what its two trainers share, and what the steps ask for. Heavy: lazily imported.

    model, tokenizer = load(options)
    config = SFTConfig(**arguments(part, options, n_processes))
    trainer = Sft(model=model, args=config, train_dataset=dataset(rows), peft_config=adapter(options), ...)
    trainer.train()
    merged(trainer.model, options).save_pretrained(part)

`options` are `SftOptions` or `RlOptions`; `arguments` are for the former, `shared_arguments` for both.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from datasets import disable_progress_bars

from tmcli.records import Json
from tmcli.trainer.adapters import adapter, in_bf16, load, lora, merged
from tmcli.trainer.sft import Sft, dataset

__all__ = [
    "Sft",
    "accumulation",
    "adapter",
    "arguments",
    "dataset",
    "load",
    "lora",
    "merged",
    "shared_arguments",
]


def shared_arguments(part: Path, options: Any) -> Json:
    """Training arguments of both trainers; nothing is printed, sent or saved but what we write ourselves."""
    disable_progress_bars()
    return {
        "output_dir": str(part),
        "bf16": in_bf16(options.precision),
        "use_cpu": not torch.cuda.is_available(),
        "gradient_checkpointing": options.gradient_checkpointing,
        "learning_rate": options.learning_rate,
        "logging_nan_inf_filter": False,  # it would log 0, and nobody would see that the run is lost
        "seed": options.seed,
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


def arguments(part: Path, options: Any, n_processes: int = 1) -> Json:
    """Training arguments of sft; `batch_size` is of all processes together."""
    each = options.batch_size // n_processes
    size = each // accumulation(each)
    return shared_arguments(part, options) | {
        "num_train_epochs": options.epochs,
        "per_device_train_batch_size": size,
        "per_device_eval_batch_size": size,
        "gradient_accumulation_steps": each // size,
        "lr_scheduler_type": "linear",
        "warmup_steps": 0.05,
        "max_length": None,  # too long rows were left out
        "padding_free": options.packing == "on"
        or (options.packing == "auto" and not torch.cuda.is_available()),
    }
