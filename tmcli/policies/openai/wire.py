"""One dialogue in the form OpenAI-compatible servers speak, beside the form our records hold.

The server keeps its own call ids, and arguments as the text it wrote; records number the calls and hold
objects. `Wire` remembers the server's side, so records need not, and every request is valid whatever the
model wrote: each call has an id, arguments that are JSON, and exactly one reply.

No HTTP here; see `__init__.py`.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import orjson

from tmcli.policies import Finish, Reply
from tmcli.protocol import CALL_CLOSE, CALL_OPEN, Call, Fault, State, describe, parse, prompt, read_call
from tmcli.records import Json

REASONING = ("reasoning_content", "reasoning")
"""Where servers put a model's thoughts: kept in the record, and sent back within the episode."""


@dataclass(slots=True)
class Wire:
    """The dialogue so far, as the server knows it."""

    messages: list[Json] = field(default_factory=list)
    call_ids: list[str] = field(default_factory=list)
    """Ids of the last turn's calls that could be read, in order."""
    fault_ids: list[str | None] = field(default_factory=list)
    """The same for those that could not; None: written as text, so the server knows no call."""

    def hear(self, dialogue: list[Json]) -> None:
        """Take over what is new in the record's form of the dialogue."""
        if not self.messages:
            self.messages = [outgoing(message) for message in dialogue]
            return
        last = max(i for i, message in enumerate(dialogue) if message["role"] == "assistant")
        calls, faults = iter(self.call_ids), iter(self.fault_ids)
        replies: dict[str, str] = {}
        others: list[Json] = []
        for message in dialogue[last + 1 :]:
            if message["role"] != "tool":
                others.append(outgoing(message))
                continue
            wire_id = next(faults if message.get("name") == "invalid" else calls, None)
            if wire_id is not None:
                replies[wire_id] = message["content"]
            else:
                text = f"<tool_response>\n{message['content']}\n</tool_response>"
                others.append({"role": "user", "content": text})
        for wire_id in [*self.call_ids, *(known for known in self.fault_ids if known is not None)]:
            text = replies.get(wire_id, '{"error": "not called"}')
            self.messages.append({"role": "tool", "tool_call_id": wire_id, "content": text})
        self.messages += others

    def said(self, choice: Json) -> Reply:
        """Read one choice of a chat completion, and keep it as the turn that was said."""
        message: Json = choice["message"]
        thoughts = {key: text for key in REASONING if (text := _text(message.get(key)))}
        content, refusal = _text(message.get("content")), _text(message.get("refusal"))
        written = parse(content)
        native = message.get("tool_calls") or []
        if native:  # some servers repeat the calls in the content: what can be read there is cut
            calls, faults, sent, state = self._native(native)
            unread = [f"{CALL_OPEN}{fault.text}{CALL_CLOSE}" for fault in faults]
            text = written.text if written.calls else content
            turn = describe("\n".join([part for part in (text, *unread) if part]), calls, faults, state)
        else:
            turn, text = written, written.text
            self.call_ids = [f"call_{len(self.messages)}_{i}" for i in range(len(turn.calls))]
            self.fault_ids = [None] * len(turn.faults)
            sent = [
                _sent(known, call.name, orjson.dumps(call.arguments).decode())
                for known, call in zip(self.call_ids, turn.calls, strict=True)
            ]
        self.messages.append(
            {"role": "assistant", "content": text, **thoughts, **({"tool_calls": sent} if sent else {})}
        )
        return Reply(
            content=turn.text or refusal,
            turn=turn,
            finish=_finish(choice.get("finish_reason"), refusal),
            prompt_tokens=_count(choice, "prompt_tokens"),
            completion_tokens=_count(choice, "completion_tokens"),
            extra=thoughts,
        )

    def _native(self, native: list[Any]) -> tuple[tuple[Call, ...], tuple[Fault, ...], list[Json], State]:
        calls: list[Call] = []
        faults: list[Fault] = []
        sent: list[Json] = []
        self.call_ids, self.fault_ids = [], []
        state: State = "ok"
        for i, item in enumerate(native):
            function = item.get("function") if isinstance(item, dict) else None
            function = function if isinstance(function, dict) else {}
            name, arguments = function.get("name"), function.get("arguments")
            wire_id = item.get("id") if isinstance(item, dict) else None
            if not isinstance(wire_id, str) or not wire_id or wire_id in (*self.call_ids, *self.fault_ids):
                wire_id = f"call_{len(self.messages)}_{i}"
            read = _read(name, arguments)
            if isinstance(read, Fault):
                faults.append(read)
                self.fault_ids.append(wire_id)
                # Servers' chat templates parse the arguments again, so unreadable ones travel in an object.
                arguments = orjson.dumps({"unreadable": read.text}).decode()
                sent.append(_sent(wire_id, name if isinstance(name, str) and name else "invalid", arguments))
                continue
            call, repaired = read
            calls.append(call)
            self.call_ids.append(wire_id)
            if repaired or not isinstance(arguments, str) or not arguments.strip():
                arguments = orjson.dumps(call.arguments).decode()
            sent.append(_sent(wire_id, call.name, arguments))
            state = "repaired" if repaired else state
        return tuple(calls), tuple(faults), sent, state


def outgoing(message: Json) -> Json:
    """A record's message as a server takes it.

    The student's system turn is a reminder of what training taught it; a model that was not trained on
    it is told the whole method instead.
    """
    if message["role"] == "system" and message["content"] == prompt("trial"):
        return {"role": "system", "content": prompt("teacher")}
    sent: Json = {"role": message["role"], "content": message.get("content") or ""}
    if calls := message.get("tool_calls"):
        sent["tool_calls"] = [
            _sent(call["id"], call["function"]["name"], orjson.dumps(call["function"]["arguments"]).decode())
            for call in calls
        ]
    if "tool_call_id" in message:
        sent["tool_call_id"] = message["tool_call_id"]
    return sent


def _read(name: Any, arguments: Any) -> tuple[Call, bool] | Fault:
    """A native call -> (call, was it repaired) or a Fault whose text is the call as written."""
    if not isinstance(arguments, str):
        arguments = orjson.dumps(arguments).decode() if arguments is not None else ""
    if not isinstance(name, str) or not name:
        return Fault(arguments[:200], "the call names no function")
    named = f'{{"name": {orjson.dumps(name).decode()}, "arguments": '
    read = read_call(f"{named}{arguments.strip() or '{}'}}}")
    if isinstance(read, tuple) and read[0].name == name:
        return read
    error = read.error if isinstance(read, Fault) and "longer" in read.error else ""
    return Fault(f"{named}{arguments[:200]}}}", error or f'"arguments" of {name[:100]} is not a JSON object')


def _sent(wire_id: str, name: str, arguments: str) -> Json:
    return {"id": wire_id, "type": "function", "function": {"name": name, "arguments": arguments}}


def _finish(reason: Any, refusal: str) -> Finish:
    if refusal or reason in ("content_filter", "refusal"):
        return "refusal"
    return "length" if reason in ("length", "max_tokens") else "stop"


def _text(value: Any) -> str:
    """Content is a string, null, or a list of parts of which some are text."""
    if isinstance(value, list):
        parts = [part.get("text") for part in value if isinstance(part, dict)]
        return "".join(part for part in parts if isinstance(part, str))
    return value if isinstance(value, str) else ""


def _count(choice: Json, name: str) -> int:
    value = choice["usage"].get(name)
    return value if isinstance(value, int) and value >= 0 else 0
