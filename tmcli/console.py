"""What a person reads: notes, warnings, progress and tables, all on stderr.

Nothing here touches stdout, and no error is made here. `app.py` calls `configure` once per command. A live
line (rich) is drawn only on a terminal; elsewhere long work says a plain line every ten seconds, so that
`make demo | tee log` shows life. NO_COLOR and TERM=dumb are obeyed.
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from time import monotonic
from typing import NamedTuple

EVERY_S = 10.0
"""How often long work speaks where no live line can be drawn."""

HZ = 5.0
"""How often a live line is drawn anew, by a thread of its own: saying that one more is done costs nothing."""


class Settings(NamedTuple):
    """How to speak."""

    command: str = "tm"
    """Who speaks, e.g. `tm filter`."""
    quiet: bool = False
    """Only warnings and errors."""
    verbose: bool = False
    """Tracebacks of errors, and each request that is made again."""


settings = Settings()


def configure(command: str, *, quiet: bool = False, verbose: bool = False) -> None:
    """Set once, when a command starts."""
    global settings  # noqa: PLW0603 - a process has one console
    settings = Settings(command, quiet, verbose)


def note(message: str) -> None:
    """Something worth knowing; silent under -q."""
    if not settings.quiet:
        _say(f"{settings.command}: {safe(message)}")


def detail(message: str) -> None:
    """Something that explains a run; shown under -v."""
    if settings.verbose:
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


class Piece(NamedTuple):
    """One fact on a live line."""

    text: str
    weight: int
    """Where the line is too short, the lightest goes first."""


class Progress:
    """How far long work has come."""

    def __init__(self, total: int | None, label: str, more: Callable[[], Iterable[Piece]] = tuple) -> None:
        self.total = total
        self.label = label
        self.more = more
        self.done = 0
        self.before = 0
        """How many were done when this began."""
        self.counts: dict[str, int] = {}
        self.measured: dict[str, float] = {}
        self.live = False
        self.started_at = self.said_at = monotonic()

    @property
    def seconds(self) -> float:
        return monotonic() - self.started_at

    @property
    def made(self) -> int:
        """How many were done here."""
        return self.done - self.before

    def advance(self, n: int = 1, **counts: int) -> None:
        """`n` more are done; `counts` adds to named numbers (`ok=1, errors=2`)."""
        self.done += n
        for name, more in counts.items():
            self.counts[name] = self.counts.get(name, 0) + more
        if not self.live and monotonic() - self.said_at >= EVERY_S:
            self.said_at = monotonic()
            note(", ".join([self.line(), *(piece.text for piece in self.more()), *self._eta()]))

    def step(self, step: int, total: int, logs: Mapping[str, float]) -> None:
        """A trainer stands at `step` of `total`; what it measured is shown beside it. Without a measure, it
        goes on from there."""
        self.total = total
        if not logs:
            self.done = self.before = step
            return
        self.measured = {name: value for name, value in logs.items() if isinstance(value, (int, float))}
        self.advance(step - self.done)

    def line(self) -> str:
        """`episodes: 40 of 200 in 61 s (ok 38, invalid 2), 0.66/s`"""
        of = "" if self.total is None else f" of {self.total}"
        counts = ", ".join(self._counts())
        seconds = self.seconds
        speed = f", {rate(self.made, seconds)}" if self.made and seconds >= 1 else ""
        return f"{self.label}: {self.done}{of} in {seconds:.0f} s{f' ({counts})' if counts else ''}{speed}"

    def live_line(self, width: int) -> str:
        """As much of what is known as fits, the most important first to stay."""
        of = "" if self.total is None else f"/{self.total}"
        pieces = [Piece(f"{self.label} {self.done}{of}", 100)]
        if self.total:
            pieces.append(Piece(f"{self.done / self.total:.0%}", 20))
        pieces += (Piece(count, 80) for count in self._counts() if not count.endswith(" 0"))
        if self.made:
            pieces.append(Piece(rate(self.made, self.seconds), 60))
        pieces += self.more()
        pieces += (Piece(eta, 70) for eta in self._eta())
        if not self.done:
            pieces.append(Piece(clock(self.seconds), 70))
        return fit(pieces, width)

    def _eta(self) -> list[str]:
        left = 0 if self.total is None else self.total - self.done
        return [f"eta {clock(left * self.seconds / self.made)}"] if self.made and left > 0 else []

    def _counts(self) -> list[str]:
        # a snapshot: the live line is drawn from a thread of its own
        measured = (f"{name} {figure(value)}" for name, value in list(self.measured.items()))
        return [*(f"{name} {count}" for name, count in list(self.counts.items())), *measured]


def fit(pieces: Iterable[Piece], width: int) -> str:
    """The pieces in their order, in one line of `width` characters; the lightest are left out, of equal ones
    the last. The heaviest is cut where even that is too long.

    >>> fit([Piece("sft 3/9", 100), Piece("33%", 20), Piece("loss 1.2", 80)], 18)
    'sft 3/9  loss 1.2'
    """
    left = list(pieces)
    while len(left) > 1 and len("  ".join(piece.text for piece in left)) > width:
        del left[min(range(len(left)), key=lambda i: (left[i].weight, -i))]
    return "  ".join(piece.text for piece in left)[: max(0, width)]


def figure(value: float) -> str:
    """Three digits that count, and no exponent where there are more.

    >>> figure(0.12345), figure(1234.5)
    ('0.123', '1234')
    """
    return f"{value:.0f}" if 1000 <= abs(value) < 1e9 else f"{value:.3g}"


def rate(n: float, seconds: float) -> str:
    """How fast.

    >>> rate(1234, 10), rate(66, 100), rate(1, 100)
    ('123/s', '0.66/s', '0.6/min')
    """
    per_s = n / max(seconds, 1e-3)
    if per_s < 0.1:
        return f"{per_s * 60:.1f}/min"
    return f"{per_s:.0f}/s" if per_s >= 100 else f"{per_s:.2g}/s"


def clock(seconds: float) -> str:
    """A span of time.

    >>> clock(7), clock(192), clock(4000), clock(1e9)
    ('0:07', '3:12', '1:06:40', '11574 days')
    """
    whole = int(seconds)
    if whole >= 100 * 3600:
        return f"{whole // 86400} days"
    hours, rest = divmod(whole, 3600)
    return f"{hours}:{rest // 60:02}:{rest % 60:02}" if hours else f"{rest // 60}:{rest % 60:02}"


@contextmanager
def progress(
    total: int | None, label: str, more: Callable[[], Iterable[Piece]] = tuple
) -> Iterator[Progress]:
    """Show progress; one summary line at the end, also when it ends early. `more`: what else there is."""
    state = Progress(total, label, more)
    try:
        if is_live() and not settings.quiet:
            with _drawn(state):
                yield state
        else:
            yield state
    finally:
        note(state.line())


@contextmanager
def _drawn(state: Progress) -> Iterator[None]:
    from rich.console import Console, ConsoleOptions, RenderResult
    from rich.live import Live
    from rich.text import Text

    class Line:
        def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
            # one column is left free: some terminals wrap when the last is filled
            text = safe(state.live_line(options.max_width - 1)).replace("\n", " ")
            yield Text(text, no_wrap=True, overflow="crop", end="")

    # a warning in between is printed above the line, since rich stands in for sys.stderr meanwhile
    console = Console(stderr=True, highlight=False)
    with Live(Line(), console=console, refresh_per_second=HZ, transient=True):
        state.live = True
        try:
            yield
        finally:
            state.live = False


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
