"""What an rl run tells of each step: `metrics.jsonl`, and a line for who watches."""

from __future__ import annotations

from typing import Any

from transformers import TrainerControl, TrainerState, TrainingArguments

from tmcli.records import Json
from tmcli.trainer import LoggedSteps

SHOWN = {
    "reward": "reward",
    "reward/outcome": "outcome",
    "eval_outcome": "held out",
    "completions/mean_length": "tokens",
    "generation/tokens_per_second": "tokens/s",
}
"""What a person sees of a logged step; `metrics.jsonl` has all of it."""


class ToldOfEpisodes(LoggedSteps):
    """Each logged step to `metrics.jsonl` and to the caller."""

    shown: Json

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        self.shown = {}
        if state.global_step:  # what earlier lives did is not this one's speed
            self.on_step(state.global_step, state.max_steps, {})

    def on_log(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        logs: Json | None = None,
        **kwargs: Any,
    ) -> None:
        line = {"step": state.global_step, **(logs or {})}
        if "step_time" in line:
            line["update/seconds"] = line.pop("step_time") - (line.get("generation/seconds") or 0.0)
        self.metrics.write(line)
        self.shown |= {name: line[key] for key, name in SHOWN.items() if line.get(key) is not None}
        self.on_step(state.global_step, state.max_steps, self.shown)
