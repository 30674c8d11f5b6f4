"""What trials taught: facts that a trial's reply was the first to show, and that were used afterwards.

gained(Case.of(trajectory))    # 2
"""

from __future__ import annotations

from bisect import bisect_right
from itertools import accumulate
from typing import Any

from tmcli.score.calls import found_at
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
    given = [facts(call.arguments) if call.readable else [] for call in calls]
    replies = [(call.reply or "").lower() for call in calls]
    told = "\0".join([replies[i] for i in tried])
    last_use = {fact: i for i in range(tried[0] + 1, len(calls)) for fact in given[i] if fact in told}
    if (answer := (case.trajectory.prediction or "").strip().lower()) and answer in told:
        last_use[answer] = len(calls)
    if not last_use:
        return 0
    # all that was shown, in order: the question, then each call and its reply
    shown = [case.question.lower()]
    for mine, reply in zip(given, replies, strict=True):
        shown += "\0".join(mine), reply
    text = "\0".join(shown)
    ends = list(accumulate([len(one) + 1 for one in shown]))
    learned = []
    for fact, last in last_use.items():
        part = bisect_right(ends, found_at(text, fact))  # 0: the question; 1, 2: the first call and its reply
        if part and part % 2 == 0 and part // 2 - 1 < last and part // 2 - 1 in tried:
            learned.append(fact)
    if not learned:
        return 0
    documents = case.documents()
    return sum(not shows(documents, fact) for fact in learned)


def facts(arguments: Any) -> list[str]:
    """The names and values in an argument object, however deep, in lower case. What has no letter and no
    digit is none.

    >>> facts({"Title": "Emma", "page": {"from": 3}, "note": "-", "all": True})
    ['title', 'emma', 'page', 'from', '3', 'note', 'all']
    """
    out: list[str] = []
    _collect(arguments, out)
    return out


def _collect(value: Any, out: list[str]) -> None:
    if isinstance(value, str):
        fact = value.strip().lower()
        if fact[:1].isalnum() or any(map(str.isalnum, fact)):
            out.append(fact)
    elif isinstance(value, dict):
        for name, item in value.items():
            _collect(name, out)
            _collect(item, out)
    elif isinstance(value, list):
        for item in value:
            _collect(item, out)
    elif isinstance(value, (int, float)) and not isinstance(value, bool):
        out.append(str(value))


def shows(text: str, fact: str) -> bool:
    """Does a text hold a fact that is no part of a longer word? Both in lower case.

    >>> shows('{"id": 12, "on": "may 5"}', "12"), shows("room 123", "12"), shows("on may 5.", "may 5")
    (True, False, True)
    """
    return found_at(text, fact) >= 0
