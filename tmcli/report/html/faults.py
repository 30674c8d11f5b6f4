"""Why tool calls failed, by what the tool said: one closed list, for counting.

kind(call)    # "unknown parameter"
"""

from __future__ import annotations

import re

from tmcli.score import Made

NEVER = "never answered"
UNREADABLE = "unreadable call"
OTHER = "other"

_SAID = {
    "unknown tool": r"unknown (tool|function)|no (tool|function) (named|called)|tool .{0,80}not found",
    "unknown parameter": r"(unknown|unexpected|unrecognized|extra) (parameter|argument|field|key|property)"
    r"|no (parameter|field)|unexpected keyword",
    "missing parameter": r"missing|is required|required (parameter|field|property|argument)",
    "timed out": r"timed? ?-?out|deadline|took longer",
    "not allowed": r"unauthori[sz]ed|forbidden|permission|denied|api key|\b40[13]\b",
    "too many requests": r"rate limit|too many requests|quota|\b429\b",
    "server error": r"internal (server )?error|traceback|exception|bad gateway|unavailable|\b50[0234]\b",
    "wrong value": r"must (be|match|have)|invalid|not a valid|should be|expected|out of range|type",
    "nothing found": r"not found|no such|does not exist|\bno \S+|unknown|nothing|\b404\b",
}
"""In the order in which they are tried: what a tool says of its own documents is the surest. These are
words of the tools here, of HTTP servers and of Python; a tool may always put it in another way."""

KINDS = (UNREADABLE, NEVER, *_SAID, OTHER)
_PATTERNS = {kind: re.compile(pattern, re.IGNORECASE) for kind, pattern in _SAID.items()}
_LOOKED_AT = 500


def kind(call: Made) -> str | None:
    """None: it did not fail.

    >>> kind(Made("trial", "f", {}, False, '{"error": "unknown parameter \\'x\\'; parameters are: y"}'))
    'unknown parameter'
    >>> kind(Made("execution", "f", {}, False, '{"error":"no movie with id 7","status":404}'))
    'nothing found'
    """
    if call.ok:
        return None
    if not call.readable:
        return UNREADABLE
    if call.reply is None:
        return NEVER
    text = call.reply[:_LOOKED_AT]
    return next((name for name, pattern in _PATTERNS.items() if pattern.search(text)), OTHER)
