"""Our end of one forked child, which serves the sessions that joined it. See `zygote.py` for its own.

    child = await Child.open(zygote, timeout_s=10.0)                  # for one session
    number = child.join()
    mark, text = await child.ask(number, frame(SPEC, number, spec), request)
    child.leave(number)                                               # and the child ends

A child of several sessions (`shared`) answers in the order it was asked. Its clock is that of the call it
is at: nobody is late for having waited. When it ends, that call has its fault, and the others are `Moved`.
"""

from __future__ import annotations

import asyncio
import secrets
import signal
import socket
from collections import deque
from enum import Enum, auto

from tmcli.environments.children import Zygote, ZygoteDied, signal_name
from tmcli.environments.zygote import CALL, HEAD, LEAVE, LENGTH, NONCE_BYTES

GRACE_S = 1.0
"""How much later the clock out here strikes than the one in the child."""
MAX_FRAME_BYTES = 70_000
"""More than the child's loop ever sends: a longer frame is not its own."""


class ToolFault(Exception):
    """The tool's code gave no proper answer; the child is of no more use."""


class Late(ToolFault):
    """Its time was up."""


class Moved(Exception):
    """A shared child ended, at another session's call: make this one again, in a new one."""


class _End(Enum):
    """What comes instead of a reply."""

    CLOSED = auto()
    LATE = auto()
    FORGED = auto()
    MOVED = auto()


class Child:
    """One reader, one writer and one timer for all of its life."""

    def __init__(
        self,
        zygote: Zygote,
        timeout_s: float,
        shared: bool,
        number: int,
        channel: socket.socket,
        ended: asyncio.Future[int | None],
    ) -> None:
        self.zygote = zygote
        self.loop = zygote.loop
        self.timeout_s = timeout_s
        self.shared = shared
        self.number = number
        self.channel = channel
        self.ended = ended
        self.sessions: set[int] = set()
        self.end: _End | None = None
        """Nothing more is read after it."""
        self._n_joined = 0
        self._heard = bytearray()
        self._unsent = bytearray()
        self._waiting: deque[tuple[bytes, asyncio.Future[bytes | _End]]] = deque()
        """Nonces and who waits for their replies, in the order they were asked."""
        self._deadline = 0.0
        """Of the first that waits."""
        self._timer: asyncio.TimerHandle | None = None
        self.loop.add_reader(channel, self._read)

    @classmethod
    async def open(cls, zygote: Zygote, timeout_s: float, shared: bool = False) -> Child:
        """A new one."""
        return cls(zygote, timeout_s, shared, *await zygote.open())

    def join(self) -> int:
        """The number of a new session here."""
        self._n_joined += 1
        self.sessions.add(self._n_joined)
        return self._n_joined

    def leave(self, number: int) -> None:
        """A session is over: with it its world, or the child, if that is its own."""
        self.sessions.discard(number)
        if not self.shared:
            self.close()
        elif self.end is None:
            self._send(frame(LEAVE, number, b""))

    async def ask(self, number: int, opening: bytes, request: bytes) -> tuple[bytes, str]:
        """Send, and wait for the reply: its mark and text. Raises `ToolFault`, `Moved` or `ZygoteDied`."""
        nonce = secrets.token_bytes(NONCE_BYTES)
        came: asyncio.Future[bytes | _End] = self.loop.create_future()
        if self.end is None:
            self._waiting.append((nonce, came))
            if len(self._waiting) == 1:
                self._wind()
            self._send(opening + frame(CALL, number, nonce + request))
            reply = await came
        else:
            reply = _End.MOVED if self.shared else self.end
        if isinstance(reply, bytes):
            return reply[:1], reply[1:].decode("utf-8", "replace")
        if reply is _End.MOVED:
            raise Moved
        if reply is _End.LATE:
            raise Late(self._late)
        if reply is _End.FORGED:
            raise ToolFault("the tool wrote into the channel of its replies")
        raise await self._why_ended()

    def close(self) -> None:
        """May be called twice."""
        self._over(_End.CLOSED)
        self.channel.close()
        self.zygote.kill(self.number)

    # ---- writing and reading -----------------------------------------------------------------

    def _send(self, data: bytes) -> None:
        waits = bool(self._unsent)
        self._unsent += data
        if not waits:
            self._flush()

    def _flush(self) -> None:
        try:
            n_sent = self.channel.send(self._unsent)
        except BlockingIOError:
            n_sent = 0
        except OSError:
            self._drain()  # its last replies, and its end
            self._over(_End.CLOSED)
            return
        del self._unsent[:n_sent]
        if self._unsent:  # more than fits between two processes at once
            self.loop.add_writer(self.channel, self._flush)
        else:
            self.loop.remove_writer(self.channel)

    def _drain(self) -> None:
        while self.end is None and self._read():
            pass

    def _read(self) -> bool:
        """Take what is there; was there anything?"""
        try:
            data = self.channel.recv(65_536)
        except BlockingIOError:
            return False
        except OSError:
            data = b""
        if not data:
            self._over(_End.CLOSED)
            return False
        self._heard += data
        while (n_bytes := len(self._heard) - LENGTH.size) >= 0:
            (size,) = LENGTH.unpack_from(self._heard)
            too_much = n_bytes > size and len(self._waiting) == 1
            if not self._waiting or not NONCE_BYTES < size <= MAX_FRAME_BYTES or too_much:
                self._over(_End.FORGED)  # nobody asked, or no frame that our loop would send
                break
            if n_bytes < size:
                break
            reply = bytes(self._heard[LENGTH.size : LENGTH.size + size])
            if not reply.startswith(self._waiting[0][0]):
                self._over(_End.FORGED)
                break
            del self._heard[: LENGTH.size + size]
            _, came = self._waiting.popleft()
            if not came.done():
                came.set_result(reply[NONCE_BYTES:])
            if self._waiting:
                self._wind()
        return True

    def _over(self, end: _End) -> None:
        """The call it was at has this end, the others of a shared one are made again elsewhere."""
        if self.end is not None:
            return
        self.end = end
        if self._timer is not None:
            self._timer.cancel()
        if self.loop.is_closed():
            return
        self.loop.remove_reader(self.channel)
        self.loop.remove_writer(self.channel)
        self._unsent.clear()
        while self._waiting:
            _, came = self._waiting.popleft()
            if not came.done():
                came.set_result(end)
            end = _End.MOVED

    # ---- the clock -----------------------------------------------------------------------------

    def _wind(self) -> None:
        """The timer is set once and looks, when it rings, whether a later call still has time."""
        self._deadline = self.loop.time() + self.timeout_s + GRACE_S
        if self._timer is None:
            self._timer = self.loop.call_at(self._deadline, self._strike)

    def _strike(self) -> None:
        self._timer = None
        # A reply that came in time while the loop was busy with other episodes is still unread, and not late.
        if self.loop.time() >= self._deadline:
            self._drain()
        if self._waiting and self._timer is None:
            if self.loop.time() < self._deadline:
                self._timer = self.loop.call_at(self._deadline, self._strike)
            else:
                self._over(_End.LATE)

    @property
    def _late(self) -> str:
        return f"the tool gave no answer within {self.timeout_s:g} s"

    async def _why_ended(self) -> Exception:
        await asyncio.wait([self.ended], timeout=GRACE_S)
        if not self.ended.done():
            return ToolFault("the tool closed the channel of its replies")
        code = self.ended.result()
        if code is None:
            return ZygoteDied()
        if code == -signal.SIGALRM:
            return Late(self._late)
        if code < 0:
            return ToolFault(f"the tool crashed ({signal_name(-code)})")
        return ToolFault(f"the tool ended its own process (exit code {code})")


def frame(what: bytes, session: int, data: bytes) -> bytes:
    """As `zygote.py` reads them."""
    return LENGTH.pack(HEAD.size + len(data)) + HEAD.pack(what, session) + data
