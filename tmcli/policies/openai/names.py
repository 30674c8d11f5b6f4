"""How users name models and servers: `MODEL`, `MODEL@URL`, `MODEL@URL1,URL2`.

>>> split("Qwen/Qwen3-8B@http://localhost:8000/v1")
('Qwen/Qwen3-8B', 'http://localhost:8000/v1')
>>> split("gpt-4o")
('gpt-4o', '')
>>> [str(url) for url in addresses("http://a:1/v1, http://b:1/v1")]
['http://a:1/v1', 'http://b:1/v1']
"""

from __future__ import annotations

import httpx

from tmcli.errors import UsageError
from tmcli.http import address

LIKE = "http://host:port/v1"


def split(name: str) -> tuple[str, str]:
    """Model and addresses; the latter empty when none is named."""
    for mark in ("@http://", "@https://"):
        model, at, rest = name.partition(mark)
        if at and model:
            return model, mark[1:] + rest
    # Not shown in the message: it may hold a password.
    if "://" in name or ("@" in name and set(name.partition("@")[2]) & set(":/")):
        raise UsageError("the name of the model's server cannot be read", f"write MODEL@{LIKE}")
    return name, ""


def addresses(text: str) -> list[httpx.URL]:
    """The base URLs of a list with commas, each once."""
    found = [address(one, LIKE) for one in text.split(",") if one.strip()]
    if not found:
        raise UsageError("the list of servers is empty", f"write {LIKE}, more of them with commas between")
    return list(dict.fromkeys(found))
