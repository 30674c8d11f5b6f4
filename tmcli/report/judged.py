"""How far a judge differs from itself over many judgings of the same episodes.

noise([0.5, 0.75])    # {"sopr_std": 0.125, "judgings": 2}
"""

from __future__ import annotations

from collections.abc import Sequence
from math import fsum, sqrt

from tmcli.records import Json


def noise(judgings: Sequence[float]) -> Json:
    """The standard deviation of the solvable pass rates that each judging of all episodes gave, and how many
    there were; nothing where there was none.

    StableToolBench prints it so beside the mean (`np.std`: divided by n). It is the noise of the judge alone,
    and says nothing of other samples, tasks or judges: for these there is the interval.

    >>> noise([1.0, 0.5]), noise([0.5]), noise([])
    ({'sopr_std': 0.25, 'judgings': 2}, {'sopr_std': None, 'judgings': 1}, {})
    """
    n = len(judgings)
    if not n:
        return {}
    mean = fsum(judgings) / n
    std = sqrt(fsum((one - mean) ** 2 for one in judgings) / n) if n > 1 else None
    return {"sopr_std": std, "judgings": n}
