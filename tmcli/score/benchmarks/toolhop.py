"""ToolHop's answer correctness (arXiv 2501.02506), by the rule that FTRL's scorer has for it.

    correct(messages, "Paris, France")    # True: both pieces are in the last text, or in the last tool reply

`Code/evaluation/evaluation_toolhop.py` of bytedance/FTRL: the episode ends with a text of the model, and each
piece of the gold (split at ", ") is a part of that text, or of the tool reply right before it, in lower case
and without commas. So a model that was told the answer and gives a wrong one counts as right: it is not the
`answer` of the other tasks. The papers ask in three scenarios, whose numbers must not be mixed: `direct`
(no tools), `mandatory` (the prompt demands tools) and `free`.
"""

from __future__ import annotations

from collections.abc import Sequence

from tmcli.records import Json
from tmcli.score.answers import contains


def correct(messages: Sequence[Json], gold: str) -> bool:
    """Of a whole dialogue.

    >>> asked, told = {"role": "user", "content": "?"}, {"role": "tool", "content": "1,200"}
    >>> said = {"role": "assistant", "content": "<answer>no idea</answer>"}
    >>> correct([asked, told, said], "1200"), correct([asked, said, told], "1200")
    (True, False)
    """
    if not messages or messages[-1]["role"] != "assistant" or not messages[-1].get("content"):
        return False
    if contains(messages[-1]["content"], gold):
        return True
    if len(messages) < 2 or messages[-2]["role"] != "tool":
        return False
    return contains(messages[-2].get("content") or "", gold)
