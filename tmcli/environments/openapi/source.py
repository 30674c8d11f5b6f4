"""An OpenAPI document as it lies on disk: JSON or YAML, and what its `$ref`s point to.

    root = read("petstore.yaml")
    node = root["paths"]["/pets"]["get"]     # references followed on the way
    node.value, node.place                   # the JSON, and where it is, for a sentence about it

A reference may point into the document or into a file in or below its folder, never to an address. What
the parts mean is `operations.py`'s business.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import orjson

from tmcli.errors import InputError

MAX_REFS = 50
"""References that point to references: a longer chain goes round in circles."""


@dataclass(frozen=True, slots=True)
class Node:
    """A part of a document."""

    value: Any
    place: str
    """Keys from the top, for people."""
    resolver: Any
    """What references in it are relative to."""
    source: str
    """The document as the user named it."""

    def __getitem__(self, key: str | int) -> Node:
        return self.into(key).follow()

    def into(self, key: str | int) -> Node:
        """The part under a key, a reference kept as it is."""
        place = f"{self.place}[{key}]" if isinstance(key, int) else f"{self.place}.{key}".lstrip(".")
        return Node(self.value[key], place, self.resolver, self.source)

    def get(self, key: str) -> Node | None:
        """The part under a key; None when there is none, or null."""
        return self[key] if isinstance(self.value, dict) and self.value.get(key) is not None else None

    def items(self) -> Iterator[tuple[str, Node]]:
        """The parts of an object; nothing when it is none. Extensions (`x-...`) are left out."""
        for key in self.value if isinstance(self.value, dict) else ():
            if not key.startswith("x-"):
                yield key, self[key]

    def parts(self) -> list[Node]:
        """The parts of an array; nothing when it is none."""
        return [self[i] for i in range(len(self.value))] if isinstance(self.value, list) else []

    def follow(self) -> Node:
        """Where a reference leads in the end; itself when it is none."""
        node = self
        for _ in range(MAX_REFS):
            reference = node.value.get("$ref") if isinstance(node.value, dict) else None
            if not isinstance(reference, str):
                return node
            node = node._target(reference)
        raise node.fault("the reference goes round in circles", "let it point to something")

    def fault(self, problem: str, remedy: str) -> InputError:
        """An error that names this place."""
        return InputError(problem, remedy, field=self.place, source=self.source)

    def _target(self, reference: str) -> Node:
        from referencing.exceptions import Unresolvable

        try:
            found = self.resolver.lookup(reference)
        except (Unresolvable, LookupError, ValueError, TypeError) as error:
            cause: BaseException | None = error
            while cause is not None and not isinstance(cause, InputError):
                cause = cause.__cause__
            remedy = "correct the reference"
            if isinstance(cause, InputError):
                remedy = cause.problem
            raise self.fault(f"$ref {reference!r} points to nothing", remedy) from error
        return Node(found.contents, self.place, found.resolver, self.source)


def read(path: str) -> Node:
    """The document's top. Raises `InputError` with the file for what is neither JSON nor YAML."""
    from referencing import Registry, Resource

    file = Path(path)
    folder = file.resolve().parent

    @cache  # the registry is immutable: it asks again for each reference
    def retrieve(uri: str) -> Any:
        other = Path(unquote(urlsplit(uri).path))
        if urlsplit(uri).scheme != "file" or not other.resolve().is_relative_to(folder):
            raise InputError("only files in the document's folder are read: bundle it into one file")
        return Resource.opaque(parse(other))

    uri = file.resolve().as_uri()
    contents = parse(file)
    registry: Any = Registry(retrieve=retrieve)  # type: ignore[call-arg]
    resolver = registry.with_resource(uri, Resource.opaque(contents)).resolver(uri)
    return Node(contents, "", resolver, path)


def parse(file: Path) -> Any:
    """A file's JSON or YAML as JSON values."""
    try:
        data = file.read_bytes()
    except OSError as error:
        raise InputError(
            f"cannot be read: {error.strerror}", "name an OpenAPI document", source=str(file)
        ) from error
    try:
        return orjson.loads(data)
    except orjson.JSONDecodeError as error:
        if file.suffix == ".json":
            problem = f"not JSON: {error.msg} at line {error.lineno}, column {error.colno}"
            raise InputError(problem, "get the file again", source=str(file)) from error
    return _yaml(data, str(file))


def _yaml(data: bytes, source: str) -> Any:
    import yaml

    try:
        value = yaml.load(data, _loader())  # noqa: S506  a safe loader with fewer types
        return _plain(value, {})
    except (yaml.YAMLError, UnicodeDecodeError, RecursionError) as error:
        said = " ".join(str(error).split())[:200]
        raise InputError(f"neither JSON nor YAML: {said}", "correct the file", source=source) from error


@cache
def _loader() -> Any:
    """YAML 1.2's types, which OpenAPI asks for: `no` is a text, so are dates, `010` and `12:30`."""
    import yaml

    class Loader(getattr(yaml, "CSafeLoader", yaml.SafeLoader)):  # type: ignore[misc]
        yaml_implicit_resolvers: dict[str, list[Any]] = {}  # noqa: RUF012  the library's own form

    for word, pattern, first in (
        ("bool", r"true|True|TRUE|false|False|FALSE", "tTfF"),
        ("int", r"[-+]?(?:0|[1-9][0-9]*)", "-+0123456789"),
        ("float", r"[-+]?(?:\.[0-9]+|(?:0|[1-9][0-9]*)(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?", "-+0123456789."),
        ("null", r"~|null|Null|NULL|", "~nN\0"),
        ("merge", r"<<", "<"),
    ):
        letters = [*first.replace("\0", ""), *([""] if "\0" in first else [])]
        Loader.add_implicit_resolver(f"tag:yaml.org,2002:{word}", re.compile(rf"^(?:{pattern})$"), letters)
    return Loader


def _plain(value: Any, done: dict[int, Any]) -> Any:
    """Keys as text (`200:` is a number to YAML). What aliases share stays shared: a bomb stays small."""
    if not isinstance(value, dict | list):  # explicit tags (`!!binary`, `!!set`) are read as their text
        return value if isinstance(value, str | int | float | None) else str(value)
    if id(value) not in done:
        copy: Any = {} if isinstance(value, dict) else []
        done[id(value)] = copy
        if isinstance(value, dict):
            copy.update((_key(key), _plain(item, done)) for key, item in value.items())
        else:
            copy.extend(_plain(item, done) for item in value)
    return done[id(value)]


def _key(key: Any) -> str:
    return key if isinstance(key, str) else orjson.dumps(key).decode()
