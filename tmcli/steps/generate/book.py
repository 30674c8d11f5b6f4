"""Where kept tasks and dropped proposals are written down: each in its file, as soon as it is decided.

    with open_book("tasks.jsonl", None, key=key, resume=True, force=False, to=None) as book:
        for outcome in generate(..., settled=book.settled):
            book.write(outcome)

Dropped proposals of `tasks.jsonl` go to `tasks.jsonl.dropped` (or where `--rejects` says): they were paid
for, and a resumed run must not make them again. A plain JSON Lines file grows line by line and can be
continued; what cannot grow (`.gz`, `.zst`, `.parquet`) appears whole at the end.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import orjson

from tmcli import io, streams
from tmcli.errors import InputError, OutputError, UsageError
from tmcli.journal.growing import locked
from tmcli.records import Task, decode, encode, expect
from tmcli.steps.generate.candidate import Outcome, Settled

SUFFIX = ".dropped"


@dataclass
class Book:
    """Both files."""

    out: io.Writer
    aside: streams.Sink | None
    settled: Settled = field(default_factory=Settled)
    """What was there already, and what came since."""
    written: int = 0
    """Tasks written by this run."""

    def write(self, outcome: Outcome) -> None:
        if outcome.task is not None:
            self.out.write(outcome.task)
            self.written += 1
        elif self.aside is not None:
            self.aside.write_all(orjson.dumps(outcome.row) + b"\n")


@dataclass
class _Lines:
    """One write per record, straight to the file."""

    sink: streams.Sink

    def write(self, record: Any) -> None:
        self.sink.write_all(encode(record) + b"\n")


@contextmanager
def open_book(
    output: str, rejects: str | None, *, key: str, resume: bool, force: bool, to: io.Form | None
) -> Iterator[Book]:
    """Open the output and the file of dropped proposals. Raises `OutputError` where something is in the way,
    or where what is there was made with other options."""
    if resume and force:
        raise UsageError("--resume and --force contradict each other", "give one of them")
    is_stream = output in ("-", "/dev/stdout") or streams.is_device(output)
    grows = not is_stream and io.form_of(output, to) == "jsonl" and not output.endswith((".gz", ".zst"))
    if resume and not grows:
        raise UsageError("--resume continues a plain JSON Lines file", "name one with -o, as tasks.jsonl")
    dropped = rejects if rejects is not None or is_stream else output + SUFFIX
    if dropped is not None and (dropped == "-" or os.path.realpath(dropped) == os.path.realpath(output)):
        raise UsageError("--rejects needs a file of its own", "give it another name")
    if not resume:
        for path in (output, dropped):
            if path is not None and path != "-":
                streams.check_new(path, force=force, resumable=grows)
    flags = streams.APPEND if resume else streams.FRESH
    with ExitStack() as stack:
        if grows:  # for as long as it grows, no second run may write to it
            stack.callback(os.close, locked(output, os.O_CREAT))
        settled = _there(output, dropped, key) if resume else Settled()
        aside = stack.enter_context(streams.open_sink(dropped, flags)) if dropped is not None else None
        if grows:
            sink = stack.enter_context(streams.open_sink(output, flags))
            book = Book(_Lines(sink), aside, settled)
        else:
            out = stack.enter_context(io.open_output(output, to=to, force=force, flush_each=True))
            book = Book(out, aside, settled)
        try:
            yield book
        except BaseException as error:
            if grows and settled.kept:
                error.add_note(f"{len(settled.kept)} tasks are kept in {output}; --resume continues")
            elif grows and not settled.dropped:  # nothing to continue
                Path(output).unlink(missing_ok=True)
                Path(str(dropped)).unlink(missing_ok=True)
            raise
        if grows:
            sink.sync()
    if grows:
        _in_order(output, [encode(settled.kept[i]) for i in settled.kept], list(settled.kept))
        if dropped is not None:
            rows = [orjson.dumps(settled.dropped[i]) for i in settled.dropped]
            _in_order(dropped, rows, list(settled.dropped))


def _in_order(path: str, lines: list[bytes], numbers: list[int]) -> None:
    """Proposals that were decided late are put where they belong, whole or not at all."""
    if numbers == sorted(numbers):
        return
    with streams.new_file(path, force=True) as sink, sink.buffered() as out:
        for _, line in sorted(zip(numbers, lines, strict=True)):
            out.write(line + b"\n")


def _there(output: str, dropped: str | None, key: str) -> Settled:
    """What an earlier run decided; torn last lines are cut off."""
    settled = Settled()
    for number, line in _whole_lines(output):
        try:
            task = expect(decode(line), Task)
        except InputError as error:
            raise error.at(output, number) from error
        provenance = task.extra.get("provenance")
        settled.kept[_number(provenance, output, key)] = task
    for number, line in _whole_lines(dropped) if dropped is not None else ():
        try:
            row = orjson.loads(line)
        except orjson.JSONDecodeError as error:
            raise InputError(f"not JSON: {error.msg}", "drop the line").at(str(dropped), number) from error
        provenance = row.get("provenance") if isinstance(row, dict) else None
        settled.dropped[_number(provenance, str(dropped), key)] = row
    return settled


def _number(provenance: Any, path: str, key: str) -> int:
    """The proposal's number, where it was made with these options."""
    number = provenance.get("proposal") if isinstance(provenance, dict) else None
    if not isinstance(number, int) or provenance.get("key") != key:
        remedy = "give the same ones, use --force, or another name"
        raise OutputError(f"{path} was made with other options", remedy)
    return number


def _whole_lines(path: str) -> Iterator[tuple[int, bytes]]:
    """The lines of a file that is there; what follows the last newline is a torn one and is cut off."""
    try:
        data = Path(path).read_bytes()
    except FileNotFoundError:
        return
    except OSError as error:
        raise streams.unwritable(path, error) from error
    whole = data.rfind(b"\n") + 1
    if whole < len(data):
        os.truncate(path, whole)
    for number, line in enumerate(data[:whole].split(b"\n"), 1):
        if line.strip():
            yield number, line


def summary(settled: Settled) -> str:
    """What became of all proposals, in a sentence.

    >>> summary(Settled({0: None}, {1: {"drop": "unreadable"}, 2: {"drop": "disputed"}}))
    '1 task of 3 proposals (dropped: disputed 1, unreadable 1)'
    """
    counts = Counter(row["drop"] for row in settled.dropped.values())
    kept, asked = len(settled.kept), len(settled.kept) + len(settled.dropped)
    reasons = ", ".join(f"{name} {n}" for name, n in sorted(counts.items(), key=lambda c: (-c[1], c[0])))
    words = f"{kept} task{'s' * (kept != 1)} of {asked} proposal{'s' * (asked != 1)}"
    return f"{words}{f' (dropped: {reasons})' if reasons else ''}"
