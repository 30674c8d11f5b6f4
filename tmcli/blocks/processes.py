"""Work on blocks of lines, done by several processes of this machine; results come back in order.

    for block, verdicts in mapped(judge, blocks(sources), plan, n=2):
        for line, verdict in zip(block.lines, verdicts, strict=True): ...

A process is this file, run anew: it loads what the work needs and nothing else, is deaf to Ctrl-C (whoever
started it decides), and ends with its stdin, so it never outlives this process, however that ends.
"""

from __future__ import annotations

import os
import pickle
import struct
import subprocess
import sys
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from typing import IO, Any, TypeVar

from tmcli.blocks import Block
from tmcli.errors import RunError

T = TypeVar("T")
AHEAD = 2
"""Blocks on their way, for each process."""


def mapped(
    work: Callable[..., list[T]], coming: Iterable[Block], *arguments: Any, n: int
) -> Iterator[tuple[Block, list[T]]]:
    """`work(lines, *arguments)` of each block, a result a line, by `n` processes. What came before an error
    of `coming` is given before it."""
    crew = _Crew((work, arguments))
    waiting: deque[tuple[Block, Future[list[T]]]] = deque()
    failed: Exception | None = None
    threads = ThreadPoolExecutor(n, initializer=crew.join)
    try:
        blocks = iter(coming)
        while True:
            try:
                block = next(blocks, None)
            except Exception as error:  # noqa: BLE001 - raised below
                block, failed = None, error
            if block is None:
                break
            waiting.append((block, threads.submit(crew.ask, block.lines)))
            while waiting and (waiting[0][1].done() or len(waiting) >= AHEAD * n):
                yield waiting[0][0], waiting.popleft()[1].result()
        while waiting:
            yield waiting[0][0], waiting.popleft()[1].result()
        if failed is not None:
            raise failed
    finally:
        crew.dismiss()
        threads.shutdown(cancel_futures=True)


class _Crew:
    """The processes: each belongs to the thread that talks to it."""

    def __init__(self, job: Any) -> None:
        self._job = job
        self._own = threading.local()
        self._all: list[subprocess.Popen[bytes]] = []

    def join(self) -> None:
        """Start one, for this thread."""
        self._own.process = process = subprocess.Popen(
            [sys.executable, "-P", "-m", "tmcli.blocks.processes"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            start_new_session=True,  # Ctrl-C is not for it
            # it finds modules where this process does
            env=os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
        )
        self._all.append(process)
        _send(process.stdin, self._job)

    def ask(self, lines: list[bytes]) -> Any:
        process = self._own.process
        try:
            _send(process.stdin, lines)
            answer = _receive(process.stdout)
        except (OSError, ValueError, EOFError) as error:
            code = process.wait()
            raise RunError(
                f"one of the processes of --jobs ended ({f'signal {-code}' if code < 0 else f'exit {code}'})",
                "was it killed for its memory? try fewer --jobs",
            ) from error
        if isinstance(answer, BaseException):
            raise answer
        return answer

    def dismiss(self) -> None:
        """End them now; none holds anything that is to be kept."""
        for process in self._all:
            process.kill()
        for process in self._all:
            process.wait()
            for pipe in (process.stdin, process.stdout):
                assert pipe is not None
                with suppress(OSError):  # what was not yet sent
                    pipe.close()


def _send(pipe: IO[bytes] | None, what: Any) -> None:
    assert pipe is not None
    data = pickle.dumps(what, pickle.HIGHEST_PROTOCOL)
    pipe.write(struct.pack("<Q", len(data)))
    pipe.write(data)
    pipe.flush()


def _receive(pipe: IO[bytes] | None) -> Any:
    return pickle.loads(_whole(pipe, struct.unpack("<Q", _whole(pipe, 8))[0]))  # noqa: S301 - from ourselves


def _whole(pipe: IO[bytes] | None, size: int) -> bytes:
    assert pipe is not None
    data = pipe.read(size)
    if len(data) < size:  # the other side was killed in the middle
        raise EOFError
    return data


def serve() -> None:
    """A process of the crew: blocks on stdin, results on stdout. Prints of any library go to stderr."""
    out = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    inlet = sys.stdin.buffer
    try:
        work, arguments = _receive(inlet)
        while True:
            lines = _receive(inlet)
            answer: Any
            try:
                answer = work(lines, *arguments)
            except Exception as error:  # noqa: BLE001 - raised where it was asked for
                error.__traceback__ = None
                answer = error
            _send(out, answer)
    except (EOFError, BrokenPipeError):
        os._exit(0)  # whoever asked is gone


if __name__ == "__main__":
    import gc

    gc.set_threshold(50_000, 20, 100)  # as in `app.py`
    serve()
