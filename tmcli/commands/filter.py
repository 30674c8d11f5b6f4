"""`tm filter`: trajectories in, those worth imitating out."""

from __future__ import annotations

import platform
from collections.abc import Generator, Iterator
from contextlib import ExitStack, closing
from importlib.metadata import version
from pathlib import Path
from time import monotonic
from typing import Annotated, Literal

import typer

from tmcli import console, exporters, io, streams
from tmcli.commands.options import Force, Output, SkipInvalid
from tmcli.commands.options.bundles import Engine, Serving, Spending
from tmcli.commands.options.filtering import Balancing, Rules
from tmcli.commands.options.judging import Judging
from tmcli.errors import UsageError
from tmcli.filters.summary import Summary
from tmcli.records import Run
from tmcli.steps.filter import Judge, Plan, Verdict, kept, rejected, verdicts

Files = Annotated[
    list[str] | None,
    typer.Argument(metavar="FILE", help="Trajectories, one file after the other; without any, or -, stdin."),
]
Form = Annotated[
    Literal["jsonl", "parquet", "openai", "sharegpt"] | None,
    typer.Option(
        "--to",
        help="Format: jsonl or parquet (records); openai or sharegpt (dialogue and tools alone; what that"
        " loses is told).",
    ),
]
PerFile = Annotated[
    int | None,
    typer.Option(
        "--records-per-file",
        min=1,
        metavar="N",
        help="Write -o out.jsonl as out-00000.jsonl, out-00001.jsonl and so on.",
    ),
]
Dropped = Annotated[
    str | None,
    typer.Option(
        "--rejects",
        metavar="FILE",
        help="Where dropped ones go, with the reason as `dropped` and `dropped_why`; broken lines too.",
    ),
]
Stats = Annotated[
    str | None, typer.Option("--stats", metavar="FILE", help="Write the summary as a `run` record.")
]
Jobs = Annotated[
    int, typer.Option("-j", "--jobs", min=1, metavar="N", help="Look at lines in N processes at once.")
]


def run(
    files: Files = None,
    output: Output = "-",
    to: Form = None,
    records_per_file: PerFile = None,
    rules: Rules = Rules(),
    balancing: Balancing = Balancing(),
    judging: Judging = Judging(),
    rejects: Dropped = None,
    stats: Stats = None,
    jobs: Jobs = 1,
    skip_invalid: SkipInvalid = False,
    force: Force = False,
    serving: Serving = Serving(),
    spending: Spending = Spending(),
    engine: Engine = Engine(),
) -> None:
    """Keep the trajectories that are worth imitating.

    \b
      tm synth --teacher gpt-4o | tm filter > sft.jsonl
      tm filter runs.jsonl --no-rule unjudged --rejects dropped.jsonl -o sft.jsonl.zst
      tm filter runs.jsonl --preset strict --keep 'task.tags.hops >= 2' --per-task 2 -j 4

    What passes is written as it was, byte for byte and in order; what is dropped has the reason of the
    first rule of --list-rules that it breaks. Answers are judged anew; an error in the trial phase is
    never a reason. Streams: of duplicates it remembers some bytes each; --per-... waits for the last.
    """
    if rules.list_rules:
        streams.stdout().write(f"{rules.table()}\n".encode())
        return
    judging.check(serving, spending)
    if jobs > 1 and engine.is_ray():
        raise UsageError("-j is for the processes of this machine", "with --engine ray, say --workers")
    _refuse_shared(
        files or ["-"], rules.decontaminate or [], {"-o": output, "--rejects": rejects, "--stats": stats}
    )
    started = monotonic()
    settings = rules.settings([*balancing.given(), *judging.given()])
    balance = balancing.balance()
    plan = Plan(judging.before(settings), rules.given(), facts=balance is not None)
    summary = Summary()
    with io.Rejects(None if spending.dry_run else rejects, force=force) as aside, ExitStack() as stack:
        broken = aside if skip_invalid else None
        lines = [io.read_lines(file, rejects=broken) for file in files or ["-"]]

        def say(line: bytes, verdict: Verdict) -> None:
            if verdict.error is not None:
                io.reject(verdict.error, broken, line + b"\n")
            elif verdict.reason is not None:
                summary.drop(verdict.mix, verdict.reason, verdict.why)
                if rejects is not None:
                    aside.write(rejected(line, verdict.reason, verdict.why) + b"\n")

        judged = stack.enter_context(closing(_judged(lines, plan, jobs, engine)))
        if spending.dry_run:
            judging.estimate((line for line, _ in kept(judged, plan, say)), spending)
            return
        out = stack.enter_context(
            exporters.open_output(output, to=to, force=force, per_file=records_per_file)
        )
        told = stack.enter_context(io.open_output(stats, force=force)) if stats else None
        aside.open()
        stages = judging.stages(serving, spending, settings)
        for stage in stages:
            stack.enter_context(stage)
        for line, verdict in stack.enter_context(closing(kept(judged, plan, say, stages, balance))):
            out.write_line(line)
            summary.keep(verdict.mix)
        if told:
            told.write(
                Run(
                    step="filter",
                    options={"files": files or ["-"], "rules": dict(settings)}
                    | rules.told()
                    | balancing.told()
                    | judging.told(),
                    versions={"tm": version("tmcli"), "python": platform.python_version()},
                    counts=summary.counts() | {"broken": aside.count},
                    seconds=round(monotonic() - started, 3),
                    output=None if output == "-" else output,
                    metrics=summary.metrics() | {stage.word: stage.metrics for stage in stages},
                )
            )
    _tell(summary, aside)
    for stage in stages:
        stage.tell()


def _refuse_shared(files: list[str], tests: list[str], written: dict[str, str | None]) -> None:
    """One would be lost in the other, unseen. Raises `UsageError`."""
    if "-" in files and "-" in tests:
        raise UsageError("--decontaminate - and the records would share stdin", "give one of them a file")
    taken = {_place(test): f"--decontaminate {test}" for test in tests if Path(test).is_file()}
    for option, path in written.items():
        if path is None or not (place := _place(path)):
            continue
        if place in taken:
            what = "the records" if taken[place] == "-o -" else taken[place]
            shared = "stdout" if place == "stdout" else "a file"
            raise UsageError(
                f"{option} {path} and {what} would share {shared}", "give one of them another file"
            )
        taken[place] = f"{option} {path}"


def _place(path: str) -> str:
    """Where it leads; "": a device, which may be shared."""
    if path in ("-", "/dev/stdout"):
        return "stdout"
    return "" if streams.is_device(path) else str(Path(path).resolve())


Lines = list[tuple[str, Iterator[tuple[int, bytes]]]]


def _judged(
    lines: Lines, plan: Plan, jobs: int, engine: Engine
) -> Generator[tuple[bytes, Verdict], None, None]:
    """Each line with its verdict, which is found here, in other processes, or on a cluster."""
    from tmcli.blocks import blocks

    if engine.is_ray():
        from tmcli.cluster import blocks as cluster

        found = cluster.mapped(verdicts, blocks(lines), plan, address=engine.ray_address, n=engine.workers)
    elif jobs > 1:
        from tmcli.blocks import processes

        found = processes.mapped(verdicts, blocks(lines), plan, n=jobs)
    else:
        judge = Judge(plan)
        if not plan.is_near:  # each as it comes
            for name, numbered in lines:
                for number, line in numbered:
                    yield line, _placed(judge(line), name, number)
            return
        found = ((block, judge.all(block.lines)) for block in blocks(lines))
    for block, results in found:
        for number, line, verdict in zip(block.numbers, block.lines, results, strict=True):
            yield line, _placed(verdict, block.name, number)


def _placed(verdict: Verdict, name: str, number: int) -> Verdict:
    if verdict.error is None:
        return verdict
    return verdict._replace(error=verdict.error.at(name, number))


def _tell(summary: Summary, aside: io.Rejects) -> None:
    console.note(f"kept {summary.n_kept} of {summary.n} trajectories")
    if summary.dropped:
        console.table("", ["dropped", "n", "share", "the first"], summary.reasons())
    if changes := summary.changes():
        console.table("", ["what changed in the mix", "before", "after"], changes)
    if aside.count:
        console.warn(f"{aside.count} broken lines set aside; the first: {aside.first}")
    if not summary.n:
        console.warn("there were no trajectories")
    elif not summary.n_kept:
        console.warn("nothing was kept; --rejects FILE shows what was dropped, --no-rule REASON keeps it")
