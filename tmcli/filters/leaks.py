"""Does the model know what it cannot have seen? Then somebody told it.

The gold, or an id of the gold plan, in a text or call before anything shown held it; or words of the prompt
that only a teacher is told. Left alone is what a model may find by itself: numbers and dates once there are
replies to work them out of, everyday words, what the question or the tools' documents say, and the answer
itself.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import cache, lru_cache
from typing import Any

from tmcli.filters.rounds import Round, calls_of, documents, quoted, shown_before, spelled
from tmcli.filters.view import View
from tmcli.protocol import CANNOT, prompt
from tmcli.records import Task
from tmcli.score import Made

SHORTEST = 3
"""Characters of a gold that is looked for."""
LONG = 25
"""Characters of a text that nobody writes alike by chance."""
_COMMON = frozenset(
    "yes no true false none null unknown other error "
    "monday tuesday wednesday thursday friday saturday sunday "
    "january february march april may june july august september october november december "
    "north south east west".split()
) | {CANNOT}
_COMPUTED = re.compile(r"[\d\s.,:;/%€$£+()TZ-]+")
"""Numbers, dates and times: what can be worked out."""
_DIGITS = re.compile(r"\d{3,}")
_NUMBER = re.compile(r"(?<![\w/-])\d[\d.,]*(?![\w/-])")
"""One to reckon with: no date, no id."""
_YEAR = re.compile(r"(?:19|20)\d\d")
_ID = re.compile(r"(?=.*\d.*\d)(?=.*[A-Za-z])(?!\d+[a-z]{1,3}\Z)[A-Za-z0-9#/_-]{4,40}")
_WORD = re.compile(r"\w+")


def leak(view: View) -> str | None:
    return _prompted(view) or _foreseen(view)


# ---- the gold, or the plan, too early ------------------------------------------------------------


def _foreseen(view: View) -> str | None:
    """In the last turn it stands where it belongs, but for an answer without any call that worked."""
    question = view.question
    golds = [word for word in view.task.answer if word not in question]
    passed = [word for word in _passed(view.task) if len(word) > SHORTEST and word not in question]
    rounds, said = view.rounds, view.spoken
    if not rounds or not (golds or passed):
        return None
    calls = calls_of(view)
    if any(call.ok for call in calls):
        said = said[: len(said) - len(rounds[-1].text)]
        rounds = rounds[:-1]
    said = f"{said}\n{_arguments(calls)}".lower()
    for word in golds:
        if word.lower() in said and _is_telling(word) and (why := _told(view, rounds, "the gold", word)):
            return why
    for word in passed:
        if word.lower() in said and _is_id(word) and (why := _told(view, rounds, "the plan's", word)):
            return why
    return None


def _told(view: View, rounds: list[Round], what: str, word: str) -> str | None:
    """Where it is said first: was it shown until then, or could it be worked out?"""
    pattern = _pattern(word)
    first = next((one for one in rounds if one.trained and _says(one, pattern)), None)
    if first is None:
        return None
    before = rounds[: first.number - 1]
    if any(word in (call.reply or "") for one in before for call in one.calls):
        return None  # as most are
    if _COMPUTED.fullmatch(word) and (
        any(call.ok for one in before for call in one.calls) or len(_NUMBER.findall(view.question)) > 1
    ):
        return None
    shown = next(text for one, text in shown_before(view) if one.number == first.number)
    if _is_known(word, view, shown) or _is_known(word, view, documents(view)):
        return None
    return f"turn {first.number} has {what} {quoted(word)}, which nothing had shown"


def _says(one: Round, pattern: re.Pattern[str]) -> bool:
    return pattern.search(one.text) is not None or pattern.search(_arguments(one.calls)) is not None


def _is_known(word: str, view: View, shown: str) -> bool:
    """Did it, another accepted gold, or all its parts stand there?"""
    golds = view.task.answer
    if any(form.lower() in shown for form in [word, *(golds if word in golds else [])]):
        return True
    word = word.lower()
    digits = _DIGITS.findall(word)
    if digits and _ID.fullmatch(word):  # F417 for 417/F
        return all(part in shown for part in digits)
    parts = [part for part in _WORD.findall(word) if len(part) > 1]
    return len(parts) > 1 and all(part in shown for part in parts)


def _is_telling(gold: str) -> bool:
    """Would nobody write it by chance?"""
    word = gold.strip()
    if len(word) < SHORTEST or word.lower() in _COMMON:
        return False
    if _COMPUTED.fullmatch(word):
        digits = "".join(filter(str.isdigit, word)).strip("0")
        return len(digits) > 2 and len(word) > SHORTEST and not _YEAR.fullmatch(word)
    return word != word.lower() or any(map(str.isdigit, word)) or not any(map(str.islower, word))


def _passed(task: Task) -> list[str]:
    """What the calls of the plan are given."""
    texts: list[str] = []
    for step in task.plan or ():
        arguments = step.get("arguments")
        for value in arguments.values() if isinstance(arguments, dict) else ():
            if value.__class__ is str:
                texts.append(value)
            elif value.__class__ is list or (value.__class__ is dict and "$from" not in value):
                texts += _texts(value)
    return texts


def _is_id(value: str) -> bool:
    """Would nobody write it by chance?"""
    return " " in value if len(value) >= LONG else _ID.fullmatch(value) is not None


def _texts(value: Any) -> Iterator[str]:
    """The texts in a value, however deep."""
    open_ = [value]
    while open_:
        part = open_.pop()
        if isinstance(part, str):
            yield part
        elif isinstance(part, (dict, list)):
            open_ += part.values() if isinstance(part, dict) else part


def _pattern(word: str) -> re.Pattern[str]:
    """As a word of its own; a single name as it is written."""
    start, end = (r"(?<!\w)" if word[0].isascii() else ""), (r"(?!\w)" if word[-1].isascii() else "")
    return re.compile(f"{start}{re.escape(word)}{end}", 0 if word.isalpha() else re.IGNORECASE)


def _arguments(calls: list[Made]) -> str:
    """What was passed, without the marks that JSON puts before quotes."""
    text = spelled([call.arguments for call in calls])
    return text if "\\" not in text else text.replace("\\\\", "\\").replace('\\"', '"')


# ---- the teacher's prompt ------------------------------------------------------------------------


def _prompted(view: View) -> str | None:
    """Words that only a teacher is told, said by the model or left in its instructions."""
    for message in view.talk[:2]:
        if message.role != "user" and (line := _line_in(message.content or "")):
            return f"the instructions are the teacher's: {quoted(line)}"
    for line in _lines():
        if line in view.spoken:
            return f"the model quotes the teacher's prompt: {quoted(line)}"
    return None


@lru_cache(maxsize=256)
def _line_in(text: str) -> str | None:
    """The same few instructions stand in most records."""
    return next((line for line in _lines() if line in text), None)


@cache
def _lines() -> tuple[str, ...]:
    """What stands in a line of the teacher's prompts, is long enough to tell, and is shown to no student: all
    of the example, which is copied most, and every third of the rest, for all texts are searched for them."""
    shown = " ".join(prompt(name) for name in ("trial", "direct", "hint", "tools"))
    texts = "\n".join(prompt(name) for name in ("teacher", "teacher_direct"))
    lines = [line.strip() for line in re.split(r"\n| {3,}", texts)]
    telling = [line for line in dict.fromkeys(lines) if len(line) > 30 and line not in shown]
    return tuple(line for i, line in enumerate(telling) if i % 3 == 0 or line.startswith("<"))
