"""Did the model write what only others say: a tool's reply, or another role's turn?

    MARKS.search("<plan>look</plan>\nObservation: B417")    # a match

It never helps: replies are read from tool messages alone. But a model that is let to do so soon believes
its own words, so `filter` drops such a dialogue and a reward counts it as a violation.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

MARKS = re.compile(
    r"</?(?:tool_response|tool_responses|tool_result|tool_output|function_results?|function_response)>"
    r"|<\|(?:im_start|start_header_id|observation|tool_response|user|eot_id|start)\|>"
    r"|<start_of_turn>|<\uff5ctool\u2581outputs?\u2581begin\uff5c>|\[/?TOOL_RESULTS\]"
    r"|(?:</(?:trial|plan)>|^Action(?: Input)?:[^\n]*)\s*\n?\s*Observation:",
    re.MULTILINE,
)
"""Marks of the families of templates for what is told to a model; and `Observation:` behind a call."""

PARTS = (
    "<|",
    "tool_re",
    "tool_out",
    "function_re",
    "_of_turn",
    "\uff5ctool",
    "TOOL_RESULTS",
    "Observation:",
)
"""Each mark has one of these: looking for them is many times quicker."""


def may_be_forged(text: str) -> bool:
    """Is a closer look due?"""
    return any(map(text.__contains__, PARTS))


def forged(text: str, shown: Iterable[str]) -> str | None:
    """The first such mark in what the model said. Marks that the question or a reply wrote first may be
    quoted: then nobody can tell."""
    if not may_be_forged(text):
        return None
    told = list(shown)
    marks = (match[0].strip() for match in MARKS.finditer(text))
    return next((mark for mark in marks if not any(mark in one for one in told)), None)
