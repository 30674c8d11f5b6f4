"""Work on blocks of lines, done on all machines; results come back in order.

    for block, verdicts in mapped(judge, blocks(sources), address=None, n=None):
        for line, verdict in zip(block.lines, verdicts, strict=True): ...

The lines are decoded where the work is done. A block whose worker dies is done again by Ray.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from typing import Any, TypeVar

from tmcli.blocks import Block
from tmcli.cluster.connection import connection

T = TypeVar("T")
AHEAD = 3
"""Blocks on their way, for each worker."""


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
        held = [ray.put(argument) for argument in arguments]
        waiting: deque[tuple[Block, Any]] = deque()

        def first() -> tuple[Block, list[T]]:
            block, result = waiting.popleft()
            try:
                return block, ray.get(result)
            except ray.exceptions.RayTaskError as error:
                raise error.cause from error

        for block in coming:
            waiting.append((block, remote.remote(block.lines, *held)))
            if len(waiting) >= AHEAD * n:
                yield first()
        while waiting:
            yield first()
