"""Episodes on their way into an output: each written as it ends, counted, and the sum told.

What `synth` and `rollout` do with what is played. Playing is `runner.py`'s, files are `journal.py`'s.
"""

from __future__ import annotations

from collections.abc import Iterable

from tmcli import console
from tmcli.errors import InputError, RunError
from tmcli.journal import Journal
from tmcli.records import Trajectory
from tmcli.suites import DEFAULT_N


def keep(trajectories: Iterable[Trajectory], journal: Journal, total: int | None) -> None:
    """Write each judged trajectory at once, with progress (`total`: how many at most, where known).

    Raises `RunError` when not one episode is valid, `InputError` when there was no task at all.
    """
    n_invalid = 0
    failure = ""
    with console.progress(total, "episodes") as bar:
        for trajectory in trajectories:
            journal.write(trajectory)
            invalid = trajectory.status == "invalid"
            if invalid:
                n_invalid += 1
                failure = failure or trajectory.failure or "no reason given"
            bar.advance(correct=int(trajectory.scores.get("answer") == 1.0), invalid=int(invalid))
    n = journal.written
    if n_invalid and n_invalid == n:
        raise RunError(f"no episode could be played to its end: {failure}", "mend that and run again")
    if n_invalid:
        console.warn(f"{n_invalid} of {n} episodes are invalid: {failure}; --resume plays them again")
    if n == 0 and journal.done:
        console.note(f"nothing to do: all {len(journal.done)} episodes are there")
    elif n == 0:
        raise InputError("no tasks to play", "make some with tm tasks, or name a suite with --tasks")


def expected(tasks: str, n: int | None, samples: int, journal: Journal) -> int | None:
    """How many episodes are due at most, for `keep`; None: the stream will tell."""
    n_tasks = DEFAULT_N.get(tasks) if n is None else n
    return None if n_tasks is None else max(0, n_tasks * samples - len(journal.done))
