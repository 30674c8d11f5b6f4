"""Is there an answer, and is it right? Judged anew from the record; a stored `reward` is not trusted."""

from __future__ import annotations

from tmcli.filters.view import View


def no_answer(view: View) -> str | None:
    """The episode ended without an answer."""
    return None if (view.prediction or "").strip() else f"it ended by {view.stop}"


def unjudged(view: View) -> str | None:
    """Nobody knows the gold, or only a judge could tell."""
    if view.correct is not None:
        return None
    return "only a judge can tell" if view.task.check == "judge" else "nobody knows the gold"


def wrong_answer(view: View) -> str | None:
    """The answer fits no gold."""
    return (
        f"{(view.prediction or '')[:100]!r} is not {view.task.answer[0][:100]!r}"
        if view.correct is False
        else None
    )
