"""What published scorers compute, written again from their sources for dialogues as they have them: apart
from the code of tm that they check.

FTRL: `Code/evaluation/evaluation_{self,toolhop,rotbench}.py` and `answer_verify` of `Code/utils/utils.py`.
RoTBench: `Code/Evaluation/evaluate.py`, for its form of Thought and Action. DRAFT: the author's `is_in_order`
for RestBench (thread 3 of quchangle1/DRAFT).
"""

from __future__ import annotations

import copy
import json
from collections import Counter
from typing import Any

from tmcli.records import Json


def verified(said: str, gold: str) -> bool:
    said = said.lower().replace(",", "").strip()
    return all(piece.lower().replace(",", "").strip() in said for piece in gold.split(", "))


def ftrl(messages: list[Json], unsolved: dict[str, list[str]]) -> tuple[float, float, float]:
    left = copy.deepcopy(unsolved)
    due = sum(len(golds) for golds in left.values())
    made = 0
    told = {m["tool_call_id"]: m["content"] for m in messages if m["role"] == "tool"}
    for message in messages:
        for call in message.get("tool_calls") or []:
            made += 1
            golds = left.get(call["function"]["name"], [])
            for gold in golds:
                if verified(told[call["id"]], gold):
                    golds.remove(gold)
                    break
    solved = due - sum(len(golds) for golds in left.values())
    return solved / made if made > 0 else 1.0, solved / due, 2 * solved / (made + due)


def toolhop(messages: list[Json], gold: str) -> bool:
    last = messages[-1]
    if last["role"] == "assistant" and last["content"]:
        if verified(last["content"], gold):
            return True
        if messages[-2]["role"] == "tool" and verified(messages[-2]["content"], gold):
            return True
    return False


def in_order(golds: list[str], called: list[str]) -> bool:
    at = 0
    for gold in golds:
        try:
            at = called.index(gold, at) + 1
        except ValueError:
            return False
    return True


def rotbench(response: str, golds: list[str], tools: list[str]) -> tuple[float, float, float]:
    """RoTBench's own. Each mark is found in a loop of its own, as there."""
    return tuple(float(_rotbench(response, golds, tools, level)) for level in (1, 2, 3))  # type: ignore[return-value]


def _rotbench(response: str, golds: list[str], tools: list[str], level: int) -> bool:
    name = response[response.find("Action:") + 8 : response.find("Action Input:")].removesuffix("\n")
    try:
        given = json.loads(response[response.find("Action Input:") + 14 :])
    except json.JSONDecodeError:
        return False
    if isinstance(given, str) or not given:
        return False
    for gold in golds:
        due = gold[gold.find("Action:") + 8 : gold.find("Action Input:")].removesuffix("\n")
        wanted = json.loads(gold[gold.find("Action Input:") + 14 :])
        if due == tools[-1] and name == "finish":
            name = due
        if due != name:
            continue
        if level == 1:
            return True
        if wanted.keys() != given.keys():
            continue
        if level == 2:
            return True
        for key in [key for key, value in wanted.items() if value == "None"]:
            del wanted[key]
            del given[key]
        if wanted == given or due in (tools[-1], tools[-2]):
            return True
    return False


def ftrl_rotbench(response: str, golds: list[str]) -> tuple[float, float, float]:
    def read(text: str) -> tuple[str, Any]:
        rest = text.split("Action: ")[1]
        return rest.split("Action Input: ")[0].strip(), json.loads(text.split("Action Input: ")[1].strip())

    ts = pi = cf = 0.0
    try:
        name, given = read(response)
        assert type(given) is dict
        for due, wanted in map(read, golds):
            if due == name:
                ts = 1.0
                if not wanted.keys() ^ given.keys():
                    pi = 1.0
                    if Counter(wanted.values()) == Counter(given.values()):
                        cf = 1.0
                        break
    except Exception:  # noqa: BLE001 - as there: what breaks leaves the marks as they are
        pass
    return ts, pi, cf
