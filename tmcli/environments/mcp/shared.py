"""What the sessions of a world share: HTTP clients, tool names; and what HTTP itself refused.

    shared = machinery.shared("mcp", Shared)
    client = shared.client(server.headers)          # making one takes longer than opening a session

    refused = []
    refusals.set(refused)                           # for requests made from here on, in this task

A refusal is an HTTP error that comes from before the MCP server: a wrong key, a gateway without its service.
"""

from __future__ import annotations

import contextlib
import json
import logging
from contextvars import ContextVar
from typing import Any

import httpx2

from tmcli.environments.mcp.config import Server

refusals: ContextVar[list[str]] = ContextVar("refusals")
"""What HTTP itself said no to while one request was made."""


class Shared:
    """One for each world; it closes what nobody closed."""

    def __init__(self) -> None:
        self.sessions: set[Any] = set()
        """Those that are open, with `close()`."""
        self.names: dict[tuple[Server, int], dict[str, str]] = {}
        """Of each server: the tool names that are shown -> its own."""
        self._clients: dict[tuple[tuple[str, str], ...], httpx2.AsyncClient] = {}
        for name in ("mcp", "client"):  # the SDK's loggers, which speak on stderr where nobody listens
            logging.getLogger(name).addHandler(logging.NullHandler())

    def client(self, headers: tuple[tuple[str, str], ...]) -> httpx2.AsyncClient:
        """One for all servers with these headers."""
        if headers not in self._clients:
            self._clients[headers] = httpx2.AsyncClient(
                headers=list(headers),
                timeout=httpx2.Timeout(None, connect=10.0),  # each call has a clock of its own
                limits=httpx2.Limits(max_connections=None, max_keepalive_connections=None),
                event_hooks={"response": [_note_refusal]},
            )
        return self._clients[headers]

    async def aclose(self) -> None:
        for session in list(self.sessions):
            await session.close()
        clients, self._clients = self._clients, {}
        for client in clients.values():
            await client.aclose()


async def _note_refusal(response: httpx2.Response) -> None:
    """Keep an HTTP error that is no answer of the MCP server: the SDK has words of its own for it."""
    refused = refusals.get(None)
    if refused is None or response.status_code < 400:
        return
    if response.headers.get("content-type", "").startswith("application/json"):
        with contextlib.suppress(ValueError):
            said = json.loads(await response.aread())
            if isinstance(said, dict) and "jsonrpc" in said and isinstance(said.get("error"), dict):
                return
    refused.append(f"{response.status_code} {response.reason_phrase}".strip())
