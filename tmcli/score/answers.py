"""Is an answer right? Compared with the accepted golds as the task's `check` says.

correct("about 1,200 books", ["1200"], "number")    # True
"""

from __future__ import annotations

import math
import re

from tmcli.protocol import CANNOT
from tmcli.records import Check

_NUMBER = re.compile(
    r"(?:(?<![\w.])[-+])?(?:\d{1,3}(?:,\d{3})+(?!\d)|\d+)(?:\.\d+)?(?:e[-+]?\d+)?|(?:(?<![\w.])[-+])?\.\d+",
    re.ASCII | re.IGNORECASE,
)
_DECLINES = re.compile(
    r"\b(?:can ?not|can['’]?t|could not|couldn['’]?t) be "
    r"(?:done|answered|solved|completed|determined|found)\b|\b(?:impossible|not possible)\b"
)
_STARRED = re.compile(r"(\*{1,3})([^*]+)\1")
_BETWEEN = (re.compile(r"[,;\n]"), re.compile(r"[,;\n]|\band\b", re.IGNORECASE))


def correct(prediction: str | None, answer: list[str], check: Check) -> bool | None:
    """Does the prediction fit one of the accepted golds? None: nobody can tell here.

    >>> correct("'Paris'.", ["paris"], "exact"), correct("about 1,200 books", ["1200"], "number")
    (True, True)
    >>> correct("It opened in 2007, on May 5", ["May 5, 2007"], "contains"), correct("b, A", ["a, b"], "set")
    (True, True)
    >>> correct(None, ["x"], "exact"), correct("x", [], "exact"), correct("x", ["x"], "judge")
    (False, None, None)
    >>> correct("Sorry, it can't be done.", ["cannot be done"], "exact")
    True
    """
    golds = [gold for gold in answer if gold.strip()]
    if not golds:
        return None
    if prediction is None or not prediction.strip():
        return False
    if check == "judge":
        return None
    return prediction in golds or any(
        _declines(prediction) if gold == CANNOT else _CHECKS[check](prediction, gold) for gold in golds
    )


def contains(prediction: str, gold: str) -> bool:
    """FTRL's `answer_verify`: every piece of the gold (split at ", ") is a substring of the prediction,
    both in lower case and without commas."""
    text = prediction.lower().replace(",", "").strip()
    return all(piece.lower().replace(",", "").strip() in text for piece in gold.split(", "))


def _declines(prediction: str) -> bool:
    """Does it say that it cannot be done, in these or like words?"""
    return _DECLINES.search(" ".join(prediction.casefold().split())) is not None


def _exact(prediction: str, gold: str) -> bool:
    return _normal(prediction) == _normal(gold)


def _number(prediction: str, gold: str) -> bool:
    """The first number of each is equal to one part in a million."""
    said, due = _first_number(prediction), _first_number(gold)
    if due is None:
        return _exact(prediction, gold)
    return said is not None and math.isclose(said, due, rel_tol=1e-6, abs_tol=1e-9)


def _set(prediction: str, gold: str) -> bool:
    """The same members, in any order; the last two may be joined by "and"."""
    return any(_members(prediction, mark) == _members(gold, mark) for mark in _BETWEEN)


def _normal(text: str) -> str:
    """Case, spacing, quotes or stars (Markdown) around, and punctuation at the end tell no answers apart."""
    folded = " ".join(text.casefold().split())
    bare = folded.rstrip(" .,;:!?")
    if starred := _STARRED.fullmatch(bare):
        bare = starred[2].rstrip(" .,;:!?")
    bare = bare.strip(" \"'`“”‘’«»").rstrip(" .,;:!?")
    return bare or folded


def _members(text: str, between: re.Pattern[str]) -> set[str]:
    return {_normal(piece) for piece in between.split(text.strip().strip("[]{}()")) if piece.strip()}


def _first_number(text: str) -> float | None:
    match = _NUMBER.search(text.replace("\N{MINUS SIGN}", "-"))
    value = float(match.group().replace(",", "")) if match else math.nan
    return value if math.isfinite(value) else None


_CHECKS = {"exact": _exact, "number": _number, "contains": contains, "set": _set}
