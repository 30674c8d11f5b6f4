"""The keys of an OpenAPI document's security schemes. They come from the environment only.

The key of the scheme `petstore-auth` is read from `TM_KEY_PETSTORE_AUTH`: the scheme's name in capitals,
what is no letter or digit as `_`. Basic authentication takes `user:password`; OAuth 2 and OpenID Connect
take a token that you got yourself. A key is put on the request last, over anything the model sent, and is
written nowhere: `hidden` takes it out of what a server says.
"""

from __future__ import annotations

import base64
import json
import os
import re
from collections.abc import Iterable
from dataclasses import dataclass
from urllib.parse import quote, quote_plus

from tmcli.environments.openapi.source import Node
from tmcli.errors import UsageError

MIN_SECRET_CHARS = 4
"""What is shorter is no secret, and would be found in every text."""


@dataclass(frozen=True, slots=True)
class Key:
    """Where a scheme's key comes from and goes to."""

    variable: str
    place: str
    """`query`, `header`, `cookie`; or `` when there is nothing to send (mutual TLS)."""
    wire: str
    word: str = ""
    """What stands before it in the header: `Bearer`, `Basic`."""

    def value(self) -> str | None:
        """What is sent, or None when the environment has no key. Raises `UsageError` for what is no key."""
        key = os.environ.get(self.variable, "").strip()
        if not key:
            return None
        if not (key.isascii() and key.isprintable()):
            raise UsageError(f"{self.variable} holds characters that no key has", "set it again")
        if self.word.lower() == "basic":
            key = base64.b64encode(key.encode()).decode()
        return f"{self.word} {key}" if self.word else key


Alternatives = tuple[tuple[Key, ...], ...]
"""What opens an operation: all keys of any one of these; no alternatives at all: nothing is needed."""


def keys_of(root: Node) -> dict[str, Key]:
    """The document's schemes by name."""
    components = root.get("components")
    schemes = components.get("securitySchemes") if components else None
    return {name: _key(name, node) for name, node in schemes.items()} if schemes else {}


def _key(name: str, node: Node) -> Key:
    variable = "TM_KEY_" + re.sub(r"[^A-Z0-9]+", "_", name.upper()).strip("_")
    scheme = node.value if isinstance(node.value, dict) else {}
    kind = scheme.get("type")
    if kind == "apiKey":
        place, wire = scheme.get("in"), scheme.get("name")
        if place not in ("query", "header", "cookie") or not isinstance(wire, str) or not wire.strip():
            raise node.fault("an apiKey needs a `name`, and `in`: query, header or cookie", "correct it")
        return Key(variable, place, wire)
    if kind == "http":
        return Key(variable, "header", "Authorization", str(scheme.get("scheme") or "Bearer").capitalize())
    if kind in ("oauth2", "openIdConnect"):
        return Key(variable, "header", "Authorization", "Bearer")
    if kind == "mutualTLS":
        return Key(variable, "", "")
    raise node.fault(
        f"no security scheme is of type {kind!r}", "known are: apiKey, http, oauth2, openIdConnect, mutualTLS"
    )


def alternatives(root: Node, operation: Node, keys: dict[str, Key]) -> Alternatives:
    """What opens an operation: its own `security`, else the document's."""
    listed = operation.get("security") or root.get("security")
    out: list[tuple[Key, ...]] = []
    for part in listed.parts() if listed else []:
        names = list(part.value) if isinstance(part.value, dict) else []
        for name in names:
            if name not in keys:
                raise part.fault(f"no security scheme is named {name!r}", "add it under components")
        out.append(tuple(keys[name] for name in names if keys[name].place))
    return tuple(out)


def chosen(ways: Alternatives) -> dict[Key, str] | None:
    """The keys to send, with their values: the first alternative that is complete; None when none is."""
    if not ways:
        return {}
    for way in ways:
        values = {key: value for key in way if (value := key.value()) is not None}
        if len(values) == len(way) and way:
            return values
    return {} if () in ways else None


def lacking(ways: Alternatives) -> str:
    """The variables to set, for a sentence.

    >>> lacking(((Key("TM_KEY_A", "query", "a"),), (Key("TM_KEY_B", "query", "b"),)))
    'TM_KEY_A or TM_KEY_B'
    """
    return " or ".join(" and ".join(key.variable for key in way) for way in ways)


def hidden(text: str, keys: Iterable[Key]) -> str:
    """A text without the keys, however a server wrote them."""
    for key in keys:
        value = key.value() or ""
        plain = os.environ.get(key.variable, "").strip()
        bare = value.rpartition(" ")[2]
        secrets = {plain, bare, plain.partition(":")[2] if key.word == "Basic" else ""}
        written = {form for s in secrets for form in (s, json.dumps(s)[1:-1], s.replace("/", "\\/"))}
        forms = {*written, *(f(s) for s in secrets for f in (quote, quote_plus, _quote_all))}
        for form in sorted(forms, key=len, reverse=True):
            if len(form) >= MIN_SECRET_CHARS:
                text = text.replace(form, "***")
    return text


def _quote_all(text: str) -> str:
    return quote(text, safe="")
