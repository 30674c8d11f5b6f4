"""What a run tells of each logged step: a line of `metrics.jsonl`, and a few numbers for who watches.

    trainer.add_callback(ToldOfRows(metrics, on_step, n_tokens))       # sft
    trainer.add_callback(ToldOfEpisodes(metrics, on_step))             # rl
"""

from __future__ import annotations

from collections.abc import Callable
from time import monotonic
from typing import Any, ClassVar

from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from tmcli.checkpoint import Metrics
from tmcli.records import Json

OnStep = Callable[[int, int, Json], None]
"""`(step, total, shown)` at every logged step."""


class Told(TrainerCallback):  # type: ignore[misc]  # transformers ships no types for it
    """What both trainers tell; `line` says what is theirs."""

    SHOWN: ClassVar[dict[str, str]]
    """What a person sees of a step, and what it is called; `metrics.jsonl` has all of it."""

    def __init__(self, metrics: Metrics, on_step: OnStep) -> None:
        self.metrics = metrics
        self.on_step = on_step
        self.shown: Json = {}

    def line(self, state: TrainerState, logs: Json) -> Json:
        """What is written of a step."""
        return {"step": state.global_step, **logs}

    def more(self, line: Json) -> Json:
        """What is shown beside what is written."""
        return {}

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
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
        line = self.line(state, logs or {})
        self.metrics.write(line)
        self.shown |= {name: line[key] for key, name in self.SHOWN.items() if line.get(key) is not None}
        self.shown |= self.more(line)
        self.on_step(state.global_step, state.max_steps, self.shown)


class ToldOfRows(Told):
    """Who watches also learns how fast it goes."""

    SHOWN: ClassVar[dict[str, str]] = {
        "loss": "loss",
        "mean_token_accuracy": "accuracy",
        "eval_loss": "held out",
    }

    def __init__(self, metrics: Metrics, on_step: OnStep, n_tokens: int) -> None:
        super().__init__(metrics, on_step)
        self.n_tokens = n_tokens
        """In one pass over the data."""
        self.speed = 0.0
        """Tokens a second."""
        self._began = (0.0, 0.0)

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        self._began = (monotonic(), state.epoch or 0.0)
        super().on_train_begin(args, state, control, **kwargs)

    def more(self, line: Json) -> Json:
        if "loss" not in line:
            return {}
        at, epoch = self._began
        self.speed = (line["epoch"] - epoch) * self.n_tokens / max(monotonic() - at, 1e-3)
        return {"tokens/s": self.speed}


class ToldOfEpisodes(Told):
    """The time of a step is told in its two parts."""

    SHOWN: ClassVar[dict[str, str]] = {
        "reward": "reward",
        "reward/outcome": "outcome",
        "eval_outcome": "held out",
        "completions/mean_length": "tokens",
        "generation/tokens_per_second": "tokens/s",
    }

    def line(self, state: TrainerState, logs: Json) -> Json:
        line = super().line(state, logs)
        if "step_time" in line:
            line["update/seconds"] = line.pop("step_time") - (line.get("generation/seconds") or 0.0)
        return line
