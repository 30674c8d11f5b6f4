"""`tm filter`: trajectories in, those worth imitating out."""

from __future__ import annotations

from collections import Counter
from collections.abc import Generator, Iterator
from contextlib import closing
from dataclasses import replace
from itertools import chain
from typing import Annotated, Any

import typer

from tmcli import console, io
from tmcli.commands.options import Force, Output, SkipInvalid, To, words
from tmcli.commands.options.bundles import Engine
from tmcli.errors import InputError, UsageError, did_you_mean
from tmcli.filters.rules import EXTRA, REASONS, standard
from tmcli.records import Drop, Trajectory, encode
from tmcli.steps.filter import Verdict, choose, filter_trajectories, rejected, verdicts

Files = Annotated[
    list[str] | None,
    typer.Argument(metavar="FILE", help="Trajectories, one file after the other; without any, or -, stdin."),
]
Keep = Annotated[
    str,
    typer.Option(
        "--keep", metavar="REASON,...", help=f"Do not drop for these reasons. All: {', '.join(REASONS)}."
    ),
]
Drops = Annotated[
    str,
    typer.Option(
        "--drop",
        metavar="REASON,...",
        help="Drop for these reasons as well. All: hinted (right only after --hints told it was wrong).",
    ),
]
MaxChars = Annotated[
    int | None,
    typer.Option("--max-chars", min=1, metavar="N", help="Drop dialogues with more characters (too_long)."),
]
Dropped = Annotated[
    str | None,
    typer.Option(
        "--rejects",
        metavar="FILE",
        help="Where dropped ones go, the reason under `dropped`; with --skip-invalid broken lines too.",
    ),
]


def run(
    files: Files = None,
    output: Output = "-",
    to: To = None,
    keep: Keep = "",
    drop: Drops = "",
    max_chars: MaxChars = None,
    rejects: Dropped = None,
    skip_invalid: SkipInvalid = False,
    force: Force = False,
    engine: Engine = Engine(),
) -> None:
    """Keep the trajectories that are worth imitating.

    \b
      tm synth --teacher gpt-4o | tm filter > sft.jsonl
      tm filter runs.jsonl --keep unjudged --rejects dropped.jsonl -o sft.jsonl.zst

    What passes is written as it was, byte for byte and in order; what is dropped has one reason of a
    closed list. Answers are judged anew; a task without golds is `unjudged` and dropped unless kept by
    --keep. An error in the trial phase is never a reason. Streams; of duplicates it remembers 16 bytes
    each.
    """
    kept_reasons = words(keep)
    for reason in kept_reasons:
        if reason not in REASONS:
            raise UsageError(f"--keep: nothing is dropped as {reason!r}", did_you_mean(reason, REASONS))
    dropped_too = words(drop)
    for reason in dropped_too:
        if reason not in EXTRA:
            raise UsageError(f"--drop: {reason!r} is none of its reasons", did_you_mean(reason, EXTRA))
    dropped: Counter[Drop] = Counter()
    n_kept = 0
    with io.Rejects(rejects, force=force) as aside:
        broken = aside if skip_invalid else None
        if on_cluster := engine.is_ray():
            lines = [io.read_lines(file, rejects=broken) for file in files or ["-"]]
        else:
            records = [io.read(file, kind=Trajectory, rejects=broken) for file in files or ["-"]]

        def on_drop(trajectory: Trajectory, reason: Drop) -> None:
            dropped[reason] += 1
            aside.write(rejected(trajectory, reason))

        def on_broken(trajectory: Trajectory, error: InputError) -> None:
            if broken is None:
                raise error
            broken.add(error)
            broken.write(encode(trajectory) + b"\n")

        def on_unreadable(line: bytes, error: InputError) -> None:
            io.reject(error, broken, line + b"\n")

        with io.open_output(output, to=to, force=force) as out:
            aside.open()
            if on_cluster:
                with closing(_judged(lines, engine, kept_reasons, max_chars, dropped_too)) as judged:
                    twice = "duplicate" in kept_reasons
                    for line in choose(judged, twice, on_drop, on_broken, on_unreadable):
                        out.write_line(line)
                        n_kept += 1
            else:
                rules = standard(kept_reasons, max_chars, dropped_too)
                kept = filter_trajectories(chain.from_iterable(records), rules, on_drop, on_broken)
                for trajectory in kept:
                    out.write(trajectory)
                    n_kept += 1
    _tell(n_kept, dropped, aside)


def _judged(
    lines: list[tuple[str, Iterator[tuple[int, bytes]]]], engine: Engine, *rules: Any
) -> Generator[tuple[bytes, Verdict], None, None]:
    """Each line with its verdict, which is found on the cluster."""
    from tmcli.cluster.blocks import blocks, mapped

    for block, found in mapped(verdicts, blocks(lines), *rules, address=engine.ray_address, n=engine.workers):
        for number, line, verdict in zip(block.numbers, block.lines, found, strict=True):
            if verdict.error is not None and not verdict.readable:
                verdict = replace(verdict, error=verdict.error.at(block.name, number))
            yield line, verdict


def _tell(n_kept: int, dropped: Counter[Drop], aside: io.Rejects) -> None:
    n = n_kept + dropped.total()
    why = ", ".join(f"{reason} {count}" for reason, count in dropped.most_common())
    console.note(f"kept {n_kept} of {n} trajectories{f'; dropped: {why}' if why else ''}")
    if aside.count:
        console.warn(f"{aside.count} broken lines set aside; the first: {aside.first}")
    if not n:
        console.warn("there were no trajectories")
    elif not n_kept:
        console.warn("nothing was kept; --rejects FILE shows what was dropped, --keep REASON keeps it")
