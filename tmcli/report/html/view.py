"""An episode as the page holds it: a short row for the list, and the whole to be opened.

    row(score, label, episode)       # one value a column of COLUMNS
    whole(trajectory, score)         # what a person reads of it, and what the diff compares

Both are plain JSON. The page makes text of every string in it, never markup.
"""

from __future__ import annotations

from typing import Any

import orjson

from tmcli.records import Json, Score, Trajectory
from tmcli.report.summary import word
from tmcli.report.transcript import Step

COLUMNS = (
    "id", "task", "file", "policy", "outcome", "stop", "tags", "tools", "calls", "errors", "turns", "reward",
    "question", "prediction", "there",
)  # fmt: skip
"""Of a row; `there`: is the whole episode in the page?"""

MAX_CHARS = 16_384
"""Of one text: more is cut, and says so."""
SHORT = 160
"""Characters of a question or prediction in the list."""

_PRETTY = orjson.OPT_INDENT_2 | orjson.OPT_SORT_KEYS | orjson.OPT_NON_STR_KEYS


def outcome(score: Score) -> str:
    """right | wrong | unjudged | invalid"""
    if score.stop == "infrastructure":
        return "invalid"
    return "unjudged" if score.correct is None else "right" if score.correct else "wrong"


def row(score: Score, label: str, trajectory: Trajectory | None, steps: list[Step]) -> list[Any]:
    """The values of COLUMNS. Of a score record alone, nobody knows what was said."""
    called = dict.fromkeys(call.name for step in steps for call, _ in step.calls if call.readable)
    return [
        score.id,
        score.task_id,
        label,
        str(score.policy.get("name", "-")),
        outcome(score),
        score.stop,
        {name: word(value) for name, value in score.tags.items() if name != "file"},
        list(called),
        score.calls,
        score.errors,
        score.scores.get("turns"),
        score.scores.get("reward"),
        _short(_question(trajectory.task)) if trajectory else "",
        _short(trajectory.prediction or "") if trajectory else "",
        trajectory is not None,
    ]


def whole(trajectory: Trajectory, score: Score, steps: list[Step]) -> Json:
    """All that is to be read of it. `shown` (system prompt and tools) is often the same in many episodes: the
    block keeps it once."""
    task = trajectory.task
    system = [m.get("content") or "" for m in trajectory.messages[:1] if m["role"] in ("system", "developer")]
    return {
        "shown": {
            "system": _cut("".join(system)),
            "tools": [[tool["function"]["name"], _cut(_json(tool["function"]))] for tool in trajectory.tools],
        },
        "asked": [[m.get("role", ""), _cut(m.get("content") or "")] for m in task.get("messages", [])],
        "answer": [_cut(str(gold)) for gold in task.get("answer", [])],
        "check": task.get("check", "exact"),
        "source": str(task.get("source", "")),
        "prediction": None if trajectory.prediction is None else _cut(trajectory.prediction),
        "failure": trajectory.failure,
        "scores": {name: value for name, value in score.scores.items() if value is not None},
        "steps": [_step(step) for step in steps],
    }


def _step(step: Step) -> Json:
    return {
        "phase": step.phase,
        "state": step.state,
        "said": [[who, _cut(text)] for who, text in step.said],
        "calls": [
            {
                "name": call.name,
                "arguments": _cut(_json(call.arguments)),
                "ok": call.ok,
                "reply": None if call.reply is None else _cut(call.reply),
                "label": label,
                "readable": call.readable,
            }
            for call, label in step.calls
        ],
        "hint": None if step.hint is None else _cut(step.hint),
    }


def _question(task: Json) -> str:
    """What the user said last."""
    asked = [m.get("content") or "" for m in task.get("messages", []) if m.get("role") == "user"]
    return asked[-1] if asked else ""


def _json(value: Any) -> str:
    """Indented, keys sorted: equal arguments are equal texts, and large numbers stay what they are.

    >>> _json({"b": 12345678901234567890, "a": 1})
    '{\\n  "a": 1,\\n  "b": 12345678901234567890\\n}'
    """
    try:
        return orjson.dumps(value, option=_PRETTY, default=repr).decode()
    except TypeError:  # nested deeper than orjson writes, or a number beyond 64 bits
        return repr(value)


def _cut(text: str) -> str:
    left = len(text) - MAX_CHARS
    return text if left <= 0 else f"{text[:MAX_CHARS]}\n... {left} more characters"


def _short(text: str) -> str:
    """
    >>> _short("a\\n  b")
    'a b'
    """
    line = " ".join(text[: 4 * SHORT].split())
    return line if len(line) <= SHORT else f"{line[: SHORT - 1]}…"
