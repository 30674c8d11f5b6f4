"""A parcel service: parcels on their way, depots, distances and postage. All drawn from the seed."""

import datetime as dt
import random
from math import sqrt
from typing import Any

from tmcli import worlds

World = dict[str, dict[str, dict[str, Any]]]

FIRST = """
    Adelheid Annika Arend Bastiaan Bernd Brigitte Carsten Claudia Dieter Dietmar Elke Ewald Femke
    Floris Frauke Friedrich Gerda Gerrit Gisela Gunther Heike Heinz Hilde Holger Ilse Jelle Joost
    Jurgen Karin Klaas Konrad Lieselotte Lotte Lukas Maarten Manfred Marieke Meike Norbert Piet
    Reinhold Renske Rolf Sabine Sander Silke Theresia Torsten Uwe Waltraud Wiebke Wim
""".split()
LAST = """
    Achterberg Bachmann Baumgarten Bergmann Bleeker Boersma Bosman Brinkmann Buchholz Claasen Dekker
    Diederich Dijkstra Dressler Eberhardt Eisenberg Engelhardt Feldmann Fiedler Gerritsen Gottschalk
    Haverkamp Heemskerk Heinrichs Hofstra Holzmann Hoogland Huisman Jaeger Kaufmann Kirchner
    Klaassen Koopman Krause Kruger Kuiper Lammers Lindemann Maasdijk Mulder Nachtigall Neumann
    Niemeyer Oosterhuis Ostermann Pfeiffer Poelstra Postma Rademaker Reinhardt Roelofs Rosenthal
    Sandmann Schaefer Scholten Schreiber Seidel Sievers Steenstra Strohmeyer Terpstra Thielemann
    Uhlmann Veenstra Vermeulen Visser Vogelsang Waldmann Weidemann Wiersma Zimmermann
""".split()
STEMS = """
    Birken Buchen Eichen Erlen Fichten Kirsch Tannen Ulmen Weiden Hasel Rosen Nelken Distel Dorn
    Moos Stein Fels Schiefer Lehm Kies Salz Eisen Kupfer Silber Zinn Blei Adler Falken Habicht Reiher
    Storchen Schwalben Hirsch Reh Wolfs Baren Fuchs Dachs Iltis Biber Konigs Grafen Fursten Bischofs
    Monchs Nonnen Ritter Muhlen Brunnen Kloster
""".split()
ENDS = """
    heim hausen bach stadt kirchen dorf feld wald berg thal burg furt brunn rode roda leben stedt
    weiler hofen ingen beuren moor born see au eck fels hain horst hutte kamp koppel lohe mark matt
    reuth ried ruhe scheid schwand siel stetten tal teich walde wang wiese winkel zell werder
""".split()
SERVICES = ("economy", "standard", "express", "overnight")
N_NEAREST = 3
MOST_KG = 31.5


def make_world(seed: int) -> World:
    rng = random.Random(seed)
    towns = worlds.pairs(rng, STEMS, ENDS, 12, "{}{}")
    depots = {
        depot_id: {
            "depot_town": town,
            "opens_at": f"{5 + int(rng.random() * 5):02}:{5 * int(rng.random() * 12):02}",
            "daily_parcels": 200 + int(rng.random() * 9_000),
            "x": rng.random() * 300,
            "y": rng.random() * 300,
        }
        for depot_id, town in zip(worlds.ids(rng, "DP", 7), towns[:7], strict=True)
    }
    depot_ids = list(depots)
    receivers = worlds.pairs(rng, FIRST, LAST, 6)
    sent = dt.date.fromisoformat(worlds.date(rng, 2026, 2027)).toordinal()
    parcels = {}
    for i, tracking_no in enumerate(worlds.ids(rng, "PC", 16)):
        sent += 1 + int(rng.random() * 3)
        parcels[tracking_no] = {
            # Everybody gets a parcel; the further ones are for anybody.
            "receiver": receivers[i if i < 6 else int(rng.random() * 6)],
            "weight_kg": (20 + int(rng.random() * 2_900)) / 100,
            "depot_id": depot_ids[int(rng.random() * 7)],
            "due": sent + 2 + int(rng.random() * 9),
            "sent": sent,
        }
    base, rate = 280 + int(rng.random() * 200), 31 + int(rng.random() * 60)
    return {
        "counter": {"counter": {"seed": seed}},
        "towns": {town: {"x": rng.random() * 300, "y": rng.random() * 300} for town in towns[7:]},
        "depots": depots,
        "receivers": {name: {"receiver": name} for name in receivers},
        "parcels": parcels,
        # Cents a parcel, and cents a kilogram: each faster service is dearer in both.
        "tariffs": {
            service: {
                "base": base + 170 * step + int(rng.random() * 90),
                "per_kg": rate + 35 * step + int(rng.random() * 20),
            }
            for step, service in enumerate(SERVICES)
        },
    }


def parcels_for(world: World, receiver: str) -> Any:
    name = worlds.find(world["receivers"], "receiver", receiver, "parcel for")
    found = [key for key, row in world["parcels"].items() if row["receiver"] == name]
    return {"parcels": sorted(found, key=lambda key: -world["parcels"][key]["sent"])}


def track_parcel(world: World, tracking_no: str) -> Any:
    row = worlds.get(world["parcels"], tracking_no, "parcel")
    return {"depot_id": row["depot_id"], "weight_kg": row["weight_kg"], "due_on": _iso(row["due"])}


def depot_card(world: World, depot_id: str) -> Any:
    row = worlds.get(world["depots"], depot_id, "depot")
    return {key: row[key] for key in ("depot_town", "opens_at", "daily_parcels")}


def nearest_depots(world: World, town: str) -> Any:
    here = _place(world, town)
    distances = sorted(
        (round(sqrt((row["x"] - here["x"]) ** 2 + (row["y"] - here["y"]) ** 2), 1), depot_id)
        for depot_id, row in world["depots"].items()
    )
    return {
        "depots": [
            {"depot_id": depot_id, "distance_km": distance} for distance, depot_id in distances[:N_NEAREST]
        ]
    }


def quote_postage(world: World, weight_kg: float, parcel_service: str) -> Any:
    tariff = world["tariffs"][_service(parcel_service)]
    thousandths = tariff["base"] * 1_000 + tariff["per_kg"] * _grams(weight_kg)
    return {"postage_eur": (thousandths + 500) // 1_000 / 100}


def ship_parcel(world: World, depot_id: str, weight_kg: float, parcel_service: str, ship_on: str) -> Any:
    """Shipped once, however often it is asked for: the same parcel has the same label."""
    worlds.get(world["depots"], depot_id, "depot")
    grams, service = _grams(weight_kg), _service(parcel_service)
    day = worlds.day(ship_on)
    return {"label_code": f"L{_number(world, depot_id, grams, service, day) % 10**9:09}"}


def redirect_parcel(world: World, tracking_no: str, depot_id: str) -> Any:
    row = worlds.get(world["parcels"], tracking_no, "parcel")
    worlds.get(world["depots"], depot_id, "depot")
    if row["depot_id"] != depot_id:
        # Told by the day it was sent, so that the way there does not depend on earlier redirections.
        row["due"] = row["sent"] + 12 + _number(world, tracking_no, depot_id) % 25
        row["depot_id"] = depot_id
    return {"depot_id": depot_id, "due_on": _iso(row["due"])}


def _place(world: World, name: str) -> dict[str, Any]:
    """Where a town lies, with a depot or without."""
    wanted = worlds.plain(name)
    for town, row in world["towns"].items():
        if town.casefold() == wanted:
            return row
    return world["depots"][worlds.find(world["depots"], "depot_town", name, "town")]


def _service(name: str) -> str:
    if worlds.plain(name) not in SERVICES:
        raise ValueError(f"no service {name!r}; services are: {', '.join(SERVICES)}")
    return worlds.plain(name)


def _grams(weight_kg: float) -> int:
    if not 0.01 <= weight_kg <= MOST_KG:
        raise ValueError(f"weight_kg must be from 0.01 to {MOST_KG}")
    return round(weight_kg * 1_000)


def _iso(ordinal: int) -> str:
    return dt.date.fromordinal(ordinal).isoformat()


def _number(world: World, *about: Any) -> int:
    return worlds.number(world["counter"]["counter"]["seed"], *about)
