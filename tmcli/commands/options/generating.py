"""The options of `tm tasks --generate`: who proposes and who solves, and how much they must agree."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Annotated, Any

import typer

from tmcli.commands import options
from tmcli.commands.options.bundles import Serving, Spending
from tmcli.errors import UsageError

if TYPE_CHECKING:
    from tmcli import io
    from tmcli.catalog import Catalog
    from tmcli.runner import Setup
    from tmcli.steps.generate.crew import Crew

MAX_TOKENS = 32_768
MAX_NEW_TOKENS = 4096


@dataclass(frozen=True)
class Generating:
    """How tasks are made for tools of one's own."""

    generate: Annotated[
        bool,
        typer.Option("--generate", help="Let --teacher write tasks for --tools; keep what solves agree on."),
    ] = False
    teacher: Annotated[
        str | None,
        typer.Option("--teacher", metavar="TEACHER", help="Who proposes: MODEL[@URL,...] or a checkpoint."),
    ] = None
    solver: Annotated[
        str | None,
        typer.Option("--solver", metavar="SOLVER", help="Who solves the proposals; else the teacher."),
    ] = None
    agree: Annotated[
        str,
        typer.Option("--agree", metavar="K/N", help="Of N solves, K must agree with the proposed answer."),
    ] = "3/4"
    max_turns: options.MaxTurns = 12
    temperature: options.Temperature = 0.8
    concurrency: options.Concurrency = 8
    timeout: options.Timeout = 10.0
    simulate: options.Simulate = False
    resume: options.Resume = False

    def check(self, serving: Serving, spending: Spending) -> None:
        """Options that mean nothing without --generate, or contradict each other. Raises `UsageError`."""
        if not self.generate:
            for bundle, empty in ((self, Generating()), (serving, Serving()), (spending, Spending())):
                for one in fields(bundle):
                    if getattr(bundle, one.name) != getattr(empty, one.name):
                        word = one.name.replace("_", "-")
                        raise UsageError(f"--{word} is for --generate", "add it, or leave this out")
            return
        if self.teacher is None:
            raise UsageError("--generate needs a --teacher", "name one, as --teacher gpt-4o or MODEL@URL")
        from tmcli.policies import is_scripted

        for word, name in (("--teacher", self.teacher), ("--solver", self.solver)):
            if name and is_scripted(name):
                problem = f"{word} scripted cannot do this: it plays plans, and has no ideas of its own"
                raise UsageError(problem, "name a model, as gpt-4o or MODEL@URL")
        if self.temperature == 0:
            raise UsageError("--temperature 0 makes all solves the same", "leave it at 0.8, say")

    def run(
        self,
        catalog: Catalog,
        n: int,
        seed: int,
        serving: Serving,
        spending: Spending,
        output: str,
        rejects: str | None,
        *,
        force: bool,
        to: io.Form | None,
    ) -> None:
        """Make the tasks, or tell what that would cost."""
        from tmcli.steps.generate import generate, key_of
        from tmcli.steps.generate.agreement import Agree
        from tmcli.steps.generate.book import open_book
        from tmcli.steps.generate.keep import estimated, keep

        agree = Agree.parse(self.agree)
        if spending.dry_run:
            estimated(catalog, self.setup(str(self.teacher), seed, serving, spending), n, seed, agree)
            return
        with self.crew(seed, serving, spending) as crew:
            key = key_of(catalog, crew, seed, agree)
            with open_book(output, rejects, key=key, resume=self.resume, force=force, to=to) as book:
                keep(generate(catalog, crew, n, seed, agree, book.settled), book, crew, n)

    def setup(self, policy: str, seed: int, serving: Serving, spending: Spending) -> Setup:
        """How one of the two plays."""
        from tmcli.episode import Limits
        from tmcli.policies import Sampling
        from tmcli.runner import Setup

        return Setup(
            policy,
            Sampling(self.temperature, 1.0, MAX_NEW_TOKENS, seed),
            Limits("trial", max_turns=self.max_turns, max_tokens=MAX_TOKENS),
            serving.service(self.concurrency),
            self.concurrency,
            spending.price(policy),
            spending.budget(),
            self.timeout,
            self.simulate,
        )

    @contextmanager
    def crew(self, seed: int, serving: Serving, spending: Spending) -> Iterator[Crew]:
        """Who proposes and who solves."""
        from tmcli.steps.generate.crew import Crew

        assert self.teacher is not None
        with ExitStack() as stack:
            made = self.setup(self.teacher, seed, serving, spending)
            teacher = solver = stack.enter_context(made.open())
            if self.solver not in (None, self.teacher):
                other = self.setup(str(self.solver), seed, serving, spending)
                solver = stack.enter_context(other.open())
            yield Crew(teacher, solver, made.limits, made.budget)


def refuse(**given: Any) -> None:
    """Options that --generate does not take. Raises `UsageError` for the first that is given."""
    for word, (value, remedy) in given.items():
        if value:
            name = word if word.isupper() else f"--{word.replace('_', '-')}"
            raise UsageError(f"{name} does not go with --generate", remedy)
