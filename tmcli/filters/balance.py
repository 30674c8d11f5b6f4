"""A balanced part of what was kept: so many of each task, each tool, each stratum.

    balance = Balance(per_task=2, per_tool=500, per_stratum=None)
    for one in survivors: balance.add(Facts.of(one))
    balance.chosen()                       # for each, None or why it is left out

A stratum is a toolbox, a number of hops and the drift together. They take turns, and in each its tasks do; of
a task, calls that differ come first, then what is shorter, then what came earlier. Who has room everywhere is
taken: what is left out would be one too many of what its reason says. Until the end each survivor takes about
40 bytes and 4 a tool it called, while choosing about 100.
"""

from __future__ import annotations

import hashlib
from array import array
from typing import TYPE_CHECKING

from tmcli.filters.facts import Facts
from tmcli.records import Drop

if TYPE_CHECKING:
    import numpy as np


class Balance:
    """Survivors, by what they are counted by."""

    def __init__(
        self, per_task: int | None = None, per_tool: int | None = None, per_stratum: int | None = None
    ) -> None:
        self.per_task = per_task
        self.per_tool = per_tool
        self.per_stratum = per_stratum
        self._tasks = array("Q")
        self._calls = array("Q")
        self._lengths = array("I")
        self._strata = array("I")
        self._tools = array("I")
        """Of all, one after the other; the others, one a survivor."""
        self._ends = array("Q", [0])
        self._stratum_numbers: dict[tuple[str, str, str], int] = {}
        self._tool_numbers: dict[str, int] = {}

    def add(self, facts: Facts) -> None:
        """The next survivor."""
        stratum = (facts.toolbox, facts.hops, facts.drift)
        task = hashlib.blake2b(facts.task.encode(), digest_size=8).digest()
        self._tasks.append(int.from_bytes(task, "little"))
        self._calls.append(facts.calls)
        self._lengths.append(facts.length)
        self._strata.append(self._stratum_numbers.setdefault(stratum, len(self._stratum_numbers)))
        for tool in facts.tools:
            self._tools.append(self._tool_numbers.setdefault(tool, len(self._tool_numbers)))
        self._ends.append(len(self._tools))

    def chosen(self) -> list[Drop | None]:
        """For each survivor why it is left out, the first reason that holds; None: it is taken."""
        n = len(self._tasks)
        if not n:
            return []
        tasks, order = self._order()
        of_task, of_tool, of_stratum = (
            array("I", bytes(4 * size)) for size in (n, len(self._tool_numbers), len(self._stratum_numbers))
        )
        out: list[Drop | None] = [None] * n
        for i in order:
            task, stratum = tasks[i], self._strata[i]
            called = self._tools[self._ends[i] : self._ends[i + 1]]
            if self.per_task is not None and of_task[task] >= self.per_task:
                out[i] = "over_task"
            elif self.per_tool is not None and any(of_tool[tool] >= self.per_tool for tool in called):
                out[i] = "over_tool"
            elif self.per_stratum is not None and of_stratum[stratum] >= self.per_stratum:
                out[i] = "over_stratum"
            else:
                of_task[task] += 1
                of_stratum[stratum] += 1
                for tool in called:
                    of_tool[tool] += 1
        return out

    def _order(self) -> tuple[array[int], array[int]]:
        """The number of each survivor's task, and the survivors in the order in which they are taken."""
        import numpy as np

        tasks = np.unique(np.frombuffer(self._tasks, np.uint64), return_inverse=True)[1]
        tasks = tasks.astype(np.uint32)
        calls = np.frombuffer(self._calls, np.uint64)
        lengths, strata = (np.frombuffer(of, np.uint32) for of in (self._lengths, self._strata))
        turn = _turn([tasks, calls], np.lexsort((lengths, calls, tasks)))
        turn = _turn([tasks], np.lexsort((lengths, turn, tasks)))
        turn = _turn([strata], np.lexsort((lengths, turn, strata)))
        order = np.lexsort((strata, turn)).astype(np.uint32)
        return array("I", tasks.tobytes()), array("I", order.tobytes())


def _turn(groups: list[np.ndarray], order: np.ndarray) -> np.ndarray:
    """The turn of each in its group: 0 for the first in this order, in which groups stay together."""
    import numpy as np

    n = len(order)
    new = np.ones(n, bool)
    new[1:] = np.logical_or.reduce([group[order][1:] != group[order][:-1] for group in groups])
    starts = np.flatnonzero(new)
    turns = np.empty(n, np.uint32)
    starts = np.repeat(starts, np.diff(np.append(starts, n)))
    turns[order] = np.arange(n) - starts
    return turns
