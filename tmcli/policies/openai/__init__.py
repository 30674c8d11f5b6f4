"""Answers from any OpenAI-compatible server: chat completions with native tool calls.

    OpenAI("gpt-4o", sampling)                              OPENAI_BASE_URL, else api.openai.com
    OpenAI("Qwen/Qwen3-8B@http://localhost:8000/v1", sampling)

The key comes from OPENAI_API_KEY only and is never shown. A server that does not answer is tried again,
then `PolicyFailure` makes the episode invalid; a wrong key, model or address is a `UsageError` and ends
the run at once. What the model itself says wrong is data; `wire.py` reads it.
"""

from __future__ import annotations

import asyncio
import os
import random
from dataclasses import dataclass
from time import monotonic
from typing import Any

import httpx
import orjson

from tmcli.environments.http_client import address, retry_after
from tmcli.errors import PolicyFailure, RunError, TmError, UsageError
from tmcli.meter import Meter
from tmcli.policies import Reply, Sampling, Service
from tmcli.policies.openai.wire import Wire
from tmcli.records import Json, Task

DEFAULT_URL = "https://api.openai.com/v1"
MAX_BODY_BYTES = 16_000_000
"""A longer reply is no chat completion: a server is not trusted with our memory."""


@dataclass(frozen=True, slots=True)
class Patience:
    """How long a server that does not answer is tried again."""

    tries: int = 5
    base_s: float = 0.5
    """The n-th pause is drawn from 0 to base * 2^n (full jitter), or is what the server asks for."""
    max_pause_s: float = 60.0
    total_s: float = 300.0
    """For one reply, pauses included."""


class OpenAI:
    """A model behind a server; one HTTP client for all its conversations."""

    def __init__(
        self,
        name: str,
        sampling: Sampling,
        patience: Patience = Patience(),
        service: Service = Service(),
        meter: Meter | None = None,
    ) -> None:
        self.service = service
        self.meter = Meter() if meter is None else meter
        self.model, given = split(name)
        self.url = address(
            given or os.environ.get("OPENAI_BASE_URL") or os.environ.get("OPENAI_API_BASE") or DEFAULT_URL,
            "http://host:port/v1",
        )
        self.shown = str(self.url.copy_with(userinfo=b"", query=None, fragment=None))
        self.official = self.url.host == httpx.URL(DEFAULT_URL).host
        self.key = os.environ.get("OPENAI_API_KEY", "").strip()
        if not self.key and self.official:
            raise UsageError(
                f"{self.model!r} is a model of api.openai.com, and OPENAI_API_KEY is not set",
                "set it; or set OPENAI_BASE_URL, or write MODEL@URL, for another server",
            )
        if not (self.key.isascii() and self.key.isprintable()):
            raise UsageError("OPENAI_API_KEY holds characters that no key has", "set it again")
        self.name = f"{self.model}@{self.shown}" if given else self.model
        self.settings = sampling
        self.patience = patience
        self._client: httpx.AsyncClient | None = None

    @property
    def sampling(self) -> Json:
        return {"name": self.model, **self.settings.to_json()}

    def open(self, task: Task, sample: int) -> Conversation:
        return Conversation(self, task.tools, self.settings.seed + sample)

    async def aclose(self) -> None:
        if self._client is not None:
            await self._client.aclose()
            self._client = None

    async def complete(self, messages: list[Json], tools: list[Json], seed: int) -> Json:
        """The first choice of a chat completion, with its `usage`; tried again while that can help."""
        body = self._body(messages, tools, seed)
        deadline = monotonic() + self.patience.total_s
        for attempt in range(self.patience.tries):
            pause = random.uniform(0, self.patience.base_s * 2**attempt)
            try:
                async with asyncio.timeout(deadline - monotonic()):
                    return self._judge(*await self._post(body))
            except _AgainError as error:
                trouble = error.trouble
                pause = error.pause_s if error.pause_s is not None else pause
            except (TimeoutError, httpx.TimeoutException):
                trouble = "does not answer in time"
            except httpx.RequestError as error:
                trouble = f"does not answer ({self._clean(str(error)) or type(error).__name__})"
            pause = min(pause, self.patience.max_pause_s)
            if attempt + 1 == self.patience.tries or monotonic() + pause >= deadline:
                break
            await asyncio.sleep(pause)
        raise PolicyFailure(f"the server {self.shown} {trouble}, tried {attempt + 1} times")

    def _body(self, messages: list[Json], tools: list[Json], seed: int) -> bytes:
        s = self.settings
        body: Json = {"model": self.model, "messages": messages, "temperature": s.temperature, "seed": seed}
        # The old word is the one all servers know, and the one that OpenAI's newer models refuse.
        body["max_completion_tokens" if self.official else "max_tokens"] = s.max_new_tokens
        if s.top_p < 1:
            body["top_p"] = s.top_p
        if tools:
            body["tools"] = tools
        return orjson.dumps(body)

    async def _post(self, body: bytes) -> tuple[int, httpx.Headers, bytes]:
        if self._client is None:
            self._client = self._connect()
        url = self.url.copy_with(userinfo=b"", path=f"{self.url.path.rstrip('/')}/chat/completions")
        data = bytearray()
        async with self._client.stream("POST", url, content=body) as response:
            async for part in response.aiter_bytes():
                data += part
                if len(data) > MAX_BODY_BYTES:
                    raise _AgainError(f"sends more than {MAX_BODY_BYTES} bytes")
            return response.status_code, response.headers, bytes(data)

    def _connect(self) -> httpx.AsyncClient:
        headers = {"Content-Type": "application/json"}
        if self.key:
            headers["Authorization"] = f"Bearer {self.key}"
        try:
            return httpx.AsyncClient(
                headers=headers,
                auth=None if self.key or not self.url.userinfo else (self.url.username, self.url.password),
                timeout=httpx.Timeout(120.0, connect=10.0, pool=None),
                limits=httpx.Limits(max_connections=None, max_keepalive_connections=None),
            )
        except (ValueError, ImportError, httpx.InvalidURL) as error:
            raise UsageError("the proxy in HTTPS_PROXY or ALL_PROXY cannot be used", "unset it") from error

    def _judge(self, status: int, headers: httpx.Headers, data: bytes) -> Json:
        """What was answered: a choice, a failure that will stay one, or `_AgainError`."""
        if status == 200:
            return _choice(data)
        trouble = f"answers {status}: {self._reason(data)}"
        code = _dig(data, "error", "code")
        if status == 429 and code == "insufficient_quota":
            raise RunError(f"the server {self.shown} {trouble}", "add credit, then go on with --resume")
        if status in (408, 409, 425, 429) or status >= 500:
            raise _AgainError(trouble, retry_after(headers))
        if code == "context_length_exceeded" or b"maximum context length" in data:
            return {"message": {}, "finish_reason": "length", "usage": {}}
        if code == "content_filter":
            return {"message": {}, "finish_reason": "content_filter", "usage": {}}
        raise self._refusal(status, f"the server {self.shown} {trouble}")

    def _refusal(self, status: int, problem: str) -> TmError:
        if status in (401, 403):
            return UsageError(problem, "set OPENAI_API_KEY to a key that this server takes")
        if status in (404, 405):
            return UsageError(problem, f"does it serve {self.model!r}, and does its address end in /v1?")
        if status < 400:
            return UsageError(problem, "write the address it has moved to")
        return PolicyFailure(problem)

    def _reason(self, data: bytes) -> str:
        for path in (("error", "message"), ("error",), ("message",), ("detail",)):
            text = _dig(data, *path)
            if isinstance(text, str) and text:
                return self._clean(text)
        return self._clean(data.decode("utf-8", "replace")) or "no reason given"

    def _clean(self, text: str) -> str:
        """A server's words for one of our sentences: one short line, without secrets."""
        for secret in (self.key, self.url.password, self.url.query.decode("ascii", "replace")):
            text = text.replace(secret, "***") if secret else text
        return " ".join("".join(c if c.isprintable() else " " for c in text[:2000]).split())[:300]


class Conversation:
    """One episode with a server's model."""

    tokens = None

    def __init__(self, server: OpenAI, tools: list[Json], seed: int) -> None:
        self.server = server
        self.tools = tools
        self.seed = seed
        self.wire = Wire()

    async def reply(self, messages: list[Json]) -> Reply:
        self.wire.hear(messages)
        return self.wire.said(await self.server.complete(self.wire.messages, self.tools, self.seed))

    def close(self) -> None:
        """Nothing is held: the HTTP client belongs to the policy."""


class _AgainError(Exception):
    """The server failed in a way that may pass."""

    def __init__(self, trouble: str, pause_s: float | None = None) -> None:
        super().__init__(trouble)
        self.trouble = trouble
        self.pause_s = pause_s


def split(name: str) -> tuple[str, str]:
    """`MODEL@URL` -> model and address; the address is empty when none is named.

    >>> split("Qwen/Qwen3-8B@http://localhost:8000/v1")
    ('Qwen/Qwen3-8B', 'http://localhost:8000/v1')
    >>> split("gpt-4o")
    ('gpt-4o', '')
    """
    for mark in ("@http://", "@https://"):
        model, at, rest = name.partition(mark)
        if at and model:
            return model, mark[1:] + rest
    # Not shown in the message: it may hold a password.
    if "://" in name or ("@" in name and set(name.partition("@")[2]) & set(":/")):
        raise UsageError("the name of the model's server cannot be read", "write MODEL@http://host:port/v1")
    return name, ""


def _choice(data: bytes) -> Json:
    """The first choice of a completion and the usage; anything else is a server's failure."""
    choices = _dig(data, "choices")
    choice = choices[0] if isinstance(choices, list) and choices else None
    message = choice.get("message") if isinstance(choice, dict) else None
    calls = message.get("tool_calls") if isinstance(message, dict) else None
    if not isinstance(choice, dict) or not isinstance(message, dict) or not isinstance(calls, list | None):
        said = _dig(data, "error", "message")
        raise _AgainError(f"answers no chat completion{f': {said[:200]}' if isinstance(said, str) else ''}")
    usage = _dig(data, "usage")
    return {**choice, "usage": usage if isinstance(usage, dict) else {}}


def _dig(data: bytes, *path: str) -> Any:
    """The value at `path` in a JSON body, or None."""
    try:
        value = orjson.loads(data)
    except orjson.JSONDecodeError:
        return None
    for key in path:
        value = value.get(key) if isinstance(value, dict) else None
    return value
