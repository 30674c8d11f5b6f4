"""`tm eval --policy` and `--matrix`: what is played, in which cells, and what its numbers are."""

import json
import random
import signal
import subprocess
import sys
import time
from pathlib import Path
from subprocess import PIPE
from typing import Any

import pytest
from conftest import Tm, environment
from hypothesis import given, settings
from hypothesis import strategies as st

from tmcli import drift, suites
from tmcli.errors import UsageError
from tmcli.records import Json, Score, Task, Trajectory, decode
from tmcli.report.matrix import Matrix, curves, drawn, table
from tmcli.steps.matrix import cells, kinds_of, strengths_of
from tmcli.steps.tools.scaffold import start

KINDS = [*drift.KINDS, "all"]
WORDS = [f"{kind}@{strength}" for kind in KINDS for strength in ("0.5", "1")]

# ---- the cells ---------------------------------------------------------------------------------


def grid(seed: int = 0, n: int = 6) -> tuple[list[Task], list[Task]]:
    base = list(suites.suite("unseen", n, seed))
    return base, list(cells({"unseen": iter(base)}, KINDS, [0.5, 1.0], seed))


@settings(max_examples=10)
@given(st.integers(0, 1000))
def test_every_cell_holds_every_task(seed: int) -> None:
    base, played = grid(seed)
    assert len({task.id for task in played}) == len(played)  # nothing is played twice
    there = sorted((cell, task.tags["base"]) for task in played for cell in task.tags["cells"])
    assert there == sorted((cell, task.id) for cell in ["none", *WORDS] for task in base)


def test_a_cell_is_what_tm_tasks_makes_of_it() -> None:
    base, played = grid()
    by_id = {task.id: task for task in played}
    for task in base:
        assert by_id[task.id].tags["cells"][0] == "none"
        for word in WORDS:
            alone = drift.apply(task, [word], 0)
            one = by_id[alone.id]
            assert word in one.tags["cells"]
            assert one.env == alone.env
            assert one.tags == alone.tags | {key: one.tags[key] for key in ("set", "base", "cells")}


def test_all_cells_of_a_task_come_together_and_the_plain_one_first() -> None:
    base, played = grid()
    order = [task.tags["base"] for task in played]
    assert list(dict.fromkeys(order)) == [task.id for task in base]
    assert order == sorted(order, key=[task.id for task in base].index)
    assert [task.id for task in played if "none" in task.tags["cells"]] == [task.id for task in base]


def test_a_kind_with_nothing_to_change_leaves_the_plain_task() -> None:
    bare = next(suites.suite("seen", 1))
    function = {"name": "now", "description": "The hour.", "parameters": {"type": "object", "properties": {}}}
    tools = [{"type": "function", "function": function}]
    env = {"kind": "python", "tools": {}}
    task = Task(id="bare", messages=bare.messages, tools=tools, env=env, answer=["3"])
    plain, *others = cells({"mine": [task, task]}, ["stale", "decoy"], [1.0], seed=0)
    assert plain.tags["cells"] == ["none", "stale@1"]
    assert [one.tags["cells"] for one in others] == [["decoy@1"]]


@pytest.mark.parametrize(
    ("call", "problem"),
    [
        (lambda: kinds_of(["stale@0.5"]), "a matrix has strengths of its own; write --strengths 0.5,1"),
        (lambda: kinds_of(["stal"]), "no drift is named 'stal'; did you mean 'stale'"),
        (lambda: kinds_of(["none"]), "no drift is named 'none'"),
        (lambda: strengths_of(["much"]), "'much' is not a number"),
        (lambda: strengths_of(["0"]), "--strengths 0: one above 0 and at most 1 is due"),
        (lambda: strengths_of(["1.5"]), "one above 0 and at most 1 is due"),
        (lambda: strengths_of(["nan"]), "one above 0 and at most 1 is due"),
    ],
)
def test_wrong_words(call: Any, problem: str) -> None:
    with pytest.raises(UsageError, match=problem.replace("(", r"\(")):
        call()


# ---- the numbers -----------------------------------------------------------------------------------


def score(base: str, cell: list[str], correct: bool | None, sample: int = 0, **more: Any) -> Score:
    changed = "none" not in cell
    task_id = f"{base}-{cell[0]}" if changed else base
    known: Json = {"calls": 2, "errors": 1, "stop": "answer", "policy": {"name": "p"}} | more
    return Score(
        id=f"{task_id}#{sample}",
        task_id=task_id,
        correct=correct,
        scores={},
        tags={"set": "seen", "base": base, "cells": cell},
        **known,
    )


@given(st.integers(1, 12), st.integers(1, 3), st.integers(0, 2**32))
def test_a_row_is_the_mean_of_its_cell_and_of_the_differences(n: int, samples: int, seed: int) -> None:
    rng = random.Random(seed)
    right = {
        (cell, base): [rng.random() < 0.6 for _ in range(samples)]
        for cell in ("none", "wrap@0.5", "wrap@1")
        for base in range(n)
    }
    matrix = Matrix()
    for (cell, base), ones in right.items():
        for sample, one in enumerate(ones):
            matrix.add(score(str(base), [cell], one, sample))
    rows = matrix.rows()
    assert [(row["kind"], row["strength"]) for row in rows] == [("none", 0.0), ("wrap", 0.5), ("wrap", 1.0)]
    for row, cell in zip(rows, ("none", "wrap@0.5", "wrap@1"), strict=True):
        shares = [sum(right[cell, base]) / samples for base in range(n)]
        before = [sum(right["none", base]) / samples for base in range(n)]
        assert row["accuracy"] == pytest.approx(sum(shares) / n)
        assert row["interval"][0] - 1e-12 <= row["accuracy"] <= row["interval"][1] + 1e-12
        assert (row["n"], row["tasks"], row["changed"]) == (n * samples, n, 0 if cell == "none" else n)
        if cell == "none":
            assert row["difference"] is None
        else:
            assert row["difference"] == pytest.approx((sum(shares) - sum(before)) / n)
            assert 0 < row["p"] <= 1


def test_one_episode_counts_in_all_its_cells() -> None:
    matrix = Matrix()
    matrix.add(score("a", ["none", "format@1"], True))
    matrix.add(score("b", ["none"], True))
    matrix.add(score("b", ["format@1"], False))
    plain, formatted = matrix.rows()
    assert (plain["accuracy"], formatted["accuracy"]) == (1.0, 0.5)
    assert (formatted["changed"], formatted["difference"]) == (1, -0.5)


def test_invalid_and_unjudged_are_counted_apart() -> None:
    matrix = Matrix()
    matrix.add(score("a", ["none"], True))
    matrix.add(score("a", ["wrap@1"], None, stop="infrastructure"))
    matrix.add(score("b", ["wrap@1"], None))
    _, row = matrix.rows()
    assert (row["n"], row["invalid"], row["unjudged"]) == (0, 1, 1)
    assert row["accuracy"] is row["difference"] is row["p"] is None
    _, lines = table(matrix.rows())
    assert lines[1][3:8] == ["0", "-", "-", "-", "-"]
    assert drawn(matrix.rows(), 80) == ""  # no line has two points


def test_scores_without_cells_make_no_rows() -> None:
    matrix = Matrix()
    matrix.add(Score(id="a#0", task_id="a", correct=True, scores={}, calls=0, errors=0, stop="answer", tags={}, policy={}))  # fmt: skip  # noqa: E501
    assert matrix.rows() == []


def test_files_and_policies_have_rows_of_their_own() -> None:
    matrix = Matrix()
    for file in ("a", "b"):
        for cell in ("none", "wrap@1"):
            matrix.add(score("t", [cell], file == "a"), file)
    rows = matrix.rows()
    assert [(row["file"], row["kind"], row["accuracy"]) for row in rows] == [
        ("a", "none", 1.0),
        ("a", "wrap", 1.0),
        ("b", "none", 0.0),
        ("b", "wrap", 0.0),
    ]
    assert curves(rows) == {
        "a seen": {"wrap": [(0.0, 1.0), (1.0, 1.0)]},
        "b seen": {"wrap": [(0.0, 0.0), (1.0, 0.0)]},
    }


# ---- the command -----------------------------------------------------------------------------------


def run_record(data: bytes) -> dict[str, Any]:
    record: dict[str, Any] = json.loads(data)
    return record


def test_eval_plays_what_rollout_plays(tm: Tm, tmp_path: Path) -> None:
    asked = ("--policy", "scripted", "--tasks", "seen", "-n", "5", "--drift", "stale", "--samples", "2")
    one = tm("eval", *asked, "--keep", "kept.jsonl", "-o", "run.jsonl")
    assert one.returncode == 0, one.stderr
    two = tm("rollout", *asked, "-o", "runs.jsonl")
    assert two.returncode == 0, two.stderr
    assert (tmp_path / "kept.jsonl").read_bytes() == (tmp_path / "runs.jsonl").read_bytes()
    played, read = (
        run_record((tmp_path / "run.jsonl").read_bytes()),
        run_record(tm("eval", "runs.jsonl").stdout),
    )
    assert played["metrics"] == read["metrics"]
    assert played["provenance"] == read["provenance"]


def test_a_matrix_from_the_command_line(tm: Tm, tmp_path: Path) -> None:
    done = tm(
        "eval", "--policy", "scripted", "--matrix", "-n", "3", "--keep", "kept.jsonl", "-o", "run.jsonl"
    )
    assert done.returncode == 0, done.stderr
    metrics = run_record((tmp_path / "run.jsonl").read_bytes())["metrics"]
    rows = metrics["matrix"]
    assert [(row["set"], row["kind"], row["strength"]) for row in rows] == [
        (name, kind, strength)
        for name in ("seen", "unseen")
        for kind, strength in [("none", 0.0), *((kind, s) for kind in KINDS for s in (0.5, 1.0))]
    ]
    assert {row["n"] for row in rows} == {3}
    assert [group["by"] for group in metrics["groups"]] == [
        {"set": "seen"},
        {"set": "unseen"},
        {"set": "all"},
    ]
    assert not any(name.startswith("pass") for name in metrics)  # cells of a task are no samples of it
    told = done.stderr.decode()
    assert "accuracy by strength of drift: unseen" in told
    assert "undocument       0.5" in told
    again = tm("eval", "kept.jsonl")  # the file alone tells its matrix
    assert run_record(again.stdout)["metrics"]["matrix"] == rows
    assert b"accuracy by strength" not in tm("eval", "kept.jsonl", "-q").stderr


def test_a_stopped_matrix_goes_on(tm: Tm, tmp_path: Path) -> None:
    asked = (
        "eval",
        "--policy",
        "scripted",
        "--matrix",
        "-n",
        "2",
        "--drift",
        "rename,stale",
        "--tasks",
        "seen",
    )
    whole = tm(*asked, "--keep", "kept.jsonl")
    lines = (tmp_path / "kept.jsonl").read_bytes()
    parts = lines.splitlines(keepends=True)
    (tmp_path / "kept.jsonl").write_bytes(b"".join(parts[1:4]) + parts[4][:99])  # killed while it wrote
    refused = tm(*asked, "--keep", "kept.jsonl")
    assert refused.returncode == 2
    assert b"kept.jsonl" in refused.stderr
    rest = tm(*asked, "--keep", "kept.jsonl", "--resume")
    assert rest.returncode == 0, rest.stderr
    assert (tmp_path / "kept.jsonl").read_bytes() == lines
    assert run_record(rest.stdout)["metrics"] == run_record(whole.stdout)["metrics"]


def test_a_matrix_over_a_toolbox_of_ones_own(tm: Tm, tmp_path: Path) -> None:
    start(str(tmp_path / "mybox"))
    done = tm("eval", "--policy", "scripted", "--matrix", "--tasks", "mybox", "-n", "3", "--drift", "stale")
    assert done.returncode == 0, done.stderr
    matrix = run_record(done.stdout)["metrics"]["matrix"]
    assert [(row["set"], row["kind"], row["strength"], row["n"]) for row in matrix] == [
        ("mybox", "none", 0.0, 3),
        ("mybox", "stale", 0.5, 3),
        ("mybox", "stale", 1.0, 3),
    ]


@pytest.mark.slow
def test_a_matrix_over_tools_of_ones_own(tm: Tm, tmp_path: Path) -> None:
    (tmp_path / "mytools.py").write_text(
        "def double(number: int) -> int:\n"
        "    '''Twice a number.\n\n    Args:\n        number: Which.\n    '''\n"
        "    return 2 * number\n"
    )
    rows = b"".join(json.dumps({"query": f"Twice {i}?", "answer": 2 * i}).encode() + b"\n" for i in range(4))
    (tmp_path / "asked.jsonl").write_bytes(rows)
    made = tm("tasks", "asked.jsonl", "--tools", "mytools.py", "-o", "mine.jsonl")
    assert made.returncode == 0, made.stderr
    words = ("--policy", "tiny", "--max-turns", "1", "--max-new-tokens", "4")
    done = tm(
        "eval", *words, "--matrix", "--tasks", "mine.jsonl", "--drift", "rename,decoy", "--strengths", "1"
    )
    assert done.returncode == 0, done.stderr
    matrix = run_record(done.stdout)["metrics"]["matrix"]
    assert [(row["set"], row["kind"], row["n"], row["changed"]) for row in matrix] == [
        ("mine", "none", 4, 0),
        ("mine", "rename", 4, 4),
        ("mine", "decoy", 4, 4),
    ]


def test_the_policy_plays_the_tasks_of_the_cells(tm: Tm, tmp_path: Path) -> None:
    tm("eval", "--policy", "scripted", "--matrix", "-n", "1", "--drift", "all", "--keep", "kept.jsonl")
    kept = [decode(line) for line in (tmp_path / "kept.jsonl").read_bytes().splitlines()]
    assert len(kept) == 6  # two sets: plain, half and all
    for one in kept:
        assert isinstance(one, Trajectory)
        drifted = bool(one.task["env"].get("drift"))
        assert drifted == (one.task["tags"]["cells"] != ["none"])


def test_dry_run_plays_nothing(tm: Tm, tmp_path: Path) -> None:
    done = tm("eval", "--policy", "gpt-4o", "--matrix", "-n", "2", "--dry-run", "--keep", "kept.jsonl")
    assert done.returncode == 0, done.stderr
    assert b"nothing was asked" in done.stderr
    assert done.stdout == b""
    assert not list(tmp_path.iterdir())


def test_ctrl_c_says_what_becomes_of_what_was_played(tmp_path: Path) -> None:
    command = [
        sys.executable,
        "-m",
        "tmcli",
        "eval",
        "--policy",
        "scripted",
        "--tasks",
        "seen",
        "-n",
        "100000",
    ]
    env = environment({"TMPDIR": str(tmp_path)})
    with subprocess.Popen(command, cwd=tmp_path, env=env, stdout=PIPE, stderr=PIPE) as process:
        while not any(path.stat().st_size for path in tmp_path.glob("tm-eval-*/played.jsonl")):
            assert process.poll() is None
            time.sleep(0.02)
        process.send_signal(signal.SIGINT)
        _, told = process.communicate(timeout=60)
    assert process.returncode == 130
    assert b"what was played is lost; with --keep FILE it would be kept" in told
    assert b"--resume" not in told
    assert not list(tmp_path.iterdir())


def test_an_output_that_is_there_is_refused_before_anything_is_played(tm: Tm, tmp_path: Path) -> None:
    (tmp_path / "run.jsonl").write_text("mine")
    done = tm("eval", "--policy", "scripted", "-n", "2", "-o", "run.jsonl")
    assert done.returncode == 2
    assert b"episodes" not in done.stderr
    assert (tmp_path / "run.jsonl").read_text() == "mine"


@pytest.mark.parametrize(
    ("words", "problem"),
    [
        ("--matrix", "--matrix is for a policy that plays; name one with --policy"),
        ("runs.jsonl --tasks seen", "--tasks is for a policy that plays"),
        ("runs.jsonl -n 3", "--limit is for a policy that plays"),
        ("runs.jsonl --temperature 1", "--temperature is for a policy that plays"),
        ("runs.jsonl --dry-run", "--dry-run is for a policy that plays"),
        ("runs.jsonl --policy scripted", "FILE and --policy contradict each other"),
        ("--policy scripted --strengths 1", "--strengths is for --matrix; add it"),
        ("--policy scripted --resume", "--resume needs a file to continue; name one with --keep"),
        ("--policy scripted --matrix --drift stale@1", "a matrix has strengths of its own"),
        ("--policy scripted --tasks unsen", "did you mean 'unseen'"),
    ],
)
def test_usage(tm: Tm, words: str, problem: str) -> None:
    done = tm("eval", *words.split())
    assert done.returncode == 2
    assert problem in done.stderr.decode()
