"""`tm eval --compare`: two runs task by task, and what does not compare."""

import json
from dataclasses import replace
from math import comb
from pathlib import Path
from typing import Any

import pytest
from conftest import Tm
from trajectories import call, lines, task, trajectory, turn

from tmcli.records import Trajectory, encode
from tmcli.report.compare import compare
from tmcli.report.paired import difference_interval, holm, sign_flip
from tmcli.report.tally import Tally
from tmcli.score import judge, score_of

LIMITS = {"max_turns": 12, "max_tokens": 8192}


def played(n: int, *, right: bool = True, sample: int = 0, split: str = "seen", **policy: Any) -> Trajectory:
    return trajectory(
        task=task(n, tags={"split": split}),
        sample=sample,
        policy={"name": "a", "limits": LIMITS} | policy,
        **({} if right else {"prediction": "something else"}),
    )


def write(folder: Path, **files: list[Trajectory]) -> None:
    for name, trajectories in files.items():
        (folder / f"{name}.jsonl").write_text(lines(*trajectories))


def compared(tm: Tm, *words: str) -> dict[str, Any]:
    result = tm("eval", "--compare", "a.jsonl", "b.jsonl", *words)
    assert result.returncode == 0, result.stderr
    (found,) = json.loads(result.stdout)["metrics"]["comparisons"]
    return dict(found)


# ---- what is compared ------------------------------------------------------------------------------


def test_right_in_all_samples_is_as_binary_as_right_in_one() -> None:
    """pass^2 is 0 or 1 of two samples; the single judgings of a judge are no metric of their own."""

    def run(*wrong: int) -> Tally:
        tally = Tally()
        for i in (0, 0, 1, 1, 2, 2, 3, 3):
            score = score_of(judge(played(i, right=i not in wrong)))
            tally.add(replace(score, scores={**score.scores, "sopr#1": 1.0}))
        return tally

    metrics = compare(run(0), run()).metrics
    assert metrics["pass^2"].interval == difference_interval([1, 0, 0, 0], is_binary=True)
    assert "sopr#1" not in metrics


def test_difference_interval_and_exact_test(tm: Tm, tmp_path: Path) -> None:
    """b is right where a is, and in six tasks more; a wins one: McNemar's test of 6 against 1."""
    a = [played(i, right=i < 4 or i == 11) for i in range(12)]
    b = [played(i, right=i < 10) for i in range(12)]
    write(tmp_path, a=a, b=list(reversed(b)))  # the order of the records says nothing
    found = compared(tm)
    assert (found["a"], found["b"]) == ("a", "b")
    accuracy = found["metrics"]["accuracy"]
    assert (accuracy["a"], accuracy["b"], accuracy["tasks"]) == (5 / 12, 10 / 12, 12)
    assert accuracy["difference"] == pytest.approx(5 / 12)
    assert accuracy["p"] == 2 * (comb(7, 0) + comb(7, 1)) / 2**7
    differences = [0] * 4 + [1] * 6 + [0, -1]
    assert accuracy["interval"] == list(difference_interval(differences, is_binary=True) or ())
    assert found["won"] == [played(i).task["id"] for i in range(4, 10)]
    assert found["lost"] == [played(11).task["id"]]
    assert found["left_out"] == 0
    assert found["metrics"]["calls"]["difference"] == 0
    assert found["metrics"]["calls"]["p"] == 1


def test_samples_of_a_task_are_one_pair(tm: Tm, tmp_path: Path) -> None:
    """A task counts once: the mean over its samples."""
    shares = [(1, 3), (2, 3), (0, 4), (4, 4), (2, 1)]
    for name, which in (("a", 0), ("b", 1)):
        some = [played(i, right=n < pair[which], sample=n) for i, pair in enumerate(shares) for n in range(4)]
        write(tmp_path, **{name: some})
    found = compared(tm)
    differences = [(b - a) / 4 for a, b in shares]
    accuracy = found["metrics"]["accuracy"]
    assert accuracy["tasks"] == 5
    assert accuracy["difference"] == pytest.approx(sum(differences) / 5)
    assert accuracy["p"] == sign_flip(differences)
    assert accuracy["interval"] == pytest.approx(difference_interval(differences))
    assert (len(found["won"]), len(found["lost"])) == (3, 1)
    assert {"pass@2", "pass^4"} < set(found["metrics"])


def test_a_task_under_several_drifts_has_no_pass_at_k(tm: Tm, tmp_path: Path) -> None:
    """Its episodes are of different tasks, made of one: they are one pair, and no samples."""

    def drifted(n: int, right: bool) -> Trajectory:
        one = played(n, right=right)
        tags = {**one.task["tags"], "base": f"t{n // 2}"}
        return replace(one, task={**one.task, "tags": tags})

    write(tmp_path, a=[drifted(n, True) for n in range(8)], b=[drifted(n, n < 6) for n in range(8)])
    found = compared(tm)
    assert found["metrics"]["accuracy"]["tasks"] == 4
    assert not any(name.startswith("pass") for name in found["metrics"])


def test_numbers_that_are_not_shares(tm: Tm, tmp_path: Path) -> None:
    def with_calls(n: int, n_calls: int) -> Trajectory:
        turns = [turn("execution", *(call(x=i) for i in range(n_calls))), turn("execution")]
        return trajectory(turns, task=task(n), policy={"name": "a", "limits": LIMITS})

    made = [(1, 2), (3, 4), (2, 5), (1, 1)]
    for name, which in (("a", 0), ("b", 1)):
        write(tmp_path, **{name: [with_calls(i, pair[which]) for i, pair in enumerate(made)]})
    calls = compared(tm)["metrics"]["calls"]
    assert (calls["a"], calls["b"], calls["difference"], calls["p"]) == (1.75, 3.0, 1.25, 0.25)
    assert calls["interval"] == list(difference_interval([1, 1, 3, 0]) or ())


def test_groups_are_adjusted_for_their_number(tm: Tm, tmp_path: Path) -> None:
    def some(n_right: int, split: str) -> list[Trajectory]:
        start = 0 if split == "seen" else 100
        return [played(start + i, right=i < n_right, split=split) for i in range(8)]

    write(tmp_path, a=some(1, "seen") + some(4, "unseen"), b=some(7, "seen") + some(4, "unseen"))
    found = compared(tm, "--by", "split")
    parts = {part["by"]["split"]: part for part in found["groups"]}
    assert list(parts) == ["seen", "unseen"]
    ps = [part["metrics"]["accuracy"]["p"] for part in parts.values()]
    assert ps == [2 / 2**6, 1.0]
    assert [part["p_holm"]["accuracy"] for part in parts.values()] == holm(ps)


def test_what_a_person_reads(tm: Tm, tmp_path: Path) -> None:
    write(
        tmp_path,
        a=[played(i, right=i < 3) for i in range(20)],
        b=[played(i, right=i < 15) for i in range(20)],
    )
    result = tm("eval", "--compare", "a.jsonl", "b.jsonl", "--github", "summary.md")
    text = result.stderr.decode()
    rows = [line.split() for line in text.splitlines()]
    assert ["metric", "tasks", "of", "n", "a", "b", "difference", "[95", "%]", "p"] in rows
    accuracy = next(row for row in rows if row[:3] == ["accuracy", "all", "20"])
    assert accuracy[3:6] == ["15.0%", "75.0%", "+60.0%"]
    assert accuracy[-1] == "0.000488"
    assert "b is better at 12 tasks: " in text
    assert "a is better at 0 tasks\n" in text
    assert max(map(len, text.splitlines())) <= 120
    assert "**b less a, task by task**" in (tmp_path / "summary.md").read_text()


def test_same_input_same_bytes(tm: Tm, tmp_path: Path) -> None:
    write(tmp_path, a=[played(i, right=i % 3 > 0) for i in range(30)])
    write(tmp_path, b=[played(i, right=i % 5 > 0) for i in range(30)])
    assert compared(tm) == compared(tm)


def test_several_files_are_each_held_against_the_first(tm: Tm, tmp_path: Path) -> None:
    for name, n in (("base", 2), ("sft", 4), ("rl", 6)):
        write(tmp_path, **{name: [played(i, right=i < n) for i in range(8)]})
    result = tm("eval", "--compare", "base.jsonl", "sft.jsonl", "rl.jsonl")
    found = json.loads(result.stdout)["metrics"]["comparisons"]
    assert [(one["a"], one["b"]) for one in found] == [("base", "sft"), ("base", "rl")]
    assert [one["metrics"]["accuracy"]["difference"] for one in found] == [0.25, 0.5]


def test_scores_compare_as_their_trajectories_do(tm: Tm, tmp_path: Path) -> None:
    for name, n in (("a", 2), ("b", 5)):
        write(tmp_path, **{name: [played(i, right=i < n) for i in range(8)]})
    before = compared(tm)
    for name, n in (("a", 2), ("b", 5)):
        scores = [encode(score_of(judge(played(i, right=i < n)))) for i in range(8)]
        (tmp_path / f"{name}.jsonl").write_bytes(b"\n".join(scores) + b"\n")
    assert compared(tm) == before


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (["--fail-under", "accuracy.diff=0.2"], 0, ""),
        (["--fail-under", "accuracy.diff=0.3"], 1, "b: accuracy.diff is 0.25, below 0.3"),
        (["--fail-under", "accuracy.diff.low=0"], 1, "b: accuracy.diff.low is -0.1"),
        (["--fail-over", "calls.diff=0"], 0, ""),
    ],
)
def test_thresholds_of_differences(tm: Tm, tmp_path: Path, words: list[str], code: int, said: str) -> None:
    write(tmp_path, a=[played(i, right=i < 4) for i in range(8)])
    write(tmp_path, b=[played(i, right=i < 6) for i in range(8)])
    result = tm("eval", "--compare", "a.jsonl", "b.jsonl", *words)
    assert (result.returncode, said in result.stderr.decode()) == (code, True), result.stderr


# ---- what does not compare -------------------------------------------------------------------------

SMALL = {"max_turns": 4, "max_tokens": 8192}


@pytest.mark.parametrize(
    ("other", "said"),
    [
        (
            {"limits": SMALL},
            'limits ({"max_tokens":8192,"max_turns":12} in a, {"max_tokens":8192,"max_turns":4}',
        ),
        ({"simulate": True}, "simulator (none in a, true in b)"),
    ],
)
def test_runs_under_other_terms_are_refused(tm: Tm, tmp_path: Path, other: dict[str, Any], said: str) -> None:
    write(tmp_path, a=[played(i) for i in range(4)], b=[played(i, **other) for i in range(4)])
    result = tm("eval", "--compare", "a.jsonl", "b.jsonl")
    assert (result.returncode, result.stdout) == (2, b"")
    assert said in result.stderr.decode()
    assert b"--force-compare" in result.stderr
    assert compared(tm, "--force-compare")["metrics"]["accuracy"]["difference"] == 0
    side_by_side = tm("eval", "a.jsonl", "b.jsonl")
    assert side_by_side.returncode == 0
    assert b"warning: a and b differ in" in side_by_side.stderr


def test_other_tasks_are_refused(tm: Tm, tmp_path: Path) -> None:
    write(tmp_path, a=[played(i) for i in range(5)], b=[played(i, right=i < 4) for i in range(2, 9)])
    result = tm("eval", "--compare", "a.jsonl", "b.jsonl")
    assert (result.returncode, result.stdout) == (2, b"")
    assert b"they differ in tasks (5 tasks, " in result.stderr
    assert b"3 tasks are in both" in result.stderr
    found = compared(tm, "--force-compare")
    assert (found["metrics"]["accuracy"]["tasks"], found["left_out"]) == (3, 6)
    assert b"warning" not in tm("eval", "a.jsonl", "b.jsonl").stderr  # train beside unseen is no fault


def test_another_judge_is_refused(tm: Tm, tmp_path: Path) -> None:
    for name in ("a", "b"):
        score = json.loads(encode(score_of(judge(played(0)))))
        score["judge"] = {"model": f"judge-{name}", "rules": "0123"}
        (tmp_path / f"{name}.jsonl").write_text(json.dumps(score) + "\n")
    result = tm("eval", "--compare", "a.jsonl", "b.jsonl")
    assert result.returncode == 2
    told = 'judge ({"model":"judge-a","rules":"0123"} in a, {"model":"judge-b","rules":"0123"} in b)'
    assert told in result.stderr.decode()


@pytest.mark.parametrize(
    "words",
    [
        ["--compare", "a.jsonl"],
        ["--compare", "a.jsonl", "a.jsonl"],
        ["--force-compare", "a.jsonl", "b.jsonl"],
        ["--compare", "--scores", "a.jsonl", "b.jsonl"],
    ],
)
def test_wrong_usage(tm: Tm, tmp_path: Path, words: list[str]) -> None:
    write(tmp_path, a=[played(0)], b=[played(0)])
    result = tm("eval", *words)
    assert (result.returncode, result.stdout) == (2, b"")


def test_what_was_simulated_says_so(tm: Tm, tmp_path: Path) -> None:
    """The trajectory itself tells of the simulator: nothing else would, in a file of last month."""
    tm("rollout", "--policy", "scripted", "--limit", "1", "--simulate", "-o", "a.jsonl")
    tm("rollout", "--policy", "scripted", "--limit", "1", "-o", "b.jsonl")
    policies = [json.loads((tmp_path / f"{name}.jsonl").read_bytes())["policy"] for name in ("a", "b")]
    assert [policy.get("simulate") for policy in policies] == [True, None]
