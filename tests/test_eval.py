"""`tm eval`: formulas, the summary, the table, thresholds."""

import json
import subprocess
import sys
from dataclasses import replace
from itertools import combinations
from math import isclose, sqrt
from pathlib import Path
from typing import Any

import pytest
from conftest import Tm, environment
from hypothesis import given
from hypothesis import strategies as st
from trajectories import call, lines, task, trajectory, turn

from tmcli.records import Run, Score, Trajectory, decode
from tmcli.report.statistics import Z_95, pass_at_k, wilson

# ---- formulas ------------------------------------------------------------------------------------


@given(st.integers(1, 500), st.data())
def test_wilson_ends_are_where_the_score_test_just_rejects(n: int, data: st.DataObject) -> None:
    """An independent way to the same interval: |share - p| = z sqrt(p (1 - p) / n) at both ends."""
    share = data.draw(st.integers(0, n)) / n
    low, high = wilson(share * n, n)
    assert 0 <= low <= share + 1e-12
    assert share - 1e-12 <= high <= 1
    for p in (low, high):
        assert isclose(abs(share - p), Z_95 * sqrt(max(0.0, p * (1 - p)) / n), abs_tol=1e-6)


@given(st.integers(1, 7), st.data())
def test_pass_at_k_is_the_share_of_draws_with_a_right_one(n: int, data: st.DataObject) -> None:
    c, k = data.draw(st.integers(0, n)), data.draw(st.integers(1, n))
    draws = list(combinations([i < c for i in range(n)], k))
    assert isclose(pass_at_k(n, c, k), sum(map(any, draws)) / len(draws), abs_tol=1e-12)


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
    chosen = summary(tm, "--k", "3", text=lines(*one, *other))
    assert [name for name in chosen if name.startswith("pass@")] == ["pass@3"]
    assert "pass@1" not in summary(tm, text=lines(played(0)))


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
    ],
)
def test_fail_under(tm: Tm, threshold: str, code: int, said: str) -> None:
    text = lines(played(0), played(1, right=False))
    result = tm("eval", "--fail-under", threshold, input=text.encode())
    assert result.returncode == code
    assert said in result.stderr.decode()
    assert bool(result.stdout) is (code < 2)  # the summary is written whatever the threshold says


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
