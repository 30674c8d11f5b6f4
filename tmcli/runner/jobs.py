"""What is to be played: samples of tasks, without those that are done.

    for job in jobs(tasks, samples=4, done=journal.done, enough=1, shard=shard("2/4")): ...
"""

from __future__ import annotations

from collections.abc import Container, Iterable, Iterator, Mapping
from dataclasses import dataclass

from tmcli import console
from tmcli.errors import UsageError
from tmcli.journal import Order
from tmcli.records import Task


@dataclass(frozen=True, slots=True)
class Job:
    """Samples of one task to play."""

    task: Task
    samples: tuple[int, ...] = (0,)
    enough: int | None = None
    """So many right ones are enough: no further sample is played then."""
    correct: int = 0
    """How many right ones there are already."""


def jobs(
    tasks: Iterable[Task],
    samples: int = 1,
    done: Container[str] = (),
    *,
    enough: int | None = None,
    shard: tuple[int, int] = (1, 1),
    order: Order | None = None,
) -> Iterator[Job]:
    """Every task `samples` times, leaving out the trajectory ids in `done`. `enough`: one sample after the
    other until so many are right, counting those that `done` (a mapping) says are.

    A task that comes twice is played once. `shard` (i, n): only each n-th task, from the i-th. `order`
    learns the order of the tasks.
    """
    order = Order() if order is None else order
    i, n = shard
    n_twice = position = 0
    for task in tasks:
        if not order.add(task.id):
            n_twice += 1
            continue
        position += 1
        if position % n != i % n:
            continue
        ids = {sample: f"{task.id}#{sample}" for sample in range(samples)}
        missing = tuple(sample for sample, name in ids.items() if name not in done)
        correct = 0
        if enough is not None and isinstance(done, Mapping):
            correct = sum(done.get(name) is True for name in ids.values())
        if missing and (enough is None or correct < enough):
            yield Job(task, missing, enough, correct)
    if n_twice:
        console.warn(f"{n_twice} tasks come more than once; each is played once")


def shard(text: str) -> tuple[int, int]:
    """`I/N` of `--shard`: (I, N). Nothing means all.

    >>> shard("2/4"), shard("")
    ((2, 4), (1, 1))
    """
    if not text.strip():
        return 1, 1
    first, slash, second = (part.strip() for part in text.partition("/"))
    if not (slash and first.isdecimal() and second.isdecimal() and 1 <= int(first) <= int(second)):
        raise UsageError(f"--shard {text!r} is no part of a whole", "write I/N, from 1/N to N/N")
    return int(first), int(second)
