"""A library: books, their authors, and the loans of readers. All drawn from the seed."""

import random
from typing import Any

World = dict[str, dict[str, dict[str, Any]]]

MOODS = [
    "Silent", "Crimson", "Hidden", "Broken", "Golden", "Frozen", "Endless", "Distant", "Burning",
    "Hollow", "Velvet", "Bitter",
]  # fmt: skip
THEMES = [
    "Harbor", "Mirror", "Orchard", "Lantern", "Empire", "Canyon", "Whisper", "Bridge", "Kingdom",
    "Promise", "Compass", "Shadow",
]  # fmt: skip
FIRST = [
    "Clara", "Edwin", "Irene", "Oscar", "Helen", "Victor", "Agnes", "Hugo", "Martha", "Leonard",
    "Edith", "Walter",
]  # fmt: skip
LAST = [
    "Whitlock", "Barlow", "Fenwick", "Harding", "Ashby", "Mercer", "Langley", "Thorne", "Pruitt",
    "Winslow", "Garland", "Sexton",
]  # fmt: skip


def make_world(seed: int) -> World:
    rng = random.Random(seed)
    people = rng.sample([f"{first} {last}" for first in FIRST for last in LAST], 18)
    titles = rng.sample([f"{mood} {theme}" for mood in MOODS for theme in THEMES], 14)
    authors = {
        author_id: {"author": name, "born": rng.randint(1700, 1899)}
        for author_id, name in zip(_ids(rng, "A", 8), people[:8], strict=True)
    }
    books = {
        book_id: {
            "title": title,
            "year": rng.randint(1900, 2020),
            "pages": rng.randint(90, 990),
            "author_id": rng.choice(list(authors)),
        }
        for book_id, title in zip(_ids(rng, "B", 14), titles, strict=True)
    }
    readers = {
        reader_id: {"name": name, "book_id": rng.choice(list(books)), "days": rng.randint(2, 90)}
        for reader_id, name in zip(_ids(rng, "R", 10), people[8:], strict=True)
    }
    return {"authors": authors, "books": books, "readers": readers}


def find_book(world: World, title: str) -> Any:
    return {"book_id": _find(world["books"], "title", title, "book")}


def book_info(world: World, book_id: str) -> Any:
    book = _get(world["books"], book_id, "book")
    return {"year": book["year"], "pages": book["pages"], "author_id": book["author_id"]}


def author_info(world: World, author_id: str) -> Any:
    return _get(world["authors"], author_id, "author")


def find_reader(world: World, name: str) -> Any:
    return {"reader_id": _find(world["readers"], "name", name, "reader")}


def loan_info(world: World, reader_id: str) -> Any:
    reader = _get(world["readers"], reader_id, "reader")
    return {"book_id": reader["book_id"], "days": reader["days"]}


def _ids(rng: random.Random, letter: str, n: int) -> list[str]:
    return [f"{letter}{number}" for number in rng.sample(range(10, 100), n)]


def _same(name: str, given: str) -> bool:
    return name.casefold() == given.strip().casefold()


def _find(table: dict[str, dict[str, Any]], key: str, value: str, what: str) -> str:
    for row_id, row in table.items():
        if _same(row[key], value):
            return row_id
    raise LookupError(f"no {what} {value!r}")


def _get(table: dict[str, dict[str, Any]], row_id: str, what: str) -> dict[str, Any]:
    if row_id not in table:
        raise LookupError(f"no {what} {row_id!r}")
    return table[row_id]
