"""relabel: any number of toolboxes of a few, each right in its own words."""

import asyncio
import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from conftest import Tm
from hypothesis import given
from hypothesis import strategies as st

from tmcli import drift, suites
from tmcli.drift.relabel import THINGS, Words
from tmcli.environments.world import World
from tmcli.errors import UsageError
from tmcli.function_classes import FunctionClasses
from tmcli.records import Json, Task

WORDS = Words({"hall": "lantern", "artwork": "pebble", "chart": "oar"})
BOTH = pytest.mark.parametrize("name", ["train", "unseen"])


def relabeled(name: str, *more: str, n: int = 120) -> Iterator[tuple[Task, Task]]:
    for task in suites.suite(name, n):
        yield task, drift.apply(task, ["relabel@0.9", *more], seed=3)


def names_in(tools: list[Json]) -> set[str]:
    return {tool["function"]["name"] for tool in tools}


@BOTH
@pytest.mark.parametrize("more", [(), ("rename", "stale"), ("all",)])
def test_the_expert_solves_them(tm: Tm, tmp_path: Path, name: str, more: tuple[str, ...]) -> None:
    tasks = tmp_path / "tasks.jsonl"
    words = ["tasks", "--suite", name, "-n", "60", "--drift", ",".join(["relabel", *more]), "-o", str(tasks)]
    assert tm(*words).returncode == 0
    for teacher in ("scripted", "scripted:trials=4"):
        played = tm("rollout", "--policy", teacher, "--tasks", str(tasks), "--max-turns", "20")
        assert played.returncode == 0, played.stderr
        assert tm("eval", "--fail-under", "accuracy=1", input=played.stdout).returncode == 0


@BOTH
def test_question_documents_plan_and_golds_are_of_one_world(name: str) -> None:
    n_shared = n = 0
    for task, other in relabeled(name):
        if "words" not in other.env:
            continue
        n += 1
        new = other.env["words"]
        assert other.id != task.id
        assert other.answer == task.answer
        assert other.tags["drift"] == ["relabel"]
        assert len(set(new.values())) == len(new)
        assert other.plan is not None
        assert task.plan is not None
        missing = {step["name"] for step in task.plan} - names_in(drift.true_tools(task))  # it cannot be done
        assert {step["name"] for step in other.plan} - names_in(drift.true_tools(other)) == {
            Words(new).name(name) for name in missing
        }
        said = json.dumps([other.tools, other.messages[0]["content"]])
        n_shared += any(thing in said for thing in new.values())
        for step, before in zip(other.plan, task.plan, strict=True):
            texts = [value for value in step["arguments"].values() if isinstance(value, str)]
            assert texts == [value for value in before["arguments"].values() if isinstance(value, str)]
            assert all(
                text in other.messages[0]["content"] for text in texts if text in task.messages[0]["content"]
            )
    assert n > 100
    assert n_shared == n


def test_a_tool_is_known_by_its_new_name_alone() -> None:
    for task, other in relabeled("train", n=30):
        changed = [
            (old["function"], new["function"])
            for old, new in zip(task.tools, other.tools, strict=True)
            if old["function"]["name"] != new["function"]["name"]
        ]
        old, new = changed[0]
        assert other.plan is not None

        async def called(name: str, arguments: Json, other: Task = other) -> str:
            world = World()
            session = world.open(other)
            try:
                return (await session.call(name, arguments)).text
            finally:
                await session.close()
                await world.close()

        assert json.loads(asyncio.run(called(old["name"], {})))["error"].startswith("unknown tool")
        keys = list(new["parameters"]["properties"])
        refused = json.loads(asyncio.run(called(new["name"], dict.fromkeys(keys, "nobody"))))["error"]
        assert not re.search(rf"\b({'|'.join(other.env['words'])})\b", re.sub(r"'[^']*'", "", refused)), (
            refused
        )


def test_what_only_the_language_tells_stays() -> None:
    """How heavy is somebody? weight_kg must still be called so."""
    for task, other in relabeled("unseen", n=200):
        question = task.messages[0]["content"].lower()
        if task.plan and task.plan[-1].get("answer") == "weight_kg" and "weight" not in question:
            assert "weight" not in other.env.get("words", {})


def test_function_classes_are_found_again() -> None:
    for task, other in relabeled("train", "rename", n=20):
        assert sorted(FunctionClasses().of(other).values()) == sorted(FunctionClasses().of(task).values())


def test_it_comes_first_once_and_is_not_of_all() -> None:
    task = next(suites.suite("train", 1))
    with pytest.raises(UsageError, match="has relabel drift already"):
        drift.apply(drift.apply(task, ["relabel"], 0), ["relabel"], 0)
    with pytest.raises(UsageError, match="cannot be laid over"):
        drift.apply(drift.apply(task, ["stale"], 0), ["relabel"], 0)
    assert "words" not in drift.apply(task, ["all"], 0).env
    kept = list(drift.over(suites.suite("train", 40), ["none@0.5", "relabel", "stale"], 0))
    assert sum("stale" in task.tags["drift"] for task in kept) == 20
    assert sum("relabel" in task.tags["drift"] for task in kept) == 40


def test_the_same_seed_draws_the_same_words() -> None:
    task = next(suites.suite("train", 1))
    assert drift.apply(task, ["relabel"], 1) == drift.apply(task, ["relabel"], 1)
    assert drift.apply(task, ["relabel"], 1).env["words"] != drift.apply(task, ["relabel"], 2).env["words"]


@given(st.lists(st.sampled_from(["hall", "halls", "info", "of", "Chart", "id", "artworks"]), min_size=1))
def test_names_come_back(parts: list[str]) -> None:
    name = "_".join(parts)
    assert WORDS.back().name(WORDS.name(name)) == name


def test_things_have_a_plural_and_most_are_in_no_toolbox() -> None:
    assert not [thing for thing in THINGS if thing.endswith("s")]
    taken = {
        word
        for name in ("train", "unseen")
        for task in suites.suite(name, 40)
        for tool in drift.true_tools(task)
        for word in re.split(r"\W|_", json.dumps(tool).lower())
    }
    assert len(set(THINGS) - taken) > 150
