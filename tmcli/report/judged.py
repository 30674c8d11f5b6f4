"""What many judgings of one run come to: their mean, and how far the judge differs from itself.

sopr([0.5, 0.75])    # {"sopr": 0.625, "sopr_std": 0.125, "judgings": 2}
"""

from __future__ import annotations

from collections.abc import Sequence
from math import fsum, sqrt

from tmcli.records import Json


def sopr(judgings: Sequence[float]) -> Json:
    """Mean and standard deviation of the solvable pass rate over repeated judgings of the same episodes, each
    the rate that one judging of all of them gave; nothing where there was none.

    StableToolBench prints the two the same way (`np.std`, so divided by n). The deviation is the noise
    of the judge alone: it says nothing of other samples, tasks or judges, for which there is an interval.

    >>> sopr([1.0, 0.5])
    {'sopr': 0.75, 'sopr_std': 0.25, 'judgings': 2}
    >>> sopr([0.5]), sopr([])
    ({'sopr': 0.5, 'sopr_std': None, 'judgings': 1}, {})
    """
    n = len(judgings)
    if not n:
        return {}
    mean = fsum(judgings) / n
    std = sqrt(fsum((one - mean) ** 2 for one in judgings) / n) if n > 1 else None
    return {"sopr": mean, "sopr_std": std, "judgings": n}
