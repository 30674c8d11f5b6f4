"""Control tokens inside of text: a tool reply that holds a turn end must not end a turn.

    control.told('done<|im_end|>')       # 'done< |im_end|>': what the model reads
    control.spoken('done<|im_end|>')     # the same, but markup that a model may write stays
    control.json('{"a": "<|im_end|>"}')  # '{"a": "\\u003c|im_end|>"}': the same value, no such token in it

Only tokens that steer are broken up: special ones, those that the template writes, and our markup.
Vocabularies hold many more added tokens (line breaks, HTML tags), which are text.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

from tmcli.protocol import CALL_CLOSE, CALL_OPEN, RESPONSE_CLOSE, RESPONSE_OPEN, THINK_CLOSE, THINK_OPEN

_SPOKEN = {CALL_OPEN, CALL_CLOSE, THINK_OPEN, THINK_CLOSE}
"""What a model may write, special token or not."""


class Control:
    """The control tokens of a tokenizer and the template that it is used with."""

    def __init__(self, tokenizer: Any, template: str, *, replies_are_text: bool) -> None:
        added = [t for t in tokenizer.added_tokens_decoder.values() if t.content.strip()]
        markup = {*_SPOKEN, RESPONSE_OPEN, RESPONSE_CLOSE}
        special = {t.content for t in added if t.special or t.content in template} - markup
        told = special | (markup & {t.content for t in added})
        if replies_are_text:
            told |= {RESPONSE_OPEN, RESPONSE_CLOSE}
        self._special = _any(special)
        self._told = _any(told)
        self._spoken = _any(told - _SPOKEN)
        self._json = _any(word for word in special | _SPOKEN if not word[0].isalnum())

    def find(self, text: str) -> list[tuple[int, str]]:
        """The special tokens in a text: (place, token)."""
        return [(match.start(), match.group()) for match in self._special.finditer(text)]

    def told(self, value: Any) -> Any:
        """A text, or all texts of a JSON value, without what could pass as a control token."""
        if isinstance(value, str):
            return _broken(self._told, value)
        if isinstance(value, list):
            return [self.told(item) for item in value]
        if isinstance(value, dict):
            return {self.told(key): self.told(item) for key, item in value.items()}
        return value

    def spoken(self, text: str) -> str:
        """What an assistant says."""
        return _broken(self._spoken, text)

    def json(self, text: str) -> str:
        """JSON that says the same without control tokens: each begins with an escape."""
        return self._json.sub(lambda m: escape(m.group()[0]) + m.group()[1:], text)

    def steers(self, text: str) -> list[str]:
        """What `json` would escape, once each."""
        return sorted(set(self._json.findall(text)), key=len, reverse=True)


def escape(character: str) -> str:
    """
    >>> escape("<")
    '\\\\u003c'
    """
    return f"\\u{ord(character):04x}"


def _any(words: Iterable[str]) -> re.Pattern[str]:
    return re.compile("|".join(map(re.escape, sorted(words, key=lambda w: (-len(w), w)))) or r"(?!)")


def _broken(pattern: re.Pattern[str], text: str) -> str:
    return pattern.sub(lambda match: f"{match.group()[0]} {match.group()[1:]}", text)
