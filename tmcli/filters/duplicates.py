"""Exact duplicates: the same task, calls and answer as one that was kept before.

seen = Seen()
if seen.add(fingerprint(view)): ...     # it is new
"""

from __future__ import annotations

import hashlib
from array import array
from typing import Any

import orjson

from tmcli.filters.view import View


def fingerprint(view: View) -> int:
    """What duplicates share, in 64 bits: task, phases, names and canonical arguments of the calls, the
    answer, and whether there was a hint. Of 10 million different ones,
    two are the same once in 400,000 runs."""
    hinted = False
    what: list[Any] = [view.task.id, view.prediction]
    for turn in view.turns:
        phase = turn["phase"]
        for call in turn["calls"]:
            what += phase, call["name"], call.get("arguments")
        if turn.get("hint"):
            hinted = True
    what.append(hinted)
    text = orjson.dumps(what, default=repr, option=orjson.OPT_SORT_KEYS)
    return int.from_bytes(hashlib.blake2b(text, digest_size=8).digest(), "little") or 1


class Seen:
    """A set of 64-bit numbers other than 0, in 11 to 22 bytes each: a table with open addressing."""

    def __init__(self) -> None:
        self._bits = 10
        self._table = array("Q", bytes(8 << self._bits))
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
            if 4 * self._n > 3 << self._bits:
                self._grow()

    def _at(self, number: int) -> int:
        """Where it is, or would be."""
        table, mask = self._table, (1 << self._bits) - 1
        at = number & mask
        while (there := table[at]) and there != number:
            at = (at + 1) & mask
        return at

    def _grow(self) -> None:
        old, self._bits = self._table, self._bits + 1
        self._table = array("Q", bytes(8 << self._bits))
        for number in old:
            if number:
                self._table[self._at(number)] = number
