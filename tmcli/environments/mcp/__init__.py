"""Tools of MCP servers, over stdio or streamable HTTP:

    {"kind": "mcp", "config": "mcp.json", "servers": ["files"]}      all servers when none is named

The config is read when a session opens (`config.py`). A server is started, or connected to, at the first
call that needs it, for this one session, and is gone with it. What it answers is the truth: arguments go to
it unchecked (unless the task is under drift and keeps the true `"schemas"`), and its refusals and errors
are told to the model. A tool that the task does not have cannot be called. A server that does not start,
dies or talks nonsense is an `EnvironmentFailure` with what it said last.

The tools of one server keep their names; of several, each is `server__tool`. Names that OpenAI-compatible
servers would refuse are made to fit. A reply is its text; several parts are a JSON list; pictures, sound and
files are named, not shown. A server that asks for input, models or folders is told that there are none.
"""

from __future__ import annotations

import asyncio
import json
import time
from typing import TYPE_CHECKING, Any

from tmcli.environments import Observation, Session
from tmcli.environments.arguments import fault, unknown_tool
from tmcli.environments.machinery import Machinery
from tmcli.environments.mcp.config import Server, read
from tmcli.environments.reply import bounded
from tmcli.errors import EnvironmentFailure, InputError, UsageError
from tmcli.records import Json, Task

if TYPE_CHECKING:
    from tmcli.environments.mcp.connection import Connection
    from tmcli.environments.mcp.shared import Shared


def open_session(task: Task, machinery: Machinery) -> Session:
    """A session over the servers the task names. Nothing is started yet."""
    if machinery.simulate:
        from tmcli.environments.simulate import open_session as simulated

        return simulated(task, machinery)
    config, names = task.env.get("config"), task.env.get("servers")
    if not isinstance(config, str):
        raise InputError("no path of an mcp.json", "correct the task", field="env.config")
    if names is not None and not (isinstance(names, list) and all(isinstance(name, str) for name in names)):
        raise InputError("no list of server names", "correct the task, or leave it out", field="env.servers")
    servers = read(config, names)
    shared = machinery.shared("mcp", _shared)
    schemas: list[Json] | None = task.env.get("schemas")
    return McpSession(servers, shared, machinery.timeout_s, task.tools, schemas)


async def list_tools(config: str, servers: list[str] | None = None) -> list[Json]:
    """The servers' tools as OpenAI function schemas, named as a session names them."""
    found = read(config, servers)
    shared = _shared()
    session = McpSession(found, shared)
    try:
        return await session.tools()
    finally:
        await shared.aclose()


def _shared() -> Shared:
    try:
        import mcp_types  # noqa: F401 - version 1 of the SDK has no such package

        from tmcli.environments.mcp.shared import Shared
    except ImportError as error:
        raise UsageError(
            "tools of MCP servers need the mcp package, version 2 or newer", "pip install 'tmcli[mcp]'"
        ) from error
    return Shared()


class McpSession:
    """One episode's tools. Calls made at once go out in order and are answered side by side."""

    def __init__(
        self,
        servers: list[Server],
        shared: Shared,
        timeout_s: float = 10.0,
        tools: list[Json] | None = None,
        schemas: list[Json] | None = None,
    ) -> None:
        self.servers = {server.slug: server for server in servers}
        self.shared = shared
        self.timeout_s = timeout_s
        self._schemas = schemas
        self._names = [tool["function"]["name"] for tool in (tools or [] if schemas is None else schemas)]
        self._connections: dict[str, Connection] = {}
        self._closed = False
        shared.sessions.add(self)

    async def call(self, name: str, arguments: dict[str, Any]) -> Observation:
        """Call a tool. Raises `EnvironmentFailure` only."""
        started = time.perf_counter()
        ok, text = await self._answer(name, arguments)
        return Observation(ok, text, (time.perf_counter() - started) * 1000)

    async def close(self) -> None:
        """End this session's servers. May be called twice."""
        self._closed = True
        connections, self._connections = self._connections, {}
        await asyncio.gather(*(connection.close() for connection in connections.values()))
        self.shared.sessions.discard(self)

    async def tools(self) -> list[Json]:
        """All tools of all servers, as OpenAI function schemas."""
        from tmcli.environments.mcp.text import schema

        listed = await asyncio.gather(*(self._connection(slug).tools() for slug in self.servers))
        return [
            schema(f"{slug}__{name}" if len(self.servers) > 1 else name, tool)
            for slug, tools in zip(self.servers, listed, strict=True)
            for name, tool in tools.items()
        ]

    async def _answer(self, name: str, arguments: Json) -> tuple[bool, str]:
        from tmcli.environments.mcp.text import error

        try:
            json.dumps(arguments, allow_nan=False, ensure_ascii=False).encode()
        except (TypeError, ValueError, RecursionError):
            return False, error("the arguments are not JSON")
        if self._names and name not in self._names:
            return False, error(unknown_tool(name, self._names))
        if self._schemas is not None and (wrong := fault(self._schemas, name, arguments)):
            return False, error(wrong)
        slug, _, tool = name.partition("__")
        if len(self.servers) == 1:
            (slug,), tool = self.servers, name
        elif slug not in self.servers:
            known = ", ".join(f"{known}__..." for known in self.servers)
            return False, error(f"unknown tool {name!r}; tools are: {known}")
        ok, text = await self._connection(slug).call(tool, arguments, self.timeout_s)
        return ok, bounded(self.servers[slug].masked(text))

    def _connection(self, slug: str) -> Connection:
        from tmcli.environments.mcp.connection import Connection
        from tmcli.environments.mcp.text import MAX_NAME

        if self._closed:
            raise EnvironmentFailure("the session is closed", "open one per episode")
        if slug not in self._connections:
            room = MAX_NAME if len(self.servers) == 1 else MAX_NAME - len(slug) - len("__")
            self._connections[slug] = Connection(self.servers[slug], self.shared, room)
        return self._connections[slug]
