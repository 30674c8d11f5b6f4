"""Dialogue <-> token ids, for one model: the same pieces for generation and for training.

A dialogue is the ids of its prompt (system, tools, user), then alternately the ids the model samples
(its turn and the turn-end token) and the ids of what it is told (tool replies, next turn's header).
`encode` joins the same pieces that generation joins, so training sees exactly what sampling sees.

Models whose chat template knows tools keep it (TRL's training variant where TRL has one); the others get
`tm.jinja`: ChatML with compact tool signatures, because prompts are what costs on small machines.
Either way the template must be append-only and its calls readable by `protocol.py`; both are checked
at the start and refused otherwise.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from importlib import resources
from itertools import groupby
from typing import Any, Literal

from tmcli.errors import UsageError
from tmcli.protocol import Call, parse
from tmcli.records import Json, Trajectory, digest

Template = Literal["auto", "tm", "own"]

_PROBE: list[Json] = [
    {"role": "system", "content": "s"},
    {"role": "user", "content": "u"},
    {
        "role": "assistant",
        "content": "<trial>t</trial>",
        "tool_calls": [
            {"id": "call_0", "type": "function", "function": {"name": "f", "arguments": {"a": "é"}}},
            {"id": "call_1", "type": "function", "function": {"name": "g", "arguments": {}}},
        ],
    },
    {"role": "tool", "tool_call_id": "call_0", "name": "f", "content": '{"b": 1}'},
    {"role": "tool", "tool_call_id": "call_1", "name": "g", "content": "2"},
    {"role": "assistant", "content": "<answer>1</answer>"},
]
_PROBE_TOOLS: list[Json] = [
    {
        "type": "function",
        "function": {
            "name": name,
            "description": "d",
            "parameters": {"type": "object", "properties": {"a": {"type": "string"}}, "required": ["a"]},
        },
    }
    for name in ("f", "g")
]


class Chat:
    """The tokenizer and template of one model.

    Raises `UsageError` when the template is not append-only, or writes calls we cannot read.
    """

    def __init__(self, tokenizer: Any, template: Template = "auto") -> None:
        self.tokenizer = tokenizer
        own = tokenizer.chat_template
        if template == "tm" or (template == "auto" and not (isinstance(own, str) and "tools" in own)):
            tokenizer.chat_template = _tm_template(tokenizer)
        elif not isinstance(own, str):
            raise UsageError("the model has no chat template of its own", "use --template tm")
        elif own != _tm_template(tokenizer):
            tokenizer.chat_template = _training_variant(tokenizer)
        words = [token.content for token in tokenizer.added_tokens_decoder.values() if token.content]
        self._specials = re.compile("|".join(map(re.escape, words)) or r"(?!)")
        self.turn_end = self._turn_end_text()
        self.turn_end_id: int = tokenizer.convert_tokens_to_ids(self.turn_end)
        self.vocabulary = digest(tokenizer.get_vocab())
        self._check()
        base = _PROBE[1:3]
        self._suffix_base = base
        self._suffix_base_text = self._render(base)

    def prompt_ids(self, messages: list[Json], tools: list[Json]) -> list[int]:
        """Ids up to where the model's next turn begins."""
        return self._ids(self._render(messages, tools, begin=True))

    def suffix_ids(self, told: list[Json]) -> list[int]:
        """Ids between the model's turn-end token and its next turn, for the messages in between."""
        full = self._render([*self._suffix_base, *told], begin=True)
        return self._ids(full[self._suffix_base_text.rindex(self.turn_end) + len(self.turn_end) :])

    def sampled_ids(self, message: Json) -> list[int]:
        """Ids the model would have to sample to say this assistant message, turn end included."""
        return self._ids(self.sampled_text(message))

    def sampled_text(self, message: Json) -> str:
        """The assistant message as the model writes it, turn end included."""
        before = self._render(_PROBE[1:2], begin=True)
        said = self._render([*_PROBE[1:2], message])[len(before) :]
        return said[: said.rindex(self.turn_end) + len(self.turn_end)]

    def encode(self, messages: list[Json], tools: list[Json]) -> tuple[list[int], list[int]]:
        """A whole dialogue as (ids, mask); mask 1 = the model must sample this token. A message of weight 0
        is read, not learned."""
        turns = [i for i, message in enumerate(messages) if message["role"] == "assistant"]
        if not turns:
            raise UsageError("the dialogue has no assistant turn", "filter it out first")
        ids = self.prompt_ids(messages[: turns[0]], tools)
        mask = [0] * len(ids)
        for turn, following in zip(turns, [*turns[1:], None], strict=True):
            said = self.sampled_ids(messages[turn])
            ids += said
            mask += [_learned(messages[turn])] * len(said)
            told = messages[turn + 1 : following]
            if following is not None:
                heard = self.suffix_ids(told)
                ids += heard
                mask += [0] * len(heard)
        return ids, mask

    def encode_trajectory(self, trajectory: Trajectory) -> tuple[list[int], list[int]]:
        """(ids, mask) of a trajectory: as sampled, where a policy with this vocabulary sampled it."""
        tokens = trajectory.tokens
        if tokens is not None and tokens.get("vocabulary") == self.vocabulary:
            said = [message for message in trajectory.messages if message["role"] == "assistant"]
            learned = [_learned(message) for message in said[-len(trajectory.turns) :]]
            mask = tokens["mask"] if all(learned) else _without(tokens["mask"], learned)
            if mask is not None:
                return tokens["ids"], mask
        return self.encode(trajectory.messages, trajectory.tools)

    def text(self, ids: list[int]) -> str:
        """What sampled ids say, without the turn end; other special tokens stay visible."""
        if ids and ids[-1] == self.turn_end_id:
            ids = ids[:-1]
        decoded: str = self.tokenizer.decode(
            ids, skip_special_tokens=False, clean_up_tokenization_spaces=False
        )
        return decoded

    def _ids(self, text: str) -> list[int]:
        ids: list[int] = self.tokenizer(text, add_special_tokens=False)["input_ids"]
        return ids

    def _render(self, messages: list[Json], tools: list[Json] | None = None, *, begin: bool = False) -> str:
        text: str = self.tokenizer.apply_chat_template(
            [self._neutral(message) for message in messages],
            tools=self._deep_neutral(tools) if tools else None,
            tokenize=False,
            add_generation_prompt=begin,
        )
        return text

    def _neutral(self, message: Json) -> Json:
        """Messages as the template takes them. Control tokens inside text are broken up: a tool reply
        that holds a turn-end token must not end a turn."""
        plain: Json = {key: message[key] for key in ("role", "name", "tool_call_id") if key in message}
        plain["content"] = self._break(message.get("content") or "")
        if message.get("tool_calls"):
            plain["tool_calls"] = [
                {"type": "function", "function": self._deep_neutral(call["function"])}
                for call in message["tool_calls"]
            ]
        return plain

    def _deep_neutral(self, value: Any) -> Any:
        if isinstance(value, str):
            return self._break(value)
        if isinstance(value, list):
            return [self._deep_neutral(item) for item in value]
        if isinstance(value, dict):
            return {self._break(key): self._deep_neutral(item) for key, item in value.items()}
        return value

    def _break(self, text: str) -> str:
        return self._specials.sub(lambda match: f"{match.group()[0]} {match.group()[1:]}", text)

    def _turn_end_text(self) -> str:
        said = self._render([*_PROBE[1:2], {"role": "assistant", "content": "marker-7f"}])
        tail = said[said.rindex("marker-7f") + len("marker-7f") :]
        ends = [m.group() for m in self._specials.finditer(tail)]
        if not ends:
            raise UsageError(
                "the model's chat template ends a turn without a special token", "use --template tm"
            )
        return ends[0]

    def _check(self) -> None:
        for k in (2, 3, 4, 5):
            short = self._render(_PROBE[:k], _PROBE_TOOLS, begin=k in (2, 5))
            if not self._render(_PROBE[: k + 1], _PROBE_TOOLS).startswith(short):
                raise UsageError(
                    "the model's chat template rewrites earlier turns (it is not append-only), "
                    "so training would not see what generation sees",
                    "use --template tm",
                )
        said = parse(self.sampled_text(_PROBE[2]))
        if said.calls != (Call("f", {"a": "é"}), Call("g", {})):
            raise UsageError(
                "the model's chat template writes tool calls in a form that tm does not read",
                "use --template tm",
            )


def _learned(message: Json) -> int:
    """0 where a message says that it is not to be trained on."""
    return 0 if message.get("weight") == 0 else 1


def _without(mask: Sequence[int], learned: Sequence[int]) -> list[int] | None:
    """The mask with 0 on the turns that are not to be learned; each turn is a run of ones. None: there are
    more or fewer runs than turns."""
    runs = [(sampled, len(list(run))) for sampled, run in groupby(mask)]
    if sum(sampled for sampled, _ in runs) != len(learned):
        return None
    left = iter(learned)
    return [bit for sampled, n in runs for bit in [next(left) if sampled else 0] * n]


def _tm_template(tokenizer: Any) -> str:
    """Our template. Without ChatML tokens in the vocabulary, plain headers and the eos token serve."""
    text = resources.files("tmcli").joinpath("prompts", "tm.jinja").read_text("utf-8")
    if "<|im_start|>" in tokenizer.get_vocab():
        return text
    if not tokenizer.eos_token:
        raise UsageError("the model's tokenizer has no end-of-sequence token", "use another model")
    return text.replace("<|im_start|>", "### ").replace("<|im_end|>", tokenizer.eos_token)


def _training_variant(tokenizer: Any) -> str:
    from trl.chat_template_utils import get_training_chat_template

    own: str = tokenizer.chat_template
    try:
        return get_training_chat_template(tokenizer) or own
    except ValueError:
        return own  # unknown to TRL: `_check` decides whether it can be used as it is
