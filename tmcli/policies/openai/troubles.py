"""What a request without an answer means: the one table for connections, as `outcomes.py` is for answers.

    troubles.met(error)                  # an exception of the HTTP client, as a Trouble
    troubles.told("503", "answers 503")  # an answer that may pass
    troubles.asked_s(headers)            # how long the server asks to be left alone

    no such host, refused, unreachable    gone         the breaker opens soon: it is no request's fault
    no answer in time                     slow         the limiter may cut
    reset, broken off, no HTTP            passes       tried again
    the certificate, no TLS at all        stays        the run ends at once
"""

from __future__ import annotations

import re
import socket
import ssl
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from time import time

import httpx

from tmcli.http import TooLong, retry_after

BUSY = frozenset({"429", "503", "529"})
"""The server is there and says: later. Tried again for as long as patience lasts, however often."""
SLOW = BUSY | {"timeout", "408", "504", "524"}
"""Fewer requests at once may help."""
GONE = frozenset({"refused", "dns", "unreachable", "502", "503", "521", "522", "523"})
"""Nobody was reached, by us or by a gateway."""


@dataclass(frozen=True, slots=True)
class Trouble:
    """What went wrong with one request."""

    label: str
    """One word for counting."""
    words: str
    """The rest of the sentence "the server X ..."."""
    asked_s: float | None = None
    """The server asks for so long a pause."""
    remedy: str = ""
    """Not empty: it will not pass."""

    @property
    def busy(self) -> bool:
        return self.label in BUSY

    @property
    def slow(self) -> bool:
        return self.label in SLOW

    @property
    def gone(self) -> bool:
        return self.label in GONE


def met(error: Exception) -> Trouble:
    """What an exception of the client means."""
    if isinstance(error, TooLong):
        return Trouble("long", "sends more than any completion holds")
    causes = list(_causes(error))
    for cause in causes:
        if isinstance(cause, ssl.SSLCertVerificationError):
            # aiohttp's own is one of these as well, without the words
            why = getattr(cause, "verify_message", "") or "it cannot be verified"
            return Trouble(
                "tls",
                f"shows a certificate that is not trusted ({why})",
                remedy="correct the address, or name its authority's certificate in SSL_CERT_FILE",
            )
        if isinstance(cause, ssl.SSLError) and "WRONG_VERSION_NUMBER" in str(cause):
            return Trouble("tls", "speaks no TLS", remedy="write http:// instead of https://")
        if isinstance(cause, socket.gaierror):
            return Trouble("dns", "is an unknown host")
        if isinstance(cause, ConnectionRefusedError):
            return Trouble("refused", "refuses the connection")
    if isinstance(error, httpx.ConnectTimeout):
        return Trouble("unreachable", "cannot be reached in time")
    if isinstance(error, TimeoutError | httpx.TimeoutException):
        return Trouble("timeout", "does not answer in time")
    if isinstance(error, httpx.ConnectError):
        return Trouble("unreachable", f"cannot be reached ({_said(error)})")
    if isinstance(error, httpx.UnsupportedProtocol | httpx.TooManyRedirects | httpx.ProxyError):
        return Trouble("proxy", f"cannot be reached ({_said(error)})")
    if isinstance(error, httpx.DecodingError):
        return Trouble("malformed", "sends a body that cannot be unpacked")
    if any(isinstance(cause, ConnectionResetError) for cause in causes):
        return Trouble("reset", "resets the connection")
    return Trouble("reset", f"breaks off ({_said(error)})")


def told(label: str, words: str, asked_s: float | None = None) -> Trouble:
    """What an answer means that may pass."""
    return Trouble(label, words, asked_s)


def asked_s(headers: Mapping[str, str]) -> float | None:
    """How long the server asks to wait: in ms (OpenAI, Azure), as `Retry-After`, else as its rate limit says.

    >>> asked_s(httpx.Headers({"retry-after-ms": "1500"}))
    1.5
    >>> asked_s(httpx.Headers({"X-RateLimit-Remaining-Tokens": "0", "X-RateLimit-Reset-Tokens": "1m2.5s"}))
    62.5
    """
    for name in ("retry-after-ms", "x-ms-retry-after-ms"):
        if (text := headers.get(name, "")[:20]).isdecimal():
            return int(text) / 1000
    if (pause_s := retry_after(headers)) is not None:
        return pause_s
    pauses = [
        _span_s(headers.get(f"x-ratelimit-reset{what}", ""))
        for what in ("", "-requests", "-tokens")
        if headers.get(f"x-ratelimit-remaining{what}", "").strip() == "0"
    ]
    return max(pauses, default=0.0) or None


def _span_s(text: str) -> float:
    """`6m0s`, `20ms`, `7.5`, or a moment in seconds or milliseconds since 1970, as seconds from now."""
    units = {"h": 3600.0, "m": 60.0, "s": 1.0, "ms": 0.001}
    if parts := re.fullmatch(r"(?:\d+(?:\.\d+)?(?:ms|h|m|s))+", text.strip()[:40]):
        found = re.findall(r"(\d+(?:\.\d+)?)(ms|h|m|s)", parts.group())
        return sum(float(number) * units[unit] for number, unit in found)
    try:
        number = float(text)
    except ValueError:
        return 0.0
    if number > 1e11:
        number /= 1000
    return max(0.0, number - time()) if number > 1e9 else max(0.0, number)


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    """The exception and what it came from, first things first."""
    chain: list[BaseException] = []
    while error is not None and error not in chain and len(chain) < 10:
        chain.append(error)
        error = error.__cause__ or error.__context__
    return reversed(chain)


def _said(error: Exception) -> str:
    return " ".join(str(error).split())[:200] or type(error).__name__
