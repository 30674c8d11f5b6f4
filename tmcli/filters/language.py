"""`--rule language=en|de`: the model's own prose is written in one of these languages.

    check = language("en")
    check(view)         # None, or "turn 3: de (Ich suche zuerst ...)"

Looked at is what the model wrote, without what is no prose: calls, code, JSON, quoted values, numbers and
names (`find_book`, `flightId`). Each turn is cut where its script changes and each long enough piece is told
apart by itself (py3langid), so that a switch in the middle does not drown in the rest; what is too short for
that is looked at together. Words that the question or the tools brought are nobody's choice: a piece is
never held against the model for them. Text too short to tell passes.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Iterator
from functools import cache, lru_cache
from itertools import groupby
from typing import TYPE_CHECKING, Any

import orjson

from tmcli.errors import UsageError, did_you_mean

if TYPE_CHECKING:
    from tmcli.filters.view import View

LETTERS = 40
"""Fewer letters of Latin script are not told apart."""
LETTERS_OF = {"CJK": 4, "HANGUL": 6}
"""A sign says more there; 12 letters of any other script."""
OTHER_LETTERS = 12
MAX_CHARS = 1000
"""So much of a piece is enough to know its language."""
SURE = 4.0
"""So many times as likely as all that is asked for, and a language counts as another one."""

_NO_PROSE = re.compile(
    r"<tool_call>.*?(?:</tool_call>|\Z)|<tool_response>.*?(?:</tool_response>|\Z)|```.*?(?:```|\Z)|`[^`\n]*`"
    r"|</?\w+>|https?://\S+|\"[^\"\n]*\"|“[^”\n]*”|«[^»\n]*»|「[^」\n]*」|(?<!\w)'[^'\n]*'(?!\w)",
    re.DOTALL,
)
_JSON = re.compile(r"[{\[][^{}\[\]]*[}\]]")
_NAMED = re.compile(r"\w+(?:[./:@#]\w+)*")
_NAME = re.compile(r"[\d_./:@#]|[a-z][A-Z]")
_WORDS = re.compile(r"\w+")


def language(codes: str) -> Callable[[View], str | None]:
    """The check for `codes`: one or more of py3langid's (ISO 639-1 mostly), with `|` or `,` between. Raises
    `UsageError` for one that it does not know."""
    wanted = frozenset(code for code in re.split(r"[|,\s]+", codes.strip().lower()) if code)
    known = model().labels
    if not wanted:
        raise UsageError("language needs the code of one", "write language=en, or language=en|de")
    if wrong := sorted(wanted.difference(known)):
        raise UsageError(f"no language has the code {wrong[0]!r}", did_you_mean(wrong[0], known))

    def check(view: View) -> str | None:
        short: dict[str, list[str]] = {}
        for number, text in enumerate(view.said, 1):
            for script, piece in pieces(prose(text)):
                if n_letters(piece) < least(script):
                    short.setdefault(script, []).append(piece)
                elif other := _other(view, script, piece, wanted):
                    return f"turn {number}: {other}"
        for script, parts in short.items():
            if other := _other(view, script, " ".join(parts), wanted):
                return other
        return None

    return check


def prose(text: str) -> str:
    """What is written in a language.

    >>> prose('<plan>find_book takes the title, as "Emma"</plan><tool_call>{"name": ...').split()
    ['takes', 'the', 'title,', 'as']
    """
    text = _NO_PROSE.sub(" ", text)
    before = ""
    while before != text and ("{" in text or "[" in text):  # the innermost first
        before, text = text, _JSON.sub(" ", text)
    return _NAMED.sub(lambda word: " " if _NAME.search(word[0]) else word[0], text)


def pieces(text: str) -> Iterator[tuple[str, str]]:
    """(script, text) of each script in it, in the order of their first letters; spaces and marks stay with
    the letters before them."""
    if text.isascii():
        yield "LATIN", text
        return
    found: dict[str, list[str]] = {}
    last = ""
    letters = ((last := _script(letter) or last, letter) for letter in text)
    for script, run in groupby(letters, key=lambda pair: pair[0]):
        found.setdefault(script or "LATIN", []).append("".join(letter for _, letter in run))
    for script, runs in found.items():
        yield script, " ".join(runs)


def n_letters(text: str) -> int:
    return sum(map(str.isalpha, text))


def least(script: str) -> int:
    """Letters that tell a language."""
    return LETTERS if script == "LATIN" else LETTERS_OF.get(script, OTHER_LETTERS)


@cache
def model() -> Any:
    """The one model, read when it is first needed (0.7 s)."""
    from py3langid.langid import MODEL_FILE, LanguageIdentifier

    return LanguageIdentifier.from_model_file(MODEL_FILE, norm_probs=True)


def _other(view: View, script: str, piece: str, wanted: frozenset[str]) -> str | None:
    """Which language this is, and how it begins, where it is none of those wanted."""
    piece = piece[:MAX_CHARS]
    if not _told(script, piece, wanted):
        return None
    own = _own(view, script, piece)
    code = _told(script, own, wanted)
    return f"{code} ({' '.join(own.split())[:60]})" if code else None


@lru_cache(maxsize=4096)
def _told(script: str, piece: str, wanted: frozenset[str]) -> str | None:
    """The language of a piece, where it is long enough to tell and none of those wanted."""
    if n_letters(piece) < least(script):
        return None
    ranked: list[tuple[str, float]] = model().rank(" ".join(piece.split()))
    asked = sum(share for code, share in ranked if code in wanted)
    code, share = ranked[0]
    return code if code not in wanted and code != "zxx" and share > SURE * asked else None


def _own(view: View, script: str, piece: str) -> str:
    """A piece without the words that the model was shown: those of the question, the tools, the replies."""
    shown = "\n".join(
        message.get("content") or "" for message in view.messages if message["role"] in ("user", "tool")
    )
    shown = f"{shown}\n{orjson.dumps(view.tools).decode()}".casefold()
    if script in LETTERS_OF:  # no spaces between words there: whole runs
        return " ".join(run for run in _WORDS.findall(piece) if run.casefold() not in shown)
    words = set(_WORDS.findall(shown))
    return " ".join(word for word in _WORDS.findall(piece) if word.casefold() not in words)


@lru_cache(maxsize=4096)
def _script(letter: str) -> str | None:
    """The script of a letter; None: it is none, and belongs to what is around it."""
    if not letter.isalpha():
        return None
    first = unicodedata.name(letter, "").partition(" ")[0].partition("-")[0]
    return _SAME.get(first, first) or None


_SAME = {"HIRAGANA": "CJK", "KATAKANA": "CJK", "HALFWIDTH": "CJK", "FULLWIDTH": "LATIN"}
"""Scripts that one language mixes."""
