"""What toolboxes build their worlds from: ids, names, dates, codes, and rows found again.

    rng = random.Random(seed)
    titles = worlds.pairs(rng, MOODS, THEMES, 14)
    books = {key: {"title": title} for key, title in zip(worlds.ids(rng, "B", 14), titles, strict=True)}
    worlds.find(books, "title", " silent HARBOR", "book")     # "B417"

For `tools.py` of a toolbox: standard library only, and importable inside the sandbox too. All of it is
drawn from `rng.random()` alone: it is the fastest draw there is, and a world is built for every task.
"""

from __future__ import annotations

import datetime as dt
import random
import zlib
from collections.abc import Mapping, Sequence
from typing import Any

Row = dict[str, Any]


def ids(rng: random.Random, prefix: str, n: int, digits: int = 3) -> list[str]:
    """`n` distinct ids: the prefix and a number of so many digits.

    >>> ids(random.Random(1), "B", 3)
    ['B220', 'B862', 'B787']
    """
    least = 10 ** (digits - 1)
    return [f"{prefix}{least + number}" for number in distinct(rng, 9 * least, n)]


def pairs(
    rng: random.Random, left: Sequence[str], right: Sequence[str], n: int, form: str = "{} {}"
) -> list[str]:
    """`n` distinct combinations of a left and a right word.

    >>> pairs(random.Random(1), ["Red", "Blue"], ["Fox", "Hen", "Owl"], 2)
    ['Red Fox', 'Blue Owl']
    """
    width = len(right)
    drawn = distinct(rng, len(left) * width, n)
    return [form.format(left[number // width], right[number % width]) for number in drawn]


def date(rng: random.Random, first_year: int, last_year: int) -> str:
    """Any day of these years, as ISO text.

    >>> date(random.Random(1), 2024, 2025)
    '2024-04-08'
    """
    first = dt.date(first_year, 1, 1).toordinal()
    n_days = dt.date(last_year + 1, 1, 1).toordinal() - first
    return dt.date.fromordinal(first + int(rng.random() * n_days)).isoformat()


def whole(rng: random.Random, least: int, most: int) -> int:
    """A whole number between these, both included: `rng.randint`, three times as fast."""
    return least + int(rng.random() * (most - least + 1))


def distinct(rng: random.Random, below: int, n: int) -> list[int]:
    """`n` distinct whole numbers from 0 up to `below`, in the order they were drawn."""
    if n > below:
        raise ValueError(f"{n} distinct things of {below}")
    draw = rng.random
    drawn: dict[int, None] = {}
    while missing := n - len(drawn):
        drawn |= dict.fromkeys([int(draw() * below) for _ in range(missing)])
    return list(drawn)


def find(table: Mapping[str, Row], key: str, value: str, what: str) -> str:
    """The id of the first row whose `key` is this text; case and blanks do not matter."""
    wanted = plain(value)
    for row_id, row in table.items():
        if row[key].casefold() == wanted:  # a world writes its names with single blanks
            return row_id
    raise LookupError(f"no {what} {value!r}")


def get(table: Mapping[str, Row], row_id: str, what: str) -> Row:
    """The row of an id. What is given out must not be the row itself, but a new object."""
    if row_id not in table:
        raise LookupError(f"no {what} {row_id!r}")
    return table[row_id]


def day(text: str) -> str:
    """An argument that is to be a date, as ISO text; ValueError where it is none.

    >>> day(" 2025-03-31 ")
    '2025-03-31'
    """
    date_text = text.strip()
    try:
        if dt.date.fromisoformat(date_text).isoformat() == date_text:  # other ISO forms are not ours
            return date_text
    except ValueError:
        pass  # told below
    raise ValueError(f"no date {text!r}; dates are like 2025-03-31")


def code(prefix: str, *parts: object) -> str:
    """What a booking brings: always the same for these parts, and nothing that could be guessed when one of
    them is a number that only the world knows.

    >>> code("RC", 512, "B417")
    'RC1901'
    """
    return f"{prefix}{1000 + number(*parts) % 9000}"


def number(*parts: object) -> int:
    """What codes of other forms are made of: 32 bits, always the same for these parts.

    >>> number(512, "B417")
    2671623901
    """
    return zlib.crc32(repr(parts).encode())


def plain(text: str) -> str:
    """A text without what does not matter when names are compared.

    >>> plain("  Silent  HARBOR ")
    'silent harbor'
    """
    return " ".join(text.casefold().split())
