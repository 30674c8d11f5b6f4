"""What known models cost at the services that sell them: a small table of November 2026, maybe out of date.

    price_of("gpt-4o")                                      -> Price(2.5, 10.0)
    price_of("openai/gpt-4o@https://openrouter.ai/api/v1")  -> Price(2.5, 10.0)
    price_of("gpt-4o@http://localhost:8000/v1")             -> None

A price belongs to a model *and* its seller: a model of the same name on one's own server is not billed, and
nobody knows here what it costs, so it has no price (None, never 0). Prices are of short prompts, with no
discounts for cached prefixes, batches and quiet hours: a bill is rather lower than what is shown here.
`--price-in` and `--price-out` win over the table.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from urllib.parse import urlsplit

from tmcli.errors import UsageError
from tmcli.meter import Price

BASE_URLS = ("OPENAI_BASE_URL", "OPENAI_API_BASE")
"""The environment variables that say where a model is asked for whose name tells no address."""
OPENAI_URL = "https://api.openai.com/v1"

SELLERS: Mapping[str, str] = {
    "api.openai.com": "openai",
    "api.anthropic.com": "anthropic",
    "generativelanguage.googleapis.com": "google",
    "api.deepseek.com": "deepseek",
    "api.mistral.ai": "mistralai",
    "openrouter.ai": "",  # sells all of them under `vendor/model`, at the vendor's price
}

# USD per million tokens: prompt, completion.
PRICES: Mapping[str, Mapping[str, tuple[float, float]]] = {
    # https://developers.openai.com/api/docs/models (gpt-5-nano and its comparison), and the pricing page as
    # listed on https://deploybase.ai/articles/openai-pricing and https://github.com/simonw/llm-prices
    "openai": {
        "gpt-4o": (2.5, 10.0),
        "gpt-4o-2024-05-13": (5.0, 15.0),
        "gpt-4o-mini": (0.15, 0.6),
        "gpt-4.1": (2.0, 8.0),
        "gpt-4.1-mini": (0.4, 1.6),
        "gpt-4.1-nano": (0.1, 0.4),
        "gpt-5": (1.25, 10.0),
        "gpt-5-mini": (0.25, 2.0),
        "gpt-5-nano": (0.05, 0.4),
        "gpt-5-pro": (15.0, 120.0),
        "gpt-5.1": (1.25, 10.0),
        "gpt-5.2": (1.75, 14.0),
        "gpt-5.4": (2.5, 15.0),
        "gpt-5.4-mini": (0.75, 4.5),
        "gpt-5.4-nano": (0.2, 1.25),
        "gpt-5.5": (5.0, 30.0),
        "o3": (2.0, 8.0),
        "o3-mini": (1.1, 4.4),
        "o4-mini": (1.1, 4.4),
    },
    # https://platform.claude.com/docs/en/about-claude/pricing, as read for
    # https://docs.rs/synaps/0.10.2/synaps_cli/pricing, and the pages of the models
    "anthropic": {
        "claude-opus-4": (15.0, 75.0),
        "claude-opus-4-1": (15.0, 75.0),
        "claude-opus-4-5": (5.0, 25.0),
        "claude-opus-5": (5.0, 25.0),
        "claude-opus-5-5": (4.0, 20.0),
        "claude-sonnet-4": (3.0, 15.0),
        "claude-sonnet-4-5": (3.0, 15.0),
        "claude-sonnet-5": (2.0, 10.0),
        "claude-sonnet-5-5": (2.0, 10.0),
        "claude-haiku-4-5": (1.0, 5.0),
    },
    # https://ai.google.dev/gemini-api/docs/pricing, prompts up to 200,000 tokens, as read for
    # https://docs.rs/crate/gemini-cost/latest/source/src/pricing.rs
    "google": {
        "gemini-2.5-pro": (1.25, 10.0),
        "gemini-2.5-flash": (0.3, 2.5),
        "gemini-2.5-flash-lite": (0.1, 0.4),
    },
    # https://api-docs.deepseek.com/quick_start/pricing: the price of peak hours, half of it at other times
    "deepseek": {
        "deepseek-flash": (0.3, 1.2),
        "deepseek-v4-pro": (1.32, 3.96),
    },
    # https://docs.mistral.ai/models/model-cards/mistral-medium-3-5-26-04
    "mistralai": {
        "mistral-medium-3.5": (1.5, 7.5),
        "mistral-medium-latest": (1.5, 7.5),
    },
}

_DATE = re.compile(r"-(\d{4}-\d{2}-\d{2}|20\d{6})\Z")


def default_url() -> str:
    """Where a model is asked for whose name tells no address."""
    return next(filter(None, map(os.environ.get, BASE_URLS)), OPENAI_URL)


def price_of(name: str) -> Price | None:
    """What `MODEL` or `MODEL@URL[,URL...]` costs, as far as the table knows; OPENAI_BASE_URL counts.

    A dated name (`gpt-4o-2024-08-06`) costs what its family costs, unless it has a line of its own.
    """
    model, _, urls = name.partition("@http")
    urls = f"http{urls}" if urls else default_url()
    found = {_listed(model, url.strip()) for url in urls.split(",")}
    return found.pop() if len(found) == 1 else None


def price_or(name: str, usd_in: float | None, usd_out: float | None) -> Price | None:
    """The price a user gives (`--price-in`, `--price-out`), else the table's. Raises `UsageError` for half a
    price whose other half nobody knows."""
    known = price_of(name)
    if usd_in is None and usd_out is None:
        return known
    if known is not None:
        usd_in = known.usd_in if usd_in is None else usd_in
        usd_out = known.usd_out if usd_out is None else usd_out
    if usd_in is None or usd_out is None:
        raise UsageError("half a price is no price", "give both --price-in and --price-out")
    return Price(usd_in, usd_out)


def _listed(model: str, url: str) -> Price | None:
    try:
        host = urlsplit(url).hostname or ""
    except ValueError:  # no address: the policy says so in its own words
        return None
    vendor = SELLERS.get(host)
    if vendor is None:
        return None
    if not vendor:
        vendor, _, model = model.partition("/")
    if vendor == "anthropic":
        model = model.replace(".", "-")  # OpenRouter's way to write their versions
    prices = PRICES.get(vendor, {})
    found = prices.get(model) or prices.get(_DATE.sub("", model))
    return None if found is None else Price(*found)
