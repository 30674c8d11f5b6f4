"""Many episodes: in order, at once, bounded, and stopped cleanly."""

from __future__ import annotations

import random
import threading
from collections.abc import Iterator
from dataclasses import replace
from itertools import count, islice

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from players import Player, Turn, said, sum_task

from tmcli.episode import Limits
from tmcli.errors import PolicyFailure, RunError, Spent, TmError, UsageError
from tmcli.journal import Done
from tmcli.meter import Budget, Meter
from tmcli.protocol import write_call
from tmcli.records import Task, Trajectory
from tmcli.runner import BREAKER, LOOKAHEAD, STREAK, Breaker, Job, Runner, jobs

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
    with runner:
        assert len(list(runner.run(jobs(tasks(2))))) == 2


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


def test_a_task_that_comes_twice_is_played_once(capsys: pytest.CaptureFixture[str]) -> None:
    first, second = tasks(2)
    assert list(jobs([first, second, first, first])) == [Job(first), Job(second)]
    assert "2 tasks come more than once; each is played once" in capsys.readouterr().err


# ---- as they end -----------------------------------------------------------------------------------


def test_unordered_is_as_they_end() -> None:
    first = sum_task(0)
    player = Player([ANSWER], lambda task, sample: 0.5 if task.id == first.id else 0.0)
    with Runner(player, Limits(), concurrency=2) as runner:
        got = list(runner.run(jobs(tasks(40)), ordered=False))
    assert got[-1].task["id"] == first.id
    assert len({t.id for t in got}) == 40


@pytest.mark.parametrize("ordered", [True, False])
def test_who_uses_them_slowly_is_not_buried(ordered: bool) -> None:
    player = Player([ANSWER])
    with Runner(player, Limits(), concurrency=2) as runner:
        runs = runner.run(jobs(tasks(100)), ordered=ordered)
        next(runs)
        while player.closed < 2 * LOOKAHEAD:
            pass
        assert player.opened <= 2 * LOOKAHEAD
        assert len(list(runs)) == 99


def test_episodes_come_while_the_next_task_does_not() -> None:
    """Who writes the tasks may wait for the first episode before they write the next."""
    heard = threading.Event()

    def asked() -> Iterator[Task]:
        yield sum_task(0)
        assert heard.wait(20)
        yield sum_task(1)

    with Runner(Player([ANSWER]), Limits()) as runner:
        runs = runner.run(jobs(asked()))
        next(runs)
        heard.set()
        assert len(list(runs)) == 1


def test_what_breaks_the_tasks_comes_after_what_is_finished() -> None:
    def broken() -> Iterator[Task]:
        yield from tasks(3)
        assert played.wait(20)
        raise UsageError("line 4 is broken", "mend it")

    played = threading.Event()
    with Runner(Player([ANSWER]), Limits()) as runner:
        runs = runner.run(jobs(broken()))
        assert len([next(runs) for _ in range(3)]) == 3
        played.set()
        with pytest.raises(UsageError, match="line 4 is broken"):
            next(runs)


# ---- until so many are right --------------------------------------------------------------------------


def right_or_wrong(pattern: list[bool]) -> Player:
    """Sample i is right where the pattern says so; how long it takes has nothing to do with it."""

    def turns(task: Task, sample: int) -> list[Turn]:
        return [said(f"<answer>{task.answer[0] if pattern[sample] else 'no'}</answer>")]

    return Player(turns, lambda task, sample: random.Random(sample).uniform(0, 0.004))


@settings(max_examples=25)
@given(
    pattern=st.lists(st.booleans(), min_size=1, max_size=8),
    enough=st.integers(1, 3),
    concurrency=st.sampled_from([1, 3, 16]),
    ordered=st.booleans(),
    data=st.data(),
)
def test_no_more_than_enough_whatever_the_concurrency_and_wherever_it_was_stopped(
    pattern: list[bool], enough: int, concurrency: int, ordered: bool, data: st.DataObject
) -> None:
    task = sum_task(0)
    due: list[int] = []
    for sample in range(len(pattern)):  # one after the other
        if sum(pattern[i] for i in due) == enough:
            break
        due.append(sample)
    before = data.draw(st.sets(st.sampled_from(due))) if due else set()
    done = Done()
    for sample in before:
        done.put(f"{task.id}#{sample}", pattern[sample])
    with Runner(right_or_wrong(pattern), Limits(), concurrency=concurrency) as runner:
        work = jobs([task], len(pattern), done, enough=enough)
        got = [int(t.id.rpartition("#")[2]) for t in runner.run(work, ordered=ordered)]
    assert sorted([*got, *before]) == due
    if ordered:
        assert got == sorted(got)


def test_a_first_task_that_needs_more_samples_does_not_wait_for_room() -> None:
    first = sum_task(0)

    def turns(task: Task, sample: int) -> list[Turn]:
        return [said(f"<answer>{task.answer[0] if task.id != first.id else 'no'}</answer>")]

    player = Player(turns, lambda task, sample: 0.01 if task.id == first.id else 0.0)
    with Runner(player, Limits(), concurrency=2) as runner:
        got = list(runner.run(jobs(tasks(30), 20, enough=1)))
    assert [t.id for t in got[:20]] == [f"{first.id}#{i}" for i in range(20)]
    assert len(got) == 20 + 29


# ---- budgets --------------------------------------------------------------------------------------------


def test_who_meets_the_end_of_the_budget_is_dropped_and_the_others_end_well() -> None:
    def turns(task: Task, sample: int) -> list[Turn]:
        return [Spent("5 of 5 requests are used", "--resume") if task.id == tasks(6)[5].id else ANSWER]

    player = Player(turns, lambda task, sample: 0.0 if task.id == tasks(6)[5].id else 0.5)
    with Runner(player, Limits(), concurrency=8) as runner:
        got = list(runner.run(jobs(tasks(100))))
        assert [t.task["id"] for t in got] == [task.id for i, task in enumerate(tasks(8)) if i != 5]
        assert runner.stopped.startswith("5 of 5 requests are used")
        assert player.opened == 8


def test_no_episode_starts_that_the_budget_has_no_room_for() -> None:
    class Narrow(Meter):
        ended = 0

        def has_room(self, running: int) -> bool:
            self.stopped = "the budget is small"
            return running + self.ended < 6

        def played(self, trajectory: Trajectory) -> None:
            self.ended += 1

    player = Player([ANSWER])
    with Runner(player, Limits(), concurrency=4, meter=Narrow(None, Budget())) as runner:
        assert len(list(runner.run(jobs(tasks(100))))) == 6
        assert runner.stopped == "the budget is small"
    assert player.opened == 6


# ---- ends ------------------------------------------------------------------------------------------------


def test_what_is_finished_comes_before_the_error() -> None:
    """Also what waited for others in the order."""

    def turns(task: Task, sample: int) -> list[Turn]:
        return [UsageError("the key is wrong", "set it") if sample == 3 else ANSWER]

    player = Player(turns, lambda task, sample: [60.0, 0.0, 0.0, 0.2][sample])
    got: list[Trajectory] = []
    with Runner(player, Limits(), concurrency=4) as runner, pytest.raises(UsageError):
        got.extend(runner.run(jobs(tasks(1), 4)))
    assert [t.id[-1] for t in got] == ["1", "2"]


def test_many_invalid_in_a_row_stop_a_run_that_began_well() -> None:
    def turns(task: Task, sample: int) -> list[Turn]:
        return [ANSWER if sample < 10 else DOWN]

    got: list[Trajectory] = []
    with Runner(Player(turns), Limits(), concurrency=4) as runner:
        runs = runner.run(jobs(tasks(1), 1000))
        with pytest.raises(RunError, match=f"{STREAK} episodes in a row broke: the server is down"):
            got.extend(runs)
    assert 10 + STREAK <= len(got) < 10 + STREAK + 8


def test_invalid_ones_that_end_soon_do_not_hide_good_ones_that_take_long() -> None:
    """Half the tasks have broken tools: that is no world that is down."""

    def turns(task: Task, sample: int) -> list[Turn]:
        return [DOWN if sample % 2 else ANSWER]

    player = Player(turns, lambda task, sample: 0.0 if sample % 2 else 0.1)
    with Runner(player, Limits(), concurrency=64) as runner:
        got = list(runner.run(jobs(tasks(1), 600), ordered=False))
    assert len(got) == 600


def test_the_breaker_holds_back_what_broke_before_anything_went_well() -> None:
    with Runner(Player([DOWN]), Limits()) as runner:
        (invalid,) = runner.run(jobs(tasks(1)))
    breaker = Breaker()
    good = replace(invalid, status="ok")

    def see(trajectory: Trajectory) -> list[Trajectory]:
        return [whole for _, whole in breaker.ended(breaker.began(), trajectory)]

    assert see(invalid) == []
    assert see(good) == [invalid, good]
    for _ in range(STREAK - 1):
        assert see(invalid) == [invalid]
    assert breaker.error is None
    see(invalid)
    assert isinstance(breaker.error, TmError)


@pytest.mark.parametrize("error", [SystemExit(0), ZeroDivisionError("a mistake")])
def test_whatever_an_episode_raises_ends_the_run(error: BaseException) -> None:
    """SystemExit is what a pipe raises that nobody reads any more; asyncio lets it through."""

    def breaks(task: Task, sample: int) -> float:
        if sample == 3:
            raise error
        return 0.0

    with Runner(Player([ANSWER], breaks), Limits(), concurrency=2) as runner:
        runs = runner.run(jobs(tasks(1), 100))
        with pytest.raises(type(error)):
            list(runs)


def test_a_mistake_of_the_run_itself_ends_it() -> None:
    class Odd(Meter):
        def has_room(self, running: int) -> bool:
            return bool(1 / 0)

    with Runner(Player([ANSWER]), Limits(), meter=Odd()) as runner, pytest.raises(ZeroDivisionError):
        list(runner.run(jobs(tasks(3))))


@pytest.mark.parametrize("now", [False, True])
def test_stop_ends_a_run_soon_or_now(now: bool) -> None:
    player = Player([ANSWER], lambda task, sample: 0.0 if sample == 0 else 60.0 if now else 0.3)
    got: list[Trajectory] = []
    with Runner(player, Limits(), concurrency=4) as runner:
        assert not runner.stop(now)
        runs = runner.run(Job(sum_task(i), (min(i, 1),)) for i in range(100))
        got.append(next(runs))
        while player.running < 4:
            pass
        assert runner.stop(now)
        with pytest.raises(KeyboardInterrupt):
            got.extend(runs)
        assert player.running == 0
    assert len(got) == (1 if now else 5)


@pytest.mark.slow
def test_memory_is_flat() -> None:
    import tracemalloc

    def peak(n: int) -> int:
        base = sum_task(0)
        player = Player([ANSWER])
        with Runner(player, Limits(), concurrency=16) as runner:
            tracemalloc.start()
            for _ in runner.run(jobs(replace(base, id=f"{i:016x}") for i in range(n))):
                pass
            most = tracemalloc.get_traced_memory()[1]
            tracemalloc.stop()
        return most

    small, large = peak(500), peak(10_500)
    assert large - small < 10_000 * 40  # which tasks came: about 20 bytes each
