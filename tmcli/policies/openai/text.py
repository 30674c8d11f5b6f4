"""A dialogue with a server that knows no tools: calls and replies are text, in the Hermes and Qwen form.

    wire = TextWire(tools)               # used as `Wire` is

The tools are described in the system turn (`prompts/tools.txt`), the model writes `<tool_call>` in its turn,
and the replies of all its calls come in one user turn, each in `<tool_response>`, so that turns alternate as
most chat templates demand. The server is asked to stop where a model begins to make up a reply; one that
does not stop is cut there.
"""

from __future__ import annotations

from typing import Any

import orjson

from tmcli.policies import Reply
from tmcli.policies.openai.sent import Sent
from tmcli.policies.openai.speech import listen
from tmcli.policies.openai.wire import native_text, outgoing
from tmcli.protocol import RESPONSE_OPEN, parse, tools_text, write_response
from tmcli.records import Json


class TextWire:
    """The dialogue so far, as the server knows it."""

    def __init__(self, tools: list[Json]) -> None:
        self.sent = Sent()
        self._tools = tools
        self._heard = 0

    def fields(self, thoughts: bool = True) -> Json:
        """What the next request says; `thoughts`: does the server take its reasoning back?"""
        return {"messages": self.sent.all(thoughts), "stop": [RESPONSE_OPEN]}

    def hear(self, dialogue: list[Json]) -> None:
        """Take over what is new in the record's form of the dialogue."""
        new = dialogue[self._heard :]
        if not self._heard:
            new = [{"role": "system", "content": ""}, *new] if new[0]["role"] != "system" else new
            first = outgoing(new[0])
            first["content"] = "\n\n".join(filter(None, [first["content"], described(self._tools)]))
            self.sent.add(first)
            new = new[1:]
        elif new and new[0]["role"] == "assistant":  # that one was said here
            new = new[1:]
        self._heard = len(dialogue)
        told: list[str] = []
        for message in [*new, None]:
            if message is not None and message["role"] == "tool":
                told.append(write_response(message["content"]))
                continue
            if told:
                self.sent.add({"role": "user", "content": "\n".join(told)})
                told = []
            if message is not None:
                self.sent.add(_plain(message))

    def said(self, choice: Json, cost: float | None = None) -> Reply:
        """Read one choice of a chat completion, and keep it as the turn that was said."""
        speech = listen(choice)
        calls = [native_text(item) for item in speech.calls]  # a server that reads them from the text itself
        said = "\n".join([part for part in (speech.said, *calls) if part])
        self.sent.add({"role": "assistant", "content": speech.aloud + said}, speech.fields)
        return speech.reply(choice, parse(said), cost)


def described(tools: list[Json]) -> str:
    """What the system turn says of the tools; nothing where there are none."""
    return tools_text(orjson.dumps(tool).decode() for tool in tools)


def _plain(message: Json) -> Json:
    """A message of a dialogue that began elsewhere, its calls as text."""
    sent = outgoing(message)
    calls: list[Any] = sent.pop("tool_calls", [])
    content = "\n".join([part for part in (sent["content"], *map(native_text, calls)) if part])
    return {"role": sent["role"], "content": content}
