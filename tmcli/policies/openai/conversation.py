"""One episode with a server's model: what is said goes over the wire its server takes.

    conversation = Conversation(server, task.tools, seed)
    reply = await conversation.reply(messages)
"""

from __future__ import annotations

import asyncio
from typing import Any, Protocol

from tmcli import console
from tmcli.meter import Meter
from tmcli.policies import Calls, Reply
from tmcli.policies.openai import dialect, probe
from tmcli.policies.openai.dialect import Dialect
from tmcli.policies.openai.outcomes import Unfit
from tmcli.policies.openai.text import TextWire
from tmcli.policies.openai.usage import tokens
from tmcli.policies.openai.wire import Wire
from tmcli.records import Json


class Model(dialect.Asked, Protocol):
    """A model behind a server."""

    name: str
    meter: Meter
    dialect: Dialect

    def stick(self) -> Any: ...


class Conversation:
    """One dialogue; `tools` is what the model is shown."""

    tokens = None

    def __init__(self, model: Model, tools: list[Json], seed: int) -> None:
        self.model = model
        self.tools = tools
        self.seed = seed
        self.stick = model.stick()
        self.wire: Wire | TextWire | None = None

    async def reply(self, messages: list[Json]) -> Reply:
        """The next turn. Raises `PolicyFailure` when no answer could be had, never for what was said."""
        if self.wire is None:
            protocol = await decided(self.model)
            self.wire = TextWire(self.tools) if protocol == "text" else Wire(self.tools)
        wire = self.wire
        wire.hear(messages)
        try:
            choice = await self.model.dialect.ask(self.model, wire.fields, self.seed, self.stick)
        except Unfit as unfit:
            raise dialect.refused(unfit, self.model.dialect.protocol) from unfit
        return wire.said(choice, self.model.meter.cost(*tokens(choice)))

    def close(self) -> None:
        """Nothing is held: the connections belong to the policy."""


async def decided(model: Model) -> Calls:
    """The protocol, from the one probe that all episodes wait for. When it fails all who wait fail with it,
    and the next episode asks again."""
    if model.dialect.protocol == "auto":
        if model.dialect.deciding is None or model.dialect.deciding.done():
            model.dialect.deciding = asyncio.create_task(_decide(model))
            model.dialect.deciding.add_done_callback(lambda task: task.cancelled() or task.exception())
        await asyncio.shield(model.dialect.deciding)
    return model.dialect.protocol


async def _decide(model: Model) -> None:
    protocol, why = await probe.decide(model.dialect, model)
    model.dialect.protocol = protocol
    words = {"native": "natively", "text": "as text"}
    console.note(f"{model.name}: calls travel {words[protocol]} ({why}); --protocol chooses otherwise")
