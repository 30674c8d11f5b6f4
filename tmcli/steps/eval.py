"""Judge what was played: trajectories to score records, right and wrong told anew by `score.judge`."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace

from tmcli.errors import InputError
from tmcli.records import AnyRecord, Score, Trajectory, decode, encode
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
        try:
            score = _score(record, weights)
        except InputError as error:
            if not isinstance(record, Trajectory):
                raise
            on_broken(record, error)
            continue
        yield labelled(score, label)


def _score(record: AnyRecord, weights: Mapping[str, float] | None) -> Score:
    if isinstance(record, Trajectory):
        return score_of(judge(record, weights))
    if isinstance(record, Score):
        return record
    raise InputError(
        f"a {record.kind} record where a trajectory or score record is due",
        "tm rollout or tm synth makes trajectory records",
        field="kind",
    )


def labelled(score: Score, label: str) -> Score:
    """With `label` as its tag `file`."""
    return replace(score, tags={**score.tags, "file": label}) if label else score


@dataclass(frozen=True, slots=True)
class Broken:
    """A line without a score, and why."""

    error: InputError
    readable: bool
    """It is a trajectory, but its task is no task record."""
    fatal: bool = False
    """It is no record that could have one."""


def scored(lines: Iterable[bytes], weights: Mapping[str, float] | None) -> list[bytes | Broken]:
    """The score record of each line, encoded: `evaluate` where lines are judged on other machines."""
    out: list[bytes | Broken] = []
    for line in lines:
        record: AnyRecord | None = None
        try:
            record = decode(line)
            out.append(encode(_score(record, weights)))
        except InputError as error:
            readable = isinstance(record, Trajectory)
            out.append(Broken(error, readable, fatal=record is not None and not readable))
    return out
