"""Keep the trajectories that are worth training on; nothing vanishes without a reason."""

from __future__ import annotations

from collections.abc import Callable, Container, Iterable, Iterator
from dataclasses import dataclass, replace

from tmcli.errors import InputError
from tmcli.filters.rules import Rule, fingerprint, standard
from tmcli.records import Drop, Trajectory, decode, encode, expect


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
            reason = _first(rules, trajectory)
        except InputError as error:
            on_broken(trajectory, error)
            continue
        if reason is None:
            yield trajectory
        else:
            on_drop(trajectory, reason)


def _first(rules: Iterable[Rule], trajectory: Trajectory) -> Drop | None:
    return next((reason for rule in rules if (reason := rule(trajectory)) is not None), None)


def rejected(trajectory: Trajectory, reason: Drop) -> bytes:
    """The line of a dropped trajectory, with its reason."""
    return encode(replace(trajectory, extra={**trajectory.extra, "dropped": reason})) + b"\n"


# ---- the same on many machines: lines are looked at there, and chosen here -----------------------------


@dataclass(frozen=True, slots=True)
class Verdict:
    """What the rules without a memory say of one line."""

    reason: Drop | None = None
    key: bytes = b""
    """What its duplicates share, when no rule drops it."""
    error: InputError | None = None
    readable: bool = True
    """With an error: the line is a trajectory, but its task is no task record."""


def verdicts(
    lines: Iterable[bytes], keep: Iterable[str], max_chars: int | None, drop: Container[str]
) -> list[Verdict]:
    """One for each line."""
    rules = standard([*keep, "duplicate"], max_chars, drop)
    return [_verdict(line, rules) for line in lines]


def _verdict(line: bytes, rules: list[Rule]) -> Verdict:
    try:
        trajectory = expect(decode(line), Trajectory)
    except InputError as error:
        return Verdict(error=error, readable=False)
    try:
        reason = _first(rules, trajectory)
    except InputError as error:
        return Verdict(error=error)
    return Verdict(reason, b"" if reason else fingerprint(trajectory))


def choose(
    judged: Iterable[tuple[bytes, Verdict]],
    duplicates: bool,
    on_drop: Callable[[Trajectory, Drop], None],
    on_broken: Callable[[Trajectory, InputError], None],
    on_unreadable: Callable[[bytes, InputError], None],
) -> Iterator[bytes]:
    """The lines of what `filter_trajectories` gives, with `duplicates` or without. Only what goes elsewhere
    is decoded here as well."""
    seen: set[bytes] = set()
    for line, verdict in judged:
        reason = "duplicate" if verdict.reason is None and verdict.key in seen else verdict.reason
        if verdict.error is not None and not verdict.readable:
            on_unreadable(line, verdict.error)
        elif verdict.error is not None:
            on_broken(expect(decode(line), Trajectory), verdict.error)
        elif reason is not None:
            on_drop(expect(decode(line), Trajectory), reason)
        else:
            if not duplicates:
                seen.add(verdict.key)
            yield line
