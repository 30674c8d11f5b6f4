"""The one tree of errors. Each says what is wrong and what to do next; `app.py` alone prints them.

    TmError
    ├── UsageError          wrong options, or a name nobody knows            exit 2
    ├── InputError          a record or file that cannot be read             exit 2
    ├── OutputError         a file that cannot or must not be written        exit 2
    ├── RunError            it ran, but failed or missed a threshold         exit 1
    ├── Spent               the run's budget is used up                      (ends a run, exit 0)
    └── InfrastructureError the world broke, not the model                   (never ends a run)
        ├── PolicyFailure       no answer from a model or its server
        └── EnvironmentFailure  no answer from a tool's machinery

What a *tool* answers, errors included, is data for the model and never one of these. An
`InfrastructureError` makes its trajectory `invalid` (reward null), see `episode.py`.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class TmError(Exception):
    """A sentence for the user: what is wrong, and the remedy."""

    exit_code = 1

    def __init__(self, problem: str, remedy: str = "") -> None:
        super().__init__(problem, remedy)
        self.problem = problem
        self.remedy = remedy

    def __str__(self) -> str:
        return f"{self.problem}; {self.remedy}" if self.remedy else self.problem


class UsageError(TmError):
    """Wrong options, or a name nobody knows."""

    exit_code = 2


class InputError(TmError):
    """A record that cannot be read: `file:line: [field:] problem; remedy`.

    Raised without a place by `records.py`; the reader in `io.py` adds file and line with `at`.
    """

    exit_code = 2

    def __init__(
        self,
        problem: str,
        remedy: str = "",
        *,
        field: str = "",
        source: str = "",
        line: int | None = None,
    ) -> None:
        super().__init__(problem, remedy)
        self.field = field
        self.source = source
        self.line = line

    def at(self, source: str, line: int | None) -> InputError:
        """The same error with its place; a place already known is kept."""
        if self.source:
            return self
        return InputError(self.problem, self.remedy, field=self.field, source=source, line=line)

    def __str__(self) -> str:
        place = f"{self.source}:{self.line}" if self.line is not None else self.source
        parts = [part for part in (place, self.field) if part]
        return ": ".join([*parts, super().__str__()])


class OutputError(TmError):
    """A file that cannot be written, or that must not be overwritten."""

    exit_code = 2


class RunError(TmError):
    """The step ran and failed, or missed a threshold the user set."""

    exit_code = 1


class Spent(TmError):
    """The budget is used up. No new episode starts, the one that met this is dropped and not written, and
    the run ends well (exit 0) with a warning: whoever sets a budget means it to be kept."""

    exit_code = 0


class InfrastructureError(TmError):
    """The world broke, not the model: the episode is `invalid` and has no reward."""


class PolicyFailure(InfrastructureError):
    """No answer from a model or its server."""


class EnvironmentFailure(InfrastructureError):
    """No answer from a tool's machinery (a dead worker, an unreachable server)."""


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """A remedy for an unknown name: the closest one, else all of them.

    >>> did_you_mean("libary", ["library", "weather"])
    "did you mean 'library'?"
    >>> did_you_mean("x", ["library", "weather"])
    'known are: library, weather'
    """
    names = sorted(known)
    close = difflib.get_close_matches(name, names, n=1)
    return f"did you mean {close[0]!r}?" if close else f"known are: {', '.join(names) or 'none'}"
