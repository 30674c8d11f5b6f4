"""A file of lines that grows, locked, and what is known of each line: enough to put them into order.

    file = Growing(locked(path, os.O_CREAT), path)
    file.write(record)
    for line in file.lines(order): ...
"""

from __future__ import annotations

import fcntl
import os
from array import array
from collections.abc import Iterable, Iterator
from contextlib import suppress

from tmcli import streams
from tmcli.errors import OutputError
from tmcli.journal.order import Done, key_of
from tmcli.records import AnyRecord, Trajectory, encode


class Growing:
    """A file of lines, open and locked, with an index of 16 bytes a line."""

    def __init__(self, fd: int, path: str) -> None:
        self.fd = fd
        self.path = path
        self.size = 0
        """Bytes of whole lines."""
        self.done = Done()
        self.tasks = array("Q")
        """Key of the task of each line."""
        self.samples = array("I")
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
        self.tasks.append(key_of(task_id))
        self.samples.append(int(sample) if sample.isdecimal() and len(sample) < 10 else 0)
        self._sizes.append(size)
        self.size += size

    def take(self, lines: Iterable[tuple[Trajectory | None, bytes]]) -> bool:
        """Index the lines that are there, while they are good ones. Were all?"""
        for record, line in lines:
            whole = record is not None and len(line) == len(encode(record)) + 1
            if record is None or not whole or record.status != "ok" or record.id in self.done:
                return False
            answer = record.scores.get("answer")
            self.done.put(record.id, None if answer is None else answer == 1.0)
            self.index(record.id, len(line))
        return True

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


def locked(path: str, flags: int) -> int:
    """Open for appending, with more `flags`; nobody else may, where the file system knows locks. Raises
    `OutputError`."""
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
