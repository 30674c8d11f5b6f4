"""StableToolBench's question, was the query solved: its rules, and the reading of what a judge answers.

    messages = of_answer(trajectory)            # the answer alone; Unsure: look closer
    messages = of_record(shown)                 # with the record of all calls
    status(said)                                # Verdict("Solved", "...")

The order of questions and the rules are those of the evaluator that StableToolBench took over from ToolBench
(`check_answer_status`, then `parse_answer_status`: toolbench/tooleval, `rtl.py` and `template.txt`), in our
words: there the judge answers by a function call, here by a JSON object, and what it judges is fenced. There
an episode that does not call a tool `Finish` is Unsolved unasked; here one without a final answer is, in
whatever way the model gives it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, NamedTuple

from tmcli.filters.judge import transcript
from tmcli.filters.judge.questions import QUESTIONS
from tmcli.filters.judge.verdict import MAX_SAID, objects, short
from tmcli.protocol import prompt
from tmcli.records import Json, Trajectory, digest
from tmcli.score.verdicts import WORTH

ANSWER_RULES = """\
The question: by these rules, what is the status of the answer to the query?
1. The answer says sorry, or gives the query no positive and straight response: Unsolved.
2. The answer is a positive and straight response to the query: look closer.
2.1. The answer does not suffice to tell whether it solves the query: Unsure.
2.2. You are confident that the answer suffices to tell: Solved or Unsolved."""
RECORD_RULES = """\
The question: by these rules, and by the record of how it came about, what is the status of the final answer?
1. All replies of tools tell of errors: Unsolved.
2. What the final answer says is not true or not valid by the replies of the tools: Unsolved.
3. You cannot verify that what it says is authentic and valid: Unsure.
4. There are calls in the record that succeeded, and they do solve the query: Solved."""
TRIALS_RULES = """\
The question: was each call of phase "trial" useful? The line "trials" lists them by number. A call is useful
when its reply, be it an error, told the model something about the tool or the task that it did not know yet,
and what the model did later was the better for it. Else it is wasted. Answer with one JSON object and nothing
else: {"why": "one short sentence", "trials": {"1": "useful", "2": "wasted"}}"""

NO_ANSWER = "there is no final answer"
_WORDS = {status.lower(): status for status in WORTH}
_BARE = re.compile(r"\W*(solved|unsolved|unsure)\W*", re.IGNORECASE)


class Status(NamedTuple):
    """One judging."""

    status: str | None
    """`Solved`, `Unsure`, `Unsolved`; None: no verdict."""
    why: str


def rules() -> str:
    """Hash of all that is put to a judge but the evidence: other rules, other numbers."""
    return digest([prompt("solved"), ANSWER_RULES, RECORD_RULES, TRIALS_RULES])


def of_answer(trajectory: Trajectory) -> list[Json]:
    """The query, and the answer to it."""
    messages = trajectory.task.get("messages") or []
    asked = [str(m.get("content") or "") for m in messages if isinstance(m, dict) and m.get("role") == "user"]
    query = transcript.line({"query": transcript.cut("\n\n".join(asked))})
    answer = transcript.line({"answer": transcript.cut(trajectory.prediction or "")})
    return _messages(f"{query}\n{answer}", ANSWER_RULES)


def of_record(shown: str) -> list[Json]:
    """The whole record, as `transcript.record` shows it."""
    return _messages(shown, RECORD_RULES)


def has_golds(trajectory: Trajectory) -> bool:
    """Is it known what is right, though only a reader can tell? Then correctness is asked apart."""
    answer = trajectory.task.get("answer")
    return trajectory.task.get("check") == "judge" and isinstance(answer, list) and bool(answer)


def of_golds(trajectory: Trajectory, shown: str) -> list[Json]:
    """Whether the answer means the same as a gold, as `tm filter --judge` asks it."""
    golds = [gold for gold in trajectory.task["answer"] if isinstance(gold, str)]
    return transcript.asked(shown, QUESTIONS["answer"], golds)


def of_trials(shown: str, calls: list[Json]) -> list[Json]:
    """The whole record, and the calls whose worth is asked about."""
    listed = {str(i): call for i, call in enumerate(calls, 1)}
    return _messages(f"{shown}\n{transcript.line({'trials': listed})}", TRIALS_RULES)


def due(trajectory: Trajectory, n: int, *, sure: bool, trials: bool) -> Iterator[list[Json]]:
    """The requests of `n` judgings, to estimate: of a judge that is always sure of an answer, or never."""
    if trajectory.status == "invalid":
        return
    shown = transcript.record(trajectory)
    if (trajectory.prediction or "").strip():
        for _ in range(n):
            yield of_answer(trajectory)
            if not sure and shown is not None:
                yield of_record(shown)
    if has_golds(trajectory) and shown is not None:
        yield from [of_golds(trajectory, shown)] * n
    calls = transcript.trials(trajectory) if trials else []
    if calls and shown is not None:
        yield of_trials(shown, calls)


def _messages(shown: str, question: str) -> list[Json]:
    user = f"{transcript.fenced(shown)}\n\n{question}"
    return [{"role": "system", "content": prompt("solved")}, {"role": "user", "content": user}]


def status(said: str) -> Status:
    """The last JSON object with a status, or a bare word.

    >>> status('{"why": "It says sorry.", "status": "unsolved"}')
    Status(status='Unsolved', why='It says sorry.')
    >>> status("**Unsure**"), status("I think so").status
    (Status(status='Unsure', why=''), None)
    """
    said = said[:MAX_SAID]
    for found in _with(said, "status"):
        word = _WORDS.get(str(found["status"]).strip().strip('."').lower())
        why = found.get("why")
        told = short(why) if isinstance(why, str) else ""
        return Status(word, told or ("" if word else "it could not tell"))
    if bare := _BARE.fullmatch(said):
        return Status(_WORDS[bare[1].lower()], "")
    return Status(None, f"its reply holds no status: {short(said)[:100]!r}")


def trials(said: str, n: int) -> list[str | None]:
    """useful, wasted or None for each of `n` calls.

    >>> trials('{"trials": {"1": "useful", "3": "perhaps"}}', 3), trials("none", 1)
    (['useful', None, None], [None])
    """
    for found in _with(said[:MAX_SAID], "trials"):
        if isinstance(found["trials"], dict):
            words = [str(found["trials"].get(str(i))).strip().lower() for i in range(1, n + 1)]
            return [word if word in ("useful", "wasted") else None for word in words]
    return [None] * n


def _with(said: str, name: str) -> Iterator[dict[str, Any]]:
    return (found for found in objects(said) if isinstance(found, dict) and name in found)
