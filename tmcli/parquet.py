"""Records as Parquet, and back byte for byte.

Columns: `kind`, `v`, the kind's known fields, `extra`, `line`. Strings and numbers have their own type;
everything nested is JSON *text* and marked as such (Arrow's and Parquet's JSON type), since Arrow merges
differing schemas and leaks keys between rows; `datasets.load_dataset` gives it back as it was. A null
is a field that is left out (or null, where null says something). `line` holds the line as it was read,
where it could not be spelled again from the other columns (odd spacing, unusual key order, `1` for `1.0`).

Only imported where Parquet is read or written; pyarrow is heavy.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from typing import IO, Any

import orjson
import pyarrow as pa
import pyarrow.parquet as pq

from tmcli.errors import InputError, OutputError
from tmcli.records import KINDS, VERSION, AnyRecord, Json, decode, encode, known_fields
from tmcli.streams import Source, unwritable

STRINGS = {
    *("id", "check", "source"),  # task
    *("prediction", "stop", "status", "failure"),  # trajectory
    *("task_id", "step", "output"),  # score, run
}
NUMBERS = {"reward", "seconds"}
NULLS = {"prediction", "reward", "correct"}
"""Fields whose null is written, see `records.to_json`."""
MARK = b"tm.kind"
"""Schema metadata: the kind of the rows, empty where there are none."""

GROUP_ROWS, GROUP_BYTES = 1000, 32 << 20
"""A row group ends at either, so that memory stays bounded."""


def schema(kind: str) -> pa.Schema:
    """The columns of a kind; of no kind when there was no record."""
    names = known_fields(KINDS[kind]) if kind else []
    types = [(name, _type(name)) for name in names]
    ends = [("extra", pa.json_()), ("line", pa.string())]
    columns = [("kind", pa.string()), ("v", pa.int32()), *types, *ends]
    return pa.schema(columns, metadata={MARK: kind.encode(), b"tm.v": str(VERSION).encode()})


def _type(name: str) -> pa.DataType:
    if name in NUMBERS:
        return pa.float64()
    return pa.string() if name in STRINGS else pa.json_()


def to_row(kind: str, line: bytes) -> Json:
    """A record's line -> its columns."""
    value = orjson.loads(line)
    row: Json = {"kind": kind, "v": VERSION}
    del value["kind"], value["v"]
    for name in known_fields(KINDS[kind]):
        item = value.pop(name, None)
        if item is None or name in STRINGS:
            row[name] = item
        else:
            row[name] = float(item) if name in NUMBERS else _text(item)
    row["extra"] = _text(value)
    row["line"] = None
    if to_line(row) != line:
        row["line"] = line.decode()
    return row


def to_line(row: Json) -> bytes:
    """Columns -> the record's line: the one that was kept, else spelled as `records.encode` does."""
    if row["line"] is not None:
        return bytes(row["line"].encode())
    kind = row["kind"]
    parts = [b'{"kind":"%s","v":%d' % (kind.encode(), row["v"])]
    for name in known_fields(KINDS[kind]):
        item = row[name]
        if item is None and name not in NULLS:
            continue
        spelled = orjson.dumps(item) if item is None or name in STRINGS or name in NUMBERS else item.encode()
        parts.append(b'"%s":%s' % (name.encode(), spelled))
    if row["extra"] not in (None, "{}"):
        parts.append(row["extra"][1:-1].encode())
    return b",".join(parts) + b"}"


def _text(value: Any) -> str | None:
    try:
        return orjson.dumps(value).decode()
    except orjson.JSONEncodeError:  # deeper than orjson writes, though it read it: `line` holds it
        return None


# ---- reading -------------------------------------------------------------------------------------


def lines(stream: IO[bytes], source: Source) -> Iterator[tuple[int, bytes]]:
    """(row number from 1, line). A stream that cannot seek is spooled to a temporary file."""
    if source.file.seekable():
        yield from _rows(source.file, source.name)
        return
    with tempfile.TemporaryFile() as spool:
        try:
            shutil.copyfileobj(stream, spool, 1 << 20)
        except OSError as error:
            raise unwritable(f"the temporary copy of {source.name}", error) from error
        yield from _rows(spool, source.name)


def _rows(file: IO[bytes], name: str) -> Iterator[tuple[int, bytes]]:
    number = 0
    try:
        parquet = pq.ParquetFile(file, pre_buffer=False)
        metadata = parquet.schema_arrow.metadata or {}
        if MARK not in metadata:
            remedy = "tm tasks --from makes tasks of other people's rows"
            raise InputError("a Parquet file that tm did not write", remedy, source=name)
        if not metadata[MARK]:
            return
        for batch in parquet.iter_batches(batch_size=64, use_threads=False):
            for row in batch.to_pylist():
                number += 1
                yield number, to_line(row)
    except (pa.ArrowException, OSError) as error:
        problem = f"the Parquet file is damaged or cut off: {str(error).splitlines()[0]}"
        raise InputError(problem, "make or copy the file again", source=name) from error
    except (KeyError, AttributeError) as error:
        raise InputError(
            f"the columns are not those of version {VERSION}: {error}", "write it again with tm", source=name
        ) from error


# ---- writing -------------------------------------------------------------------------------------


class Rows:
    """Writes records of one kind, a row group at a time."""

    def __init__(self, out: IO[bytes]) -> None:
        self.out = out
        self.kind: str | None = None
        self.rows: list[Json] = []
        self.size = 0
        self.file: pq.ParquetWriter | None = None

    def write_line(self, line: bytes) -> None:
        self.write(decode(line))

    def write(self, record: AnyRecord) -> None:
        if self.kind not in (None, record.kind):
            raise OutputError(
                f"a {record.kind} record after {self.kind} records, and a Parquet file holds one kind",
                "write JSONL, or one file per kind",
            )
        self.kind = record.kind
        line = encode(record)
        self.rows.append(to_row(record.kind, line))
        self.size += len(line)
        if len(self.rows) >= GROUP_ROWS or self.size >= GROUP_BYTES:
            self.flush()

    def flush(self) -> None:
        columns = schema(self.kind or "")
        if self.file is None:
            self.file = pq.ParquetWriter(self.out, columns, compression="zstd")
        if self.rows:
            self.file.write_table(pa.Table.from_pylist(self.rows, columns))
            self.rows, self.size = [], 0


@contextmanager
def open_writer(out: IO[bytes]) -> Iterator[Rows]:
    """A writer; the file is complete when the block ends without an error."""
    writer = Rows(out)
    try:
        yield writer
        writer.flush()
        assert writer.file is not None
        writer.file.close()
    except BaseException:
        if writer.file is not None:
            writer.file.is_open = False  # else it writes its footer when it is collected
        raise
