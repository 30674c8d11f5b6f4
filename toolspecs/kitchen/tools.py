"""A kitchen: recipes, the cooks who made them, and jars of spice. All drawn from the seed."""

import random
from typing import Any

World = dict[str, dict[str, dict[str, Any]]]

STYLES = [
    "Creamy", "Crispy", "Roasted", "Spicy", "Pickled", "Braised", "Glazed", "Grilled", "Steamed",
    "Buttered", "Toasted", "Stuffed",
]  # fmt: skip
FOODS = [
    "Leek", "Barley", "Salmon", "Turnip", "Mushroom", "Lentil", "Cabbage", "Chicken", "Pumpkin",
    "Noodle", "Bean", "Squash",
]  # fmt: skip
SHADES = ["Black", "White", "Pink", "Amber", "Dark", "Pale", "Smoky", "Sweet", "Wild", "Mild"]
SPICES = ["Pepper", "Cumin", "Saffron", "Clove", "Ginger", "Sumac", "Paprika", "Fennel", "Anise", "Thyme"]
FIRST = [
    "Nadia", "Pablo", "Greta", "Ravi", "Simone", "Felix", "Anouk", "Mateo", "Ingrid", "Dario",
    "Celia", "Bruno",
]  # fmt: skip
LAST = [
    "Marchetti", "Dubois", "Santoro", "Hoffman", "Iyer", "Carvalho", "Romero", "Vogel", "Laurent",
    "Bianchi", "Serrano", "Keller",
]  # fmt: skip


def make_world(seed: int) -> World:
    rng = random.Random(seed)
    people = rng.sample([f"{first} {last}" for first in FIRST for last in LAST], 8)
    dishes = rng.sample([f"{style} {food}" for style in STYLES for food in FOODS], 14)
    spices = rng.sample([f"{shade} {spice}" for shade in SHADES for spice in SPICES], 12)
    cooks = {
        cook_id: {"cook": name, "phone": str(rng.randint(10000, 99999))}
        for cook_id, name in zip(_ids(rng, "K", 8), people, strict=True)
    }
    recipes = {
        recipe_id: {
            "dish": dish,
            "minutes": rng.randint(11, 190),
            "cook_id": rng.choice(list(cooks)),
            "spice": rng.choice(spices),
        }
        for recipe_id, dish in zip(_ids(rng, "D", 14), dishes, strict=True)
    }
    jars = {
        jar: {"spice": spice, "grams": rng.randint(5, 400), "price": rng.randint(101, 999) / 100}
        for jar, spice in zip(_ids(rng, "J", 12), spices, strict=True)
    }
    return {"cooks": cooks, "recipes": recipes, "jars": jars}


def find_recipe(world: World, dish: str) -> Any:
    return {"recipe_id": _find(world["recipes"], "dish", dish, "dish")}


def recipe_info(world: World, recipe_id: str) -> Any:
    recipe = _get(world["recipes"], recipe_id, "recipe")
    return {"minutes": recipe["minutes"], "cook_id": recipe["cook_id"], "spice": recipe["spice"]}


def cook_info(world: World, cook_id: str) -> Any:
    return _get(world["cooks"], cook_id, "cook")


def find_jar(world: World, spice: str) -> Any:
    return {"jar": _find(world["jars"], "spice", spice, "spice")}


def jar_info(world: World, jar: str) -> Any:
    row = _get(world["jars"], jar, "jar")
    return {"grams": row["grams"], "price": row["price"]}


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
