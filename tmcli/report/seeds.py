"""Several runs of one policy that differ in their seed only: the mean over runs, and how they scatter.

    for family in families(summary):
        family.metrics["accuracy"]      # Spread(mean=0.61, sd=0.02, interval=(0.56, 0.66))

Runs belong together where policy, sampling and limits are the same and the sampling's seed is not. A policy
that was *trained* with several seeds has several names: `together` takes each file as a run.

The interval is Student's over runs, so it holds for other seeds. What other tasks would bring is in the
interval of each row.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import sqrt
from typing import NamedTuple

from tmcli.records import Json, digest
from tmcli.report.metrics import is_share
from tmcli.report.statistics import Interval, clustered, mean_interval
from tmcli.report.summary import Cell, Summary
from tmcli.report.tally import added


class Spread(NamedTuple):
    """A metric over runs."""

    mean: float
    sd: float
    interval: Interval | None
    """None where all runs have the same value: so few that scatter in nothing tell no interval."""


@dataclass(frozen=True)
class Family:
    """Runs that differ in their seed."""

    policy: str
    runs: list[str]
    """What tells them apart: files, or seeds."""
    metrics: dict[str, Spread]

    def to_json(self) -> Json:
        metrics = {name: one._asdict() for name, one in self.metrics.items()}
        return {"policy": self.policy, "runs": self.runs, "metrics": metrics}


def families(summary: Summary, *, together: bool = False) -> list[Family]:
    """All families with at least two runs. `together`: the files are the runs of one."""
    found: dict[str, list[Cell]] = {}
    for run, policy in summary.policies.items():
        if together:
            found.setdefault("", []).append(run)
        elif run[2]:  # it has a seed
            sampling = {**policy["sampling"], "seed": None}
            found.setdefault(digest([run[1], sampling, policy.get("limits")]), []).append(run)
    tallies = summary.runs() if found else {}
    made = []
    for runs in found.values():
        names = list(dict.fromkeys(run[0] if together else run[2] for run in runs))
        if len(names) < 2:
            continue
        n = 0 if together else 2
        parts = {
            name: added([tallies[run] for run in runs if run[n] == name]).metrics(summary.ks)
            for name in names
        }
        policies = ", ".join(dict.fromkeys(run[1] for run in runs))
        made.append(Family(policies, names, _spreads(list(parts.values()))))
    return made


def _spreads(runs: list[Json]) -> dict[str, Spread]:
    """Of each metric that all runs have."""
    out: dict[str, Spread] = {}
    for name in ("accuracy", *runs[0]["intervals"]):
        values = [run.get(name) for run in runs]
        known = [value for value in values if value is not None]
        if len(known) == len(values):
            out[name] = spread(known, is_share=is_share(name))
    return out


def spread(values: list[float], *, is_share: bool = False) -> Spread:
    """Mean, standard deviation and Student's interval of at least two runs. `is_share`: none can be
    outside 0 and 1.

    >>> spread([0.5, 0.7], is_share=True)
    Spread(mean=0.6, sd=0.14142135623730948, interval=(0.0, 1.0))
    """
    one = [1] * len(values)
    found, interval = clustered(one, values), mean_interval(one, values)
    assert found is not None
    assert interval is not None
    if found.variance < 1e-24:
        return Spread(found.mean, 0.0, None)
    if is_share:
        interval = max(0.0, interval[0]), min(1.0, interval[1])
    return Spread(found.mean, sqrt(found.variance * len(values)), interval)
