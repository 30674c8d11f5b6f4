"""Dialogues in the model's own turns, with our calls as text: `text`, for templates that know no tools, or
whose calls cannot be read.

The template writes its headers and turn ends; system, tools and replies are text in them:

    system   the system turn, or the head of the first user's turn where the template has none
    tools    behind the system's words, a signature a line, as servers without tools are told (`protocol.py`)
    replies  of all calls of a turn in one user's turn, each in <tool_response>
    said     the model's text and its <tool_call>s, as they are: no template trims or rewrites it

User turns that follow each other are one, since many templates demand that turns alternate.
"""

from __future__ import annotations

from tmcli.chat.control import Control
from tmcli.chat.render import Refused, Render, signatures
from tmcli.chat.rendered import MARK, USER, after_control, ends, opens_thoughts, think
from tmcli.protocol import CALL_CLOSE, CALL_OPEN, THINK_OPEN, tools_text, write_call, write_response
from tmcli.records import Json

_REPLY: Json = {"role": "assistant", "content": MARK}


class Plain:
    """One template that is shown system, user and assistant turns only."""

    def __init__(self, render: Render, control: Control, *, thinks: bool, system: bool) -> None:
        """`thinks`: is `<think>` a token of the model? `system`: has the template a system turn?"""
        self.render = render
        self.control = control
        self._thinks = thinks
        self._system = system
        users, begun, said = render([USER]), render([USER], begin=True), render([USER, _REPLY])
        self.header = begun[len(users) :] if begun.startswith(users) else ""
        self.context = after_control(begun, control)
        self.opened = opens_thoughts(self.context)
        self.turn_end = ends(said, control)
        lead = said[len(begun) : said.rindex(MARK)] if said.startswith(begun) else ""
        self.lead, thought, _ = lead.partition(THINK_OPEN)
        self._always_thinks = self.opened or bool(thought)
        self.exact = THINK_OPEN not in self.header + lead
        """A template that begins turns with thoughts drops them later; we keep what was said as it was."""
        tail = said[said.rindex(MARK) + len(MARK) :]
        self._gap, _, self._after = tail.partition(self.turn_end)

    def prompt(self, messages: list[Json], tools: list[Json]) -> str:
        """The text up to where the model's next turn begins."""
        first, said = _split(messages)
        text = self.render(self._first(first, tools), begin=True)
        for message, told in said:
            text += self.said(message) + self.suffix(told)
        return text

    def suffix(self, told: list[Json]) -> str:
        """The text between the model's turn end and its next turn."""
        if not told:
            return self._after + self.header
        full = self.render([USER, _REPLY, self._user(told)], begin=True)
        return full[full.index(MARK) + len(MARK) :].partition(self.turn_end)[2]

    def said(self, message: Json) -> str:
        """What the model writes to say this message, turn end included."""
        thoughts = message.get("reasoning_content")
        thoughts = self.control.spoken(thoughts) if isinstance(thoughts, str) else ""
        aloud = self._text(message)
        if self._always_thinks or (self._thinks and thoughts.strip()):
            aloud = think(thoughts, opened=self.opened) + aloud
        return f"{self.lead}{aloud}{self._gap}{self.turn_end}"

    def whole(self, messages: list[Json], tools: list[Json]) -> str:
        """A dialogue in one piece, for the proof that the pieces are it."""
        first, said = _split(messages)
        turns = self._first(first, tools)
        for message, told in said:
            turns.append({"role": "assistant", "content": self._text(message)})
            turns += [self._user(told)] if told else []
        return self.render(turns)

    def _first(self, told: list[Json], tools: list[Json]) -> list[Json]:
        head = 0
        while head < len(told) and told[head]["role"] in ("system", "developer"):
            head += 1
        lines = signatures(self.render.tokenizer, self.control.told(tools))
        words = [*(self.control.told(m.get("content") or "") for m in told[:head]), tools_text(lines)]
        system = "\n\n".join(filter(None, words))
        user = self._user(told[head:])
        if self._system:
            return [*([{"role": "system", "content": system}] if system else []), user]
        return [{"role": "user", "content": "\n\n".join(filter(None, [system, user["content"]]))}]

    def _user(self, told: list[Json]) -> Json:
        """What is told between two turns of the model, as one user's turn."""
        content, was = "", ""
        for message in told:
            words: str = self.control.told(message.get("content") or "")
            if message["role"] == "tool":
                words = write_response(words)
            joint = "\n" if was == message["role"] == "tool" else "\n\n"
            content += (joint if content else "") + words
            was = message["role"]
        return {"role": "user", "content": content}

    def _text(self, message: Json) -> str:
        return self.control.spoken(message.get("content") or "") + "".join(
            self._call(call["function"]) for call in message.get("tool_calls") or []
        )

    def _call(self, function: Json) -> str:
        written = write_call(function["name"], function["arguments"])
        body = written.removeprefix(CALL_OPEN).removesuffix(CALL_CLOSE)
        return CALL_OPEN + self.control.json(body) + CALL_CLOSE


def plain(render: Render, control: Control, *, thinks: bool) -> Plain:
    """The form for a template: with its system turn where that stays before the first user's words."""
    try:
        turns = [{"role": "system", "content": "system-3c"}, USER, _REPLY, {"role": "user", "content": MARK}]
        text = render(turns)
        system = 0 <= text.find("system-3c") < text.index(MARK)
    except Refused:
        system = False
    return Plain(render, control, thinks=thinks, system=system)


def _split(messages: list[Json]) -> tuple[list[Json], list[tuple[Json, list[Json]]]]:
    """What is told before the model's first turn, and each of its turns with what is told after it."""
    turns = [i for i, message in enumerate(messages) if message["role"] == "assistant"]
    said = [
        (messages[turn], messages[turn + 1 : following])
        for turn, following in zip(turns, [*turns[1:], len(messages)], strict=False)
    ]
    return messages[: turns[0] if turns else len(messages)], said
