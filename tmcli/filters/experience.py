"""Does an `<experience>` agree with what was seen?

Checked is what can be looked up without understanding: quoted texts, numbers, identifiers (with `_` or
digits), and plain claims that a tool works or fails. Whether a lesson is a good one is for a judge
(`--judge`).
"""

from __future__ import annotations

import re
from collections.abc import Callable

from tmcli.filters.phases import brings
from tmcli.filters.rounds import Round, documents, quoted, shown_before
from tmcli.filters.view import View

Check = Callable[[View], str | None]

_END = re.compile(r"</experience>|<(?:trial|plan|answer)>")
_QUOTED = re.compile(
    r"""(?<!\w)"([^"\n]{2,200})"(?!\w)|`([^`\n]{2,200})`|(?<!\w)'([^'\n]{2,200})'(?!\w)"""
    r"|[“„«「『]([^“”„«»「」『』\n]{2,200})[”“»」』]"
)
_QUOTES = ('"', "'", "`", "“", "„", "«", "「", "『")
_TELLING = re.compile(r"[0-9_]")
_TOKEN = re.compile(r"(?<![A-Za-z0-9_])[A-Za-z]*[0-9_][A-Za-z0-9_]*(?:[.,][A-Za-z0-9_]+)*")
"""Numbers, and identifiers with a digit or `_`."""
_THOUSANDS = re.compile(r"\d{1,3}(?:\.\d{3})+")
_PART = re.compile(r"[a-z]{4,}|\d{3,}")
_WORD = re.compile(r"\w+")
_COMMON = frozenset(
    "iso8601 iso_8601 rfc3339 rfc_3339 utf8 utf_8 base64 base_64 sha256 e164 unix_time epoch_ms http2 md5 "
    "snake_case camel_case kebab_case lower_case upper_case title_case yyyy_mm_dd dd_mm_yyyy mm_dd_yyyy "
    "case_sensitive read_only key_value alpha2 alpha3 alpha_2 alpha_3 iso3166 iso4217 iso639".split()
)
"""Words of the trade, named without having been shown."""
_FACTORS = frozenset(
    "100 1000 10000 100000 1000000 3600 86400 360 365 1024 200 400 401 403 404 429 500".split()
)
"""Numbers that anyone knows: between units, and of HTTP."""
_UNIT = re.compile(r"_(?:[a-z]{1,3}|cents|euros?|hours|days|minutes|seconds|miles|grams|percent)\Z")

_CLAIMS = ("work", "fail", "succe", "broken", "error")
"""What a claim holds: looking for it is many times quicker."""
_CLAIM = re.compile(
    r"([\w.-]+)[`'\"”]?\s+(?:(works|worked|succeeds|succeeded)"
    r"|(?:fails|failed|(?:does|did)(?: not|n['’]t) work|is broken|returned an error))"
    r"(?=\s*(?:[.;!]|\Z)|\s+(?:as documented|as expected|fine|well|correctly)\b)",
    re.IGNORECASE,
)


def false_experience(share: float) -> Check:
    """More than this share of the concrete things an `<experience>` names was never seen; or it says that a
    tool works or fails, and all that was seen says the contrary."""

    def check(view: View) -> str | None:
        named = 0
        strange: list[tuple[Round, str]] = []
        for one in view.rounds:
            if "<experience>" not in one.text or not one.trained:
                continue
            noted = _END.split(one.text.partition("<experience>")[2], maxsplit=1)[0]
            if any(word in noted for word in _CLAIMS) and (why := _gainsaid(view.rounds, one, noted)):
                return why
            before = view.rounds[: one.number - 1]
            for thing in _things(noted):
                named += 1
                if not _in_calls(thing, before):
                    strange.append((one, thing))
        return _unseen(view, strange, named, share) if len(strange) > share * named else None

    return check


def _in_calls(thing: str, before: list[Round]) -> bool:
    """The quick way: is it a name of the calls until now, or in a reply, just as it is written?"""
    for one in reversed(before):
        for call in one.calls:
            if thing == call.name or (call.arguments.__class__ is dict and thing in call.arguments):
                return True
            if call.reply and thing in call.reply:
                return True
    return False


def _unseen(view: View, strange: list[tuple[Round, str]], named: int, share: float) -> str | None:
    """The slow way, for the rest: all that was shown, and other ways to write it."""
    shown = {one.number: text for one, text in shown_before(view)}
    tools = documents(view)
    unseen: list[str] = []
    for one, thing in strange:
        word = thing.lower()
        if not _seen(word, shown[one.number]) and not _seen(word, tools):
            unseen.append(f"turn {one.number}: {quoted(thing)} was never seen")
    if len(unseen) <= share * named:
        return None
    named += sum(
        tool["function"]["name"].isalpha() and tool["function"]["name"] in view.spoken for tool in view.tools
    )
    return "; ".join(unseen) if len(unseen) > share * named else None


def _things(noted: str) -> list[str]:
    """The concrete things that can be looked up. Names of one plain word count where it comes to that."""
    things: dict[str, None] = {}
    if any(mark in noted for mark in _QUOTES):
        for match in _QUOTED.finditer(noted):
            things[next(filter(None, match.groups())).strip()] = None
    for word in noted.split():
        if word.isalpha() or not _TELLING.search(word):
            continue  # most are
        for token in _TOKEN.findall(word):
            if token[0].isdigit():
                number = token.replace(",", "")
                if len(number) > 2 and number not in _FACTORS and number.replace(".", "").isdigit():
                    things[number] = None
            elif token.lower() not in _COMMON:
                for part in token.split("."):
                    if len(part) > 3:
                        things[part.strip("_")] = None
    return list(things)


def _seen(thing: str, shown: str) -> bool:
    """As it is, or written a little otherwise."""
    if thing in shown:
        return True
    if thing[0].isdigit():
        return _number_seen(thing, shown)
    if _UNIT.search(thing) and (stem := _UNIT.sub("", thing)) and len(stem) > 3 and stem in shown:
        return True  # the same thing in another unit
    if thing.isascii() and thing.replace("_", "").isalnum():
        bare = thing.replace("_", "")
        if bare in shown or bare.removesuffix("s") in shown or bare in shown.replace("_", ""):
            return True  # bookId for book_id
        parts = _PART.findall(thing)  # F417 for 417/F
        return bool(parts) and all(part.isdigit() and part in shown for part in parts)
    words = _WORD.findall(thing)  # a longer text, in other words of the same sentence
    return not words or all(word in shown for word in words)


def _number_seen(number: str, shown: str) -> bool:
    """1200, 1200.0, 1,200 and 1.200 are one number."""
    bare = number.rstrip("0").rstrip(".") if "." in number else number
    whole = number.replace(".", "") if _THOUSANDS.fullmatch(number) else bare
    return any(form in text for form in (bare, whole) for text in (shown, shown.replace(",", "")))


def _gainsaid(rounds: list[Round], now: Round, noted: str) -> str | None:
    """A claim about a tool that everything seen of it contradicts."""
    for claim in _CLAIM.finditer(noted):
        name = claim[1]
        calls = [call for one in rounds[: now.number - 1] for call in one.calls if call.name == name]
        if not calls:
            continue
        if claim[2] and not any(call.ok for call in calls):
            return f"turn {now.number}: {quoted(claim[0])}, but every call of it failed"
        if not claim[2] and all(call.ok and brings(call.reply) for call in calls):
            return f"turn {now.number}: {quoted(claim[0])}, but no call of it failed"
    return None
