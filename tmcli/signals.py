"""Signals, told to who plays: what is finished is never lost.

    signals.install()                          # `app.py`, once
    with signals.told_to(player.stop):         # `stop(now)` is called; False: it can do nothing about it
        ...

Ctrl-C asks to finish what runs. Ctrl-C again, SIGTERM and SIGHUP ask to stop now: who was told has a moment
to hand over what is finished, then KeyboardInterrupt is raised wherever the main thread is (in a write that
nobody reads, for instance). A third signal raises at once, and so does the first where nobody is told.
"""

from __future__ import annotations

import atexit
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

GRACE_S = 3.0
"""How long handing over may take after a stop, if nobody asks for more."""

_told: list[tuple[Callable[[bool], bool], float]] = []
_came: list[int] = []
"""The signals of this run, in order."""


def install() -> None:
    """Have Ctrl-C, SIGTERM and SIGHUP end this process in our way."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # in the background of a script: still deaf to it
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    signal.signal(signal.SIGINT, _came_in)
    atexit.register(signal.signal, signal.SIGINT, signal.SIG_IGN)  # else one more kills the teardown
    for number in (signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(number) is signal.SIG_DFL:
            signal.signal(number, _came_in)


@contextmanager
def told_to(stop: Callable[[bool], bool], grace_s: float = GRACE_S) -> Iterator[None]:
    """`stop(now)` is told of signals. It is called in a signal handler: it must only pass the word on."""
    told = (stop, grace_s)
    _told.append(told)
    try:
        yield
    finally:
        _told.remove(told)
        if _came:
            signal.setitimer(signal.ITIMER_REAL, 0)


def interrupted() -> bool:
    """Did a signal come that ended nothing by itself?"""
    return bool(_came)


def exit_code(code: int) -> int:
    """The exit code of a command that ended with `code`: 128 + the signal, where one ended it."""
    other = [number for number in _came if number != signal.SIGINT]
    return 128 + other[-1] if other and code == 130 else code


def _came_in(number: int, frame: Any) -> None:  # noqa: ARG001 - as Python calls it
    before = len(_came) > 1 or (bool(_came) and _came[0] != signal.SIGINT)
    now = number != signal.SIGINT or bool(_came)
    _came.append(number)
    if before or not (heard := [grace_s for stop, grace_s in _told if stop(now)]):
        raise KeyboardInterrupt
    if now:
        signal.signal(signal.SIGALRM, _too_late)
        signal.setitimer(signal.ITIMER_REAL, max(heard))


def _too_late(number: int, frame: Any) -> None:  # noqa: ARG001
    if _told:
        raise KeyboardInterrupt
