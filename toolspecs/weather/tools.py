"""Weather stations, what they measured on three days, and alerts. All drawn from the seed."""

import datetime as dt
import random
from math import sqrt
from typing import Any

from tmcli import worlds

World = dict[str, dict[str, dict[str, Any]]]

LEFT = """
    Ibex Badger Chamois Falcon Heron Lynx Marten Beaver Bison Elk Moose Caribou Wolverine Weasel
    Squirrel Magpie Kestrel Buzzard Osprey Plover Curlew Grouse Pheasant Partridge Cuckoo Sparrow
    Swallow Starling Puma Cougar Jackal Coyote Mustang Bobcat Ocelot Panther Leopard Jaguar Viper
    Lizard Tortoise Salamander Toad Newt Crayfish Bullfrog Gopher Marmot Ferret Porcupine Granite
    Basalt Flint Slate
""".split()
RIGHT = """
    Escarpment Pass Summit Defile Notch Saddle Bluff Crag Peak Hillock Mesa Butte Plateau Slope Spur
    Ledge Gorge Ravine Gully Gulch Sinkhole Basin Glen Dell Lowland Pasture Prairie Peatland Heath
    Marsh Bog Fen Swamp Creek Cataract Rapids Weir Spring Pond Tarn Lagoon Delta Dunes Flats Steppe
    Tundra Glacier Moraine Cliff Hairpin Clearing Thicket
""".split()
HAZARDS = ("frost", "storm", "flood", "heatwave")
N_STATIONS = 10
MOST_NEAR = 5
TOP = 4


def make_world(seed: int) -> World:
    rng = random.Random(seed)
    places = worlds.pairs(rng, LEFT, RIGHT, N_STATIONS)
    altitudes = worlds.distinct(rng, 2900, N_STATIONS)
    stations = {
        station_id: {
            "place": place,
            "altitude_m": 12 + altitude,
            "running_since": worlds.date(rng, 1921, 2009),
            "x": rng.random() * 240,
            "y": rng.random() * 240,
        }
        for station_id, place, altitude in zip(
            worlds.ids(rng, "WS", N_STATIONS), places, altitudes, strict=True
        )
    }
    first = dt.date.fromisoformat(worlds.date(rng, 2018, 2025)).toordinal()
    days = [dt.date.fromordinal(first + offset).isoformat() for offset in (0, 1, 2)]
    readings = {}
    for day in days:
        temps = worlds.distinct(rng, 520, N_STATIONS)
        rains = worlds.distinct(rng, 700, N_STATIONS)
        winds = worlds.distinct(rng, 115, N_STATIONS)
        for station_id, temp, rain, wind in zip(stations, temps, rains, winds, strict=True):
            readings[f"{station_id} {day}"] = {
                "temp_c": (temp - 170) / 10,
                "rain_mm": rain / 10,
                "wind_kmh": 3 + wind,
            }
    return {
        "office": {"office": {"seed": seed}},
        "stations": stations,
        "days": {day: {"day": day} for day in days},
        "readings": readings,
    }


def station_at(world: World, place: str) -> Any:
    return {"station_id": worlds.find(world["stations"], "place", place, "station at")}


def station_profile(world: World, station_id: str) -> Any:
    row = worlds.get(world["stations"], station_id, "station")
    return {key: row[key] for key in ("place", "altitude_m", "running_since")}


def daily_reading(world: World, station_id: str, measured_on: str) -> Any:
    worlds.get(world["stations"], station_id, "station")
    return dict(_reading(world, station_id, _day(world, measured_on)))


def nearest_stations(world: World, station_id: str, how_many: int) -> Any:
    here = worlds.get(world["stations"], station_id, "station")
    if not 1 <= how_many <= MOST_NEAR:
        raise ValueError(f"how_many must be from 1 to {MOST_NEAR}")
    others = sorted(
        (round(sqrt((row["x"] - here["x"]) ** 2 + (row["y"] - here["y"]) ** 2), 1), other)
        for other, row in world["stations"].items()
        if other != station_id
    )
    return {
        "stations": [{"station_id": other, "distance_km": distance} for distance, other in others[:how_many]]
    }


def warmer_station(world: World, first_station: str, second_station: str, measured_on: str) -> Any:
    for station_id in (first_station, second_station):
        worlds.get(world["stations"], station_id, "station")
    day = _day(world, measured_on)
    if first_station == second_station:
        raise ValueError("first_station and second_station must be two stations")
    # Tenths of a degree: the difference of two floats would show its error.
    first, second = (
        round(_reading(world, station_id, day)["temp_c"] * 10)
        for station_id in (first_station, second_station)
    )
    warmer = first_station if first > second else second_station
    return {"warmer_station": warmer, "difference_c": abs(first - second) / 10}


def rank_by_rain(world: World, measured_on: str) -> Any:
    day = _day(world, measured_on)
    rain = {station_id: _reading(world, station_id, day)["rain_mm"] for station_id in world["stations"]}
    wettest = sorted(rain, key=lambda station_id: -rain[station_id])[:TOP]
    return {"ranking": [{"station_id": station_id, "rain_mm": rain[station_id]} for station_id in wettest]}


def set_alert(world: World, station_id: str, hazard: str) -> Any:
    """Set once, however often it is asked for: the same alert has the same code."""
    worlds.get(world["stations"], station_id, "station")
    kind = worlds.plain(hazard)
    if kind not in HAZARDS:
        raise ValueError(f"no hazard {hazard!r}; hazards are: {', '.join(HAZARDS)}")
    number = worlds.number(world["office"]["office"]["seed"], station_id, kind)
    return {"alert_code": f"{number:08X}"[:6]}


def _day(world: World, text: str) -> str:
    day = text.strip()
    if day not in world["days"]:
        raise LookupError(f"no reading on {text!r}; there are readings on: {', '.join(world['days'])}")
    return day


def _reading(world: World, station_id: str, day: str) -> dict[str, Any]:
    return world["readings"][f"{station_id} {day}"]
