"""Where the calls of a sampled turn end, in tokens.

    call_ends(ids, chat)                 # [("find_book", 41), ("book_info", 77)]: name and last token of each
    marks(trajectory, chat, numbers)     # per token of the trajectory: NO_CALL, or the number of the call
                                         # that ends there; `numbers`: tool name -> number

Calls are those that the episode read and answered: `Chat.heard` and `protocol.parse` say what they are, for
every template. Thoughts hold none, and what could not be read is none.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Mapping

from tmcli.chat import Chat
from tmcli.protocol import call_ends as ends_of_text
from tmcli.records import Trajectory
from tmcli.trainer.spans import spans

NO_CALL = -1


def call_ends(ids: list[int], chat: Chat) -> list[tuple[str, int]]:
    """The tool and the last token of each readable call of one turn; the token is counted from the turn's
    first. A token that reaches over the end of a call (`}\\n`) is its last."""

    def heard(n: int) -> str:
        return chat.heard(ids[:n])[1].lstrip("\n")  # with thoughts, `heard` does so itself

    aloud = heard(len(ids))
    found: list[tuple[str, int]] = []
    first = 1
    for name, end in ends_of_text(aloud):
        said = aloud[:end]
        # characters of several tokens and tokens of several characters: only decoding tells. What is said is
        # there from one token on, and stays
        n = bisect_left(range(len(ids)), True, lo=first, key=lambda n: heard(n).startswith(said))
        found.append((name, n - 1))
        first = n
    return found


def marks(trajectory: Trajectory, chat: Chat, numbers: Mapping[str, int]) -> list[int]:
    """The number of the call that ends on each token, of all tokens. Tools without a number have no mark."""
    if trajectory.tokens is None:
        return []
    ids = trajectory.tokens["ids"]
    marked = [NO_CALL] * len(ids)
    for span in spans(trajectory):
        for name, at in call_ends(ids[span.start : span.end], chat):
            marked[span.start + at] = numbers.get(name, NO_CALL)
    return marked
