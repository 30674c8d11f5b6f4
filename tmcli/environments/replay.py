"""Answers that were recorded: `--replay FILE` instead of the real tools, or `{"kind": "replay",
"recording": FILE, "task": id}` in a task. No tool is run and no server is asked.

FILE holds recordings (`--record`, see `recording.py`) or trajectories (any run's output; a reply that was
cut there stays cut), JSONL or Parquet, also gzip or zstd. Only where each line begins is kept in memory.

A call is looked up by task, then name and arguments; the n-th same call of an episode gets the n-th reply,
further ones the last. The recording of the same sample comes first (the latest, where an episode was played
again), then those of the task's other samples. A call that was never recorded is an error of the tool, and
counted. A call on which the machinery broke breaks again.
"""

from __future__ import annotations

import json
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from typing import IO, Any

import orjson

from tmcli import console, streams
from tmcli.environments import Observation
from tmcli.environments.machinery import Machinery
from tmcli.environments.recorded import Answer, calls, whose
from tmcli.errors import EnvironmentFailure, InputError
from tmcli.records import Json, Task


def open_session(task: Task, machinery: Machinery, sample: int = 0) -> ReplaySession:
    """A session that answers as `env.recording` says the tools of `env.task` (this one) answered."""
    path, of = task.env.get("recording"), task.env.get("task", task.id)
    if not isinstance(path, str) or not isinstance(of, str):
        raise InputError("no file of recordings", "correct the task", field="env.recording")
    return replay(path, machinery).over(of, sample)


def replay(path: str, machinery: Machinery) -> Replay:
    """The one of this file, which all sessions share."""
    return machinery.shared(f"replay:{path}", lambda: Replay(path))


class Replay:
    """A file of recordings and where in it each episode lies."""

    def __init__(self, path: str) -> None:
        """Reads the file once. Raises `InputError` with file and line for what is neither."""
        self.path = path
        self.missed = 0
        """Calls that were never recorded."""
        self.missed_tasks: set[str] = set()
        self._source = streams.open_source(path)
        self._file: IO[bytes] = self._source.file
        self._places: dict[str, list[tuple[int, int]]] = {}
        """Task -> (sample, offset) of its episodes, in the file's order."""
        try:
            for number, offset, line in self._lines():
                task, sample = whose(line, path, number)
                places = self._places.setdefault(task, [])
                places.append((len(places) if sample is None else sample, offset))
        except BaseException:
            self._close()
            raise

    def over(self, task_id: str, sample: int) -> ReplaySession:
        """A session of this task."""
        places = self._places.get(task_id, [])
        best_first = sorted(places, key=lambda place: (place[0] != sample, place[0], -place[1]))
        is_own = bool(best_first) and best_first[0][0] == sample
        return ReplaySession(self, task_id, [offset for _, offset in best_first], is_own)

    def answers(self, offset: int) -> dict[bytes, list[Answer]]:
        """What one episode's calls brought, by name and arguments."""
        self._file.seek(offset)
        answers: dict[bytes, list[Answer]] = {}
        for name, arguments, answer in calls(orjson.loads(self._file.readline())):
            answers.setdefault(key(name, arguments), []).append(answer)
        return answers

    async def aclose(self) -> None:
        self._close()
        if self.missed:
            n_calls = "1 call was" if self.missed == 1 else f"{self.missed} calls were"
            n_tasks = "1 task" if len(self.missed_tasks) == 1 else f"{len(self.missed_tasks)} tasks"
            console.warn(f"{n_calls} never recorded in {self.path} ({n_tasks}) and answered with an error")

    def _close(self) -> None:
        self._file.close()
        self._source.close()

    def _lines(self) -> Iterator[tuple[int, int, bytes]]:
        """(line number, offset in `_file`, line). What has no offsets of its own is spooled to a file."""
        head = self._file.read(4) if self._file.seekable() else b""
        if self._file.seekable():
            self._file.seek(0)
        if not self._file.seekable() or head in (streams.PARQUET, streams.ZSTD) or head[:2] == streams.GZIP:
            self._file = tempfile.TemporaryFile()  # noqa: SIM115 - open as long as we are
            self._file.writelines(_spooled(self._source, head))
            self._file.seek(0)
        return _located(self._file)


class ReplaySession:
    """An episode's tools, as they answered."""

    def __init__(self, recordings: Replay, task_id: str, offsets: list[int], is_own: bool) -> None:
        """`offsets` of the episodes to look into, the best first; `is_own`: that is this very episode."""
        self.recordings = recordings
        self.task_id = task_id
        self.is_own = is_own
        self._unread = offsets
        self._read: list[dict[bytes, list[Answer]]] = []
        self._made: Counter[bytes] = Counter()

    async def call(self, name: str, arguments: dict[str, Any]) -> Observation:
        started = time.perf_counter()
        wanted = key(name, arguments)
        nth = self._made[wanted]
        self._made[wanted] += 1
        answer = self._answer(wanted, nth)
        if isinstance(answer, str):
            raise EnvironmentFailure(answer)
        if answer is None:
            self.recordings.missed += 1
            self.recordings.missed_tasks.add(self.task_id)
            written = json.dumps(arguments, ensure_ascii=False, default=str)
            error = {"error": f"this call was never recorded: {name} {written}"}
            answer = False, orjson.dumps(error).decode()
        ok, text = answer
        return Observation(ok, text, (time.perf_counter() - started) * 1000)

    async def close(self) -> None:
        """Nothing was opened."""

    def _answer(self, wanted: bytes, nth: int) -> Answer | None:
        """Reads an episode only when those before it do not know the call."""
        for i in range(len(self._read) + len(self._unread)):
            if i == len(self._read):
                self._read.append(self.recordings.answers(self._unread.pop(0)))
            answers = self._read[i].get(wanted, [])
            if i > 0 or not self.is_own:  # another episode's failure is not ours
                answers = [answer for answer in answers if not isinstance(answer, str)]
            if answers:
                return answers[min(nth, len(answers) - 1)]
        return None


def key(name: str, arguments: Json) -> bytes:
    """The same for the same call, however its arguments are ordered.

    >>> key("f", {"a": 1, "b": [2]}) == key("f", {"b": [2], "a": 1})
    True
    """
    try:
        return orjson.dumps([name, arguments], option=orjson.OPT_SORT_KEYS)
    except (TypeError, orjson.JSONEncodeError):  # no record holds such arguments
        return repr([name, arguments]).encode("utf-8", "backslashreplace")


def _spooled(source: streams.Source, head: bytes) -> Iterator[bytes]:
    if head != streams.PARQUET:
        yield from streams.lines(source)
        return
    from tmcli import parquet

    for _, line in parquet.lines(source.file, source):
        yield line + b"\n"


def _located(file: IO[bytes]) -> Iterator[tuple[int, int, bytes]]:
    """Blank lines and a torn last one left out."""
    offset = 0
    for number, line in enumerate(file, 1):
        if line.strip() and (line.endswith(b"\n") or _is_json(line)):
            yield number, offset, line
        offset += len(line)


def _is_json(line: bytes) -> bool:
    try:
        orjson.loads(line)
    except orjson.JSONDecodeError:
        return False
    return True
