"""The warm process that forks children, seen from our side (`zygote.py` is its own; `child.py`, one of them).

    zygote = Zygote(timeout_s=10.0, memory_mb=512, hash_seed=0)
    number, channel, ended = await zygote.open()
    zygote.kill(number)
    await zygote.stop()

Nothing here makes the event loop wait: what the control socket does not take at once is sent when it does,
and a slow process is waited for. Only its end is an end.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
import shutil
import signal
import socket
import subprocess
import sys
import sysconfig
import tempfile
from collections import deque
from pathlib import Path

from tmcli.environments.zygote import BORN, DIED, FOLDER_PREFIX, KILL, MESSAGE, OPEN
from tmcli.errors import EnvironmentFailure

ZYGOTE = Path(__file__).with_name("zygote.py")
NOT_NOW = (errno.ETOOMANYREFS, errno.ENOBUFS, errno.ENOMEM)
"""What a socket says of sockets that it cannot carry yet."""
MAX_FORKS = 16
"""So many children may be asked for and not yet born: the others wait for their turn."""
ENVIRONMENT = {
    "PYTHONUTF8": "1",
    "TZ": "UTC",
    "OMP_NUM_THREADS": "1",  # numpy's libraries end a process in which they may start no thread
    "OPENBLAS_NUM_THREADS": "1",
    "MKL_NUM_THREADS": "1",
}
"""All that tool code finds there: nothing of ours, and the same on every machine."""


class ZygoteDied(Exception):
    """The process that forks is gone, and its children with it."""


class Zygote:
    """The warm process, and the control socket to it. Belongs to one event loop."""

    def __init__(self, timeout_s: float, memory_mb: int, hash_seed: int) -> None:
        self.loop = asyncio.get_running_loop()
        self.dead = False
        self.n_opened = 0
        self._forks = asyncio.Semaphore(MAX_FORKS)
        self._births: dict[int, asyncio.Future[int | None]] = {}
        """Asked for -> 0, or why it could not be forked."""
        self._ends: dict[int, asyncio.Future[int | None]] = {}
        """Not told to be over -> its exit code. None in both: this process is gone."""
        self._unsent: deque[tuple[bytes, socket.socket | None]] = deque()
        self._heard = bytearray()
        try:
            self.folder = tempfile.mkdtemp(prefix=FOLDER_PREFIX)
            self.control, theirs = socket.socketpair()
        except OSError as error:
            raise _cannot_start(error) from error
        flags = ("-s", "-P", "-S", "-B")  # not -I, which would ignore the hash seed below
        options = (theirs.fileno(), timeout_s, memory_mb)
        site = sorted({sysconfig.get_path("purelib"), sysconfig.get_path("platlib")})
        try:
            self.process = subprocess.Popen(
                [sys.executable, *flags, ZYGOTE, *map(str, options), *site],
                env=ENVIRONMENT | {"PYTHONHASHSEED": str(hash_seed)},  # sets in the same order every time
                cwd=self.folder,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                pass_fds=[theirs.fileno()],
                start_new_session=True,  # Ctrl-C is for us; we end it
            )
        except OSError as error:
            self.control.close()
            shutil.rmtree(self.folder, ignore_errors=True)
            raise _cannot_start(error) from error
        finally:
            theirs.close()
        self.control.setblocking(False)
        self.loop.add_reader(self.control, self._listen)

    @property
    def usable(self) -> bool:
        return not self.dead and self.loop is asyncio.get_running_loop() and self.process.poll() is None

    async def open(self) -> tuple[int, socket.socket, asyncio.Future[int | None]]:
        """Have a child forked; returns its number, our end of its socket, and what will tell its end."""
        async with self._forks:
            if self.dead:
                raise ZygoteDied
            try:
                ours, theirs = socket.socketpair()
            except OSError as error:
                raise EnvironmentFailure(
                    f"no socket can be made for the tools: {error.strerror}",
                    "lower --concurrency, or raise this machine's limit on open files (ulimit -n)",
                ) from error
            ours.setblocking(False)
            self.n_opened += 1
            number = self.n_opened
            birth = self._births[number] = self.loop.create_future()
            end = self._ends[number] = self.loop.create_future()
            self._send(MESSAGE.pack(OPEN, number, 0), theirs)
            try:
                problem = await birth
            except BaseException:  # cancelled
                ours.close()
                self.kill(number)
                raise
            if problem == 0:
                return number, ours, end
            ours.close()
            if problem is None:
                raise ZygoteDied
            raise EnvironmentFailure(
                f"no process can be forked for the tools: {os.strerror(problem)}",
                "lower --concurrency, or raise this machine's limit on processes (ulimit -u)",
            )

    def kill(self, number: int) -> None:
        """End a child and all of its process group, if it has not ended."""
        if number in self._ends and not self.dead and not self.loop.is_closed():
            self._send(MESSAGE.pack(KILL, number, 0))

    def _send(self, message: bytes, theirs: socket.socket | None = None) -> None:
        self._unsent.append((message, theirs))
        if len(self._unsent) == 1:
            self._flush()

    def _flush(self) -> None:
        while self._unsent and not self.dead:
            message, theirs = self._unsent[0]
            try:
                if theirs is None:
                    n_sent = self.control.send(message)
                else:
                    n_sent = socket.send_fds(self.control, [message], [theirs.fileno()])
            except BlockingIOError:
                self.loop.add_writer(self.control, self._flush)
                return
            except OSError as error:
                if error.errno in NOT_NOW:
                    self.loop.remove_writer(self.control)
                    self.loop.call_later(0.1, self._flush)
                else:
                    self._died()
                return
            if theirs is not None:
                theirs.close()
            if n_sent < len(message):
                self._unsent[0] = message[n_sent:], None
            else:
                self._unsent.popleft()
        if not self.dead:
            self.loop.remove_writer(self.control)

    def _listen(self) -> None:
        try:
            data = self.control.recv(4096)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if not data:
            self._died()
            return
        self._heard += data
        n_whole = len(self._heard) // MESSAGE.size * MESSAGE.size
        for what, number, value in MESSAGE.iter_unpack(self._heard[:n_whole]):
            if what != BORN:  # DIED, or FAILED: both are an end
                _tell(self._ends.pop(number, None), value)
            if what != DIED:
                _tell(self._births.pop(number, None), value)
        del self._heard[:n_whole]

    def _died(self) -> None:
        self.dead = True
        if not self.loop.is_closed():
            self.loop.remove_reader(self.control)
            self.loop.remove_writer(self.control)
        for futures in (self._births, self._ends):
            for future in futures.values():
                _tell(future, None)
            futures.clear()
        for _, theirs in self._unsent:
            if theirs is not None:
                theirs.close()
        self._unsent.clear()

    async def stop(self) -> None:
        """It ends by itself when the control socket closes, and takes its children with it."""
        self._died()
        with contextlib.suppress(OSError):
            self.control.shutdown(socket.SHUT_RDWR)  # an end even where a fork of ours holds a copy
        self.control.close()
        for _ in range(200):
            if self.process.poll() is not None:
                break
            await asyncio.sleep(0.01)
        else:
            self.process.kill()
            self.process.wait()
        shutil.rmtree(self.folder, ignore_errors=True)


def _tell(future: asyncio.Future[int | None] | None, value: int | None) -> None:
    if future is not None and not future.done() and not future.get_loop().is_closed():
        future.set_result(value)


def _cannot_start(error: OSError) -> EnvironmentFailure:
    remedy = "see the limits of this machine"
    return EnvironmentFailure(f"the sandbox process cannot be started: {error.strerror}", remedy)


def signal_name(number: int) -> str:
    """Real-time signals have none.

    >>> signal_name(9), signal_name(40)
    ('SIGKILL', 'signal 40')
    """
    return signal.Signals(number).name if number in {*signal.Signals} else f"signal {number}"
