"""Let a policy play tasks, and judge what it did."""

from __future__ import annotations

from collections.abc import Container, Iterable, Iterator

from tmcli import signals
from tmcli.journal import Order
from tmcli.records import Task, Trajectory
from tmcli.runner import Player, jobs


def rollout(
    tasks: Iterable[Task],
    player: Player,
    samples: int = 1,
    done: Container[str] = (),
    *,
    shard: tuple[int, int] = (1, 1),
    ordered: bool = True,
    order: Order | None = None,
) -> Iterator[Trajectory]:
    """Each task `samples` times, judged; trajectory ids in `done` are left out. See `runner.jobs`.

    `ordered`: in the order of the tasks, not as they end. Ctrl-C lets what runs come to its end.
    """
    due = jobs(tasks, samples, done, shard=shard, order=order)
    with signals.told_to(player.stop):
        yield from player.run(due, ordered=ordered)
