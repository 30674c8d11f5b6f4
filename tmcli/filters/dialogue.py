"""Is it a dialogue that can be learned from: who speaks after whom, and is every call answered?"""

from __future__ import annotations

from tmcli.filters.view import View


def invalid_status(view: View) -> str | None:
    """The world broke: the episode says nothing about the policy."""
    return (view.failure or "") if view.status == "invalid" else None


def role_order(view: View) -> str | None:
    """Instructions, then the user, then assistant turns; tool replies follow an assistant turn only."""
    before = "start"
    for i, message in enumerate(view.messages):
        role = message["role"]
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
    asked: list[str] = []
    for i, message in enumerate(view.messages):
        if message["role"] == "tool":
            call_id = message.get("tool_call_id")
            if call_id in asked:
                asked.remove(call_id)
            elif message.get("name") != "invalid":
                return f"message {i + 1} answers no call"
        elif asked:
            return f"message {i + 1} comes before the reply to {asked[0][:100]}"
        else:
            asked = [str(call.get("id")) for call in message.get("tool_calls") or []]
    return f"{asked[0][:100]} has no reply" if asked else None


def no_calls(view: View) -> str | None:
    """No tool was called: nothing to learn about tools."""
    return None if any(message.get("tool_calls") for _, message, _ in view.played) else ""


def protocol(view: View) -> str | None:
    """A call of the execution phase could not be read."""
    for i, turn in enumerate(view.turns):
        if turn["phase"] == "execution" and turn.get("state") == "invalid":
            return f"turn {i + 1}: a call that could not be read"
    return None


def hinted(view: View) -> str | None:
    """An answer was sent back as wrong before the last one. The turn that was wrong has weight 0, but not
    every trainer knows it, and nobody says so to a model in use."""
    return "" if any(turn.get("hint") for turn in view.turns) else None
