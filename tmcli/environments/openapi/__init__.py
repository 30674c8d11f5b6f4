"""An OpenAPI 3 document as tools: what a model is shown, and how each call is put on the wire.

    document = load("petstore.yaml")
    document.tools                     # OpenAI function schemas
    document.operation("get_pet")      # method, path, parameters, security, replies

A tool is called by its `operationId`, made of letters, digits, `_` and `-` only; without one by method and
path (`get_pets_id`). Longer than 64 characters, or taken twice: cut, and a hash is added. Its parameters:
see `operations.py`. Keys come from the environment, see `keys.py`.

What is broken (no OpenAPI 3, a dangling reference, an operationId twice) is an `InputError` with file and
place; what can be read in one sensible way is read so.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from tmcli.environments.openapi.keys import keys_of
from tmcli.environments.openapi.operations import METHODS, Operation, operation, server_of
from tmcli.environments.openapi.source import Node, read
from tmcli.errors import InputError, UsageError, did_you_mean
from tmcli.records import Json

MAX_NAME_CHARS = 64


@dataclass(frozen=True)
class Document:
    """All operations of a document."""

    path: str
    server: str | None
    """The address of the first server; None when it is relative or missing."""
    operations: dict[str, Operation]

    @cached_property
    def tools(self) -> list[Json]:
        """OpenAI function schemas, in the document's order."""
        return [operation.tool for operation in self.operations.values()]

    def operation(self, name: str) -> Operation:
        """The operation behind a tool. Raises `UsageError` for a name nobody knows."""
        if name not in self.operations:
            raise UsageError(f"{self.path} has no operation {name!r}", did_you_mean(name, self.operations))
        return self.operations[name]


_LOADED: dict[tuple[str, str], tuple[tuple[int, int], Document]] = {}
"""(path as named, where that is) -> when it was written, and the document."""


def load(path: str) -> Document:
    """The document at `path`, read again only when the file changed."""
    try:
        found = Path(path).stat()
    except OSError as error:
        raise InputError(
            f"no OpenAPI document can be read: {error.strerror}", "name a JSON or YAML file", source=path
        ) from error
    place, stamp = (path, str(Path(path).absolute())), (found.st_mtime_ns, found.st_size)
    if place not in _LOADED or _LOADED[place][0] != stamp:
        _LOADED[place] = (stamp, _document(read(path)))
    return _LOADED[place][1]


def _document(root: Node) -> Document:
    value = root.value
    version = str(value.get("openapi", "")) if isinstance(value, dict) else ""
    if not version:
        remedy = "convert it to OpenAPI 3" if isinstance(value, dict) and "swagger" in value else "name one"
        raise root.fault("not an OpenAPI 3 document: it has no version in `openapi`", remedy)
    if not version.startswith("3."):
        raise root.fault(f"OpenAPI {version} is not OpenAPI 3", "convert it to OpenAPI 3")
    paths = root.get("paths")
    if paths is None or not isinstance(paths.value, dict):
        raise root.fault("the document has no `paths`", "name a document with operations")
    keys = keys_of(root)
    operations: dict[str, Operation] = {}
    given: dict[str, str] = {}
    for path, item in paths.items():
        for method in METHODS:
            if (node := item.get(method)) is not None:
                own = _operation_id(node, given)
                name = _unique(own, f"{method} {path}", operations)
                operations[name] = operation(root, item, node, (name, method, path), keys)
    if not operations:
        raise root.fault("the document has no operations", "name a document with operations")
    return Document(root.source, server_of(root), operations)


def _operation_id(node: Node, given: dict[str, str]) -> str | None:
    own = node.value.get("operationId") if isinstance(node.value, dict) else None
    if not isinstance(node.value, dict):
        raise node.fault("an operation that is no object", "correct the document")
    if not isinstance(own, str) or not own:
        return None
    if own in given:
        raise node.fault(f"operationId {own!r} is also that of {given[own]}", "give each its own")
    given[own] = node.place
    return own


def _unique(own: str | None, where: str, taken: dict[str, Operation]) -> str:
    """A valid name for a function that nobody has yet; the same in every run.

    >>> _unique("GET_tv.popular", "get /tv/popular", {}), _unique(None, "get /tv/{id}", {})
    ('GET_tv_popular', 'get_tv_id')
    """
    name = re.sub(r"[^a-zA-Z0-9_-]+", "_", own or where).strip("_") or "call"
    if len(name) <= MAX_NAME_CHARS and name not in taken:
        return name
    return f"{name[: MAX_NAME_CHARS - 9]}_{hashlib.sha256(where.encode()).hexdigest()[:8]}"
