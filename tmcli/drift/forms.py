"""How values are written: dates, ids, codes, units. What a form is, and the way there and back.

    date_swap("DD/MM/YYYY")("born 1998-03-21")     # "born 21/03/1998", and the same swap leads back
    id_swap("D/L")("H417")                         # "417/H"
    scaled(12.5, 1000), unscaled(12500, 1000)      # 12500, 12.5: exact, or None

A swap exchanges two forms of writing, so it is its own inverse: what is written in the new form already
becomes the old one.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from decimal import Decimal
from functools import lru_cache
from typing import Any

ISO = "YYYY-MM-DD"
DATES = ("DD/MM/YYYY", "YYYYMMDD", "DD-MM-YYYY", "YYYY/MM/DD")
"""Forms of a date that no one takes for each other, beside ISO."""

ID = "LD"
IDS = ("L-D", "D/L", "#LD", "D-L")
"""Forms of an id of letters and a number, beside both together (`H417`)."""

UNITS = {
    "km": ("m", 1000),
    "m": ("cm", 100),
    "kg": ("g", 1000),
    "g": ("mg", 1000),
    "h": ("min", 60),
    "min": ("s", 60),
    "eur": ("cents", 100),
    "l": ("ml", 1000),
    "days": ("hours", 24),
}
"""Unit at the end of a key -> the smaller one, and how many of it make one."""

EXAMPLE_DATE = ("1998", "03", "21")
EXAMPLE_ID = ("K", "205")
MAX_DIGITS = 11
"""Numbers of more digits are not scaled: a float would not come back."""

_FIELDS = {"YYYY": "([0-9]{4})", "MM": "(0[1-9]|1[0-2])", "DD": "(0[1-9]|[12][0-9]|3[01])"}
_ID_FIELDS = {"L": "([A-Z]{1,3})", "D": "([0-9]{3,6})"}
_ALONE = r"(?<![\w/#-])(?:{})(?![\w/#-])"
"""Forms are looked for in whole runs of such characters, so that what is written comes out as one run."""

Swap = Callable[[str], str]


@lru_cache(maxsize=64)
def date_swap(form: str) -> Swap:
    """Text -> text with its ISO dates in this form, and dates of this form in ISO."""
    pattern, orders = _either(_FIELDS, ISO, form)
    anywhere = re.compile(_ALONE.format(pattern))

    def turn(match: re.Match[str]) -> str:
        return _turned(match, orders, (form, ISO))

    return lambda text: anywhere.sub(turn, text)


@lru_cache(maxsize=64)
def id_swap(form: str, anywhere: bool = False) -> Swap:
    """Text that is an id -> the id in this form, or back; `anywhere` in a sentence."""
    pattern, orders = _either(_ID_FIELDS, ID, form)

    def turn(match: re.Match[str]) -> str:
        return _turned(match, orders, (form, ID))

    if anywhere:
        inside = re.compile(_ALONE.format(pattern))
        return lambda text: inside.sub(turn, text)
    whole = re.compile(pattern)

    def swap(text: str) -> str:
        match = whole.fullmatch(text) if len(text) < 16 else None
        return turn(match) if match else text

    return swap


@lru_cache(maxsize=64)
def into(form: str) -> Swap:
    """Text -> text in which dates or ids have this form. What has it already stays.

    >>> into("D/L")("H417"), into("D/L")("417/H"), into("YYYYMMDD")("on 1998-03-21")
    ('417/H', '417/H', 'on 19980321')
    """
    if "YYYY" in form:
        there = date_swap(form)
        documented = pattern_of(ISO, inside=True)
        return lambda text: documented.sub(lambda found: there(found[0]), text)
    swap, is_id = id_swap(form), pattern_of(ID)
    return lambda text: swap(text) if is_id.fullmatch(text) else text


def as_iso(text: str) -> str:
    """A text that is a date as ISO writes it, for comparing; any other as it is.

    >>> as_iso("21/03/1998"), as_iso("1998-03-21"), as_iso("x")
    ('1998-03-21', '1998-03-21', 'x')
    """
    form = form_of(text, DATES)
    return date_swap(form)(text) if form else text


@lru_cache(maxsize=64)
def pattern_of(form: str, inside: bool = False) -> re.Pattern[str]:
    """What a date or an id of this form looks like, as a whole or inside a text."""
    fields = _FIELDS if "YYYY" in form else _ID_FIELDS
    pattern, _ = _one(fields, form)
    return re.compile(_ALONE.format(pattern) if inside else pattern)


def example(form: str) -> str:
    """The same date or id for every lesson.

    >>> example("DD/MM/YYYY"), example("D/L")
    ('21/03/1998', '205/K')
    """
    if "YYYY" in form:
        year, month, day = EXAMPLE_DATE
        return form.replace("YYYY", year).replace("MM", month).replace("DD", day)
    letters, digits = EXAMPLE_ID
    return form.replace("D", digits).replace("L", letters)


def form_of(shown: str, forms: Sequence[str]) -> str | None:
    """Which of the forms an example is written in.

    >>> form_of("205/K", IDS), form_of("21/03/1998", DATES), form_of("x", IDS)
    ('D/L', 'DD/MM/YYYY', None)
    """
    return next((form for form in forms if pattern_of(form).fullmatch(shown)), None)


def texts(value: Any, change: Swap) -> Any:
    """The value with every text in it changed, keys of objects among them; itself where nothing changes."""
    if isinstance(value, str):
        return change(value)
    if isinstance(value, list):
        items = [texts(item, change) for item in value]
        return items if any(a is not b for a, b in zip(items, value, strict=True)) else value
    if isinstance(value, dict):
        changed = {change(key): texts(item, change) for key, item in value.items()}
        return changed if len(changed) == len(value) else value
    return value


def codes(values: Sequence[str]) -> list[tuple[str, ...]]:
    """Other ways to write the values of a closed list, in which each can be recognised: in capitals, and by
    its first letters.

    >>> codes(["single", "double room"])
    [('SINGLE', 'DOUBLE ROOM'), ('SIN', 'DOU')]
    >>> codes(["G1", "G2"])
    []
    """
    upper = tuple(value.upper() for value in values)
    ways = [upper]
    for length in (3, 4, 5):
        short = tuple(value[:length] for value in upper)
        if len(set(short)) == len(values) and all(map(str.isalpha, short)):
            ways.append(short)
            break
    old = set(values)
    return [way for way in dict.fromkeys(ways) if len(set(way)) == len(old) and old.isdisjoint(way)]


def recognised(value: str, listed: Sequence[str]) -> str | None:
    """Which of the listed ways of writing means this value.

    >>> recognised("single", ["SIN", "DOU"]), recognised("x", ["SIN", "DOU"])
    ('SIN', None)
    """
    upper = value.upper()
    found = [way for way in listed if way and upper.startswith(way.upper())]
    return max(found, key=len) if found else None


def scaled(value: Any, factor: int) -> Any:
    """A number in a smaller unit: exact, and `unscaled` leads back; None where that cannot be.

    >>> scaled(3, 60), scaled(0.75, 1000), scaled(2.0, 100), scaled(True, 60), scaled("x", 60)
    (180, 750, 200.0, None, None)
    """
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return None
    if isinstance(value, int):
        return value * factor
    exact = Decimal(repr(value))
    if not exact.is_finite() or len(exact.as_tuple().digits) > MAX_DIGITS or abs(exact.adjusted()) > 15:
        return None
    product = exact * factor
    whole = product == product.to_integral_value()
    return int(product) if whole and not value.is_integer() else float(product)


def unscaled(value: Any, factor: int) -> Any:
    """The number in the larger unit again; None where it is no number, or comes to no end.

    >>> unscaled(180, 60), unscaled(750, 1000), unscaled(200.0, 100), unscaled(50, 60)
    (3, 0.75, 2.0, None)
    """
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return None
    if isinstance(value, int) and value % factor == 0:
        return value // factor
    exact = Decimal(repr(value))
    if not exact.is_finite():
        return None
    quotient = float(exact / factor)
    return quotient if Decimal(repr(quotient)) * factor == exact else None


def shifted(value: Any, off: int) -> Any:
    """A number plus so much; anything else, and a decimal that would not come back, as it is.

    >>> shifted(3, 4), shifted(0.1, 4), shifted("x", 4), shifted(True, 4)
    (7, 4.1, 'x', True)
    """
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return value
    if isinstance(value, int):
        return value + off
    exact = Decimal(repr(value))
    if not exact.is_finite() or abs(exact.adjusted()) > MAX_DIGITS:
        return value
    moved = float(exact + off)
    return moved if Decimal(repr(moved)) == exact + off else value


def _one(fields: dict[str, str], form: str) -> tuple[str, list[str]]:
    """A form as a pattern, and its fields in order."""
    names = re.compile("|".join(fields))
    return names.sub(lambda field: fields[field[0]], re.escape(form)), names.findall(form)


def _either(fields: dict[str, str], old: str, new: str) -> tuple[str, tuple[list[str], list[str]]]:
    one, first = _one(fields, old)
    other, second = _one(fields, new)
    return f"{one}|{other}", (first, second)


def _turned(match: re.Match[str], orders: tuple[list[str], list[str]], targets: tuple[str, str]) -> str:
    """What the match is in the other form: its groups are those of the old form, then of the new."""
    groups = [group for group in match.groups() if group is not None]
    which = 0 if match[1] is not None else 1
    values = dict(zip(orders[which], groups, strict=True))
    return re.sub("|".join(values), lambda field: values[field[0]], targets[which])
