"""Streams of records: files, stdin and stdout, JSONL and Parquet, gzip and zstd.

    tasks = io.read(source, kind=Task)                      # a path or "-"; opened at once, read as you go
    with io.open_output(path, force=force) as out:          # call `read` first: it guards the input
        out.write(record)

Reading goes by content (the first bytes), writing by the file's name; memory is constant either way. A
file appears whole or not at all; slow steps append instead, see `journal`. `owned_stdout` keeps fd 1
for records. Nothing is printed here; the bytes are handled in `streams.py`, Parquet in `parquet.py`.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from contextlib import closing, contextmanager
from math import inf
from pathlib import Path
from time import monotonic
from typing import IO, Any, Literal, Protocol, Self, cast, overload

from tmcli import streams
from tmcli.errors import InputError, UsageError
from tmcli.records import AnyRecord, R, decode, encode, expect
from tmcli.streams import Source, owned_stdout

__all__ = [
    "Form", "LineWriter", "Rejects", "Writer", "count", "form_of", "open_output", "owned_stdout", "read",
    "read_lines", "reject",
]  # fmt: skip

Form = Literal["jsonl", "parquet"]
MAX_LINE = 64 << 20
"""A longer line is refused, read only this far."""

# ---- reading -------------------------------------------------------------------------------------


class Rejects:
    """Where broken lines go, byte for byte, and how many there were. Without a path they are only counted."""

    def __init__(self, path: str | None = None, *, force: bool = False) -> None:
        self.count = 0
        self.first: InputError | None = None
        """What was wrong with the first one."""
        self._path = path
        self._force = force
        self._sink: streams.Sink | None = None
        if path is not None:
            if path == "-":
                raise UsageError("--rejects cannot be stdout", "name a file")
            streams.check_new(path, force=force)

    def open(self) -> None:
        """Make the file, once the inputs that it must not replace are open."""
        if self._path is not None and self._sink is None:
            streams.check_new(self._path, force=self._force)
            self._sink = streams.open_sink(self._path, streams.FRESH)

    def add(self, error: InputError) -> None:
        """Count one more."""
        self.count += 1
        self.first = self.first or error

    def write(self, data: bytes) -> None:
        """Keep some of its bytes."""
        if self._sink:
            self._sink.write_all(data)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._sink:
            self._sink.close()


@overload
def read(source: str, *, kind: type[R], rejects: Rejects | None = None) -> Iterator[R]: ...
@overload
def read(source: str, *, kind: None = None, rejects: Rejects | None = None) -> Iterator[AnyRecord]: ...
def read(source: str, *, kind: type[Any] | None = None, rejects: Rejects | None = None) -> Iterator[Any]:
    """The records of a file or of stdin (`-`), of one kind or of any.

    What is missing or is a terminal is refused at once. A broken line is an `InputError` with its place,
    or goes to `rejects`. An empty stream has no records; what that means is the step's business.
    """
    opened = streams.open_source(source)
    if rejects is not None:
        rejects.open()
    return _records(opened, kind, rejects)


def read_lines(source: str, *, rejects: Rejects | None = None) -> tuple[str, Iterator[tuple[int, bytes]]]:
    """The name of a file or of stdin, and its lines with their numbers: to decode them elsewhere."""
    opened = streams.open_source(source)
    if rejects is not None:
        rejects.open()
    return opened.name, _numbered(opened, rejects)


def count(path: str) -> int | None:
    """How many records a file of lines holds at most; None: only reading can tell."""
    if not Path(path).is_file():
        return None
    try:
        with closing(streams.open_source(path)) as source:
            if source.file.read(4) == streams.PARQUET:
                return None
            source.file.seek(0)
            return sum(not line.isspace() for line in streams.lines(source))
    except (InputError, OSError):  # reading says so
        return None


def _records(source: Source, kind: type[Any] | None, rejects: Rejects | None) -> Iterator[Any]:
    for number, line in _numbered(source, rejects):
        try:
            record = decode(line)
            if kind is not None:
                record = expect(record, kind)
        except InputError as error:
            reject(error.at(source.name, number), rejects, line + b"\n")
            continue
        yield record


def _numbered(source: Source, rejects: Rejects | None) -> Iterator[tuple[int, bytes]]:
    """Lines of JSON, however they are stored."""
    try:
        head, stream = streams.sniff(source)
        if head == streams.PARQUET:
            from tmcli import parquet

            yield from parquet.lines(stream, source)
        else:
            yield from _lines(streams.decompress(head, stream), source.name, rejects)
    finally:
        source.close()


def _lines(stream: IO[bytes], name: str, rejects: Rejects | None) -> Iterator[tuple[int, bytes]]:
    """(line number, line without its newline), blank lines left out."""
    number = 0
    while True:
        number += 1
        line = _readline(stream, name, number)
        if not line:
            return
        if len(line) > MAX_LINE and not line.endswith(b"\n"):
            error = InputError(f"the line is longer than {MAX_LINE >> 20} MiB", "split or drop the record")
            reject(error.at(name, number), rejects, line)
            while rejects and line and not line.endswith(b"\n"):
                line = _readline(stream, name, number)
                rejects.write(line)
        elif line.strip():
            yield number, line.removesuffix(b"\n")


def _readline(stream: IO[bytes], name: str, number: int) -> bytes:
    try:
        return stream.readline(MAX_LINE + 1)
    except (EOFError, OSError, zlib.error) as error:  # BadGzipFile is an OSError
        raise _damaged(error).at(name, number) from error
    except Exception as error:
        if type(error).__module__.startswith("zstandard"):  # not imported where nothing is zstd
            raise _damaged(error).at(name, number) from error
        raise


def _damaged(error: Exception) -> InputError:
    return InputError(f"the stream is damaged or cut off here: {error}", "make or copy the file again")


def reject(error: InputError, rejects: Rejects | None, line: bytes) -> None:
    """Set a broken line aside, or stop."""
    if rejects is None:
        raise error
    rejects.add(error)
    rejects.write(line)


# ---- writing -------------------------------------------------------------------------------------


class Writer(Protocol):
    """Where a step's records go."""

    def write(self, record: AnyRecord) -> None: ...


class LineWriter(Writer, Protocol):
    """One that takes records that are encoded already, too."""

    def write_line(self, line: bytes) -> None: ...


class Lines:
    """JSONL. What is written reaches the reader at the latest with the first record after `patience_s`."""

    def __init__(self, out: IO[bytes], patience_s: float = inf) -> None:
        self.out = out
        self.patience_s = patience_s
        self.flushed_at = monotonic()

    def write(self, record: AnyRecord) -> None:
        self.write_line(encode(record))

    def write_line(self, line: bytes) -> None:
        self.out.write(line + b"\n")
        now = monotonic()
        if now - self.flushed_at >= self.patience_s:
            self.out.flush()
            self.flushed_at = now


@contextmanager
def open_output(
    path: str, *, to: Form | None = None, force: bool = False, flush_each: bool = False
) -> Iterator[LineWriter]:
    """Where records go: stdout (`-`), or a file that appears whole when all went well.

    stdout gets blocks while records are quick, else each record at once; `flush_each`: always at once.
    """
    form = form_of(path, to)
    if path in ("-", "/dev/stdout"):
        out = streams.stdout()
        with _writer(out, form, 0.0 if flush_each else 0.2) as writer:
            yield writer
        out.flush()
        return
    # a file is never flushed early: in gzip and zstd that would make the bytes depend on the clock
    with (
        streams.new_file(path, force=force) as sink,
        sink.buffered() as out,
        _packed(out, path) as packed,
        _writer(packed, form, inf) as writer,
    ):
        yield writer


def form_of(path: str, to: Form | None = None) -> Form:
    """What `--to` says, else the name."""
    form = to or ("parquet" if path.endswith(".parquet") else "jsonl")
    if form == "parquet" and path.endswith((".gz", ".zst")):
        raise UsageError(f"{path}: Parquet is compressed inside", "name it .parquet")
    return form


@contextmanager
def _writer(out: IO[bytes], form: Form, patience_s: float) -> Iterator[LineWriter]:
    if form == "jsonl":
        yield Lines(out, patience_s)
        return
    from tmcli import parquet

    with parquet.open_writer(out) as writer:
        yield writer


@contextmanager
def _packed(out: IO[bytes], path: str) -> Iterator[IO[bytes]]:
    """Compressed as the name says. No time stamp: the same records give the same bytes."""
    if path.endswith(".gz"):
        import gzip

        with gzip.GzipFile("", "wb", 6, out, mtime=0) as packed:
            yield cast(IO[bytes], packed)
    elif path.endswith(".zst"):
        import zstandard

        with zstandard.ZstdCompressor().stream_writer(out, closefd=False) as stream:
            yield cast(IO[bytes], stream)
    else:
        yield out
