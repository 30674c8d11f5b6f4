"""Tools behind a StableToolBench server (arXiv 2403.07714), by its `/virtual` protocol:

    {"kind": "stabletoolbench", "url": "http://localhost:8080/virtual",
     "apis": {tool: {"category": "Media", "tool_name": "vimeo", "api_name": "searchvideos"}}}

Each call is one POST of `{category, tool_name, api_name, tool_input, strip, toolbench_key}`, as the
original's client sends it, answered by `{error, response}`. The key is TOOLBENCH_KEY of the environment,
empty without. A reply is the `response` alone, cut at 1,024 characters with its head kept, as there; a
non-empty `error` is an error. Arguments go to the server as they are: its documents are too rough to hold
anyone to, and what it says is the truth. Tasks under drift keep the true `"schemas"`, and those are held. A
server that gives no answer after some tries (`http_client.py`) is an `EnvironmentFailure`.

Simulated servers that say yes to everything hide what trying a tool is for, so that is measured: the first
calls that succeed are made once more with a fault (`mutation.py`). The model never sees those replies; when
the run ends and half or more were accepted, a warning says so.
"""

from __future__ import annotations

import asyncio
import json
import os
from time import perf_counter
from typing import Any

import httpx
import orjson

from tmcli.drift import true_tools
from tmcli.environments import Observation, Session
from tmcli.environments.arguments import fault, unknown_tool
from tmcli.environments.http_client import Client, NoAnswer, address
from tmcli.environments.machinery import Machinery
from tmcli.environments.mutation import Probes, complains, spoiled
from tmcli.environments.openapi.request import Request
from tmcli.environments.reply import error
from tmcli.errors import EnvironmentFailure, InputError, UsageError
from tmcli.records import Json, Task

MAX_CHARS = 1_024
"""What the original shows of a reply."""
_PARTS = ("category", "tool_name", "api_name")


def open_session(task: Task, machinery: Machinery) -> Session:
    """A session with the server that the task names."""
    if machinery.simulate:
        from tmcli.environments.simulate import open_session as simulated

        return simulated(task, machinery)
    url, apis = task.env.get("url"), task.env.get("apis")
    if not isinstance(url, str):
        raise InputError("no address of a server", "correct the task", field="env.url")
    if not isinstance(apis, dict) or not all(
        isinstance(api, dict) and all(isinstance(api.get(part), str) for part in _PARTS)
        for api in apis.values()
    ):
        remedy = f"correct the task: {{tool: {{{', '.join(_PARTS)}}}}}"
        raise InputError("no object of tools with their APIs", remedy, field="env.apis")
    key = os.environ.get("TOOLBENCH_KEY", "").strip()
    if not (key.isascii() and key.isprintable()):
        raise UsageError("TOOLBENCH_KEY holds characters that no key has", "set it again")
    machinery.shared("stabletoolbench", Probes)  # before the client: it is closed first
    server = address(url, "http://host:port/virtual", "keys come from TOOLBENCH_KEY")
    held = "schemas" in task.env
    return VirtualSession(server, apis, true_tools(task), held, key, machinery)


class VirtualSession:
    """One episode with the server, which knows of no episodes."""

    def __init__(
        self,
        url: httpx.URL,
        apis: dict[str, Json],
        tools: list[Json],
        held: bool,
        key: str,
        machinery: Machinery,
    ) -> None:
        self.url = url
        self.apis = apis
        self.tools = tools
        self.held = held
        self.key = key
        self.machinery = machinery
        self.probes = machinery.shared("stabletoolbench", Probes)
        self._probing: set[asyncio.Task[None]] = set()

    @property
    def server(self) -> str:
        """As messages call it."""
        return f"the server {self.url}"

    async def call(self, name: str, arguments: dict[str, Any]) -> Observation:
        """Ask the server. Raises `EnvironmentFailure` when it gives no answer."""
        started = perf_counter()
        ok, text = await self._answer(name, arguments)
        return Observation(ok, text, (perf_counter() - started) * 1000)

    async def close(self) -> None:
        """Wait for the faulty calls of this session. May be called twice."""
        try:
            if self._probing:
                await asyncio.wait(self._probing)
        finally:
            for probe in self._probing:
                probe.cancel()

    async def accepts_fault(self, name: str, arguments: Json, turn: int) -> bool | None:
        """Make this call, which was good, with a fault of its own. None when no fault can be made of it, or
        when there was no answer."""
        wrong = spoiled(self.tools, name, arguments, turn)
        if wrong is None:
            return None
        try:
            trouble, response = await self._ask(name, wrong)
        except EnvironmentFailure:
            return None
        return not (trouble or complains(response))

    async def _answer(self, name: str, arguments: Json) -> tuple[bool, str]:
        if name not in self.apis:
            return False, error(unknown_tool(name, self.apis))
        if self.held and (wrong := fault(self.tools, name, arguments)):
            return False, error(wrong)
        try:
            json.dumps(arguments, allow_nan=False, ensure_ascii=False).encode()
        except (TypeError, ValueError, RecursionError):
            return False, error("the arguments are not JSON")
        trouble, response = await self._ask(name, arguments)
        if trouble:
            return False, _cut(_dumped({"error": trouble, **({"response": response} if response else {})}))
        if (turn := self.probes.take()) is not None:
            probe = asyncio.create_task(self._probe(name, arguments, turn))
            self._probing.add(probe)
            probe.add_done_callback(self._probing.discard)
        return True, _cut(response if isinstance(response, str) else _dumped(response))

    async def _probe(self, name: str, arguments: Json, turn: int) -> None:
        self.probes.note(self.server, await self.accepts_fault(name, arguments, turn))

    async def _ask(self, name: str, arguments: Json) -> tuple[Any, Any]:
        """The server's error, falsy when there is none, and its response."""
        api = self.apis[name]
        body = {
            **{part: api[part] for part in _PARTS},
            "tool_input": json.dumps(arguments, ensure_ascii=False),
            "strip": "truncate",
            "toolbench_key": self.key,
        }
        headers = [("Content-Type", "application/json"), ("toolbench_key", self.key)]
        request = Request("POST", "", headers, orjson.dumps(body))
        client = self.machinery.shared("http", Client)
        try:
            answer = await client.ask(
                request, self.url, {}, httpx.Cookies(), self.machinery.timeout_s, repeatable=True
            )
        except NoAnswer as none:
            raise EnvironmentFailure(
                f"{self.server} {none}", "is it there? it may also need more time: --timeout"
            ) from none
        if answer.cut:
            return f"the reply is longer than {len(answer.data)} bytes", ""
        said = _parsed(answer.data)
        if answer.status != 200 or not isinstance(said, dict) or "response" not in said:
            raise EnvironmentFailure(
                f"{self.server} answers {answer.status} and no {{error, response}}",
                "see what it logs" if answer.status >= 500 else "does its address end in /virtual?",
            )
        return said.get("error"), said["response"]


def _parsed(text: str | bytes) -> Any:
    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError:
        return None


def _dumped(value: Any) -> str:
    return orjson.dumps(value).decode()


def _cut(text: str) -> str:
    return text if len(text) <= MAX_CHARS else f"{text[:MAX_CHARS]}..."
