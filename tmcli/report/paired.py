"""Formulas of a paired comparison: one difference a task, b's value less a's.

    mean, interval, p = 0.1, difference_interval(differences), sign_flip(differences)

Both policies played the same tasks, so a task's difficulty cancels out, and the comparison is far sharper
than two intervals that do or do not overlap.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from itertools import compress
from math import sqrt

from tmcli.report.statistics import Z_95, Interval, mean_interval

MOST_UNITS = 64
"""Shares of up to so many samples are counted exactly."""
MOST_BITS = 4_000_000_000
"""About a second of exact counting; where it would take more, signs are drawn."""
DRAWS = 9999


def difference_interval(differences: Sequence[float], *, is_binary: bool = False) -> Interval | None:
    """The 95 % interval of their mean; None for less than two tasks.

    `is_binary`, one right or wrong a task: Bonett and Price 2012 (one task won and one lost are added, so
    that few discordant tasks do not look certain). Anything else: Student's.

    >>> [round(x, 3) for x in difference_interval([1, 1, 0, 0, 0, 0, 0, 0, 0, -1], is_binary=True)]
    [-0.279, 0.445]
    >>> [round(x, 3) for x in difference_interval([0.5, 0.25, 0.75])]
    [-0.121, 1.121]
    """
    n = len(differences)
    if n < 2:
        return None
    if not is_binary:
        return mean_interval([1] * n, differences)
    won, lost = (1 + sum(d == sign for d in differences) for sign in (1, -1))
    centre = (won - lost) / (n + 2)
    half = Z_95 * sqrt(((won + lost) / (n + 2) - centre**2) / (n + 2))
    return max(-1.0, centre - half), min(1.0, centre + half)


def sign_flip(differences: Sequence[float], seed: int = 0) -> float:
    """The two-sided p-value of the sign-flip permutation test: were both policies alike, each difference
    would as likely have the other sign. With one right or wrong a task it is McNemar's exact test.

    Exact for right and wrong, shares and small whole numbers; else from seeded draws (Phipson and Smyth 2010:
    the observed one is counted as a draw, so p is never 0).

    >>> sign_flip([1, 1, 1, 1, 1, -1]), sign_flip([0, 0]), sign_flip([0.5, 0.25, 1.0])
    (0.21875, 1.0, 0.25)
    """
    left = [d for d in differences if d]
    if not left:
        return 1.0
    if len({abs(d) for d in left}) == 1:
        return _binomial(len(left), sum(d > 0 for d in left))
    units = _whole(left)
    if units and sum(map(abs, units)) * len(units) ** 2 <= MOST_BITS:
        return _counted(units)
    return _drawn(left, seed)


def holm(ps: Sequence[float]) -> list[float]:
    """The p-values adjusted for their number (Holm 1979): where one is below 0.05, the chance that any of
    them is by luck is below 0.05 too.

    >>> holm([0.01, 0.04, 0.03])
    [0.03, 0.06, 0.06]
    """
    out = [1.0] * len(ps)
    worst = 0.0
    for rank, i in enumerate(sorted(range(len(ps)), key=ps.__getitem__)):
        worst = out[i] = max(worst, min(1.0, ps[i] * (len(ps) - rank)))
    return out


def _binomial(n: int, k: int) -> float:
    """The chance that of n fair coins at least so many fall alike."""
    term = total = 1
    for i in range(min(k, n - k)):
        term = term * (n - i) // (i + 1)
        total += term
    return min(1.0, 2 * total / (1 << n))


def _whole(differences: Sequence[float]) -> list[int]:
    """The differences in their common unit, as 1/8 for eight samples; [] where there is none."""
    for unit in range(1, MOST_UNITS + 1):
        if all(abs(d * unit - round(d * unit)) < 1e-9 * unit for d in differences):
            return [round(d * unit) for d in differences]
    return []


def _counted(units: Sequence[int]) -> float:
    """The share of all 2^n choices of signs whose sum is as far from 0 as the one seen."""
    sizes = [abs(d) for d in units]
    total, seen = sum(sizes), abs(sum(units))
    width = len(units) // 8 + 1  # bytes that hold any number of choices
    ways = 1  # one number, each `width` bytes of it: in how many ways so much can come out positive
    for size in sizes:
        ways += ways << (8 * width * size)
    digits = ways.to_bytes(width * (total + 1), "little")
    far = sum(
        int.from_bytes(digits[i * width : (i + 1) * width], "little")
        for i in range(total + 1)
        if abs(2 * i - total) >= seen
    )
    return far / (1 << len(units))


def _drawn(differences: Sequence[float], seed: int) -> float:
    """The same share of seeded draws of signs."""
    sizes = [abs(d) for d in differences]
    total, seen = sum(sizes), abs(sum(differences))
    seen -= 1e-9 * total  # sums in another order differ in their last digits
    draws = min(DRAWS, max(999, 5_000_000 // len(sizes)))
    rng = random.Random(seed)
    odd = bytes(i & 1 for i in range(256))
    far = 0
    for _ in range(draws):
        signs = rng.randbytes(len(sizes)).translate(odd)
        far += abs(2 * sum(compress(sizes, signs)) - total) >= seen
    return (far + 1) / (draws + 1)
