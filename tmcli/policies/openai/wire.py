"""One dialogue in the form OpenAI-compatible servers speak, beside the form our records hold.

    wire = Wire(tools)
    wire.hear(dialogue)                  # what is new in the record's form of the dialogue
    body = {**options, **wire.fields()}
    reply = wire.said(choice)            # never raises, whatever the choice holds

The server keeps its own call ids, and arguments as the text it wrote; records number the calls and hold
objects. `Wire` remembers the server's side, so records need not, and every request is valid whatever the
model wrote: each call has an id, arguments that are JSON, and exactly one reply. What each odd choice comes
to stands in `outcomes.py`.

No HTTP here; `text.py` is the same for servers without tools.
"""

from __future__ import annotations

import re
from typing import Any

import orjson

from tmcli.policies import Reply
from tmcli.policies.openai.sent import Sent
from tmcli.policies.openai.speech import dumped, listen
from tmcli.protocol import (
    CALL_CLOSE,
    CALL_OPEN,
    Call,
    Fault,
    State,
    describe,
    parse,
    prompt,
    read_call,
    write_response,
)
from tmcli.records import Json

PROMPTS = {"trial": "teacher", "direct": "teacher_direct"}
"""The student's system turn is a reminder of what training taught it; a model that was not trained on it is
told the whole method instead."""

_NAME = re.compile(r"[A-Za-z0-9_-]{1,64}")
"""How OpenAI wants a function to be called."""


class Wire:
    """The dialogue so far, as the server knows it."""

    def __init__(self, tools: list[Json]) -> None:
        self.sent = Sent()
        self.call_ids: list[str] = []
        """Ids of the last turn's calls that could be read, in order."""
        self.fault_ids: list[str | None] = []
        """The same for those that could not; None: written as text, so the server knows no call."""
        self._tools = orjson.Fragment(orjson.dumps(tools)) if tools else None
        self._names = {tool["function"]["name"] for tool in tools}
        self._heard = 0

    def fields(self, thoughts: bool = True) -> Json:
        """What the next request says; `thoughts`: does the server take its reasoning back?"""
        return {"messages": self.sent.all(thoughts), **({"tools": self._tools} if self._tools else {})}

    def hear(self, dialogue: list[Json]) -> None:
        """Take over what is new in the record's form of the dialogue."""
        if not self._heard:
            for message in dialogue:
                self.sent.add(outgoing(message))
            self._heard = len(dialogue)
            return
        calls, faults = iter(self.call_ids), iter(self.fault_ids)
        replies: dict[str, str] = {}
        told: list[str] = []
        others: list[Json] = []
        for message in dialogue[self._heard :]:
            if message["role"] == "tool":
                wire_id = next(faults if message["tool_call_id"].startswith("invalid") else calls, None)
                if wire_id is None:
                    told.append(write_response(message["content"]))
                else:
                    replies[wire_id] = message["content"]
            elif message["role"] != "assistant":  # that one was said here
                others.append(outgoing(message))
        self._heard = len(dialogue)
        for wire_id in [*self.call_ids, *(known for known in self.fault_ids if known is not None)]:
            text = replies.get(wire_id, '{"error": "not called"}')
            self.sent.add({"role": "tool", "tool_call_id": wire_id, "content": text})
        self.call_ids, self.fault_ids = [], []
        if told:
            self.sent.add({"role": "user", "content": "\n".join(told)})
        for message in others:
            self.sent.add(message)

    def said(self, choice: Json, cost: float | None = None) -> Reply:
        """Read one choice of a chat completion, and keep it as the turn that was said."""
        speech = listen(choice)
        self.call_ids, self.fault_ids = [], []
        text = speech.said
        if speech.calls:
            calls, faults, sent, state = self._native(speech.calls)
            if CALL_OPEN in text:  # some servers repeat the calls in the content: what can be read is cut
                written = parse(text)
                text = written.text if written.calls else text
            unread = [f"{CALL_OPEN}{fault.text}{CALL_CLOSE}" for fault in faults]
            shown = "\n".join([part for part in (text, *unread) if part])
            turn = describe(shown, calls, faults, state)
        else:
            turn = parse(text)
            text = turn.text
            self.fault_ids = [None] * len(turn.faults)
            sent = [self._written(call) for call in turn.calls]
        message: Json = {"role": "assistant", "content": speech.aloud + text}
        if sent:
            message["tool_calls"] = sent
        self.sent.add(message, speech.fields)
        return speech.reply(choice, turn, cost)

    def _written(self, call: Call) -> Json:
        wire_id = self._own_id()
        self.call_ids.append(wire_id)
        return self._sent(wire_id, call.name, orjson.dumps(call.arguments).decode())

    def _native(self, native: list[Any]) -> tuple[tuple[Call, ...], tuple[Fault, ...], list[Json], State]:
        calls: list[Call] = []
        faults: list[Fault] = []
        sent: list[Json] = []
        state: State = "ok"
        for item in native:
            name, arguments, wire_id = _parts(item)
            if not isinstance(wire_id, str) or not wire_id or wire_id in (*self.call_ids, *self.fault_ids):
                wire_id = self._own_id()
            read = read_native(name, arguments)
            if isinstance(read, Fault):
                faults.append(read)
                self.fault_ids.append(wire_id)
                # Servers' chat templates parse the arguments again, so unreadable ones travel in an object.
                arguments = orjson.dumps({"unreadable": read.text}).decode()
                sent.append(self._sent(wire_id, name if isinstance(name, str) else "", arguments))
                continue
            call, as_written, repaired = read
            calls.append(call)
            self.call_ids.append(wire_id)
            sent.append(self._sent(wire_id, call.name, as_written))
            state = "repaired" if repaired else state
        return tuple(calls), tuple(faults), sent, state

    def _own_id(self) -> str:
        """An id for a call that has none. Nine letters and digits: Mistral takes no others."""
        number = 0
        while (wire_id := f"c{len(self.sent):04}{number:04}") in (*self.call_ids, *self.fault_ids):
            number += 1
        return wire_id

    def _sent(self, wire_id: str, name: str, arguments: str) -> Json:
        """A call as it is sent back. A name that no tool can have would be refused with the whole request."""
        if name not in self._names and not _NAME.fullmatch(name):
            name = re.sub(r"[^A-Za-z0-9_-]", "_", name[:64]) or "invalid"
        return _call(wire_id, name, arguments)


def outgoing(message: Json) -> Json:
    """A record's message as a server takes it."""
    if message["role"] == "system":
        for ours, theirs in PROMPTS.items():
            if message["content"] == prompt(ours):
                return {"role": "system", "content": prompt(theirs)}
    sent: Json = {"role": message["role"], "content": message.get("content") or ""}
    if calls := message.get("tool_calls"):
        sent["tool_calls"] = [
            _call(call["id"], call["function"]["name"], orjson.dumps(call["function"]["arguments"]).decode())
            for call in calls
        ]
    if "tool_call_id" in message:
        sent["tool_call_id"] = message["tool_call_id"]
    return sent


def read_native(name: Any, arguments: Any) -> tuple[Call, str, bool] | Fault:
    """A native call -> (call, its arguments as JSON, was it repaired) or a Fault that holds it as written."""
    if not isinstance(arguments, str):
        arguments = dumped(arguments) if arguments is not None else ""
    if not isinstance(name, str) or not name:
        return Fault(arguments[:200], "the call names no function")
    named = f'{{"name": {orjson.dumps(name).decode()}, "arguments": '
    read = read_call(f"{named}{arguments.strip() or '{}'}}}")
    if isinstance(read, tuple) and read[0].name == name:
        call, repaired = read
        exact = not repaired and _loaded(arguments) == call.arguments
        return call, arguments if exact else orjson.dumps(call.arguments).decode(), repaired
    error = read.error if isinstance(read, Fault) and "call is" in read.error else ""
    if not error or "not a JSON" in error:
        error = f'"arguments" of {name[:100]} is not a JSON object'
    return Fault(f"{named}{arguments[:200]}}}", error)


def native_text(item: Any) -> str:
    """A native call as text, for a dialogue in which calls are text."""
    name, arguments, _ = _parts(item)
    arguments = arguments if isinstance(arguments, str) else dumped(arguments)
    return f'{CALL_OPEN}{{"name": {dumped(name)}, "arguments": {arguments or "{}"}}}{CALL_CLOSE}'


def _parts(item: Any) -> tuple[Any, Any, Any]:
    """Name, arguments and id of a native call, of whatever type."""
    item = item if isinstance(item, dict) else {}
    function = item.get("function")
    function = function if isinstance(function, dict) else {}
    return function.get("name"), function.get("arguments"), item.get("id")


def _call(wire_id: str, name: str, arguments: str) -> Json:
    return {"id": wire_id, "type": "function", "function": {"name": name, "arguments": arguments}}


def _loaded(text: str) -> Any:
    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError:
        return None
