"""`--reverify`: every kind of episode plays again as it was recorded, and what was changed is found."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from players import Player, Turn, said, schema, sum_task
from services import Oops, WebService

from tmcli.environments.world import World
from tmcli.episode import Limits, play
from tmcli.filters.inorder import InOrder
from tmcli.filters.reverify import Reverify, same
from tmcli.policies import Policy
from tmcli.policies.scripted import Scripted
from tmcli.protocol import write_call
from tmcli.records import Json, Task, Trajectory, encode, new_task
from tmcli.suites import suite

MCP_SERVER = Path(__file__).with_name("mcp_server.py")
DRIFTS = ("", "rename", "format", "wrap", "decoy", "stale", "undocument", "all")


def episodes(policy: Policy, tasks: Iterable[Task], **limits: Any) -> list[Trajectory]:
    async def run() -> list[Trajectory]:
        world = World(timeout_s=5)
        try:
            return [await play(task, 0, policy, world, Limits(**limits), "k") for task in tasks]
        finally:
            await world.close()

    return asyncio.run(run())


def again(*trajectories: Trajectory) -> tuple[Reverify, list[str | None]]:
    """The stage after its run, and for each trajectory why it is dropped."""
    with Reverify(concurrency=4, timeout_s=5) as stage:
        lines = [encode(trajectory) for trajectory in trajectories]
        found = list(stage.run((line, i) for i, line in enumerate(lines)))
    assert [(line, i) for line, i, _, _ in found] == list(zip(lines, range(len(lines)), strict=True))
    for _, _, reason, why in found:
        assert (reason is None) == (not why)
        assert reason in (None, "not_reproduced")
    return stage, [why or None for *_, why in found]


def reproduced(trajectory: Trajectory) -> bool:
    return again(trajectory)[0].counts["reproduced"] == 1


def changed(trajectory: Trajectory, change: Callable[[Json], None]) -> Trajectory:
    """The same record with something else in it."""
    record = json.loads(encode(replace(trajectory, extra={})))
    change(record)
    names = ("messages", "turns", "prediction", "stop", "status", "task")
    return replace(trajectory, **{name: record[name] for name in names})


def first_reply(text: str) -> Callable[[Json], None]:
    def change(record: Json) -> None:
        next(m for m in record["messages"] if m["role"] == "tool")["content"] = text

    return change


@pytest.mark.parametrize("drift", DRIFTS)
def test_the_expert_is_reproduced_under_every_drift(drift: str) -> None:
    played = episodes(Scripted(), suite("train", 6, 3, [drift] if drift else []))
    stage, why = again(*played)
    assert why == [None] * 6
    assert stage.counts == {"reproduced": 6, "not_reproduced": 0, "not_checked": 0}
    stage, why = again(*(changed(one, first_reply('{"made": "up"}')) for one in played))
    assert stage.counts["not_reproduced"] == 6
    assert all('recorded is \'{"made": "up"}\'' in str(one) for one in why)


ADD = "<plan>add</plan>" + write_call("add", {"a": 0, "b": 1})
FAIL = write_call("fail", {})
LONG = write_call("long", {})
FAULT = "<tool_call>f(1)</tool_call>"
BOTH = ADD + FAULT + write_call("nothing", {})
MANY = "".join(write_call("add", {"a": 0, "b": n}) for n in range(11))
RIGHT = said("<answer>1</answer>")

ENDS: dict[str, tuple[list[Turn], Json]] = {
    "answer": ([said(ADD), RIGHT], {}),
    "faults": ([said(FAULT), said(BOTH), said(FAIL), RIGHT], {}),
    "a long reply": ([said(LONG), RIGHT], {}),
    "a short limit": ([said(LONG), RIGHT], {"max_reply_chars": 50}),
    "too many at once": ([said(MANY), RIGHT], {}),
    "hinted": ([said(ADD), said("<answer>7</answer>"), said(ADD), RIGHT], {"hints": True}),
    "hinted and wrong": ([said("<answer>7</answer>"), said("<answer>8</answer>")], {"hints": True}),
    "a plain text": ([said(ADD), said("It is 1.")], {}),
    "nothing": ([said("")], {}),
    "max_turns": ([said(ADD)], {"max_turns": 3}),
    "cut in a call": ([said(ADD), said(ADD + FAULT, finish="length")], {}),
    "cut by tokens": ([said(ADD), said(ADD, prompt_tokens=500)], {"max_tokens": 500}),
    "cut after its answer": ([said(ADD), said("<answer>1</answer> and", finish="length")], {}),
    "refused": ([said(ADD), said("I cannot.", finish="refusal")], {}),
}


@pytest.mark.parametrize("name", ENDS)
def test_every_end_is_reproduced(name: str) -> None:
    turns, limits = ENDS[name]
    (played,) = episodes(Player(turns), [sum_task()], **limits)
    assert reproduced(played)


def test_a_fault_that_stands_in_no_text_is_known_by_its_reply() -> None:
    """A server's own calls with arguments that are no JSON leave nothing in the text."""
    (played,) = episodes(Player([said("<plan>x</plan>" + FAULT), RIGHT]), [sum_task()])
    native = changed(played, lambda record: record["messages"][2].update(content="<plan>x</plan>"))
    assert reproduced(native)
    forged = changed(native, first_reply('{"result": 1}'))
    assert "recorded is '{\"result\": 1}'" in str(again(forged)[1][0])


def flip(record: Json) -> None:
    record["turns"][0]["calls"][0]["ok"] = False


def drop_a_reply(record: Json) -> None:
    record["messages"] = [m for m in record["messages"] if m["role"] != "tool"]


def hide_a_call(record: Json) -> None:
    record["turns"][0]["calls"] = []


CHANGES: dict[str, tuple[Callable[[Json], None], str]] = {
    "reply": (first_reply("2"), "turn 1: add replies '1', recorded is '2'"),
    "ok": (flip, "turn 1: add works, recorded as the contrary"),
    "no reply": (drop_a_reply, "turn 1: add replies '1', recorded is no reply"),
    "a hidden call": (hide_a_call, "turn 1: 1 calls are answered, recorded are 0"),
    "answer": (
        lambda record: record.update(prediction="5"),
        "the answer that was said is '1', recorded is '5'",
    ),
    "stop": (
        lambda record: record.update(stop="no_call"),
        "turn 2: it ends with answer, recorded is no_call",
    ),
}


@pytest.mark.parametrize("name", CHANGES)
def test_what_was_changed_is_found(name: str) -> None:
    change, due = CHANGES[name]
    (played,) = episodes(Player([said(ADD), RIGHT]), [sum_task()])
    assert again(changed(played, change))[1] == [due]


def test_a_reply_is_compared_up_to_its_cut() -> None:
    assert same("abc... (2 more characters cut)", "abcde")
    assert not same("abc... (2 more characters cut)", "abcdef")
    assert not same("abx... (2 more characters cut)", "abcde")
    assert not same("abc", "abcde")


def test_why_is_bounded_and_shows_where_they_part() -> None:
    (played,) = episodes(Player([said(LONG), RIGHT]), [sum_task()], max_reply_chars=10**6)
    (why,) = again(changed(played, first_reply("x" * 3000 + "y" * 2000)))[1]
    assert why is not None
    assert "xxxxyyyy" in why
    assert len(why) < 300


def broken(task: Task) -> list[Trajectory]:
    """Trajectories on which nothing can be found out."""
    (good,) = episodes(Player([said(ADD), RIGHT]), [task])
    return [
        changed(good, lambda record: record["task"]["env"].update(kind="moon")),
        changed(good, lambda record: record["task"]["env"].update(codes=7)),
        changed(good, lambda record: record.update(status="invalid", failure="x")),
        changed(good, lambda record: record.update(turns=[])),
        changed(good, lambda record: record.update(turns=record["turns"] * 3)),
    ]


def test_what_cannot_run_is_not_checked_and_kept(capsys: pytest.CaptureFixture[str]) -> None:
    (good,) = episodes(Player([said(ADD), RIGHT]), [sum_task()])
    bad = broken(sum_task())
    stage, why = again(good, *bad, good)
    assert why == [None] * 7
    assert stage.counts == {"reproduced": 2, "not_reproduced": 0, "not_checked": 5}
    stage.tell()
    said_ = capsys.readouterr().err
    assert "could not check 5 trajectories, kept as they are; the first:" in said_
    assert "no environment is of kind 'moon'" in said_


def http_task(path: Path, url: str) -> Task:
    shop: Json = {
        "openapi": "3.0.0",
        "info": {"title": "Shop", "version": "1"},
        "servers": [{"url": url}],
        "paths": {
            "/price": {
                "get": {
                    "operationId": "price",
                    "parameters": [{"name": "of", "in": "query", "schema": {"type": "string"}}],
                    "responses": {"200": {"description": "fine"}},
                }
            }
        },
    }
    path.write_text(json.dumps(shop))
    return new_task(
        messages=[{"role": "user", "content": "What does a pen cost?"}],
        tools=[schema("price")],
        env={"kind": "http", "openapi": str(path), "base_url": url},
        answer=["3"],
    )


def test_a_server_is_asked_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TM_PATIENCE_S", "1")
    turns = [said(write_call("price", {"of": "pen"})), said("<answer>3</answer>")]
    price = [Oops(body='{"price": 3}')]
    with WebService(troubles=price * 2 + [Oops(body='{"price": 4}')]) as service:
        task = http_task(tmp_path / "shop.json", service.url)
        (played,) = episodes(Player(turns), [task])
        assert reproduced(played)
        assert again(played)[1] == ["""turn 1: price replies '{"price":4}', recorded is '{"price":3}'"""]
        assert [seen.target for seen in service.requests] == ["/price?of=pen"] * 3
    stage, why = again(played)
    assert (why, stage.counts["not_checked"]) == ([None], 1)


def test_an_mcp_server_is_started_again(tmp_path: Path) -> None:
    config = tmp_path / "mcp.json"
    entry = {"command": sys.executable, "args": [str(MCP_SERVER), "small"]}
    config.write_text(json.dumps({"mcpServers": {"small": entry}}))
    env = {"kind": "mcp", "config": str(config)}
    task = new_task(messages=[{"role": "user", "content": "?"}], tools=[], env=env, answer=["x"])
    turns = [said(write_call("echo", {"text": "hello"})), said("<answer>x</answer>")]
    (played,) = episodes(Player(turns), [task])
    assert played.turns[0]["calls"][0]["ok"]
    assert reproduced(played)


def test_a_recording_answers_again(tmp_path: Path) -> None:
    (played,) = episodes(Player([said(ADD), RIGHT]), [sum_task()])
    file = tmp_path / "played.jsonl"
    file.write_bytes(encode(played) + b"\n")
    env = {"kind": "replay", "recording": str(file), "task": played.task["id"]}
    (replayed,) = episodes(Player([said(ADD), RIGHT]), [sum_task(env=env)])
    assert reproduced(replayed)


def test_order_and_bounds_whatever_takes_long() -> None:
    running = most = 0
    taken = []

    def numbers() -> Iterable[int]:
        for n in range(60):
            taken.append(n)
            yield n

    async def nothing() -> None:
        pass

    async def work(n: int) -> int:
        nonlocal running, most
        running += 1
        most = max(most, running)
        for _ in range(n % 7):
            await asyncio.sleep(0)
        running -= 1
        return n * n

    with InOrder(nothing, concurrency=3) as many:
        found = many.run(numbers(), work)
        assert next(found) == (0, 0)
        assert len(taken) <= 1 + 4 * 3
        assert list(found) == [(n, n * n) for n in range(1, 60)]
        assert most <= 3


def test_what_work_raises_comes_where_it_is_due_and_the_rest_is_called_off() -> None:
    ended: list[str] = []

    async def aclose() -> None:
        ended.append("closed")

    async def work(n: int) -> int:
        if n == 2:
            raise ValueError("two")
        if n > 2:
            try:
                await asyncio.sleep(60)
            finally:
                ended.append("called off")
        return n

    with InOrder(aclose, concurrency=4) as many:
        found = many.run(range(6), work)
        assert [next(found), next(found)] == [(0, 0), (1, 1)]
        with pytest.raises(ValueError, match="two"):
            next(found)
    assert ended[-1] == "closed"


@settings(max_examples=15)
@given(st.lists(st.sampled_from([ADD, FAIL, LONG, FAULT, BOTH, "<trial>t</trial>" + ADD]), max_size=5))
def test_any_dialogue_is_reproduced(turns: list[str]) -> None:
    (played,) = episodes(Player([*map(said, turns), RIGHT]), [sum_task()])
    assert reproduced(played)
