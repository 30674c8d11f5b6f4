"""What the calls of a run brought, kept to be answered again by `replay.py`: `--record FILE`.

    recorder = Recorder("calls.jsonl", resume=False, force=False)
    session = recorder.over(session, task.id, sample)       # the outermost: what the model is told
    ...
    await recorder.aclose()

One line a session, appended at once when it closes; packed by name (`.gz`, `.zst`), each line a member of
its own. The file is made with the first line.

    {"kind": "recording", "v": 1, "task": "<id>", "sample": 0, "calls": [
        {"name": "find_book", "arguments": {"title": "Emma"}, "ok": true, "text": "{\\"book_id\\": 7}"}]}

A call that broke the episode has its `failure` where the others have `ok` and `text`.
"""

from __future__ import annotations

import gzip
from pathlib import Path
from typing import Any

import orjson

from tmcli import streams
from tmcli.environments import Observation, Session
from tmcli.errors import EnvironmentFailure, InputError, OutputError, UsageError
from tmcli.records import VERSION, Json

KIND = "recording"


class Recorder:
    """The file of a run's recordings."""

    def __init__(self, path: str, *, resume: bool = False, force: bool = False) -> None:
        """`resume` continues an existing file, `force` replaces it; without either it is refused."""
        if path in ("-", "/dev/stdout"):
            raise UsageError("--record cannot be stdout", "name a file")
        if path.endswith(".parquet"):
            raise UsageError(f"{path}: recordings are lines", "name it .jsonl, .jsonl.gz or .jsonl.zst")
        if not resume:
            streams.check_new(path, force=force, resumable=True)
        self.path = path
        self._goes_on = resume
        self._sink: streams.Sink | None = None

    def over(self, session: Session, task_id: str, sample: int) -> RecordedSession:
        """The session, with all that it answers written here when it closes."""
        return RecordedSession(self, session, task_id, sample)

    def write(self, recording: Json) -> None:
        """Append a line, whole and at once."""
        try:
            line = orjson.dumps(recording) + b"\n"
        except (TypeError, orjson.JSONEncodeError) as error:
            raise InputError(f"a call of task {recording['task']} is not JSON: {error}") from error
        if self._sink is None:
            self._sink = self._open()
        self._sink.write_all(_packed(line, self.path))

    async def aclose(self) -> None:
        """Have it on the disk. What is written afterwards is appended."""
        sink, self._sink = self._sink, None
        if sink is not None:
            sink.sync()
            sink.close()

    def _open(self) -> streams.Sink:
        goes_on, self._goes_on = self._goes_on, True
        if goes_on and Path(self.path).is_file():
            _mend(self.path)
        return streams.open_sink(self.path, streams.APPEND if goes_on else streams.FRESH)


class RecordedSession:
    """A session, and all that it answered."""

    def __init__(self, recorder: Recorder, session: Session, task_id: str, sample: int) -> None:
        self.recorder = recorder
        self.session = session
        self.recording: Json = {"kind": KIND, "v": VERSION, "task": task_id, "sample": sample}
        self.calls: list[Json] = []
        """In the order they were made, which need not be the order they were answered."""
        self._closed = False

    async def call(self, name: str, arguments: dict[str, Any]) -> Observation:
        made: Json = {"name": name, "arguments": arguments}
        self.calls.append(made)
        try:
            seen = await self.session.call(name, arguments)
        except EnvironmentFailure as failure:
            made["failure"] = str(failure)
            raise
        made |= {"ok": seen.ok, "text": seen.text}
        return seen

    async def close(self) -> None:
        await self.session.close()
        if self._closed:
            return
        self._closed = True
        failure = next((made["failure"] for made in self.calls if "failure" in made), None)
        if failure is not None:  # the calls beside it were given up for its sake
            self.calls = [made if "ok" in made else {**made, "failure": failure} for made in self.calls]
        answered = [made for made in self.calls if "ok" in made or "failure" in made]
        self.recorder.write({**self.recording, "calls": answered})


def _packed(line: bytes, path: str) -> bytes:
    if path.endswith(".gz"):
        return gzip.compress(line, 6, mtime=0)
    if path.endswith(".zst"):
        import zstandard

        return zstandard.ZstdCompressor().compress(line)
    return line


def _mend(path: str) -> None:
    """Drop a torn end, which a killed run may leave. `OutputError` for a file of another kind."""
    plain = not path.endswith((".gz", ".zst"))
    first = True
    with open(path, "rb") as file, streams.new_file(path, force=True) as sink, sink.buffered() as out:
        try:
            for line in streams.lines(streams.Source(path, file, None)):
                if first and not line.startswith(b'{"kind":"recording"'):
                    raise OutputError(f"{path} holds no recordings", "give --record another name")
                first = False
                if line.endswith(b"\n"):
                    out.write(line if plain else _packed(line, path))
        except InputError:
            pass  # the end is torn
