"""Dialogues as a chat template writes them, calls and tool turns included: `own` and `tm`."""

from __future__ import annotations

import json
from typing import Any

from tmcli.chat.control import Control, escape
from tmcli.chat.render import OTHER, Refused, Render
from tmcli.protocol import THINK_CLOSE, THINK_OPEN
from tmcli.records import Json

USER: Json = {"role": "user", "content": "u"}
MARK = "marker-7f"


class Rendered:
    """One template, rendered piece by piece."""

    def __init__(self, render: Render, control: Control, *, thoughts_as_text: bool) -> None:
        self.render = render
        self.control = control
        self._thoughts_as_text = thoughts_as_text
        self.lead = ""
        self.exact = True
        self._base = [USER, {"role": "assistant", "content": MARK}]
        self._before = self.render([USER], begin=True)
        self._said = self.render(self._base)
        self.context = after_control(self._before, control)
        self.opened = opens_thoughts(self.context)
        self.turn_end = ends(self._said, control)

    def prompt(self, messages: list[Json], tools: list[Json]) -> str:
        """The text up to where the model's next turn begins."""
        return self._write(messages, tools, begin=True)

    def suffix(self, told: list[Json]) -> str:
        """The text between the model's turn end and its next turn."""
        full = self._write([*self._base, *told], begin=True)
        return full[self._said.rindex(self.turn_end) + len(self.turn_end) :]

    def said(self, message: Json) -> str:
        """What the model writes to say this message, turn end included."""
        said = self._write([USER, message])[len(self._before) :]
        if self.turn_end not in said:
            raise Refused(f"the model's chat template ends some turns without {self.turn_end}", OTHER)
        return said[: said.rindex(self.turn_end) + len(self.turn_end)]

    def whole(self, messages: list[Json], tools: list[Json]) -> str:
        """A dialogue in one piece, for the proof that the pieces are it."""
        return self._write(messages, tools)

    def _write(self, messages: list[Json], tools: list[Json] | None = None, *, begin: bool = False) -> str:
        escaped = _Escaped(self.control, messages)
        plain = [self._spoken(m, escaped) if m["role"] == "assistant" else self._told(m) for m in messages]
        return escaped.back(self.render(plain, self.control.told(tools or []), begin=begin))

    def _told(self, message: Json) -> Json:
        kept: Json = {key: message[key] for key in ("name", "tool_call_id") if key in message}
        role = "system" if message["role"] == "developer" else message["role"]
        return {"role": role, **self.control.told(kept | {"content": message.get("content") or ""})}

    def _spoken(self, message: Json, escaped: _Escaped) -> Json:
        content = self.control.spoken(message.get("content") or "")
        spoken: Json = {"role": "assistant"}
        if isinstance(thoughts := message.get("reasoning_content"), str) and thoughts.strip():
            thoughts = self.control.spoken(thoughts)
            if self._thoughts_as_text:
                content = think(thoughts) + content
            else:
                spoken["reasoning_content"] = thoughts
        spoken["content"] = content
        if calls := message.get("tool_calls"):
            spoken["tool_calls"] = [
                {"type": "function", "function": escaped.call(call["function"])} for call in calls
            ]
        return spoken


class _Escaped:
    """Calls with stand-ins for what the template cannot write: control tokens as JSON escapes, and names that
    it would put between quotes as they are."""

    def __init__(self, control: Control, messages: list[Json]) -> None:
        self._control = control
        used = json.dumps(messages, ensure_ascii=False)  # characters that Unicode keeps for internal use
        self._free = (char for char in map(chr, range(0xFDD0, 0xFDF0)) if char not in used)
        self._stands_for: dict[str, str] = {}

    def call(self, function: Json) -> Json:
        name: str = function["name"]
        if not name.replace("_", "").replace("-", "").isalnum() or self._control.steers(name):
            name = self._stand_in(self._control.json(json.dumps(name, ensure_ascii=False)[1:-1]))
        return {"name": name, "arguments": self._value(function["arguments"])}

    def back(self, text: str) -> str:
        for stand_in, written in self._stands_for.items():
            text = text.replace(stand_in, written)
        return text

    def _value(self, value: Any) -> Any:
        if isinstance(value, str):
            for token in self._control.steers(value):
                value = value.replace(token, self._stand_in(escape(token[0])) + token[1:])
            return value
        if isinstance(value, list):
            return [self._value(item) for item in value]
        if isinstance(value, dict):
            return {self._value(key): self._value(item) for key, item in value.items()}
        return value

    def _stand_in(self, written: str) -> str:
        for stand_in, known in self._stands_for.items():
            if known == written:
                return stand_in
        stand_in = next(self._free, "\ufffd")
        self._stands_for[stand_in] = written
        return stand_in


def think(thoughts: str, *, opened: bool = False) -> str:
    """Thoughts as a model writes them that thinks aloud; `opened`: its header holds the opening tag."""
    text = thoughts.strip("\n")
    return f"{'' if opened else THINK_OPEN + chr(10)}{text}\n{THINK_CLOSE}\n\n"


def opens_thoughts(header: str) -> bool:
    """Does the model's turn begin within its thoughts?"""
    _, opened, inside = header.rpartition(THINK_OPEN)
    return bool(opened) and THINK_CLOSE not in inside


def after_control(text: str, control: Control) -> str:
    """The text from its last control token on: it decides how what follows is cut into tokens."""
    found = control.find(text)
    return text[found[-1][0] :] if found else text


def ends(said: str, control: Control) -> str:
    """The token with which the template ends a turn, behind `MARK`."""
    found = control.find(said[said.rindex(MARK) + len(MARK) :]) if MARK in said else []
    if not found:
        raise Refused("the model's chat template ends a turn without a special token", OTHER)
    return found[0][1]
