"""Judge what was played: trajectories to score records, right and wrong told anew by `score.judge`."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import replace

from tmcli.errors import InputError, UsageError, did_you_mean
from tmcli.records import AnyRecord, Score, Trajectory
from tmcli.report.summary import METRICS
from tmcli.score import judge, score_of


def evaluate(
    records: Iterable[AnyRecord],
    on_broken: Callable[[Trajectory, InputError], None],
    weights: Mapping[str, float] | None = None,
    label: str = "",
) -> Iterator[Score]:
    """The score of each trajectory; score records pass as they are. `label` becomes the tag `file`. A
    trajectory whose task is no task record goes to `on_broken`."""
    for record in records:
        if isinstance(record, Trajectory):
            try:
                score = score_of(judge(record, weights))
            except InputError as error:
                on_broken(record, error)
                continue
        elif isinstance(record, Score):
            score = record
        else:
            raise InputError(
                f"a {record.kind} record where a trajectory or score record is due",
                "tm rollout or tm synth makes trajectory records",
                field="kind",
            )
        yield replace(score, tags={**score.tags, "file": label}) if label else score


def threshold(text: str) -> tuple[str, float]:
    """`0.9` or `METRIC=0.9` -> (metric, least value).

    >>> threshold("0.9"), threshold("solve_f1=0.3"), threshold("pass@4=1")
    (('accuracy', 0.9), ('solve_f1', 0.3), ('pass@4', 1.0))
    """
    metric, _, number = text.rpartition("=")
    metric = metric.strip() or "accuracy"
    if metric not in METRICS and not (metric.startswith("pass@") and metric[5:].isdecimal()):
        raise UsageError(
            f"--fail-under: no metric is called {metric!r}", did_you_mean(metric, [*METRICS, "pass@K"])
        )
    try:
        least = float(number)
    except ValueError:
        least = math.nan
    if math.isnan(least):
        raise UsageError(f"--fail-under: {number!r} is not a number", "write 0.9 or solve_f1=0.3")
    return metric, least
