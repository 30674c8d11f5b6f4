"""The output of slow steps: a file to which each record is added as it ends, so that a stop keeps it.

    with open_journal(path, key=player.key, resume=resume, force=force) as journal:
        played = synth(tasks, player, n, journal.done, ordered=journal.ordered, order=journal.order)
        for trajectory in played:
            journal.write(trajectory)

While it grows, the file is in the order in which episodes ended; at the end it is put into the order of the
input, whole or not at all. A plain JSONL file grows in place. What cannot grow (`.gz`, `.zst`, `.parquet`)
grows as JSONL in `FILE.part` and becomes the real file at the end. `resume` keeps the good records, and
leaves out the invalid ones and a torn last line, so that they are made again. A file that grows is locked: no
second run writes to it. A stream (`-`, a pipe) is written in order from the start.
"""

from __future__ import annotations

import os
import re
from array import array
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

from tmcli import console, io, streams
from tmcli.errors import OutputError, UsageError
from tmcli.journal.earlier import earlier
from tmcli.journal.growing import Growing, locked
from tmcli.journal.order import Done, Order
from tmcli.records import AnyRecord, decode, encode

__all__ = ["Done", "Journal", "Order", "already", "open_journal"]


@dataclass
class Journal:
    """An output to append to."""

    out: io.Writer
    done: Done = field(default_factory=Done)
    """The good trajectories that are there already."""
    written: int = 0
    """Records added by this run."""
    ordered: bool = True
    """Must records be written in the order of the input? False: as they end."""
    order: Order = field(default_factory=Order)
    """The order of the input: the file's at the end. To be told of each task as it comes."""

    def write(self, record: AnyRecord) -> None:
        """Append, and hand to the system at once."""
        self.out.write(record)
        self.written += 1


@contextmanager
def open_journal(
    path: str,
    *,
    key: str,
    resume: bool = False,
    force: bool = False,
    to: io.Form | None = None,
    ordered: bool = True,
) -> Iterator[Journal]:
    """Open the output of a slow step. `key` is the hash of the options that shape its records; `ordered`: in
    the order of the input, in a file at the end."""
    if resume and force:
        raise UsageError("--resume and --force contradict each other", "give one of them")
    if path in ("-", "/dev/stdout") or streams.is_device(path):
        if resume:
            raise UsageError("--resume needs a file to continue", "name one with -o")
        with io.open_output(path, to=to, flush_each=True) as out:
            yield Journal(out, ordered=ordered)
        return
    plain = io.form_of(path, to) == "jsonl" and not path.endswith((".gz", ".zst"))
    part = path if plain else f"{path}.part"
    with _resumed(path, part, key) if resume else _fresh(path, part, force=force) as file:
        _sweep(path)
        journal = Journal(file, file.done, ordered=False)
        try:
            yield journal
            file.sync()
            lines = _in_order(file, journal.order) if ordered else None
            if not plain:
                _pack(file, lines, path, to)
            elif lines is not None:
                _rewrite(file, lines)
        except BaseException as error:
            kept = len(file.done) + journal.written
            if not file.is_ours():
                raise
            if kept:
                error.add_note(f"{kept} records are kept in {part}; --resume continues")
            else:  # nothing to continue
                Path(part).unlink(missing_ok=True)
            raise


def already(path: str) -> Done:
    """What an earlier run left that `resume` would keep, whatever its options were. Nothing is changed."""
    done = Done()
    part = f"{path}.part"
    there = part if Path(part).exists() else path
    for record, _ in earlier(there) if Path(there).exists() else ():
        if record is not None and record.status == "ok":
            answer = record.scores.get("answer")
            done.put(record.id, None if answer is None else answer == 1.0)
    return done


# ---- the end ---------------------------------------------------------------------------------------


def _in_order(file: Growing, order: Order) -> array[int] | None:
    """The lines of the file in the order of the input; None: they are. Tasks that did not come keep their
    order, after all others."""
    last = len(order)
    numbers = array("I", (last if (n := order.number(key)) is None else n for key in file.tasks))
    # a counting sort, since a list of so many numbers would take more than all the rest
    ends = array("I", bytes(4 * (last + 2)))
    for number in numbers:
        ends[number + 1] += 1
    for number in range(last):
        ends[number + 1] += ends[number]
    lines = array("I", bytes(4 * len(numbers)))
    for line, number in enumerate(numbers):
        lines[ends[number]] = line
        ends[number] += 1
    start = 0
    for end in ends[:last]:
        if end - start > 1:
            lines[start:end] = array("I", sorted(lines[start:end], key=file.samples.__getitem__))
        start = end
    return None if all(i == line for i, line in enumerate(lines)) else lines


def _rewrite(file: Growing, order: array[int]) -> None:
    """Put a complete file into order. What prevents that is no reason to fail."""
    try:
        with _replacement(file.path) as sink, sink.buffered() as out:
            for line in file.lines(order):
                out.write(line)
    except (OSError, OutputError) as error:
        console.warn(f"{file.path} is complete, but in the order in which the episodes ended: {error}")


def _pack(file: Growing, order: array[int] | None, path: str, to: io.Form | None) -> None:
    """Make the real file of what grew beside it."""
    with io.open_output(path, to=to, force=True) as final:
        for line in file.lines(order):
            final.write(decode(line.removesuffix(b"\n")))
    Path(file.path).unlink()


@contextmanager
def _replacement(path: str) -> Iterator[streams.Sink]:
    """A file that takes the place of a locked one at the end, or never. It is ours alone, so it has one name,
    and what a killed run left of it is written over."""
    final = Path(path).resolve()  # a link stays one
    part = final.with_name(f".{final.name}.order.tmp")
    try:
        with streams.open_sink(path, streams.FRESH, at=str(part)) as sink:
            with suppress(FileNotFoundError):
                os.fchmod(sink.fd, final.stat().st_mode & 0o7777)
            yield sink
            sink.sync()
        part.replace(final)
    except BaseException:
        with suppress(OSError):
            part.unlink()
        raise


def _sweep(path: str) -> None:
    """Remove what runs that were killed left half-written beside a file that is locked now."""
    final = Path(path).resolve()
    ours = re.compile(rf"\.{re.escape(final.name)}\.(?:\d+|order)\.tmp")
    for name in os.listdir(final.parent):
        if ours.fullmatch(name):
            with suppress(OSError):
                final.with_name(name).unlink()


# ---- opening ----------------------------------------------------------------------------------------


@contextmanager
def _fresh(path: str, part: str, *, force: bool) -> Iterator[Growing]:
    for name in dict.fromkeys((path, part)):
        streams.check_new(name, force=force, resumable=True)
    fd = locked(part, os.O_CREAT if force else os.O_CREAT | os.O_EXCL)
    try:
        os.ftruncate(fd, 0)
        yield Growing(fd, part)
    finally:
        os.close(fd)


@contextmanager
def _resumed(path: str, part: str, key: str) -> Iterator[Growing]:
    """The good records of an earlier run, ready to be added to."""
    there = part if Path(part).exists() else path
    with ExitStack() as stack:
        file = Growing(locked(there if Path(there).exists() else part, os.O_CREAT), part)
        stack.callback(os.close, file.fd)
        if there == part and file.take(earlier(part, key)):
            os.ftruncate(file.fd, file.size)  # without a torn last line
        elif Path(there).exists():
            with _replacement(part) as sink, sink.buffered() as out:
                good = Growing(file.fd, part)
                for record, _ in earlier(there, key):
                    if record is not None and good.take([(record, line := encode(record) + b"\n")]):
                        out.write(line)
            file = Growing(locked(part, 0), part)
            stack.callback(os.close, file.fd)
            file.take(earlier(part, key))
        yield file
