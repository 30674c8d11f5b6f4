"""`tm sft`: imitate trajectories."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import typer

from tmcli import checkpoint, console, io, streams
from tmcli.commands.options import (
    CheckpointFolder,
    Force,
    Input,
    Rejects,
    Resume,
    Seed,
    SkipInvalid,
    Template,
    open_rejects,
)
from tmcli.commands.options.training import Fitting, Holding, Watching, Weights, check_processes
from tmcli.errors import InputError, UsageError
from tmcli.records import Trajectory
from tmcli.steps.sft import SftOptions, sft

D = SftOptions()


def run(
    file: Input = "-",
    model: Annotated[
        str, typer.Option("-m", "--model", help="What to train: a checkpoint, a hub id, smollm2 or tiny.")
    ] = D.model,
    output: CheckpointFolder = None,
    check: Annotated[
        bool, typer.Option("--check", help="Train nothing: show the first record, trained tokens marked.")
    ] = False,
    template: Template = "auto",
    weights: Weights = Weights(),
    fitting: Fitting = Fitting(),
    holding: Holding = Holding(),
    watching: Watching = Watching(),
    seed: Seed = 0,
    resume: Resume = False,
    force: Force = False,
    skip_invalid: SkipInvalid = False,
    rejects: Rejects = None,
) -> None:
    """Train a model to imitate trajectories.

    \b
      tm sft sft.jsonl --model smollm2 -o ckpt/sft
      tm sft sft.jsonl --eval-share 0.1 --patience 3 -o ckpt/sft
      tm sft --check sft.jsonl

    LoRA on TRL's SFTTrainer. Loss is on what the model has to say itself (text, calls, turn ends), never
    on tool replies; --check shows it. Reads all records into memory. Writes the checkpoint folder, and one
    run record to stdout. A run that was stopped or killed goes on with --resume.
    """
    holding.check()
    options = SftOptions(
        model=model,
        template=template,
        seed=seed,
        **vars(weights),
        **fitting.resolved(weights),
        **vars(holding),
    )
    check_processes(file, options.batch_size)
    if not checkpoint.is_first():  # one of several processes speaks, and writes, for all
        console.configure(console.settings.command, quiet=True)
        skip_invalid, rejects = skip_invalid or rejects is not None, None
    with open_rejects(skip_invalid, rejects) as set_aside:
        trajectories = io.read(file, kind=Trajectory, rejects=set_aside)
        if check:
            _show_mask(trajectories, options)
            return
        if output is None:
            raise UsageError("sft needs a folder for its checkpoint", "add -o DIR")
        watch = watching.watch()
        with console.progress(None, "sft") as progress:
            record = sft(
                trajectories,
                Path(output),
                options,
                watch,
                resume=resume,
                force=force,
                on_step=progress.step,
            )
    if checkpoint.is_first():
        with io.open_output("-") as out:
            out.write(record)
        _show_curve(Path(output))
        console.note(f"checkpoint: {record.output}")


def _show_curve(folder: Path) -> None:
    """Draw the loss where a person watches."""
    if not console.is_live() or console.settings.quiet:
        return
    from tmcli.report.curve import curve_text

    lines = checkpoint.Metrics(folder).lines()
    console.write(curve_text(lines, min(shutil.get_terminal_size().columns, 100)) or "")


def _show_mask(trajectories: Iterator[Trajectory], options: SftOptions) -> None:
    from tmcli.chat import Chat
    from tmcli.model import load_tokenizer
    from tmcli.report.mask import mask_text

    first = next(trajectories, None)
    if first is None:
        raise InputError("there is no record to check", "name a file that tm filter wrote")
    chat = Chat(load_tokenizer(options.model), options.template)
    out = streams.stdout()
    colour = out.isatty() and not os.environ.get("NO_COLOR")
    out.write(mask_text(first, chat, colour=colour).encode())
