"""Who answers. One protocol for the scripted expert, a server and a local model.

    conversation = policy.open(task, sample)
    reply = await conversation.reply(messages)     # once per assistant turn
    conversation.close()

A conversation is single-use and sees `messages` grow: a local model keeps its KV cache and token ids
in it, a server its sticky address. Only the scripted expert may read the task's plan; models see the
messages and the tool schemas, nothing else of the task.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, Protocol

from tmcli.errors import UsageError
from tmcli.meter import Meter
from tmcli.protocol import Style, Turn
from tmcli.records import Json, Task

Finish = Literal["stop", "length", "refusal"]
Calls = Literal["auto", "native", "text", "tokens"]
"""How calls travel to a server: in the API's own fields, written in the text, or in token ids of the whole
dialogue."""


@dataclass(frozen=True, slots=True)
class Sampling:
    """How a model samples. Temperature 0 is greedy."""

    temperature: float = 0.0
    top_p: float = 1.0
    max_new_tokens: int = 512
    """Per assistant turn."""
    seed: int = 0

    def to_json(self) -> Json:
        return {
            "temperature": self.temperature,
            "top_p": self.top_p,
            "max_new_tokens": self.max_new_tokens,
            "seed": self.seed,
        }


@dataclass(frozen=True, slots=True)
class Service:
    """How a model behind a server is asked. Nothing of it matters to other policies."""

    protocol: Calls = "auto"
    """`auto`: a probe decides, once."""
    extra_body: Json = field(default_factory=dict)
    """More fields of each request (`top_k`, `reasoning_effort`)."""
    cache: str | None = None
    """Folder of the replies that were had before."""
    at_once: int = 8
    """Requests at once, at most."""


@dataclass(frozen=True, slots=True)
class Reply:
    """One assistant turn, as said and as read."""

    content: str
    """What was said, without the calls that could be read (those are in `turn.calls`)."""
    turn: Turn
    finish: Finish = "stop"
    """`length`: cut at a token limit. `refusal`: the server's safety system or the model refused."""
    prompt_tokens: int = 0
    completion_tokens: int = 0
    cost: float | None = None
    """What these tokens cost, in USD; None: nobody knows."""
    extra: Json = field(default_factory=dict)
    """More keys for the assistant message (`reasoning_content`)."""


class Conversation(Protocol):
    """One episode's dialogue with a policy."""

    async def reply(self, messages: list[Json]) -> Reply:
        """The next assistant turn. `messages` is the whole dialogue so far.

        Raises `PolicyFailure` when no answer could be had: never for what the model said.
        """
        ...

    @property
    def tokens(self) -> Json | None:
        """`ids`, `mask`, `logprobs` of the whole dialogue so far, or None where nobody knows them."""
        ...

    def close(self) -> None: ...


class Policy(Protocol):
    """A model, a server, or the scripted expert."""

    @property
    def name(self) -> str: ...

    @property
    def sampling(self) -> Json:
        """What shapes its answers, for the record and for the resume key."""
        ...

    def open(self, task: Task, sample: int) -> Conversation: ...

    async def aclose(self) -> None: ...


def load(
    name: str,
    sampling: Sampling,
    style: Style = "trial",
    service: Service = Service(),
    meter: Meter | None = None,
    max_batch_tokens: int | None = None,
) -> Policy:
    """The policy a user names: `scripted`, a local model, or a server's model.

    A folder, a hub id (`org/name`), `smollm2` and `tiny` are local; `MODEL@URL` and every other name
    go to an OpenAI-compatible server, asked as `service` says; `meter` counts what is asked of it. `style`
    is how the scripted expert plays; `max_batch_tokens` bounds what a local model holds of all episodes.
    """
    if is_scripted(name):
        from tmcli.policies.manner import manner
        from tmcli.policies.scripted import Scripted

        return Scripted(style, manner(name))
    if is_local(name):
        if name.startswith((".", "/", "~")) and not Path(name).is_dir():
            raise UsageError(
                f"there is no folder {name!r}", "name a checkpoint, a hub id, smollm2, tiny, or MODEL@URL"
            )
        from tmcli.policies.local import Local

        return Local.load(name, sampling, max_batch_tokens=max_batch_tokens)
    if service.protocol == "tokens":
        from tmcli.policies.served import Served

        return Served(name, sampling, service=service, meter=meter)
    from tmcli.policies.openai import OpenAI

    return OpenAI(name, sampling, service=service, meter=meter)


def is_scripted(name: str) -> bool:
    """Is this the embedded teacher, in whatever manner?"""
    return name.partition(":")[0] == "scripted"


def is_local(name: str) -> bool:
    """Does this name mean local weights?"""
    if name in ("smollm2", "tiny"):
        return True
    if "@" in name:
        return False
    return "/" in name or Path(name).is_dir()
