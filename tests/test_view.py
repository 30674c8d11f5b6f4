"""What rules see of a line: the quick way and `records.decode` never disagree."""

import json
from typing import Any

import orjson
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from strategies import json_values, record_values, text
from trajectories import call, fault, lines, task, trajectory, turn

from tmcli.errors import InputError
from tmcli.filters import shape
from tmcli.filters.duplicates import fingerprint
from tmcli.filters.facts import Facts, mix
from tmcli.filters.view import View
from tmcli.records import Trajectory, decode, encode, expect, known_fields, to_json
from tmcli.score import correct, judge, made, played, score_of, scored, task_in

PARTS = [
    "id", "status", "stop", "prediction", "failure", "reward", "messages", "turns", "tools", "tokens",
    "scores", "usage", "policy",
]  # fmt: skip
TASK = ["id", "messages", "tools", "env", "answer", "check", "subgoals", "plan", "tags", "source"]


def agrees(line: bytes) -> bool:
    """Is a line seen as `records.decode` sees it? Returns whether it is a trajectory."""
    refused = ""
    try:
        whole = expect(decode(line), Trajectory)
        of = task_in(whole)
    except InputError as error:
        refused = str(error)
    if refused:
        assert shape.read(line) is None
        with pytest.raises(InputError) as caught:
            View.of(line)
        assert str(caught.value) == refused
        return False
    view = View.of(line)
    for name in PARTS:
        assert same(getattr(view, name), getattr(whole, name)), name
    for name in TASK:
        assert same(getattr(view.task, name), getattr(of, name)), name
    assert view.trajectory == whole
    slow = View(line, whole, of)
    assert fingerprint(view) == fingerprint(slow)
    assert mix(view) == mix(slow)
    assert Facts.of(view) == Facts.of(slow)
    assert view.line == line
    assert view.calls == made(whole)
    assert view.played == list(played(whole))
    assert view.correct == correct(whole.prediction, of.answer, of.check)
    assert same(to_json(scored(view.case())), to_json(score_of(judge(whole))))
    assert scored(slow.case()) == scored(view.case())
    assert view.said == [message.get("content") or "" for _, message, _ in played(whole)]
    return True


def same(one: Any, other: Any) -> bool:
    """Tells 1 from 1.0 and from true, and -0.0 from 0.0."""
    try:
        return repr(_sorted(one)) == repr(_sorted(other))
    except RecursionError:
        return bool(one == other)


def _sorted(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _sorted(value[key]) for key in sorted(value)}
    return [_sorted(item) for item in value] if isinstance(value, list) else value


# ---- usual lines -----------------------------------------------------------------------------------

USUAL = [
    trajectory(),
    trajectory([turn("trial", fault(), state="invalid"), turn("execution", call()), turn("execution")]),
    trajectory([], prediction=None, stop="length"),
    trajectory(status="invalid", failure="it broke", stop="infrastructure"),
    trajectory(task=task(plan=[{"name": "f", "arguments": {"a": {"$from": [0, "b"]}}}], source="x")),
    trajectory(task=task(subgoals={"f": ["1"]}, check="number", tags={"drift": ["stale"]})),
    trajectory(tokens={"ids": [1, 2], "mask": [0, 1], "logprobs": [None, -0.5], "vocabulary": "v"}),
    trajectory(reward=1.25, scores={"answer": 1.0}, usage={"cost": 0.1}, policy={"key": "é\u2028\U0001f600"}),
]


@pytest.mark.parametrize("one", USUAL)
def test_usual_lines_take_the_quick_way(one: Trajectory) -> None:
    line = encode(one)
    assert shape.read(line) is not None
    assert agrees(line)


def test_what_filter_adds_is_usual() -> None:
    line = lines(trajectory())[:-2].encode() + b',"judged":{"judge":"m"},"dropped":"leak","dropped_why":"x"}'
    assert shape.read(line) is not None
    assert agrees(line)


@given(record_values("trajectory"), record_values("task"), st.booleans())
def test_any_trajectory(value: dict[str, Any], of: dict[str, Any], is_plain: bool) -> None:
    if is_plain:
        value = {key: item for key, item in value.items() if key in ("kind", "v", *known_fields(Trajectory))}
    agrees(json.dumps(value | {"task": of}).encode())


# ---- unusual lines ---------------------------------------------------------------------------------

ODD: list[bytes] = [
    b"18446744073709551615", b"18446744073709551616", b"-9223372036854775808", b"-9223372036854775809",
    b"123456789012345678901234567890", b"1" * 400, b"1e400", b"-1e400", b"1e-400", b"1E5", b"-0", b"-0.0",
    b"0.1e1", b"01", b"NaN", b"Infinity", b"true", b"false", b"null", b'"\\ud800"', b'"\\ud83d\\ude00"',
    b'"\xff"', b'"\xed\xa0\x80"', b'"a\x01b"', b'"\\q"', b'"\\u0000"', b'"x"', b"{}", b"[]", b"[{}]", b"[[]]",
    b'{"a":1,"a":2}', b'{"role":"user"}', b'{"kind":"x"}', b'["x"]', b"[1]", b'[{"role":"user"}]',
    b"[" * 900 + b"]" * 900, b"[" * 1030 + b"]" * 1030, b'{"":' * 300 + b"1" + b"}" * 300, b" 1 \t", b"",
    b'{"function":{"name":"f","parameters":{"default":1e999}}}', b'[{"function":{"name":1}}]',
    b'{"name":"f"}', b'[{"phase":"trial","calls":{}}]', b'[{"phase":"trial","calls":[{"name":"f"}]}]',
    b'[{"function":{"name":"f","x":"\xff"}}]', b'[{"function":{"name":"f"}},{"function":[]}]',
]  # fmt: skip
"""Values, as strangers may write them."""


def paths(value: Any, at: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """The places in a JSON value."""
    found = [at]
    if isinstance(value, dict):
        for key, item in value.items():
            found += paths(item, (*at, key))
    elif isinstance(value, list):
        for i, item in enumerate(value):
            found += paths(item, (*at, i))
    return found


FULL = json.loads(
    encode(
        trajectory(
            task=task(
                plan=[{"name": "f", "arguments": {"a": 1}}],
                subgoals={"f": ["1"]},
                source="s",
                messages=[{"role": "user", "content": "How many?"}],
            ),
            tokens={"ids": [1, 2], "mask": [0, 1]},
            reward=1.0,
            scores={"answer": 1.0},
            failure="x",
        )
    )
)
PATHS = paths(FULL)
MARK = "\N{BULLET}here\N{BULLET}"


def put(path: tuple[Any, ...], odd: bytes) -> bytes:
    """The full record with an odd value in one place."""
    value = json.loads(json.dumps(FULL))
    if not path:
        return odd
    inner = value
    for step in path[:-1]:
        inner = inner[step]
    inner[path[-1]] = MARK
    return orjson.dumps(value).replace(orjson.dumps(MARK), odd)


@pytest.mark.parametrize("odd", ODD)
def test_odd_values_anywhere(odd: bytes) -> None:
    for path in PATHS:
        agrees(put(path, odd))


@given(st.sampled_from(PATHS), json_values)
def test_any_value_anywhere(path: tuple[Any, ...], value: Any) -> None:
    agrees(put(path, json.dumps(value).encode()))


@given(st.sampled_from([path for path in PATHS if path]), text, st.sampled_from(ODD))
@example(("tools", 0, "function"), "parameters", b"1e999")
@example(("task",), "env", b'{"kind":1}')
def test_more_keys_anywhere(path: tuple[Any, ...], key: str, odd: bytes) -> None:
    """A key that is not known, or that comes twice."""
    value = json.loads(json.dumps(FULL))
    inner = value
    for step in path:
        inner = inner[step]
    if isinstance(inner, dict):
        inner[MARK] = 0
        agrees(orjson.dumps(value).replace(orjson.dumps(MARK) + b":0", orjson.dumps(key) + b":" + odd))


@given(st.sampled_from([path for path in PATHS if path]))
def test_a_key_less(path: tuple[Any, ...]) -> None:
    value = json.loads(json.dumps(FULL))
    inner = value
    for step in path[:-1]:
        inner = inner[step]
    del inner[path[-1]]
    agrees(orjson.dumps(value))


@given(
    st.integers(0, 5), st.sampled_from([b" ", b"\t", b"\r", b"\x0b", b"\xef\xbb\xbf", b"\x00", b"x", b"}"])
)
def test_spacing_and_torn_lines(n: int, mark: bytes) -> None:
    line = json.dumps(FULL, indent=n).replace("\n", " ").encode()
    assert agrees(line)
    agrees(mark + line)
    agrees(line + mark)
    agrees(line[: len(line) * n // 6])


TOOL = b'{"function":{"name":"f","parameters":{"default":%b}}}'


@pytest.mark.parametrize(
    "odd", [*ODD, b'"2E5 or 1e999"', '"é"'.encode(), b'"\xc3"', b"2E5", b"0.5e-999", b"1E+0999"]
)
def test_odd_values_in_tools(odd: bytes) -> None:
    usual = encode(trajectory())
    assert agrees(usual.replace(b'"type":"object"', b'"type":"object","x":1e5'))
    for path in (("tools", 0), ("task", "tools", 0)):
        agrees(put(path, TOOL % odd))


def test_another_kind_of_record() -> None:
    assert not agrees(json.dumps(task()).encode())
    assert not agrees(b"")
    assert not agrees(b"[]")
