"""Dialogue <-> token ids, for one model: the same pieces for generation and for training.

A dialogue is the ids of its prompt (system, tools, user), then alternately the ids the model samples
(its turn and the turn-end token) and the ids of what it is told (tool replies, next turn's header).
`encode` joins the same pieces that generation joins, so training sees exactly what sampling sees.

    chat = Chat(tokenizer)               # chat.mode: own, text or tm; chat.why: a sentence
    ids, mask = chat.encode(messages, tools)

Where the model's own template writes calls that we can read, it is used (TRL's training variant where TRL
has one); else the model's own turns with our calls as text (Llama, Gemma, Mistral); else ours, ChatML with
compact tool signatures. See `choice.py`. Its pieces are the template rendered whole: that is checked first.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby
from typing import Any

from tmcli import console
from tmcli.chat.choice import Template, choose, heard
from tmcli.errors import UsageError
from tmcli.records import Json, Trajectory, digest

__all__ = ["Chat", "Template"]


class Chat:
    """The tokenizer and template of one model.

    Raises `UsageError` when the template that was asked for is not append-only, or writes calls we cannot
    read.
    """

    def __init__(self, tokenizer: Any, template: Template = "auto") -> None:
        self.tokenizer = tokenizer
        self._form, self.mode, self.why = choose(tokenizer, template)
        self.chosen = {"template_chosen": self.mode, "template_why": self.why}
        """What a run record says of it."""
        console.detail(f"template {self.mode}: {self.why}")
        tokenizer.chat_template = self._form.render.template  # a checkpoint keeps it
        self.turn_end = self._form.turn_end
        self.turn_end_id: int = tokenizer.convert_tokens_to_ids(self.turn_end)
        self.stop_ids = frozenset({self.turn_end_id, tokenizer.eos_token_id} - {None})
        """What ends a turn when it is sampled. Training teaches the turn end; the end of a text is what a
        model may say that was not trained."""
        self.vocabulary = digest(tokenizer.get_vocab())
        self.form = digest([self.mode, self._form.render.template])
        """Tells ids of one template from those of another."""
        self._heads: dict[str, list[int]] = {}

    def prompt_ids(self, messages: list[Json], tools: list[Json]) -> list[int]:
        """Ids up to where the model's next turn begins."""
        return self._cut(self._form.prompt(messages, tools))

    def suffix_ids(self, told: list[Json]) -> list[int]:
        """Ids between the model's turn-end token and its next turn, for the messages in between."""
        return self._ids(self._form.suffix(told), behind=self.turn_end)

    def sampled_ids(self, message: Json) -> list[int]:
        """Ids the model would have to sample to say this assistant message, turn end included."""
        return self._ids(self._form.said(message), behind=self._form.context)

    def sampled_text(self, message: Json) -> str:
        """The assistant message as the model writes it, turn end included."""
        return self._form.said(message)

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
            if following is not None:
                told = self.suffix_ids(messages[turn + 1 : following])
                ids += told
                mask += [0] * len(told)
        return ids, mask

    def encode_trajectory(self, trajectory: Trajectory) -> tuple[list[int], list[int]]:
        """(ids, mask) of a trajectory: as sampled, where a policy with this vocabulary and template sampled
        it. A last turn that was cut has no end to learn."""
        tokens = trajectory.tokens
        if (
            tokens is not None
            and tokens.get("vocabulary") == self.vocabulary
            and tokens.get("template", self.form) == self.form
        ):
            said = [message for message in trajectory.messages if message["role"] == "assistant"]
            learned = [_learned(message) for message in said[-len(trajectory.turns) :]]
            mask = tokens["mask"] if all(learned) else _without(tokens["mask"], learned)
            if mask is not None:
                return tokens["ids"], mask
        ids, mask = self.encode(trajectory.messages, trajectory.tools)
        return (ids[:-1], mask[:-1]) if trajectory.stop == "length" else (ids, mask)

    def text(self, ids: list[int]) -> str:
        """What sampled ids say, without the turn end; other special tokens stay visible."""
        if ids and ids[-1] in self.stop_ids:
            ids = ids[:-1]
        head = self._head(self._form.context)  # some decoders drop the space that a text begins with
        before, both = self._decoded(head), self._decoded([*head, *ids])
        return both[len(before) :] if both.startswith(before) else self._decoded(ids)

    def heard(self, ids: list[int]) -> tuple[str, str]:
        """(thoughts, what was said aloud) of a turn that was sampled."""
        return heard(self._form, self.text(ids))

    def _ids(self, text: str, behind: str) -> list[int]:
        """Ids of a text that stands behind another: as in the template rendered whole, unless a token would
        reach over the border, which no turn can."""
        head = self._head(behind)
        both = self._cut(behind + text)
        return both[len(head) :] if both[: len(head)] == head else self._cut(text)

    def _head(self, text: str) -> list[int]:
        if text not in self._heads:
            self._heads[text] = self._cut(text)
        return self._heads[text]

    def _decoded(self, ids: list[int]) -> str:
        text: str = self.tokenizer.decode(ids, skip_special_tokens=False, clean_up_tokenization_spaces=False)
        return text

    def _cut(self, text: str) -> list[int]:
        ids: list[int] = self.tokenizer(text, add_special_tokens=False)["input_ids"]
        return ids


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
