"""`tm tasks`: task records from a suite, a data set, or a file of tasks."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from typing import Annotated

import typer

from tmcli import console, io, suites
from tmcli import drift as drifts
from tmcli.commands import options
from tmcli.errors import UsageError, did_you_mean
from tmcli.records import Task

File = Annotated[
    str | None,
    typer.Argument(metavar="FILE", help="Tasks to pass on, or the data set that --from reads; - is stdin."),
]
Suite = Annotated[
    str | None,
    typer.Option("--suite", metavar="SUITE", help="Built-in tasks: train (default), seen, unseen."),
]
From = Annotated[str | None, typer.Option("--from", metavar="DATASET", help="Import FILE: ftrl.")]


def run(
    file: File = None,
    suite: Suite = None,
    dataset: From = None,
    n: options.TaskCount = None,
    seed: options.Seed = 0,
    drift: options.Drift = "",
    output: options.Output = "-",
    to: options.To = None,
    force: options.Force = False,
    skip_invalid: options.SkipInvalid = False,
    rejects: options.Rejects = None,
) -> None:
    """Make tasks: from the built-in toolboxes, or from a data set.

    \b
      tm tasks --suite train -n 100 --drift stale > tasks.jsonl
      tm tasks --from ftrl ftrl_dev.parquet | tm rollout --policy ckpt/ --tasks -
      tm tasks mine.jsonl --drift stale -o drifted.jsonl

    A task is something to solve, the tools to solve it with, and the golds. Without FILE and --suite: the
    suite train. The tasks of a FILE are passed on, with --drift made unfamiliar. Streams.
    """
    with options.open_rejects(skip_invalid, rejects, force=force) as aside:
        tasks = _tasks(file, suite, dataset, n, seed, drift, aside)
        count = 0
        with io.open_output(output, to=to, force=force) as out:
            for task in tasks:
                out.write(task)
                count += 1
    if not count:
        console.warn("no tasks were written")


def _tasks(
    file: str | None,
    suite: str | None,
    dataset: str | None,
    n: int | None,
    seed: int,
    drift: str,
    rejects: io.Rejects | None,
) -> Iterator[Task]:
    if suite is not None and (file is not None or dataset is not None):
        raise UsageError("--suite makes tasks of its own and reads no file", "give either --suite or FILE")
    if suite is not None and suite not in suites.SUITES:
        raise UsageError(f"no suite is named {suite!r}", did_you_mean(suite, suites.SUITES))
    if dataset is None:
        return options.tasks_from(file or suite or "train", n=n, seed=seed, drift=drift, rejects=rejects)
    from tmcli.steps.tasks import IMPORTERS

    if dataset not in IMPORTERS:
        raise UsageError(f"no data set is named {dataset!r}", did_you_mean(dataset, IMPORTERS))
    if file is None:
        raise UsageError(f"--from {dataset} needs a file", f"write: tm tasks --from {dataset} FILE")
    return drifts.over(islice(IMPORTERS[dataset](file), n), options.words(drift), seed)
