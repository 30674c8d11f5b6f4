"""How someone finds a tool who knows nothing but the question and the documents: by trying likely ones.

    names = likely("Visits of 2025-02-07: who was first?", documents, ["2025-02-07"])
    search = Search(names, takes, ["2025-02-07"])
    while call := search.next():
        lesson = search.hear(reply_to(call))

Likely is what shares most words with the question, of the tools that only look and take as many values, of
such kinds, as there are. A tool is left when it answers, or knows nothing of the value; not for the name of a
parameter. Nothing here knows which tool is the right one.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from typing import Any

from tmcli.drift import names
from tmcli.policies.beliefs import PARAMETERS
from tmcli.protocol import Call
from tmcli.records import Json

STEM = 5
"""Letters by which words are held to be the same: visit, visits."""

MOST_KEYS = 4
"""So many keys of a reply are noted."""

_WORD = re.compile(r"[^\W\d_]{3,}")
_KINDS: dict[str, type | tuple[type, ...]] = {
    "string": str,
    "integer": int,
    "number": (int, float),
    "array": list,
    "boolean": bool,
}


def likely(question: str, documents: Sequence[Json], values: Sequence[Any]) -> list[str]:
    """Shown names of the tools that could take `values`, in this order; of equal ones the first shown."""
    asked = _stems(question)
    fitting = [shown for shown in documents if names.reads(_true_words(shown)) and _takes(shown, values)]
    return [shown["name"] for shown in sorted(fitting, key=lambda shown: -len(asked & _said(shown)))]


class Search:
    """The calls of tools that are tried one after the other."""

    def __init__(self, names: Sequence[str], takes: dict[str, list[str]], values: list[Any]) -> None:
        self.left = list(names)
        self.takes = takes
        """Tool -> its parameters, as documented or as learned."""
        self.values = values
        self.call: Call | None = None
        """Waits for its reply."""
        self.again: Call | None = None
        self.error = ""
        """Of the last reply."""

    def next(self) -> Call | None:
        """The next call; None: all were tried."""
        self.call, self.again = self.again, None
        if self.call is None and self.left:
            tool = self.left.pop(0)
            self.call = Call(tool, dict(zip(self.takes[tool], self.values, strict=True)))
        return self.call

    def hear(self, text: str) -> str:
        """What the reply to the last call teaches, in a sentence."""
        assert self.call is not None
        call, self.call, self.error = self.call, None, ""
        try:
            reply = json.loads(text)
        except ValueError:
            reply = None
        if not isinstance(reply, dict) or not reply:
            return f"{call.name} does not help"
        if "error" not in reply:
            return f"{call.name} answers {', '.join(list(reply)[:MOST_KEYS])}"
        self.error = error = str(reply["error"])
        if found := PARAMETERS.search(error):
            names = found[1].split(", ")
            if len(names) == len(self.values) and names != list(call.arguments):
                self.takes[call.name] = names
                self.again = Call(call.name, dict(zip(names, self.values, strict=True)))
            return f"{call.name} takes {found[1]}"
        quoted = [value for value in call.arguments.values() if f"'{value}'" in error]
        return f"{call.name} has no {quoted[0]}" if quoted else f"{call.name} does not take this"

    def rewrite(self, call: Call, values: list[Any]) -> None:
        """Make a call once more: values are written in another way."""
        self.values = values
        self.again = Call(call.name, dict(zip(call.arguments, values, strict=True)))


def _true_words(shown: Json) -> str:
    """The name; where that tells nothing, the description, which then begins with one that does."""
    described = str(shown.get("description") or "").split(".")[0]
    return described if names.opaque(shown["name"]) else str(shown["name"])


def _takes(shown: Json, values: Sequence[Any]) -> bool:
    properties = (shown.get("parameters") or {}).get("properties") or {}
    return len(properties) == len(values) and all(map(_fits, properties.values(), values))


def _fits(schema: Json, value: Any) -> bool:
    kind = _KINDS.get(str(schema.get("type")))
    return (kind is None or isinstance(value, kind)) and value in schema.get("enum", [value])


def _said(shown: Json) -> set[str]:
    properties = (shown.get("parameters") or {}).get("properties") or {}
    return _stems(" ".join([*names.words(shown["name"]), str(shown.get("description") or ""), *properties]))


def _stems(text: str) -> set[str]:
    return {
        word[:STEM]
        for word in map(str.lower, _WORD.findall(text.replace("_", " ")))
        if word not in names.READING
    }
