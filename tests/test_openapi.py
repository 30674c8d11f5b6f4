"""OpenAPI documents as tools: names, parameters, schemas, keys, and what is said about broken ones."""

import itertools
import json
import os
import re
import time
from collections.abc import Callable
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator
from strategies import json_values

from tmcli.environments.openapi import Document, load
from tmcli.environments.openapi.keys import chosen, hidden, lacking
from tmcli.environments.openapi.schema import MAX_NODES, plain
from tmcli.environments.openapi.source import Node, read
from tmcli.errors import InputError, UsageError
from tmcli.records import Json

TMDB = Path(__file__).parents[2] / "shared" / "data" / "restbench" / "tmdb_oas.json"
needs_tmdb = pytest.mark.skipif(not TMDB.exists(), reason="../shared/data/restbench is not there")
NAME = re.compile(r"[a-zA-Z0-9_-]{1,64}")

PETS = """
openapi: 3.0.3
info: {title: Pets, version: "1"}
servers:
  - url: https://{place}.example.org/v1
    variables: {place: {default: eu}}
security: [{key: []}]
paths:
  /pets/{petId}:
    parameters:
      - {$ref: "#/components/parameters/petId"}
      - {name: lang, in: query, schema: {type: string}}
    get:
      operationId: pets.get
      summary: Get a pet.
      description: "Get a pet.  By its\\n id."
      parameters:
        - {name: lang, in: query, required: true, schema: {type: string, enum: [en, no, 010]}}
        - {name: id, in: header, schema: {type: integer}}
        - {name: Content-Type, in: header, schema: {type: string}}
        - {name: api_key, in: query, required: true, schema: {type: string}}
        - {name: shelf, in: path, required: true, schema: {type: string}}
      responses:
        default: {description: no}
        "200":
          content: {application/json: {schema: {$ref: "#/components/schemas/Pet"}}}
    post:
      requestBody:
        content:
          application/json: {schema: {$ref: "#/components/schemas/Pet"}}
      responses: {"201": {description: made}}
  /shelves/{shelf}/pets:
    put:
      operationId: put_all
      deprecated: true
      security: [{}]
      requestBody:
        required: true
        content:
          text/plain: {schema: {type: string}}
          application/vnd.pets+json: {schema: {type: array, items: {$ref: "#/components/schemas/Pet"}}}
      responses: {}
components:
  parameters:
    petId: {name: petId, in: path, required: true, schema: {type: integer, format: int64, minimum: 1}}
  securitySchemes:
    key: {type: apiKey, in: query, name: api_key}
  schemas:
    Named: {type: object, properties: {name: {type: string, example: Rex}}, required: [name]}
    Pet:
      allOf:
        - $ref: "#/components/schemas/Named"
        - type: object
          required: [id, kind]
          properties:
            id: {type: integer, readOnly: true}
            secret: {type: string, writeOnly: true}
            kind: {type: string, nullable: true, enum: [cat, dog]}
            lang: {type: string}
            age: {type: integer, minimum: 0, exclusiveMinimum: true}
            friend: {$ref: "#/components/schemas/Pet"}
            tag: {nullable: true, oneOf: [{type: string}, {type: integer}]}
"""


def written(folder: Path, text: str | Json, name: str = "pets.yaml") -> str:
    path = folder / name
    path.write_text(text if isinstance(text, str) else json.dumps(text))
    return str(path)


@pytest.fixture
def pets(tmp_path: Path) -> Document:
    return load(written(tmp_path, PETS))


def parameters(document: Document, name: str) -> Json:
    schema: Json = document.operation(name).tool["function"]["parameters"]
    return schema


# ---- what becomes of a document ----------------------------------------------------------------


def test_operations_become_tools(pets: Document) -> None:
    assert [tool["function"]["name"] for tool in pets.tools] == ["pets_get", "post_pets_petId", "put_all"]
    assert pets.server == "https://eu.example.org/v1"
    one = pets.operation("pets_get")
    assert (one.method, one.path, one.description) == ("GET", "/pets/{petId}", "Get a pet. By its id.")
    assert pets.operation("put_all").description == "Deprecated."
    assert "description" not in pets.operation("post_pets_petId").tool["function"]
    with pytest.raises(UsageError, match=r"has no operation 'pets.get'; did you mean 'pets_get'"):
        pets.operation("pets.get")


def test_parameters_of_all_places(pets: Document) -> None:
    assert parameters(pets, "pets_get") == {
        "type": "object",
        "properties": {
            "petId": {"type": "integer", "format": "int64", "minimum": 1},
            "lang": {"type": "string", "enum": ["en", "no", "010"]},
            "id": {"type": "integer"},
        },
        "required": ["petId", "lang"],
    }


def test_a_body_is_spread_and_clashes_are_renamed(pets: Document) -> None:
    pet = {
        "name": {"type": "string"},
        "secret": {"type": "string"},
        "kind": {"type": ["string", "null"], "enum": ["cat", "dog", None]},
        "body_lang": {"type": "string"},
        "age": {"type": "integer", "exclusiveMinimum": 0},
        "friend": {},  # a circle: only the type is kept, and `allOf` names none
        "tag": {"anyOf": [{"oneOf": [{"type": "string"}, {"type": "integer"}]}, {"type": "null"}]},
    }
    shown = parameters(pets, "post_pets_petId")
    assert shown["properties"] == {"petId": shown["properties"]["petId"], "lang": {"type": "string"}, **pet}
    assert shown["required"] == ["petId", "name", "kind"]
    assert {p.name: p.wire for p in pets.operation("post_pets_petId").parameters}["body_lang"] == "lang"


def test_any_other_body_is_one_parameter(pets: Document) -> None:
    shown = parameters(pets, "put_all")
    assert list(shown["properties"]) == ["shelf", "body"]
    assert shown["properties"]["shelf"] == {"type": "string"}  # nobody described it
    assert shown["properties"]["body"]["items"]["required"] == ["name", "kind"]
    assert shown["required"] == ["shelf", "body"]
    body = pets.operation("put_all").body
    assert body is not None
    assert body.media == "application/vnd.pets+json"


def test_replies_show_what_requests_hide(pets: Document) -> None:
    reply = pets.operation("pets_get").reply
    assert (reply.status, reply.media, reply.examples) == (200, "application/json", [])
    assert reply.schema is not None
    assert "id" in reply.schema["properties"]
    assert "secret" not in reply.schema["properties"]
    assert reply.schema["properties"]["name"] == {"type": "string", "examples": ["Rex"]}
    assert pets.operation("post_pets_petId").reply.status == 201
    assert pets.operation("put_all").reply.media is None


@pytest.mark.parametrize(
    ("schema", "due"),
    [
        ({"type": "string", "enum": [1, 2.5, "x", 1]}, {"type": "string", "enum": ["1", "2.5", "x"]}),
        ({"type": "integer", "enum": ["1", "x", 2]}, {"type": "integer", "enum": [1, 2]}),
        ({"type": "integer", "enum": ["x"]}, {"type": "integer"}),
        ({"enum": ["x", 1]}, {"enum": ["x", 1]}),
        ({"type": "file", "required": True, "pattern": "(", "minLength": -1}, {}),
        ({"type": ["string", "null"], "title": "T", "xml": {}}, {"type": ["string", "null"]}),
        (
            {"type": "number", "maximum": 3, "exclusiveMaximum": True},
            {"type": "number", "exclusiveMaximum": 3},
        ),
        (
            {"properties": {"a": True, "b": False}},
            {"type": "object", "properties": {"a": {}, "b": {"not": {}}}},
        ),
        ({"items": {"type": "string"}}, {"type": "array", "items": {"type": "string"}}),
        (
            {"allOf": [{"type": "string"}, {"type": "integer"}]},
            {"allOf": [{"type": "string"}, {"type": "integer"}]},
        ),
        ({"allOf": [{"type": "string"}], "nullable": True}, {"type": ["string", "null"]}),
        (
            {
                "allOf": [
                    {"properties": {"a": {"type": "string"}}, "additionalProperties": False},
                    {"properties": {"a": {"minLength": 1}, "b": {}}, "required": ["a"]},
                ]
            },
            {
                "type": "object",
                "properties": {"a": {"allOf": [{"type": "string"}, {"minLength": 1}]}, "b": {}},
                "required": ["a"],
            },
        ),
    ],
)
def test_schemas_are_plain_json_schema(schema: Json, due: Json) -> None:
    assert plain(Node(schema, "", None, "x")) == due


def test_words_beside_a_reference_are_kept(tmp_path: Path) -> None:
    root = read(
        written(tmp_path, {"a": {"$ref": "#/b", "description": "mine"}, "b": {"type": "string"}}, "x.json")
    )
    assert plain(root.into("a")) == {"type": "string", "description": "mine"}


def test_circles_and_bombs_end(tmp_path: Path) -> None:
    lines = ["a0: &a0 {type: string}"]
    for i in range(1, 40):
        refs = ", ".join(f"p{j}: *a{i - 1}" for j in range(9))
        lines.append(f"a{i}: &a{i} {{type: object, properties: {{{refs}}}}}")
    lines.append("tree: {type: object, properties: {left: {$ref: '#/tree'}, right: {$ref: '#/tree'}}}")
    root = read(written(tmp_path, "\n".join(lines), "bomb.yaml"))
    started = time.monotonic()
    assert len(json.dumps(plain(root.into("a39")))) < 100 * MAX_NODES
    assert plain(root.into("tree")) == {
        "type": "object",
        "properties": {"left": {"type": "object"}, "right": {"type": "object"}},
    }
    assert time.monotonic() - started < 5


def test_names_are_valid_unique_and_stable(tmp_path: Path) -> None:
    long = "/" + "/".join(f"part{i}" for i in range(20))
    operation: Json = {"responses": {}}
    paths = {
        long: {"get": operation, "post": operation},
        "/a": {"get": {**operation, "operationId": "a.b"}},
        "/b": {"get": {**operation, "operationId": "a_b"}},
        "/c": {"get": {**operation, "operationId": "ümläut"}, "put": {**operation, "operationId": "..."}},
        "/": {"get": operation},
    }
    document = load(written(tmp_path, {"openapi": "3.1.0", "paths": paths}, "x.json"))
    names = list(document.operations)
    assert names[2] == "a_b"
    assert names[4:] == ["ml_ut", "call", "get"]
    assert all(NAME.fullmatch(name) for name in names)
    assert len(set(names)) == len(names) == 7
    other = load(written(tmp_path, {"openapi": "3.1.0", "paths": paths}, "y.json"))
    assert list(other.operations) == names


def test_yaml_is_read_as_openapi_means_it(tmp_path: Path) -> None:
    text = (
        "a: [no, on, 010, 12:30, 2020-01-02, 1.5, -3, ~, true, .5, 1e3]\n200: x\nb: &b {c: 1}\nd: {<<: *b}\n"
    )
    root = read(written(tmp_path, text, "x.yaml"))
    assert root.value == {
        "a": ["no", "on", "010", "12:30", "2020-01-02", 1.5, -3, None, True, 0.5, 1000.0],
        "200": "x",
        "b": {"c": 1},
        "d": {"c": 1},
    }


def test_a_document_in_several_files(tmp_path: Path) -> None:
    written(
        tmp_path, "Pet: {type: object, properties: {name: {$ref: '#/Name'}}}\nName: {type: string}", "s.yaml"
    )
    body = {"content": {"application/json": {"schema": {"$ref": "s.yaml#/Pet"}}}}
    document = load(
        written(tmp_path, {"openapi": "3.0.0", "paths": {"/a": {"post": {"requestBody": body}}}}, "x.json")
    )
    assert parameters(document, "post_a")["properties"] == {"name": {"type": "string"}}


def test_a_document_is_read_again_only_when_it_changed(tmp_path: Path) -> None:
    path = written(tmp_path, PETS)
    first = load(path)
    assert load(path) is first
    Path(path).write_text(PETS.replace("put_all", "put_every"))
    os.utime(path, ns=(1, 1))
    assert "put_every" in load(path).operations


# ---- broken documents --------------------------------------------------------------------------

GOOD: Json = {
    "openapi": "3.0.0",
    "paths": {"/a": {"get": {"operationId": "a", "responses": {}, "parameters": []}}},
}
GET = "paths./a.get"


def broken(change: Callable[[Json], Any]) -> Json:
    document = deepcopy(GOOD)
    change(document)
    return document


def parameter(value: Any) -> Callable[[Json], None]:
    return lambda d: d["paths"]["/a"]["get"]["parameters"].append(value)


@pytest.mark.parametrize(
    ("document", "said"),
    [
        ({"swagger": "2.0"}, "not an OpenAPI 3 document.*; convert it to OpenAPI 3"),
        ({"hello": 1}, "not an OpenAPI 3 document"),
        ([1], "not an OpenAPI 3 document"),
        ({"openapi": "2.0"}, "OpenAPI 2.0 is not OpenAPI 3"),
        ({"openapi": "3.0.0"}, "the document has no `paths`"),
        ({"openapi": "3.0.0", "paths": {}}, "the document has no operations"),
        (
            broken(lambda d: d["paths"].update({"/b": {"get": {"operationId": "a"}}})),
            f"paths./b.get: operationId 'a' is also that of {GET}",
        ),
        (
            broken(parameter({"$ref": "#/nowhere"})),
            rf"{GET}.parameters\[0\]: \$ref '#/nowhere' points to nothing",
        ),
        (broken(parameter({"$ref": "#/paths/x/1"})), "points to nothing"),
        (broken(parameter({"$ref": "https://x.org/y"})), "only files in the document's folder"),
        (broken(parameter({"$ref": "../../../etc/passwd"})), "only files in the document's folder"),
        (
            broken(
                parameter({"$ref": f"#/{GET}".replace(".", "/").replace("//a", "/~1a") + "/parameters/0"})
            ),
            "goes round in circles",
        ),
        (broken(parameter({"name": "x"})), "needs a `name`, and `in`"),
        (broken(parameter("x")), "needs a `name`, and `in`"),
        (broken(parameter({"name": "a b", "in": "header"})), "'a b' is no name for a header"),
        (broken(parameter({"name": "x", "in": "query", "schema": 3})), "schema: a schema that is no object"),
        (broken(lambda d: d["paths"]["/a"].update(get=3)), f"{GET}: an operation that is no object"),
        (
            broken(lambda d: d.update(security=[{"key": []}])),
            r"security\[0\]: no security scheme is named 'key'",
        ),
        (
            broken(lambda d: d.update(components={"securitySchemes": {"k": {"type": "magic"}}})),
            "components.securitySchemes.k: no security scheme is of type 'magic'",
        ),
        (
            broken(lambda d: d.update(components={"securitySchemes": {"k": {"type": "apiKey"}}})),
            "an apiKey needs a `name`",
        ),
    ],
)
def test_what_is_broken_is_told_with_file_and_place(tmp_path: Path, document: Any, said: str) -> None:
    path = written(tmp_path, document, "broken.json")
    with pytest.raises(InputError, match=f"^{re.escape(path)}: .*{said}"):
        load(path)


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("a.json", "{", "not JSON: .* at line 1"),
        ("a.yaml", "a: [1", "neither JSON nor YAML"),
        ("a.yaml", "a: b: c", "neither JSON nor YAML"),
        ("a.yaml", "[" * 5000, "neither JSON nor YAML"),
        ("a.json", "[" * 5000, "not JSON"),
    ],
)
def test_files_that_are_no_documents(tmp_path: Path, name: str, text: str, said: str) -> None:
    with pytest.raises(InputError, match=said):
        load(written(tmp_path, text, name))


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"nope.json: no OpenAPI document can be read: No such file"):
        load(str(tmp_path / "nope.json"))


# ---- keys --------------------------------------------------------------------------------------


@pytest.fixture
def locked(tmp_path: Path) -> Document:
    schemes = {
        "my-key.2": {"type": "apiKey", "in": "header", "name": "X-Key"},
        "cook": {"type": "apiKey", "in": "cookie", "name": "sid"},
        "user": {"type": "http", "scheme": "basic"},
        "token": {"type": "http", "scheme": "bearer"},
        "oauth": {"type": "oauth2", "flows": {}},
    }
    operations = {
        "one": {"security": [{"my-key.2": []}]},
        "both": {"security": [{"my-key.2": [], "cook": []}, {"token": []}]},
        "free": {"security": []},
        "maybe": {"security": [{"user": []}, {}]},
        "oauth": {"security": [{"oauth": ["read"]}]},
        "inherited": {},
    }
    paths = {f"/{name}": {"get": {"operationId": name, **o}} for name, o in operations.items()}
    value = {
        "openapi": "3.1.0",
        "security": [{"token": []}],
        "components": {"securitySchemes": schemes},
        "paths": paths,
    }
    return load(written(tmp_path, value, "locked.json"))


def values(document: Document, name: str) -> dict[str, str] | None:
    found = chosen(document.operation(name).security)
    return None if found is None else {key.wire: value for key, value in found.items()}


def test_keys_come_from_the_environment(locked: Document, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in list(os.environ):
        if name.startswith("TM_KEY_"):
            monkeypatch.delenv(name)
    assert values(locked, "one") is None
    assert values(locked, "free") == values(locked, "maybe") == {}
    assert lacking(locked.operation("both").security) == "TM_KEY_MY_KEY_2 and TM_KEY_COOK or TM_KEY_TOKEN"
    monkeypatch.setenv("TM_KEY_MY_KEY_2", " abc ")
    monkeypatch.setenv("TM_KEY_TOKEN", "tok")
    monkeypatch.setenv("TM_KEY_USER", "me:pass")
    monkeypatch.setenv("TM_KEY_OAUTH", "oau")
    assert values(locked, "one") == {"X-Key": "abc"}
    assert values(locked, "both") == values(locked, "inherited") == {"Authorization": "Bearer tok"}
    assert values(locked, "maybe") == {"Authorization": "Basic bWU6cGFzcw=="}
    assert values(locked, "oauth") == {"Authorization": "Bearer oau"}
    monkeypatch.setenv("TM_KEY_COOK", "c00k")
    assert values(locked, "both") == {"X-Key": "abc", "sid": "c00k"}
    monkeypatch.setenv("TM_KEY_COOK", "a\nb")
    with pytest.raises(UsageError, match="TM_KEY_COOK holds characters that no key has"):
        values(locked, "both")


@pytest.mark.parametrize(
    ("scheme", "key", "text"),
    [
        ("token", "s3cr3t/+", 'bad key s3cr3t/+ or s3cr3t%2F%2B or s3cr3t/%2B or "s3cr3t\\/+"'),
        ("user", "me:pass word", "Basic bWU6cGFzcyB3b3Jk me:pass%20word me%3Apass+word pass word"),
    ],
)
def test_keys_are_hidden_however_a_server_writes_them(
    locked: Document, monkeypatch: pytest.MonkeyPatch, scheme: str, key: str, text: str
) -> None:
    monkeypatch.setenv(f"TM_KEY_{scheme.upper()}", key)
    keys = chosen(locked.operation("maybe" if scheme == "user" else "inherited").security)
    assert keys
    shown = hidden(text, keys)
    assert not re.search("s3cr3t|pass|bWU6", shown)
    assert shown.count("***") >= 4 - (scheme == "user")


# ---- a real document ---------------------------------------------------------------------------


@needs_tmdb
def test_all_of_tmdb_becomes_tools() -> None:
    document = load(str(TMDB))
    assert len(document.tools) == 54
    assert len({o.path for o in document.operations.values()}) == 54
    assert "api_key" not in json.dumps(document.tools)
    for operation in document.operations.values():
        assert NAME.fullmatch(operation.name)
        schema = operation.tool["function"]["parameters"]
        Draft202012Validator.check_schema(schema)
        assert {p.wire for p in operation.parameters if p.place == "path"} == set(
            re.findall(r"{(.*?)}", operation.path)
        )
        assert operation.reply.examples
        assert operation.reply.schema is not None
        Draft202012Validator.check_schema(operation.reply.schema)
    status = document.operation("GET_discover-tv").tool["function"]["parameters"]["properties"]["with_status"]
    assert status["enum"] == ["0", "1", "2", "3", "4", "5"]  # written as numbers of type string there
    assert len(json.dumps(document.tools)) < 40_000


# ---- whatever a document holds -----------------------------------------------------------------

words = st.sampled_from([
    "type", "enum", "nullable", "properties", "required", "items", "allOf", "anyOf", "oneOf", "pattern",
    "minimum", "exclusiveMinimum", "additionalProperties", "default", "format", "description", "maxLength",
    "readOnly", "not", "prefixItems", "const", "multipleOf", "patternProperties", "example", "examples",
])  # fmt: skip
leaves = st.sampled_from(
    ["string", "integer", "object", "array", "null", "a", "(", "date", 3, -1, 0, True, None]
)
anything = st.recursive(
    leaves | json_values,
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(words | st.text(max_size=3), inner, max_size=4)
    ),
    max_leaves=20,
)
schemas = st.dictionaries(words, anything, max_size=5)


@settings(max_examples=200, deadline=None)
@given(schemas, st.sampled_from(["readOnly", "writeOnly"]))
def test_what_comes_out_is_always_json_schema(schema: Json, hide: str) -> None:
    try:
        out = plain(Node(schema, "", None, "x"), hide)
    except InputError:
        return
    Draft202012Validator.check_schema(out)
    json.dumps(out)


parameters_in = st.lists(
    st.fixed_dictionaries(
        {
            "name": st.sampled_from(["id", "q", "body", "page", "body_id"]),
            "in": st.sampled_from(["path", "query", "header", "cookie"]),
            "schema": schemas,
        },
        optional={"required": st.booleans(), "style": st.sampled_from(["form", "deepObject"])},
    ),
    max_size=5,
)
bodies = st.fixed_dictionaries(
    {
        "content": st.dictionaries(
            st.sampled_from(["application/json", "text/plain", "multipart/form-data"]),
            st.fixed_dictionaries({"schema": schemas}),
            max_size=2,
        )
    },
    optional={"required": st.booleans()},
)
documents = st.dictionaries(
    st.sampled_from(["/a", "/a/{id}", "/a_{id}", "/" + "x" * 90, "/ü/{q}/{id}"]),
    st.dictionaries(
        st.sampled_from(["get", "post", "delete"]),
        st.fixed_dictionaries({"parameters": parameters_in}, optional={"requestBody": bodies}),
        min_size=1,
        max_size=3,
    ),
    min_size=1,
    max_size=4,
)


numbers = itertools.count()


@settings(max_examples=40, deadline=None)
@given(documents)
def test_any_document_becomes_valid_tools(tmp_path_factory: pytest.TempPathFactory, paths: Json) -> None:
    path = tmp_path_factory.getbasetemp() / f"any-{next(numbers)}.json"  # never one that was read before
    path.write_text(json.dumps({"openapi": "3.0.0", "paths": paths}))
    try:
        document = load(str(path))
    except InputError:
        return
    finally:
        path.unlink()
    names = [tool["function"]["name"] for tool in document.tools]
    assert len(set(names)) == len(names) == sum(map(len, paths.values()))
    for operation in document.operations.values():
        assert NAME.fullmatch(operation.name)
        schema = operation.tool["function"]["parameters"]
        Draft202012Validator.check_schema(schema)
        assert set(schema.get("required", [])) <= set(schema["properties"])
        assert len(schema["properties"]) == len(operation.parameters)
