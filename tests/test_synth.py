"""`tm synth` as a user runs it: the embedded teacher, and a model behind a real server, well and ill."""

from __future__ import annotations

import json
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterable
from pathlib import Path

import pytest
from conftest import Tm, environment
from players import sum_task
from servers import Brain, Expert, ModelServer, Trouble, after, by_question, call, say, text
from shell import pipe, records

from tmcli import suites
from tmcli.protocol import prompt
from tmcli.records import Task, encode

KEY = "sk-a-secret-key"


def write_tasks(path: Path, tasks: Iterable[Task]) -> Path:
    path.write_bytes(b"".join(encode(task) + b"\n" for task in tasks))
    return path


# ---- the embedded teacher ----------------------------------------------------------------------------


def test_the_embedded_teacher_tries_learns_and_answers(tm: Tm) -> None:
    got = tm("synth", "-n", "6", "--drift", "stale")
    assert got.returncode == 0, got.stderr
    made = records(got.stdout)
    assert [r["task"]["source"] for r in made] == [f"suite:train:0:{i}" for i in range(6)]
    assert {r["policy"]["name"] for r in made} == {"scripted"}
    assert all(r["scores"]["answer"] == 1.0 and r["reward"] > 0.9 for r in made)
    assert any(c["ok"] is False for r in made for turn in r["turns"] for c in turn["calls"])
    assert "6 of 6" in got.stderr.decode()
    assert "correct 6" in got.stderr.decode()


def test_direct_style_shows_the_direct_prompt_and_never_tries(tm: Tm) -> None:
    made = records(tm("synth", "-n", "4", "--drift", "stale", "--style", "direct").stdout)
    assert {r["messages"][0]["content"] for r in made} == {prompt("direct")}
    assert all(turn["phase"] == "execution" for r in made for turn in r["turns"])
    assert all(r["scores"]["answer"] == 1.0 for r in made)


def test_same_seed_same_bytes_whatever_the_concurrency(tm: Tm) -> None:
    words = ("synth", "-n", "5", "--samples", "2", "--seed", "3")
    first = tm(*words, "--concurrency", "1").stdout
    assert first
    assert first == tm(*words, "--concurrency", "7").stdout
    assert len({r["id"] for r in records(first)}) == 10
    assert first != tm("synth", "-n", "5", "--samples", "2", "--seed", "4").stdout


def test_tasks_come_from_stdin_or_a_file(tm: Tm, tmp_path: Path) -> None:
    tasks = tm("tasks", "-n", "3", "--suite", "unseen").stdout
    (tmp_path / "tasks.jsonl").write_bytes(tasks)
    piped = tm("synth", "--tasks", "-", input=tasks)
    assert [r["task"]["id"] for r in records(piped.stdout)] == [t["id"] for t in records(tasks)]
    assert tm("synth", "--tasks", "tasks.jsonl").stdout == piped.stdout
    assert len(records(tm("synth", "--tasks", "-", "-n", "2", input=tasks).stdout)) == 2


def test_resume_plays_only_what_is_missing(tm: Tm, tmp_path: Path) -> None:
    words = ("synth", "-n", "5", "-o", "out.jsonl")
    assert tm(*words).returncode == 0
    whole = (tmp_path / "out.jsonl").read_bytes()
    lines = whole.splitlines(keepends=True)
    (tmp_path / "out.jsonl").write_bytes(b"".join(lines[:3]) + lines[3][:50])
    assert tm(*words).returncode == 2  # never overwritten
    got = tm(*words, "--resume")
    assert got.returncode == 0, got.stderr
    assert (tmp_path / "out.jsonl").read_bytes() == whole
    assert "2 of 2" in got.stderr.decode()
    again = tm(*words, "--resume")
    assert again.returncode == 0
    assert "nothing to do" in again.stderr.decode()
    assert tm("synth", "-n", "5", "-o", "out.jsonl", "--max-turns", "3", "--resume").returncode == 2


@pytest.mark.parametrize("name", ["out.jsonl.gz", "out.parquet"])
def test_packed_outputs(name: str, tm: Tm, tmp_path: Path) -> None:
    assert tm("synth", "-n", "2", "-o", name).returncode == 0
    assert sorted(path.name for path in tmp_path.iterdir()) == [name]
    assert len(records(tm("filter", name).stdout)) == 2


def test_ctrl_c_keeps_what_is_done_and_resume_goes_on(tm: Tm, tmp_path: Path) -> None:
    out = tmp_path / "out.jsonl"
    words = ["synth", "-n", "100000", "-o", str(out)]
    process = subprocess.Popen(
        [sys.executable, "-m", "tmcli", *words], env=environment(), stderr=subprocess.PIPE, cwd=tmp_path
    )
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline and not (out.exists() and out.read_bytes().count(b"\n") > 3):
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    _, told = process.communicate(timeout=30)
    assert process.returncode == 130, told
    n = out.read_bytes().count(b"\n")
    assert n > 3
    assert tm("synth", "-n", str(n + 2), "-o", out, "--resume").returncode == 0
    assert out.read_bytes().count(b"\n") == n + 2


# ---- wrong usage ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("--tasks", "-"), "no tasks"),
        (("-n", "0"), "no tasks"),
        (("--tasks", "trian"), "did you mean 'train'"),
        (("--drift", "stael"), "did you mean 'stale'"),
        (("--teacher", "gpt-4o"), "OPENAI_API_KEY is not set"),
        (("--teacher", "gpt-4o@ftp://me:hunter2@host"), "server cannot be read"),
        (("--resume",), "--resume needs a file"),
    ],
)
def test_wrong_usage_is_one_sentence_and_leaves_nothing(
    words: tuple[str, ...], told: str, tm: Tm, tmp_path: Path
) -> None:
    output = () if "--resume" in words else ("-o", "out.jsonl")
    got = tm("synth", *words, *output)
    assert got.returncode == 2, got.stderr
    assert told in got.stderr.decode()
    assert b"Traceback" not in got.stderr
    assert b"hunter2" not in got.stderr
    assert got.stdout == b""
    assert list(tmp_path.iterdir()) == []


def test_the_embedded_teacher_needs_plans(tm: Tm) -> None:
    got = tm("synth", "--tasks", "-", input=encode(sum_task()) + b"\n")
    assert got.returncode == 2
    assert b"has no gold plan" in got.stderr


# ---- a model behind a server ------------------------------------------------------------------------------


def test_the_pipe_of_the_readme(tmp_path: Path) -> None:
    """`tm synth --teacher gpt-4o | tm filter > sft.jsonl` against a server whose model really plays."""
    tasks = list(suites.suite("train", 8, 0, ["stale"]))
    with ModelServer(Expert(tasks)) as server:
        line = "tm synth --teacher gpt-4o -n 8 --drift stale | tm filter > sft.jsonl"
        got = pipe(line, tmp_path, server.env(KEY))
    assert got.returncode == 0, got.stderr
    kept = records((tmp_path / "sft.jsonl").read_bytes())
    assert len(kept) == 8
    assert set(server.keys) == {f"Bearer {KEY}"}
    assert KEY not in got.stderr.decode() + json.dumps(kept)
    # The model is told the whole method, the student's record holds the student's prompt.
    assert {r["messages"][0]["content"] for r in server.requests} == {prompt("teacher")}
    assert {r["messages"][0]["content"] for r in kept} == {prompt("trial")}
    assert {r["policy"]["name"] for r in kept} == {"gpt-4o"}
    assert all(r["usage"]["prompt_tokens"] >= 100 * len(r["turns"]) for r in kept)
    assert [r["task"]["answer"] for r in kept] == [task.answer for task in tasks]


def test_tasks_through_the_pipe_and_nothing_hidden_goes_out(tmp_path: Path) -> None:
    tasks = list(suites.suite("unseen", 3, 0))
    with ModelServer(Expert(tasks)) as server:
        line = f"tm tasks --suite unseen -n 3 | tm synth --tasks - --teacher m@{server.url} | tm filter"
        got = pipe(line, tmp_path, {})
    assert got.returncode == 0, got.stderr
    assert len(records(got.stdout)) == 3
    for task in tasks:
        asked = task.messages[0]["content"]
        first = next(r for r in server.requests if r["messages"][-1]["content"] == asked)
        sent = json.dumps(first)
        assert not any(gold in sent for gold in task.answer)
        assert task.id not in sent
        assert set(first) == {"model", "messages", "tools", "temperature", "max_tokens", "seed"}


ANSWER = text("<answer>1</answer>")
ADD = ("add", '{"a": 0, "b": 1}')
AS_TEXT = '<tool_call>{"name": "add", "arguments": {"a": 0, "b": 1}}</tool_call>'


def faults() -> dict[str, tuple[Brain, str]]:
    """What goes wrong -> who makes it so, and how the episode must end."""
    return {
        "busy": (after(Trouble(429, headers={"Retry-After": "0.05"}), say(ANSWER)), "answer"),
        "broken": (after(Trouble(500), say(ANSWER)), "answer"),
        "reset": (after(Trouble(reset=True), say(ANSWER)), "answer"),
        "malformed": (after(Trouble(200, '{"choices": ['), say(ANSWER)), "answer"),
        "bad arguments": (say(call("add", '{"a": 0,, "b"}'), call(*ADD), ANSWER), "answer"),
        "unknown tool": (say(call("subtract", "{}"), ANSWER), "answer"),
        "parallel": (say(call(*ADD * 12), ANSWER), "answer"),
        "text calls": (say(text(AS_TEXT), ANSWER), "answer"),
        "cut": (say(text("<answer>1", finish_reason="length")), "length"),
        "refused": (say({"message": {"content": None, "refusal": "no"}}), "refusal"),
        "filtered": (say(text("", finish_reason="content_filter")), "refusal"),
        "empty": (say(text(None)), "no_call"),
        "endless": (say(call(*ADD)), "max_turns"),
    }


@pytest.mark.parametrize("concurrency", ["1", "8"])
def test_each_fault_ends_as_specified_and_the_run_goes_on(concurrency: str, tm: Tm, tmp_path: Path) -> None:
    due = faults()
    tasks = [sum_task(messages=[{"role": "user", "content": name}]) for name in due]
    write_tasks(tmp_path / "tasks.jsonl", tasks)
    with ModelServer(by_question({name: brain for name, (brain, _) in due.items()})) as server:
        words = ("synth", "--tasks", "tasks.jsonl", "--teacher", "gpt-4o", "--concurrency", concurrency)
        got = tm(*words, env=server.env(KEY))
    assert got.returncode == 0, got.stderr
    assert b"Traceback" not in got.stderr
    made = {r["task"]["messages"][0]["content"]: r for r in records(got.stdout)}
    assert {name: r["stop"] for name, r in made.items()} == {name: stop for name, (_, stop) in due.items()}
    assert list(made) == list(due)  # in order
    assert {r["status"] for r in made.values()} == {"ok"}
    assert all(r["reward"] is not None for r in made.values())
    calls = {name: [c["ok"] for turn in r["turns"] for c in turn["calls"]] for name, r in made.items()}
    assert calls["bad arguments"] == [False, True]
    assert calls["unknown tool"] == [False]
    assert calls["parallel"] == [True] * 8 + [False] * 4
    assert calls["text calls"] == [True]
    assert calls["endless"] == [True] * 12


def test_a_server_that_breaks_for_one_episode_makes_it_invalid_and_resume_mends_it(
    tm: Tm, tmp_path: Path
) -> None:
    write_tasks(tmp_path / "tasks.jsonl", [sum_task(i) for i in range(3)])
    words = ("synth", "--tasks", "tasks.jsonl", "--teacher", "m", "--concurrency", "1", "-o", "out.jsonl")
    with ModelServer(say(ANSWER), [None, *[Trouble(500, headers={"Retry-After": "0"})] * 8]) as server:
        got = tm(*words, env=server.env(KEY))
        assert got.returncode == 0, got.stderr
        made = records((tmp_path / "out.jsonl").read_bytes())
        assert [r["status"] for r in made] == ["ok", "invalid", "ok"]
        assert made[1]["reward"] is None
        assert "500" in made[1]["failure"]
        assert "1 of 3 episodes are invalid" in got.stderr.decode()
        assert tm(*words, "--resume", env=server.env(KEY)).returncode == 0
    made = records((tmp_path / "out.jsonl").read_bytes())
    assert sorted((r["task"]["answer"][0], r["status"]) for r in made) == [
        ("1", "ok"),
        ("2", "ok"),
        ("3", "ok"),
    ]


@pytest.mark.parametrize(
    ("trouble", "code", "told"),
    [
        (Trouble(401, json.dumps({"error": {"message": f"wrong key: {KEY}"}})), 2, "set OPENAI_API_KEY"),
        (Trouble(404), 2, "does it serve 'gpt-4o'"),
        (Trouble(429, '{"error": {"code": "insufficient_quota", "message": "no money"}}'), 1, "no money"),
        (Trouble(400, '{"error": {"message": "no tools here"}}'), 1, "no tools here"),
    ],
)
def test_trouble_that_stays_stops_the_run(
    trouble: Trouble, code: int, told: str, tm: Tm, tmp_path: Path
) -> None:
    with ModelServer(say(ANSWER), [trouble] * 500) as server:
        words = ("synth", "--teacher", "gpt-4o", "--concurrency", "2")
        got = tm(*words, "-o", "out.jsonl", env=server.env(KEY))
        assert len(server.requests) < 100
    assert got.returncode == code, got.stderr
    assert told in got.stderr.decode()
    assert KEY not in got.stderr.decode()
    assert list(tmp_path.iterdir()) == []  # nothing half-written


def test_nothing_listening_stops_the_run_with_one_sentence(tm: Tm) -> None:
    with socket.create_server(("127.0.0.1", 0)) as held:
        url = f"http://127.0.0.1:{held.getsockname()[1]}/v1"
    got = tm("synth", "--teacher", f"m@{url}", "-n", "2")
    assert got.returncode == 1
    assert f"the server {url} refuses the connection" in got.stderr.decode()
    assert b"Traceback" not in got.stderr
