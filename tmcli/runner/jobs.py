"""What is to be played: samples of tasks, without those that are done.

    for job in jobs(tasks, samples=4, done=journal.done, enough=1, shard=shard("2/4")): ...
"""

from __future__ import annotations

from collections.abc import Container, Iterable, Iterator
from dataclasses import dataclass

from tmcli import console
from tmcli.errors import UsageError
from tmcli.journal import Done, Order
from tmcli.records import Task


@dataclass(frozen=True, slots=True)
class Job:
    """Samples of one task to play."""

    task: Task
    samples: tuple[int, ...] = (0,)
    enough: int | None = None
    """So many right ones are enough: no further sample is played then."""
    right: tuple[int, ...] = ()
    """Samples that are there and right, whichever came first."""

    def may_start(self, sample: int, n_open: int) -> bool:
        """Would a run of one sample after the other play it too? `n_open`: samples before it that are right,
        or may yet be, beside those in `right`. So what is played depends neither on the concurrency nor on
        where a run was stopped."""
        return self.enough is None or n_open + sum(one < sample for one in self.right) < self.enough


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
    other until so many are right, counting those that `done` knows to be.

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
        right: tuple[int, ...] = ()
        if enough is not None and isinstance(done, Done):
            right = tuple(sample for sample, name in ids.items() if done.is_right(name))
        job = Job(task, tuple(sample for sample, name in ids.items() if name not in done), enough, right)
        if job.samples and job.may_start(job.samples[0], 0):
            yield job
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
