"""Do independent solves agree, and on what the proposer said?

    verdict = judged(proposal, solves, closed, Agree(3, 4))
    verdict.reason                      # None: the task is kept
    verdict.agreement                   # "4/4"

A solve agrees when its answer is right by the task's own check *and* it called a tool; whoever gets it right
without one shows that no tool is needed. Where solves agree on another answer than the proposer's, the task
is dropped, not corrected: either the question can be read in two ways, or a whole group erred alike.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median_low

from tmcli.errors import UsageError
from tmcli.records import Trajectory
from tmcli.score import correct, made
from tmcli.steps.generate.proposal import Proposal, Reason

MAX_SOLVES = 64


@dataclass(frozen=True, slots=True)
class Agree:
    """So many of so many solves must agree."""

    least: int = 3
    of: int = 4

    @classmethod
    def parse(cls, text: str) -> Agree:
        """`3/4` -> Agree(3, 4). Raises `UsageError`.

        >>> Agree.parse("3/4")
        Agree(least=3, of=4)
        """
        least, slash, of = text.strip().partition("/")
        if slash and least.isdecimal() and of.isdecimal() and 1 <= int(least) <= int(of) <= MAX_SOLVES:
            return cls(int(least), int(of))
        raise UsageError(f"--agree {text!r} cannot be read", "write K/N: 3/4 wants 3 of 4 solves to agree")


@dataclass(frozen=True, slots=True)
class Verdict:
    """What the solves of one proposal came to."""

    reason: Reason | None
    """Why it is dropped; None: it is kept."""
    agreement: str
    """How many agree with the proposer, of how many: `3/4`."""
    answers: list[tuple[str, int]]
    """What was answered, and how often, the proposer's answer first where it is among them."""
    hops: int
    """Calls that a solve needs: the median over those that agree."""


def judged(
    proposal: Proposal, solves: Sequence[Trajectory], closed: Sequence[Trajectory], agree: Agree
) -> Verdict | None:
    """The verdict; None while it hangs on solves that broke or were never played."""
    valid = [solve for solve in solves if solve.status == "ok"]
    right = [solve for solve in valid if is_right(proposal, solve)]
    agreeing = [solve for solve in right if _calls(solve)]
    groups = _groups(proposal, [solve.prediction for solve in valid if _calls(solve)])
    missing = agree.of - len(valid)
    reason: Reason | None = None
    if known_without_tools(proposal, closed) or (len(right) > len(agreeing) and not proposal.declines):
        reason = "answerable_without_tools"
    elif len(agreeing) < agree.least:
        if len(agreeing) + missing >= agree.least:
            return None
        most = max((count for _, count in groups), default=0)
        reason = "disputed" if most >= agree.least else "no_agreement"
    hops = median_low(_calls(solve) for solve in agreeing) if agreeing else 0
    return Verdict(reason, f"{len(agreeing)}/{len(valid)}", groups, hops)


def known_without_tools(proposal: Proposal, closed: Sequence[Trajectory]) -> bool:
    """Was the answer had from the question alone? Who has no tools says `cannot be done` to everything, so
    there it means nothing."""
    return not proposal.declines and any(is_right(proposal, guess) for guess in closed)


def is_right(proposal: Proposal, solve: Trajectory) -> bool:
    return bool(correct(solve.prediction, [proposal.answer], proposal.check))


def _groups(proposal: Proposal, predictions: Sequence[str | None]) -> list[tuple[str, int]]:
    """Equal answers together, by the task's check; the largest first, but the proposer's before all."""
    groups: list[list[str]] = [[proposal.answer]]
    for prediction in predictions:
        if prediction is None or not prediction.strip():
            continue
        for group in groups:
            if correct(prediction, [group[0]], proposal.check):
                group.append(prediction)
                break
        else:
            groups.append([prediction])
    first, *others = groups
    counted = [(first[0], len(first) - 1)] if len(first) > 1 else []
    rest = sorted(((group[0], len(group)) for group in others), key=lambda pair: (-pair[1], pair[0]))
    return [(answer[:200], count) for answer, count in [*counted, *rest]]


def _calls(solve: Trajectory) -> int:
    """Different calls that brought something while it executed; where it never got so far, all of them."""
    calls = [call for call in made(solve) if call.readable]
    useful = {call.key for call in calls if call.ok and call.phase == "execution"}
    return len(useful) or len({call.key for call in calls})
