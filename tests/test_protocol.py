"""The parser reads whatever a model writes: it never raises, tells ok from repaired from invalid, and
stays linear on hostile text."""

from __future__ import annotations

import time
import warnings
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tmcli.protocol import (
    CALL_CLOSE,
    CALL_OPEN,
    MAX_CALL_CHARS,
    TAGS,
    Call,
    Fault,
    describe,
    parse,
    prompt,
    read_call,
    strip_markup,
    write_call,
)

PIECES = st.sampled_from(
    [
        CALL_OPEN, CALL_CLOSE, *(f"<{tag}>" for tag in TAGS), *(f"</{tag}>" for tag in TAGS),
        '{"name": "f", "arguments": {"a": 1}}', '{"name": "f"', "{'name': 'f', 'arguments': {1: b'x'}}",
        "<tool_response>", "}", '"', "```json", "```", "\n", "\\d", "null", "<", "</", "tool_call>", "\0",
        "\ud800",
    ]
)  # fmt: skip
HOSTILE = st.lists(st.one_of(PIECES, st.text(max_size=8)), max_size=30).map("".join)

NUMBERS = st.integers(-(2**53), 2**53) | st.floats(allow_nan=False, allow_infinity=False)
JSON = st.recursive(
    st.none() | st.booleans() | NUMBERS | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)
NAMES = st.text(st.characters(categories=["L", "N"], include_characters="_-"), min_size=1, max_size=12)
ARGUMENTS = st.dictionaries(st.text(max_size=8), JSON, max_size=4)
# Markup inside of argument strings is cut like markup outside: the templates know no escape either.
PLAIN = st.text(st.characters(exclude_characters="<", exclude_categories=["Cs"]), max_size=30).map(str.strip)


def _no_markup(value: Any) -> bool:
    return "<" not in orjson.dumps(value).decode()


@given(HOSTILE)
def test_parse_never_raises_and_its_parts_fit(content: str) -> None:
    turn = parse(content)
    assert turn.phase in ("trial", "execution")
    assert (turn.state == "invalid") == bool(turn.faults)
    assert len(turn.calls) + len(turn.faults) <= content.count(CALL_OPEN)
    assert set(turn.tags) <= set(TAGS)
    for call in turn.calls:
        orjson.dumps(call.arguments)  # always JSON: it will be written
    assert CALL_OPEN not in turn.text or turn.faults


@given(NAMES, ARGUMENTS.filter(_no_markup), PLAIN, PLAIN)
def test_written_calls_are_read_back(name: str, arguments: dict[str, Any], why: str, learned: str) -> None:
    said = f"<experience>{learned}</experience><trial>{why}</trial>"
    turn = parse(said + write_call(name, arguments) + write_call("second", {}))
    assert turn.state == "ok"
    assert turn.calls == (Call(name, arguments), Call("second", {}))
    assert turn.text == said
    assert turn.phase == "trial"
    assert turn.tags == {"experience": learned, "trial": why}


@pytest.mark.parametrize(
    ("body", "arguments"),
    [
        ('{"name": "f", "arguments": {"a": 1}', {"a": 1}),
        ('{"name": "f", "arguments": {"a": 1', {"a": 1}),
        ('{"name": "f", "arguments": {"a": "x', {"a": "x"}),
        ("{'name': 'f', 'arguments': {'a': None, 'b': (1, 2)}}", {"a": None, "b": [1, 2]}),
        ("{'name': 'f', 'arguments': {'a': '\\d'}}", {"a": "\\d"}),
        ('```json\n{"name": "f", "arguments": {}}\n```', {}),
        ('{"name": "f", "parameters": {"a": 1}}', {"a": 1}),
        ('{"name": "f", "arguments": "{\\"a\\": 1}"}', {"a": 1}),
        ('{"name": "f"}', {}),
    ],
)
def test_a_call_that_can_be_mended_is_repaired(body: str, arguments: dict[str, Any]) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # nor does it warn about the model's text
        assert read_call(body) == (Call("f", arguments), True)
    assert parse(f"{CALL_OPEN}{body}{CALL_CLOSE}").state == "repaired"


@pytest.mark.parametrize(
    "body",
    [
        "f(1)",
        "",
        "null",
        "[]",
        '{"name": 1, "arguments": {}}',
        '{"name": "f", "arguments": 3}',
        '{"name": "f", "arguments": null}',
        '{"name": "f", "arguments": "x"}',
        "{'name': 'f', 'arguments': {1: 2}}",
        "{'name': 'f', 'arguments': {'a': b'x'}}",
        "{'name': 'f', 'arguments': {'a': {1, 2}}}",
        '{"name": "f", "arguments": ' + "[" * 5000,
        "-" * 19_000 + "1",
        "(" * 19_000,
        '{"name": "f", "arguments": {"a": "' + "x" * MAX_CALL_CHARS + '"}}',
    ],
)
def test_a_call_that_cannot_be_read_is_a_fault_and_stays_in_the_text(body: str) -> None:
    fault = read_call(body)
    assert isinstance(fault, Fault)
    assert fault.error
    assert len(fault.text) <= 200
    turn = parse(f"<plan>p</plan>{CALL_OPEN}{body}{CALL_CLOSE}{write_call('g', {})}")
    assert turn.state == "invalid"
    assert turn.calls == (Call("g", {}),)
    assert turn.text == f"<plan>p</plan>{CALL_OPEN}{body}{CALL_CLOSE}"


def test_unclosed_markup_is_repaired() -> None:
    turn = parse('<trial>look<tool_call>{"name": "f", "arguments": {}}')
    assert (turn.state, turn.phase, turn.tags) == ("repaired", "trial", {"trial": "look"})
    assert turn.calls == (Call("f", {}),)
    assert parse("<answer>42").answer == "42"
    assert parse("<answer>42</answer>").state == "ok"
    assert parse("just words").tags == {}


def test_two_unclosed_calls_are_two_calls() -> None:
    one = '<tool_call>{"name": "f", "arguments": {}}'
    assert len(parse(one + one).calls) == 2


def test_describe_takes_native_calls() -> None:
    turn = describe("<plan>go</plan>", (Call("f", {}),))
    assert (turn.phase, turn.state, turn.answer) == ("execution", "ok", None)


def test_strip_markup_leaves_what_was_said() -> None:
    assert strip_markup("<answer>It is <tool_call>5</answer>") == "It is  5"


@pytest.mark.parametrize("name", ["trial", "direct", "teacher"])
def test_prompts_are_there(name: str) -> None:
    assert prompt(name)


@pytest.mark.parametrize(
    "unit",
    [
        "<", "<tool_call>", "</tool_call>", "<trial>", "<trial></", "<answer>x</trial>", "a ", " ", "\n", "`",
        "{", "<tool_call>{", "<tool_call>```" + "\n" * 15_000 + "x",
        "<tool_call>a" + " " * 15_000 + "b</tool_call>",
        "<tool_call>" + "[" * 15_000, "<tool_call>" + "1+" * 7_000, '<tool_call>{"name":',
        "<tool_call>'" + "\\" * 9_999,
    ],
)  # fmt: skip
def test_long_garbage_takes_linear_time(unit: str) -> None:
    """Four times the text takes about four times as long, not sixteen."""

    def seconds(n_chars: int) -> float:
        content = unit * (n_chars // len(unit))
        best = float("inf")
        for _ in range(3):
            start = time.process_time()  # ours alone, whatever else the machine does
            parse(content)
            strip_markup(content)
            best = min(best, time.process_time() - start)
        return best

    small, large = seconds(30_000), seconds(120_000)
    assert large < max(0.05, 10 * small)
    assert large < 2
