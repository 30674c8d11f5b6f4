"""How many tokens an answer took, as its server counts them, or guessed where it counts none."""

from __future__ import annotations

from typing import Any

import orjson

from tmcli.meter import CHARS_PER_TOKEN
from tmcli.records import Json

GUESSED = "guess"
"""Marks a `usage` that no server counted."""


def tokens(choice: Json) -> tuple[int, int]:
    """Tokens of the prompt and of the completion, as the server counts them."""
    usage = choice["usage"]
    return _count(usage.get("prompt_tokens")), _count(usage.get("completion_tokens"))


def guessed(choice: Json, asked: bytes) -> Json:
    """The choice of a server that counts nothing, with a guess. Without one a budget would never be used up.
    `asked`: the body of the request."""
    n_in, n_out = (len(text) // CHARS_PER_TOKEN for text in (asked, orjson.dumps(choice["message"])))
    return {**choice, "usage": {"prompt_tokens": n_in, "completion_tokens": n_out, GUESSED: True}}


def _count(n: Any) -> int:
    """A count; some gateways send 60.0."""
    return int(n) if isinstance(n, int | float) and 0 < n < 1e12 else 0
