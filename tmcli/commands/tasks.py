"""`tm tasks`: task records from a suite, a toolbox, a data set, or a file of tasks."""

from __future__ import annotations

from typing import Annotated

import typer

from tmcli import console, importers, io, suites
from tmcli.catalog import ANY, catalog_of, furnish
from tmcli.commands import options
from tmcli.commands.options.bundles import Serving, Spending
from tmcli.commands.options.generating import Generating, refuse
from tmcli.errors import UsageError
from tmcli.steps.tasks import tasks

File = Annotated[
    str | None,
    typer.Argument(metavar="FILE", help="Tasks to pass on, or the data set that --from reads; - is stdin."),
]
Suite = Annotated[
    str | None,
    typer.Option(
        "--suite",
        metavar="SUITE",
        help="train (default), seen, unseen; or one toolbox, by name, folder or Python file.",
    ),
]
Boxes = Annotated[
    str, typer.Option("--toolbox", metavar="NAME,...", help="Only these toolboxes of the suite.")
]
Hops = Annotated[
    str, typer.Option("--hops", metavar="N,...", help="Only tasks of the suite with so many calls.")
]
From = Annotated[
    str | None,
    typer.Option("--from", metavar="DATASET", help=f"Import FILE: {', '.join(importers.IMPORTERS)}."),
]
Rejects = Annotated[
    str | None,
    typer.Option(
        "--rejects",
        metavar="FILE",
        help="Where broken lines go, byte for byte (implies --skip-invalid), or the dropped proposals of"
        " --generate (else OUTPUT.dropped).",
    ),
]
Tools = Annotated[
    str | None,
    typer.Option(
        "--tools",
        metavar="SOURCE",
        help=f'FILE holds questions, {{"query": ..., "answer": ...}}, or --generate makes some; their tools:'
        f" {ANY}.",
    ),
]


def run(
    file: File = None,
    suite: Suite = None,
    toolbox: Boxes = "",
    hops: Hops = "",
    dataset: From = None,
    server: options.Server = None,
    tools: Tools = None,
    n: options.TaskCount = None,
    seed: options.Seed = 0,
    drift: options.Drift = "",
    output: options.Output = "-",
    to: options.To = None,
    force: options.Force = False,
    skip_invalid: options.SkipInvalid = False,
    rejects: Rejects = None,
    generating: Generating = Generating(),
    serving: Serving = Serving(),
    spending: Spending = Spending(),
) -> None:
    """Make tasks: from toolboxes, a data set, or by a teacher.

    \b
      tm tasks --suite train -n 100 --drift stale > tasks.jsonl
      tm tasks --suite unseen --hops 3,4
      tm tasks --from ftrl ftrl_dev.parquet | tm rollout --policy ckpt/ --tasks -
      tm tasks mine.jsonl --drift stale -o drifted.jsonl
      tm tasks questions.jsonl --tools mytools.py | tm rollout --policy smollm2 --tasks - | tm eval
      tm tasks --generate --tools mytools/ --teacher gpt-4o -n 500 -o tasks.jsonl --resume

    A task is something to solve, the tools to solve it with, and the golds. Without FILE and --suite: the
    suite train. The tasks of a FILE are passed on, with --drift made unfamiliar. Streams.

    With --generate a teacher tries the tools and writes questions about what it found. One is kept when
    independent solves bring the same answer, and it could not be had without the tools.
    """
    generating.check(serving, spending)
    if generating.generate:
        refuse(
            FILE=(file, "let it make the questions, or give FILE --tools SOURCE alone"),
            suite=(suite or toolbox or hops or dataset, "name what it makes tasks for with --tools"),
            drift=(drift, "first make the tasks, then: tm tasks tasks.jsonl --drift stale"),
            skip_invalid=(skip_invalid, "it reads no lines"),
        )
        if tools is None:
            raise UsageError("--generate needs --tools", f"name {ANY}")
        made_for = catalog_of(tools).at(options.server(server))
        due = suites.OWN_N if n is None else n
        generating.run(made_for, due, seed, serving, spending, output, rejects, force=force, to=to)
        return
    with options.open_rejects(skip_invalid, rejects, force=force) as aside:
        if dataset is not None and aside is not None:
            problem = "--skip-invalid and --rejects are for records and questions, a line each"
            raise UsageError(problem, "correct the row that stops the import, or drop it")
        if server is not None and dataset is None and tools is None:
            raise UsageError("--server is for --from and --tools", "say whose tools it answers")
        server = options.server(server)
        if (dataset or file) and (suite or toolbox or hops):
            problem = "--suite, --toolbox and --hops make tasks of their own and read no file"
            raise UsageError(problem, "give either --suite or FILE")
        if tools is not None and (file is None or dataset is not None):
            raise UsageError("--tools is for questions of your own", "write: tm tasks FILE --tools SOURCE")
        if tools is not None and file is not None:
            questions = furnish(file, catalog_of(tools).at(server), aside)
            made = tasks(questions, n, options.words(drift), seed)
        elif dataset is not None:
            made = tasks(importers.read(dataset, file, server), n, options.words(drift), seed)
        elif file is not None:
            made = options.tasks_from(file, n=n, seed=seed, drift=drift, rejects=aside)
        else:
            only = options.words(toolbox), options.numbers(hops)
            made = suites.suite(suite or "train", n, seed, options.words(drift), *only)
        count = 0
        with io.open_output(output, to=to, force=force) as out:
            for task in made:
                out.write(task)
                count += 1
    if not count:
        console.warn("no tasks were written")
