"""The options of `tm filter` that ask the world: the tools again (`--reverify`), or a model (`--judge`)."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Annotated

import typer

from tmcli.commands import options
from tmcli.commands.options.bundles import Serving, Spending
from tmcli.errors import UsageError
from tmcli.filters.judge import QUESTIONS, Question, chosen

if TYPE_CHECKING:
    from tmcli.filters.judge.judge import Judge
    from tmcli.filters.reverify import Reverify
    from tmcli.filters.rules import Setting
    from tmcli.records import Drop, Json

_ASK = "; ".join(f"{question.name}: {question.says}" for question in QUESTIONS.values())


@dataclass(frozen=True)
class Judging:
    """Who else looks at what the rules let through."""

    reverify: Annotated[
        bool,
        typer.Option(
            "--reverify",
            help="Run the recorded calls again, in the real tools and servers, and compare each reply.",
        ),
    ] = False
    judge: Annotated[
        str | None,
        typer.Option(
            "--judge",
            metavar="JUDGE",
            help="Ask MODEL[@URL,...] what --ask says; kept in the record as `judged`.",
        ),
    ] = None
    ask: Annotated[
        str, typer.Option("--ask", metavar="QUESTION,...", help=f"What --judge is asked. {_ASK}.")
    ] = "grounded,arguments,experience,purpose"
    concurrency: Annotated[
        int,
        typer.Option("--concurrency", min=1, metavar="N", help="Trajectories that are asked about at once."),
    ] = 8
    timeout: options.Timeout = 10.0

    def check(self, serving: Serving, spending: Spending) -> None:
        """Options that mean nothing without --judge, or without any of the two. Raises `UsageError`."""
        if self.judge is None:
            for bundle, empty in ((serving, Serving()), (spending, Spending())):
                for one in fields(bundle):
                    if getattr(bundle, one.name) != getattr(empty, one.name):
                        word = one.name.replace("_", "-")
                        raise UsageError(f"--{word} is for --judge", "add it, or leave this out")
            if self.ask != Judging.ask:
                raise UsageError("--ask is for --judge", "name a model, as --judge gpt-4o")
        elif serving.protocol != "auto":
            raise UsageError("--protocol is for models that call tools, and a judge has none", "leave it out")
        if not self.reverify and self.timeout != Judging.timeout:
            raise UsageError("--timeout is for --reverify", "add it, or leave this out")
        if not self.reverify and self.judge is None and self.concurrency != Judging.concurrency:
            raise UsageError("--concurrency is for --reverify and --judge", "add one, or leave this out")
        self.questions()

    def given(self) -> list[str]:
        """Those of `--reverify` and `--judge` that were."""
        return [*(["--reverify"] if self.reverify else []), *(["--judge"] if self.judge is not None else [])]

    def told(self) -> Json:
        """For a `run` record."""
        asked: Json = {"reverify": True} if self.reverify else {}
        if self.judge is not None:
            asked |= {"judge": self.judge.partition("@")[0], "ask": [one.name for one in self.questions()]}
        return asked

    def before(self, settings: dict[Drop, Setting]) -> dict[Drop, Setting]:
        """The rules without those that a judge's stage answers for: verdicts stored earlier do not count."""
        if self.judge is None:
            return settings
        return {name: one for name, one in settings.items() if name not in ("judged_no", "not_judged")}

    def questions(self) -> list[Question]:
        """What is asked."""
        return chosen(options.words(self.ask))

    def stages(self, serving: Serving, spending: Spending, drop: Collection[str]) -> list[Reverify | Judge]:
        """Who looks at the survivors, one after the other; `drop`: which of `judged_no` and `not_judged` are
        on. Each is a context manager with `run`, `counts`, `metrics` and `tell`."""
        made: list[Reverify | Judge] = []
        if self.reverify:
            from tmcli.filters.reverify import Reverify

            made.append(Reverify(self.concurrency, self.timeout))
        if self.judge is not None:
            from tmcli.filters.judge.judge import Judge

            service = serving.service(self.concurrency)
            price, budget = spending.price(self.judge), spending.budget()
            made.append(Judge(self.judge, self.questions(), service, price, budget, self.concurrency, drop))
        return made

    def estimate(self, lines: Iterable[bytes], spending: Spending) -> None:
        """`--dry-run`: tell what asking about these lines would take, and ask nothing."""
        from tmcli.filters.judge.estimate import estimate

        assert self.judge is not None
        estimate(lines, self.questions(), spending.price(self.judge)).tell()
