"""A dialogue in token ids, for policies that take ids and give ids: nothing sampled is tokenised again.

    dialogue = Dialogue(chat, task.tools)
    dialogue.hear(messages)              # what is new in the record's form of the dialogue
    ids, logprobs = ...                  # sampled after `dialogue.row.ids`
    reply = dialogue.say(ids, logprobs, "stop")
    dialogue.tokens                      # ids, mask, logprobs: as long as each other
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from tmcli.chat import Chat
from tmcli.policies import Finish, Reply
from tmcli.protocol import CALL_CLOSE, CALL_OPEN, parse
from tmcli.records import Json


@dataclass(slots=True, eq=False, kw_only=True)
class Row:
    """The ids so far, and which of them the model sampled."""

    ids: list[int] = field(default_factory=list)
    mask: list[int] = field(default_factory=list)
    logprobs: list[float] = field(default_factory=list)

    def hear(self, ids: list[int]) -> None:
        self.ids += ids
        self.mask += [0] * len(ids)
        self.logprobs += [0.0] * len(ids)

    def say(self, token: int, logprob: float) -> None:
        self.ids.append(token)
        self.mask.append(1)
        self.logprobs.append(logprob)


@dataclass(slots=True, eq=False)
class Dialogue:
    """What is told goes into the row, and what the row says is read."""

    chat: Chat
    tools: list[Json]
    row: Row = field(default_factory=Row)
    n_messages: int = 0
    """How many messages the row already holds."""

    def hear(self, messages: list[Json]) -> None:
        """Take over what was told since the model's last turn, up to where its next one begins."""
        if not self.row.ids:
            told = self.chat.prompt_ids(messages, self.tools)
        else:
            told = self.chat.suffix_ids(messages[self.n_messages :])
            if self.row.ids[-1] != self.chat.turn_end_id:  # the turn was cut, or ended otherwise
                told = [self.chat.turn_end_id, *told]
        self.row.hear(told)
        self.n_messages = len(messages)

    def say(self, said: Sequence[int], logprobs: Sequence[float], finish: Finish) -> Reply:
        """Add what was sampled, and read it."""
        for token, logprob in zip(said, logprobs, strict=True):
            self.row.say(token, logprob)
        return self.said(list(said), finish)

    def said(self, ids: list[int], finish: Finish) -> Reply:
        """Read what was sampled into the row."""
        self.n_messages += 1
        return read(self.chat, ids, finish, len(self.row.ids) - len(ids))

    @property
    def tokens(self) -> Json:
        return {
            "ids": self.row.ids,
            "mask": self.row.mask,
            "logprobs": self.row.logprobs,
            "vocabulary": self.chat.vocabulary,
            "template": self.chat.form,
        }


def read(chat: Chat, said: list[int], finish: Finish, n_prompt: int) -> Reply:
    """A sampled turn as the episode takes it. What could not be read stays visible as it was written."""
    thoughts, aloud = chat.heard(said)  # no markup counts in thoughts
    turn = parse(aloud)
    content = turn.text
    if turn.faults:
        unread = "".join(f"{CALL_OPEN}{fault.text}{CALL_CLOSE}" for fault in turn.faults)
        content = turn.text + unread if turn.calls else aloud
    extra = {"reasoning_content": thoughts} if thoughts.strip() else {}
    return Reply(content, turn, finish, n_prompt, len(said), extra=extra)
