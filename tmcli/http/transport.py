"""Connections to servers: many at once, kept alive, little work for each request."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import httpx

from tmcli.errors import UsageError


@dataclass(frozen=True, slots=True)
class Answer:
    """What a server said."""

    status: int
    headers: httpx.Headers
    data: bytes


class TooLong(Exception):
    """The body is longer than was allowed; nothing more of it is read."""


class Client:
    """The connections of one policy."""

    def __init__(
        self, *, headers: Mapping[str, str] = {}, auth: tuple[str, str] | None = None, connect_s: float = 10.0
    ) -> None:
        try:
            self._http = httpx.AsyncClient(
                headers={"Content-Type": "application/json", **headers},
                auth=auth,
                timeout=httpx.Timeout(None, connect=connect_s),
                limits=httpx.Limits(max_connections=None, max_keepalive_connections=None),
            )
        except (ValueError, ImportError, httpx.InvalidURL) as error:
            raise UsageError("the proxy in HTTPS_PROXY or ALL_PROXY cannot be used", "unset it") from error
        self.connect_s = connect_s

    async def post(self, url: httpx.URL, content: bytes, *, timeout_s: float, max_bytes: int) -> Answer:
        data = bytearray()
        timeout = httpx.Timeout(timeout_s, connect=min(self.connect_s, timeout_s), pool=None)
        async with self._http.stream("POST", url, content=content, timeout=timeout) as response:
            async for part in response.aiter_bytes():
                data += part
                if len(data) > max_bytes:
                    raise TooLong
            return Answer(response.status_code, response.headers, bytes(data))

    async def aclose(self) -> None:
        await self._http.aclose()


def fast_transport() -> httpx.AsyncBaseTransport:
    """What to put into an `httpx.AsyncClient` that has many requests at once."""
    return httpx.AsyncHTTPTransport(
        limits=httpx.Limits(max_connections=None, max_keepalive_connections=None)
    )
