"""Many score records -> few numbers, in one pass: what `tm eval` says.

Invalid episodes (the world broke) and unjudged ones (nobody knows) are counted apart; neither is in
the denominator of the accuracy. The memory it takes grows with the number of tasks, not of episodes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from tmcli.records import Json, Score
from tmcli.report.tally import Tally, added

Cell = tuple[str, ...]


@dataclass(frozen=True)
class Group:
    """One row: what tells it from the others, and its numbers. A `total` row adds up a whole file."""

    by: dict[str, str]
    metrics: Json
    total: bool = False


class Summary:
    """Add scores one by one, then ask for the rows."""

    def __init__(self, by: Sequence[str], ks: Sequence[int] | None = None) -> None:
        self.by = list(by)
        self.ks = ks
        self.n = 0
        self.tags: set[str] = set()
        """All tags that were met."""
        self.cells: dict[Cell, Tally] = {}
        """By file, policy, seed, and the tags."""
        self.policies: dict[Cell, Json] = {}
        """By file, policy and seed: who played, as its first episode tells."""
        self._groups: list[Group] = []

    def add(self, score: Score, file: str = "") -> None:
        """`file` labels the source where there are several."""
        policy = score.policy
        sampling = policy.get("sampling")
        seed = str(sampling.get("seed", "")) if isinstance(sampling, dict) else ""
        name = str(policy.get("name", "-"))
        key = (file, name, seed, *(word(score.tags.get(name)) for name in self.by))
        self.n += 1
        self._groups = []
        self.tags.update(score.tags)
        if key not in self.cells:
            self.cells[key] = Tally()
            self.policies.setdefault(key[:3], policy)
        self.cells[key].add(score)

    def groups(self) -> list[Group]:
        """Rows in the order of the table: files as they came; under each its cells, then its total."""
        self._groups = self._groups or self._made()
        return self._groups

    def _made(self) -> list[Group]:
        keys = list(self.cells)
        files = list(dict.fromkeys(key[0] for key in keys))
        sources = list(dict.fromkeys(key[:2] for key in keys))
        several_policies = len(sources) > len(files)
        lead = [name for name, wanted in (("file", len(files) > 1), ("policy", several_policies)) if wanted]
        out: list[Group] = []
        for source in sources if several_policies else [(file,) for file in files]:
            mine = [key for key in keys if key[: len(source)] == source]
            mine.sort(key=lambda key: order(key[3:]))
            alike: dict[Cell, list[Tally]] = {}
            for key in mine:
                alike.setdefault(key[3:], []).append(self.cells[key])
            cells = {cell: added(seeds) for cell, seeds in alike.items()}
            total = added(cells.values())
            names = {"file": source[0], "policy": source[-1]}
            left = {name: names[name] for name in lead}
            if len(cells) > 1:
                out.extend(
                    Group(left | dict(zip(self.by, cell, strict=True)), tally.metrics(self.ks))
                    for cell, tally in cells.items()
                )
            shared = [
                words.pop() if len(words := set(column)) == 1 else "all"
                for column in zip(*cells, strict=True)
            ]
            out.append(
                Group(left | dict(zip(self.by, shared, strict=True)), total.metrics(self.ks), total=True)
            )
        return out

    def counts(self) -> Json:
        """Trajectories in, and those that no accuracy is made of."""
        tallies = self.cells.values()
        return {
            "trajectories": self.n,
            "invalid": sum(tally.invalid for tally in tallies),
            "unjudged": sum(tally.valid - tally.known("accuracy") for tally in tallies),
        }

    def metrics(self) -> Json:
        """The rows for a machine; the numbers of the only total also stand on top."""
        groups = self.groups()
        totals = [group.metrics for group in groups if group.total]
        rows = [{"by": group.by, "total": group.total, **group.metrics} for group in groups]
        return {**(totals[0] if len(totals) == 1 else {}), "groups": rows}

    def runs(self) -> dict[Cell, Tally]:
        """By file, policy and seed: one run of a policy, all its cells."""
        return {
            run: added([tally for key, tally in self.cells.items() if key[:3] == run])
            for run in self.policies
        }


def word(value: Any) -> str:
    """A tag as one word: a list of drifts becomes `format+stale`."""
    if isinstance(value, list):
        return "+".join(sorted(map(str, value))) or "none"
    return "-" if value is None or value == "" else str(value)


def order(cell: Cell) -> list[tuple[int, float, str]]:
    """Plain before drifted, numbers by size, words by letter."""
    return [(0 if word == "none" else 1, float(word) if word.isdecimal() else 0.0, word) for word in cell]
