"""A session under drift: real tools behind it, and what the model is told of them."""

import asyncio
import json
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tmcli import drift, suites
from tmcli.drift import forms
from tmcli.environments import Observation, mcp, openapi
from tmcli.environments.drifted import Drifted
from tmcli.environments.world import World
from tmcli.errors import InputError
from tmcli.importers import ftrl
from tmcli.records import Json, Task, new_task
from tmcli.score import contains

FTRL = Path(__file__).parents[2] / "shared" / "data" / "ftrl_dev.parquet"
needs_ftrl = pytest.mark.skipif(not FTRL.exists(), reason="../shared/data/ftrl_dev.parquet is not there")

COUNT = """
made = []
def count(room, day=None):
    made.append(room)
    return {"n": len(made), "room": room, "day": day, "free_from": "2027-05-01"}
"""
SAY = "def say(text):\n    return 'said on 1998-03-21: ' + text\n"
FAIL = "def fail(room):\n    raise KeyError('no room ' + repr(room))\n"


def tool(name: str, **properties: Json) -> Json:
    schema = {"type": "object", "properties": properties, "required": list(properties)[:1]}
    return {"type": "function", "function": {"name": name, "description": "d", "parameters": schema}}


def task_under(*drift_entries: Json) -> Task:
    text: Json = {"type": "string"}
    tools = [
        tool("count", room=text, day={**text, "format": "date"}),
        tool("say", text=text),
        tool("fail", room=text),
    ]
    env: Json = {"kind": "python", "codes": {"count": COUNT, "say": SAY, "fail": FAIL}}
    if drift_entries:
        env |= {"schemas": tools, "drift": list(drift_entries)}
    return new_task(messages=[{"role": "user", "content": "?"}], tools=tools, env=env, answer=[])


WRAP = {"kind": "wrap", "shapes": {"count": "paged", "say": "envelope", "fail": "list"}}
FORMAT = {"kind": "format", "dates": "DD/MM/YYYY", "ids": "D/L"}
DECOY = {
    "kind": "decoy",
    "of": {"old_count": "count", "count_v1": "count"},
    "places": {"old_count": 0, "count_v1": 1},
    "old": {"old_count": {"year": 2009, "off": 5}},
    "empty": {"count_v1": {"results": []}},
}
RENAME = {"kind": "rename", "tools": {"fn_3a": "count"}, "parameters": {"fn_3a": {"arg_1": "room"}}}


def seen_in(
    task: Task, *calls: tuple[str, Json], together: bool = False, simulate: bool = False
) -> list[Observation]:
    """What the calls of one session bring, one after the other or at once."""

    async def run() -> list[Observation]:
        world = World(simulate=simulate)
        session = world.open(task)
        try:
            if together:
                return list(await asyncio.gather(*(session.call(*call) for call in calls)))
            return [await session.call(*call) for call in calls]
        finally:
            await session.close()
            await world.close()

    return asyncio.run(run())


def told(seen: Observation) -> Any:
    return json.loads(seen.text)


def test_a_page_is_of_the_reply_that_was_given() -> None:
    first, second, again, other, beyond = seen_in(
        task_under(WRAP),
        ("count", {"room": "A"}),
        ("count", {"room": "A", "page": 2}),
        ("count", {"room": "A", "page": 1}),
        ("count", {"room": "B", "page": 2}),
        ("count", {"room": "A", "page": 3}),
    )
    assert told(first) == {
        "page": 1, "pages": 2, "fields": {"n": 1, "room": "A"}, "next": "call again with page=2",
    }  # fmt: skip
    assert told(second) == {"page": 2, "pages": 2, "fields": {"day": None, "free_from": "2027-05-01"}}
    assert told(again)["fields"]["n"] == 2
    assert told(other)["fields"]["free_from"] == "2027-05-01"
    assert not beyond.ok
    assert told(beyond) == {"error": "there is no page 3; pages are: 1, 2"}


def test_pages_asked_for_at_once() -> None:
    calls = [("count", {"room": "A", "page": page}) for page in (2, 2, 2)]
    assert len({seen.text for seen in seen_in(task_under(WRAP), *calls, together=True)}) == 1
    (counted,) = seen_in(task_under(), ("count", {"room": "A"}))
    assert told(counted)["n"] == 1


def test_texts_and_errors() -> None:
    said, failed, unknown, missing = seen_in(
        task_under(FORMAT, WRAP),
        ("say", {"text": "x"}),
        ("fail", {"room": "417/H"}),
        ("shout", {}),
        ("say", {}),
    )
    assert told(said) == {"status": "ok", "data": "said on 21/03/1998: x"}
    assert told(failed)["error"] == "KeyError: \"no room '417/H'\""
    assert told(unknown)["error"] == "unknown tool 'shout'; tools are: count, say, fail"
    assert told(missing)["error"] == "missing parameter 'text'; parameters are: text"
    assert [seen.ok for seen in (said, failed, unknown, missing)] == [True, False, False, False]
    (plain,) = seen_in(task_under(FORMAT), ("say", {"text": "x"}))
    assert plain.text == "said on 21/03/1998: x"


def test_errors_name_things_as_they_are_taken() -> None:
    unknown, listed, refused, fine = seen_in(
        task_under(RENAME, FORMAT),
        ("count", {"room": "A"}),
        ("fn_3a", {"room": "A"}),
        ("fn_3a", {"arg_1": "H417", "day": "2027-05-01"}),
        ("fn_3a", {"arg_1": "417/H", "day": "01/05/2027"}),
    )
    assert told(unknown)["error"] == "unknown tool 'count'; tools are: fn_3a, say, fail"
    assert told(listed)["error"] == "unknown parameter 'room'; parameters are: arg_1, day"
    assert told(refused)["error"] == (
        "arg_1 must be written like 205/K; day must be written DD/MM/YYYY, like 21/03/1998"
    )
    assert told(fine) == {"n": 1, "room": "417/H", "day": "01/05/2027", "free_from": "01/05/2027"}


def test_look_alikes() -> None:
    old, empty, real = seen_in(
        task_under(DECOY), ("old_count", {"room": "A"}), ("count_v1", {"room": "A"}), ("count", {"room": "A"})
    )
    assert told(old) == {"n": 6, "room": "A", "day": None, "free_from": "2027-05-01", "updated": 2009}
    assert told(empty) == {"results": []}
    assert told(real)["n"] == 2
    (refused,) = seen_in(task_under(DECOY), ("count_v1", {}))
    assert told(refused)["error"] == "missing parameter 'room'; parameters are: room, day"


def test_a_reply_that_nothing_touches_is_the_same_text() -> None:
    stale = {"kind": "stale", "renamed": {"count": {"hall": "room"}}}
    calls = [("count", {"room": "\u00e9"}), ("say", {"text": "1.50"}), ("fail", {"room": "x"})]
    for plain, drifted in zip(seen_in(task_under(), *calls), seen_in(task_under(stale), *calls), strict=True):
        assert (plain.ok, plain.text) == (drifted.ok, drifted.text)


def test_every_call_of_a_plan_reaches_its_tool() -> None:
    """Plans without references, played through all six kinds by the way out that the lens knows."""
    n = 0
    for task in suites.suite("train", 200, drift=["all"]):
        step = (task.plan or [])[0]
        lens = drift.Lens(drift.layers_of(task), drift.true_tools(task))
        plain = replace(task, env={key: value for key, value in task.env.items() if key != "drift"})
        if n < 20 and (task.plan or [])[0].get("answer", "") is not None:
            n += 1
            (direct,) = seen_in(plain, (step["name"], step["arguments"]))
            made = lens.outward_call(step["name"], step["arguments"])
            crossing = lens.inward(*made)
            first, *more = seen_in(
                task, made, *([(made[0], {**made[1], "page": 2})] if lens.page(crossing) else [])
            )
            assert direct.ok
            assert first.ok
            if not more or told(first)["pages"] == 1:
                assert lens.inward_reply(crossing, told(first)) == told(direct)
    assert n == 20


def test_over_an_mcp_server(tmp_path: Path) -> None:
    """A real server over stdio: its tools under other names, its replies reshaped."""
    server = {"command": sys.executable, "args": [str(Path(__file__).with_name("mcp_server.py")), "stdio"]}
    (tmp_path / "mcp.json").write_text(json.dumps({"mcpServers": {"tests": server}}))
    config = str(tmp_path / "mcp.json")
    tools = [
        tool for tool in asyncio.run(mcp.list_tools(config)) if tool["function"]["name"] in ("add", "greet")
    ]
    question = [{"role": "user", "content": "?"}]
    task = new_task(messages=question, tools=tools, env={"kind": "mcp", "config": config}, answer=[])
    kinds = ["rename@1", "wrap@1", "stale@1", "undocument@1"]
    drifted = next(
        drifted
        for drifted in (drift.apply(task, kinds, seed) for seed in range(99))
        if set(drifted.env["drift"][1]["shapes"].values()) <= {"envelope", "list"}
    )
    lens = drift.Lens(drift.layers_of(drifted), drift.true_tools(drifted))
    made = lens.outward_call("greet", {"name": "Ada"})
    (plain,) = seen_in(task, ("greet", {"name": "Ada"}))
    told_now, refused = seen_in(drifted, made, (made[0], {}))
    assert made[0] != "greet"
    assert plain.text in told_now.text
    assert told_now.text != plain.text
    assert told(refused)["error"].startswith(f"missing parameter '{next(iter(made[1]))}'")


def test_over_an_openapi_document(tmp_path: Path) -> None:
    """Tools of a document, answered from it: dates are asked for and given in another form."""
    day: Json = {"type": "string", "format": "date"}
    reply = {
        "description": "ok",
        "content": {"application/json": {"example": {"born": "1998-03-21", "far_km": 2.5}}},
    }
    get: Json = {
        "operationId": "get_pet",
        "description": "Returns born, far_km",
        "parameters": [{"name": "day", "in": "query", "required": True, "schema": day}],
        "responses": {"200": reply},
    }
    path = tmp_path / "pets.json"
    document = {
        "openapi": "3.1.0",
        "info": {},
        "servers": [{"url": "http://localhost"}],
        "paths": {"/pet": {"get": get}},
    }
    path.write_text(json.dumps(document))
    question = [{"role": "user", "content": "?"}]
    env: Json = {"kind": "http", "openapi": str(path)}
    task = new_task(messages=question, tools=openapi.load(str(path)).tools, env=env, answer=[])
    drifted = drift.apply(task, ["format@1"], 1)
    form = drifted.env["drift"][0]["dates"]
    name = task.tools[0]["function"]["name"]
    written = forms.date_swap(form)("1998-03-21")
    refused, given = seen_in(drifted, (name, {"day": "1998-03-21"}), (name, {"day": written}), simulate=True)
    assert told(refused)["error"] == f"day must be written {form}, like {forms.example(form)}"
    assert told(given)["born"] == written
    assert told(given)["far_m"] == 2500


@needs_ftrl
@pytest.mark.parametrize(
    ("row", "tool", "arguments"),
    [
        (
            1,
            "historical_event_finder",
            {"keywords": "WikiLeaks leak the standard US army protocol at Guantanamo Bay"},
        ),
        (
            51,
            "unified_specification_retriever",
            {"brand": "Apple", "model": "latest", "specification": "storage"},
        ),
        (76, "lake_shape_identifier", {"shape": "crescent"}),
    ],
)
def test_gold_calls_of_ftrl(row: int, tool: str, arguments: Json) -> None:
    """The reply to a gold call brings its sub-answer, in the form that the drifted task accepts."""
    task = list(ftrl.read(str(FTRL)))[row - 1]
    for seed in range(3):
        drifted = drift.apply(task, ["rename", "format", "wrap", "decoy@0.2", "stale", "undocument"], seed)
        lens = drift.Lens(drift.layers_of(drifted), drift.true_tools(drifted))
        name, made = lens.outward_call(tool, arguments)
        pages = [{}, {"page": 2}] if lens.page(lens.inward(name, made)) else [{}]
        replies = seen_in(drifted, *((name, made | page) for page in pages))
        assert replies[0].ok
        text = " ".join(reply.text for reply in replies)
        assert contains(text, (drifted.subgoals or {})[name][0])


def test_drift_nobody_understands_is_told_at_once() -> None:
    class Nothing:
        async def call(self, name: str, arguments: Json) -> Observation:
            raise AssertionError

        async def close(self) -> None:
            raise AssertionError

    with pytest.raises(InputError, match="no drift is named 'spin'"):
        Drifted(Nothing(), task_under({"kind": "spin"}))


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"plan": [{"name": "count"}]}, r"plan\[0\]: no call with name and arguments"),
        ({"env": {"kind": "python", "codes": {}, "drift": 3}}, "env.drift: no array of drift"),
        ({"env": {"kind": "python", "codes": {}, "drift": [{}]}}, "env.drift: no drift is named None"),
    ],
)
def test_a_task_that_cannot_be_drifted_is_told(change: Json, problem: str) -> None:
    with pytest.raises(InputError, match=problem):
        drift.apply(replace(task_under(), **change), ["stale"], 0)


def test_true_tools() -> None:
    task = task_under()
    assert drift.true_tools(task) == task.tools
    assert drift.true_tools(replace(task, env={**task.env, "schemas": []})) == []
    for box in suites.suite("train", 30, drift=["rename"]):
        shown = {tool["function"]["name"] for tool in box.tools}
        real = {tool["function"]["name"] for tool in drift.true_tools(box)}
        assert len(shown) == len(real)
        assert {step["name"] for step in (box.plan or [])[:-1]} <= real
