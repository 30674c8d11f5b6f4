"""What tools do, by the names a task shows: through every drift, from files, and never told to a model."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tmcli import drift, suites, toolbox
from tmcli.drift.decoy import Decoy
from tmcli.errors import InputError, UsageError
from tmcli.function_classes import FunctionClasses, read
from tmcli.records import Json, Task, new_task, to_json

TOLD = FunctionClasses()
BASE = list(suites.suite("train", 24)) + list(suites.suite("unseen", 8))


def python_task(*names: str) -> Task:
    tools: list[Json] = [{"type": "function", "function": {"name": name}} for name in names]
    codes = {name: f"def {name}():\n    return 1\n" for name in names}
    return new_task(messages=[], tools=tools, env={"kind": "python", "codes": codes}, answer=["1"])


def test_every_tool_of_a_toolbox_and_every_distractor_has_its_class() -> None:
    distractors = 0
    for task in BASE:
        box = toolbox.load(task.env["toolbox"])
        found = TOLD.of(task)
        assert list(found) == [tool["function"]["name"] for tool in task.tools]
        for name in box.names:
            if name in found:
                assert found[name] == box.classes[name]
        for word in task.env.get("distractors", []):
            other, _, name = word.rpartition(".")
            assert found[name] == toolbox.load(other).classes[name]
            distractors += 1
        assert TOLD.numbers(task) == {name: toolbox.CLASSES.index(word) for name, word in found.items()}
    assert distractors


@settings(max_examples=60)
@given(
    task=st.sampled_from(BASE),
    kinds=st.lists(st.sampled_from([*drift.KINDS, "all"]), min_size=1, max_size=3, unique=True),
    seed=st.integers(0, 99),
)
def test_the_way_back_through_any_drift(task: Task, kinds: list[str], seed: int) -> None:
    drifted = drift.apply(task, kinds, seed)
    plain, found = TOLD.of(task), TOLD.of(drifted)
    lens = drift.Lens(drift.layers_of(drifted), drift.true_tools(drifted))
    fakes = {fake for layer in lens.layers if isinstance(layer, Decoy) for fake in layer.of}
    shown = [tool["function"]["name"] for tool in drifted.tools]
    assert set(found) == set(shown) - fakes
    for name, word in plain.items():  # by the way calls go, which these lines do not use
        assert found[lens.outward_call(name, {})[0]] == word
    given = FunctionClasses(dict.fromkeys(plain, "a") | {"nobody": "b"})
    assert given.of(drifted) == dict.fromkeys(found, "a")  # a file has true names too


def test_a_look_alike_may_have_the_name_that_a_tool_had() -> None:
    task = python_task("look_up", "find")
    layers: list[Json] = [
        {"kind": "rename", "tools": {"look_up": "find"}, "parameters": {}},
        {"kind": "decoy", "of": {"find": "look_up"}, "places": {"find": 1}, "empty": {"find": {}}},
    ]
    drifted = replace(task, env={**task.env, "schemas": python_task("find").tools, "drift": layers})
    assert FunctionClasses({"find": "search"}).of(drifted) == {"look_up": "search"}


def test_a_file_alone_says(tmp_path: Path) -> None:
    file = tmp_path / "classes.json"
    file.write_text(json.dumps({"look": "zeta", "find_book": "alpha", "other": "alpha"}))
    classes = read(str(file))
    assert classes.names == ("alpha", "zeta")
    task = python_task("look", "unknown")
    assert classes.of(task) == {"look": "zeta"}
    assert classes.numbers(task) == {"look": 1}
    library = next(task for task in BASE if task.env["toolbox"] == "library")
    assert set(classes.of(library)) <= {"find_book"}
    assert classes.key == {"function_classes": classes.given}
    assert TOLD.key == {}


def test_order_does_not_depend_on_the_file(tmp_path: Path) -> None:
    assert FunctionClasses({"a": "y", "b": "x"}).names == FunctionClasses({"b": "x", "a": "y"}).names
    assert TOLD.names == toolbox.CLASSES


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("{", "classes.json:1: no JSON"),
        ("[]", "no object of tool name to class"),
        ("{}", "no object of tool name to class"),
        ('{"look": 1}', "look: the class is no word"),
        ('{"look": ""}', "look: the class is no word"),
        (None, "cannot be read: No such file"),
    ],
)
def test_a_broken_file_is_a_sentence(tmp_path: Path, text: str | None, said: str) -> None:
    file = tmp_path / "classes.json"
    if text is not None:
        file.write_text(text)
    with pytest.raises(InputError) as caught:
        read(str(file))
    assert said in str(caught.value)


def test_nothing_to_tell_apart_is_a_sentence() -> None:
    for classes, tasks, said in (
        (TOLD, [python_task("look")], "no tool of the tasks has a function class"),
        (TOLD, [], "no tool of the tasks has a function class"),
        (FunctionClasses({"look": "search"}), [python_task("look")], "the same function class, search"),
    ):
        with pytest.raises(UsageError, match=said) as caught:
            classes.check(tasks)
        assert "--function-classes FILE" in str(caught.value)
    TOLD.check(BASE)


def test_a_class_nobody_knows_is_a_sentence(tmp_path: Path) -> None:
    home = toolbox.folder() / "library"
    for name in ("tools.json", "tools.py", "tasks.py"):
        text = (home / name).read_text("utf-8")
        (tmp_path / name).write_text(text.replace('"find_book": "search"', '"find_book": "serch"'))
    library = next(task for task in BASE if task.env["toolbox"] == "library")
    own = replace(library, env={**library.env, "toolbox": str(tmp_path)})
    with pytest.raises(InputError, match="'serch' is no function class; did you mean 'search'"):
        TOLD.of(own)


def test_asking_leaves_the_task_as_it_is() -> None:
    """Classes are looked up outside of the task, so nothing that shows a task can show them."""
    for task in drift.over(BASE, ["all"], 0):
        before = json.dumps(to_json(task))
        TOLD.numbers(task)
        assert json.dumps(to_json(task)) == before
        assert "classes" not in before
