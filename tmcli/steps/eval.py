"""Judge what was played: trajectories to score records, right and wrong told anew by `score.judge`.

    for score in evaluate(seen("runs.jsonl"), on_broken): ...

A usual line is never made a record: it is judged by what `filters/view.py` sees of it, in a third of the
time. The formulas are the same, and so are the scores, by test.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace

from tmcli import io
from tmcli.errors import InputError
from tmcli.filters.view import View
from tmcli.records import AnyRecord, Score, Trajectory, decode, encode
from tmcli.score import Case, task_in, verdicts_of
from tmcli.score import scored as score_of_case

Episode = AnyRecord | View
"""What can be judged: a record, or what is seen of its line."""


def seen(source: str, rejects: io.Rejects | None = None) -> Iterator[Episode]:
    """What `io.read` gives, but usual trajectories as views. Opened at once, read as you go."""
    return _seen(*io.read_lines(source, rejects=rejects), rejects)


def _seen(name: str, lines: Iterable[tuple[int, bytes]], rejects: io.Rejects | None) -> Iterator[Episode]:
    for number, line in lines:
        record: Episode | None = View.usual(line)
        if record is None:
            try:
                record = decode(line)
            except InputError as error:
                io.reject(error.at(name, number), rejects, line + b"\n")
                continue
        yield record


def evaluate(
    records: Iterable[Episode],
    on_broken: Callable[[Trajectory, InputError], None],
    weights: Mapping[str, float] | None = None,
    label: str = "",
) -> Iterator[Score]:
    """The score of each trajectory; score records pass as they are. `label` becomes the tag `file`. A
    trajectory whose task is no task record, or has golds that nobody can read, goes to `on_broken`."""
    for record in records:
        try:
            score = _score(record, weights)
        except InputError as error:
            if not isinstance(record, Trajectory | View):
                raise
            on_broken(record if isinstance(record, Trajectory) else record.trajectory, error)
            continue
        yield labelled(score, label)


def _score(record: Episode, weights: Mapping[str, float] | None) -> Score:
    if isinstance(record, View):
        return score_of_case(record.case(), weights)
    if isinstance(record, Trajectory):
        return score_of_case(Case.of(record, task_in(record)), weights, verdicts_of(record))
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
    """It is a trajectory, but its task is none that can be judged."""
    fatal: bool = False
    """It is no record that could have one."""


def scored(lines: Iterable[bytes], weights: Mapping[str, float] | None) -> list[bytes | Broken]:
    """The score record of each line, encoded: `evaluate` where lines are judged on other machines."""
    out: list[bytes | Broken] = []
    for line in lines:
        record: Episode | None = None
        try:
            record = View.usual(line) or decode(line)
            out.append(encode(_score(record, weights)))
        except InputError as error:
            readable = isinstance(record, Trajectory | View)
            out.append(Broken(error, readable, fatal=record is not None and not readable))
    return out
