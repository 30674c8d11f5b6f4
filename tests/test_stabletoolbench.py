"""StableToolBench: its queries as tasks, and a real local server of its protocol."""

import asyncio
import json
import re
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from virtual import VirtualServer

from tmcli.environments import Observation, http_client, stabletoolbench
from tmcli.environments.arguments import fault
from tmcli.environments.http_client import Client, Patience
from tmcli.environments.machinery import Machinery
from tmcli.environments.mutation import MAX_PROBES, complains, spoiled
from tmcli.environments.stabletoolbench import VirtualSession
from tmcli.environments.world import World
from tmcli.errors import EnvironmentFailure, InputError, UsageError
from tmcli.importers.stabletoolbench import read, standard
from tmcli.records import Json, Task, from_json, to_json

DATA = Path(__file__).parents[2] / "shared" / "data" / "stabletoolbench"
needs_data = pytest.mark.skipif(not DATA.exists(), reason="../shared/data/stabletoolbench is not there")
Machine = Callable[[], Machinery]


def parameter(name: str, kind: str = "STRING", default: Any = "", about: str = "") -> Json:
    return {"name": name, "type": kind, "description": about, "default": default}


def api(name: str, required: list[Json], optional: list[Json] | None = None, **more: Any) -> Json:
    return {
        "category_name": "Media",
        "tool_name": "Vimeo",
        "api_name": name,
        "api_description": f"Does {name}.",
        "required_parameters": required,
        "optional_parameters": optional or [],
        **more,
    }


SEARCH = api("SearchVideos", [parameter("query", default="cats")], [parameter("page", "NUMBER", "2")])
PEOPLE = api("GetPeople", [parameter("category")])
ROW = {
    "query": "Find me films.",
    "query_id": 7,
    "relevant APIs": [["Vimeo", "SearchVideos"]],
    "api_list": [SEARCH, PEOPLE],
}
TOOL = "searchvideos_for_vimeo"
DOCUMENTS = {("vimeo", standard(each["api_name"])): each for each in (SEARCH, PEOPLE)}


def written(folder: Path, rows: Any) -> str:
    path = folder / "G9_test.json"
    path.write_text(json.dumps(rows))
    return str(path)


def task_for(folder: Path, url: str) -> Task:
    (task,) = read(written(folder, [ROW]), url)
    return task


@pytest.fixture(autouse=True)
def hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pauses between tries are for the world outside."""
    monkeypatch.setattr(stabletoolbench, "Client", lambda: Client(Patience(tries=3, base_s=0.01)))
    monkeypatch.delenv("TOOLBENCH_KEY", raising=False)


def play(task: Task, acts: Callable[[VirtualSession], Awaitable[Any]], timeout_s: float = 10.0) -> Any:
    async def run() -> Any:
        machinery = Machinery(timeout_s)
        session = stabletoolbench.open_session(task, machinery)
        assert isinstance(session, VirtualSession)
        try:
            return await acts(session)
        finally:
            await session.close()
            await session.close()
            await machinery.aclose()

    return asyncio.run(run())


def seen_in(task: Task, *calls: tuple[str, Json], timeout_s: float = 10.0) -> list[Observation]:
    async def acts(session: VirtualSession) -> list[Observation]:
        return [await session.call(name, arguments) for name, arguments in calls]

    found: list[Observation] = play(task, acts, timeout_s)
    return found


# ---- the queries -------------------------------------------------------------------------------


@needs_data
@pytest.mark.parametrize(("group", "n"), [("G1_instruction", 163), ("G3_instruction", 61)])
def test_all_queries_are_tasks(group: str, n: int) -> None:
    tasks = list(read(str(DATA / f"{group}.json")))
    assert len(tasks) == len({task.id for task in tasks}) == n
    for task in tasks:
        names = [tool["function"]["name"] for tool in task.tools]
        assert len(names) == len(set(names))
        assert all(re.fullmatch(r"[a-zA-Z0-9_-]{1,64}", name) for name in names)
        assert list(task.env["apis"]) == names
        assert task.env["url"] == "http://localhost:8080/virtual"
        assert set(task.extra["ground_truth"]) <= set(names)
        assert task.tags["hops"] == len(task.extra["ground_truth"]) > 0
        assert task.tags["group"] == group
        assert (task.answer, task.check) == ([], "judge")
        for tool in task.tools:
            schema = tool["function"]["parameters"]
            assert set(schema["required"]) <= set(schema["properties"])
            assert tool["function"]["description"]
        assert to_json(from_json(to_json(task))) == to_json(task)


def test_one_query(tmp_path: Path) -> None:
    row = {
        **ROW,
        "api_list": [
            SEARCH,
            SEARCH,
            api(
                "24h: User's ID",
                [parameter("id"), parameter("id", about="again"), parameter("orgId", "ENUM", "", " 1 or 2 ")],
                [
                    parameter("x", "NUMBER", "1.5"),
                    parameter("y", "NUMBER", 3),
                    parameter("z", "NUMBER", "many"),
                    parameter("b", "BOOLEAN", "True"),
                    parameter("d", "DATE (YYYY-MM-DD)", "2022-12-19"),
                    parameter("array[]", "ARRAY", '["a"]'),
                ],
                api_description="",
            ),
            api("Yesterday" + " and on" * 10, [], api_description="x" * 300),
            api("Tomorrow" + " and on" * 10, []),
        ],
    }
    (task,) = read(written(tmp_path, [row]), "http://host:1/")
    first, second, third, fourth = (tool["function"] for tool in task.tools)
    assert task.env["url"] == "http://host:1/virtual"
    assert task.messages == [{"role": "user", "content": "Find me films."}]
    assert task.extra == {"ground_truth": [TOOL]}
    assert task.source == "stabletoolbench:G9_test.json:1"
    assert first == {
        "name": TOOL,
        "description": "Does SearchVideos.",
        "parameters": {
            "type": "object",
            "properties": {
                "query": {"type": "string", "examples": ["cats"]},
                "page": {"type": "number", "default": 2},
            },
            "required": ["query"],
        },
    }
    assert second["name"] == "get_24h_user_s_id_for_vimeo"
    assert second["description"] == "24h: User's ID of Vimeo"
    assert second["parameters"]["required"] == ["is_id", "orgid"]
    assert second["parameters"]["properties"] == {
        "is_id": {"type": "string"},
        "orgid": {"type": "string", "description": "1 or 2"},
        "x": {"type": "number", "default": 1.5},
        "y": {"type": "number", "default": 3},
        "z": {"type": "number"},
        "b": {"type": "boolean", "default": True},
        "d": {"type": "string", "format": "date", "default": "2022-12-19"},
        "array": {"type": "string", "default": '["a"]'},
    }
    assert len(third["description"]) == 256
    assert third["name"].endswith("and_on_and_on_for_vimeo")
    assert fourth["name"].startswith("tomorrow_and_on_and_on")
    assert len(third["name"]) == len(fourth["name"]) == 64
    assert task.env["apis"][second["name"]] == {
        "category": "Media",
        "tool_name": "vimeo",
        "api_name": "get_24h_user_s_id",
    }


@pytest.mark.parametrize(
    ("rows", "place"),
    [
        ([ROW, {**ROW, "query": None}], ":2: query: "),
        ([3], ":1: query: "),
        ([{**ROW, "api_list": []}], ":1: api_list: "),
        ([{**ROW, "api_list": [{"tool_name": "x"}]}], ":1: api_list[0].category_name: "),
        ([{**ROW, "api_list": [SEARCH, 3]}], ":1: api_list[1].category_name: "),
        ([{**ROW, "api_list": [api("x", 3)]}], ":1: api_list[0].required_parameters: "),  # type: ignore[arg-type]
        ([{**ROW, "api_list": [api("x", [{}])]}], ":1: api_list[0].required_parameters[0]: "),
        ([{**ROW, "relevant APIs": 3}], ":1: relevant APIs: "),
        ([{**ROW, "relevant APIs": [["Vimeo", "Nothing"]]}], ":1: relevant APIs: "),
        ({}, ": no JSON array"),
    ],
)
def test_faults_in_the_data(tmp_path: Path, rows: Any, place: str) -> None:
    path = written(tmp_path, rows)
    with pytest.raises(InputError) as caught:
        list(read(path))
    assert str(caught.value).startswith(f"{path}{place}")


def test_no_json_and_no_file(tmp_path: Path) -> None:
    path = tmp_path / "x.json"
    with pytest.raises(InputError):
        read(str(path))
    path.write_text("[")
    with pytest.raises(InputError, match="not JSON"):
        list(read(str(path)))


# ---- the protocol ------------------------------------------------------------------------------


def test_what_is_sent_and_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TOOLBENCH_KEY", "sesame")
    calls: list[tuple[str, Json]] = [
        (TOOL, {"query": "Zoë", "page": 1}),
        (TOOL, {}),
        (TOOL, {"query": "x" * 2000}),
        (TOOL, {"query": float("inf")}),
        ("searchvideos", {}),
    ]
    with VirtualServer(DOCUMENTS) as server:
        task = task_for(tmp_path, server.url)
        right, wrong, long, unsayable, unknown = seen_in(task, *calls)
    assert right.ok
    assert json.loads(right.text) == {"api": "SearchVideos", "asked": {"query": "Zoë", "page": 1}}
    assert not wrong.ok
    assert json.loads(wrong.text) == {
        "error": "Message error...",
        "response": "missing 1 required positional argument: 'query'",
    }
    assert long.ok
    assert (len(long.text), long.text[-3:]) == (1027, "...")
    assert json.loads(unsayable.text)["error"] == "the arguments are not JSON"
    assert (
        json.loads(unknown.text)["error"]
        == f"unknown tool 'searchvideos'; tools are: {TOOL}, getpeople_for_vimeo"
    )
    assert server.requests[0] == {
        "category": "Media",
        "tool_name": "vimeo",
        "api_name": "searchvideos",
        "tool_input": '{"query": "Zoë", "page": 1}',
        "strip": "truncate",
        "toolbench_key": "sesame",
    }
    assert server.headers[0]["toolbench_key"] == "sesame"
    assert "sesame" not in json.dumps(to_json(task))


def test_replies_that_are_no_text(tmp_path: Path) -> None:
    bodies = ['{"error": "", "response": {"a": [1]}}', '{"error": null, "response": 3}', '{"response": ""}']
    with VirtualServer(DOCUMENTS, troubles=bodies) as server:
        seen = seen_in(task_for(tmp_path, server.url), *[("getpeople_for_vimeo", {"category": "a"})] * 3)
    # faulty calls come in between, and take their share of the troubles
    assert seen[0].text == '{"a":[1]}'
    assert all(each.ok for each in seen)


def test_a_server_that_fails_and_comes_back(tmp_path: Path) -> None:
    for troubles in ([500], [429, 503], [502, 504]):
        with VirtualServer(DOCUMENTS, troubles=troubles) as server:
            (seen,) = seen_in(task_for(tmp_path, server.url), (TOOL, {"query": "a"}))
        assert seen.ok
        assert len(server.requests) >= len(troubles) + 1


@pytest.mark.parametrize(
    ("troubles", "sentence"),
    [
        ([503] * 3, "answers 503, tried 3 times; is it there"),
        ([0.5] * 3, "gives no answer in 0.2 s, tried 3 times"),
        ([500] * 3, "answers 500 and no {error, response}; see what it logs"),
        ([404], "answers 404 and no {error, response}; does its address end in /virtual"),
        (["<html>"], "answers 200 and no"),
        (['{"detail": 1}'], "answers 200 and no"),
    ],
)
def test_a_server_that_is_no_use(tmp_path: Path, troubles: list[Any], sentence: str) -> None:
    with VirtualServer(DOCUMENTS, troubles=troubles) as server, pytest.raises(EnvironmentFailure) as caught:
        seen_in(task_for(tmp_path, server.url), (TOOL, {"query": "a"}), timeout_s=0.2)
    assert str(caught.value).startswith(f"the server {server.url} {sentence}")


def test_a_reply_without_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http_client, "MAX_READ_BYTES", 100)
    with VirtualServer(DOCUMENTS) as server:
        (seen,) = seen_in(task_for(tmp_path, server.url), (TOOL, {"query": "x" * 200}))
    assert json.loads(seen.text) == {"error": "the reply is longer than 100 bytes"}


def test_true_schemas_of_a_drifted_task_are_held(tmp_path: Path) -> None:
    with VirtualServer(DOCUMENTS) as server:
        task = task_for(tmp_path, server.url)
        task.env["schemas"] = task.tools
        (seen,) = seen_in(task, (TOOL, {"old": 1}))
    assert json.loads(seen.text)["error"] == "unknown parameter 'old'; parameters are: query, page"
    assert not server.requests


# ---- does it refuse wrong calls? ---------------------------------------------------------------


@pytest.mark.parametrize(
    ("honest", "warned"),
    [(True, ""), (False, f"accepted {MAX_PROBES} of {MAX_PROBES} wrong calls: it hides the feedback")],
)
def test_servers_that_say_yes_to_everything_are_told_of(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], honest: bool, warned: str
) -> None:
    """All sessions of a run count together; the model sees none of it."""
    n = MAX_PROBES + 3

    async def run(task: Task) -> list[Observation]:
        world = World()
        sessions = [world.open(task) for _ in range(n)]
        seen = await asyncio.gather(
            *(session.call(TOOL, {"query": str(i)}) for i, session in enumerate(sessions))
        )
        for session in sessions:
            await session.close()
        await world.close()
        return seen

    with VirtualServer(DOCUMENTS, honest) as server:
        seen = asyncio.run(run(task_for(tmp_path, server.url)))
    assert [json.loads(each.text)["asked"] for each in seen] == [{"query": str(i)} for i in range(n)]
    assert len(server.requests) == n + MAX_PROBES
    said = capsys.readouterr().err
    assert (warned in said) if warned else not said
    right = [{"query": str(i)} for i in range(n)]
    wrong = [asked for each in server.requests if (asked := json.loads(each["tool_input"])) not in right]
    assert len(wrong) == MAX_PROBES
    assert {} in wrong
    assert any("mode" in each for each in wrong)
    assert any(isinstance(each.get("query"), list) for each in wrong)


def test_nothing_is_said_when_nothing_was_called(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with VirtualServer(DOCUMENTS, honest=False) as server:
        task = task_for(tmp_path, server.url)
        seen_in(task)
        seen_in(task, ("nope", {}))
    assert not server.requests
    assert not capsys.readouterr().err


def test_asked_by_hand(tmp_path: Path) -> None:
    async def acts(session: VirtualSession) -> list[bool | None]:
        return [await session.accepts_fault(TOOL, {"query": "a"}, turn) for turn in range(3)]

    for honest in (True, False):
        with VirtualServer(DOCUMENTS, honest) as server:
            assert play(task_for(tmp_path, server.url), acts) == [not honest] * 3
    assert play(task_for(tmp_path, "http://127.0.0.1:9/virtual"), acts) == [None] * 3


NAMES = st.sampled_from(["a", "b", "mode", "verbose", "locale", "zone"])
SCHEMAS = st.fixed_dictionaries(
    {
        "type": st.just("object"),
        "properties": st.dictionaries(
            NAMES, st.sampled_from([{}, {"type": "string"}, {"type": "number"}, {"type": ["array", "null"]}])
        ),
        "required": st.lists(NAMES, unique=True),
    }
)


@given(SCHEMAS, st.dictionaries(NAMES, st.sampled_from(["x", 1, True, None, []])), st.integers(0, 20))
def test_a_spoiled_call_has_a_fault(schema: Json, arguments: Json, turn: int) -> None:
    tools = [{"type": "function", "function": {"name": "f", "parameters": schema}}]
    kept = json.dumps(arguments)
    wrong = spoiled(tools, "f", arguments, turn)
    assert json.dumps(arguments) == kept
    assert wrong is None or fault(tools, "f", wrong)
    if not set(schema["properties"]) >= {"mode", "verbose", "locale", "zone"}:
        assert wrong is not None


def test_no_call_can_be_spoiled_of_a_tool_nobody_knows() -> None:
    assert spoiled([], "f", {}, 0) is None


@pytest.mark.parametrize(
    ("response", "objects"),
    [
        ('{"error": "id is required"}', True),
        ({"errors": ["x"]}, True),
        ({"detail": "Not found"}, True),
        ("{'error': 1}", True),
        ("Error: no", True),
        ("f() got an unexpected keyword argument 'x'", True),
        ('{"error": null, "a": 1}', False),
        ("an errorless text", False),
        ([], False),
        (None, False),
    ],
)
def test_objections_in_a_reply(response: Any, objects: bool) -> None:
    assert complains(response) is objects


# ---- set-up ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("env", "error"),
    [
        ({"url": 3}, "env.url: "),
        ({"apis": []}, "env.apis: "),
        ({"apis": {"f": {"category": "x"}}}, "env.apis: "),
        ({"url": "localhost:8080"}, "address cannot be read"),
        ({"url": "http://host:99999/virtual"}, "address cannot be read; write it like .*/virtual"),
        (
            {"url": "http://me:secret@host/virtual"},
            "holds more than host, port and path; keys come from TOOLBENCH",
        ),
    ],
)
def test_a_broken_environment(tmp_path: Path, env: Json, error: str) -> None:
    task = task_for(tmp_path, "http://host/virtual")
    task.env.update(env)
    with pytest.raises((InputError, UsageError), match=error) as caught:
        World().open(task)
    assert "secret" not in str(caught.value)


def test_a_key_that_is_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TOOLBENCH_KEY", "a\nb")
    with pytest.raises(UsageError, match="TOOLBENCH_KEY holds characters"):
        World().open(task_for(tmp_path, "http://host/virtual"))


def test_simulated(tmp_path: Path) -> None:
    async def run() -> list[bool]:
        session = World(simulate=True).open(task_for(tmp_path, "http://host/virtual"))
        return [(await session.call(TOOL, arguments)).ok for arguments in ({"query": "a"}, {})]

    assert asyncio.run(run()) == [True, False]
