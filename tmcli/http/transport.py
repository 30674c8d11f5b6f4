"""Requests over fast connections: a lean way to post JSON, and the same behind httpx's interface.

    client = Client(headers={"Authorization": f"Bearer {key}"})
    answer = await client.post(url, content, timeout_s=120, max_bytes=16_000_000)

    httpx.AsyncClient(transport=fast_transport())

httpx's own pool looks at every connection for every request: 256 at once cost it fifty times the work that
the request is. Here a server has a stack of idle connections. What this way cannot do, which is proxies, is
left to httpx, split over many small pools. No redirect is followed, so no key goes elsewhere.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import ssl
import zlib
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from itertools import cycle

import httpx

from tmcli.errors import UsageError
from tmcli.http.connection import Connection, Pool, TooLong
from tmcli.http.proxy import proxy_for

OPEN_FILES = 65_536
"""As many files and connections may be open as the system lets us, up to so many."""
SHARDS = 64
"""httpx's pools behind a proxy: a request looks at the connections of one."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What a server said."""

    status: int
    headers: httpx.Headers
    data: bytes


class Client:
    """The connections of one policy, for JSON that is posted."""

    def __init__(
        self, *, headers: Mapping[str, str] = {}, auth: tuple[str, str] | None = None, connect_s: float = 10.0
    ) -> None:
        given = httpx.Headers({"Content-Type": "application/json", "Accept": "*/*", "User-Agent": "tm"})
        if auth is not None:
            pair = base64.b64encode(":".join(auth).encode()).decode()
            given["Authorization"] = f"Basic {pair}"
        given.update(headers)
        given["Accept-Encoding"] = "identity"  # a bomb is small on the wire
        self.connect_s = connect_s
        self._headers = given
        self._transport = FastTransport()
        self._ways: dict[httpx.URL, tuple[Pool | None, bytes]] = {}
        """Of each address: its pool (None: behind a proxy) and the request up to the length."""

    async def post(self, url: httpx.URL, content: bytes, *, timeout_s: float, max_bytes: int) -> Answer:
        """The server's answer, whatever its status. Raises httpx's errors, and `TooLong`."""
        try:
            async with asyncio.timeout(timeout_s):
                return await self._post(url, content, max_bytes)
        except TimeoutError as error:
            raise httpx.ReadTimeout(f"no answer in {timeout_s:g} s") from error

    async def _post(self, url: httpx.URL, content: bytes, max_bytes: int) -> Answer:
        way = self._ways.get(url)
        if way is None or (way[0] is not None and way[0].loop is not asyncio.get_running_loop()):
            pool = self._transport.pool(url)
            way = self._ways[url] = pool, _opening("POST", url, self._headers.raw)
        pool, opening = way
        if pool is None:
            return await self._post_by_httpx(url, content, max_bytes)
        connection = await pool.take(self.connect_s)
        try:
            request = b"%bContent-Length: %d\r\n\r\n%b" % (opening, len(content), content)
            connection.send(request, whole=max_bytes)
            head = await connection.head()
            data = connection.body()
        finally:
            pool.give(connection)
        if coding := head.get(b"content-encoding").strip().lower():
            data = _plain(data, coding, max_bytes)
        return Answer(head.status, httpx.Headers(head.headers), data)

    async def _post_by_httpx(self, url: httpx.URL, content: bytes, max_bytes: int) -> Answer:
        timeout = {"connect": self.connect_s, "read": None, "write": None, "pool": None}
        request = httpx.Request(
            "POST", url, headers=self._headers, content=content, extensions={"timeout": timeout}
        )
        response = await self._transport.handle_async_request(request)
        data = bytearray()
        try:
            assert isinstance(response.stream, httpx.AsyncByteStream)
            async for part in response.stream:
                data += part
                if len(data) > max_bytes:
                    raise TooLong
        finally:
            await response.aclose()
        plain = bytes(data)
        if coding := response.headers.get("Content-Encoding", "").strip().lower():
            plain = _plain(plain, coding.encode(), max_bytes)
        return Answer(response.status_code, response.headers, plain)

    async def aclose(self) -> None:
        """Close every connection; the client may be used again."""
        self._ways.clear()
        await self._transport.aclose()


def fast_transport() -> FastTransport:
    """What to put into an `httpx.AsyncClient` that has many requests at once."""
    return FastTransport()


class FastTransport(httpx.AsyncBaseTransport):
    """HTTP/1.1 over a stack of idle connections for each server."""

    def __init__(self) -> None:
        _allow_many_files()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._pools: dict[tuple[str, str, int | None], Pool | None] = {}
        self._proxied: dict[str, cycle[httpx.AsyncHTTPTransport]] = {}
        self._opened: list[httpx.AsyncHTTPTransport] = []
        self._context: ssl.SSLContext | None = None

    def pool(self, url: httpx.URL) -> Pool | None:
        """The connections to a server; None: only httpx reaches it, through a proxy."""
        loop = asyncio.get_running_loop()
        if self._loop is not loop:  # the connections of a loop that is gone are gone with it
            self._loop = loop
            self._pools, self._proxied, self._opened = {}, {}, []
        origin = url.scheme, url.host, url.port
        if origin not in self._pools:
            if url.scheme not in ("http", "https") or not url.host:
                raise httpx.UnsupportedProtocol("the address is none of http:// or https://")
            context = self._tls() if url.scheme == "https" else None
            self._pools[origin] = Pool(url, context) if proxy_for(url) is None else None
        return self._pools[origin]

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        pool = self.pool(request.url)
        if pool is None:
            return await self._behind_proxy(request.url).handle_async_request(request)
        assert isinstance(request.stream, httpx.AsyncByteStream)
        content = b"".join([part async for part in request.stream])
        headers = [pair for pair in request.headers.raw if pair[0].lower() != b"transfer-encoding"]
        if content and not any(name.lower() == b"content-length" for name, _ in headers):
            headers.append((b"Content-Length", b"%d" % len(content)))
        timeout = request.extensions.get("timeout", {})
        connection = await pool.take(timeout.get("connect") or 60.0)
        try:
            opening = _opening(request.method, request.url, headers)
            connection.send(b"%b\r\n%b" % (opening, content), no_body=request.method == "HEAD")
            async with _reading(timeout.get("read")):
                head = await connection.head()
        except BaseException:
            pool.give(connection)
            raise
        packed = bool(head.get(b"content-encoding"))
        return httpx.Response(
            head.status,
            headers=head.headers,
            stream=_Body(pool, connection, timeout.get("read"), 4096 if packed else None),
            extensions={"http_version": b"HTTP/1.1", "reason_phrase": head.reason},
        )

    async def aclose(self) -> None:
        if self._loop is asyncio.get_running_loop():
            for pool in self._pools.values():
                if pool is not None:
                    await pool.aclose()
            for transport in self._opened:
                await transport.aclose()
        self._pools, self._proxied, self._opened = {}, {}, []

    def _behind_proxy(self, url: httpx.URL) -> httpx.AsyncHTTPTransport:
        proxy = proxy_for(url)
        assert proxy is not None
        if proxy not in self._proxied:
            try:
                shards = [_httpx_pool(proxy, self._tls()) for _ in range(SHARDS)]
            except (ValueError, ImportError, httpx.InvalidURL) as error:
                raise UsageError(
                    "the proxy in HTTPS_PROXY or ALL_PROXY cannot be used", "unset it"
                ) from error
            self._opened += shards
            self._proxied[proxy] = cycle(shards)
        return next(self._proxied[proxy])

    def _tls(self) -> ssl.SSLContext:
        """Who is trusted, as httpx decides it: SSL_CERT_FILE and SSL_CERT_DIR, else certifi's list."""
        if self._context is None:
            try:
                self._context = httpx.create_ssl_context()
            except OSError as error:
                raise UsageError(
                    "the certificates in SSL_CERT_FILE or SSL_CERT_DIR cannot be read", "mend or unset it"
                ) from error
            self._context.set_alpn_protocols(["http/1.1"])
        return self._context


class _Body(httpx.AsyncByteStream):
    """A reply's body as it comes. `most`: bytes at once, as httpx unpacks a whole part in memory."""

    def __init__(self, pool: Pool, connection: Connection, read_s: float | None, most: int | None) -> None:
        self.pool = pool
        self.connection: Connection | None = connection
        self.read_s = read_s
        self.most = most

    async def __aiter__(self) -> AsyncIterator[bytes]:
        while self.connection is not None:
            async with _reading(self.read_s):
                part = await self.connection.part()
            if not part:
                return
            step = self.most or len(part)
            for start in range(0, len(part), step):
                yield part[start : start + step]

    async def aclose(self) -> None:
        if self.connection is not None:
            self.pool.give(self.connection)
            self.connection = None


@contextlib.asynccontextmanager
async def _reading(seconds: float | None) -> AsyncIterator[None]:
    try:
        async with asyncio.timeout(seconds):
            yield
    except TimeoutError as error:
        raise httpx.ReadTimeout(f"nothing came for {seconds:g} s") from error


def _opening(method: str, url: httpx.URL, headers: list[tuple[bytes, bytes]]) -> bytes:
    """The request line and these headers, each with its end. The host comes first."""
    target = url.raw_path
    lines = [b"%b %b HTTP/1.1" % (method.encode("ascii"), target)]
    if not any(name.lower() == b"host" for name, _ in headers):
        lines.append(b"Host: %b" % url.netloc)
    lines += [b"%b: %b" % pair for pair in headers]
    if any(b"\r" in line or b"\n" in line for line in lines):
        raise httpx.LocalProtocolError("a header of the request holds a line break")
    return b"".join(b"%b\r\n" % line for line in lines)


def _plain(data: bytes, coding: bytes, most: int) -> bytes:
    """A body without its compression, which we did not ask for."""
    if coding == b"identity":
        return data
    if coding not in (b"gzip", b"x-gzip", b"deflate"):
        raise httpx.DecodingError(f"the server packs its reply as {coding[:20]!r}, which was not asked for")
    unpack = zlib.decompressobj(47 if coding != b"deflate" else 15)
    try:
        plain = unpack.decompress(data, most + 1)
    except zlib.error as error:
        raise httpx.DecodingError(f"the server's reply cannot be unpacked: {error}") from error
    if len(plain) > most:
        raise TooLong
    if not unpack.eof:
        raise httpx.DecodingError("the server's reply cannot be unpacked: it ends too early")
    return plain


def _httpx_pool(proxy: str, context: ssl.SSLContext) -> httpx.AsyncHTTPTransport:
    limits = httpx.Limits(max_connections=None, max_keepalive_connections=None)
    return httpx.AsyncHTTPTransport(verify=context, proxy=proxy, limits=limits)


def _allow_many_files() -> None:
    """The soft limit of open files is often 1024, which a thousand episodes at once pass."""
    try:
        import resource
    except ImportError:  # not on Windows, which has no such limit
        return
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = OPEN_FILES if hard == resource.RLIM_INFINITY else min(OPEN_FILES, hard)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        with contextlib.suppress(ValueError, OSError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
