"""How one model wants to be asked: the protocol of its calls, and the options it takes.

    dialect = Dialect(sampling, service, official=False)
    choice = await dialect.ask(server, wire.fields, seed, stick)      # asked again without what is refused
    dialect.to_json()                                                  # what the record says

What a server refuses is left out from then on, said once, and null in the record: OpenAI's reasoning models
take no `temperature`, some servers no `seed`. `max_tokens` is the word all servers know, and the one that
OpenAI's newer models refuse for `max_completion_tokens`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, Protocol

from tmcli import console
from tmcli.errors import PolicyFailure, UsageError
from tmcli.policies import Calls, Sampling, Service
from tmcli.policies.openai.outcomes import OPTIONS, REASONING, Unfit
from tmcli.records import Json

OURS = ("messages", "model", "tools", "stream", "n")
"""Fields of a request that `--extra-body` may not set: what is read here depends on them."""
OF_TOOLS = ("tool_choice", "parallel_tool_calls")
"""Fields that servers refuse where there are no tools."""
LIMITS = ("max_tokens", "max_completion_tokens")


class Asked(Protocol):
    """What sends a request and brings the choice."""

    async def complete(self, body: Json, stick: Any, *, salt: str = "", refusals: bool = False) -> Json: ...


class Dialect:
    """Of one policy; learns from what its server refuses."""

    def __init__(self, sampling: Sampling, service: Service, *, official: bool) -> None:
        for name in OURS:
            if name in service.extra_body:
                raise UsageError(f"--extra-body may not set {name!r}", "leave it out: tm sets it itself")
        self.sampling = sampling
        self.extra = service.extra_body
        self.protocol: Calls = "native" if official and service.protocol == "auto" else service.protocol
        """`auto` until the probe has decided."""
        self.thoughts = True
        """Does the server take its reasoning back?"""
        self.deciding: asyncio.Task[None] | None = None
        """The probe, while it runs."""
        self._limit = LIMITS[official]
        self._refused: set[str] = set()

    def to_json(self) -> Json:
        """What shapes the answers; an option that the server does not take is null."""
        shown = self.sampling.to_json() | {"protocol": self.protocol}
        names = {"max_new_tokens": set(LIMITS)}
        left_out = {name for name in shown if names.get(name, {name}) <= self._refused}
        shown |= dict.fromkeys(left_out)
        return {**shown, "extra_body": self.extra} if self.extra else shown

    def body(self, fields: Json, seed: int, most: int | None = None) -> Json:
        """A request, but for the model; the probe's has a bound of its own, and no choice of tools."""
        s = self.sampling
        options: Json = {"temperature": s.temperature, "seed": seed, self._limit: most or s.max_new_tokens}
        if s.top_p < 1:
            options["top_p"] = s.top_p
        extra = self.extra
        if any(name in extra for name in LIMITS):
            del options[self._limit]
            extra = {**extra, **{name: most for name in LIMITS if most and name in extra}}
        body = {**options, **fields, **extra}
        if "tools" not in body or most:
            body = {name: value for name, value in body.items() if name not in OF_TOOLS}
        for name in self._refused & body.keys() - self.extra.keys():
            del body[name]
        return body

    async def aclose(self) -> None:
        """End the probe, should it run: nobody waits for it any more."""
        if self.deciding is not None and not self.deciding.done():
            self.deciding.cancel()
            await asyncio.wait([self.deciding])

    async def ask(
        self,
        server: Asked,
        fields: Callable[[bool], Json],
        seed: int,
        stick: Any,
        *,
        most: int | None = None,
        refusals: bool = False,
    ) -> Json:
        """The choice; raises `Unfit` where the server refuses what cannot be left out."""
        while True:
            thoughts = self.thoughts
            body = self.body(fields(thoughts), seed, most)
            try:
                # the seed tells samples apart for a cache, even where the server takes none
                return await server.complete(body, stick, salt=str(seed), refusals=refusals)
            except Unfit as unfit:
                name = unfit.outcome.field
                if name in REASONING and thoughts:
                    self._leave_out("its own reasoning in messages", not self.thoughts)
                    self.thoughts = False
                elif name in OPTIONS and name in body and name not in self.extra:
                    self._leave_out(repr(name), name in self._refused)
                    self._refused.add(name)
                    if name == self._limit and (other := LIMITS[name == LIMITS[0]]) not in self._refused:
                        self._limit = other
                else:
                    raise

    def _leave_out(self, what: str, known: bool) -> None:
        """Say once that the server is asked without something."""
        if not known and what.strip("'") not in LIMITS:
            console.note(f"the server does not take {what}: asked without it, and so it says in the record")


def refused(unfit: Unfit, protocol: Calls) -> Exception:
    """What a request comes to that the server does not take, whatever is left out."""
    outcome = unfit.outcome
    if outcome.then == "no_tools" and protocol == "native":
        return outcome.error(unfit.problem)
    return PolicyFailure(unfit.problem)
