"""Has nearly the same been asked before? MinHash over pieces of the question, and the tools it takes.

    asked = Asked()
    asked.like(question, tools)          # None, or the question it is like
    asked.add(question, tools)

Pieces are 3 characters of the question in lower case, and the names of the tools. Two questions are nearly
the same from a Jaccard likeness of 0.6: "How many pages has Silent Harbor?" and "Silent Harbor: how many
pages has it?" (0.8) are, the same question about another book (0.4) is not.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

PIECE = 3
LIKE = 0.6
LOOK = 0.5
"""The index is asked for more, so that it misses little; what it finds is compared."""
PERMUTATIONS = 128


class Asked:
    """Questions that were asked."""

    def __init__(self) -> None:
        from datasketch import MinHashLSH  # loads scipy

        self._index = MinHashLSH(threshold=LOOK, num_perm=PERMUTATIONS)
        self._hashes: dict[str, Any] = {}
        self._questions: dict[str, str] = {}

    def add(self, question: str, tools: Iterable[str]) -> None:
        key = str(len(self._hashes))
        self._hashes[key] = _hash(question, tools)
        self._questions[key] = question
        self._index.insert(key, self._hashes[key])

    def like(self, question: str, tools: Iterable[str]) -> str | None:
        """A question that is nearly this one, the most alike."""
        asked = _hash(question, tools)
        near = ((asked.jaccard(self._hashes[key]), key) for key in self._index.query(asked))
        best = max(near, default=(0.0, ""), key=lambda pair: (pair[0], -int(pair[1])))
        return self._questions[best[1]] if best[0] >= LIKE else None


def pieces(question: str, tools: Iterable[str]) -> set[str]:
    """What likeness is counted over.

    >>> sorted(pieces("Who is?", ["find"]))
    [' is', 'find()', 'ho ', 'is ', 'o i', 'who']
    """
    words = "".join(c if c.isalnum() else " " for c in question.casefold()).split()
    text = " ".join(words) + " "
    cut = {text[i : i + PIECE] for i in range(max(1, len(text) - PIECE + 1))}
    return cut | {f"{name}()" for name in tools}


def _hash(question: str, tools: Iterable[str]) -> Any:
    from datasketch import MinHash

    made = MinHash(num_perm=PERMUTATIONS)
    made.update_batch([piece.encode("utf-8", "surrogatepass") for piece in sorted(pieces(question, tools))])
    return made
