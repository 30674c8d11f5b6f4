"""One base URL of a policy, and who waits for it.

    turn = await server.turn()           # None: things have changed, choose a server again
    ...                                  # one request
    server.leave(turn)

A turn is the right to send one request: the limiter has room, or the breaker is open and this is its probe.
Turns are handed over in the order of asking; a request that pauses between two tries holds none.
"""

from __future__ import annotations

import asyncio
from collections import deque
from dataclasses import dataclass
from time import monotonic

import httpx

from tmcli.http import Client, Patience
from tmcli.policies.openai.breaker import Breaker
from tmcli.policies.openai.form import CHAT, Form
from tmcli.policies.openai.limiter import Limiter


@dataclass(frozen=True, slots=True)
class Turn:
    """One request may be sent."""

    server: Server
    ticket: int
    """The limiter's."""
    probe: bool


class Server:
    """One base URL: its connections, its limit, its health."""

    def __init__(self, url: httpx.URL, key: str, most: int, patience: Patience, form: Form = CHAT) -> None:
        self.shown = str(url.copy_with(userinfo=b"", query=None, fragment=None))
        self.target = url.copy_with(userinfo=b"", path=form.path(url.path.rstrip("/")))
        self.limiter = Limiter(most)
        self.breaker = Breaker(patience)
        self.trouble = ""
        """What went wrong last, as the rest of a sentence."""
        self.slowest_s = 0.0
        """The longest that it took to answer."""
        self.told = False
        """Was it said that this server is down?"""
        self._headers = {"Authorization": f"Bearer {key}"} if key else {}
        self._auth = (url.username, url.password) if url.userinfo and not key else None
        self._client: Client | None = None
        self._waiting: deque[asyncio.Future[Turn | None]] = deque()
        self._timer: asyncio.TimerHandle | None = None

    @property
    def client(self) -> Client:
        """Its connections; opened by the first request."""
        if self._client is None:
            self._client = Client(headers=self._headers, auth=self._auth)
        return self._client

    @property
    def load(self) -> float:
        """How busy it is, for what it takes."""
        return (self.limiter.running + len(self._waiting)) / self.limiter.limit

    async def turn(self) -> Turn | None:
        """Wait for the right to send one request."""
        if not self._waiting and (turn := self._next()) is not None:
            return turn
        waiting: asyncio.Future[Turn | None] = asyncio.get_running_loop().create_future()
        self._waiting.append(waiting)
        self.wake()
        try:
            return await waiting
        except asyncio.CancelledError:
            if not waiting.cancelled() and (turn := waiting.result()) is not None:
                self.drop(turn)  # handed over in the moment of the end
            raise

    def leave(self, turn: Turn) -> None:
        """The request of this turn is over, and the breaker knows how."""
        self.limiter.end()
        self.wake()

    def drop(self, turn: Turn) -> None:
        """The request of this turn was called off: nothing was learned."""
        if turn.probe:
            self.breaker.dropped()
        self.leave(turn)

    def wake(self) -> None:
        """Hand out the turns that there are."""
        while self._waiting:
            if self._waiting[0].done():  # called off
                self._waiting.popleft()
            elif (turn := self._next()) is not None:
                self._waiting.popleft().set_result(turn)
            else:
                break
        if self._waiting and self.breaker.is_open and not self.breaker.probing:
            pause_s = max(0.001, self.breaker.next_probe_at - monotonic())
            if self._timer is not None:
                self._timer.cancel()
            self._timer = asyncio.get_running_loop().call_later(pause_s, self.wake)

    def dismiss(self) -> None:
        """Let all who wait choose again."""
        while self._waiting:
            waiting = self._waiting.popleft()
            if not waiting.done():
                waiting.set_result(None)

    async def aclose(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        if self._client is not None:
            await self._client.aclose()
            self._client = None

    def _next(self) -> Turn | None:
        """A turn, if there is one now."""
        if not self.breaker.is_open:
            return Turn(self, self.limiter.start(), False) if self.limiter.has_room else None
        if not self.breaker.due(monotonic()):
            return None
        self.breaker.probe()
        return Turn(self, self.limiter.start(), True)
