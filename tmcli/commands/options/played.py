"""The options of `tm eval` that let a policy play first: `--policy`, and the tasks it is shown.

    with played.sources(files, playing, serving, spending, engine, aside) as sources: ...

What is played goes to a file, which is then judged as any other: there is one way to a number.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, fields, replace
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from tmcli.commands import options
from tmcli.commands.options.bundles import (
    Engine,
    Machines,
    Playing,
    Serving,
    Spending,
    Writing,
    player,
    setup,
)
from tmcli.commands.options.evaluating import Evaluating
from tmcli.errors import UsageError

if TYPE_CHECKING:
    from tmcli import io
    from tmcli.records import Json, Run, Task
    from tmcli.runner import Setup


@dataclass(frozen=True)
class Played:
    """Who plays what, where no files are given."""

    policy: Annotated[
        str | None,
        typer.Option(
            "--policy",
            metavar="POLICY",
            help="Let this policy play --tasks first, instead of reading FILE; see tm rollout --help.",
        ),
    ] = None
    tasks: Annotated[
        str | None,
        typer.Option(
            "--tasks",
            metavar="FILE|SUITE,...",
            help="What it plays: files, suites or toolboxes. Else unseen; with --matrix seen,unseen.",
        ),
    ] = None
    matrix: Annotated[
        bool,
        typer.Option(
            "--matrix", help="Play each task without drift and under each kind (--drift) and strength."
        ),
    ] = False
    drift: Annotated[
        str,
        typer.Option(
            "--drift",
            metavar="KIND,...",
            help="Drift of the tasks; of a matrix the kinds, else each and all.",
        ),
    ] = ""
    strengths: Annotated[
        str | None,
        typer.Option(
            "--strengths", metavar="X,...", help="Strengths of drift in a matrix, up to 1. Else 0.5,1."
        ),
    ] = None
    n: Annotated[
        int | None,
        typer.Option("-n", "--n", "--limit", min=0, metavar="N", help="How many tasks of each at most."),
    ] = None
    samples: options.Samples = 1
    seed: options.Seed = 0
    style: options.Style = "trial"
    max_tokens: options.MaxTokens = 8192
    max_new_tokens: options.MaxNewTokens = 512
    keep: Annotated[
        str | None, typer.Option("--keep", metavar="FILE", help="Keep the trajectories that are played.")
    ] = None
    resume: Annotated[
        bool, typer.Option("--resume", help="Continue an existing --keep: only what is missing is played.")
    ] = False

    def check(self, context: typer.Context, files: list[str] | None) -> None:
        """Raises `UsageError` for options that do not go together."""
        if self.policy is None:
            if flag := _given(context, Played, Playing, Serving, Spending):
                raise UsageError(f"{flag} is for a policy that plays", "name one with --policy")
        elif files:
            raise UsageError("FILE and --policy contradict each other", "judge files, or let a policy play")
        if self.strengths is not None and not self.matrix:
            raise UsageError("--strengths is for --matrix", "add it, or write --drift rename@0.5")
        if self.resume and self.keep is None:
            raise UsageError("--resume needs a file to continue", "name one with --keep")

    def estimate(self, playing: Playing, serving: Serving, spending: Spending) -> None:
        """What `--dry-run` asks for."""
        from tmcli.estimate import estimate
        from tmcli.runner import jobs

        done = Writing(self.keep or "-", resume=self.resume).already()
        made = self._setup(playing, serving, spending)
        estimate(jobs(self._chosen(None), self.samples, done), made).tell()

    @contextmanager
    def sources(
        self,
        files: list[str] | None,
        playing: Playing,
        serving: Serving,
        spending: Spending,
        engine: Engine,
        aside: io.Rejects | None,
        *,
        force: bool = False,
    ) -> Iterator[list[str]]:
        """The files to judge: those given, or the one that the policy has played."""
        if self.policy is None:
            yield files or ["-"]
            return
        with tempfile.TemporaryDirectory(prefix="tm-eval-") as folder:
            path = self.keep or str(Path(folder) / "played.jsonl")
            writing = Writing(path, resume=self.resume, force=force)
            try:
                self._play(writing, self._setup(playing, serving, spending), playing, engine, aside)
            except BaseException as error:
                if self.keep is None and getattr(error, "__notes__", None):  # that it can be continued
                    error.__notes__ = ["what was played is lost; with --keep FILE it would be kept"]
                raise
            yield [path]

    def grouped(self, evaluating: Evaluating) -> Evaluating:
        """A matrix has rows of its own for each drift: unless `--by` asks, the others go by set."""
        usual = evaluating.by == Evaluating.by
        return replace(evaluating, by="set") if self.matrix and usual else evaluating

    def kept(self, sources: list[str]) -> list[str]:
        """The files of `sources` that are still there afterwards."""
        return sources if self.policy is None else [self.keep] if self.keep else []

    def noted(self, record: Run, provenance: list[Json]) -> Run:
        """A record that tells what its numbers were made of."""
        versions = record.versions
        if self.policy is not None:
            from tmcli import checkpoint
            from tmcli.policies import is_local
            from tmcli.report.provenance import weights_hash

            if is_local(self.policy):
                versions = checkpoint.versions() | versions
                provenance = [row | {"weights_hash": weights_hash(self.policy)} for row in provenance]
        return replace(record, versions=versions, extra={**record.extra, "provenance": provenance})

    def _play(
        self, writing: Writing, made: Setup, playing: Playing, engine: Engine, aside: io.Rejects | None
    ) -> None:
        from tmcli import ledger
        from tmcli.steps.rollout import rollout

        machines = Machines(engine.engine, engine.ray_address, engine.workers)
        chosen = self._chosen(aside)
        with player(made, playing, writing, machines) as who, writing.journal(who.key) as journal:
            most = [ledger.n_tasks(name, self.n) for name in self._names()]
            total = None if None in most else sum(filter(None, most)) * self._n_cells() * self.samples
            left = None if total is None else max(0, total - len(journal.done))
            played = rollout(
                chosen, who, self.samples, journal.done, ordered=journal.ordered, order=journal.order
            )
            ledger.keep(played, journal, left, who)

    def _setup(self, playing: Playing, serving: Serving, spending: Spending) -> Setup:
        from tmcli.episode import Limits
        from tmcli.policies import Sampling

        assert self.policy is not None
        sampling = Sampling(playing.temperature, playing.top_p, self.max_new_tokens, self.seed)
        limits = Limits(
            self.style, max_turns=playing.max_turns, max_tokens=self.max_tokens, timed=playing.timed
        )
        return setup(self.policy, sampling, limits, playing, serving, spending)

    def _names(self) -> list[str]:
        """What `--tasks` names. A file may have a comma in its name."""
        if self.tasks is None:
            return ["seen", "unseen"] if self.matrix else ["unseen"]
        return [self.tasks] if Path(self.tasks).exists() else list(dict.fromkeys(options.words(self.tasks)))

    def _chosen(self, aside: io.Rejects | None) -> Iterator[Task]:
        """The tasks to play."""
        names = self._names()
        drift = "" if self.matrix else self.drift
        some = [
            options.tasks_from(name, n=self.n, seed=self.seed, drift=drift, rejects=aside) for name in names
        ]
        if not self.matrix:
            return chain.from_iterable(some)
        from tmcli.steps.matrix import cells

        return cells(dict(zip(_labels(names), some, strict=True)), *self._grid(), self.seed)

    def _grid(self) -> tuple[list[str], list[float]]:
        """The kinds and strengths of a matrix."""
        from tmcli.steps.matrix import kinds_of, strengths_of

        strengths = "0.5,1" if self.strengths is None else self.strengths
        return kinds_of(options.words(self.drift)), strengths_of(options.words(strengths))

    def _n_cells(self) -> int:
        """How many cells a task is played in, at most."""
        if not self.matrix:
            return 1
        kinds, strengths = self._grid()
        return 1 + len(kinds) * len(strengths)


def _given(context: typer.Context, *bundles: type[Any]) -> str | None:
    """The first option of these bundles on the command line."""
    names = {one.name for bundle in bundles for one in fields(bundle)}
    for param in context.command.params:
        source = context.get_parameter_source(param.name or "")
        if param.name in names and source is not None and source.name == "COMMANDLINE":
            return max(param.opts, key=len)
    return None


def _labels(names: list[str]) -> list[str]:
    """What tells the sets of a matrix apart.

    >>> _labels(["seen", "data/mine.jsonl"]), _labels(["a/x.jsonl", "b/x.jsonl"])
    (['seen', 'mine'], ['a/x.jsonl', 'b/x.jsonl'])
    """
    stems = [Path(name).name.partition(".")[0] or name for name in names]
    return stems if len(set(stems)) == len(stems) else names
