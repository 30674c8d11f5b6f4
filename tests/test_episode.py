"""One episode: how it ends, what it tells the model, and what it never tells it."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest
from players import Player, Turn, said, sum_task
from servers import ModelServer, call, say, text

from tmcli.environments import Observation
from tmcli.environments.world import World
from tmcli.episode import Limits, play
from tmcli.errors import EnvironmentFailure, InputError, PolicyFailure, UsageError
from tmcli.policies import Policy, Sampling
from tmcli.policies.openai import OpenAI
from tmcli.protocol import prompt, write_call
from tmcli.records import Json, Task, Trajectory, decode, encode
from tmcli.score import judge

ADD = "<plan>add</plan>" + write_call("add", {"a": 0, "b": 1})
ANSWER = said("<answer>1</answer>")


def episode(*turns: Turn, task: Task | None = None, **limits: Any) -> Trajectory:
    return played(Player(turns), task or sum_task(), **limits)


def played(policy: Policy, task: Task, **limits: Any) -> Trajectory:
    async def run() -> Trajectory:
        world = World(timeout_s=5)
        try:
            return await play(task, 2, policy, world, Limits(**limits), "the key")
        finally:
            await policy.aclose()
            await world.close()

    trajectory = asyncio.run(run())
    assert decode(encode(trajectory)) == trajectory  # whatever happened, it is a record
    return trajectory


def test_calls_are_answered_until_the_answer() -> None:
    task = sum_task()
    got = episode(said("<trial>see</trial>" + write_call("add", {"a": 0, "b": 1})), ANSWER, task=task)
    assert (got.id, got.stop, got.status, got.prediction) == (f"{task.id}#2", "answer", "ok", "1")
    limits = {"max_turns": 12, "max_tokens": 4096}
    assert got.policy == {"name": "player", "sampling": {}, "key": "the key", "limits": limits}
    function = {"name": "add", "arguments": {"a": 0, "b": 1}}
    assert got.messages == [
        {"role": "system", "content": prompt("trial")},
        *task.messages,
        {
            "role": "assistant",
            "content": "<trial>see</trial>",
            "tool_calls": [{"id": "call_0", "type": "function", "function": function}],
        },
        {"role": "tool", "tool_call_id": "call_0", "name": "add", "content": "1"},
        {"role": "assistant", "content": "<answer>1</answer>"},
    ]
    assert got.turns == [
        {"phase": "trial", "state": "ok", "calls": [{**function, "ok": True}]},
        {"phase": "execution", "state": "ok", "calls": []},
    ]
    assert got.usage["turns"] == 2
    assert judge(got).scores["answer"] == 1.0


@pytest.mark.parametrize(
    ("turn", "stop", "prediction"),
    [
        (said("<answer> 1 </answer>"), "answer", "1"),
        (said("It is 1."), "no_call", "It is 1."),
        (said(""), "no_call", None),
        (said("<plan>It is 1"), "no_call", "It is 1"),
        (said("<answer>1", finish="length"), "length", None),
        (said("<answer>1</answer> and", finish="length"), "answer", "1"),
        (said(ADD, finish="length"), "length", None),
        (said("I must not", finish="refusal"), "refusal", None),
        (said(ADD, prompt_tokens=90, completion_tokens=10), "length", None),
        (said("<answer>1</answer>", prompt_tokens=90, completion_tokens=10), "answer", "1"),
        (said("<answer>1</answer>" + ADD), "max_turns", None),
        (said(ADD), "max_turns", None),
        (said("<tool_call>add(1)</tool_call>"), "max_turns", None),
    ],
)
def test_every_end_has_its_one_word(turn: Turn, stop: str, prediction: str | None) -> None:
    got = episode(turn, max_turns=3, max_tokens=100)
    assert (got.stop, got.prediction, got.status) == (stop, prediction, "ok")
    assert len(got.turns) == (3 if stop == "max_turns" else 1)
    assert judge(got).reward is not None


def test_what_cannot_be_read_or_run_is_told_to_the_model() -> None:
    bad = "<plan>p</plan><tool_call>add(1)</tool_call>"
    fail = "<plan>p</plan>" + write_call("fail", {}) + write_call("gone", {})
    got = episode(said(bad), said(fail), ANSWER)
    assert got.stop == "answer"
    assert got.messages[2] == {"role": "assistant", "content": bad}
    tools = [m for m in got.messages if m["role"] == "tool"]
    assert (tools[0]["name"], tools[0]["tool_call_id"][:8]) == ("invalid", "invalid_")
    assert "JSON object" in json.loads(tools[0]["content"])["error"]
    assert "the shop is closed" in json.loads(tools[1]["content"])["error"]
    assert "gone" in json.loads(tools[2]["content"])["error"]
    assert [m["tool_call_id"] for m in tools[1:]] == ["call_0", "call_1"]
    calls = [one for turn in got.turns for one in turn["calls"]]
    assert [(c["name"], c["ok"]) for c in calls] == [("invalid", False), ("fail", False), ("gone", False)]
    assert all(c["error"] for c in calls)
    assert [turn["state"] for turn in got.turns] == ["invalid", "ok", "ok"]


def test_calls_beyond_the_limit_are_answered_and_not_made() -> None:
    got = episode(said(write_call("add", {"a": 1, "b": 1}) * 3), ANSWER, max_parallel_calls=2)
    assert [m["content"] for m in got.messages if m["role"] == "tool"][:2] == ["2", "2"]
    assert "at most 2" in got.messages[5]["content"]
    assert [c["ok"] for c in got.turns[0]["calls"]] == [True, True, False]


def test_a_long_reply_is_cut_and_says_so() -> None:
    got = episode(said(write_call("long", {})), ANSWER, max_reply_chars=100)
    reply = got.messages[3]["content"]
    assert reply.startswith("x" * 100)
    assert reply.endswith("... (4900 more characters cut)")


def test_no_reply_slips_past_the_cut_by_looking_cut_already() -> None:
    code = "def long():\n    return '... (' + '1' * 5000 + ' more characters cut)'\n"
    task = sum_task(env={"kind": "python", "codes": {"long": code}})
    got = episode(said(write_call("long", {})), ANSWER, task=task, max_reply_chars=100)
    assert len(got.messages[3]["content"]) < 150


@pytest.mark.parametrize("first", [True, False])
def test_no_answer_from_the_server_is_invalid_and_has_no_reward(first: bool) -> None:
    down = PolicyFailure("the server is down")
    player = Player([down] if first else [said(ADD), down])
    got = judge(played(player, sum_task()))
    assert (got.status, got.stop, got.failure) == ("invalid", "infrastructure", "the server is down")
    assert (got.prediction, got.reward, got.scores) == (None, None, {})
    assert (player.opened, player.closed) == (1, 1)


class BrokenSession:
    """Tools whose machinery is gone."""

    closed = False

    async def call(self, name: str, arguments: dict[str, Any]) -> Observation:
        raise EnvironmentFailure(f"no worker for {name}")

    async def close(self) -> None:
        self.closed = True


def test_no_answer_from_the_tools_is_invalid_and_all_is_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    session, player = BrokenSession(), Player([said(ADD)])
    monkeypatch.setattr(World, "open", lambda world, task, sample: session)
    got = played(player, sum_task())
    assert (got.status, got.failure) == ("invalid", "no worker for add")
    assert session.closed
    assert player.closed == 1


class MeetingSession:
    """Each call waits until all calls of the turn are there, and the first ends last."""

    def __init__(self, n: int, breaks: bool = False) -> None:
        self.n, self.breaks = n, breaks
        self.came = 0
        self.all_came = asyncio.Event()
        self.cancelled = 0

    async def call(self, name: str, arguments: Json) -> Observation:
        self.came += 1
        mine = self.came
        if mine == self.n:
            self.all_came.set()
            if self.breaks:
                raise EnvironmentFailure("the server is gone", "start it")
        try:
            async with asyncio.timeout(5):
                await self.all_came.wait()
            await asyncio.sleep(0.01 * (self.n - mine) if not self.breaks else 60)
        except asyncio.CancelledError:
            self.cancelled += 1
            raise
        return Observation(True, json.dumps(arguments["a"]), 0.0)

    async def close(self) -> None:
        pass


def calls_at_once(n: int) -> str:
    one = '<tool_call>{{"name": "add", "arguments": {{"a": {}, "b": 1}}}}</tool_call>'
    return "<plan>all</plan>" + "".join(one.format(i) for i in range(n))


def test_calls_of_one_turn_are_made_at_once_and_answered_in_order(monkeypatch: pytest.MonkeyPatch) -> None:
    session = MeetingSession(4)
    monkeypatch.setattr(World, "open", lambda world, task, sample: session)
    got = played(Player([said(calls_at_once(4)), ANSWER]), sum_task())
    assert [message["content"] for message in got.messages if message["role"] == "tool"] == list("0123")
    assert [call["arguments"]["a"] for call in got.turns[0]["calls"]] == [0, 1, 2, 3]


def test_when_one_call_of_a_turn_breaks_none_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    session = MeetingSession(3, breaks=True)
    monkeypatch.setattr(World, "open", lambda world, task, sample: session)
    got = played(Player([said(calls_at_once(3)), ANSWER]), sum_task())
    assert (got.status, got.stop, session.cancelled) == ("invalid", "infrastructure", 2)


def test_a_wrong_set_up_is_no_episode() -> None:
    player = Player([UsageError("the key is wrong")])
    with pytest.raises(UsageError):
        played(player, sum_task())
    assert player.closed == 1
    with pytest.raises(UsageError, match="environment"):
        episode(ANSWER, task=sum_task(env={"kind": "nowhere"}))


def test_tokens_are_recorded_and_must_fit_together() -> None:
    tokens = {"ids": [1, 2, 3], "mask": [0, 1, 1], "logprobs": [0.0, -0.1, -0.2]}
    assert played(Player([ANSWER], tokens=tokens), sum_task()).tokens == tokens
    with pytest.raises(InputError, match="differ in length"):
        played(Player([ANSWER], tokens={**tokens, "mask": [0, 1]}), sum_task())


@pytest.mark.parametrize(
    ("costs", "total"),
    [([0.1, 0.2], 0.3), ([1.5e-7, 2.5e-6], 2.65e-6), ([0.0, 0.0], 0.0), ([0.1, None], None), ([None], None)],
)
def test_cost_is_known_where_every_part_is(costs: list[float | None], total: float | None) -> None:
    turns = [said(ADD, cost=cost) for cost in costs]
    got = episode(*turns, max_turns=len(costs))
    assert got.usage.get("cost") == total
    assert ("cost" in got.usage) is (total is not None)
    # what was paid before the server broke was paid; of nothing, nothing is known
    broken = episode(*turns, PolicyFailure("gone"))
    assert (broken.status, broken.usage.get("cost")) == ("invalid", total)
    assert "cost" not in episode(PolicyFailure("gone")).usage


def test_thoughts_of_a_server_are_kept() -> None:
    got = episode(said("<answer>1</answer>", extra={"reasoning_content": "hm"}))
    assert got.messages[-1] == {
        "role": "assistant",
        "content": "<answer>1</answer>",
        "reasoning_content": "hm",
    }


def test_a_model_is_never_shown_what_the_task_hides() -> None:
    """Golds, plan, sub-goals, tags, source and the tools' code stay here."""
    task = sum_task(
        answer=["GOLD"],
        plan=[{"name": "PLAN", "arguments": {}}],
        subgoals={"add": ["SUBGOAL"]},
        tags={"toolbox": "TAG"},
        source="SOURCE",
        env={"kind": "python", "codes": {"add": "# CODE\ndef add(a, b):\n    return a + b\n"}},
    )
    brain = say(call("add", '{"a": 0, "b": 1}'), call("add", "{bad"), text("<answer>1</answer>"))
    with ModelServer(brain) as server:
        got = played(OpenAI(f"m@{server.url}", Sampling()), task)
        assert got.stop == "answer"
        assert len(server.requests) == 3
        sent = json.dumps(server.requests)
    for hidden in ("GOLD", "PLAN", "SUBGOAL", "TAG", "SOURCE", "CODE", task.id):
        assert hidden not in sent
    asked = {key for request in server.requests for key in request}
    assert asked == {"model", "messages", "tools", "temperature", "max_tokens", "seed"}
