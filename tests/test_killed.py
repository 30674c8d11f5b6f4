"""Killed at any moment: what was finished is there, and `--resume` completes it to the same bytes.

Real processes against a real server, whose latency makes episodes slow enough to be hit. A run is killed when
its output has reached a size drawn from a seed, so at whatever it does then.
"""

from __future__ import annotations

import random
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import orjson
import pytest
from conftest import Tm, environment
from load_server import LoadServer
from shell import records

from tmcli import io, suites
from tmcli.records import decode, encode

FORMS = ["out.jsonl", "out.jsonl.gz", "out.parquet"]
N = 24
COMMAND = [sys.executable, "-m", "tmcli"]


@pytest.fixture(scope="module")
def server() -> Iterator[LoadServer]:
    with LoadServer(latency_ms=60) as server:
        yield server


TASKS = b"".join(encode(task) + b"\n" for task in suites.suite("train", N))


@pytest.fixture(scope="module")
def played(server: LoadServer) -> list[str]:
    """A run of `N` episodes, without its output."""
    return ["synth", "--tasks", "tasks.jsonl", "--teacher", f"m@{server.url}", "--concurrency", "6"]


@pytest.fixture(scope="module")
def whole(played: list[str], tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """What an undisturbed run writes."""
    folder = tmp_path_factory.mktemp("whole")
    (folder / "tasks.jsonl").write_bytes(TASKS)
    command = [*COMMAND, *played, "-o", "whole.jsonl"]
    subprocess.run(command, cwd=folder, env=environment(), check=True, capture_output=True, timeout=100)
    return (folder / "whole.jsonl").read_bytes()


@pytest.fixture
def words(played: list[str], tmp_path: Path) -> list[str]:
    """The same, with its tasks in this test's folder."""
    (tmp_path / "tasks.jsonl").write_bytes(TASKS)
    return played


def packed(whole: bytes, name: str, tmp_path: Path) -> bytes:
    """The same as a file of this form."""
    if name.endswith(".jsonl"):
        return whole
    again = tmp_path / "packed"  # made when all else is done
    again.mkdir()
    with io.open_output(str(again / name)) as out:
        for line in whole.splitlines():
            out.write(decode(line))
    return (again / name).read_bytes()


@contextmanager
def started(*words: str | Path, cwd: Path) -> Iterator[subprocess.Popen[bytes]]:
    with subprocess.Popen(
        [*COMMAND, *map(str, words)],
        cwd=cwd,
        env=environment(),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def wait_for(reached: Callable[[], bool], process: subprocess.Popen[bytes], seconds: float = 60) -> bool:
    """Until it is so (True) or the process has ended."""
    deadline = time.monotonic() + seconds
    while not reached():
        if process.poll() is not None:
            return False
        assert time.monotonic() < deadline
        time.sleep(0.002)
    return True


def n_lines(path: Path) -> int:
    return path.read_bytes().count(b"\n") if path.exists() else 0


def grows(cwd: Path, name: str) -> Path:
    return cwd / (name if name.endswith(".jsonl") else f"{name}.part")


def kill(words: list[str], cwd: Path, name: str, dice: random.Random) -> None:
    """One life, ended at a point of its start, middle or end."""
    part = grows(cwd, name)
    before = n_lines(part)
    began = time.monotonic()
    if dice.random() < 0.2:
        seconds = dice.uniform(0, 1)
        reached = lambda: time.monotonic() - began > seconds  # noqa: E731
    else:
        due = dice.randint(before, N)
        ends = (cwd / name).stat() if (cwd / name).exists() else None
        reached = lambda: (  # noqa: E731
            n_lines(part) >= due or (ends is None and part != cwd / name and (cwd / name).exists())
        )
    with started(*words, "-o", name, "--resume", cwd=cwd) as process:
        wait_for(reached, process)
        process.kill()
        process.wait()


def complete(words: list[str], name: str, tm: Tm, cwd: Path) -> bytes:
    result = tm(*words, "-o", name, "--resume")
    assert result.returncode == 0, result.stderr
    left = {path.name for path in cwd.iterdir()} - {"tasks.jsonl", name}
    assert left == set()
    return (cwd / name).read_bytes()


# ---- SIGKILL ------------------------------------------------------------------------------------------


def lives(words: list[str], whole: bytes, name: str, n: int, seed: int, tm: Tm, cwd: Path) -> None:
    dice = random.Random(seed)
    for _ in range(n):
        kill(words, cwd, name, dice)
    assert complete(words, name, tm, cwd) == packed(whole, name, cwd)


def test_killed_twice(words: list[str], whole: bytes, tm: Tm, tmp_path: Path) -> None:
    lives(words, whole, "out.jsonl", 2, 0, tm, tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("name", FORMS)
def test_killed_again_and_again(
    name: str, seed: int, words: list[str], whole: bytes, tm: Tm, tmp_path: Path
) -> None:
    """48 points, four in each life."""
    lives(words, whole, name, 4, seed + 1, tm, tmp_path)


@pytest.mark.parametrize("name", ["out.jsonl", pytest.param("out.parquet", marks=pytest.mark.slow)])
def test_killed_while_it_is_put_into_order(name: str, tm: Tm, tmp_path: Path) -> None:
    """A large file in no order at all, and nothing left to play."""
    task = next(iter(suites.suite("train", 1)))
    lines = [encode(task).replace(task.id.encode(), b"t%d" % i) for i in range(400)]
    (tmp_path / "tasks.jsonl").write_bytes(b"\n".join(lines) + b"\n")
    words = ["synth", "--tasks", "tasks.jsonl", "-o", name, "--resume"]
    first = records(tm("synth", "-n", "1", "--tasks", "tasks.jsonl").stdout)[0]
    first["text"] = "x" * 100_000
    made = [orjson.dumps(first).replace(b'"t0', b'"t%d' % i) + b"\n" for i in range(400)]
    shuffled = random.Random(1).sample(made, len(made))
    grows(tmp_path, name).write_bytes(b"".join(shuffled))
    for _ in range(2):
        with started(*words, cwd=tmp_path) as process:
            wait_for(lambda: any(p.name.endswith(".tmp") for p in tmp_path.iterdir()), process)
            process.kill()
            process.wait()
    got = tm(*words)
    assert got.returncode == 0, got.stderr
    assert {path.name for path in tmp_path.iterdir()} == {"tasks.jsonl", name}
    assert [encode(record) + b"\n" for record in io.read(str(tmp_path / name))] == made


# ---- signals ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("sent", "code", "told"),
    [
        ([signal.SIGINT], 130, "finishing 6 episodes; Ctrl-C again stops now"),
        pytest.param([signal.SIGINT, signal.SIGINT], 130, "interrupted", marks=pytest.mark.slow),
        ([signal.SIGTERM], 143, "interrupted"),
        pytest.param([signal.SIGHUP], 129, "interrupted", marks=pytest.mark.slow),
        pytest.param([signal.SIGINT, signal.SIGTERM], 143, "interrupted", marks=pytest.mark.slow),
    ],
)
def test_stopped(
    sent: list[signal.Signals], code: int, told: str, words: list[str], whole: bytes, tm: Tm, tmp_path: Path
) -> None:
    out = tmp_path / "out.jsonl"
    with started(*words, "-o", "out.jsonl", cwd=tmp_path) as process:
        wait_for(lambda: n_lines(out) >= 8, process)
        for number in sent:
            process.send_signal(number)
            time.sleep(0.01)  # two of a kind at once are one
        _, said = process.communicate(timeout=60)
    assert process.returncode == code, said
    assert told in said.decode()
    assert b"Traceback" not in said
    kept = records(out.read_bytes())
    assert f"{len(kept)} records are kept in out.jsonl; --resume continues" in said.decode()
    assert 8 <= len(kept) < N
    if sent == [signal.SIGINT]:  # those that ran came to their end
        assert len(kept) >= 8 + 5
    assert complete(words, "out.jsonl", tm, tmp_path) == whole


def test_stopped_while_nobody_reads(words: list[str], tmp_path: Path) -> None:
    """A full pipe: what runs is finished, but cannot be handed over; SIGTERM ends it all the same."""
    with started("synth", "-n", "100000", "--concurrency", "4", cwd=tmp_path) as process:
        assert process.stdout is not None
        process.stdout.read(10)
        time.sleep(1)  # the pipe fills; where it has not yet, the run ends as well
        process.send_signal(signal.SIGINT)
        time.sleep(0.1)
        process.send_signal(signal.SIGTERM)
        assert process.wait(30) == 143


# ---- a full disk -----------------------------------------------------------------------------------------


def limited(limit: int) -> Callable[[], None]:
    return lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (limit, resource.RLIM_INFINITY))


@pytest.mark.parametrize("name", ["out.jsonl", pytest.param("out.jsonl.gz", marks=pytest.mark.slow)])
def test_a_full_disk(name: str, words: list[str], whole: bytes, tm: Tm, tmp_path: Path) -> None:
    """No file may grow beyond the middle of a line."""
    process = subprocess.run(
        [*COMMAND, *words, "-o", name],
        cwd=tmp_path,
        env=environment(),
        capture_output=True,
        preexec_fn=limited(len(whole) // 2),
        timeout=60,
    )
    said = process.stderr.decode()
    assert process.returncode == 2, said
    part = grows(tmp_path, name)
    kept = records(part.read_bytes())
    assert part.read_bytes().endswith(b"\n")
    assert 0 < len(kept) < N
    assert f"cannot write {part.name}: file too large" in said
    assert f"{len(kept)} records are kept in {part.name}; --resume continues" in said
    assert complete(words, name, tm, tmp_path) == packed(whole, name, tmp_path)


def test_stopped_while_the_next_task_does_not_come(words: list[str], tmp_path: Path) -> None:
    """A thread waits for stdin then, in which Python must not be caught at its end."""
    words[words.index("tasks.jsonl")] = "-"
    command = [*COMMAND, *words, "-o", "out.jsonl"]
    pipes: dict[str, Any] = dict.fromkeys(("stdin", "stderr"), subprocess.PIPE)
    with subprocess.Popen(command, cwd=tmp_path, env=environment(), **pipes) as process:
        assert process.stdin is not None
        assert process.stderr is not None
        process.stdin.write(TASKS.splitlines(keepends=True)[0])
        process.stdin.flush()
        assert wait_for(lambda: n_lines(tmp_path / "out.jsonl") == 1, process)
        process.send_signal(signal.SIGINT)
        assert process.wait(30) == 130
        assert b"Fatal" not in process.stderr.read()
        process.stdin.close()
