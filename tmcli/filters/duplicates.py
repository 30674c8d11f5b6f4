"""Exact duplicates: the same task, calls and answer as one that was kept before.

seen = Seen()
if seen.add(fingerprint(view)): ...     # it is new
"""

from __future__ import annotations

import hashlib
from array import array

import orjson

from tmcli.filters.view import View

_CANONICAL = orjson.OPT_SORT_KEYS | orjson.OPT_NON_STR_KEYS


def fingerprint(view: View) -> int:
    """What duplicates share, in 64 bits: task, phases, names and canonical arguments of the calls, the
    answer, and whether there was a hint. Of 10 million different ones,
    two are the same once in 400,000 runs."""
    calls = [
        (turn["phase"], call["name"], call.get("arguments")) for turn in view.turns for call in turn["calls"]
    ]
    hinted = any(turn.get("hint") for turn in view.turns)
    what = orjson.dumps((view.task.id, calls, view.prediction, hinted), default=repr, option=_CANONICAL)
    return int.from_bytes(hashlib.blake2b(what, digest_size=8).digest(), "little") or 1


class Seen:
    """A set of 64-bit numbers other than 0, in 11 to 22 bytes each: a table with open addressing."""

    def __init__(self) -> None:
        self._bits = 10
        self._table = array("Q", bytes(8 << self._bits))
        self._n = 0

    def __len__(self) -> int:
        return self._n

    def add(self, number: int) -> bool:
        """Remember it; was it new?"""
        table, mask = self._table, (1 << self._bits) - 1
        at = number & mask
        while there := table[at]:
            if there == number:
                return False
            at = (at + 1) & mask
        table[at] = number
        self._n += 1
        if 4 * self._n > 3 << self._bits:
            self._grow()
        return True

    def _grow(self) -> None:
        old, self._bits = self._table, self._bits + 1
        self._table = table = array("Q", bytes(8 << self._bits))
        mask = (1 << self._bits) - 1
        for number in old:
            if number:
                at = number & mask
                while table[at]:
                    at = (at + 1) & mask
                table[at] = number
