"""A harbor: vessels and their cargo, berths, and the clocks of other ports. All drawn from the seed."""

import datetime as dt
import random
import re
from typing import Any

from tmcli import worlds

World = dict[str, dict[str, dict[str, Any]]]

LEFT = """
    Northern Southern Eastern Western Arctic Atlantic Pacific Baltic Caspian Adriatic Aegean Ionian
    Tyrrhenian Celtic Nordic Polar Tropical Trade Stormy Windward Leeward Seaward Offshore Roaming
    Questing Cruising Gliding Sailing Racing Vaulting Diving Soaring Rolling Tireless Steadfast
    Dauntless Intrepid Valiant Gallant Resolute Loyal Cheerful Dutiful Prudent Merry Jolly Bonny
    Saucy Plucky Brisk Nimble Swift
""".split()
RIGHT = """
    Petrel Albatross Gannet Cormorant Puffin Guillemot Fulmar Shearwater Tern Skua Kittiwake Pelican
    Dolphin Porpoise Narwhal Beluga Orca Walrus Seal Sturgeon Marlin Swordfish Barracuda Tuna
    Mackerel Herring Halibut Turbot Cod Lobster Nautilus Anemone Starfish Seahorse Mermaid Triton
    Neptune Poseidon Nereid Siren Trident Anchor Rudder Keel Mast Spinnaker Topsail Mainsail Bowline
    Capstan Sextant Voyager
""".split()
STEMS = """
    Skar Tor Hald Grim Bruna Kol Ulv Orm Rav Hest Svan Lund Ask Strom Eld Is Sno Vind Rein Bjorn
    Falk Hauk Lax Torsk Sild Kval Selj Furu Gran Bjork Eik Alm Rogn Tind Nut Fjell Hei Myr Elv Foss
    Vatn Tjorn Dal Skog Hell Mol Leir Malm Jern Solv
""".split()
ENDS = """
    vik sund havn nes oya fjord holm skjer vag bukt odden stranda bygda vang stad set land voll tun
    gjerde rud torp lia asen haugen knatten toppen berget dalen elva fossen moen myra sletta bakken
    hamna kaia brygga molo tangen tarnet leia rasa stoa vika kilen pollen renna grunnen flua
""".split()
FIRST = """
    Aidan Ailsa Alasdair Angus Aoife Brendan Brigid Callum Catriona Cormac Declan Deirdre Dermot
    Donal Dougal Eamon Eilidh Eoin Ewan Fergus Fionn Gavin Grania Hamish Iain Isla Keira Kenna
    Lachlan Lorcan Mairead Malcolm Moira Morag Niall Niamh Oonagh Padraig Ronan Rory Ruairi Saoirse
    Seamus Shona Siobhan Sorcha Struan Tavish
""".split()
LAST = """
    Abercrombie MacAllister MacBride MacCallum MacDougall MacEwan MacFarlane MacGillivray MacInnes
    MacKinnon MacLaren MacNaughton MacPhail MacQuarrie MacRae Brannigan Cairns Callaghan Carmody
    Carrick Cassidy Cavanagh Conroy Corcoran Corrigan Costello Cullen Dalgleish Delaney Devlin
    Docherty Donnelly Donoghue Dunleavy Fagan Farquhar Finnegan Flaherty Flanagan Gallagher
    Galbraith Geraghty Gilchrist Gillespie Hanrahan Heaney Hennessy Keane Kearney Kinsella Lafferty
    Lamont Lanigan Maguire Mahoney Moriarty Mulligan Mulvaney Nairn Noonan Quigley Rafferty Riordan
    Scanlon Sheehan Strachan Sweeney
""".split()
GOODS = """
    timber cement gravel bauxite phosphate potash fertilizer grain maize soybeans syrup molasses
    coffee cocoa latex cotton wool newsprint pulp scrap ingots pipes girders cables tyres tractors
    bitumen kerosene methanol gypsum limestone quartz
""".split()
N_BERTHS = 14


def make_world(seed: int) -> World:
    rng = random.Random(seed)
    ports = worlds.pairs(rng, STEMS, ENDS, 6, "{}{}")
    # Quarters of an hour, so far from here that no port has the harbor's own time.
    offsets = [(1 if rng.random() < 0.5 else -1) * (2 + int(rng.random() * 42)) for _ in ports]
    captains = worlds.pairs(rng, FIRST, LAST, 9)
    lengths, draughts = worlds.distinct(rng, 2_400, 9), worlds.distinct(rng, 70, 9)
    vessels = {}
    for i, (hull_no, vessel) in enumerate(
        zip(worlds.ids(rng, "VS", 9), worlds.pairs(rng, LEFT, RIGHT, 9), strict=True)
    ):
        n_goods = 2 + int(rng.random() * 4)
        tonnes = sorted(worlds.distinct(rng, 5_000, n_goods), reverse=True)
        vessels[hull_no] = {
            "vessel": vessel,
            "home_port": ports[int(rng.random() * 6)],
            "length_m": (310 + lengths[i]) / 10,
            "draught_m": (33 + draughts[i]) / 10,
            "captain": captains[i],
            "cargo": [
                {"goods": GOODS[number], "tonnes": 20 + weight}
                for number, weight in zip(worlds.distinct(rng, len(GOODS), n_goods), tonnes, strict=True)
            ],
        }
    today = dt.date.fromisoformat(worlds.date(rng, 2026, 2027)).toordinal()
    # The last berth is deep enough for every vessel.
    depths = [*(31 + depth for depth in worlds.distinct(rng, 75, N_BERTHS - 1)), 106 + int(rng.random() * 40)]
    fees = worlds.distinct(rng, 30_000, N_BERTHS)
    berths = {
        berth_no: {
            "depth_m": depth / 10,
            "free_from": dt.date.fromordinal(today + int(rng.random() * 60)).isoformat(),
            "crane_t": 5 + int(rng.random() * 140),
            "fee_eur": (9_000 + fee) / 100,
        }
        for berth_no, depth, fee in zip(worlds.ids(rng, "QB", N_BERTHS), depths, fees, strict=True)
    }
    return {
        "pier": {"pier": {"seed": seed}},
        "ports": {port: {"port": port, "quarters": o} for port, o in zip(ports, offsets, strict=True)},
        "vessels": vessels,
        "berths": berths,
        # Days on which every berth is free.
        "arrivals": {
            dt.date.fromordinal(today + 60 + day).isoformat(): {} for day in worlds.distinct(rng, 200, 5)
        },
    }


def look_up_vessel(world: World, vessel: str) -> Any:
    hull_no = worlds.find(world["vessels"], "vessel", vessel, "vessel")
    return {"hull_no": hull_no, "home_port": world["vessels"][hull_no]["home_port"]}


def vessel_sheet(world: World, hull_no: str) -> Any:
    row = worlds.get(world["vessels"], hull_no, "vessel")
    return {key: row[key] for key in ("length_m", "draught_m", "captain")}


def cargo_manifest(world: World, hull_no: str) -> Any:
    row = worlds.get(world["vessels"], hull_no, "vessel")
    return {"cargo": [dict(item) for item in row["cargo"]]}


def berths_deeper_than(world: World, depth_m: float) -> Any:
    found = [
        {"berth_no": berth_no, "depth_m": row["depth_m"]}
        for berth_no, row in world["berths"].items()
        if row["depth_m"] > depth_m
    ]
    return {"berths": sorted(found, key=lambda hit: hit["depth_m"])}


def berth_sheet(world: World, berth_no: str) -> Any:
    row = worlds.get(world["berths"], berth_no, "berth")
    return {key: row[key] for key in ("free_from", "crane_t", "fee_eur")}


def port_clock(world: World, port: str, harbor_time: str) -> Any:
    row = world["ports"][worlds.find(world["ports"], "port", port, "port")]
    told = re.fullmatch(r"([01]?\d|2[0-3]):([0-5]\d)", harbor_time.strip(), re.ASCII)
    if not told:
        raise ValueError(f"harbor_time must be a time like 14:05, not {harbor_time!r}")
    minutes = (int(told[1]) * 60 + int(told[2]) + 15 * row["quarters"]) % (24 * 60)
    return {"local_time": f"{minutes // 60:02}:{minutes % 60:02}"}


def request_mooring(world: World, hull_no: str, berth_no: str, arrive_on: str) -> Any:
    """Granted once, however often it is asked for: the same wish has the same code."""
    vessel = worlds.get(world["vessels"], hull_no, "vessel")
    berth = worlds.get(world["berths"], berth_no, "berth")
    day = worlds.day(arrive_on)
    if vessel["draught_m"] >= berth["depth_m"]:
        raise ValueError(f"vessel draws {vessel['draught_m']} m, the berth is only {berth['depth_m']} m deep")
    if day < berth["free_from"]:
        raise ValueError(f"berth {berth_no!r} is free only from {berth['free_from']}")
    number = worlds.number(world["pier"]["pier"]["seed"], hull_no, berth_no, day)
    return {"mooring_code": f"MO{number % 10_000:04}-{number // 10_000 % 100:02}"}
