"""Pipes, signals and limits, with real processes: what a shell would see."""

import gzip
import os
import pty
import resource
import select
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import zstandard
from conftest import Tm, environment

from tmcli.io import open_output, read
from tmcli.records import Trajectory, decode, encode, expect

TM = [sys.executable, "-m", "tmcli"]


def shell(line: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    """A line of bash in which `tm` is this one; the exit code is the first that is not 0."""
    tm = f'tm() {{ "{sys.executable}" -m tmcli "$@"; }}; set -o pipefail; '
    return subprocess.run(
        ["bash", "-c", tm + line], cwd=cwd, env=environment(), capture_output=True, text=True, timeout=60
    )


@contextmanager
def started(*words: str | Path, cwd: Path | None = None, **options: Any) -> Iterator[subprocess.Popen[bytes]]:
    """`tm WORDS`, running; ended for certain afterwards."""
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    command = [*TM, *map(str, words)]
    with subprocess.Popen(command, cwd=cwd, env=environment(), **(pipes | options)) as process:
        try:
            yield process
        finally:
            process.kill()


def wait_for(condition: Callable[[], bool], seconds: float = 30) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it never came"
        time.sleep(0.02)


@pytest.fixture(scope="module")
def played() -> list[Trajectory]:
    """Five right trajectories of the scripted teacher."""
    lines = subprocess.check_output([*TM, "-q", "synth", "-n", "5"], env=environment()).splitlines()
    return [expect(decode(line), Trajectory) for line in lines]


# ---- stdout belongs to records -------------------------------------------------------------------


def test_nobody_else_writes_to_stdout() -> None:
    program = """
import logging, os, subprocess, sys
from contextlib import redirect_stdout
from tmcli import streams
with streams.owned_stdout(), redirect_stdout(sys.stderr):
    print("python")
    os.write(1, b"descriptor\\n")
    os.system("echo child")
    subprocess.run(["sh", "-c", "echo grandchild"])
    logging.basicConfig(stream=sys.stdout, force=True); logging.warning("log")
    streams.stdout().write(b"record\\n")
    streams.stdout().flush()
"""
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, env=environment())
    said = {b"python", b"descriptor", b"child", b"grandchild", b"WARNING:root:log"}
    assert result.stdout == b"record\n"
    assert set(result.stderr.splitlines()) == said


def test_help_is_on_stdout(tm: Tm) -> None:
    for words in (["--help"], ["-h"], [], ["filter", "-h"], ["tools", "list", "-h"]):
        result = tm(*words)
        assert (result.returncode, result.stderr) == (0, b"")
        assert result.stdout.startswith(b"Usage: tm ")


@pytest.mark.parametrize("closed", ["<&-", ">&-", "2>&-", "<&- >&- 2>&-"])
def test_closed_descriptors_do_no_harm(tmp_path: Path, closed: str) -> None:
    """The next file opened would get the number, and prints with it."""
    result = shell(f"tm tasks -n 2 -o x.jsonl {closed} && tm tasks x.jsonl", tmp_path)
    assert result.returncode == 0, result.stderr
    assert len(result.stdout.splitlines()) == 2


def test_records_for_a_closed_stdout_are_an_error(tmp_path: Path) -> None:
    result = shell("tm tasks -n 2 >&-", tmp_path)
    assert result.returncode == 2
    assert "cannot write stdout: bad file descriptor" in result.stderr


# ---- readers that leave --------------------------------------------------------------------------


@pytest.mark.parametrize(
    "line",
    [
        "tm tasks -n 100000 | head -1",
        "tm tasks -n 100000 | tm tasks - | head -1",
        "tm tasks -n 3000 --to parquet | head -c 4",
        "tm -q synth -n 500 | head -1",
        "tm --help | true",
        "tm filter --help | head -1",
    ],
)
def test_a_reader_that_leaves_ends_it_quietly(tmp_path: Path, line: str) -> None:
    result = shell(line, tmp_path)
    assert (result.returncode, result.stderr) == (0, "")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
@pytest.mark.parametrize("words", ["tasks -n 9", "tasks -n 999", "tasks -n 9 --to parquet", "--help"])
def test_a_full_stdout_is_said(tmp_path: Path, words: str) -> None:
    result = shell(f"tm {words} > /dev/full", tmp_path)
    assert result.returncode == 2
    assert "cannot write stdout: no space left on device; free some space" in result.stderr
    assert len(result.stderr.splitlines()) == 1


def test_a_pipe_that_does_not_wait() -> None:
    """node and some servers hand over such pipes."""
    ours, theirs = os.pipe()
    os.set_blocking(theirs, False)
    with open(ours, "rb") as pipe, started("tasks", "-n", "300", stdout=theirs) as process:
        os.close(theirs)
        time.sleep(1)  # let it fill the pipe
        assert len(pipe.readlines()) == 300
        assert process.wait(10) == 0


# ---- stdin ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["x.jsonl", "x.jsonl.gz", "x.jsonl.zst", "x.parquet"])
def test_every_form_through_every_door(tmp_path: Path, name: str, played: list[Trajectory]) -> None:
    with open_output(str(tmp_path / name)) as out:
        for trajectory in played:
            out.write(trajectory)
    lines = "".join(f"{encode(trajectory).decode()}\n" for trajectory in played)
    for line in ("cat {0} | tm filter", "tm filter < {0}", "tm filter <(cat {0})", "tm filter {0}"):
        result = shell(line.format(name), tmp_path)
        assert (result.returncode, result.stdout) == (0, lines), result.stderr


@pytest.mark.parametrize("compress", [gzip.compress, zstandard.compress])
def test_a_broken_line_on_stdin_has_its_place(tm: Tm, compress: Any, played: list[Trajectory]) -> None:
    line = encode(played[0]) + b"\n"
    result = tm("filter", input=compress(line + b"\n{torn"))
    assert result.returncode == 2
    assert b"tm filter: stdin:3: not JSON" in result.stderr
    assert result.stdout == line, "what came before is not lost"


def test_a_terminal_on_stdin_is_refused() -> None:
    ours, theirs = pty.openpty()
    try:
        with started("filter", stdin=theirs) as process:
            assert process.stderr is not None
            assert process.wait(20) == 2
            said = process.stderr.read()
    finally:
        os.close(ours)
        os.close(theirs)
    assert said == b"tm filter: no input: stdin is a terminal; name a file or pipe records in\n"


def test_a_slow_stream_is_passed_on_as_it_comes(tm: Tm) -> None:
    tasks = tm("tasks", "-n", "3").stdout.splitlines(keepends=True)
    with started("tasks", "-") as process:
        assert process.stdin is not None
        assert process.stdout is not None
        time.sleep(2)  # it is reading by now; before, records wait for a block or for the next one
        for line in tasks:
            process.stdin.write(line)
            process.stdin.flush()
            assert select.select([process.stdout], [], [], 20)[0], "it waits for more"
            assert os.read(process.stdout.fileno(), 1 << 20) == line
            time.sleep(0.5)


# ---- broken lines and limits ---------------------------------------------------------------------


def test_broken_lines_can_be_set_aside(tm: Tm, tmp_path: Path) -> None:
    tasks = tm("tasks", "-n", "2").stdout
    result = tm("tasks", "-", "--skip-invalid", "--rejects", "bad", input=b"{\n" + tasks + b"\xff")
    assert (result.returncode, result.stdout) == (0, tasks)
    assert (tmp_path / "bad").read_bytes() == b"{\n\xff\n"
    assert b"warning: 2 broken lines set aside in bad; the first: stdin:1: not JSON" in result.stderr


def limited(megabytes: int) -> Callable[[], None]:
    """For `preexec_fn`: no more memory than this beside the code."""
    return lambda: resource.setrlimit(resource.RLIMIT_DATA, (megabytes << 20, megabytes << 20))


linux = pytest.mark.skipif(
    not sys.platform.startswith("linux"), reason="RLIMIT_DATA counts mappings on Linux only"
)


@linux
def test_a_line_without_end_is_refused_unread() -> None:
    with started(
        "tasks", "-", "--skip-invalid", preexec_fn=limited(400), stdout=subprocess.DEVNULL
    ) as process:
        assert process.stdin is not None
        assert process.stderr is not None
        process.stdin.write(b'{"kind": "')
        for _ in range(500):
            process.stdin.write(b"x" * (1 << 20))
        process.stdin.close()
        assert process.wait(60) == 0
        assert b"stdin:1: the line is longer than 64 MiB" in process.stderr.read()


@linux
@pytest.mark.parametrize(
    ("name", "limit"),
    [("x.jsonl", 150), pytest.param("x.parquet", 600, marks=pytest.mark.slow)],  # Arrow reserves large arenas
)
def test_memory_stays_constant(tmp_path: Path, tm: Tm, name: str, limit: int) -> None:
    line = tm("tasks", "-n", "1").stdout
    block = line * ((1 << 20) // len(line) + 1)
    with started("tasks", "-", "-o", name, cwd=tmp_path, preexec_fn=limited(limit)) as process:
        assert process.stdin is not None
        assert process.stderr is not None
        for _ in range(2 * limit):
            process.stdin.write(block)
        process.stdin.close()
        said = process.stderr.read()
        assert process.wait(120) == 0, said
    (tmp_path / name).unlink()  # large


# ---- signals -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("sent", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129)]
)
@pytest.mark.parametrize("name", ["x.jsonl", "x.jsonl.zst", "x.parquet"])
def test_a_stopped_stream_leaves_nothing_half_written(
    tmp_path: Path, sent: signal.Signals, code: int, name: str
) -> None:
    with started("filter", "-o", name, cwd=tmp_path) as process:
        assert process.stderr is not None
        wait_for(lambda: any(tmp_path.iterdir()))
        process.send_signal(sent)
        if sent == signal.SIGINT:  # in a pipe the first is for who writes to it
            while not select.select([process.stderr], [], [], 10)[0]:
                process.send_signal(sent)  # Python sleeps through one that comes right before a read
            told = process.stderr.readline()
            assert told == b"tm filter: reading what still comes; Ctrl-C again stops now\n"
            process.send_signal(sent)
        assert process.wait(20) == code
        said = process.stderr.read()
    assert said == b"tm filter: interrupted\n"
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("name", "sent"),
    [("x.jsonl", signal.SIGTERM), ("x.jsonl.gz", signal.SIGHUP), ("x.parquet", signal.SIGINT)],
)
def test_a_stopped_journal_continues(tmp_path: Path, tm: Tm, name: str, sent: signal.Signals) -> None:
    words = ["synth", "-n", "250", "-o", name]
    grows = tmp_path / (name if name == "x.jsonl" else f"{name}.part")
    with started(*words, cwd=tmp_path) as process:
        assert process.stderr is not None
        wait_for(lambda: grows.exists() and grows.stat().st_size > 0)
        process.send_signal(sent)
        assert process.wait(20) == 128 + sent
        said = process.stderr.read().decode()
    kept = len(list(read(str(grows), kind=Trajectory)))
    assert f"tm synth: interrupted; {kept} records are kept in {grows.name}; --resume continues" in said
    assert "Traceback" not in said
    assert 0 < kept < 250
    again = tm(*words)
    assert again.returncode == 2
    assert b"exists; use --resume to continue it, --force to replace it, or another name" in again.stderr
    result = tm(*words, "--resume")
    assert result.returncode == 0, result.stderr
    assert tm("synth", "-n", "250", "-o", "whole.jsonl").returncode == 0
    assert list(read(str(tmp_path / name))) == list(read(str(tmp_path / "whole.jsonl")))
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted([name, "whole.jsonl"])


def test_a_pipeline_is_stopped_as_one(tmp_path: Path) -> None:
    """Who plays finishes what runs, and who reads makes a whole file of all that came."""
    tm = f'"{sys.executable}" -m tmcli'
    line = f"{tm} synth -n 50000 | (trap '' INT; tee all.jsonl) | {tm} filter -o kept.jsonl"
    with subprocess.Popen(
        ["bash", "-c", f"set -o pipefail; {line}"],
        cwd=tmp_path,
        env=environment(),
        stderr=subprocess.PIPE,
        start_new_session=True,
    ) as process:
        assert process.stderr is not None
        played = tmp_path / "all.jsonl"
        wait_for(lambda: played.exists() and played.read_bytes().count(b"\n") > 20)
        os.killpg(process.pid, signal.SIGINT)
        said = process.stderr.read()
    assert b"Traceback" not in said
    assert b"finishing" in said
    assert b"reading what still comes" in said
    kept = sum(1 for _ in read(str(tmp_path / "kept.jsonl")))
    assert 20 < kept == played.read_bytes().count(b"\n")
