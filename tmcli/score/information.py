"""What trials taught: facts that a trial's reply was the first to show, and that were used afterwards.

gained(Case.of(trajectory))    # 2
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from tmcli.score.parts import Case


def gained(case: Case) -> int:
    """The information that an episode gained by its trials, in facts.

    A fact is the name or the value of an argument, or the final answer. It was gained when

    - a later call (one that could be read) or the answer uses it, and
    - the reply to a trial, an error as well as a result, was the first to show it: neither the question nor
      the tools' documents nor an argument or a reply before held it.

    Each fact counts once, so that repeating calls gains nothing, and what a model guessed before it was told
    is not gained. Ours: no paper defines it. 0 without trials.
    """
    calls = case.calls
    tried = [i for i, call in enumerate(calls) if call.phase == "trial" and call.readable and call.reply]
    if not tried:
        return 0
    told = "\n".join([calls[i].reply or "" for i in tried]).lower()
    given = [[*facts(call.arguments)] if call.readable else [] for call in calls]
    last_use = {fact: i for i, mine in enumerate(given) for fact in mine if i > tried[0] and fact in told}
    if (answer := (case.trajectory.prediction or "").strip().lower()) and answer in told:
        last_use[answer] = len(calls)
    if not last_use:
        return 0
    replies = [(call.reply or "").lower() for call in calls]
    learned = []
    for fact, last in last_use.items():
        for i in range(last):
            if any(fact in one and shows(one, fact) for one in given[i]):
                break  # a guess
            if fact in replies[i] and shows(replies[i], fact):
                if i in tried:
                    learned.append(fact)
                break
    if not learned:
        return 0
    question = case.question.lower()
    new = [fact for fact in learned if not shows(question, fact)]
    return sum(not shows(case.documents(fact), fact) for fact in new)


def facts(arguments: Any) -> Iterator[str]:
    """The names and values in an argument object, however deep, in lower case. What has no letter and no
    digit is none.

    >>> list(facts({"Title": "Emma", "page": {"from": 3}, "note": "-", "all": True}))
    ['title', 'emma', 'page', 'from', '3', 'note', 'all']
    """
    out: list[str] = []
    _collect(arguments, out)
    return iter(out)


def _collect(value: Any, out: list[str]) -> None:
    if isinstance(value, str):
        fact = value.strip().lower()
        if fact.isalnum() or any(map(str.isalnum, fact)):
            out.append(fact)
    elif isinstance(value, dict):
        for name, item in value.items():
            _collect(name, out)
            _collect(item, out)
    elif isinstance(value, list):
        for item in value:
            _collect(item, out)
    elif isinstance(value, int | float) and not isinstance(value, bool):
        out.append(str(value))


def shows(text: str, fact: str) -> bool:
    """Does a text hold a fact that is no part of a longer word? Both in lower case.

    >>> shows('{"id": 12, "on": "may 5"}', "12"), shows("room 123", "12"), shows("on may 5.", "may 5")
    (True, False, True)
    """
    at = text.find(fact)
    while at >= 0:
        end = at + len(fact)
        if not (_in_word(text[at - 1 : at]) or _in_word(text[end : end + 1])):
            return True
        at = text.find(fact, at + 1)
    return False


def _in_word(letter: str) -> bool:
    return letter.isalnum() or letter == "_"
