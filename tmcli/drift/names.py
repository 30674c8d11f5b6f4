"""Other names for tools and parameters: what they may have been called before, or elsewhere.

    parameters("book_id")     ('book', 'id', 'book_no', ...)
    tools("find_book")        ('look_up_volume', 'search_volume', ...)

Words are exchanged for words that mean the same; where nobody knows one, the words are put differently. The
unit at the end of a name (`price_eur`) is kept: it says what the number means.
"""

from __future__ import annotations

import random
import re
from collections.abc import Collection
from functools import lru_cache

from tmcli.drift.forms import UNITS

PARAMETERS = {
    "account": ("acct", "holder", "account_no"),
    "amount": ("sum", "value", "total"),
    "artist": ("painter", "creator", "maker"),
    "author": ("writer", "creator"),
    "boat": ("ship", "vessel", "craft"),
    "chart": ("file", "record", "chart_no"),
    "city": ("town", "place", "location"),
    "country": ("nation", "region"),
    "currency": ("money", "coin", "unit"),
    "date": ("day", "when", "on_date"),
    "day": ("date", "when"),
    "dish": ("meal", "food", "plate"),
    "distance": ("length", "way", "range"),
    "drug": ("medicine", "remedy", "drug_name"),
    "duration": ("length", "span", "time_needed"),
    "film": ("movie", "picture", "film_title"),
    "guest": ("visitor", "client", "guest_name"),
    "guide": ("leader", "host", "guide_name"),
    "hall": ("room", "wing", "hall_no"),
    "hotel": ("inn", "house", "lodging"),
    "jar": ("pot", "container", "jar_id"),
    "location": ("place", "city", "where"),
    "name": ("full_name", "person", "who"),
    "nights": ("stay", "n_nights", "duration"),
    "origin": ("start", "source", "from_city"),
    "owner": ("holder", "keeper", "owner_name"),
    "parcel": ("package", "box", "item"),
    "passenger": ("traveler", "person", "passenger_name"),
    "patient": ("person", "client", "patient_name"),
    "plant": ("flower", "species", "plant_name"),
    "price": ("cost", "rate", "charge"),
    "query": ("q", "text", "search"),
    "region": ("area", "zone", "district"),
    "seats": ("places", "n_seats", "tickets"),
    "spice": ("herb", "seasoning", "spice_name"),
    "station": ("post", "site", "station_name"),
    "street": ("road", "address", "lane"),
    "target": ("goal", "destination", "to_city"),
    "test": ("exam", "measure", "test_name"),
    "ticket": ("booking", "pass", "ticket_no"),
    "time": ("hour", "at_time", "when"),
    "title": ("name", "book_title", "heading"),
    "town": ("city", "place", "location"),
    "type": ("kind", "sort", "category"),
    "weekday": ("day", "date", "day_name"),
    "weight": ("mass", "load", "heaviness"),
    "work": ("title", "artwork", "piece"),
    "year": ("in_year", "y", "period"),
}
"""Parameter -> what else it may be called, best first; `parameters` derives further ones."""

VERBS = {
    "add": ("insert", "put", "append"),
    "analyzer": ("inspector", "examiner", "evaluator"),
    "book": ("reserve", "order", "secure"),
    "calculate": ("work_out", "evaluate", "reckon"),
    "calculator": ("reckoner", "evaluator", "solver"),
    "cancel": ("revoke", "call_off", "withdraw"),
    "change": ("alter", "switch", "modify"),
    "check": ("verify", "inspect", "confirm"),
    "checker": ("verifier", "inspector", "examiner"),
    "compare": ("contrast", "weigh", "match_up"),
    "compute": ("work_out", "evaluate", "reckon"),
    "convert": ("exchange", "translate", "turn"),
    "create": ("make", "open", "register"),
    "fetcher": ("retriever", "reader", "getter"),
    "find": ("look_up", "search", "locate"),
    "finder": ("lookup", "search", "seeker"),
    "get": ("fetch", "retrieve", "read"),
    "identifier": ("recognizer", "detector", "matcher"),
    "info": ("details", "profile", "facts"),
    "list": ("enumerate", "show_all", "browse"),
    "locator": ("finder", "spotter", "positioner"),
    "lookup": ("finder", "search", "query"),
    "move": ("shift", "transfer", "relocate"),
    "plan": ("arrange", "schedule", "draft"),
    "rank": ("sort", "order", "grade"),
    "retriever": ("fetcher", "reader", "getter"),
    "search": ("find", "query", "seek"),
    "send": ("dispatch", "submit", "post"),
    "tracker": ("monitor", "follower", "watcher"),
    "update": ("revise", "modify", "amend"),
    "value": ("result", "reading", "figure"),
}
NOUNS = {
    "account": ("ledger", "deposit"),
    "artist": ("creator", "maker"),
    "artwork": ("piece", "exhibit"),
    "author": ("writer", "novelist"),
    "boat": ("vessel", "ship"),
    "book": ("volume", "publication"),
    "chart": ("record", "file"),
    "cook": ("chef", "kitchen_hand"),
    "drug": ("medicine", "remedy"),
    "event": ("happening", "occasion"),
    "film": ("movie", "picture"),
    "flight": ("connection", "airline_trip"),
    "forecast": ("outlook", "prediction"),
    "hall": ("room", "gallery"),
    "hotel": ("lodging", "inn"),
    "jar": ("pot", "container"),
    "lab": ("test", "laboratory"),
    "loan": ("lending", "borrowing"),
    "painter": ("artist", "creator"),
    "parcel": ("package", "shipment"),
    "physician": ("doctor", "medic"),
    "plane": ("aircraft", "jet"),
    "plant": ("flower", "species"),
    "reader": ("member", "patron"),
    "recipe": ("dish", "preparation"),
    "room": ("chamber", "suite"),
    "ticket": ("booking", "pass"),
    "tour": ("visit", "walk"),
    "transfer": ("payment", "remittance"),
    "weather": ("conditions", "climate"),
}
"""Words of a tool's name -> words that mean the same. The first and last word may be verbs."""

READING = frozenset(
    "browse calculate calculator check checker compare compute convert describe details estimate evaluate"
    " fetch fetcher find finder forecast get identify identifier info inspect list locate locator look"
    " lookup query rank read retrieve retriever search show sort view".split()
)
"""Words of tools that only look: to call such a tool once more changes nothing."""

_WORDS = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|[0-9]+|[^\W\d_]+")
_OPAQUE = re.compile(r"fn_[0-9a-f]{2,}|arg_[0-9]+")
MAX_CHARS = 64
"""Servers take no longer names of tools."""


@lru_cache(maxsize=4096)
def parameters(name: str) -> tuple[str, ...]:
    """What a parameter may be called elsewhere, never its own name; at least three.

    >>> parameters("book_id")
    ('book', 'id', 'book_no', 'bookId', 'bid')
    >>> parameters("title")
    ('name', 'book_title', 'heading', 'title_text', 'the_title', 'title_value')
    >>> parameters("max_price_eur")
    ('price_eur', 'maxPrice_eur', 'the_max_price_eur', 'which_max_price_eur')
    """
    if opaque(name):
        number = name.rpartition("_")[2]
        return f"param_{number}", f"value_{number}", f"field_{number}"
    whole = name
    unit = unit_of(name)
    name = name[: -len(unit) - 1] if unit else name
    stem, _, last = name.rpartition("_")
    if stem and last == "id":
        derived = [stem, "id", f"{stem}_no", f"{stem}Id", f"{stem[0]}id"]
    elif stem:
        head, *rest = name.split("_")
        camel = head + "".join(word.capitalize() for word in rest)
        derived = [last, *([] if unit else [stem]), camel, f"the_{name}", f"which_{name}"]
    else:
        derived = [f"{name}_text", f"the_{name}", f"{name}_value"]
    found = dict.fromkeys([*PARAMETERS.get(name, ()), *derived])
    return tuple(other for word in found if word and (other := f"{word}_{unit}" if unit else word) != whole)


@lru_cache(maxsize=4096)
def tools(name: str) -> tuple[str, ...]:
    """What a tool may be called elsewhere, never its own name; at least two.

    >>> tools("find_book")[:4]
    ('look_up_volume', 'look_up_publication', 'search_volume', 'search_publication')
    >>> tools("x")
    ('use_x', 'x_service')
    """
    parts = words(name)
    if not parts:
        return ("use_tool", "tool_service")
    choices = []
    for i, word in enumerate(parts):
        verb = i in (0, len(parts) - 1) and not (i and word in NOUNS)
        choices.append((VERBS.get(word) if verb else None) or NOUNS.get(word) or ())
    known = [i for i, others in enumerate(choices) if others]
    found: list[str] = []
    if known:
        first, last = known[0], known[-1]
        for one in choices[first]:
            for other in choices[last]:
                if first != last or one == other:
                    changed = [*parts]
                    changed[last] = other
                    changed[first] = one
                    found.append("_".join(changed))
    if len(parts) > 1:
        found.append("_".join([parts[-1], *parts[:-1]]))
    found += [f"use_{'_'.join(parts)}", f"{'_'.join(parts)}_service"]
    return tuple(dict.fromkeys(word[:MAX_CHARS] for word in found if word[:MAX_CHARS] != name))


def words(name: str) -> list[str]:
    """The words of a name, in lower case.

    >>> words("findBook_byID"), words("")
    (['find', 'book', 'by', 'id'], [])
    """
    return [word.lower() for word in _WORDS.findall(name)]


def unit_of(name: str) -> str:
    """The unit a name ends in, or nothing.

    >>> unit_of("distance_km"), unit_of("km"), unit_of("title")
    ('km', '', '')
    """
    stem, _, last = name.rpartition("_")
    return last if stem and last in _UNITS else ""


def opaque(name: str) -> bool:
    """Does a name tell nothing? Then a description must.

    >>> opaque("fn_3a"), opaque("arg_1"), opaque("find_book")
    (True, True, False)
    """
    return _OPAQUE.fullmatch(name) is not None


def reads(name: str) -> bool:
    """Does a tool of this name only look? In doubt it does not."""
    return not READING.isdisjoint(words(name))


def free(rng: random.Random, candidates: Collection[str], taken: Collection[str]) -> str:
    """One of the candidates that is not taken; `_2`, `_3`... is put to them where all are."""
    left = [name for name in candidates if name not in taken]
    if left:
        return rng.choice(left)
    base = rng.choice(list(candidates))
    n = 2
    while f"{base}_{n}" in taken:
        n += 1
    return f"{base}_{n}"


_UNITS = {*UNITS, *(small for small, _ in UNITS.values())}
