"""Records: what is read is written back byte for byte, and what is wrong is an `InputError`, always."""

import ast
import inspect
import json
from dataclasses import FrozenInstanceError, replace
from itertools import pairwise
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st
from strategies import json_values, lines, record_values

from tmcli.errors import InputError
from tmcli.records import (
    KINDS,
    Task,
    Trajectory,
    decode,
    encode,
    expect,
    from_json,
    known_fields,
    new_task,
    task_of,
    to_json,
)

TASK: dict[str, Any] = {
    "kind": "task",
    "v": 1,
    "id": "t",
    "messages": [{"role": "user", "content": "?"}],
    "tools": [{"type": "function", "function": {"name": "f"}}],
    "env": {"kind": "python"},
    "answer": ["1"],
}
TRAJECTORY: dict[str, Any] = {
    "kind": "trajectory",
    "v": 1,
    "id": "t#0",
    "task": TASK,
    "messages": [],
    "tools": [],
    "turns": [],
    "prediction": None,
    "stop": "answer",
}


@given(lines())
def test_an_unchanged_record_is_written_back_byte_for_byte(line: bytes) -> None:
    assert encode(decode(line)) == line


@given(lines())
def test_a_changed_record_keeps_everything_else(line: bytes) -> None:
    record = decode(line)
    changed = replace(record)
    assert changed.raw is None
    again = decode(encode(changed))
    assert again == record
    assert again.extra == record.extra
    assert encode(replace(again)) == encode(changed), "the canonical form is one"


@given(record_values())
def test_canonical_order(value: dict[str, Any]) -> None:
    record = from_json(value)
    keys = list(to_json(record))
    known = [name for name in known_fields(type(record)) if name in keys]
    assert keys == ["kind", "v", *known, *record.extra]


@given(st.binary() | json_values.map(lambda value: json.dumps(value).encode()))
def test_nonsense_is_an_input_error(line: bytes) -> None:
    with pytest.raises(InputError):
        decode(line)


@given(record_values(), st.data())
def test_a_wrong_field_is_an_input_error_or_well(value: dict[str, Any], data: st.DataObject) -> None:
    key = data.draw(st.sampled_from(list(value)))
    value[key] = data.draw(json_values)
    try:
        record = from_json(value)
    except InputError as error:
        wrong = error
    else:
        assert from_json(to_json(record)) == record
        return
    assert wrong.field.startswith(key)
    assert wrong.remedy


@given(lines("task"), st.data())
def test_a_torn_line_is_an_input_error(line: bytes, data: st.DataObject) -> None:
    cut = data.draw(st.integers(1, len(line.rstrip()) - 1))
    if line[:cut].strip():
        with pytest.raises(InputError):
            decode(line[:cut])


@pytest.mark.parametrize(
    ("change", "field", "says"),
    [
        ({"kind": None}, "kind", "the record has no kind"),
        ({"kind": "tsk"}, "kind", "did you mean 'task'?"),
        ({"v": 2}, "v", "version 2 is not 1"),
        ({"v": True}, "v", "version True is not 1"),
        ({"v": None}, "v", 'add "v": 1'),
        ({"id": 3}, "id", "a JSON number where a string is due"),
        ({"messages": [{"role": "usr"}]}, "messages[0].role", "did you mean 'user'?"),
        ({"messages": [{"role": "user", "content": [1]}]}, "messages[0].content", "a JSON array"),
        ({"messages": [{"role": "user", "tool_calls": 1.0}]}, "messages[0].tool_calls", "an array is due"),
        ({"tools": [{"name": "f"}]}, "tools[0].function", "a JSON null where an object is due"),
        ({"env": {}}, "env.kind", "a JSON null where a string is due"),
        ({"check": "exactly"}, "check", "did you mean 'exact'?"),
        ({"subgoals": {"f": "x"}}, "subgoals.f", "a JSON string where an array is due"),
    ],
)
def test_what_is_wrong_is_said(change: dict[str, Any], field: str, says: str) -> None:
    with pytest.raises(InputError) as raised:
        from_json(TASK | change)
    assert raised.value.field == field
    assert says in str(raised.value)


def test_a_missing_field_is_named() -> None:
    with pytest.raises(InputError, match=r"^answer: the task record lacks it; add 'answer'$"):
        from_json({key: value for key, value in TASK.items() if key != "answer"})


@pytest.mark.parametrize(
    ("line", "says"),
    [
        (b'{"kind": "task", "v"', "not JSON"),
        (b'{"kind": "t\xffsk"}', "byte 12 is not UTF-8"),
        (b"[" * 5000 + b"]" * 5000, "nested too deep"),
        (b"[1, 2]", "a JSON array, not an object"),
        (b"NaN", "not JSON"),
        (b'"\xed\xa0\x80"', "not UTF-8"),
    ],
)
def test_what_is_wrong_with_a_line_is_said(line: bytes, says: str) -> None:
    with pytest.raises(InputError, match=says):
        decode(line)


def test_tokens_belong_together() -> None:
    tokens = {"ids": [1, 2], "mask": [0, 1], "logprobs": [0.0]}
    says = r"tokens: ids, mask and logprobs differ in length"
    with pytest.raises(InputError, match=says):
        from_json(TRAJECTORY | {"tokens": tokens})
    record = from_json(TRAJECTORY)
    assert isinstance(record, Trajectory)
    with pytest.raises(InputError, match=says):
        encode(replace(record, tokens=tokens))
    assert encode(from_json(TRAJECTORY | {"tokens": tokens | {"logprobs": None}}))


def test_null_reward_is_written_and_never_zero() -> None:
    record = expect(from_json(TRAJECTORY), Trajectory)
    assert record.reward is None
    assert b'"reward":null' in encode(record)
    assert b'"failure"' not in encode(record)


def test_a_wrong_kind_names_its_maker() -> None:
    with pytest.raises(InputError, match=r"a task record where .* is due; tm synth or tm rollout"):
        expect(from_json(TASK), Trajectory)


def test_records_are_frozen() -> None:
    with pytest.raises(FrozenInstanceError):
        from_json(TASK).id = "other"  # type: ignore[misc,union-attr]


def test_the_id_is_the_content() -> None:
    content = {key: TASK[key] for key in ("messages", "tools", "env", "answer")}
    task = new_task(**content)
    assert new_task(**content, tags={"split": "seen"}, source="elsewhere").id == task.id
    assert new_task(**content | {"answer": ["2"]}).id != task.id


def test_the_task_of_a_trajectory() -> None:
    assert task_of(expect(from_json(TRAJECTORY), Trajectory)) == expect(from_json(TASK), Task)


@pytest.mark.parametrize("kind", KINDS)
def test_every_field_is_explained(kind: str) -> None:
    """By a sentence under it, or by the closed list that is its type."""
    (definition,) = ast.parse(inspect.getsource(KINDS[kind])).body
    assert isinstance(definition, ast.ClassDef)
    explained = {
        field.target.id
        for field, after in pairwise([*definition.body, ast.Pass()])
        if isinstance(field, ast.AnnAssign) and isinstance(field.target, ast.Name)
        if isinstance(after, ast.Expr) or ast.unparse(field.annotation) in ("Stop", "Status")
    }
    assert explained == set(known_fields(KINDS[kind]))


def test_the_canonical_form_is_orjsons() -> None:
    record = from_json(TASK)
    assert encode(record) == orjson.dumps(to_json(record))
