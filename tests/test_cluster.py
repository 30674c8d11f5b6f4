"""Episodes on a Ray cluster: the same records as here, whatever dies."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from pathlib import Path
from time import monotonic, sleep

import pytest
from conftest import Tm, environment
from ray_nodes import RayNodes
from servers import Expert, ModelServer, Trouble, say, text
from shell import records

from tmcli import suites
from tmcli.cluster.connection import connection
from tmcli.cluster.shares import Shares
from tmcli.errors import UsageError
from tmcli.meter import Budget, Meter, Price

needs_ray = pytest.mark.skipif(find_spec("ray") is None, reason="the package ray is not installed")
N = "480"
"""Far more than are begun at once, so that those who die early leave something to play."""


@pytest.fixture(scope="module")
def nodes() -> Iterator[RayNodes]:
    with RayNodes(2) as cluster:
        yield cluster


@pytest.fixture(scope="module")
def local(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """What a run on this machine writes."""
    path = tmp_path_factory.mktemp("local") / "runs.jsonl"
    command = [sys.executable, "-m", "tmcli", "synth", "-n", N, "-o", str(path)]
    subprocess.run(command, check=True, env=environment(), timeout=120)
    return path.read_bytes()


def start(nodes: RayNodes, *words: str | Path, cwd: Path) -> subprocess.Popen[bytes]:
    """`tm synth` on the cluster, running; its messages in `stderr.txt`."""
    command = [sys.executable, "-m", "tmcli", "synth", "-n", N, "--engine", "ray", "--workers", "3", *words]
    with (cwd / "stderr.txt").open("ab") as messages:
        return subprocess.Popen(
            [*map(str, command), "--ray-address", nodes.address],
            cwd=cwd,
            env=environment(),
            stdout=subprocess.PIPE,
            stderr=messages,
        )


def wait(true: Callable[[], bool]) -> None:
    end = monotonic() + 60
    while not true():
        assert monotonic() < end, "it never came true"
        sleep(0.02)


def lines(path: Path) -> int:
    return path.read_bytes().count(b"\n") if path.exists() else 0


@needs_ray
@pytest.mark.slow
def test_a_killed_worker_and_a_lost_machine_lose_and_double_nothing(
    nodes: RayNodes, local: bytes, tmp_path: Path
) -> None:
    with start(nodes, cwd=tmp_path) as run:
        assert run.stdout is not None
        out = []
        for line in run.stdout:  # in order, as they come, nothing else between them
            out.append(line)
            if len(out) == 20:
                nodes.kill_worker()
            if len(out) == 70:
                nodes.remove_node()
    messages = (tmp_path / "stderr.txt").read_text()
    assert run.returncode == 0, messages
    assert b"".join(out) == local
    assert messages.count("died; ") >= 2
    assert "raylet" not in messages
    nodes.add_node()


@needs_ray
@pytest.mark.slow
def test_a_run_that_was_ended_is_resumed(nodes: RayNodes, local: bytes, tmp_path: Path) -> None:
    path = tmp_path / "runs.jsonl"
    for number, code in ((signal.SIGKILL, -9), (signal.SIGINT, 130)):
        before = lines(path)
        with start(nodes, "-o", path, "--resume", cwd=tmp_path) as run:
            wait(lambda before=before: lines(path) >= before + 20)
            os.kill(run.pid, number)
            assert run.wait(60) == code, (tmp_path / "stderr.txt").read_text()
        assert lines(path) < int(N)
        wait(lambda: not nodes.workers())  # nobody plays on for a driver that is gone
    with start(nodes, "-o", path, "--resume", cwd=tmp_path) as run:
        pass
    assert run.returncode == 0, (tmp_path / "stderr.txt").read_text()
    assert path.read_bytes() == local


@needs_ray
@pytest.mark.slow
def test_all_workers_keep_to_one_budget_and_no_log_knows_the_key(
    nodes: RayNodes, tm: Tm, tmp_path: Path
) -> None:
    key = "sk-" + "never-to-be-logged"
    tasks = list(suites.suite("train", 16, 0))
    words = ("synth", "-n", "16", "--teacher", "gpt-4o", "--protocol", "native", "--concurrency", "2")
    cluster = ("--engine", "ray", "--workers", "3", "--ray-address", nodes.address)
    with ModelServer(Expert(tasks)) as server:
        env = server.env(key)
        stopped = tm(*words, *cluster, "--max-requests", "30", "-o", "runs.jsonl", env=env)
        n_asked = len(server.requests)
        assert stopped.returncode == 0, stopped.stderr.decode()
        assert 15 <= n_asked <= 30
        assert b"the budget of 30 requests is" in stopped.stderr
        assert f"{n_asked} requests".encode() in stopped.stderr
        done = records((tmp_path / "runs.jsonl").read_bytes())
        assert 2 <= len(done) < 16
        resumed = tm(*words, *cluster, "-o", "runs.jsonl", "--resume", env=env)
        assert resumed.returncode == 0, resumed.stderr.decode()
        assert set(server.keys) == {f"Bearer {key}"}
        here = tm(*words, "-o", "here.jsonl", env=env)
        assert here.returncode == 0, here.stderr.decode()
    assert (tmp_path / "runs.jsonl").read_bytes() == (tmp_path / "here.jsonl").read_bytes()
    logs = [path for path in Path(nodes.logs).rglob("*") if path.is_file()]
    assert logs
    assert not [path for path in logs if key.encode() in path.read_bytes()]


@needs_ray
@pytest.mark.slow
def test_what_must_stop_a_run_is_told_as_here(nodes: RayNodes, tm: Tm) -> None:
    words = ("synth", "-n", "8", "--teacher", "gpt-4o")
    cluster = ("--engine", "ray", "--workers", "2", "--ray-address", nodes.address)
    with ModelServer(lambda body: Trouble(401)) as server:
        here = tm(*words, env=server.env())
        there = tm(*words, *cluster, env=server.env())
    assert here.returncode == there.returncode == 2
    assert here.stderr.splitlines()[-1] == there.stderr.splitlines()[-1]


@needs_ray
@pytest.mark.slow
def test_filter_and_eval_write_the_same_bytes(nodes: RayNodes, local: bytes, tm: Tm, tmp_path: Path) -> None:
    lines = local.splitlines(keepends=True)
    wrong = lines[0].replace(b'"prediction":"', b'"prediction":"not ')
    (tmp_path / "a.jsonl").write_bytes(b"".join([*lines, b"\n", *lines[:5], wrong, b'{"torn"\n']))
    (tmp_path / "b.jsonl").write_bytes(b'{"kind":"task"}\n' + b"".join(lines[100:]))
    files = ("a.jsonl", "b.jsonl", "--skip-invalid")
    cluster = ("--engine", "ray", "--ray-address", nodes.address)
    for words in (("filter", *files), ("eval", *files, "--scores", "--by", "toolbox")):
        here = tm(*words, "--rejects", "here.jsonl", "--force")
        there = tm(*words, "--rejects", "there.jsonl", "--force", *cluster)
        assert here.returncode == there.returncode == 0, there.stderr.decode()
        assert here.stdout == there.stdout
        assert here.stdout.count(b"\n") >= 150
        assert here.stderr == there.stderr.replace(b"there.jsonl", b"here.jsonl")
        assert (tmp_path / "here.jsonl").read_bytes() == (tmp_path / "there.jsonl").read_bytes()
    here, there = tm("filter", "a.jsonl"), tm("filter", "a.jsonl", *cluster)
    assert here.returncode == there.returncode == 2
    assert here.stderr == there.stderr


@needs_ray
def test_a_cluster_that_is_not_there_is_told_at_once(tm: Tm) -> None:
    begun = monotonic()
    refused = tm("synth", "--engine", "ray", "--ray-address", "127.0.0.1:1")
    assert refused.returncode == 2
    assert b"no Ray cluster answers at 127.0.0.1:1 (Connection refused)" in refused.stderr
    with ModelServer(say(text("hello"))) as server:
        address = server.url.removeprefix("http://").removesuffix("/v1")
        other = tm("synth", "--engine", "ray", env={"RAY_ADDRESS": address})
    assert other.returncode == 2
    assert b"it speaks something else" in other.stderr
    assert monotonic() - begun < 60
    for wrong in ("nonsense", "ray://127.0.0.1:10001", "127.0.0.1:99999"):
        with pytest.raises(UsageError, match="address"), connection(wrong):
            pass


def test_a_missing_package_is_told(tm: Tm, tmp_path: Path) -> None:
    (tmp_path / "ray.py").write_text("raise ImportError('no ray')\n")
    result = tm("synth", "--engine", "ray", env={"PYTHONPATH": str(tmp_path)})
    assert result.returncode == 2
    assert b"pip install 'tmcli[ray]'" in result.stderr


# ---- shares of a budget ----------------------------------------------------------------------------


def test_nothing_limited_is_nothing_shared() -> None:
    assert Shares(Meter()).grant("a", 8, 4) == Budget()


def test_until_an_episode_has_ended_one_worker_has_it_all() -> None:
    shares = Shares(Meter(budget=Budget(requests=20)))
    assert shares.grant("a", 4, 2) == Budget(requests=20)
    assert shares.grant("b", 4, 2) is None


def test_a_report_frees_what_is_not_used() -> None:
    meter = Meter(Price(1, 1), Budget(usd=1.0, requests=100))
    shares = Shares(meter)
    share = shares.grant("a", 2, 2)
    assert share == Budget(usd=1.0, requests=100)
    meter.requests, meter.usd, meter.ended = 10, 0.1, 2
    shares.used("a", {"usd": 0.1, "requests": 10, "tokens": 0}, share, running=0)
    assert shares.grant("b", 2, 2) == Budget(usd=0.45, requests=45)
    assert shares.grant("a", 2, 2) == Budget(usd=pytest.approx(0.325), requests=32)


def test_what_a_dead_worker_did_not_report_counts_as_used() -> None:
    meter = Meter(budget=Budget(requests=100))
    shares = Shares(meter)
    share = shares.grant("a", 4, 2)
    assert share is not None
    meter.requests, meter.ended = 10, 2
    shares.used("a", {"usd": 0.0, "requests": 10, "tokens": 0}, share, running=4)
    shares.died("a", running=4)
    assert shares.grant("b", 1, 1) == Budget(requests=70)
