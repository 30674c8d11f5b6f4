"""Defects put into good trajectories: each is what one rule of `tm filter` is for, and nothing else.

    for name, ways in MUTATIONS.items():
        for way in ways:
            bad = way(copy.deepcopy(good))       # None: this one has no place for it

A trajectory is plain JSON here. `MAY` names the rules that a defect concerns besides its own.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import Any

from tmcli.protocol import prompt

Json = dict[str, Any]
Way = Callable[[Json], Json | None]
EXPERIENCE = re.compile(r"<experience>.*?</experience>")


def assistants(record: Json) -> list[int]:
    """Where the model's messages are, of its own turns alone."""
    at = [i for i, message in enumerate(record["messages"]) if message["role"] == "assistant"]
    return at[-len(record["turns"]) :]


def first(record: Json, phase: str) -> int | None:
    """The first turn of a phase that calls something."""
    turns = enumerate(record["turns"])
    return next((i for i, turn in turns if turn["phase"] == phase and turn["calls"]), None)


def insert(
    record: Json, at: int, phase: str, content: str, *calls: tuple[str, Json, bool, str], state: str = "ok"
) -> Json:
    """A turn more, before turn `at`: (name, arguments, ok, reply) of each call. Behind a trial, it takes the
    experience over."""
    follower = record["messages"][assistants(record)[at]]
    if phase == "execution" and record["turns"][at - 1]["phase"] == "trial":
        noted = EXPERIENCE.search(follower["content"])
        content = f"{noted[0] if noted else ''}{content}"
        follower["content"] = EXPERIENCE.sub("", follower["content"])
    n = len(record["messages"])
    ids = [f"new_{n}_{i}" for i in range(len(calls))]
    asked = [
        {"id": i, "type": "function", "function": {"name": name, "arguments": arguments}}
        for i, (name, arguments, _, _) in zip(ids, calls, strict=True)
    ]
    said = {"role": "assistant", "content": content, "tool_calls": asked}
    told = [
        {"role": "tool", "tool_call_id": i, "name": name, "content": reply}
        for i, (name, _, _, reply) in zip(ids, calls, strict=True)
    ]
    made = [{"name": name, "arguments": arguments, "ok": ok} for name, arguments, ok, _ in calls]
    place = assistants(record)[at]
    record["messages"][place:place] = [said, *told]
    record["turns"].insert(at, {"phase": phase, "state": state, "calls": made})
    return record


def last(record: Json) -> int:
    return len(record["turns"]) - 1


def error(sentence: str) -> str:
    return json.dumps({"error": sentence})


def say(record: Json, turn: int, before: str = "", after: str = "") -> Json:
    """More words in a turn."""
    message = record["messages"][assistants(record)[turn]]
    message["content"] = f"{before}{message['content']}{after}"
    return record


# ---- the dialogue --------------------------------------------------------------------------------


def two_users(record: Json) -> Json:
    record["messages"].insert(assistants(record)[0] + 1, {"role": "user", "content": "Go on."})
    return record


def lost_reply(record: Json) -> Json:
    at = next(i for i, message in enumerate(record["messages"]) if message["role"] == "tool")
    del record["messages"][at]
    return record


def second_reply(record: Json) -> Json:
    at = next(i for i, message in enumerate(record["messages"]) if message["role"] == "tool")
    record["messages"].insert(at, record["messages"][at])
    return record


def invented(mark: str, after: str = "") -> Way:
    return lambda record: say(record, 0, after=f"\n{mark}\n{json.dumps({'count': 3})}{after}")


def observed(record: Json) -> Json | None:
    turn = first(record, "execution")
    return None if turn is None else say(record, turn, after='\nObservation: {"count": 3}')


def unread(record: Json) -> Json:
    insert(record, last(record), "execution", "<plan>go on</plan>", state="invalid")
    at = assistants(record)[-2]
    del record["messages"][at]["tool_calls"]
    record["turns"][-2]["calls"] = [{"name": "invalid", "arguments": {}, "ok": False}]
    told = {"role": "tool", "tool_call_id": "invalid_1", "name": "invalid", "content": error("no call")}
    record["messages"].insert(at + 1, told)
    return record


def uncalled(record: Json) -> Json:
    end = record["messages"][-1] | {"content": f"<answer>{record['prediction']}</answer>"}
    record["messages"] = [*record["messages"][: assistants(record)[0]], end]
    record["turns"] = record["turns"][-1:]
    return record


# ---- answers -------------------------------------------------------------------------------------


def changed(**more: Any) -> Way:
    return lambda record: record | more


def no_gold(record: Json) -> Json:
    return record | {"task": record["task"] | {"answer": []}}


def hint(record: Json) -> Json:
    record["turns"][0]["hint"] = True
    return record


# ---- calls ---------------------------------------------------------------------------------------


def refused(name: str | None, change: Callable[[Json, Json], Json | None], sentence: str) -> Way:
    """A call before the last turn that breaks what was shown, and that its tool refuses."""

    def way(record: Json) -> Json | None:
        shown = {tool["function"]["name"]: tool["function"].get("parameters") for tool in record["tools"]}
        called = {call["name"] for turn in record["turns"] for call in turn["calls"]}
        for tool, schema in shown.items():
            if tool in called or not schema or not schema.get("required"):
                continue
            bad = change({key: f"value of {key}" for key in schema["required"]}, schema)
            if bad is not None:
                call = (name or tool, bad, False, error(sentence))
                return insert(record, last(record), "execution", "<plan>look</plan>", call)
        return None

    return way


def without_one(good: Json, schema: Json) -> Json | None:
    return dict(list(good.items())[1:])


def with_number(good: Json, schema: Json) -> Json | None:
    due = [key for key in good if schema["properties"][key].get("type") == "string"]
    return good | {due[0]: 7} if due else None


def fails(times: int, phase: str = "execution", *, changing: bool = False) -> Way:
    """Calls of a tool that nobody called, as it is shown, that fail."""

    def way(record: Json) -> Json | None:
        called = {call["name"] for turn in record["turns"] for call in turn["calls"]}
        for tool in record["tools"]:
            name, schema = tool["function"]["name"], tool["function"].get("parameters") or {}
            due = {key: schema["properties"][key] for key in schema.get("required", [])}
            if name in called or not due or any(set(kind) - {"type", "description"} for kind in due.values()):
                continue
            if any(kind.get("type", "string") != "string" for kind in due.values()):
                continue
            for i in range(times):
                given = dict.fromkeys(due, f"thing {i if changing else 0}")
                closed = (name, given, False, error("the shop is closed"))
                insert(record, last(record), phase, f"<plan>look, {i}</plan>", closed)
            return record
        return None

    return way


# ---- phases --------------------------------------------------------------------------------------


def no_experience(record: Json) -> Json | None:
    turn = first(record, "trial")
    if turn is None:
        return None
    message = record["messages"][assistants(record)[turn + 1]]
    message["content"] = EXPERIENCE.sub("", message["content"])
    return record


def empty_trial(record: Json) -> Json:
    record["messages"].insert(assistants(record)[0], {"role": "assistant", "content": "<trial>hm</trial>"})
    record["messages"].insert(assistants(record)[0], {"role": "user", "content": "?"})
    record["turns"].insert(0, {"phase": "trial", "state": "ok", "calls": []})
    return record


def late_trial(record: Json) -> Json | None:
    """One more of a tool that worked, with other values."""
    for turn in record["turns"]:
        for call in turn["calls"]:
            if turn["phase"] == "execution" and call["ok"] and call["arguments"]:
                given = {key: f"another {key}" for key in call["arguments"]}
                made = (call["name"], given, False, error("there is none"))
                insert(record, last(record), "trial", "<trial>and this?</trial>", made)
                return say(record, last(record), "<experience>there is none.</experience>")
    return None


def untried(record: Json) -> Json | None:
    if not record["task"]["tags"]["drift"]:
        return None
    for turn in record["turns"]:
        turn["phase"] = "execution"
    for message in record["messages"]:
        if message["role"] == "assistant":
            message["content"] = EXPERIENCE.sub("", message["content"]).replace("trial>", "plan>")
    return record


def tried_again(record: Json) -> Json | None:
    turn = first(record, "trial")
    if turn is None:
        return None
    made = record["turns"][turn]["calls"][0]
    at = assistants(record)[turn]
    reply = record["messages"][at + 1]["content"]
    noted = EXPERIENCE.search(record["messages"][assistants(record)[turn + 1]]["content"])
    call = (made["name"], dict(reversed(made["arguments"].items())), made["ok"], reply)
    return insert(record, turn + 1, "trial", f"{noted[0] if noted else ''}<trial>again</trial>", call)


def wasted(record: Json) -> Json | None:
    """Two trials of tools that are never needed."""
    called = {call["name"] for turn in record["turns"] for call in turn["calls"]}
    others = [tool["function"]["name"] for tool in record["tools"] if tool["function"]["name"] not in called]
    if len(others) < 2 or first(record, "trial") is None:
        return None
    for i, name in enumerate(others[:2]):
        call = (name, {}, True, json.dumps({"lore": f"wind and weather {i}"}))
        content = f"<experience>so it is.</experience><trial>try {name}</trial>"
        insert(record, first(record, "trial") + 1, "trial", content, call)  # type: ignore[operator]
    return record


def noted(text: str) -> Way:
    """Another experience after the first trial. {tool} is the tool that was tried."""

    def way(record: Json) -> Json | None:
        turn = first(record, "trial")
        if turn is None:
            return None
        call = record["turns"][turn]["calls"][0]
        if ("works." in text and call["ok"]) or ("fails." in text and not call["ok"]):
            return None
        message = record["messages"][assistants(record)[turn + 1]]
        said = f"<experience>{text.format(tool=call['name'])}</experience>"
        message["content"] = EXPERIENCE.sub(lambda _: said, message["content"], count=1)
        return record

    return way


# ---- leaks ---------------------------------------------------------------------------------------


def gold_told(record: Json) -> Json | None:
    gold = record["task"]["answer"][0]
    shown = json.dumps([record["task"]["messages"], record["tools"]], ensure_ascii=False)
    if len(gold) < 3 or gold in shown or first(record, "trial") != 0:
        return None
    return say(record, 0, f"<plan>It should come to {gold}.</plan>")


def gold_passed(record: Json) -> Json | None:
    gold = record["task"]["answer"][0]
    shown = json.dumps([record["task"]["messages"], record["tools"]], ensure_ascii=False)
    if len(gold) < 3 or gold in shown or first(record, "trial") != 0:
        return None
    record["turns"][0]["calls"][0]["arguments"]["note"] = gold
    record["messages"][assistants(record)[0]]["tool_calls"][0]["function"]["arguments"]["note"] = gold
    return record


def id_told(record: Json) -> Json:
    record["task"]["plan"].insert(0, {"name": "x", "arguments": {"ref": "QX99417"}})
    return say(record, 0, "<plan>It must be QX99417.</plan>")


def prompt_told(record: Json) -> Json:
    return say(record, 0, "The task is the same. <trial>does look take the number of a slot?</trial>")


def prompt_shown(record: Json) -> Json:
    record["messages"][0]["content"] = prompt("teacher")
    return record


MUTATIONS: dict[str, list[Way]] = {
    "invalid_status": [changed(status="invalid")],
    "role_order": [two_users],
    "unanswered_call": [lost_reply, second_reply],
    "invented_reply": [
        invented("<tool_response>", "\n</tool_response>"),
        invented("<|im_start|>tool"),
        invented("[TOOL_RESULTS]"),
        invented("<|start_header_id|>ipython<|end_header_id|>"),
        observed,
    ],
    "no_answer": [changed(prediction=None, stop="max_turns"), changed(prediction=" ", stop="no_call")],
    "unjudged": [no_gold],
    "wrong_answer": [changed(prediction="certainly something else")],
    "no_calls": [uncalled],
    "protocol": [unread],
    "invalid_call": [
        refused("fetch_everything", lambda good, _: good, "unknown tool"),
        refused(None, lambda good, _: good | {"verbosity": "high"}, "what is verbosity?"),
        refused(None, without_one, "something is missing"),
        refused(None, with_number, "that is no text"),
    ],
    "phase_order": [no_experience, late_trial, empty_trial],
    "no_trial": [untried],
    "repeated_trial": [tried_again],
    "wasted_trials": [wasted],
    "false_experience": [
        noted("fetch_all takes zone_ref and max_items."),
        noted('It answered "the moon is made of cheese" and 48213.'),
        noted("{tool} works."),
        noted("{tool} fails."),
    ],
    "unchanged_retry": [fails(2)],
    "execution_errors": [fails(3, changing=True)],
    "leak": [gold_told, gold_passed, id_told, prompt_told, prompt_shown],
    "hinted": [hint],
}
"""Rule -> ways in which a trajectory comes to deserve it."""

MAY: dict[str, set[str]] = {
    "role_order": {"unanswered_call"},
    "unanswered_call": {"role_order", "invalid_call", "false_experience"},
    "no_answer": {"wrong_answer"},
    "no_calls": {"no_trial", "leak"},
    "unchanged_retry": {"execution_errors", "too_many_turns"},
    "invalid_call": {"execution_errors", "too_many_turns"},
    "protocol": {"execution_errors", "too_many_turns"},
    "execution_errors": {"too_many_turns"},
    "repeated_trial": {"wasted_trials", "too_many_turns"},
    "wasted_trials": {"too_many_turns"},
    "no_trial": {"execution_errors", "unchanged_retry"},
    "phase_order": {"false_experience", "wasted_trials", "too_many_turns", "role_order"},
}
"""Rule -> others that its defect concerns too."""
