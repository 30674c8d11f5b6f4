"""How the scripted expert reads a reply: through its shape, for the keys it needs.

    reading = Reading(need=["book_id"])
    reading.add({"page": 1, "pages": 2, "fields": {"title": "Emma"}})
    reading.next_page                   # 2: what is needed is not there yet
    reading.add({"page": 2, "pages": 2, "fields": {"book_id": "B417"}})
    reading.value                       # {"title": "Emma", "book_id": "B417"}

A reply that has what is needed is taken as it is. Of shapes it knows those of `drift/wrap.py`, as anyone
would see them in the reply; of units, that a key with a smaller one holds so many times the number.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tmcli.drift import forms, names
from tmcli.records import Json


class Reading:
    """The replies to one call of the plan, page after page."""

    def __init__(self, need: Sequence[Any]) -> None:
        self.need = need
        """Keys that the reply should have."""
        self.value: Any = None
        """What was read so far."""
        self.next_page: int | None = None
        """The page to ask for; None: all that is needed is there."""
        self.shape = ""
        """How the reply was wrapped, in words."""

    def add(self, reply: Any) -> None:
        """Read a reply, or a further page of it."""
        if _is_page(reply):
            self.shape = "in pages"
            part = reply["fields" if "fields" in reply else "items"]
            self.value = _merged(self.value, part) if reply["page"] > 1 else part
            there = has(self.value, self.need) and not self._may_go_on()
            self.next_page = None if there or reply["page"] >= reply["pages"] else reply["page"] + 1
            return
        inside, shape = _inside(reply)
        if shape and (has(inside, self.need) or not has(reply, self.need)):
            self.value, self.shape = inside, shape
        else:
            self.value = reply

    def _may_go_on(self) -> bool:
        """Is what is needed a list, of which another page may hold more?"""
        return isinstance(self.value, list) or any(isinstance(self.value.get(key), list) for key in self.need)


def has(value: Any, need: Sequence[Any]) -> bool:
    """Does a reply have these keys, in whatever unit? What is not needed by key is there."""
    if isinstance(value, list):
        return all(isinstance(key, int) for key in need) and bool(need)
    if not isinstance(value, dict):
        return not need
    return all(key in value or small_of(key) in value for key in need)


def empty(reply: Any) -> bool:
    """Is there nothing in it?"""
    return reply in ({}, [], None, "", {"results": []})


def small_of(key: Any) -> str:
    """The key with a smaller unit, or nothing.

    >>> small_of("distance_km"), small_of("title"), small_of(0)
    ('distance_m', '', '')
    """
    unit = names.unit_of(key) if isinstance(key, str) else ""
    return f"{key[: -len(unit)]}{forms.UNITS[unit][0]}" if unit in forms.UNITS else ""


def in_units(value: Any, keys: Sequence[str], lessons: list[str]) -> Any:
    """The value with these keys, where it has them in a smaller unit; what was found goes to `lessons`."""
    if isinstance(value, list):
        return [in_units(item, keys, lessons) for item in value]
    if not isinstance(value, dict):
        return value
    read = {key: in_units(item, keys, lessons) for key, item in value.items()}
    for key in keys:
        small = small_of(key)
        if key in read or small not in read or not isinstance(read[small], (int, float)):
            continue
        _, factor = forms.UNITS[names.unit_of(key)]
        number = forms.unscaled(read[small], factor)
        read[key] = read[small] / factor if number is None else number
        lessons.append(f"{small} is {key} times {factor}")
    return read


def _is_page(reply: Any) -> bool:
    """Is this one page of a reply, and nothing else?"""
    return (
        isinstance(reply, dict)
        and {"page", "pages"} <= reply.keys() <= {"page", "pages", "fields", "items", "next"}
        and isinstance(reply.get("fields", reply.get("items")), dict | list)
    )


def _inside(reply: Any) -> tuple[Any, str]:
    """What a reply is wrapped around, and how; itself and nothing where it is not."""
    if isinstance(reply, dict):
        if reply.keys() == {"status", "data"}:
            return reply["data"], "under data"
        if reply.keys() == {"results", "count"} and len(reply["results"]) == 1:
            return reply["results"][0], "under results"
        if reply.keys() == {"fields"} and isinstance(reply["fields"], list):
            return {field["name"]: field["value"] for field in reply["fields"]}, "as names and values"
    return reply, ""


def _merged(before: Any, part: Any) -> Any:
    if isinstance(before, list):
        return [*before, *part]
    merged: Json = dict(before)
    for key, item in part.items():
        merged[key] = [*merged[key], *item] if isinstance(merged.get(key), list) else item
    return merged
