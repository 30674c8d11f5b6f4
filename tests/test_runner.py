"""Many episodes: in order, at once, bounded, and stopped cleanly."""

from __future__ import annotations

import random
from collections.abc import Iterator
from itertools import count, islice

import pytest
from players import Player, Turn, said, sum_task

from tmcli.episode import Limits
from tmcli.errors import PolicyFailure, RunError, UsageError
from tmcli.protocol import write_call
from tmcli.records import Task, Trajectory
from tmcli.runner import BREAKER, LOOKAHEAD, Job, Runner, jobs

ANSWER = said("<answer>1</answer>")
DOWN = PolicyFailure("the server is down")


def tasks(n: int) -> list[Task]:
    return [sum_task(i) for i in range(n)]


def waiting(task: Task, sample: int) -> float:
    return random.Random(f"{task.id}#{sample}").uniform(0, 0.03)


def test_output_keeps_input_order_under_concurrency() -> None:
    player = Player([said(write_call("add", {"a": 1, "b": 1})), ANSWER], waiting)
    work = [(task, sample) for task in tasks(15) for sample in (0, 1)]
    with Runner(player, Limits(), concurrency=6) as runner:
        got = list(runner.run(jobs(tasks(15), samples=2)))
    assert [t.id for t in got] == [f"{task.id}#{sample}" for task, sample in work]
    assert {t.stop for t in got} == {"answer"}
    assert 1 < player.most_running <= 6
    assert player.running == 0


def test_one_after_the_other_gives_the_same() -> None:
    def run(concurrency: int) -> list[Trajectory]:
        with Runner(Player([ANSWER], waiting), Limits(), concurrency=concurrency) as runner:
            return list(runner.run(jobs(tasks(8))))

    assert run(1) == run(8)


def test_jobs_are_taken_as_needed_so_an_endless_stream_works() -> None:
    taken = 0

    def endless() -> Iterator[Job]:
        nonlocal taken
        for i in count():
            taken += 1
            yield Job(sum_task(i))

    with Runner(Player([ANSWER]), Limits(), concurrency=2) as runner:
        assert len(list(islice(runner.run(endless()), 5))) == 5
    assert taken <= 5 + LOOKAHEAD * 2 + 1


def test_a_slow_first_episode_does_not_let_the_rest_pile_up() -> None:
    first = sum_task(0)
    player = Player([ANSWER], lambda task, sample: 0.5 if task.id == first.id else 0.0)
    with Runner(player, Limits(), concurrency=2) as runner:
        assert next(runner.run(jobs(tasks(100)))).task["id"] == first.id
        assert player.opened <= LOOKAHEAD * 2 + 1


def test_leaving_early_ends_what_was_started() -> None:
    player = Player([ANSWER], lambda task, sample: 0.0 if sample == 0 else 60.0)
    with Runner(player, Limits(), concurrency=4) as runner:
        runs = runner.run(Job(sum_task(i), (min(i, 1),)) for i in range(10))
        next(runs)
        runs.close()  # type: ignore[attr-defined]
        assert player.running == 0


def test_an_iterator_left_behind_ends_with_its_runner() -> None:
    player = Player([ANSWER], lambda task, sample: 0.0 if sample == 0 else 60.0)
    with Runner(player, Limits(), concurrency=4) as runner:
        runs = runner.run(Job(sum_task(i), (min(i, 1),)) for i in range(10))
        next(runs)
    assert player.running == 0
    runs.close()  # type: ignore[attr-defined]  # after the runner: not an error


def test_a_runner_runs_again() -> None:
    with Runner(Player([ANSWER]), Limits()) as runner:
        assert len(list(runner.run(jobs(tasks(2))))) == 2
        assert len(list(runner.run(jobs(tasks(3))))) == 3
        assert list(runner.run([])) == []


def test_an_invalid_episode_does_not_stop_the_others() -> None:
    def turns(task: Task, sample: int) -> list[Turn]:
        return [DOWN] if sample % 2 else [ANSWER]

    with Runner(Player(turns), Limits()) as runner:
        got = list(runner.run(jobs(tasks(2), samples=8)))
    assert [t.status for t in got] == ["ok", "invalid"] * 8


def test_a_world_that_is_down_from_the_start_stops_the_run_and_yields_nothing() -> None:
    got: list[Trajectory] = []
    with Runner(Player([DOWN]), Limits()) as runner:
        runs = runner.run(jobs(tasks(100)))
        with pytest.raises(RunError, match="the server is down"):
            got.extend(runs)
    assert got == []


def test_invalid_episodes_before_the_first_good_one_are_kept_in_order() -> None:
    def turns(task: Task, sample: int) -> list[Turn]:
        return [DOWN] if sample < BREAKER - 1 else [ANSWER]

    with Runner(Player(turns), Limits()) as runner:
        got = list(runner.run(jobs(tasks(1), samples=BREAKER + 1)))
    assert [t.status for t in got] == ["invalid"] * (BREAKER - 1) + ["ok"] * 2
    assert [t.id[-1] for t in got] == [str(i) for i in range(BREAKER + 1)]


def test_few_invalid_episodes_are_records_not_an_error() -> None:
    with Runner(Player([DOWN]), Limits()) as runner:
        got = list(runner.run(jobs(tasks(BREAKER - 1))))
    assert [t.status for t in got] == ["invalid"] * (BREAKER - 1)


def test_a_wrong_set_up_ends_the_run_at_once() -> None:
    player = Player([UsageError("the key is wrong", "set it")], lambda task, sample: 0.01)
    with Runner(player, Limits(), concurrency=4) as runner:
        with pytest.raises(UsageError, match="the key is wrong; set it"):
            list(runner.run(jobs(tasks(50))))
        assert player.running == 0
    assert player.opened <= LOOKAHEAD * 4


def test_the_key_tells_what_shapes_an_episode() -> None:
    def key(limits: Limits, name: str = "player") -> str:
        with Runner(Player([ANSWER], name=name), limits) as runner:
            (got,) = runner.run(jobs(tasks(1)))
            assert got.policy["key"] == runner.key
            return runner.key

    plain = key(Limits())
    assert plain == key(Limits())
    assert len({plain, key(Limits(max_turns=3)), key(Limits(style="direct")), key(Limits(), "other")}) == 4


def test_jobs_leave_out_what_is_done() -> None:
    first, second = tasks(2)
    assert list(jobs([first, second], 2, {f"{first.id}#1", f"{second.id}#0"})) == [
        Job(first, (0,)),
        Job(second, (1,)),
    ]
