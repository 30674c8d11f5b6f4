"""How much is too much: characters, turns."""

from __future__ import annotations

from collections.abc import Callable

import orjson

from tmcli.filters.view import View

Check = Callable[[View], str | None]


def too_long(most: int) -> Check:
    """More characters in the dialogue (texts and call arguments) than `most`."""

    def check(view: View) -> str | None:
        n = sum(len(message.get("content") or "") for message in view.messages)
        for _, message, _ in view.played:
            for call in message.get("tool_calls") or []:
                n += len(orjson.dumps(call["function"].get("arguments")).decode())
        return f"{n} characters" if n > most else None

    return check


def too_many_turns(most: int) -> Check:
    """More assistant turns than `most`."""

    def check(view: View) -> str | None:
        return f"{len(view.turns)} turns" if len(view.turns) > most else None

    return check
