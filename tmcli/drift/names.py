"""Other names for tools and parameters: what they may have been called before, or elsewhere.

    parameters("book_id")     ('book', 'id', 'book_no', ...)
    tools("find_book")        ('look_up_volume', 'search_volume', ...)

Words are exchanged for words that mean the same; where nobody knows one, the words are put differently. The
unit at the end of a name (`price_eur`) is kept: it says what the number means.
"""

from __future__ import annotations

import random
import re
from collections.abc import Collection, Sequence
from functools import lru_cache

from tmcli.drift.forms import UNITS
from tmcli.drift.thesaurus import ENDS, NOUNS, PARAMETERS, VERBS

READING = frozenset(
    "browse calculate check compare compute convert describe estimate fetch find get identify inspect list"
    " locate look lookup query rank read retrieve search show track view".split()
)
"""First words of tools that only look: to call such a tool once more changes nothing."""

_WORDS = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|[0-9]+|[^\W\d_]+")
_HISSING = ("s", "x", "ch", "sh")
_SMALL = ("by", "for", "from", "in", "of", "to")
_OPAQUE = re.compile(r"fn_[0-9a-f]{2}(?:_[0-9]+)?|arg_[0-9]+(?:_[0-9]+)?")
BEST = 4
"""Of the names that are free, one of so many is drawn."""

MAX_CHARS = 64
"""Servers take no longer names of tools."""


@lru_cache(maxsize=4096)
def parameters(name: str) -> tuple[str, ...]:
    """What a parameter may be called elsewhere, best first and never its own name; at least three.

    >>> parameters("book_id")
    ('book', 'book_no', 'book_number', 'book_ref', 'bookId')
    >>> parameters("title")
    ('name', 'book_title', 'heading', 'title_text', 'the_title', 'title_value')
    >>> parameters("max_price_eur")
    ('max_cost_eur', 'price_eur', 'maxPrice_eur', 'the_max_price_eur', 'which_max_price_eur')
    """
    if opaque(name):
        number = name.rpartition("_")[2]
        return f"param_{number}", f"value_{number}", f"field_{number}"
    whole = name
    unit = unit_of(name)
    name = name[: -len(unit) - 1] if unit else name
    parts = name.split("_")
    stem, last = "_".join(parts[:-1]), parts[-1]
    found = list(PARAMETERS.get(name, ()))
    if not stem:
        found += [f"{name}_text", f"the_{name}", f"{name}_value"]
    elif last in ("id", "no", "number"):
        ends = [end for end in ("no", "id", "number", "ref") if end != last]
        found += [stem, *(f"{stem}_{end}" for end in ends), f"{stem}{last.capitalize()}"]
    else:
        for i, word in enumerate(parts):
            if others := PARAMETERS.get(word) or NOUNS.get(word):
                found.append("_".join([*parts[:i], others[0], *parts[i + 1 :]]))
        found += [f"{stem}_date", f"{stem}_day"] if last == "on" else [stem if last in _SMALL else last]
        found += [parts[0] + "".join(map(str.capitalize, parts[1:])), f"the_{name}", f"which_{name}"]
    named = (f"{word}_{unit}" if unit else word for word in dict.fromkeys(found) if word)
    return tuple(word for word in named if word != whole and unit_of(word) == unit)


@lru_cache(maxsize=4096)
def tools(name: str) -> tuple[str, ...]:
    """What a tool may be called elsewhere, best first and never its own name; at least two.

    >>> tools("find_book")[:3]
    ('look_up_volume', 'search_publication', 'locate_volume')
    >>> tools("x")
    ('use_x', 'x_service')
    """
    parts = words(name) or ["tool"]
    choices = [_same(parts, i) for i in range(len(parts))]
    n = max(map(len, choices))
    found = [
        "_".join(other[turn % len(other)] if (other := choices[i]) else word for i, word in enumerate(parts))
        for turn in range(n if n > 1 else 2 * n)
    ]
    if len(parts) > 1:
        found.append("_".join([parts[-1], *parts[:-1]]))
    found += [f"use_{'_'.join(parts)}", f"{'_'.join(parts)}_service"]
    return tuple(dict.fromkeys(word[:MAX_CHARS] for word in found if word[:MAX_CHARS] != name))


def _same(parts: list[str], i: int) -> tuple[str, ...]:
    """Words that mean the same as the i-th."""
    word = parts[i]
    if i == len(parts) - 1 and word in ENDS:
        return ENDS[word]
    if i == 0 and word in VERBS and (word not in NOUNS or parts[-1] not in ENDS):
        return VERBS[word]
    if word not in NOUNS and word[:-1] in NOUNS and word.endswith("s"):
        return tuple(f"{other}{'es' if other.endswith(_HISSING) else 's'}" for other in NOUNS[word[:-1]])
    return NOUNS.get(word, ())


def words(name: str) -> list[str]:
    """The words of a name, in lower case.

    >>> words("findBook_byID"), words("")
    (['find', 'book', 'by', 'id'], [])
    """
    return [word.lower() for word in _WORDS.findall(name)]


def unit_of(name: str) -> str:
    """The unit a name ends in, or nothing.

    >>> unit_of("distance_km"), unit_of("km"), unit_of("title")
    ('km', '', '')
    """
    stem, _, last = name.rpartition("_")
    return last if stem and last in _UNITS else ""


def opaque(name: str) -> bool:
    """Does a name tell nothing? Then a description must.

    >>> opaque("fn_3a"), opaque("arg_1"), opaque("find_book")
    (True, True, False)
    """
    return _OPAQUE.fullmatch(name) is not None


def nameless(rng: random.Random) -> list[str]:
    """Some names of tools that tell nothing."""
    return [f"fn_{rng.randrange(16, 256):02x}" for _ in range(BEST)]


def reads(name: str) -> bool:
    """Does a tool of this name only look? In doubt it does not.

    >>> reads("find_book"), reads("depot_card"), reads("book_room")
    (True, True, False)
    """
    parts = words(name)
    return bool(parts) and (parts[0] in READING or parts[-1] in ENDS)


def free(rng: random.Random, candidates: Sequence[str], taken: Collection[str]) -> str:
    """One of the best candidates that are not taken; `_2`, `_3`... is put to one where all are."""
    left = [name for name in candidates if name not in taken][:BEST]
    if left:
        return rng.choice(left)
    base = rng.choice(candidates)
    n = 2
    while f"{base}_{n}" in taken:
        n += 1
    return f"{base}_{n}"


_UNITS = {*UNITS, *(small for small, _ in UNITS.values())}
