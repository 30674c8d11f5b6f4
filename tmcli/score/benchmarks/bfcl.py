"""BFCL's AST match: are the calls of a reply those that the leaderboard accepts?

    golds = [{"circle.area": {"radius": [5.0], "unit": ["", "m"]}}]            # "": may be left out
    takes = {"circle.area": {"required": ["radius"], "types": {"radius": "float", "unit": "string"}}}
    accepts([("circle.area", {"radius": 5})], golds, takes, "simple_python")   # True

Rule by rule what `ast_checker` of the package `bfcl-eval` 2026.3.23 does, its oddities among it; a test holds
the two together over all golds and thousands of changed ones. Where that checker breaks (raises), the calls
are not accepted here.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

from tmcli.records import Json
from tmcli.score.benchmarks.literals import java, javascript

Call = tuple[str, Any]
"""Name and arguments, as the model gave them."""

_PYTHON: dict[str, type] = {
    "string": str, "integer": int, "float": float, "boolean": bool,
    "array": list, "tuple": list, "dict": dict, "any": str,
}  # fmt: skip
_JAVA: dict[str, type] = {
    **dict.fromkeys(("byte", "short", "integer", "long"), int), **dict.fromkeys(("float", "double"), float),
    **dict.fromkeys(("Array", "ArrayList", "Queue", "Stack"), list), "Set": set, "boolean": bool,
    **dict.fromkeys(("HashMap", "Hashtable"), dict), **dict.fromkeys(("char", "String", "any"), str),
}  # fmt: skip
_JAVASCRIPT: dict[str, type] = {
    "String": str, "integer": int, "float": float, "Bigint": int,
    "Boolean": bool, "dict": dict, "array": list, "any": str,
}  # fmt: skip
_WRITTEN: dict[str, tuple[dict[str, type], Callable[[str, str, str | None], Any]]] = {
    "simple_java": (_JAVA, java),
    "simple_javascript": (_JAVASCRIPT, javascript),
}
"""Categories whose values are source code."""
_WITH_ITEMS = ("array", "tuple", "Array", "ArrayList")
_BROKEN = (TypeError, KeyError, AttributeError, IndexError, ValueError)
_IGNORED = re.compile(r"[ \,\.\/\-\_\*\^]")


def accepts(calls: list[Call], golds: list[Json], takes: Mapping[str, Json], category: str) -> bool:
    """Is this what the category asks for? `takes` says of each function that a gold names which parameters it
    requires, and their types as the leaderboard calls them (`["array", "string"]`: of strings).

    >>> accepts([], [], {}, "irrelevance"), accepts([("f", {})], [], {}, "live_relevance")
    (True, True)
    >>> takes = {"f": {"required": ["n"], "types": {"n": "integer"}}}
    >>> golds = [{"f": {"n": [1]}}, {"f": {"n": [2]}}]
    >>> accepts([("f", {"n": 2}), ("f", {"n": 1})], golds, takes, "parallel")
    True
    >>> accepts([("f", {"n": 2}), ("f", {"n": 2})], golds, takes, "parallel")
    False
    """
    if "relevance" in category:
        is_called = bool(calls) and all(isinstance(arguments, dict) for _, arguments in calls)
        return is_called != ("irrelevance" in category)
    due = len(golds) if "parallel" in category or "multiple" in category else 1
    if not golds or len(calls) != due or not all(isinstance(given, dict) for _, given in calls):
        return False
    try:
        if "parallel" in category:
            return _matched(calls, golds, takes, category)
        # a simple question has one function, whatever its gold is named
        name = next(iter(golds[0] if "multiple" in category else takes))
        return _fits(calls[0], name, next(iter(golds[0].values())), takes[name], category)
    except _BROKEN:
        return False


def _matched(calls: list[Call], golds: list[Json], takes: Mapping[str, Json], category: str) -> bool:
    """In any order: each gold takes the first call that fits and is left."""
    left = list(calls)
    for gold in golds:
        name, accepted = next(iter(gold.items()))
        fitting = (i for i, call in enumerate(left) if _fits(call, name, accepted, takes[name], category))
        found = next(fitting, None)
        if found is None:
            return False
        del left[found]
    return True


def _fits(call: Call, name: str, accepted: Json, takes: Json, category: str) -> bool:
    """The function, all that it requires, and nothing but accepted values."""
    called, given = call
    if called != name or any(parameter not in given for parameter in takes["required"]):
        return False
    for parameter, value in given.items():
        if parameter not in takes["types"] or parameter not in accepted:
            return False
        if not _right(value, accepted[parameter], takes["types"][parameter], category):
            return False
    return all(parameter in given or "" in values for parameter, values in accepted.items())


def _right(value: Any, accepted: list[Any], typed: str | list[str], category: str) -> bool:
    kind, inner = typed if isinstance(typed, list) else (typed, None)
    types = _PYTHON
    if category in _WRITTEN:
        types, read = _WRITTEN[category]
        due = types[kind]
        if not isinstance(value, str):
            return False
        value = read(value, kind, inner if kind in _WITH_ITEMS else None)
    elif kind == "float" and type(value) is int:
        value = float(value)
    due, due_inside = types[kind], types[_of(inner)] if kind in _WITH_ITEMS else None
    variable = _is_variable(value, accepted, due, due_inside)
    if variable is None:
        return False
    if variable or due not in (dict, list, str):
        return value in accepted
    if due is dict:
        return _is_dict(value, accepted)
    if due is str:
        return _plain(value) in [_plain(one) for one in accepted if isinstance(one, str)]
    return _is_dicts(value, accepted) if due_inside is dict else _is_list(value, accepted)


def _of(inner: str | None) -> str:
    if inner is None:
        raise KeyError("items")
    return inner


def _is_variable(value: Any, accepted: list[Any], due: type, inner: type | None) -> bool | None:
    """None: of a wrong type. True: of the golds' type and not the documented one, as the name of a variable
    is; then it is compared as it stands."""
    of_golds = next((type(one) for one in accepted if one != ""), None)
    if type(value) is due:
        if inner is None or any(_items_fit(value, one, inner) for one in accepted):
            return of_golds is not None and of_golds is not due
        return None
    return True if of_golds is type(value) else None


def _items_fit(value: Any, accepted: Any, inner: type) -> bool:
    if not isinstance(accepted, list):
        return True
    return all(_is_variable(item, accepted, inner, None) is not None for item in value)


def _plain(value: Any) -> Any:
    """A text without what may differ; anything else as it is.

    >>> _plain("April 1, 2024"), _plain("it's"), _plain(4)
    ('april12024', 'it"s', 4)
    """
    return _IGNORED.sub("", value).lower().replace("'", '"') if isinstance(value, str) else value


def _is_list(value: list[Any], accepted: list[Any]) -> bool:
    golds = [[_plain(gold[j]) for j in range(len(gold))] for gold in accepted]
    return [_plain(item) for item in value] in golds


def _is_dict(value: Json, accepted: list[Any]) -> bool:
    return any(gold != "" and _is_entry(value, gold) for gold in accepted)


def _is_entry(value: Json, gold: Json) -> bool:
    for key, said in value.items():
        if key not in gold:
            return False
        golds = gold[key]
        if _plain(said) not in [_plain(golds[i]) for i in range(len(golds))]:
            return False
    return all(key in value or "" in golds for key, golds in gold.items())


def _is_dicts(value: list[Any], accepted: list[Any]) -> bool:
    return any(
        len(value) == len(golds) and all(_is_dict(value[i], [golds[i]]) for i in range(len(value)))
        for golds in accepted
    )
