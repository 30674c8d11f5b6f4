"""One call as an HTTP request, without its key: where every argument goes, and how it is written there.

    request = write(operation, {"pet_id": 7, "fields": ["name"]})    # or the sentence that refuses it
    request.method, request.target, request.headers, request.content

Refused is only what no request can carry: unknown parameters, a missing or empty path value, a path value
with `..` as a part (percent-encoded or not, some servers climb it), a header with a line break. Everything
else, a missing or ill-typed argument too, is sent as it is, for the server's own answer is the truth. Path
values are percent-encoded whole, so none can leave its place. Arrays and objects follow the parameter's
`style`; where the document expects neither they are written as JSON. `null` outside a body is left out.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote, urlencode

from tmcli.environments.arguments import fault
from tmcli.environments.openapi.operations import TEMPLATE, Operation, Parameter, is_form, is_json
from tmcli.records import Json

BOUNDARY = "tm-a1c6f8e2d94b"
"""Between the parts of a multipart body; a value that holds it is refused."""
_DELIMITERS = {"spaceDelimited": "%20", "pipeDelimited": "%7C"}
_CONTROL = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]")


@dataclass(frozen=True, slots=True)
class Request:
    """What is sent, apart from the server's address and the key."""

    method: str
    target: str
    """Path and query, percent-encoded."""
    headers: list[tuple[str, str]]
    content: bytes | None


class _Refused(Exception):
    """No request can carry this."""


def write(operation: Operation, arguments: Json) -> Request | str:
    """The request; or the sentence the model is told instead."""
    if wrong := fault([_sendable(operation)], operation.name, arguments):
        return wrong
    given = [(p, arguments[p.name]) for p in operation.parameters if p.name in arguments]
    try:
        path = _path(operation, {p.wire: (p, value) for p, value in given if p.place == "path"})
        headers = [(p.wire, _header(p, value)) for p, value in _at("header", given)]
        if cookies := [f"{p.wire}={_simple(p, value)}" for p, value in _at("cookie", given)]:
            headers.append(("Cookie", "; ".join(cookies)))
        media, content = _content(operation, given)
    except _Refused as refused:
        return str(refused)
    if media is not None:
        headers.append(("Content-Type", media))
    query = "&".join(pair for p, value in _at("query", given) for pair in _query(p, value))
    join = "&" if "?" in path else "?"
    return Request(operation.method, path + (join + query if query else ""), headers, content)


def assembled(operation: Operation, arguments: Json) -> tuple[bool, Any]:
    """Is there a body, and what is it, as a JSON value?"""
    body = operation.body
    inside = {
        p.wire: arguments[p.name] for p in operation.parameters if p.place == "body" and p.name in arguments
    }
    if body is None or not (inside or (body.required and not body.whole)):
        return False, None
    return True, inside["body"] if body.whole else inside


def text_of(value: Any) -> str:
    """A value as it stands in an address.

    >>> text_of(True), text_of(1.5), text_of("a b"), text_of([1, "x"])
    ('true', '1.5', 'a b', '[1,"x"]')
    """
    if isinstance(value, str):
        return value
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def _sendable(operation: Operation) -> Json:
    """The tool's schema with only what a request must have."""
    properties: Json = {p.name: {} for p in operation.parameters}
    due = [p.name for p in operation.parameters if p.place == "path"]
    return {"function": {"name": operation.name, "parameters": {"properties": properties, "required": due}}}


def _at(place: str, given: Iterable[tuple[Parameter, Any]]) -> list[tuple[Parameter, Any]]:
    return [(p, value) for p, value in given if p.place == place and value is not None]


def _path(operation: Operation, given: dict[str, tuple[Parameter, Any]]) -> str:
    def filled(match: re.Match[str]) -> str:
        parameter, value = given[match.group(1)]
        if value is None or value in ("", [], {}):
            raise _Refused(f"{parameter.name} must not be empty")
        if any(part in (".", "..") for part in re.split(r"[/\\]", text_of(value))):
            raise _Refused(f"{parameter.name} must not hold '.' or '..' as a part of a path")
        mark = {"label": ".", "matrix": f";{quote(parameter.wire, safe='')}="}.get(parameter.style, "")
        return mark + _simple(parameter, value)

    path = TEMPLATE.sub(filled, operation.path).replace("#", "%23")
    if any(part in (".", "..") for part in path.split("/")):  # what values and template make together
        raise _Refused("the path must not hold '.' or '..' as a part")
    return path if path.startswith("/") else f"/{path}"


def _header(parameter: Parameter, value: Any) -> str:
    text = ",".join(map(text_of, value)) if _is_list(parameter, value) else text_of(value)
    if _CONTROL.search(text):
        raise _Refused(f"{parameter.name} must be one line without control characters")
    return text.strip()


def _simple(parameter: Parameter, value: Any) -> str:
    """Percent-encoded, with commas between the parts of an array or an object."""
    if _is_list(parameter, value):
        return ",".join(_quoted(item) for item in value)
    if _is_object(parameter, value):
        between = "=" if parameter.explode else ","
        return ",".join(f"{_quoted(key)}{between}{_quoted(item)}" for key, item in value.items())
    return _quoted(value)


def _query(parameter: Parameter, value: Any) -> list[str]:
    name = _quoted(parameter.wire)
    if _is_list(parameter, value):
        if parameter.explode and parameter.style == "form":
            return [f"{name}={_quoted(item)}" for item in value]
        return [f"{name}={_DELIMITERS.get(parameter.style, ',').join(map(_quoted, value))}"]
    if _is_object(parameter, value):
        if parameter.style == "deepObject":
            return [f"{name}%5B{_quoted(key)}%5D={_quoted(item)}" for key, item in value.items()]
        if parameter.explode:
            return [f"{_quoted(key)}={_quoted(item)}" for key, item in value.items()]
        return [f"{name}={_simple(parameter, value)}"]
    return [f"{name}={_quoted(value)}"]


def _is_list(parameter: Parameter, value: Any) -> bool:
    return isinstance(value, list) and not parameter.as_json and _expects(parameter.schema, "array")


def _is_object(parameter: Parameter, value: Any) -> bool:
    return isinstance(value, dict) and not parameter.as_json and _expects(parameter.schema, "object")


def _expects(schema: Json, kind: str) -> bool:
    said = schema.get("type")
    if kind == said or (isinstance(said, list) and kind in said):
        return True
    return any(_expects(one, kind) for key in ("anyOf", "oneOf", "allOf") for one in schema.get(key, []))


def _quoted(value: Any) -> str:
    return quote(text_of(value), safe="", errors="replace")


def _content(operation: Operation, given: list[tuple[Parameter, Any]]) -> tuple[str | None, bytes | None]:
    """Media type and bytes of the body."""
    there, value = assembled(operation, {p.name: item for p, item in given})
    if not there or operation.body is None:
        return None, None
    media = operation.body.media
    if is_json(media):
        return "application/json" if "*" in media else media, json.dumps(value).encode()
    if is_form(media) and isinstance(value, dict):
        fields = [(key, text_of(one)) for key, item in value.items() for one in _each(item)]
        if media.startswith("multipart"):
            return f"multipart/form-data; boundary={BOUNDARY}", _multipart(fields)
        return media, urlencode(fields, errors="replace").encode()
    return media, text_of(value).encode("utf-8", "replace")


def _each(item: Any) -> list[Any]:
    return item if isinstance(item, list) else [item]


def _multipart(fields: list[tuple[str, str]]) -> bytes:
    parts = []
    for name, text in fields:
        if BOUNDARY in text:
            raise _Refused(f"{name} holds a text that cannot be sent")
        shown = quote(name, safe=" []().-_", errors="replace")
        parts.append(f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="{shown}"\r\n\r\n{text}\r\n')
    return f"{''.join(parts)}--{BOUNDARY}--\r\n".encode("utf-8", "replace")
