"""Trajectories in the forms that other trainers read: dialogue and tools alone, one JSON object a line.

    with exporters.open_output("sft.jsonl", to="sharegpt") as out:     # or "openai"; else as io.open_output
        out.write_line(line)                                            # a trajectory's line

What a form has no place for is counted, and said on stderr when the output is complete.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Literal

import orjson

from tmcli import console, io
from tmcli.errors import InputError, UsageError
from tmcli.records import AnyRecord, Json, encode

Form = Literal["jsonl", "parquet", "openai", "sharegpt"]
Row = Callable[[Json, Counter[str]], Json | None]
"""A trajectory as JSON -> its row, None where it has none; what is lost is counted under a few words."""

_LEFT = {
    "task": "tasks with their golds",
    "turns": "phases",
    "reward": "rewards",
    "scores": "scores",
    "tokens": "sampled tokens",
    "usage": "usage",
    "policy": "policies",
}
_KEPT = ("kind", "v", "messages", "tools")


@contextmanager
def open_output(
    path: str, *, to: Form | None = None, force: bool = False, per_file: int | None = None
) -> Iterator[io.LineWriter]:
    """Where trajectories go, as `io.open_output`, in any form. Says on stderr what the form lost."""
    if to != "openai" and to != "sharegpt":
        with io.open_output(path, to=to, force=force, per_file=per_file) as out:
            yield out
        return
    if path.endswith(".parquet"):
        raise UsageError(f"--to {to} is JSON lines, {path} a Parquet file", "name it .jsonl")
    with io.open_output(path, to="jsonl", force=force, per_file=per_file) as out:
        export = Export(out, row_of(to))
        yield export
    if export.n:
        console.note(f"--to {to} wrote {export.told()}")


def row_of(to: Literal["openai", "sharegpt"]) -> Row:
    """How a form makes its rows."""
    if to == "openai":
        from tmcli.exporters import openai

        return openai.row
    from tmcli.exporters import sharegpt

    return sharegpt.row


class Export:
    """Writes trajectories as rows of another form."""

    def __init__(self, out: io.LineWriter, row: Row) -> None:
        self.n = 0
        self.lost: Counter[str] = Counter()
        self._out = out
        self._row = row

    def write(self, record: AnyRecord) -> None:
        self.write_line(encode(record))

    def write_line(self, line: bytes) -> None:
        record = orjson.loads(line)
        self.n += 1
        row = self._row(record, self.lost)
        if row is None:
            return
        left = [key for key, value in record.items() if key not in _KEPT and value not in (None, {}, [])]
        self.lost.update(dict.fromkeys((_LEFT.get(key, "ids and other fields") for key in left), 1))
        try:
            self._out.write_line(orjson.dumps(row))
        except orjson.JSONEncodeError as error:  # deeper than orjson writes, though it read it
            raise InputError(f"{record['id']} cannot be written: {error}", "drop this record") from error

    def told(self) -> str:
        """How many rows, and what they lack.

        >>> export = Export(None, lambda record, lost: None)
        >>> export.n = 2; export.lost.update({"rewards": 2, "rows left out: no turn": 1})
        >>> export.told()
        '1 rows of dialogue and tools; lost: rewards 2, rows left out: no turn 1'
        """
        n = self.n - sum(count for what, count in self.lost.items() if what.startswith(LEFT_OUT))
        lost = ", ".join(f"{what} {count}" for what, count in self.lost.items())
        return f"{n} rows of dialogue and tools; lost: {lost}"


LEFT_OUT = "rows left out"
"""How the words for a row that was not written begin."""


def turns(messages: list[Json], lost: Counter[str]) -> list[Json]:
    """The dialogue up to its last assistant turn: nothing after it is trained on."""
    last = max((i for i, message in enumerate(messages) if message["role"] == "assistant"), default=-1)
    if last < 0:
        lost[f"{LEFT_OUT}: no assistant turn"] += 1
    elif last + 1 < len(messages):
        lost["replies after the last turn"] += len(messages) - last - 1
    return messages[: last + 1]
