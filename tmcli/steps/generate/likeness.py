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
PERMUTATIONS = 256
BANDS = 64
"""Of two questions that are 0.6 alike, 99 of 100 share a band; what is found so is compared."""


class Asked:
    """Questions that were asked."""

    def __init__(self) -> None:
        from rensa import RMinHashLSH

        self._index = RMinHashLSH(LIKE, PERMUTATIONS, BANDS)
        self._hashes: list[Any] = []
        self._questions: list[str] = []

    def add(self, question: str, tools: Iterable[str]) -> None:
        hashed = _hash(question, tools)
        self._index.insert(len(self._hashes), hashed)
        self._hashes.append(hashed)
        self._questions.append(question)

    def like(self, question: str, tools: Iterable[str]) -> str | None:
        """A question that is nearly this one, the most alike."""
        asked = _hash(question, tools)
        near = ((asked.jaccard(self._hashes[key]), -key) for key in self._index.query(asked))
        likeness, key = max(near, default=(0.0, 0))
        return self._questions[-key] if likeness >= LIKE else None


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
    from rensa import RMinHash

    made = RMinHash(PERMUTATIONS, 1)
    made.update([piece.encode("utf-8", "surrogatepass") for piece in pieces(question, tools)])
    return made
