"""`tm eval`: the summary, the table, thresholds."""

import json
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
from conftest import Tm, environment
from trajectories import call, lines, task, trajectory, turn

from tmcli.records import Run, Score, Trajectory, decode
from tmcli.report.statistics import mean_interval, share_interval, wilson

# ---- the summary ---------------------------------------------------------------------------------


def played(
    n: int, *, right: bool = True, split: str = "seen", drift: tuple[str, ...] = (), **more: Any
) -> Trajectory:
    known: dict[str, Any] = {} if right else {"prediction": "something else"}
    tags = {"split": split, "drift": list(drift)}
    return trajectory(task=task(n, answer=[f"{n} {split} {'+'.join(drift)}"], tags=tags), **(known | more))


def invalid(n: int) -> Trajectory:
    return played(n, status="invalid", stop="infrastructure", prediction=None, failure="no server")


def summary(tm: Tm, *words: str, text: str = "") -> dict[str, Any]:
    result = tm("eval", *words, input=text.encode())
    assert result.returncode == 0, result.stderr
    run = decode(result.stdout.rstrip())
    assert isinstance(run, Run)
    assert run.step == "eval"
    return run.metrics


def test_accuracy_with_interval_by_split_and_drift(tm: Tm) -> None:
    some = [played(i, right=i < 3) for i in range(4)]
    more = [played(i, right=i < 1, split="unseen", drift=("stale",)) for i in range(4)]
    metrics = summary(tm, text=lines(*some, *more))
    assert (metrics["n"], metrics["right"], metrics["accuracy"]) == (8, 4, 0.5)
    assert metrics["interval"] == list(wilson(4, 8))
    rows = {(g["by"]["split"], g["by"]["drift"]): g for g in metrics["groups"]}
    assert list(rows) == [("seen", "none"), ("unseen", "stale"), ("all", "all")]
    assert [g["accuracy"] for g in rows.values()] == [0.75, 0.25, 0.5]
    assert rows["unseen", "stale"]["interval"] == list(wilson(1, 4))
    assert [g["total"] for g in rows.values()] == [False, False, True]


def test_invalid_and_unjudged_are_counted_apart(tm: Tm) -> None:
    nobody_knows = trajectory(task=task(9, answer=[]))
    metrics = summary(tm, text=lines(played(0), played(1, right=False), invalid(2), invalid(3), nobody_knows))
    assert (metrics["n"], metrics["accuracy"], metrics["invalid"], metrics["unjudged"]) == (2, 0.5, 2, 1)
    assert metrics["calls"] == 2.0  # the mean over the three valid ones
    assert metrics["stops"] == {"answer": 3, "infrastructure": 2}


def test_only_invalid_has_no_accuracy(tm: Tm) -> None:
    assert summary(tm, text=lines(invalid(0)))["accuracy"] is None


def test_pass_at_k(tm: Tm) -> None:
    one = [played(0, sample=i, right=i < 1) for i in range(4)]
    other = [played(1, sample=i, right=i < 3) for i in range(4)]
    metrics = summary(tm, text=lines(*one, *other))
    assert metrics["pass@1"] == metrics["accuracy"] == 0.5
    assert metrics["pass@2"] == (0.5 + 1.0) / 2
    assert metrics["pass@4"] == 1.0
    assert metrics["interval"] == list(wilson(1, 2))  # two tasks, not eight independent throws
    assert [metrics[f"pass^{k}"] for k in (1, 2, 4)] == [0.5, 0.25, 0.0]
    assert metrics["intervals"]["pass^2"] == list(share_interval([1, 1], [0.0, 0.5], 8) or ())
    chosen = summary(tm, "--k", "3", text=lines(*one, *other))
    assert [name for name in chosen if name.startswith("pass")] == ["pass@3", "pass^3"]
    assert "pass@1" not in summary(tm, text=lines(played(0)))


def test_every_number_has_an_interval(tm: Tm) -> None:
    """Samples of a task are one cluster; two samples of three tasks say what three tasks say."""
    some = [played(i, sample=n, right=i < 2, **usage(10 * i)) for i in range(3) for n in range(2)]
    metrics = summary(tm, text=lines(*some))
    ends = metrics["intervals"]
    assert ends["accuracy"] == metrics["interval"] == list(wilson(2, 3))
    assert ends["completion_tokens"] == list(mean_interval([1] * 3, [0, 10, 20]) or ())
    assert ends["trial_share"] == [0.5, 0.5]
    assert {"reward", "calls", "errors", "turns", "useful_share", "format"} < set(ends)
    assert "solve_f1" not in ends  # nothing is known of it
    assert metrics["totals"]["calls"] == 12
    assert metrics["totals"]["tokens"] == 6 * 90 + 2 * (0 + 10 + 20)
    assert metrics["totals"]["cost"] in (None, 0.0)


def usage(tokens: int) -> dict[str, Any]:
    return {"usage": {"prompt_tokens": 90, "completion_tokens": tokens, "turns": 3}}


def test_one_task_under_several_drifts_is_one_cluster(tm: Tm) -> None:
    """Tasks that differ in their drift alone name the task before it in their tag `base`."""
    drifts = ("none", "stale", "rename")
    same = [played(i, right=i < 2, drift=(drift,)) for i in range(4) for drift in drifts]
    text = lines(*(replace(one, task=with_base(one, i // 3)) for i, one in enumerate(same)))
    metrics = summary(tm, text=text)
    assert metrics["tasks"] == 4
    assert metrics["interval"] == list(wilson(2, 4))
    assert summary(tm, text=lines(*same))["interval"] == list(wilson(6, 12))


def with_base(one: Trajectory, base: int) -> dict[str, Any]:
    return {**one.task, "tags": {**one.task["tags"], "base": f"task{base}"}}


def test_seeds_are_told_together(tm: Tm, tmp_path: Path) -> None:
    for seed, n in enumerate((5, 6, 7)):
        who = {"name": "model", "sampling": {"temperature": 1.0, "seed": seed}}
        text = lines(*(played(i, right=i < n, policy=who) for i in range(10)))
        (tmp_path / f"s{seed}.jsonl").write_text(text)
    result = tm("eval", "s0.jsonl", "s1.jsonl", "s2.jsonl")
    (family,) = json.loads(result.stdout)["metrics"]["seeds"]
    assert (family["policy"], family["runs"]) == ("model", ["0", "1", "2"])
    found = family["metrics"]["accuracy"]
    assert (found["mean"], found["sd"]) == pytest.approx((0.6, 0.1))
    assert found["interval"] == pytest.approx(list(mean_interval([1] * 3, [0.5, 0.6, 0.7]) or ()))
    assert b"model: 3 seeds (0, 1, 2)" in result.stderr
    one_file = b"".join((tmp_path / f"s{seed}.jsonl").read_bytes() for seed in range(3))
    (pooled,) = json.loads(tm("eval", input=one_file).stdout)["metrics"]["seeds"]
    assert pooled == family


def test_files_may_be_the_seeds_of_one_training(tm: Tm, tmp_path: Path) -> None:
    for seed, n in enumerate((5, 7)):
        text = lines(*(played(i, right=i < n, policy={"name": f"ckpt/{seed}"}) for i in range(10)))
        (tmp_path / f"s{seed}.jsonl").write_text(text)
    assert "seeds" not in json.loads(tm("eval", "s0.jsonl", "s1.jsonl").stdout)["metrics"]
    (family,) = json.loads(tm("eval", "--seeds", "s0.jsonl", "s1.jsonl").stdout)["metrics"]["seeds"]
    assert (family["policy"], family["runs"]) == ("ckpt/0, ckpt/1", ["s0", "s1"])
    assert family["metrics"]["accuracy"]["mean"] == pytest.approx(0.6)
    assert b"--seeds takes several files" in tm("eval", "--seeds", "s0.jsonl").stderr


def test_phases(tm: Tm) -> None:
    turns = [
        turn("trial", call(x=1, ok=False, reply="error"), call(x=1, ok=False, reply="error")),
        turn("execution", call(title="Emma"), call(title="Ada", reply="2")),
        turn("execution"),
    ]
    metrics = summary(tm, text=lines(trajectory(turns)))
    assert (metrics["calls"], metrics["errors"], metrics["turns"]) == (4, 2, 3)
    assert (metrics["trial_share"], metrics["useful_share"], metrics["wasted_share"]) == (0.5, 0.5, 0.5)
    assert (metrics["prompt_tokens"], metrics["completion_tokens"]) == (90, 30)


def test_solve_is_averaged_over_items(tm: Tm) -> None:
    half = trajectory(task=task(0, subgoals={"find_book": ['"id": 1']}))  # c 2, n 1, s 1
    none = trajectory([turn("execution")], task=task(1, subgoals={"find_book": ["a", "b"]}))  # c 0, n 2, s 0
    metrics = summary(tm, text=lines(half, none, trajectory(task=task(2))))
    assert metrics["solve_p"] == (0.5 + 1.0) / 2
    assert metrics["solve_r"] == (1.0 + 0.0) / 2
    assert metrics["solve_f1"] == pytest.approx((2 / 3 + 0.0) / 2)


def test_by(tm: Tm) -> None:
    text = lines(played(0), played(1, right=False))
    metrics = summary(tm, "--by", "hops,toolbox", text=text)
    assert [g["by"] for g in metrics["groups"]] == [{"hops": "2", "toolbox": "library"}]
    result = tm("eval", "--by", "hop", input=text.encode())
    assert b"no task has this tag; did you mean 'hops'?" in result.stderr


def test_same_input_same_numbers(tm: Tm) -> None:
    text = lines(*(played(i, right=i % 3 > 0) for i in range(7)))
    assert summary(tm, text=text) == summary(tm, text=text)


# ---- scores, files, the table ----------------------------------------------------------------------


def test_scores_come_out_and_go_in_again(tm: Tm) -> None:
    text = lines(*(played(i, right=i < 2) for i in range(3)), invalid(3))
    result = tm("eval", "--scores", input=text.encode())
    scores = [decode(line) for line in result.stdout.splitlines()]
    assert [(s.correct, s.calls, s.errors) for s in scores if isinstance(s, Score)] == [
        (True, 2, 1),
        (True, 2, 1),
        (False, 2, 1),
        (None, 2, 1),
    ]
    assert summary(tm, text=result.stdout.decode()) == summary(tm, text=text)


def test_stored_rewards_are_not_trusted(tm: Tm) -> None:
    lied = replace(played(0, right=False), reward=5.0, scores={"answer": 1.0})
    metrics = summary(tm, text=lines(lied))
    assert (metrics["accuracy"], metrics["reward"]) == (0.0, pytest.approx(0.25))
    assert summary(tm, "--reward", "answer=1", text=lines(lied))["reward"] == 0.0


@pytest.mark.parametrize("words", ["--policy scripted --keep x.jsonl", "--html ./x.jsonl", "--junit x.jsonl"])
def test_outputs_of_one_name_are_refused(tm: Tm, tmp_path: Path, words: str) -> None:
    """Before anything is played or written: one would take the other's place."""
    files = [] if "--policy" in words else ["runs.jsonl"]
    (tmp_path / "runs.jsonl").write_text(lines(played(0, right=True)))
    result = tm("eval", *files, *words.split(), "-o", "x.jsonl", "--force")
    assert result.returncode == 2
    assert b"x.jsonl is named for two outputs; give each a file of its own" in result.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["runs.jsonl"]


def test_files_are_compared(tm: Tm, tmp_path: Path) -> None:
    """The last table of the demo: base, sft, rl by seen and unseen, files in the order they were named."""
    for name, n in (("base", 1), ("sft", 6), ("rl", 9)):
        some = [played(i, right=i < n, split=split) for split in ("seen", "unseen") for i in range(10)]
        (tmp_path / f"{name}.jsonl").write_text(lines(*some))
    result = tm("eval", "base.jsonl", "sft.jsonl", "rl.jsonl", "-o", "table.jsonl")
    assert (result.returncode, result.stdout) == (0, b"")
    text = result.stderr.decode().splitlines()
    table = [line.split() for line in text]
    assert table[0][:7] == ["file", "split", "drift", "n", "accuracy", "[95", "%]"]
    assert [row[:5] for row in table[1:]] == [
        ["base", "seen", "none", "10", "10.0%"],
        ["base", "unseen", "none", "10", "10.0%"],
        ["base", "all", "none", "20", "10.0%"],
        ["sft", "seen", "none", "10", "60.0%"],
        ["sft", "unseen", "none", "10", "60.0%"],
        ["sft", "all", "none", "20", "60.0%"],
        ["rl", "seen", "none", "10", "90.0%"],
        ["rl", "unseen", "none", "10", "90.0%"],
        ["rl", "all", "none", "20", "90.0%"],
    ]
    assert len({line.index("]") for line in text[1:]}) == 1  # aligned
    assert max(map(len, text)) <= 120
    record = decode((tmp_path / "table.jsonl").read_bytes().rstrip())
    assert isinstance(record, Run)
    assert record.options["files"] == ["base.jsonl", "sft.jsonl", "rl.jsonl"]
    assert record.counts == {"trajectories": 60, "invalid": 0, "unjudged": 0}


def test_several_policies_in_one_file_are_told_apart(tm: Tm) -> None:
    text = lines(played(0, policy={"name": "a"}), played(0, right=False, policy={"name": "b"}))
    metrics = summary(tm, text=text)
    assert [(g["by"]["policy"], g["accuracy"]) for g in metrics["groups"]] == [("a", 1.0), ("b", 0.0)]
    assert "accuracy" not in metrics  # there is no one number for two policies


def test_summary_goes_on_in_a_pipe(tmp_path: Path) -> None:
    tm = f"{sys.executable} -m tmcli"
    (tmp_path / "in.jsonl").write_text(lines(played(0), played(1, right=False)))
    line = (
        f"set -o pipefail; {tm} filter < in.jsonl | {tm} eval --fail-under 1 | {sys.executable} -m json.tool"
    )
    result = subprocess.run(
        ["bash", "-c", line], cwd=tmp_path, env=environment(), capture_output=True, text=True
    )
    assert result.returncode == 0, result.stderr
    assert json.loads(result.stdout)["metrics"]["accuracy"] == 1.0


# ---- thresholds and bad input ----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("threshold", "code", "said"),
    [
        ("0.5", 0, ""),
        ("0.6", 1, "accuracy is 0.5, below 0.6"),
        ("reward=0.1", 0, ""),
        ("solve_f1=0.1", 1, "solve_f1 is not known, 0.1 is due"),
        ("acuracy=1", 2, "did you mean 'accuracy'?"),
        ("high", 2, "'high' is not a number"),
        ("nan", 2, "'nan' is not a number"),
        ("accuracy.low=0.09", 0, ""),
        ("accuracy.low=0.2", 1, "accuracy.low is 0.09453, below 0.2"),
        ("calls.high=2", 0, ""),
        ("pass^4=0.5", 1, "pass^4 is not known, 0.5 is due"),
        ("accuracy.diff=0", 2, "add --compare"),
    ],
)
def test_fail_under(tm: Tm, threshold: str, code: int, said: str) -> None:
    text = lines(played(0), played(1, right=False))
    result = tm("eval", "--fail-under", threshold, input=text.encode())
    assert result.returncode == code
    assert said in result.stderr.decode()
    assert bool(result.stdout) is (code < 2)  # the summary is written whatever the threshold says


def test_several_thresholds(tm: Tm) -> None:
    text = lines(played(0), played(1, right=False)).encode()
    words = ["--fail-under", "0.6,reward=0.1", "--fail-over", "errors=0.5"]
    result = tm("eval", *words, input=text)
    assert result.returncode == 1
    assert b"accuracy is 0.5, below 0.6; errors is 1, above 0.5" in result.stderr
    assert tm("eval", "--fail-over", "errors=1", input=text).returncode == 0


def test_junit(tm: Tm, tmp_path: Path) -> None:
    """As a CI server reads it: thresholds first, then each trajectory; hostile words stay words."""
    hostile = "a\x1b[31m<b>&\ufffe"
    named = replace(played(3), id=f"{hostile}#0")
    text = lines(played(0), played(1, right=False), invalid(2), named, trajectory(task=task(9, answer=[])))
    words = ["--junit", "out/junit.xml", "--fail-under", "0.5", "--fail-over", "calls=1"]
    result = tm("eval", *words, input=text.encode())
    assert result.returncode == 1
    root = ElementTree.parse(tmp_path / "out" / "junit.xml").getroot()
    suites = {suite.get("name"): suite for suite in root}
    counts = [{key: suite.get(key) for key in ("tests", "failures", "errors", "skipped")} for suite in root]
    assert counts == [
        {"tests": "2", "failures": "1", "errors": "0", "skipped": "0"},
        {"tests": "5", "failures": "1", "errors": "1", "skipped": "1"},
    ]
    over = suites["thresholds"][1].find("failure")
    assert over is not None
    assert over.get("message") == "calls is 2, above 1"
    cases = list(suites["trajectories"])
    assert [child.tag for case in cases for child in case] == ["failure", "error", "skipped"]
    assert cases[3].get("name") == "a\ufffd[31m<b>&\ufffd#0"
    assert cases[0].get("classname") == "library.seen"
    assert b"use --force" in tm("eval", *words, input=text.encode()).stderr


def test_github_summary(tm: Tm, tmp_path: Path) -> None:
    """Appended, as a step's summary is; words of records open no markup."""
    (tmp_path / "summary.md").write_text("before\n")
    text = lines(*(played(i, split=split) for i in range(2) for split in ("seen", "<b>|[x](http://y)")))
    assert tm("eval", "--github", "summary.md", "--fail-under", "0.5", input=text.encode()).returncode == 0
    told = (tmp_path / "summary.md").read_text()
    assert told.startswith("before\n### tm eval\n\n- ✅ accuracy is 1, within 0.5\n\n| split | drift | n |")
    assert "| &lt;b>\\|\\[x](http\\://y) | none | 2 | 100.0% \\[34.2, 100.0] |" in told
    assert not re.search(r"(?<!\\)\[|<b>", told)


def test_empty_input(tm: Tm, tmp_path: Path) -> None:
    result = tm("eval", "-o", "summary.jsonl", input=b"")
    assert (result.returncode, result.stdout) == (2, b"")
    assert b"no trajectories" in result.stderr
    assert not (tmp_path / "summary.jsonl").exists()


def test_another_kind_of_record(tm: Tm) -> None:
    result = tm("eval", input=json.dumps(task()).encode())
    assert result.returncode == 2
    assert b"a task record where a trajectory or score record is due" in result.stderr


@pytest.mark.parametrize("words", [["--k", "0"], ["--k", "two"], ["--reward", "anser=1"]])
def test_wrong_usage(tm: Tm, words: list[str]) -> None:
    result = tm("eval", *words, input=lines(played(0)).encode())
    assert (result.returncode, result.stdout) == (2, b"")


def test_broken_lines_can_be_set_aside(tm: Tm) -> None:
    text = "{}\n" + lines(played(0), replace(played(1), task={}))
    assert tm("eval", input=text.encode()).returncode == 2
    assert summary(tm, "--skip-invalid", text=text)["n"] == 1


@pytest.mark.parametrize(
    ("dataset", "golds"),
    [
        ("bfcl", {"ground_truth": "x", "takes": {"f": {}}}),
        ("restbench", {"path": 5}),
        ("rotbench", {"ground_truth": [{"f": 1}]}),
        ("toolhop", {"ground_truth": [5]}),
    ],
)
def test_golds_of_another_form_are_told_or_set_aside(tm: Tm, dataset: str, golds: dict[str, Any]) -> None:
    strange = trajectory(task=task(2, tags={"dataset": dataset, "category": "simple"}) | golds)
    text = lines(played(0), strange)
    result = tm("eval", input=text.encode())
    assert (result.returncode, result.stdout) == (2, b"")
    assert f"golds of {dataset} cannot be read".encode() in result.stderr
    assert summary(tm, "--skip-invalid", text=text)["n"] == 1
