"""One episode: a policy meets a task's tools until it answers or a limit ends it.

The only loop there is: `synth`, `rollout`, `eval` and `rl` differ in who answers, not in how it is
played. Nothing the model or a tool does raises here: calls that cannot be read and tools that fail are
told to the model. When the world itself breaks, the trajectory is `invalid` and has no reward.

How a turn ends an episode, the same for every policy (first row that fits):

    the server or model refused                 -> refusal
    the turn was cut, or the token limit is met -> length      (an <answer> already closed counts)
    calls, readable or not                      -> they are answered, the episode goes on
    <answer>                                    -> answer      (with `hints`, a wrong one is sent back once)
    anything else                               -> no_call     (its text is the prediction)

A hint is a user's turn with fixed words (`prompts/hint.txt`): that the answer is wrong, and nothing else.
The turn that was sent back is marked: `"hint": true` in `turns`, and `"weight": 0` on its message, which
OpenAI's fine-tuning and axolotl (`message_field_training: weight`) know for "not trained on", as `tm sft`.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from time import perf_counter

import orjson

from tmcli.environments import Observation, Session
from tmcli.environments.world import World
from tmcli.errors import InfrastructureError
from tmcli.policies import Conversation, Policy, Reply
from tmcli.protocol import ANSWER_CLOSE, Call, Style, prompt, strip_markup
from tmcli.records import Json, Stop, Task, Trajectory, to_json
from tmcli.score import correct

_CUT = re.compile(r"\.\.\. \(\d{1,12} more characters cut\)\Z")


@dataclass(frozen=True, slots=True)
class Limits:
    """What bounds an episode."""

    style: Style = "trial"
    """Which prompt the model is shown."""
    max_turns: int = 12
    """Assistant turns."""
    max_tokens: int = 4096
    """Tokens of the dialogue, prompt included."""
    max_reply_chars: int = 2000
    """A longer tool reply is cut, and says so."""
    max_parallel_calls: int = 8
    """Calls in one turn; further ones are answered with an error."""
    hints: bool = False
    """Once an episode, send a wrong answer back. Never where nobody can tell right from wrong."""
    timed: bool = False
    """Write the wall time of each turn into it: `ms` of the reply, `tools_ms` of all its calls. Never by
    default, since no two runs would be the same bytes."""

    def to_json(self) -> Json:
        """What shapes an episode; no `hints` where there are none, so that older files can be resumed."""
        shaping = {name: value for name, value in asdict(self).items() if name != "timed"}
        if not self.hints:
            del shaping["hints"]
        return shaping


async def play(
    task: Task, sample: int, policy: Policy, world: World, limits: Limits, key: str = ""
) -> Trajectory:
    """Play `task` once. `sample` tells the n-th episode of a task from the others.

    Raises nothing for what a model, a server or a tool does; `UsageError` when the set-up is wrong.
    """
    messages: list[Json] = [{"role": "system", "content": prompt(limits.style)}, *task.messages]
    turns: list[Json] = []
    usage: Json = {"prompt_tokens": 0, "completion_tokens": 0, "turns": 0}
    cost: float | None = 0.0
    may_hint = limits.hints
    stop: Stop = "max_turns"
    prediction: str | None = None
    failure: str | None = None
    tokens: Json | None = None
    conversation: Conversation | None = None
    session: Session | None = None
    n_calls = 0
    try:
        conversation = policy.open(task, sample)
        session = world.open(task, sample)
        for left in reversed(range(limits.max_turns)):
            began = perf_counter()
            reply = await conversation.reply(messages)
            usage["prompt_tokens"] += reply.prompt_tokens
            usage["completion_tokens"] += reply.completion_tokens
            usage["turns"] += 1
            cost = None if cost is None or reply.cost is None else cost + reply.cost
            ids = [f"call_{n_calls + i}" for i in range(len(reply.turn.calls))]
            n_calls += len(ids)
            messages.append(_assistant(reply, ids))
            turns.append({"phase": reply.turn.phase, "state": reply.turn.state, "calls": []})
            if limits.timed:
                turns[-1] |= {"ms": _ms(began), "tools_ms": 0.0}
            ended = _ended(reply, limits)
            if ended is not None:
                if may_hint and left and _is_wrong(ended, task) and not _is_cut(reply, limits):
                    may_hint = False
                    turns[-1]["hint"] = True
                    messages[-1]["weight"] = 0
                    messages.append({"role": "user", "content": prompt("hint")})
                    continue
                stop, prediction = ended
                break
            began = perf_counter()
            seen = await _answers(session, reply.turn.calls, limits.max_parallel_calls)
            if limits.timed:
                turns[-1]["tools_ms"] = _ms(began)
            for call_id, call, observation in zip(ids, reply.turn.calls, seen, strict=True):
                turns[-1]["calls"].append(_label(call, observation))
                messages.append(_tool(call_id, call.name, _cut(observation.text, limits.max_reply_chars)))
            for i, fault in enumerate(reply.turn.faults):
                refused = _error(f"{fault.error}; write the call again")
                turns[-1]["calls"].append(_label(Call("invalid", {}), refused))
                messages.append(_tool(f"invalid_{usage['turns']}_{i}", "invalid", refused.text))
        tokens = conversation.tokens
    except InfrastructureError as error:
        stop, failure, prediction = "infrastructure", str(error), None
    finally:
        if conversation is not None:
            conversation.close()
        if session is not None:
            await session.close()
    if usage["turns"] and cost is not None:
        usage["cost"] = round(cost, 10)  # sums of decimal prices, without the noise of binary ones
    return Trajectory(
        id=f"{task.id}#{sample}",
        task=to_json(task),
        messages=messages,
        tools=task.tools,
        turns=turns,
        prediction=prediction,
        stop=stop,
        status="ok" if failure is None else "invalid",
        failure=failure,
        usage=usage,
        policy={
            "name": policy.name,
            "sampling": policy.sampling,
            "key": key,
            "limits": {"max_turns": limits.max_turns, "max_tokens": limits.max_tokens},
            **world.key,
        },
        tokens=tokens,
    )


async def _answers(session: Session, calls: Sequence[Call], most: int) -> list[Observation]:
    """What the calls of one turn bring, in their order. They are made at once: a session whose tools share
    a state does them one after the other by itself."""
    if not calls:
        return []
    if len(calls) == 1 <= most:  # as most turns: no tasks are needed
        return [await session.call(calls[0].name, calls[0].arguments)]
    made = [asyncio.ensure_future(session.call(call.name, call.arguments)) for call in calls[:most]]
    try:
        seen = await asyncio.gather(*made)
    finally:  # when one broke or we were cancelled, none goes on unseen
        for call in made:
            call.cancel()
        await asyncio.gather(*made, return_exceptions=True)
    over = _error(f"too many calls in one turn; at most {most} are made")
    return [*seen, *(over for _ in calls[most:])]


def _ended(reply: Reply, limits: Limits) -> tuple[Stop, str | None] | None:
    turn = reply.turn
    has_calls = bool(turn.calls or turn.faults)
    answered = turn.answer is not None and not has_calls
    if reply.finish == "refusal":
        return "refusal", None
    if _is_cut(reply, limits) and not (answered and ANSWER_CLOSE in turn.text):
        return "length", None
    if has_calls:
        return None
    if answered:
        return "answer", turn.answer
    return "no_call", strip_markup(turn.text) or None


def _is_cut(reply: Reply, limits: Limits) -> bool:
    return reply.finish == "length" or reply.prompt_tokens + reply.completion_tokens >= limits.max_tokens


def _is_wrong(ended: tuple[Stop, str | None], task: Task) -> bool:
    """Is this an answer that is known to be wrong?"""
    stop, prediction = ended
    return stop == "answer" and correct(prediction, task.answer, task.check) is False


def _assistant(reply: Reply, ids: list[str]) -> Json:
    message: Json = {"role": "assistant", "content": reply.content, **reply.extra}
    if reply.turn.calls:
        message["tool_calls"] = [
            {"id": i, "type": "function", "function": {"name": call.name, "arguments": call.arguments}}
            for i, call in zip(ids, reply.turn.calls, strict=True)
        ]
    return message


def _tool(call_id: str, name: str, content: str) -> Json:
    return {"role": "tool", "tool_call_id": call_id, "name": name, "content": content}


def _label(call: Call, seen: Observation) -> Json:
    label: Json = {"name": call.name, "arguments": call.arguments, "ok": seen.ok}
    return label if seen.ok else {**label, "error": seen.text[:200]}


def _ms(began: float) -> float:
    return round(1000 * (perf_counter() - began), 3)


def _error(sentence: str) -> Observation:
    return Observation(False, orjson.dumps({"error": sentence}).decode(), 0.0)


def _cut(text: str, limit: int) -> str:
    """At most `limit` characters of a reply; one that a recorded episode cut already stays as it is."""
    if len(text) <= limit or ((cut := _CUT.search(text)) and cut.start() <= limit):
        return text
    return f"{text[:limit]}... ({len(text) - limit} more characters cut)"
