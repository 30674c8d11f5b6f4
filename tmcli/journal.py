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

import fcntl
import os
import re
from array import array
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from hashlib import blake2b
from pathlib import Path

from tmcli import console, io, streams
from tmcli.errors import InputError, OutputError, UsageError
from tmcli.records import AnyRecord, Trajectory, decode, encode, expect

_OURS = b'{"kind":"trajectory","v":1,"id":"'
"""How each line begins: a torn one is recognised by it."""


class Order:
    """The order of the input: which tasks came, and when. About 80 bytes a task."""

    def __init__(self) -> None:
        self._tasks: dict[int, None] = {}

    def add(self, task_id: str) -> bool:
        """The next task. False: it came before."""
        n, key = len(self._tasks), _key(task_id)
        self._tasks[key] = None
        return len(self._tasks) > n

    def __len__(self) -> int:
        return len(self._tasks)

    def ranks(self) -> dict[int, int]:
        """`_key` of a task -> when it came."""
        return {key: rank for rank, key in enumerate(self._tasks)}


def _key(task_id: str) -> int:
    """60 bits of a hash: an int of that size takes 32 bytes."""
    return int.from_bytes(blake2b(task_id.encode(), digest_size=8).digest()) >> 4


@dataclass
class Journal:
    """An output to append to."""

    out: io.Writer
    done: dict[str, bool | None] = field(default_factory=dict)
    """Ids of the good trajectories that are there already -> are they right?"""
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


# ---- the file that grows ---------------------------------------------------------------------------


class Growing:
    """A file of lines, open and locked, with an index of 16 bytes a line."""

    def __init__(self, fd: int, path: str) -> None:
        self.fd = fd
        self.path = path
        self.size = 0
        """Bytes of whole lines."""
        self.done: dict[str, bool | None] = {}
        self._tasks = array("Q")
        self._samples = array("I")
        self._sizes = array("I")

    def write(self, record: AnyRecord) -> None:
        """Append a line, whole or not at all."""
        self.check()
        line = encode(record) + b"\n"
        try:
            rest = line
            while rest:
                rest = rest[os.write(self.fd, rest) :]
        except BaseException as error:  # a full disk takes half a line
            with suppress(OSError):
                os.ftruncate(self.fd, self.size)
            if isinstance(error, OSError):
                raise streams.unwritable(self.path, error) from error
            raise
        self.index(getattr(record, "id", ""), len(line))

    def index(self, record_id: str, size: int) -> None:
        """One more line, of this size."""
        task_id, _, sample = record_id.rpartition("#")
        self._tasks.append(_key(task_id))
        self._samples.append(int(sample) if sample.isdecimal() and len(sample) < 10 else 0)
        self._sizes.append(size)
        self.size += size

    def take(self, lines: Iterable[tuple[Trajectory | None, bytes]]) -> bool:
        """Index the lines that are there, while they are good ones. Were all?"""
        for record, line in lines:
            whole = record is not None and len(line) == len(encode(record)) + 1
            if record is None or not whole or record.status != "ok" or record.id in self.done:
                return False
            answer = record.scores.get("answer")
            self.done[record.id] = None if answer is None else answer == 1.0
            self.index(record.id, len(line))
        return True

    def places(self) -> Iterator[tuple[int, int]]:
        """(task, sample) of each line."""
        return zip(self._tasks, self._samples, strict=True)

    def lines(self, order: array[int] | None) -> Iterator[bytes]:
        """The lines in this order, or as they are."""
        starts = array("Q", [0])
        for size in self._sizes:
            starts.append(starts[-1] + size)
        for i in range(len(self._sizes)) if order is None else order:
            yield os.pread(self.fd, self._sizes[i], starts[i])

    def is_ours(self) -> bool:
        """Is the file still there, and as we left it?"""
        ours = os.fstat(self.fd)
        try:
            return ours.st_size == self.size and os.path.samestat(ours, os.stat(self.path))
        except FileNotFoundError:
            return False

    def check(self) -> None:
        """What is written to a file that is gone is lost, and may have cost much."""
        if not self.is_ours():
            raise OutputError(
                f"{self.path} was removed, moved or changed while this run wrote to it",
                "run again; --resume goes on with what is left of it",
            )

    def sync(self) -> None:
        """Have it on the disk."""
        self.check()
        try:
            os.fsync(self.fd)
        except OSError as error:
            raise streams.unwritable(self.path, error) from error


def _in_order(file: Growing, order: Order) -> array[int] | None:
    """The lines of the file in the order of the input; None: they are. Tasks that did not come keep their
    order, after all others."""
    ranks = order.ranks()
    places = [
        ranks[task] << 96 | sample << 64 | i if task in ranks else len(ranks) << 96 | i
        for i, (task, sample) in enumerate(file.places())
    ]
    if all(places[i] < places[i + 1] for i in range(len(places) - 1)):
        return None
    places.sort()
    return array("Q", (place & (1 << 64) - 1 for place in places))


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
    fd = _locked(part, os.O_CREAT if force else os.O_CREAT | os.O_EXCL)
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
        file = Growing(_locked(there if Path(there).exists() else part, os.O_CREAT), part)
        stack.callback(os.close, file.fd)
        if there == part and file.take(_there(part, key)):
            os.ftruncate(file.fd, file.size)  # without a torn last line
        elif Path(there).exists():
            with _replacement(part) as sink, sink.buffered() as out:
                good = Growing(file.fd, part)
                for record, _ in _there(there, key):
                    if record is not None and good.take([(record, line := encode(record) + b"\n")]):
                        out.write(line)
            file = Growing(_locked(part, 0), part)
            stack.callback(os.close, file.fd)
            file.take(_there(part, key))
        yield file


def _there(path: str, key: str) -> Iterator[tuple[Trajectory | None, bytes]]:
    """The records of an earlier run with their lines, up to a torn last line. None: a blank line."""
    for record, line in _packed(path) if path.endswith((".gz", ".zst", ".parquet")) else _plain(path):
        if record is not None and record.policy.get("key", "") != key:
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
                if not line.endswith(b"\n") and text[: len(_OURS)] == _OURS[: len(text)]:
                    return  # torn: the run was stopped while it wrote this line
                raise error.at(path, number) from error
            yield record, line


def _locked(path: str, flags: int) -> int:
    """Open for appending, and let nobody else do so."""
    real = os.path.realpath(path)
    while True:
        try:
            fd = os.open(real, os.O_RDWR | os.O_APPEND | os.O_CLOEXEC | flags, 0o666)
        except FileExistsError:  # made since we looked
            streams.check_new(path, force=False, resumable=True)
            continue
        except OSError as error:
            raise streams.unwritable(path, error) from error
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(fd)
            raise OutputError(
                f"{path} is being written by another run", "let that one end, or write to another name"
            ) from None
        except OSError:  # a file system that knows no locks
            return fd
        with suppress(FileNotFoundError):
            if os.path.samestat(os.fstat(fd), os.stat(real)):
                return fd
        os.close(fd)  # it was replaced or removed meanwhile
