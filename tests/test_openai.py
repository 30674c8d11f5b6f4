"""Policies behind a real HTTP server: what goes over the wire, and every way it can go wrong."""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import Callable, Coroutine
from email.utils import formatdate
from time import monotonic, time
from typing import Any

import pytest
from servers import Brain, ModelServer, Trouble, call, say, text

from tmcli.errors import PolicyFailure, RunError, UsageError
from tmcli.policies import Conversation, Reply, Sampling, load
from tmcli.policies.openai import OpenAI, Patience
from tmcli.protocol import Call, prompt, write_call
from tmcli.records import Json, Task, new_task

QUICK = Patience(base_s=0.01, max_pause_s=0.5, total_s=10)
KEY = "sk-a-secret-key"

TOOL = {"type": "function", "function": {"name": "f", "parameters": {"type": "object", "properties": {}}}}


@pytest.fixture(autouse=True)
def _environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("OPENAI_BASE_URL", "OPENAI_API_BASE", "HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("OPENAI_API_KEY", KEY)


@pytest.fixture
def task() -> Task:
    return new_task(
        messages=[{"role": "user", "content": "How much?"}],
        tools=[TOOL],
        env={"kind": "python", "codes": {}},
        answer=["the gold"],
        plan=[{"name": "the_plan", "arguments": {}}],
    )


Play = Callable[[Conversation], Coroutine[Any, Any, Any]]


def talk(server: ModelServer, task: Task, play: Play, **sampling: Any) -> Any:
    """Open one conversation with the server's model and play it."""

    async def run() -> Any:
        policy = OpenAI(f"gpt-4o@{server.url}", Sampling(**sampling), QUICK)
        try:
            return await play(policy.open(task, 0))
        finally:
            await policy.aclose()

    return asyncio.run(run())


def start(task: Task, style: str = "trial") -> list[Json]:
    return [{"role": "system", "content": prompt(style)}, *task.messages]


def ask(brain: Brain, task: Task, troubles: list[Trouble | None] | None = None) -> tuple[Reply, ModelServer]:
    """The first turn."""
    with ModelServer(brain, troubles or []) as server:
        reply: Reply = talk(server, task, lambda conversation: conversation.reply(start(task)))
    return reply, server


def exchange(first: Json, answers: list[tuple[str, str]], task: Task) -> tuple[Reply, list[Json]]:
    """A turn, then tool messages as the episode writes them (id, content); the second request too."""

    async def play(conversation: Conversation) -> Reply:
        reply = await conversation.reply(messages := start(task))
        messages.append({"role": "assistant", "content": reply.content})
        for i, content in answers:
            name = "invalid" if i.startswith("invalid") else "f"
            messages.append({"role": "tool", "tool_call_id": i, "name": name, "content": content})
        await conversation.reply(messages)
        return reply

    with ModelServer(say(first, text("<answer>1</answer>"))) as server:
        reply: Reply = talk(server, task, play)
    return reply, server.requests[1]["messages"]


# ---- what is asked ---------------------------------------------------------------------------------


def test_the_request_holds_messages_tools_and_sampling_and_nothing_else(task: Task) -> None:
    sampling = {"temperature": 0.7, "top_p": 0.9, "max_new_tokens": 99, "seed": 5}
    with ModelServer(say(text("<answer>1</answer>"))) as server:
        talk(server, task, lambda c: c.reply(start(task)), **sampling)
    assert server.paths == ["/v1/chat/completions"]
    assert server.keys == [f"Bearer {KEY}"]
    assert server.requests[0] == {
        "model": "gpt-4o",
        "messages": [{"role": "system", "content": prompt("teacher")}, *task.messages],
        "tools": [TOOL],
        "temperature": 0.7,
        "top_p": 0.9,
        "max_tokens": 99,
        "seed": 5,
    }


def test_a_served_model_is_told_the_whole_method_of_either_style(task: Task) -> None:
    with ModelServer(say(text("x"))) as server:
        talk(server, task, lambda c: c.reply(start(task, "direct")))
    assert server.requests[0]["messages"][0]["content"] == prompt("teacher_direct")


def test_base_url_comes_from_the_environment(task: Task, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OPENAI_API_KEY")
    for name in ("OPENAI_BASE_URL", "OPENAI_API_BASE"):
        with monkeypatch.context() as inner, ModelServer(say(text("hi"))) as server:
            inner.setenv(name, server.url + "/")
            policy = load("gpt-4o", Sampling())
            assert policy.name == "gpt-4o"

            async def run(policy: Any = policy) -> Reply:
                reply: Reply = await policy.open(task, 0).reply(start(task))
                await policy.aclose()
                return reply

            assert asyncio.run(run()).content == "hi"
            assert server.keys == [None]


def test_samples_differ_by_seed(task: Task) -> None:
    policy = OpenAI("m@http://127.0.0.1:9/v1", Sampling(seed=3))
    assert [policy.open(task, sample).seed for sample in (0, 1, 2)] == [3, 4, 5]
    assert policy.sampling["name"] == "m"


def test_credentials_in_the_address_are_used_and_never_shown(
    task: Task, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("OPENAI_API_KEY")
    with ModelServer(say(text("hi")), [Trouble(400, '{"detail": "no hunter2, ?k=tok3n"}')]) as server:
        url = server.url.replace("http://", "http://me:hunter2@") + "?k=tok3n"
        policy = OpenAI(f"m@{url}", Sampling(), QUICK)

        async def run() -> None:
            with pytest.raises(PolicyFailure) as failure:
                await policy.open(task, 0).reply(start(task))
            assert "hunter2" not in str(failure.value)
            assert "tok3n" not in str(failure.value)
            await policy.aclose()

        asyncio.run(run())
        assert policy.name == f"m@{server.url}"
        assert server.keys == ["Basic bWU6aHVudGVyMg=="]
        assert server.paths == ["/v1/chat/completions?k=tok3n"]


# ---- names and keys that cannot be right: before any request -----------------------------------------


def test_a_key_that_a_server_repeats_is_not_kept(task: Task, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "0123456789abcdef")
    reply, server = ask(say(text("you sent 0123456789abcdef")), task)
    assert reply.content == "you sent ***"
    assert server.keys == ["Bearer 0123456789abcdef"]
    monkeypatch.setenv("OPENAI_API_KEY", "EMPTY")
    assert ask(say(text("the EMPTY set")), task)[0].content == "the EMPTY set"



@pytest.mark.parametrize(
    "name",
    ["m@ftp://x/v1", "http://me:hunter2@host/v1", "m@me:hunter2@host", "m@http://", "m@http://h:99999/v1"],
)
def test_an_unreadable_address_is_refused_without_showing_it(name: str) -> None:
    with pytest.raises(UsageError, match="cannot be read; write") as error:
        OpenAI(name, Sampling())
    assert "hunter2" not in str(error.value)


def test_no_key_for_openai_is_told_before_the_first_request(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OPENAI_API_KEY")
    with pytest.raises(UsageError, match="OPENAI_API_KEY is not set") as error:
        load("gpt-4o", Sampling())
    assert error.value.exit_code == 2


def test_a_key_no_header_can_hold_is_refused_and_not_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-1\nsk-2")
    with pytest.raises(UsageError) as error:
        load("gpt-4o", Sampling())
    assert "sk-" not in str(error.value)


# ---- what is answered --------------------------------------------------------------------------------


def test_native_calls_are_read(task: Task) -> None:
    reply, _ = ask(say(call("f", '{"a": 1}', content="<trial>see</trial>")), task)
    assert reply.turn.calls == (Call("f", {"a": 1}),)
    assert (reply.turn.phase, reply.turn.state, reply.finish) == ("trial", "ok", "stop")
    assert reply.content == "<trial>see</trial>"
    assert (reply.prompt_tokens, reply.completion_tokens) == (100, 10)


def test_calls_written_as_text_are_read_and_sent_back_as_calls(task: Task) -> None:
    first = text("<plan>go</plan>" + write_call("f", {"a": 1}) + "<tool_call>oops</tool_call>")
    reply, messages = exchange(first, [("call_0", "one"), ("invalid_1_0", "cannot read")], task)
    assert reply.turn.calls == (Call("f", {"a": 1}),)
    assert reply.turn.state == "invalid"
    assistant, tool, user = messages[2:]
    assert assistant["tool_calls"][0]["function"] == {"name": "f", "arguments": '{"a":1}'}
    assert assistant["content"] == "<plan>go</plan><tool_call>oops</tool_call>" == reply.content
    assert (tool["role"], tool["content"]) == ("tool", "one")
    assert tool["tool_call_id"] == assistant["tool_calls"][0]["id"]
    assert user["role"] == "user"
    assert "cannot read" in user["content"]


def test_bad_arguments_are_a_fault_and_answered_under_the_servers_id(task: Task) -> None:
    first = call("f", "{not json", "f", '{"a": 1}', content="<plan>p</plan>")
    reply, messages = exchange(first, [("call_0", "one"), ("invalid_1_0", "write it again")], task)
    assert reply.turn.calls == (Call("f", {"a": 1}),)
    assert reply.turn.faults[0].error == '"arguments" of f is not a JSON object'
    assert "{not json" in reply.content
    sent = {c["id"]: c["function"] for c in messages[2]["tool_calls"]}
    assert json.loads(sent["id-0-f"]["arguments"])["unreadable"].endswith("{not json}")
    assert sent["id-1-f"]["arguments"] == '{"a": 1}'
    answered = {m["tool_call_id"]: m["content"] for m in messages[3:]}
    assert answered == {"id-1-f": "one", "id-0-f": "write it again"}


@pytest.mark.parametrize(
    ("arguments", "state"),
    [
        ("", "ok"),
        ("{}", "ok"),
        ('{"a": [1', "invalid"),
        ('{"a": 1', "repaired"),
        ('"{}"', "repaired"),
        ("null", "invalid"),
    ],
)
def test_odd_arguments(arguments: str, state: str, task: Task) -> None:
    reply, messages = exchange(call("f", arguments), [("call_0", "x")], task)
    assert reply.turn.state == state
    assert isinstance(json.loads(messages[2]["tool_calls"][0]["function"]["arguments"]), dict)


def test_arguments_as_an_object_and_missing_or_doubled_ids(task: Task) -> None:
    function = {"name": "f", "arguments": {"a": 1}}
    twin = {"id": "x", "function": function}
    calls = [{"function": function}, twin, twin, {}, None]
    first = {"message": {"content": [{"type": "text", "text": "<plan>p</plan>"}], "tool_calls": calls}}
    replies = [*((f"call_{i}", f"r{i}") for i in range(3)), *((f"invalid_1_{i}", f"e{i}") for i in range(2))]
    reply, messages = exchange(first, replies, task)
    assert len(reply.turn.calls) == 3
    assert [fault.error for fault in reply.turn.faults] == ["the call names no function"] * 2
    ids = [c["id"] for c in messages[2]["tool_calls"]]
    assert len(set(ids)) == 5
    assert {m["tool_call_id"]: m["content"] for m in messages[3:]} == dict(
        zip(ids, ["r0", "r1", "r2", "e0", "e1"], strict=True)
    )


def test_a_call_without_a_reply_still_gets_one_on_the_wire(task: Task) -> None:
    _, messages = exchange(call("f", "{}", "f", "{}"), [("call_0", "one")], task)
    assert [m["content"] for m in messages[3:]] == ["one", '{"error": "not called"}']


@pytest.mark.parametrize("key", ["reasoning_content", "reasoning"])
def test_thoughts_are_kept_and_sent_back(key: str, task: Task) -> None:
    first = call("f", "{}")
    first["message"][key] = "hm"
    reply, messages = exchange(first, [("call_0", "one")], task)
    assert reply.extra == {key: "hm"}
    assert messages[2][key] == "hm"


@pytest.mark.parametrize(
    ("choice", "finish", "content"),
    [
        (text("<answer>4", finish_reason="length"), "length", "<answer>4"),
        (call("f", '{"a": "x', finish_reason="length"), "length", None),
        (text("no", finish_reason="content_filter"), "refusal", "no"),
        ({"message": {"content": None, "refusal": "I cannot"}}, "refusal", "I cannot"),
        (text(None), "stop", ""),
        (text("", finish_reason=None), "stop", ""),
    ],
)
def test_finish(choice: Json, finish: str, content: str | None, task: Task) -> None:
    reply, _ = ask(say(choice), task)
    assert reply.finish == finish
    assert content is None or reply.content == content


@pytest.mark.parametrize(
    ("code", "finish"), [("context_length_exceeded", "length"), ("content_filter", "refusal")]
)
def test_a_400_that_says_why_is_the_models_end_not_the_servers(code: str, finish: str, task: Task) -> None:
    reply, server = ask(say(text("x")), task, [Trouble(400, json.dumps({"error": {"code": code}}))])
    assert reply.finish == finish
    assert len(server.requests) == 1


# ---- trouble -------------------------------------------------------------------------------------------

PASSING = [
    Trouble(429),
    Trouble(429, headers={"Retry-After": "0"}),
    Trouble(429, headers={"Retry-After": formatdate(time() - 5, usegmt=True)}),
    Trouble(429, headers={"Retry-After": "soon"}),
    Trouble(500),
    Trouble(503, "<html>busy</html>"),
    Trouble(408),
    Trouble(reset=True),
    Trouble(200, '{"choices": [{'),
    Trouble(200, "not json"),
    Trouble(200, '{"choices": []}'),
    Trouble(200, '{"choices": [{"message": {"tool_calls": 5}}]}'),
    Trouble(200, '{"error": {"message": "overloaded"}}'),
    Trouble(200, "x" * 10, headers={"Content-Encoding": "gzip"}),
]


@pytest.mark.parametrize("trouble", PASSING, ids=range(len(PASSING)))
def test_trouble_that_passes_is_tried_again(trouble: Trouble, task: Task) -> None:
    reply, server = ask(say(text("<answer>1</answer>")), task, [trouble, trouble])
    assert reply.turn.answer == "1"
    assert len(server.requests) == 3


def test_retry_after_is_obeyed(task: Task) -> None:
    _, server = ask(say(text("x")), task, [Trouble(429, headers={"Retry-After": "0.3"})])
    assert server.times[1] - server.times[0] >= 0.3


def test_retry_after_is_capped(task: Task) -> None:
    _, server = ask(say(text("x")), task, [Trouble(429, headers={"Retry-After": "86400"})])
    assert 0.5 <= server.times[1] - server.times[0] < 5


@pytest.mark.parametrize("trouble", [Trouble(500), Trouble(reset=True), Trouble(200, "?")], ids=range(3))
def test_lasting_trouble_is_a_policy_failure_after_eight_tries(trouble: Trouble, task: Task) -> None:
    with ModelServer(say(text("x")), [trouble] * 9) as server:
        with pytest.raises(PolicyFailure, match=rf"the server {server.url} .*, tried 8 times"):
            talk(server, task, lambda c: c.reply(start(task)))
        assert len(server.requests) == 8


def test_a_slow_server_meets_the_deadline(task: Task) -> None:
    patience = Patience(base_s=0.01, total_s=0.3)

    async def run() -> None:
        policy = OpenAI(f"m@{server.url}", Sampling(), patience)
        with pytest.raises(PolicyFailure, match="in time"):
            await policy.open(task, 0).reply(start(task))
        await policy.aclose()

    with ModelServer(say(text("x")), [Trouble(delay_s=4)] * 5) as server:
        before = monotonic()
        asyncio.run(run())
        assert monotonic() - before < 3


def test_nothing_listening_ends_the_run(task: Task) -> None:
    with socket.create_server(("127.0.0.1", 0)) as held:
        port = held.getsockname()[1]

    async def run() -> None:
        policy = OpenAI(f"m@http://127.0.0.1:{port}/v1", Sampling(), QUICK)
        with pytest.raises(RunError, match=f"127.0.0.1:{port}/v1 refuses the connection, tried 5 times; is"):
            await policy.open(task, 0).reply(start(task))
        await policy.aclose()

    asyncio.run(run())


LASTING: list[tuple[Trouble, type[Exception], str]] = [
    (Trouble(401, json.dumps({"error": {"message": f"bad key {KEY}"}})), UsageError, "OPENAI_API_KEY"),
    (Trouble(403), UsageError, "OPENAI_API_KEY"),
    (Trouble(404, '{"error": "model not found"}'), UsageError, "does it serve 'gpt-4o'"),
    (Trouble(301, headers={"Location": "http://elsewhere/?a=b"}), UsageError, "at http://elsewhere/; write"),
    (Trouble(422, '{"detail": "odd schema"}'), PolicyFailure, "odd schema"),
    (Trouble(429, '{"error": {"code": "insufficient_quota", "message": "no money"}}'), RunError, "no money"),
]


@pytest.mark.parametrize(("trouble", "error", "words"), LASTING, ids=range(len(LASTING)))
def test_trouble_that_stays_is_told_at_once(
    trouble: Trouble, error: type[Exception], words: str, task: Task
) -> None:
    with ModelServer(say(text("x")), [trouble] * 9) as server:
        with pytest.raises(error, match=words) as told:
            talk(server, task, lambda c: c.reply(start(task)))
        assert len(server.requests) == 1
        assert KEY not in str(told.value)


def test_one_client_serves_many_conversations_at_once(task: Task) -> None:
    async def run() -> list[Reply]:
        policy = OpenAI(f"m@{server.url}", Sampling(), QUICK)
        try:
            return list(await asyncio.gather(*(policy.open(task, i).reply(start(task)) for i in range(20))))
        finally:
            await policy.aclose()

    with ModelServer(say(text("x"))) as server:
        assert [reply.content for reply in asyncio.run(run())] == ["x"] * 20
        assert sorted(request["seed"] for request in server.requests) == list(range(20))
