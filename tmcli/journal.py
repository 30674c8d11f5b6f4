"""The output of slow steps: appended record by record, so that a stop keeps what is done.

    with open_journal(path, key=runner.key, resume=resume, force=force) as journal:
        for trajectory in runner.run(jobs(tasks, samples, journal.done)):
            journal.write(trajectory)

A plain JSONL file grows in place. What cannot grow (`.gz`, `.zst`, `.parquet`) grows as JSONL in
`FILE.part` and becomes the real file at the end, whole or not at all. `resume` keeps the good records,
and leaves out the invalid ones and a torn last line, so that they are made again.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from hashlib import blake2b
from pathlib import Path

from tmcli import io, streams
from tmcli.errors import InputError, OutputError, UsageError
from tmcli.records import AnyRecord, Trajectory, decode, encode, expect


class Order:
    """The order of the input: which tasks came, and when. About 80 bytes a task."""

    def __init__(self) -> None:
        self._tasks: dict[int, None] = {}

    def add(self, task_id: str) -> bool:
        """The next task. False: it came before."""
        n, key = len(self._tasks), _key(task_id)
        self._tasks[key] = None
        return len(self._tasks) > n


def _key(task_id: str) -> int:
    """60 bits of a hash: an int of that size takes 32 bytes."""
    return int.from_bytes(blake2b(task_id.encode(), digest_size=8).digest()) >> 4


@dataclass
class Journal:
    """An output to append to."""

    out: io.Writer
    done: set[str] = field(default_factory=set)
    """Ids of the good trajectories that are there already."""
    written: int = 0
    """Records added by this run."""

    def write(self, record: AnyRecord) -> None:
        """Append, and hand to the system at once."""
        self.out.write(record)
        self.written += 1


@dataclass
class Appender:
    """One write per record, straight to the file."""

    sink: streams.Sink

    def write(self, record: AnyRecord) -> None:
        self.sink.write_all(encode(record) + b"\n")


@contextmanager
def open_journal(
    path: str, *, key: str, resume: bool = False, force: bool = False, to: io.Form | None = None
) -> Iterator[Journal]:
    """Open the output of a slow step. `key` is the hash of the options that shape its records."""
    if resume and force:
        raise UsageError("--resume and --force contradict each other", "give one of them")
    if path in ("-", "/dev/stdout") or streams.is_device(path):
        if resume:
            raise UsageError("--resume needs a file to continue", "name one with -o")
        with io.open_output(path, to=to, flush_each=True) as out:
            yield Journal(out)
        return
    plain = io.form_of(path, to) == "jsonl" and not path.endswith((".gz", ".zst"))
    part = path if plain else f"{path}.part"
    done: set[str] = set()
    if resume:
        done = _repair(part if Path(part).exists() else path, part, key)
    else:
        streams.check_new(path, force=force, resumable=True)
        streams.check_new(part, force=force, resumable=True)
    with streams.open_sink(part, streams.APPEND if resume else streams.FRESH) as sink:
        journal = Journal(Appender(sink), done)
        try:
            yield journal
        except BaseException as error:
            kept = len(done) + journal.written
            if kept:
                error.add_note(f"{kept} records are kept in {part}; --resume continues")
            else:  # nothing to continue
                Path(part).unlink(missing_ok=True)
            raise
        sink.sync()
    if not plain:
        with io.open_output(path, to=to, force=True) as final:
            for record in io.read(part):
                final.write(record)
        Path(part).unlink()


def _repair(path: str, part: str, key: str) -> set[str]:
    """Write the good records of `path` to `part`, whole or not at all; their ids."""
    done: set[str] = set()
    if not Path(path).exists():
        return done
    with streams.new_file(part, force=True) as sink, sink.buffered() as out:
        for record in _there(path):
            if record.policy.get("key", "") != key:
                raise OutputError(
                    f"{path} was made with other options", "give the same ones, use --force, or another name"
                )
            if record.status == "ok" and record.id not in done:
                out.write(encode(record) + b"\n")
                done.add(record.id)
    return done


def _there(path: str) -> Iterator[Trajectory]:
    """The records of an earlier run, up to a torn last line."""
    if path.endswith((".gz", ".zst", ".parquet")):
        yield from io.read(path, kind=Trajectory)
        return
    with open(path, "rb") as lines:
        for number, line in enumerate(lines, 1):
            if not line.strip():
                continue
            try:
                record = expect(decode(line.removesuffix(b"\n")), Trajectory)
            except InputError as error:
                if not line.endswith(b"\n"):
                    return  # torn: the run was stopped while it wrote this line
                raise error.at(path, number) from error
            yield record
