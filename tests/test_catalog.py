"""One name for any source of tools, and questions of one's own that are given them."""

import json
from pathlib import Path
from typing import Any

import pytest
from conftest import Tm
from shell import records
from test_tools_command import PETS

from tmcli import toolbox
from tmcli.catalog import argument, catalog_of, furnish, signature, type_of
from tmcli.errors import InputError, TmError
from tmcli.steps.tools.scaffold import start

# ---- sources -------------------------------------------------------------------------------------------


def test_a_built_in_toolbox() -> None:
    found = catalog_of("museum")
    assert found.tools == toolbox.load("museum").tools
    assert found.task(7).env == {"kind": "toolbox", "toolbox": "museum", "seed": 7}
    assert found.task().tags == {"toolbox": "museum", "split": "unseen", "drift": []}


def test_toolboxes_of_ones_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    start("own_box")
    start("own_file.py")
    for source, first in (("own_box", "find_repair"), ("own_file.py", "list_parts")):
        found = catalog_of(source)
        assert found.tools[0]["function"]["name"] == first
        assert found.env == {"kind": "toolbox", "toolbox": source}
        assert found.task().tags["split"] == "own"
    assert catalog_of("own_box").classes["find_repair"] == "search"


@pytest.mark.parametrize("suffix", [".json", ".yaml"])
def test_an_openapi_document(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"pets{suffix}"
    path.write_text(json.dumps(PETS))  # JSON is YAML
    found = catalog_of(str(path))
    assert [tool["function"]["name"] for tool in found.tools] == ["get_pet"]
    assert found.task().env == {"kind": "http", "openapi": str(path)}


@pytest.mark.parametrize(
    ("name", "text", "problem"),
    [
        ("no/box", None, "there is no toolbox at no/box"),
        ("musem", None, "no toolbox, folder or file is named 'musem'; did you mean 'museum'?"),
        ("a.txt", "", "a.txt is no source of tools; name a toolbox or its folder, a Python file, an"),
        ("a.json", "{", "a.json: not JSON: "),
        ("a.json", '{"a": 1}', "a.json: not an OpenAPI 3 document"),
        ("box/tools.json", '{"tools": []}', "box/tools.json is part of a toolbox; name the folder: box/"),
        ("box/readme", "", "there is no toolbox at ./box"),
        ("a.py", "def f(a):\n    'Do it.'\n", "a.py:1: f.a: has no type; write a: str, or what it is"),
    ],
)
def test_no_source(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, text: str | None, problem: str
) -> None:
    monkeypatch.chdir(tmp_path)
    if text is not None:
        Path(name).parent.mkdir(exist_ok=True)
        Path(name).write_text(text)
    with pytest.raises(TmError) as caught:
        catalog_of("./box" if name == "box/readme" else name)
    assert str(caught.value).startswith(problem)


# ---- questions -----------------------------------------------------------------------------------------


def furnished(tmp_path: Path, *rows: Any) -> list[Any]:
    path = tmp_path / "mine.jsonl"
    path.write_text("\n".join(row if isinstance(row, str) else json.dumps(row) for row in rows))
    return list(furnish(str(path), catalog_of("museum")))


def test_questions_become_tasks(tmp_path: Path) -> None:
    plain, many, full = furnished(
        tmp_path,
        {"query": "How high?", "answer": 3.5, "seed": 9},
        "",
        {"query": "Who?", "answer": ["Ada", "A. Abel"], "check": "contains", "note": "mine"},
        {
            "kind": "task",
            "v": 1,
            "id": "x",
            "messages": [{"role": "user", "content": "?"}],
            "tags": {"hops": 2},
        },
    )
    assert plain.messages == [{"role": "user", "content": "How high?"}]
    assert (plain.answer, plain.check, plain.env["seed"]) == (["3.5"], "number", 9)
    assert plain.source == "mine.jsonl:1"
    assert plain.tools == toolbox.load("museum").tools
    assert (many.answer, many.check, many.extra) == (["Ada", "A. Abel"], "contains", {"note": "mine"})
    assert many.source == "mine.jsonl:3"
    assert (full.answer, full.tags["hops"], full.tags["toolbox"]) == ([], 2, "museum")
    assert full.id not in ("x", plain.id)


@pytest.mark.parametrize(
    ("row", "problem"),
    [
        ("{", "not JSON: "),
        ("[]", "no JSON object; write"),
        ({"answer": 1}, 'query: there is no question; write "query"'),
        ({"query": "?", "answer": {"a": 1}}, "answer: neither text nor number; write"),
        ({"query": "?", "answer": [None]}, "answer: neither text nor number"),
        ({"query": "?", "seed": "7"}, "seed: '7' is no whole number; write"),
        ({"query": "?", "tools": []}, "tools: it has tools already; leave --tools out"),
        ({"query": "?", "check": "equal"}, "check: 'equal' is not allowed; known are: contains, exact"),
        ({"query": "?", "tags": []}, "tags: no object; write"),
        ({"messages": "?"}, "messages: a JSON string where an array is due"),
    ],
)
def test_broken_questions(tmp_path: Path, row: Any, problem: str) -> None:
    with pytest.raises(InputError) as caught:
        furnished(tmp_path, {"query": "fine"}, row)
    assert str(caught.value).startswith(f"{tmp_path}/mine.jsonl:2: {problem}")


def test_tasks_with_tools_as_typed(tm: Tm, tmp_path: Path) -> None:
    start(str(tmp_path / "mytools.py"))
    rows = b'{"query": "How many euros is a bell?", "answer": 4.2}\n{"answer": 1}\n{"query": "And a lamp?"}\n'
    done = tm("tasks", "-", "--tools", "mytools.py", "--rejects", "bad.jsonl", "-n", "5", input=rows)
    assert done.returncode == 0
    assert [task["env"]["toolbox"] for task in records(done.stdout)] == ["mytools.py"] * 2
    assert (tmp_path / "bad.jsonl").read_bytes() == b'{"answer": 1}\n'
    assert b"stdin:2: query: there is no question" in done.stderr
    drifted = tm("tasks", "-", "--tools", "mytools.py", "--drift", "stale", input=rows[:54])
    (task,) = records(drifted.stdout)
    assert task["tags"]["drift"] == ["stale"]
    assert b"write: tm tasks FILE --tools SOURCE" in tm("tasks", "--tools", "mytools.py").stderr


# ---- for people ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("schema", "words"),
    [
        ({"type": "string"}, "string"),
        ({"type": "string", "format": "date-time"}, "date-time"),
        ({"enum": ["a", 1, None]}, '"a"|1|null'),
        ({"type": ["integer", "null"]}, "integer|null"),
        ({"type": "array", "items": {"type": "array"}}, "array of array"),
        ({"anyOf": [{"type": "string"}, {"enum": [1]}]}, "string|1"),
        ({}, "any"),
        (True, "any"),
    ],
)
def test_types_in_words(schema: Any, words: str) -> None:
    assert type_of(schema) == words


def test_signatures_of_anything() -> None:
    assert signature({"function": {"name": "f"}}) == "f()"
    odd: Any = {"name": "f", "description": "a\n b", "parameters": {"properties": {"a": None}}}
    assert signature({"function": odd}, "get") == "f(a?: any) [get] - a b"


@pytest.mark.parametrize(
    ("schema", "text", "value"),
    [
        ({"type": "string"}, "7", "7"),
        ({"type": "string"}, "a=b", "a=b"),
        ({"type": "integer"}, "7", 7),
        ({"type": "integer"}, "seven", "seven"),
        ({"type": "number"}, "NaN", "NaN"),
        ({"type": "boolean"}, "true", True),
        ({"type": ["string", "null"]}, "null", "null"),
        ({"type": ["integer", "null"]}, "null", None),
        ({"anyOf": [{"type": "string"}, {"type": "integer"}]}, "7", "7"),
        ({"enum": ["7"]}, "7", "7"),
        ({"enum": [7]}, "7", 7),
        ({}, '{"a": 1}', {"a": 1}),
    ],
)
def test_values(schema: Any, text: str, value: Any) -> None:
    function = {"parameters": {"properties": {"a": schema}}}
    assert argument(f"a={text}", function) == ("a", value)
