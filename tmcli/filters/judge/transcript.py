"""What a judge is sent: one record as evidence, and one question about it.

    shown = record(trajectory)                       # None: too long to be shown whole
    messages = asked(shown, question, golds)

Nobody in the record can speak to the judge in our name: every message is a JSON object on a line of its own,
so no text in it can begin a line; and the marks around it hold a hash of the whole, which no text in it can
know. Long texts are cut, and say so.
"""

from __future__ import annotations

import json
import re
from typing import Any

import orjson

from tmcli.filters.judge.questions import Question
from tmcli.protocol import prompt
from tmcli.records import Json, Trajectory, digest
from tmcli.score import played

MAX_TEXT = 4000
"""Characters of one text."""
MAX_RECORD = 60_000
"""Characters of a record; a longer one is not judged."""
MAX_SCHEMA = 1500
"""Characters of one tool's parameters; of longer ones only the names are shown."""

_BREAKS = re.compile(
    "[\x80-\x9f\u2028\u2029\u200b-\u200f\u202a-\u202e\u2060-\u2069\ufeff\U000e0000-\U000e007f]"
)
"""What some take for the end of a line, or cannot see."""


def record(trajectory: Trajectory) -> str | None:
    """The dialogue, one JSON object a line. Golds, plans and our own instructions are not in it."""
    phases = {id(message): turn["phase"] for turn, message, _ in played(trajectory)}
    lines = [line({"tools": [_tool(tool) for tool in trajectory.tools]})]
    for message in trajectory.messages:
        role = message["role"]
        if role in ("system", "developer"):
            continue
        shown: Json = {"role": "model" if role == "assistant" else role}
        if id(message) in phases:
            shown["phase"] = phases[id(message)]
        if role == "tool":
            shown["name"] = cut(str(message.get("name") or ""))
        shown["text"] = cut(message.get("content") or "")
        if calls := message.get("tool_calls"):
            shown["calls"] = [_call(call["function"]) for call in calls]
        lines.append(line(shown))
    lines.append(line({"final_answer": cut(trajectory.prediction or "")}))
    whole = "\n".join(lines)
    return whole if len(whole) <= MAX_RECORD else None


def trials(trajectory: Trajectory) -> list[Json]:
    """The calls of phase trial that could be read, as the record shows them."""
    return [
        _call(call["function"])
        for turn, message, _ in played(trajectory)
        if turn["phase"] == "trial"
        for call in message.get("tool_calls") or []
    ]


def asked(shown: str, question: Question, golds: list[str]) -> list[Json]:
    """The messages of one request. The record comes before the question: a server that remembers how
    prompts begin reads it once."""
    parts = [fenced(shown)]
    if question.needs_gold:
        parts.append(f"The accepted answers: {line([cut(gold) for gold in golds])}")
    parts.append(f"The question: {question.ask}")
    return [
        {"role": "system", "content": prompt("judge")},
        {"role": "user", "content": "\n\n".join(parts)},
    ]


def fenced(shown: str) -> str:
    """Lines between marks that nothing in them can know."""
    mark = digest([shown, "judge"])
    return f"BEGIN {mark}\n{shown}\nEND {mark}"


def _tool(tool: Json) -> Json:
    function = tool["function"]
    schema = function.get("parameters")
    if len(orjson.dumps(schema)) > MAX_SCHEMA:
        properties = schema.get("properties") if isinstance(schema, dict) else None
        schema = [cut(name, 60) for name in list(properties)[:50]] if isinstance(properties, dict) else None
    described = cut(str(function.get("description") or ""), 500)
    return {"name": cut(function["name"], 200), "description": described, "parameters": schema}


def _call(function: Json) -> Json:
    arguments: Any = function.get("arguments")
    written = arguments if isinstance(arguments, str) else orjson.dumps(arguments).decode()
    fits = not isinstance(arguments, str) and len(written) <= MAX_TEXT
    return {"name": cut(function["name"], 200), "arguments": arguments if fits else cut(written)}


def cut(text: str, most: int = MAX_TEXT) -> str:
    """At most so much of a text, and how much is missing."""
    return text if len(text) <= most else f"{text[:most]}... ({len(text) - most} more characters cut)"


def line(value: Any) -> str:
    """One line, whoever reads it."""
    return _BREAKS.sub(lambda match: json.dumps(match.group())[1:-1], orjson.dumps(value).decode())
