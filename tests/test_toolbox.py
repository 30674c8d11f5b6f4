"""Toolboxes and suites: answers come from the tools alone, and the same task comes out every time."""

import inspect
import json
import random
import re
import subprocess
import sys
from collections import Counter
from itertools import combinations
from pathlib import Path
from typing import Any

import pytest

from tmcli import toolbox
from tmcli.environments.arguments import fault
from tmcli.errors import InputError, UsageError
from tmcli.records import Task, decode, encode, task_id
from tmcli.score import correct

SEEN, UNSEEN = {"flights", "kitchen", "library"}, {"clinic", "museum"}


@pytest.fixture(params=toolbox.names())
def box(request: pytest.FixtureRequest) -> toolbox.Toolbox:
    return toolbox.load(request.param)


def suites(n: int) -> list[Task]:
    return [task for name in toolbox.SUITES for task in toolbox.suite(name, n)]


def strings(value: object) -> set[str]:
    """All texts in a JSON value, keys left out."""
    if isinstance(value, dict):
        return set().union(*map(strings, value.values()))
    if isinstance(value, list):
        return set().union(*map(strings, value))
    return {value} if isinstance(value, str) else set()


# ---- toolboxes -----------------------------------------------------------------------------------


def test_there_are_seen_and_unseen_ones() -> None:
    splits = {name: toolbox.load(name).split for name in toolbox.names()}
    assert {name for name, split in splits.items() if split == "seen"} == SEEN
    assert {name for name, split in splits.items() if split == "unseen"} == UNSEEN


def test_functions_are_what_the_schemas_say(box: toolbox.Toolbox) -> None:
    assert 4 <= len(box.tools) <= 6
    for tool in box.tools:
        function = tool["function"]
        assert len(function["description"].split()) <= 8
        world, *parameters = inspect.signature(box._functions[function["name"]]).parameters
        assert world == "world"
        assert parameters == list(function["parameters"]["properties"]) == function["parameters"]["required"]
        assert 1 <= len(parameters) <= 2


def test_tools_need_nothing_but_the_standard_library(box: toolbox.Toolbox) -> None:
    program = f"import sys; exec(sys.stdin.read()); print(len(make_world(3)), '{box.name}')"
    done = subprocess.run(
        [sys.executable, "-I", "-S", "-c", program], input=box.source, capture_output=True, text=True
    )
    assert done.stdout.split() == [str(len(box.world(3))), box.name], done.stderr


def test_a_world_is_json_and_only_the_seed_tells_it(box: toolbox.Toolbox) -> None:
    assert box.world(7) == json.loads(json.dumps(box.world(7)))
    assert box.world(7) != box.world(8)


def test_tools_leave_the_world_as_it_is(box: toolbox.Toolbox) -> None:
    rng = random.Random(1)
    world = box.world(5)
    before = json.dumps(world)
    for _ in range(30):
        box.run(world, box.task(5, rng).plan or [])
    assert json.dumps(world) == before


def test_nothing_found_is_an_error_with_a_message(box: toolbox.Toolbox) -> None:
    world = box.world(0)
    for tool in box.tools:
        names = tool["function"]["parameters"]["required"]
        with pytest.raises((LookupError, ValueError), match=r"^no \w+ .*'\?'"):
            box._functions[tool["function"]["name"]](world, **dict.fromkeys(names, "?"))


def test_worlds_of_two_toolboxes_share_no_names() -> None:
    def said(name: str) -> set[str]:
        return set().union(*(strings(toolbox.load(name).world(seed)) for seed in range(40)))

    for a, b in combinations(toolbox.names(), 2):
        both = said(a) & said(b)
        assert not {word for word in both if word.isalpha() or " " in word}, (a, b)  # ids may meet


def test_templates_have_all_hops_and_two_wordings(box: toolbox.Toolbox) -> None:
    assert len(box._templates) >= 5
    assert {len(template["plan"]) for template in box._templates} == set(toolbox.HOPS)
    assert all(len(set(template["ask"])) >= 2 for template in box._templates)


# ---- tasks ---------------------------------------------------------------------------------------


def test_every_plan_reaches_its_gold_by_valid_calls() -> None:
    for task in suites(150):
        box = toolbox.load(task.env["toolbox"])
        world = box.world(task.env["seed"])
        results: dict[int, Any] = {}
        plan = task.plan or []
        for i, step in enumerate(plan):
            arguments = toolbox.resolve(step["arguments"], results)
            assert fault(box.tools, step["name"], arguments) is None
            results[i] = json.loads(json.dumps(box._functions[step["name"]](world, **arguments)))
            assert 1 <= len(results[i]) <= 3
        said = toolbox.text_of(results[len(plan) - 1][plan[-1]["answer"]])
        assert correct(said, task.answer, task.check) is True
        assert task.answer == [said]


def test_each_call_feeds_the_next() -> None:
    for task in suites(100):
        for i, step in enumerate((task.plan or [])[1:]):
            used = [value["$from"][0] for value in step["arguments"].values() if toolbox.is_reference(value)]
            assert used == [i]


def test_answers_cannot_be_guessed() -> None:
    for name in toolbox.SUITES:
        tasks = list(toolbox.suite(name, 600))
        for task in tasks:
            question = task.messages[0]["content"]
            assert len(question.split()) <= 25
            assert task.answer[0].casefold() not in re.findall(r"[\w.]+", question.casefold())
            assert task.answer[0].casefold() not in question.casefold() or task.answer[0].isdigit()
            assert len(task.answer[0]) <= 30
        commonest, count = Counter(task.answer[0] for task in tasks).most_common(1)[0]
        assert count / len(tasks) < 0.03, commonest


def test_the_same_question_has_another_answer_in_another_world(box: toolbox.Toolbox) -> None:
    answers: dict[str, set[str]] = {}
    for seed in range(400):
        task = box.task(seed, random.Random(seed))
        answers.setdefault(task.messages[0]["content"], set()).update(task.answer)
    again = [golds for golds in answers.values() if len(golds) > 1]
    assert again or len(answers) > 380


def test_hops_are_drawn_by_weight() -> None:
    hops = Counter(task.tags["hops"] for task in toolbox.suite("train", 1000))
    for n, share in toolbox.HOPS.items():
        assert abs(hops[n] / 1000 - share) < 0.05


def test_tasks_survive_a_stream() -> None:
    for task in suites(5):
        assert decode(encode(task)) == task
        assert task.id == task_id(task)


# ---- suites --------------------------------------------------------------------------------------


@pytest.mark.parametrize("drift", [[], ["stale"], ["none", "stale"]])
@pytest.mark.parametrize("name", toolbox.SUITES)
def test_a_longer_suite_begins_with_the_shorter(name: str, drift: list[str]) -> None:
    assert list(toolbox.suite(name, 12, 3, drift)) == list(toolbox.suite(name, 40, 3, drift))[:12]


def test_default_sizes() -> None:
    assert [sum(1 for _ in toolbox.suite(name)) for name in toolbox.SUITES] == [200, 100, 100]
    assert list(toolbox.suite("train", 0)) == []


@pytest.mark.parametrize("drift", [[], ["stale"], ["none", "stale"]])
def test_ids_are_unique_and_worlds_held_out(drift: list[str]) -> None:
    suites = {name: list(toolbox.suite(name, 400, 0, drift)) for name in toolbox.SUITES}
    ids = [task.id for tasks in suites.values() for task in tasks]
    assert len(set(ids)) == len(ids)
    for seed in range(5):
        assert max(task.env["seed"] for task in toolbox.suite("train", 50, seed)) < toolbox.HELD_OUT
    for name in ("seen", "unseen"):
        assert min(task.env["seed"] for task in suites[name]) >= toolbox.HELD_OUT


def test_splits_tags_and_turns() -> None:
    for name, boxes in [("train", SEEN), ("seen", SEEN), ("unseen", UNSEEN)]:
        tasks = list(toolbox.suite(name, 12, 5))
        assert [task.tags["toolbox"] for task in tasks] == sorted(boxes) * (12 // len(boxes))
        for i, task in enumerate(tasks):
            split = "unseen" if name == "unseen" else "seen"
            hops = len(task.plan or [])
            assert task.tags == {"toolbox": task.env["toolbox"], "split": split, "hops": hops, "drift": []}
            assert task.source == f"suite:{name}:5:{i}"
            shown = toolbox.load(task.env["toolbox"]).tools  # in an order that tells nothing of the plan
            assert sorted(map(repr, task.tools)) == sorted(map(repr, shown))


def test_other_seed_other_tasks() -> None:
    a, b = ({task.id for task in toolbox.suite("train", 30, seed)} for seed in (0, 1))
    assert not a & b


def test_same_bytes_in_another_process() -> None:
    program = (
        "import sys; from tmcli import toolbox, records\n"
        "for name in toolbox.SUITES:\n"
        "    for task in toolbox.suite(name, 20, 4, ['none', 'stale']):\n"
        "        sys.stdout.buffer.write(records.encode(task) + b'\\n')"
    )
    said = [
        subprocess.run(
            [sys.executable, "-c", program], capture_output=True, check=True, env={"PYTHONHASHSEED": seed}
        ).stdout
        for seed in ("1", "2")
    ]
    assert said[0] == said[1]
    assert said[0].count(b"\n") == 60


# ---- bad input -----------------------------------------------------------------------------------


def test_unknown_names_are_answered_with_known_ones() -> None:
    with pytest.raises(UsageError, match="did you mean 'library'"):
        toolbox.load("libary")
    with pytest.raises(UsageError, match="did you mean 'unseen'"):
        toolbox.suite("unsen")
    with pytest.raises(UsageError, match="did you mean 'stale'"):
        toolbox.suite("seen", drift=["stail"])
    with pytest.raises(UsageError, match="no toolbox is named"):
        toolbox.load("../library")


@pytest.mark.parametrize(
    ("file", "text", "error"),
    [
        ("tools.py", "def make_world(seed:\n", r"tools\.py:1: .*never closed"),
        ("tools.py", "def make_world(seed):\n    return {}\n", r"tools\.py: find_book is not defined"),
        ("tasks.py", "TEMPLATES = [\n  1,\n  )\n", r"tasks\.py:3: "),
        ("tasks.py", "TEMPLATE = []\n", r"tasks\.py: TEMPLATES is not defined"),
        ("tools.json", '{"name": "x",\n', r"tools\.json:2: "),
        ("tools.json", '{"name": "x"}', r"tools\.json lacks 'split'"),
    ],
)
def test_a_broken_toolbox_is_told_with_its_place(
    file: str, text: str, error: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "broken"
    folder.mkdir()
    for path in (toolbox.folder() / "library").glob("*.*"):
        (folder / path.name).write_text(path.read_text())
    (folder / file).write_text(text)
    monkeypatch.setattr(toolbox, "folder", lambda: tmp_path)
    toolbox.load.cache_clear()
    try:
        with pytest.raises(InputError, match=error):
            toolbox.load("broken").task(1, random.Random(1))
    finally:
        toolbox.load.cache_clear()
