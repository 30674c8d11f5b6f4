"""`tm eval`: trajectories in, numbers out."""

from __future__ import annotations

import platform
import shutil
from collections.abc import Generator, Iterable, Mapping
from contextlib import closing
from importlib.metadata import version
from pathlib import Path
from time import monotonic
from typing import TYPE_CHECKING, Annotated

import typer

from tmcli import console, io
from tmcli.commands.options import Force, Output, Rejects, SkipInvalid, To, open_rejects
from tmcli.commands.options.bundles import Engine, Playing, Serving, Spending
from tmcli.commands.options.evaluating import Evaluating
from tmcli.commands.options.html import Html
from tmcli.commands.options.judged import JudgedBy, Stage
from tmcli.commands.options.played import Played
from tmcli.commands.options.repeating import Repro, command_line, repeat
from tmcli.errors import InputError, UsageError, did_you_mean
from tmcli.records import AnyRecord, Json, Run, Score, Trajectory, decode, encode, expect
from tmcli.report.books import Books
from tmcli.report.matrix import drawn
from tmcli.report.provenance import Provenance
from tmcli.steps.eval import Episode, evaluate, labelled, scored, seen

if TYPE_CHECKING:
    from tmcli.report.html.episodes import Episodes

Files = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="FILE", help="Trajectory or score records; several files are compared. - is stdin."
    ),
]
Judged = Generator[tuple[str, Score], None, None]
"""(label of the file, score) of each episode, files one after the other."""


def run(
    context: typer.Context,
    files: Files = None,
    output: Output = "-",
    to: To = None,
    evaluating: Evaluating = Evaluating(),
    judging: JudgedBy = JudgedBy(),
    html: Html = Html(),
    rejects: Rejects = None,
    skip_invalid: SkipInvalid = False,
    force: Force = False,
    engine: Engine = Engine(),
    repro: Repro = None,
    played: Played = Played(),
    playing: Playing = Playing(),
    serving: Serving = Serving(),
    spending: Spending = Spending(),
) -> None:
    """Judge trajectories and sum up how good the policy is.

    \b
      tm rollout --policy ckpt/ --tasks unseen | tm eval
      tm eval base.jsonl sft.jsonl rl.jsonl -o table.jsonl
      tm eval runs.jsonl --by toolbox,hops --fail-under 0.9
      tm eval --compare base.jsonl rl.jsonl --fail-under accuracy.diff.low=-0.02
      tm eval stable.jsonl --judge gpt-4o --judge-n 3
      tm eval --policy ckpt/ --matrix -n 50 -o matrix.jsonl
      tm eval --repro matrix.jsonl

    A table on stderr; on stdout one `run` record with all numbers, or score records with --scores.
    Each number has its 95 % interval, the task being the cluster; episodes in which the world broke
    (invalid) or that nobody can judge are counted apart, never as wrong. Answers are judged anew, so old
    files can be judged by new rules.
    """
    if repro is not None:
        repeat(context, repro, output, to, force=force)
        return
    if spending.dry_run and judging.judge is not None and played.policy is None:
        judging.estimate(record for source in files or ["-"] for record in io.read(source))
        return
    played.check(context, files)
    _check_apart(output, rejects, played.keep, html.html, evaluating.junit)
    if spending.dry_run:
        played.estimate(playing, serving, spending)
        return
    started = monotonic()
    evaluating = played.grouped(evaluating)
    weights, limits = evaluating.weights(), evaluating.limits()
    books = evaluating.books(files or [], force=force)
    provenance = Provenance()
    with (
        open_rejects(skip_invalid, rejects, force=force) as aside,
        judging.stage(here=not engine.is_ray()) as stage,
        io.open_output(output, to=to, force=force) as out,
        html.episodes(force=force) as episodes,
        played.sources(files, playing, serving, spending, engine, aside, force=force) as sources,
        closing(_judged(sources, weights, aside, engine, stage, provenance, episodes)) as judged,
    ):
        _add(judged, books, provenance, episodes, out if evaluating.scores else None)
        if not books.summary.n:
            problem, where = "no trajectories", ", ".join(sources)
            raise InputError(problem, "tm rollout or tm synth makes them", source=where)
        books.comparisons()  # which refuses before anything is written
        asked = {"files": played.kept(sources), "arguments": command_line(context), "reward": weights}
        record = _record(asked, books, stage.told(), monotonic() - started)
        record = played.noted(record, provenance.rows())
        if not evaluating.scores:
            out.write(record)
        html.write(episodes, record, books, force=force)
    _tell(books, evaluating)
    evaluating.check(books, limits, force=force)


def _add(
    judged: Judged, books: Books, provenance: Provenance, episodes: Episodes | None, out: io.Writer | None
) -> None:
    """Each score to all that sums up, and to `out`."""
    for label, score in judged:
        books.add(score, label)
        provenance.add(score, label)
        if episodes is not None:
            episodes.add(score, label)
        if out is not None:
            out.write(score)


def _check_apart(*outputs: str | None) -> None:
    """Raises `UsageError` where one output would take another's place."""
    names = [name for name in outputs if name is not None and name != "-"]
    places = [Path(name).resolve() for name in names]
    for number, place in enumerate(places):
        if place in places[:number]:
            raise UsageError(f"{names[number]} is named for two outputs", "give each a file of its own")


def _record(asked: Json, books: Books, told: Json, seconds: float) -> Run:
    """The line on stdout."""
    return Run(
        step="eval",
        options=asked | {"by": books.summary.by, "k": books.summary.ks},
        versions={"tm": version("tmcli"), "python": platform.python_version()},
        counts=books.summary.counts(),
        seconds=round(seconds, 3),
        metrics=books.metrics() | told,
    )


def _tell(books: Books, evaluating: Evaluating) -> None:
    """The tables on stderr."""
    tags = books.summary.tags
    for tag in evaluating.tags():
        if tag not in tags and evaluating.by != Evaluating.by:
            console.warn(f"--by {tag}: no task has this tag; {did_you_mean(tag, tags)}")
    for warning in books.warnings():
        console.warn(warning)
    for one in books.tables():
        console.table(one.title, one.header, one.rows)
    if (rows := books.matrix.rows()) and not console.settings.quiet:
        console.write(drawn(rows, min(shutil.get_terminal_size().columns, 100)))
    for note in books.notes():
        console.note(note)


# ---- what is judged ------------------------------------------------------------------------------


def _judged(
    sources: list[str],
    weights: Mapping[str, float],
    aside: io.Rejects | None,
    engine: Engine,
    stage: Stage,
    provenance: Provenance,
    episodes: Episodes | None,
) -> Judged:
    """The episodes of the files."""
    labels = _labels(sources) if len(sources) > 1 else [""]
    if engine.is_ray():
        yield from _on_cluster(sources, labels, weights, aside, engine, episodes)
        return
    if stage.judge is None and episodes is None:
        streams: list[Iterable[Episode]] = [seen(source, aside) for source in sources]
    else:
        streams = [_whole(io.read(source, rejects=aside), stage, episodes) for source in sources]
    for label, stream in zip(labels, streams, strict=True):
        records = provenance.seen(stream, label)
        for score in evaluate(records, lambda *broken: _set_aside(aside, *broken), weights, label):
            yield label, score


def _whole(records: Iterable[AnyRecord], stage: Stage, episodes: Episodes | None) -> Iterable[AnyRecord]:
    """For a judge and a report, which need all that a record holds."""
    judged = stage.run(records)
    return judged if episodes is None else episodes.watch(judged)


def _on_cluster(
    sources: list[str],
    labels: list[str],
    weights: Mapping[str, float],
    aside: io.Rejects | None,
    engine: Engine,
    episodes: Episodes | None,
) -> Judged:
    """What `evaluate` gives, judged on the cluster."""
    from tmcli.blocks import blocks
    from tmcli.cluster.blocks import mapped

    lines = blocks([io.read_lines(source, rejects=aside) for source in sources])
    for block, results in mapped(scored, lines, weights, address=engine.ray_address, n=engine.workers):
        for number, line, result in zip(block.numbers, block.lines, results, strict=True):
            if isinstance(result, bytes):
                if episodes is not None:
                    episodes.keep(decode(line))
                yield labels[block.of], labelled(expect(decode(result), Score), labels[block.of])
            elif result.readable:
                _set_aside(aside, expect(decode(line), Trajectory), result.error)
            elif result.fatal:
                raise result.error
            else:
                io.reject(result.error.at(block.name, number), aside, line + b"\n")


def _set_aside(aside: io.Rejects | None, trajectory: Trajectory, error: InputError) -> None:
    """A trajectory that cannot be judged stops the run, or goes where `--rejects` says."""
    if aside is None:
        raise error
    aside.add(error)
    aside.write(encode(trajectory) + b"\n")


def _labels(sources: list[str]) -> list[str]:
    """What tells the files apart: their names without endings, else their whole paths."""
    stems = [Path(source).name.partition(".")[0] if source != "-" else "stdin" for source in sources]
    return stems if len(set(stems)) == len(stems) else sources
