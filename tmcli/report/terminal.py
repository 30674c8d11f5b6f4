"""Lines for a terminal: coloured by their part, and unable to steer it.

    text(line)                       # one plain line
    coloured(line, pattern)          # with colours, what `pattern` finds in reverse
    with paged(out) as sink: ...     # through PAGER, or `less -R`; ends quietly when the reader quits

Colours are the terminal's own sixteen, so that they suit light and dark ones.
"""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import cache
from typing import IO, TYPE_CHECKING

from tmcli import console
from tmcli.report.transcript import Line

if TYPE_CHECKING:
    from tmcli.report.grep import Grep

STYLES = {
    "head": "bold",
    "user": "bold",
    "trial": "bold cyan",
    "execution": "bold blue",
    "invalid": "bold red",
    "try": "cyan",
    "learned": "green",
    "answer": "bold",
    "hint": "magenta",
    "call": "yellow",
    "wasted": "dim yellow",
    "reply": "dim",
    "error": "red",
    "right": "bold green",
    "wrong": "bold red",
    "unknown": "bold yellow",
    "score": "dim",
    "same": "dim",
    "removed": "red",
    "added": "green",
    "differs": "bold",
}
"""What is not named here has no colour of its own."""

LESS = "FRX"
"""Leave when it fits one screen, let colours through, keep the text on the screen: as git asks it to."""


def text(line: Line) -> str:
    """One line, whatever it holds.

    >>> text(Line("a\\x1b[2J\\nb"))
    'a\\\\x1b[2J\\\\nb'
    """
    return console.safe(line.text).replace("\n", "\\n")


def coloured(line: Line, grep: Grep | None = None) -> str:
    """The same, coloured."""
    plain = text(line)
    style = STYLES.get(line.part, "")
    spans = grep.spans(plain) if grep else []
    out = ""
    end = 0
    for start, stop in spans:
        out += _styled(plain[end:start], style) + _styled(plain[start:stop], f"{style} reverse".strip())
        end = stop
    return out + _styled(plain[end:], style)


def has_colour(*, terminal: bool) -> bool:
    """May what goes to this stdout be coloured?"""
    return terminal and os.environ.get("TERM") != "dumb" and not os.environ.get("NO_COLOR")


def _styled(words: str, style: str) -> str:
    if not words or not style:
        return words
    before, after = _codes(style)
    return f"{before}{words}{after}"


@cache
def _codes(style: str) -> tuple[str, str]:
    from rich.color import ColorSystem
    from rich.style import Style

    before, _, after = Style.parse(style).render("|", color_system=ColorSystem.STANDARD).partition("|")
    return before, after


# ---- the pager -----------------------------------------------------------------------------------


def pager() -> list[str] | None:
    """The command of PAGER, else less; None where there is none, or it is `cat`."""
    words = shlex.split(os.environ.get("PAGER", "less -R"))
    if not words or words[0] == "cat" or os.environ.get("TERM") == "dumb" or shutil.which(words[0]) is None:
        return None
    return words


@contextmanager
def paged(command: list[str], fd: int) -> Iterator[IO[bytes]]:
    """What to write to; `fd` is the terminal. The reader may quit at any time: then nothing more is written
    and the block is left. It ends when the pager does, whatever else happened."""
    environment = {"LESS": LESS} | os.environ
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=fd, env=environment)
    assert process.stdin is not None
    try:
        with suppress(BrokenPipeError):
            yield process.stdin
            process.stdin.flush()
    finally:
        with suppress(BrokenPipeError):
            process.stdin.close()
        while True:
            with suppress(KeyboardInterrupt):  # it is for the pager, which goes on
                process.wait()
                break
