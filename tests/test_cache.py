"""Replies had before come back as they were, whatever else writes, is killed, or is broken."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import Tm, environment
from hypothesis import given, settings
from hypothesis import strategies as st
from servers import Expert, ModelServer
from shell import records

from tmcli import suites
from tmcli.cache import FILE, Cache
from tmcli.errors import InputError, OutputError
from tmcli.records import encode

CHOICE = {"message": {"role": "assistant", "content": "ü" * 50}, "usage": {"prompt_tokens": 3}}


def test_what_was_put_comes_back(tmp_path: Path) -> None:
    with Cache(str(tmp_path / "new" / "folder"), "gpt-4o") as cache:
        assert cache.get(b"a") is None
        cache.put(b"a", CHOICE)
        assert cache.get(b"a") == CHOICE
    with Cache(str(tmp_path / "new" / "folder"), "gpt-4o") as cache:
        assert cache.get(b"a") == CHOICE
        assert cache.get(b"b") is None
    with Cache(str(tmp_path / "new" / "folder"), "gpt-4o-mini") as cache:
        assert cache.get(b"a") is None, "another server's"


@settings(max_examples=25)  # each opens a file twice
@given(st.dictionaries(st.binary(max_size=40), st.dictionaries(st.text(), st.text() | st.integers(-9, 9))))
def test_any_body_any_reply(tmp_path_factory: pytest.TempPathFactory, replies: dict[bytes, dict]) -> None:
    folder = str(tmp_path_factory.mktemp("cache"))
    with Cache(folder, "m") as cache:
        for body, choice in replies.items():
            cache.put(body, choice)
    with Cache(folder, "m") as cache:
        assert {body: cache.get(body) for body in replies} == replies


def test_the_first_reply_stays(tmp_path: Path) -> None:
    """Two processes that asked the same: a rerun gives what is there."""
    with Cache(str(tmp_path), "m") as one, Cache(str(tmp_path), "m") as two:
        one.put(b"a", {"n": 1})
        one.close()
        two.put(b"a", {"n": 2})
        two.close()
    with Cache(str(tmp_path), "m") as cache:
        assert cache.get(b"a") == {"n": 1}


WRITER = """
import sys
from tmcli.cache import Cache
cache = Cache(sys.argv[1], "m")
for i in range(300):
    cache.put(f"{sys.argv[2]} {i}".encode(), {"who": sys.argv[2], "i": i, "text": "x" * 500})
    if i == 150:
        print("half", flush=True)
        if sys.argv[2] == "killed":
            sys.stdin.read()
cache.close()
"""


def writer(folder: Path, who: str) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, "-c", WRITER, str(folder), who],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env=environment(),
    )


def test_many_processes_at_once_and_one_is_killed(tmp_path: Path) -> None:
    killed = writer(tmp_path, "killed")
    writers = {who: writer(tmp_path, who) for who in "abc"}
    assert killed.stdout
    assert killed.stdout.readline() == b"half\n"
    os.kill(killed.pid, signal.SIGKILL)
    for process in (killed, *writers.values()):
        process.communicate(timeout=60)
    assert [process.returncode for process in writers.values()] == [0, 0, 0]
    with Cache(str(tmp_path), "m") as cache:
        for who in writers:
            for i in range(300):
                choice = cache.get(f"{who} {i}".encode())
                assert choice is not None
                assert (choice["who"], choice["i"]) == (who, i)


def test_a_broken_file_is_a_sentence(tmp_path: Path) -> None:
    (tmp_path / FILE).write_bytes(b"no database, only text" * 100)
    with pytest.raises(InputError, match=f"{FILE}' cannot be read .*; delete it, or name another folder"):
        Cache(str(tmp_path), "m")


def test_a_file_that_breaks_later_is_a_sentence(tmp_path: Path) -> None:
    with Cache(str(tmp_path), "m") as cache:
        for i in range(200):
            cache.put(f"{i}".encode(), {"text": os.urandom(100).hex()})
    file = tmp_path / FILE
    data = bytearray(file.read_bytes())
    data[4096:] = b"\xff" * (len(data) - 4096)
    file.write_bytes(data)
    with Cache(str(tmp_path), "m") as cache, pytest.raises(InputError, match="cannot be read"):
        [cache.get(f"{i}".encode()) for i in range(200)]


def test_a_folder_that_cannot_be_used_is_a_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match=r"cannot be used .*; name another with --cache"):
        Cache(str(tmp_path / "file"), "m")


def test_a_full_disk_is_told_once_and_stops_nothing(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    with Cache(str(tmp_path), "m") as cache:
        cache._connection.execute("PRAGMA max_page_count = 4")  # as full as a disk can be
        for i in range(50):
            cache.put(f"{i}".encode(), {"text": os.urandom(500).hex()})
    assert capfd.readouterr().err.count("cannot be written any more") == 1
    with Cache(str(tmp_path), "m") as cache:
        cache.put(b"later", CHOICE)
    with Cache(str(tmp_path), "m") as cache:
        assert cache.get(b"later") == CHOICE


def test_no_secret_is_kept(tmp_path: Path) -> None:
    """The request's bytes are hashed, not stored."""
    with Cache(str(tmp_path), "m") as cache:
        cache.put(b'{"messages": "what only the body says"}', CHOICE)
    assert all(b"what only" not in file.read_bytes() for file in tmp_path.iterdir())


# ---- as a user meets it --------------------------------------------------------------------------


def test_a_rerun_is_free_and_needs_no_server(tm: Tm, tmp_path: Path) -> None:
    tasks = list(suites.suite("train", 6, drift=("stale",)))
    (tmp_path / "tasks.jsonl").write_bytes(b"".join(encode(task) + b"\n" for task in tasks))
    words = ("synth", "--tasks", "tasks.jsonl", "--teacher", "gpt-4o", "--samples", "2", "--cache", "kept")
    price = ("--price-in", "2.5", "--price-out", "10")
    with ModelServer(Expert(tasks)) as server:
        first = tm(*words, *price, env=server.env())
        n = len(server.requests)
    assert first.returncode == 0, first.stderr
    again = tm(*words, *price, "--max-requests", "0", "--budget-usd", "0", env=server.env())
    assert again.returncode == 0, again.stderr
    assert again.stdout == first.stdout
    told = again.stderr.decode()
    assert "0 tokens in, 0 out, $0.00; 0 requests, " in told
    assert int(told.split(" requests, ")[1].split()[0]) >= n
    assert all(record["usage"]["cost"] > 0 for record in records(again.stdout)), "what the tokens are worth"
    stored = b"".join(file.read_bytes() for file in (tmp_path / "kept").iterdir())
    assert b"sk-test" not in stored


def test_a_rerun_that_asks_for_more_asks_only_for_that(tm: Tm, tmp_path: Path) -> None:
    tasks = list(suites.suite("train", 3))
    (tmp_path / "tasks.jsonl").write_bytes(b"".join(encode(task) + b"\n" for task in tasks))
    words = ("synth", "--tasks", "tasks.jsonl", "--teacher", "gpt-4o", "--cache", "kept")
    with ModelServer(Expert(tasks)) as server:
        assert tm(*words, env=server.env()).returncode == 0
        n = len(server.requests)
        more = tm(*words, "--samples", "2", env=server.env())
    assert more.returncode == 0, more.stderr
    assert n < len(server.requests) <= 2 * n
    assert len(records(more.stdout)) == 6
