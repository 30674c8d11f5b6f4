"""Answers from any OpenAI-compatible server: chat completions with native tool calls.

    OpenAI("gpt-4o", sampling)                              OPENAI_BASE_URL, else api.openai.com
    OpenAI("Qwen/Qwen3-8B@http://localhost:8000/v1", sampling)
    OpenAI("Qwen/Qwen3-8B@http://a:8000/v1,http://b:8000/v1", sampling)      they share the load

The key comes from OPENAI_API_KEY only and is never shown. Passing trouble is waited out: a request is tried
again, a server that is down is waited for by all (`pool.py`). `PolicyFailure` makes one episode invalid when
its request alone fails again and again; a wrong key, model or address is a `UsageError`, and servers that
stay away a `RunError`: both end the run. What an answer means is in `outcomes.py`, what none means in
`troubles.py`. What the model itself says wrong is data; `wire.py` reads it.
"""

from __future__ import annotations

import asyncio
import os
from dataclasses import asdict, replace
from time import monotonic

import httpx
import orjson

from tmcli import console
from tmcli.cache import Cache
from tmcli.errors import PolicyFailure, UsageError
from tmcli.http import Patience, TooLong, allow_many_files
from tmcli.meter import CHARS_PER_TOKEN, Meter
from tmcli.policies import Sampling, Service
from tmcli.policies.openai import troubles
from tmcli.policies.openai.conversation import Conversation
from tmcli.policies.openai.dialect import Dialect
from tmcli.policies.openai.form import CHAT, Form
from tmcli.policies.openai.names import addresses, split
from tmcli.policies.openai.outcomes import Outcome, Unfit
from tmcli.policies.openai.pool import Pool, Stick
from tmcli.policies.openai.redact import Redact
from tmcli.policies.openai.server import Server, Turn
from tmcli.policies.openai.troubles import Trouble
from tmcli.policies.openai.usage import guessed, tokens
from tmcli.prices import OPENAI_URL, default_url
from tmcli.records import Json, Task

MAX_BODY_BYTES = 16_000_000
"""A longer reply is no chat completion: a server is not trusted with our memory."""
KEY_CHARS = 16
"""A shorter key (`EMPTY`, `ollama`) is no secret, and may be a word that the model says."""
FIRST, HANG = 0.4, 0.1
"""Shares of all patience: for a first answer, and at least for one where others are answered (30 s)."""
PATIENCE = "TM_PATIENCE_S"
"""The environment variable for how long servers are waited for, where 300 s are too long or too short."""


class OpenAI:
    """A model behind one server or several; one set of connections for all its conversations."""

    def __init__(
        self,
        name: str,
        sampling: Sampling,
        patience: Patience | None = None,
        service: Service = Service(),
        meter: Meter | None = None,
        form: Form = CHAT,
    ) -> None:
        self.form = form
        self.settings = sampling
        self.meter = Meter() if meter is None else meter
        self.patience = _patience() if patience is None else patience
        self.model, given = split(name)
        urls = addresses(given or default_url())
        self.official = any(url.host == httpx.URL(OPENAI_URL).host for url in urls)
        key = os.environ.get("OPENAI_API_KEY", "").strip()
        if not (key.isascii() and key.isprintable()):
            raise UsageError("OPENAI_API_KEY holds characters that no key has", "set it again")
        self._keyless = not key and self.official
        self.dialect = Dialect(sampling, service, official=self.official)
        most = _at_once(service.at_once, len(urls))
        servers = [Server(url, key, most, self.patience, form) for url in urls]
        shown = ",".join(server.shown for server in servers)
        self.name = f"{self.model}@{shown}" if given else self.model
        self._echo = key.encode() if len(key) >= KEY_CHARS else b""
        """A key that a server may repeat in what its model says."""
        self.clean = Redact([key, *(secret for url in urls for secret in _secrets(url))])
        self.cache = None if service.cache is None else Cache(service.cache, f"{self.model}@{shown}")
        self.pool = Pool(servers, self.meter)
        self._guesses = False
        """Was it said that tokens are guessed?"""
        if self.cache is None:
            self._need_key()

    @property
    def sampling(self) -> Json:
        return {"name": self.model, **self.dialect.to_json()}

    def open(self, task: Task, sample: int) -> Conversation:
        return Conversation(self, task.tools, self.settings.seed + sample)

    async def aclose(self) -> None:
        await self.dialect.aclose()
        await self.pool.aclose()
        if self.cache is not None:
            self.cache.close()

    def stick(self) -> Stick:
        """What keeps an episode with its server: one for each, given to `complete`."""
        return Stick()

    async def complete(
        self, body: Json, stick: Stick | None, *, salt: str = "", refusals: bool = False
    ) -> Json:
        """The first choice of a chat completion, with its `usage`; tried again while that can help.

        Raises `Unfit` when the server does not take such requests. `salt` tells requests apart for the cache
        that are not the same to us; with `refusals` it remembers also that tools were refused.
        """
        content = orjson.dumps({"model": self.model, **body})
        key = content + salt.encode()
        if self.cache is not None:
            if (known := self.cache.get(key)) is not None:
                if "unfit" in known:
                    raise Unfit(Outcome(**known["unfit"]), known["problem"])
                self.meter.answered(*tokens(known), cached=True)
                return known
            self._need_key()
        try:
            choice, is_whole = await self._ask(content, Stick() if stick is None else stick)
        except Unfit as unfit:
            if self.cache is not None and (refusals or unfit.outcome.then == "without"):
                self.cache.put(key, {"unfit": asdict(unfit.outcome), "problem": unfit.problem})
            raise
        if is_whole and not any(tokens(choice)):
            choice = guessed(choice, content)
            if not self._guesses:
                self._guesses = True
                console.note(f"{self.name} counts no tokens: {CHARS_PER_TOKEN} characters are taken for one")
        if self.cache is not None and is_whole:
            self.cache.put(key, choice)
        self.meter.answered(*tokens(choice))
        return choice

    async def _ask(self, content: bytes, stick: Stick) -> tuple[Json, bool]:
        """The choice, and whether a model said it; what waits for a turn does not use up its patience."""
        tries, timeouts, left_s = 0, 0, self.patience.total_s
        again = ""
        while True:
            turn = await self.pool.turn(stick)
            if again:
                self.meter.retried(again)
            server, began = turn.server, monotonic()
            found = await self._send(turn, content, min(left_s, self._hang_s(server, timeouts)))
            if isinstance(found, Outcome):
                if found.then == "said":
                    server.slowest_s = max(server.slowest_s, monotonic() - began)
                    self.pool.answered(turn)
                    return found.choice, bool(found.choice["message"])
                self.pool.stopped(turn)
                problem = f"the server {server.shown} {self.clean(found.trouble)}"
                if found.then in ("without", "no_tools", "bad_tools"):
                    raise Unfit(replace(found, trouble=""), problem)
                raise found.error(problem, self.model)
            if found.remedy:
                self.pool.drop(turn)
                raise UsageError(f"the server {server.shown} {found.words}", found.remedy)
            again = found.label
            if self.pool.failed(turn, found):
                continue
            left_s -= monotonic() - began
            pause_s = self._pause_s(tries, found.asked_s, left_s)
            tries += 1
            timeouts += found.label == "timeout"
            if pause_s >= left_s or (tries >= self.patience.tries and not found.busy):
                raise PolicyFailure(f"the server {server.shown} {found.words}, tried {tries} times")
            left_s -= pause_s
            console.detail(
                f"the server {server.shown} {found.words}; tried again in {pause_s:.1f} s, try {tries + 1}"
            )
            await asyncio.sleep(pause_s)

    async def _send(self, turn: Turn, content: bytes, timeout_s: float) -> Outcome | Trouble:
        """One request. What may pass, or concerns the connection, comes back as a `Trouble`."""
        server = turn.server
        try:
            self.meter.ask()
            answer = await server.client.post(
                server.target, content, timeout_s=timeout_s, max_bytes=MAX_BODY_BYTES
            )
        except (httpx.HTTPError, httpx.InvalidURL, TooLong, TimeoutError, OSError) as error:
            met = troubles.met(error)
            return Trouble(met.label, self.clean(met.words), remedy=met.remedy)
        except BaseException:
            self.pool.drop(turn)
            raise
        data = answer.data.replace(self._echo, b"***") if self._echo else answer.data
        outcome = self.form.read(answer.status, data)
        if outcome.then == "moved" and (to := answer.headers.get("location", "").partition("?")[0]):
            return replace(outcome, trouble=f"{outcome.trouble}, it is at {to}")
        if outcome.then != "again":
            return outcome
        return Trouble(outcome.label, self.clean(outcome.trouble), troubles.asked_s(answer.headers))

    def _hang_s(self, server: Server, timeouts: int) -> float:
        """When a request counts as lost. Far later than any answer so far, and twice that when it happens
        again: a request given up too early may be paid for."""
        total_s = self.patience.total_s
        if not server.slowest_s:
            return FIRST * total_s
        return min(FIRST * total_s, max(HANG * total_s, 4 * server.slowest_s)) * (1 << timeouts)

    def _pause_s(self, tries: int, asked_s: float | None, left_s: float) -> float:
        """How long to wait after so many tries: full jitter, on top of what the server asks for."""
        pause_s = self.patience.pause_s(tries)
        if asked_s is None:
            return pause_s
        # Nobody who asks for a day means this request.
        return self.patience.max_pause_s if asked_s >= left_s else min(asked_s + pause_s, left_s)

    def _need_key(self) -> None:
        if self._keyless:
            raise UsageError(
                f"{self.model!r} is a model of api.openai.com, and OPENAI_API_KEY is not set",
                "set it; or set OPENAI_BASE_URL, or write MODEL@URL, for another server",
            )


def _at_once(wanted: int, n_servers: int) -> int:
    """Requests at once for each server: half of the files that may be open are left to tools and outputs."""
    files = allow_many_files()
    most = max(1, files // 2 // n_servers)
    if wanted > most:
        console.note(f"{most} requests at once for each server, not {wanted}: {files} files may be open here")
    return min(wanted, most)


def _patience() -> Patience:
    """The usual patience, or as long as the environment says."""
    text = os.environ.get(PATIENCE, "")
    if not text:
        return Patience()
    try:
        total_s = float(text)
    except ValueError:
        total_s = 0.0
    if not 0 < total_s < float("inf"):
        raise UsageError(f"{PATIENCE} is no number of seconds above 0", f"write it like {PATIENCE}=300")
    return Patience(base_s=min(0.5, total_s / 600), max_pause_s=min(60.0, total_s / 5), total_s=total_s)


def _secrets(url: httpx.URL) -> list[str]:
    """What of an address nobody may read."""
    whole = (url.userinfo.decode("ascii", "replace"), url.query.decode("ascii", "replace"))
    return [*whole, url.password, *(value for _, value in url.params.multi_items())]
