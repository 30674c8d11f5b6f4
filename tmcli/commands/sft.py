"""`tm sft`: imitate trajectories."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import typer

from tmcli import checkpoint, console, io, streams
from tmcli.commands.options import (
    AdapterOnly,
    CheckpointFolder,
    Force,
    Full,
    Input,
    Rank,
    Rejects,
    Resume,
    Seed,
    SkipInvalid,
    Template,
    open_rejects,
)
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
    full: Full = False,
    rank: Rank = D.rank,
    learning_rate: Annotated[
        float | None, typer.Option("--learning-rate", help="Peak; 2e-3 for LoRA, 2e-4 with --full.")
    ] = None,
    epochs: Annotated[float, typer.Option("--epochs", help="Passes over the data.")] = D.epochs,
    batch_size: Annotated[
        int, typer.Option("--batch-size", min=1, metavar="N", help="Trajectories a step.")
    ] = D.batch_size,
    max_length: Annotated[
        int, typer.Option("--max-length", min=1, help="Tokens; longer trajectories are left out.")
    ] = D.max_length,
    adapter_only: AdapterOnly = False,
    seed: Seed = 0,
    resume: Resume = False,
    force: Force = False,
    skip_invalid: SkipInvalid = False,
    rejects: Rejects = None,
) -> None:
    """Train a model to imitate trajectories.

    \b
      tm sft sft.jsonl --model smollm2 -o ckpt/sft
      tm sft --check sft.jsonl

    LoRA on TRL's SFTTrainer. Loss is on what the model has to say itself (text, calls, turn ends), never
    on tool replies; --check shows it. Reads all records into memory. Writes the checkpoint folder, and one
    run record to stdout.
    """
    options = SftOptions(
        model=model,
        template=template,
        full=full,
        rank=rank,
        learning_rate=learning_rate if learning_rate is not None else (2e-4 if full else D.learning_rate),
        epochs=epochs,
        batch_size=batch_size,
        max_length=max_length,
        adapter_only=adapter_only,
        seed=seed,
    )
    with open_rejects(skip_invalid, rejects) as set_aside:
        trajectories = io.read(file, kind=Trajectory, rejects=set_aside)
        if check:
            _show_mask(trajectories, options)
            return
        if output is None:
            raise UsageError("sft needs a folder for its checkpoint", "add -o DIR")
        with console.progress(None, "sft") as progress:
            record = sft(
                trajectories, Path(output), options, resume=resume, force=force, on_step=progress.step
            )
    if checkpoint.is_first():
        with io.open_output("-") as out:
            out.write(record)
        console.note(f"checkpoint: {record.output}")


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
