"""The options of `tm eval --judge`: a model behind a server says which queries were solved."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Annotated, NamedTuple

import typer

from tmcli.commands.options.bundles import body
from tmcli.errors import UsageError
from tmcli.records import AnyRecord, Json, Trajectory

if TYPE_CHECKING:
    from tmcli.filters.judge.scoring import Scoring


class Stage(NamedTuple):
    """What `--judge` does to the records of a run; without it they pass as they are."""

    run: Callable[[Iterable[AnyRecord]], Iterable[AnyRecord]]
    judge: Scoring | None = None

    def told(self) -> Json:
        """For a `run` record, once all is judged."""
        return {} if self.judge is None else {"judge": self.judge.metrics}


@dataclass(frozen=True)
class JudgedBy:
    """Which judge is asked. All names begin with `judge`: a policy that plays has such options of its own."""

    judge: Annotated[
        str | None,
        typer.Option(
            "--judge",
            metavar="MODEL[@URL,...]",
            help="Ask a model whether each query was solved: StableToolBench's SoPR.",
        ),
    ] = None
    judge_n: Annotated[
        int,
        typer.Option(
            "--judge-n",
            min=1,
            metavar="N",
            help="Judgings of each episode; how they differ is the judge's noise.",
        ),
    ] = 3
    judge_trials: Annotated[
        bool,
        typer.Option("--judge-trials", help="Ask also which trials were useful."),
    ] = False
    judge_concurrency: Annotated[
        int,
        typer.Option(
            "--judge-concurrency",
            min=1,
            metavar="N",
            help="Episodes that are judged at once.",
        ),
    ] = 8
    judge_cache: Annotated[
        str | None,
        typer.Option(
            "--judge-cache",
            metavar="DIR",
            help="Keep the judge's replies there; a rerun asks for none of them.",
        ),
    ] = None
    judge_body: Annotated[
        str,
        typer.Option(
            "--judge-body",
            metavar="JSON",
            help="More fields of each request, as '{\"temperature\": 1}'.",
        ),
    ] = ""
    judge_price: Annotated[
        str,
        typer.Option(
            "--judge-price",
            metavar="IN,OUT",
            help="USD per million tokens in and out, where tm knows no price.",
        ),
    ] = ""
    judge_budget: Annotated[
        float | None,
        typer.Option(
            "--judge-budget",
            min=0.0,
            metavar="USD",
            help="Ask no more when so much is spent.",
        ),
    ] = None
    judge_max_requests: Annotated[
        int | None,
        typer.Option(
            "--judge-max-requests",
            min=0,
            metavar="N",
            help="Ask no more after so many requests.",
        ),
    ] = None

    @contextmanager
    def stage(self, *, here: bool = True) -> Iterator[Stage]:
        """What stands between the trajectories and their scores. `here`: are they judged in this process?
        Raises `UsageError` where options do not fit."""
        if self.judge is None:
            for one in fields(self):
                if getattr(self, one.name) != one.default:
                    word = one.name.replace("_", "-")
                    raise UsageError(f"--{word} is for --judge", "name a model with --judge, or leave it out")
            yield Stage(lambda records: records)
            return
        if not here:
            raise UsageError("--judge asks from this process", "leave out --engine ray")
        from tmcli.filters.judge.scoring import Scoring
        from tmcli.meter import Budget
        from tmcli.policies import Service
        from tmcli.prices import price_or

        judge = Scoring(
            self.judge,
            self.judge_n,
            trials=self.judge_trials,
            service=Service(
                "text", body(self.judge_body, "--judge-body"), self.judge_cache, self.judge_concurrency
            ),
            price=price_or(self.judge, *self._price()),
            budget=Budget(self.judge_budget, self.judge_max_requests),
            concurrency=self.judge_concurrency,
        )
        try:
            with judge:
                yield Stage(judge.run, judge)
        finally:
            judge.tell()

    def estimate(self, records: Iterable[AnyRecord]) -> None:
        """`--dry-run`: tell what judging these would take, and ask nothing."""
        from tmcli.filters.judge.estimate import tell_solved
        from tmcli.prices import price_or

        assert self.judge is not None
        trajectories = (record for record in records if isinstance(record, Trajectory))
        price = price_or(self.judge, *self._price())
        tell_solved(trajectories, self.judge_n, price, trials=self.judge_trials)

    def _price(self) -> tuple[float | None, float | None]:
        """What `--judge-price` says."""
        if not self.judge_price:
            return None, None
        try:
            usd_in, usd_out = map(float, self.judge_price.split(","))
        except ValueError:
            usd_in = usd_out = -1.0
        if not (0 <= usd_in < float("inf") and 0 <= usd_out < float("inf")):
            raise UsageError(f"--judge-price: {self.judge_price!r} is no price", "write --judge-price 2.5,10")
        return usd_in, usd_out
