"""One HTTP/1.1 connection, and the idle ones of a server kept for the next request.

    pool = Pool(httpx.URL("https://api.example.com"))
    connection = await pool.take(connect_s=10)
    try:
        connection.send(b"POST /v1/... HTTP/1.1\\r\\n...", whole=16_000_000)
        head = await connection.head()          # with `whole`: the body is there, too
        data = connection.body()
    finally:
        pool.give(connection)                   # kept when the reply is complete and the server keeps it

Nothing is ever sent twice. A server that closes an idle connection is seen at once, and its connection
dropped; one that closes it just as a request goes out makes that request fail, as only the caller knows
whether it may be made again. What goes wrong is raised as httpx's errors.
"""

from __future__ import annotations

import asyncio
import errno
import os
import socket
import ssl
from collections import deque
from dataclasses import dataclass, field
from functools import partial

import httptools
import httpx

IDLE_S = 4.0
"""A connection that was idle for longer is not used again: uvicorn, under most servers of models, closes
them after 5 s, and a request that meets the closing is lost."""
NAMES_S = 10.0
"""How long a server's name is not looked up again: a thousand connections need one look."""
MAX_HEAD_BYTES = 100_000
HIGH_BYTES = 256 * 1024
"""So much of a streamed body waits in memory for its reader, then the server has to wait."""


class TooLong(Exception):
    """The body is longer than was allowed; nothing more of it is read."""


@dataclass(slots=True)
class Head:
    """The first part of a reply."""

    status: int = 0
    reason: bytes = b""
    headers: list[tuple[bytes, bytes]] = field(default_factory=list)

    def get(self, name: bytes) -> bytes:
        return next((value for key, value in self.headers if key.lower() == name), b"")


class Connection(asyncio.Protocol):
    """Requests one after the other; the parser calls the `on_...` methods with what came."""

    transport: asyncio.Transport

    def __init__(self) -> None:
        self.loop = asyncio.get_running_loop()
        self.closed: asyncio.Future[None] = self.loop.create_future()
        self.idle_since = 0.0
        self._parser = httptools.HttpResponseParser(self)
        self._waiter: asyncio.Future[None] | None = None
        self._busy = False
        """A request is out and its reply not complete."""
        self._reply = Head()
        self._headed = False
        self._body = bytearray()
        self._whole: int | None = None
        """The longest body to wait for; None: a reader takes it in parts."""
        self._no_body = False
        self._paused = False
        self._seen = 0
        """Bytes of the reply's head so far."""
        self._usable = True
        self._error: Exception | None = None

    # ---- for the one who asks ------------------------------------------------------------------------

    def send(self, request: bytes, *, whole: int | None = None, no_body: bool = False) -> None:
        """Send a whole request. `no_body`: the reply has none, whatever it says (HEAD)."""
        self._reply, self._headed, self._seen = Head(), False, 0
        self._body = bytearray()
        self._whole, self._no_body = whole, no_body
        self._busy = True
        self.transport.write(request)

    async def head(self) -> Head:
        """The reply's head; with `whole`, once the body is complete."""
        while self._busy and (self._whole is not None or not self._headed):
            await self._more()
        if self._error is not None:
            raise self._error
        return self._reply

    def body(self) -> bytes:
        """What has come of the body since the last time."""
        data, self._body = bytes(self._body), bytearray()
        if self._paused:
            self._paused = False
            self.transport.resume_reading()
        return data

    async def part(self) -> bytes:
        """The next part of the body; empty at its end."""
        while not self._body and self._busy:
            await self._more()
        if not self._body and self._error is not None:
            raise self._error
        return self.body()

    def reusable(self) -> bool:
        return self._usable and not self._busy and self._error is None and not self.transport.is_closing()

    async def _more(self) -> None:
        self._waiter = self.loop.create_future()
        try:
            await self._waiter
        finally:
            self._waiter = None

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    # ---- what the loop tells -------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport  # type: ignore[assignment]  # the loop's own class, which need not inherit

    def data_received(self, data: bytes) -> None:
        if not self._busy:  # nobody asked
            self._usable = False
            self.transport.abort()
            return
        if not self._headed:
            self._seen += len(data)
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade:
            self._fail(httpx.RemoteProtocolError("the server changes the protocol"))
        except httptools.HttpParserError as error:
            self._fail(httpx.RemoteProtocolError(f"the server's reply is no HTTP: {_said(error)}"))
        if not self._headed and self._seen > MAX_HEAD_BYTES:
            self._fail(httpx.RemoteProtocolError("the server's reply has too many headers"))
        if self._busy and self._whole is None:
            self._wake()

    def connection_lost(self, error: Exception | None) -> None:
        self._usable = False
        if self._busy and self._error is None:
            if error is not None:
                self._error = httpx.ReadError(str(error) or type(error).__name__)
            elif not self._headed:
                self._error = httpx.RemoteProtocolError("the server closed the connection without a reply")
            elif self._open_ended():
                self._busy = False
            else:
                self._error = httpx.RemoteProtocolError("the server closed the connection within its reply")
        self._busy = False
        self._wake()
        if not self.closed.done():
            self.closed.set_result(None)

    def _fail(self, error: Exception) -> None:
        self._error = self._error or error
        self._usable = self._busy = False
        self.transport.abort()
        self._wake()

    def _open_ended(self) -> bool:
        """Does the end of the connection end this body?"""
        return not (self._reply.get(b"content-length") or self._reply.get(b"transfer-encoding"))

    # ---- what the parser tells -----------------------------------------------------------------------

    def on_message_begin(self) -> None:
        if not self._busy:  # a second reply behind the first
            self._usable = False

    def on_status(self, status: bytes) -> None:
        self._reply.reason += status

    def on_header(self, name: bytes, value: bytes) -> None:
        if not self._headed:  # not a chunked body's trailers
            self._reply.headers.append((name, value))

    def on_headers_complete(self) -> None:
        self._reply.status = self._parser.get_status_code()
        if self._reply.status < 200:
            return
        self._headed = True
        if self._no_body:
            self._usable = self._busy = False
            self._wake()

    def on_body(self, data: bytes) -> None:
        if not self._busy or self._error is not None:
            return
        self._body += data
        if self._whole is not None:
            if len(self._body) > self._whole:
                self._fail(TooLong())
        elif len(self._body) > HIGH_BYTES and not self._paused:
            self._paused = True
            self.transport.pause_reading()

    def on_message_complete(self) -> None:
        if self._reply.status < 200:  # "100 Continue", "103 Early Hints": the reply is still to come
            self._reply = Head()
            return
        if self._busy:
            self._busy = False
            self._usable = self._usable and self._parser.should_keep_alive()
            self._wake()


class Pool:
    """The connections to one server."""

    def __init__(self, origin: httpx.URL, context: ssl.SSLContext | None) -> None:
        self.loop = asyncio.get_running_loop()
        self.host = origin.raw_host.decode("ascii").strip("[]")
        self.port = origin.port or (443 if origin.scheme == "https" else 80)
        self.context = context
        self._idle: deque[Connection] = deque()
        """The one used last at the right end, which is used first: the others may grow old."""
        self._all: set[Connection] = set()
        self._sweeper: asyncio.TimerHandle | None = None
        self._names: asyncio.Task[list[str]] | None = None
        self._named_at = 0.0

    async def take(self, connect_s: float) -> Connection:
        """A connection for one request."""
        young = self.loop.time() - IDLE_S
        while self._idle:
            connection = self._idle.pop()
            if connection.reusable() and connection.idle_since > young:
                return connection
            connection.transport.abort()
        try:
            async with asyncio.timeout(connect_s):
                return await self._connect()
        except TimeoutError as error:
            raise httpx.ConnectTimeout(f"no connection in {connect_s:g} s") from error
        except (OSError, UnicodeError) as error:  # ssl.SSLError and socket.gaierror are OSErrors
            raise httpx.ConnectError(_why(error)) from error

    def give(self, connection: Connection) -> None:
        """The request is over, one way or the other."""
        if not connection.reusable():
            connection.transport.abort()
            return
        connection.idle_since = self.loop.time()
        self._idle.append(connection)
        if self._sweeper is None:
            self._sweeper = self.loop.call_later(IDLE_S, self._sweep)

    async def aclose(self) -> None:
        if self._sweeper is not None:
            self._sweeper.cancel()
        self._idle.clear()
        connections = list(self._all)
        for connection in connections:
            connection.transport.abort()
        if self._names is not None:
            self._names.cancel()
        for connection in connections:
            await connection.closed

    def _sweep(self) -> None:
        """Close what was idle for too long."""
        old = self.loop.time() - IDLE_S
        while self._idle and (self._idle[0].idle_since <= old or not self._idle[0].reusable()):
            self._idle.popleft().transport.abort()
        self._sweeper = self.loop.call_later(IDLE_S / 2, self._sweep) if self._idle else None

    async def _connect(self) -> Connection:
        trouble: OSError | None = None
        for host in await self._addresses():
            try:
                _, connection = await self.loop.create_connection(
                    Connection,
                    host,
                    self.port,
                    ssl=self.context,
                    server_hostname=self.host if self.context is not None else None,
                )
            except ssl.SSLError:
                raise
            except OSError as error:
                trouble = trouble or error
                continue
            self._all.add(connection)
            connection.closed.add_done_callback(partial(self._forget, connection))
            return connection
        self._names = None  # it may have moved
        assert trouble is not None
        raise trouble

    def _forget(self, connection: Connection, _: object) -> None:
        self._all.discard(connection)

    async def _addresses(self) -> list[str]:
        if self._names is None or self.loop.time() - self._named_at > NAMES_S:
            self._named_at = self.loop.time()
            self._names = self.loop.create_task(self._look_up())
        try:
            return await asyncio.shield(self._names)
        except OSError:
            self._names = None
            raise

    async def _look_up(self) -> list[str]:
        found = await self.loop.getaddrinfo(self.host, self.port, type=socket.SOCK_STREAM)
        return list(dict.fromkeys(str(address[0]) for *_, address in found))


def _why(error: OSError | UnicodeError) -> str:
    """An error of connecting, in words."""
    if isinstance(error, OSError) and error.errno in (errno.EMFILE, errno.ENFILE):
        return "too many open files: lower --concurrency, or raise the limit with `ulimit -n 65536`"
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"its certificate cannot be trusted: {error.verify_message}"
    if isinstance(error, ssl.SSLError):
        return f"TLS failed: {(error.reason or str(error)).replace('_', ' ').lower()}"
    if isinstance(error, socket.gaierror):
        return f"its name cannot be found: {error.strerror}"
    if isinstance(error, UnicodeError):
        return "its name is no host's name"
    # asyncio's own text holds addresses and brackets
    return os.strerror(error.errno) if error.errno is not None else str(error) or type(error).__name__


def _said(error: Exception) -> str:
    return " ".join(str(error).split())[:200]
