"""Answers without a server: right calls are answered, wrong ones refused as a server would."""

import asyncio
import json
import os
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from random import Random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator
from services import WebService

from tmcli.environments import Observation
from tmcli.environments.openapi import Document, load
from tmcli.environments.openapi.operations import Operation
from tmcli.environments.openapi.sample import sample
from tmcli.environments.simulate import answer
from tmcli.environments.validation import Validator
from tmcli.environments.world import World
from tmcli.records import Json, Task, new_task

TMDB = Path(__file__).parents[2] / "shared" / "data" / "restbench" / "tmdb_oas.json"
needs_tmdb = pytest.mark.skipif(not TMDB.exists(), reason="../shared/data/restbench is not there")

PET: Json = {
    "type": "object",
    "required": ["id", "name"],
    "properties": {
        "id": {"type": "integer", "minimum": 1},
        "name": {"type": "string", "minLength": 3, "maxLength": 10},
        "born": {"type": "string", "format": "date"},
        "seen": {"type": "string", "format": "date-time"},
        "kind": {"type": "string", "enum": ["cat", "dog"]},
        "weight": {"type": "number", "exclusiveMinimum": 0, "maximum": 80},
        "tags": {
            "type": "array",
            "items": {"type": "string"},
            "minItems": 1,
            "maxItems": 4,
            "uniqueItems": True,
        },
        "owner": {"type": ["object", "null"], "properties": {"mail": {"type": "string", "format": "email"}}},
    },
}
SHOP: Json = {
    "openapi": "3.1.0",
    "paths": {
        "/pets/{pet_id}": {
            "get": {
                "operationId": "get_pet",
                "parameters": [
                    {"name": "pet_id", "in": "path", "schema": {"type": "integer", "minimum": 1}},
                    {"name": "day", "in": "query", "schema": {"type": "string", "format": "date"}},
                    {"name": "at", "in": "query", "schema": {"type": "string", "format": "date-time"}},
                    {"name": "code", "in": "query", "schema": {"type": "string", "pattern": "^[A-Z]{2}$"}},
                    {"name": "page", "in": "query", "schema": {"type": "integer", "maximum": 50}},
                    {
                        "name": "either",
                        "in": "query",
                        "schema": {
                            "oneOf": [
                                {"type": "integer"},
                                {"const": "all"},
                                {"type": "integer", "minimum": 9},
                            ]
                        },
                    },
                    {"name": "X-Note", "in": "header", "schema": {"type": "string", "maxLength": 5}},
                ],
                "responses": {"200": {"content": {"application/json": {"schema": PET}}}},
            },
            "delete": {"operationId": "drop_pet", "responses": {"204": {}}},
        },
        "/pets": {
            "get": {
                "operationId": "list_pets",
                "parameters": [{"name": "page", "in": "query", "schema": {"type": "integer"}}],
                "responses": {
                    "200": {"content": {"application/json": {"example": '{"page": 1, "pets": [{"id": 4}]}'}}}
                },
            },
            "post": {
                "operationId": "add_pet",
                "requestBody": {
                    "required": True,
                    "content": {
                        "application/json": {
                            "schema": {
                                "type": "object",
                                "properties": {
                                    "name": {"type": "string"},
                                    "tags": {"type": "array", "items": {"type": "integer"}, "maxItems": 2},
                                    "owner": {
                                        "type": "object",
                                        "properties": {"mail": {"type": "string", "format": "email"}},
                                        "required": ["mail"],
                                        "additionalProperties": False,
                                    },
                                    "by": {"type": "string"},
                                },
                                "required": ["name"],
                                "anyOf": [{"required": ["tags"]}, {"required": ["owner"]}],
                            }
                        }
                    },
                },
                "responses": {"201": {"content": {"application/json": {"schema": PET}}}},
            },
        },
        "/motto": {
            "get": {
                "operationId": "motto",
                "responses": {"default": {"content": {"text/plain": {"example": "no pets, no life"}}}},
            }
        },
    },
}  # fmt: skip


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Document:
    path = tmp_path_factory.mktemp("documents") / "shop.json"
    path.write_text(json.dumps(SHOP))
    return load(str(path))


# ---- right calls -------------------------------------------------------------------------------


def test_a_reply_is_made_from_its_schema(shop: Document) -> None:
    ok, text = answer(shop, "get_pet", {"pet_id": 7})
    assert ok
    pet = json.loads(text)
    Draft202012Validator(PET).validate(pet)
    assert pet["id"] == 7  # what was asked for
    assert set(pet) == set(PET["properties"])
    assert answer(shop, "get_pet", {"pet_id": 7}) == (ok, text)
    assert answer(shop, "get_pet", {"pet_id": 7, "page": 2}) != (ok, text)


def test_what_was_sent_comes_back(shop: Document) -> None:
    ok, text = answer(shop, "add_pet", {"name": "Rex", "tags": [1]})
    assert ok
    assert json.loads(text)["name"] == "Rex"
    assert json.loads(text)["tags"] == [1]


def test_examples_come_first(shop: Document) -> None:
    assert answer(shop, "list_pets", {}) == (True, '{"page":1,"pets":[{"id":4}]}')
    assert answer(shop, "list_pets", {"page": 3}) == (True, '{"page":3,"pets":[{"id":4}]}')
    assert answer(shop, "drop_pet", {"pet_id": "7"}) == (True, '{"status":204}')
    assert answer(shop, "motto", {}) == (True, "no pets, no life")


def test_the_same_in_every_process(shop: Document) -> None:
    code = f"from tmcli.environments import simulate, openapi; d = openapi.load({shop.path!r}); " + (
        "print(simulate.answer(d, 'get_pet', {'page': 3, 'pet_id': 7})[1])"
    )
    env = os.environ | {"PYTHONHASHSEED": "5"}
    said = subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True, check=True)
    assert said.stdout.strip() == answer(shop, "get_pet", {"pet_id": 7, "page": 3})[1]


# ---- wrong calls -------------------------------------------------------------------------------

GET = "pet_id, day, at, code, page, either, X-Note"


@pytest.mark.parametrize(
    ("name", "arguments", "status", "said"),
    [
        ("get_pets", {}, None, "unknown tool 'get_pets'; tools are: get_pet, drop_pet, list_pets, "),
        ("get_pet", {"pet_id": 1, "id": 1}, 400, f"unknown parameter 'id'; parameters are: {GET}"),
        ("get_pet", {}, 400, f"missing parameter 'pet_id'; parameters are: {GET}"),
        ("get_pet", {"pet_id": "1"}, 422, "pet_id must be an integer"),
        ("get_pet", {"pet_id": 0}, 422, "pet_id must be at least 1"),
        ("drop_pet", {"pet_id": ".."}, 400, "pet_id must not hold '.' or '..' as a part of a path"),
        ("drop_pet", {"pet_id": ""}, 400, "pet_id must not be empty"),
        ("get_pet", {"pet_id": 1, "day": "31.12.2024"}, 422, "day must be a date like 2024-05-31"),
        ("get_pet", {"pet_id": 1, "day": "2023-02-29"}, 422, "day must be a date like 2024-05-31"),
        ("get_pet", {"pet_id": 1, "at": "2024-05-31"}, 422, "at must be a date and time like "),
        ("get_pet", {"pet_id": 1, "code": "deu"}, 422, "code must match ^[A-Z]{2}$"),
        ("get_pet", {"pet_id": 1, "page": 51}, 422, "page must be at most 50"),
        ("get_pet", {"pet_id": 1, "page": None}, 422, "page must be an integer"),
        ("get_pet", {"pet_id": 1, "either": "x"}, 422, "either must be of type integer or either must be "),
        ("get_pet", {"pet_id": 1, "X-Note": "a\nb"}, 400, "X-Note must be one line without control "),
        ("get_pet", {"pet_id": 1, "either": 10}, 422, "either fits more than one form"),
        ("get_pet", {"pet_id": 1, "X-Note": "abcdef"}, 422, "X-Note must have at most 5 characters"),
        ("add_pet", {"tags": []}, 400, "missing parameter 'name'; parameters are: name, tags, owner, by"),
        ("add_pet", {"name": "x", "tags": [1, 2, 3]}, 422, "tags must have at most 2 items"),
        ("add_pet", {"name": "x", "tags": [1, "2"]}, 422, "tags[1] must be an integer"),
        ("add_pet", {"name": "x", "owner": {}}, 422, "owner lacks 'mail'"),
        ("add_pet", {"name": "x", "owner": {"mail": "me"}}, 422, "owner.mail must be an e-mail address"),
        ("add_pet", {"name": "x", "owner": {"mail": "a@b", "x": 1}}, 422, "owner: Additional properties "),
        ("add_pet", {"name": "x", "by": "me"}, 400, "missing parameter 'tags' or missing parameter 'owner'"),
    ],
)  # fmt: skip
def test_a_wrong_call_is_refused(
    shop: Document, name: str, arguments: Json, status: int | None, said: str
) -> None:
    ok, text = answer(shop, name, arguments)
    told = json.loads(text)
    assert (ok, told.get("status")) == (False, status)
    assert told["error"].startswith(said)


def mutations(operation: Operation, right: Json) -> Iterator[tuple[str, Json]]:
    """Calls that the document says are wrong, by kind."""
    yield "unknown parameter", {**right, "no_such_parameter": 1}
    for p in operation.parameters:
        without = {key: value for key, value in right.items() if key != p.name}
        if p.required:
            yield "missing parameter", without
            yield "misspelt parameter", {**without, f"{p.name}_": right[p.name]}
        kind = p.schema.get("type")
        for value in ("7", 7, 7.5, True, None, [7], {"a": 7}):
            fits = {
                "string": isinstance(value, str),
                "integer": type(value) is int,
                "number": type(value) in (int, float),
                "boolean": type(value) is bool,
            }[str(kind)]
            if not fits:
                yield "wrong type", {**right, p.name: value}
        if "enum" in p.schema:
            yield "unknown enum", {**right, p.name: "no such value"}
        if p.place == "path" and kind == "string":
            for value in ("", "..", "../x"):
                yield "bad path", {**right, p.name: value}


def right_call(operation: Operation, every: bool) -> Json:
    rng = Random(7)
    return {p.name: sample(p.schema, rng, p.name) for p in operation.parameters if p.required or every}


@needs_tmdb
def test_tmdb_without_a_server() -> None:
    """All 54 operations: every right call is answered, and no wrong call is taken."""
    document = load(str(TMDB))
    made, taken = Counter[str](), Counter[str]()
    for operation in document.operations.values():
        for every in (False, True):
            right = right_call(operation, every)
            ok, text = answer(document, operation.name, right)
            assert ok, (operation.name, right, text)
            assert len(text) > 20
            for kind, wrong in mutations(operation, right):
                made[kind] += 1
                ok, text = answer(document, operation.name, wrong)
                taken[kind] += ok
                assert ok or json.loads(text)["status"] in (400, 422)
    assert made.keys() == {
        "unknown parameter", "missing parameter", "misspelt parameter",
        "wrong type", "unknown enum", "bad path",
    }  # fmt: skip
    assert sum(made.values()) > 1000
    assert {kind: n for kind, n in taken.items() if n} == {}


# ---- through the world -------------------------------------------------------------------------


def seen_in(task: Task, calls: list[tuple[str, Json]]) -> list[Observation]:
    async def run() -> list[Observation]:
        world = World(simulate=True)
        session = world.open(task)
        try:
            return [await session.call(name, arguments) for name, arguments in calls]
        finally:
            await session.close()
            await world.close()

    return asyncio.run(run())


def test_simulating_sends_nothing_and_needs_no_key(shop: Document) -> None:
    with WebService() as service:
        locked = json.loads(Path(shop.path).read_text()) | {
            "servers": [{"url": service.url}],
            "security": [{"k": []}],
            "components": {"securitySchemes": {"k": {"type": "http", "scheme": "bearer"}}},
        }
        path = Path(shop.path).with_name("locked.json")
        path.write_text(json.dumps(locked))
        env = {"kind": "http", "openapi": str(path), "base_url": service.url}
        task = new_task(messages=[], tools=[], env=env, answer=[])
        good, bad = seen_in(task, [("list_pets", {}), ("list_pets", {"page": "x"})])
    assert (good.ok, bad.ok) == (True, False)
    assert good.ms > 0
    assert service.requests == []


TOOLS: list[Json] = [
    {"type": "function", "function": {"name": "add", "parameters": {"type": "object", "properties": {
        "a": {"type": "integer", "minimum": 1}, "day": {"type": "string", "format": "date"},
    }, "required": ["a"]}}},
    {"type": "function", "function": {"name": "bare"}},
    {"type": "function", "function": {"name": "odd", "parameters": {"type": "dict", "properties": {
        "a": {"$ref": "https://example.org/schema"}, "b": {"type": "integer"},
    }}}},
    {"type": "function", "function": {"name": "far", "parameters": {"type": "object", "properties": {
        "a": {"$ref": "https://example.org/schema"},
    }}}},
]  # fmt: skip


@pytest.mark.parametrize("schemas", [True, False])
def test_calls_are_acknowledged(schemas: bool) -> None:
    env: Json = {"kind": "simulate", **({"schemas": TOOLS} if schemas else {})}
    shown = [] if schemas else TOOLS  # under drift the true schemas are the environment's
    task = new_task(messages=[], tools=shown, env=env, answer=[])
    calls: list[tuple[str, Json]] = [
        ("add", {"a": 1}),
        ("add", {"a": 0}),
        ("add", {"b": 1}),
        ("add", {"a": 1, "day": "tomorrow"}),
        ("bare", {}),
        ("odd", {"a": 1, "b": 2}),
        ("odd", {"b": "x"}),
        ("far", {"a": 1}),
        ("lost", {}),
    ]
    assert [(each.ok, each.text) for each in seen_in(task, calls)] == [
        (True, '{"status":"ok"}'),
        (False, '{"error":"a must be at least 1"}'),
        (False, '{"error":"unknown parameter \'b\'; parameters are: a, day"}'),
        (False, '{"error":"day must be a date like 2024-05-31"}'),
        (True, '{"status":"ok"}'),
        (True, '{"status":"ok"}'),
        (False, '{"error":"b must be an integer"}'),
        (True, '{"status":"ok"}'),
        (False, '{"error":"unknown tool \'lost\'; tools are: add, bare, odd, far"}'),
    ]


# ---- values from schemas -----------------------------------------------------------------------

numbers = st.integers(-1000, 1000)


@st.composite
def schemas(draw: st.DrawFn, depth: int = 0) -> Json:
    """Satisfiable schemas of the kinds that documents hold."""
    kinds = [
        "string",
        "integer",
        "number",
        "boolean",
        "enum",
        *(["array", "object", "any"] if depth < 3 else []),
    ]
    kind = draw(st.sampled_from(kinds))
    inner = schemas(depth + 1)
    if kind == "enum":
        return {"enum": draw(st.lists(st.text(max_size=3) | numbers, min_size=1, max_size=3))}
    if kind == "any":
        return {draw(st.sampled_from(["anyOf", "oneOf"])): [draw(inner), {"type": "null"}]}
    schema: Json = {"type": draw(st.sampled_from([kind, [kind, "null"]]))}
    if kind == "string":
        formats = ["date", "date-time", "time", "uuid", "email", "uri", "ipv4", "ipv6", "hostname"]
        if draw(st.booleans()):
            return {**schema, "format": draw(st.sampled_from(formats))}
        least = draw(st.integers(0, 20))
        return {**schema, "minLength": least, "maxLength": least + draw(st.integers(0, 5))}
    if kind in ("integer", "number"):
        low = draw(numbers)
        high = low + draw(st.integers(2, 50))
        bounds = {"minimum": low, "maximum": high, "exclusiveMinimum": low, "exclusiveMaximum": high}
        names = draw(st.sets(st.sampled_from(sorted(bounds))))
        return {**schema, **{name: bounds[name] for name in names}}
    if kind == "array":
        least = draw(st.integers(0, 4))
        return {
            **schema,
            "items": draw(inner),
            "minItems": least,
            "maxItems": least + draw(st.integers(0, 2)),
        }
    if kind == "object":
        properties = draw(st.dictionaries(st.text(max_size=3), inner, max_size=3))
        due = [name for name in properties if draw(st.booleans())]
        return {**schema, "properties": properties, "required": due, "additionalProperties": False}
    return schema


@settings(max_examples=200, deadline=None)
@given(schemas(), st.integers(0, 9))
def test_a_sample_fits_its_schema(schema: Json, seed: int) -> None:
    value: Any = sample(schema, Random(seed))
    tool = {"function": {"name": "f", "parameters": {"type": "object", "properties": {"x": schema}}}}
    assert Validator(tool).wrong({"x": value}) is None
    assert sample(schema, Random(seed)) == value


def test_a_hostile_pattern_ends() -> None:
    schema = {"type": "object", "properties": {"q": {"type": "string", "pattern": "(a|aa)+$"}}}
    tool = {"type": "function", "function": {"name": "f", "parameters": schema}}
    started = time.perf_counter()
    Validator(tool).wrong({"q": "a" * 60 + "!"})
    assert time.perf_counter() - started < 5
    assert "must match" in (Validator(tool).wrong({"q": "b"}) or "")
