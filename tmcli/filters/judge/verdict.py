"""What a judge said, and where it is kept: `judged` in the record.

    read('{"why": "Room 7 is in reply 2.", "verdict": "yes"}')      # Verdict("yes", "Room 7 is in reply 2.")
    line = keep(line, {"judge": "gpt-4o", "grounded": {"verdict": "yes", "why": "..."}})

No verdict (None) means that nobody knows: the judge could not tell, did not say it readably, or was not
asked. It is never a no.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import orjson

from tmcli.records import Json, Trajectory, decode, encode, expect

if TYPE_CHECKING:
    from tmcli.filters.view import View

KEY = "judged"
MAX_WHY = 300
"""Characters that are kept of a reason."""
MAX_SAID = 100_000
"""A longer reply is not read."""
MAX_OBJECTS = 100

_WORD = re.compile(r"\W*(yes|no)\W*", re.IGNORECASE)
_WORDS = {"yes": "yes", "no": "no", "true": "yes", "false": "no"}


class Verdict(NamedTuple):
    """The answer to one question."""

    verdict: Literal["yes", "no"] | None
    why: str

    def to_json(self) -> Json:
        return {"verdict": self.verdict, "why": self.why}


def read(said: str) -> Verdict:
    """The last JSON object with a verdict, or a bare yes or no.

    >>> read('```json\\n{"why": "It is in no reply.", "verdict": "no"}\\n```')
    Verdict(verdict='no', why='It is in no reply.')
    >>> read("Yes."), read("I think so").verdict
    (Verdict(verdict='yes', why=''), None)
    """
    said = said[:MAX_SAID]
    for found in objects(said):
        if isinstance(found, dict) and "verdict" in found:
            word = _WORDS.get(str(found["verdict"]).strip().strip('."').lower())
            why = found.get("why")
            told = short(why if isinstance(why, str) else "")
            return Verdict(_known(word), told or ("" if word else "it could not tell"))
    if bare := _WORD.fullmatch(said):
        return Verdict(_known(bare[1].lower()), "")
    return Verdict(None, f"its reply holds no verdict: {short(said)[:100]!r}")


def short(text: str) -> str:
    """On one line, and no longer than what is kept."""
    return " ".join(text.split())[:MAX_WHY]


def keep(line: bytes, judged: Json) -> bytes:
    """The line with these verdicts as its last key, in place of older ones; every other byte stays."""
    line = line.rstrip()
    old = stored(line)
    if old is not None:
        end = b',"judged":' + old + b"}"
        if not line.endswith(end):  # somebody else wrote it somewhere else
            record = expect(decode(line), Trajectory)
            record.extra.pop(KEY)  # type: ignore[attr-defined]
            object.__setattr__(record, "raw", None)
            line, end = encode(record), b"}"
        line = line[: -len(end)] + b"}"
    return line[:-1] + b',"judged":' + orjson.dumps(judged) + b"}"


def stored(line: bytes) -> bytes | None:
    """The verdicts in a line, as they are written."""
    import msgspec

    found = msgspec.json.decode(line, type=dict[str, msgspec.Raw]).get(KEY)
    return None if found is None else bytes(found)


def refused(judged: Any) -> str | None:
    """The first question whose answer is no, and why."""
    return next((f"{name}: {why}" for name, verdict, why in _answers(judged) if verdict == "no"), None)


def missing(judged: Any) -> str | None:
    """The first question without a verdict, and why."""
    answers = _answers(judged)
    if not answers:
        return "nobody was asked"
    return next((f"{name}: {why}" for name, verdict, why in answers if verdict not in ("yes", "no")), None)


def judged_no(view: View) -> str | None:
    """The rule over verdicts that are in the record already."""
    return refused(_json(stored(view.line) or b"null"))


def not_judged(view: View) -> str | None:
    """The same for those that are missing."""
    return missing(_json(stored(view.line) or b"null"))


def _answers(judged: Any) -> list[tuple[str, Any, str]]:
    """(question, verdict, why) of what may be anything."""
    if not isinstance(judged, dict):
        return []
    return [
        (name, answer.get("verdict"), short(str(answer.get("why") or "")))
        for name, answer in judged.items()
        if isinstance(answer, dict)
    ]


def objects(text: str) -> Iterator[Any]:
    """The JSON objects that begin in a text, the last one first."""
    at = len(text)
    for _ in range(MAX_OBJECTS):
        at = text.rfind("{", 0, at)
        if at < 0:
            return
        with suppress(ValueError, RecursionError):  # a brace that begins no object
            yield json.JSONDecoder().raw_decode(text, at)[0]


def _known(word: str | None) -> Literal["yes", "no"] | None:
    return "yes" if word == "yes" else "no" if word == "no" else None


def _json(text: str | bytes) -> Any:
    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError:
        return None
