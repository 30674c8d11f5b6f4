"""Tasks out of templates: golds come from the tools alone, by valid calls, and cannot be guessed."""

import asyncio
import json
import random
import re
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from tmcli import templates, toolbox
from tmcli.environments import Session
from tmcli.environments.world import World
from tmcli.errors import InputError
from tmcli.protocol import CANNOT
from tmcli.records import Json, Task, decode, encode, task_id
from tmcli.score import correct

SEEDS = range(4)


@pytest.fixture(params=toolbox.names())
def box(request: pytest.FixtureRequest) -> toolbox.Toolbox:
    return toolbox.load(request.param)


def only(box: toolbox.Toolbox, template: Json, monkeypatch: pytest.MonkeyPatch) -> None:
    """A toolbox that has no other template."""
    monkeypatch.setitem(box.__dict__, "templates", [template])


def made(box: toolbox.Toolbox, seed: int, hops: tuple[int, ...] = ()) -> Task:
    return templates.make(box, seed, random.Random(seed), hops)


async def answer(session: Session, task: Task) -> str:
    """What the plan really brings, call by call."""
    results: dict[int, Any] = {}
    plan = task.plan or []
    for i, step in enumerate(plan):
        seen = await session.call(step["name"], toolbox.resolve(step["arguments"], results))
        assert seen.ok == (step.get("answer", "") is not None), seen.text
        results[i] = json.loads(seen.text)
    await session.close()
    return toolbox.text_of(toolbox.gold(plan, results))


# ---- each template -------------------------------------------------------------------------------


def test_what_a_toolbox_asks(box: toolbox.Toolbox) -> None:
    assert 12 <= len(box.templates) <= 16
    assert set(templates.of(box, ())) == set(templates.HOPS)
    called: set[str] = set()
    answers: set[str] = set()
    for template in box.templates:
        assert len(set(template["ask"])) >= 3
        assert all(set(re.findall(r"\{(\w+)", text)) <= set(template["given"]) for text in template["ask"])
        called |= {tool for tool, _ in template["plan"]}
        how = template["answer"]
        answers.add(how["combine"] if isinstance(how, dict) else type(how).__name__)
    assert called == set(box.names), "each tool is needed by some question"
    assert len(answers) >= 3


def test_every_template_reaches_its_gold_in_the_sandbox(
    box: toolbox.Toolbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    tasks = []
    for template in list(box.templates):
        only(box, template, monkeypatch)
        tasks += [made(box, seed) for seed in SEEDS]

    async def run() -> list[str]:
        world = World()
        said = await asyncio.gather(*(answer(world.open(task), task) for task in tasks))
        await world.close()
        return said

    for task, said in zip(tasks, asyncio.run(run()), strict=True):
        assert task.answer == [said]
        assert correct(said, task.answer, task.check) is True


def test_every_template_has_other_answers_in_other_worlds(
    box: toolbox.Toolbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    for template in list(box.templates):
        only(box, {**template, "cannot": False}, monkeypatch)
        golds = Counter(made(box, seed).answer[0] for seed in range(40))
        assert golds.most_common(1)[0][1] <= 8, (template["ask"][0], golds.most_common(3))


# ---- what is asked -------------------------------------------------------------------------------


def test_tasks_are_as_they_say(box: toolbox.Toolbox) -> None:
    for seed in range(80):
        task = made(box, seed)
        question, plan = task.messages[0]["content"], task.plan or []
        assert decode(encode(task)) == task
        assert task.id == task_id(task)
        assert task.tags["hops"] == len(plan)
        assert len(question.split()) <= 32
        assert not re.search(r"[{}]", question)
        if not task.tags["possible"]:
            continue
        gold = task.answer[0].casefold()
        assert len(gold) <= 80
        how = plan[-1]["answer"]
        if not (isinstance(how, dict) and "names" in how):
            assert gold not in re.findall(r"\w+(?:[.-]\w+)*", question.casefold())
            assert gold not in question.casefold() or gold.isdigit()


def test_all_that_is_asked_for_is_used() -> None:
    """No call of a plan is idle: its reply goes into a later call, or into the answer."""
    for name in toolbox.names():
        for seed in range(60):
            task = made(toolbox.load(name), seed)
            if task.tags["possible"]:
                used = {path[0] for path in toolbox.paths(task.plan or [])}
                assert used == set(range(len(task.plan or []))), task.plan


# ---- what cannot be done -------------------------------------------------------------------------


def impossible() -> list[Task]:
    found = [
        task
        for name in toolbox.names()
        for seed in range(250)
        if not (task := made(toolbox.load(name), seed)).tags["possible"]
    ]
    assert len(found) > 6 * len(toolbox.names())
    return found


def test_what_cannot_be_done() -> None:
    kinds: Counter[str] = Counter()
    for task in impossible():
        plan = task.plan or []
        assert (task.answer, task.check, plan[-1]["answer"]) == ([CANNOT], "exact", None)
        shown = [tool["function"]["name"] for tool in task.tools]
        box = toolbox.load(task.env["toolbox"])
        world = box.world(task.env["seed"])
        if "without" in task.env:
            kinds["no tool"] += 1
            assert task.env["without"] == [plan[-1]["name"]]
            assert len(plan) > 1
            assert plan[-1]["name"] not in shown
            assert box.replies(world, plan[:-1])  # all before it brings something
        else:
            kinds["no row"] += 1
            assert len(plan) == 1
            with pytest.raises(LookupError, match=r"^no "):
                box.replies(world, plan)
    assert min(kinds.values()) > 0.25 * kinds.total()


def test_no_other_tool_speaks_of_what_is_missing() -> None:
    for task in impossible():
        if "without" in task.env:
            box = toolbox.load(task.env["toolbox"])
            described = {tool["function"]["name"]: tool["function"]["description"] for tool in box.tools}
            missing = set(re.findall(r"\w+", described[task.env["without"][0]])) - {"Returns"}
            rest = " ".join(tool["function"]["description"] for tool in task.tools)
            assert missing - set(re.findall(r"\w+", rest))


def test_a_template_may_refuse(monkeypatch: pytest.MonkeyPatch) -> None:
    box = toolbox.load("library")
    only(box, {**box.templates[9], "cannot": False}, monkeypatch)
    assert all(made(box, seed).tags["possible"] for seed in range(200))


# ---- templates of your own -----------------------------------------------------------------------

TOOLS = '''
def make_world(seed):
    return {"people": {"P1": {"name": "Ann", "age": 30 + seed}, "P2": {"name": "Bob", "age": 30 + seed % 2}}}

def age(world, name: str) -> dict:
    """Age of somebody."""
    return {"age": next(row["age"] for row in world["people"].values() if row["name"] == name)}

def later(world, name: str, years: float) -> dict:
    """Age of somebody in some years."""
    return {"age": age(world, name)["age"] + years}
'''
ANN = {
    "given": {"a": "people", "b": "people", "years": [5, 6]},
    "ask": ["How old is {a[name]} ({a[id]}, not {b[name]}) in {years} years?"],
    "plan": [("later", {"name": "{a[name]}", "years": "{years}"})],
    "answer": "age",
}


def own(folder: Path, *asked: Json) -> toolbox.Toolbox:
    (folder / "people.py").write_text(TOOLS)
    (folder / "people_tasks.py").write_text(f"TEMPLATES = {list(asked)!r}")
    toolbox.load.cache_clear()
    return toolbox.load(str(folder / "people.py"))


def test_a_plain_file_with_templates(tmp_path: Path) -> None:
    task = made(own(tmp_path, ANN), 11)
    (step,) = task.plan or []
    assert step["arguments"]["years"] in (5, 6), "a number where the schema says so"
    people = {"Ann": 41, "Bob": 31}
    asked = re.fullmatch(r"How old is (\w+) \(P\d, not (\w+)\) in (\d) years\?", task.messages[0]["content"])
    assert asked
    assert {asked[1], asked[2]} == {"Ann", "Bob"}, "two slots have two rows"
    assert task.answer == [str(people[asked[1]] + int(asked[3]))]
    assert task.tags | {"possible": True} == {
        "toolbox": "people",
        "split": "own",
        "hops": 1,
        "possible": True,
        "drift": [],
    }


def test_rows_are_drawn_again_where_two_are_equal(tmp_path: Path) -> None:
    older = {
        "given": {"a": "people", "b": "people"},
        "ask": ["Who is older, {a[name]} or {b[name]}?"],
        "plan": [("age", {"name": "{a[name]}"}), ("age", {"name": "{b[name]}"})],
        "answer": {"combine": "argmax", "of": [(0, "age"), (1, "age")], "names": ["{a[name]}", "{b[name]}"]},
    }
    box = own(tmp_path, older)
    assert {made(box, seed).answer[0] for seed in (3, 5, 7)} == {"Ann"}
    with pytest.raises(InputError, match=r"tasks\.py: template 1: ValueError: 2 are equal: 30"):
        made(box, 0)


@pytest.mark.parametrize(
    ("change", "error"),
    [
        ({"given": {"a": "persons"}}, "template 1: KeyError: 'persons'"),
        ({"ask": ["How old is {c[name]}?"]}, "template 1: KeyError: 'c'"),
        ({"plan": [("agee", {"name": "{a[name]}"})]}, "template 1: KeyError: 'agee'"),
        ({"plan": [("age", {"nam": "{a[name]}"})]}, "template 1: TypeError: .*nam"),
        ({"answer": "years"}, "template 1: KeyError: 'years'"),
        ({"given": {"a": "people", "b": "people", "c": "people"}}, "template 1: IndexError"),
        (
            {"ask": ["{a[name]} is {a[age]}. How old?"], "plan": [("age", {"name": "{a[name]}"})]},
            "tells the answer",
        ),
    ],
)
def test_a_broken_template_is_told_with_its_place(change: Json, error: str, tmp_path: Path) -> None:
    box = own(tmp_path, {**ANN, **change})
    with pytest.raises(InputError, match=rf"tasks\.py: .*{error}"):
        made(box, 2)
