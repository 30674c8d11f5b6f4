"""Does this server take tools? Asked once a run, before its first episode, where `--protocol` is `auto`.

    protocol, why = await decide(dialect, server)

Two short requests that differ in one thing, the tools. A server that takes them shows them to the model, so
the prompt has more tokens; as many with as without means that nobody looks at them. Nothing depends on what
the model says: a weak one calls nothing, and its server may take tools all the same.

    refuses the request with tools                     text
    as many prompt tokens with tools as without        text
    more                                               native
    counts no tokens                                   native: it took the tools, and calls that a model
                                                       writes as text are read there, too
"""

from __future__ import annotations

from tmcli.policies import Calls
from tmcli.policies.openai.dialect import Asked, Dialect
from tmcli.policies.openai.outcomes import Unfit
from tmcli.policies.openai.usage import GUESSED, tokens
from tmcli.records import Json

MOST = 16
"""Tokens of the replies: gateways to OpenAI's newer models refuse a lower limit."""
MESSAGES: list[Json] = [{"role": "user", "content": "Hi"}]
TOOLS: list[Json] = [
    {
        "type": "function",
        "function": {
            "name": "get_weather",
            "description": "The weather of a city, now.",
            "parameters": {
                "type": "object",
                "properties": {"city": {"type": "string", "description": "The name of the city."}},
                "required": ["city"],
            },
        },
    }
]


async def decide(dialect: Dialect, server: Asked) -> tuple[Calls, str]:
    """How calls travel, and why. Raises what any request raises when the server does not answer."""
    try:
        with_tools = await _prompt_tokens(dialect, server, {"messages": MESSAGES, "tools": TOOLS})
        without = await _prompt_tokens(dialect, server, {"messages": MESSAGES})
    except Unfit as unfit:
        if unfit.outcome.then == "without":
            return "native", "it refuses the question whether it takes tools"
        return "text", "it takes no tools"
    if not with_tools or not without:
        return "native", "it took tools, and counts no tokens"
    if with_tools <= without:
        return "text", "it takes tools and shows the model none"
    return "native", "it shows tools to the model"


async def _prompt_tokens(dialect: Dialect, server: Asked, fields: Json) -> int:
    """How long the prompt is for the server; 0: it does not say."""
    choice = await dialect.ask(server, lambda _: fields, 0, None, most=MOST, refusals=True)
    return 0 if GUESSED in choice["usage"] else tokens(choice)[0]
