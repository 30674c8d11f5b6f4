"""What a call of each operation of a document consists of: parameters, body, keys, and what comes back.

**Parameters.** Path, query, header and cookie parameters, and the properties of a JSON (or form) body that
is an object, are the tool's parameters; any other body is one parameter, `body`. When two have one name,
the first in that order keeps it and the next gets its place in front: `body_id`, `query_id`. What a body
requires is required unless `requestBody.required` is written as false. Left out are what HTTP itself sets
(`Accept`, `Content-Type`, `Authorization`, `Host`...), read-only properties, and the key of a security
scheme: no model ever sees one. A path parameter that nobody described is a text.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, Literal

from tmcli.environments.openapi.keys import Alternatives, Key, alternatives
from tmcli.environments.openapi.schema import plain, shorten
from tmcli.environments.openapi.source import Node
from tmcli.records import Json

METHODS = ("get", "put", "post", "delete", "options", "head", "patch")
PLACES = ("path", "query", "header", "cookie")
IGNORED = {
    "accept", "authorization", "connection", "content-length", "content-type", "host", "transfer-encoding",
}  # fmt: skip
"""Headers that HTTP itself sets, in lower case."""
TEMPLATE = re.compile(r"\{([^{}/]+)\}")
_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_STYLES = {"path": "simple", "query": "form", "header": "simple", "cookie": "form"}

Place = Literal["path", "query", "header", "cookie", "body"]


@dataclass(frozen=True, slots=True)
class Parameter:
    """One argument of a call, and where it goes."""

    name: str
    """What the model calls it."""
    wire: str
    """What the server calls it."""
    place: Place
    schema: Json
    required: bool
    style: str = ""
    explode: bool = False
    as_json: bool = False
    """Written as JSON text (`content` in place of `schema`)."""


@dataclass(frozen=True, slots=True)
class Body:
    """What a request carries."""

    media: str
    schema: Json
    """Of the whole body: what an assembled one is held to."""
    required: bool
    whole: bool
    """It is one parameter, not one for each property."""


@dataclass(frozen=True)
class Reply:
    """What the document says that a good answer looks like."""

    status: int
    media: str | None
    examples: list[Any]
    schema: Json | None


@dataclass(frozen=True, eq=False)
class Operation:
    """One method of one path: one tool."""

    name: str
    method: str
    path: str
    description: str
    parameters: tuple[Parameter, ...]
    body: Body | None
    security: Alternatives
    server: str | None
    """Where this operation lives, when the document says that apart from its other operations."""
    node: Node = field(repr=False)

    @cached_property
    def tool(self) -> Json:
        """The OpenAI function schema."""
        schema: Json = {"type": "object", "properties": {p.name: p.schema for p in self.parameters}}
        if due := [p.name for p in self.parameters if p.required]:
            schema["required"] = due
        told = {"description": self.description} if self.description else {}
        return {"type": "function", "function": {"name": self.name, **told, "parameters": schema}}

    @cached_property
    def reply(self) -> Reply:
        """The answer with the lowest good status."""
        found = self.node.get("responses")
        codes = sorted(code for code, _ in found.items() if code[:1] == "2") if found else []
        if found is None or not (codes or "default" in found.value):
            return Reply(200, None, [], None)
        code = codes[0] if codes else "default"
        status = int(code) if code.isdecimal() else 200
        content = found[code].get("content")
        media = _media(content) if content else None
        if content is None or media is None:
            return Reply(status, None, [], None)
        part = content[media]
        examples = [part.value["example"]] if "example" in part.value else []
        if listed := part.get("examples"):
            examples += [one.value["value"] for _, one in listed.items() if "value" in one.value]
        schema = plain(part.into("schema"), "writeOnly") if part.get("schema") else None
        return Reply(status, media, examples, schema)


def operation(
    root: Node, item: Node, node: Node, named: tuple[str, str, str], keys: dict[str, Key]
) -> Operation:
    name, method, path = named
    described = _described(item) | _described(node)  # the operation's own win
    secret = {(key.place, key.wire) for key in keys.values()}
    found = [
        _parameter(*each) for each in described.items() if each[0] not in secret and _kept(each[0], path)
    ]
    known = {p.wire for p in found if p.place == "path"}
    found += [
        Parameter(wire, wire, "path", {"type": "string"}, True, "simple")
        for wire in dict.fromkeys(TEMPLATE.findall(path))
        if wire not in known
    ]
    body, inside = _body(node)
    order = [*PLACES, "body"]
    placed = sorted([*found, *inside], key=lambda p: order.index(p.place))
    server = server_of(node) or server_of(item)
    summary, text = (shorten(node.value.get(key)) for key in ("summary", "description"))
    told = text if not summary or text.startswith(summary.rstrip(".")) else f"{summary.rstrip('.')}. {text}"
    if node.value.get("deprecated") is True:
        told = f"{told} Deprecated."
    return Operation(
        name=name,
        method=method.upper(),
        path=path,
        description=told.strip(),
        parameters=tuple(_renamed(placed)),
        body=body,
        security=alternatives(root, node, keys),
        server=server,
        node=node,
    )


def _described(node: Node) -> dict[tuple[str, str], Node]:
    found: dict[tuple[str, str], Node] = {}
    listed = node.get("parameters")
    for part in listed.parts() if listed else []:
        name, place = (
            part.value.get(key) if isinstance(part.value, dict) else None for key in ("name", "in")
        )
        if not isinstance(name, str) or place not in PLACES:
            raise part.fault(
                "a parameter needs a `name`, and `in`: path, query, header or cookie", "correct the document"
            )
        if place in ("header", "cookie") and not _TOKEN.fullmatch(name):
            raise part.fault(f"{name!r} is no name for a {place}", "correct the document")
        found[place, name] = part
    return found


def _kept(which: tuple[str, str], path: str) -> bool:
    place, name = which
    if place == "header":
        return name.lower() not in IGNORED
    return place != "path" or name in TEMPLATE.findall(path)


def _parameter(which: tuple[str, str], node: Node) -> Parameter:
    place, name = which
    content = node.get("content")
    media = next(iter(content.value), None) if content and isinstance(content.value, dict) else None
    holder = content[media] if content and media else node
    schema = plain(holder.into("schema")) if holder.get("schema") is not None else {}
    if text := shorten(node.value.get("description")):
        schema = {**schema, "description": text}
    style = node.value.get("style")
    style = style if isinstance(style, str) else _STYLES[place]
    explode = node.value.get("explode")
    return Parameter(
        name=name,
        wire=name,
        place=place,  # type: ignore[arg-type]
        schema=schema,
        required=place == "path" or node.value.get("required") is True,
        style=style,
        explode=explode if isinstance(explode, bool) else style == "form",
        as_json=media is not None,
    )


def _body(node: Node) -> tuple[Body | None, list[Parameter]]:
    found = node.get("requestBody")
    content = found.get("content") if found else None
    media = _media(content) if content else None
    if found is None or content is None or media is None:
        return None, []
    part = content[media]
    schema = plain(part.into("schema")) if part.get("schema") is not None else {}
    required = found.value.get("required")
    properties = schema.get("properties")
    open_ended = schema.get("additionalProperties") not in (None, False)
    whole = not (is_json(media) or is_form(media)) or schema.get("type") != "object" or open_ended
    if whole or not properties:
        text = shorten(found.value.get("description"))
        shown = {**schema, "description": text} if text and "description" not in schema else schema
        body = Body(media, schema, required is True, True)
        return body, [Parameter("body", "body", "body", shown, required is True)]
    known = [name for name in schema.pop("required", []) if name in properties]
    schema = {**schema, "required": known} if known else schema  # what nobody described cannot be sent
    due = known if required is not False else []
    return Body(media, schema, required is True or bool(due), False), [
        Parameter(name, name, "body", part, name in due) for name, part in properties.items()
    ]


def is_json(media: str) -> bool:
    """Is a body of this media type JSON?"""
    kind = media.partition(";")[0].strip().lower()
    return kind in ("application/json", "*/*", "application/*", "text/json") or kind.endswith("+json")


def is_form(media: str) -> bool:
    """Is it fields of a form?"""
    return media.partition(";")[0].strip().lower() in (
        "application/x-www-form-urlencoded",
        "multipart/form-data",
    )


def _media(content: Node) -> str | None:
    """The media type we speak: JSON, else a form, else the first."""
    known = [media for media, part in content.items() if isinstance(part.value, dict)]
    return next(filter(is_json, known), None) or next(filter(is_form, known), None) or next(iter(known), None)


def _renamed(parameters: list[Parameter]) -> list[Parameter]:
    taken: set[str] = set()
    out: list[Parameter] = []
    for parameter in parameters:
        name = parameter.name
        if name in taken:
            name = f"{parameter.place}_{name}"
        while name in taken:
            name += "_"
        taken.add(name)
        out.append(replace(parameter, name=name))
    return out


def server_of(node: Node) -> str | None:
    """The first server's address, its variables at their defaults."""
    listed = node.get("servers")
    first = next(iter(listed.parts()), None) if listed else None
    url = first.value.get("url") if first and isinstance(first.value, dict) else None
    if first is None or not isinstance(url, str):
        return None
    variables = first.get("variables")
    for name, part in variables.items() if variables else ():
        default = part.value.get("default") if isinstance(part.value, dict) else ""
        url = url.replace(f"{{{name}}}", str(default))
    return url.strip() if url.strip().startswith(("http://", "https://")) else None
