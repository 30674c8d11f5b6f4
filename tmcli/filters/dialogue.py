"""Is it a dialogue that can be learned from: who speaks after whom, and is every call answered?"""

from __future__ import annotations

from typing import Any

from msgspec import UNSET

from tmcli.filters.rounds import quoted
from tmcli.filters.view import View
from tmcli.score.forged import forged, may_be_forged


def invalid_status(view: View) -> str | None:
    """The world broke: the episode says nothing about the policy."""
    return (view.failure or "") if view.status == "invalid" else None


def role_order(view: View) -> str | None:
    """Instructions, then the user, then assistant turns; tool replies follow an assistant turn only."""
    before = "start"
    for i, message in enumerate(view.talk):
        role = message.role
        if before not in _AFTER[role]:
            return f"message {i + 1}: {role} after {before}"
        before = "system" if role == "developer" else role
    return None if before in ("assistant", "tool") else f"it ends with {before}"


_AFTER = {
    "system": ("start", "system"),
    "developer": ("start", "system"),
    "user": ("start", "system", "user", "assistant"),
    "assistant": ("user", "tool"),
    "tool": ("assistant", "tool"),
}
"""Role -> what may stand before it."""


def unanswered_call(view: View) -> str | None:
    """Every call is answered exactly once, in its turn, and every reply answers a call.

    The reply to something that was no readable call is named `invalid` and has no call to point at.
    """
    asked: list[Any] = []
    for i, message in enumerate(view.talk):
        if message.role == "tool":
            if message.tool_call_id in asked:
                asked.remove(message.tool_call_id)
            elif message.name != "invalid":
                return f"message {i + 1} answers no call"
        elif asked:
            return f"message {i + 1} comes before the reply to {_name(asked[0])}"
        elif message.tool_calls:
            asked = [call.id for call in message.tool_calls]
    return f"{_name(asked[0])} has no reply" if asked else None


def _name(call_id: Any) -> str:
    return "a call without an id" if call_id is UNSET or call_id is None else str(call_id)[:100]


def invented_reply(view: View) -> str | None:
    """A tool's reply, or another role's turn, in the words of the model.

    Marks that the question or a reply wrote first may be quoted: then nobody can tell.
    """
    if not may_be_forged(view.spoken):
        return None
    shown = [message.content or "" for message in view.talk if message.role != "assistant"]
    for one in view.rounds:
        if one.trained and (mark := forged(one.text, shown)):
            return f"turn {one.number} writes {quoted(mark)}"
    return None


def no_calls(view: View) -> str | None:
    """No tool was called: nothing to learn about tools."""
    return None if any(one.message.tool_calls for one in view.rounds) else ""


def protocol(view: View) -> str | None:
    """A call of the execution phase could not be read."""
    for i, turn in enumerate(view.steps):
        if turn.phase == "execution" and turn.state == "invalid":
            return f"turn {i + 1}: a call that could not be read"
    return None


def hinted(view: View) -> str | None:
    """An answer was sent back as wrong before the last one. The turn that was wrong has weight 0, but not
    every trainer knows it, and nobody says so to a model in use."""
    return "" if any(turn.hint for turn in view.steps) else None
