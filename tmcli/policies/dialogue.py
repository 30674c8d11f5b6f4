"""A dialogue in token ids, for policies that take ids and give ids: nothing sampled is tokenised again.

    dialogue = Dialogue(chat, task.tools)
    dialogue.hear(messages)              # what is new in the record's form of the dialogue
    ids, logprobs = ...                  # sampled after `dialogue.ids`
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


@dataclass(slots=True, eq=False)
class Dialogue:
    """The ids so far, and which of them the model sampled."""

    chat: Chat
    tools: list[Json]
    ids: list[int] = field(default_factory=list)
    mask: list[int] = field(default_factory=list)
    logprobs: list[float] = field(default_factory=list)
    n_messages: int = 0
    """How many messages `ids` already holds."""

    def hear(self, messages: list[Json]) -> None:
        """Take over what was told since the model's last turn, up to where its next one begins."""
        if not self.ids:
            told = self.chat.prompt_ids(messages, self.tools)
        else:
            told = self.chat.suffix_ids(messages[self.n_messages :])
            if self.ids[-1] != self.chat.turn_end_id:  # the turn was cut, or ended otherwise
                told = [self.chat.turn_end_id, *told]
        self.ids += told
        self.mask += [0] * len(told)
        self.logprobs += [0.0] * len(told)
        self.n_messages = len(messages)

    def say(self, said: Sequence[int], logprobs: Sequence[float], finish: Finish) -> Reply:
        """Add what was sampled, and read it."""
        n_prompt = len(self.ids)
        self.ids += said
        self.mask += [1] * len(said)
        self.logprobs += logprobs
        self.n_messages += 1
        return read(self.chat, list(said), finish, n_prompt)

    @property
    def tokens(self) -> Json:
        return {
            "ids": self.ids,
            "mask": self.mask,
            "logprobs": self.logprobs,
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
