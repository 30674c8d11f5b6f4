"""Flights between cities, their planes, and passengers' tickets. All drawn from the seed."""

import random
from typing import Any

from tmcli import worlds

World = dict[str, dict[str, dict[str, Any]]]

STEMS = (
    "Maple Clear Oak Kings Brook Elder Alder Cedar Hazel Linden Willow Birch Rowan Juniper Poplar Spruce "
    "Sycamore Larch Beech Aspen Hickory Laurel Myrtle Walnut Chestnut Elm Holly Ivy Bracken Heather Fern "
    "Moss Reed Rush Sedge Clover Nettle Thistle Bramble Briar"
).split()
ENDS = [
    end + tail
    for end in "ford ville haven ton burg field mouth dale bury gate".split()
    for tail in ("", " Falls", " Heights", " Junction", " Crossing", " Springs", " Beach")
]
FIRST = (
    "Dana Miles Priya Kofi Lena Tomas Yuki Omar Bella Sven Rosa Ivan Astrid Malik Freya Nils Signe Anders "
    "Mei Tariq Solveig Rasmus Linnea Jonas"
).split()
LAST = [
    start + end
    for start in "Lind Berg Dahl Sand Holm Ek Strand Lund Ny Gran Sjo Ceder Bjork Hede Alm Ros Vester".split()
    for end in "gren strom qvist blad vall stedt mark fors ander gard".split()
]


def make_world(seed: int) -> World:
    rng = random.Random(seed)
    people = worlds.pairs(rng, FIRST, LAST, 18)
    cities = worlds.pairs(rng, STEMS, ENDS, 10, form="{}{}")
    planes = {
        plane_id: {"pilot": name, "seats": worlds.whole(rng, 40, 480)}
        for plane_id, name in zip(worlds.ids(rng, "P", 8), people[:8], strict=True)
    }
    plane_ids = list(planes)
    days = [worlds.date(rng, 2025, 2026) for _ in range(3)]
    prices = worlds.distinct(rng, 840, 14)
    flights = {
        flight_id: {
            "origin": cities[route // 7],  # out of three cities, to seven others
            "target": cities[3 + route % 7],
            "date": days[worlds.whole(rng, 0, 2)],
            "gate": f"{'CDE'[worlds.whole(rng, 0, 2)]}{worlds.whole(rng, 10, 60)}",
            "duration_min": worlds.whole(rng, 45, 700),
            "price_eur": 60 + price,
            "plane_id": plane_ids[worlds.whole(rng, 0, 7)],
            "fare": rng.random(),
        }
        for flight_id, route, price in zip(
            worlds.ids(rng, "F", 14), worlds.distinct(rng, 21, 14), prices, strict=True
        )
    }
    flight_ids = list(flights)
    tickets = {
        ticket: {
            "passenger": name,
            "seat": f"{worlds.whole(rng, 1, 45)}{'ABCDEF'[worlds.whole(rng, 0, 5)]}",
            "flight_id": flight_ids[worlds.whole(rng, 0, 13)],
        }
        for ticket, name in zip(worlds.ids(rng, "T", 10), people[8:], strict=True)
    }
    return {"planes": planes, "flights": flights, "tickets": tickets}


def find_flight(world: World, origin: str, target: str) -> Any:
    ends = worlds.plain(origin), worlds.plain(target)
    for flight_id, flight in world["flights"].items():
        if (flight["origin"].casefold(), flight["target"].casefold()) == ends:
            return {"flight_id": flight_id}
    raise LookupError(f"no flight from {origin!r} to {target!r}")


def list_departures(world: World, city: str, date: str) -> Any:
    when, where = worlds.day(date), worlds.plain(city)
    found = [
        {"flight_id": flight_id, "price_eur": flight["price_eur"]}
        for flight_id, flight in world["flights"].items()
        if flight["date"] == when and flight["origin"].casefold() == where
    ]
    return {"flights": sorted(found, key=lambda flight: flight["price_eur"])}


def flight_info(world: World, flight_id: str) -> Any:
    flight = worlds.get(world["flights"], flight_id, "flight")
    return {key: flight[key] for key in ("date", "gate", "duration_min", "price_eur", "plane_id")}


def plane_info(world: World, plane_id: str) -> Any:
    return dict(worlds.get(world["planes"], plane_id, "plane"))


def find_ticket(world: World, passenger: str) -> Any:
    return {"ticket": worlds.find(world["tickets"], "passenger", passenger, "passenger")}


def ticket_info(world: World, ticket: str) -> Any:
    row = worlds.get(world["tickets"], ticket, "ticket")
    return {"seat": row["seat"], "flight_id": row["flight_id"]}


def book_seat(world: World, flight_id: str, cabin: str) -> Any:
    flight = worlds.get(world["flights"], flight_id, "flight")
    return {"booking": worlds.code("BK", flight["fare"], cabin)}
