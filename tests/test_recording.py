"""Recordings: what is written when a session closes, and what a killed run leaves."""

from __future__ import annotations

import asyncio
import gzip
import json
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
import zstandard

from tmcli.environments import Observation
from tmcli.environments.recording import Recorder
from tmcli.errors import EnvironmentFailure, InputError, OutputError, UsageError
from tmcli.records import Json


class Tools:
    """A session that answers with its arguments, late where `late_s` says so; tool `broken` breaks."""

    def __init__(self) -> None:
        self.n_closed = 0

    async def call(self, name: str, arguments: dict[str, Any]) -> Observation:
        await asyncio.sleep(arguments.get("late_s", 0))
        if name == "broken":
            raise EnvironmentFailure("the server is gone", "start it")
        return Observation(name != "wrong", json.dumps(arguments), 1.0)

    async def close(self) -> None:
        self.n_closed += 1


def record(path: Path, play: Callable[[Recorder], Awaitable[None]], **how: bool) -> None:
    async def run() -> None:
        recorder = Recorder(str(path), **how)
        try:
            await play(recorder)
        finally:
            await recorder.aclose()
            await recorder.aclose()

    asyncio.run(run())


async def one(recorder: Recorder, task: str = "t", sample: int = 0, **arguments: Any) -> None:
    session = recorder.over(Tools(), task, sample)
    await session.call("f", arguments)
    await session.close()


def lines(path: Path) -> list[Json]:
    data = path.read_bytes()
    if path.suffix == ".gz":
        data = gzip.decompress(data)
    if path.suffix == ".zst":
        data = zstandard.ZstdDecompressor().stream_reader(data, read_across_frames=True).read()
    return [json.loads(line) for line in data.splitlines()]


def test_a_line_a_session_calls_in_the_order_they_were_made(tmp_path: Path) -> None:
    path = tmp_path / "r.jsonl"

    async def play(recorder: Recorder) -> None:
        tools = Tools()
        session = recorder.over(tools, "t", 3)
        seen = await asyncio.gather(session.call("f", {"late_s": 0.02}), session.call("wrong", {"a": "ü"}))
        assert [each.ok for each in seen] == [True, False]
        assert not path.exists()
        await session.close()
        await session.close()
        assert tools.n_closed == 2
        assert len(lines(path)) == 1  # at once
        await one(recorder, "u")

    record(path, play)
    assert lines(path) == [
        {
            "kind": "recording",
            "v": 1,
            "task": "t",
            "sample": 3,
            "calls": [
                {"name": "f", "arguments": {"late_s": 0.02}, "ok": True, "text": '{"late_s": 0.02}'},
                {"name": "wrong", "arguments": {"a": "ü"}, "ok": False, "text": '{"a": "\\u00fc"}'},
            ],
        },
        {
            "kind": "recording",
            "v": 1,
            "task": "u",
            "sample": 0,
            "calls": [{"name": "f", "arguments": {}, "ok": True, "text": "{}"}],
        },
    ]


def test_a_call_that_broke_the_episode_takes_those_beside_it_along(tmp_path: Path) -> None:
    path = tmp_path / "r.jsonl"

    async def play(recorder: Recorder) -> None:
        session = recorder.over(Tools(), "t", 0)
        await session.call("f", {})
        beside = asyncio.ensure_future(session.call("f", {"late_s": 9}))
        await asyncio.sleep(0)
        with pytest.raises(EnvironmentFailure):
            await session.call("broken", {})
        beside.cancel()
        await asyncio.gather(beside, return_exceptions=True)
        await session.close()

    record(path, play)
    failure = "the server is gone; start it"
    assert [call.get("failure") for call in lines(path)[0]["calls"]] == [None, failure, failure]


def test_a_cancelled_call_is_left_out(tmp_path: Path) -> None:
    path = tmp_path / "r.jsonl"

    async def play(recorder: Recorder) -> None:
        session = recorder.over(Tools(), "t", 0)
        late = asyncio.ensure_future(session.call("f", {"late_s": 9}))
        await asyncio.sleep(0)
        late.cancel()
        await asyncio.gather(late, return_exceptions=True)
        await session.close()

    record(path, play)
    assert lines(path)[0]["calls"] == []


@pytest.mark.parametrize("name", ["r.jsonl", "r.jsonl.gz", "r.jsonl.zst"])
def test_refused_resumed_replaced(name: str, tmp_path: Path) -> None:
    path = tmp_path / name
    record(path, lambda recorder: one(recorder, n=1))
    with pytest.raises(OutputError, match="--resume to continue it, --force to replace it"):
        Recorder(str(path))
    record(path, lambda recorder: one(recorder, n=2), resume=True)
    whole = path.read_bytes()
    for torn in (whole[:-20], whole + b'{"kind":"recording","v":1,"ta'):
        path.write_bytes(torn)
        record(path, lambda recorder: one(recorder, n=3), resume=True)
        kept = [line["calls"][0]["arguments"]["n"] for line in lines(path)]
        assert kept == ([1, 3] if len(torn) < len(whole) else [1, 2, 3])
    record(path, lambda recorder: one(recorder, n=4), force=True)
    assert [line["calls"][0]["arguments"]["n"] for line in lines(path)] == [4]
    assert [each.name for each in tmp_path.iterdir()] == [name]


def test_a_recorder_goes_on_after_it_was_closed(tmp_path: Path) -> None:
    async def play(recorder: Recorder) -> None:
        await one(recorder, n=1)
        await recorder.aclose()
        await one(recorder, n=2)

    record(tmp_path / "r.jsonl", play)
    assert len(lines(tmp_path / "r.jsonl")) == 2


def test_what_cannot_be_a_recording(tmp_path: Path) -> None:
    path = tmp_path / "r.jsonl"
    path.write_bytes(b'{"kind":"trajectory"}\n')
    with pytest.raises(OutputError, match="holds no recordings"):
        record(path, one, resume=True)
    assert path.read_bytes() == b'{"kind":"trajectory"}\n'
    with pytest.raises(UsageError, match="--record cannot be stdout"):
        Recorder("-")
    with pytest.raises(UsageError, match="recordings are lines"):
        Recorder("r.parquet")
    with pytest.raises(OutputError, match="is a folder"):
        Recorder(str(tmp_path), force=True)
    with pytest.raises(InputError, match="a call of task t is not JSON"):
        record(tmp_path / "new.jsonl", lambda recorder: one(recorder, n=1 << 70))
