"""Tasks from elsewhere, as they are passed on. A suite's own tasks come from `suites.py`, other people's data
sets from `importers/`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import islice

from tmcli import drift as drifts
from tmcli.records import Task


def tasks(
    source: Iterable[Task], n: int | None = None, drift: Sequence[str] = (), seed: int = 0
) -> Iterator[Task]:
    """The first `n` tasks of the source, in order, made unfamiliar as `drift` says. Raises `UsageError` for a
    drift nobody knows."""
    return drifts.over(islice(source, n), drift, seed)
