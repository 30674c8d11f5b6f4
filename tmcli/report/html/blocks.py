"""Many JSON values as a few lines of text that a browser can unpack: gzip, then base64.

    with Blocks(64) as blocks:
        blocks.add({"id": ...})
        for line in blocks.lines(): ...       # one a block: bytes without blanks

Lines wait in a temporary file: memory holds one block. base64 has no character that means anything in HTML.
"""

from __future__ import annotations

import base64
import gzip
import tempfile
from collections.abc import Iterator
from typing import Any, Self

import orjson

from tmcli.records import Json

LEVEL = 6


class Blocks:
    """Values of one kind, `size` a block. `shared`: this key of each value is kept once a block where it is
    the same again, and the value holds its number."""

    def __init__(self, size: int, shared: str | None = None) -> None:
        self.size = size
        self.n = 0
        """Blocks written."""
        self._shared_key = shared
        self._file = tempfile.TemporaryFile()  # noqa: SIM115 - closed by `__exit__`
        self._values: list[Any] = []
        self._shared: dict[bytes, int] = {}

    def add(self, value: Any) -> None:
        if self._shared_key is not None:
            value = {**value, self._shared_key: self._number(value[self._shared_key])}
        self._values.append(orjson.Fragment(orjson.dumps(value)))
        if len(self._values) == self.size:
            self._flush()

    def _number(self, value: Json) -> int:
        return self._shared.setdefault(orjson.dumps(value), len(self._shared))

    def _flush(self) -> None:
        shared = [orjson.Fragment(text) for text in self._shared]
        data = orjson.dumps({"values": self._values, "shared": shared})
        self._file.write(base64.b64encode(gzip.compress(data, LEVEL, mtime=0)) + b"\n")
        self.n += 1
        self._values, self._shared = [], {}

    def lines(self) -> Iterator[bytes]:
        """All blocks, from the first; nothing is added any more."""
        if self._values:
            self._flush()
        self._file.seek(0)
        for line in self._file:
            yield line.rstrip(b"\n")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()
