"""`tm eval`: trajectories in, numbers out."""

from __future__ import annotations

import platform
from collections.abc import Callable, Generator
from contextlib import closing
from importlib.metadata import version
from pathlib import Path
from time import monotonic
from typing import Annotated

import typer

from tmcli import console, io
from tmcli.commands.options import Force, Output, Rejects, SkipInvalid, To, open_rejects, words
from tmcli.commands.options.bundles import Engine
from tmcli.errors import InputError, RunError, UsageError, did_you_mean
from tmcli.records import Run, Score, Trajectory, decode, encode, expect
from tmcli.report.summary import Summary, failing
from tmcli.report.table import table
from tmcli.score import DEFAULT_WEIGHTS, PARTS, parse_weights
from tmcli.steps.eval import evaluate, labelled, scored, threshold

Files = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="FILE", help="Trajectory or score records; several files are compared. - is stdin."
    ),
]
Scores = Annotated[
    bool, typer.Option("--scores", help="Write one score record a trajectory, instead of one summary.")
]
By = Annotated[
    str,
    typer.Option(
        "--by", metavar="TAG,...", help="Break down by tags of the task: split, drift, toolbox, hops."
    ),
]
Ks = Annotated[
    str,
    typer.Option(
        "--k", metavar="K,...", help="The K of pass@K, where tasks have several samples. Else 1,2,4..."
    ),
]
Reward = Annotated[
    str,
    typer.Option(
        "--reward", metavar="PART=W,...", help=f"Weights of the reward's parts: {', '.join(PARTS)}."
    ),
]
FailUnder = Annotated[
    str,
    typer.Option(
        "--fail-under", metavar="[METRIC=]X", help="Exit with 1 where the accuracy, or METRIC, is below X."
    ),
]


def run(
    files: Files = None,
    output: Output = "-",
    to: To = None,
    scores: Scores = False,
    by: By = "split,drift",
    k: Ks = "",
    reward: Reward = "",
    fail_under: FailUnder = "",
    rejects: Rejects = None,
    skip_invalid: SkipInvalid = False,
    force: Force = False,
    engine: Engine = Engine(),
) -> None:
    """Judge trajectories and sum up how good the policy is.

    \b
      tm rollout --policy ckpt/ --tasks unseen | tm eval
      tm eval base.jsonl sft.jsonl rl.jsonl -o table.jsonl
      tm eval runs.jsonl --by toolbox,hops --fail-under 0.9

    A table on stderr; on stdout one `run` record with all numbers, or score records with --scores.
    Accuracy has its Wilson 95 % interval; episodes in which the world broke (invalid) or that nobody can
    judge are counted apart, never as wrong. Answers are judged anew, so old files can be judged by new
    rules.
    """
    started = monotonic()
    tags = words(by)
    limit = threshold(fail_under) if fail_under else None
    parts = parse_weights(reward) if reward else dict(DEFAULT_WEIGHTS)
    sources = files or ["-"]
    labels = _labels(sources) if len(sources) > 1 else [""]
    summary = Summary(tags, _whole(k) if k else None)
    with open_rejects(skip_invalid, rejects, force=force) as aside:

        def on_broken(trajectory: Trajectory, error: InputError) -> None:
            if aside is None:
                raise error
            aside.add(error)
            aside.write(encode(trajectory) + b"\n")

        judged: Generator[tuple[str, Score], None, None]
        if engine.is_ray():
            judged = _on_cluster(sources, labels, engine, parts, on_broken, aside)
        else:
            streams = [io.read(source, rejects=aside) for source in sources]
            judged = (
                (label, score)
                for label, records in zip(labels, streams, strict=True)
                for score in evaluate(records, on_broken, parts, label)
            )
        with closing(judged), io.open_output(output, to=to, force=force) as out:
            for label, score in judged:
                summary.add(score, label)
                if scores:
                    out.write(score)
            if not summary.n:
                raise InputError(
                    "no trajectories", "tm rollout or tm synth makes them", source=", ".join(sources)
                )
            groups = summary.groups()
            if not scores:
                out.write(
                    Run(
                        step="eval",
                        options={"files": sources, "by": tags, "k": summary.ks, "reward": parts},
                        versions={"tm": version("tmcli"), "python": platform.python_version()},
                        counts=summary.counts(),
                        seconds=round(monotonic() - started, 3),
                        metrics=summary.metrics(),
                    )
                )
    for tag in tags:
        if tag not in summary.tags and by != "split,drift":
            console.warn(f"--by {tag}: no task has this tag; {did_you_mean(tag, summary.tags)}")
    console.table("", *table(groups))
    failures = failing(groups, *limit) if limit else []
    if failures:
        raise RunError("; ".join(failures), "--fail-under asks for it")


def _on_cluster(
    sources: list[str],
    labels: list[str],
    engine: Engine,
    parts: dict[str, float],
    on_broken: Callable[[Trajectory, InputError], None],
    aside: io.Rejects | None,
) -> Generator[tuple[str, Score], None, None]:
    """What `evaluate` gives, judged on the cluster."""
    from tmcli.blocks import blocks
    from tmcli.cluster.blocks import mapped

    lines = blocks([io.read_lines(source, rejects=aside) for source in sources])
    for block, results in mapped(scored, lines, parts, address=engine.ray_address, n=engine.workers):
        for number, line, result in zip(block.numbers, block.lines, results, strict=True):
            if isinstance(result, bytes):
                yield labels[block.of], labelled(expect(decode(result), Score), labels[block.of])
            elif result.readable:
                on_broken(expect(decode(line), Trajectory), result.error)
            elif result.fatal:
                raise result.error
            else:
                io.reject(result.error.at(block.name, number), aside, line + b"\n")


def _labels(sources: list[str]) -> list[str]:
    """What tells the files apart: their names without endings, else their whole paths."""
    stems = [Path(source).name.partition(".")[0] if source != "-" else "stdin" for source in sources]
    return stems if len(set(stems)) == len(stems) else sources


def _whole(text: str) -> list[int]:
    numbers = [int(word) for word in words(text) if word.isdecimal() and int(word)]
    if len(numbers) != len(words(text)):
        raise UsageError(f"--k: {text!r} is no list of whole numbers", "write --k 1,2,4")
    return numbers
