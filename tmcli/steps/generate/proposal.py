"""What a proposer said, read: a question with its answer, or why it is none.

    proposal = read([episode])           # raises `UnfitError`: a reason, and a sentence for the proposer
    proposal.query, proposal.answer, proposal.check

A model's text is not trusted: it is bounded, and what could break a chat template is refused. All that can
be told without playing is told here.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, get_args

import orjson

from tmcli.protocol import CANNOT, strip_markup
from tmcli.records import Check, Trajectory
from tmcli.score import correct, made
from tmcli.toolbox import text_of

Reason = Literal[
    "unreadable",  # no question in the fixed form, after it was told once
    "no_calls",  # asked without having seen one reply of a tool
    "guessable",  # yes or no
    "gold_in_question",  # the answer stands in the question
    "near_duplicate",  # nearly the same was asked before
    "answerable_without_tools",  # solved without tools, or without calling them
    "no_agreement",  # too few solves agree on anything
    "disputed",  # the solves agree on another answer than the proposer's
]
"""Why a proposal was dropped: one closed list."""

REASONS = get_args(Reason)
CHECKS: tuple[Check, ...] = ("exact", "number", "set")
MAX_QUERY_CHARS = 2000
MAX_ANSWER_CHARS = 300
MAX_MEMBERS = 20
_FORM = '{"query": "...", "answer": "...", "check": "exact"}'
_COINS = ("yes", "no", "true", "false")
_CONTROL = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]|<\\|")
_NUMBER = re.compile(r"(?<![\w.,-])[-+]?(?:\d{1,3}(?:,\d{3})+|\d+)(?:\.\d+)?(?![\w-]|[.,]\d)", re.ASCII)


@dataclass(frozen=True, slots=True)
class Proposal:
    """A question and what counts as right."""

    query: str
    answer: str
    check: Check

    @property
    def declines(self) -> bool:
        """Is the right answer that it cannot be done?"""
        return self.answer == CANNOT


class UnfitError(Exception):
    """A proposal that cannot be used; the sentence is for the proposer."""

    def __init__(self, reason: Reason, sentence: str, proposal: Proposal | None = None) -> None:
        super().__init__(sentence)
        self.reason: Reason = reason
        self.sentence = sentence
        self.proposal = proposal
        """What was proposed, where it could be read."""


def read(episodes: Sequence[Trajectory]) -> Proposal:
    """The proposal at the end of a dialogue, which may have gone on after it was told what was wrong. Raises
    `UnfitError`."""
    proposal = parse(episodes[-1].prediction)
    calls = [call for episode in episodes for call in made(episode)]
    replies = [call for call in calls if call.reply is not None and call.readable]
    if not any(call.ok or proposal.declines for call in replies):
        sentence = "no call of yours brought a reply, so nothing in it is known to be real"
        raise UnfitError("no_calls", sentence, proposal)
    if " ".join(proposal.answer.casefold().split()).strip(" .!") in _COINS:
        sentence = "a yes-or-no question can be guessed; ask for a name, number or value"
        raise UnfitError("guessable", sentence, proposal)
    if stands_in(proposal):
        raise UnfitError("gold_in_question", "the answer stands in the question", proposal)
    return proposal


def parse(text: str | None) -> Proposal:
    """The JSON object of an <answer>, with or without a fence or words around it.

    >>> parse('```json\\n{"query": "How many?", "answer": 3}\\n```')
    Proposal(query='How many?', answer='3', check='number')
    >>> parse('{"query": "Which ones?", "answer": ["B2", "B1"]}').answer
    'B2, B1'
    """
    row = _object(text or "")
    if row is None:
        raise UnfitError("unreadable", f"the answer is not one JSON object like {_FORM}")
    query, answer, check = row.get("query"), row.get("answer"), row.get("check")
    if not isinstance(query, str) or not query.strip():
        raise UnfitError("unreadable", f'"query" is not a text; write {_FORM}')
    members = answer if isinstance(answer, list) else [answer]
    if isinstance(answer, bool):
        members = ["yes" if answer else "no"]
    plain = all(isinstance(one, str | int | float) for one in members)
    if not members or len(members) > MAX_MEMBERS or not plain:
        sentence = f'"answer" is not a text, a number or a short list of them; write {_FORM}'
        raise UnfitError("unreadable", sentence)
    said = text_of(members if isinstance(answer, list) else members[0]).strip()
    if check is None:
        is_number = isinstance(answer, int | float) and not isinstance(answer, bool)
        check = "set" if isinstance(answer, list) else "number" if is_number else "exact"
    if check not in CHECKS:
        raise UnfitError("unreadable", f'"check" is none of {", ".join(CHECKS)}')
    for name, value, most in (("query", query, MAX_QUERY_CHARS), ("answer", said, MAX_ANSWER_CHARS)):
        if not value or len(value) > most:
            raise UnfitError("unreadable", f'"{name}" must have 1 to {most} characters')
        if _CONTROL.search(value) or strip_markup(value) != value.strip():
            raise UnfitError("unreadable", f'"{name}" holds markup or control characters; write plain text')
    if said.casefold().strip(" .!") == CANNOT:  # not by `score.correct`: a film may be called Impossible
        return Proposal(query.strip(), CANNOT, "exact")
    if check == "number" and not _NUMBER.fullmatch(said):
        raise UnfitError("unreadable", '"check" is "number", and "answer" is no number')
    return Proposal(query.strip(), said, CHECKS[CHECKS.index(check)])


def stands_in(proposal: Proposal) -> bool:
    """Does the question say its own answer?

    >>> stands_in(Proposal("Is it Emma or Dune?", "dune", "exact"))
    True
    >>> stands_in(Proposal("How many of 1,200 pages on 2025-03-07?", "7", "number"))
    False
    """
    if proposal.declines:
        return False
    if proposal.check == "number":
        return any(correct(m.group(), [proposal.answer], "number") for m in _NUMBER.finditer(proposal.query))
    question = " ".join(proposal.query.casefold().split())
    members = proposal.answer.split(", ") if proposal.check == "set" else [proposal.answer]
    return all(
        re.search(rf"(?<!\w){re.escape(' '.join(one.casefold().split()))}(?!\w)", question) for one in members
    )


def _object(text: str) -> dict[str, Any] | None:
    """The object that a text holds: the whole of it, or from the first brace to the last."""
    body = text[: MAX_QUERY_CHARS * 10].strip()
    for part in (body, body[body.find("{") : body.rfind("}") + 1]):
        try:
            value = orjson.loads(part)
        except orjson.JSONDecodeError:
            continue
        if isinstance(value, dict):
            return value
    return None
