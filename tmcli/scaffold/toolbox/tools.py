"""The functions behind tools.json, over a world that is drawn from a seed.

Every task has a world of its own, so an answer cannot be known: it can only come from calling tools. A
function takes the world first, then the parameters of its schema; it changes nothing and returns a JSON
object. What it raises, a LookupError or a ValueError with a sentence, is told to the model. This file runs in
a sandbox: it may import the standard library, what is installed beside tm, and `tmcli.worlds`.
"""

import random
from typing import Any

from tmcli import worlds

World = dict[str, dict[str, dict[str, Any]]]

FIRST = "Ada Bruno Carla Dario Elif Fritz Gwen Hassan Ines Jonas Kaja Luis".split()
LAST = "Abel Brandt Costa Dimov Ekman Fuchs Grieg Holub Ivanov Jansen Kovac Lindt".split()
MAKES = "Falke Merlin Nordlys Pirol Rapide Sirocco Tarpan Velox".split()
MODELS = "City Cargo Gravel Junior Tandem Trail Touring Sprint".split()


def make_world(seed: int) -> World:
    """Tables of rows, each under its id. Draw all of it from `rng`."""
    rng = random.Random(seed)
    people = worlds.pairs(rng, FIRST, LAST, 13)
    mechanics = {
        mechanic_id: {"mechanic": name, "phone": f"0{rng.randint(10_000, 99_999)}"}
        for mechanic_id, name in zip(worlds.ids(rng, "M", 3), people[:3], strict=True)
    }
    repairs = {
        repair_id: {
            "customer": customer,
            "bicycle": f"{rng.choice(MAKES)} {rng.choice(MODELS)}",
            "ready_on": worlds.date(rng, 2025, 2026),
            "price_eur": rng.randint(150, 4000) / 10,
            "mechanic_id": rng.choice(list(mechanics)),
        }
        for repair_id, customer in zip(worlds.ids(rng, "R", 10), people[3:], strict=True)
    }
    return {"mechanics": mechanics, "repairs": repairs}


def find_repair(world: World, customer: str) -> dict[str, Any]:
    """`worlds.find` raises LookupError("no customer 'X'")."""
    return {"repair_id": worlds.find(world["repairs"], "customer", customer, "customer")}


def repair_info(world: World, repair_id: str) -> dict[str, Any]:
    """A part of the row, in a new object."""
    repair = worlds.get(world["repairs"], repair_id, "repair")
    return {key: repair[key] for key in ("bicycle", "ready_on", "price_eur", "mechanic_id")}


def mechanic_info(world: World, mechanic_id: str) -> dict[str, Any]:
    """All of the row, in a new object."""
    return dict(worlds.get(world["mechanics"], mechanic_id, "mechanic"))
