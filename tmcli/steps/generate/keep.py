"""Outcomes on their way into the book, with progress, and the sum told.

    keep(generate(catalog, crew, n, seed, agree, book.settled), book, crew, n)
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from tmcli import console, ledger
from tmcli.catalog import Catalog
from tmcli.console import Piece
from tmcli.errors import RunError
from tmcli.estimate import estimate
from tmcli.meter import dollars
from tmcli.runner import Job, Setup
from tmcli.steps.generate.agreement import Agree
from tmcli.steps.generate.book import Book, summary
from tmcli.steps.generate.candidate import Outcome
from tmcli.steps.generate.crew import Crew
from tmcli.steps.generate.plan import draw_for


def keep(outcomes: Iterable[Outcome], book: Book, crew: Crew, n: int) -> None:
    """Write each outcome as it comes. Raises `RunError` when no task was kept at all."""
    already = len(book.settled.kept)
    if already >= n:
        console.note(f"nothing to do: {already} tasks are there")
        return
    try:
        with console.progress(n - already, "tasks", lambda: _live(crew)) as bar:
            crew.heard = lambda: bar.advance(0)
            for outcome in outcomes:
                book.write(outcome)
                bar.advance(int(outcome.task is not None), dropped=int(outcome.task is None))
    finally:
        console.note(summary(book.settled))
        for runner in crew.runners:
            if used := ledger.spent(runner.meter):
                console.note(f"{runner.policy.name}: {used}")
    _tell(book, crew, n)


def estimated(catalog: Catalog, setup: Setup, n: int, seed: int, agree: Agree) -> None:
    """What `n` proposals would ask for: an episode that proposes and those that solve, each; guesses are
    hardly anything beside them."""
    each = tuple(range(1 + agree.of))
    estimate((Job(draw_for(catalog, seed, number).task(), each) for number in range(n)), setup).tell()
    console.note(
        f"that is for {n:,} proposals, each played {1 + agree.of} times; how many are kept only the run"
        " tells: reckon with two for a task"
    )


def _tell(book: Book, crew: Crew, n: int) -> None:
    """What a person must know about a run that ended without an error."""
    kept = len(book.settled.kept)
    if crew.failure:
        console.warn(f"some proposals could not be decided: {crew.failure}; --resume makes them again")
    if crew.stopped:
        console.warn(f"stopped early: {crew.stopped}")
    elif not kept:
        first = next(iter(book.settled.dropped.values()), {"why": crew.failure or "none was made"})
        raise RunError(
            f"none of {len(book.settled.dropped)} proposals could be kept; the first: {first['why']}",
            "read the dropped ones; try a stronger teacher, or a smaller --agree",
        )
    elif kept < n:
        console.warn(
            f"{kept} of {n} tasks: nothing new was kept any more; another --seed, a stronger teacher or a"
            " smaller --agree may bring more"
        )


def _live(crew: Crew) -> Iterator[Piece]:
    """What goes on, beside the counts."""
    if crew.doing:
        yield Piece(crew.doing, 85)
    usd = [runner.meter.usd for runner in crew.runners]
    if all(part is not None for part in usd):
        yield Piece(dollars(sum(part or 0.0 for part in usd)), 75)
    if running := crew.teacher.running or crew.solver.running:
        yield Piece(f"{running} running", 50)
