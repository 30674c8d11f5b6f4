"""What came of filtering: how many were kept, why the others were dropped, and how the mix changed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from tmcli.filters.facts import Mix
from tmcli.records import Drop, Json

MAX_KINDS = 2000
"""Kinds of trajectory that are told apart: tags come from outside."""
OTHER = Mix("other", "other", "other", "other", "other")
SHOWN = 12
"""Rows of the mix that a person is shown: those that changed most."""


class Summary:
    """Counts, made while lines pass."""

    def __init__(self) -> None:
        self.mix: dict[Mix, list[int]] = {}
        """How many came, and how many were kept."""
        self.dropped: Counter[Drop] = Counter()
        self.why: dict[Drop, str] = {}
        """What was wrong with the first of each."""

    @property
    def n(self) -> int:
        return sum(n for n, _ in self.mix.values())

    @property
    def n_kept(self) -> int:
        return sum(n for _, n in self.mix.values())

    def keep(self, mix: Mix | None) -> None:
        counts = self._kind(mix)
        counts[0] += 1
        counts[1] += 1

    def drop(self, mix: Mix | None, reason: Drop, why: str) -> None:
        self._kind(mix)[0] += 1
        self.dropped[reason] += 1
        if reason not in self.why:
            self.why[reason] = why

    def _kind(self, mix: Mix | None) -> list[int]:
        counts = self.mix.get(mix)  # type: ignore[arg-type]
        if counts is None:
            key = OTHER if mix is None or len(self.mix) >= MAX_KINDS else mix
            counts = self.mix.setdefault(key, [0, 0])
        return counts

    def reasons(self) -> list[list[object]]:
        """Rows: reason, how many, share of all, what was wrong with the first."""
        return [
            [reason, n, f"{n / self.n:.1%}", self.why[reason][:60]]
            for reason, n in self.dropped.most_common()
        ]

    def changes(self) -> list[list[object]]:
        """Rows: what, share before, share after; those that changed most, by a percent of all at least."""
        if not self.n_kept:
            return []
        shares = [
            (abs(after - before), f"{what} {kind}", before, after)
            for what, kind, before, after in self._shares()
        ]
        most = sorted((one for one in shares if one[0] >= 0.01), key=lambda one: (-one[0], one[1]))
        return [[name, f"{before:.1%}", f"{after:.1%}"] for _, name, before, after in most[:SHOWN]]

    def counts(self) -> Json:
        """For the `run` record."""
        return {"in": self.n, "kept": self.n_kept, "dropped": dict(self.dropped.most_common())}

    def metrics(self) -> Json:
        """Shares before and after, by what and kind."""
        out: Json = {}
        for what, kind, before, after in self._shares():
            out.setdefault(what, {})[kind] = [round(before, 4), round(after, 4)]
        return {"mix": out}

    def _shares(self) -> Iterator[tuple[str, str, float, float]]:
        n, n_kept = self.n, self.n_kept
        for i, what in enumerate(Mix._fields):
            of: dict[str, list[int]] = {}
            for mix, counts in self.mix.items():
                both = of.setdefault(mix[i], [0, 0])
                both[0] += counts[0]
                both[1] += counts[1]
            for kind in sorted(of):
                yield what, kind, of[kind][0] / n, of[kind][1] / (n_kept or 1)
