"""One MCP server of one session, through the SDK's client.

    connection = Connection(server, shared, room=64)        # starts it, or connects to it
    ok, text = await connection.call("find", {"title": "Emma"}, timeout_s=10.0)
    await connection.close()

The SDK's contexts must be entered and left by one task; here that is the connection's own, `_life`. Calls
are made from the episode's tasks. What the tool or the server says is an answer; `EnvironmentFailure` means
that there is no connection (any more), and says why.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Any

import mcp_types
from mcp.client.session import ClientSession
from mcp.client.streamable_http import streamable_http_client
from mcp.shared.exceptions import MCPError
from pydantic import TypeAdapter, ValidationError

from tmcli.environments.children import signal_name
from tmcli.environments.mcp import text
from tmcli.environments.mcp.config import Server
from tmcli.environments.mcp.shared import Shared, refusals
from tmcli.environments.mcp.stdio import MAX_MESSAGE_BYTES, Process, running
from tmcli.errors import EnvironmentFailure
from tmcli.records import Json

START_S = 60.0
"""What a server has to start and say hello: some fetch themselves first."""
LATE_S = 0.1
"""Waited once more when time is up: a reply may have come while the loop stood still (see `sandbox.py`)."""
END_S = 0.5
"""How long the cause of a broken connection may take to show."""
CLOSE_S = 8.0
"""More than a process needs to be killed."""
MAX_PAGES = 100
"""Of one server's list of tools."""
SAID_CHARS = 300
"""Of a server's last words, in a failure."""

_Result = mcp_types.CallToolResult | mcp_types.InputRequiredResult
_RESULT: TypeAdapter[_Result] = TypeAdapter(_Result)


class Connection:
    """A server that was started, or connected to, for one session."""

    def __init__(self, server: Server, shared: Shared, room: int) -> None:
        self.server = server
        self.shared = shared
        self.room = room
        """So long may a tool's name be."""
        self._process: Process | None = None
        self._trouble = ""
        """What broke the connection."""
        self._ready: asyncio.Future[ClientSession] = asyncio.get_running_loop().create_future()
        self._leave = asyncio.Event()
        self._requests: set[asyncio.Task[_Result]] = set()
        self._life = asyncio.create_task(self._live())

    async def call(self, tool: str, arguments: Json, timeout_s: float) -> tuple[bool, str]:
        """What the tool answers: is it a result, and its text."""
        session = await asyncio.shield(self._ready)
        own = self.shared.names[self.server, self.room].get(tool, tool)
        params = mcp_types.CallToolRequestParams(name=own, arguments=arguments)
        refused: list[str] = []
        refusals.set(refused)
        # Not `session.call_tool`: it lists all tools first and then judges the result by its schema.
        asked = session.send_request(mcp_types.CallToolRequest(params=params), _RESULT)
        request = asyncio.create_task(asked)
        self._requests.add(request)
        try:
            if not await _done(request, timeout_s):
                return False, text.error(f"the tool gave no answer within {timeout_s:g} s")
            if request.cancelled():
                raise self._failure("is closed")
            return text.told(request.result())
        except MCPError as error:
            if refused or _is_end(error):
                raise await self._broken(error, refused) from error
            return False, text.error(error.message)
        except ValidationError as error:
            raise self._failure("answered a call with what is no result") from error
        finally:
            request.add_done_callback(self._requests.discard)
            request.add_done_callback(_seen)
            request.cancel()  # it tells the server; nothing when there is an answer

    async def tools(self) -> dict[str, mcp_types.Tool]:
        """Name to show -> tool."""
        return await self._list(await asyncio.shield(self._ready))

    async def close(self) -> None:
        """End the server, or our session with it."""
        requests = set(self._requests)
        for request in requests:
            request.cancel()
        if requests:
            await asyncio.wait(requests, timeout=END_S)
        self._leave.set()
        if not self._ready.done():
            self._life.cancel()
        await asyncio.wait({self._life}, timeout=CLOSE_S)
        if not self._life.done():
            self._life.cancel()
            await asyncio.wait({self._life}, timeout=CLOSE_S)

    # ---- the task that holds the connection ------------------------------------------------------

    async def _live(self) -> None:
        try:
            async with self._wire() as (reads, writes), ClientSession(reads, writes) as session:
                failure = await self._start(session)
                if failure is None:
                    self._ready.set_result(session)
                    await self._leave.wait()
                else:
                    self._ready.set_exception(failure)
        except Exception as error:  # noqa: BLE001 - whatever broke inside the SDK is told by the calls
            self._trouble = self.server.hide(_cause(error))
        finally:
            if not self._ready.done():
                self._ready.set_exception(self._failure(f"cannot be reached: {self._trouble or 'closed'}"))
            self._ready.exception()  # so that asyncio does not say that nobody looked

    @contextlib.asynccontextmanager
    async def _wire(self) -> AsyncIterator[tuple[Any, Any]]:
        """The streams to read from and to write to."""
        if self.server.url:
            async with streamable_http_client(
                self.server.url,
                http_client=self.shared.client(self.server.headers),
                max_sse_event_size=MAX_MESSAGE_BYTES,
            ) as streams:
                yield streams
        else:
            async with running(self.server) as self._process:
                yield self._process, self._process

    async def _start(self, session: ClientSession) -> EnvironmentFailure | None:
        """Say hello and learn the tools' names; what went wrong is returned while the process still lives."""
        refused: list[str] = []
        refusals.set(refused)
        hello = asyncio.create_task(self._hello(session, refused))
        try:
            if not await _done(hello, START_S):
                return self._failure(f"did not start within {START_S:g} s")
            hello.result()
        except MCPError as error:
            if refused or _is_end(error):
                return await self._broken(error, refused)
            return self._failure(f"refused to start: {self.server.hide(error.message)}")
        except (ValidationError, RuntimeError) as error:
            return self._failure(f"speaks no MCP that is known here: {self.server.hide(_cause(error))}")
        finally:
            hello.add_done_callback(_seen)
            hello.cancel()
        return None

    async def _hello(self, session: ClientSession, refused: list[str]) -> None:
        await _greet(session, refused)
        key = (self.server, self.room)
        # without a handshake the SDK must have seen the list to make its requests well
        if key not in self.shared.names or session.initialize_result is None:
            tools = await self._list(session)
            self.shared.names[key] = {shown: tool.name for shown, tool in tools.items()}

    async def _list(self, session: ClientSession) -> dict[str, mcp_types.Tool]:
        tools: list[mcp_types.Tool] = []
        cursor: str | None = None
        for _ in range(MAX_PAGES):
            page = await session.list_tools(params=mcp_types.PaginatedRequestParams(cursor=cursor))
            tools += page.tools
            cursor = page.next_cursor
            if cursor is None:
                break
        shown = text.shown((tool.name for tool in tools), self.room)
        return {shown[tool.name]: tool for tool in tools}

    # ---- what went wrong -------------------------------------------------------------------------

    async def _broken(self, error: MCPError, refused: list[str]) -> EnvironmentFailure:
        """Why is there no connection?"""
        if refused:
            return self._failure(f"answers {refused[-1]}")
        if self._process is None:
            if error.message.startswith("Connection"):  # then our task ends, and knows more
                await asyncio.wait({self._life}, timeout=END_S)
            return self._failure(f"is gone: {self._trouble or error.message}")
        if not await self._process.ended(END_S):
            return self._failure("closed its output, or filled it with what is no MCP")
        code = self._process.exit_code or 0
        return self._failure(f"ended ({f'exit code {code}' if code >= 0 else signal_name(-code)})")

    def _failure(self, what: str) -> EnvironmentFailure:
        words = "" if self._process is None else self.server.hide(_end(self._process.last_words))
        said = f"; it said last: {words}" if words else ""
        return EnvironmentFailure(
            f"the MCP server {self.server.name!r} {what}{said}",
            "see its entry in the config, and whether it runs by itself",
        )


async def _greet(session: ClientSession, refused: list[str]) -> None:
    """Open a session of the kind that all servers know and that is one client's own; else the newer kind,
    without sessions, for servers that know no other."""
    try:
        await session.initialize()
    except MCPError as error:
        if _is_end(error):
            raise
        try:
            await session.discover()
        except MCPError:
            raise error from None
        refused.clear()


async def _done(request: asyncio.Task[Any], timeout_s: float) -> bool:
    for seconds in (timeout_s, LATE_S):
        await asyncio.wait({request}, timeout=seconds)
        if request.done():
            return True
    return False


def _seen(task: asyncio.Task[Any]) -> None:
    """Nobody waits any more: what it raised is not to be complained of."""
    if not task.cancelled():
        task.exception()


def _is_end(error: MCPError) -> bool:
    """Did the SDK itself say this, because the connection ended? Servers use the same code for anything."""
    own = error.message.startswith(("Connection closed", "SSE stream"))
    return own and error.code == mcp_types.CONNECTION_CLOSED


def _end(words: str) -> str:
    """The last lines that fit, and the last in any case."""
    lines = [line.strip() for line in words.splitlines() if line.strip()]
    while len(lines) > 1 and sum(map(len, lines)) > SAID_CHARS:
        lines.pop(0)
    return " ".join(lines)[-SAID_CHARS:]


def _cause(error: BaseException) -> str:
    """One line about what lies at the bottom of a task group's group of errors."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return next(iter(str(error).splitlines()), "") or type(error).__name__
