"""Trackers that follow a run: `--report-to tensorboard,wandb,trackio`. Off unless asked for.

    for reporter in reporters(["tensorboard"], part, options):
        trainer.add_callback(reporter)

What they get is what `metrics.jsonl` gets, with the speed. Where and how they send it (WANDB_MODE,
WANDB_PROJECT, TRACKIO_SPACE_ID, ...) is between them and the user. A resumed run goes on in the same place.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from tmcli.records import Json

PROJECT = "tm"


class Reporter(TrainerCallback):  # type: ignore[misc]  # transformers ships no types for it
    """Hands each logged step to one tracker. `start(step)` gives its `log(scalars, step)` and `end()`."""

    def __init__(self, start: Callable[[int], tuple[Log, Callable[[], object]]]) -> None:
        self.start = start

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        self.log, self.end = self.start(state.global_step)

    def on_log(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        logs: Json | None = None,
        **kwargs: Any,
    ) -> None:
        scalars = {_grouped(name): value for name, value in (logs or {}).items() if _is_number(value)}
        self.log(scalars, state.global_step)

    def on_train_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        self.end()


Log = Callable[[Json, int], object]


def reporters(names: Iterable[str], part: Path, options: Json) -> list[Reporter]:
    """Those named; the options with their `key` tell runs apart."""
    run = _Run(part, options["key"], options)
    return [Reporter(getattr(run, name)) for name in names]


class _Run:
    """How each tracker is started, by its name."""

    def __init__(self, part: Path, key: str, options: Json) -> None:
        self.part = part
        self.key = key
        self.options = options
        self.name = f"{part.name.removesuffix('.part')}-{key[:6]}"

    def tensorboard(self, step: int) -> tuple[Log, Callable[[], object]]:
        from tensorboardX import SummaryWriter

        folder = os.environ.get("TENSORBOARD_LOGGING_DIR") or str(self.part / "tensorboard")
        writer = SummaryWriter(folder, purge_step=step + 1 if step else None)

        def log(scalars: Json, at: int) -> None:
            for name, value in scalars.items():
                writer.add_scalar(name, value, at)
            writer.flush()

        return log, writer.close

    def wandb(self, step: int) -> tuple[Log, Callable[[], object]]:
        import wandb

        project = os.environ.get("WANDB_PROJECT", PROJECT)
        run = wandb.init(project=project, name=self.name, id=self.key, resume="allow", config=self.options)
        return lambda scalars, at: run.log(scalars, step=at), run.finish

    def trackio(self, step: int) -> tuple[Log, Callable[[], object]]:
        import trackio

        project = os.environ.get("TRACKIO_PROJECT", PROJECT)
        trackio.init(project=project, name=self.name, resume="allow", config=self.options, embed=False)
        return lambda scalars, at: trackio.log(scalars, step=at), trackio.finish


def _grouped(name: str) -> str:
    """As charts of these trackers are grouped: train/loss, eval/loss."""
    return f"eval/{name.removeprefix('eval_')}" if name.startswith("eval_") else f"train/{name}"


def _is_number(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)
