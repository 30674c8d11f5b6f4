"""A library: books, their authors, and the loans of readers. All drawn from the seed."""

import random
from typing import Any

from tmcli import worlds

World = dict[str, dict[str, dict[str, Any]]]

MOODS = (
    "Silent Crimson Hidden Broken Golden Frozen Endless Distant Burning Hollow Velvet Bitter Wandering "
    "Secret Scarlet Restless Fading Ivory Lonely Drifting Shattered Gentle Midnight Ancient Painted "
    "Vanishing Iron Borrowed Second Nameless Forgotten Quiet Paper Seventh Tangled Patient Winding "
    "Luminous Stolen Sunken Faithful Crooked Reckless Half-Lit Trembling Unwritten Cold Hopeful Weathered "
    "Longest"
).split()
THEMES = (
    "Mirror Orchard Lantern Empire Canyon Whisper Bridge Kingdom Promise Compass Shadow Letter Garment Oath "
    "Daughter Staircase Rebellion Melody Horizon Cathedral Voyage Window Archive Raven Feather Hourglass "
    "Tower Stranger Memory Pilgrim Crown Threshold Ember Inheritance Labyrinth Cartographer Tide Heir Meadow "
    "Alphabet Journey Portrait Silence Envelope Almanac Verdict Season Witness Riddle Testament"
).split()
FIRST = (
    "Clara Edwin Irene Oscar Helen Victor Agnes Hugo Martha Leonard Edith Walter Winifred Arthur Beatrice "
    "Cecil Dorothy Eustace Florence Gilbert Harriet Ivor Josephine Lionel"
).split()
LAST = [
    start + end
    for start in "Whit Bar Fen Har Ash Lang Thorn Pru Wins Gar Sel Hather Wood Black Red Lamp Cress".split()
    for end in "wick low ford by ley well combe worth bourne stead".split()
]


def make_world(seed: int) -> World:
    rng = random.Random(seed)
    people = worlds.pairs(rng, FIRST, LAST, 20)
    authors = {
        author_id: {"author": name, "born": worlds.whole(rng, 1700, 1899)}
        for author_id, name in zip(worlds.ids(rng, "A", 8), people[:8], strict=True)
    }
    author_ids = list(authors)
    books = {
        book_id: {
            "title": title,
            "year": worlds.whole(rng, 1900, 2020),
            "pages": worlds.whole(rng, 90, 990),
            "shelf": f"{'NEWS'[worlds.whole(rng, 0, 3)]}-{worlds.whole(rng, 10, 99)}",
            "author_id": author_ids[worlds.whole(rng, 0, 7)],
            "slip": rng.random(),
        }
        for book_id, title in zip(worlds.ids(rng, "B", 14), worlds.pairs(rng, MOODS, THEMES, 14), strict=True)
    }
    days = [worlds.date(rng, 2025, 2026) for _ in range(5)]
    book_ids = list(books)
    readers = {
        reader_id: {
            "name": name,
            "book_id": book_ids[worlds.whole(rng, 0, 13)],
            "due": days[worlds.whole(rng, 0, 4)],
        }
        for reader_id, name in zip(worlds.ids(rng, "R", 12), people[8:], strict=True)
    }
    return {"authors": authors, "books": books, "readers": readers}


def find_book(world: World, title: str) -> Any:
    return {"book_id": worlds.find(world["books"], "title", title, "book")}


def book_info(world: World, book_id: str) -> Any:
    book = worlds.get(world["books"], book_id, "book")
    return {key: book[key] for key in ("year", "pages", "shelf", "author_id")}


def author_info(world: World, author_id: str) -> Any:
    return dict(worlds.get(world["authors"], author_id, "author"))


def find_reader(world: World, name: str) -> Any:
    return {"reader_id": worlds.find(world["readers"], "name", name, "reader")}


def loan_info(world: World, reader_id: str) -> Any:
    reader = worlds.get(world["readers"], reader_id, "reader")
    return {"book_id": reader["book_id"], "due": reader["due"]}


def list_due(world: World, date: str) -> Any:
    due = worlds.day(date)
    return {"reader_ids": [reader_id for reader_id, row in world["readers"].items() if row["due"] == due]}


def reserve_book(world: World, book_id: str, reader_id: str) -> Any:
    book = worlds.get(world["books"], book_id, "book")
    worlds.get(world["readers"], reader_id, "reader")
    return {"code": worlds.code("RC", book["slip"], reader_id)}
