"""Values that a model writes as Java or JavaScript source, as BFCL reads them.

    java("new ArrayList<>(Arrays.asList(1, 2))", "ArrayList", "integer")    # [1, 2]
    javascript("{'key': true}", "dict")                                     # {"key": True}

The rules are those of the leaderboard's converters (`eval_checker/ast_eval/type_convertor` of `bfcl-eval`
2026.3.23), pattern by pattern: a text that does not fit its type stays a text. So that none takes for
ever, here one also stays a text that has more than `LONGEST` characters or `WIDEST` blanks in a row, or is a
JavaScript array of arrays over several lines with more than `DEEPEST` brackets.
"""

from __future__ import annotations

import re
from typing import Any

LONGEST = 10_000
WIDEST = 64
DEEPEST = 16

_WIDE = re.compile(rf"\s{{{WIDEST + 1}}}")
_INTEGER = re.compile(r"^-?\d+$")
_LONG = re.compile(r"^-?\d+[lL]$")
_BIGINT = re.compile(r"^-?\d+n$")
_FLOAT = re.compile(r"^-?\d+(\.\d+)?([eE][+-]?\d+)?[fF]$")
_DOUBLE = re.compile(r"^-?\d+(\.\d+)?([eE][+-]?\d+)?$")
_DECIMAL = re.compile(r"^-?\d+(\.\d+)?$")
_BOOLEAN = {"true": True, "false": False}

_AS_LIST = re.compile(r"new\s+ArrayList<\w*>\(Arrays\.asList\((.+?)\)\)")
_ADDED = re.compile(r"new\s+ArrayList<\w*>\(\)\s*\{\{\s*(.+?)\s*\}\}", re.DOTALL)
_NO_LIST = re.compile(r"new\s+ArrayList<\w*>\(\)")
_ARRAY = re.compile(r"new\s+\w+\[\]\s*\{(.*?)\}")
_PUTS = re.compile(r"new\s+HashMap<.*?>\s*\(\)\s*\{\s*\{?\s*(.*?)\s*\}?\s*\}", re.DOTALL)
_NO_MAP = re.compile(r"new\s+HashMap<.*?>\s*\(\)")

_ROWS = re.compile(
    r"\[\s*\[.*?\]\s*(,\s*\[.*?\]\s*)*\]|\bnew\s+Array\(\s*\[.*?\]\s*(,\s*\[.*?\]\s*)*\)",
)
_ROWS_END = re.compile(r"\]\s*[\])]")
_ROW = re.compile(r"\[(.*?)\]|\bnew\s+Array\((.*?)\)")
_ENTRIES = re.compile(r"\{(.*?)\}")
_ENTRY = re.compile(r"([^:]+):\s*(.*?)(?:,\s*(?=[^,]+:)|$)")


def java(text: str, kind: str, inner: str | None = None) -> Any:
    """A Java value of this type; `inner` is the type of an array's items. Raises `ValueError` for a type that
    the leaderboard cannot read.

    >>> java("3e3F", "float"), java("12L", "long"), java("12", "long"), java("true", "boolean")
    (3000.0, 12, '12', True)
    >>> java('new HashMap<String, Object>() {{ put("a", 1); put("b", true); }}', "HashMap")
    {'a': 1, 'b': True}
    """
    if _is_endless(text):
        return text
    match kind:
        case "byte" | "short" | "integer":
            return int(text) if _INTEGER.match(text) else text
        case "float":
            return float(text.rstrip("\n")[:-1]) if _FLOAT.match(text) else text
        case "double":
            return float(text) if _DOUBLE.match(text) else text
        case "long":
            return int(text.rstrip("\n")[:-1]) if _LONG.match(text) else text
        case "boolean":
            return _BOOLEAN.get(text, text)
        case "Array":
            return _java_array(text, inner)
        case "ArrayList":
            return _java_list(text, inner)
        case "HashMap":
            return _java_map(text)
        case "String" | "any" | "char":
            return text
    raise ValueError(kind)


def _is_endless(text: str) -> bool:
    return len(text) > LONGEST or _WIDE.search(text) is not None


def _java_array(text: str, inner: str | None) -> Any:
    if not (found := _ARRAY.search(text)):
        return text
    pieces = [piece.strip() for piece in found[1].split(",") if piece.strip()]
    return [java(piece, inner) if inner else _java_value(piece) for piece in pieces]


def _java_list(text: str, inner: str | None) -> Any:
    if found := _AS_LIST.search(text):
        pieces = found[1].split(",")
    elif found := _ADDED.search(_until(text, "}}")):
        pieces = re.findall(r"add\((.+?)\)", found[1])
    else:
        return [] if _NO_LIST.search(text) else text
    return [_java_item(piece.strip(), inner) for piece in pieces]


def _until(text: str, end: str) -> str:
    """Up to the last `end`, with which the pattern must end: behind it nothing is tried in vain."""
    return text[: text.rfind(end) + len(end)] if end in text else ""


def _java_item(piece: str, inner: str | None) -> Any:
    if inner in ("char", "String"):
        return piece[1:-1]  # its quotes, or whatever stands there
    return java(piece, inner) if inner else _java_value(piece)


def _java_map(text: str) -> Any:
    if found := _PUTS.search(_until(text, "}")):
        return {
            key: _java_value(said.strip()) for key, said in re.findall(r"put\(\"(.*?)\",\s*(.*?)\)", found[1])
        }
    return {} if _NO_MAP.search(text) else text


def _java_value(text: str) -> Any:
    """A value whose type nobody says."""
    if text in _BOOLEAN:
        return _BOOLEAN[text]
    if text.startswith('"') and text.endswith('"'):
        return text[1:-1]
    if _LONG.match(text):
        return int(text[:-1])
    if _FLOAT.match(text):
        return float(text.rstrip("\n")[:-1])
    return _number(text)


def javascript(text: str, kind: str, inner: str | None = None) -> Any:
    """A JavaScript value of this type; `inner` is the type of the items. Raises `ValueError` for one that
    the leaderboard cannot read.

    >>> javascript("'a b'", "String"), javascript("12n", "Bigint"), javascript("[1, 'two', true]", "array")
    ('a b', 12, [1, 'two', True])
    >>> javascript("[[1, 2], [3, 4]]", "array", "array"), javascript("{'a': 1, 'b': [2]}", "dict")
    ([[1, 2], [3, 4]], {'a': 1, 'b': [2]})
    """
    if _is_endless(text):
        return text
    match kind:
        case "String":
            return text[1:-1] if _quoted(text) else text
        case "integer":
            return int(text) if _INTEGER.match(text) else text
        case "float":
            return float(text) if _DECIMAL.match(text) else text
        case "Bigint":
            return int(text[:-1]) if _BIGINT.match(text) else text
        case "Boolean":
            return _BOOLEAN.get(text, text)
        case "dict":
            return _js_dict(text.strip())
        case "array":
            return _js_array(text.strip(), inner)
        case "any":
            return text
    raise ValueError(kind)


def _js_array(code: str, inner: str | None = None) -> Any:
    if _rows_may_be(code) and (found := _ROWS.match(code)):
        rows = [row.strip() for row in re.findall(r"\[(.*?)\]", found[0])]
        rows[0] = rows[0].removeprefix("[")
        return [[_js_value(piece) for piece in row.split(",")] for row in rows]
    if not (found := _ROW.match(code)):
        return code
    content = (found[1] if found[1] is not None else found[2]).strip()
    pieces = [piece.strip() for piece in content.split(",")] if content else []
    if not inner:
        return [_js_value(piece) for piece in pieces]
    try:
        return [javascript(piece, inner, "String" if piece[:1] in ("'", '"') else None) for piece in pieces]
    except ValueError:
        return code


def _rows_may_be(code: str) -> bool:
    """Where nothing can match, the pattern would try every way to part the text."""
    return bool(_ROWS_END.search(code)) and ("\n" not in code or code.count("]") <= DEEPEST)


def _js_dict(code: str) -> Any:
    if code == "{}":
        return {}
    if not (found := _ENTRIES.match(code)):
        return code
    out = {}
    for key, said in _ENTRY.findall(found[1]):
        value = said.strip()
        if value.startswith("[") and value.endswith("]"):
            out[key.strip().strip("'\"")] = _js_array(value)
        elif value.startswith("{") and value.endswith("}"):
            out[key.strip().strip("'\"")] = _js_dict(value)
        else:
            out[key.strip().strip("'\"")] = _js_value(value.strip("'\""))
    return out


def _js_value(text: str) -> Any:
    """A value whose type nobody says."""
    text = text.strip()
    if text in _BOOLEAN:
        return _BOOLEAN[text]
    return text[1:-1] if _quoted(text) else _number(text)


def _quoted(text: str) -> bool:
    return (text.startswith('"') and text.endswith('"')) or (text.startswith("'") and text.endswith("'"))


def _number(text: str) -> Any:
    """An integer, else a float, else the text."""
    for number in (int, float):
        try:
            return number(text)
        except ValueError:
            continue
    return text
