"""Several servers, how many requests each is sent, when one counts as down: the machines, then for real."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Coroutine, Sequence
from contextlib import ExitStack
from pathlib import Path
from random import Random
from socket import create_connection
from typing import Any

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from load_server import LoadServer
from shell import pipe, records

from tmcli.errors import UsageError
from tmcli.http import Patience
from tmcli.meter import Meter
from tmcli.policies import Sampling, Service
from tmcli.policies.openai import OpenAI
from tmcli.policies.openai.breaker import FIRST_TRIES, GONE, PROBE_S, ROW, Breaker
from tmcli.policies.openai.limiter import BORNE, ROUND, Limiter
from tmcli.policies.openai.names import addresses
from tmcli.policies.openai.redact import Redact

QUICK = Patience(base_s=0.02, max_pause_s=0.2, total_s=20)
BODY = {"messages": [{"role": "user", "content": "Hello"}], "max_tokens": 5}


@pytest.fixture(autouse=True)
def _environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("OPENAI_BASE_URL", "OPENAI_API_BASE", "HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("OPENAI_API_KEY", "sk-a-secret-key")


# ---- the limiter -------------------------------------------------------------------------------------


@given(st.integers(1, 300), st.lists(st.sampled_from(["send", "ok", "no", "other"]), max_size=400))
def test_the_limit_stays_in_its_bounds_and_is_never_overrun(most: int, steps: list[str]) -> None:
    limiter, tickets = Limiter(most), []
    for step in steps:
        before = limiter.limit
        if step == "send":
            if limiter.has_room:
                tickets.append(limiter.start())
                assert limiter.running <= int(limiter.limit)
        elif tickets:
            ticket = tickets.pop(0)
            if step == "ok":
                limiter.accepted()
            elif step == "no":
                limiter.refused(ticket)
            limiter.end()
        assert 1 <= limiter.limit <= most
        assert limiter.running == len(tickets)
        assert limiter.limit >= before / 2
        assert limiter.limit <= before + 1
        assert step == "no" or limiter.limit >= before  # only a refusal cuts


@given(st.integers(2, 500))
def test_one_round_of_refusals_cuts_once(most: int) -> None:
    limiter = Limiter(most)
    for ticket in [limiter.start() for _ in range(most)]:
        limiter.refused(ticket)
        limiter.end()
    borne = int(BORNE * max(ROUND, most))
    assert limiter.limit == (most if most <= borne else most / 2)


def test_a_round_of_answers_adds_one() -> None:
    limiter = Limiter(100)
    limiter.limit = 10.0
    for _ in range(10):
        limiter.accepted()
    assert 10.9 < limiter.limit < 11.0


@pytest.mark.parametrize(("capacity", "most"), [(8, 256), (40, 256), (200, 256)])
def test_it_finds_what_a_server_takes(capacity: int, most: int) -> None:
    limiter = Limiter(most)
    taken: list[int] = []
    refused = asked = 0
    for number in range(400):
        tickets = [limiter.start() for _ in range(int(limiter.limit))]
        for i, ticket in enumerate(tickets):  # whatever is beyond the capacity is refused
            if i < capacity:
                limiter.accepted()
            else:
                limiter.refused(ticket)
            limiter.end()
        if number >= 100:
            taken.append(min(capacity, len(tickets)))
            refused += max(0, len(tickets) - capacity)
            asked += len(tickets)
    assert sum(taken) / len(taken) > 0.7 * capacity
    assert refused / asked < 0.15


@pytest.mark.parametrize("seed", range(5))
def test_refusals_at_random_do_not_strangle_a_run(seed: int) -> None:
    random = Random(seed)
    limiter = Limiter(128)
    for _ in range(100):
        for ticket in [limiter.start() for _ in range(int(limiter.limit))]:
            if random.random() < 0.08:
                limiter.refused(ticket)
            else:
                limiter.accepted()
            limiter.end()
    assert limiter.limit > 40


# ---- the breaker -------------------------------------------------------------------------------------

Step = tuple[str, float]
STEPS = st.lists(
    st.tuples(st.sampled_from(["ok", "fail", "gone", "probe", "drop"]), st.floats(0, 20)), max_size=200
)


@given(STEPS)
def test_one_probe_at_a_time_and_a_success_closes(steps: list[Step]) -> None:
    breaker, now, probing = Breaker(Patience(total_s=60)), 0.0, False
    row = gone = 0
    for what, pause_s in steps:
        now += pause_s
        if what == "ok":
            breaker.succeeded()
            row = gone = 0
            probing = False
            assert not breaker.is_open
            assert not breaker.is_lost(now)
        elif probing and what in ("fail", "gone"):
            breaker.probed(now)
            probing = False
            assert breaker.is_open
            assert not breaker.due(now) or breaker.next_probe_at <= now
            assert breaker.next_probe_at <= max(now, now + PROBE_S)
        elif probing and what == "drop":
            breaker.dropped()
            probing = False
        elif what == "probe" and breaker.due(now):
            breaker.probe()
            probing = True
            assert not breaker.due(now + 1000)
        elif what in ("fail", "gone") and not probing:
            was_open = breaker.is_open
            breaker.failed(now, gone=what == "gone")
            if not was_open:
                row, gone = row + 1, gone + 1 if what == "gone" else 0
                enough = GONE if breaker.ever else 1
                assert breaker.is_open == (row >= ROW or gone >= enough)
        assert breaker.is_open or not breaker.due(now)


@given(st.lists(st.floats(0, 100), min_size=1, max_size=60), st.booleans(), st.floats(0, 1e9))
def test_nobody_waits_longer_than_patience(pauses: list[float], ever: bool, asked_s: float) -> None:
    breaker = Breaker(Patience(total_s=100))
    if ever:
        breaker.succeeded()
    for _ in range(GONE):
        breaker.failed(0.0, gone=True, busy=True, asked_s=asked_s)
    now = 0.0
    for pause_s in pauses:
        now = max(now + pause_s, breaker.next_probe_at)
        assert breaker.due(now)
        breaker.probe()
        breaker.probed(now, busy=True, asked_s=asked_s)
        assert breaker.is_lost(now) == (now >= 100)
        assert breaker.next_probe_at <= max(now, 100)


def test_a_server_that_was_never_there_is_lost_after_a_few_tries() -> None:
    breaker, now = Breaker(Patience()), 0.0
    breaker.failed(now, gone=True)
    for _ in range(FIRST_TRIES - 1):
        assert not breaker.is_lost(now)
        now = breaker.next_probe_at
        breaker.probe()
        breaker.probed(now)
    assert breaker.is_lost(now)


# ---- a pool, for real --------------------------------------------------------------------------------

def dead(server: LoadServer, seconds: float) -> None:
    """Let it die, and wait until it is."""
    server.die(seconds)
    while True:
        try:
            create_connection(("127.0.0.1", server.port)).close()
        except ConnectionRefusedError:
            return
        except ConnectionError:  # it was about to
            continue


Play = Callable[[OpenAI], Coroutine[Any, Any, Any]]


def played(servers: Sequence[LoadServer], play: Play, at_once: int = 64, meter: Meter | None = None) -> Any:
    async def run() -> Any:
        name = "m@" + ",".join(server.url for server in servers)
        policy = OpenAI(name, Sampling(), QUICK, Service(at_once=at_once), meter)
        try:
            return await play(policy)
        finally:
            await policy.aclose()

    return asyncio.run(run())


async def episode(policy: OpenAI, number: int, turns: int = 3) -> list[str]:
    """The servers that answered the turns of one episode."""
    stick, where = policy.stick(), []
    for turn in range(turns):
        body = {"messages": [{"role": "user", "content": f"{number} {turn}"}]}
        await policy.complete(body, stick)
        assert stick.server is not None
        where.append(stick.server.shown)
    return where


def test_servers_share_the_load_and_each_episode_stays_with_its_own() -> None:
    async def play(policy: OpenAI) -> list[list[str]]:
        return list(await asyncio.gather(*(episode(policy, i) for i in range(90))))

    with ExitStack() as stack:
        servers = [stack.enter_context(LoadServer(latency_ms=5)) for _ in range(3)]
        where = played(servers, play)
        assert all(len(set(episode)) == 1 for episode in where)
        shares = Counter(episode[0] for episode in where)
        assert len(shares) == 3
        assert min(shares.values()) >= 20
        assert sum(server.stats()["ok"] for server in servers) == 270


def test_the_others_take_over_when_one_dies_and_it_is_used_again_when_it_is_back() -> None:
    async def play(policy: OpenAI) -> Counter[str]:
        first, second = (server.shown for server in policy.pool.servers)
        await asyncio.gather(*(episode(policy, i) for i in range(20)))
        await asyncio.to_thread(dead, dying, 1.0)
        where = await asyncio.gather(*(episode(policy, i) for i in range(100, 120)))
        assert {server for turns in where for server in turns[1:]} == {second}
        seen: Counter[str] = Counter()
        number = 1000
        while not seen[first]:
            number += 10
            await asyncio.sleep(0.05)
            where = await asyncio.gather(*(episode(policy, number + i) for i in range(10)))
            seen.update(server for turns in where for server in turns)
        return seen

    with LoadServer(latency_ms=2) as dying, LoadServer(latency_ms=2) as other:
        meter = Meter()
        seen = played([dying, other], play, meter=meter)
        assert len(seen) == 2
        assert sum(meter.retries.values()) > 0


def test_a_dead_server_among_good_ones_costs_nobody_an_answer() -> None:
    async def play(policy: OpenAI) -> set[str]:
        where = await asyncio.gather(*(episode(policy, i) for i in range(30)))
        return {server for turns in where for server in turns}

    with LoadServer() as good, LoadServer() as gone:
        dead(gone, 1000)
        assert played([gone, good], play) == {good.url}


def test_two_dead_servers_are_both_asked_until_one_is_back() -> None:
    async def play(policy: OpenAI) -> None:
        await asyncio.gather(*(episode(policy, i) for i in range(10)))
        await asyncio.gather(asyncio.to_thread(dead, first, 60), asyncio.to_thread(dead, second, 1.5))
        await asyncio.gather(*(episode(policy, i) for i in range(100, 110)))

    with LoadServer() as first, LoadServer() as second:
        played([first, second], play)
        assert second.stats()["ok"] >= 30


def test_what_is_called_off_leaves_its_place() -> None:
    async def play(policy: OpenAI) -> None:
        server = policy.pool.servers[0]
        for round_ in range(5):
            waiting = [asyncio.create_task(episode(policy, 100 * round_ + i)) for i in range(20)]
            await asyncio.sleep(0.03 * round_)
            for task in waiting[::2]:
                task.cancel()
            done = await asyncio.gather(*waiting, return_exceptions=True)
            assert all(isinstance(one, list) for one in done[1::2])
            assert server.limiter.running == 0
            assert server.load == 0

    with LoadServer(latency_ms=20) as server:
        played([server], play, at_once=3)


def test_no_more_requests_at_once_than_asked_for() -> None:
    async def play(policy: OpenAI) -> None:
        await asyncio.gather(*(episode(policy, i) for i in range(40)))

    with LoadServer(latency_ms=5) as server:
        played([server], play, at_once=4)
        assert server.stats()["most"] <= 4 + 1  # one is for the counts


# ---- names, secrets ----------------------------------------------------------------------------------


def test_lists_of_addresses() -> None:
    assert addresses("http://a/v1,http://b/v1,,http://a/v1") == [
        httpx.URL("http://a/v1"),
        httpx.URL("http://b/v1"),
    ]
    for odd in ("", ",", "http://a/v1,b/v1"):
        with pytest.raises(UsageError):
            addresses(odd)


def test_several_addresses_in_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_BASE_URL", "http://a:1/v1, http://me:hunter2@b:2/v1")
    policy = OpenAI("m", Sampling())
    assert [server.shown for server in policy.pool.servers] == ["http://a:1/v1", "http://b:2/v1"]
    assert policy.name == "m"
    named = OpenAI("m@http://x:1/v1,http://me:hunter2@y/v1", Sampling())
    assert named.name == "m@http://x:1/v1,http://y/v1"


@given(st.text(min_size=6, max_size=40), st.text(max_size=20), st.text(max_size=20))
def test_a_secret_never_comes_through(secret: str, before: str, after: str) -> None:
    shown = Redact([secret])(f"{before}{secret}{after}")
    assert secret not in shown or secret in f"{before}***{after}"


@pytest.mark.parametrize(
    "echo",
    [
        "bad key s3cr/et+k=y1",
        "bad key s3cr%2Fet%2Bk%3Dy1!",
        "bad key S3CR/ET+K=Y1",
        '{"key": "s3cr\\/et+k=y1"}',
        "Basic czNjci9ldCtrPXkx",
        "Authorization: Bearer another-key-123, refused",
        "Incorrect API key provided: sk-proj-abcdef123456",
        "x" * 290 + "s3cr/et+k=y1",
    ],
)
def test_echoes_of_keys_are_hidden(echo: str) -> None:
    shown = Redact(["s3cr/et+k=y1"])(echo)
    for part in ("s3cr", "S3CR", "czNj", "another", "abcdef"):
        assert part not in shown


def test_a_short_key_does_not_eat_words() -> None:
    assert Redact(["x"])("x exceeds maximum") == "*** exceeds maximum"


def test_few_open_files_are_shared_between_servers_and_tools(tmp_path: Path) -> None:
    with LoadServer(latency_ms=100) as server:
        line = f"tm rollout --policy m@{server.url} -n 100 --samples 3 --concurrency 300 -o x.jsonl"
        got = pipe(f"ulimit -n 128; {line}", tmp_path, {})
        assert server.stats()["most"] <= 64
    assert got.returncode == 0, got.stderr
    assert b"64 requests at once for each server, not 300: 128 files may be open here" in got.stderr
    assert b"again" not in got.stderr  # nothing had to be tried again
    assert [one["status"] for one in records((tmp_path / "x.jsonl").read_bytes())] == ["ok"] * 300
