"""What a server says of itself: its engine, its model, how long a dialogue may be.

    facts = look(["http://localhost:8000/v1"], "", headers)
    facts.kind, facts.model, facts.root, facts.context

Asked once, before anything is generated: whoever names a server that is not there hears it at once.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import httpx

from tmcli.errors import RunError, UsageError, did_you_mean
from tmcli.policies.openai import troubles
from tmcli.policies.served.engines import Kind

LOOK_S = 10.0


@dataclass(frozen=True, slots=True)
class Facts:
    """Of one model behind a server."""

    kind: Kind
    model: str
    root: str
    """The folder or hub id that the server loaded; empty where it does not say."""
    context: int | None
    """Tokens of prompt and answer together; None: it does not say."""


def look(urls: Sequence[httpx.URL], model: str, headers: Mapping[str, str] = {}) -> Facts:
    """The facts, which all of these servers must agree on; `model` empty: the first that they serve."""
    found = [_look(url, model, headers) for url in urls]
    for url, facts in zip(urls[1:], found[1:], strict=True):
        if (facts.kind, facts.model, facts.context) != (found[0].kind, found[0].model, found[0].context):
            raise UsageError(
                f"{shown(urls[0])} and {shown(url)} serve different models", "name servers of the same one"
            )
    return found[0]


def _look(url: httpx.URL, model: str, headers: Mapping[str, str]) -> Facts:
    target = url.copy_with(path=f"{url.path.rstrip('/')}/models")
    try:
        answer = httpx.get(target, headers=dict(headers), timeout=LOOK_S)
    except (httpx.HTTPError, httpx.InvalidURL, OSError) as error:
        problem = f"the server {shown(url)} {troubles.met(error).words}"
        raise RunError(problem, "is it running, and is the address right?") from error
    if answer.status_code in (401, 403):
        raise UsageError(
            f"the server {shown(url)} answers {answer.status_code}",
            "set OPENAI_API_KEY to a key that this server takes",
        )
    cards = _cards(answer)
    if not cards:
        raise UsageError(f"the server {shown(url)} lists no models", "does its address end in /v1?")
    known = {card["id"]: card for card in cards}
    if model and model not in known:
        raise UsageError(f"the server {shown(url)} serves no model {model!r}", did_you_mean(model, known))
    card = known[model] if model else next((c for c in cards if not c.get("parent")), cards[0])
    root, context = card.get("root"), card.get("max_model_len")
    return Facts(
        "sglang" if card.get("owned_by") == "sglang" else "vllm",
        card["id"],
        root if isinstance(root, str) else "",
        context if type(context) is int and context > 0 else None,
    )


def _cards(answer: httpx.Response) -> list[dict[str, Any]]:
    """The models in a list of them."""
    try:
        cards = answer.json()["data"]
        return [card for card in cards if isinstance(card, dict) and isinstance(card.get("id"), str)]
    except (ValueError, KeyError, TypeError):
        return []


def shown(url: httpx.URL) -> str:
    """An address without what nobody may read."""
    return str(url.copy_with(userinfo=b"", query=None, fragment=None))
