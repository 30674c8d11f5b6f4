"""What a model judged of an episode, as numbers. Nothing here asks it: `filters/judge/scoring.py` does, and
keeps the answers in the trajectory under `verdicts`:

{"judge": {"model": "gpt-4o", "rules": "0a1b...", ...},     # who judged by which rules; no address
 "solved": ["Solved", "Unsure", null],                      # one a judging
 "right": ["yes", "yes", null],                             # only of tasks with golds and check `judge`
 "trials": ["useful", null],                                # one a call of phase trial
 "why": ["...", "...", "..."]}

null is no verdict, and never a no.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from tmcli.records import Json, Trajectory

KEY = "verdicts"
SOPR = "sopr"
NTH = "sopr#"
"""`sopr#2` is the score of the second judging."""

WORTH = {"Solved": 1.0, "Unsure": 0.5, "Unsolved": 0.0}
_RIGHT = {"yes": 1.0, "no": 0.0}


def sopr(statuses: Iterable[Any]) -> float | None:
    """StableToolBench's solvable pass rate (arXiv 2403.07714) of one episode: Solved 1, Unsure 0.5, Unsolved
    0, averaged over the judgings that brought a verdict. There a judging without one counts as 0.

    >>> sopr(["Solved", "Unsure", "Unsolved", None]), sopr([None])
    (0.5, None)
    """
    return _mean(WORTH.get(status) for status in statuses)


def judged_right(verdicts: Json) -> bool | None:
    """Right where more judgings say so than not, wrong where fewer do; None where they tell nothing.

    >>> judged_right({"solved": ["Solved", "Unsure"]}), judged_right({"solved": ["Solved", "Unsolved"]})
    (True, None)
    >>> judged_right({"solved": ["Solved"], "right": ["no"]})
    False
    """
    if "right" in verdicts:
        share = _mean(_RIGHT.get(word or "") for word in _list(verdicts["right"]))
    else:
        share = sopr(_list(verdicts.get("solved")))
    return None if share is None or share == 0.5 else share > 0.5


def judged_scores(verdicts: Json) -> Json:
    """The numbers of a score record.

    >>> judged_scores({"solved": ["Solved", None], "trials": ["useful", "wasted", "useful"]})
    {'sopr': 1.0, 'sopr#1': 1.0, 'sopr#2': None, 'judged_trials': 3, 'judged_useful': 2}
    """
    statuses = _list(verdicts.get("solved"))
    scores: Json = {SOPR: sopr(statuses)}
    scores |= {f"{NTH}{i}": WORTH.get(status or "") for i, status in enumerate(statuses, 1)}
    if "trials" in verdicts:
        words = _list(verdicts["trials"])
        known = None not in words
        scores["judged_trials"] = len(words) if known else None
        scores["judged_useful"] = words.count("useful") if known else None
    return scores


def verdicts_of(trajectory: Trajectory) -> Json | None:
    """What a judge left in it; None: nobody judged."""
    found = trajectory.extra.get(KEY)
    return found if isinstance(found, dict) else None


def _list(value: Any) -> list[str | None]:
    """Words of what may be anything in a record of others."""
    return [word if isinstance(word, str) else None for word in value] if isinstance(value, list) else []


def _mean(worths: Iterable[float | None]) -> float | None:
    known = [worth for worth in worths if worth is not None]
    return sum(known) / len(known) if known else None
