"""The options of `tm eval` that say which numbers are asked for, and what they are held against."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from tmcli import streams
from tmcli.commands.options import words
from tmcli.errors import RunError, UsageError
from tmcli.report.books import Books
from tmcli.report.markdown import markdown
from tmcli.report.thresholds import Threshold, threshold
from tmcli.score import DEFAULT_WEIGHTS, PARTS, parse_weights


@dataclass(frozen=True)
class Evaluating:
    """Which numbers, of which episodes."""

    scores: Annotated[
        bool, typer.Option("--scores", help="Write one score record a trajectory, instead of one summary.")
    ] = False
    by: Annotated[
        str,
        typer.Option(
            "--by", metavar="TAG,...", help="Break down by tags of the task: split, drift, toolbox, hops."
        ),
    ] = "split,drift"
    k: Annotated[
        str,
        typer.Option(
            "--k",
            metavar="K,...",
            help="The K of pass@K and pass^K, where tasks have several samples. Else 1,2,4...",
        ),
    ] = ""
    reward: Annotated[
        str,
        typer.Option(
            "--reward", metavar="PART=W,...", help=f"Weights of the reward's parts: {', '.join(PARTS)}."
        ),
    ] = ""
    compare: Annotated[
        bool,
        typer.Option(
            "--compare", help="Hold each file against the first by task: difference, interval, exact test."
        ),
    ] = False
    force_compare: Annotated[
        bool,
        typer.Option("--force-compare", help="Also where judge, simulator, limits or tasks differ."),
    ] = False
    seeds: Annotated[
        bool,
        typer.Option("--seeds", help="The files are one policy, trained or played with several seeds."),
    ] = False
    fail_under: Annotated[
        list[str] | None,
        typer.Option(
            "--fail-under",
            metavar="[METRIC=]X,...",
            help="Exit with 1 where the accuracy, or METRIC, is below X; may be repeated. METRIC.low is the"
            " lower end of its interval, METRIC.diff the difference of --compare.",
        ),
    ] = None
    fail_over: Annotated[
        list[str] | None,
        typer.Option(
            "--fail-over", metavar="METRIC=X,...", help="The same where METRIC is above X, as errors or cost."
        ),
    ] = None
    junit: Annotated[
        str | None,
        typer.Option(
            "--junit", metavar="FILE", help="Write a JUnit report: a case a threshold, a case a trajectory."
        ),
    ] = None
    github: Annotated[
        str | None,
        typer.Option(
            "--github",
            metavar="FILE",
            help='Append the tables as Markdown; in a workflow, to "$GITHUB_STEP_SUMMARY".',
        ),
    ] = None

    def tags(self) -> list[str]:
        """What `--by` names."""
        return words(self.by)

    def weights(self) -> dict[str, float]:
        """What `--reward` says. Raises `UsageError`."""
        return parse_weights(self.reward) if self.reward else dict(DEFAULT_WEIGHTS)

    def limits(self) -> list[Threshold]:
        """What `--fail-under` and `--fail-over` ask. Raises `UsageError`."""
        found = [threshold(text) for given in self.fail_under or [] for text in given.split(",")]
        found += [threshold(text, least=False) for given in self.fail_over or [] for text in given.split(",")]
        if not self.compare and any(".diff" in limit.metric for limit in found):
            raise UsageError("a difference takes two files", "add --compare, or ask for the metric itself")
        return found

    def books(self, files: Sequence[str], *, force: bool) -> Books:
        """Where the scores add up. Raises `UsageError`."""
        if self.junit is not None:
            streams.check_new(self.junit, force=force)
        if twice := [file for file in files if files.count(file) > 1]:
            raise UsageError(f"{twice[0]} is named twice", "name each file once")
        if (self.compare or self.seeds) and len(files) < 2:
            raise UsageError(f"{'--compare' if self.compare else '--seeds'} takes several files", "name them")
        if self.compare and self.scores:
            raise UsageError("--scores writes no comparison", "leave out one of them")
        if self.force_compare and not self.compare:
            raise UsageError("--force-compare is for --compare", "add it, or leave this out")
        ks = _whole(self.k) if self.k else None
        cases = None
        if self.junit is not None:
            from tmcli.report.junit import JUnit

            cases = JUnit()
        return Books(
            self.tags(),
            ks,
            compares=self.compare,
            anyway=self.force_compare,
            together=self.seeds,
            cases=cases,
        )

    def check(self, books: Books, limits: Sequence[Threshold], *, force: bool) -> None:
        """What a CI server shows, `--junit` and `--github`. Raises `RunError` where a limit is missed."""
        outcomes = books.checked(limits)
        if self.junit is not None and books.cases is not None:
            books.cases.write(self.junit, outcomes, force=force)
        if self.github is not None:
            with Path(self.github).open("a", encoding="utf-8") as out:
                out.write(markdown(books.tables(), outcomes, books.notes()))
        if missed := [one.says for one in outcomes if not one.ok]:
            raise RunError("; ".join(missed), "--fail-under or --fail-over asks for it")


def _whole(text: str) -> list[int]:
    numbers = [int(word) for word in words(text) if word.isdecimal() and int(word)]
    if len(numbers) != len(words(text)):
        raise UsageError(f"--k: {text!r} is no list of whole numbers", "write --k 1,2,4")
    return numbers
