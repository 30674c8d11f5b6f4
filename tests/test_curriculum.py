"""Which task a group plays: in passes, from easy to hard, and no draw twice."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from trajectories import trajectory

from tmcli.curriculum import Curriculum, n_drifts, n_hops
from tmcli.errors import InputError, UsageError
from tmcli.records import Task, task_of

PLAIN = task_of(trajectory())


def task(i: int, drifts: int = 0, hops: int = 1) -> Task:
    return replace(PLAIN, id=f"t{i}", tags={"drift": ["stale"] * drifts, "hops": hops})


TASKS = st.lists(st.tuples(st.integers(0, 3), st.integers(1, 4)), min_size=1, max_size=12).map(
    lambda pairs: [task(i, *pair) for i, pair in enumerate(pairs)]
)
BY = st.sampled_from([[], ["drift"], ["hops"], ["drift", "hops"], ["hops", "drift"]])


@given(TASKS, st.integers(1, 40), BY, st.integers(0, 3), st.integers(1, 3))
def test_no_draw_comes_twice(tasks: list[Task], n: int, by: list[str], seed: int, tries: int) -> None:
    curriculum = Curriculum(tasks, n, seed, by)
    draws = [curriculum.at(group, again) for group in range(n) for again in range(tries)]
    played = [(draw.task.id, draw.sample(member, 4)) for draw in draws for member in range(4)]
    assert len(set(played)) == len(played)
    again = Curriculum(tasks, n, seed, by)
    assert [again.at(group) for group in range(n)] == [curriculum.at(group) for group in range(n)]


@given(TASKS, st.integers(1, 40), BY, st.integers(0, 3))
def test_from_easy_to_hard_in_passes(tasks: list[Task], n: int, by: list[str], seed: int) -> None:
    curriculum = Curriculum(tasks, n, seed, by)
    measures = {"drift": n_drifts, "hops": n_hops}
    drawn = [curriculum.at(group).task for group in range(n)]
    hardness = [tuple(measures[word](one) for word in by) for one in drawn]
    assert hardness == sorted(hardness)
    for level in set(hardness):  # its part of the run, and no task twice before all came once
        members = [one.id for one in tasks if tuple(measures[word](one) for word in by) == level]
        due = hardness.count(level)
        assert abs(due - n * len(members) / len(tasks)) <= 1
        counts = Counter(one.id for one, hard in zip(drawn, hardness, strict=True) if hard == level)
        assert max(counts.values()) <= -(-due // len(members))


def test_passes_are_shuffled_by_the_seed() -> None:
    tasks = [task(i) for i in range(20)]
    orders = [
        tuple(Curriculum(tasks, 40, seed).at(group).task.id for group in span)
        for seed in (0, 1)
        for span in (range(20), range(20, 40))
    ]
    assert len(set(orders)) == 4
    assert {frozenset(order) for order in orders} == {frozenset(one.id for one in tasks)}


def test_a_group_that_asks_again_stays_on_its_level() -> None:
    tasks = [task(i, drifts=i % 2) for i in range(10)]
    curriculum = Curriculum(tasks, 10, 0, ["drift"])
    for group in range(10):
        drawn = [n_drifts(curriculum.at(group, again).task) for again in range(5)]
        assert set(drawn) == {int(group >= 5)}


def test_tasks_from_elsewhere_have_no_tags() -> None:
    bare = replace(PLAIN, tags={"drift": "stale", "hops": "many"}, plan=None)
    assert (n_drifts(bare), n_hops(bare)) == (0, 0)


def test_what_cannot_be() -> None:
    with pytest.raises(UsageError, match="did you mean 'drift'"):
        Curriculum([PLAIN], 1, 0, ["drfit"])
    with pytest.raises(InputError, match="no tasks to train on"):
        Curriculum([], 1, 0)
