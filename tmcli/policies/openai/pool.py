"""The servers of one policy, which share its load.

    stick = Stick()                      # one for each episode: it stays with its server
    turn = await pool.turn(stick)        # wait for the right to send one request; which server is in it
    pool.answered(turn)                  # it has answered, whatever it said
    pool.failed(turn, trouble)           # it has not, or says "later"
    pool.drop(turn)                      # the request was called off

A new episode goes to the least busy server and stays there, where its dialogue so far is in the prefix
cache, until that server is down. One that is down gets a single request from time to time; the others take
its load. When all are down for too long, everyone who waits gets a `RunError`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from time import monotonic

from tmcli import console
from tmcli.errors import RunError
from tmcli.meter import Meter
from tmcli.policies.openai.server import Server, Turn
from tmcli.policies.openai.troubles import Trouble

HICCUP = 2
"""Failed probes before anything is said."""


@dataclass(slots=True)
class Stick:
    """Which server an episode stays with."""

    server: Server | None = None


class Pool:
    """One server or several that serve the same model."""

    def __init__(self, servers: Sequence[Server], meter: Meter) -> None:
        self.servers = list(servers)
        self.meter = meter
        self.n_down = 0
        self._lost = False
        self._next = 0
        self._show_limit()

    async def turn(self, stick: Stick) -> Turn:
        """The right to send one request. Raises `RunError` when all servers are down for good."""
        while True:
            if self._lost:
                raise self._loss()
            server = stick.server
            if server is None or self.n_down:
                server = self._choose(stick)
            turn = await server.turn()
            if turn is not None:
                return turn

    def answered(self, turn: Turn) -> None:
        """The request was answered: the server is up, and takes so many at once."""
        server = turn.server
        if server.limiter.limit < server.limiter.most:
            server.limiter.accepted()
            self._show_limit()
        else:
            server.limiter.accepted()
        self._up(server)
        server.leave(turn)

    def failed(self, turn: Turn, trouble: Trouble) -> bool:
        """The request failed. True: the server is down for all, so it says nothing about this request."""
        server, now = turn.server, monotonic()
        asked_s = trouble.asked_s or 0.0
        server.trouble = trouble.words
        if trouble.slow:
            server.limiter.refused(turn.ticket)
            self._show_limit()
        was_open = server.breaker.is_open
        if turn.probe:
            server.breaker.probed(now, busy=trouble.busy, asked_s=asked_s)
        else:
            server.breaker.failed(now, gone=trouble.gone, busy=trouble.busy, asked_s=asked_s)
        is_open = server.breaker.is_open
        if is_open and not was_open:
            self.n_down += 1
            console.detail(f"the server {server.shown} {trouble.words}; one request at a time asks on")
            if self.n_down < len(self.servers):
                server.dismiss()
        elif turn.probe and is_open:
            self._tell(server)
            if all(each.breaker.is_lost(now) for each in self.servers):
                self._lost = True
                for each in self.servers:
                    each.dismiss()
        server.leave(turn)
        return is_open

    def drop(self, turn: Turn) -> None:
        """The request was called off."""
        turn.server.drop(turn)

    def stopped(self, turn: Turn) -> None:
        """The server answered in a way that is no other server's fault: it is up."""
        self._up(turn.server)
        turn.server.leave(turn)

    async def aclose(self) -> None:
        for server in self.servers:
            await server.aclose()

    def _choose(self, stick: Stick) -> Server:
        """Where the next request of this episode goes."""
        now = monotonic()
        home = stick.server if stick.server is not None and not stick.server.breaker.is_open else None
        for server in self.servers if self.n_down else ():
            if server.breaker.due(now):  # this request finds out whether it is back
                stick.server = home or server
                return server
        if home is not None:
            return home
        up = [server for server in self.servers if not server.breaker.is_open]
        if not up:
            return min(self.servers, key=lambda server: server.breaker.next_probe_at)
        self._next += 1  # equally busy ones take turns
        order = [up[(self._next + i) % len(up)] for i in range(len(up))]
        stick.server = min(order, key=lambda server: server.load)
        return stick.server

    def _up(self, server: Server) -> None:
        """It answered, so it is not down."""
        was_open = server.breaker.is_open
        server.breaker.succeeded()
        if not was_open:
            return
        self.n_down -= 1
        say = console.note if server.told else console.detail
        say(f"the server {server.shown} answers again")
        server.told = False
        for other in self.servers:  # who waits for another one that is down may come here
            if other is not server and other.breaker.is_open:
                other.dismiss()

    def _tell(self, server: Server) -> None:
        """Say once that a server is down; a short hiccup is not worth it."""
        if server.told or server.breaker.probes < HICCUP:
            return
        problem = f"the server {server.shown} {server.trouble}"
        if self.n_down < len(self.servers):
            server.told = True
            console.warn(f"{problem}; the others take over")
        elif not server.breaker.never_there:
            server.told = True
            console.note(f"{problem}; waiting for it, {server.breaker.patience.total_s:.0f} s at most")

    def _loss(self) -> RunError:
        """Why nobody waits any longer."""
        server, others = self.servers[0], self.servers[1:]
        each = "; ".join(f"{each.shown} {each.trouble}" for each in self.servers)
        if all(each.breaker.never_there for each in self.servers):
            remedy = "is it running, and is the address right?"
            if others:
                return RunError(f"no server answers: {each}", remedy)
            tries = server.breaker.row + server.breaker.probes
            return RunError(f"the server {server.shown} {server.trouble}, tried {tries} times", remedy)
        down_s = min(each.breaker.down_s(monotonic()) for each in self.servers)
        who = "no server has" if others else f"the server {server.shown} has not"
        return RunError(
            f"{who} answered for {down_s:.0f} s ({each if others else server.trouble})",
            "what is done is kept; go on with --resume",
        )

    def _show_limit(self) -> None:
        self.meter.limit = sum(int(server.limiter.limit) for server in self.servers)
