"""A kitchen: recipes, the cooks who made them, and jars of spice. All drawn from the seed."""

import random
from typing import Any

from tmcli import worlds

World = dict[str, dict[str, dict[str, Any]]]

STYLES = (
    "Creamy Crispy Roasted Spicy Pickled Braised Glazed Grilled Steamed Buttered Toasted Stuffed Charred "
    "Poached Candied Whipped Folded Layered Rustic Tangy Peppered Marinated Smothered Twice-Baked"
).split()
FOODS = [
    f"{food} {form}"
    for food in (
        "Leek Barley Salmon Turnip Mushroom Lentil Cabbage Chicken Pumpkin Noodle Bean Squash Parsnip Trout "
        "Spinach Chickpea Celery Duck Artichoke Polenta"
    ).split()
    for form in "Soup Stew Pie Salad Gratin Curry Roll Tart".split()
]
SHADES = (
    "Black White Pink Amber Dark Pale Smoky Sweet Wild Mild Bitter Sharp Toasted Sundried Mountain Island "
    "Highland Royal Rose Blue Cracked Aged"
).split()
SPICES = [
    f"{spice} {form}".strip()
    for spice in (
        "Pepper Cumin Saffron Clove Ginger Sumac Paprika Fennel Anise Thyme Cardamom Nutmeg Turmeric "
        "Coriander Tarragon Marjoram Oregano Caraway Juniper Galangal"
    ).split()
    for form in ("", "Seed", "Powder", "Flakes", "Leaf", "Salt", "Paste", "Oil")
]
FIRST = (
    "Nadia Pablo Greta Ravi Simone Felix Anouk Mateo Ingrid Dario Celia Bruno Ilaria Rocco Pilar Andreu "
    "Chiara Renzo Livia Tadeo Marisol Enzo Noemi Silvio"
).split()
LAST = [
    start + end
    for start in "Mar San Bel Ros Car Fer Gal Mon Pal Tor Val Vin Zan Lom Bar".split()
    for end in "chetti toro lini varo rante letto dero gano pone zini".split()
]


def make_world(seed: int) -> World:
    rng = random.Random(seed)
    spices = worlds.pairs(rng, SHADES, SPICES, 12)
    cooks = {
        cook_id: {"cook": name, "phone": str(worlds.whole(rng, 10000, 99999))}
        for cook_id, name in zip(worlds.ids(rng, "K", 8), worlds.pairs(rng, FIRST, LAST, 8), strict=True)
    }
    cook_ids = list(cooks)
    times = worlds.distinct(rng, 180, 14)
    recipes = {
        recipe_id: {
            "dish": dish,
            "time_min": 11 + time,
            "spice": spices[worlds.whole(rng, 0, 5)],  # half of the spices are in several dishes
            "cook_id": cook_ids[worlds.whole(rng, 0, 7)],
        }
        for recipe_id, dish, time in zip(
            worlds.ids(rng, "D", 14), worlds.pairs(rng, STYLES, FOODS, 14), times, strict=True
        )
    }
    jars = {
        jar: {
            "spice": spice,
            "stock_g": worlds.whole(rng, 5, 400),
            "price_eur": worlds.whole(rng, 101, 999) / 100,
            "best_before": worlds.date(rng, 2026, 2028),
            "restock": worlds.date(rng, 2025, 2026),
            "batch": rng.random(),
        }
        for jar, spice in zip(worlds.ids(rng, "J", 12), spices, strict=True)
    }
    return {"cooks": cooks, "recipes": recipes, "jars": jars}


def find_recipe(world: World, dish: str) -> Any:
    return {"recipe_id": worlds.find(world["recipes"], "dish", dish, "dish")}


def recipe_info(world: World, recipe_id: str) -> Any:
    recipe = worlds.get(world["recipes"], recipe_id, "recipe")
    return {key: recipe[key] for key in ("time_min", "spice", "cook_id")}


def list_recipes(world: World, ingredient: str) -> Any:
    wanted = worlds.plain(ingredient)
    found = [
        (recipe["time_min"], recipe_id)
        for recipe_id, recipe in world["recipes"].items()
        if recipe["spice"].casefold() == wanted
    ]
    if not found:
        raise LookupError(f"no recipe with {ingredient!r}")
    return {"recipe_ids": [recipe_id for _, recipe_id in sorted(found)]}


def cook_info(world: World, cook_id: str) -> Any:
    return dict(worlds.get(world["cooks"], cook_id, "cook"))


def find_jar(world: World, spice: str) -> Any:
    return {"jar": worlds.find(world["jars"], "spice", spice, "spice")}


def jar_info(world: World, jar: str) -> Any:
    row = worlds.get(world["jars"], jar, "jar")
    return {key: row[key] for key in ("stock_g", "price_eur", "best_before")}


def order_spice(world: World, jar: str, amount_g: int, deliver_on: str) -> Any:
    row = worlds.get(world["jars"], jar, "jar")
    if amount_g < 1:
        raise ValueError("amount_g must be at least 1")
    return {"order_no": worlds.code("SP", row["batch"], amount_g, worlds.day(deliver_on))}
