"""A study run again from its recording, or from its own output: the same bytes, and no tool is run."""

from __future__ import annotations

import asyncio
import gzip
import itertools
import json
import tempfile
import threading
from collections.abc import Iterable, Sequence
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from conftest import Tm
from hypothesis import given
from hypothesis import strategies as st
from players import Player, Turn, said, schema, sum_task
from servers import ModelServer, call, say, text
from shell import records
from strategies import objects
from strategies import text as texts

from tmcli import console
from tmcli.environments import Observation
from tmcli.environments.machinery import Machinery
from tmcli.environments.recording import Recorder
from tmcli.environments.replay import Replay, key
from tmcli.environments.world import World
from tmcli.episode import Limits
from tmcli.errors import EnvironmentFailure, InputError
from tmcli.records import Json, Task, Trajectory, encode, new_task
from tmcli.runner import Runner, jobs

Call = tuple[str, Json]


def recording(task: str, sample: int | None, *calls: tuple[str, Json, str]) -> Json:
    made = [{"name": name, "arguments": args, "ok": True, "text": said} for name, args, said in calls]
    which = {} if sample is None else {"sample": sample}
    return {"kind": "recording", "v": 1, "task": task, **which, "calls": made}


def write(path: Path, *lines: Json) -> str:
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return str(path)


def told(path: str, task: str, sample: int, calls: Iterable[Call]) -> list[str]:
    """What the calls of one session bring."""

    async def run() -> list[str]:
        recordings = Replay(path)
        session = recordings.over(task, sample)
        try:
            return [(await session.call(name, arguments)).text for name, arguments in calls]
        finally:
            await session.close()
            await recordings.aclose()

    return asyncio.run(run())


F: Call = ("f", {"a": 1, "b": 2})


# ---- which recording answers -------------------------------------------------------------------


def test_the_nth_same_call_gets_the_nth_reply(tmp_path: Path) -> None:
    path = write(tmp_path / "r", recording("t", 0, (*F, "1"), ("g", {}, "g"), (*F, "2")))
    other_order = ("f", {"b": 2, "a": 1})
    assert told(path, "t", 0, [F, other_order, F, ("g", {})]) == ["1", "2", "2", "g"]


def test_the_same_sample_comes_first_then_the_others_in_order(tmp_path: Path) -> None:
    path = write(
        tmp_path / "r",
        recording("t", 2, (*F, "of 2"), ("g", {}, "g of 2")),
        recording("t", 1, (*F, "of 1"), ("g", {}, "g of 1"), ("g", {}, "again")),
        recording("t", 0, (*F, "of 0, once")),
        recording("t", 0, (*F, "of 0, played again")),
        recording("u", 0, ("h", {}, "of another task")),
    )
    g: Call = ("g", {})
    assert told(path, "t", 2, [F, g]) == ["of 2", "g of 2"]
    assert told(path, "t", 0, [F, g, g]) == ["of 0, played again", "g of 1", "again"]
    assert told(path, "t", 9, [F]) == ["of 0, played again"]
    assert "never recorded" in told(path, "t", 0, [("h", {})])[0]


def test_recordings_without_a_number_are_samples_in_order(tmp_path: Path) -> None:
    path = write(tmp_path / "r", recording("t", None, (*F, "0")), recording("t", None, (*F, "1")))
    assert [told(path, "t", sample, [F]) for sample in (0, 1, 2)] == [["0"], ["1"], ["0"]]


def test_a_failure_is_that_of_its_own_episode(tmp_path: Path) -> None:
    broke = recording("t", 0, (*F, "1"))
    broke["calls"].append({"name": F[0], "arguments": F[1], "failure": "the server is gone"})
    path = write(tmp_path / "r", broke)
    with pytest.raises(EnvironmentFailure, match="the server is gone"):
        told(path, "t", 0, [F, F])
    assert told(path, "t", 1, [F, F]) == ["1", "1"]


def test_what_was_never_recorded_is_an_error_and_counted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    warned: list[str] = []
    monkeypatch.setattr(console, "warn", warned.append)
    path = write(tmp_path / "r", recording("t", 0, (*F, "1")))
    first, second, third = told(path, "t", 0, [("f", {"a": 1}), ("ü", {"ö": "x"}), F])
    assert json.loads(first) == {"error": 'this call was never recorded: f {"a": 1}'}
    assert json.loads(second) == {"error": 'this call was never recorded: ü {"ö": "x"}'}
    assert third == "1"
    assert warned == [f"2 calls were never recorded in {path} (1 task) and answered with an error"]


def test_only_places_are_kept(tmp_path: Path) -> None:
    path = write(tmp_path / "r", *(recording(f"t{i % 50}", i // 50, (*F, "x" * 999)) for i in range(500)))
    recordings = Replay(path)
    assert sum(map(len, recordings._places.values())) == 500
    session = recordings.over("t7", 3)
    asyncio.run(session.call(*F))
    assert len(session._read) == 1  # of ten
    asyncio.run(recordings.aclose())


# ---- any run: recorded by the recorder, answered the same ----------------------------------------

runs = st.lists(
    st.tuples(
        st.sampled_from(["t", "u"]),
        st.integers(0, 3),
        st.lists(st.tuples(st.sampled_from(["f", "g"]), objects, st.booleans(), texts), max_size=4),
    ),
    max_size=6,
    unique_by=lambda session: session[:2],
)


class Told:
    """A session that answers as it was told to, whatever it is asked."""

    def __init__(self, answers: Sequence[tuple[bool, str]]) -> None:
        self.answers = list(answers)

    async def call(self, name: str, arguments: dict[str, Any]) -> Observation:
        ok, reply = self.answers.pop(0)
        return Observation(ok, reply, 0.0)

    async def close(self) -> None:
        pass


@given(runs, st.sampled_from(["r.jsonl", "r.jsonl.gz", "r.jsonl.zst"]))
def test_every_session_is_answered_as_it_was(
    played: list[tuple[str, int, list[tuple[str, Json, bool, str]]]], name: str
) -> None:
    playable = [
        (task, sample, [made for made in calls if _is_json(made[1])]) for task, sample, calls in played
    ]

    async def run(path: str) -> None:
        recorder = Recorder(path)
        for task, sample, calls in playable:
            session = recorder.over(Told([(ok, reply) for _, _, ok, reply in calls]), task, sample)
            for name, arguments, _, _ in calls:
                await session.call(name, arguments)
            await session.close()
        await recorder.aclose()
        if not playable:
            return
        recordings = Replay(path)
        for task, sample, calls in playable:
            again = recordings.over(task, sample)
            for name, arguments, ok, reply in calls:
                seen = await again.call(name, arguments)
                assert (seen.ok, seen.text) == (ok, reply)
        await recordings.aclose()

    with tempfile.TemporaryDirectory() as folder:
        asyncio.run(run(f"{folder}/{name}"))


def _is_json(arguments: Json) -> bool:
    """Can a record hold them? Integers of more than 64 bits it cannot."""
    return not key("f", arguments).startswith(b"['f'")


# ---- trajectories as recordings ------------------------------------------------------------------

ADD = '<tool_call>{"name": "add", "arguments": {"a": 1, "b": %s}}</tool_call>'
RANDOM = "import uuid\ndef add(a, b):\n    return str(uuid.uuid4())\n"


def play(world: World, turns: Sequence[Turn], tasks: Sequence[Task], samples: int = 1) -> list[Trajectory]:
    with Runner(Player(turns), Limits(), world=world) as runner:
        return list(runner.run(jobs(tasks, samples)))


def rolls(n: int = 0) -> Task:
    """A tool that never answers the same twice."""
    return sum_task(
        n, env={"kind": "python", "codes": {"add": RANDOM, "long": "def long(): return 'x' * 5000"}}
    )


def test_a_runs_own_output_replays_it(tmp_path: Path) -> None:
    turns = [
        said(f"<trial>see</trial>{ADD % 2}{ADD % 2}"),
        said('<plan>much</plan><tool_call>{"name": "long", "arguments": {}}</tool_call>'),
        said("<plan>too many</plan>" + "".join(ADD % i for i in range(12))),
        said(f"<plan>once more</plan>{ADD % 9}{ADD % 11}<tool_call>nonsense</tool_call>"),
        said("<answer>1</answer>"),
    ]
    tasks = [rolls(0), rolls(1)]
    first = play(World(), turns, tasks, samples=3)
    assert len({json.dumps(t.messages) for t in first}) == 6
    path = tmp_path / "runs.jsonl"
    path.write_bytes(b"".join(encode(t) + b"\n" for t in first))
    world = World(replay=str(path))
    again = play(world, turns, tasks, samples=3)
    assert list(map(encode, again)) == list(map(encode, first))
    assert world.machinery.sandbox._zygote is None


def test_an_episode_that_broke_breaks_again(tmp_path: Path) -> None:
    task = rolls()
    (whole,) = play(World(), [said(f"<trial>see</trial>{ADD % 2}"), said("<answer>1</answer>")], [task])
    asked = whole.messages[2]
    broke = Trajectory(
        id=whole.id,
        task=whole.task,
        messages=[*whole.messages[:4], asked],
        tools=whole.tools,
        turns=[whole.turns[0], {"phase": "trial", "calls": []}],
        prediction=None,
        stop="infrastructure",
        status="invalid",
        failure="the server is gone",
    )
    (tmp_path / "runs.jsonl").write_bytes(encode(broke) + b"\n")
    turns = [said(f"<trial>see</trial>{ADD % 2}")]
    (again,) = play(World(replay=str(tmp_path / "runs.jsonl")), turns, [task])
    assert (again.status, again.failure) == ("invalid", "the server is gone")
    assert again.messages[:4] == whole.messages[:4]


def test_other_programs_write_arguments_as_text(tmp_path: Path) -> None:
    (whole,) = play(World(), [said(f"<trial>see</trial>{ADD % 2}"), said("<answer>1</answer>")], [rolls()])
    value = json.loads(encode(whole))
    value["messages"][2]["tool_calls"][0]["function"]["arguments"] = '{"b": 2, "a": 1}'
    value["turns"][0]["calls"] = []
    path = write(tmp_path / "runs.jsonl", value)
    assert told(path, rolls().id, 0, [("add", {"a": 1, "b": 2})]) == [whole.messages[3]["content"]]


# ---- as an environment of a task ------------------------------------------------------------------


def replay_task(path: str, **env: Any) -> Task:
    asked = [{"role": "user", "content": "?"}]
    shown = [schema("f", "a", "b")]
    env = {"kind": "replay", "recording": path, **env}
    return new_task(messages=asked, tools=shown, env=env, answer=[])


def test_an_environment_of_its_own(tmp_path: Path) -> None:
    path = write(tmp_path / "r", recording("t", 0, (*F, "1")), recording("t", 1, (*F, "2")))

    async def run() -> list[str]:
        world = World()
        sessions = [world.open(replay_task(path, task="t"), sample) for sample in (0, 1)]
        seen = [(await session.call(*F)).text for session in sessions]
        await world.close()
        await world.close()
        return seen

    assert asyncio.run(run()) == ["1", "2"]
    with pytest.raises(InputError, match=r"env\.recording: no file of recordings"):
        World().open(replay_task(path, recording=3))


# ---- what cannot be replayed ---------------------------------------------------------------------

WHOLE = recording("t", 0, (*F, "1"))


@pytest.mark.parametrize(
    ("line", "wrong"),
    [
        ({"kind": "task", "v": 1}, "r:2: kind: a line of kind 'task' where a recording or a trajectory"),
        ([], "r:2: kind: a line of kind None"),
        (WHOLE | {"v": 2}, "r:2: v: version 2 is not 1"),
        (WHOLE | {"task": 3}, "r:2: task: "),
        (WHOLE | {"sample": "x"}, "r:2: task: "),
        (WHOLE | {"calls": 3}, "r:2: calls: no array"),
        (WHOLE | {"calls": [{"name": "f"}]}, r"r:2: calls\[0\]: not a call"),
        (WHOLE | {"calls": [{"name": "f", "arguments": [], "ok": True, "text": ""}]}, r"r:2: calls\[0\]: "),
        (WHOLE | {"calls": [{"name": "f", "arguments": {}, "ok": True, "text": 1}]}, r"r:2: calls\[0\]: "),
        ({"kind": "trajectory", "v": 1}, "r:2: id: the trajectory record lacks it"),
    ],
)
def test_a_broken_line_has_its_place(line: Any, wrong: str, tmp_path: Path) -> None:
    path = write(tmp_path / "r", WHOLE, line)
    with pytest.raises(InputError, match=wrong):
        Replay(path)


def test_a_torn_end_is_left_out_and_a_broken_line_is_not(tmp_path: Path) -> None:
    path = Path(write(tmp_path / "r", WHOLE))
    whole = path.read_bytes()
    path.write_bytes(whole + b"\n" + whole[:40])
    assert told(str(path), "t", 0, [F]) == ["1"]
    path.write_bytes(whole[:40] + b"\n" + whole)
    with pytest.raises(InputError, match="r:1: not JSON"):
        Replay(str(path))
    packed = tmp_path / "r.gz"
    packed.write_bytes(gzip.compress(whole)[:-4])
    with pytest.raises(InputError, match=r"r\.gz: the stream is damaged or cut off"):
        Replay(str(packed))
    with pytest.raises(InputError, match="cannot be read"):
        World(replay=str(tmp_path / "gone"))


def test_all_sessions_share_one_file(tmp_path: Path) -> None:
    from tmcli.environments.replay import replay

    machinery = Machinery()
    path = write(tmp_path / "r", WHOLE)
    assert replay(path, machinery) is replay(path, machinery)
    asyncio.run(machinery.aclose())


# ---- as a user runs it ---------------------------------------------------------------------------


def roll_task(n: int) -> Task:
    codes = {"roll": "import uuid\ndef roll(sides):\n    return {'roll': str(uuid.uuid4())}"}
    asked = [{"role": "user", "content": f"Roll {n}."}]
    env = {"kind": "python", "codes": codes}
    return new_task(messages=asked, tools=[schema("roll", "sides")], env=env, answer=["x"])


ROLL = ("roll", '{"sides": 6}')


def test_a_study_runs_again_offline_byte_for_byte(tm: Tm, tmp_path: Path) -> None:
    """Tools that answer by chance, four samples of each task at once: only the recording knows."""
    (tmp_path / "tasks.jsonl").write_bytes(b"".join(encode(roll_task(n)) + b"\n" for n in range(5)))
    brain = say(call(*ROLL, *ROLL), call(*ROLL), call("roll", '{"sides": 8}'), text("<answer>x</answer>"))
    with ModelServer(brain) as server:
        words = f"rollout --policy m@{server.url} --tasks tasks.jsonl --samples 4 --concurrency 8".split()
        first = tm(*words, "--record", "calls.jsonl", "-o", "first.jsonl")
        assert first.returncode == 0, first.stderr
        made = (tmp_path / "first.jsonl").read_bytes()
        assert len({json.dumps(r["messages"]) for r in records(made)}) == 20
        assert len((tmp_path / "calls.jsonl").read_bytes().splitlines()) == 20
        again = tm(*words, "--replay", "calls.jsonl")
        assert again.returncode == 0, again.stderr
        assert again.stdout == made
        assert b"never recorded" not in again.stderr
        tm(*words, "--replay", "first.jsonl", "-o", "first.parquet", "--record", "calls.jsonl.zst")
        for source in ("first.parquet", "calls.jsonl.zst"):
            assert tm(*words, "--replay", source).stdout == made
        # a replayed run resumes a recorded one: where replies come from is no option that shapes them
        kept = b"".join(made.splitlines(keepends=True)[:7])
        (tmp_path / "part.jsonl").write_bytes(kept)
        assert tm(*words, "--replay", "calls.jsonl", "-o", "part.jsonl", "--resume").returncode == 0
        assert (tmp_path / "part.jsonl").read_bytes() == made


class Counter:
    """A web service that never answers the same twice."""

    def __init__(self) -> None:
        asked = itertools.count()

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                body = json.dumps({"count": next(asked)}).encode()
                self.send_response(200)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        self.thread = threading.Thread(target=self.server.serve_forever, args=(0.02,))

    def __enter__(self) -> Counter:
        self.thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.server.shutdown()
        self.server.server_close()
        self.thread.join()


DOCUMENT = {
    "openapi": "3.0.0",
    "info": {"title": "Counter", "version": "1"},
    "paths": {
        "/count": {"get": {"operationId": "count", "responses": {"200": {"description": "How many."}}}}
    },
}


def test_a_study_of_a_server_that_is_gone(tm: Tm, tmp_path: Path) -> None:
    (tmp_path / "counter.json").write_text(json.dumps(DOCUMENT))
    with ModelServer(say(call("count", "{}", "count", "{}"), call("count", "{}"), text("x"))) as model:
        words = f"synth --teacher m@{model.url} --tasks tasks.jsonl --samples 4 --concurrency 8".split()
        with Counter() as service:
            env = {"kind": "http", "openapi": "counter.json", "base_url": service.url}
            asked = [{"role": "user", "content": "How many?"}]
            task = new_task(messages=asked, tools=[schema("count")], env=env, answer=["x"])
            (tmp_path / "tasks.jsonl").write_bytes(encode(task) + b"\n")
            first = tm(*words, "--record", "calls.jsonl.gz")
        assert first.returncode == 0, first.stderr
        told = [m["content"] for r in records(first.stdout) for m in r["messages"] if m["role"] == "tool"]
        assert len(set(told)) == 12
        assert tm(*words, "--timeout", "1").returncode == 1  # nobody answers any more
        again = tm(*words, "--replay", "calls.jsonl.gz")
    assert again.returncode == 0, again.stderr
    assert again.stdout == first.stdout


def test_a_call_that_was_never_recorded_is_told_and_counted(tm: Tm, tmp_path: Path) -> None:
    (tmp_path / "tasks.jsonl").write_bytes(encode(roll_task(0)) + b"\n")
    words = ("--tasks", "tasks.jsonl", "--teacher")
    with ModelServer(say(call(*ROLL), text("<answer>x</answer>"))) as server:
        assert tm("synth", *words, f"m@{server.url}", "--record", "r.jsonl").returncode == 0
    with ModelServer(say(call("roll", '{"sides": 9}'), text("<answer>x</answer>"))) as server:
        got = tm("synth", *words, f"m@{server.url}", "--replay", "r.jsonl")
    assert got.returncode == 0
    (made,) = records(got.stdout)
    assert made["turns"][0]["calls"][0]["ok"] is False
    assert made["messages"][3]["content"] == '{"error":"this call was never recorded: roll {\\"sides\\": 9}"}'
    assert b"warning: 1 call was never recorded in r.jsonl (1 task) and answered with an error" in got.stderr


def test_an_interrupted_recording_goes_on_with_its_output(tm: Tm, tmp_path: Path) -> None:
    words = ("synth", "-n", "6", "-o", "out.jsonl", "--record", "calls.jsonl.gz")
    assert tm(*words).returncode == 0
    whole = (tmp_path / "out.jsonl").read_bytes()
    packed = (tmp_path / "calls.jsonl.gz").read_bytes()
    (tmp_path / "out.jsonl").write_bytes(b"".join(whole.splitlines(keepends=True)[:2]))
    (tmp_path / "calls.jsonl.gz").write_bytes(packed[: len(packed) // 2])
    assert b"calls.jsonl.gz exists" in tm(*words[:-4], *words[-2:]).stderr
    resumed = tm(*words, "--resume")
    assert resumed.returncode == 0, resumed.stderr
    assert (tmp_path / "out.jsonl").read_bytes() == whole
    again = tm("synth", "-n", "6", "--replay", "calls.jsonl.gz")
    assert len(records(again.stdout)) == 6


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("--record r.jsonl --replay r.jsonl", "r.jsonl cannot be recorded and replayed at once"),
        ("--record r.jsonl --replay ./r.jsonl --force", "cannot be recorded and replayed at once"),
        ("--record r.jsonl", "r.jsonl exists; use --resume to continue it, --force to replace it"),
        ("--record out.jsonl -o out.jsonl", "out.jsonl is the output already"),
        ("--record -", "--record cannot be stdout"),
        ("--replay gone.jsonl", "gone.jsonl: cannot be read"),
        ("--replay tasks.jsonl", "tasks.jsonl:1: kind: a line of kind 'task'"),
        ("--replay r.jsonl -o r.jsonl --force", "r.jsonl is also the input"),
        ("--record new/r.jsonl", "cannot write new/r.jsonl"),
    ],
)
def test_wrong_usage_is_one_sentence(words: str, said: str, tm: Tm, tmp_path: Path) -> None:
    before = Path(write(tmp_path / "r.jsonl", WHOLE)).read_bytes()
    write(tmp_path / "tasks.jsonl", {"kind": "task"})
    got = tm("synth", "-n", "1", *words.split())
    assert got.returncode == 2, got.stderr
    assert said in got.stderr.decode()
    assert b"Traceback" not in got.stderr
    assert (tmp_path / "r.jsonl").read_bytes() == before
    assert sorted(path.name for path in tmp_path.iterdir()) == ["r.jsonl", "tasks.jsonl"]


@pytest.mark.parametrize("command", ["rollout --policy scripted", "rl --policy tiny"])
def test_the_same_words_in_every_run(command: str, tm: Tm, tmp_path: Path) -> None:
    got = tm(*command.split(), "-n", "1", "--simulate", "--record", "r.jsonl", "--replay", "r.jsonl")
    assert got.returncode == 2
    assert b"r.jsonl cannot be recorded and replayed at once" in got.stderr
