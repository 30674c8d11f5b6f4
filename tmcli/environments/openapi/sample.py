"""A value that fits a schema: what a reply may look like when a document shows no example.

    sample({"type": "object", "properties": {"id": {"type": "integer"}}}, random.Random(7), "pet")

Drawn from the schema's own examples, defaults and enums first, else made up within its bounds; the same for
the same random state. Bounded in depth and size; a `pattern` is not followed.
"""

from __future__ import annotations

import math
from datetime import UTC, datetime, timedelta
from random import Random
from typing import Any
from uuid import UUID

from tmcli.records import Json

MAX_DEPTH = 6
MAX_NODES = 300
MAX_ITEMS = 3
"""Unless the schema asks for more."""


def sample(schema: Json, rng: Random, name: str = "value") -> Any:
    """A value for a field of this name."""
    return _Sampler(rng).value(schema, name, 0)


class _Sampler:
    def __init__(self, rng: Random) -> None:
        self.rng = rng
        self.n_nodes = 0

    def value(self, schema: Json, name: str, depth: int) -> Any:
        self.n_nodes += 1
        if "const" in schema:
            return schema["const"]
        if examples := schema.get("examples"):
            return examples[0]
        if enum := schema.get("enum"):
            return self.rng.choice([one for one in enum if one is not None] or enum)
        if schema.get("default") is not None:
            return schema["default"]
        for key in ("oneOf", "anyOf"):
            if branches := [one for one in schema.get(key, []) if one.get("type") != "null"]:
                rest = {word: part for word, part in schema.items() if word != key}
                return self.value({**rest, **branches[0]}, name, depth)
        if parts := schema.get("allOf"):
            return self._all([{k: v for k, v in schema.items() if k != "allOf"}, *parts], name, depth)
        said = schema.get("type")
        kinds = [kind for kind in (said if isinstance(said, list) else [said]) if kind not in (None, "null")]
        if not kinds:
            return None if said else self._string(schema, name)
        return getattr(self, f"_{kinds[0]}")(
            schema, name, *([depth] if kinds[0] in ("object", "array") else [])
        )

    def _all(self, parts: list[Json], name: str, depth: int) -> Any:
        values = [self.value(part, name, depth) for part in parts if part.keys() - {"description"}]
        objects = [value for value in values if isinstance(value, dict)]
        return {key: item for one in objects for key, item in one.items()} if objects else values[-1]

    def _object(self, schema: Json, name: str, depth: int) -> Json:
        due = schema.get("required", [])
        full = depth >= MAX_DEPTH or self.n_nodes > MAX_NODES
        properties: Json = schema.get("properties", {})
        out = {
            key: self.value(part, key, depth + 1)
            for key, part in properties.items()
            if key in due or not full
        }
        extra = schema.get("additionalProperties")
        if isinstance(extra, dict) and not properties and not full:
            out.update((f"{name}_{i}", self.value(extra, name, depth + 1)) for i in range(2))
        return out

    def _array(self, schema: Json, name: str, depth: int) -> list[Any]:
        least, most = schema.get("minItems", 0), schema.get("maxItems", MAX_ITEMS)
        full = depth >= MAX_DEPTH or self.n_nodes > MAX_NODES
        n = least if full else max(least, min(most, self.rng.randint(1, MAX_ITEMS)))
        first = [self.value(part, name, depth + 1) for part in schema.get("prefixItems", [])[:n]]
        items = schema.get("items", {})
        items = items if isinstance(items, dict) else {}
        one = name.removesuffix("s")
        return [*first, *(self.value(items, one, depth + 1) for _ in range(min(n, MAX_NODES) - len(first)))]

    def _boolean(self, schema: Json, name: str) -> bool:
        return self.rng.random() < 0.5

    def _integer(self, schema: Json, name: str) -> int:
        low, high = self._bounds(schema, 1)
        step = schema.get("multipleOf", 1)
        step = int(step) if step == int(step) else 1
        first, last = math.ceil(low / step), math.floor(high / step)
        return self.rng.randint(first, max(first, last)) * step

    def _number(self, schema: Json, name: str) -> float:
        if "multipleOf" in schema:
            return self._integer(schema, name)
        low, high = self._bounds(schema, 0)
        value = round(self.rng.uniform(low, high), 2)
        return value if low < value < high else (low + high) / 2

    def _bounds(self, schema: Json, inside: int) -> tuple[float, float]:
        """Least and most; `inside`: how far a value must stay from an exclusive bound."""
        low = schema.get("minimum", -math.inf)
        high = schema.get("maximum", math.inf)
        low = max(low, schema.get("exclusiveMinimum", -math.inf) + inside)
        high = min(high, schema.get("exclusiveMaximum", math.inf) - inside)
        if low == -math.inf:
            low = 1 if high > 1 else high - 1000
        return low, low + 1000 if high == math.inf else high

    def _string(self, schema: Json, name: str) -> str:
        if made := self._formatted(schema.get("format"), name):
            return made
        text = f"{name} {self.rng.randrange(100, 1000)}"
        least, most = schema.get("minLength", 0), schema.get("maxLength", 1000)
        return (text if len(text) >= least else text.ljust(min(least, 10_000), "x"))[:most]

    def _formatted(self, kind: Any, name: str) -> str:
        rng = self.rng
        moment = datetime(2015, 1, 1, tzinfo=UTC) + timedelta(minutes=rng.randrange(10 * 365 * 24 * 60))
        word = "".join(c for c in name.lower() if c.isascii() and c.isalnum()) or "x"
        match kind:
            case "date":
                return moment.date().isoformat()
            case "date-time":
                return moment.isoformat().replace("+00:00", "Z")
            case "time":
                return moment.strftime("%H:%M:%SZ")
            case "uuid":
                return str(UUID(int=rng.getrandbits(128), version=4))
            case "email":
                return f"{word}{rng.randrange(100)}@example.org"
            case "uri" | "url" | "uri-reference":
                return f"https://example.org/{word}/{rng.randrange(1000)}"
            case "hostname":
                return f"{word}.example.org"
            case "ipv4":
                return f"192.0.2.{rng.randrange(1, 255)}"
            case "ipv6":
                return f"2001:db8::{rng.randrange(1, 65536):x}"
        return ""
