"""RestBench's questions as tasks."""

import json
from collections import Counter
from pathlib import Path

import pytest
from servers import ModelServer, call, say, text
from services import WebService
from shell import pipe, records

from tmcli import importers
from tmcli.errors import InputError
from tmcli.importers import restbench
from tmcli.records import Json, from_json, to_json

FOLDER = Path(__file__).parents[2] / "shared" / "data" / "restbench"
needs_data = pytest.mark.skipif(not FOLDER.exists(), reason="../shared/data/restbench is not there")

DOCUMENT: Json = {"openapi": "3.0.0", "paths": {"/a": {"get": {}}, "/a/{a_id}/b": {"get": {}, "post": {}}}}
ROWS: list[Json] = [
    {"query": "one?", "solution": ["GET /a "]},
    {"query": "two?", "solution": [" GET /a", "post /a/{id}/b", "GET /c"]},
    {"query": "none?", "solution": []},
]


def written(folder: Path, rows: object = ROWS, document: Json | None = DOCUMENT) -> str:
    (folder / "x.json").write_text(json.dumps(rows))
    if document is not None:
        (folder / "x_oas.json").write_text(json.dumps(document))
    return str(folder / "x.json")


def test_questions_become_tasks(tmp_path: Path) -> None:
    one, two, none = restbench.read(written(tmp_path))
    assert one.messages == [{"role": "user", "content": "one?"}]
    assert [tool["function"]["name"] for tool in one.tools] == ["get_a", "get_a_a_id_b", "post_a_a_id_b"]
    assert one.env == {"kind": "http", "openapi": str(tmp_path / "x_oas.json")}
    assert (one.answer, one.check, one.source) == ([], "judge", "restbench:x.json:1")
    assert one.tags == {"dataset": "restbench", "hops": 1, "drift": []}
    assert one.extra == {"ground_truth": ["GET /a"], "path": ["get_a"]}
    assert two.extra["ground_truth"] == ["GET /a", "POST /a/{a_id}/b", "GET /c"]
    assert two.extra["path"] == ["get_a", "post_a_a_id_b", None]
    assert two.tags["undocumented"] == ["GET /c"]
    assert none.tags["hops"] == 0
    assert from_json(to_json(two)) == two


def test_a_server_is_named(tmp_path: Path) -> None:
    task, *_ = importers.read("restbench", written(tmp_path), "http://localhost:9/3")
    assert task.env["base_url"] == "http://localhost:9/3"


def test_the_layouts_of_a_folder(tmp_path: Path) -> None:
    written(tmp_path)
    assert len(list(restbench.read(str(tmp_path)))) == 3
    (tmp_path / "datasets").mkdir()
    (tmp_path / "specs").mkdir()
    written(tmp_path / "datasets", document=None)
    (tmp_path / "specs" / "x_oas.json").write_text(json.dumps(DOCUMENT))
    assert len(list(restbench.read(str(tmp_path / "datasets")))) == 3


@pytest.mark.parametrize(
    ("rows", "document", "said"),
    [
        (ROWS, None, "x.json: its OpenAPI document x_oas.json is not beside it"),
        (ROWS, {"openapi": "2"}, "x_oas.json: OpenAPI 2 is not OpenAPI 3"),
        ({}, DOCUMENT, "x.json: no JSON array of questions"),
        ([{"query": "x"}], DOCUMENT, "x.json:1: solution: no array of paths"),
        ([{"query": " ", "solution": []}], DOCUMENT, "x.json:1: query: no question"),
        ([*ROWS, 3], DOCUMENT, "x.json:4: query: no question"),
        (
            [{"query": "x", "solution": ["GET /z"]}],
            DOCUMENT,
            "has none of its paths .GET /z.; is it the document",
        ),
    ],
)
def test_what_is_broken_is_told(tmp_path: Path, rows: object, document: Json | None, said: str) -> None:
    with pytest.raises(InputError, match=said):
        list(restbench.read(written(tmp_path, rows, document)))


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"tmdb.json"):
        restbench.read(str(tmp_path / "tmdb.json"))
    with pytest.raises(InputError, match=r"the folder has no NAME.json"):
        restbench.read(str(tmp_path))
    with pytest.raises(InputError, match="cannot be read from stdin"):
        restbench.read("-")
    (tmp_path / "y.json").write_text("[")
    with pytest.raises(InputError, match=r"y.json: not JSON"):
        restbench.read(str(tmp_path / "y.json"))


@needs_data
def test_all_of_restbench() -> None:
    tasks = list(restbench.read(str(FOLDER / "tmdb.json")))
    assert Counter(task.tags["hops"] for task in tasks) == {1: 5, 2: 66, 3: 27, 4: 2}
    assert len({task.id for task in tasks}) == 100
    assert all(len(task.tools) == 54 for task in tasks)
    paths = {path for task in tasks for path in task.extra["ground_truth"]}
    operations = restbench.load(str(FOLDER / "tmdb_oas.json")).operations.values()
    assert paths <= {f"{operation.method} {operation.path}" for operation in operations}
    assert len(paths) == 46  # 50 spellings
    assert not any("undocumented" in task.tags for task in tasks)


BRAIN = say(
    call("GET_search-movie", "{}", "GET_search-movie", '{"query": "Titanic"}', content="<trial>look</trial>"),
    call("GET_movie-movie_id", '{"movie_id": 597}', content="<plan>details</plan>"),
    text("<answer>194 minutes</answer>"),
)
LINE = "tm tasks --from restbench {} {} -n 2 | tm rollout --policy gpt-4o --tasks - {}"


@needs_data
@pytest.mark.parametrize("simulate", [False, True])
def test_a_model_plays_restbench(tmp_path: Path, simulate: bool) -> None:
    """Tasks, model and web service, each in a process of its own, and a key that nobody gets to see."""
    with ModelServer(BRAIN) as model, WebService(FOLDER / "tmdb_oas.json", key="secret-key") as service:
        how = ("", "--simulate") if simulate else (f"--server {service.url}", "")
        env = model.env() | ({} if simulate else {"TM_KEY_API_KEY": "secret-key"})
        got = pipe(LINE.format(FOLDER / "tmdb.json", *how), tmp_path, env)
    assert got.returncode == 0, got.stderr
    made = records(got.stdout)
    assert [(run["status"], run["stop"], run["reward"]) for run in made] == [("ok", "answer", None)] * 2
    for run in made:
        wrong, right, last = [made for turn in run["turns"] for made in turn["calls"]]
        assert [each["ok"] for each in (wrong, right, last)] == [False, True, True]
        assert "query" in wrong["error"]
        assert "missing parameter" in wrong["error"] if simulate else "must be provided" in wrong["error"]
    assert len(service.requests) == (0 if simulate else 6)
    assert b"secret-key" not in got.stdout + got.stderr
    assert "secret-key" not in json.dumps(model.requests)


@needs_data
def test_no_key_is_said_once(tmp_path: Path) -> None:
    with ModelServer(BRAIN) as model:
        got = pipe(LINE.format(FOLDER / "tmdb.json", "", ""), tmp_path, model.env())
    assert got.returncode == 2
    assert got.stdout == b""
    assert got.stderr.count(b"TM_KEY_API_KEY is not set; set it") == 1
    assert b"--simulate" in got.stderr
