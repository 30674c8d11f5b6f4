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
is **not a security boundary**.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
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
from collections.abc import Callable
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
TOKEN_BYTES = 16

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

    def __init__(self, timeout_s: float, memory_mb: int) -> None:
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
                env={"PYTHONHASHSEED": "0", "PYTHONUTF8": "1"},  # nothing of ours, and sets in the same order
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

    def __init__(self, timeout_s: float = 10.0, memory_mb: int = 512) -> None:
        self.timeout_s = timeout_s
        self.memory_mb = memory_mb
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
            self._zygote = _Zygote(self.timeout_s, self.memory_mb)
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
            start = {**self.spec, "token": self._child.token.hex(), "history": self.history}
            opening = _frame(json.dumps(start).encode())
        try:
            return await self._child.ask(opening + _frame(request))
        except BaseException:  # cancelled ones too: what it would still send belongs to no later call
            self._drop()
            raise

    def _drop(self) -> None:
        child, self._child = self._child, None
        if child is not None:
            child.close()


class _Child:
    """Our end of one forked child."""

    def __init__(self, zygote: _Zygote, timeout_s: float) -> None:
        self.zygote = zygote
        self.timeout_s = timeout_s
        self.token = secrets.token_bytes(TOKEN_BYTES)
        self.number, self.channel = zygote.open()

    async def ask(self, frames: bytes) -> tuple[bytes, str]:
        """Send, and wait for the reply: its mark and text. Raises `_ToolFault` or `_ZygoteDied`."""
        loop = self.zygote.loop
        deadline = loop.time() + self.timeout_s + GRACE_S
        try:
            async with asyncio.timeout_at(deadline):
                await loop.sock_sendall(self.channel, frames)
            (size,) = _LENGTH.unpack(await self._receive(_LENGTH.size, deadline))
            if not TOKEN_BYTES < size <= MAX_FRAME_BYTES:
                raise _ToolFault("the tool wrote into the channel of its replies")
            body = await self._receive(size, deadline)
        except TimeoutError:
            raise _ToolFault(self._late) from None
        except (OSError, EOFError):
            raise await self._why_ended() from None
        if body[:TOKEN_BYTES] != self.token:
            raise _ToolFault("the tool wrote into the channel of its replies")
        return body[TOKEN_BYTES : TOKEN_BYTES + 1], body[TOKEN_BYTES + 1 :].decode("utf-8", "replace")

    @property
    def _late(self) -> str:
        return f"the tool gave no answer within {self.timeout_s:g} s"

    async def _receive(self, size: int, deadline: float) -> bytes:
        data = bytearray()
        while len(data) < size:
            late = not await self._readable(deadline)
            try:
                more = self.channel.recv(size - len(data))
            except BlockingIOError:
                if late:
                    raise TimeoutError from None
                continue
            if not more:
                raise EOFError
            data += more
        return bytes(data)

    async def _readable(self, deadline: float) -> bool:
        """Wait for bytes without taking them. `wait_for(sock_recv)` would lose a reply that came in time
        while the loop stood still (`runner.py` stops it between episodes) and call the tool late."""
        loop = self.zygote.loop
        woken: asyncio.Future[bool] = loop.create_future()

        def wake(readable: bool) -> None:
            if not woken.done():
                woken.set_result(readable)

        loop.add_reader(self.channel, wake, True)
        timer = loop.call_at(deadline, wake, False)
        try:
            return await woken
        finally:
            timer.cancel()
            if self.channel.fileno() >= 0:  # else closed under us
                loop.remove_reader(self.channel)

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
        if code in (-signal.SIGALRM, -signal.SIGXCPU):
            return _ToolFault(self._late)
        if code < 0:
            return _ToolFault(f"the tool crashed ({signal.Signals(-code).name})")
        return _ToolFault(f"the tool ended its own process (exit code {code})")

    def close(self) -> None:
        if not self.zygote.loop.is_closed():
            self.zygote.loop.remove_reader(self.channel)
        self.channel.close()
        self.zygote.kill(self.number)


def _frame(data: bytes) -> bytes:
    return _LENGTH.pack(len(data)) + data


def _error(sentence: str) -> str:
    return json.dumps({"error": sentence}, ensure_ascii=False)
