"""What ToolCompass's auxiliary loss costs a step of rl, whether it falls, and whether it carries over.

    python tests/benchmarks/compass.py --model smollm2 --steps 8

The scripted expert's episodes stand for sampled ones, with random rewards; the same steps are taken with and
without the loss, in turns, and CPU seconds of this process are compared. Accuracy: of calls of unseen
toolboxes, how many are nearest to the prototype of their class.
"""

from __future__ import annotations

import argparse
import random
import statistics
import sys
import tempfile
import time
from dataclasses import dataclass
from typing import Any

import torch
from datasets import Dataset
from torch.nn.functional import normalize
from transformers import TrainerCallback, set_seed
from trl import GRPOConfig

from tmcli import model as models
from tmcli import suites
from tmcli.chat import Chat
from tmcli.episode import Limits
from tmcli.function_classes import FunctionClasses
from tmcli.policies.scripted import Scripted
from tmcli.records import from_json
from tmcli.runner import Runner, jobs
from tmcli.trainer import lora
from tmcli.trainer.calls import marks
from tmcli.trainer.compass import Compass, tapped
from tmcli.trainer.grpo import Batch, Grpo

GROUP = 4


@dataclass
class Episode:
    """One played dialogue."""

    ids: list[int]
    mask: list[int]
    classes: list[int]

    @property
    def first(self) -> int:
        return self.mask.index(1)


def episodes(suite: str, n: int, chat: Chat) -> list[Episode]:
    """The expert's, under drift."""
    from dataclasses import replace

    known = FunctionClasses()
    found = []
    with Runner(Scripted("trial"), Limits()) as runner:
        for played in runner.run(jobs(suites.suite(suite, n, drift=["all", "none@0.5"]), 1)):
            ids, mask = chat.encode(played.messages, played.tools)
            played = replace(played, tokens={"ids": ids, "mask": mask, "logprobs": [0.0] * len(ids)})
            found.append(Episode(ids, mask, marks(played, chat, known.numbers(from_json(played.task)))))
    return found


class Played:
    """Rollouts that hand out episodes in turn."""

    def __init__(self, episodes: list[Episode]) -> None:
        self.episodes = episodes
        self.random = random.Random(0)

    def __call__(self, prompts: list[str], trainer: Any) -> Any:
        start = int(prompts[0]) * GROUP
        some = [self.episodes[(start + i) % len(self.episodes)] for i in range(len(prompts))]
        rewards: list[float | None] = [self.random.random() for _ in some]
        self.batch = Batch({"joint": rewards}, classes=[e.classes[e.first :] for e in some])
        return {
            "prompt_ids": [e.ids[: e.first] for e in some],
            "completion_ids": [e.ids[e.first :] for e in some],
            "env_mask": [e.mask[e.first :] for e in some],
            "logprobs": None,
        }


class Clock(TrainerCallback):  # type: ignore[misc]
    """CPU seconds of each step."""

    def __init__(self) -> None:
        self.seconds: list[float] = []

    def on_step_begin(self, *_: Any, **__: Any) -> None:
        self.began = time.process_time()

    def on_step_end(self, *_: Any, **__: Any) -> None:
        self.seconds.append(time.process_time() - self.began)


def run(
    name: str, weight: float, steps: int, some: list[Episode], rate: float
) -> tuple[list[float], Any, Any]:
    """(seconds of each step, trainer, compass)"""
    model, tokenizer = models.load(name)
    compass = Compass(model, len(FunctionClasses().names), weight) if weight else None
    clock = Clock()
    set_seed(0)
    with tempfile.TemporaryDirectory() as folder:
        trainer = Grpo(
            model=model,
            args=GRPOConfig(
                output_dir=folder, max_steps=steps, per_device_train_batch_size=2, learning_rate=rate,
                gradient_accumulation_steps=4, num_generations=GROUP, max_completion_length=4096,
                shuffle_dataset=False, logging_steps=1, save_strategy="no", report_to="none", use_cpu=True,
                bf16=models.best_dtype() == torch.bfloat16, gradient_checkpointing=False, disable_tqdm=True,
            ),
            train_dataset=Dataset.from_dict({"prompt": [str(i) for i in range(2 * steps)]}),
            processing_class=tokenizer,
            peft_config=lora(32),
            callbacks=[clock],
            rollouts=Played(some),
            auxiliary=compass,
        )  # fmt: skip
        trainer.train()
    return clock.seconds, trainer, compass


@torch.no_grad()
def accuracy(model: Any, compass: Compass, some: list[Episode]) -> float:
    right = total = 0
    for episode in some:
        with tapped(model, compass.layer) as tap:
            model(torch.tensor([episode.ids]), logits_to_keep=1)
        at = torch.tensor([i for i, c in enumerate(episode.classes) if c >= 0])
        z = normalize(compass.head(tap.hidden[at].float()), dim=-1)
        scores = (z @ compass.prototypes.T).masked_fill(~compass.known, -torch.inf)
        due = torch.tensor(episode.classes)[at]
        right += int((scores.argmax(-1) == due).sum())
        total += len(at)
    return right / total


def main() -> None:
    options = argparse.ArgumentParser()
    options.add_argument("--model", default="smollm2")
    options.add_argument("--steps", type=int, default=8)
    options.add_argument("--rounds", type=int, default=2)
    options.add_argument("--weight", type=float, default=0.1)
    options.add_argument("--learning-rate", type=float, default=2e-4)
    asked = options.parse_args()
    chat = Chat(models.load_tokenizer(asked.model))
    seen, unseen = episodes("train", 64, chat), episodes("unseen", 24, chat)
    say = sys.stdout.write
    say(f"{len(seen)} episodes, {sum(c >= 0 for e in seen for c in e.classes)} calls\n")
    times: dict[float, list[float]] = {0.0: [], asked.weight: []}
    for _ in range(asked.rounds):
        for weight, found in times.items():
            seconds, trainer, compass = run(asked.model, weight, asked.steps, seen, asked.learning_rate)
            found += seconds[1:]
    log = [line for line in trainer.state.log_history if "compass/variation" in line]
    for line in log:
        say(" ".join(f"{key} {line[key]:.3f}" for key in line if key.startswith(("compass/", "aux"))) + "\n")
    say(f"unseen calls nearest to their class: {accuracy(trainer.model, compass, unseen):.3f}\n")
    without, with_it = (statistics.median(found) for found in times.values())
    say(f"CPU seconds a step: {without:.3f} without, {with_it:.3f} with: {with_it / without - 1:+.1%}\n")


if __name__ == "__main__":
    main()
