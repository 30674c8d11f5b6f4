"""What a server's answers mean: `outcomes.py` row by row, and both wires against whatever a server says."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st
from servers import call, complaint, text

from tmcli import episode
from tmcli.environments import Observation
from tmcli.errors import PolicyFailure, RunError, TmError, UsageError
from tmcli.policies import Reply
from tmcli.policies.openai import outcomes
from tmcli.policies.openai.text import TextWire
from tmcli.policies.openai.wire import Wire
from tmcli.protocol import MAX_CALL_CHARS, Call, write_call
from tmcli.records import Json

TOOL = {"type": "function", "function": {"name": "f", "parameters": {"type": "object", "properties": {}}}}
ASKED: list[Json] = [{"role": "system", "content": "s"}, {"role": "user", "content": "How much?"}]

AnyWire = Wire | TextWire


def body(wire: AnyWire) -> Json:
    """The next request's fields as the server reads them."""
    read: Json = orjson.loads(orjson.dumps(wire.fields()))
    return read


def hear(choice: Json, wire: AnyWire) -> Reply:
    """One choice, as it comes through the table."""
    wire.hear(ASKED)
    outcome = outcomes.read(200, orjson.dumps({"choices": [choice], "usage": {}}))
    assert outcome.then == "said"
    return wire.said(outcome.choice)


def answered(reply: Reply, dialogue: list[Json] = ASKED) -> list[Json]:
    """The dialogue after the turn and its replies, as an episode writes them."""
    ids = [f"call_{i}" for i in range(len(reply.turn.calls))]
    messages = [*dialogue, episode._assistant(reply, ids)]
    for call_id, made in zip(ids, reply.turn.calls, strict=True):
        messages.append(episode._tool(call_id, made.name, f"reply {call_id}"))
    for i, fault in enumerate(reply.turn.faults):
        messages.append(episode._tool(f"invalid_1_{i}", "invalid", f"{fault.error}; write the call again"))
    return messages


# ---- what came over HTTP -----------------------------------------------------------------------------


def error(message: str, **more: Any) -> str:
    return json.dumps({"error": {"message": message, **more}})


TOO_LONG = "This model's maximum context length is 4096 tokens. However, you requested 5000 tokens."
TEMPERATURE = (
    "Unsupported value: 'temperature' does not support 0.3 with this model. "
    "Only the default (1) value is supported."
)
MAX_TOKENS = (
    "Unsupported parameter: 'max_tokens' is not supported with this model. "
    "Use 'max_completion_tokens' instead."
)
VLLM = '"auto" tool choice requires --enable-auto-tool-choice and --tool-call-parser to be set'

ANSWERS: list[tuple[int, str, str, str]] = [
    # status, body, then, detail (label, field, or finish_reason)
    (200, '{"choices": [{"message": {"content": "x"}, "finish_reason": "stop"}]}', "said", "stop"),
    (200, '{"choices": [{"message": {}, "finish_reason": "error"}]}', "again", "broken"),
    (200, '{"choices": [{"message": {}, "finish_reason": "abort"}]}', "again", "broken"),
    (200, "", "again", "malformed"),
    (200, "[]", "again", "malformed"),
    (200, '{"choices": []}', "again", "malformed"),
    (200, '{"choices": [{"message": null}]}', "again", "malformed"),
    (200, '{"choices": [{"message": {"tool_calls": "f"}}]}', "again", "malformed"),
    (200, error("overloaded"), "again", "malformed"),
    (200, error("slow down", code=429), "again", "429"),
    (200, error("no such model", code=404), "model", ""),
    (402, error("Insufficient Balance"), "quota", ""),
    (429, error("You exceeded your current quota", code="insufficient_quota"), "quota", ""),
    (400, error("Your credit balance is too low"), "quota", ""),
    (429, error("You exceeded your current quota, retry in 3 s"), "again", "429"),
    (400, error(TOO_LONG, code="context_length_exceeded"), "said", "length"),
    (400, error(TOO_LONG, type="BadRequestError", code=400), "said", "length"),
    (400, error("the request exceeds the available context size"), "said", "length"),
    (400, error("prompt is too long: 210000 tokens > 200000 maximum"), "said", "length"),
    (413, "", "said", "length"),
    (400, error("The response was filtered", code="content_filter"), "said", "content_filter"),
    (403, error("requires moderation, and your input was flagged"), "said", "content_filter"),
    (400, error(TEMPERATURE, param="temperature", code="unsupported_value"), "without", "temperature"),
    (400, error(MAX_TOKENS, param="max_tokens", code="unsupported_parameter"), "without", "max_tokens"),
    (400, error(MAX_TOKENS), "without", "max_tokens"),
    (400, error("Unrecognized request argument supplied: seed"), "without", "seed"),
    (422, '{"detail": [{"type": "extra_forbidden", "loc": ["body", "seed"]}]}', "without", "seed"),
    (400, error("`temperature` and `top_p` cannot both be specified for this model"), "without", "top_p"),
    (400, error("'messages.2' : property 'reasoning' is unsupported"), "without", "reasoning"),
    (400, error("Unexpected field reasoning_content"), "without", "reasoning_content"),
    (400, error("max_tokens cannot be greater than max_model_len", param="max_tokens"), "option", ""),
    (400, error(VLLM, code=400), "no_tools", ""),
    (500, error("tools param requires --jinja flag"), "no_tools", ""),
    (404, error("No endpoints found that support tool use."), "no_tools", ""),
    (400, error("registry.ollama.ai/library/gemma:2b does not support tools"), "no_tools", ""),
    (400, error("Unsupported parameter: 'tools'"), "no_tools", ""),
    (400, error("tool calling is not supported by this model"), "no_tools", ""),
    (422, '{"detail": [{"type": "extra_forbidden", "loc": ["body", "tools"]}]}', "no_tools", ""),
    (400, error("Invalid schema for function 'f': 'x' is not permitted", param="tools[0]"), "bad_tools", ""),
    (429, error("slow down"), "again", "429"),
    (503, "<html>busy</html>", "again", "503"),
    (529, error("Overloaded", type="overloaded_error"), "again", "529"),
    (500, error("tool parser failed"), "again", "500"),
    (408, "", "again", "408"),
    (401, error("bad key"), "key", ""),
    (403, "", "key", ""),
    (404, error("The model `m` does not exist"), "model", ""),
    (405, "", "model", ""),
    (204, "", "again", "malformed"),
    (301, "", "moved", ""),
    (400, error("something else"), "failed", ""),
    (418, "", "failed", ""),
]


@pytest.mark.parametrize(("status", "data", "then", "detail"), ANSWERS, ids=range(len(ANSWERS)))
def test_what_an_answer_means(status: int, data: str, then: str, detail: str) -> None:
    outcome = outcomes.read(status, data.encode())
    found = outcome.label or outcome.field or outcome.choice.get("finish_reason", "")
    assert (outcome.then, found) == (then, detail), outcome


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b'\xef\xbb\xbf{"choices": [{"message": {"content": "one"}}]}', "one"),
        (b'{"choices": [{"message": {"content": "one"}, "logprob": NaN}]}', "one"),
        (rb'{"choices": [{"message": {"content": "\ud83d one"}}]}', "? one"),
    ],
)
def test_json_as_loose_as_python_writes_it_is_read(data: bytes, said: str) -> None:
    outcome = outcomes.read(200, data)
    assert outcome.then == "said"
    assert outcome.choice["message"]["content"] == said


def test_what_is_no_completion_is_shown() -> None:
    page = outcomes.read(200, b"<html>Welcome to nginx</html>")
    assert page.trouble == "answers no chat completion: <html>Welcome to nginx</html>"
    assert outcomes.read(200, b"").trouble == "answers no chat completion: nothing"


def test_each_end_has_its_error() -> None:
    kinds: dict[outcomes.Then, type[TmError]] = {
        "quota": RunError,
        "key": UsageError,
        "model": UsageError,
        "moved": UsageError,
        "option": UsageError,
        "no_tools": UsageError,
        "failed": PolicyFailure,
        "bad_tools": PolicyFailure,
    }
    for then, kind in kinds.items():
        assert type(outcomes.Outcome(then).error("the server x fails")) is kind


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=6,
)


@given(st.integers(200, 599), st.binary(max_size=60) | JSON.map(lambda value: json.dumps(value).encode()))
def test_reading_an_answer_never_raises(status: int, data: bytes) -> None:
    assert outcomes.read(status, data).then


# ---- what a choice says ------------------------------------------------------------------------------

LONG = json.dumps({"a": "x" * MAX_CALL_CHARS})
DEEP = '{"a": ' + "[" * 300 + "]" * 300 + "}"
NO_OBJECT = '"arguments" of f is not a JSON object; write the call again'


@pytest.mark.parametrize("kind", [Wire, TextWire])
@pytest.mark.parametrize(
    ("choice", "ended"),
    [
        ({"message": {"content": None, "refusal": "I cannot"}}, ("refusal", None)),
        (text("no", finish_reason="content_filter"), ("refusal", None)),
        (text("no", finish_reason="SAFETY"), ("refusal", None)),
        (text("<plan>the", finish_reason="length"), ("length", None)),
        (text("<plan>the", finish_reason="max_tokens"), ("length", None)),
        (call("f", '{"a": "x', finish_reason="length"), ("length", None)),
        (text("<answer>4</answer>", finish_reason="length"), ("answer", "4")),
        (text(None), ("no_call", None)),
        ({"message": {}}, ("no_call", None)),
        ({"message": {"content": "", "reasoning": "it is <answer>4</answer>"}}, ("no_call", None)),
        (text("<think>it is <answer>4</answer></think>"), ("no_call", None)),
        (text("<think>it is <answer>4</answer></think><answer>5</answer>"), ("answer", "5")),
        (text("it is 4</think>\n\n<answer>5</answer>"), ("answer", "5")),
        (text("<think>cut"), ("no_call", None)),
        (text("four"), ("no_call", "four")),
        (text("four", finish_reason="tool_calls"), ("no_call", "four")),
        (call("f", "{}", finish_reason="stop"), None),
        (call("f", "{}", content="<answer>4</answer>"), None),
        ({"message": {"function_call": {"name": "f", "arguments": "{}"}}, "finish_reason": "stop"}, None),
    ],
)
def test_how_a_turn_ends(kind: type[AnyWire], choice: Json, ended: tuple[str, str | None] | None) -> None:
    assert episode._ended(hear(choice, kind([TOOL])), episode.Limits()) == ended


@pytest.mark.parametrize("kind", [Wire, TextWire])
@pytest.mark.parametrize(
    ("arguments", "made", "told"),
    [
        ('{"a": 1}', {"a": 1}, ""),
        ("", {}, ""),
        ('{"a": 1', {"a": 1}, ""),
        ("{'a': None}", {"a": None}, ""),
        ("{not json", None, NO_OBJECT),
        ("[1]", None, NO_OBJECT),
        (LONG, None, f"the call is longer than {MAX_CALL_CHARS} characters; write the call again"),
        (DEEP, None, "the call is nested deeper than 64 levels; write the call again"),
    ],
    ids=range(8),
)
def test_arguments(kind: type[AnyWire], arguments: str, made: Json | None, told: str) -> None:
    wire = kind([TOOL])
    reply = hear(call("f", arguments, content="<plan>p</plan>"), wire)
    assert [made] * (made is not None) == [one.arguments for one in reply.turn.calls]
    dialogue = answered(reply)
    wire.hear(dialogue)
    assert complaint(body(wire)) == ""
    if told:
        heard = body(wire)["messages"][-1]["content"]
        assert told in heard or (kind is TextWire and "not a JSON object" in heard)
        assert "write the call again" in heard


def test_a_call_without_a_name_is_told() -> None:
    calls = [{"function": {"arguments": "{}"}}, None, {"id": 5, "function": "f"}]
    wire = Wire([TOOL])
    reply = hear({"message": {"tool_calls": calls}}, wire)
    assert [fault.error for fault in reply.turn.faults] == ["the call names no function"] * 3
    wire.hear(answered(reply))
    assert complaint(body(wire)) == ""


def test_what_a_call_smuggles_beside_its_arguments_is_not_sent_back() -> None:
    wire = Wire([TOOL])
    reply = hear(call("f", '{"a": 1}, "b": 2'), wire)
    wire.hear(answered(reply))
    assert complaint(body(wire)) == ""
    assert reply.turn.calls == (Call("f", {"a": 1}),)


@pytest.mark.parametrize("name", ["no.such tool", "ünïcode", "x" * 300, "invalid"])
def test_an_unknown_tool_is_called_and_sent_back_as_a_name_the_api_takes(name: str) -> None:
    wire = Wire([TOOL])
    reply = hear(call(name, "{}", "f", "{}", "f", "oops"), wire)
    assert [one.name for one in reply.turn.calls] == [name, "f"]
    wire.hear(answered(reply))
    sent = body(wire)
    assert complaint(sent) == ""
    replies = [m["content"].split(";")[0] for m in sent["messages"][-3:]]
    assert replies == ["reply call_0", "reply call_1", '"arguments" of f is not a JSON object']


def test_calls_repeated_in_the_content_are_made_once() -> None:
    wire = Wire([TOOL])
    reply = hear(call("f", '{"a": 1}', content="<plan>p</plan>" + write_call("f", {"a": 1})), wire)
    assert reply.turn.calls == (Call("f", {"a": 1}),)
    assert reply.content == "<plan>p</plan>"


@pytest.mark.parametrize("kind", [Wire, TextWire])
def test_a_reply_the_model_made_up_is_cut(kind: type[AnyWire]) -> None:
    made_up = write_call("f", {}) + "\n<tool_response>\n42\n</tool_response>\n<answer>42</answer>"
    wire = kind([TOOL])
    reply = hear(text(f"<plan>p</plan>{made_up}"), wire)
    assert (reply.turn.calls, reply.turn.answer, reply.turn.state) == ((Call("f", {}),), None, "repaired")
    wire.hear(answered(reply))
    assert "42" not in json.dumps(body(wire))


def test_a_stop_the_server_met_is_a_repair() -> None:
    said = text(f"<plan>p</plan>{write_call('f', {})}\n", stop_reason="<tool_response>")
    assert hear(said, TextWire([TOOL])).turn.state == "repaired"


# ---- thoughts ----------------------------------------------------------------------------------------

DETAILS = [{"type": "reasoning.encrypted", "data": "abc", "id": "r1"}]


@pytest.mark.parametrize("kind", [Wire, TextWire])
@pytest.mark.parametrize(
    ("fields", "kept"),
    [
        ({"reasoning_content": "hm"}, {"reasoning_content": "hm"}),
        (both := {"reasoning": "hm", "reasoning_details": DETAILS}, both),
        ({"reasoning": "", "reasoning_details": None}, {}),
        ({"reasoning": 5, "reasoning_details": "no"}, {"reasoning_details": "no"}),
    ],
    ids=range(4),
)
def test_reasoning_fields_are_kept_and_sent_back(kind: type[AnyWire], fields: Json, kept: Json) -> None:
    wire = kind([TOOL])
    choice = call("f", "{}")
    choice["message"] |= fields
    reply = hear(choice, wire)
    assert reply.extra == kept
    wire.hear(answered(reply))
    sent = body(wire)["messages"][2]
    assert {key: sent[key] for key in sent if "reasoning" in key} == kept
    bare = orjson.loads(orjson.dumps(wire.fields(False)))["messages"]
    assert not [key for message in bare for key in message if "reasoning" in key]


@pytest.mark.parametrize("kind", [Wire, TextWire])
@pytest.mark.parametrize("opened", ["<think>\n", ""])
def test_thoughts_in_the_content_are_kept_apart_and_sent_back_as_said(
    kind: type[AnyWire], opened: str
) -> None:
    aloud = f"{opened}try {write_call('g', {})} or <answer>4</answer>?\n</think>\n\n"
    wire = kind([TOOL])
    reply = hear(text(f"{aloud}<plan>p</plan>{write_call('f', {})}"), wire)
    assert reply.turn.calls == (Call("f", {}),)
    assert reply.content == "<plan>p</plan>"
    assert reply.extra["reasoning_content"].strip() == f"try {write_call('g', {})} or <answer>4</answer>?"
    wire.hear(answered(reply))
    assert body(wire)["messages"][2]["content"].startswith(f"{aloud}<plan>p</plan>")


# ---- any server ---------------------------------------------------------------------------------------

MARKS = ["<think>", "</think>", "<tool_call>", "</tool_call>", "<tool_response>", "<answer>"]
WORD = st.sampled_from(
    ["f", "", "x y", "{}", '{"a": 1', "null", '{"a": 1}, "b": 2', "stop", "c00020000", "c00020001", *MARKS]
)
ANY = JSON | WORD | st.lists(WORD, max_size=6).map("".join)
FUNCTION = st.fixed_dictionaries({}, optional={"name": ANY, "arguments": ANY})
NATIVE = st.fixed_dictionaries({}, optional={"id": ANY, "type": ANY, "function": FUNCTION | ANY}) | ANY
PARTS = st.lists(st.fixed_dictionaries({"type": ANY}, optional={"text": ANY}) | ANY, max_size=3)
MESSAGE = st.fixed_dictionaries(
    {},
    optional={
        "content": ANY | PARTS,
        "refusal": ANY,
        "reasoning": ANY,
        "reasoning_content": ANY,
        "reasoning_details": ANY,
        "function_call": FUNCTION | ANY,
        "tool_calls": st.lists(NATIVE, max_size=4) | ANY,
    },
)
CHOICE = st.fixed_dictionaries(
    {"message": MESSAGE}, optional={"finish_reason": ANY, "stop_reason": ANY, "usage": ANY}
)


@pytest.mark.parametrize("kind", [Wire, TextWire])
@given(st.lists(CHOICE, min_size=1, max_size=3), JSON)
def test_whatever_a_server_says_the_next_request_is_valid_and_the_record_holds_it(
    kind: type[AnyWire], choices: list[Json], usage: Any
) -> None:
    wire = kind([TOOL])
    dialogue = ASKED
    for choice in choices:
        wire.hear(dialogue)
        outcome = outcomes.read(200, json.dumps({"choices": [choice], "usage": usage}).encode())
        if outcome.then != "said":
            continue
        reply = wire.said(outcome.choice)
        dialogue = answered(reply, dialogue)
        said = dialogue[len(dialogue) - 1 - len(reply.turn.calls) - len(reply.turn.faults)]
        orjson.dumps(dialogue)  # the record can be written
        kept = json.dumps(said)
        content = choice["message"].get("content")
        if isinstance(content, str) and not any(mark in content for mark in ("think>", "<tool_")):
            assert json.dumps(content.rstrip())[1:-1] in kept
        for key in ("reasoning", "reasoning_content"):
            value = choice["message"].get(key)
            assert not isinstance(value, str) or json.dumps(value)[1:-1] in kept
        ended = episode._ended(replace(reply, finish="stop"), episode.Limits())
        if ended is not None:
            return
    wire.hear(dialogue)
    sent = body(wire)
    assert complaint(sent) == ""
    if kind is TextWire:
        roles = [message["role"] for message in sent["messages"]]
        assert roles == ["system", *["user", "assistant"] * (len(roles) // 2), "user"][: len(roles)]


def test_each_message_is_encoded_once() -> None:
    wire = Wire([TOOL])
    dialogue = ASKED
    before: list[orjson.Fragment] = []
    for _ in range(5):
        wire.hear(dialogue)
        assert all(a is b for a, b in zip(before, wire.sent.all(True), strict=False))
        reply = wire.said({"message": call("f", "{}")["message"], "usage": {}})
        before, dialogue = list(wire.sent.all(True)), answered(reply, dialogue)
    assert len(wire.sent) == 2 + 5 * 2 - 1


def test_the_error_of_an_episode_is_an_observation() -> None:
    assert episode._error("x") == Observation(False, '{"error":"x"}', 0.0)
