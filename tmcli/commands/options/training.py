"""The options of training, in bundles: what the weights become, how they are fitted, how it is watched.

def run(..., weights: Weights = Weights(), fitting: Fitting = Fitting(), watching: Watching = Watching()):
"""

from __future__ import annotations

import importlib.util
import math
import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from tmcli.commands import options
from tmcli.errors import UsageError, did_you_mean

if TYPE_CHECKING:
    from tmcli.steps.sft import Watch

TRACKERS = {"tensorboard": "tensorboardX", "wandb": "wandb", "trackio": "trackio"}
"""What `--report-to` knows, and the package of each."""


@dataclass(frozen=True)
class Weights:
    """Which weights are trained, in what precision, and what is saved of them."""

    full: options.Full = False
    adapter: Annotated[
        Literal["lora", "rslora", "dora", "qlora"],
        typer.Option("--adapter", help="What is trained unless --full; qlora: on a base of 4 bits."),
    ] = "lora"
    rank: options.Rank = 32
    adapter_only: options.AdapterOnly = False
    precision: Annotated[
        Literal["auto", "bf16", "fp32"],
        typer.Option("--precision", help="auto: bf16 where the machine has it."),
    ] = "auto"
    gradient_checkpointing: Annotated[
        bool, typer.Option("--gradient-checkpointing", help="Less memory, a third slower.")
    ] = False

    def check(self) -> None:
        """Raises `UsageError` for what contradicts itself."""
        if self.full and self.adapter_only:
            raise UsageError("--full trains all weights: there is no adapter", "leave --adapter-only out")
        if self.full and self.adapter != "lora":
            raise UsageError(f"--full trains all weights, no {self.adapter}", "leave one of the two out")

    def rate(self, given: float | None, usual: float) -> float:
        """The learning rate: `usual` for an adapter, a tenth of it for all weights. Raises `UsageError`."""
        usual = usual / 10 if self.full else usual
        rate = usual if given is None else given
        if not 0 <= rate < math.inf:
            raise UsageError(f"--learning-rate {rate} is no rate", f"try {usual:g}")
        return rate


@dataclass(frozen=True)
class Fitting:
    """How weights are fitted to trajectories. Defaults are those of `SftOptions`."""

    learning_rate: Annotated[
        float | None, typer.Option("--learning-rate", help="Peak; 2e-3 for LoRA, 2e-4 with --full.")
    ] = None
    epochs: Annotated[float, typer.Option("--epochs", help="Passes over the data.")] = 1.0
    max_steps: Annotated[
        int, typer.Option("--max-steps", min=0, metavar="N", help="Steps, instead of --epochs; 0 is off.")
    ] = 0
    batch_size: Annotated[
        int, typer.Option("--batch-size", min=1, metavar="N", help="Trajectories a step, of all processes.")
    ] = 4
    max_length: Annotated[
        int, typer.Option("--max-length", min=1, help="Tokens; longer trajectories are left out.")
    ] = 2048
    packing: Annotated[
        Literal["auto", "on", "off"],
        typer.Option("--packing", help="Lay trajectories end to end, each blind to the others."),
    ] = "auto"

    def resolved(self, weights: Weights) -> dict[str, Any]:
        """As `SftOptions` takes them. Raises `UsageError` for what means nothing or contradicts them."""
        if not 0 < self.epochs < math.inf:
            raise UsageError(f"--epochs {self.epochs} is no number of passes over the data", "try 1")
        weights.check()
        return {**vars(self), "learning_rate": weights.rate(self.learning_rate, 2e-3)}


@dataclass(frozen=True)
class Holding:
    """What is held out to stop by."""

    eval_share: Annotated[
        float,
        typer.Option(
            "--eval-share", min=0.0, max=0.5, help="Share of the tasks held out; the best weights are kept."
        ),
    ] = 0.0
    eval_every: Annotated[
        int, typer.Option("--eval-every", min=0, metavar="N", help="Steps; 0 is a tenth of the run.")
    ] = 0
    patience: Annotated[
        int,
        typer.Option(
            "--patience", min=0, metavar="N", help="Stop after N evaluations without a better one; 0 is off."
        ),
    ] = 0

    def check(self) -> None:
        """Raises `UsageError` where nothing is held out to stop by."""
        if not self.eval_share and (self.eval_every or self.patience):
            word = "--patience" if self.patience else "--eval-every"
            raise UsageError(f"{word} needs something held out", "add --eval-share 0.1, say")


@dataclass(frozen=True)
class Watching:
    """What does not change the result."""

    save_every: Annotated[
        int,
        typer.Option(
            "--save-every",
            min=0,
            metavar="N",
            help="Steps after which --resume can go on; 0 is ten minutes.",
        ),
    ] = 0
    report_to: Annotated[
        str,
        typer.Option(
            "--report-to", metavar="NAME,...", help="Trackers: tensorboard, wandb, trackio; default none."
        ),
    ] = "none"

    def watch(self) -> Watch:
        """As `sft` takes it."""
        from tmcli.steps.sft import Watch

        return Watch(self.save_every, self.trackers())

    def trackers(self) -> tuple[str, ...]:
        """Raises `UsageError` for a tracker that nobody knows or that is not installed."""
        names = [] if self.report_to == "none" else options.words(self.report_to)
        for name in names:
            if name not in TRACKERS:
                raise UsageError(f"no tracker is named {name!r}", did_you_mean(name, [*TRACKERS, "none"]))
            if importlib.util.find_spec(TRACKERS[name]) is None:
                raise UsageError(f"{name} is not installed", f"pip install {TRACKERS[name]}")
        return tuple(dict.fromkeys(names))


def check_processes(file: str, batch_size: int) -> None:
    """Several that train together share the batch, and no pipe. Raises `UsageError`."""
    n = int(os.environ.get("WORLD_SIZE", "1"))
    if file == "-" and n > 1:
        raise UsageError("several processes cannot read the same stdin", "name a file")
    if batch_size % n:
        remedy = f"try {n * max(1, batch_size // n)}"
        raise UsageError(f"--batch-size {batch_size} cannot be shared by {n} processes", remedy)
