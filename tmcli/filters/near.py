"""Near duplicates: who shares most of its words, or most of its calls, with one that was kept.

    keys = WordKeys(0.9)                              # in a worker; CallKeys looks at the calls alone
    made = keys.of_all([keys.take(view) for view in views])
    seen = NearSeen(0.9)                              # in one place, in input order
    kept = [view for view, key in zip(views, made) if not seen.seen(key)]

Two trajectories are as near as the Jaccard likeness of their shingles: runs of five words of the question, of
what the model said and of its calls; or the calls (name and arguments) and their pairs of neighbours. MinHash
(`rensa`) tells it by 256 slots, of which a key holds a bit each, after P. Li and A. C. König, "b-Bit Minwise
Hashing", 2010: an estimate with a standard error of 0.027 at 0.9, in 32 bytes. Who comes into question, tell
bands of slots that are wholly equal (LSH); a band alone drops nothing, the estimate decides. With 0.9, of
pairs that are 0.95 alike 98 of 100 are found, and of those 0.8 alike one in 1000 is taken for near.
"""

from __future__ import annotations

import math
import os
import struct
import sys
from array import array
from itertools import pairwise

os.environ.setdefault("RAYON_NUM_THREADS", "1")  # a worker is one process on one core: -j says how many

import numpy as np
import rensa

from tmcli.errors import UsageError
from tmcli.filters.view import View
from tmcli.filters.words import words

SLOTS = 256
SEED = 1
LEAST, MOST = 0.5, 1.0
"""Thresholds that can be kept."""

_BITS = SLOTS // 8

Taken = list[str]
"""What a key is made of: texts, of which so many in a row make a shingle."""


def bands_of(threshold: float) -> tuple[int, int]:
    """How many bands, and how many slots each has: of two as near as the threshold, 95 of 100 share a band.

    >>> bands_of(0.9), bands_of(0.8), bands_of(0.5)
    ((5, 7), (10, 6), (16, 2))

    Raises `UsageError` for a threshold that cannot be kept.
    """
    if not LEAST <= threshold <= MOST:
        problem = f"near duplicates from a likeness of {threshold:g} on"
        raise UsageError(problem, f"give a number from {LEAST} to {MOST:g}, such as 0.9")
    for bands in range(5, 17):
        least = math.log(1 - 0.05 ** (1 / bands))
        slots = 16 if threshold == 1 else min(16, math.floor(least / math.log(threshold)))
        if slots >= 6:
            break
    return bands, slots


# ---- keys ------------------------------------------------------------------------------------------


class _Keys:
    """What makes keys: `take` looks at one trajectory, `of_all` at many at once, which is quicker."""

    run: int
    """Texts in a shingle."""

    def __init__(self, threshold: float) -> None:
        self.bands, self.slots = bands_of(threshold)

    def take(self, view: View) -> Taken:
        raise NotImplementedError

    def of(self, view: View) -> bytes:
        return self.of_all([self.take(view)])[0]

    def of_all(self, taken: list[Taken]) -> list[bytes]:
        """A key each, of 32 bytes and 4 a band; b"" where there is nothing to compare."""
        rows = [some + [""] * (self.run - len(some)) for some in taken if some]
        if not rows:
            return [b""] * len(taken)
        found = rensa.RMinHash.digest_matrix_from_flat_token_hashes(*self._shingles(rows), SLOTS, SEED)
        slots = np.frombuffer(_flat("I", found.to_rows()), np.uint32).reshape(len(rows), SLOTS)
        banded = slots[:, : self.bands * self.slots].reshape(len(rows), self.bands, self.slots)
        bands = _mixed((banded * _ODD[: self.slots]).sum(axis=2, dtype=np.uint64)) >> _HALF
        keys = np.empty((len(rows), _BITS + 4 * self.bands), np.uint8)
        keys[:, :_BITS] = np.packbits((slots & 1).astype(np.uint8), axis=1)
        keys[:, _BITS:] = bands.astype("<u4").view(np.uint8)
        left = iter(keys)
        return [next(left).tobytes() if some else b"" for some in taken]

    def _shingles(self, rows: list[Taken]) -> tuple[_Numbers, _Numbers]:
        """The hashes of all shingles, and where those of each row begin and end."""
        flat = _mixed(np.frombuffer(_flat("Q", rensa.RMinHash.hash_token_sets(rows)), np.uint64))
        lengths = np.fromiter(map(len, rows), np.int64, len(rows))
        ends = lengths.cumsum()
        n = len(flat) - self.run + 1
        runs = sum((flat[i : n + i] * _ODD[i] for i in range(1, self.run)), flat[:n] * _ODD[0])
        inside = np.ones(len(flat), bool)
        for i in range(1, self.run):
            inside[ends - i] = False  # a run from here ends in the next row
        offsets = np.concatenate(([0], (lengths - self.run + 1).cumsum()))
        return _mixed(runs[inside[:n]]), offsets.astype(np.uint64)


class WordKeys(_Keys):
    """By the words of the question, of what the model said, and of its calls."""

    run = 5

    def take(self, view: View) -> Taken:
        calls = (call.key.decode() for call in view.calls)
        return words("\n".join([view.question, *view.said, *calls]))


class CallKeys(_Keys):
    """By the calls: each with its arguments, and each with the one after it."""

    run = 1

    def take(self, view: View) -> Taken:
        calls = [call.key.decode() for call in view.calls if call.readable]
        return calls + [f"{one}\n{next_one}" for one, next_one in pairwise(calls)]


_Numbers = np.ndarray[tuple[int], np.dtype[np.uint64]]

_HALF = np.uint64(32)
_GOLDEN = 0x9E3779B97F4A7C15


def _flat(kind: str, rows: list[list[int]]) -> array[int]:
    """All numbers in a row; many times quicker than NumPy is with lists."""
    flat: array[int] = array(kind)
    for row in rows:
        flat.fromlist(row)
    return flat


def _mixed(numbers: _Numbers) -> _Numbers:
    """Each number's bits spread over all 64 (the finalizer of SplitMix64)."""
    numbers = (numbers ^ (numbers >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    numbers = (numbers ^ (numbers >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return numbers ^ (numbers >> np.uint64(31))


_ODD = _mixed(np.arange(1, 17, dtype=np.uint64) * np.uint64(_GOLDEN)) | np.uint64(1)
"""What texts of a shingle, and slots of a band, are multiplied by: their order matters then."""

# ---- what was kept ---------------------------------------------------------------------------------


class NearSeen:
    """Keys of what was kept, in 32 bytes and 6 to 10 a band each: 62 to 85 for 0.9.

    Each band has a table of chains, newest first. Tables are never made again: a full one is left as it is,
    and one of twice the size is begun, until all are looked at for each key.
    """

    def __init__(self, threshold: float) -> None:
        self._bands = bands_of(threshold)[0]
        self._unpack = struct.Struct(f"<{self._bands}I").unpack_from
        self._far = math.floor(SLOTS / 2 * (1 - threshold) + 1e-9)
        """In how many bits two keys differ at most: of slots that are not equal, half have equal bits."""
        self._tables = [_Table(self._bands, FIRST)]

    def seen(self, key: bytes) -> bool:
        """Is it near to one that is remembered? If not, it is remembered from now on."""
        if self.near(key):
            return True
        self.add(key)
        return False

    def near(self, key: bytes) -> bool:
        """Is it near to one that is remembered?"""
        if not key:
            return False
        bits, bands = int.from_bytes(key[:_BITS], "little"), self._unpack(key, _BITS)
        return any(table.near(bits, bands, self._far) for table in self._tables)

    def add(self, key: bytes) -> None:
        """Remember it."""
        if not key:
            return
        if self._tables[-1].full:
            self._tables.append(_Table(self._bands, 2 * self._tables[-1].size))
        self._tables[-1].add(key[:_BITS], self._unpack(key, _BITS))

    @property
    def nbytes(self) -> int:
        """What it holds in memory."""
        return sum(table.nbytes for table in self._tables)


FIRST = 1 << 13
"""Keys in the first table."""

LOOK = 64
"""Keys of a chain that are compared: the newest. Only where very many are somewhat alike are there more."""


class _Table:
    """So many keys, and for each band where those begin that share it."""

    def __init__(self, bands: int, size: int) -> None:
        self.size = size
        self._chains = size // 2  # two keys share one by chance
        self._bands = bands
        self._bits = bytearray()
        self._first = array("I", bytes(4 * bands * self._chains))
        self._next = array("I")

    def near(self, bits: int, bands: tuple[int, ...], far: int) -> bool:
        keys, after = self._bits, self._next
        for i, band in enumerate(bands):
            row = self._first[i * self._chains + band % self._chains]
            for _ in range(LOOK):
                if not row:
                    break
                at = _BITS * (row - 1)
                if (bits ^ int.from_bytes(keys[at : at + _BITS], "little")).bit_count() <= far:
                    return True
                row = after[self._bands * (row - 1) + i]
        return False

    def add(self, bits: bytes, bands: tuple[int, ...]) -> None:
        self._bits += bits
        row = len(self._bits) // _BITS
        for i, band in enumerate(bands):
            at = i * self._chains + band % self._chains
            self._next.append(self._first[at])
            self._first[at] = row

    @property
    def full(self) -> bool:
        return len(self._bits) >= _BITS * self.size

    @property
    def nbytes(self) -> int:
        return sum(map(sys.getsizeof, (self._bits, self._first, self._next)))
