"""Does a server refuse wrong calls? Measured by mutating good ones.

    wrong = spoiled(tools, "search", {"query": "Emma"}, turn=0)     # one fault that the schema forbids
    probes = machinery.shared("...", Probes)                        # what a run's wrong calls brought

A simulator that answers everything with a plausible success teaches nothing about a tool: trials need
errors. No call is made here; see `stabletoolbench.py`.
"""

from __future__ import annotations

from itertools import count
from typing import Any

import orjson

from tmcli import console
from tmcli.environments.arguments import fault
from tmcli.records import Json

MAX_PROBES = 8
"""So many calls of a run are made once more with a fault."""
_EXTRA = ("mode", "verbose", "locale", "zone")
"""Names for a parameter that should not be there."""


class Probes:
    """Counts a run's wrong calls, and says at its end what they mean."""

    def __init__(self) -> None:
        self._turns = count()
        self.made: dict[str, int] = {}
        """Server -> wrong calls that were answered."""
        self.accepted: dict[str, int] = {}

    def take(self) -> int | None:
        """The number of a further wrong call, or None when there were enough."""
        turn = next(self._turns)
        return turn if turn < MAX_PROBES else None

    def note(self, server: str, accepted: bool | None) -> None:
        """One was made. None: it says nothing."""
        if accepted is not None:
            self.made[server] = self.made.get(server, 0) + 1
            self.accepted[server] = self.accepted.get(server, 0) + accepted

    async def aclose(self) -> None:
        """Real services often ignore a parameter they do not know: half is where it is no accident."""
        for server, made in self.made.items():
            accepted = self.accepted[server]
            if 2 * accepted >= made:
                console.warn(
                    f"{server} accepted {accepted} of {made} wrong calls: "
                    "it hides the feedback that trials need"
                )
        self.made, self.accepted = {}, {}


def spoiled(tools: list[Json], name: str, arguments: Json, turn: int) -> Json | None:
    """The arguments with one fault that the tool's schema forbids, or None when it forbids nothing.

    Which kind goes round with `turn`: a required parameter is missing, one is unknown, one has a wrong type.

    >>> due = {"properties": {"id": {"type": "string"}}, "required": ["id"]}
    >>> tools = [{"type": "function", "function": {"name": "f", "parameters": due}}]
    >>> [spoiled(tools, "f", {"id": "7"}, turn) for turn in range(3)]
    [{}, {'id': '7', 'mode': '1'}, {'id': ['7']}]
    """
    tool = next((tool for tool in tools if tool["function"]["name"] == name), None)
    if tool is None:
        return None
    schema = tool["function"].get("parameters")
    required = schema.get("required") if isinstance(schema, dict) else None
    needed = [key for key in (required if isinstance(required, list) else []) if key in arguments]
    kinds: list[list[Json]] = [
        [{k: value for k, value in arguments.items() if k != key} for key in needed],
        [{**arguments, extra: "1"} for extra in _EXTRA if extra not in arguments],
        [{**arguments, key: [value]} for key, value in arguments.items()],
    ]
    first = turn % len(kinds)
    candidates = (wrong for kind in [*kinds[first:], *kinds[:first]] for wrong in kind)
    return next((wrong for wrong in candidates if fault([tool], name, wrong)), None)


def complains(response: Any) -> bool:
    """Does a reply that is marked as no error speak of one? Services behind a gateway object like this."""
    said = response
    if isinstance(response, str):
        try:
            said = orjson.loads(response)
        except orjson.JSONDecodeError:
            start = response.lstrip().lower()
            return (
                start.startswith(("error", "{'error", "{'message': 'missing")) or "keyword argument" in start
            )
    return isinstance(said, dict) and any(said.get(key) for key in ("error", "errors", "detail"))
