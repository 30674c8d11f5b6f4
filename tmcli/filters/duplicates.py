"""Exact duplicates: the same task, calls and answer as one that was kept before.

seen = Seen()
if seen.add(fingerprint(view)): ...     # it is new
"""

from __future__ import annotations

import hashlib
from array import array
from collections.abc import Sequence
from typing import Any

import orjson

from tmcli.filters.shape import AnyTurn, Turn, loosely
from tmcli.filters.view import View


def fingerprint(view: View) -> int:
    """What duplicates share, in 64 bits: task, phases, names and canonical arguments of the calls, the
    answer, and whether there was a hint. Of 10 million different ones, two are the same once in 400,000
    runs."""
    try:
        what = _spelled(_what(view, view.steps))
    except TypeError:  # an integer of more than 64 bits
        what = _exactly(_what(view, loosely(view.turns)))
    return int.from_bytes(hashlib.blake2b(what, digest_size=8).digest(), "little") or 1


def _spelled(what: list[Any]) -> bytes:
    return orjson.dumps(what, default=_none, option=orjson.OPT_SORT_KEYS)


def _exactly(what: list[Any]) -> bytes:
    try:
        return _spelled(what)
    except TypeError:  # nested deeper than orjson writes
        return repr(what).encode()


def _what(view: View, steps: Sequence[Turn | AnyTurn]) -> list[Any]:
    hinted = False
    what: list[Any] = [view.task.id, view.prediction]
    for turn in steps:
        for call in turn.calls:
            what += turn.phase, call.name, call.arguments
        if turn.hint:
            hinted = True
    what.append(hinted)
    return what


def _none(_: object) -> None:
    """For arguments that are not there."""


class Seen:
    """A set of 64-bit numbers other than 0, in 11 to 22 bytes each: a table with open addressing."""

    def __init__(self) -> None:
        self._table = array("Q", bytes(8 << 10))  # always a power of two
        self._n = 0

    def __len__(self) -> int:
        return self._n

    def __contains__(self, number: int) -> bool:
        return bool(self._table[self._at(number)])

    def add(self, number: int) -> None:
        """Remember it."""
        at = self._at(number)
        if not self._table[at]:
            self._table[at] = number
            self._n += 1
            if 4 * self._n > 3 * len(self._table):
                self._grow()

    def _at(self, number: int) -> int:
        """Where it is, or would be."""
        table = self._table
        mask = len(table) - 1
        at = number & mask
        while (there := table[at]) and there != number:
            at = (at + 1) & mask
        return at

    def _grow(self) -> None:
        old = self._table
        self._table = array("Q", bytes(16 * len(old)))
        for number in old:
            if number:
                self._table[self._at(number)] = number
