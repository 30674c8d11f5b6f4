"""Addresses of servers as users type them.

>>> str(address(" http://localhost:8000/v1 ", "http://host:port/v1"))
'http://localhost:8000/v1'
"""

import httpx

from tmcli.errors import UsageError


def address(text: str, like: str, keys: str = "") -> httpx.URL:
    """A server's address. `keys` says where keys come from when the address may hold none.

    Raises `UsageError`, which does not show it: it may hold a password.
    """
    try:
        url = httpx.URL(text.strip())
    except httpx.InvalidURL:
        url = httpx.URL("")
    if url.scheme not in ("http", "https") or not url.host or not 0 < (url.port or 80) < 65536:
        raise UsageError("the server's address cannot be read", f"write it like {like}")
    if keys and (url.userinfo or url.query or url.fragment):
        raise UsageError("the server's address holds more than host, port and path", keys)
    return url
