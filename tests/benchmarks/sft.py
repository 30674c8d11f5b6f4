"""Tokens per second of SFT on this machine: TRL's SFTTrainer as it comes, and what `tm sft` does with it.

    python tests/benchmarks/sft.py [--rows 32]

The same model (smollm2, LoRA), rows, precision and effective batch of 8; only the loss and the size of a
pass differ. Losses are printed beside the speed: they must agree. Run it with nothing else running.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from pathlib import Path
from typing import Any

import torch
from datasets import Dataset
from transformers import PrinterCallback
from trl import SFTConfig, SFTTrainer

from tmcli import model as models
from tmcli import suites
from tmcli.chat import Chat
from tmcli.episode import Limits
from tmcli.policies.scripted import Scripted
from tmcli.runner import Runner, jobs
from tmcli.trainer import LabelledLoss, lora, quiet_arguments

CONTENDERS = {
    "trl, passes of 8": (SFTTrainer, 8),
    "trl, passes of 2": (SFTTrainer, 2),
    "tm loss, passes of 8": (LabelledLoss, 8),
    "tm loss, passes of 2 (tm sft)": (LabelledLoss, 2),
}


def measure(trainer_class: Any, size: int, rows: list[tuple[list[int], list[int]]]) -> tuple[float, float]:
    """(tokens per second, first loss) of one pass over the rows."""
    torch.manual_seed(0)
    model, tokenizer = models.load("smollm2")
    labels = [[i if m else -100 for i, m in zip(ids, mask, strict=True)] for ids, mask in rows]
    with tempfile.TemporaryDirectory() as folder:
        config = SFTConfig(
            num_train_epochs=1,
            per_device_train_batch_size=size,
            gradient_accumulation_steps=8 // size,
            train_sampling_strategy="sequential",
            max_length=4096,
            **quiet_arguments(Path(folder)),
        )
        trainer = trainer_class(
            model=model,
            args=config,
            train_dataset=Dataset.from_dict({"input_ids": [ids for ids, _ in rows], "labels": labels}),
            processing_class=tokenizer,
            peft_config=lora(32),
        )
        trainer.remove_callback(PrinterCallback)
        trainer.train()
        logs = trainer.state.log_history
    return sum(len(ids) for ids, _ in rows) / logs[-1]["train_runtime"], logs[0]["loss"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--rows", type=int, default=32, help="trajectories to train on, a multiple of 8")
    n = parser.parse_args().rows
    chat = Chat(models.load_tokenizer("smollm2"))
    with Runner(Scripted(), Limits()) as runner:
        played = runner.run(jobs(suites.suite("train", n, drift=["none", "stale"])))
        rows = [chat.encode_trajectory(trajectory) for trajectory in played]
    results = {name: measure(*how, rows) for name, how in CONTENDERS.items()}
    base = results["trl, passes of 8"][0]
    print(f"{n} trajectories, {sum(len(ids) for ids, _ in rows)} tokens, {torch.get_num_threads()} threads")
    for name, (speed, loss) in results.items():
        print(f"{name:32} {speed:7.0f} tokens/s  {speed / base:5.2f}x  first loss {loss:.4f}")
    print(json.dumps({name: {"tokens_per_s": s, "first_loss": loss} for name, (s, loss) in results.items()}))


if __name__ == "__main__":
    main()
