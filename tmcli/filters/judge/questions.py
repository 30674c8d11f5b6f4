"""What a judge may be asked: narrow questions, each by itself, answered with yes or no. Yes is good.

    QUESTIONS["grounded"].ask
    chosen("grounded,arguments")

A question that has nothing to look at (no trial, no <experience>) is answered yes without asking anybody.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from tmcli.errors import UsageError, did_you_mean
from tmcli.records import Trajectory


@dataclass(frozen=True, slots=True)
class Question:
    """One question."""

    name: str
    says: str
    """In a few words, for `--help`."""
    ask: str
    """What the judge reads."""
    moot: Callable[[Trajectory], str | None] = lambda trajectory: None
    """Why there is nothing to ask about this one; None: there is."""
    needs_gold: bool = False
    """Is the judge shown the accepted answers? No other question shows them."""


def _no_answer(trajectory: Trajectory) -> str | None:
    return None if (trajectory.prediction or "").strip() else "there is no answer"


def _no_calls(phase: str) -> Callable[[Trajectory], str | None]:
    def moot(trajectory: Trajectory) -> str | None:
        called = any(turn["phase"] == phase and turn["calls"] for turn in trajectory.turns)
        return None if called else f"there is no call of phase {phase}"

    return moot


def _no_experience(trajectory: Trajectory) -> str | None:
    wrote = any(
        message["role"] == "assistant" and "<experience>" in (message.get("content") or "")
        for message in trajectory.messages
    )
    return None if wrote else "there is no experience"


_ALL = (
    Question(
        "grounded",
        "the answer follows from the replies",
        "Does all that the final answer states stand in the replies of the tools or in the user's question,"
        " or follow from them? Say no if it states anything that comes from nowhere in the record.",
        _no_answer,
    ),
    Question(
        "arguments",
        "no argument was made up",
        'Does every argument value in the calls of phase "execution" come from the user\'s question, from the'
        " tools' documents or from an earlier reply, or follow from them? Say no if any was made up.",
        _no_calls("execution"),
    ),
    Question(
        "experience",
        "what it says it learned is true",
        "Is all that the model writes inside <experience> borne out by the replies before it? Say no if it"
        " claims anything about a tool that no reply shows, or that a reply contradicts.",
        _no_experience,
    ),
    Question(
        "purpose",
        "each trial could teach something",
        'Could every call of phase "trial" teach the model something about a tool that it did not know yet?'
        " A call that fails may teach much. Say no if any could teach nothing new.",
        _no_calls("trial"),
    ),
    Question(
        "answer",
        "the answer means the same as a gold; shows the judge the golds",
        "Does the final answer mean the same as one of the accepted answers? Other words, formats and"
        " units of the same value are fine. Say no if it says less, more than one thing, or another thing.",
        _no_answer,
        needs_gold=True,
    ),
)
QUESTIONS: dict[str, Question] = {question.name: question for question in _ALL}


def chosen(names: Iterable[str]) -> list[Question]:
    """The questions of these names, in the order of the table. Raises `UsageError` for an unknown one."""
    asked = list(names)
    for name in asked:
        if name not in QUESTIONS:
            raise UsageError(f"--ask: no question is called {name!r}", did_you_mean(name, QUESTIONS))
    if not asked:
        raise UsageError("--judge has nothing to ask", f"name questions with --ask {','.join(QUESTIONS)}")
    return [question for question in _ALL if question.name in asked]
