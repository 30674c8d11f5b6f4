"""A museum: artworks, painters, halls, guided tours. All drawn from the seed."""

import random
from typing import Any

from tmcli import worlds

World = dict[str, dict[str, dict[str, Any]]]

POSES = (
    "Sleeping Dancing Weeping Laughing Kneeling Dreaming Fallen Veiled Running Singing Waiting Seated "
    "Reclining Bathing Praying Reading Spinning Bowing Leaping Grieving Juggling Marching Whistling Resting"
).split()
FIGURES = [
    f"{figure} {place}".strip()
    for figure in (
        "Shepherd Miller Dancer Sailor Queen Hunter Monk Weaver Angel Fisher Widow Soldier Cooper Falconer "
        "Maiden Jester Blacksmith Astronomer"
    ).split()
    for place in (
        "",
        "at Dusk",
        "by Candlelight",
        "with Lute",
        "in Snow",
        "with Hound",
        "in Blue",
        "at Prayer",
    )
]
FIRST = (
    "Albrecht Bianca Cosimo Delphine Ernst Giulia Hendrik Isolde Jacopo Lucia Matthias Ottavia Willem "
    "Margriet Pieter Gertrud Joachim Leonora Diederik Ursula Caspar Hedwig Rutger Benedikta"
).split()
LAST = [
    start + end
    for start in "Alt Ver Huys Rem Eck Cran Dier Grun Loch Mem Rog Schon Brou Kess Nieu Wou".split()
    for end in "dorfer haegen manns hartz ling bach ickx ewald ner huizen".split()
]


def make_world(seed: int) -> World:
    rng = random.Random(seed)
    people = worlds.pairs(rng, FIRST, LAST, 20)
    painters = {
        painter_id: {"painter": name, "works": worlds.whole(rng, 12, 400)}
        for painter_id, name in zip(worlds.ids(rng, "M", 8), people[:8], strict=True)
    }
    halls = {
        hall: {"guard": name, "area_m2": worlds.whole(rng, 40, 600)}
        for hall, name in zip(worlds.ids(rng, "H", 6), people[8:14], strict=True)
    }
    painter_ids, hall_ids = list(painters), list(halls)
    artworks = {
        artwork_id: {
            "work": work,
            "height_cm": worlds.whole(rng, 20, 320),
            "cleaned_on": worlds.date(rng, 1990, 2024),
            "painter_id": painter_ids[worlds.whole(rng, 0, 7)],
            "hall": hall_ids[worlds.whole(rng, 0, 5)],
        }
        for artwork_id, work in zip(
            worlds.ids(rng, "W", 14), worlds.pairs(rng, POSES, FIGURES, 14), strict=True
        )
    }
    days = [worlds.date(rng, 2025, 2026) for _ in range(4)]
    tours = {
        tour_id: {
            "guide": people[14 + walk % 6],
            "held_on": days[walk // 6],
            "fee_eur": worlds.whole(rng, 101, 990) / 10,
            "guests": worlds.whole(rng, 3, 80),
            "hall": hall_ids[worlds.whole(rng, 0, 5)],
            "stamp": rng.random(),
        }
        for tour_id, walk in zip(worlds.ids(rng, "G", 12), worlds.distinct(rng, 24, 12), strict=True)
    }
    return {"painters": painters, "halls": halls, "artworks": artworks, "tours": tours}


def find_artwork(world: World, work: str) -> Any:
    return {"artwork_id": worlds.find(world["artworks"], "work", work, "work")}


def artwork_info(world: World, artwork_id: str) -> Any:
    artwork = worlds.get(world["artworks"], artwork_id, "artwork")
    return {key: artwork[key] for key in ("height_cm", "cleaned_on", "painter_id", "hall")}


def painter_info(world: World, painter_id: str) -> Any:
    return dict(worlds.get(world["painters"], painter_id, "painter"))


def hall_info(world: World, hall: str) -> Any:
    row = worlds.get(world["halls"], hall, "hall")
    shown = [artwork_id for artwork_id, artwork in world["artworks"].items() if artwork["hall"] == hall]
    return {**row, "artwork_ids": shown}


def find_tour(world: World, guide: str, held_on: str) -> Any:
    who, when = worlds.plain(guide), worlds.day(held_on)
    for tour_id, tour in world["tours"].items():
        if tour["held_on"] == when and tour["guide"].casefold() == who:
            return {"tour_id": tour_id}
    raise LookupError(f"no tour by {guide!r} on {when}")


def tour_info(world: World, tour_id: str) -> Any:
    tour = worlds.get(world["tours"], tour_id, "tour")
    return {key: tour[key] for key in ("fee_eur", "guests", "hall")}


def join_tour(world: World, tour_id: str, visitors: int) -> Any:
    tour = worlds.get(world["tours"], tour_id, "tour")
    if not 1 <= visitors <= 30:
        raise ValueError("visitors must be from 1 to 30")
    return {"voucher": worlds.code("VO", tour["stamp"], visitors)}
