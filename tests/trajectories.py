"""Builders of small, valid trajectories, as `tm synth` and `tm rollout` write them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from tmcli.filters.rules import Preset, chosen
from tmcli.records import Drop, Trajectory, encode, new_task, to_json
from tmcli.steps.filter import Judge, Plan

Json = dict[str, Any]

FIND = {"name": "find_book", "parameters": {"type": "object", "properties": {"title": {"type": "string"}}}}
TOOLS: list[Json] = [{"type": "function", "function": FIND}]


def task(n: int = 0, **more: Any) -> Json:
    """A task whose answer is `<n> shelves`."""
    tags = {"toolbox": "library", "split": "seen", "hops": 2, "drift": []} | more.pop("tags", {})
    known: Json = {
        "messages": [{"role": "user", "content": f"How many shelves has room {n}?"}],
        "tools": TOOLS,
        "env": {"kind": "toolbox", "toolbox": "library", "seed": n},
        "answer": [f"{n} shelves"],
    }
    return to_json(new_task(**(known | more), tags=tags))


def call(
    name: str = "find_book", /, reply: str | None = '{"id": 1}', ok: bool = True, **arguments: Any
) -> Json:
    """One call with its reply (None: it is never answered)."""
    return {"name": name, "arguments": arguments, "ok": ok, "reply": reply}


def fault(error: str = '{"error": "write the call again"}') -> Json:
    """Something that was meant as a call and could not be read."""
    return {"name": "invalid", "arguments": {}, "ok": False, "reply": error, "fault": True}


def turn(phase: str, *calls: Json, state: str = "ok", content: str = "") -> Json:
    return {"phase": phase, "calls": calls, "state": state, "content": content}


def trajectory(
    turns: Sequence[Json] | None = None, *, task: Json | None = None, sample: int = 0, **more: Any
) -> Trajectory:
    """An episode of these turns; by default a trial that errs, a call that works, the right answer."""
    task = task or globals()["task"]()
    answer = task["answer"][0] if task["answer"] else "something"
    if turns is None:
        error = call(ok=False, reply='{"error": "unknown field name"}', name_="x")
        turns = [
            turn("trial", error, content="<trial>see</trial>"),
            turn(
                "execution",
                call(title="Emma"),
                content="<experience>the field is not name_</experience><plan>look it up</plan>",
            ),
            turn("execution", content=f"<answer>{answer}</answer>"),
        ]
    messages: list[Json] = [{"role": "system", "content": "Try the tools."}, *task["messages"]]
    n = 0
    for played in turns:
        asked: list[Json] = []
        replies: list[Json] = []
        for made in played["calls"]:
            if made.get("fault"):
                call_id, name = f"invalid_{n}", "invalid"
            else:
                call_id, name = f"call_{n}", made["name"]
                function = {"name": name, "arguments": made["arguments"]}
                asked.append({"id": call_id, "type": "function", "function": function})
            n += 1
            if made["reply"] is not None:
                reply = {"role": "tool", "tool_call_id": call_id, "name": name, "content": made["reply"]}
                replies.append(reply)
        message = {"role": "assistant", "content": played["content"]}
        messages += [message | ({"tool_calls": asked} if asked else {}), *replies]
    known: Json = {
        "prediction": answer,
        "stop": "answer",
        "usage": {"prompt_tokens": 90, "completion_tokens": 30, "turns": len(turns)},
        "policy": {"name": "scripted", "sampling": {}, "key": "0123456789abcdef"},
    }
    return Trajectory(
        id=f"{task['id']}#{sample}",
        task=task,
        messages=messages,
        tools=task["tools"],
        turns=[
            {
                "phase": played["phase"],
                "state": played["state"],
                "calls": [
                    {key: made[key] for key in ("name", "arguments", "ok")} for made in played["calls"]
                ],
            }
            for played in turns
        ],
        **(known | more),
    )


def lines(*trajectories: Trajectory) -> str:
    """JSONL, as a file or a pipe holds it."""
    return "".join(encode(trajectory).decode() + "\n" for trajectory in trajectories)


def dropped(
    one: Trajectory, preset: Preset = "default", on: Iterable[str] = (), off: Iterable[str] = ()
) -> Drop | None:
    """Why `tm filter` drops it, looking at it alone."""
    verdict = Judge(Plan(chosen(preset, on, off)))(encode(one))
    assert verdict.error is None, verdict.error
    return verdict.reason
