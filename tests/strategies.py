"""Records for property tests: hypothesis strategies for JSON, records, and lines as strangers write them."""

import json
from typing import Any, get_args

from hypothesis import strategies as st

from tmcli.records import KINDS, Check, Status, Stop, known_fields

text = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
numbers = st.integers(-(2**70), 2**70) | st.floats(allow_nan=False, allow_infinity=False)
json_values: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | numbers | text,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(text, inner, max_size=3),
    max_leaves=8,
)
objects = st.dictionaries(text, json_values, max_size=3)


def _with(fixed: dict[str, st.SearchStrategy[Any]]) -> st.SearchStrategy[dict[str, Any]]:
    """An object with these keys, and others of any kind."""
    return st.builds(lambda more, known: more | known, objects, st.fixed_dictionaries(fixed))


calls = st.lists(_with({"name": text, "arguments": objects}), max_size=2)
roles = st.sampled_from(["system", "user", "assistant", "tool"])
functions = st.lists(_with({"function": _with({"name": text})}), max_size=2)
messages = st.lists(
    _with({"role": roles, "content": text | st.none(), "tool_calls": functions | st.none()}), max_size=3
)
tools = functions
turns = st.lists(_with({"phase": st.sampled_from(["trial", "execution"]), "calls": calls}), max_size=2)
stops = st.sampled_from(get_args(Stop))
tokens = st.lists(st.tuples(st.integers(0, 99), st.integers(0, 1), st.floats(-9, 0)), max_size=3).map(
    lambda rows: {"ids": [r[0] for r in rows], "mask": [r[1] for r in rows], "logprobs": [r[2] for r in rows]}
)
reals = st.integers(-(2**53), 2**53) | st.floats(allow_nan=False, allow_infinity=False)

REQUIRED: dict[str, dict[str, st.SearchStrategy[Any]]] = {
    "task": {
        "id": text,
        "messages": messages,
        "tools": tools,
        "env": _with({"kind": text}),
        "answer": st.lists(text, max_size=2),
    },
    "trajectory": {
        "id": text,
        "task": objects,
        "messages": messages,
        "tools": tools,
        "turns": turns,
        "prediction": text | st.none(),
        "stop": stops,
    },
    "score": {
        "id": text,
        "task_id": text,
        "correct": st.booleans() | st.none(),
        "scores": objects,
        "calls": st.integers(0, 99),
        "errors": st.integers(0, 99),
        "stop": stops,
        "tags": objects,
        "policy": objects,
    },
    "run": {
        "step": text,
        "options": objects,
        "versions": objects,
        "counts": objects,
        "seconds": reals,
    },
}
OPTIONAL: dict[str, dict[str, st.SearchStrategy[Any]]] = {
    "task": {
        "check": st.sampled_from(get_args(Check)),
        "subgoals": st.dictionaries(text, st.lists(text, max_size=2), max_size=2) | st.none(),
        "plan": st.lists(objects, max_size=2) | st.none(),
        "tags": objects,
        "source": text,
    },
    "trajectory": {
        "status": st.sampled_from(get_args(Status)),
        "failure": text | st.none(),
        "reward": reals | st.none(),
        "scores": objects,
        "usage": objects,
        "policy": objects,
        "tokens": tokens | st.none(),
    },
    "score": {},
    "run": {"output": text | st.none(), "metrics": objects},
}


@st.composite
def record_values(draw: st.DrawFn, kind: str | None = None) -> dict[str, Any]:
    """A valid record as JSON: known fields, some left out, and unknown keys in between."""
    kind = kind or draw(st.sampled_from(list(KINDS)))
    fields = draw(st.fixed_dictionaries(REQUIRED[kind], optional=OPTIONAL[kind]))
    known = {"kind", "v", *known_fields(KINDS[kind])}
    unknown = draw(st.dictionaries(text.filter(lambda key: key not in known), json_values, max_size=2))
    items = list((fields | unknown).items())
    if draw(st.booleans()):
        items = draw(st.permutations(items))
    return {"kind": kind, "v": 1} | dict(items)


@st.composite
def lines(draw: st.DrawFn, kind: str | None = None) -> bytes:
    """A valid line, spelled as some other program may spell it."""
    separators = draw(st.sampled_from([(",", ":"), (", ", ": "), (" ,\t", " : ")]))
    value = draw(record_values(kind))
    line = json.dumps(value, ensure_ascii=draw(st.booleans()), separators=separators)
    return (
        draw(st.sampled_from(["", " "])).encode() + line.encode() + draw(st.sampled_from([b"", b" ", b"\r"]))
    )
