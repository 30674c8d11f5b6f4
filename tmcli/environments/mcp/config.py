"""The usual `mcp.json`: which MCP servers there are, and how each is reached.

    {"mcpServers": {
        "files": {"command": "npx", "args": ["-y", "some-server", "."], "env": {"TOKEN": "${TOKEN}"}},
        "search": {"url": "https://example.org/mcp", "headers": {"Authorization": "Bearer ${KEY}"}}}}

`${NAME}` and `${NAME:-default}` come from the environment each time a session is opened, so that no secret
is written anywhere. No shell sees a command. Relative paths start at the config's folder, which is also
where a server without `cwd` runs. Nothing is started or asked here; see `connection.py`.
"""

from __future__ import annotations

import json
import os
import re
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tmcli.errors import InputError, UsageError, did_you_mean
from tmcli.records import Json

INHERITED = (
    "HOME", "LANG", "LC_ALL", "LC_CTYPE", "LOGNAME", "PATH", "SHELL", "TERM", "TMPDIR", "TZ", "USER"
)  # fmt: skip
"""What a server's process sees of our environment; the rest is its own `env`."""
HTTP_TYPES = ("http", "streamable-http", "streamableHttp", "streamable_http")
_MAX_SLUG = 30
_MIN_SECRET = 4

_VARIABLE = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*)(?::-([^}]*))?\}")
_Pairs = tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class Server:
    """One server of the config, with nothing left to expand."""

    name: str
    command: tuple[str, ...] = ()
    """What to run; empty for a server that is reached by `url`."""
    env: _Pairs = ()
    """The whole environment of its process."""
    cwd: str = ""
    url: str = ""
    headers: _Pairs = ()
    secrets: tuple[str, ...] = ()
    """What must not be read in a message: expanded variables, own environment, headers; longest first."""

    @property
    def slug(self) -> str:
        """Its name where it stands before a tool's: letters, digits, `-` and single `_`.

        >>> Server("my.files__2").slug
        'my_files_2'
        """
        return re.sub(r"[^a-zA-Z0-9-]+", "_", self.name).strip("_")[:_MAX_SLUG].strip("_") or "server"

    def masked(self, text: str) -> str:
        """The text without its secrets, as they are and as JSON writes them."""
        for secret in self.secrets:
            for written in (secret, json.dumps(secret)[1:-1], json.dumps(secret, ensure_ascii=False)[1:-1]):
                text = text.replace(written, "***")
        return text

    def hide(self, text: str) -> str:
        """The text without its secrets, on one line that a terminal can show."""
        text = self.masked(text)
        return " ".join("".join(c if c.isprintable() else " " for c in text).split())


def read(config: str, servers: list[str] | None = None) -> list[Server]:
    """The config's servers in its order; `servers` picks some of them.

    Raises `InputError` with the field for a fault in the file, `UsageError` for what this machine lacks.
    """
    path = Path(config)
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise UsageError(f"there is no file {config!r}", "write the path of an mcp.json") from None
    except OSError as error:
        raise UsageError(f"{config!r} cannot be read: {error.strerror}") from error
    except ValueError as error:
        raise InputError(f"not JSON: {error}", "correct the file", source=config) from error
    found = value.get("mcpServers") if isinstance(value, dict) else None
    if not isinstance(found, dict) or not found:
        remedy = 'write {"mcpServers": {NAME: {"command": ...}}}'
        raise InputError("no object with servers", remedy, source=config, field="mcpServers")
    for name in servers or ():
        if name not in found:
            raise UsageError(f"{config} has no MCP server {name!r}", did_you_mean(name, found))
    chosen = [
        _server(config, name, entry) for name, entry in found.items() if servers is None or name in servers
    ]
    names: dict[str, str] = {}
    for server in chosen:
        if (other := names.setdefault(server.slug, server.name)) != server.name:
            raise UsageError(
                f"the MCP servers {other!r} and {server.name!r} of {config} have one name in tools' names",
                "rename one of them",
            )
    return chosen


def _server(config: str, name: str, entry: Any) -> Server:
    field = f"mcpServers.{name}"
    if not isinstance(entry, dict):
        raise _fault(config, field, "an object")
    secrets: set[str] = set()

    def expand(text: str) -> str:
        return _VARIABLE.sub(lambda match: _value(match, config, name, secrets), text)

    kind, url = entry.get("type"), entry.get("url")
    if kind in HTTP_TYPES or (kind is None and url is not None):
        headers = _pairs(config, f"{field}.headers", entry.get("headers"), expand)
        address = expand(url) if isinstance(url, str) else ""
        if not address.startswith(("http://", "https://")):
            raise _fault(config, f"{field}.url", "an address like https://host/mcp")
        secrets.update(value for _, value in headers)
        return Server(name, url=address, headers=headers, secrets=_ordered(secrets))
    if kind not in (None, "stdio"):
        raise _fault(config, f"{field}.type", f"stdio or http, not {kind!r},")
    command, words = entry.get("command"), entry.get("args", [])
    if not isinstance(command, str) or not command:
        raise _fault(config, f"{field}.command", "the program to run, or a url,")
    if not isinstance(words, list) or not all(isinstance(word, str) for word in words):
        raise _fault(config, f"{field}.args", "a list of strings")
    own = _pairs(config, f"{field}.env", entry.get("env"), expand)
    secrets.update(value for _, value in own)
    inherited = {key: os.environ[key] for key in INHERITED if key in os.environ}
    env = {**inherited, **dict(own)}
    cwd = entry.get("cwd", "")
    if not isinstance(cwd, str):
        raise _fault(config, f"{field}.cwd", "a folder")
    folder = str(Path(config).absolute().parent / expand(cwd))
    if not Path(folder).is_dir():
        raise UsageError(f"the MCP server {name!r} of {config} cannot run in {folder!r}", "it is no folder")
    program = expand(command)
    runs = os.path.join(folder, program) if "/" in program else program
    found = shutil.which(runs, path=env.get("PATH"))
    if found is None:
        raise UsageError(
            f"the MCP server {name!r} of {config} cannot be started: there is no command {command!r}",
            "install it, or correct the config",
        )
    argv = (found, *map(expand, words))
    return Server(name, argv, tuple(env.items()), folder, secrets=_ordered(secrets))


def _value(match: re.Match[str], config: str, name: str, secrets: set[str]) -> str:
    variable, default = match.groups()
    value = os.environ.get(variable)
    if default is not None and not value:
        return str(default)
    if value is None:
        raise UsageError(
            f"{variable} is not set, and the MCP server {name!r} of {config} needs it",
            f"set it, or write ${{{variable}:-default}}",
        )
    secrets.add(value)
    return value


def _pairs(config: str, field: str, value: Any, expand: Callable[[str], str]) -> _Pairs:
    found: Json = {} if value is None else value
    if not isinstance(found, dict) or not all(isinstance(text, str) for text in found.values()):
        raise _fault(config, field, "an object of strings")
    return tuple((key, expand(text)) for key, text in found.items())


def _ordered(secrets: set[str]) -> tuple[str, ...]:
    """Short ones stay: `1` or `en` would be masked everywhere and hide nothing."""
    return tuple(sorted((text for text in secrets if len(text) >= _MIN_SECRET), key=lambda s: (-len(s), s)))


def _fault(config: str, field: str, due: str) -> InputError:
    return InputError(f"{due} is due", "correct the file", source=config, field=field)
