"""LLaMA-Factory's form: `conversations` of `from` and `value`, `system`, and `tools` as JSON text.

    {"conversations": [{"from": "human", "value": "Who wrote Emma?"},
                       {"from": "function_call", "value": "<plan>p</plan>\\n<tool_call>[...]</tool_call>"},
                       {"from": "observation", "value": "..."},
                       {"from": "gpt", "value": "<answer>Austen</answer>"}],
     "system": "...", "tools": "[...]"}

It knows no more than turns that alternate: human or observation, then gpt or function_call. So the replies to
one turn are one observation, put together as LLaMA-Factory itself does it (between them the marks of Qwen's
template), and calls are a JSON list, in <tool_call> where text comes before them, which LLaMA-Factory takes
apart again and writes as the model's template wants it. There is no weight: every turn is trained on.
"""

from __future__ import annotations

from collections import Counter

import orjson

from tmcli.exporters import LEFT_OUT, turns
from tmcli.records import Json

BETWEEN_REPLIES = "\n</tool_response>\n<tool_response>\n"
CALL_OPEN, CALL_CLOSE = "<tool_call>", "</tool_call>"
MODEL = ("gpt", "function_call")


def row(record: Json, lost: Counter[str]) -> Json | None:
    """The row of a trajectory; None where it has nothing to learn, or does not alternate."""
    dialogue = turns(record["messages"], lost)
    if not dialogue:
        return None
    system: list[str] = []
    said: list[Json] = []
    for message in dialogue:
        content = message.get("content") or ""
        if message["role"] in ("system", "developer") and not said:
            system.append(content)
        elif message["role"] == "assistant":
            if not said or said[-1]["from"] in MODEL:
                lost[f"{LEFT_OUT}: turns that do not alternate"] += 1
                return None
            said.append(_turn(message, content, lost))
        else:
            _hear(said, "observation" if message["role"] == "tool" else "human", content, lost)
    return {
        "conversations": said,
        "system": "\n\n".join(system),
        "tools": orjson.dumps(record["tools"]).decode() if record["tools"] else "",
    }


def _turn(message: Json, content: str, lost: Counter[str]) -> Json:
    """What the model says."""
    if message.get("weight") == 0:
        lost["weight 0 of turns (they are trained on; --rule hinted drops such rows)"] += 1
    if message.keys() - {"role", "content", "weight", "tool_calls"}:
        lost["reasoning and other fields of turns"] += 1
    calls = message.get("tool_calls")
    if not calls:
        return {"from": "gpt", "value": content}
    lost["ids of calls"] += len(calls)
    made = [{"name": call["function"]["name"], "arguments": _arguments(call)} for call in calls]
    # markup inside an argument must not be taken for the call's own: JSON may spell it otherwise
    value = orjson.dumps(made).decode().replace("<", "\\u003c")
    if content:
        if CALL_OPEN in content:
            lost["call markup in text, broken up"] += 1
            content = content.replace(CALL_OPEN, "< tool_call>")
        value = f"{content}\n{CALL_OPEN}{value}{CALL_CLOSE}"
    return {"from": "function_call", "value": value}


def _arguments(call: Json) -> object:
    """Of one call, as an object."""
    given = call["function"].get("arguments", {})
    return orjson.loads(given) if isinstance(given, str) else given


def _hear(said: list[Json], speaker: str, content: str, lost: Counter[str]) -> None:
    """What the model is told; all of it between two turns is one value."""
    if not said or said[-1]["from"] in MODEL:
        said.append({"from": speaker, "value": content})
        return
    before = said[-1]
    both_replies = before["from"] == speaker == "observation"
    if not both_replies:
        lost["messages joined with the one before"] += 1
    joint = BETWEEN_REPLIES if both_replies else "\n\n"
    before["value"] = f"{before['value']}{joint}{content}"
