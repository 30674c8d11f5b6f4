"""Work on records, one by one, done on all machines: lines go out in blocks, results come back in order.

    for block, verdicts in mapped(judge, blocks(sources), address=None, n=None):
        for line, verdict in zip(block.lines, verdicts, strict=True): ...

The lines are decoded where the work is done. A block whose worker dies is done again by Ray.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any, TypeVar

from tmcli.cluster.connection import connection

T = TypeVar("T")
BLOCK_BYTES = 2 << 20
AHEAD = 3
"""Blocks on their way, for each worker."""


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
    """Numbered lines of named sources, in blocks."""
    for i, (name, lines) in enumerate(sources):
        block = Block(i, name)
        for number, line in lines:
            block.numbers.append(number)
            block.lines.append(line)
            block.size += len(line)
            if block.size >= BLOCK_BYTES:
                yield block
                block = Block(i, name)
        if block.lines:
            yield block


def mapped(
    work: Callable[..., list[T]],
    coming: Iterable[Block],
    *arguments: Any,
    address: str | None,
    n: int | None,
) -> Iterator[tuple[Block, list[T]]]:
    """`work(lines, *arguments)` of each block, a result a line; `n` blocks at once, else one a CPU."""
    with connection(address) as ray:
        n = n or max(1, int(ray.cluster_resources().get("CPU", 1)))
        remote = ray.remote(num_cpus=1, max_retries=-1)(work)
        waiting: deque[tuple[Block, Any]] = deque()

        def first() -> tuple[Block, list[T]]:
            block, result = waiting.popleft()
            try:
                return block, ray.get(result)
            except ray.exceptions.RayTaskError as error:
                raise error.cause from error

        for block in coming:
            waiting.append((block, remote.remote(block.lines, *arguments)))
            if len(waiting) >= AHEAD * n:
                yield first()
        while waiting:
            yield first()
