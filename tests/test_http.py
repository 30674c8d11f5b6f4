"""Tools of web services, called over real sockets: a server on loopback that can misbehave."""

import asyncio
import json
import re
import socket
import time
from collections.abc import Iterator
from copy import deepcopy
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, unquote

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from services import Oops, Seen, WebService

from tmcli.environments import Observation
from tmcli.environments.http_client import Client, Patience
from tmcli.environments.openapi import Document, load
from tmcli.environments.openapi.operations import Operation
from tmcli.environments.openapi.request import Request, write
from tmcli.environments.reply import MAX_BYTES, bounded
from tmcli.environments.world import World
from tmcli.errors import EnvironmentFailure, InputError, UsageError
from tmcli.records import Json, Task, new_task

TMDB = Path(__file__).parents[2] / "shared" / "data" / "restbench" / "tmdb_oas.json"
needs_tmdb = pytest.mark.skipif(not TMDB.exists(), reason="../shared/data/restbench is not there")

NAMED = {"type": "object", "properties": {"name": {"type": "string"}, "n": {"type": "integer"}}}
PETS: Json = {
    "openapi": "3.1.0",
    "paths": {
        "/pets/{id}": {
            "get": {
                "operationId": "get_pet",
                "parameters": [
                    {"name": "id", "in": "path", "required": True, "schema": {"type": "string"}},
                    {"name": "page", "in": "query", "required": True, "schema": {"type": "integer"}},
                    {"name": "X-Note", "in": "header", "schema": {"type": "string"}},
                    {"name": "trace", "in": "cookie", "schema": {"type": "string"}},
                ],
            }
        },
        "/pets": {
            "get": {
                "operationId": "list_pets",
                "parameters": [
                    {"name": name, "in": "query", **more, "schema": {"type": kind}}
                    for name, kind, more in [
                        ("tags", "array", {}),
                        ("ids", "array", {"explode": False}),
                        ("pipe", "array", {"style": "pipeDelimited", "explode": False}),
                        ("filter", "object", {"style": "deepObject"}),
                        ("more", "object", {}),
                        ("new", "boolean", {}),
                    ]
                ]
                + [
                    {"name": "q", "in": "query", "content": {"application/json": {"schema": {}}}},
                    {
                        "name": "either",
                        "in": "query",
                        "schema": {"anyOf": [{"type": "array"}, {"type": "null"}]},
                    },
                ],
            },
            "post": {
                "operationId": "add_pet",
                "requestBody": {"content": {"application/json": {"schema": NAMED}}, "required": True},
            },
            "put": {
                "operationId": "form_pet",
                "requestBody": {"content": {"application/x-www-form-urlencoded": {"schema": NAMED}}},
            },
            "patch": {
                "operationId": "part_pet",
                "requestBody": {"content": {"multipart/form-data": {"schema": NAMED}}},
            },
            "delete": {
                "operationId": "note_pet",
                "requestBody": {"content": {"text/plain": {"schema": {"type": "string"}}}},
            },
        },
        "/lists/{ids}/{box}": {
            "get": {
                "operationId": "lists",
                "parameters": [
                    {"name": "ids", "in": "path", "required": True, "schema": {"type": "array"}},
                    {"name": "box", "in": "path", "required": True, "schema": {"type": "object"}},
                ],
            }
        },
    },
}
LOCKED: Json = {
    **deepcopy(PETS),
    "security": [{"k": [], "c": []}],
    "components": {
        "securitySchemes": {
            "k": {"type": "apiKey", "in": "query", "name": "api_key"},
            "c": {"type": "apiKey", "in": "cookie", "name": "sid"},
            "h": {"type": "http", "scheme": "bearer"},
        }
    },
}
LOCKED["paths"]["/pets"]["get"]["security"] = [{"k": []}]
LOCKED["paths"]["/pets"]["post"]["security"] = [{"h": []}]
HASTY = Patience(tries=3, base_s=0.01, total_s=5.0)


def written(folder: Path, document: Json, name: str = "pets.json") -> str:
    path = folder / name
    path.write_text(json.dumps(document))
    return str(path)


@pytest.fixture
def pets(tmp_path: Path) -> str:
    return written(tmp_path, PETS)


@pytest.fixture
def locked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    for name in ("K", "C", "H"):
        monkeypatch.delenv(f"TM_KEY_{name}", raising=False)
    return written(tmp_path, LOCKED, "locked.json")


def task_of(path: str, url: str | None) -> Task:
    env = {"kind": "http", "openapi": path, **({"base_url": url} if url else {})}
    return new_task(messages=[{"role": "user", "content": "?"}], tools=[], env=env, answer=[])


Calls = list[tuple[str, Json]]


def seen_in(
    path: str, url: str | None, calls: Calls, timeout_s: float = 5.0, patience: Patience = HASTY
) -> list[Observation]:
    """What the calls of one session bring, one after the other."""

    async def run() -> list[Observation]:
        world = World(timeout_s=timeout_s)
        world.machinery.shared("http", lambda: Client(patience))
        session = world.open(task_of(path, url))
        try:
            return [await session.call(name, arguments) for name, arguments in calls]
        finally:
            await session.close()
            await world.close()
            await world.close()

    return asyncio.run(run())


def asked(path: str, calls: Calls, **more: Any) -> tuple[list[Observation], list[Seen]]:
    """The same at a server that tells what it was asked, with that."""
    with WebService(**more) as service:
        seen = seen_in(path, service.url, calls)
    return seen, service.requests


def errors(seen: list[Observation]) -> list[str]:
    assert not any(each.ok for each in seen)
    return [json.loads(each.text)["error"] for each in seen]


# ---- what is sent ------------------------------------------------------------------------------


def test_arguments_go_where_they_belong(pets: str) -> None:
    arguments = {"id": "a/b c?d#e", "page": 2, "X-Note": "hällo", "trace": "x; y"}
    (seen,), (request,) = asked(pets, [("get_pet", arguments)])
    assert seen.ok
    assert seen.ms > 0
    assert request.target == "/pets/a%2Fb%20c%3Fd%23e?page=2"
    assert request.headers["x-note"].encode("latin-1").decode() == "hällo"
    assert request.headers["cookie"] == "trace=x%3B%20y"
    assert "authorization" not in request.headers
    assert json.loads(seen.text)["target"] == request.target


def test_arrays_and_objects_in_an_address(pets: str) -> None:
    arguments = {
        "tags": ["a b", "c&d"],
        "ids": [1, 2],
        "pipe": ["x", "y"],
        "filter": {"a": 1},
        "more": {"b": "é"},
        "new": True,
        "q": {"z": [1]},
        "either": ["u", "v"],
    }
    calls: Calls = [("list_pets", arguments), ("lists", {"ids": [1, "b/c"], "box": {"k": "v"}})]
    _, (one, two) = asked(pets, calls)
    assert one.target == (
        "/pets?tags=a%20b&tags=c%26d&ids=1,2&pipe=x%7Cy&filter%5Ba%5D=1&b=%C3%A9&new=true"
        "&q=%7B%22z%22%3A%5B1%5D%7D&either=u&either=v"
    )
    assert two.target == "/lists/1,b%2Fc/k,v"


def test_bodies(pets: str) -> None:
    pet = {"name": 'Réx "&', "n": 3}
    calls: Calls = [
        ("add_pet", pet),
        ("add_pet", {}),
        ("form_pet", pet),
        ("form_pet", {}),
        ("part_pet", pet),
        ("note_pet", {"body": "hé"}),
    ]
    _, (post, empty, form, none, part, note) = asked(pets, calls)
    assert (json.loads(post.body), post.headers["content-type"]) == (pet, "application/json")
    assert empty.body == "{}"  # the document requires a body
    assert dict(parse_qsl(form.body)) == {"name": 'Réx "&', "n": "3"}
    assert none.body == ""
    assert "content-type" not in none.headers
    boundary = part.headers["content-type"].partition("boundary=")[2]
    assert part.body.split(f"--{boundary}\r\n")[1:] == [
        'Content-Disposition: form-data; name="name"\r\n\r\nRéx "&\r\n',
        f'Content-Disposition: form-data; name="n"\r\n\r\n3\r\n--{boundary}--\r\n',
    ]
    assert (note.body, note.headers["content-type"]) == ("hé", "text/plain")


def test_what_no_request_can_carry_is_refused(pets: str) -> None:
    calls: Calls = [
        ("get_pets", {}),
        ("get_pet", {"id": "1", "page": 1, "size": 3}),
        ("get_pet", {"page": 1}),
        ("get_pet", {"id": "", "page": 1}),
        ("get_pet", {"id": None, "page": 1}),
        ("get_pet", {"id": "..", "page": 1}),
        ("get_pet", {"id": "x/../../admin", "page": 1}),
        ("get_pet", {"id": "x\\..\\y", "page": 1}),
        ("get_pet", {"id": "1", "X-Note": "a\r\nHost: evil"}),
        ("part_pet", {"name": "tm-a1c6f8e2d94b"}),
    ]
    seen, requests = asked(pets, calls)
    assert errors(seen) == [
        "unknown tool 'get_pets'; tools are: "
        "get_pet, list_pets, form_pet, add_pet, note_pet, part_pet, lists",
        "unknown parameter 'size'; parameters are: id, page, X-Note, trace",
        "missing parameter 'id'; parameters are: id, page, X-Note, trace",
        "id must not be empty",
        "id must not be empty",
        "id must not hold '.' or '..' as a part of a path",
        "id must not hold '.' or '..' as a part of a path",
        "id must not hold '.' or '..' as a part of a path",
        "X-Note must be one line without control characters",
        "name holds a text that cannot be sent",
    ]
    assert requests == []


def test_everything_else_is_for_the_server_to_say(pets: str) -> None:
    calls: Calls = [
        ("get_pet", {"id": 7}),
        ("get_pet", {"id": ["x"], "page": "two"}),
        ("get_pet", {"id": True, "page": {"a": 1}}),
        ("get_pet", {"id": "7", "page": None}),
    ]
    seen, requests = asked(pets, calls)
    assert all(each.ok for each in seen)
    assert [request.target for request in requests] == [
        "/pets/7",
        "/pets/%5B%22x%22%5D?page=two",
        "/pets/true?page=%7B%22a%22%3A1%7D",
        "/pets/7",
    ]


def test_an_address_longer_than_any_server_takes(pets: str) -> None:
    seen, requests = asked(pets, [("get_pet", {"id": "x" * 70_000, "page": 1})])
    assert errors(seen) == ["the arguments are too long for an address"]
    assert requests == []


@pytest.fixture(scope="module")
def document(tmp_path_factory: pytest.TempPathFactory) -> Document:
    return load(written(tmp_path_factory.mktemp("documents"), PETS))


@settings(max_examples=300, deadline=None)
@given(value=st.text(min_size=1), note=st.text(), page=st.text())
def test_no_value_leaves_its_place(document: Document, value: str, note: str, page: str) -> None:
    """Whatever a path value holds, the server finds exactly that value in exactly that segment."""
    request = write(document.operation("get_pet"), {"id": value, "page": page, "X-Note": note})
    if isinstance(request, str):
        assert "'.' or '..'" in request or "control characters" in request
        return
    path, _, query = request.target.partition("?")
    assert path.isascii()
    assert path.isprintable()
    empty, word, segment = path.split("/")
    assert (empty, word, unquote(segment)) == ("", "pets", value)
    assert unquote(segment) not in (".", "..")
    assert query.partition("=")[0] == "page"
    assert unquote(query.partition("=")[2]) == page
    assert all("\n" not in text and "\r" not in text for _, text in request.headers)


@settings(max_examples=20, deadline=None)
@given(st.data())
def test_values_arrive_as_they_were(pets_server: tuple[str, WebService], data: st.DataObject) -> None:
    path, service = pets_server
    text = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=20)
    value, page = data.draw(text), data.draw(text)
    request = write(load(path).operation("get_pet"), {"id": value, "page": page})
    service.requests.clear()
    seen = seen_in(path, service.url, [("get_pet", {"id": value, "page": page})])
    assert seen[0].ok is isinstance(request, Request)
    if seen[0].ok:
        (came,) = service.requests
        assert unquote(came.path.removeprefix("/pets/")) == value
        assert came.query == {"page": [page]}


@pytest.fixture(scope="module")
def pets_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, WebService]]:
    path = written(tmp_path_factory.mktemp("documents"), PETS)
    with WebService() as service:
        yield path, service


# ---- what is told ------------------------------------------------------------------------------

GET: tuple[str, Json] = ("get_pet", {"id": "7", "page": 1})
POST: tuple[str, Json] = ("add_pet", {"name": "Rex"})


@pytest.mark.parametrize(
    ("oops", "ok", "text"),
    [
        (Oops(body='{ "a": [1, 2.50],\n "b": "\\u00e9" }'), True, '{"a":[1,2.5],"b":"é"}'),
        (Oops(body='{"id": 12345678901234567890123}'), True, '{"id": 12345678901234567890123}'),
        (Oops(body="just text", headers={"Content-Type": "text/plain"}), True, "just text"),
        (Oops(body="<html>hi</html>", headers={"Content-Type": "text/html"}), True, "<html>hi</html>"),
        (
            Oops(body="é".encode("latin-1"), headers={"Content-Type": "text/plain; charset=latin-1"}),
            True,
            "é",
        ),
        (
            Oops(body=b"\x89PNG\0\0", headers={"Content-Type": "image/png"}),
            True,
            '{"content":"6 bytes of image/png"}',
        ),
        (Oops(204, ""), True, '{"status":204}'),
        (Oops(body='{"error": "no such pet"}'), False, '{"error":"no such pet"}'),
        (Oops(body='{"error": null, "pets": []}'), True, '{"error":null,"pets":[]}'),
        (Oops(404, '{"detail": "no pet"}'), False, '{"error":"no pet","status":404}'),
        (
            Oops(400, '{"success": false, "status_code": 5, "status_message": "bad page"}'),
            False,
            '{"error":"bad page","status":400,"success":false,"status_code":5}',
        ),
        (
            Oops(422, '{"detail": [{"loc": ["query", "page"], "msg": "not an integer", "type": "int"}]}'),
            False,
            '{"error":"page: not an integer","status":422}',
        ),
        (
            Oops(400, '{"error": {"message": "bad", "code": 3}}'),
            False,
            '{"error":"bad","status":400}',
        ),
        (Oops(400, '{"errors": ["a", "b"], "status": "failed"}'), False, '{"error":"a; b","status":400}'),
        (Oops(400, '{"code": 3}'), False, '{"error":"the server answers 400","status":400,"code":3}'),
        (Oops(404, ""), False, '{"error":"the server answers 404","status":404}'),
        (
            Oops(404, "<html><style>x</style><h1>Not\nFound</h1></html>"),
            False,
            '{"error":"Not Found","status":404}',
        ),
        (Oops(403, '"stop"'), False, '{"error":"stop","status":403}'),
        (Oops(501, '{"message": "later"}'), False, '{"error":"later","status":501}'),
        (Oops(304, ""), False, '{"error":"the server answers 304","status":304}'),
    ],
)
def test_what_the_server_says_is_told(pets: str, oops: Oops, ok: bool, text: str) -> None:
    (seen,), _ = asked(pets, [GET], troubles=[oops])
    assert (seen.ok, seen.text) == (ok, text)


def test_a_giant_reply_is_cut(pets: str) -> None:
    giant = Oops(body="x" * 5_000_000, headers={"Content-Type": "text/plain"})
    large = Oops(body=json.dumps(["y" * 200] * 1000))
    rich = Oops(400, json.dumps({"message": "bad", "trace": "z" * 100_000}))
    seen, _ = asked(pets, [GET, GET, GET, GET], troubles=[giant, large, rich])
    assert seen[0].text == "x" * MAX_BYTES + "... (cut: the reply is longer)"
    assert seen[1].text.endswith("... (cut: the reply had 203001 bytes)")
    assert len(seen[1].text) < MAX_BYTES + 100
    assert seen[2].text == '{"error":"bad","status":400}'
    assert seen[3].ok


# ---- servers that misbehave --------------------------------------------------------------------


@pytest.mark.parametrize(
    "troubles",
    [
        [Oops(503), Oops(503)],
        [Oops(502), Oops(504)],
        [Oops(429, headers={"Retry-After": "0"})],
        [Oops(500)],
        [Oops(reset=True)],
        [Oops(delay_s=0.6)],
    ],
)
def test_what_passes_is_tried_again(pets: str, troubles: list[Oops]) -> None:
    with WebService(troubles=troubles) as service:
        (seen,) = seen_in(pets, service.url, [GET], timeout_s=0.3)
    assert seen.ok
    assert len(service.requests) == len(troubles) + 1


def test_retry_after_is_heeded(pets: str) -> None:
    seen, requests = asked(pets, [POST], troubles=[Oops(429, headers={"Retry-After": "1"})])
    assert seen[0].ok
    assert requests[1].at - requests[0].at >= 1.0


@pytest.mark.parametrize(
    ("call", "troubles", "said", "n_requests"),
    [
        (GET, [Oops(503)] * 9, "answers 503, tried 3 times", 3),
        (
            GET,
            [Oops(429, headers={"Retry-After": "900"})],
            "answers 429 and asks to wait 900 s, tried once",
            1,
        ),
        (GET, [Oops(reset=True)] * 9, "gives no answer .*, tried 3 times", 3),
        (GET, [Oops(delay_s=0.5)] * 9, "gives no answer in 0.2 s, tried 3 times", 3),
        (POST, [Oops(502)] * 9, "answers 502, tried once", 1),
        (POST, [Oops(reset=True)] * 9, "gives no answer .*, tried once", 1),
        (POST, [Oops(delay_s=0.5)] * 9, "gives no answer in 0.2 s, tried once", 1),
        (POST, [Oops(503)] * 9, "answers 503, tried 3 times", 3),
        (
            POST,
            [Oops(302, headers={"Location": "http://h:x"})],
            r"gives no answer \(Invalid URL in .*, tried once",
            1,
        ),
    ],
)
def test_a_server_without_an_answer_is_infrastructure(
    pets: str, call: tuple[str, Json], troubles: list[Oops], said: str, n_requests: int
) -> None:
    with WebService(troubles=troubles) as service:
        shown = r"GET http://127.0.0.1:\d+/pets/{id}" if call is GET else r"POST http://127.0.0.1:\d+/pets"
        with pytest.raises(EnvironmentFailure, match=f"^{shown} {said}$"):
            seen_in(pets, service.url, [call], timeout_s=0.2)
    assert len(service.requests) == n_requests


def test_a_lasting_500_is_data(pets: str) -> None:
    bad = Oops(500, '{"message": "page < 1"}')
    seen, requests = asked(pets, [GET, POST], troubles=[bad, bad, bad])
    assert [each.text for each in seen] == ['{"error":"page < 1","status":500}'] * 2
    assert len(requests) == 3


def test_nobody_listens(pets: str) -> None:
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{held.getsockname()[1]}"
        with pytest.raises(EnvironmentFailure, match=r"gives no answer \(.+\), tried 3 times"):
            seen_in(pets, url, [POST])


def test_redirects_stay_on_the_host(pets: str) -> None:
    with WebService() as other, WebService() as service:
        service.troubles = [
            Oops(302, headers={"Location": "/pets/8?page=1"}),
            None,
            Oops(302, headers={"Location": f"{other.url}/pets/9"}),
            Oops(301, headers={"Location": "ftp://127.0.0.1/pets/9"}),
            Oops(303, headers={"Location": "../pets"}),
            None,
            Oops(307, headers={"Location": "/v2/pets"}),
            *[None, *[Oops(302, headers={"Location": "/pets/8"})] * 6],
        ]
        seen = seen_in(pets, service.url, [GET, GET, GET, POST, POST, GET])
    assert json.loads(seen[0].text)["target"] == "/pets/8?page=1"
    assert errors([seen[1], seen[2], seen[5]]) == [
        "the server redirects to another host, 127.0.0.1",
        "the server redirects to another host, 127.0.0.1",
        "the server redirects in circles",
    ]
    assert [(r.method, r.path, r.body) for r in service.requests[4:8]] == [
        ("POST", "/pets", '{"name": "Rex"}'),
        ("GET", "/pets", ""),
        ("POST", "/pets", '{"name": "Rex"}'),
        ("POST", "/v2/pets", '{"name": "Rex"}'),
    ]
    assert other.requests == []


def test_cookies_belong_to_a_session(pets: str) -> None:
    async def run() -> None:
        world = World()
        one, two = (world.open(task_of(pets, service.url)) for _ in range(2))
        await one.call(*POST)
        await one.call("get_pet", {"id": "7", "page": 1, "trace": "t"})
        await two.call(*GET)
        await world.close()

    with WebService(troubles=[Oops(headers={"Set-Cookie": "sid=abc; Path=/"})]) as service:
        asyncio.run(run())
    assert [request.headers.get("cookie") for request in service.requests] == [None, "sid=abc; trace=t", None]


def test_calls_of_one_turn_are_made_at_once(pets: str) -> None:
    async def run() -> list[Observation]:
        world = World()
        session = world.open(task_of(pets, service.url))
        seen = await asyncio.gather(*(session.call("get_pet", {"id": str(i), "page": 1}) for i in range(8)))
        await world.close()
        return seen

    with WebService(troubles=[Oops(delay_s=0.3)] * 8) as service:
        started = time.monotonic()
        seen = asyncio.run(run())
        assert time.monotonic() - started < 1.5
    assert all(each.ok for each in seen)


def test_a_cancelled_call_leaves_the_client_well(pets: str) -> None:
    async def run() -> Observation:
        world = World()
        session = world.open(task_of(pets, service.url))
        lost = asyncio.ensure_future(session.call(*GET))
        await asyncio.sleep(0.1)
        lost.cancel()
        await asyncio.gather(lost, return_exceptions=True)
        seen = await session.call(*GET)
        await world.close()
        return seen

    with WebService(troubles=[Oops(delay_s=0.4)]) as service:
        assert asyncio.run(run()).ok


# ---- keys --------------------------------------------------------------------------------------


def test_without_any_key_nothing_opens(locked: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for item in (only := json.loads(Path(locked).read_text()))["paths"].values():
        for operation in item.values():
            operation["security"] = [{"k": []}]
    Path(locked).write_text(json.dumps(only))
    with pytest.raises(UsageError, match="needs a key, and TM_KEY_K is not set; set it"):
        seen_in(locked, "http://127.0.0.1:1", [])
    monkeypatch.setenv("TM_KEY_K", "secret-1")
    assert seen_in(locked, "http://127.0.0.1:1", []) == []


def test_keys_are_sent_over_what_the_model_says(locked: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {"K": "secret-k/+", "C": "secret-c", "H": "secret-h"}.items():
        monkeypatch.setenv(f"TM_KEY_{name}", value)
    calls: Calls = [GET, ("list_pets", {"more": {"api_key": "mine", "b": "1,2"}, "ids": [1, 2]}), POST]
    seen, (get, listed, post) = asked(locked, calls)
    assert get.target == "/pets/7?page=1&api_key=secret-k%2F%2B"
    assert get.headers["cookie"] == "sid=secret-c"
    assert listed.target == "/pets?ids=1,2&b=1%2C2&api_key=secret-k%2F%2B"
    assert post.headers["authorization"] == "Bearer secret-h"
    assert "secret" not in "".join(each.text for each in seen)  # the server repeated them all
    assert "***" in seen[1].text
    assert "***" in seen[2].text


KEYS = {"K": "secret-k", "C": "secret-c", "H": "secret-h"}
UNAUTHORIZED = Oops(401, '{"message": "not with secret-h"}')


@pytest.mark.parametrize(
    ("keys", "troubles", "said"),
    [
        ("KC", [UNAUTHORIZED], "answers 401: .*; set TM_KEY_H$"),
        ("KC", [Oops(403)], "answers 403: .*; set TM_KEY_H$"),
        (
            "KCH",
            [UNAUTHORIZED],
            r"answers 401: .*not with \*\*\*.*; set TM_KEY_H to a key that this server takes$",
        ),
        ("KCH", [Oops(503)] * 3, "answers 503, tried 3 times$"),
    ],
)
def test_a_key_that_does_not_open_is_no_fault_of_the_model(
    locked: str, monkeypatch: pytest.MonkeyPatch, keys: str, troubles: list[Oops], said: str
) -> None:
    for name in keys:
        monkeypatch.setenv(f"TM_KEY_{name}", KEYS[name])
    with WebService(troubles=troubles) as service, pytest.raises(EnvironmentFailure, match=said) as caught:
        seen_in(locked, service.url, [POST])
    assert "H" not in keys or "secret" not in str(caught.value)


def test_a_key_that_opened_something_is_good(locked: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in KEYS.items():
        monkeypatch.setenv(f"TM_KEY_{name}", value)
    seen, _ = asked(locked, [POST, POST, POST], troubles=[Oops(403), None, UNAUTHORIZED])
    assert [json.loads(each.text).get("status") for each in seen] == [403, None, 401]


def test_redirects_keep_the_key(locked: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TM_KEY_K", "secret-k")
    moved = Oops(302, headers={"Location": "/v2/pets"})
    _, requests = asked(locked, [("list_pets", {})], troubles=[moved])
    assert [request.target for request in requests] == ["/pets?api_key=secret-k", "/v2/pets?api_key=secret-k"]


# ---- set-up ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("env", "error", "said"),
    [
        ({}, InputError, "env.openapi: no path of an OpenAPI document"),
        ({"openapi": "nope.json"}, InputError, "nope.json: no OpenAPI document can be read"),
        ({"openapi": "PETS", "base_url": 3}, InputError, "env.base_url: no address of a server"),
        ({"openapi": "PETS"}, UsageError, "names no address of a server; name it, --server URL"),
        ({"openapi": "PETS", "base_url": "localhost"}, UsageError, "the server's address cannot be read"),
        (
            {"openapi": "PETS", "base_url": "http://h:99999"},
            UsageError,
            "the server's address cannot be read",
        ),
        ({"openapi": "PETS", "base_url": "ftp://h"}, UsageError, "the server's address cannot be read"),
        (
            {"openapi": "PETS", "base_url": "http://me:pass@h"},
            UsageError,
            "holds more than host, port and path",
        ),
        (
            {"openapi": "PETS", "base_url": "http://h?key=pass"},
            UsageError,
            "holds more than host, port and path",
        ),
    ],
)
def test_a_wrong_set_up(pets: str, env: Json, error: type[Exception], said: str) -> None:
    if env.get("openapi") == "PETS":
        env = {**env, "openapi": pets}
    task = new_task(messages=[], tools=[], env={"kind": "http", **env}, answer=[])
    with pytest.raises(error, match=said) as caught:
        World().open(task)
    assert "me:pass" not in str(caught.value)
    assert "key=" not in str(caught.value)


def test_the_document_may_name_its_servers(tmp_path: Path) -> None:
    with WebService() as one, WebService() as two, WebService() as three:
        document = deepcopy(PETS) | {"servers": [{"url": f"{one.url}/v1/"}]}
        document["paths"]["/pets"]["post"]["servers"] = [{"url": f"{two.url}/write"}]
        path = written(tmp_path, document)
        seen_in(path, None, [GET, POST])
        seen_in(path, f"{three.url}/base", [POST])
    assert [r.path for s in (one, two, three) for r in s.requests] == [
        "/v1/pets/7",
        "/write/pets",
        "/base/pets",
    ]


# ---- a real document, over a server of its own -------------------------------------------------


def plain_call(operation: Operation) -> Json:
    """The required arguments, of the right types."""
    return {
        p.name: (p.schema.get("enum") or [7 if p.schema["type"] == "integer" else "x y"])[0]
        for p in operation.parameters
        if p.required
    }


@needs_tmdb
def test_all_of_tmdb_over_http(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TM_KEY_API_KEY", "secret-key")
    operations = list(load(str(TMDB)).operations.values())
    calls = [(operation.name, plain_call(operation)) for operation in operations]
    with WebService(TMDB, key="secret-key") as service:
        seen = seen_in(str(TMDB), service.url, calls)
    assert [each.ok for each in seen] == [True] * 54
    for operation, request, each in zip(operations, service.requests, seen, strict=True):
        assert re.fullmatch(re.sub(r"{[^}]*}", "[^/]+", operation.path), request.path)
        assert each.text == bounded(orjson.dumps(operation.reply.examples[0]).decode())


@needs_tmdb
def test_what_tmdb_refuses_reaches_the_model(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TM_KEY_API_KEY", "secret-key")
    calls: Calls = [
        ("GET_movie-movie_id", {"movie_id": 7}),
        ("GET_movie-movie_id", {"movie_id": "Titanic"}),
        ("GET_search-movie", {}),
        ("GET_search-movie", {"query": "x", "page": "two"}),
    ]
    with WebService(TMDB, key="secret-key") as service:
        seen = seen_in(str(TMDB), service.url, calls)
        assert errors(seen[1:]) == [
            "Invalid parameters: movie_id must be an integer.",
            "Invalid parameters: query must be provided.",
            "Invalid parameters: page must be an integer.",
        ]
        service.key = "another"
        with pytest.raises(EnvironmentFailure, match=r"Invalid API key \*\*\*.* TM_KEY_API_KEY"):
            seen_in(str(TMDB), service.url, calls[:1])
