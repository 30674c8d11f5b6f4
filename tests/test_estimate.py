"""What `--dry-run` says, against what a real run asks."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path

import pytest
from conftest import Tm
from players import sum_task
from servers import Expert, ModelServer

from tmcli import suites
from tmcli.environments.world import World
from tmcli.episode import Limits, play
from tmcli.estimate import Amount, estimate, tokens
from tmcli.meter import Price
from tmcli.policies import Sampling, Service, load
from tmcli.protocol import Style
from tmcli.records import Task, Trajectory
from tmcli.runner import Setup, jobs

LIMITS = Limits(max_tokens=32_768)


def really(tasks: list[Task], limits: Limits) -> Amount:
    """A model behind a server plays them; its requests and replies are counted as the estimate counts."""
    expert = Expert(tasks, limits.style)
    with ModelServer(expert) as server:

        async def run() -> list[Trajectory]:
            native = Service(protocol="native")  # no probe among the requests
            policy = load(f"gpt-4o@{server.url}", Sampling(), limits.style, native)
            world = World()
            try:
                return [await play(task, 0, policy, world, limits) for task in tasks]
            finally:
                await policy.aclose()
                await world.close()

        played = asyncio.run(run())
    assert all(one.status == "ok" for one in played)
    bodies = server.requests
    said = [m for one in played for m in one.messages if m["role"] == "assistant"]
    assert len(said) == sum(one.usage["turns"] for one in played)
    return Amount(
        len(bodies),
        sum(tokens(body["messages"], body.get("tools")) for body in bodies),
        sum(tokens([message]) for message in said),
    )


@pytest.mark.parametrize("style", ["trial", "direct"])
def test_a_real_run_lies_between_low_and_high(style: Style, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-test")
    tasks = list(suites.suite("train", 12, seed=3, drift=("stale",)))
    limits = replace(LIMITS, style=style)
    told = estimate(jobs(tasks), Setup("gpt-4o", limits=limits))
    real = really(tasks, limits)
    for name in ("requests", "tokens_in", "tokens_out"):
        low, typical, high = (getattr(one, name) for one in (told.low, told.typical, told.high))
        assert low <= getattr(real, name) <= high, name
        assert 0.4 < getattr(real, name) / typical < 1.5, "and the middle is not far off"
    assert told.typical.requests == real.requests, "they are the same plays"


def test_samples_shards_and_what_is_done_are_counted() -> None:
    tasks = list(suites.suite("train", 10))
    setup = Setup("gpt-4o", price=Price(2.5, 10.0), limits=LIMITS)
    once, often = estimate(jobs(tasks), setup), estimate(jobs(tasks, 4), setup)
    assert (once.n_tasks, once.n_episodes, often.n_episodes) == (10, 10, 40)
    assert often.typical.tokens_in == pytest.approx(4 * once.typical.tokens_in)
    parts = [estimate(jobs(tasks, 4, shard=(i, 3)), setup) for i in (1, 2, 3)]
    assert sum(part.n_episodes for part in parts) == 40
    left = estimate(jobs(tasks, 4, {f"{task.id}#{i}" for task in tasks for i in range(3)}), setup)
    assert left.n_episodes == 10
    few = estimate(jobs(tasks, 4, enough=1), setup)
    assert few.n_episodes == 40
    assert few.low.requests == pytest.approx(often.low.requests / 4)
    assert few.high == often.high
    assert few.low.usd(setup.price) < few.typical.usd(setup.price) < few.high.usd(setup.price)  # type: ignore[operator]


def test_no_request_and_no_price_is_made_up(capsys: pytest.CaptureFixture[str]) -> None:
    tasks = list(suites.suite("train", 4))
    told = estimate(jobs(tasks), Setup("gpt-4o@http://127.0.0.1:9/v1"))  # nobody listens there
    told.tell()
    shown = capsys.readouterr().err
    assert told.typical.usd(told.price) is None
    assert "4 episodes of 4 tasks, estimated; nothing was asked" in shown
    assert "give --price-in and --price-out" in shown
    assert "$" not in shown
    estimate(jobs(tasks), Setup("gpt-4o", price=Price(2.5, 10.0))).tell()
    assert "a million tokens cost $2.5 in, $10 out" in capsys.readouterr().err


def test_a_policy_that_asks_no_server_has_no_bill(capsys: pytest.CaptureFixture[str]) -> None:
    estimate(jobs(suites.suite("train", 4)), Setup("scripted")).tell()
    shown = capsys.readouterr().err
    assert "turns" in shown
    assert "USD" not in shown


def test_tools_that_are_not_ours_are_not_called() -> None:
    """Neither a plan for the expert nor an environment that could be played here."""
    task = sum_task(1)
    far = [replace(task, plan=None), replace(task, env={"kind": "http", "url": "http://127.0.0.1:9"})]
    told = estimate(jobs(far), Setup("gpt-4o", limits=LIMITS))
    assert told.n_played == 0
    assert told.low.requests < told.typical.requests < told.high.requests


def test_nothing_to_play_costs_nothing() -> None:
    told = estimate([], Setup("gpt-4o", price=Price(2.5, 10.0)))
    assert (told.n_tasks, told.high.usd(told.price)) == (0, 0.0)


def test_small_limits_bound_all() -> None:
    """A prompt that already fills the context, one turn allowed."""
    tasks = list(suites.suite("train", 3))
    told = estimate(jobs(tasks), Setup("gpt-4o", limits=Limits(max_turns=1, max_tokens=10)))
    assert told.low == told.typical
    assert told.high.requests == 3
    assert told.high.tokens_out == 0.0


def test_what_a_file_holds_is_not_estimated_again(tm: Tm, tmp_path: Path) -> None:
    path = tmp_path / "raw.jsonl"
    words = ("synth", "-n", "6", "-o", str(path))
    tm("synth", "-n", "4", "-o", str(path))
    before = path.read_bytes()
    assert b"6 episodes of 6 tasks" in tm(*words, "--dry-run").stderr
    assert b"2 episodes of 2 tasks" in tm(*words, "--dry-run", "--resume").stderr
    assert path.read_bytes() == before
