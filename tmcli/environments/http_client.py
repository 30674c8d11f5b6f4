"""One request to a web service until it has an answer: keys, cookies, redirects, tries, time, size.

    client = machinery.shared("http", Client)            # connections of all sessions
    answer = await client.ask(request, server, keys, cookies, timeout_s)

It raises `NoAnswer` when the server cannot be reached, takes longer than `timeout_s`, breaks off, or answers
408, 425, 429, 502, 503 or 504, each after some more tries with pauses (what `Retry-After` asks for, where it
is given). 500 is tried twice and then an answer. POST and PATCH are tried again only when nothing was done:
no connection, 425, 429, 503. Redirects are followed on the same host alone; elsewhere they are the answer.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from http.cookiejar import CookieJar, DefaultCookiePolicy
from time import monotonic
from urllib.parse import quote, unquote_plus

import httpx

from tmcli.environments.openapi.keys import Key, hidden
from tmcli.environments.openapi.request import Request
from tmcli.http import Patience, address, fast_transport, retry_after

__all__ = ["Answer", "Client", "NoAnswer", "Patience", "address", "retry_after"]

MAX_READ_BYTES = 1_000_000
"""Read of one answer. `reply.py` tells less; JSON without its blanks may be much shorter."""
MAX_REDIRECTS = 5
AGAIN = {408, 425, 429, 500, 502, 503, 504}
NOTHING_DONE = {425, 429, 503}
"""Answers that say that the request was not carried out."""
REPEATABLE = {"GET", "HEAD", "OPTIONS", "PUT", "DELETE"}
"""Methods that do no more when they are made twice."""


PATIENCE = Patience(tries=3, base_s=0.25, total_s=60.0)
"""`total_s` is for one call; the time of one try where that is longer."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What the server said."""

    status: int
    media: str
    data: bytes
    cut: bool = False
    """There was more."""


class NoAnswer(Exception):
    """What went wrong, as the rest of a sentence: `answers 503, tried 3 times`."""


class _AgainError(Exception):
    """No answer that says anything, and it may pass."""

    def __init__(self, trouble: str, pause_s: float | None, nothing_done: bool) -> None:
        super().__init__(trouble)
        self.trouble = trouble
        self.pause_s = pause_s
        self.nothing_done = nothing_done


class Client:
    """The HTTP client of all sessions."""

    def __init__(self, patience: Patience = PATIENCE) -> None:
        self.patience = patience
        self.good_keys: set[tuple[str, str]] = set()
        """(server, variable) of the keys that opened something in this run."""
        self._loop: asyncio.AbstractEventLoop | None = None
        self._http: httpx.AsyncClient | None = None

    async def aclose(self) -> None:
        if self._http is not None and self._loop is asyncio.get_running_loop():
            await self._http.aclose()
        self._http = None

    async def ask(
        self,
        request: Request,
        server: httpx.URL,
        keys: Mapping[Key, str],
        cookies: httpx.Cookies,
        timeout_s: float,
        repeatable: bool = False,
    ) -> Answer:
        """The server's answer. `cookies` are the session's: sent, and kept up to date. `repeatable`: this
        request does no more when it is made twice, whatever its method."""
        deadline = monotonic() + max(self.patience.total_s, timeout_s)
        repeatable = repeatable or request.method in REPEATABLE
        for attempt in range(self.patience.tries):
            pause = self.patience.pause_s(attempt)
            nothing_done = False
            try:
                async with asyncio.timeout(min(timeout_s, deadline - monotonic())):
                    answer, headers = await self._exchange(request, server, keys, cookies)
                    _judge(answer, headers, attempt > 0 or not repeatable)
                    return answer
            except _AgainError as error:
                trouble, nothing_done = error.trouble, error.nothing_done
                pause = pause if error.pause_s is None else error.pause_s
            except TimeoutError:
                trouble = f"gives no answer in {timeout_s:g} s"
            except httpx.RequestError as error:
                said = hidden(" ".join(str(error).split())[:200], keys)
                trouble = f"gives no answer ({said or type(error).__name__})"
                nothing_done = isinstance(error, httpx.ConnectError)
            except httpx.InvalidURL:  # longer than any server takes
                return Answer(414, "text/plain", b"the arguments are too long for an address")
            last = attempt + 1 == self.patience.tries or monotonic() + pause >= deadline
            if last or not (nothing_done or repeatable):
                break
            await asyncio.sleep(pause)
        times = "once" if attempt == 0 else f"{attempt + 1} times"
        raise NoAnswer(f"{trouble}, tried {times}")

    async def _exchange(
        self, request: Request, server: httpx.URL, keys: Mapping[Key, str], cookies: httpx.Cookies
    ) -> tuple[Answer, httpx.Headers]:
        """One try, with the redirects on its way."""
        method, content = request.method, request.content
        url = httpx.URL(f"{str(server).rstrip('/')}{request.target}")
        for _ in range(MAX_REDIRECTS + 1):
            built = self._build(method, url, request.headers, content, keys)
            if len(cookies.jar):
                given = built.headers.pop("Cookie", None)
                cookies.set_cookie_header(built)
                both = [text for text in (built.headers.get("Cookie"), given) if text]
                built.headers["Cookie"] = "; ".join(both)
            response = await self._client().send(built, stream=True)
            try:
                if "Set-Cookie" in response.headers:
                    cookies.extract_cookies(response)
                status, onward = response.status_code, response.next_request
                if onward is None:
                    data, cut = await _read(response)
                    media = response.headers.get("Content-Type", "")
                    return Answer(status, media, data, cut), response.headers
            finally:
                await response.aclose()
            url = onward.url
            if not _same_host(server, url):
                return _no_way(status, f"to another host, {url.host}")
            method, content = onward.method, content if onward.method == method else None
        return _no_way(status, "in circles")

    def _build(
        self,
        method: str,
        url: httpx.URL,
        given: list[tuple[str, str]],
        content: bytes | None,
        keys: Mapping[Key, str],
    ) -> httpx.Request:
        """The request with its keys, put over whatever the model sent under their names."""
        headers = {name: text for name, text in given if content is not None or name != "Content-Type"}
        for key, value in keys.items():
            if key.place == "query":
                url = _with_key(url, key.wire, value)
            elif key.place == "header":
                headers = {name: text for name, text in headers.items() if name.lower() != key.wire.lower()}
                headers[key.wire] = value
            else:
                others = [
                    one
                    for one in headers.get("Cookie", "").split("; ")
                    if one and not one.startswith(f"{key.wire}=")
                ]
                headers["Cookie"] = "; ".join([*others, f"{key.wire}={value}"])
        encoded = [(name.encode(), text.encode("utf-8", "replace")) for name, text in headers.items()]
        return self._client().build_request(method, url, headers=encoded, content=content)

    def _client(self) -> httpx.AsyncClient:
        loop = asyncio.get_running_loop()
        if self._http is None or self._loop is not loop:
            self._loop, self._http = loop, _connect()
        return self._http


def _connect() -> httpx.AsyncClient:
    forgetful = CookieJar(DefaultCookiePolicy(allowed_domains=[]))  # each session keeps its own
    return httpx.AsyncClient(
        transport=fast_transport(),
        cookies=forgetful,
        headers={
            "Accept": "application/json, */*;q=0.5",
            "Accept-Encoding": "identity",
            "User-Agent": "tm",
        },
        timeout=None,  # noqa: S113  the whole try is timed
    )


async def _read(response: httpx.Response) -> tuple[bytes, bool]:
    """The body, and whether it was cut."""
    data = bytearray()
    async for part in response.aiter_bytes():
        data += part
        if len(data) > MAX_READ_BYTES:
            return bytes(data[:MAX_READ_BYTES]), True
    return bytes(data), False


def _judge(answer: Answer, headers: httpx.Headers, enough: bool) -> None:
    """Raise `_AgainError` for an answer that says nothing. `enough`: a 500 is one that does."""
    if answer.status in AGAIN and not (answer.status == 500 and enough):
        pause_s = retry_after(headers)
        asks = "" if pause_s is None else f" and asks to wait {pause_s:.0f} s"
        raise _AgainError(f"answers {answer.status}{asks}", pause_s, answer.status in NOTHING_DONE)


def _no_way(status: int, where: str) -> tuple[Answer, httpx.Headers]:
    return Answer(status, "text/plain", f"the server redirects {where}".encode()), httpx.Headers()


def _same_host(server: httpx.URL, url: httpx.URL) -> bool:
    """Is it the server the user named, or the same with https?"""
    if url.host != server.host or url.scheme not in ("http", "https"):
        return False
    if url.scheme == server.scheme:
        return url.port == server.port
    return url.scheme == "https" and server.port is None and url.port is None


def _with_key(url: httpx.URL, name: str, value: str) -> httpx.URL:
    pairs = [pair for pair in url.query.decode("ascii").split("&") if pair]
    others = [pair for pair in pairs if unquote_plus(pair.partition("=")[0]) != name]
    query = "&".join([*others, f"{quote(name, safe='')}={quote(value, safe='')}"])
    return url.copy_with(query=query.encode())
