"""BFCL's own checker, and answers to try it with: golds, and golds with something changed.

for case in cases():                       # all rows of the installed `bfcl-eval` that have a gold
    calls = answer(case, rng)
    judged(case, calls)                    # what the leaderboard says; None: its checker raised
"""

from __future__ import annotations

import json
import random
import sys
from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

from tmcli.importers import bfcl
from tmcli.records import Json, Task

Call = tuple[str, Any]


@dataclass(frozen=True)
class Case:
    row: Json
    task: Task
    golds: list[Json]
    category: str
    language: str


@cache
def _checker() -> Any:
    """`ast_checker` as it is published. Its table of models would import every vendor's client; of it the
    checker asks one thing, whether a model's dots in names became underscores: here no, in `dotless` yes."""
    table = ModuleType("bfcl_eval.constants.model_config")
    known: dict[str, Any] = defaultdict(lambda: SimpleNamespace(underscore_to_dot=False))
    known["dotless"] = SimpleNamespace(underscore_to_dot=True)
    vars(table)["MODEL_CONFIG_MAPPING"] = known
    sys.modules.setdefault(table.__name__, table)
    from bfcl_eval.eval_checker.ast_eval import ast_checker

    return ast_checker


def judged(case: Case, calls: list[Call], model: str = "plain") -> bool | None:
    from bfcl_eval.constants.enums import Language

    output = [{name: arguments} for name, arguments in calls]
    if not all(isinstance(arguments, dict) for _, arguments in calls):
        return False  # `is_function_calling_format_output`, which the runner asks before
    try:
        found = _checker().ast_checker(
            case.row["function"], output, case.golds, Language(case.language), case.category, model
        )
    except Exception:  # noqa: BLE001 - whatever it breaks on
        return None
    valid: bool = found["valid"]
    return valid


def converters() -> tuple[Callable[..., Any], Callable[..., Any]]:
    """The leaderboard's readers of Java and of JavaScript values."""
    checker = _checker()
    return checker.java_type_converter, checker.js_type_converter


def cases() -> Iterator[Case]:
    for path in bfcl.installed():
        rows = [json.loads(line) for line in Path(path).read_text().splitlines()]
        for row, task in zip(rows, bfcl.read(path), strict=True):
            category = str(task.tags["category"])
            language = category.removeprefix("simple_") if category in bfcl.LANGUAGES else "python"
            if golds := task.extra.get("ground_truth"):
                yield Case(row, task, golds, category, language)


# ---- answers ---------------------------------------------------------------------------------------


def answer(case: Case, rng: random.Random, first: bool = False) -> list[Call]:
    """One that should be accepted; `first`: of several accepted values the first."""
    simple = case.category.startswith(("simple", "live_simple"))
    calls: list[Call] = []
    for gold in case.golds:
        name, accepted = next(iter(gold.items()))
        name = case.row["function"][0]["name"] if simple else name
        given = {}
        for parameter, values in accepted.items():
            there = [value for value in values if value != ""]
            if there and ("" not in values or rng.random() < 0.5):
                value = _chosen(there[0] if first else rng.choice(there), rng)
                given[parameter] = (
                    _written(value, case, name, parameter) if case.language != "python" else value
                )
        calls.append((name, given))
    return calls


def _chosen(value: Any, rng: random.Random) -> Any:
    """In an accepted object each key has a list of accepted values."""
    if isinstance(value, list):
        return [_chosen(item, rng) if isinstance(item, dict) else item for item in value]
    if not isinstance(value, dict):
        return value
    out = {}
    for key, values in value.items():
        there = [one for one in values if one != ""] if isinstance(values, list) else [values]
        if there:
            out[key] = rng.choice(there)
    return out


def _written(value: Any, case: Case, name: str, parameter: str) -> str:
    function = next((one for one in case.row["function"] if one["name"] == name), case.row["function"][0])
    part = function["parameters"]["properties"].get(parameter, {})
    write = _java if case.language == "java" else _javascript
    return write(value, part.get("type"), (part.get("items") or {}).get("type"))


def _java(value: Any, kind: Any, inner: Any = None) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if kind == "long" and isinstance(value, int):
        return f"{value}L"
    if kind == "float" and isinstance(value, int | float):
        return f"{value}f"
    if isinstance(value, list):
        inside = ", ".join(f'"{v}"' if isinstance(v, str) else _java(v, inner) for v in value)
        return (
            f"new ArrayList<>(Arrays.asList({inside}))"
            if kind == "ArrayList"
            else f"new String[]{{{inside}}}"
        )
    if isinstance(value, dict):
        puts = " ".join(f'put("{k}", {json.dumps(v)});' for k, v in value.items())
        return f"new HashMap<String, Object>() {{{{ {puts} }}}}"
    return str(value)


def _javascript(value: Any, kind: Any, inner: Any = None) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if kind == "Bigint" and isinstance(value, int):
        return f"{value}n"
    if isinstance(value, list | dict):
        return json.dumps(value)
    return f"'{value}'" if kind == "String" and isinstance(value, str) else str(value)


# ---- changes ---------------------------------------------------------------------------------------

ODD: tuple[Any, ...] = (
    *("", " ", "x", "None", "null", "true", "0", "'q'", "{}", "[]", "-1.5", "1e5", "a, b"),
    *(
        0,
        1,
        -7,
        2**70,
        0.0,
        1.5,
        True,
        False,
        None,
        [],
        {},
        [[]],
        [{}],
        ["x"],
        [1, "x"],
        {"x": 1},
        {"x": [1]},
    ),
)
SOURCE = (
    *(
        "new ArrayList<>()",
        "new ArrayList<String>(Arrays.asList(\"a\", 'b'))",
        "new int[]{1, 2}",
        "new int[] { }",
    ),
    *("new ArrayList<Integer>() {{ add(1); add(2); }}", "new HashMap<>()", "new HashMap<String, X>() {}"),
    *(
        'new HashMap<String, String>() {{ put("a", "b"); }}',
        "12L",
        "3.5f",
        "3.5",
        "1e3F",
        "007",
        "12\n",
        "12L\n",
    ),
    *("[1, 2]", "[[1, 2], [3]]", "new Array(1, 2)", "new Array([1], [2])", "['a', \"b\"]", "[1n, 2n]", "12n"),
    *(
        "{'a': 1}",
        "{a: [1, 2], b: {c: 3}}",
        "{a: true, b: 'x, y'}",
        "[ ]",
        "[{'a': 1}, {'b': 2}]",
        "[[1,\n2],[3]]",
    ),
    *("'it''s'", '"quoted"', "'", "{}", "{a}", "[", "]", "new  Array()", "undefined", "(a) => b"),
)


def changed(calls: list[Call], case: Case, rng: random.Random) -> list[Call]:
    """The answer with one to three things done to it."""
    for _ in range(rng.choice((1, 1, 1, 2, 3))):
        calls = rng.choice(_CHANGES)(list(calls), case, rng)
    return calls


def _one(calls: list[Call], rng: random.Random, change: Callable[[Json], Any]) -> list[Call]:
    """With a change of the arguments of one call."""
    if calls:
        i = rng.randrange(len(calls))
        name, given = calls[i]
        if isinstance(given, dict):
            calls[i] = name, change(dict(given))
    return calls


def _drop_parameter(calls: list[Call], case: Case, rng: random.Random) -> list[Call]:
    def change(given: Json) -> Json:
        given.pop(rng.choice(sorted(given)), None) if given else None
        return given

    return _one(calls, rng, change)


def _add_parameter(calls: list[Call], case: Case, rng: random.Random) -> list[Call]:
    properties = rng.choice(case.row["function"])["parameters"].get("properties", {})
    name = rng.choice([*properties, "unheard_of"])
    return _one(calls, rng, lambda given: {**given, name: rng.choice(ODD)})


def _swap_values(calls: list[Call], case: Case, rng: random.Random) -> list[Call]:
    def change(given: Json) -> Json:
        values = list(given.values())
        rng.shuffle(values)
        return dict(zip(given, values, strict=True))

    return _one(calls, rng, change)


def _change_value(calls: list[Call], case: Case, rng: random.Random) -> list[Call]:
    def change(given: Json) -> Json:
        if given:
            key = rng.choice(sorted(given))
            given[key] = _mutated(given[key], rng)
        return given

    return _one(calls, rng, change)


def _source(calls: list[Call], case: Case, rng: random.Random) -> list[Call]:
    def change(given: Json) -> Json:
        return {key: rng.choice(SOURCE) if rng.random() < 0.4 else value for key, value in given.items()}

    return _one(calls, rng, change)


def _count(calls: list[Call], case: Case, rng: random.Random) -> list[Call]:
    rng.shuffle(calls)
    return rng.choice((calls, calls[1:], [*calls, rng.choice(calls)] if calls else [("f", {})], []))


def _name(calls: list[Call], case: Case, rng: random.Random) -> list[Call]:
    if calls:
        i = rng.randrange(len(calls))
        name, given = calls[i]
        other = rng.choice(case.row["function"])["name"]
        calls[i] = rng.choice((other, name + "x", name.replace(".", "_"), name.upper())), given
    return calls


def _no_object(calls: list[Call], case: Case, rng: random.Random) -> list[Call]:
    return [(name, rng.choice((None, [], "x", given))) for name, given in calls]


_CHANGES = (_change_value, _change_value, _change_value, _change_value, _drop_parameter, _add_parameter,
            _swap_values, _source, _count, _name, _no_object)  # fmt: skip


def _mutated(value: Any, rng: random.Random) -> Any:
    """Something near it."""
    if rng.random() < 0.2:
        return rng.choice(ODD)
    if isinstance(value, bool):
        return rng.choice((not value, int(value), str(value), str(value).lower()))
    if isinstance(value, int):
        return rng.choice((value + 1, -value, float(value), str(value), value + 0.5, [value], bool(value)))
    if isinstance(value, float):
        return rng.choice((value + 1e-9, -value, int(value), str(value), round(value, 1), [value]))
    if isinstance(value, str):
        cut = rng.randrange(len(value) + 1)
        return rng.choice((
            value.upper(), value.lower(), value.title(), f" {value} ", value.replace(" ", ""), value + ".",
            value.replace(" ", "-"), value.replace("'", '"'), value[:cut], value[:cut] + "z" + value[cut:],
            value + "\n", f"'{value}'", f'"{value}"', [value], {"value": value}, value.replace(",", ""),
        ))  # fmt: skip
    if isinstance(value, list):
        items = list(value)
        if items and rng.random() < 0.7:
            i = rng.randrange(len(items))
            items[i] = _mutated(items[i], rng)
            return items
        rng.shuffle(items)
        return rng.choice((items, items[1:], items + items, [items], tuple(items) and items[::-1]))
    if isinstance(value, dict):
        out = dict(value)
        if out and rng.random() < 0.7:
            key = rng.choice(sorted(out))
            out[key] = _mutated(out[key], rng)
            return out
        return rng.choice(({**out, "extra": 1}, dict(list(out.items())[1:]), [out], {}))
    return rng.choice(ODD)
