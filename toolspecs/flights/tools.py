"""Flights between cities, their planes, and passengers' tickets. All drawn from the seed."""

import random
from typing import Any

World = dict[str, dict[str, dict[str, Any]]]

STEMS = [
    "North", "Maple", "River", "Stone", "Green", "Lake", "Summer", "Eagle", "Clear", "Oak",
    "Winter", "Silver",
]  # fmt: skip
ENDS = ["ford", "ville", "haven", "ton", "burg", "field", "mouth", "dale", "bury", "gate"]
FIRST = ["Dana", "Miles", "Priya", "Kofi", "Lena", "Tomas", "Yuki", "Omar", "Bella", "Sven", "Rosa", "Ivan"]
LAST = [
    "Okafor", "Lindgren", "Castillo", "Novak", "Tanaka", "Brandt", "Moreau", "Haddad", "Kowalski",
    "Duarte", "Petrov", "Jansen",
]  # fmt: skip


def make_world(seed: int) -> World:
    rng = random.Random(seed)
    people = rng.sample([f"{first} {last}" for first in FIRST for last in LAST], 18)
    cities = rng.sample([stem + end for stem in STEMS for end in ENDS], 9)
    planes = {
        plane_id: {"pilot": name, "seats": rng.randint(40, 480)}
        for plane_id, name in zip(_ids(rng, "P", 8), people[:8], strict=True)
    }
    routes = rng.sample([(a, b) for a in cities for b in cities if a != b], 14)
    flights = {
        flight_id: {
            "origin": origin,
            "target": target,
            "gate": f"{rng.choice('CDE')}{rng.randint(10, 60)}",
            "price": rng.randint(60, 900),
            "plane_id": rng.choice(list(planes)),
        }
        for flight_id, (origin, target) in zip(_ids(rng, "F", 14), routes, strict=True)
    }
    tickets = {
        ticket: {
            "passenger": name,
            "seat": f"{rng.randint(1, 45)}{rng.choice('ABCDEF')}",
            "flight_id": rng.choice(list(flights)),
        }
        for ticket, name in zip(_ids(rng, "T", 10), people[8:], strict=True)
    }
    return {"planes": planes, "flights": flights, "tickets": tickets}


def find_flight(world: World, origin: str, target: str) -> Any:
    for flight_id, flight in world["flights"].items():
        if _same(flight["origin"], origin) and _same(flight["target"], target):
            return {"flight_id": flight_id}
    raise LookupError(f"no flight from {origin!r} to {target!r}")


def flight_info(world: World, flight_id: str) -> Any:
    flight = _get(world["flights"], flight_id, "flight")
    return {"gate": flight["gate"], "price": flight["price"], "plane_id": flight["plane_id"]}


def plane_info(world: World, plane_id: str) -> Any:
    return _get(world["planes"], plane_id, "plane")


def find_ticket(world: World, passenger: str) -> Any:
    return {"ticket": _find(world["tickets"], "passenger", passenger, "passenger")}


def ticket_info(world: World, ticket: str) -> Any:
    row = _get(world["tickets"], ticket, "ticket")
    return {"seat": row["seat"], "flight_id": row["flight_id"]}


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
