"""`--keep EXPR`: what it sees, what it refuses and where, and what it says of records it does not fit."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from strategies import json_values
from trajectories import call, fault, task, trajectory, turn

from tmcli.errors import InputError, TmError, UsageError
from tmcli.filters.expression import FIELDS, MAX_CHARS, NAMES, expression
from tmcli.filters.view import View
from tmcli.records import encode


def view(**more: Any) -> View:
    return View.of(encode(trajectory(**more)))


def keeps(text: str, **more: Any) -> bool:
    why = expression(text)(view(**more))
    assert why in (None, "")
    return why is None


TRUE = """
correct
n_hints == 0 && correct == true
n_turns == 3 && n_calls == 2 && n_trials == 1 && n_errors == 1 && n_tools == 1
question == 'How many shelves has room 0?'
n_chars > 10 && n_chars < 1000
stop == "answer" && status in ["ok", "invalid"]
task.tags.hops >= 2
task.tags.hops > 1.5
task . tags.hops == 2
task["tags"]["toolbox"] == 'library'
has(task.tags.hops) && !has(task.plan)
has(task.plan) || size(task.answer) == 1
failure == null && tokens == null && reward == null
usage.turns == 3
has(record.usage) && !has(record.failure)
record.policy.name == policy.name
messages.exists(m, m.role == 'tool' && m.content.contains("unknown"))
turns.all(t, t.state != 'invalid')
turns.filter(t, t.phase == 'trial').size() == 1
messages.map(m, m.role)[0] == "system"
messages.exists_one(id, id.role == 'user')
prediction.matches('^[0-9]+ shelves$')
id.startsWith(task.id) && id.endsWith('#0')
true || task.nothing
turns.all(a, turns.all(b, turns.all(c, true))) && turns.all(d, ".all(e, .all(f" != 'it\\'s .all(')
"""


@pytest.mark.parametrize("text", TRUE.strip().splitlines())
def test_what_is_true(text: str) -> None:
    assert keeps(text)
    assert not keeps(f"!({text})")


def test_computed_names() -> None:
    steps = [
        turn("trial", call(), call(ok=False), fault()),
        turn("execution", call(), content="<plan>é</plan>"),
        turn("execution", content="<answer>9</answer>"),
    ]
    assert keeps("n_trials == 3 && n_calls == 4 && n_errors == 2 && !correct", turns=steps, prediction="9")
    assert keeps("correct == null", task=task(answer=[]))
    assert not keeps("n_hints > 0")


@pytest.mark.parametrize("name", [*NAMES, *FIELDS, "record"])
def test_every_name_is_there(name: str) -> None:
    assert keeps(f"{name} == {name}")


UNREADABLE = {
    "n_turns <": "--keep cannot be read at character 10 (n_turns < -->)",
    "x y": "--keep cannot be read at character 3 (x  --> y)",
    "a ? b": "at character 6",
    "n_turns > 1 &&\nn_calls >": "at line 2, character 10 (n_calls > -->)",
    "": "at character 1",
    "import os": "at character 1 (--> import os): reserved identifier",
    "__import__('os').system('true')": "no function is called",
    "n_turn > 2": "no field is called 'n_turn'; did you mean 'n_turns'?; other keys are record.n_turn",
    "judged.grounded.verdict == 'yes'": "other keys are record.judged",
    "sizes(turns) > 1": "no function is called 'sizes'; did you mean 'size'?",
    "(" * 3000 + "1" + ")" * 3000: "--keep has 6001 characters, at most 4000 are read",
    "(" * 1900 + "1" + ")" * 1900: "): Recursion limit of 96 exceeded; write CEL",
    "id.matches('(')": "--keep: '(' is no regular expression: unclosed group",
    'false && id . matches( r"a{9999999}" )': "is no regular expression",
    "turns.all(a, turns.all(b, turns.all(c, turns.exists(d, a == d))))": "inside 3 others",
    "wrong_answer": "--no-rule wrong_answer lets them through",
    "wrong_answer, duplicate": "--no-rule wrong_answer,duplicate lets them through",
}


@pytest.mark.parametrize("text", UNREADABLE)
def test_a_wrong_one_is_told_with_its_place(text: str) -> None:
    with pytest.raises(UsageError, match=re.escape(UNREADABLE[text])) as caught:
        expression(text)
    assert len(str(caught.value)) < 400


UNFIT = {
    "task.tags.nope > 1": "--keep finds no 'nope' in it; ask first, as has(task.tags.nope) && ...",
    "record.nope": "finds no 'nope' in it; ask first, as has(record.nope) && ...",
    "reward > 0.5": "a value of the wrong type, or with null; ask first, as prediction != null",
    "prediction > 3": "a value of the wrong type",
    "n_turns": "--keep gives a number, not true or false",
    "prediction": "gives a text",
    "failure": "gives null",
    "turns": "gives a list",
    "task": "gives an object",
    "messages[40].role == 'x'": "fails: index out of bounds: 40",
    "n_turns / 0 == 1": "fails: division by zero",
    "int(id) == 1": "fails: Function 'int' error",
    "id.matches('(' + '')": "fails: Function 'matches' error",
    "has(task.id) && policy.sampling.none == 1": "ask first, as has(policy.sampling.none) && ...",
}


@pytest.mark.parametrize("text", UNFIT)
def test_a_record_that_it_does_not_fit_is_named(text: str) -> None:
    check, one = expression(text), view()
    with pytest.raises(InputError, match=re.escape(UNFIT[text])) as caught:
        check(one)
    assert f"trajectory {one.id}: --keep " in str(caught.value)
    assert len(str(caught.value)) < 500


@given(json_values)
def test_other_keys_are_seen_as_they_are(value: Any) -> None:
    try:
        line = encode(replace(trajectory(), extra={"mine": value}))
    except InputError:
        return
    assert expression("has(record.mine) && record.mine == record.mine")(View.of(line)) is None


@given(st.text(alphabet="abn_turs<>=&|!()[]{}.,'\"\\ 0123?:+-*/%\n", max_size=60))
def test_no_text_breaks_it(text: str) -> None:
    try:
        why = expression(text)(view())
    except TmError as error:
        why = None if len(str(error)) < 600 else "a long story"
    assert why in (None, "")


@given(st.integers(1, 400))
def test_deep_ones_are_refused_or_answered(depth: int) -> None:
    for text in ("(" * depth + "true" + ")" * depth, "!" * (2 * depth) + "true", "true" + " && true" * depth):
        if len(text) <= MAX_CHARS:
            try:
                assert keeps(text)
            except UsageError:
                assert depth > 20


def test_only_what_is_named_is_looked_at() -> None:
    """A line that is cut in a field that nobody names is still read by the names before it."""
    line = encode(trajectory())
    one = View.of(line)
    check = expression("task.tags.hops == 2 && n_turns == 3")
    assert check(one) is None
    known = json.loads(line)
    known["task"]["plan"] = [{"name": "x", "arguments": {}}] * 10_000
    known["mine"] = ["x"] * 10_000
    assert check(View.of(json.dumps(known).encode())) is None
