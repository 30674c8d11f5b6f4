"""Suites: the same tasks every time, no question twice, nothing held out in training."""

import asyncio
import json
import re
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from tmcli import suites, templates, toolbox
from tmcli.environments.world import World
from tmcli.errors import UsageError
from tmcli.records import Task, digest

SEEN = [name for name in toolbox.names() if toolbox.load(name).split == "seen"]
UNSEEN = [name for name in toolbox.names() if toolbox.load(name).split == "unseen"]


def questions(tasks: list[Task]) -> list[str]:
    return [task.messages[0]["content"] for task in tasks]


# ---- the same every time -------------------------------------------------------------------------


@pytest.mark.parametrize("drift", [[], ["stale"], ["none", "stale"]])
@pytest.mark.parametrize("name", [*suites.SUITES, "library"])
def test_a_longer_suite_begins_with_the_shorter(name: str, drift: list[str]) -> None:
    assert list(suites.suite(name, 12, 3, drift)) == list(suites.suite(name, 40, 3, drift))[:12]


def test_default_sizes() -> None:
    assert [sum(1 for _ in suites.suite(name)) for name in suites.SUITES] == [200, 100, 100]
    assert sum(1 for _ in suites.suite("museum")) == suites.OWN_N
    assert list(suites.suite("train", 0)) == []


def test_other_seed_other_tasks() -> None:
    a, b = ({task.id for task in suites.suite("train", 30, seed)} for seed in (0, 1))
    assert not a & b


def test_same_bytes_in_another_process() -> None:
    program = (
        "import sys; from tmcli import suites, records\n"
        "for name in suites.SUITES:\n"
        "    for task in suites.suite(name, 60, 4, ['none', 'stale']):\n"
        "        sys.stdout.buffer.write(records.encode(task) + b'\\n')"
    )
    said = [
        subprocess.run(
            [sys.executable, "-c", program], capture_output=True, check=True, env={"PYTHONHASHSEED": seed}
        ).stdout
        for seed in ("1", "2")
    ]
    assert said[0] == said[1]
    assert said[0].count(b"\n") == 180


# ---- what a suite holds --------------------------------------------------------------------------


@pytest.mark.parametrize("drift", [[], ["stale"], ["none", "stale"]])
def test_ids_are_unique_and_worlds_held_out(drift: list[str]) -> None:
    tasks = {name: list(suites.suite(name, 400, 0, drift)) for name in suites.SUITES}
    ids = [task.id for made in tasks.values() for task in made]
    assert len(set(ids)) == len(ids)
    for seed in range(5):
        assert max(task.env["seed"] for task in suites.suite("train", 50, seed)) < templates.HELD_OUT
    for name in ("seen", "unseen"):
        assert min(task.env["seed"] for task in tasks[name]) >= templates.HELD_OUT


def test_no_question_comes_twice() -> None:
    for name in suites.SUITES:
        asked = questions(list(suites.suite(name, 1200)))
        assert len(set(asked)) == len(asked)


def test_a_question_comes_again_when_there_is_no_other(tmp_path: Path) -> None:
    (tmp_path / "one.py").write_text(
        'def one(name: str) -> dict:\n    """One."""\n    return {"n": len(name)}\n'
    )
    template = {
        "given": {"a": ["x", "xyz"]},
        "ask": ["How long is {a}?"],
        "plan": [("one", {"name": "{a}"})],
        "answer": "n",
    }
    (tmp_path / "one_tasks.py").write_text(f"TEMPLATES = [{template!r}]")
    asked = questions(list(suites.suite(str(tmp_path / "one.py"), 6)))
    assert set(asked[:2]) == {"How long is x?", "How long is xyz?"}
    assert len(asked) == 6


def test_toolboxes_take_turns() -> None:
    for name, boxes in [("train", SEEN), ("seen", SEEN), ("unseen", UNSEEN)]:
        tasks = list(suites.suite(name, 3 * len(boxes), 5))
        assert [task.tags["toolbox"] for task in tasks] == boxes * 3
        for i, task in enumerate(tasks):
            assert task.source == f"suite:{name}:5:{i}"
            assert task.tags["split"] == ("unseen" if name == "unseen" else "seen")


def test_shares() -> None:
    tasks = list(suites.suite("train", 2500))
    hops = Counter(task.tags["hops"] for task in tasks)
    for n, share in templates.HOPS.items():
        assert abs(hops[n] / 2500 - share) < 0.05
    assert 0.04 < sum(not task.tags["possible"] for task in tasks) / 2500 < 0.07
    assert 0.2 < sum("distractors" in task.env for task in tasks) / 2500 < 0.3
    commonest, count = Counter(task.answer[0] for task in tasks if task.tags["possible"]).most_common(1)[0]
    assert count / 2500 < 0.01, commonest


def test_what_is_shown() -> None:
    first: Counter[bool] = Counter()
    for name, boxes in [("train", SEEN), ("unseen", UNSEEN)]:
        for task in suites.suite(name, 300):
            shown = [tool["function"]["name"] for tool in task.tools]
            assert len(set(shown)) == len(shown)
            assert sorted(map(digest, task.tools)) == sorted(map(digest, toolbox.true_tools(task.env)))
            others = {distractor.partition(".")[0] for distractor in task.env.get("distractors", [])}
            assert others <= set(boxes) - {task.tags["toolbox"]}
            assert len(others) <= 1
            first[(task.plan or [])[0]["name"] == shown[0]] += 1
    assert first[True] / first.total() < 0.3, "the order of the tools tells nothing"


def test_distractors_answer_and_what_is_missing_is_unknown() -> None:
    tasks = [
        task for task in suites.suite("train", 400) if "distractors" in task.env or "without" in task.env
    ]

    async def ask(world: World, task: Task) -> None:
        session = world.open(task)
        for name in task.env.get("without", []):
            seen = await session.call(name, {})
            assert not seen.ok
            assert json.loads(seen.text)["error"].startswith(f"unknown tool '{name}'; tools are: ")
            assert f" {name}" not in seen.text.partition("; ")[2]
        for distractor in task.env.get("distractors", []):
            box, _, name = distractor.partition(".")
            other = toolbox.load(box)
            arguments = arguments_for(other, name)
            if arguments is not None:
                seen = await session.call(name, arguments(other.world(task.env["seed"])))
                assert seen.ok, (distractor, seen.text)
        await session.close()

    async def run() -> None:
        world = World()
        await asyncio.gather(*(ask(world, task) for task in tasks))
        await world.close()

    asyncio.run(run())


def arguments_for(box: toolbox.Toolbox, tool: str) -> Any:
    """How to call a tool about the first row of a table, where one of its templates begins with it."""
    for template in box.templates:
        name, arguments = template["plan"][0]
        tables = template["given"]
        if name == tool and all(isinstance(table, str) for table in tables.values()):

            def filled(world: Any, arguments: Any = arguments, tables: Any = tables) -> Any:
                rows = {slot: next(iter(world[table].items())) for slot, table in tables.items()}
                given = {slot: {**row, "id": key} for slot, (key, row) in rows.items()}
                return {
                    key: value.format(**given) if isinstance(value, str) else value
                    for key, value in arguments.items()
                }

            return filled
    return None


def test_nothing_of_unseen_toolboxes_is_in_training() -> None:
    def tools(name: str) -> tuple[set[str], set[str], set[str]]:
        functions = [tool["function"] for box in suites.members(name) for tool in box.tools]
        wordings = {
            re.sub(r"\{.*?\}", "_", text)
            for box in suites.members(name)
            for template in box.templates
            for text in template["ask"]
        }
        return {f["name"] for f in functions}, {digest(f["parameters"]) for f in functions}, wordings

    for seen, unseen in zip(tools("train"), tools("unseen"), strict=True):
        assert not seen & unseen


# ---- parts of suites -----------------------------------------------------------------------------


def test_some_toolboxes_and_hops() -> None:
    tasks = list(suites.suite("train", 60, boxes=["library", "kitchen"], hops=[3, 4]))
    assert [task.tags["toolbox"] for task in tasks[:4]] == ["kitchen", "library"] * 2
    assert {task.tags["hops"] for task in tasks if task.tags["possible"]} == {3, 4}


def test_a_toolbox_that_is_not_there_is_told() -> None:
    assert len(list(suites.suite("museum", 2, boxes=["museum"]))) == 2
    for name, box in (("train", "garden"), ("museum", "library")):
        with pytest.raises(UsageError, match=f"suite {name} has no toolbox '{box}'"):
            suites.suite(name, 2, boxes=[box])


def test_a_toolbox_alone(tmp_path: Path) -> None:
    assert {task.env["toolbox"] for task in suites.suite("museum", 20)} == {"museum"}
    mine = tmp_path / "mine"
    mine.mkdir()
    for path in (toolbox.folder() / "library").glob("*.*"):
        (mine / path.name).write_text(path.read_text())
    tasks = list(suites.suite(str(mine), 20))
    assert {task.env["toolbox"] for task in tasks} == {str(mine)}
    assert {task.tags["toolbox"] for task in tasks} == {"library"}

    async def run() -> None:
        world = World()
        session = world.open(tasks[0])
        seen = await session.call("find_book", {"title": "?"})
        assert json.loads(seen.text) == {"error": "no book '?'"}
        await session.close()
        await world.close()

    asyncio.run(run())


@pytest.mark.parametrize(
    ("asked", "error"),
    [
        ({"name": "unsen"}, "no suite and no toolbox is named 'unsen'; did you mean 'unseen'?"),
        ({"name": "libary"}, "no suite and no toolbox is named 'libary'; did you mean 'library'?"),
        ({"name": "./nowhere"}, "there is no toolbox at ./nowhere; a toolbox is a folder with a tools.json"),
        ({"name": "train", "boxes": ["museum"]}, "suite train has no toolbox 'museum'"),
        ({"name": "train", "hops": [7]}, "no toolbox of train has a task of 7 calls; choose other numbers"),
        ({"name": "seen", "drift": ["stail"]}, "did you mean 'stale'"),
    ],
)
def test_what_nobody_knows(asked: dict[str, Any], error: str) -> None:
    with pytest.raises(UsageError, match=re.escape(error)):
        suites.suite(**asked)


def test_no_templates(tmp_path: Path) -> None:
    (tmp_path / "one.py").write_text('def one(name: str) -> dict:\n    """One."""\n    return {}\n')
    with pytest.raises(UsageError, match=r"one\.py has no task templates; write some"):
        suites.suite(str(tmp_path / "one.py"))
