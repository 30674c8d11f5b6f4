"""An MCP server as a process of its own: messages through its stdin and stdout, one JSON object a line.

    async with running(server) as process:
        async with ClientSession(process, process) as session:
            ...
    process.last_words

Instead of the SDK's own transport, because here a line has a limit, what is printed beside the messages is
kept for the failure sentence and goes nowhere else, the exit code is known, and the server's whole process
group ends with it, also when the server itself leaves politely and its children do not.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import signal
import subprocess
from collections.abc import AsyncIterator
from typing import Self

import anyio
from mcp.shared.message import SessionMessage
from mcp_types import ErrorData, JSONRPCError, jsonrpc_message_adapter

from tmcli.environments.mcp.config import Server

MAX_MESSAGE_BYTES = 16_000_000
"""Of one message; a longer one is dropped, and its call told so."""
MAX_GARBAGE_LINES = 1_000
"""A server that prints more lines that are no messages is given up."""
KEPT_BYTES = 4_096
"""Of what it prints beside messages, the end."""
GRACE_S = 2.0
"""What a server has to leave by itself when its stdin closes, and then again after SIGTERM."""

_ANSWER = re.compile(rb'\s*\{\s*(?:"jsonrpc"\s*:\s*"2.0"\s*,\s*)?"id"\s*:\s*(\d+)\s*,\s*"result"')
"""The start of an answer, for one that is not read further."""


@contextlib.asynccontextmanager
async def running(server: Server) -> AsyncIterator[Process]:
    """The server's process; it and all it started have ended afterwards, however we leave."""
    process = Process(server)
    try:
        await process.connect()
        yield process
    finally:
        await process.stop()


class Process:
    """Both ends of the conversation, as the SDK's session takes its streams. Raises `OSError` at once."""

    def __init__(self, server: Server) -> None:
        self._child = subprocess.Popen(
            server.command,
            env=dict(server.env),
            cwd=server.cwd,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,  # Ctrl-C is for us; and the group can be ended as one
        )
        self._beside = _Tail()
        self._lines = asyncio.StreamReader(limit=MAX_MESSAGE_BYTES)
        self._pipes: list[asyncio.BaseTransport] = []
        self._stdin: asyncio.WriteTransport | None = None
        self._n_garbage = 0

    async def connect(self) -> None:
        loop = asyncio.get_running_loop()
        child = self._child
        assert child.stdin is not None
        self._stdin, _ = await loop.connect_write_pipe(asyncio.Protocol, child.stdin)
        self._pipes.append(self._stdin)
        lines = self._lines
        for make, pipe in (
            (lambda: asyncio.StreamReaderProtocol(lines), child.stdout),
            (lambda: self._beside, child.stderr),
        ):
            transport, _ = await loop.connect_read_pipe(make, pipe)
            self._pipes.append(transport)

    # ---- what it says beside messages, and how it ended ------------------------------------------

    @property
    def last_words(self) -> str:
        """The end of what it printed that was no message."""
        return self._beside.text.decode("utf-8", "replace")

    @property
    def exit_code(self) -> int | None:
        """None while it lives. Asked for the first time after its end, what is left of its group is killed:
        later the group's number may belong to someone else."""
        child = self._child
        if child.returncode is None and child.poll() is not None:
            self._signal(signal.SIGKILL)
        return child.returncode

    async def ended(self, within_s: float) -> bool:
        """Wait for its end."""
        pause, deadline = 0.001, asyncio.get_running_loop().time() + within_s
        while self.exit_code is None:
            if asyncio.get_running_loop().time() >= deadline:
                return False
            await asyncio.sleep(pause)
            pause = min(pause * 2, 0.02)
        return True

    async def stop(self) -> None:
        """Close its stdin, then ask, then kill. Nothing of it is left, also when we are cancelled."""
        try:
            if self._stdin is not None:
                self._stdin.close()
                if not await self.ended(GRACE_S):
                    self._signal(signal.SIGTERM)
                    await self.ended(GRACE_S)
        finally:
            if self.exit_code is None:
                self._signal(signal.SIGKILL)
                self._child.wait()
            if self._stdin is not None and self._stdin.get_write_buffer_size():
                self._stdin.abort()  # it would wait until all is written
            for pipe in self._pipes:
                pipe.close()
            for file in (self._child.stdin, self._child.stdout, self._child.stderr)[len(self._pipes) :]:
                if file is not None:
                    file.close()
        await asyncio.sleep(0)  # the pipes close in the loop's next round

    def _signal(self, number: int) -> None:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self._child.pid, number)

    # ---- the streams of the SDK: one to read, one to write ---------------------------------------

    async def send(self, item: SessionMessage, /) -> None:
        if self._stdin is None or self._stdin.is_closing():
            raise anyio.ClosedResourceError
        self._stdin.write(item.message.model_dump_json(by_alias=True, exclude_unset=True).encode() + b"\n")

    async def receive(self) -> SessionMessage | Exception:
        try:
            return await anext(self)
        except StopAsyncIteration:
            raise anyio.EndOfStream from None

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> SessionMessage | Exception:
        while self._n_garbage <= MAX_GARBAGE_LINES:
            line, whole = await self._line()
            problem = "cannot be read"
            if whole:
                try:
                    return SessionMessage(jsonrpc_message_adapter.validate_json(line, by_name=False))
                except ValueError:
                    pass
            else:
                problem = f"is longer than {MAX_MESSAGE_BYTES} bytes"
            answers = _ANSWER.match(line)
            if answers is not None:
                told = ErrorData(code=0, message=f"the tool's reply {problem}")
                return SessionMessage(JSONRPCError(jsonrpc="2.0", id=int(answers.group(1)), error=told))
            if line.strip():
                self._n_garbage += 1
                self._beside.data_received(line[:KEPT_BYTES])
            await asyncio.sleep(0)  # a flood of them must not stop everyone else
        raise StopAsyncIteration

    async def _line(self) -> tuple[bytes, bool]:
        """The next line, or the start of one that is too long; is it whole?"""
        start = b""
        while True:
            try:
                line = await self._lines.readuntil(b"\n")
            except asyncio.LimitOverrunError as over:
                piece = await self._lines.readexactly(over.consumed)
                start = start or piece[:KEPT_BYTES]
            except asyncio.IncompleteReadError as end:
                self._beside.data_received(end.partial)
                raise StopAsyncIteration from None
            else:
                return (start + b"\n", False) if start else (line, True)

    async def aclose(self) -> None:
        """The process ends with `running`, not with one of its streams."""

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        pass


class _Tail(asyncio.Protocol):
    """Keeps the end of what it is given."""

    def __init__(self) -> None:
        self.text = b""

    def data_received(self, data: bytes) -> None:
        self.text = (self.text + data[-KEPT_BYTES:])[-KEPT_BYTES:]
