"""`tm filter`: what passes, what is dropped, and why."""

import gzip
import json
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from conftest import Tm, environment
from trajectories import call, fault, lines, task, trajectory, turn

from tmcli.filters.rules import REASONS, Rule, duplicate, standard, too_long
from tmcli.records import Drop, Trajectory, decode
from tmcli.steps.filter import filter_trajectories

GOLDEN = Path(__file__).parent / "golden" / "trajectories.jsonl"


def reason(one: Trajectory, rules: Sequence[Rule] | None = None) -> Drop | None:
    return next((why for rule in rules or standard() if (why := rule(one)) is not None), None)


def without(played: Trajectory, index: int) -> Trajectory:
    return replace(played, messages=[m for i, m in enumerate(played.messages) if i != index])


# ---- one line a reason ---------------------------------------------------------------------------

WORK = turn("execution", call())
END = turn("execution")
USER = {"role": "user", "content": "?"}


@pytest.mark.parametrize(
    ("due", "played"),
    [
        (None, trajectory()),
        (None, trajectory([turn("trial", fault(), state="invalid"), WORK, END])),
        (None, trajectory([turn("execution", call(ok=False, reply="error")), WORK, END])),
        (None, trajectory([turn("execution", call(), state="repaired"), END])),
        ("invalid_status", trajectory(status="invalid", stop="infrastructure", prediction=None)),
        ("no_answer", trajectory(prediction=None, stop="max_turns")),
        ("no_answer", trajectory([WORK], prediction=None, stop="max_turns")),
        ("wrong_answer", trajectory(prediction="12")),
        ("wrong_answer", trajectory(prediction="12", reward=1.0, scores={"answer": 1.0})),
        ("unjudged", trajectory(task=task(answer=[]))),
        ("unjudged", trajectory(task=task(check="judge"))),
        ("no_calls", trajectory([END])),
        ("no_calls", trajectory([turn("trial", fault(), state="invalid"), END])),
        ("protocol", trajectory([turn("execution", call(), fault(), state="invalid"), END])),
        ("role_order", without(trajectory(), 1)),
        ("role_order", without(trajectory(), 3)),
        ("role_order", replace(trajectory(), messages=[*trajectory().messages, USER])),
        ("role_order", replace(trajectory(), messages=[])),
        ("unanswered_call", trajectory([turn("execution", call(reply=None), call()), END])),
        ("unanswered_call", trajectory([turn("execution", call(reply=None))])),
    ],
)
def test_reasons(due: str | None, played: Trajectory) -> None:
    assert reason(played) == due


def test_a_reply_to_no_call_is_unanswered_call() -> None:
    played = trajectory()
    played.messages[3]["tool_call_id"] = "call_9"
    assert reason(played) == "unanswered_call"


def test_a_call_answered_twice_is_unanswered_call() -> None:
    played = trajectory()
    played.messages.insert(4, played.messages[3])
    assert reason(played) == "unanswered_call"


def test_too_long_counts_the_dialogue() -> None:
    n = sum(len(message["content"]) for message in trajectory().messages)
    arguments = len('{"name_":"x"}') + len('{"title":"Emma"}')
    assert reason(trajectory(), [too_long(n + arguments)]) is None
    assert reason(trajectory(), [too_long(n + arguments - 1)]) == "too_long"


def test_duplicate_is_same_task_calls_and_answer() -> None:
    def same(**more: Any) -> Trajectory:
        return trajectory([turn("execution", call(a=1, b=2)), END], **more)

    rule = duplicate()
    assert reason(same(), [rule]) is None
    worded = turn("execution", call(b=2, a=1), content="<plan>said otherwise</plan>")
    assert reason(trajectory([worded, END], sample=1), [rule]) == "duplicate"
    assert reason(same(task=task(1)), [rule]) is None
    assert reason(same(prediction="x"), [rule]) is None
    assert reason(trajectory([turn("execution", call(a=1, b=3)), END]), [rule]) is None


def test_every_reason_can_be_kept() -> None:
    wrong_twice = [trajectory(prediction="x"), trajectory(prediction="x", sample=1)]
    kept = list(filter_trajectories(wrong_twice, standard(keep=REASONS), pytest.fail, pytest.fail))
    assert kept == wrong_twice


def test_a_dropped_twin_does_not_make_the_next_a_duplicate() -> None:
    dropped: list[str] = []
    twins = [without(trajectory(), 1), trajectory(sample=1)]
    kept = list(filter_trajectories(twins, standard(), lambda _, why: dropped.append(why), pytest.fail))
    assert (kept, dropped) == (twins[1:], ["role_order"])


# ---- the command ---------------------------------------------------------------------------------


def test_golden_survivors_byte_for_byte(tm: Tm) -> None:
    """The golden lines have odd spacing, unknown keys and one defect each but the first and last."""
    golden = GOLDEN.read_bytes().splitlines(keepends=True)
    result = tm("filter", GOLDEN, "--rejects", "dropped.jsonl")
    assert result.returncode == 0, result.stderr
    assert result.stdout == golden[0] + golden[-1]
    assert b"kept 2 of 6 trajectories; dropped: " in result.stderr


def test_rejects_say_why(tm: Tm, tmp_path: Path) -> None:
    tm("filter", GOLDEN, "--rejects", "dropped.jsonl", "-o", "kept.jsonl")
    dropped = [json.loads(line) for line in (tmp_path / "dropped.jsonl").read_bytes().splitlines()]
    assert [one["dropped"] for one in dropped] == ["wrong_answer", "unjudged", "invalid_status", "duplicate"]
    golden = [json.loads(line) for line in GOLDEN.read_bytes().splitlines()]
    assert [{**one, "dropped": ""} for one in dropped] == [{**one, "dropped": ""} for one in golden[1:5]]


def test_pipe_of_three(tmp_path: Path) -> None:
    """`tm filter FILE | tm filter - | tm filter`, as a shell runs it; with gzip in front."""
    text = lines(*(trajectory(task=task(i)) for i in range(5)))
    (tmp_path / "in.jsonl.gz").write_bytes(gzip.compress(text.encode()))
    tm = f"{sys.executable} -m tmcli"
    line = f"set -o pipefail; {tm} filter in.jsonl.gz | {tm} filter - | {tm} filter -q"
    result = subprocess.run(
        ["bash", "-c", line], cwd=tmp_path, env=environment(), capture_output=True, text=True
    )
    assert result.returncode == 0, result.stderr
    assert result.stdout == text
    assert result.stderr.count("kept 5 of 5") == 2


def test_several_files_share_the_memory_for_duplicates(tm: Tm, tmp_path: Path) -> None:
    for name in ("a.jsonl", "b.jsonl"):
        (tmp_path / name).write_text(lines(trajectory(), trajectory(task=task(int(name == "a.jsonl")))))
    result = tm("filter", "a.jsonl", "b.jsonl")
    assert result.stdout.decode() == lines(trajectory(), trajectory(task=task(1)))
    assert b"duplicate 2" in result.stderr


def test_parquet_and_back(tm: Tm, tmp_path: Path) -> None:
    text = lines(trajectory(), trajectory(task=task(1)))
    assert tm("filter", "-o", "x.parquet", input=text.encode()).returncode == 0
    assert tm("filter", "x.parquet").stdout.decode() == text
    assert tm("filter", "--to", "parquet", input=text.encode()).stdout[:4] == b"PAR1"


def test_nothing_kept_is_no_error(tm: Tm) -> None:
    result = tm("filter", input=lines(trajectory(prediction="x")).encode())
    assert (result.returncode, result.stdout) == (0, b"")
    assert b"nothing was kept" in result.stderr


def test_nothing_came(tm: Tm) -> None:
    result = tm("filter", input=b"")
    assert (result.returncode, result.stdout) == (0, b"")
    assert b"there were no trajectories" in result.stderr


def test_keep_unjudged(tm: Tm) -> None:
    """What a teacher did on tasks without golds can be kept."""
    text = lines(trajectory(task=task(answer=[])))
    assert tm("filter", input=text.encode()).stdout == b""
    assert tm("filter", "--keep", "unjudged", input=text.encode()).stdout.decode() == text


def test_unknown_reason(tm: Tm) -> None:
    result = tm("filter", "--keep", "unjudgd", input=b"")
    assert result.returncode == 2
    assert b"did you mean 'unjudged'?" in result.stderr


def test_another_kind_of_record(tm: Tm) -> None:
    result = tm("filter", input=json.dumps(task()).encode())
    assert result.returncode == 2
    assert b"stdin:1: kind: a task record where a trajectory" in result.stderr


def test_broken_lines_stop_or_are_set_aside(tm: Tm, tmp_path: Path) -> None:
    no_task = lines(replace(trajectory(), task={"id": "t"}))
    text = lines(trajectory()) + '{"kind": "traj\n' + no_task + lines(trajectory(prediction="x"))
    stopped = tm("filter", "-o", "kept.jsonl", input=text.encode())
    assert stopped.returncode == 2
    assert b"stdin:2: " in stopped.stderr
    assert not (tmp_path / "kept.jsonl").exists()
    result = tm("filter", "--skip-invalid", "--rejects", "aside.jsonl", input=text.encode())
    assert (result.returncode, result.stdout.decode()) == (0, lines(trajectory()))
    aside = (tmp_path / "aside.jsonl").read_text().splitlines()
    assert aside[:2] == ['{"kind": "traj', no_task.rstrip("\n")]
    assert json.loads(aside[2])["dropped"] == "wrong_answer"
    assert b"2 broken lines" in result.stderr


def test_a_task_that_is_none_is_named(tm: Tm) -> None:
    result = tm("filter", input=lines(replace(trajectory(), id="t#0", task={"id": "t"})).encode())
    assert result.returncode == 2
    assert b"task.kind: trajectory t#0: " in result.stderr


def test_output_is_never_overwritten(tm: Tm, tmp_path: Path) -> None:
    (tmp_path / "kept.jsonl").write_text("mine")
    result = tm("filter", "-o", "kept.jsonl", input=lines(trajectory()).encode())
    assert result.returncode == 2
    assert (tmp_path / "kept.jsonl").read_text() == "mine"
    assert tm("filter", "-o", "kept.jsonl", "--force", input=lines(trajectory()).encode()).returncode == 0
    assert isinstance(decode((tmp_path / "kept.jsonl").read_bytes().rstrip()), Trajectory)
