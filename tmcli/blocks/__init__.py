"""Lines in blocks, to be looked at elsewhere: by other processes (`processes.py`) or machines (`cluster/`).

for block in blocks([io.read_lines(name) for name in files]): ...
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from time import monotonic

BLOCK_BYTES = 1 << 20
"""A block ends with the line that fills it, ..."""
BLOCK_S = 0.5
"""... or with the first that comes so long after its first: slow lines do not wait for a full one."""


@dataclass(slots=True)
class Block:
    """Lines of one source."""

    of: int
    """Which of the sources."""
    name: str
    numbers: list[int] = field(default_factory=list)
    lines: list[bytes] = field(default_factory=list)
    size: int = 0


def blocks(sources: Iterable[tuple[str, Iterable[tuple[int, bytes]]]]) -> Iterator[Block]:
    """Numbered lines of named sources, in blocks. What was read before an error is given before it."""
    for i, (name, lines) in enumerate(sources):
        block = Block(i, name)
        begun = monotonic()
        try:
            for number, line in lines:
                block.numbers.append(number)
                block.lines.append(line)
                block.size += len(line)
                if block.size >= BLOCK_BYTES or monotonic() - begun > BLOCK_S:
                    yield block
                    block = Block(i, name)
                    begun = monotonic()
        except Exception:
            if block.lines:
                yield block
            raise
        if block.lines:
            yield block
