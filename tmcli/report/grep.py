"""A pattern of the user's, looked for line by line and within a time limit.

    grep = Grep("shelf|(?i)error")
    grep.finds(["no shelf"])        # True

A pattern may be catastrophic, as `(a+)+$` is: a line on which it takes too long is an error that says so.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager

from tmcli.errors import UsageError

MAX_S = 1.0
"""For one line."""


class Grep:
    """The pattern, compiled. Raises `UsageError` where it is none."""

    def __init__(self, pattern: str, max_s: float = MAX_S) -> None:
        import regex

        self.pattern = pattern
        self.max_s = max_s
        try:
            self._compiled = regex.compile(pattern)
        except regex.error as error:
            raise UsageError(
                f"--grep {pattern!r} is no pattern: {error}", r"write ( as \( to mean it"
            ) from error

    def finds(self, lines: Iterable[str]) -> bool:
        """Is it in one of them?"""
        with self._limited():
            return any(self._compiled.search(line, timeout=self.max_s) for line in lines)

    def spans(self, line: str) -> list[tuple[int, int]]:
        """Where it is in this line; what is empty is left out."""
        with self._limited():
            found = [match.span() for match in self._compiled.finditer(line, timeout=self.max_s)]
        return [(start, end) for start, end in found if start < end]

    @contextmanager
    def _limited(self) -> Iterator[None]:
        try:
            yield
        except TimeoutError as error:
            raise UsageError(
                f"--grep {self.pattern!r} takes longer than {self.max_s:g} s on one line",
                "write it without a repetition inside a repetition, as (a+)+ is one",
            ) from error
