"""A dialogue as a server is sent it, again with every turn."""

from __future__ import annotations

import orjson

from tmcli.records import Json


class Sent:
    """Messages in the form a server takes; each is encoded once, however many requests hold it."""

    def __init__(self) -> None:
        self._messages: list[orjson.Fragment] = []
        self._bare: dict[int, orjson.Fragment] = {}
        """Those that hold reasoning, without it."""

    def __len__(self) -> int:
        return len(self._messages)

    def add(self, message: Json, thoughts: Json | None = None) -> None:
        """One more; `thoughts`: its reasoning fields."""
        if thoughts:
            self._bare[len(self._messages)] = _encoded(message)
            message = {**message, **thoughts}
        self._messages.append(_encoded(message))

    def all(self, thoughts: bool) -> list[orjson.Fragment]:
        """For a request; `thoughts`: does the server take its reasoning back?"""
        if thoughts or not self._bare:
            return self._messages
        return [self._bare.get(i, message) for i, message in enumerate(self._messages)]


def _encoded(message: Json) -> orjson.Fragment:
    return orjson.Fragment(orjson.dumps(message))
