"""Drift: what is shown changes, the tools do not, and the difference can always be met and learned."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tmcli import drift, suites, toolbox
from tmcli.environments.arguments import fault
from tmcli.errors import UsageError
from tmcli.records import Task, decode, encode, new_task, task_id

NAMES = st.one_of(
    st.sampled_from(["title", "name", "book_id", "book", "id", "q", "query", "a_b_c", "_id", "old_x", "x"]),
    st.text(min_size=1, max_size=8),
)


def schema(name: str, parameters: list[str]) -> dict[str, Any]:
    properties = {parameter: {"type": "string"} for parameter in parameters}
    return {
        "type": "function",
        "function": {
            "name": name,
            "description": "d",
            "parameters": {"type": "object", "properties": properties, "required": parameters},
        },
    }


@st.composite
def tasks(draw: st.DrawFn) -> Task:
    """A task that brings its own tools, some without parameters, perhaps with a plan."""
    lists = draw(st.lists(st.lists(NAMES, unique=True, max_size=4), min_size=1, max_size=5))
    tools = [schema(f"tool_{i}", parameters) for i, parameters in enumerate(lists)]
    if draw(st.booleans()):
        tools.append({"type": "function", "function": {"name": "bare"}})
    called = draw(st.lists(st.sampled_from(tools), max_size=3))
    plan = [{"name": tool["function"]["name"], "arguments": {}} for tool in called] or None
    return new_task(
        messages=[{"role": "user", "content": "?"}],
        tools=tools,
        env={"kind": "python", "codes": {}},
        answer=["1"],
        plan=plan,
    )


def names(tool: dict[str, Any]) -> list[str]:
    return list(tool["function"].get("parameters", {}).get("properties", {}))


@given(tasks(), st.integers())
def test_stale_documents(task: Task, seed: int) -> None:
    before = encode(task)
    drifted = drift.apply(task, ["stale"], seed)
    assert encode(task) == before
    assert drifted == drift.apply(task, ["stale"], seed)
    assert drifted.id == task_id(drifted)
    assert decode(encode(drifted)) == drifted
    with_parameters = {tool["function"]["name"] for tool in task.tools if names(tool)}
    if not with_parameters:
        assert drifted == task
        return
    assert drifted.id != task.id
    (entry,) = drifted.env["drift"]
    assert entry["kind"] == "stale"
    assert drifted.tags["drift"] == ["stale"]
    assert drifted.env["schemas"] == task.tools
    renamed = entry["renamed"]
    assert renamed
    called = {step["name"] for step in task.plan or []} & with_parameters
    assert not called or called & set(renamed)
    for true, shown in zip(task.tools, drifted.tools, strict=True):
        name = true["function"]["name"]
        if name not in renamed:
            assert shown == true
            continue
        assert renamed[name]
        assert shown["function"]["name"] == name
        assert not set(renamed[name]) & set(names(true))
        assert len(set(names(shown))) == len(names(true))
        assert [renamed[name].get(parameter, parameter) for parameter in names(shown)] == names(true)
        assert shown["function"]["parameters"]["required"] == names(shown)
        for parameter, real in renamed[name].items():
            assert drift.documented(drifted, name, real) == parameter
        told = fault(task.tools, name, dict.fromkeys(names(shown), "x"))
        assert told is not None
        assert told.startswith("unknown parameter")
        assert told.endswith(f"parameters are: {', '.join(names(true))}")


@given(NAMES)
def test_old_names_are_other_names(parameter: str) -> None:
    found = drift.old_names(parameter)
    assert parameter not in found
    assert "" not in found
    assert len(found) == len(set(found))


def test_every_parameter_of_the_toolboxes_has_several_old_names() -> None:
    for name in toolbox.names():
        for tool in toolbox.load(name).tools:
            for parameter in names(tool):
                free = [old for old in drift.old_names(parameter) if old not in names(tool)]
                assert len(free) >= 3, parameter


@pytest.mark.parametrize("suite", suites.SUITES)
def test_stale_suites(suite: str) -> None:
    plain, drifted = list(suites.suite(suite, 60)), list(suites.suite(suite, 60, drift=["stale"]))
    for task, other in zip(plain, drifted, strict=True):
        assert task.id != other.id
        assert (task.messages, task.answer, task.plan) == (other.messages, other.answer, other.plan)
        assert "schemas" not in other.env
        renamed = other.env["drift"][0]["renamed"]
        assert {step["name"] for step in task.plan or []} & set(renamed)
    seen = {shown for task in drifted for tool in task.env["drift"][0]["renamed"].values() for shown in tool}
    assert len(seen) > 25


def test_none_leaves_half_as_they_are_in_every_toolbox() -> None:
    for suite in suites.SUITES:
        plain = list(suites.suite(suite, 400))
        mixed = list(suites.suite(suite, 400, drift=["none", "stale"]))
        stays = [a == b for a, b in zip(plain, mixed, strict=True)]
        assert all(sum(stays[i : i + 2]) == 1 for i in range(0, 400, 2))
        for box in {task.env["toolbox"] for task in plain}:
            own = [stay for stay, task in zip(stays, plain, strict=True) if task.env["toolbox"] == box]
            assert 0.35 < sum(own) / len(own) < 0.65, (suite, box)


def test_unknown_and_repeated_drift() -> None:
    task = next(suites.suite("train", 1))
    with pytest.raises(UsageError, match="no drift is named 'stal'; did you mean 'stale'"):
        drift.apply(task, ["stal"], 0)
    with pytest.raises(UsageError, match="no drift is named 'x'"):
        drift.over([], ["x"], 0)
    with pytest.raises(UsageError, match="has stale drift already"):
        drift.apply(drift.apply(task, ["stale"], 0), ["stale"], 1)
    assert drift.apply(task, ["none"], 0) == task
    assert drift.apply(task, [], 0) == task


def test_another_seed_drifts_otherwise() -> None:
    task = next(suites.suite("train", 1))
    assert len({json.dumps(drift.apply(task, ["stale"], seed).tools) for seed in range(20)}) > 10
