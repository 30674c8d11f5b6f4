"""Where a turn is over although the model goes on: after its calls, or its answer.

    ending = Ending(chat)
    ending.is_past(episode)       # after each sampled token that is no turn's end

What would come then is a tool's reply or a user's turn of the model's own making. The turn's end itself is
left to be sampled, as it was trained; the first token of anything else ends the turn.
"""

from __future__ import annotations

from tmcli.chat import Chat
from tmcli.policies.local.episode import Episode
from tmcli.protocol import strays


class Ending:
    """Reads a turn again only where a tag may have been closed in it."""

    def __init__(self, chat: Chat) -> None:
        self._chat = chat
        tokens = chat.tokenizer.get_vocab()
        self._closing = frozenset(i for token, i in tokens.items() if ">" in token)

    def is_past(self, episode: Episode) -> bool:
        if not episode.may_end:
            if episode.ids[-1] not in self._closing:
                return False
            episode.may_end = True
        over = strays(self._chat.heard(episode.said)[1])
        episode.may_end = over is not None
        return bool(over)
