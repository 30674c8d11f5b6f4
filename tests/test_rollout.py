"""`tm rollout` as a user runs it: any policy, judged, straight into `tm eval`."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from conftest import Tm
from players import sum_task
from servers import Expert, ModelServer, call, say, text
from shell import pipe, records

from tmcli import suites
from tmcli.episode import Limits
from tmcli.errors import InputError
from tmcli.policies.scripted import Scripted
from tmcli.records import encode
from tmcli.runner import Runner
from tmcli.steps.rollout import rollout
from tmcli.steps.synth import synth


def test_the_step_judges_what_was_played() -> None:
    tasks = list(suites.suite("unseen", 3, 0))
    with Runner(Scripted(), Limits()) as runner:
        got = list(rollout(tasks, runner, 2, {f"{tasks[0].id}#0"}))
        assert [t.id for t in got] == [f"{task.id}#{i}" for task in tasks for i in (0, 1)][1:]
        assert all(t.scores["answer"] == 1.0 and t.reward is not None for t in got)
        assert list(synth(tasks, runner, 2, {f"{tasks[0].id}#0"})) == got


def test_a_policy_is_needed(tm: Tm) -> None:
    got = tm("rollout", "--tasks", "unseen")
    assert got.returncode == 2
    assert b"--policy" in got.stderr


FTRL = Path(__file__).parents[2] / "shared" / "data" / "ftrl_dev.parquet"


def test_unseen_is_the_default_suite(tm: Tm) -> None:
    made = records(tm("rollout", "--policy", "scripted", "--limit", "2").stdout)
    assert [r["task"]["tags"]["split"] for r in made] == ["unseen"] * 2


def test_a_servers_model_plays_tasks_with_their_own_tools(tm: Tm) -> None:
    tasks = b"".join(encode(sum_task(i)) + b"\n" for i in range(3))
    brain = say(call("add", '{"a": 0, "b": 1}', content="<plan>add</plan>"), text("<answer>1</answer>"))
    with ModelServer(brain) as server:
        words = ("rollout", "--policy", f"m@{server.url}", "--tasks", "-", "--samples", "2")
        got = tm(*words, "--temperature", "0.7", input=tasks)
    assert got.returncode == 0, got.stderr
    made = records(got.stdout)
    assert [r["scores"]["answer"] for r in made] == [1.0, 1.0, 0.0, 0.0, 0.0, 0.0]
    assert {r["policy"]["name"] for r in made} == {f"m@{server.url}"}
    assert {r["policy"]["sampling"]["temperature"] for r in made} == {0.7}
    assert sorted(request["seed"] for request in server.requests) == [0] * 6 + [1] * 6


def test_a_task_that_cannot_be_played_is_named() -> None:
    good, bad = suites.suite("unseen", 2, 0)
    bad = replace(bad, env={"kind": "http"})
    with Runner(Scripted(), Limits()) as runner, pytest.raises(InputError) as told:
        list(rollout([good, bad], runner))
    assert str(told.value).startswith(f"task {bad.id}: env.openapi: no path of an OpenAPI document; ")


def test_straight_into_eval(tmp_path: Path) -> None:
    with ModelServer(Expert(list(suites.suite("unseen", 4, 0)))) as server:
        got = pipe("tm rollout --policy gpt-4o --tasks unseen -n 4 | tm eval", tmp_path, server.env())
    assert got.returncode == 0, got.stderr
    assert json.loads(got.stdout.splitlines()[0])


def test_head_ends_it_quietly(tmp_path: Path) -> None:
    got = pipe("tm rollout --policy scripted -n 100000 | head -n 2", tmp_path, {})
    assert got.returncode == 0, got.stderr
    assert len(records(got.stdout)) == 2
    assert b"Traceback" not in got.stderr
    assert b"Error" not in got.stderr


@pytest.mark.slow
def test_a_local_model_plays(tmp_path: Path) -> None:
    line = (
        "tm rollout --policy tiny -n 2 --max-turns 2 --max-new-tokens 8 -o runs.jsonl && tm eval runs.jsonl"
    )
    got = pipe(line, tmp_path, {})
    assert got.returncode == 0, got.stderr
    for record in records((tmp_path / "runs.jsonl").read_bytes()):
        tokens = record["tokens"]
        assert len(tokens["ids"]) == len(tokens["mask"]) == len(tokens["logprobs"])


@pytest.mark.slow
@pytest.mark.skipif(not FTRL.exists(), reason="../shared/data/ftrl_dev.parquet is not there")
def test_real_tasks_with_their_own_tools(tmp_path: Path) -> None:
    """FTRL rows, a local model and the metrics, in one pipe as the README types it."""
    line = (
        f"tm tasks --from ftrl {FTRL} | tm rollout --policy tiny --tasks - --limit 3"
        " --max-turns 2 --max-new-tokens 8 | tm eval"
    )
    got = pipe(line, tmp_path, {})
    assert got.returncode == 0, got.stderr
    metrics = json.loads(got.stdout)["metrics"]
    assert metrics["n"] == 3
    # a random model calls nothing: FTRL's precision is 1 by definition, and recall and F1 are 0
    assert (metrics["solve_p"], metrics["solve_r"], metrics["solve_f1"]) == (1.0, 0.0, 0.0)
