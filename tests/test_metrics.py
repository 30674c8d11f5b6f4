"""Metrics of other people's benchmarks: against their own scorers, and through the records of episodes."""

from __future__ import annotations

import contextlib
import io
import json
import random
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import official
import pytest
import scorers
from hypothesis import given, settings
from hypothesis import strategies as st
from servers import ModelServer, say, text
from servers import call as asked
from shell import pipe, records
from trajectories import call, fault, trajectory, turn

from tmcli import drift, importers
from tmcli.importers import rotbench as rotbench_file
from tmcli.importers import toolhop as toolhop_file
from tmcli.records import Json, encode, new_task, to_json
from tmcli.score import Case, judge, made, score_of, solve
from tmcli.score.benchmarks import NAMES, benchmark, restbench, rotbench, toolhop
from tmcli.score.benchmarks.bfcl import accepts
from tmcli.score.benchmarks.literals import DEEPEST, LONGEST, WIDEST, java, javascript

needs_bfcl = pytest.mark.skipif(
    find_spec("bfcl_eval") is None, reason="the package bfcl-eval is not installed (pip install --no-deps)"
)


# ---- BFCL ------------------------------------------------------------------------------------------


@needs_bfcl
def test_bfcl_agrees_with_its_checker_on_every_gold_and_on_changed_ones() -> None:
    rng = random.Random(7)
    n, n_accepted, wrong = 0, 0, []
    for case in official.cases():
        answers = [official.answer(case, rng, first=True)]
        answers += [official.changed(official.answer(case, rng), case, rng) for _ in range(8)]
        for calls in answers:
            theirs = official.judged(case, calls)
            n, n_accepted = n + 1, n_accepted + (theirs is True)
            if accepts(calls, case.golds, case.task.extra["takes"], case.category) != bool(theirs):
                wrong.append((case.row["id"], theirs, calls))
    assert wrong == []
    assert n > 20_000
    assert n_accepted > 4_000  # both kinds are there


@needs_bfcl
def test_bfcl_of_a_whole_episode_under_the_names_that_were_shown() -> None:
    rng = random.Random(3)
    for case in list(official.cases())[::9]:
        given = official.answer(case, rng, first=True)
        shown = {own: name for name, own in case.task.extra.get("names", {}).items()}
        played = [call(shown.get(name, name), reply="{}", **arguments) for name, arguments in given]
        scores = of_task(case.task, [turn("trial", call("f", reply="x")), turn("execution", *played)])
        assert scores == {"bfcl": float(official.judged(case, given) is True)}, case.row["id"]


@needs_bfcl
@pytest.mark.parametrize("language", ["java", "javascript"])
def test_source_is_read_as_bfcl_reads_it(language: str) -> None:
    theirs = official.converters()[language == "javascript"]
    ours: Callable[..., Any] = java if language == "java" else javascript
    words = "integer float double long boolean Boolean Array array ArrayList HashMap Hashtable dict Bigint"
    kinds = (*words.split(), "String", "char", "any", "odd")
    pieces = (
        *official.SOURCE,
        "new ",
        "(",
        ")",
        "{",
        "}",
        "{{",
        "}}",
        ",",
        "[",
        "]",
        "1",
        "2L",
        "-",
        "'y'",
        "\n",
        " ",
    )
    rng = random.Random(5)
    for _ in range(20_000):
        text = "".join(rng.choice(pieces) for _ in range(rng.randrange(1, 7)))
        if text.count("]") > DEEPEST:
            continue
        kind, inner = rng.choice(kinds), rng.choice((None, *kinds))
        assert outcome(ours, text, kind, inner) == outcome(theirs, text, kind, inner), (text, kind, inner)


def outcome(read: Callable[..., Any], *arguments: Any) -> str:
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            return repr(read(*arguments))
    except Exception:  # noqa: BLE001 - which one does not matter
        return "raised"


@pytest.mark.parametrize(
    ("read", "kind", "text"),
    [
        (java, "HashMap", "new HashMap<>() {" + " " * 9000),
        (java, "HashMap", "new HashMap<>() {" + (" " * WIDEST + "x") * 140),
        (java, "ArrayList", "new ArrayList<>() {{" + (" " * WIDEST + "}") * 140),
        (java, "ArrayList", "x" * (LONGEST + 1)),
        (javascript, "array", "[" + "[],\n" * 2000 + "]]"),
        (javascript, "array", "[[1]," + "[]," * 3000),
    ],
)
def test_no_source_takes_for_ever(read: Callable[..., Any], kind: str, text: str) -> None:
    assert read(text, kind) is not None  # pytest's own limit tells


def bfcl_task(category: str, **extra: Any) -> Any:
    parameters = {"type": "object", "properties": {"radius": {"type": "number"}}, "required": ["radius"]}
    return new_task(
        messages=[{"role": "user", "content": "How large is it?"}],
        tools=[{"type": "function", "function": {"name": "circle_area", "parameters": parameters}}],
        env={"kind": "simulate"},
        answer=[],
        check="judge",
        tags={"dataset": "bfcl", "category": category, "drift": []},
        extra={"names": {"circle_area": "circle.area"}, **extra},
    )


GOLD: Json = {
    "ground_truth": [{"circle.area": {"radius": [5.0]}}],
    "takes": {"circle.area": {"required": ["radius"], "types": {"radius": "float"}}},
}


def of_task(task: Any, turns: list[Json], **more: Any) -> Json:
    played = trajectory(turns, task=to_json(task), **more)
    return benchmark(Case.of(played))


def area(radius: Any) -> Json:
    return call("circle_area", radius=radius)


@pytest.mark.parametrize(
    ("category", "turns", "right"),
    [
        ("simple_python", [turn("execution", area(5))], 1.0),
        ("simple_python", [turn("execution", area("5"))], 0.0),
        ("simple_python", [turn("execution", area(5), fault())], 0.0),
        ("simple_python", [turn("trial", area(1)), turn("trial", area(2)), turn("execution", area(5))], 1.0),
        ("simple_python", [turn("execution", area(5)), turn("execution", area(7))], 1.0),
        ("simple_python", [turn("execution", area(7)), turn("execution", area(5))], 0.0),
        ("simple_python", [turn("execution")], 0.0),
        ("live_irrelevance", [turn("trial", area(5)), turn("execution")], 1.0),
        ("live_irrelevance", [turn("execution", area(5))], 0.0),
        ("irrelevance", [turn("execution", fault())], 1.0),
        ("live_relevance", [turn("execution", area(0))], 1.0),
        ("live_relevance", [turn("execution")], 0.0),
    ],
)
def test_bfcl_takes_the_first_turn_of_execution(category: str, turns: list[Json], right: float) -> None:
    extra = {} if "relevance" in category else GOLD
    played = trajectory(turns, task=to_json(bfcl_task(category, **extra)))
    score = score_of(judge(played))
    assert score.scores["bfcl"] == right
    assert score.correct is (right == 1.0)


def test_bfcl_without_golds_has_no_metric() -> None:
    old = bfcl_task("simple_python", ground_truth=GOLD["ground_truth"])
    assert of_task(bfcl_task("simple_python"), [turn("execution", area(5))]) == {}
    assert of_task(old, [turn("execution", area(5))]) == {}  # imported before its types were kept


def test_drift_is_taken_off_the_calls() -> None:
    task = drift.apply(bfcl_task("simple_python", **GOLD), ["rename"], 1)
    lens = drift.Lens(drift.layers_of(task), drift.true_tools(task))
    name, arguments = lens.outward_call("circle_area", {"radius": 5})
    assert (name, arguments) != ("circle_area", {"radius": 5})
    assert of_task(task, [turn("execution", call(name, **arguments))]) == {"bfcl": 1.0}
    assert of_task(task, [turn("execution", area(5))]) == {"bfcl": 0.0}


# ---- RestBench -------------------------------------------------------------------------------------


@given(st.lists(st.sampled_from("abcd"), max_size=4), st.lists(st.sampled_from("abcde"), max_size=7))
def test_the_path_is_as_its_author_computes_it(golds: list[str], called: list[str]) -> None:
    found = restbench.path(called, golds)
    assert found["path"] == float(scorers.in_order(golds, called))
    assert found["path_any_order"] == float(all(called.count(g) >= golds.count(g) for g in golds))
    assert found["path"] <= found["path_any_order"]
    assert found["path_extra"] == (len(called) - len(golds) if found["path"] else None)


def test_paths_of_imported_questions(restbench_task: Any) -> None:
    golds = restbench_task.extra["path"]
    turns = [turn("execution", call(name)) for name in golds]
    assert of_task(restbench_task, turns) == {"path": 1.0, "path_any_order": 1.0, "path_extra": 0}
    assert of_task(restbench_task, [turn("trial", call("other")), *turns])["path_extra"] == 1
    assert of_task(restbench_task, turns[::-1])["path"] == 0.0
    assert (
        score_of(judge(trajectory(turns, task=to_json(restbench_task)))).correct is None
    )  # no success by itself


@pytest.fixture
def restbench_task(tmp_path: Path) -> Any:
    paths = {path: {"get": {"responses": {}}} for path in ("/search", "/movie/top")}
    document = {"openapi": "3.0.0", "info": {}, "servers": [{"url": "http://localhost"}], "paths": paths}
    (tmp_path / "x_oas.json").write_text(json.dumps(document))
    row = {"query": "Which?", "solution": ["GET /search", "GET /movie/top"]}
    (tmp_path / "x.json").write_text(json.dumps([row]))
    (task,) = importers.read("restbench", str(tmp_path / "x.json"))
    return task


# ---- RoTBench --------------------------------------------------------------------------------------

VALUES = st.sampled_from(["a", "b", "None", 1, True, [1], {"x": 1}])
ARGUMENTS = st.dictionaries(st.sampled_from(["p", "q", "r"]), VALUES, max_size=3)
NEXT = st.tuples(st.sampled_from(["f", "g", "finish", "ask", "end"]), ARGUMENTS)


def react(name: str, arguments: Any) -> str:
    return f"Thought: so\nAction: {name}\nAction Input: {json.dumps(arguments)}"


@settings(max_examples=400)
@given(NEXT, st.lists(NEXT, min_size=1, max_size=3))
def test_both_rules_of_rotbench(made_call: tuple[str, Json], golds: list[tuple[str, Json]]) -> None:
    said, accepted = react(*made_call), [react(*gold) for gold in golds]
    ours = rotbench.official(made_call, golds, ends="end", asks="ask")
    assert ours == scorers.rotbench(said, accepted, ["f", "g", "finish", "ask", "end"])
    assert rotbench.ftrl(made_call, golds) == scorers.ftrl_rotbench(said, accepted)


def test_rotbench_is_imported_and_scored(tmp_path: Path) -> None:
    tools = [{"name": n, "description": n, "parameters": {"type": "object", "properties": {}}} for n in "fgh"]
    row = {
        "id": "x",
        "scenario": "TG",
        "conversations": [
            {"from": "system", "value": f"Use tools:\n{json.dumps(tools)}\n\nLet's Begin!"},
            {"from": "user", "value": "Translate it.\nBegin!\n"},
            {"from": "assistant", "value": react("f", {"a": 1})},
            {"from": "function", "value": "missing b"},
            {"from": "assistant", "value": [react("f", {"a": 1, "b": 2}), react("h", {"answer": "x"})]},
        ],
    }
    (tmp_path / "heavy.json").write_text(json.dumps([row]))
    (task,) = rotbench_file.read(str(tmp_path / "heavy.json"))
    assert [message["role"] for message in task.messages] == ["user", "assistant", "tool"]
    assert task.messages[0]["content"] == "Translate it."
    assert task.tags == {"dataset": "rotbench", "noise": "heavy", "turn": 2, "scenario": "TG", "drift": []}
    assert (task.extra["ends"], task.extra["asks"]) == ("h", "g")
    marks = of_task(task, [turn("execution", call("f", a=2, b=1))])
    assert [marks[f"rotbench_{mark}"] for mark in ("ts", "pi", "cf")] == [1.0, 1.0, 0.0]
    assert [marks[f"ftrl_{mark}"] for mark in ("ts", "pi", "cf")] == [1.0, 1.0, 1.0]
    assert set(of_task(task, [turn("execution")]).values()) == {0.0}


# ---- ToolHop and FTRL ------------------------------------------------------------------------------

SAID = st.sampled_from(["1,200", "It is 1200 BC", "Paris, France", "france and PARIS", "", "no"])
GOLDS = st.sampled_from(["1200", "Paris, France", "no", "1,200"])


@given(st.lists(st.tuples(st.sampled_from(["assistant", "tool"]), SAID), max_size=4), GOLDS)
def test_toolhop_as_ftrl_scores_it(rest: list[tuple[str, str]], gold: str) -> None:
    messages = [{"role": "user", "content": "?"}, *({"role": role, "content": text} for role, text in rest)]
    assert toolhop.correct(messages, gold) == scorers.toolhop(messages, gold)


ROW: Json = {
    "id": 4,
    "question": "How old was he?",
    "answer": "15.0",
    "sub_task": {"When?": "15.0"},
    "tools": {"When?": {"name": "age", "parameters": {"type": "object", "properties": {}}}},
    "functions": ["def age():\n    return 15"],
}


def test_the_scenarios_of_toolhop(tmp_path: Path) -> None:
    (tmp_path / "t.json").write_text(json.dumps([ROW]))
    tasks = [
        next(importers.read(f"toolhop:{name}", str(tmp_path / "t.json"))) for name in toolhop_file.SCENARIOS
    ]
    assert [task.tags["scenario"] for task in tasks] == ["free", "mandatory", "direct"]
    assert [len(task.tools) for task in tasks] == [1, 1, 0]
    assert tasks[1].messages[0]["content"].startswith("How old was he?\n\nYou must call a tool")
    assert len({task.id for task in tasks}) == 3
    told = trajectory([turn("execution", call("age", reply="15.0")), turn("execution", content="15")],
                      task=to_json(tasks[0]), prediction="15")  # fmt: skip
    score = score_of(judge(told))
    assert (score.scores["toolhop"], score.scores["answer"]) == (1.0, 1.0)  # by the last tool reply
    with pytest.raises(Exception, match="scenario 'hard'"):
        importers.read("toolhop:hard", str(tmp_path / "t.json"))


FOUND = st.sampled_from(["7 May", "x 7 may", "1,200", "none", "b"])
MADE = st.lists(st.tuples(st.sampled_from(["f", "g", "h"]), FOUND), max_size=5)
SUBGOALS = st.lists(st.sampled_from(["7 May", "1200", "b"]), min_size=1)
UNSOLVED = st.dictionaries(st.sampled_from(["f", "g"]), SUBGOALS, min_size=1)


@given(MADE, UNSOLVED)
def test_solve_is_as_ftrl_scores_it(calls: list[tuple[str, str]], unsolved: dict[str, list[str]]) -> None:
    turns = [turn("execution", call(name, reply=text)) for name, text in calls]
    played = trajectory([*turns, turn("execution", content="<answer>x</answer>")])
    assert solve(made(played), unsolved) == pytest.approx(scorers.ftrl(played.messages, unsolved))


# ---- all -------------------------------------------------------------------------------------------


def test_other_tasks_have_none_of_them() -> None:
    score = score_of(judge(trajectory()))
    assert not set(NAMES) & set(score.scores)
    odd = trajectory(task={**trajectory().task, "tags": {"dataset": ["bfcl"]}})
    assert benchmark(Case.of(odd)) == {}


def test_golds_are_kept_in_the_record_and_never_shown(tmp_path: Path) -> None:
    golds = {**GOLD, "ground_truth": [{"circle.area": {"radius": [5.0, 987654321.5]}}]}
    task = bfcl_task("simple_python", path=["XYZZY"], ends="XYZZY", **golds)
    (tmp_path / "tasks.jsonl").write_bytes(encode(task) + b"\n")
    with ModelServer(say(asked("circle_area", '{"radius": 5}'), text("<answer>done</answer>"))) as server:
        got = pipe(
            f"tm rollout --tasks tasks.jsonl --policy m@{server.url} > t.jsonl; tm eval --scores t.jsonl",
            tmp_path,
            {},
        )
        sent = json.dumps(server.requests, default=str)
    assert got.returncode == 0, got.stderr
    assert "How large is it?" in sent
    assert "XYZZY" not in sent
    assert "987654321" not in sent
    (played,) = records((tmp_path / "t.jsonl").read_bytes())
    assert played["task"]["ground_truth"] == golds["ground_truth"]
    (score,) = (row for row in records(got.stdout) if row["kind"] == "score")
    assert (score["correct"], score["scores"]["bfcl"]) == (True, 1.0)
