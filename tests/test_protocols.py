"""How a server is asked: the probe's decision, calls as text, options a server refuses, `--extra-body`."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from conftest import Tm
from servers import Brain, Expert, ModelServer, Trouble, after, call, say, text

from tmcli.errors import PolicyFailure, UsageError
from tmcli.http import Patience
from tmcli.policies import Reply, Sampling, Service
from tmcli.policies.openai import OpenAI
from tmcli.policies.openai.text import described
from tmcli.protocol import prompt, write_call
from tmcli.records import Json, Task, new_task
from tmcli.suites import suite

QUICK = Patience(base_s=0.01, max_pause_s=0.5, total_s=10)
TOOL = {"type": "function", "function": {"name": "f", "parameters": {"type": "object", "properties": {}}}}
SYSTEM: Json = {"role": "system", "content": prompt("trial")}
ANSWER = text("<answer>1</answer>")

Tools = Callable[[Json], Json | Trouble]


@pytest.fixture(autouse=True)
def _environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("OPENAI_BASE_URL", "OPENAI_API_BASE", "OPENAI_API_KEY", "HTTP_PROXY", "http_proxy"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def task() -> Task:
    user: list[Json] = [{"role": "user", "content": "How much?"}]
    return new_task(messages=user, tools=[TOOL], env={"kind": "python", "codes": {}}, answer=["1"])


def error(status: int, message: str, **more: Any) -> Trouble:
    return Trouble(status, json.dumps({"error": {"message": message, **more}}))


def ask(
    server: ModelServer, task: Task, samples: int = 1, service: Service = Service(), **sampling: Any
) -> tuple[list[Reply], Json]:
    """The first turns of so many episodes at once, and what the record says of the sampling after them."""

    async def run() -> tuple[list[Reply], Json]:
        policy = OpenAI(f"m@{server.url}", Sampling(**sampling), QUICK, service)
        try:
            asked = (policy.open(task, i).reply([SYSTEM, *task.messages]) for i in range(samples))
            return list(await asyncio.gather(*asked)), policy.sampling
        finally:
            await policy.aclose()

    return asyncio.run(run())


# ---- the probe -----------------------------------------------------------------------------------------

VLLM = '"auto" tool choice requires --enable-auto-tool-choice and --tool-call-parser to be set'


def refuses(trouble: Trouble) -> Tools:
    return lambda body: trouble if "tools" in body else {"prompt_tokens": 10}


PROBES: dict[str, tuple[Tools, str]] = {
    "shows tools": (lambda body: {"prompt_tokens": 60 if "tools" in body else 10}, "native"),
    "ignores tools": (lambda body: {"prompt_tokens": 10}, "text"),
    "counts nothing": (lambda body: {}, "native"),
    "counts nonsense": (lambda body: {"prompt_tokens": "many"}, "native"),
    "vLLM without a parser": (refuses(error(400, VLLM, code=400)), "text"),
    "llama.cpp without --jinja": (refuses(error(500, "tools param requires --jinja flag")), "text"),
    "Ollama": (refuses(error(400, "registry.ollama.ai/library/x does not support tools")), "text"),
    "OpenRouter": (refuses(error(404, "No endpoints found that support tool use.", code=404)), "text"),
    "any 422 about tools": (refuses(error(422, "body.tools: bad")), "text"),
    "a filter that dislikes it": (refuses(error(400, "no", code="content_filter")), "native"),
}


@pytest.mark.parametrize(("tools", "protocol"), PROBES.values(), ids=PROBES)
def test_the_probe_decides_once(
    tools: Tools, protocol: str, task: Task, capsys: pytest.CaptureFixture[str]
) -> None:
    with ModelServer(say(ANSWER), tools=tools) as server:
        replies, sampling = ask(server, task, samples=5)
    assert [reply.turn.answer for reply in replies] == ["1"] * 5
    assert sampling["protocol"] == protocol
    assert len(server.probes) <= 2
    assert {"tools" in request for request in server.requests} == {protocol == "native"}
    said = capsys.readouterr().err
    assert said.count("calls travel") == 1
    assert ("as text" if protocol == "text" else "natively") in said


@pytest.mark.parametrize("protocol", ["native", "text"])
def test_a_protocol_that_is_named_is_not_probed(protocol: Any, task: Task) -> None:
    with ModelServer(say(ANSWER)) as server:
        _, sampling = ask(server, task, service=Service(protocol=protocol))
    assert (server.probes, sampling["protocol"]) == ([], protocol)


def test_openai_itself_is_not_probed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-x")
    assert OpenAI("gpt-4o", Sampling()).sampling["protocol"] == "native"


def test_tools_that_a_server_refuses_end_the_run_with_a_remedy(task: Task) -> None:
    with (
        ModelServer(lambda _: error(400, VLLM)) as server,
        pytest.raises(UsageError, match="use --protocol text; or start the server with"),
    ):
        ask(server, task, service=Service(protocol="native"))


def test_a_schema_that_a_server_refuses_spoils_one_episode(task: Task) -> None:
    trouble = error(400, "Invalid schema for function 'f'")
    with (
        ModelServer(lambda _: trouble) as server,
        pytest.raises(PolicyFailure, match="Invalid schema"),
    ):
        ask(server, task)


def test_a_server_that_fails_the_probe_is_probed_again_by_the_next_episode(task: Task) -> None:
    troubles = [error(401, "bad key")]

    def tools(body: Json) -> Json | Trouble:
        return troubles.pop() if troubles else {"prompt_tokens": len(json.dumps(body))}

    async def run() -> list[Any]:
        policy = OpenAI(f"m@{server.url}", Sampling(), QUICK)
        try:
            asked = [policy.open(task, i).reply([SYSTEM, *task.messages]) for i in range(4)]
            first = await asyncio.gather(*asked[:3], return_exceptions=True)
            return [*first, await asked[3]]
        finally:
            await policy.aclose()

    with ModelServer(say(ANSWER), tools=tools) as server:
        found = asyncio.run(run())
    assert [type(one) for one in found] == [UsageError] * 3 + [Reply]


# ---- calls as text ---------------------------------------------------------------------------------------


class TextExpert:
    """The expert behind a server without tools: reads and writes everything as text."""

    def __init__(self, tasks: list[Task]) -> None:
        self.expert = Expert(tasks)
        self.dialogues: dict[str, list[Json]] = {}
        self.tools = {task.messages[-1]["content"]: task.tools for task in tasks}

    def __call__(self, body: Json) -> Json:
        assert "tools" not in body
        assert body["stop"] == ["<tool_response>"]
        system, user, *rest = body["messages"]
        assert system["content"] == f"{prompt('teacher')}\n\n{described(self.tools[user['content']])}"
        native = self.dialogues.setdefault(user["content"], [{"role": "system", "content": ""}, user])
        if rest:
            assert rest[-1]["role"] == "user"
            replies = re.findall(r"<tool_response>\n(.*?)\n</tool_response>", rest[-1]["content"], re.DOTALL)
            for one, reply in zip(native[-1]["tool_calls"], replies, strict=True):
                native.append({"role": "tool", "tool_call_id": one["id"], "content": reply})
        message = self.expert({"messages": native, "tools": [TOOL]})["message"]
        native.append(message)
        calls = [one["function"] for one in message.get("tool_calls", [])]
        written = [write_call(one["name"], json.loads(one["arguments"])) for one in calls]
        return text("\n".join([message["content"], *written]))


def test_the_same_episodes_come_of_calls_as_text_and_as_calls(tm: Tm, tmp_path: Path) -> None:
    tasks = list(suite("unseen"))[:6]
    lines = {}
    brains: dict[str, Brain] = {"text": TextExpert(tasks), "native": Expert(tasks)}
    for protocol, brain in brains.items():
        with ModelServer(brain, tools=lambda body: {"prompt_tokens": 9}) as server:
            words = ["--tasks", "unseen", "-n", 6, "--max-tokens", 100000, "--max-turns", 40]
            asked = [] if protocol == "text" else ["--protocol", protocol]
            done = tm("rollout", "--policy", f"m@{server.url}", *map(str, words), *asked)
        assert done.returncode == 0, done.stderr.decode()
        lines[protocol] = [json.loads(line) for line in done.stdout.splitlines()]
        assert {line["policy"]["sampling"]["protocol"] for line in lines[protocol]} == {protocol}
        assert [line["scores"]["answer"] for line in lines[protocol]] == [1.0] * 6
        assert (b"calls travel as text" in done.stderr) == (protocol == "text")
    for ours, theirs in zip(lines["text"], lines["native"], strict=True):
        assert ours["messages"] == theirs["messages"]
        assert ours["turns"] == theirs["turns"]


def test_tools_are_described_as_qwen_and_hermes_describe_them() -> None:
    words = described([TOOL])
    assert '<tools>\n{"type":"function","function":{"name":"f"' in words
    assert '<tool_call>\n{"name": <function-name>, "arguments": <args-json-object>}\n</tool_call>' in words
    assert described([]) == ""


# ---- what a server does not take -----------------------------------------------------------------------

REASONER = error(
    400,
    "Unsupported value: 'temperature' does not support 0 with this model. Only the default (1) is supported.",
    param="temperature",
    code="unsupported_value",
)


def strict(*refused: str) -> Brain:
    """A server that refuses these options, one at a time."""

    def brain(body: Json) -> Json | Trouble:
        for name in refused:
            if name in body:
                words = f"Unsupported parameter: '{name}' is not supported with this model."
                return error(400, words, param=name, code="unsupported_parameter")
        return dict(ANSWER)

    return brain


def test_an_option_that_is_refused_is_left_out_said_and_recorded(
    task: Task, capsys: pytest.CaptureFixture[str]
) -> None:
    with ModelServer(after(REASONER, strict("temperature", "seed", "top_p"))) as server:
        (reply,), sampling = ask(server, task, temperature=0.5, top_p=0.9)
    assert reply.turn.answer == "1"
    assert len(server.requests) == 4
    assert {"temperature", "seed", "top_p"} & server.requests[-1].keys() == set()
    assert (sampling["temperature"], sampling["seed"], sampling["top_p"]) == (None, None, None)
    said = capsys.readouterr().err
    assert said.count("the server does not take 'temperature': asked without it") == 1


def test_many_episodes_learn_of_it_once(task: Task, capsys: pytest.CaptureFixture[str]) -> None:
    with ModelServer(strict("temperature")) as server:
        replies, _ = ask(server, task, samples=20)
        assert len(replies) == 20
    assert capsys.readouterr().err.count("does not take 'temperature'") == 1


def test_the_word_for_the_limit_is_the_one_the_server_knows(
    task: Task, capsys: pytest.CaptureFixture[str]
) -> None:
    with ModelServer(strict("max_tokens")) as server:
        _, sampling = ask(server, task, max_new_tokens=77)
    assert server.requests[-1]["max_completion_tokens"] == 77
    assert sampling["max_new_tokens"] == 77
    with ModelServer(strict("max_tokens", "max_completion_tokens")) as server:
        _, sampling = ask(server, task, max_new_tokens=77)
    assert sampling["max_new_tokens"] is None
    assert "not take 'max" not in capsys.readouterr().err


def test_a_server_that_refuses_what_it_was_not_sent_fails(task: Task) -> None:
    always = error(400, "Unsupported parameter: 'temperature'", param="temperature")
    with ModelServer(lambda _: always) as server, pytest.raises(PolicyFailure, match="temperature"):
        ask(server, task)
    assert len(server.requests) == 2


def test_reasoning_that_is_refused_is_not_sent_back(task: Task) -> None:
    first = call("f", "{}")
    first["message"]["reasoning"] = "hm"

    def brain(body: Json) -> Json | Trouble:
        if any("reasoning" in message for message in body["messages"]):
            return error(400, "'messages.2' : for 'role:assistant' property 'reasoning' is unsupported")
        return say(first, ANSWER)(body)

    async def run() -> list[Reply]:
        policy = OpenAI(f"m@{server.url}", Sampling(), QUICK)
        conversation = policy.open(task, 0)
        messages = [SYSTEM, *task.messages]
        replies = [await conversation.reply(messages)]
        messages += [{"role": "assistant"}, {"role": "tool", "tool_call_id": "call_0", "content": "1"}]
        replies.append(await conversation.reply(messages))
        await policy.aclose()
        return replies

    with ModelServer(brain) as server:
        replies = asyncio.run(run())
    assert replies[0].extra == {"reasoning": "hm"}
    assert replies[1].turn.answer == "1"
    assert len(server.requests) == 3


# ---- --extra-body ----------------------------------------------------------------------------------------


def test_extra_fields_are_sent_and_recorded(task: Task) -> None:
    extra = {"top_k": 20, "chat_template_kwargs": {"enable_thinking": False}, "temperature": 0.2}
    with ModelServer(say(ANSWER)) as server:
        _, sampling = ask(server, task, service=Service(extra_body=extra))
    assert extra.items() <= server.requests[0].items()
    assert sampling["extra_body"] == extra


def test_extra_fields_replace_the_limit_by_any_of_its_names(task: Task) -> None:
    with ModelServer(say(ANSWER)) as server:
        ask(server, task, service=Service(extra_body={"max_completion_tokens": 9}))
    assert "max_tokens" not in server.requests[0]
    assert server.requests[0]["max_completion_tokens"] == 9
    assert server.probes[0]["max_completion_tokens"] == 16


def test_fields_that_go_with_tools_go_with_tools_alone(task: Task) -> None:
    for protocol, n_sent in (("native", 1), ("text", 0)):
        tools = PROBES["shows tools" if n_sent else "ignores tools"][0]
        with ModelServer(say(ANSWER), tools=tools) as server:
            _, sampling = ask(server, task, service=Service(extra_body={"tool_choice": "required"}))
        assert sampling["protocol"] == protocol
        assert not any("tool_choice" in request for request in server.probes)
        assert sum("tool_choice" in request for request in server.requests) == n_sent


def test_an_extra_field_that_is_refused_is_not_left_out(task: Task) -> None:
    with ModelServer(strict("seed")) as server, pytest.raises(PolicyFailure, match="seed"):
        ask(server, task, service=Service(extra_body={"seed": 4}))


@pytest.mark.parametrize("name", ["messages", "model", "tools", "stream", "n"])
def test_fields_that_tm_sets_cannot_be_replaced(name: str) -> None:
    with pytest.raises(UsageError, match=f"--extra-body may not set '{name}'"):
        OpenAI("m@http://127.0.0.1:9/v1", Sampling(), QUICK, Service(extra_body={name: 1}))


# ---- the cache ------------------------------------------------------------------------------------------


def test_a_rerun_is_free_where_the_server_refuses_much(task: Task, tmp_path: Path) -> None:
    service = Service(cache=str(tmp_path / "replies"))
    numbers = iter(range(100))
    brain = strict("seed", "temperature")

    def numbered(body: Json) -> Json | Trouble:
        said = brain(body)
        return said if isinstance(said, Trouble) else text(f"<answer>{next(numbers)}</answer>")

    with ModelServer(numbered, tools=refuses(error(400, VLLM))) as server:
        first, sampling = ask(server, task, samples=4, service=service)
        n_requests = len(server.requests), len(server.probes)
        again, same = ask(server, task, samples=4, service=service)
        assert (len(server.requests), len(server.probes)) == n_requests
    assert [reply.content for reply in again] == [reply.content for reply in first]
    assert len({reply.content for reply in first}) == 4
    assert same == sampling


