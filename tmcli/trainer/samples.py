"""`samples.jsonl`: every so many steps a whole group of episodes, to read with `tm show`.

    samples = Samples(part, every=10, resumed_at=20)    # what a lost life wrote later is removed
    samples.show(group, first=0, done=29, updates=1)    # before step 30

They are trajectory records with one key more: `step`, the first that is trained on them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import orjson
from accelerate.utils import gather_object

from tmcli import checkpoint
from tmcli.records import Trajectory, encode


class Samples:
    """Of the first group of a batch; 0 for `every`: none."""

    def __init__(self, part: Path, every: int, group_size: int, resumed_at: int = 0) -> None:
        self.file = part / "samples.jsonl"
        self.every = every
        self.group_size = group_size
        if checkpoint.is_first() and self.file.exists():
            lines = self.file.read_bytes().splitlines(keepends=True)
            kept = [
                line for line in lines if line.endswith(b"\n") and orjson.loads(line)["step"] <= resumed_at
            ]
            self.file.write_bytes(b"".join(kept))

    def show(self, played: Sequence[Trajectory], first: int, done: int, updates: int) -> None:
        """`played`: what this process plays of the batch, from its `first` episode on; `done`: steps."""
        if not self._is_due(done, updates):
            return
        own = [encode(replace(one, extra={**one.extra, "step": done + 1})) for one in played]
        lines = gather_object(own[: max(0, self.group_size - first)])
        if checkpoint.is_first():
            with self.file.open("ab") as out:
                out.write(b"".join(line + b"\n" for line in lines))

    def _is_due(self, done: int, updates: int) -> bool:
        """At the first step, and whenever a batch trains a step that `every` divides."""
        if not self.every:
            return False
        return done == 0 or done // self.every != (done + updates) // self.every
