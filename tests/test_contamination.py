"""Decontamination: by the words of questions and by the tools, whatever drift was laid over them."""

from __future__ import annotations

import gzip
import json
import pickle
from pathlib import Path
from typing import Any

import pytest
from conftest import Tm
from hypothesis import given
from hypothesis import strategies as st
from trajectories import FIND, TOOLS, lines, task, trajectory

from tmcli import drift, importers, suites
from tmcli.errors import InputError, UsageError
from tmcli.filters.contamination import TestSet, behind, check_query, check_tool, shape
from tmcli.filters.view import View
from tmcli.records import Task, Trajectory, encode, from_json, to_json

DATA = Path(__file__).parents[2] / "shared" / "data"
needs_data = pytest.mark.skipif(not DATA.exists(), reason="../shared/data is not there")

ASKED = "Which of the two libraries near the old harbour opens first on the Sunday after Easter?"  # 16 words


def view(one: Trajectory) -> View:
    return View.of(encode(one))


def asking(question: str, **more: Any) -> View:
    return view(trajectory(task=task(messages=[{"role": "user", "content": question}], **more)))


def played_on(one: Task) -> View:
    return view(trajectory([], task=to_json(one)))


def made_of(path: Path, *tasks: dict[str, Any] | Task) -> TestSet:
    data = [one if isinstance(one, dict) else to_json(one) for one in tasks]
    path.write_text("".join(json.dumps(one) + "\n" for one in data))
    return TestSet.read([str(path)])


def tool(name: str, properties: dict[str, Any], **more: Any) -> dict[str, Any]:
    parameters = {"type": "object", "properties": properties} | more
    return {"type": "function", "function": {"name": name, "description": "?", "parameters": parameters}}


# ---- questions -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("question", "due"),
    [
        (ASKED, "12 words in a row"),
        (ASKED.upper().replace(" ", "\n") + "!!", "12 words in a row"),
        ("ｗｈｉｃｈ of the “two” libraries—near the old harbour opens first?", None),  # 11 words
        (
            "Well: which of the two libraries near the old harbour opens first, on what day?",
            "12 words in a row",
        ),
        (
            "Which of the two libraries is near the old harbour, and which of them opens first on Sunday?",
            None,
        ),
        ("How many pages has Silent Harbor", "all 6 words"),
        ("Please: how many pages has 'Silent Harbor'? Tell me!", "all 6 words"),
        ("How many pages has Harbor Silent?", None),
        ("Who is it?", "all 3 words"),
        ("Who is it that wrote Emma?", None),
    ],
)
def test_questions(tmp_path: Path, question: str, due: str | None) -> None:
    asked = (ASKED, "How many pages has Silent Harbor?", "who is it", " ")
    tests = made_of(tmp_path / "t", *(task(messages=[{"role": "user", "content": one}]) for one in asked))
    why = check_query(12, tests)(asking(question))
    assert (why or "").startswith(due or "nothing") or why is due
    assert why is None or " of test task " in why


def test_hits_are_told(tmp_path: Path) -> None:
    tests = made_of(tmp_path / "t", task(messages=[{"role": "user", "content": ASKED}]))
    for n, hits in ((16, 1), (12, 5), (3, 14)):
        why = check_query(n, tests)(asking(f"Tell me, {ASKED}"))
        assert f"{n} words in a row" in str(why)
        assert f"(hits: {hits})" in str(why)


def test_a_question_of_no_words_is_nobodys(tmp_path: Path) -> None:
    tests = made_of(tmp_path / "t", task(messages=[{"role": "user", "content": "?"}]))
    assert check_query(12, tests)(asking("!")) is None
    with pytest.raises(UsageError, match="no words in a row"):
        check_query(0, tests)


@given(st.lists(st.sampled_from("abcd"), max_size=14), st.lists(st.sampled_from("abcd"), max_size=14))
def test_runs_are_those_that_both_have(one: list[str], other: list[str]) -> None:
    n = 3
    tests = TestSet(["x"], {" ".join(other): 0} if other else {})
    runs = [{tuple(said[i : i + n]) for i in range(len(said) - n + 1)} for said in (one, other)]
    due = bool(runs[0] & runs[1]) or (0 < len(other) < n and one == other)
    assert (check_query(n, tests)(asking(" ".join(one))) is not None) == due


# ---- tools ---------------------------------------------------------------------------------------

TWO = {"title": {"type": "string", "description": "as printed"}, "shelf": {"type": ["integer", "null"]}}


@pytest.mark.parametrize(
    ("other", "same"),
    [
        (tool("search", dict(reversed(TWO.items()))), True),
        (
            tool("find", {"title": {"type": "string"}, "shelf": {"type": ["null", "integer"], "title": "S"}}),
            True,
        ),
        (tool("find", TWO, additionalProperties=False, required=[], description="of books"), True),
        (tool("find", {"title": {"type": "string"}, "shelf": {"type": "integer"}}), False),
        (tool("find", TWO, required=["title"]), False),
        (tool("find", TWO | {"year": {}}), False),
        (tool("find", {"title": TWO["title"], "description": TWO["shelf"]}), False),
    ],
)
def test_what_a_tool_takes(other: dict[str, Any], same: bool) -> None:
    assert (shape(tool("find", TWO)) == shape(other)) is same


def test_few_parameters_tell_with_the_name_only() -> None:
    one = {"id": {"type": "string"}}
    assert shape(tool("find", one)) == shape(tool("find", {"id": {"type": "string", "description": "it"}}))
    assert shape(tool("find", one)) != shape(tool("loan", one))
    assert shape(tool("find", {})) != shape(tool("loan", {}))
    bare = {"type": "function", "function": {"name": "find"}}
    assert shape(bare) != shape({"type": "function", "function": {"name": "loan", "parameters": None}})


def test_a_schema_as_deep_as_a_line_may_be() -> None:
    deep: Any = {}
    for _ in range(900):
        deep = {"properties": {"a": deep, "b": {}}}
    assert shape(tool("find", deep)) == shape(tool("find", deep)) != shape(tool("loan", deep))


def test_by_name_by_what_it_takes_or_both(tmp_path: Path) -> None:
    tests = made_of(tmp_path / "t", task(tools=[tool("find", TWO)]))
    named, taking = asking("?", tools=[tool("find", {})]), asking("?", tools=[*TOOLS, tool("seek", TWO)])
    by_schema, by_name, both = (check_tool(by, tests) for by in ("schema", "name", "both"))
    assert by_schema(named) is None
    assert "find has the name" in str(by_name(named))
    assert "find has the name" in str(both(named))
    assert "seek takes the parameters" in str(by_schema(taking))
    assert by_name(taking) is None
    assert "seek takes the parameters" in str(both(taking))
    assert both(asking("?")) is None


@pytest.mark.parametrize("kind", drift.KINDS)
def test_tools_are_known_behind_the_drift(kind: str) -> None:
    tests = TestSet.read(["unseen"])
    check = check_tool("schema", tests)
    drifted = list(suites.suite("unseen", 16, 5, [f"{kind}@1.0"]))
    assert all(check(played_on(one)) for one in drifted)
    again = TestSet()
    for one in drifted:
        again._add(one, "drifted")
    assert again.names.keys() <= tests.names.keys()
    assert again.schemas.keys() <= tests.schemas.keys()
    assert not any(check(played_on(one)) for one in suites.suite("train", 32, 5, [f"{kind}@1.0"]))


def test_tools_of_ones_own_are_led_back_without_a_look_at_them(tmp_path: Path) -> None:
    """A record may name any file: none is opened."""
    (one,) = suites.suite("unseen", 1)
    own = drift.apply(one, ["rename@1.0"], 1)
    own = from_json(to_json(own) | {"env": own.env | {"toolbox": str(tmp_path / "gone.py")}})
    assert isinstance(own, Task)
    assert {t["function"]["name"] for t in own.tools}.isdisjoint(t["function"]["name"] for t in one.tools)
    assert [shape(t) for t in behind(own, own.tools)] == [shape(t) for t in one.tools]


RENAME = {"kind": "rename", "tools": {}, "parameters": {}}


@pytest.mark.parametrize(
    "env",
    [
        {"kind": "python", "drift": "stale"},
        {"kind": "python", "drift": [{"kind": "?"}]},
        {"kind": "python", "drift": [RENAME], "schemas": 7},
        {"kind": "python", "drift": [RENAME], "schemas": [{}]},
        {"kind": "toolbox", "drift": [RENAME]},
        {"kind": "toolbox", "drift": [RENAME], "toolbox": "library", "without": 3},
        {"kind": "toolbox", "drift": [RENAME], "toolbox": "library", "distractors": 3},
        {"kind": "toolbox", "drift": [RENAME], "toolbox": "library", "distractors": ["bank.no_such_tool"]},
        {"kind": "toolbox", "drift": [RENAME], "toolbox": ["library"]},
    ],
)
def test_an_env_that_makes_no_sense_leaves_the_tools_as_shown(env: dict[str, Any]) -> None:
    one = from_json(task(env=env))
    assert isinstance(one, Task)
    assert behind(one, TOOLS) == TOOLS


# ---- sources -------------------------------------------------------------------------------------


def test_sources(tmp_path: Path) -> None:
    one, other = task(1), task(2)
    (tmp_path / "a.jsonl.gz").write_bytes(gzip.compress(json.dumps(one).encode()))
    (tmp_path / "b.jsonl").write_text(lines(trajectory(task=other), trajectory(task=other)))
    tests = TestSet.read([str(tmp_path / "a.jsonl.gz"), str(tmp_path / "b.jsonl"), "unseen"])
    assert len(tests.tasks) == 103
    assert {"how many shelves has room 1", "how many shelves has room 2"} <= tests.questions.keys()
    assert FIND["name"] in tests.names
    assert pickle.loads(pickle.dumps(tests)) == tests


def test_sources_that_are_none(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"named 'unsen'; did you mean 'unseen'"):
        TestSet.read(["unsen"])
    (tmp_path / "empty.jsonl").touch()
    with pytest.raises(UsageError, match="there is no task in it"):
        TestSet.read([str(tmp_path / "empty.jsonl")])
    (tmp_path / "score.jsonl").write_text('{"kind":"run","v":1}\n')
    with pytest.raises(InputError):
        TestSet.read([str(tmp_path / "score.jsonl")])


@needs_data
def test_other_peoples_tests_are_found_in_themselves_only() -> None:
    """The names of two data sets never meet here, as these parts of them are."""
    bench = DATA / "stabletoolbench"
    sets = {
        "ftrl": importers.read("ftrl", str(DATA / "ftrl_dev.parquet")),
        "restbench": importers.read("restbench", str(DATA / "restbench" / "tmdb.json")),
        "stabletoolbench": importers.read("stabletoolbench", str(bench / "G1_instruction.json")),
        "train": suites.suite("train", 60),
    }
    tasks = {name: list(found) for name, found in sets.items()}
    for name, due in tasks.items():
        tests = TestSet()
        for one in due:
            tests._add(one, name)
        query, tools = check_query(12, tests), check_tool("both", tests)
        for other, found in tasks.items():
            hits = [(query(one), tools(one)) for one in map(played_on, found[:40])]
            assert all(map(all, hits)) if other == name else not any(map(any, hits))


def test_in_a_pipe(tm: Tm, tmp_path: Path) -> None:
    trains = [trajectory(task=task(n)) for n in range(4)]
    (tmp_path / "in.jsonl").write_text(lines(*trains))
    other = tool("other", {"a": {}, "b": {}})
    (tmp_path / "test.jsonl").write_text(json.dumps(task(2, tools=[other])) + "\n")
    words = ["filter", tmp_path / "in.jsonl", "--decontaminate", tmp_path / "test.jsonl"]
    kept = lines(trains[0], trains[1], trains[3])
    for more in ([], ["-j", "2"], ["--preset", "strict"]):
        done = tm(*words, *more, "--rejects", tmp_path / "dropped", "--force")
        assert done.stdout.decode() == kept, done.stderr
        (dropped,) = map(json.loads, (tmp_path / "dropped").read_text().splitlines())
        assert dropped["dropped"] == "contaminated_query"
        assert "all 6 words of test task" in dropped["dropped_why"]
    assert tm(*words, "--no-rule", "contaminated_query").stdout.decode() == lines(*trains)
    (tmp_path / "test.jsonl").write_text(json.dumps(task(9)) + "\n")
    assert tm(*words).stdout == b""
    assert tm(*words, "--rule", "contaminated_tool=name").stdout == b""
    assert tm(*words, "--no-rule", "contaminated_tool").stdout.decode() == lines(*trains)
    wrong = tm(*words, "--decontaminate", "nothing.jsonl")
    assert wrong.returncode == 2
    assert b"nothing.jsonl" in wrong.stderr
