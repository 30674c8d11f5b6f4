"""Requests over many connections at once, with little work for each.

    client = Client(headers={"Authorization": f"Bearer {key}"})
    answer = await client.post(url, content, timeout_s=120, max_bytes=16_000_000)
    await client.aclose()

    httpx.AsyncClient(transport=fast_transport())

httpx's own pool looks at all its connections for every request: at 256 of them that costs fifty times what
the request does. So what is posted to models, the bulk, goes through aiohttp, with httpx's words for what
goes wrong; what needs httpx's interface or a proxy goes through many small pools of httpx. No redirect is
followed, so no key goes elsewhere, and nothing is sent twice: a connection that a server closed just as a
request went out is an error, as only the caller knows whether that may be made again.
"""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from base64 import b64encode
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from urllib.request import getproxies, proxy_bypass

import aiohttp
import httpx
from yarl import URL

from tmcli.errors import UsageError
from tmcli.http.failures import as_httpx

IDLE_S = 4.0
"""A connection that was idle for longer is not used again: uvicorn, under most servers of models, closes
them after 5 s, and a request that meets the closing is lost."""
SMALL = 8
"""Requests at once in one pool of httpx."""
OPEN_FILES = 65_536
"""As many files and connections may be open as the system lets us, up to so many."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What a server said."""

    status: int
    headers: httpx.Headers
    data: bytes


class TooLong(Exception):
    """The body is longer than was allowed; nothing more of it is read."""


class Client:
    """The connections of one policy, for JSON that is posted."""

    def __init__(
        self, *, headers: Mapping[str, str] = {}, auth: tuple[str, str] | None = None, connect_s: float = 10.0
    ) -> None:
        allow_many_files()
        given = {"Content-Type": "application/json", "User-Agent": "tm"}
        if auth is not None:
            given["Authorization"] = f"Basic {b64encode(':'.join(auth).encode()).decode()}"
        # Not packed: a bomb is small on the wire, and replies of models are short.
        self._headers = {**given, **headers, "Accept-Encoding": "identity"}
        self._connect_s = connect_s
        self._session: aiohttp.ClientSession | None = None
        self._behind_proxy: _Pools | None = None
        self._ways: dict[httpx.URL, tuple[URL, str | None, ssl.SSLContext | bool]] = {}
        """Of each address: as aiohttp takes it, the proxy on the way to it, and who is trusted."""

    async def post(self, url: httpx.URL, content: bytes, *, timeout_s: float, max_bytes: int) -> Answer:
        """The server's answer, whatever its status. Raises httpx's errors, and `TooLong`."""
        try:
            async with asyncio.timeout(timeout_s):
                return await self._post(url, content, max_bytes)
        except aiohttp.ClientError as error:  # first: some are TimeoutErrors, too
            raise as_httpx(error) from error
        except TimeoutError as error:
            raise httpx.ReadTimeout(f"no answer in {timeout_s:g} s") from error
        except OSError as error:
            raise as_httpx(error) from error

    async def aclose(self) -> None:
        """Close every connection; the client may be used again, in another event loop as well."""
        session, self._session = self._session, None
        pools, self._behind_proxy = self._behind_proxy, None
        if session is not None:
            await session.close()
        if pools is not None:
            await pools.aclose()

    async def _post(self, url: httpx.URL, content: bytes, max_bytes: int) -> Answer:
        way = self._ways.get(url)
        if way is None:
            trusted = _trusted() if url.scheme == "https" else True
            way = self._ways[url] = URL(str(url), encoded=True), proxy_for(url), trusted
        to, proxy, trusted = way
        if proxy is not None:
            return await self._post_behind(proxy, url, content, max_bytes)
        if self._session is None:
            self._session = self._connect()
        body = aiohttp.BytesPayload(content)  # else aiohttp finds out for each what it is
        async with self._session.post(to, data=body, ssl=trusted, allow_redirects=False) as response:
            data = bytearray()
            async for part in response.content.iter_any():
                data += part
                if len(data) > max_bytes:
                    raise TooLong
            return Answer(response.status, httpx.Headers(response.raw_headers), bytes(data))

    def _connect(self) -> aiohttp.ClientSession:
        return aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=0, keepalive_timeout=IDLE_S),
            headers=self._headers,
            cookie_jar=aiohttp.DummyCookieJar(),
            timeout=aiohttp.ClientTimeout(total=None, connect=self._connect_s),
        )

    async def _post_behind(self, proxy: str, url: httpx.URL, content: bytes, max_bytes: int) -> Answer:
        if self._behind_proxy is None:
            self._behind_proxy = _Pools()
        timeout = httpx.Timeout(None, connect=self._connect_s).as_dict()
        request = httpx.Request(
            "POST", url, headers=self._headers, content=content, extensions={"timeout": timeout}
        )
        response = await self._behind_proxy.handle_async_request(request)
        try:
            data = bytearray()
            async for part in response.aiter_bytes():
                data += part
                if len(data) > max_bytes:
                    raise TooLong
            return Answer(response.status_code, response.headers, bytes(data))
        finally:
            await response.aclose()


def fast_transport() -> httpx.AsyncBaseTransport:
    """What to put into an `httpx.AsyncClient` that has many requests at once."""
    return _Pools()


class _Pools(httpx.AsyncBaseTransport):
    """Pools of httpx, of a few connections each, for every proxy in the environment and for none.

    A request goes to the first pool that has room, so that few requests at once stay in one.
    """

    def __init__(self) -> None:
        allow_many_files()
        self._pools: dict[str | None, list[_Pool]] = {}
        self._proxies: dict[tuple[str, str, int | None], str | None] = {}

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        url = request.url
        origin = url.scheme, url.host, url.port
        if origin not in self._proxies:
            self._proxies[origin] = proxy_for(url)
        proxy = self._proxies[origin]
        pools = self._pools.setdefault(proxy, [])
        pool = next((one for one in pools if one.n_running < SMALL), None)
        if pool is None:
            pool = _Pool(proxy)
            pools.append(pool)
        pool.n_running += 1
        try:
            response = await pool.transport.handle_async_request(request)
        except BaseException:
            pool.n_running -= 1
            raise
        assert isinstance(response.stream, httpx.AsyncByteStream)
        response.stream = _Body(response.stream, pool)
        return response

    async def aclose(self) -> None:
        pools, self._pools = self._pools, {}
        for pool in (one for some in pools.values() for one in some):
            await pool.transport.aclose()


class _Pool:
    """One of httpx's own pools."""

    def __init__(self, proxy: str | None) -> None:
        try:
            self.transport = httpx.AsyncHTTPTransport(
                verify=_trusted(),
                proxy=proxy,
                limits=httpx.Limits(max_connections=None, keepalive_expiry=IDLE_S),
            )
        except (ValueError, ImportError, httpx.InvalidURL) as error:
            raise UsageError("the proxy in HTTPS_PROXY or ALL_PROXY cannot be used", "unset it") from error
        self.n_running = 0


class _Body(httpx.AsyncByteStream):
    """A reply's body; at its end its pool has room again."""

    def __init__(self, stream: httpx.AsyncByteStream, pool: _Pool) -> None:
        self.stream = stream
        self.pool: _Pool | None = pool

    async def __aiter__(self) -> AsyncIterator[bytes]:
        async for part in self.stream:
            yield part

    async def aclose(self) -> None:
        pool, self.pool = self.pool, None
        if pool is not None:
            pool.n_running -= 1
        await self.stream.aclose()


def proxy_for(url: httpx.URL) -> str | None:
    """The proxy on the way to an address, from HTTPS_PROXY, HTTP_PROXY, ALL_PROXY and NO_PROXY."""
    proxies = getproxies()
    proxy = proxies.get(url.scheme) or proxies.get("all")
    if not proxy or proxy_bypass(url.host if url.port is None else f"{url.host}:{url.port}"):
        return None
    return proxy if "://" in proxy else f"http://{proxy}"


_CONTEXTS: list[ssl.SSLContext] = []
"""The one that `_trusted` made: reading the list of certificates takes 20 ms."""


def _trusted() -> ssl.SSLContext:
    """Whose certificates are trusted, as httpx decides it: SSL_CERT_FILE, SSL_CERT_DIR, else certifi's."""
    if not _CONTEXTS:
        try:
            _CONTEXTS.append(httpx.create_ssl_context())
        except OSError as error:
            raise UsageError(
                "the certificates in SSL_CERT_FILE or SSL_CERT_DIR cannot be read", "mend or unset it"
            ) from error
    return _CONTEXTS[0]


def allow_many_files() -> int:
    """The soft limit of open files is often 1024, which a thousand episodes at once pass: raise it. How many
    may be open then?"""
    try:
        import resource
    except ImportError:  # Windows has no such limit
        return OPEN_FILES
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = OPEN_FILES if hard == resource.RLIM_INFINITY else min(OPEN_FILES, hard)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        with contextlib.suppress(ValueError, OSError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
    soft = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    return OPEN_FILES if soft == resource.RLIM_INFINITY else soft
