"""One truth for right and wrong: answers, labels of calls, sub-goals, rewards.

Pure functions of records, used by `filter`, `rl` and `eval` alike: what was judged once can be judged
again from the stored line. Nothing here asks a model, and no part of a reward compares calls with a
gold trace: that would punish trying. The parts and their weights are ours; ToolMaster's are not public.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any, Literal, NamedTuple, Protocol

import orjson

from tmcli.errors import InputError, UsageError, did_you_mean
from tmcli.protocol import CANNOT, Phase
from tmcli.records import Check, Json, Score, Task, Trajectory, task_of

PARTS = ("answer", "format", "trial", "repeat", "solve_p", "solve_r", "solve_f1")
"""What a reward may weigh; `judge` explains them."""

OUTCOME = ("answer", "solve_p", "solve_r", "solve_f1")
"""Parts that say what came of it. When a reward weighs some and none is known, it is None."""

DEFAULT_WEIGHTS: Mapping[str, float] = {"answer": 1.0, "format": 0.1, "trial": 0.1, "repeat": -0.1}
"""Outcome first: all the rest together never outweighs a right answer."""

Label = Literal["direct", "useful_trial", "wasted_trial"]

_NUMBER = re.compile(
    r"(?:(?<![\w.])[-+])?(?:\d{1,3}(?:,\d{3})+(?!\d)|\d+)(?:\.\d+)?(?:e[-+]?\d+)?|(?:(?<![\w.])[-+])?\.\d+",
    re.ASCII | re.IGNORECASE,
)
_DECLINES = re.compile(
    r"\b(?:can ?not|can['’]?t|could not|couldn['’]?t) be "
    r"(?:done|answered|solved|completed|determined|found)\b|\b(?:impossible|not possible)\b"
)
_STARRED = re.compile(r"(\*{1,3})([^*]+)\1")
_BETWEEN = (re.compile(r"[,;\n]"), re.compile(r"[,;\n]|\band\b", re.IGNORECASE))
_NOTHING = ("", "null", "none", "[]", "{}", '""')
"""Replies (in lower case) that bring nothing: a decoy's, most of all."""


# ---- answers -----------------------------------------------------------------------------------


def correct(prediction: str | None, answer: list[str], check: Check) -> bool | None:
    """Does the prediction fit one of the accepted golds? None: nobody can tell here.

    >>> correct("'Paris'.", ["paris"], "exact"), correct("about 1,200 books", ["1200"], "number")
    (True, True)
    >>> correct("It opened in 2007, on May 5", ["May 5, 2007"], "contains"), correct("b, A", ["a, b"], "set")
    (True, True)
    >>> correct(None, ["x"], "exact"), correct("x", [], "exact"), correct("x", ["x"], "judge")
    (False, None, None)
    >>> correct("Sorry, it can't be done.", ["cannot be done"], "exact")
    True
    """
    golds = [gold for gold in answer if gold.strip()]
    if not golds:
        return None
    if prediction is None or not prediction.strip():
        return False
    if check == "judge":
        return None
    return prediction in golds or any(
        _declines(prediction) if gold == CANNOT else _CHECKS[check](prediction, gold) for gold in golds
    )


def contains(prediction: str, gold: str) -> bool:
    """FTRL's `answer_verify`: every piece of the gold (split at ", ") is a substring of the prediction,
    both in lower case and without commas."""
    text = prediction.lower().replace(",", "").strip()
    return all(piece.lower().replace(",", "").strip() in text for piece in gold.split(", "))


def _declines(prediction: str) -> bool:
    """Does it say that it cannot be done, in these or like words?"""
    return _DECLINES.search(" ".join(prediction.casefold().split())) is not None


def _exact(prediction: str, gold: str) -> bool:
    return _normal(prediction) == _normal(gold)


def _number(prediction: str, gold: str) -> bool:
    """The first number of each is equal to one part in a million."""
    said, due = _first_number(prediction), _first_number(gold)
    if due is None:
        return _exact(prediction, gold)
    return said is not None and math.isclose(said, due, rel_tol=1e-6, abs_tol=1e-9)


def _set(prediction: str, gold: str) -> bool:
    """The same members, in any order; the last two may be joined by "and"."""
    return any(_members(prediction, mark) == _members(gold, mark) for mark in _BETWEEN)


def _normal(text: str) -> str:
    """Case, spacing, quotes or stars (Markdown) around, and punctuation at the end tell no answers apart."""
    folded = " ".join(text.casefold().split())
    bare = folded.rstrip(" .,;:!?")
    if starred := _STARRED.fullmatch(bare):
        bare = starred[2].rstrip(" .,;:!?")
    bare = bare.strip(" \"'`“”‘’«»").rstrip(" .,;:!?")
    return bare or folded


def _members(text: str, between: re.Pattern[str]) -> set[str]:
    return {_normal(piece) for piece in between.split(text.strip().strip("[]{}()")) if piece.strip()}


def _first_number(text: str) -> float | None:
    match = _NUMBER.search(text.replace("\N{MINUS SIGN}", "-"))
    value = float(match.group().replace(",", "")) if match else math.nan
    return value if math.isfinite(value) else None


_CHECKS = {"exact": _exact, "number": _number, "contains": contains, "set": _set}


# ---- calls -------------------------------------------------------------------------------------


class Dialogue(Protocol):
    """What calls are read from: a trajectory, or what `filter` sees of one."""

    @property
    def messages(self) -> list[Json]: ...
    @property
    def turns(self) -> list[Json]: ...


class Made(NamedTuple):
    """One call of an episode with the reply it got."""

    phase: Phase
    name: str
    arguments: Any
    ok: bool
    reply: str | None
    """None: it was never answered."""
    readable: bool = True
    """False: the model wrote something that was no call; it was told so."""

    @property
    def key(self) -> bytes:
        """Name and canonical arguments: equal calls have equal keys."""
        try:
            return orjson.dumps([self.name, self.arguments], default=repr, option=_CANONICAL)
        except TypeError:  # nested deeper than orjson writes
            return repr((self.name, self.arguments)).encode()


_CANONICAL = orjson.OPT_SORT_KEYS | orjson.OPT_NON_STR_KEYS


def made(trajectory: Dialogue) -> list[Made]:
    """All calls of an episode in order; replies are found by `tool_call_id` within the turn, since
    some servers count their ids anew every turn."""
    calls: list[Made] = []
    for turn, message, replies in played(trajectory):
        if not turn["calls"]:
            continue
        asked = message.get("tool_calls") or []
        answered = [_id(reply.get("tool_call_id")) for reply in replies]
        ids = [_id(call.get("id")) for call in asked]
        if len(ids) > 1 and len(set(ids)) < len(ids):  # no ids of their own: answered in their order
            ids, answered = [str(i) for i in range(len(ids))], [str(i) for i in range(len(replies))]
        told = [reply.get("content") for reply in replies]
        by_id = dict(zip(answered, told, strict=True))
        rest: list[str | None] = []
        if len(turn["calls"]) > len(asked):
            rest = [text for one, text in zip(answered, told, strict=True) if one not in ids]
        for i, call in enumerate(turn["calls"]):
            readable = i < len(asked)
            if readable:
                reply = by_id.get(ids[i])
            else:
                reply = rest[i - len(asked)] if i - len(asked) < len(rest) else None
            ok = readable and call.get("ok") is True
            calls.append(Made(turn["phase"], call["name"], call.get("arguments"), ok, reply, readable))
    return calls


def _id(value: Any) -> str:
    """The id of a call, whatever a server made of it."""
    return value if value.__class__ is str else repr(value)


def played(trajectory: Dialogue) -> Iterator[tuple[Json, Json, list[Json]]]:
    """(turn, assistant message, the tool messages after it) of each turn that was played.

    A task may bring assistant messages of its own, so turns are matched from the end.
    """
    spans: list[tuple[Json, list[Json]]] = []
    replies: list[Json] = []
    for message in trajectory.messages:
        role = message["role"]
        if role == "assistant":
            replies = []
            spans.append((message, replies))
        elif role == "tool":
            replies.append(message)
    turns = trajectory.turns
    for turn, (message, replies) in zip(turns, spans[-len(turns) or len(spans) :], strict=False):
        yield turn, message, replies


def labels(calls: list[Made], prediction: str | None) -> list[Label]:
    """What each call was good for, by cheap rules.

    `direct`: a call of the execution phase. A trial is useful when it repeats no call, brings a reply
    not seen before, and is used later (its tool is called in execution, or something it found is passed
    to a later call or is the answer) or rules the tool out (an error or an empty reply, and the tool is
    left alone for good). Every other trial is wasted.
    """
    out: list[Label] = []
    keys: set[bytes] = set()
    replies: set[str | None] = {None}
    for i, call in enumerate(calls):
        if call.phase == "execution":
            out.append("direct")
        else:
            later = calls[i + 1 :]
            again = [after.phase for after in later if after.readable and after.name == call.name]
            ruled_out = not again and (not call.ok or (call.reply or "").strip().lower() in _NOTHING)
            used = "execution" in again or (call.ok and _found(call, later, prediction))
            new = call.readable and call.key not in keys and call.reply not in replies
            out.append("useful_trial" if new and (used or ruled_out) else "wasted_trial")
        keys.add(call.key)
        replies.add(call.reply)
    return out


def _found(call: Made, later: list[Made], prediction: str | None) -> bool:
    """Does a later call or the answer hold a value that this reply brought (and the call itself did not)?"""
    own = set(_values(call.arguments))
    wanted = {value for after in later for value in _values(after.arguments)} | {(prediction or "").strip()}
    return any(
        re.search(rf"(?<!\w){re.escape(value)}(?!\w)", call.reply or "", re.IGNORECASE)
        for value in wanted - own
        if any(map(str.isalnum, value))
    )


def _values(arguments: Any) -> Iterator[str]:
    """The texts and numbers in an argument object, however deep."""
    if isinstance(arguments, (dict, list)):
        for value in arguments.values() if isinstance(arguments, dict) else arguments:
            yield from _values(value)
    elif isinstance(arguments, (str, int, float)) and not isinstance(arguments, bool):
        yield str(arguments).strip()


def repeated(calls: list[Made]) -> int:
    """Calls that repeat an earlier one of their phase: doing in execution what was tried is no repeat."""
    return len(calls) - len({(call.phase, call.key) for call in calls})


def solve(calls: list[Made], subgoals: Mapping[str, list[str]]) -> tuple[float, float, float] | None:
    """FTRL's Solve-P, Solve-R and Solve-F1 (arXiv 2508.08791); None when there is no sub-goal.

    c calls made, n gold sub-answers, s of them found: P = s/c (1 when c = 0), R = s/n, F1 = 2s/(c+n).
    A reply of the right tool finds at most one gold, and a gold is found once, so s <= c. As there,
    calls that could not be read do not count.
    """
    left = {tool: list(golds) for tool, golds in subgoals.items()}
    n = sum(len(golds) for golds in left.values())
    if n == 0:
        return None
    readable = [call for call in calls if call.readable]
    c = len(readable)
    for call in readable:
        golds = left.get(call.name, [])
        found = next((gold for gold in golds if contains(call.reply or "", gold)), None)
        if found is not None:
            golds.remove(found)
    s = n - sum(len(golds) for golds in left.values())
    return (s / c if c else 1.0), s / n, 2 * s / (c + n)


# ---- rewards -----------------------------------------------------------------------------------


def judge(trajectory: Trajectory, weights: Mapping[str, float] | None = None) -> Trajectory:
    """The trajectory with `scores` and `reward` filled in. An `invalid` one gets {} and None.

    answer    1 right, 0 wrong, None when nobody can tell
    format    share of assistant turns that keep the protocol (`ok`: repaired is not enough)
    trial     share of the trials that are useful; useful ones beyond one a tool shown no longer
              count. An episode without trials has 0: it gains nothing and pays nothing
    repeat    share of the calls that repeat an earlier one
    solve_*   FTRL's formulas, on tasks with sub-goals only

    A model that writes none of our tags (native calls, then plain text) is judged all the same: its calls
    are execution, its last text is the prediction, so it has its `answer`, `trial` 0, and a `format` that
    only misses the last turn. `exact` takes no sentence: it is right where it says the answer alone.
    """
    if trajectory.status == "invalid":
        return replace(trajectory, scores={}, reward=None)
    task = task_in(trajectory)
    calls = made(trajectory)
    marks = labels(calls, trajectory.prediction)
    trials = len(marks) - marks.count("direct")
    useful = min(marks.count("useful_trial"), max(1, len(trajectory.tools)))
    right = correct(trajectory.prediction, task.answer, task.check)
    scores: Json = {
        "answer": None if right is None else float(right),
        "format": _format(trajectory),
        "trial": useful / trials if trials else 0.0,
        "repeat": repeated(calls) / len(calls) if calls else 0.0,
    }
    solved = solve(calls, task.subgoals or {})
    if solved is not None:
        scores.update(zip(("solve_p", "solve_r", "solve_f1"), solved, strict=True))
    return replace(trajectory, scores=scores, reward=weigh(scores, weights or DEFAULT_WEIGHTS))


def weigh(scores: Mapping[str, float | None], weights: Mapping[str, float]) -> float | None:
    """The weighted sum of the known parts; None when the outcome is weighed and unknown."""
    outcome = [scores.get(part) for part, weight in weights.items() if part in OUTCOME and weight]
    if outcome and all(part is None for part in outcome):
        return None
    return math.fsum(weight * (scores.get(part) or 0.0) for part, weight in weights.items())


def parse_weights(text: str) -> dict[str, float]:
    """`answer=1,format=0.1` -> weights. Raises `UsageError` on an unknown part or no number.

    >>> parse_weights("answer=1, repeat=-0.2")
    {'answer': 1.0, 'repeat': -0.2}
    """
    weights: dict[str, float] = {}
    for item in filter(None, (item.strip() for item in text.split(","))):
        part, _, number = (piece.strip() for piece in item.partition("="))
        if part not in PARTS:
            raise UsageError(f"{part!r} is no part of a reward", did_you_mean(part, PARTS))
        try:
            weights[part] = float(number)
        except ValueError:
            weights[part] = math.nan
        if not math.isfinite(weights[part]):
            raise UsageError(f"the weight of {part} is {number!r}, not a number", f"write {part}=0.5")
    if not weights:
        raise UsageError("there is no weight", "write them as answer=1,format=0.1")
    return weights


def score_of(trajectory: Trajectory) -> Score:
    """The score record of a judged trajectory: its parts, and the counts that `eval` averages."""
    calls = made(trajectory)
    marks = labels(calls, trajectory.prediction)
    scores: Json = {}
    if trajectory.status == "ok":
        answer = trajectory.scores.get("answer")
        scores = {
            **trajectory.scores,
            "reward": trajectory.reward,
            "turns": len(trajectory.turns),
            "trials": len(marks) - marks.count("direct"),
            "useful_trials": marks.count("useful_trial"),
            "wasted_trials": marks.count("wasted_trial"),
            **({"hinted": 1.0} if any(turn.get("hint") for turn in trajectory.turns) else {}),
            "prompt_tokens": trajectory.usage.get("prompt_tokens"),
            "completion_tokens": trajectory.usage.get("completion_tokens"),
        }
    else:
        answer = None
    return Score(
        id=trajectory.id,
        task_id=str(trajectory.task.get("id", "")),
        correct=None if answer is None else answer == 1.0,
        scores=scores,
        calls=sum(call.readable for call in calls),
        errors=sum(not call.ok for call in calls),
        stop="infrastructure" if trajectory.status == "invalid" else trajectory.stop,
        tags=trajectory.task.get("tags") or {},
        policy=trajectory.policy,
    )


def task_in(trajectory: Trajectory) -> Task:
    """The task of a trajectory. Raises `InputError` that names both."""
    try:
        return task_of(trajectory)
    except InputError as error:
        where = f"task.{error.field}" if error.field else "task"
        raise InputError(f"trajectory {trajectory.id}: {error.problem}", error.remedy, field=where) from error


def _format(trajectory: Trajectory) -> float:
    """A last turn that was cut, or that is neither call nor <answer>, does not keep the protocol."""
    kept = [turn.get("state", "ok") == "ok" for turn in trajectory.turns]
    if kept and trajectory.stop in ("no_call", "length"):
        kept[-1] = False
    return sum(kept) / len(kept) if kept else 0.0
