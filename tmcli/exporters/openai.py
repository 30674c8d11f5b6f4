"""OpenAI's form for fine-tuning: `messages` and `tools`, arguments as JSON strings.

Calls keep their ids, and a message of weight 0 its weight. That API wants every reply to name a call; what
answers a call that could not be read is said by the user instead, as it is when such a dialogue is sent to
a server. axolotl reads this form too (`type: chat_template`, `message_field_training: weight`).
"""

from __future__ import annotations

import re
from collections import Counter

import orjson

from tmcli.exporters import turns
from tmcli.records import Json

_NAME = re.compile(r"[A-Za-z0-9_-]{1,64}")


def row(record: Json, lost: Counter[str]) -> Json | None:
    """The row of a trajectory; None where nothing is to be learned."""
    dialogue = turns(record["messages"], lost)
    if not dialogue:
        return None
    messages: list[Json] = []
    open_calls: set[str] = set()
    for message in dialogue:
        role = message["role"]
        content = message.get("content") or ""
        if role == "tool":
            call_id = message.get("tool_call_id")
            if call_id in open_calls:
                open_calls.discard(call_id)
                messages.append({"role": "tool", "tool_call_id": call_id, "content": content})
            else:
                lost["replies to unreadable calls, now said by the user"] += 1
                _hear(messages, f"<tool_response>\n{content}\n</tool_response>")
            continue
        lost["calls without a reply"] += len(open_calls)
        open_calls = set()
        if role == "user":
            _hear(messages, content)
        elif role == "assistant":
            said = _said(message, content, lost)
            open_calls = {call["id"] for call in said.get("tool_calls", ())}
            messages.append(said)
        else:
            messages.append({"role": role, "content": content})
    for name in [tool["function"]["name"] for tool in record["tools"]]:
        if not _NAME.fullmatch(name):
            lost["tool names that OpenAI refuses"] += 1
    lost += Counter()  # no zeros
    return {"messages": messages, **({"tools": record["tools"]} if record["tools"] else {})}


def _said(message: Json, content: str, lost: Counter[str]) -> Json:
    """An assistant turn."""
    said: Json = {"role": "assistant", "content": content}
    if message.get("weight") == 0:
        said["weight"] = 0
    if calls := message.get("tool_calls"):
        said["tool_calls"] = [
            {
                "id": call.get("id") or f"call_{i}",
                "type": "function",
                "function": {"name": call["function"]["name"], "arguments": arguments(call)},
            }
            for i, call in enumerate(calls)
        ]
    if message.keys() - {"role", "content", "weight", "tool_calls"}:
        lost["reasoning and other fields of turns"] += 1
    return said


def arguments(call: Json) -> str:
    """Of one call, as JSON text."""
    given = call["function"].get("arguments", {})
    return given if isinstance(given, str) else orjson.dumps(given).decode()


def _hear(messages: list[Json], content: str) -> None:
    """What the user says next; two messages of one speaker become one, which templates need."""
    if messages and messages[-1]["role"] == "user":
        content = f"{messages.pop()['content']}\n{content}"
    messages.append({"role": "user", "content": content})
