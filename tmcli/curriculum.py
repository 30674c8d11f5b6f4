"""Which task a group of episodes plays: a pure function, so a run that goes on needs no counters.

    curriculum = Curriculum(tasks, n_groups=80, seed=0, by=["drift", "hops"])
    draw = curriculum.at(7)            # the 8th group of the run: a task, and which pass over it this is
    draw = curriculum.at(7, again=1)   # another one for the same group, when that one taught nothing

Tasks come in passes, each shuffled anew. Under a curriculum they come in levels, from easy to hard; each
level has a part of the run as large as its part of the tasks. No draw comes twice: with `draw.sample` as the
number of a member's episode, no two episodes of a run have the same task and number.
"""

from __future__ import annotations

import random
from bisect import bisect_right
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import accumulate

from tmcli.errors import InputError, UsageError, did_you_mean
from tmcli.records import Task


def n_drifts(task: Task) -> int:
    """How many kinds of drift the tools are under."""
    drift = task.tags.get("drift")
    return len(drift) if isinstance(drift, list) else 0


def n_hops(task: Task) -> int:
    """How many calls solve it, where anybody knows."""
    hops = task.tags.get("hops")
    return hops if isinstance(hops, int) else len(task.plan or ())


HARDNESS: dict[str, Callable[[Task], int]] = {"drift": n_drifts, "hops": n_hops}
"""What `--curriculum` orders by: fewer first."""


@dataclass(frozen=True, slots=True)
class Draw:
    """A task for one group."""

    task: Task
    turn: int
    """How often it was drawn before."""

    def sample(self, member: int, group_size: int) -> int:
        """The number of a member's episode."""
        return self.turn * group_size + member


class Curriculum:
    """`n_groups` draws over the tasks. `by` names what to order them by, the first counting most."""

    def __init__(self, tasks: Iterable[Task], n_groups: int, seed: int, by: Sequence[str] = ()) -> None:
        for word in by:
            if word not in HARDNESS:
                raise UsageError(f"no curriculum goes by {word!r}", did_you_mean(word, HARDNESS))
        self.seed = seed
        levels: dict[tuple[int, ...], dict[str, Task]] = {}
        for task in tasks:
            levels.setdefault(tuple(HARDNESS[word](task) for word in by), {})[task.id] = task
        if not levels:
            raise InputError(
                "there are no tasks to train on", "see tm tasks --help for where tasks come from"
            )
        self.levels = [list(levels[hardness].values()) for hardness in sorted(levels)]
        sums = list(accumulate(map(len, self.levels)))
        self.ends = [round(n_groups * end / sums[-1]) for end in sums]
        """The first group after each level."""

    def at(self, group: int, again: int = 0) -> Draw:
        """The draw of a group; `again`: how often another one was wanted for it."""
        i = bisect_right(self.ends, group)
        start = self.ends[i - 1] if i else 0
        # the draws of a level: all its groups, then once more all its groups for the second try, ...
        at = group - start + again * (self.ends[i] - start)
        turn, place = divmod(at, len(self.levels[i]))
        return Draw(self.levels[i][self._order(i, turn)[place]], turn)

    def _order(self, level: int, turn: int) -> list[int]:
        order = list(range(len(self.levels[level])))
        random.Random(f"{self.seed}:{level}:{turn}").shuffle(order)
        return order
