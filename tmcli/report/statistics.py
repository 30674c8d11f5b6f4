"""Formulas of evaluation: pure functions of counts, and of sums by cluster.

    share_interval(ns, sums)     # accuracy with its interval: n samples and their sum, one pair a task
    mean_interval(ns, sums)      # the same of anything else: calls, tokens, rewards, also of ratios

Samples of one task are not independent, so a task is a cluster: only tasks count as drawn from many.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from math import atan, comb, cos, pi, sin, sqrt
from typing import NamedTuple

Z_95 = 1.959963984540054
"""The 97.5 % quantile of the normal distribution."""

Interval = tuple[float, float]


def wilson(successes: float, n: float, z: float = Z_95) -> Interval:
    """Wilson's score interval of a proportion (Wilson 1927); (0, 1) when nothing was seen.

    `successes` and `n` may be fractional: an effective number of samples (`share_interval`).

    >>> [round(x, 4) for x in wilson(8, 10)]
    [0.4902, 0.9433]
    >>> wilson(0, 0)
    (0.0, 1.0)
    >>> [round(x, 4) for x in wilson(10, 10)]
    [0.7225, 1.0]
    """
    if n == 0:
        return 0.0, 1.0
    share = successes / n
    centre = share + z * z / (2 * n)
    half = z * sqrt(max(0.0, share * (1 - share)) / n + z * z / (4 * n * n))
    scale = 1 + z * z / n
    low = (centre - half) / scale if successes > 0 else 0.0  # exactly, whatever rounding says
    high = (centre + half) / scale if successes < n else 1.0
    return max(0.0, low), min(1.0, high)


def pass_at_k(n: int, c: int, k: int) -> float:
    """Chance that k of n samples, c of them right, hold a right one: 1 - C(n-c, k) / C(n, k).

    The unbiased estimator of Chen et al. 2021 (arXiv 2107.03374); needs k <= n.

    >>> pass_at_k(4, 1, 1), pass_at_k(4, 1, 2), pass_at_k(4, 4, 4), pass_at_k(4, 0, 4)
    (0.25, 0.5, 1.0, 0.0)
    """
    if not 1 <= k <= n:
        raise ValueError(f"k = {k} is not between 1 and n = {n}")
    return 1.0 - comb(n - c, k) / comb(n, k)


def pass_hat_k(n: int, c: int, k: int) -> float:
    """pass^k, the chance that k of n samples, c of them right, are all right: C(c, k) / C(n, k).

    How reliable a policy is: Yao et al. 2024 (tau-bench, arXiv 2406.12045); needs k <= n.

    >>> pass_hat_k(4, 2, 1), pass_hat_k(4, 3, 2), pass_hat_k(4, 3, 4), pass_hat_k(4, 4, 4)
    (0.5, 0.5, 0.0, 1.0)
    """
    if not 1 <= k <= n:
        raise ValueError(f"k = {k} is not between 1 and n = {n}")
    return comb(c, k) / comb(n, k)


class Clustered(NamedTuple):
    """A ratio of sums over clusters, and how sure it is."""

    mean: float
    variance: float
    """Of the mean."""
    n_clusters: int
    n: float
    n_alike: float
    """How many samples there would be if all of one cluster were the same (Kish 1965)."""


def clustered(ns: Sequence[float], sums: Sequence[float]) -> Clustered | None:
    """sum(sums) / sum(ns) with its cluster-robust variance; None where nothing was seen.

    G/(G-1) * sum((s_g - n_g * mean)^2) / N^2: the ratio estimator of survey sampling (Cochran 1977, 6.3), the
    clustered standard error of Miller 2024 (arXiv 2411.00640) with the CR1 correction for few clusters.

    >>> clustered([1, 1, 1, 1], [1, 0, 1, 1])
    Clustered(mean=0.75, variance=0.0625, n_clusters=4, n=4, n_alike=4.0)
    >>> clustered([2, 2], [2, 0]).variance   # twice the same sample tells no more
    0.25
    """
    n = sum(ns)
    if not n:
        return None
    n_clusters = sum(map(bool, ns))
    mean = sum(sums) / n
    spread = sum([(left := s - m * mean) * left for m, s in zip(ns, sums, strict=True)])
    variance = n_clusters / (n_clusters - 1) * spread / n**2 if n_clusters > 1 else 0.0
    return Clustered(mean, variance, n_clusters, n, n**2 / sum([m * m for m in ns]))


def mean_interval(ns: Sequence[float], sums: Sequence[float]) -> Interval | None:
    """Student's 95 % interval of a mean (or a ratio) over clusters; None for less than two clusters.

    >>> [round(x, 3) for x in mean_interval([1, 1, 1], [1, 2, 3])]
    [-0.484, 4.484]
    """
    found = clustered(ns, sums)
    if found is None or found.n_clusters < 2:
        return None
    half = t_quantile(found.n_clusters - 1) * sqrt(found.variance)
    return found.mean - half, found.mean + half


def share_interval(ns: Sequence[float], sums: Sequence[float], most: float | None = None) -> Interval | None:
    """Wilson's interval at the effective number of samples; None where nothing was seen.

    One sample a task: Wilson's interval, exactly. Several: its n is how many independent samples would be as
    sure (the design effect), corrected for few tasks as by Korn and Graubard 1998; never less than if all
    samples of a task were the same, nor more than `most`, the samples there are. Franco et al. 2019 (J. Surv.
    Stat. Methodol. 7) compare such intervals.

    >>> share_interval([1] * 10, [1] * 8 + [0] * 2) == wilson(8, 10)
    True
    >>> share_interval([4, 4], [4, 4]) == wilson(2, 2)
    True
    """
    found = clustered(ns, sums)
    if found is None:
        return None
    most = found.n if most is None else most
    share = found.mean
    effective = found.n_alike
    if 0 < share < 1 and found.n_clusters > 1:
        few = (t_quantile(max(1, round(most) - 1)) / t_quantile(found.n_clusters - 1)) ** 2
        independent = found.n * share * (1 - share) / max(1e-300, (found.n - 1) * found.variance)
        effective = max(effective, min(most, independent) * few)
    effective = round(effective, 9)  # the noise of sums, where it is a whole number
    return wilson(share * effective, effective)


@lru_cache(maxsize=4096)
def t_quantile(df: int) -> float:
    """The 97.5 % quantile of Student's t. Few degrees of freedom: the finite series of Abramowitz and
    Stegun 26.7.3 and 26.7.4, bisected; many: the expansion around the normal one (26.7.5).

    >>> [round(t_quantile(df), 3) for df in (1, 2, 5, 29, 100)]
    [12.706, 4.303, 2.571, 2.045, 1.984]
    """
    if df >= 50:
        z = Z_95
        terms = (
            (z**3 + z) / 4,
            (5 * z**5 + 16 * z**3 + 3 * z) / 96,
            (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / 384,
        )
        return z + sum(term / float(df) ** i for i, term in enumerate(terms, start=1))
    low, high = Z_95, 13.0
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if _within(middle, df) < 0.95 else (low, middle)
    return (low + high) / 2


def _within(t: float, df: int) -> float:
    """The chance that |T| < t."""
    angle = atan(t / sqrt(df))
    term = cos(angle) if df % 2 else 1.0
    total = 0.0
    for i in range(3 if df % 2 else 2, df + 1, 2):
        total += term
        term *= cos(angle) ** 2 * (i - 1) / i
    total *= sin(angle)
    return 2 / pi * (angle + total) if df % 2 else total
