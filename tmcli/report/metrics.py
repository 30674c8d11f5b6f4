"""The names of a summary's numbers, and what kind each is.

METRICS                 # what may have a threshold
is_share("pass^4")      # True: shown in percent, and its interval ends at 0 and 1
"""

from __future__ import annotations

from collections.abc import Callable

from tmcli.report.statistics import pass_at_k, pass_hat_k
from tmcli.score.benchmarks import NAMES
from tmcli.score.verdicts import SOPR

MEANS = (
    "calls",
    "errors",
    "turns",
    "tokens",
    "prompt_tokens",
    "completion_tokens",
    "cost",
    "seconds",
    "reward",
    "format",
    "protocol",
    "repeat",
    "gained",
    "recovered",
    "invalid_calls",
    "solve_p",
    "solve_r",
    "solve_f1",
)
"""Means that every summary has, None where nobody knows; other numbers of the scores come after them."""

RATIOS = {
    "trial_share": ("trials", "calls"),
    "useful_share": ("useful_trials", "trials"),
    "wasted_share": ("wasted_trials", "trials"),
    "judged_useful_share": ("judged_useful", "judged_trials"),
}
"""Metric -> what is divided, by what: sums over episodes, not a mean of shares."""

TOTALS = ("calls", "tokens", "cost", "seconds")
"""What is also told as a sum, where every valid episode has it."""

APART = {"answer", "hinted", *(name for pair in RATIOS.values() for name in pair)} - {"calls"}
"""Numbers that are told by other names: as the accuracy, and as shares."""

METRICS = ("accuracy", *MEANS, SOPR, *RATIOS, *NAMES)
"""What may have a threshold, besides the parts of the reward, `pass@K` and `pass^K`."""

SHARES = {"format", "protocol", "solve_p", "solve_r", "solve_f1", SOPR, *RATIOS, *NAMES} - {"path_extra"}
"""Means between 0 and 1, and so their intervals."""

PASSES: dict[str, Callable[[int, int, int], float]] = {"pass@": pass_at_k, "pass^": pass_hat_k}


def is_share(name: str) -> bool:
    """Is a metric between 0 and 1?

    >>> is_share("accuracy"), is_share("pass^4"), is_share("calls")
    (True, True, False)
    """
    return name == "accuracy" or name in SHARES or name[:5] in PASSES
