"""What a person reads: notes, warnings, progress and tables, all on stderr.

Nothing here touches stdout, and no error is made here. `app.py` calls `configure` once per command. A live
bar (rich) is drawn only on a terminal; elsewhere long work says a plain line every ten seconds, so that
`make demo | tee log` shows life. NO_COLOR and TERM=dumb are obeyed.
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from time import monotonic
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from rich.progress import Progress as Bar
    from rich.progress import TaskID

EVERY_S = 10.0
"""How often long work speaks where no live bar can be drawn."""


class Settings(NamedTuple):
    """How to speak."""

    command: str = "tm"
    """Who speaks, e.g. `tm filter`."""
    quiet: bool = False
    """Only warnings and errors."""
    verbose: bool = False
    """Tracebacks of errors."""


settings = Settings()


def configure(command: str, *, quiet: bool = False, verbose: bool = False) -> None:
    """Set once, when a command starts."""
    global settings  # noqa: PLW0603 - a process has one console
    settings = Settings(command, quiet, verbose)


def note(message: str) -> None:
    """Something worth knowing; silent under -q."""
    if not settings.quiet:
        _say(f"{settings.command}: {safe(message)}")


def warn(message: str) -> None:
    """Something to look at."""
    _say(f"{settings.command}: {_style('warning:', '33')} {safe(message)}")


def error(message: str) -> None:
    """Why the command stops. Called by `app.py` alone."""
    _say(f"{settings.command}: {safe(message)}")


def is_live() -> bool:
    """May lines be redrawn?"""
    return sys.stderr is not None and sys.stderr.isatty() and os.environ.get("TERM") != "dumb"


def has_colour() -> bool:
    """May text be coloured?"""
    return is_live() and not os.environ.get("NO_COLOR")


_CONTROL = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069\ufeff]")


def safe(text: object) -> str:
    """Text from elsewhere, made unable to move the cursor, to colour, or to turn the writing direction.

    >>> safe("a\\x1b[31mb")
    'a\\\\x1b[31mb'
    """
    return _CONTROL.sub(lambda match: ascii(match.group())[1:-1], str(text))


def _style(text: str, code: str) -> str:
    return f"\x1b[{code}m{text}\x1b[0m" if has_colour() else text


def _say(line: str) -> None:
    write(line + "\n")


def write(text: str) -> None:
    """Text as it is. Use `note`, `warn` or `table` where they fit."""
    if sys.stderr is None:  # closed by the caller
        return
    try:
        sys.stderr.write(text)
        sys.stderr.flush()
    except OSError:  # nobody listens any more: not worth stopping for
        pass


# ---- progress ------------------------------------------------------------------------------------


class Progress:
    """How far long work has come."""

    def __init__(self, total: int | None, label: str) -> None:
        self.total = total
        self.label = label
        self.done = 0
        self.counts: dict[str, int] = {}
        self.measured: dict[str, float] = {}
        self.started_at = self.said_at = monotonic()
        self.bar: Bar | None = None
        self.row: TaskID | None = None

    def advance(self, n: int = 1, **counts: int) -> None:
        """`n` more are done; `counts` adds to named numbers (`ok=1, errors=2`)."""
        self.done += n
        for name, more in counts.items():
            self.counts[name] = self.counts.get(name, 0) + more
        if self.bar is not None and self.row is not None:
            self.bar.update(self.row, completed=self.done, counts=self._counts())
        elif monotonic() - self.said_at >= EVERY_S:
            self.said_at = monotonic()
            note(self.line())

    def step(self, step: int, total: int, logs: Mapping[str, float]) -> None:
        """A trainer stands at `step` of `total`; what it measured is shown beside it."""
        self.total = total
        self.measured = {name: value for name, value in logs.items() if isinstance(value, (int, float))}
        if self.bar is not None and self.row is not None:
            self.bar.update(self.row, total=total)
        self.advance(step - self.done)

    def line(self) -> str:
        """`episodes: 40 of 200 in 61 s (ok 38, invalid 2)`"""
        of = "" if self.total is None else f" of {self.total}"
        counts = self._counts()
        seconds = monotonic() - self.started_at
        return f"{self.label}: {self.done}{of} in {seconds:.0f} s{f' ({counts})' if counts else ''}"

    def _counts(self) -> str:
        measured = (f"{name} {value:.3g}" for name, value in self.measured.items())
        return ", ".join([*(f"{name} {count}" for name, count in self.counts.items()), *measured])


@contextmanager
def progress(total: int | None, label: str) -> Iterator[Progress]:
    """Show progress; one summary line at the end, also when it ends early."""
    state = Progress(total, label)
    try:
        if is_live() and not settings.quiet:
            with _bar(state):
                yield state
        else:
            yield state
    finally:
        note(state.line())


@contextmanager
def _bar(state: Progress) -> Iterator[None]:
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn
    from rich.progress import Progress as Bar

    columns = [
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("{task.fields[counts]}", markup=False),
    ]
    # a warning in between is printed above the bar, since rich stands in for sys.stderr meanwhile
    console = Console(stderr=True, highlight=False)
    with Bar(*columns, console=console, transient=True) as bar:
        state.bar, state.row = bar, bar.add_task(safe(state.label), total=state.total, counts="")
        try:
            yield
        finally:
            state.bar = None


# ---- tables --------------------------------------------------------------------------------------


def table(title: str, columns: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """An aligned text table; numbers to the right, None as `-`; silent under -q."""
    if settings.quiet:
        return
    body = [[_cell(value) for value in row] for row in rows]
    numeric = [all(_is_number(row[i]) for row in body) for i in range(len(columns))]
    widths = [max(len(cell) for cell in column) for column in zip(columns, *body, strict=True)]

    def aligned(cells: Sequence[str]) -> str:
        padded = zip(cells, widths, numeric, strict=True)
        return "  ".join(c.rjust(width) if right else c.ljust(width) for c, width, right in padded).rstrip()

    if title:
        _say(_style(safe(title), "1"))
    _say(_style(aligned(columns), "2"))
    for row in body:
        _say(aligned(row))


def _cell(value: object) -> str:
    if value is None:
        return "-"
    return f"{value:.3g}" if isinstance(value, float) else safe(value).replace("\n", " ")


def _is_number(cell: str) -> bool:
    return bool(re.fullmatch(r"-|[-+]?[\d.,]+(e[-+]?\d+)?\s*(%|s|ms)?(\s*[\[(][^a-zA-Z]*[\])])?", cell))
