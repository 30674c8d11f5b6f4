"""A model behind vLLM or SGLang, asked with token ids: what it samples is never tokenised again.

    Served("Qwen/Qwen3-8B@http://localhost:8000/v1", sampling)       # `--protocol tokens`
    policy = Served("http://localhost:8000/v1", sampling, chat)      # the model that it serves, for rl
    policy.sync(folder)                                              # with these weights from now on

The prompt is rendered here, as for a local model, and sent as ids; ids and log-probabilities come back, so
`tokens` of a trajectory are exact. The server's chat template and tool parser play no part. The connections
(several servers, patience, keys) are those of `policies.openai`. The probe comes before the first episode:
a server that gives no ids, or whose ids mean other text than ours, is refused in a sentence.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
from dataclasses import replace
from pathlib import Path
from typing import Any

from tmcli.chat import Chat
from tmcli.errors import PolicyFailure, RunError, UsageError
from tmcli.http import Patience
from tmcli.meter import Meter
from tmcli.policies import Reply, Sampling, Service
from tmcli.policies.dialogue import Dialogue
from tmcli.policies.openai import OpenAI
from tmcli.policies.openai.dialect import LIMITS
from tmcli.policies.openai.names import addresses, split
from tmcli.policies.openai.outcomes import Unfit, finish
from tmcli.policies.openai.usage import tokens
from tmcli.policies.served.engines import ENGINES, Asked
from tmcli.policies.served.facts import look
from tmcli.policies.served.probe import probe
from tmcli.policies.served.weights import Weights
from tmcli.prices import default_url
from tmcli.records import Json, Task


class Served:
    """A server's model as a policy of token ids."""

    def __init__(
        self,
        name: str,
        sampling: Sampling,
        chat: Chat | None = None,
        *,
        patience: Patience | None = None,
        service: Service = Service(),
        meter: Meter | None = None,
    ) -> None:
        """`chat`: of the model's tokenizer; None: read from the model's name. Asks the server what it serves:
        raises `RunError` where there is none, `UsageError` where it serves something else."""
        model, given = ("", name) if name.startswith(("http://", "https://")) else split(name)
        key = os.environ.get("OPENAI_API_KEY", "").strip()
        urls = [url.copy_with(userinfo=b"") if key else url for url in addresses(given or default_url())]
        facts = look(urls, model, {"Authorization": f"Bearer {key}"} if key else {})
        self.kind = facts.kind
        self.context = facts.context
        self.engine = ENGINES[facts.kind]
        self.settings = sampling
        self.extra = service.extra_body
        self.server = OpenAI(
            f"{facts.model}@{','.join(map(str, urls))}",
            sampling,
            patience=patience,
            service=service,
            meter=meter,
            form=self.engine.form,
        )
        self.weights = Weights(facts.kind, urls, key)
        self.chat = Chat(_tokenizer(facts.model, facts.root)) if chat is None else chat
        self._probing: asyncio.Task[None] | None = None

    @property
    def name(self) -> str:
        return self.server.name

    @property
    def sampling(self) -> Json:
        extra = {"extra_body": self.extra} if self.extra else {}
        return {"name": self.server.model, **self.settings.to_json(), "protocol": "tokens", **extra}

    @property
    def adapter(self) -> str:
        """The adapter's name that requests ask for; empty: the model as it is."""
        return self.weights.adapter

    @adapter.setter
    def adapter(self, name: str) -> None:
        self.weights.adapter = name

    def sync(self, folder: Path) -> None:
        """Answer with the adapter or the model in `folder` from now on. No episode is open."""
        self.weights.sync(folder)

    def open(self, task: Task, sample: int) -> ServedConversation:
        return ServedConversation(self, task, sample)

    async def aclose(self) -> None:
        if self._probing is not None and not self._probing.done():
            self._probing.cancel()
            await asyncio.wait([self._probing])
        await self.server.aclose()
        await asyncio.to_thread(self.weights.drop)

    async def probed(self) -> None:
        """Wait for the one probe that all episodes wait for; when it fails the next episode asks again."""
        probing = self._probing
        if probing is not None and probing.done():
            if not probing.cancelled() and probing.exception() is None:
                return
            probing = None
        if probing is None:
            probing = self._probing = asyncio.create_task(probe(self))
            probing.add_done_callback(lambda task: task.cancelled() or task.exception())
        await asyncio.shield(probing)

    async def generate(
        self, ids: list[int], seed: int, stick: Any = None, *, sampling: Sampling | None = None, **extra: Any
    ) -> Json:
        """The choice after these ids: `message` holds `token_ids` and `logprobs`; nothing where there is no
        room. Raises `PolicyFailure` when no answer could be had."""
        sampling = self.settings if sampling is None else sampling
        most = sampling.max_new_tokens
        if self.context is not None:
            most = min(most, self.context - len(ids))
        if most < 1:
            return {"message": {}, "finish_reason": "length", "usage": {}}
        stops = sorted(self.chat.stop_ids)
        asked = Asked(sampling, most, seed, stops, {**_without_limits(self.extra), **extra})
        try:
            choice = await self.server.complete(self.engine.body(ids, asked, self.adapter), stick)
        except Unfit as unfit:
            raise PolicyFailure(unfit.problem) from unfit
        except UsageError as error:
            if not self.adapter or self.adapter not in error.problem:
                raise
            raise RunError(error.problem, "the server was started anew: go on with --resume") from error
        if choice["message"] and (n := tokens(choice)[0]) != len(ids):
            raise PolicyFailure(f"{self.name} counts {n} tokens of a prompt that has {len(ids)}")
        if choice["finish_reason"] == "stop":  # what the model itself counts as an end, as its server knows
            self.chat.stop_ids |= {choice["message"]["token_ids"][-1]}
        return choice


class ServedConversation:
    """One episode."""

    def __init__(self, policy: Served, task: Task, sample: int) -> None:
        self._policy = policy
        self._dialogue = Dialogue(policy.chat, task.tools)
        self._stick = policy.server.stick()
        self._seed = f"{policy.settings.seed}:{task.id}#{sample}"

    async def reply(self, messages: list[Json]) -> Reply:
        policy, dialogue = self._policy, self._dialogue
        await policy.probed()
        dialogue.hear(messages)
        choice = await policy.generate(dialogue.row.ids, self._random(), self._stick)
        message = choice["message"]
        ended = finish(choice["finish_reason"], "")
        reply = dialogue.say(message.get("token_ids", []), message.get("logprobs", []), ended)
        return replace(reply, cost=policy.server.meter.cost(*tokens(choice)))

    @property
    def tokens(self) -> Json:
        return self._dialogue.tokens

    def close(self) -> None:
        """Nothing is held: the connections belong to the policy."""

    def _random(self) -> int:
        """A seed that depends on seed, task, sample and position, as a local model's."""
        words = f"{self._seed}@{len(self._dialogue.row.ids)}".encode()
        return int.from_bytes(hashlib.sha256(words).digest()[:8], "big") >> 1


def _without_limits(extra: Json) -> Json:
    return {name: value for name, value in extra.items() if name not in LIMITS}


def _tokenizer(model: str, root: str) -> Any:
    """The tokenizer of what a server serves, by its name or by what it says that it loaded."""
    from tmcli import model as models

    for name in (model, root):
        if "/" in name or name in models.EMBEDDED or Path(name).is_dir():
            try:
                return models.load_tokenizer(name)
            except UsageError:
                continue
    raise UsageError(
        f"the tokenizer of {model!r} cannot be found, and token ids need it",
        "name the model by its folder or hub id (start the server without --served-model-name)",
    )
