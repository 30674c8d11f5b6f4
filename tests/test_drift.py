"""Drift: tools change as the documents say or do not say, and there is always a way back."""

import json
import os
import random
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from tmcli import drift, suites, toolbox
from tmcli.drift import forms, names
from tmcli.drift.layer import Told, renamed
from tmcli.environments.arguments import fault
from tmcli.episode import Limits
from tmcli.errors import InputError, UsageError
from tmcli.importers import ftrl
from tmcli.records import Json, Task, decode, encode, new_task, task_id

FTRL = Path(__file__).parents[2] / "shared" / "data" / "ftrl_dev.parquet"
needs_ftrl = pytest.mark.skipif(not FTRL.exists(), reason="../shared/data/ftrl_dev.parquet is not there")

KINDS = list(drift.KINDS)
NAMES = st.sampled_from(
    ["title", "name", "book_id", "book", "id", "q", "date", "a_b_c", "_id", "old_x", "x", "price_eur",
     "far_km", "far_m", "page", "kind", "arg_1", "\u00e9t\u00e9", "two words", "-"]
)  # fmt: skip
SCHEMAS: st.SearchStrategy[Any] = st.sampled_from(
    [
        {"type": "string"},
        {"type": "string", "format": "date"},
        {"type": "string", "description": "as YYYY-MM-DD", "pattern": "^[0-9-]+$"},
        {"type": "string", "enum": ["single", "double", "twin"]},
        {"type": "array", "items": {"type": "string", "enum": ["north", "south"]}},
        {"type": "integer", "minimum": 1},
        {"type": "number", "description": "how far"},
        {"type": ["string", "null"]},
        {"type": "object", "properties": {"from": {"type": "string"}, "far_km": {"type": "number"}}},
        {"enum": ["G1", "G2"]},
        {"enum": [1, 2, None]},
        {},
        True,
    ]
)
TEXTS = st.sampled_from(["Emma", "1998-03-21", "born 2001-12-31, in May", "H417", "AB1234", "a/b", ""])
KEYS = st.sampled_from(
    ["book_id", "day", "pages", "far_km", "price_eur", "weight_kg", "kind", "status", "data", "results"]
)
NUMBERS = st.integers(-(10**9), 10**9) | st.decimals(-9999, 9999, places=3).map(float)
VALUES: st.SearchStrategy[Any] = st.recursive(
    TEXTS | NUMBERS | st.booleans() | st.none(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=4),
    max_leaves=12,
)


@st.composite
def tools_of(draw: st.DrawFn, name: str) -> Json:
    """A tool as strangers write it."""
    function: Json = {"name": name}
    if draw(st.booleans()):
        function["description"] = draw(st.sampled_from(["", "Finds it. Returns far_km, day", "d"]))
    if draw(st.integers(0, 9)):
        properties = draw(st.dictionaries(NAMES, SCHEMAS, max_size=4))
        function["parameters"] = {"type": "object", "properties": properties}
        if draw(st.booleans()):
            function["parameters"]["required"] = [key for key in properties if draw(st.booleans())]
    elif draw(st.booleans()):
        function["parameters"] = draw(st.sampled_from([{}, {"type": "object"}, None]))
    return {"type": "function", "function": function}


@st.composite
def tasks(draw: st.DrawFn) -> Task:
    """A task that brings its own tools, perhaps with a plan and sub-goals."""
    called = draw(
        st.lists(
            st.sampled_from(["find_book", "book_info", "x", "getFlight", "tool-3", "book_room", "fn_3a"]),
            min_size=1,
            max_size=5,
            unique=True,
        )
    )
    tools = [draw(tools_of(name)) for name in called]
    plan = [{"name": name, "arguments": {}} for name in draw(st.lists(st.sampled_from(called), max_size=4))]
    return new_task(
        messages=[{"role": "user", "content": "?"}],
        tools=tools,
        env={"kind": "python", "codes": {}},
        answer=draw(st.lists(TEXTS.filter(bool), max_size=2)),
        plan=[*plan[:-1], {**plan[-1], "answer": "day"}] if plan else None,
        subgoals=draw(st.none() | st.fixed_dictionaries({called[0]: st.lists(TEXTS, max_size=2)})),
    )


@st.composite
def drifts(draw: st.DrawFn) -> list[str]:
    kinds = draw(st.lists(st.sampled_from(KINDS), min_size=1, unique=True))
    strengths = st.sampled_from(["", "@0.1", "@0.5", "@1"])
    return [kind + draw(strengths) for kind in kinds]


def lens_of(task: Task) -> drift.Lens:
    return drift.Lens(drift.layers_of(task), drift.true_tools(task))


def entry_of(task: Task, kind: str) -> Json:
    return next(entry for entry in task.env["drift"] if entry["kind"] == kind)


def function_names(tools: list[Json]) -> list[str]:
    return [tool["function"]["name"] for tool in tools]


def parameters(tool: Json) -> Json:
    properties: Json = (tool["function"].get("parameters") or {}).get("properties") or {}
    return properties


def check_schemas(tools: list[Json]) -> None:
    for tool in tools:
        if isinstance(schema := tool["function"].get("parameters"), dict):
            jsonschema.Draft202012Validator.check_schema(schema)
    assert len(set(function_names(tools))) == len(tools)


# ---- any task --------------------------------------------------------------------------------------


@settings(max_examples=300)
@given(tasks(), drifts(), st.integers())
def test_a_drifted_task(task: Task, kinds: list[str], seed: int) -> None:
    """It is another task that can be written and read, the same for the same seed; what is shown and what is
    taken are valid schemas; the task it was made of is as it was."""
    before = encode(task)
    drifted = drift.apply(task, kinds, seed)
    assert encode(task) == before
    assert drifted == drift.apply(task, list(reversed(kinds)), seed)
    assert decode(encode(drifted)) == drifted
    assert drifted.id == task_id(drifted)
    assert (drifted.messages, drifted.plan) == (task.messages, task.plan)
    done = [entry["kind"] for entry in drifted.env.get("drift", [])]
    assert drifted.tags.get("drift", []) == done == [kind for kind in KINDS if kind in done]
    assert set(done) <= {kind.partition("@")[0] for kind in kinds}
    if not done:
        assert drifted == task
        return
    assert drifted.id != task.id
    assert drift.true_tools(drifted) == drifted.env["schemas"] == task.tools
    check_schemas(drifted.tools)
    check_schemas(lens_of(drifted).live)


@settings(max_examples=300)
@given(tasks(), drifts(), st.integers(), st.data())
def test_a_call_there_and_back(task: Task, kinds: list[str], seed: int, data: st.DataObject) -> None:
    """A call of the true tools has its way through the interface, which lets it in and brings it back."""
    lens = lens_of(drift.apply(task, kinds, seed))
    tool = data.draw(st.sampled_from(task.tools))
    name = tool["function"]["name"]
    arguments = {key: data.draw(_fitting(schema)) for key, schema in parameters(tool).items()}
    assume(fault(task.tools, name, arguments) is None)
    made = lens.outward_call(name, arguments)
    assert fault(lens.live, *made) is None
    crossing = lens.inward(*made)
    assert crossing.told is None
    assert crossing.call == (name, arguments)
    assert json.dumps(crossing.call[1]) == json.dumps(arguments)


def _fitting(schema: Any) -> st.SearchStrategy[Any]:
    if not isinstance(schema, dict):
        return VALUES
    kind = schema.get("type")
    if "enum" in schema:
        return st.sampled_from(schema["enum"])
    if isinstance(kind, str) and kind in ("integer", "number"):
        return st.integers(-999, 999) if kind == "integer" else NUMBERS
    if kind == "array":
        return st.lists(st.sampled_from(schema["items"]["enum"]), max_size=2)
    if kind == "object":
        return st.fixed_dictionaries({"from": TEXTS, "far_km": NUMBERS})
    return TEXTS if kind else VALUES


@settings(max_examples=300)
@given(tasks(), drifts(), st.integers(), VALUES, st.data())
def test_a_reply_there_and_back(
    task: Task, kinds: list[str], seed: int, reply: Any, data: st.DataObject
) -> None:
    """What is told of a reply holds it, unless it came in pages."""
    drifted = drift.apply(task, kinds, seed)
    lens = lens_of(drifted)
    called = data.draw(st.sampled_from(function_names(lens.live)))
    arguments: Json = {}
    crossing = lens.inward(called, arguments)
    if crossing.call is None:
        assert called in entry_of(drifted, "decoy")["empty"]
        assert lens.outward(crossing, None, False) in (({}, True), ({"results": []}, True))
        return
    told, ok = lens.outward(crossing, reply, True)
    assert ok
    json.dumps(told)
    if lens.page(crossing) is None or not (isinstance(told, dict) and told.get("pages", 1) > 1):
        back = lens.inward_reply(crossing, told)
        assert json.dumps(back) == json.dumps(reply)


@given(tasks(), drifts(), st.integers(), TEXTS)
def test_an_error_stays_an_error(task: Task, kinds: list[str], seed: int, text: str) -> None:
    lens = lens_of(drift.apply(task, kinds, seed))
    for name in function_names(lens.live):
        crossing = lens.inward(name, {})
        if crossing.call is not None:
            told, ok = lens.outward(crossing, {"error": f"no such thing as {text!r}"}, False)
            assert not ok
            assert told["error"].startswith("no such thing as ")


@given(tasks(), st.sets(st.sampled_from(KINDS)), st.sets(st.sampled_from(KINDS)), st.integers())
def test_one_drift_after_the_other(task: Task, first: set[str], second: set[str], seed: int) -> None:
    """A further kind lies over those that are there, or is refused."""
    once = drift.apply(task, list(first), seed)
    done = once.tags.get("drift", [])
    if any(KINDS.index(a) <= KINDS.index(b) for a in second for b in done):
        with pytest.raises(UsageError, match=r"already|give both kinds at once"):
            drift.apply(once, list(second), seed)
        return
    twice = drift.apply(once, list(second), seed)
    assert twice.tags.get("drift", [])[: len(done)] == done
    check_schemas(lens_of(twice).live)
    check_schemas(twice.tools)
    if twice != task:
        assert drift.true_tools(twice) == task.tools


@cache
def ftrl_tasks() -> list[Task]:
    return list(ftrl.read(str(FTRL)))


@needs_ftrl
@pytest.mark.parametrize("kind", [*KINDS, "all", "all@0.1", "all@1"])
def test_ftrl_tasks(kind: str) -> None:
    """Other people's tools: as wild as any, and there and back all the same."""
    rng = random.Random(kind)
    done = 0
    some = ftrl_tasks()[:: 1 if kind == "all" else 8]
    for task in some:
        drifted = drift.apply(task, [kind], 3)
        done += bool(drifted.env.get("drift"))
        check_schemas(drifted.tools)
        lens = lens_of(drifted)
        check_schemas(lens.live)
        for tool in task.tools:
            name = tool["function"]["name"]
            arguments = {
                key: rng.choice(schema["enum"]) if "enum" in schema else "1998-03-21"
                for key, schema in parameters(tool).items()
                if schema.get("type") == "string"
            }
            made = lens.outward_call(name, arguments)
            assert lens.inward(*made).call == (name, arguments)
        assert set(task.answer) <= set(drifted.answer)
        golds = [sorted(map(len, (each.subgoals or {}).values())) for each in (task, drifted)]
        assert golds[0] == golds[1]
        assert set(drifted.subgoals or {}) <= set(function_names(lens.live))
    assert done == len(some)


# ---- each kind -------------------------------------------------------------------------------------


def drifted_suite(kind: str, n: int = 60) -> Iterator[tuple[Task, Task, Json]]:
    """(task, the same under this kind, the entry) of all suites."""
    for name in suites.SUITES:
        for task, other in zip(suites.suite(name, n), suites.suite(name, n, drift=[kind]), strict=True):
            if other.env.get("drift"):
                yield task, other, other.env["drift"][0]


def plan_names(task: Task) -> set[str]:
    return {step["name"] for step in task.plan or []} & set(function_names(task.tools))


def test_stale() -> None:
    seen = set()
    for task, other, entry in drifted_suite("stale"):
        assert "schemas" not in other.env
        renamed = entry["renamed"]
        assert plan_names(task) & set(renamed)
        assert lens_of(other).live == drift.true_tools(other)
        for true, shown in zip(task.tools, other.tools, strict=True):
            name = true["function"]["name"]
            assert shown["function"]["name"] == name
            if name not in renamed:
                assert shown == true
                continue
            old = renamed[name]
            assert not set(old) & set(parameters(true))
            assert [old.get(key, key) for key in parameters(shown)] == list(parameters(true))
            assert set(shown["function"]["parameters"]["required"]) <= set(parameters(shown))
            (layer,) = drift.layers_of(other)
            assert all(layer.documented(name, real) == (name, key) for key, real in old.items())
            told = fault(lens_of(other).live, name, dict.fromkeys(parameters(shown), "x"))
            assert str(told).endswith(f"parameters are: {', '.join(parameters(true))}")
            seen |= set(old)
    assert len(seen) > 60


def test_rename() -> None:
    opaque = 0
    for task, other, entry in drifted_suite("rename"):
        lens = lens_of(other)
        assert plan_names(task) & set(entry["tools"].values())
        assert not set(entry["tools"]) & set(function_names(task.tools))
        live = {tool["function"]["name"]: tool for tool in lens.live}
        for true, shown in zip(task.tools, other.tools, strict=True):
            new = shown["function"]["name"]
            assert live[new] == shown
            assert entry["tools"].get(new, new) == true["function"]["name"]
            own = entry["parameters"].get(new, {})
            assert [own.get(key, key) for key in parameters(shown)] == list(parameters(true))
            if names.opaque(new):
                opaque += 1
                said = shown["function"]["description"]
                assert said.startswith(" ".join(names.words(true["function"]["name"])))
                assert all("description" in schema for key, schema in parameters(shown).items() if key in own)
    assert opaque > 100


def test_rename_takes_subgoals_and_quoted_names_with_it() -> None:
    function = {"name": "find_book", "parameters": {"type": "object", "properties": {"title": {}}}}
    task = new_task(
        messages=[{"role": "user", "content": "?"}],
        tools=[{"type": "function", "function": function}],
        env={"kind": "python", "codes": {}},
        answer=["1"],
        subgoals={"find_book": ["B1"]},
    )
    drifted = drift.apply(task, ["rename@1"], 0)
    ((new, _),) = entry_of(drifted, "rename")["tools"].items()
    assert drifted.subgoals == {new: ["B1"]}
    (parameter,) = entry_of(drifted, "rename")["parameters"][new]
    lens = lens_of(drifted)
    crossing = lens.inward(new, {parameter: "Emma"})
    assert crossing.call == ("find_book", {"title": "Emma"})
    error = {"error": "find_book() missing 1 required positional argument: 'title'"}
    assert lens.outward(crossing, error, False)[0]["error"].endswith(f"argument: '{parameter}'")


def test_undocument() -> None:
    for task, other, entry in drifted_suite("undocument"):
        assert lens_of(other).live == drift.true_tools(other)
        assert plan_names(task) & set(entry["bare"])
        for true, shown in zip(task.tools, other.tools, strict=True):
            name = true["function"]["name"]
            assert list(parameters(shown)) == list(parameters(true))
            if name in entry["bare"]:
                assert "description" not in shown["function"]
                assert "required" not in shown["function"]["parameters"]
                assert all(parameters(shown)[key] == {} for key in entry["bare"][name])
            else:
                assert shown == true


def test_undocument_keeps_what_nameless_things_are() -> None:
    task = next(suites.suite("train", 1))
    found = 0
    for seed in range(30):
        for tool in drift.apply(task, ["rename@1", "undocument@1"], seed).tools:
            if names.opaque(tool["function"]["name"]):
                found += 1
                assert tool["function"]["description"]
                assert all(schema["description"] for schema in parameters(tool).values())
    assert found


def test_decoy() -> None:
    old = empty = 0
    first = 0
    for task, other, entry in drifted_suite("decoy"):
        assert plan_names(task) & set(entry["of"].values())
        shown = {tool["function"]["name"]: tool["function"] for tool in other.tools}
        lens = lens_of(other)
        live = {tool["function"]["name"]: tool["function"] for tool in lens.live}
        order = list(shown)
        for fake, real in entry["of"].items():
            assert {**shown[fake], "name": real} == shown[real]
            assert {**live[fake], "name": real} == live[real]
            first += order.index(fake) < order.index(real)
            crossing = lens.inward(fake, {})
            if fake in entry.get("empty", {}):
                empty += 1
                assert crossing.call is None
            else:
                old += 1
                assert crossing.call == (real, {})
                assert names.reads(real)
                told, _ = lens.outward(crossing, {"year": 1900, "name": "x"}, True)
                assert told["year"] != 1900
                assert told["updated"] < 2014
                refused, ok = lens.outward(crossing, {"error": "no book"}, False)
                assert not ok
                assert refused["updated"] == told["updated"]
    assert min(old, empty) > 60
    assert 0.35 < first / (old + empty) < 0.65


def test_wrap() -> None:
    seen = set()
    reply = {"book_id": "B417", "year": 1998, "pages": 300}
    for _, other, entry in drifted_suite("wrap", 30):
        lens = lens_of(other)
        for name, shape in entry["shapes"].items():
            seen.add(shape)
            parts = []
            pages = 1
            for page in (1, 2, 3):
                crossing = lens.inward(name, {"page": page} if shape == "paged" else {})
                told, ok = lens.outward(crossing, reply, True)
                if page > pages:
                    assert not ok
                    assert told["error"] == f"there is no page {page}; pages are: 1, 2"
                    break
                if shape != "paged":
                    assert lens.inward_reply(crossing, told) == reply
                    break
                pages = told["pages"]
                parts.append(told["fields"])
                assert ("next" in told) == (page < pages)
            if shape == "paged":
                assert {**parts[0], **parts[1]} == reply
                assert not parts[0].keys() & parts[1].keys()
                assert lens.inward(name, {"page": 0}).told is not None
    assert seen == {"envelope", "list", "pairs", "paged"}


@pytest.mark.parametrize(
    ("reply", "pages"),
    [
        ([1, 2, 3], [[1, 2], [3]]),
        ([], [[]]),
        ({}, [{}]),
        ({"a": 1}, [{"a": 1}]),
        ({"hits": [1, 2, 3]}, [{"hits": [1, 2]}, {"hits": [3]}]),
        ({"hits": [1]}, [{"hits": [1]}]),
        ("text", None),
        (3, None),
    ],
)
def test_pages_of_a_reply(reply: Any, pages: list[Any] | None) -> None:
    layer = drift.KINDS["wrap"]({"shapes": {"f": "paged"}})
    if pages is None:
        assert layer.outward("f", {}, reply) == reply
    for number, part in enumerate(pages or [], 1):
        told = layer.outward("f", {"page": number}, reply)
        assert (told["page"], told["pages"]) == (number, len(pages or []))
        assert told.get("fields", told.get("items")) == part
    with pytest.raises(Told, match="there is no page"):
        layer.outward("f", {"page": len(pages or [0]) + 1}, reply)


def test_format_teaches_dates_ids_codes_and_units() -> None:
    entry = {
        "dates": "DD/MM/YYYY",
        "ids": "D/L",
        "enums": [{"keys": ["kind"], "values": {"single": "SIN", "double": "DOU"}}],
        "units": ["km", "eur"],
        "scaled": {"f": {"far_m": ["far_km", False], "price_cents": ["price_eur", True]}},
    }
    layer = drift.KINDS["format"](entry)
    sent = {"day": "21/03/1998", "far_m": 1250, "price_cents": 300, "kind": "SIN", "id": "417/H"}
    meant = {"day": "1998-03-21", "far_km": 1.25, "price_eur": 3, "kind": "single", "id": "H417"}
    assert layer.inward("f", sent) == ("f", meant)
    assert layer.outward_call("f", meant) == ("f", sent)
    for arguments, sentence in [
        ({"day": "1998-03-21"}, "day must be written DD/MM/YYYY, like 21/03/1998"),
        ({"text": "on 1998-03-21."}, "text must be written DD/MM/YYYY, like 21/03/1998"),
        ({"id": "H417"}, "id must be written like 205/K"),
        ({"ids": ["H417", "417/H"]}, "ids must be written like 205/K"),
        ({"price_cents": 250}, "price_cents must be a multiple of 100"),
        (
            {"id": "H417", "day": "2001-01-01"},
            "id must be written like 205/K; day must be written DD/MM/YYYY, like 21/03/1998",
        ),
    ]:
        with pytest.raises(Told) as told:
            layer.inward("f", arguments)
        assert told.value.value == {"error": sentence}
    reply = {
        "H417": [{"far_km": 12.5, "price_eur": 3, "kind": "double", "born": "on 1998-03-21", "far_m": None}]
    }
    told_reply = layer.outward("f", {}, reply)
    assert told_reply == {
        "417/H": [{"far_km": 12.5, "price_cents": 300, "kind": "DOU", "born": "on 21/03/1998", "far_m": None}]
    }
    error = {"error": "no book 'H417' on 1998-03-21 (YYYY-MM-DD), price_eur"}
    assert layer.outward_error("f", {}, error) == {
        "error": "no book '417/H' on 21/03/1998 (DD/MM/YYYY), price_cents"
    }
    golds = ["H417, H5120", "7", "single"]
    assert layer.answer(golds) == [*golds, "417/H, 5120/H", "SIN"]


def test_format_in_suites() -> None:
    parts = {"dates": 0, "ids": 0, "enums": 0, "units": 0}
    for task, other, entry in drifted_suite("format"):
        assert other.tools == task.tools
        assert set(task.answer) <= set(other.answer)
        lens = lens_of(other)
        for part in parts:
            parts[part] += part in entry
        if "ids" in entry:
            text = forms.id_swap(entry["ids"])("H417")
            assert text != "H417"
            for tool in lens.live:
                for key in parameters(tool):
                    crossing = lens.inward(tool["function"]["name"], {key: "H417"})
                    assert crossing.told is not None
                    break
    assert min(parts.values()) > 15


@given(
    st.text(st.sampled_from("19800321/-#HABC .,x\u0661"), max_size=30),
    st.sampled_from(forms.DATES + forms.IDS),
)
def test_a_swap_is_its_own_inverse(text: str, form: str) -> None:
    if form in forms.DATES:
        assert forms.date_swap(form)(forms.date_swap(form)(text)) == text
    else:
        assert forms.id_swap(form)(forms.id_swap(form)(text)) == text
        assert forms.id_swap(form, True)(forms.id_swap(form, True)(text)) == text
    assert forms.into(form)(forms.into(form)(text)) == forms.into(form)(text)


@given(st.integers() | st.floats(), st.sampled_from([1000, 100, 60, 24]), st.integers(-9, 9))
def test_numbers_come_back(number: float, factor: int, off: int) -> None:
    there = forms.scaled(number, factor)
    if there is not None:
        back = forms.unscaled(there, factor)
        assert repr(back) == repr(number)
    if isinstance(number, int):
        assert forms.shifted(forms.shifted(number, off), -off) == number


@given(NAMES | st.text(max_size=20))
def test_other_names_are_other_names(name: str) -> None:
    for found in (names.parameters(name), names.tools(name)):
        assert name not in found
        assert "" not in found
        assert len(found) == len(set(found)) >= 2
    assert all(len(tool) <= names.MAX_CHARS for tool in names.tools(name))
    assert all(names.unit_of(other) == names.unit_of(name) for other in names.parameters(name))


def test_every_name_of_the_toolboxes_has_several_others() -> None:
    for box in map(toolbox.load, toolbox.names()):
        for tool in box.tools:
            assert len(names.tools(tool["function"]["name"])) >= 3
            for parameter in parameters(tool):
                free = [old for old in names.parameters(parameter) if old not in parameters(tool)]
                assert len(free) >= 3, parameter


# ---- the words of --drift --------------------------------------------------------------------------


def test_parse() -> None:
    def said(*words: str) -> dict[str, float]:
        return {kind.name: kind.strength for kind in drift.parse(words)}

    assert list(said("undocument", "rename", "none")) == ["none", "rename", "undocument"]
    assert said("stale", "format@0.5") == {"format": 0.5, "stale": drift.SHARE}
    assert said("all@0.3", "stale") == dict.fromkeys(KINDS, 0.3) | {"stale": drift.SHARE}
    assert said("none@0.75", "all") == {"none": 0.75} | dict.fromkeys(KINDS, drift.SHARE)
    assert said() == {}
    for word, sentence in [
        ("stal", "no drift is named 'stal'; did you mean 'stale'"),
        ("stale@", "the strength of stale is '', not above 0 and at most 1; write stale@0.5"),
        ("stale@0", "strength of stale is '0'"),
        ("all@1.5", "strength of all is '1.5'"),
        ("none@nan", "strength of none is 'nan'"),
    ]:
        with pytest.raises(UsageError, match=sentence.replace("?", "\\?")):
            drift.check([word])
        with pytest.raises(UsageError):
            drift.over([], [word], 0)


@pytest.mark.parametrize(("word", "group", "stay"), [("none", 2, 1), ("none@0.75", 4, 3), ("none@0.2", 5, 1)])
def test_none_leaves_a_share_as_it_is_in_every_toolbox(word: str, group: int, stay: int) -> None:
    for suite in suites.SUITES:
        n = 400
        plain = list(suites.suite(suite, n))
        mixed = list(suites.suite(suite, n, drift=[word, "rename"]))
        stays = [a == b for a, b in zip(plain, mixed, strict=True)]
        assert all(sum(stays[i : i + group]) == stay for i in range(0, n - group, group))
        for box in {task.env["toolbox"] for task in plain}:
            own = [stay for stay, task in zip(stays, plain, strict=True) if task.env["toolbox"] == box]
            assert abs(sum(own) / len(own) - stay / group) < 0.17, (suite, box)


def test_none_alone_and_repeated_drift() -> None:
    task = next(suites.suite("train", 1))
    assert drift.apply(task, ["none"], 0) == task == drift.apply(task, [], 0)
    assert list(drift.over([task] * 3, ["none@1", "all"], 0)) == [task] * 3
    with pytest.raises(UsageError, match="has stale drift already"):
        drift.apply(drift.apply(task, ["stale"], 0), ["stale"], 1)
    with pytest.raises(UsageError, match="give both kinds at once: --drift rename,stale"):
        drift.apply(drift.apply(task, ["stale"], 0), ["rename"], 1)
    twice = drift.apply(drift.apply(task, ["rename"], 0), ["stale"], 1)
    assert twice.tags["drift"] == ["rename", "stale"]


@pytest.mark.parametrize("kind", KINDS)
def test_strength_says_how_much(kind: str) -> None:
    def size(strength: str) -> int:
        tasks = suites.suite("train", 60, drift=[f"{kind}@{strength}"])
        return sum(len(json.dumps(task.env.get("drift", []))) for task in tasks)

    assert size("0.1") < size("0.5") < size("1")


def test_drift_nobody_understands() -> None:
    task = next(suites.suite("train", 1))
    for entries, sentence in [
        ([{"kind": "stalk"}], "env.drift: no drift is named 'stalk'; did you mean 'stale'"),
        (["stale"], "env.drift: no drift is named None"),
        ([{"kind": "stale"}], "env.drift: the entry of stale lacks or confuses something: KeyError"),
        ([{"kind": "wrap", "shapes": 3}, {"kind": "rename", "tools": []}], "the entry of rename"),
    ]:
        with pytest.raises(InputError, match=sentence):
            drift.layers_of(replace(task, env={**task.env, "drift": entries}))


def test_another_seed_drifts_otherwise() -> None:
    task = next(suites.suite("train", 1))
    for kind in KINDS:
        assert len({json.dumps(drift.apply(task, [kind], seed).env["drift"]) for seed in range(20)}) > 6, kind


def test_same_seed_same_drift_in_any_process() -> None:
    """What hashing does to sets must not show."""
    program = (
        "import sys; from tmcli import suites; from tmcli.records import encode;"
        "[sys.stdout.buffer.write(encode(t)) for t in suites.suite('train', 24, drift=['all'])]"
    )
    made = {
        subprocess.run(
            [sys.executable, "-c", program],
            env=os.environ | {"PYTHONHASHSEED": hash_seed},
            capture_output=True,
            check=True,
        ).stdout
        for hash_seed in "12"
    }
    assert made == {b"".join(map(encode, suites.suite("train", 24, drift=["all"])))}


def test_a_plan_of_four_fits_a_dozen_turns() -> None:
    """All six kinds at full strength leave each plan its turns: a first trial, its calls, what they cost."""
    assert Limits().max_turns == drift.TURNS
    for suite in suites.SUITES:
        for task in suites.suite(suite, 60, drift=["all@1"], hops=[4]):
            calls = [(step["name"], step["arguments"]) for step in task.plan or []]
            more = 0
            for layer in drift.layers_of(task):
                more += layer.longer(calls)
                calls = renamed(layer, calls)
            assert len(calls) + 1 + more <= drift.TURNS
