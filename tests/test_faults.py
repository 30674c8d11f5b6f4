"""Servers that fail in every way, under whole runs: nothing lost, nothing doubled, nothing wrong."""

from __future__ import annotations

import asyncio
import json
import ssl
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from socket import create_connection, create_server
from time import monotonic
from typing import Any

import orjson
import pytest
from conftest import environment
from load_server import KINDS, LoadServer
from servers import ModelServer, Trouble, question, say, text

from tmcli.errors import PolicyFailure, RunError, UsageError
from tmcli.http import Patience
from tmcli.meter import Meter
from tmcli.policies import Sampling, Service
from tmcli.policies.openai import OpenAI
from tmcli.records import Json, new_task, to_json

KEY = "sk-a-secret-key"
QUICK = Patience(base_s=0.02, max_pause_s=0.2, total_s=20)
TOOL = {
    "type": "function",
    "function": {
        "name": "f",
        "parameters": {"type": "object", "properties": {"a": {"type": "integer"}}, "required": ["a"]},
    },
}


@pytest.fixture(autouse=True)
def _environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("OPENAI_BASE_URL", "OPENAI_API_BASE", "HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("OPENAI_API_KEY", KEY)


# ---- whole runs ------------------------------------------------------------------------------------


def write_tasks(path: Path, n: int) -> list[str]:
    """Tasks whose tool answers at once, and always the same; their ids."""
    tasks = [
        new_task(
            messages=[{"role": "user", "content": f"Question {i}?"}],
            tools=[TOOL],
            env={"kind": "python", "codes": {}},
            answer=["1"],
        )
        for i in range(n)
    ]
    path.write_bytes(b"".join(orjson.dumps(to_json(task)) + b"\n" for task in tasks))
    return [task.id for task in tasks]


def rollout(output: str, words: tuple[str, ...], concurrency: int) -> list[str]:
    """The command line of a run over `tasks.jsonl`."""
    options = ["--policy", "gpt-4o", "--tasks", "./tasks.jsonl", "--concurrency", str(concurrency)]
    return [sys.executable, "-m", "tmcli", "rollout", *options, "-o", output, *words]


def run(
    folder: Path, output: str, env: dict[str, str], *words: str, concurrency: int = 32, timeout: float = 100
) -> subprocess.CompletedProcess[str]:
    command = rollout(output, words, concurrency)
    return subprocess.run(
        command, cwd=folder, env=environment(env), capture_output=True, text=True, timeout=timeout
    )


@contextmanager
def running(
    folder: Path, output: str, env: dict[str, str], *words: str, concurrency: int = 32
) -> Iterator[subprocess.Popen[str]]:
    command = rollout(output, words, concurrency)
    process = subprocess.Popen(
        command, cwd=folder, env=environment(env), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def busy(server: LoadServer, requests: int) -> None:
    """Wait until it has answered so many."""
    until = monotonic() + 60
    while server.stats()["ok"] < requests:
        assert monotonic() < until


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


def check(path: Path, ids: list[str]) -> list[Json]:
    """Each task has exactly one valid outcome, whose answer is the one of its own dialogue."""
    records = [json.loads(line) for line in path.read_bytes().splitlines()]
    assert sorted(record["id"] for record in records) == sorted(f"{one}#0" for one in ids)
    assert {record["status"] for record in records} == {"ok"}
    assert {record["stop"] for record in records} == {"answer"}
    questions = {record["messages"][1]["content"] for record in records}
    assert len(questions) == len(ids)
    return records


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with 150 tasks, and what a server without faults makes of them."""
    folder = tmp_path_factory.mktemp("undisturbed")
    ids = write_tasks(folder / "tasks.jsonl", 150)
    with LoadServer() as server:
        done = run(folder, "clean.jsonl", server.env())
    assert done.returncode == 0, done.stderr
    check(folder / "clean.jsonl", ids)
    return folder


def test_with_faults_and_two_servers_the_records_are_the_same_bytes(undisturbed: Path) -> None:
    with LoadServer(faults=0.3, hang_s=0.2) as one, LoadServer(faults=0.1, hang_s=0.2, seed=5) as two:
        env = {"OPENAI_BASE_URL": f"{one.url},{two.url}", "OPENAI_API_KEY": KEY, "TM_PATIENCE_S": "30"}
        done = run(undisturbed, "faulty.jsonl", env, "-v")
        met = Counter(one.stats()["faults"]) + Counter(two.stats()["faults"])
    assert done.returncode == 0, done.stderr
    assert (undisturbed / "faulty.jsonl").read_bytes() == (undisturbed / "clean.jsonl").read_bytes()
    assert set(met) == set(KINDS)
    retries = [line for line in done.stderr.splitlines() if "tried again in" in line]
    assert retries
    assert any("answers 429: something broke; tried again in" in line for line in retries)
    assert KEY not in done.stderr


def test_a_server_that_dies_and_returns_costs_nothing(undisturbed: Path) -> None:
    with LoadServer(latency_ms=20) as server, running(undisturbed, "died.jsonl", server.env()) as process:
        busy(server, 100)
        dead(server, 1.5)
        _, said = process.communicate(timeout=60)
    assert process.returncode == 0, said
    assert (undisturbed / "died.jsonl").read_bytes() == (undisturbed / "clean.jsonl").read_bytes()


def test_one_of_two_dies_and_the_other_takes_over(undisturbed: Path) -> None:
    with LoadServer(latency_ms=20) as one, LoadServer(latency_ms=20) as two:
        env = {"OPENAI_BASE_URL": f"{one.url},{two.url}", "OPENAI_API_KEY": KEY}
        with running(undisturbed, "one.jsonl", env) as process:
            busy(one, 50)
            dead(one, 1000)
            _, said = process.communicate(timeout=60)
        assert two.stats()["ok"] > 250
    assert process.returncode == 0, said
    assert (undisturbed / "one.jsonl").read_bytes() == (undisturbed / "clean.jsonl").read_bytes()


def test_a_dead_server_at_the_start_is_one_sentence_and_no_records(undisturbed: Path) -> None:
    with closing(create_server(("127.0.0.1", 0))) as held:
        port = held.getsockname()[1]
    env = {"OPENAI_BASE_URL": f"http://127.0.0.1:{port}/v1", "OPENAI_API_KEY": KEY, "TM_PATIENCE_S": "60"}
    done = run(undisturbed, "never.jsonl", env, timeout=30)
    assert done.returncode == 1
    sentence = f"the server http://127.0.0.1:{port}/v1 refuses the connection, tried 5 times; is it running"
    assert done.stderr.count(sentence) == 1
    output = undisturbed / "never.jsonl"
    assert not output.exists() or not output.read_bytes()


def test_a_server_that_dies_for_good_stops_the_run_and_resume_completes(undisturbed: Path) -> None:
    name = "stopped.jsonl"
    with LoadServer(latency_ms=5) as server:
        env = {**server.env(), "TM_PATIENCE_S": "1"}
        with running(undisturbed, name, env) as process:
            busy(server, 200)
            dead(server, 1000)
            _, said = process.communicate(timeout=60)
        assert process.returncode == 1, said
        assert "has not answered for 1 s (refuses the connection); what is done is kept; go on with" in said
        records = [json.loads(line) for line in (undisturbed / name).read_bytes().splitlines()]
        assert 0 < len(records) < 150
        assert {record["status"] for record in records} == {"ok"}
    with LoadServer() as server:
        done = run(undisturbed, name, server.env(), "--resume")
    assert done.returncode == 0, done.stderr
    assert (undisturbed / name).read_bytes() == (undisturbed / "clean.jsonl").read_bytes()


def test_a_rerun_out_of_the_cache_needs_neither_server_nor_key(undisturbed: Path) -> None:
    cache = ("--cache", "replies")
    with LoadServer() as server:
        url = {"OPENAI_BASE_URL": server.url}
        done = run(undisturbed, "first.jsonl", url, *cache)
        assert done.returncode == 0, done.stderr
        server.die(1000)
        done = run(undisturbed, "second.jsonl", url, *cache)
        assert done.returncode == 0, done.stderr
    for name in ("first.jsonl", "second.jsonl"):
        assert (undisturbed / name).read_bytes() == (undisturbed / "clean.jsonl").read_bytes()


@pytest.mark.slow
def test_ten_thousand_episodes_with_a_fifth_of_faults(tmp_path: Path) -> None:
    ids = write_tasks(tmp_path / "tasks.jsonl", 10_000)
    with LoadServer() as server:
        done = run(tmp_path, "clean.jsonl", server.env(), concurrency=256)
        assert done.returncode == 0, done.stderr
    with LoadServer(faults=0.2, hang_s=0.2) as server:
        env = {**server.env(), "TM_PATIENCE_S": "30"}
        done = run(tmp_path, "faulty.jsonl", env, concurrency=256, timeout=200)
        assert done.returncode == 0, done.stderr
        stats = server.stats()
    assert sum(stats["faults"].values()) > 0.15 * stats["requests"]
    check(tmp_path / "faulty.jsonl", ids)
    assert (tmp_path / "faulty.jsonl").read_bytes() == (tmp_path / "clean.jsonl").read_bytes()


# ---- single faults -----------------------------------------------------------------------------------


def asked(
    name: str, n: int = 60, at_once: int = 16, patience: Patience = QUICK, meter: Meter | None = None
) -> list[str]:
    """What a server's model says to n questions that are asked at once."""

    async def play() -> list[str]:
        policy = OpenAI(name, Sampling(), patience, Service(at_once=at_once), meter)

        async def one(number: int) -> str:
            body = {"messages": [{"role": "user", "content": f"Question {number}"}]}
            choice = await policy.complete(body, policy.stick())
            return str(choice["message"]["content"])

        try:
            return list(await asyncio.gather(*(one(i) for i in range(n))))
        finally:
            await policy.aclose()

    return asyncio.run(play())


LABELS = {"429-after": "429", "hang": "reset", "empty": "malformed"}


@pytest.fixture(scope="module")
def good() -> list[str]:
    """What a server without faults says to 60 questions."""
    with LoadServer() as server:
        return asked(f"m@{server.url}")


@pytest.mark.parametrize("kind", KINDS)
def test_each_fault_is_waited_out_and_counted(kind: str, good: list[str]) -> None:
    meter = Meter()
    with LoadServer(faults=0.4, kinds=[kind], hang_s=0.05) as server:
        assert asked(f"m@{server.url}", meter=meter) == good
        stats = server.stats()
    assert stats["ok"] == 60
    assert set(meter.retries) == {LABELS.get(kind, kind)}
    assert meter.retries.total() == stats["faults"][kind] == meter.requests - 60


def test_a_server_that_still_loads_its_model_is_waited_for() -> None:
    loading = Trouble(503, '{"error": {"message": "Loading model"}}')
    with ModelServer(say(text("x")), [loading] * 12) as server:
        assert asked(f"m@{server.url}", 2) == ["x", "x"]
        assert len(server.requests) == 14


def test_one_request_alone_waits_for_a_server_that_is_down() -> None:
    async def play() -> None:
        policy = OpenAI(f"m@{server.url}", Sampling(), Patience(base_s=0.02), meter=meter)
        body: Json = {"messages": []}
        try:
            await policy.complete(body, policy.stick())
            await asyncio.to_thread(dead, server, 2)
            await policy.complete(body, policy.stick())
        finally:
            await policy.aclose()

    meter = Meter()
    with LoadServer() as server:  # eight tries alone would be over after a second and a half
        asyncio.run(play())
    assert meter.retries["refused"] > 0


def test_a_request_that_always_fails_is_given_up_alone() -> None:
    def brain(body: Json) -> Json | Trouble:
        return Trouble(500, '{"error": "no"}') if question(body) == "Question 3" else text("x")

    async def play(url: str) -> list[Any]:
        policy = OpenAI(f"m@{url}", Sampling(), QUICK)

        async def one(number: int) -> Json:
            await asyncio.sleep(number / 100)
            body = {"messages": [{"role": "user", "content": f"Question {number}"}]}
            return await policy.complete(body, policy.stick())

        try:
            return await asyncio.gather(*(one(i) for i in range(20)), return_exceptions=True)
        finally:
            await policy.aclose()

    with ModelServer(brain) as server:
        said = asyncio.run(play(server.url))
    assert [i for i, one in enumerate(said) if isinstance(one, PolicyFailure)] == [3]
    assert str(said[3]).endswith("answers 500: no, tried 8 times")


def test_a_server_that_hangs_is_given_up_in_time() -> None:
    patience = Patience(base_s=0.01, max_pause_s=0.1, total_s=1.0)
    words = "does not answer in time, tried [2-4] times"
    with (
        LoadServer(faults=1, kinds=["hang"], hang_s=1000) as server,
        pytest.raises(PolicyFailure, match=words),
    ):
        asked(f"m@{server.url}", 3, patience=patience)


def test_a_request_that_hangs_is_soon_made_again_where_others_are_answered() -> None:
    meter = Meter()
    with LoadServer(faults=0.2, kinds=["hang"], hang_s=1000) as server:
        before = monotonic()
        asked(f"m@{server.url}", 30, at_once=4, patience=Patience(base_s=0.01, total_s=20), meter=meter)
        assert monotonic() - before < 40  # the patience for a first answer is 8 s; seven requests hang
    assert set(meter.retries) == {"timeout"}


@contextmanager
def narrow(capacity: int) -> Iterator[tuple[str, dict[str, int]]]:
    """A server that takes so many requests at once, and answers 429 to all others. `state` can be changed."""
    state = {"capacity": capacity, "running": 0, "most": 0, "refused": 0}
    good = b'{"choices":[{"message":{"content":"x"}}]}'

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while head := await reader.readuntil(b"\r\n\r\n"):
            size = next(int(line[15:]) for line in head.lower().split(b"\r\n") if b"content-length:" in line)
            await reader.readexactly(size)
            taken = state["running"] < state["capacity"]
            state["refused"] += not taken
            if taken:
                state["running"] += 1
                state["most"] = max(state["most"], state["running"])
                await asyncio.sleep(0.01)
                state["running"] -= 1
            status, data = (b"200 OK", good) if taken else (b"429 Slow Down", b"{}")
            writer.write(b"HTTP/1.1 %b\r\nContent-Length: %d\r\n\r\n%b" % (status, len(data), data))

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await talk(reader, writer)
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()

    async def serve() -> None:
        server = await asyncio.start_server(answer, "127.0.0.1", 0)
        state["port"] = server.sockets[0].getsockname()[1]
        ready.set()
        await asyncio.to_thread(over.wait)
        server.close()

    ready, over = threading.Event(), threading.Event()
    thread = threading.Thread(target=lambda: asyncio.run(serve()))
    thread.start()
    ready.wait()
    try:
        yield f"http://127.0.0.1:{state['port']}/v1", state
    finally:
        over.set()
        thread.join()


def test_a_storm_of_429_lowers_what_is_sent_at_once_and_it_recovers() -> None:
    async def play(url: str, state: dict[str, int]) -> None:
        policy = OpenAI(f"m@{url}", Sampling(), QUICK, Service(at_once=64), meter)

        async def many(n: int) -> None:
            body: Json = {"messages": []}
            await asyncio.gather(*(policy.complete(body, policy.stick()) for _ in range(n)))

        try:
            await many(400)
            assert meter.limit is not None
            assert meter.limit <= 16
            seen = state["refused"]
            await many(400)
            assert state["refused"] - seen < 200
            state["capacity"] = 1000
            await many(2500)
            assert meter.limit >= 32
        finally:
            await policy.aclose()

    meter = Meter()
    with narrow(8) as (url, state):
        asyncio.run(play(url, state))
    assert set(meter.retries) == {"429"}


# ---- what cannot pass is told at once ------------------------------------------------------------------


def ended(name: str, error: type[Exception], words: str) -> float:
    """How long it takes until a run of three questions ends with this error."""
    before = monotonic()
    with pytest.raises(error, match=words) as told:
        asked(name, 3, patience=Patience(base_s=0.2))
    assert KEY not in str(told.value)
    return monotonic() - before


def test_an_unknown_host_is_told_soon() -> None:
    words = r"the server http://no-such-host\.invalid/v1 is an unknown host, tried 5 times; is it running"
    assert ended("m@http://no-such-host.invalid/v1", RunError, words) < 60


def test_a_certificate_nobody_trusts_is_told_at_once(tmp_path: Path) -> None:
    certificate = self_signed(tmp_path)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    with listening(context) as port:
        words = "shows a certificate that is not trusted .*SSL_CERT_FILE"
        ended(f"m@https://127.0.0.1:{port}/v1", UsageError, words)


def test_https_where_nobody_speaks_it_is_told_at_once() -> None:
    with ModelServer(say(text("x"))) as server:
        url = server.url.replace("http://", "https://")
        ended(f"m@{url}", UsageError, "speaks no TLS; write http://")


@contextmanager
def listening(context: ssl.SSLContext) -> Iterator[int]:
    """A TLS server that shakes hands."""

    async def serve() -> None:
        async def hang_up(_: Any, writer: asyncio.StreamWriter) -> None:
            writer.close()

        server = await asyncio.start_server(hang_up, "127.0.0.1", 0, ssl=context)
        ports.append(server.sockets[0].getsockname()[1])
        ready.set()
        await asyncio.to_thread(over.wait)
        server.close()

    ports: list[int] = []
    ready, over = threading.Event(), threading.Event()
    thread = threading.Thread(target=lambda: asyncio.run(serve()))
    thread.start()
    ready.wait()
    try:
        yield ports[0]
    finally:
        over.set()
        thread.join()


def self_signed(folder: Path) -> Path:
    """A certificate of 127.0.0.1 that only it trusts, and its key, in one file."""
    from datetime import UTC, datetime, timedelta

    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "127.0.0.1")])
    now = datetime.now(UTC).replace(tzinfo=None)
    builder = x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number(), now)
    signed = builder.not_valid_after(now + timedelta(days=1)).sign(key, hashes.SHA256())
    form = serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    path = folder / "server.pem"
    pem = serialization.Encoding.PEM
    path.write_bytes(signed.public_bytes(pem) + key.private_bytes(pem, *form))
    return path
