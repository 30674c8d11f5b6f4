"""The warm process and the children that it forks, seen from our side: `zygote.py` is theirs.

zygote = Zygote(timeout_s=10.0, memory_mb=512, hash_seed=0)
child = Child(zygote, timeout_s=10.0)
mark, text = await child.ask(frame(opening), request)
child.close()
await zygote.stop()
"""

from __future__ import annotations

import asyncio
import contextlib
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import sysconfig
import tempfile
from enum import Enum, auto
from pathlib import Path

from tmcli.environments.zygote import (
    FAILED,
    FOLDER_PREFIX,
    KILL,
    LENGTH,
    MESSAGE,
    NONCE_BYTES,
    OPEN,
)
from tmcli.errors import EnvironmentFailure

ZYGOTE = Path(__file__).with_name("zygote.py")
GRACE_S = 1.0
"""How much later the clock out here strikes than the one in the child."""
MAX_FRAME_BYTES = 70_000
"""More than the child's loop ever sends: a longer frame is not its own."""
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


class ToolFault(Exception):
    """The tool's code gave no proper answer; the child is of no more use."""


class Zygote:
    """The warm process, and the control socket to it. Belongs to one event loop."""

    def __init__(self, timeout_s: float, memory_mb: int, hash_seed: int) -> None:
        self.loop = asyncio.get_running_loop()
        self.dead = False
        self.ends: dict[int, asyncio.Future[tuple[bytes, int] | None]] = {}
        self.n_opened = 0
        self.folder = tempfile.mkdtemp(prefix=FOLDER_PREFIX)
        self.control, theirs = socket.socketpair()
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
            raise EnvironmentFailure(
                f"the sandbox process cannot be started: {error.strerror}", "see the limits of this machine"
            ) from error
        finally:
            theirs.close()
        self.control.settimeout(2.0)
        self.loop.add_reader(self.control, self._listen)

    @property
    def usable(self) -> bool:
        return not self.dead and self.loop is asyncio.get_running_loop() and self.process.poll() is None

    def open(self) -> tuple[int, socket.socket]:
        """Have a child forked; returns its number and our end of its socket."""
        ours, theirs = socket.socketpair()
        ours.setblocking(False)
        self.n_opened += 1
        self.ends[self.n_opened] = self.loop.create_future()
        try:
            socket.send_fds(self.control, [MESSAGE.pack(OPEN, self.n_opened, 0)], [theirs.fileno()])
        except OSError as error:
            ours.close()
            self._died()
            raise ZygoteDied from error
        finally:
            theirs.close()
        return self.n_opened, ours

    def kill(self, number: int) -> None:
        """End a child and all of its process group."""
        self.ends.pop(number, None)
        if self.dead:
            return
        try:
            self.control.sendall(MESSAGE.pack(KILL, number, 0))
        except OSError:
            self._died()

    def _listen(self) -> None:
        try:
            message = self.control.recv(MESSAGE.size, socket.MSG_WAITALL)
        except OSError:
            message = b""
        if len(message) < MESSAGE.size:
            self._died()
            return
        what, number, value = MESSAGE.unpack(message)
        end = self.ends.get(number)
        if end is not None and not end.done():
            end.set_result((what, value))

    def _died(self) -> None:
        self.dead = True
        if not self.loop.is_closed():
            self.loop.remove_reader(self.control)
        for end in self.ends.values():
            if not end.done():
                end.set_result(None)

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


class _End(Enum):
    """What comes instead of a reply."""

    CLOSED = auto()
    LATE = auto()
    FORGED = auto()


class Child:
    """Our end of one forked child: one reader and one timer for all of its life."""

    def __init__(self, zygote: Zygote, timeout_s: float) -> None:
        self.zygote = zygote
        self.loop = zygote.loop
        self.timeout_s = timeout_s
        self.number, self.channel = zygote.open()
        self.data = bytearray()
        self.reply: asyncio.Future[bytes | _End] | None = None
        """What the call that waits will get."""
        self.end: _End | None = None
        """Nothing more is read after it."""
        self.deadline = 0.0
        self.timer: asyncio.TimerHandle | None = None
        self.loop.add_reader(self.channel, self._read)

    async def ask(self, opening: bytes, request: bytes) -> tuple[bytes, str]:
        """Send, and wait for the reply: its mark and text. Raises `ToolFault` or `ZygoteDied`."""
        nonce = secrets.token_bytes(NONCE_BYTES)
        self.deadline = self.loop.time() + self.timeout_s + GRACE_S
        self.reply = self.loop.create_future()
        reply = self.end or await self._sent(opening + frame(nonce + request)) or await self.reply
        self.reply = None
        if reply is _End.LATE:
            raise ToolFault(self._late)
        if reply is _End.CLOSED:
            raise await self._why_ended()
        if reply is _End.FORGED or not reply.startswith(nonce):
            raise ToolFault("the tool wrote into the channel of its replies")
        return reply[NONCE_BYTES : NONCE_BYTES + 1], reply[NONCE_BYTES + 1 :].decode("utf-8", "replace")

    async def _sent(self, frames: bytes) -> _End | None:
        if self.timer is None:
            self.timer = self.loop.call_at(self.deadline, self._strike)
        try:
            n_sent = self.channel.send(frames)
        except BlockingIOError:
            n_sent = 0
        except OSError:
            return _End.CLOSED
        if n_sent < len(frames):  # large arguments: more than fits between two processes
            try:
                async with asyncio.timeout_at(self.deadline):
                    await self.loop.sock_sendall(self.channel, memoryview(frames)[n_sent:])
            except TimeoutError:
                return _End.LATE
            except OSError:
                return _End.CLOSED
        return None

    def _read(self) -> bool:
        """Take what is there; was there anything?"""
        try:
            data = self.channel.recv(16_384)
        except BlockingIOError:
            return False
        except OSError:
            data = b""
        if not data:
            self._over(_End.CLOSED)
            return False
        self.data += data
        n_bytes = len(self.data) - LENGTH.size
        if n_bytes >= 0:
            (size,) = LENGTH.unpack_from(self.data)
            if self.reply is None or not NONCE_BYTES < size <= MAX_FRAME_BYTES or n_bytes > size:
                self._over(_End.FORGED)  # nobody asked, or no frame that our loop would send
            elif n_bytes == size and not self.reply.done():
                self.reply.set_result(bytes(self.data[LENGTH.size :]))
                self.data.clear()
        return True

    def _over(self, end: _End) -> None:
        self.end = end
        self.loop.remove_reader(self.channel)
        if self.reply is not None and not self.reply.done():
            self.reply.set_result(end)

    def _strike(self) -> None:
        """The timer is set once and looks, when it rings, whether a later call still has time."""
        self.timer = None
        if self.reply is None or self.reply.done():
            return
        if self.loop.time() < self.deadline:
            self.timer = self.loop.call_at(self.deadline, self._strike)
            return
        # A reply that came in time while the loop stood still (`runner.py` stops it between episodes) is
        # still unread, and not late.
        while not self.reply.done() and self._read():
            pass
        if not self.reply.done():
            self.reply.set_result(_End.LATE)

    @property
    def _late(self) -> str:
        return f"the tool gave no answer within {self.timeout_s:g} s"

    async def _why_ended(self) -> Exception:
        end = self.zygote.ends.get(self.number)
        if end is None:
            return ZygoteDied()
        await asyncio.wait([end], timeout=GRACE_S)
        if not end.done():
            return ToolFault("the tool closed the channel of its replies")
        told = end.result()
        if told is None:
            return ZygoteDied()
        what, code = told
        if what == FAILED:
            return EnvironmentFailure("no process can be forked for the tools", "lower --concurrency")
        if code == -signal.SIGALRM:
            return ToolFault(self._late)
        if code < 0:
            return ToolFault(f"the tool crashed ({signal_name(-code)})")
        return ToolFault(f"the tool ended its own process (exit code {code})")

    def close(self) -> None:
        if self.timer is not None:
            self.timer.cancel()
        if not self.loop.is_closed():
            self.loop.remove_reader(self.channel)
        self.channel.close()
        self.zygote.kill(self.number)


def signal_name(number: int) -> str:
    """Real-time signals have none.

    >>> signal_name(9), signal_name(40)
    ('SIGKILL', 'signal 40')
    """
    return signal.Signals(number).name if number in {*signal.Signals} else f"signal {number}"


def frame(data: bytes) -> bytes:
    return LENGTH.pack(len(data)) + data
