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
from contextlib import ExitStack, closing, contextmanager
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
            if path in ("-", "/dev/stdout"):
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
        elif not line.isspace():
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
    path: str,
    *,
    to: Form | None = None,
    force: bool = False,
    flush_each: bool = False,
    per_file: int | None = None,
) -> Iterator[LineWriter]:
    """Where records go: stdout (`-`), or a file that appears whole when all went well.

    stdout gets blocks while records are quick, else each record at once; `flush_each`: always at once.
    `per_file`: as many records a file, `out.jsonl` is out-00000.jsonl, out-00001.jsonl ... then.
    """
    form = form_of(path, to)
    if per_file is not None:
        if path == "-" or streams.is_device(path):
            problem = f"{path} is one stream, not files of {per_file} records"
            raise UsageError(problem, "name a file: -o out.jsonl")
        with streams.NewFiles(path, force=force) as files, Parts(files, path, form, per_file) as parts:
            yield parts
        return
    if path in ("-", "/dev/stdout"):
        out = streams.stdout()
        with _writer(out, form, 0.0 if flush_each else 0.2) as writer:
            yield writer
        out.flush()
        return
    with streams.new_file(path, force=force) as sink, _file(sink, path, form) as writer:
        yield writer


@contextmanager
def _file(sink: streams.Sink, path: str, form: Form) -> Iterator[LineWriter]:
    """A file is never flushed early: in gzip and zstd that would make the bytes depend on the clock."""
    with (
        sink.buffered() as out,
        _packed(out, path) as packed,
        _writer(packed, form, inf) as writer,
    ):
        yield writer


class Parts:
    """One file after the other, each of `per_file` records; without any record one that is empty."""

    def __init__(self, files: streams.NewFiles, path: str, form: Form, per_file: int) -> None:
        self._files, self._path, self._form, self._per_file = files, path, form, per_file
        self._n = per_file
        self._out: LineWriter | None = None
        self._open = ExitStack()

    def write(self, record: AnyRecord) -> None:
        self.write_line(encode(record))

    def write_line(self, line: bytes) -> None:
        if self._out is None or self._n == self._per_file:
            self._out = self._next()
        self._out.write_line(line)
        self._n += 1

    def _next(self) -> LineWriter:
        self._open.close()
        self._n = 0
        sink = self._open.enter_context(self._files.next())
        self._open.callback(sink.sync)
        return self._open.enter_context(_file(sink, self._path, self._form))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: Any) -> None:
        if error[0] is None and self._out is None:
            self._next()
        self._open.__exit__(*error)


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
