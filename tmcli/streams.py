"""Bytes in and out: what `io.py` builds records on.

In: a file or stdin, decompressed as its first bytes say. Out: the real stdout, or a file that appears
whole or not at all. Every failure is a sentence. Knows nothing of records.
"""

from __future__ import annotations

import errno
import io
import os
import re
import select
import stat
import sys
import weakref
import zlib
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any, BinaryIO, Self, cast

from tmcli.errors import InputError, OutputError

PARQUET = b"PAR1"
GZIP = b"\x1f\x8b"
ZSTD = b"\x28\xb5\x2f\xfd"

# ---- in ------------------------------------------------------------------------------------------


class Source:
    """An opened file or stdin, as yet unread."""

    def __init__(self, name: str, file: BinaryIO, status: os.stat_result | None) -> None:
        self.name = name
        """As errors call it."""
        self.file = file
        self.stat = status
        """None where stdin is not a real file."""

    def close(self) -> None:
        """Read to the end, or given up."""
        _sources.discard(self)
        self.__del__()

    def __del__(self) -> None:  # opened at once, but the reading may never begin
        if self.name != "stdin":
            self.file.close()


_sources: weakref.WeakSet[Source] = weakref.WeakSet()


def reads_pipe() -> bool:
    """Is stdin a pipe that is being read?"""
    return any(s.name == "stdin" and s.stat and stat.S_ISFIFO(s.stat.st_mode) for s in _sources)


def open_source(path: str) -> Source:
    """Open a path or `-`, without waiting for its first bytes."""
    if path == "-":
        source = _stdin()
    else:
        try:
            file = open(path, "rb")  # noqa: SIM115 - `Source.close` closes it
        except OSError as error:
            raise _unreadable(path, error) from error
        source = Source(path, file, os.fstat(file.fileno()))
    _sources.add(source)
    return source


def _stdin() -> Source:
    if sys.stdin is None or sys.stdin.isatty():
        raise InputError("no input: stdin is a terminal", "name a file or pipe records in")
    try:
        status = os.fstat(sys.stdin.fileno())
    except OSError:  # replaced by an object without a descriptor, as test runners do
        return Source("stdin", sys.stdin.buffer, None)
    # a reader of our own: Python aborts at its end when a thread still waits in that of sys.stdin
    return Source("stdin", open(sys.stdin.fileno(), "rb", closefd=False), status)


def _unreadable(path: str, error: OSError) -> InputError:
    remedies: dict[type[OSError], str] = {
        FileNotFoundError: "check the name, or give - for stdin",
        IsADirectoryError: "name a file in it",
        PermissionError: "check the permissions",
    }
    problem = f"cannot be read: {(error.strerror or str(error)).lower()}"
    return InputError(problem, remedies.get(type(error), ""), source=path)


def sniff(source: Source) -> tuple[bytes, IO[bytes]]:
    """The first bytes, and a buffered stream that still begins with them."""
    try:
        head = source.file.read(4)
    except OSError as error:  # a folder opens, but does not read
        raise _unreadable(source.name, error) from error
    return head, io.BufferedReader(_Rest(head, source.file), 1 << 16)


def decompress(head: bytes, stream: IO[bytes]) -> IO[bytes]:
    """The stream itself, or what is inside its gzip or zstd."""
    if head.startswith(GZIP):
        import gzip

        return cast(IO[bytes], gzip.GzipFile(fileobj=stream))
    if head == ZSTD:
        return io.BufferedReader(_Unzstd(stream), 1 << 16)
    return stream


def lines(source: Source) -> Iterator[bytes]:
    """The lines of a source, decompressed. Raises `InputError` where it is damaged or cut off."""
    head, stream = sniff(source)
    try:
        yield from decompress(head, stream)
    except Exception as error:
        by_zstd = type(error).__module__.startswith("zstandard")  # not imported where nothing is zstd
        if by_zstd or isinstance(error, (EOFError, OSError, zlib.error)):
            problem = f"the stream is damaged or cut off: {error}"
            raise InputError(problem, "make or copy the file again", source=source.name) from error
        raise


class _Rest(io.RawIOBase):
    """A stream whose head was already taken from it. Hands on what is there, without waiting for more."""

    def __init__(self, head: bytes, stream: BinaryIO) -> None:
        self.head = head
        self.take = getattr(stream, "read1", stream.read)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        data, self.head = (self.head, b"") if self.head else (self.take(len(buffer)), b"")
        buffer[: len(data)] = data
        return len(data)


class _Unzstd(io.RawIOBase):
    """zstd, frame after frame. zstandard's own reader takes a torn end for the end."""

    # one block of 128 KiB may hide in 4 bytes, so a small step bounds what a hostile file unfolds to
    STEP = 2048

    def __init__(self, stream: IO[bytes]) -> None:
        import zstandard

        self.new = zstandard.ZstdDecompressor(max_window_size=1 << 27).decompressobj
        self.frame: Any = self.new()
        self.stream = stream
        self.fed = self.ready = b""

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        while not self.ready:
            data = self.fed or self.stream.read(self.STEP)
            if not data:
                if self.frame is not None and not self.frame.eof:
                    raise EOFError("the zstd stream is cut off")
                return 0
            if self.frame is None:
                self.frame = self.new()
            self.ready = self.frame.decompress(data)
            self.fed = b""
            if self.frame.eof:
                self.fed, self.frame = self.frame.unused_data, None
        size = min(len(self.ready), len(buffer))
        buffer[:size], self.ready = self.ready[:size], self.ready[size:]
        return size


# ---- out -----------------------------------------------------------------------------------------

FRESH = os.O_WRONLY | os.O_CREAT | os.O_TRUNC
APPEND = os.O_WRONLY | os.O_CREAT | os.O_APPEND
CREATE = os.O_WRONLY | os.O_CREAT | os.O_EXCL


class Sink(io.RawIOBase):
    """A descriptor to write to. A failure is an `OutputError`, once; after it, writes are dropped, so that
    the buffers and compressors above can be closed in peace. A reader that left is no failure: exit 0."""

    def __init__(self, fd: int, name: str) -> None:
        self.fd = fd
        self.name = name

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        if self.fd < 0:
            return len(data)
        while True:
            try:
                return os.write(self.fd, data)
            except BlockingIOError:  # some parents hand over a pipe that does not wait
                select.select([], [self.fd], [])
            except BrokenPipeError:
                self.drop()
                raise SystemExit(0) from None
            except KeyboardInterrupt:
                if not select.select([], [self.fd], [], 0)[1]:  # nobody reads: no flush may wait here again
                    self.drop()
                raise
            except OSError as error:
                self.drop()
                raise unwritable(self.name, error) from error

    def write_all(self, data: bytes) -> None:
        """Unbuffered, but whole."""
        while data:
            data = data[self.write(data) :]

    @contextmanager
    def buffered(self) -> Iterator[IO[bytes]]:
        """In blocks; nothing more is written once something went wrong."""
        out = io.BufferedWriter(self, 1 << 16)
        try:
            yield out
            out.flush()
        except BaseException:
            self.drop()
            raise
        finally:
            out.detach()

    def sync(self) -> None:
        """Have the bytes on the disk, where there is one."""
        if self.fd < 0:
            return
        try:
            os.fsync(self.fd)
        except OSError as error:
            if error.errno not in (errno.EINVAL, errno.EROFS, errno.ENOTSUP):  # a device, not a disk
                self.drop()
                raise unwritable(self.name, error) from error

    def drop(self) -> None:
        """Write nothing from here on."""
        fd, self.fd = self.fd, -1
        if fd >= 0:
            with suppress(OSError):
                os.close(fd)

    def close(self) -> None:
        super().close()
        self.drop()


def unwritable(name: str, error: OSError) -> OutputError:
    """The sentence for a failed write."""
    remedies = {
        errno.ENOSPC: "free some space, or write to another disk",
        errno.EFBIG: "raise the limit (ulimit -f), or write to another disk",
        errno.EDQUOT: "free some space, or write to another disk",
        errno.EACCES: "check the permissions, or write elsewhere",
        errno.EPERM: "check the permissions, or write elsewhere",
        errno.EROFS: "write elsewhere",
        errno.ENOENT: "make the folder first",
        errno.EISDIR: "name a file in it",
    }
    problem = f"cannot write {name}: {(error.strerror or str(error)).lower()}"
    return OutputError(problem, remedies.get(error.errno or 0, ""))


def check_new(path: str, *, force: bool, resumable: bool = False) -> None:
    """Refuse to write over an input, a folder or, without `force`, anything that is there."""
    try:
        there = Path(path).stat()
    except FileNotFoundError:
        return
    except OSError as error:
        raise unwritable(path, error) from error
    if stat.S_ISDIR(there.st_mode):
        raise OutputError(f"{path} is a folder", "name a file in it")
    if not stat.S_ISREG(there.st_mode):
        return
    if any(source.stat and os.path.samestat(source.stat, there) for source in _sources):
        raise OutputError(f"{path} is also the input", "write to another name")
    if not force:
        resume = "--resume to continue it, " if resumable else ""
        raise OutputError(f"{path} exists", f"use {resume}--force to replace it, or another name")


@contextmanager
def new_file(path: str, *, force: bool) -> Iterator[Sink]:
    """A file that appears whole at the end, or not at all. Devices and pipes are written directly."""
    check_new(path, force=force)
    if is_device(path):
        with open_sink(path, os.O_WRONLY) as sink:
            yield sink
        return
    final = Path(path).resolve()  # a link stays one
    part = _part(final)
    try:
        with open_sink(path, CREATE, at=str(part)) as sink:
            yield sink
            sink.sync()
        check_new(path, force=force)
        part.replace(final)
    except BaseException:
        with suppress(OSError):
            part.unlink()
        raise


def _part(final: Path) -> Path:
    """What a file is called while it grows."""
    return final.with_name(f".{final.name}.{os.getpid()}.tmp")


class NewFiles:
    """A set of files, `out.jsonl` as out-00000.jsonl, out-00001.jsonl ...: together at the end, or none.

    Raises `OutputError` where one of a set with this name is there, unless `force`: then it is replaced as a
    whole. As a context manager, it makes the set appear when the block ends without an error.
    """

    def __init__(self, path: str, *, force: bool) -> None:
        self._path = Path(path)
        name = re.fullmatch(r"(.+?)((?:\.[^.]+)?(?:\.gz|\.zst)?)", self._path.name)
        self._stem, self._suffix = name.groups() if name else (self._path.name, "")
        self._force = force
        self._finals: list[Path] = []
        self._check()

    def next(self) -> Sink:
        """The next file. Close the one before first."""
        final = self._path.with_name(f"{self._stem}-{len(self._finals):05d}{self._suffix}").resolve()
        sink = open_sink(str(final), CREATE, at=str(_part(final)))
        self._finals.append(final)
        return sink

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        try:
            if kind is None:
                self._appear()
        finally:
            for final in self._finals:
                with suppress(OSError):
                    _part(final).unlink()

    def _appear(self) -> None:
        there = self._check()
        done = 0
        try:
            for final in self._finals:
                _part(final).replace(final)
                done += 1
            for old in there:
                if old.resolve() not in self._finals:
                    old.unlink()
        except OSError as error:
            failed = unwritable(str(self._path), error)
            n = len(self._finals)
            raise OutputError(f"{failed.problem}; {done} of its {n} files are new", failed.remedy) from error

    def _check(self) -> list[Path]:
        """The files of such a set that are there and may be replaced."""
        name = re.compile(rf"{re.escape(self._stem)}-\d{{5,}}{re.escape(self._suffix)}")
        try:
            there = sorted(path for path in self._path.parent.iterdir() if name.fullmatch(path.name))
        except OSError as error:
            raise unwritable(str(self._path), error) from error
        for path in there:
            check_new(str(path), force=self._force)
        return there


def is_device(path: str) -> bool:
    """Is it there, but not as a file on a disk? Devices and pipes can be neither replaced nor continued."""
    return Path(path).exists() and not Path(path).is_file() and not Path(path).is_dir()


def open_sink(path: str, flags: int, *, at: str | None = None) -> Sink:
    """Open `at` (else `path`) for writing; errors speak of `path`."""
    try:
        return Sink(os.open(at or path, flags | os.O_CLOEXEC, 0o666), path)
    except OSError as error:
        raise unwritable(path, error) from error


# ---- stdout --------------------------------------------------------------------------------------

_stdout: io.BufferedWriter | None = None


@contextmanager
def owned_stdout() -> Iterator[None]:
    """Keep the real stdout for records and help: fd 1 becomes stderr for libraries, children and prints.

    Python's `sys.stdout` leads to the real one, for help and version, until `app.py` starts a command.
    """
    global _stdout  # noqa: PLW0603 - a process has one stdout
    for fd in range(3):  # a closed one would be given to the next file opened, and prints with it
        try:
            os.fstat(fd)
        except OSError:
            os.open(os.devnull, os.O_RDONLY if fd == 1 else os.O_RDWR)  # records do not vanish unseen
    before, real = sys.stdout, os.dup(1)
    if before is not None:
        before.flush()
    os.dup2(2, 1)
    _stdout = io.BufferedWriter(Sink(real, "stdout"), 1 << 16)
    sys.stdout = io.TextIOWrapper(_stdout, "utf-8", "backslashreplace")
    text = sys.stdout
    try:
        yield
        text.flush()
    except BaseException:
        with suppress(SystemExit, OutputError):  # what went wrong first is what counts
            text.flush()
        raise
    finally:
        sys.stdout, _stdout = before, None


def stdout() -> IO[bytes]:
    """The real stdout, buffered. Flush it, never close it."""
    return _stdout or cast(IO[bytes], sys.stdout.buffer)


def terminal() -> int | None:
    """The descriptor of the real stdout, where it is a terminal."""
    fd = cast(Sink, _stdout.raw).fd if _stdout else 1
    return fd if fd >= 0 and os.isatty(fd) else None
