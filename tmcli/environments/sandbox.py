"""Tool code runs here, never in our process: one child per session, forked by a warm process of its own.
Sessions of the built-in toolboxes, which are our code, share a few.

    sandbox = Sandbox(timeout_s=10.0, memory_mb=512)
    session = sandbox.open({"kind": "python", "codes": {"f": "def f(): return 1"}}, check=...)
    observation = await session.call("f", {})
    await session.close()
    await sandbox.close()

Two clocks bound a call: a kernel timer in the child and one here, a second later. What the tool's code
does wrong (loops, crashes, exits, prints, returns nonsense) is an answer for the model. After a kill the
next call gets a fresh child in which the earlier calls are made again, so what they changed is still so.
A session that broke a shared child has one of its own from then on, and the others go on in a new one.
`EnvironmentFailure` means that our own machinery broke. See `zygote.py` for what is locked, and why this
is **not a security boundary**; `holds.py` tries it out on this machine.
"""

from __future__ import annotations

import asyncio
import base64
import functools
import json
import marshal
import time
import warnings
from collections.abc import Callable
from typing import Any

from tmcli.environments import Observation
from tmcli.environments.child import Child, Late, Moved, ToolFault, frame
from tmcli.environments.children import Zygote, ZygoteDied
from tmcli.environments.rooms import Rooms
from tmcli.environments.zygote import SPEC
from tmcli.errors import EnvironmentFailure
from tmcli.records import Json

NO_WORLD = "the tools' world cannot be built"
"""How the failure begins when the source raised before any call."""

MAX_MOVES = 3
"""So often a session is sent to another shared child for what others did, before it has its own."""

Check = Callable[[str, Json], str | None]
"""What is wrong with a call's name and arguments, before any tool code runs."""


class Sandbox:
    """The machinery all sessions share."""

    def __init__(self, timeout_s: float = 10.0, memory_mb: int = 512, hash_seed: int = 0) -> None:
        self.timeout_s = timeout_s
        self.memory_mb = memory_mb
        self.hash_seed = hash_seed
        """Another one tells code that goes by the order of a set."""
        self.sessions: set[SandboxSession] = set()
        self._zygote: Zygote | None = None
        self._rooms: Rooms | None = None

    def open(self, spec: Json, check: Check, shared: bool = False) -> SandboxSession:
        """A session over `spec` (see `zygote.TOOLS`); its child is forked at the first call. `shared` is for
        code of ours alone: it may be in one child with other sessions."""
        session = SandboxSession(self, spec, check, shared)
        self.sessions.add(session)
        return session

    async def child(self, shared: bool) -> Child:
        """A new one, or one that others have joined, of a living zygote: started when there is none."""
        if self._zygote is not None and not self._zygote.usable:
            await self._stop()
        if self._zygote is None:  # asked again: another session may have been faster while we waited
            self._zygote = Zygote(self.timeout_s, self.memory_mb, self.hash_seed)
            self._rooms = Rooms(self._zygote, self.timeout_s)
        if shared and self._rooms is not None:
            return await self._rooms.least_full()
        return await Child.open(self._zygote, self.timeout_s)

    async def close(self) -> None:
        """End all children. May be called twice, and used again."""
        for session in list(self.sessions):
            await session.close()
        await self._stop()

    async def _stop(self) -> None:
        zygote, self._zygote = self._zygote, None
        rooms, self._rooms = self._rooms, None
        if rooms is not None:
            rooms.close()
        if zygote is not None:
            await zygote.stop()


class SandboxSession:
    """One episode's tools, in one child."""

    def __init__(self, sandbox: Sandbox, spec: Json, check: Check, shared: bool) -> None:
        self.sandbox = sandbox
        self.spec = spec
        self.check = check
        self.shared = shared
        self.history: list[tuple[str, Json]] = []
        """Calls that were answered: a fresh child makes them again, for what they changed."""
        self._child: Child | None = None
        self._number = 0
        """Of this session in its child."""
        self._closed = False
        self._turn = asyncio.Lock()

    async def call(self, name: str, arguments: dict[str, Any]) -> Observation:
        """Call a tool. Calls made at once are done in order. Raises `EnvironmentFailure` only."""
        async with self._turn:
            started = time.perf_counter()
            ok, text = await self._answer(name, arguments)
            return Observation(ok, text, (time.perf_counter() - started) * 1000)

    async def close(self) -> None:
        """End the child, or leave it. May be called twice."""
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
        n_died = n_moved = 0
        while n_died < 2:  # the second time with a new zygote
            try:
                mark, text = await self._exchange(request)
            except ZygoteDied:
                n_died += 1
                continue
            except Moved:
                n_moved += 1
                self.shared = n_moved < MAX_MOVES
                continue
            except ToolFault as fault:
                if self.shared:
                    self.shared = False
                    if not isinstance(fault, Late):  # the machine's fault, or ours: it is tried alone
                        continue
                return False, _error(str(fault))
            if mark == b"m":
                self.shared = False
                self._drop()
                continue
            if mark == b"!":
                raise EnvironmentFailure(f"{NO_WORLD}: {text}", "correct the toolbox's tools.py")
            self.history.append((name, arguments))
            return mark == b"+", text
        raise EnvironmentFailure("the sandbox process died twice in one call", "see this machine's memory")

    async def _exchange(self, request: bytes) -> tuple[bytes, str]:
        opening = b""
        if self._child is None and not self._closed:
            self._child = await self.sandbox.child(self.shared)
            self._number = self._child.join()
            spec = {**self.spec, "history": self.history, "shared": self.shared}
            opening = frame(SPEC, self._number, json.dumps(spec).encode())
        if self._closed or self._child is None:
            self._drop()
            raise EnvironmentFailure("the session is closed", "open one per episode")
        try:
            return await self._child.ask(self._number, opening, request)
        except BaseException:  # cancelled ones too: what it would still send belongs to no later call
            self._drop()
            raise

    def _drop(self) -> None:
        child, self._child = self._child, None
        if child is not None:
            child.leave(self._number)


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


def _error(sentence: str) -> str:
    return json.dumps({"error": sentence}, ensure_ascii=False)
