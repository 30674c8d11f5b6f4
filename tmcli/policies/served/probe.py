"""Does this server take and give token ids that mean what ours mean? Asked once, before the first episode.

    await probe(policy)                  # returns, or says in a `UsageError` what is wrong

A short greedy answer: its ids must say the text that the server says. Where the run samples at a temperature
of its own, the same answer is drawn again at that temperature with `top_k` 1: an engine whose
log-probabilities are the same as before gives those of temperature 1, not those that were sampled from.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Protocol

from tmcli.chat import Chat
from tmcli.errors import PolicyFailure, UsageError
from tmcli.policies import Sampling
from tmcli.records import Json

MOST = 16
PROMPT: list[Json] = [{"role": "user", "content": "Hi"}]
TOLERANCE = 1e-3
UNREADABLE = "�"
"""What a decoder writes for half of a character."""


class Policy(Protocol):
    """A server's model."""

    chat: Chat
    settings: Sampling

    @property
    def name(self) -> str: ...

    async def generate(
        self, ids: list[int], seed: int, stick: Any = None, *, sampling: Sampling | None = None, **extra: Any
    ) -> Json: ...


async def probe(policy: Policy) -> None:
    """Raises `UsageError` when this server cannot be used."""
    ids = policy.chat.prompt_ids(PROMPT, [])
    greedy = replace(policy.settings, temperature=0.0, top_p=1.0, max_new_tokens=MOST)
    try:
        choice = await policy.generate(ids, 0, sampling=greedy)
    except PolicyFailure as failure:
        raise UsageError(
            f"{policy.name} gives no token ids ({failure.problem})",
            "serve the model with vLLM (0.10.2 or newer) or SGLang, or leave --protocol tokens out",
        ) from failure
    message = choice["message"]
    said = policy.chat.text(message["token_ids"])
    text = message["text"]
    if UNREADABLE not in said + text and said.strip() != text.strip():
        raise UsageError(
            f"{policy.name} and the tokenizer here do not mean the same by token ids ({text[:40]!r} there, "
            f"{said[:40]!r} here)",
            "name the model by the folder or hub id that the server loaded",
        )
    hot = replace(greedy, temperature=policy.settings.temperature)
    if hot.temperature in (0.0, 1.0):
        return
    again = (await policy.generate(ids, 0, sampling=hot, top_k=1))["message"]
    before, after = message["logprobs"], again["logprobs"]
    same = again["token_ids"] == message["token_ids"] and max(map(_distance, before, after)) < TOLERANCE
    if same and min(before) < -0.1:
        raise UsageError(
            f"{policy.name} gives log-probabilities of temperature 1, and this run has {hot.temperature:g}",
            "start vLLM with --logprobs-mode processed_logprobs, or sample at temperature 1",
        )


def _distance(one: float, other: float) -> float:
    return abs(one - other)
