"""Counts are exact, budgets hold, and an unknown price is never 0."""

import asyncio
import json
import random
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from conftest import Tm
from hypothesis import given
from hypothesis import strategies as st
from servers import Expert, ModelServer, Trouble, text
from shell import records
from trajectories import trajectory

from tmcli import suites
from tmcli.errors import Spent, UsageError
from tmcli.meter import PILOTS, Budget, Meter, Price, dollars
from tmcli.prices import PRICES, price_of, price_or
from tmcli.records import Trajectory, encode

PRICE = Price(2.5, 10.0)


def ended(prompt_tokens: int, completion_tokens: int, turns: int = 1, status: str = "ok") -> Trajectory:
    usage = {"prompt_tokens": prompt_tokens, "completion_tokens": completion_tokens, "turns": turns}
    return replace(trajectory(), usage=usage, status=status)


# ---- counting ------------------------------------------------------------------------------------


def test_tokens_and_money_are_counted() -> None:
    meter = Meter(PRICE)
    for cached in (False, True, False):
        if not cached:
            meter.ask()
        meter.answered(1000, 100, cached=cached)
    meter.retried("429")
    assert (meter.requests, meter.cached, meter.tokens) == (2, 1, 2200)
    assert meter.usd == pytest.approx(2 * (1000 * 2.5 + 100 * 10) / 1e6)
    assert meter.retries == {"429": 1}
    assert meter.cost(1_000_000, 100_000) == pytest.approx(3.5)


def test_an_unknown_price_is_not_zero() -> None:
    meter = Meter()
    meter.ask()
    meter.answered(1000, 100)
    assert meter.usd is None
    assert meter.cost(1, 1) is None
    with pytest.raises(UsageError, match="give --price-in and --price-out"):
        Meter(None, Budget(usd=1.0))


@given(st.floats(0, 1e6))
def test_money_never_looks_like_nothing(usd: float) -> None:
    shown = dollars(usd)
    assert shown.startswith("$")
    if usd >= 1e-5:
        assert float(shown[1:].replace(",", "")) > 0


# ---- budgets -------------------------------------------------------------------------------------


@given(most=st.integers(0, 400), concurrency=st.integers(1, 256), seed=st.integers(0, 99))
def test_never_one_request_too_many(most: int, concurrency: int, seed: int) -> None:
    """Whatever the order of the episodes' turns, at any concurrency, retries counted."""
    meter = Meter(PRICE, Budget(requests=most))
    rng = random.Random(seed)
    sent = 0

    async def episode() -> None:
        nonlocal sent
        for _ in range(rng.randrange(1, 6)):
            meter.ask()
            sent += 1
            await asyncio.sleep(0)
            if rng.random() < 0.3:
                meter.retried("500")
            else:
                meter.answered(10, 1)

    async def run() -> list[BaseException | None]:
        return await asyncio.gather(*(episode() for _ in range(concurrency)), return_exceptions=True)

    ends = asyncio.run(run())
    assert sent == meter.requests <= most
    assert all(end is None or isinstance(end, Spent) for end in ends)
    if any(isinstance(end, Spent) for end in ends):
        assert sent == most
        assert not meter.has_room(0)


@given(
    budget=st.floats(0.01, 3.0),
    concurrency=st.integers(1, 256),
    costs=st.lists(st.integers(1, 50), min_size=1, max_size=20),
    seed=st.integers(0, 99),
)
def test_money_stops_new_episodes_before_it_is_gone(
    budget: float, concurrency: int, costs: list[int], seed: int
) -> None:
    """What is spent exceeds the budget by no more than one answer of each of the episodes that run, and an
    even load does not exceed it at all, once the first episodes have told what one takes."""
    meter = Meter(Price(1000.0, 0.0), Budget(usd=budget))
    rng = random.Random(seed)
    running: list[list[int]] = []
    dropped = 0
    even = len(set(costs)) == 1
    while True:
        while len(running) < concurrency and meter.has_room(len(running)):
            running.append([rng.choice(costs), 0])  # tokens a turn, turns played
        if not running:
            break
        mine = rng.choice(running)
        try:
            meter.ask()
        except Spent:
            running.remove(mine)
            dropped += 1
            continue
        meter.answered(mine[0], 0)
        mine[1] += 1
        if mine[1] == 3:
            running.remove(mine)
            meter.played(ended(3 * mine[0], 0, 3))
    assert meter.stopped
    assert meter.usd is not None
    assert meter.usd <= budget + max(costs) / 1000
    if even and meter.ended and 3 * costs[0] / 1000 * (PILOTS + 1) < budget:
        assert dropped == 0
        assert meter.usd <= budget + 1e-9
        assert meter.usd > budget - 2 * 3 * costs[0] / 1000, "and hardly anything is left"


def test_tokens_have_a_budget_too() -> None:
    meter = Meter(budget=Budget(tokens=1000))
    meter.ask()
    meter.answered(990, 10)
    with pytest.raises(Spent, match="1,000 tokens is used up"):
        meter.ask()
    assert meter.requests == 1
    assert Spent("x").exit_code == 0


def test_nobody_knows_what_an_episode_takes_until_one_ended() -> None:
    meter = Meter(PRICE, Budget(usd=1.0))
    assert [meter.has_room(n) for n in (0, PILOTS - 1, PILOTS, 200)] == [True, True, False, False]
    meter.played(ended(100, 10, status="invalid"))
    assert not meter.has_room(PILOTS), "an episode that broke tells too little"
    meter.answered(100, 10)
    meter.played(ended(100, 10))
    assert meter.has_room(200)
    assert not meter.stopped


def test_a_small_budget_is_not_spread_over_many() -> None:
    """Ten requests are two or three episodes: none would end if eight began."""
    for meter in (Meter(budget=Budget(requests=10)), Meter(budget=Budget(tokens=20_000))):
        assert [meter.has_room(n) for n in range(3)] == [True, False, False]
    assert Meter(PRICE, Budget(usd=0.0)).has_room(0), "all may be in a cache"


def test_what_comes_from_a_cache_needs_no_budget() -> None:
    meter = Meter(PRICE, Budget(usd=0.001, requests=1, tokens=10))
    for _ in range(100):
        assert meter.has_room(0)
        meter.answered(1000, 100, cached=True)
        meter.played(ended(1000, 100))
    assert meter.usd == 0.0
    assert meter.has_room(255)


def test_without_a_budget_there_is_always_room() -> None:
    meter = Meter(PRICE)
    meter.answered(10**9, 10**9)
    assert meter.has_room(10_000)


# ---- as a user sets them -------------------------------------------------------------------------


@pytest.fixture
def server(tmp_path: Path) -> Iterator[ModelServer]:
    tasks = list(suites.suite("train", 30, drift=("stale",)))
    (tmp_path / "tasks.jsonl").write_bytes(b"".join(encode(task) + b"\n" for task in tasks))
    with ModelServer(Expert(tasks), [Trouble(500) if i % 5 == 1 else None for i in range(60)]) as server:
        yield server


SYNTH = ("synth", "--tasks", "tasks.jsonl", "--teacher", "gpt-4o", "-o", "out.jsonl", "--protocol", "native")


def test_max_requests_is_hard_and_resume_goes_on(tm: Tm, server: ModelServer, tmp_path: Path) -> None:
    got = tm(*SYNTH, "--max-requests", "50", "--concurrency", "64", env=server.env())
    assert got.returncode == 0, got.stderr
    assert len(server.requests) <= 50
    assert b"stopped early: the budget of 50 requests is " in got.stderr
    first = records((tmp_path / "out.jsonl").read_bytes())
    assert 3 <= len(first) < 30
    assert all(record["status"] == "ok" for record in first)
    got = tm(*SYNTH, "--resume", "--concurrency", "64", env=server.env())
    assert got.returncode == 0, got.stderr
    done = records((tmp_path / "out.jsonl").read_bytes())
    assert len({record["id"] for record in done}) == len(done) == 30
    assert b"stopped" not in got.stderr


def test_money_has_an_end(tm: Tm, server: ModelServer, tmp_path: Path) -> None:
    """A request costs $0.00035 here, an episode takes about five."""
    price = ("--price-in", "2.5", "--price-out", "10")
    got = tm(*SYNTH, *price, "--budget-usd", "0.02", env=server.env())
    assert got.returncode == 0, got.stderr
    assert b"stopped early: the budget of $0.02 is " in got.stderr
    done = records((tmp_path / "out.jsonl").read_bytes())
    cost = sum(record["usage"]["cost"] for record in done)
    assert 0.01 < cost <= 0.02
    assert b"tokens in, " in got.stderr
    assert b" of them again (500: " in got.stderr


def test_a_server_that_counts_no_tokens_uses_up_a_budget_all_the_same(tm: Tm, tmp_path: Path) -> None:
    uncounted = Trouble(200, json.dumps({"choices": [text("<answer>1</answer>")]}))
    price = ("--price-in", "100", "--price-out", "100", "--budget-usd", "1", "-o", "out.jsonl")
    with ModelServer(lambda _: uncounted, tools=lambda _: {}) as server:
        got = tm("rollout", "--policy", f"m@{server.url}", "-n", "40", *price)
    assert got.returncode == 0, got.stderr
    assert b"counts no tokens: 4 characters are taken for one" in got.stderr
    assert b"the budget of $1.00 is nearly used up" in got.stderr
    done = records((tmp_path / "out.jsonl").read_bytes())
    assert 0 < len(done) < 40
    assert all(record["usage"]["cost"] > 0.01 for record in done)


def test_a_budget_in_money_needs_a_price(tm: Tm, server: ModelServer) -> None:
    got = tm(*SYNTH, "--budget-usd", "1", env=server.env())
    assert got.returncode == 2
    assert b"give --price-in and --price-out" in got.stderr
    assert server.requests == []


# ---- prices --------------------------------------------------------------------------------------


@pytest.fixture(autouse=True)
def _no_server(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OPENAI_BASE_URL", raising=False)
    monkeypatch.delenv("OPENAI_API_BASE", raising=False)


@pytest.mark.parametrize(
    ("name", "price"),
    [
        ("gpt-4o", Price(2.5, 10.0)),
        ("gpt-4o-2024-08-06", Price(2.5, 10.0)),
        ("gpt-4o-2024-05-13", Price(5.0, 15.0)),
        ("gpt-4o-mini-2024-07-18", Price(0.15, 0.6)),
        ("gpt-4o@https://api.openai.com/v1", Price(2.5, 10.0)),
        ("openai/gpt-4o@https://openrouter.ai/api/v1", Price(2.5, 10.0)),
        ("anthropic/claude-sonnet-4.5@https://openrouter.ai/api/v1", Price(3.0, 15.0)),
        ("claude-sonnet-4-5-20250929@https://api.anthropic.com/v1", Price(3.0, 15.0)),
        ("gemini-2.5-flash@https://generativelanguage.googleapis.com/v1beta/openai", Price(0.3, 2.5)),
        ("mistral-medium-3.5@https://api.mistral.ai/v1", Price(1.5, 7.5)),
        ("gpt-4o@http://localhost:8000/v1", None),
        ("gpt-4o@https://api.openai.com/v1,http://localhost:8000/v1", None),
        ("openai/gpt-4o", None),
        ("gpt-4o@https://openrouter.ai/api/v1", None),
        ("openai/gpt-4o:free@https://openrouter.ai/api/v1", None),
        ("gpt-4o@https://api.deepseek.com", None),
        ("gpt-4o-but-mine", None),
        ("gpt-4o@https://[", None),
        ("scripted", None),
        ("", None),
    ],
)
def test_what_a_model_costs_where_it_is_sold(name: str, price: Price | None) -> None:
    assert price_of(name) == price


def test_a_server_named_by_the_environment_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_BASE_URL", "http://127.0.0.1:9/v1")
    assert price_of("gpt-4o") is None
    assert price_of("gpt-4o@https://api.openai.com/v1") == PRICE


def test_a_given_price_wins() -> None:
    assert price_or("gpt-4o", 1.0, 2.0) == Price(1.0, 2.0)
    assert price_or("gpt-4o", None, 0.0) == Price(2.5, 0.0)
    assert price_or("own@http://localhost/v1", None, None) is None
    assert price_or("own@http://localhost/v1", 0.0, 0.0) == Price(0.0, 0.0)
    with pytest.raises(UsageError, match="give both"):
        price_or("own@http://localhost/v1", 1.0, None)


def test_the_table_is_plausible() -> None:
    for vendor, models in PRICES.items():
        for model, (usd_in, usd_out) in models.items():
            assert 0 < usd_in < usd_out, (vendor, model)
