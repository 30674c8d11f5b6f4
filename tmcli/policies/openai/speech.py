"""What a choice of a chat completion says, taken apart. Nothing in it is trusted to have the right type.

speech = listen(choice)
speech.said, speech.calls, speech.fields
reply = speech.reply(choice, turn, cost)        # once `wire.py` or `text.py` has read the turn in it
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import orjson

from tmcli.policies import Reply
from tmcli.policies.openai.outcomes import REASONING, finish
from tmcli.policies.openai.usage import tokens
from tmcli.protocol import RESPONSE_OPEN, Turn, split_thoughts
from tmcli.records import Json


@dataclass(frozen=True, slots=True)
class Speech:
    """What a choice says, taken apart."""

    said: str
    """The content, without thoughts, and without tool replies that the model made up."""
    aloud: str
    """The thoughts in the content, as they were written."""
    cut: bool
    """Did it make up tool replies?"""
    calls: list[Any]
    refusal: str
    fields: Json
    """The server's reasoning fields, to be sent back as they came."""
    thoughts: Json
    """What the record keeps of both."""

    def reply(self, choice: Json, turn: Turn, cost: float | None) -> Reply:
        """The turn as the episode takes it."""
        if self.cut and turn.state == "ok":
            turn = replace(turn, state="repaired")
        prompt_tokens, completion_tokens = tokens(choice)
        return Reply(
            content=turn.text or self.refusal,
            turn=turn,
            finish=finish(choice.get("finish_reason"), self.refusal),
            prompt_tokens=prompt_tokens,
            completion_tokens=completion_tokens,
            extra=self.thoughts,
            cost=cost,
        )


def listen(choice: Json) -> Speech:
    """Take a choice apart; never raises."""
    message: Json = choice["message"]
    content = _text(message.get("content"))
    thinks, said = split_thoughts(content)
    if thinks:
        said = said.lstrip("\n")
    aloud = content[: len(content) - len(said)] if content.endswith(said) else f"<think>{thinks}</think>"
    said, made_up, _ = said.partition(RESPONSE_OPEN)
    fields = {key: kept for key in REASONING if (kept := _reasoning(message.get(key)))}
    thoughts = fields
    if thinks.strip():
        told = fields.get("reasoning_content")
        thoughts = {**fields, "reasoning_content": f"{told}\n{thinks}" if isinstance(told, str) else thinks}
    old = message.get("function_call")
    calls = message.get("tool_calls") or ([{"function": old}] if isinstance(old, dict) and old else [])
    return Speech(
        said,
        aloud,
        # vLLM tells which of our stops it met; the others cut without a word
        bool(made_up) or choice.get("stop_reason") == RESPONSE_OPEN,
        calls if isinstance(calls, list) else [],
        _text(message.get("refusal")),
        fields,
        thoughts,
    )


def _reasoning(value: Any) -> Any:
    """A text, or OpenRouter's list of details, if it can be written again."""
    if isinstance(value, str):
        return value
    return value if isinstance(value, list) and dumped(value) else None


def _text(value: Any) -> str:
    """Content is a string, null, or a list of parts of which some are text."""
    if isinstance(value, list):
        parts = [part.get("text") for part in value if isinstance(part, dict)]
        return "".join(part for part in parts if isinstance(part, str))
    return value if isinstance(value, str) else ""


def dumped(value: Any) -> str:
    """As JSON; empty for what is nested so deeply that it can be read and not written."""
    try:
        return orjson.dumps(value).decode()
    except TypeError:
        return ""
