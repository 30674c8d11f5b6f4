"""Which tools someone would try who knows nothing but the question and the documents.

    likely("Visits of 2025-02-07: who was first?", documents, ["2025-02-07"])    # shown names

Likely is what shares most words with the question, of the tools that only look and take as many values, of
such kinds, as there are. Nothing here knows which tool is the right one.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from typing import Any

from tmcli.drift import names
from tmcli.policies.beliefs import PARAMETERS
from tmcli.records import Json

STEM = 5
"""Letters by which words are held to be the same: visit, visits."""

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


def lesson(tool: str, sent: Json, text: str) -> str:
    """What the reply to a trial of a tool taught that turned out to be another one's business."""
    try:
        reply = json.loads(text)
    except ValueError:
        reply = None
    if not isinstance(reply, dict) or not reply:
        return f"{tool} does not help"
    if "error" not in reply:
        return f"{tool} answers {', '.join(list(reply)[:4])}"
    error = str(reply["error"])
    if found := PARAMETERS.search(error):
        return f"{tool} takes {found[1]}"
    known = [value for value in sent.values() if isinstance(value, str) and f"'{value}'" in error]
    return f"{tool} has no {known[0]}" if known else f"{tool} does not take this"


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
