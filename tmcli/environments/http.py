"""Tools of a web service that an OpenAPI 3 document describes:

    {"kind": "http", "openapi": "petstore.yaml", "base_url": "http://localhost:8080/v1"}

Without `base_url` the document's own server is asked; with `--simulate` nobody is, see `simulate.py`. Each
operation is a tool (`openapi/`), each call one request; keys come from the environment only
(`openapi/keys.py`). Cookies belong to the session, connections are shared.

What the server says is data for the model: 2xx is a reply; anything else an error with its status and the
server's own message, a 500 too, for servers answer so to arguments they did not expect (`reply.py`). Only
what no request can carry is refused here (`openapi/request.py`). A server that gives no answer after some
tries (`http_client.py`) is an `EnvironmentFailure`: the episode says nothing about the model. So is one that
refuses (401, 403) for a key that is not set, or (401) that it never took in this run. The time limit of a
call is that of one try; tries and pauses together end after a minute.
"""

from __future__ import annotations

from time import perf_counter

import httpx

from tmcli.environments import Observation, Session
from tmcli.environments.arguments import unknown_tool
from tmcli.environments.http_client import Answer, Client, NoAnswer, address
from tmcli.environments.machinery import Machinery
from tmcli.environments.openapi import Document, load
from tmcli.environments.openapi.keys import chosen, hidden, lacking
from tmcli.environments.openapi.operations import Operation
from tmcli.environments.openapi.request import write
from tmcli.environments.reply import error, told
from tmcli.errors import EnvironmentFailure, InputError, UsageError
from tmcli.records import Json, Task


def open_session(task: Task, machinery: Machinery) -> Session:
    """A session over the document's operations. Raises `UsageError` when no set key opens any of them."""
    path, base = task.env.get("openapi"), task.env.get("base_url")
    if not isinstance(path, str):
        raise InputError("no path of an OpenAPI document", "correct the task", field="env.openapi")
    if base is not None and not isinstance(base, str):
        raise InputError("no address of a server", "correct the task, or leave it out", field="env.base_url")
    document = load(path)
    if machinery.simulate:
        from tmcli.environments.simulate import Service

        return Service(document)
    operations = document.operations.values()
    if not any(chosen(operation.security) is not None for operation in operations):
        names = " or ".join(sorted({lacking(operation.security) for operation in operations}))
        raise UsageError(
            f"{path} needs a key, and {names} is not set",
            "set it (to any text where the server wants none), or use --simulate",
        )
    return HttpSession(document, base, machinery)


class HttpSession:
    """One episode with a web service."""

    def __init__(self, document: Document, base: str | None, machinery: Machinery) -> None:
        self.document = document
        places = {o.name: base or o.server or document.server for o in document.operations.values()}
        addresses = {place: _server(place, document.path) for place in set(places.values())}
        self.servers = {name: addresses[place] for name, place in places.items()}
        self.machinery = machinery
        self.cookies = httpx.Cookies()

    async def call(self, name: str, arguments: Json) -> Observation:
        """Ask the server. Raises `EnvironmentFailure` when it gives no answer."""
        started = perf_counter()
        operation = self.document.operations.get(name)
        if operation is None:
            ok, text = False, error(unknown_tool(name, self.document.operations))
        else:
            ok, text = await self._asked(operation, arguments)
        return Observation(ok, text, (perf_counter() - started) * 1000)

    async def close(self) -> None:
        """Nothing is held: the connections belong to the world."""

    async def _asked(self, operation: Operation, arguments: Json) -> tuple[bool, str]:
        request = write(operation, arguments)
        if isinstance(request, str):
            return False, error(request)
        client = self.machinery.shared("http", Client)
        server = self.servers[operation.name]
        keys = chosen(operation.security)
        shown = f"{operation.method} {str(server).rstrip('/')}{operation.path}"
        try:
            answer = await client.ask(request, server, keys or {}, self.cookies, self.machinery.timeout_s)
        except NoAnswer as none:
            raise EnvironmentFailure(f"{shown} {none}") from none
        ok, text = told(
            answer.status, answer.media, answer.data, answer.cut, lambda text: hidden(text, keys or {})
        )
        used = {(str(server), key.variable) for key in keys or {}}
        if ok:
            client.good_keys |= used
        elif problem := self._locked(operation, answer, keys is None, bool(used - client.good_keys)):
            raise EnvironmentFailure(f"{shown} answers {answer.status}: {text[:200]}", problem)
        return ok, text

    def _locked(self, operation: Operation, answer: Answer, unset: bool, untried: bool) -> str:
        """What the user must do about the key, when the answer is about the key and not about the call."""
        names = lacking(operation.security)
        if unset and answer.status in (401, 403):
            return f"set {names}"
        if untried and answer.status == 401:
            return f"set {names} to a key that this server takes"
        return ""


def _server(text: str | None, path: str) -> httpx.URL:
    if text is None:
        raise UsageError(f"{path} names no address of a server", "name it, --server URL, or use --simulate")
    return address(text, "http://host:port/v1", "keys come from the environment alone")
