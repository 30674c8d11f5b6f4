"""The options of `tm eval` that say which numbers are asked for, and what they are held against."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import typer

from tmcli.commands.options import words
from tmcli.errors import UsageError
from tmcli.report.summary import Summary
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
            help="The K of pass@K, where tasks have several samples. Else 1,2,4...",
        ),
    ] = ""
    reward: Annotated[
        str,
        typer.Option(
            "--reward", metavar="PART=W,...", help=f"Weights of the reward's parts: {', '.join(PARTS)}."
        ),
    ] = ""
    fail_under: Annotated[
        str,
        typer.Option(
            "--fail-under",
            metavar="[METRIC=]X",
            help="Exit with 1 where the accuracy, or METRIC, is below X.",
        ),
    ] = ""

    def tags(self) -> list[str]:
        """What `--by` names."""
        return words(self.by)

    def weights(self) -> dict[str, float]:
        """What `--reward` says. Raises `UsageError`."""
        return parse_weights(self.reward) if self.reward else dict(DEFAULT_WEIGHTS)

    def summary(self) -> Summary:
        """Where the scores add up. Raises `UsageError`."""
        return Summary(self.tags(), _whole(self.k) if self.k else None)


def _whole(text: str) -> list[int]:
    numbers = [int(word) for word in words(text) if word.isdecimal() and int(word)]
    if len(numbers) != len(words(text)):
        raise UsageError(f"--k: {text!r} is no list of whole numbers", "write --k 1,2,4")
    return numbers
