"""What an earlier run left in its output: the records and their lines, up to one that is torn."""

from __future__ import annotations

from collections.abc import Iterator

from tmcli import io
from tmcli.errors import InputError, OutputError
from tmcli.records import Trajectory, decode, encode, expect

OURS = b'{"kind":"trajectory","v":1,"id":"'
"""How each line begins: a torn one is recognised by it."""


def earlier(path: str, key: str | None = None) -> Iterator[tuple[Trajectory | None, bytes]]:
    """The records of an earlier run with their lines, up to a torn last line. None: a blank line. With `key`:
    of a run with the same options."""
    for record, line in _packed(path) if path.endswith((".gz", ".zst", ".parquet")) else _plain(path):
        if record is not None and key is not None and record.policy.get("key", "") != key:
            raise OutputError(
                f"{path} was made with other options", "give the same ones, use --force, or another name"
            )
        yield record, line


def _packed(path: str) -> Iterator[tuple[Trajectory | None, bytes]]:
    for record in io.read(path, kind=Trajectory):
        yield record, encode(record) + b"\n"


def _plain(path: str) -> Iterator[tuple[Trajectory | None, bytes]]:
    with open(path, "rb") as lines:
        for number, line in enumerate(lines, 1):
            text = line.rstrip(b"\0\n")  # a machine that crashed leaves zeros at the end
            if not text.strip():
                yield None, line
                continue
            try:
                record = expect(decode(text), Trajectory)
            except InputError as error:
                if not line.endswith(b"\n") and text[: len(OURS)] == OURS[: len(text)]:
                    return  # torn: the run was stopped while it wrote this line
                raise error.at(path, number) from error
            yield record, line
