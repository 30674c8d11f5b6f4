"""Answers without a server.

`{"kind": "simulate"}`: nothing is run. A call that fits its tool's schema is acknowledged with
`{"status": "ok"}`, for tasks where the calls themselves are what counts.

`{"kind": "http", ...}` with `--simulate`: answers come from the OpenAPI document, and nothing is ever sent.
A right call gets the document's example, else a value made from the reply's schema, the same for the same
operation and arguments; what was asked for is echoed: `page=2` in a field `page`, the 7 of `/pets/7` in the
field `id`. **A wrong call is refused as a server would**, which is what trying a tool is for: unknown and
missing parameters with status 400, values of a wrong type, enum, range, length, pattern or format with 422,
in the words that all environments use.

What a document does not say, a simulation cannot know: whether the id exists, and what the real answer is.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
from functools import lru_cache
from random import Random
from time import perf_counter
from typing import Any

import orjson

from tmcli.environments import Observation
from tmcli.environments.arguments import fault, unknown_tool
from tmcli.environments.machinery import Machinery
from tmcli.environments.openapi import Document
from tmcli.environments.openapi.operations import Operation, is_json
from tmcli.environments.openapi.request import assembled, write
from tmcli.environments.openapi.sample import sample
from tmcli.environments.reply import bounded, error
from tmcli.environments.validation import Validator, checker, worst
from tmcli.records import Json, Task


def open_session(task: Task, machinery: Machinery) -> Acknowledged:  # noqa: ARG001  every kind opens so
    """A session that holds calls to the task's own schemas."""
    return Acknowledged(task.env.get("schemas", task.tools))


class Acknowledged:
    """One episode in which nothing happens."""

    def __init__(self, tools: list[Json]) -> None:
        self.tools = tools
        self.validators: dict[str, Validator] = {}

    async def call(self, name: str, arguments: Json) -> Observation:
        started = perf_counter()
        if name not in self.validators:
            for tool in self.tools:
                if tool["function"]["name"] == name:
                    self.validators[name] = Validator(tool)
        validator = self.validators.get(name)
        names = (tool["function"]["name"] for tool in self.tools)
        wrong = validator.wrong(arguments) if validator else unknown_tool(name, names)
        text = error(wrong) if wrong else '{"status":"ok"}'
        return Observation(not wrong, text, (perf_counter() - started) * 1000)

    async def close(self) -> None:
        """Nothing is held."""


class Service:
    """One episode with a document in place of its server."""

    def __init__(self, document: Document) -> None:
        self.document = document

    async def call(self, name: str, arguments: Json) -> Observation:
        started = perf_counter()
        ok, text = answer(self.document, name, arguments)
        return Observation(ok, text, (perf_counter() - started) * 1000)

    async def close(self) -> None:
        """Nothing is held."""


def answer(document: Document, name: str, arguments: Json) -> tuple[bool, str]:
    """What a server of this document might say: (is it a good answer, its text)."""
    operation = document.operations.get(name)
    if operation is None:
        return False, error(unknown_tool(name, document.operations))
    if refused := refusal(operation, arguments):
        status, sentence = refused
        return False, orjson.dumps({"error": sentence, "status": status}).decode()
    value = _reply(operation, arguments)
    is_text = isinstance(value, str) and not is_json(operation.reply.media or "")
    return True, bounded(value if is_text else orjson.dumps(value).decode())


def refusal(operation: Operation, arguments: Json) -> tuple[int, str] | None:
    """(status, sentence) for a call that a server of this document would not take."""
    tool = operation.tool
    if wrong := fault([tool], operation.name, arguments):
        return (400 if wrong.startswith(("unknown parameter", "missing parameter")) else 422), wrong
    written = write(operation, arguments)
    if isinstance(written, str):
        return 400, written
    parameters, body = _checkers(operation)
    if wrong := worst(parameters, arguments):
        return 422, wrong
    there, value = assembled(operation, arguments)
    if there and operation.body and (wrong := worst(body, value, "body" if operation.body.whole else "")):
        return (400 if wrong.startswith("missing parameter") else 422), wrong
    return None


@lru_cache(maxsize=4096)
def _checkers(operation: Operation) -> tuple[Any, Any]:
    """For the arguments together, and for the body they make."""
    body = operation.body
    return checker(operation.tool["function"]["parameters"]), checker(body.schema) if body else None


def _reply(operation: Operation, arguments: Json) -> Any:
    reply = operation.reply
    seed = json.dumps([operation.name, arguments], sort_keys=True)
    rng = Random(int.from_bytes(hashlib.sha256(seed.encode()).digest()[:8]))
    if reply.media is None:
        return {"status": reply.status}
    if reply.examples:
        value = reply.examples[0]
        if isinstance(value, str) and is_json(reply.media):  # JSON written as a text is common
            with contextlib.suppress(orjson.JSONDecodeError):
                value = orjson.loads(value)
    else:
        value = sample(reply.schema or {}, rng, operation.path.rstrip("/").rpartition("/")[2].strip("{}"))
    return {**value, **_echo(operation, arguments, value)} if isinstance(value, dict) else value


def _echo(operation: Operation, arguments: Json, value: Json) -> Json:
    """The reply's fields that say what was asked for."""
    asked = {p.wire: arguments[p.name] for p in operation.parameters if p.name in arguments}
    last = operation.path.rstrip("/").rpartition("/")[2].strip("{}")
    if last in asked and last.lower().endswith("id"):  # /pets/{pet_id} is the pet whose `id` that is
        asked.setdefault("id", asked[last])
    return {key: item for key, item in asked.items() if key in value and _alike(item, value[key])}


def _alike(one: Any, other: Any) -> bool:
    numbers = {int, float}
    return type(one) is type(other) or {type(one), type(other)} == numbers
