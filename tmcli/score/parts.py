"""The named parts that a reward may weigh, each with its formula.

    PARTS["trial"].of(Case.of(trajectory))    # 1.0
    print(explained())                        # all of them, a line each

Where a part counts faults, it counts them, and takes no share of the turns or calls: a share is mended by
padding the episode with harmless turns. n faults cost 1 - 1/(1 + n): the first most, each further one
something, and nothing makes up for them. The parts are ours; ToolMaster's are not public.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import compress
from typing import Any, NamedTuple, Protocol

import orjson

from tmcli.protocol import CANNOT, Phase
from tmcli.records import Json, Status, Stop, Task, Trajectory, task_of
from tmcli.score.answers import correct
from tmcli.score.calls import Label, Made, brought, fresh, holds, labels, made, played, repeated, values
from tmcli.score.forged import forged, may_be_forged
from tmcli.score.subgoals import earned, solve

FREE_SHARE = 0.75
"""Of an episode's limits: what may be spent without a cost."""
MOST_SAID = 200
"""Characters that an answer may have beyond twice its gold before it counts as a list of guesses."""


class Episode(Protocol):
    """What is judged: a trajectory, or what `filters/view.py` sees of its line. To have tokens, messages,
    turns and tools takes a view some time: ask for them only where what is cheaper leaves something open."""

    @property
    def id(self) -> str: ...
    @property
    def prediction(self) -> str | None: ...
    @property
    def stop(self) -> Stop: ...
    @property
    def status(self) -> Status: ...
    @property
    def usage(self) -> Json: ...
    @property
    def policy(self) -> Json: ...
    @property
    def tokens(self) -> Json | None: ...
    @property
    def messages(self) -> list[Json]: ...
    @property
    def turns(self) -> list[Json]: ...
    @property
    def tools(self) -> list[Json]: ...


class Turns(NamedTuple):
    """What turns say, whatever they are read from."""

    states: list[Any]
    """ok, repaired, invalid."""
    n_trials: int
    """Those of phase trial."""
    hinted: bool
    """Was one sent back as wrong?"""
    ms: list[Any]
    """Wall times, of the model and of the tools, a turn: empty where none has any."""

    @classmethod
    def of(cls, turns: list[Json]) -> Turns:
        timed = any("ms" in turn or "tools_ms" in turn for turn in turns)
        return cls(
            [turn.get("state", "ok") for turn in turns],
            sum(turn["phase"] == "trial" for turn in turns),
            any(turn.get("hint") for turn in turns),
            [turn.get(name) for turn in turns for name in ("ms", "tools_ms")] if timed else [],
        )


class Case(NamedTuple):
    """An episode, read once for all parts."""

    trajectory: Episode
    task: Task
    calls: list[Made]
    keys: list[bytes]
    """Of the calls: equal ones have equal keys."""
    news: list[bool]
    """Which calls could bring something new (`fresh`)."""
    marks: list[Label]
    turns: Turns
    said: list[str]
    """What the model wrote, turn by turn, of those that were played."""
    tools: frozenset[str]
    """Names of the tools that were shown."""
    question: str
    """All messages of the task."""
    documents: Callable[[], str]
    """The tools as they were shown, in lower case."""
    right: bool | None
    """Is the answer? None: nobody can tell."""
    repeats: int
    """Calls that repeat another one of their phase."""
    unmended: int
    """Failed calls that were never overcome."""
    forged: int
    """Turns in which the model wrote a tool's reply or another role's turn itself."""

    @classmethod
    def of(cls, trajectory: Trajectory, task: Task | None = None) -> Case:
        task = task or task_of(trajectory)
        calls = made(trajectory)
        return cls.known(
            trajectory,
            task,
            calls,
            [call.key for call in calls],
            Turns.of(trajectory.turns),
            [message.get("content") or "" for _, message, _ in played(trajectory)],
            frozenset(tool["function"]["name"] for tool in trajectory.tools),
            "\n".join([message.get("content") or "" for message in task.messages]),
            lambda: documents(trajectory.tools),
        )

    @classmethod
    def known(
        cls,
        episode: Episode,
        task: Task,
        calls: list[Made],
        keys: list[bytes],
        turns: Turns,
        said: list[str],
        tools: frozenset[str],
        question: str,
        documents: Callable[[], str],
    ) -> Case:
        """Of an episode that was read in another way."""
        news = fresh(calls, keys)
        marks = labels(calls, episode.prediction, keys, news)
        return cls(
            episode,
            task,
            calls,
            keys,
            news,
            marks,
            turns,
            said,
            tools,
            question,
            documents,
            correct(episode.prediction, task.answer, task.check),
            repeated(calls, keys),
            _unmended(calls, marks, news),
            _forged_turns(episode, said),
        )


def documents(tools: list[Json]) -> str:
    """Tools as they are shown, in lower case."""
    return ",".join([orjson.dumps(tool).decode().lower() for tool in tools])


class Part(NamedTuple):
    """One part of a reward."""

    meaning: str
    """In a line, for help and README."""
    phases: tuple[Phase, ...]
    """Whose tokens it is credited to where the two phases have advantages of their own."""
    of: Callable[[Case], float | None]
    """None: not known, or it does not apply."""


# ---- what came of it -------------------------------------------------------------------------------


def answer(case: Case) -> float | None:
    return None if case.right is None else float(case.right)


def outcome(case: Case) -> float | None:
    """`answer` where it can be judged, else `solve_f1`; less credulous than both, since a policy is trained
    on it. Of `contains`, which looks for the gold anywhere, a long list of guesses is wrong; of sub-goals, a
    reply finds nothing that it only echoes."""
    right = answer(case)
    if right is None:
        return earned(case.calls, case.task)
    if right and case.task.check == "contains" and _stuffed(case):
        return 0.0
    return right


def _stuffed(case: Case) -> bool:
    """Could the answer be so long only to hold many?"""
    longest = max(map(len, case.task.answer))
    return len(case.trajectory.prediction or "") > 2 * longest + MOST_SAID


def _solve(i: int) -> Callable[[Case], float | None]:
    def part(case: Case) -> float | None:
        solved = solve(case.calls, case.task.subgoals or {})
        return None if solved is None else solved[i]

    return part


# ---- how it was come by ----------------------------------------------------------------------------


def protocol(case: Case) -> float:
    """1/(1 + n), n turns that did not keep it (`repaired` is not enough); an end without <answer> is one."""
    kept = [state == "ok" for state in case.turns.states]
    if kept and case.trajectory.stop != "answer":
        kept[-1] = False
    return 1 / (1 + kept.count(False)) if kept else 0.0


def trial(case: Case) -> float:
    """1 where a trial paid off, less n/(1 + n) for n idle ones; 0 without trials.

    It pays off when it is useful (`labels`), and its tool then worked in execution, or what it found, and
    nothing had shown before, was passed on or answered. Ruling a tool out is free, and earns nothing: an
    error is too easily had. Idle are the wasted ones, those of tools that were never shown, and useful ones
    beyond one a tool.
    """
    paid, free, idle = False, 0, 0
    tools = case.tools
    for i, (call, mark) in enumerate(zip(case.calls, case.marks, strict=True)):
        if mark == "direct":
            continue
        if mark == "wasted_trial" or call.name not in tools:
            idle += 1
            continue
        free += 1
        paid = paid or _paid(case, i)
    return paid - _cost(idle + max(0, free - max(1, len(tools))))


def _paid(case: Case, i: int) -> bool:
    call = case.calls[i]
    later = _later(case.calls, case.news, i)
    if any(one.ok and one.phase == "execution" and one.name == call.name for one in later):
        return True
    if not call.ok or not (facts := brought(call, later, case.trajectory.prediction)):
        return False
    known = _known(case, i)
    return any(not holds(known, fact) for fact in facts)


def _known(case: Case, i: int) -> str:
    """What the question and the calls before the i-th held."""
    before = [text for call in case.calls[:i] for text in (*values(call.arguments), call.reply or "")]
    return "\n".join([case.question, *before])


def repeat(case: Case) -> float:
    return _cost(case.repeats)


def recovery(case: Case) -> float | None:
    """1/(1 + n), n failed calls that nothing mended: no later call of the same tool, or with a value of the
    failed one, worked, and it was no trial that ruled its tool out. 1 where none failed: to fail and mend
    never earns more than not to fail. None without calls."""
    if not case.calls:
        return None
    return 1 / (1 + case.unmended)


def _unmended(calls: list[Made], marks: list[Label], news: list[bool]) -> int:
    failed = [i for i, call in enumerate(calls) if not call.ok and call.readable]
    return sum(marks[i] != "useful_trial" and not _mended(calls[i], _later(calls, news, i)) for i in failed)


def _mended(call: Made, later: list[Made]) -> bool:
    own = {value for value in values(call.arguments) if len(value) > 2}
    return any(
        one.ok and (one.name == call.name or not own.isdisjoint(values(one.arguments))) for one in later
    )


def _later(calls: list[Made], news: list[bool], i: int) -> list[Made]:
    """The calls after the i-th, but those that had worked before."""
    return list(compress(calls[i + 1 :], news[i + 1 :]))


def length(case: Case) -> float:
    """0 up to three quarters of the limits of turns and tokens, then rising evenly to 1 where one is met (as
    DAPO's soft overlong punishment, arXiv 2503.14476, formula 13). To be short is worth nothing by itself."""
    trajectory = case.trajectory
    if trajectory.stop in ("max_turns", "length"):
        return 1.0
    limits = trajectory.policy.get("limits") or {}
    spent = len(case.turns.states) / limits["max_turns"] if limits.get("max_turns") else 0.0
    if limits.get("max_tokens") and trajectory.tokens is not None:
        spent = max(spent, len(trajectory.tokens.get("ids") or []) / limits["max_tokens"])
    return min(1.0, max(0.0, (spent - FREE_SHARE) / (1 - FREE_SHARE)))


def forgery(case: Case) -> float:
    return _cost(case.forged)


def _forged_turns(episode: Episode, said: list[str]) -> int:
    if not may_be_forged("\n".join(said)):
        return 0
    shown = [message.get("content") or "" for message in episode.messages if message["role"] != "assistant"]
    return sum(forged(text, shown) is not None for text in said)


def guess(case: Case) -> float:
    """1 where there were tools and none was called, but for a right "cannot be done"."""
    if case.calls or not case.tools:
        return 0.0
    return 0.0 if CANNOT in case.task.answer and answer(case) else 1.0


def _cost(faults: int) -> float:
    return 1 - 1 / (1 + faults)


BOTH: tuple[Phase, ...] = ("trial", "execution")
PARTS: dict[str, Part] = {
    "outcome": Part("answer, or where nobody can tell solve_f1; wary of tricks", BOTH, outcome),
    "answer": Part("1 right, 0 wrong", BOTH, answer),
    "format": Part("1/(1+n), n turns against the protocol", BOTH, protocol),
    "trial": Part("1 where a trial paid off, less n/(1+n) for n idle trials", ("trial",), trial),
    "repeat": Part("n/(1+n), n calls made before in the same phase", BOTH, repeat),
    "recovery": Part("1/(1+n), n failed calls that nothing mended", ("execution",), recovery),
    "length": Part("0 to 1 over the last quarter of the turns and tokens allowed", ("execution",), length),
    "forged": Part("n/(1+n), n turns with a made-up tool reply or role", BOTH, forgery),
    "guess": Part("1 where it ended without any call", ("execution",), guess),
    "solve_p": Part("FTRL's precision of sub-goals (1 without calls)", BOTH, _solve(0)),
    "solve_r": Part("FTRL's recall of sub-goals", BOTH, _solve(1)),
    "solve_f1": Part("FTRL's F1 of sub-goals", BOTH, _solve(2)),
}
"""All there are; `solve_*` only on tasks with sub-goals."""


def explained() -> str:
    """The parts as help tells them.

    >>> explained().splitlines()[1]
    'answer    1 right, 0 wrong'
    """
    return "\n".join(f"{name:<9} {part.meaning}" for name, part in PARTS.items())
