"""Does an `<experience>` agree with what was seen?

Checked is what can be looked up without understanding: quoted texts, numbers, identifiers (with `_` or
digits), and plain claims that a tool works or fails. Whether a lesson is a good one is for a judge
(`--judge`).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator

from tmcli.filters.phases import brings
from tmcli.filters.rounds import Round, documents, quoted, shown_before
from tmcli.filters.view import View

Check = Callable[[View], str | None]

_EXPERIENCE = re.compile(r"<experience>(.*?)(?:</experience>|(?=<(?:trial|plan|answer)>)|\Z)", re.DOTALL)
_QUOTED = re.compile(
    r"""(?<!\w)"([^"\n]{2,200})"(?!\w)|`([^`\n]{2,200})`|(?<!\w)'([^'\n]{2,200})'(?!\w)"""
    r"|[“„«「『]([^“”„«»「」『』\n]{2,200})[”“»」』]"
)
_NUMBER = re.compile(r"(?<![A-Za-z0-9_.])\d[\d,.]*\d(?![A-Za-z0-9_])")
_IDENTIFIER = re.compile(r"(?<![A-Za-z0-9_])(?=[A-Za-z_]*\d|[A-Za-z0-9]*_)[A-Za-z0-9_]{4,60}(?![A-Za-z0-9_])")
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
        if not any("<experience>" in text for text in view.said):
            return None
        tools: list[str] = []
        """The documents, once they are asked for."""
        named = 0
        strange: list[str] = []
        for one, shown in shown_before(view):
            if not one.trained or (found := _EXPERIENCE.search(one.text)) is None:
                continue
            noted = found[1]
            if why := _gainsaid(view.rounds, one, noted):
                return why
            things = list(dict.fromkeys(_things(noted)))
            unseen = [thing for thing in things if not _seen(thing, shown)]
            if unseen:
                tools = tools or [documents(view)]
                unseen = [thing for thing in unseen if not _seen(thing, tools[0])]
                named += sum(_is_name(tool["function"]["name"], noted) for tool in view.tools)
            named += len(things)
            strange += [f"turn {one.number}: {quoted(thing)} was never seen" for thing in unseen]
        return "; ".join(strange) if len(strange) > share * named else None

    return check


def _things(noted: str) -> Iterator[str]:
    """The concrete things that can be looked up."""
    for match in _QUOTED.finditer(noted):
        yield next(filter(None, match.groups())).strip().lower()
    for match in _NUMBER.finditer(noted):
        number = match[0].replace(",", "").rstrip(".")
        if len(number) > 2 and number not in _FACTORS:
            yield number
    for match in _IDENTIFIER.finditer(noted):
        name = match[0].strip("_").lower()
        if len(name) > 3 and name not in _COMMON and not name[0].isdigit():
            yield name


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
    bare = number.rstrip("0").rstrip(".") if "." in number else number
    return bare in shown or bare in shown.replace(",", "")


def _is_name(name: str, noted: str) -> bool:
    """Does it name this tool, in a word that `_things` does not take?"""
    return name in noted and name.isalpha()


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
