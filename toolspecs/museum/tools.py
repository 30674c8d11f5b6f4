"""A museum: artworks, painters, halls, guided tours. All drawn from the seed."""

import random
from typing import Any

World = dict[str, dict[str, dict[str, Any]]]

POSES = [
    "Sleeping", "Dancing", "Weeping", "Laughing", "Kneeling", "Dreaming", "Fallen", "Veiled",
    "Running", "Singing", "Waiting", "Seated",
]  # fmt: skip
FIGURES = [
    "Shepherd", "Miller", "Dancer", "Sailor", "Queen", "Hunter", "Monk", "Weaver", "Angel",
    "Fisher", "Widow", "Soldier",
]  # fmt: skip
FIRST = [
    "Albrecht", "Bianca", "Cosimo", "Delphine", "Ernst", "Giulia", "Hendrik", "Isolde", "Jacopo",
    "Lucia", "Matthias", "Ottavia",
]  # fmt: skip
LAST = [
    "Altdorf", "Bellotti", "Corvini", "Desmarais", "Eckhart", "Falcone", "Guardi", "Huysman",
    "Leclerc", "Moretti", "Rembold", "Verhagen",
]  # fmt: skip
DAYS = ["Monday", "Tuesday", "Wednesday", "Thursday", "Friday"]


def make_world(seed: int) -> World:
    rng = random.Random(seed)
    people = rng.sample([f"{first} {last}" for first in FIRST for last in LAST], 24)
    works = rng.sample([f"{pose} {figure}" for pose in POSES for figure in FIGURES], 14)
    painters = {
        painter_id: {"painter": name, "works": rng.randint(12, 400)}
        for painter_id, name in zip(_ids(rng, "M", 8), people[:8], strict=True)
    }
    halls = {
        hall: {"guard": name, "area": rng.randint(40, 600)}
        for hall, name in zip(_ids(rng, "H", 10), people[8:18], strict=True)
    }
    artworks = {
        artwork_id: {
            "work": work,
            "height": rng.randint(20, 320),
            "painter_id": rng.choice(list(painters)),
            "hall": rng.choice(list(halls)),
        }
        for artwork_id, work in zip(_ids(rng, "W", 14), works, strict=True)
    }
    walks = rng.sample([(guide, day) for guide in people[18:] for day in DAYS], 12)
    tours = {
        tour_id: {
            "guide": guide,
            "weekday": day,
            "fee": rng.randint(101, 990) / 10,
            "guests": rng.randint(3, 80),
            "hall": rng.choice(list(halls)),
        }
        for tour_id, (guide, day) in zip(_ids(rng, "G", 12), walks, strict=True)
    }
    return {"painters": painters, "halls": halls, "artworks": artworks, "tours": tours}


def find_artwork(world: World, work: str) -> Any:
    return {"artwork_id": _find(world["artworks"], "work", work, "work")}


def artwork_info(world: World, artwork_id: str) -> Any:
    artwork = _get(world["artworks"], artwork_id, "artwork")
    return {"height": artwork["height"], "painter_id": artwork["painter_id"], "hall": artwork["hall"]}


def painter_info(world: World, painter_id: str) -> Any:
    return _get(world["painters"], painter_id, "painter")


def hall_info(world: World, hall: str) -> Any:
    return _get(world["halls"], hall, "hall")


def find_tour(world: World, guide: str, weekday: str) -> Any:
    for tour_id, tour in world["tours"].items():
        if _same(tour["guide"], guide) and _same(tour["weekday"], weekday):
            return {"tour_id": tour_id}
    raise LookupError(f"no tour by {guide!r} on {weekday!r}")


def tour_info(world: World, tour_id: str) -> Any:
    tour = _get(world["tours"], tour_id, "tour")
    return {"fee": tour["fee"], "guests": tour["guests"], "hall": tour["hall"]}


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
