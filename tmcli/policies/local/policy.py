"""`Local`: conversations as asyncio sees them, and whom the engine waits for.

The engine runs in a thread, from one turn's end to the next. When a turn has ended, decoding waits for that
conversation's next request, for its end, or for the conversation that follows it, as long as `PATIENCE_S`. So
with quick tools the rows of each step, and therefore the bytes, do not depend on timing. A conversation that
was waited for in vain is not waited for again: its requests join the others between two steps.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Self

from tmcli import model as models
from tmcli.chat import Chat, Template
from tmcli.checkpoint import weights_key
from tmcli.errors import PolicyFailure
from tmcli.policies import Reply, Sampling
from tmcli.policies.dialogue import Dialogue
from tmcli.policies.local import workers
from tmcli.policies.local.attention import serves
from tmcli.policies.local.ending import Ending
from tmcli.policies.local.engine import Engine
from tmcli.policies.local.episode import Episode
from tmcli.policies.local.plain import Plain
from tmcli.policies.local.speed import Speed
from tmcli.records import Json, Task

PATIENCE_S = 0.05
"""How long a step waits for conversations whose tools are running, after the last that came."""
LAUNCH_S = 1.0
"""As long for one that has just opened: its tools may have to start."""
GRACE_S = 0.005
"""How long after one conversation has opened others are expected to."""


class Local:
    """A model in this process as a policy."""

    def __init__(
        self,
        name: str,
        model: Any,
        chat: Chat,
        sampling: Sampling,
        weights: str = "",
        *,
        max_batch_tokens: int | None = None,
    ) -> None:
        """`weights` tells checkpoints of one name apart: the key of the run that wrote them.
        `max_batch_tokens`: positions of cache that all episodes may hold; None: what memory allows."""
        self.name = name
        self.chat = chat
        self.weights = weights
        self.max_batch_tokens = max_batch_tokens
        self._model = model
        self.settings = sampling
        """May be set anew while no episode is open."""
        chat.stop_ids |= _ends(model)
        self._engine: Engine | Plain | None = None
        self._speed = Speed()
        self._n_opened = self._n_open = 0
        self._awaited: dict[Episode, float] = {}
        """Conversations that steps wait for, and until when."""
        self._slow: set[Episode] = set()
        self._vacant: list[float] = []
        """For each that has ended and that no other has followed yet: until when one is awaited."""
        self._expects_more = True
        self._last_opening = 0.0
        self._waiting: list[Episode] = []
        self._futures: dict[Episode, asyncio.Future[None]] = {}
        self._changed: asyncio.Event | None = None
        self._running: asyncio.Task[None] | None = None
        # One thread: torch calls must not overlap, and the event loop keeps serving tools meanwhile.
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="generate")
        workers.dismiss()

    @classmethod
    def load(
        cls,
        name: str,
        sampling: Sampling,
        template: Template = "auto",
        *,
        max_batch_tokens: int | None = None,
    ) -> Self:
        """Load weights by name. Raises `UsageError` for names that mean no model."""
        model, tokenizer = models.load(name)
        chat = Chat(tokenizer, template)
        return cls(name, model, chat, sampling, weights_key(Path(name)), max_batch_tokens=max_batch_tokens)

    @property
    def model(self) -> Any:
        return self._model

    @model.setter
    def model(self, model: Any) -> None:
        self._model = model
        self._engine = None

    def refresh(self) -> None:
        """The weights were changed: nothing that was derived from them is valid. No episode is open then."""
        if self._engine is not None:
            self._engine.refresh()
        workers.dismiss()

    @property
    def speed(self) -> Speed:
        """What was generated so far, and how long it took."""
        return self._speed

    @property
    def sampling(self) -> Json:
        return {**self.settings.to_json(), "weights": self.weights}

    def open(self, task: Task, sample: int) -> LocalConversation:
        words = f"{self.settings.seed}:{task.id}#{sample}".encode()
        seed = int.from_bytes(hashlib.sha256(words).digest()[:8], "big") >> 1
        episode = Episode(self._n_opened, seed)
        self._n_opened += 1
        self._n_open += 1
        self._last_opening = time.monotonic()
        self._awaited[episode] = self._last_opening + LAUNCH_S
        if self._vacant:
            self._vacant.pop(0)
        self._expects_more = True
        self._tell()
        return LocalConversation(self, episode, task.tools)

    async def aclose(self) -> None:
        self._vacant, self._expects_more = [], False
        self._tell()
        if self._running is not None and not self._running.done():
            await asyncio.gather(self._running, return_exceptions=True)
        self._thread.shutdown()
        self._engine = None

    # ---- conversations -----------------------------------------------------------------------------

    async def generate(self, episode: Episode) -> None:
        """The next turn; it is in `episode` then."""
        loop = asyncio.get_running_loop()
        future: asyncio.Future[None] = loop.create_future()
        self._futures[episode] = future
        self._waiting.append(episode)
        self._came(episode)
        if self._running is None or self._running.done():
            self._running = loop.create_task(self._run())
        await future

    def leave(self, episode: Episode) -> None:
        """A conversation was closed."""
        episode.is_closed = True
        self._n_open -= 1
        self._slow.discard(episode)
        self._futures.pop(episode, None)
        if episode in self._waiting:
            self._waiting.remove(episode)
        if self._expects_more:
            self._vacant.append(time.monotonic() + PATIENCE_S)
        self._came(episode)

    def _came(self, episode: Episode) -> None:
        """Who was awaited is here, or never comes. The others may still stand in line behind it."""
        self._awaited.pop(episode, None)
        later = time.monotonic() + PATIENCE_S
        self._awaited = {other: max(until, later) for other, until in self._awaited.items()}
        self._tell()

    def _tell(self) -> None:
        if self._changed is not None:
            self._changed.set()
        if self._engine is not None and self._waiting:
            self._engine.interrupted.set()

    # ---- the engine's turns ------------------------------------------------------------------------

    async def _run(self) -> None:
        """While there are turns to generate."""
        loop = asyncio.get_running_loop()
        self._changed = asyncio.Event()
        self._vacant = []
        try:
            while True:
                await self._settle()
                newcomers, self._waiting = sorted(self._waiting, key=lambda e: e.number), []
                if self._engine is not None:
                    self._engine.interrupted.clear()
                if not newcomers and not (self._engine is not None and self._engine.is_busy):
                    if self._engine is not None and not self._n_open:
                        self._engine.rest()
                        await loop.run_in_executor(self._thread, workers.dismiss)
                    if self._waiting:  # came meanwhile
                        continue
                    return
                ended = await loop.run_in_executor(self._thread, self._generate, newcomers)
                until = time.monotonic() + PATIENCE_S
                for episode in ended:
                    if not episode.is_closed and episode not in self._slow:
                        self._awaited[episode] = until
                    future = self._futures.pop(episode, None)
                    if future is not None and not future.done():
                        future.set_result(None)
        except Exception as error:  # noqa: BLE001 - whatever torch raises: these have no answer
            self._waiting = []
            futures, self._futures = self._futures, {}
            for future in futures.values():
                if not future.done():
                    future.set_exception(PolicyFailure(f"generation failed: {type(error).__name__}: {error}"))

    def _generate(self, newcomers: list[Episode]) -> list[Episode]:
        if self._engine is None:
            stop, ending = self.chat.stop_ids, Ending(self.chat)
            if serves(self._model):
                self._engine = Engine(self._model, stop, self.settings, self.max_batch_tokens, ending)
            else:
                self._engine = Plain(self._model, stop, self.settings, ending)
            self._engine.speed = self._speed
        self._engine.sampling = self.settings
        return self._engine.run(newcomers)

    async def _settle(self) -> None:
        """Until everybody is here whom a step waits for."""
        assert self._changed is not None
        while True:
            self._changed.clear()
            now = time.monotonic()
            late = [episode for episode, until in self._awaited.items() if until <= now]
            for episode in late:
                del self._awaited[episode]
            self._slow.update(late)
            if self._vacant and self._vacant[0] <= now:
                self._vacant, self._expects_more = [], False
            ends = [*self._awaited.values(), *self._vacant, self._last_opening + GRACE_S]
            left = [end - now for end in ends if end > now]
            if not left:
                return
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._changed.wait(), min(left))


class LocalConversation:
    """One episode with a local model."""

    def __init__(self, policy: Local, episode: Episode, tools: list[Json]) -> None:
        self._policy = policy
        self._episode = episode
        self._dialogue = Dialogue(policy.chat, tools, episode)

    async def reply(self, messages: list[Json]) -> Reply:
        episode = self._episode
        self._dialogue.hear(messages)
        await self._policy.generate(episode)
        return self._dialogue.said(episode.said, episode.finish or "length")

    @property
    def tokens(self) -> Json:
        return self._dialogue.tokens

    def close(self) -> None:
        if not self._episode.is_closed:
            self._policy.leave(self._episode)


def _ends(model: Any) -> frozenset[int]:
    """What the model itself counts as the end of a turn."""
    ends = getattr(model.generation_config, "eos_token_id", None)
    return frozenset(ends if isinstance(ends, list) else {ends} - {None})
