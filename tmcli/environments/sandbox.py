"""Tool code runs here, never in our process: one child per session, forked by a warm process of its own.

    sandbox = Sandbox(timeout_s=10.0, memory_mb=512)
    session = sandbox.open({"kind": "python", "codes": {"f": "def f(): return 1"}}, check=...)
    observation = await session.call("f", {})
    await session.close()
    await sandbox.close()

Two clocks bound a call: a kernel timer in the child and one here, a second later. What the tool's code
does wrong (loops, crashes, exits, prints, returns nonsense) is an answer for the model. After a kill the
next call gets a fresh child in which the earlier calls are made again, so what they changed is still so.
`EnvironmentFailure` means that our own machinery broke. See `zygote.py` for what is locked, and why this
is **not a security boundary**; `holds.py` tries it out on this machine.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import functools
import json
import marshal
import secrets
import shutil
import signal
import socket
import struct
import subprocess
import sys
import sysconfig
import tempfile
import time
import warnings
from collections.abc import Callable
from enum import Enum, auto
from pathlib import Path
from typing import Any

from tmcli.environments import Observation
from tmcli.errors import EnvironmentFailure
from tmcli.records import Json

ZYGOTE = Path(__file__).with_name("zygote.py")
GRACE_S = 1.0
"""How much later the clock out here strikes than the one in the child."""
MAX_FRAME_BYTES = 70_000
"""More than the child's loop ever sends: a longer frame is not its own."""
NONCE_BYTES = 16
"""Go out with each request and come back with its reply: none can be written before it was asked for."""

ENVIRONMENT = {
    "PYTHONUTF8": "1",
    "TZ": "UTC",
    "OMP_NUM_THREADS": "1",  # numpy's libraries end a process in which they may start no thread
    "OPENBLAS_NUM_THREADS": "1",
    "MKL_NUM_THREADS": "1",
}
"""All that tool code finds there: nothing of ours, and the same on every machine."""

_MESSAGE = struct.Struct("!cIi")
_LENGTH = struct.Struct("!I")

Check = Callable[[str, Json], str | None]
"""What is wrong with a call's name and arguments, before any tool code runs."""


class _ZygoteDied(Exception):
    """The process that forks is gone, and its children with it."""


class _ToolFault(Exception):
    """The tool's code gave no proper answer; the child is of no more use."""


class _Zygote:
    """The warm process, and the control socket to it. Belongs to one event loop."""

    def __init__(self, timeout_s: float, memory_mb: int, hash_seed: int) -> None:
        self.loop = asyncio.get_running_loop()
        self.dead = False
        self.ends: dict[int, asyncio.Future[tuple[bytes, int] | None]] = {}
        self.n_opened = 0
        self.folder = tempfile.mkdtemp(prefix="tm-sandbox-")
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
            socket.send_fds(self.control, [_MESSAGE.pack(b"o", self.n_opened, 0)], [theirs.fileno()])
        except OSError as error:
            ours.close()
            self._died()
            raise _ZygoteDied from error
        finally:
            theirs.close()
        return self.n_opened, ours

    def kill(self, number: int) -> None:
        """End a child and all of its process group."""
        self.ends.pop(number, None)
        if self.dead:
            return
        try:
            self.control.sendall(_MESSAGE.pack(b"k", number, 0))
        except OSError:
            self._died()

    def _listen(self) -> None:
        try:
            message = self.control.recv(_MESSAGE.size, socket.MSG_WAITALL)
        except OSError:
            message = b""
        if len(message) < _MESSAGE.size:
            self._died()
            return
        what, number, value = _MESSAGE.unpack(message)
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


class Sandbox:
    """The machinery all sessions share."""

    def __init__(self, timeout_s: float = 10.0, memory_mb: int = 512, hash_seed: int = 0) -> None:
        self.timeout_s = timeout_s
        self.memory_mb = memory_mb
        self.hash_seed = hash_seed
        """Another one tells code that goes by the order of a set."""
        self.sessions: set[SandboxSession] = set()
        self._zygote: _Zygote | None = None

    def open(self, spec: Json, check: Check) -> SandboxSession:
        """A session over `spec` (see `zygote.TOOLS`); its child is forked at the first call."""
        session = SandboxSession(self, spec, check)
        self.sessions.add(session)
        return session

    async def zygote(self) -> _Zygote:
        """A living one, started when there is none."""
        if self._zygote is not None and not self._zygote.usable:
            gone, self._zygote = self._zygote, None
            await gone.stop()
        if self._zygote is None:  # asked again: another session may have been faster while we waited
            self._zygote = _Zygote(self.timeout_s, self.memory_mb, self.hash_seed)
        return self._zygote

    async def close(self) -> None:
        """End all children. May be called twice, and used again."""
        for session in list(self.sessions):
            await session.close()
        if self._zygote is not None:
            gone, self._zygote = self._zygote, None
            await gone.stop()


class SandboxSession:
    """One episode's tools, in one child."""

    def __init__(self, sandbox: Sandbox, spec: Json, check: Check) -> None:
        self.sandbox = sandbox
        self.spec = spec
        self.check = check
        self.history: list[tuple[str, Json]] = []
        """Calls that were answered: a fresh child makes them again, for what they changed."""
        self._child: _Child | None = None
        self._closed = False
        self._turn = asyncio.Lock()

    async def call(self, name: str, arguments: dict[str, Any]) -> Observation:
        """Call a tool. Calls made at once are done in order. Raises `EnvironmentFailure` only."""
        async with self._turn:
            started = time.perf_counter()
            ok, text = await self._answer(name, arguments)
            return Observation(ok, text, (time.perf_counter() - started) * 1000)

    async def close(self) -> None:
        """End the child. May be called twice."""
        self._closed = True
        self._drop()
        self.sandbox.sessions.discard(self)

    async def _answer(self, name: str, arguments: Json) -> tuple[bool, str]:
        try:
            request = json.dumps([name, arguments]).encode()
        except (TypeError, ValueError, RecursionError):
            return False, _error("the arguments are not JSON")
        wrong = self.check(name, arguments)
        if wrong is not None:
            return False, _error(wrong)
        for _ in range(2):  # the second time with a new zygote
            try:
                mark, text = await self._exchange(request)
            except _ZygoteDied:
                continue
            except _ToolFault as fault:
                return False, _error(str(fault))
            if mark == b"!":
                raise EnvironmentFailure(
                    f"the tools' world cannot be built: {text}", "correct the toolbox's tools.py"
                )
            self.history.append((name, arguments))
            return mark == b"+", text
        raise EnvironmentFailure("the sandbox process died twice in one call", "see this machine's memory")

    async def _exchange(self, request: bytes) -> tuple[bytes, str]:
        opening = b""
        if self._closed:
            raise EnvironmentFailure("the session is closed", "open one per episode")
        if self._child is None:
            self._child = _Child(await self.sandbox.zygote(), self.sandbox.timeout_s)
            opening = _frame(json.dumps({**self.spec, "history": self.history}).encode())
        try:
            return await self._child.ask(opening, request)
        except BaseException:  # cancelled ones too: what it would still send belongs to no later call
            self._drop()
            raise

    def _drop(self) -> None:
        child, self._child = self._child, None
        if child is not None:
            child.close()


class _End(Enum):
    """What comes instead of a reply."""

    CLOSED = auto()
    LATE = auto()
    FORGED = auto()


class _Child:
    """Our end of one forked child: one reader and one timer for all of its life."""

    def __init__(self, zygote: _Zygote, timeout_s: float) -> None:
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
        """Send, and wait for the reply: its mark and text. Raises `_ToolFault` or `_ZygoteDied`."""
        nonce = secrets.token_bytes(NONCE_BYTES)
        self.deadline = self.loop.time() + self.timeout_s + GRACE_S
        self.reply = self.loop.create_future()
        reply = self.end or await self._sent(opening + _frame(nonce + request)) or await self.reply
        self.reply = None
        if reply is _End.LATE:
            raise _ToolFault(self._late)
        if reply is _End.CLOSED:
            raise await self._why_ended()
        if reply is _End.FORGED or not reply.startswith(nonce):
            raise _ToolFault("the tool wrote into the channel of its replies")
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
        n_bytes = len(self.data) - _LENGTH.size
        if n_bytes >= 0:
            (size,) = _LENGTH.unpack_from(self.data)
            if self.reply is None or not NONCE_BYTES < size <= MAX_FRAME_BYTES or n_bytes > size:
                self._over(_End.FORGED)  # nobody asked, or no frame that our loop would send
            elif n_bytes == size and not self.reply.done():
                self.reply.set_result(bytes(self.data[_LENGTH.size :]))
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
            return _ZygoteDied()
        await asyncio.wait([end], timeout=GRACE_S)
        if not end.done():
            return _ToolFault("the tool closed the channel of its replies")
        told = end.result()
        if told is None:
            return _ZygoteDied()
        what, code = told
        if what == b"f":
            return EnvironmentFailure("no process can be forked for the tools", "lower --concurrency")
        if code == -signal.SIGALRM:
            return _ToolFault(self._late)
        if code < 0:
            return _ToolFault(f"the tool crashed ({signal.Signals(-code).name})")
        return _ToolFault(f"the tool ended its own process (exit code {code})")

    def close(self) -> None:
        if self.timer is not None:
            self.timer.cancel()
        if not self.loop.is_closed():
            self.loop.remove_reader(self.channel)
        self.channel.close()
        self.zygote.kill(self.number)


@functools.lru_cache(maxsize=64)
def code(name: str, source: str) -> dict[str, str]:
    """A source as part of a spec. One that many sessions share is compiled here, once, and run by their
    children; a wrong one is sent as it is, and the child says what is wrong."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about its escapes and comparisons: its author's matter
            compiled = compile(source, f"<{name}>", "exec", dont_inherit=True, optimize=0)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return {"source": source}
    return {"compiled": base64.b64encode(marshal.dumps(compiled)).decode()}


def _frame(data: bytes) -> bytes:
    return _LENGTH.pack(len(data)) + data


def _error(sentence: str) -> str:
    return json.dumps({"error": sentence}, ensure_ascii=False)
