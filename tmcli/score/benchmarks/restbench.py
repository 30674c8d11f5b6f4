"""RestBench's correct path (RestGPT, arXiv 2306.06624): were the gold paths called?

    path(["search", "credits", "person"], ["search", "person"])
    # {"path": 1.0, "path_any_order": 1.0, "path_extra": 1}

The paper's rule: the calls hold the gold path as a subsequence, with other calls between. `path_any_order`
asks only that they are all there, as often as they are due. `path_extra` is the paper's delta of the solution
length, the calls made beyond the gold ones, of episodes that came through: by the path here, since whether an
answer is right there was said by people.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence

from tmcli.records import Json


def path(called: Sequence[str], golds: Sequence[str | None]) -> Json:
    """The metrics of one episode. A gold that is None cannot be called: no tool is documented for it.

    >>> path(["person", "search"], ["search", "person"])
    {'path': 0.0, 'path_any_order': 1.0, 'path_extra': None}
    >>> path(["search"], ["search", None])
    {'path': 0.0, 'path_any_order': 0.0, 'path_extra': None}
    """
    rest: Iterator[str | None] = iter(called)
    is_ordered = all(gold in rest for gold in golds)
    is_there = not Counter(golds) - Counter(called)
    return {
        "path": float(is_ordered),
        "path_any_order": float(is_there),
        "path_extra": len(called) - len(golds) if is_ordered else None,
    }
