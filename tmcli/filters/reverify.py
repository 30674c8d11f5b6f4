"""`--reverify`: were the replies what the tools really say? Each episode is played again and compared.

    with Reverify(concurrency=8) as again:
        for line, mine, reason, why in again.run(items): ...        # items: (line, anything)
    again.tell()

The episode is played by `episode.play` in a world of its own, as it was recorded: the same task with its
drift, and a policy that says what was said, turn by turn, calls that cannot be read included. What is
compared: each reply (worked or not, and its text), how the episode ended, and whether the answer that was
said is right. A reply that was cut is compared as far as it goes.

The tools really run: a server is asked again, and what changes something changes it again. Where they cannot
run (no such server, a broken environment, an episode that broke or is no episode of ours) nothing is known:
such a trajectory is counted as not checked, and kept.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Literal, Self, TypeVar

import orjson

from tmcli import console
from tmcli.environments.world import World
from tmcli.episode import Limits, play
from tmcli.errors import InputError, UsageError
from tmcli.filters.inorder import InOrder
from tmcli.policies import Finish, Reply
from tmcli.protocol import Call, Fault, Turn, describe, parse
from tmcli.records import Drop, Json, Stop, Task, Trajectory, decode, expect
from tmcli.score import correct, made, played, task_in

T = TypeVar("T")

WHOLE = 10**9
"""No reply is cut in the second play: how the first one cut is in its text."""
SHOWN = 80
"""Characters of each side that `why` shows."""
FINISHES: dict[Stop, Finish] = {"length": "length", "refusal": "refusal"}

_CUT = re.compile(r"\.\.\. \((\d{1,12}) more characters cut\)\Z")
_REFUSED = "; write the call again"


@dataclass(frozen=True, slots=True)
class Finding:
    """What the second play of one trajectory came to."""

    state: Literal["reproduced", "not_reproduced", "not_checked"]
    why: str = ""


class Reverify:
    """One world of tools for all trajectories."""

    word = "reverify"

    def __init__(self, concurrency: int = 8, timeout_s: float = 10.0) -> None:
        """`concurrency`: episodes at once. `timeout_s`: of one call of a tool."""
        self.counts: Counter[str] = Counter(reproduced=0, not_reproduced=0, not_checked=0)
        self.first = ""
        """Why the first of those that were not checked was not."""
        self._world = World(timeout_s)
        self._many = InOrder(self._world.close, concurrency)

    def run(self, items: Iterable[tuple[bytes, T]]) -> Iterator[tuple[bytes, T, Drop | None, str]]:
        """Each line as it is, with the reason to drop it, if there is one."""
        for (line, mine), finding in self._many.run(items, lambda item: again(item[0], self._world)):
            self.counts[finding.state] += 1
            if finding.state == "not_checked":
                self.first = self.first or finding.why
            wrong = finding.state == "not_reproduced"
            yield line, mine, "not_reproduced" if wrong else None, finding.why if wrong else ""

    @property
    def metrics(self) -> dict[str, float]:
        """For a `run` record."""
        return dict(self.counts)

    def tell(self) -> None:
        """Say once what came of it."""
        n_played = self.counts["reproduced"] + self.counts["not_reproduced"]
        console.note(f"--reverify: {self.counts['reproduced']} of {n_played} played again as recorded")
        if n := self.counts["not_checked"]:
            which = "1 trajectory" if n == 1 else f"{n} trajectories"
            console.warn(f"--reverify could not check {which}, kept as they are; the first: {self.first}")

    def __enter__(self) -> Self:
        self._many.__enter__()
        return self

    def __exit__(self, *error: object) -> None:
        self._many.__exit__(*error)


async def again(line: bytes, world: World) -> Finding:
    """Play one trajectory again, and compare."""
    trajectory = expect(decode(line), Trajectory)
    task = task_in(trajectory)
    if trajectory.status == "invalid" or not trajectory.turns:
        return Finding("not_checked", f"{trajectory.id}: the episode broke before anything could be compared")
    said = Said(trajectory)
    if len(said.replies) < len(trajectory.turns):
        return Finding("not_checked", f"{trajectory.id}: it has more turns than messages of the assistant")
    sample = trajectory.id.rpartition("#")[2]
    hints = any(turn.get("hint") for turn in trajectory.turns)
    limits = Limits(max_turns=len(trajectory.turns), max_tokens=WHOLE, max_reply_chars=WHOLE, hints=hints)
    try:
        second = await play(task, int(sample) if sample.isdecimal() else 0, said, world, limits)
    except (UsageError, InputError) as error:  # no such environment, or not here
        return Finding("not_checked", f"{trajectory.id}: {error}"[:300])
    if second.status == "invalid":
        return Finding("not_checked", f"{trajectory.id}: {second.failure}"[:300])
    if len(second.turns) < len(trajectory.turns):
        where = f"turn {len(second.turns)} ends the episode here, and did not there"
        return Finding("not_checked", f"{trajectory.id}: {where}")
    why = differs(trajectory, second, task)
    return Finding("reproduced") if why is None else Finding("not_reproduced", why)


def differs(first: Trajectory, second: Trajectory, task: Task) -> str | None:
    """The first thing that is not as it was recorded."""
    number = 0
    calls, anew = iter(made(first)), iter(made(second))
    for number, (turn, found) in enumerate(zip(first.turns, second.turns, strict=True), 1):
        n, m = len(turn["calls"]), len(found["calls"])
        if n != m:
            return f"turn {number}: {m} calls are answered, recorded are {n}"
        for _ in range(n):
            one, other = next(calls), next(anew)
            at = f"turn {number}: {other.name[:SHOWN]}"
            if one.reply is None or not same(one.reply, other.reply or ""):
                return f"{at} replies {_beside(other.reply or '', one.reply)}"
            if one.ok != other.ok:
                return f"{at} {'works' if other.ok else 'fails'}, recorded as the contrary"
    if first.stop != second.stop:
        return f"turn {number}: it ends with {second.stop}, recorded is {first.stop}"
    right = [correct(one.prediction, task.answer, task.check) for one in (first, second)]
    if right[0] != right[1] or (right[0] is None and first.prediction != second.prediction):
        return f"the answer that was said is {_beside(second.prediction or '', first.prediction)}"
    return None


def same(recorded: str, found: str) -> bool:
    """Is this the reply that was recorded, maybe cut?"""
    if recorded == found:
        return True
    cut = _CUT.search(recorded)
    return (
        cut is not None
        and len(found) == cut.start() + int(cut[1])
        and found.startswith(recorded[: cut.start()])
    )


def _beside(found: str, recorded: str | None) -> str:
    """Both, from a little before where they part."""
    if recorded is None:
        return f"{found[:SHOWN]!r}, recorded is no reply"
    at = next((i for i, (a, b) in enumerate(zip(found, recorded, strict=False)) if a != b), None)
    at = min(len(found), len(recorded)) if at is None else at
    start = max(0, at - 20)
    return f"{found[start : start + SHOWN]!r}, recorded is {recorded[start : start + SHOWN]!r}"


class Said:
    """A policy that says what was said. One trajectory, one conversation."""

    name = "said"
    tokens = None

    def __init__(self, trajectory: Trajectory) -> None:
        self.sampling: Json = {}
        last = len(trajectory.turns) - 1
        self.replies = [
            _reply(turn, message, replies, FINISHES.get(trajectory.stop, "stop") if i == last else "stop")
            for i, (turn, message, replies) in enumerate(played(trajectory))
        ]
        self._next = iter(self.replies)

    def open(self, task: Task, sample: int) -> Said:
        return self

    async def reply(self, messages: list[Json]) -> Reply:
        return next(self._next)

    def close(self) -> None:
        """Nothing is held."""

    async def aclose(self) -> None:
        """Nothing is held."""


def _reply(turn: Json, message: Json, replies: list[Json], finish: Finish) -> Reply:
    text = message.get("content") or ""
    calls = tuple(_call(call["function"]) for call in message.get("tool_calls") or [])
    faults = _faults(text, len(turn["calls"]) - len(calls), replies[len(calls) :])
    said: Turn = describe(text, calls, faults)
    return Reply(content=text, turn=replace(said, phase=turn["phase"]), finish=finish)


def _call(function: Json) -> Call:
    arguments = function.get("arguments")
    if isinstance(arguments, str):  # OpenAI's own form
        try:
            arguments = orjson.loads(arguments)
        except orjson.JSONDecodeError:
            arguments = None
    return Call(function["name"], arguments if isinstance(arguments, dict) else {})


def _faults(text: str, n: int, replies: list[Json]) -> tuple[Fault, ...]:
    """Calls that could not be read: they stand in the text, or came in fields of a server's own and are known
    by what the model was told of them."""
    if n <= 0:
        return ()
    written = parse(text).faults
    if len(written) == n:
        return written
    return tuple(Fault("", _told(reply)) for reply in replies[:n])


def _told(reply: Json) -> str:
    """The sentence in the reply to a call that could not be read."""
    try:
        error = orjson.loads(reply.get("content") or "")
    except orjson.JSONDecodeError:
        return ""
    said = error.get("error") if isinstance(error, dict) else None
    return said.removesuffix(_REFUSED) if isinstance(said, str) else ""
