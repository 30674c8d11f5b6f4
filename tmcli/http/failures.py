"""aiohttp's errors in httpx's words, with the reason in plain ones.

Nothing of the request is in them: an address may hold a password.
"""

from __future__ import annotations

import errno
import os
import socket
import ssl

import aiohttp
import httpx


def as_httpx(error: Exception) -> httpx.TransportError:
    """The error that httpx would have raised."""
    match error:
        case aiohttp.ConnectionTimeoutError():
            return httpx.ConnectTimeout("no connection in time")
        case aiohttp.ClientConnectorCertificateError():
            return httpx.ConnectError(_reason(error.certificate_error))
        case aiohttp.ClientConnectorError():
            return httpx.ConnectError(_reason(error.os_error))
        case aiohttp.ServerDisconnectedError():
            return httpx.RemoteProtocolError("the server closed the connection without a reply")
        case aiohttp.ClientPayloadError():
            return httpx.RemoteProtocolError("the server's reply breaks off or cannot be unpacked")
        case aiohttp.ClientResponseError():
            return httpx.RemoteProtocolError("the server's reply is no HTTP")
        case aiohttp.InvalidURL():
            return httpx.UnsupportedProtocol("the address cannot be asked")
        case OSError():
            return httpx.ReadError(_reason(error))
    return httpx.ReadError(type(error).__name__)


def _reason(error: Exception) -> str:
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"its certificate cannot be trusted: {error.verify_message}"
    if isinstance(error, ssl.SSLError):
        return f"TLS failed: {(error.reason or 'unknown reason').replace('_', ' ').lower()}"
    if isinstance(error, socket.gaierror):
        return f"its name cannot be found: {error.strerror}"
    if isinstance(error, OSError) and error.errno in (errno.EMFILE, errno.ENFILE):
        return "too many open files: lower --concurrency, or raise the limit with `ulimit -n 65536`"
    if isinstance(error, OSError) and error.errno is not None:
        return os.strerror(error.errno).lower()
    return type(error).__name__
