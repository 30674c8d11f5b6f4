"""Tokens per second of SFT on this machine: TRL's SFTTrainer, as it comes and at its best, and `tm sft`.

    python tests/benchmarks/sft.py [--kinds lora,full] [--data trajectories,blocks] [--steps 2] [--rounds 1]

The same model (smollm2), rows in the same order and the same batch for all. `trajectories` are batches of
two of the scripted teacher, 700 to 1,500 tokens each; `blocks` are two rows of 512 tokens. Each run is a
process of its own, and the contenders take turns. Losses are printed beside the speed: they must agree. Run
it with nothing else running; it takes some minutes. On a busy machine OMP_NUM_THREADS=1 and the tokens per
second of CPU time say more.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

Row = tuple[list[int], list[int]]

DEFAULTS = {"gradient_checkpointing": True, "bf16": True}
"""TRL's own, named here for who reads on."""

CONTENDERS: dict[str, dict[str, Any]] = {
    "trl, defaults": {"dtype": "float32", **DEFAULTS},
    "trl, defaults, fp32": {"dtype": "float32", **DEFAULTS, "bf16": False},
    "trl, small passes": {"bf16": True, "gradient_checkpointing": False, "pass": 2},
    "trl, padding free": {"bf16": True, "gradient_checkpointing": False, "pass": 2, "padding_free": True},
    "tm sft": {},
}
BATCH = 2


def rows_of(data: str, n: int) -> list[Row]:
    """`n` rows, those of one batch sorted by length, which spares TRL some padding."""
    from tmcli import model as models
    from tmcli import suites
    from tmcli.chat import Chat
    from tmcli.episode import Limits
    from tmcli.policies.scripted import Scripted
    from tmcli.runner import Runner, jobs

    chat = Chat(models.load_tokenizer("smollm2"))
    with Runner(Scripted(), Limits()) as runner:
        tasks = suites.suite("train", 20 * n, drift=["none", "stale"])
        rows = [chat.encode_trajectory(trajectory) for trajectory in runner.run(jobs(tasks))]
    if data == "blocks":
        ids, mask = ([x for row in rows for x in row[i]] for i in (0, 1))
        return [(ids[at : at + 512], mask[at : at + 512]) for at in range(0, 512 * n, 512)]
    rows = [row for row in rows if 700 <= len(row[0]) <= 1500][:n]
    return [
        row for at in range(0, n, BATCH) for row in sorted(rows[at : at + BATCH], key=lambda r: len(r[0]))
    ]


def measure(name: str, kind: str, rows: list[Row]) -> dict[str, float]:
    """One run of one contender."""
    import torch
    from transformers import PrinterCallback
    from trl import SFTConfig, SFTTrainer

    from tmcli import model as models
    from tmcli import trainer as training
    from tmcli.steps.sft import SftOptions
    from tmcli.trainer.sft import Order

    class InOrder(training.Sft):
        def _get_train_sampler(self, train_dataset: Any = None) -> Order:
            return Order(self.train_dataset, BATCH)

    contender = dict(CONTENDERS[name])
    full = kind == "full"
    options = SftOptions(full=full, batch_size=BATCH, learning_rate=2e-5 if full else 2e-4)
    data = training.dataset(rows)
    with tempfile.TemporaryDirectory() as folder:
        if name == "tm sft":
            model, tokenizer = training.load(options)
            arguments, trainer_class = training.arguments(Path(folder), options), InOrder
        else:
            at_once = min(contender.pop("pass", BATCH), BATCH)
            dtype = torch.float32 if full or "dtype" in contender else torch.bfloat16
            contender.pop("dtype", None)
            model, tokenizer = models.load("smollm2", dtype=dtype)
            data, trainer_class = data.select(range(len(rows))), SFTTrainer  # without our empty row
            arguments = training.shared_arguments(Path(folder), options) | {
                "num_train_epochs": 1,
                "per_device_train_batch_size": at_once,
                "gradient_accumulation_steps": BATCH // at_once,
                "train_sampling_strategy": "sequential",
                "warmup_steps": 0.05,
                "max_length": None,
                **contender,
            }
        trainer = trainer_class(
            model=model,
            args=SFTConfig(**arguments),
            train_dataset=data,
            processing_class=tokenizer,
            peft_config=training.adapter(options),
        )
        trainer.remove_callback(PrinterCallback)
        spent = time.process_time()
        trainer.train()
        spent = time.process_time() - spent
        logs = trainer.state.log_history
    n_tokens = sum(len(ids) for ids, _ in rows)
    return {
        "tokens_per_s": n_tokens / logs[-1]["train_runtime"],
        "tokens_per_cpu_s": n_tokens / spent,
        "first_loss": logs[0]["loss"],
        "last_loss": logs[-2]["loss"],
        "peak_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--kinds", default="lora,full")
    parser.add_argument("--data", default="trajectories,blocks")
    parser.add_argument("--steps", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--only", default="", help="contenders that have these words, comma list")
    parser.add_argument("--one", nargs=3, help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.one:
        name, kind, data = asked.one
        print(json.dumps(measure(name, kind, json.load(sys.stdin))))
        return
    chosen = [name for name in CONTENDERS if any(word in name for word in asked.only.split(","))]
    for data in asked.data.split(","):
        rows = rows_of(data, BATCH * asked.steps)
        n_tokens, n_due = sum(len(ids) for ids, _ in rows), sum(sum(mask) for _, mask in rows)
        for kind in asked.kinds.split(","):
            print(f"\n{data}, {kind}: {len(rows)} rows, {n_tokens} tokens, loss on {n_due / n_tokens:.0%}")
            found: dict[str, list[dict[str, float]]] = {name: [] for name in chosen}
            for _ in range(asked.rounds):
                for name in chosen:
                    command = [sys.executable, __file__, "--one", name, kind, data]
                    done = subprocess.run(
                        command, input=json.dumps(rows), capture_output=True, text=True, check=True
                    )
                    found[name].append(json.loads(done.stdout.splitlines()[-1]))
            base = max(run["tokens_per_s"] for run in found[chosen[0]])
            for name, runs in found.items():
                best = SimpleNamespace(**max(runs, key=lambda run: run["tokens_per_s"]))
                print(
                    f"{name:22} {best.tokens_per_s:6.0f} tokens/s {best.tokens_per_s / base:5.2f}x   "
                    f"{best.tokens_per_cpu_s:5.0f} a CPU second   "
                    f"loss {best.first_loss:.4f} {best.last_loss:.4f}   peak {best.peak_mb:6.0f} MB",
                    flush=True,
                )
            print(json.dumps({"data": data, "kind": kind, "runs": found}))


if __name__ == "__main__":
    main()
