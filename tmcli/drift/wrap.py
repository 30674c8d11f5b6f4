"""wrap: replies have another shape, each tool its own. Errors keep theirs.

    envelope    {"status": "ok", "data": REPLY}
    list        {"results": [REPLY], "count": 1}
    pairs       {"fields": [{"name": KEY, "value": VALUE}, ...]}            objects only
    paged       {"page": 1, "pages": 2, "fields" or "items": one half of it, "next": "call again with page=2"}

A paged tool takes a `page` that no document tells of. The halves are keys of an object, items of a list, or
the items of the one list an object holds.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Any

from tmcli.drift.layer import Call, Ground, Layer, Told, name_of, properties_of, schema_of, with_function
from tmcli.records import Json

SHAPES = ("envelope", "list", "pairs", "paged")
PAGE: Json = {"type": "integer", "minimum": 1}


class Wrap(Layer):
    kind = "wrap"

    def __init__(self, entry: Json) -> None:
        super().__init__(entry)
        self.shapes: dict[str, str] = entry["shapes"]
        """Tool -> shape of its replies."""

    @classmethod
    def make(cls, ground: Ground, rng: random.Random) -> Json | None:
        shapes: dict[str, str] = {}
        n_paged = 0
        for name in ground.touched(rng, ground.takes):
            shape = rng.choice(SHAPES)
            calls = ground.planned[name]
            if shape == "paged" and "page" in ground.takes[name]:
                shape = "envelope"
            if shape == "paged" and calls:
                if n_paged + calls > ground.most and n_paged:
                    shape = "pairs"
                else:
                    n_paged += calls
            shapes[name] = shape
        return {"shapes": shapes} if shapes else None

    def longer(self, calls: Sequence[Call]) -> int:
        return sum(self.shapes.get(name) == "paged" for name, _ in calls)

    def live(self, tools: list[Json]) -> list[Json]:
        if "paged" not in self.shapes.values():
            return tools
        return [_paging(tool) if self.shapes.get(name_of(tool)) == "paged" else tool for tool in tools]

    def inward(self, name: str, arguments: Json) -> Call:
        if self.shapes.get(name) != "paged" or "page" not in arguments:
            return name, arguments
        if not isinstance(arguments["page"], int) or arguments["page"] < 1:
            raise Told("page must be 1 or more")
        return name, {key: value for key, value in arguments.items() if key != "page"}

    def outward(self, name: str, arguments: Json, value: Any) -> Any:
        match self.shapes.get(name):
            case "envelope":
                return {"status": "ok", "data": value}
            case "list":
                return {"results": [value], "count": 1}
            case "pairs" if isinstance(value, dict):
                return {"fields": [{"name": key, "value": item} for key, item in value.items()]}
            case "paged":
                return _page(value, arguments.get("page", 1))
        return value

    def inward_reply(self, name: str, arguments: Json, value: Any) -> Any:
        match self.shapes.get(name):
            case "envelope":
                return value["data"]
            case "list":
                return value["results"][0]
            case "pairs" if isinstance(value, dict):
                return {pair["name"]: pair["value"] for pair in value["fields"]}
            case "paged" if isinstance(value, dict):
                return value.get("fields", value.get("items"))
        return value

    def page(self, name: str, arguments: Json) -> int | None:
        return arguments.get("page", 1) if self.shapes.get(name) == "paged" else None


def _paging(tool: Json) -> Json:
    schema = schema_of(tool) or {"type": "object"}
    return with_function(tool, parameters={**schema, "properties": {**properties_of(tool), "page": PAGE}})


def _page(value: Any, page: int) -> Any:
    """One page of a reply. Raises `Told` where there is none of this number."""
    pages = _pages(value)
    if page > max(1, len(pages)):
        raise Told(
            f"there is no page {page}; pages are: {', '.join(map(str, range(1, len(pages) + 1))) or '1'}"
        )
    if not pages:
        return value
    part = "items" if isinstance(value, list) else "fields"
    told: Json = {"page": page, "pages": len(pages), part: pages[page - 1]}
    if page < len(pages):
        told["next"] = f"call again with page={page + 1}"
    return told


def _pages(value: Any) -> list[Any]:
    """The halves of an object or a list; none of anything else."""
    if isinstance(value, list):
        return _halves(value) or [value]
    if not isinstance(value, dict):
        return []
    if len(value) > 1:
        return [dict(half) for half in _halves(list(value.items()))]
    for key, only in value.items():
        if isinstance(only, list) and len(only) > 1:
            return [{key: half} for half in _halves(only)]
    return [value]


def _halves(items: list[Any]) -> list[list[Any]]:
    middle = (len(items) + 1) // 2
    return [items[:middle], items[middle:]] if len(items) > 1 else []
