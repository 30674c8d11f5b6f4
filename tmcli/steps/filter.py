"""Keep the trajectories that are worth training on; nothing vanishes without a reason."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace

from tmcli.errors import InputError
from tmcli.filters.rules import Rule
from tmcli.records import Drop, Trajectory, encode


def filter_trajectories(
    records: Iterable[Trajectory],
    rules: Iterable[Rule],
    on_drop: Callable[[Trajectory, Drop], None],
    on_broken: Callable[[Trajectory, InputError], None],
) -> Iterator[Trajectory]:
    """The trajectories that pass every rule, unchanged and in order. The others go to `on_drop` with
    the reason of the first rule they fail; rules with a memory (`duplicate`) come last, so that they
    remember only what was kept. One whose task is no task record goes to `on_broken`."""
    rules = list(rules)
    for trajectory in records:
        try:
            reason = next((reason for rule in rules if (reason := rule(trajectory)) is not None), None)
        except InputError as error:
            on_broken(trajectory, error)
            continue
        if reason is None:
            yield trajectory
        else:
            on_drop(trajectory, reason)


def rejected(trajectory: Trajectory, reason: Drop) -> bytes:
    """The line of a dropped trajectory, with its reason."""
    return encode(replace(trajectory, extra={**trajectory.extra, "dropped": reason})) + b"\n"
