"""Which tokens of a record carry loss: `tm sft --check`."""

from __future__ import annotations

from itertools import groupby

from tmcli import console
from tmcli.chat import Chat
from tmcli.records import Trajectory

TRAINED = "\x1b[42;30m", "\x1b[0m"
TRAINED_PLAIN = "⟦", "⟧"


def mask_text(trajectory: Trajectory, chat: Chat, *, colour: bool) -> str:
    """The record's whole text with its trained spans marked, a line that counts them, and the template.

    Colour marks them on a terminal, ⟦ ⟧ elsewhere. The turn ends are counted apart: a model that is not
    trained on them never stops.
    """
    left, right = TRAINED if colour else TRAINED_PLAIN
    ids, mask = chat.encode_trajectory(trajectory)
    text = ""
    for trained, span in groupby(zip(ids, mask, strict=True), key=lambda pair: pair[1]):
        words = console.safe(
            chat.tokenizer.decode([token for token, _ in span], clean_up_tokenization_spaces=False)
        )
        text += f"{left}{words}{right}" if trained else words
    ends = sum(1 for token, m in zip(ids, mask, strict=True) if m and token == chat.turn_end_id)
    return (
        f"{text}\n\n{sum(mask)} of {len(ids)} tokens are trained; "
        f"{ends} of them end a turn ({chat.turn_end})\ntemplate {chat.mode}: {console.safe(chat.why)}\n"
    )
