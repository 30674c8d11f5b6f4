"""A balanced part: every limit holds, nothing is left out that had room, and the order of choice."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest
from conftest import Tm
from hypothesis import given
from hypothesis import strategies as st
from trajectories import call, lines, task, trajectory, turn

from tmcli.filters.balance import Balance
from tmcli.filters.facts import Facts
from tmcli.records import Trajectory


def facts(
    task: str = "t", calls: int = 0, length: int = 9, tools: tuple[str, ...] = ("find",), drift: str = "none"
) -> Facts:
    return Facts(task, "library", "2", drift, tools, length, calls)


def balanced(survivors: list[Facts], **limits: int | None) -> list[str | None]:
    balance = Balance(**limits)
    for one in survivors:
        balance.add(one)
    return list(balance.chosen())


def taken(survivors: list[Facts], **limits: int | None) -> list[int]:
    return [i for i, reason in enumerate(balanced(survivors, **limits)) if reason is None]


some = st.builds(
    facts,
    task=st.sampled_from("abcd"),
    calls=st.integers(0, 3) | st.just(2**64 - 1),
    length=st.integers(1, 4),
    tools=st.sets(st.sampled_from(["find", "book", "loan"])).map(lambda names: tuple(sorted(names))),
    drift=st.sampled_from(["none", "stale", "rename+stale"]),
)
limit = st.none() | st.integers(1, 4)


@given(st.lists(some, max_size=30), limit, limit, limit)
def test_limits_hold_and_who_is_left_out_had_no_room(
    survivors: list[Facts], per_task: int | None, per_tool: int | None, per_stratum: int | None
) -> None:
    reasons = balanced(survivors, per_task=per_task, per_tool=per_tool, per_stratum=per_stratum)
    assert len(reasons) == len(survivors)
    kept = [one for one, reason in zip(survivors, reasons, strict=True) if reason is None]
    tasks = Counter(one.task for one in kept)
    tools = Counter(tool for one in kept for tool in one.tools)
    strata = Counter((one.toolbox, one.hops, one.drift) for one in kept)
    most = float("inf")
    assert max(tasks.values(), default=0) <= (per_task or most)
    assert max(tools.values(), default=0) <= (per_tool or most)
    assert max(strata.values(), default=0) <= (per_stratum or most)
    for one, reason in zip(survivors, reasons, strict=True):
        if reason == "over_task":
            assert tasks[one.task] == per_task
        elif reason == "over_tool":
            assert any(tools[tool] == per_tool for tool in one.tools)
        elif reason == "over_stratum":
            assert strata[one.toolbox, one.hops, one.drift] == per_stratum


@given(st.lists(some, max_size=20), limit)
def test_without_other_limits_each_task_has_as_many_as_it_may(survivors: list[Facts], k: int | None) -> None:
    kept = Counter(survivors[i].task for i in taken(survivors, per_task=k))
    assert kept == {name: min(n, k or n) for name, n in Counter(one.task for one in survivors).items()}


def test_of_a_task_other_calls_come_first_then_the_shorter_then_the_earlier() -> None:
    survivors = [
        facts(calls=1, length=3),
        facts(calls=1, length=2),
        facts(calls=2, length=8),
        facts(calls=1, length=2),
    ]
    assert taken(survivors, per_task=1) == [1]
    assert taken(survivors, per_task=2) == [1, 2]
    assert taken(survivors, per_task=3) == [1, 2, 3]
    assert taken(survivors, per_task=4) == [0, 1, 2, 3]


def test_tasks_take_turns_before_a_second_one_of_the_same() -> None:
    survivors = [facts("a", calls=i, length=1) for i in range(5)] + [
        facts("b", length=9),
        facts("c", length=9),
    ]
    assert taken(survivors, per_stratum=3) == [0, 5, 6]


def test_strata_take_turns_over_a_tool_that_is_scarce() -> None:
    survivors = [facts(str(i)) for i in range(6)] + [facts(str(i), drift="stale") for i in range(6, 9)]
    assert taken(survivors, per_tool=4) == [0, 1, 6, 7]
    assert taken(survivors, per_tool=8) == [0, 1, 2, 3, 4, 6, 7, 8]


def test_nobody_to_choose_from() -> None:
    assert balanced([], per_task=1) == []


def played(sample: int, content: str, n: int = 0, **more: str) -> Trajectory:
    turns = [
        turn("execution", call(title="Emma", **more), content=content),
        turn("execution", content="<answer/>"),
    ]
    return trajectory(turns, task=task(n), sample=sample)


@pytest.mark.parametrize("jobs", ["1", "2"])
def test_in_a_pipe_the_order_stays_and_the_others_have_their_reason(
    tm: Tm, tmp_path: Path, jobs: str
) -> None:
    many = [
        played(0, "first of all, a long thought"),
        played(1, "short"),
        played(0, "x", n=1),
        played(0, "a thought of many words", n=2),
    ]
    file = tmp_path / "in.jsonl"
    file.write_text(lines(*many))
    words = ["filter", file, "--preset", "off", "-j", jobs, "--rejects", tmp_path / "dropped.jsonl"]
    one = tm(*words, "--per-task", "1")
    assert one.stdout.decode() == lines(*many[1:])
    assert b'"dropped":"over_task"' in (tmp_path / "dropped.jsonl").read_bytes()
    assert tm(*words, "--per-task", "1", "--per-tool", "2", "--force").stdout.decode() == lines(*many[1:3])
    assert tm(*words, "--per-stratum", "1", "--force").stdout.decode() == lines(many[2])
    assert b"over_stratum" in (tmp_path / "dropped.jsonl").read_bytes()
