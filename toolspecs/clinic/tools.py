"""A clinic: charts of patients, drugs, lab values, visits, physicians. All drawn from the seed."""

import random
from typing import Any

from tmcli import worlds

World = dict[str, dict[str, dict[str, Any]]]

FIRST = (
    "Amina Colin Fiona Jamal Petra Quentin Sofia Ulrich Wanda Zane Elise Gordon Katalin Bence Zsofia Imre "
    "Ilona Laszlo Piroska Andras Eniko Gabor Marta Zoltan"
).split()
LAST = [
    start + end
    for start in "Kov Bal Szab Nem Hor Far Mol Var Tak Sim Rac Fek Gul Dob Kert Luk".split()
    for end in "acs azsi ethy vath kasdi nary ossy ondi abany esik".split()
]
STARTS = "Bel Cor Dex Flu Lor Mel Nor Pra Tri Vel Xan Zor Lev Ket Sal Ami Oxi Ran Dol Pex".split()
STOPS = [
    middle + end
    for middle in "a i o u e ar il on um ev ac ox".split()
    for end in "tin mide xil van prol zine mab lol dex nib cor".split()
]
TESTS = ("iron", "sodium", "glucose", "calcium", "zinc", "lithium")


def make_world(seed: int) -> World:
    rng = random.Random(seed)
    people = worlds.pairs(rng, FIRST, LAST, 20)
    physicians = {
        physician_id: {"physician": name, "pager": str(worlds.whole(rng, 1000, 9999))}
        for physician_id, name in zip(worlds.ids(rng, "Y", 8), people[12:], strict=True)
    }
    drugs = {
        drug: {"dose_mg": worlds.whole(rng, 5, 500), "maker": maker}
        for drug, maker in zip(
            worlds.ids(rng, "X", 10), worlds.pairs(rng, STARTS, STOPS, 10, form="{}{}"), strict=True
        )
    }
    drug_ids, physician_ids = list(drugs), list(physicians)
    days = [worlds.date(rng, 2025, 2026) for _ in range(4)]
    minutes = worlds.distinct(rng, 108, 12)
    charts = {
        chart: {
            "patient": name,
            "weight_kg": worlds.whole(rng, 450, 1400) / 10,
            "drug": drug_ids[worlds.whole(rng, 0, 9)],
            "physician_id": physician_ids[worlds.whole(rng, 0, 7)],
            "next_visit": days[worlds.whole(rng, 0, 3)],
            "time": f"{8 + minute // 12:02}:{minute % 12 * 5:02}",
            "lab": {test: worlds.whole(rng, 20, 400) for test in TESTS},
            "pad": rng.random(),
        }
        for chart, name, minute in zip(worlds.ids(rng, "C", 12), people[:12], minutes, strict=True)
    }
    return {"physicians": physicians, "drugs": drugs, "charts": charts}


def find_chart(world: World, patient: str) -> Any:
    return {"chart": worlds.find(world["charts"], "patient", patient, "patient")}


def chart_info(world: World, chart: str) -> Any:
    row = worlds.get(world["charts"], chart, "chart")
    return {key: row[key] for key in ("weight_kg", "drug", "physician_id", "next_visit")}


def drug_info(world: World, drug: str) -> Any:
    return dict(worlds.get(world["drugs"], drug, "drug"))


def lab_value(world: World, chart: str, test: str) -> Any:
    row = worlds.get(world["charts"], chart, "chart")
    return {"value": row["lab"][test]}


def physician_info(world: World, physician_id: str) -> Any:
    return dict(worlds.get(world["physicians"], physician_id, "physician"))


def list_visits(world: World, day: str) -> Any:
    wanted = worlds.day(day)
    visits = [
        {"time": row["time"], "chart": chart}
        for chart, row in world["charts"].items()
        if row["next_visit"] == wanted
    ]
    return {"visits": sorted(visits, key=lambda visit: visit["time"])}


def refill_drug(world: World, chart: str, n_days: int) -> Any:
    row = worlds.get(world["charts"], chart, "chart")
    if not 1 <= n_days <= 365:
        raise ValueError("n_days must be from 1 to 365")
    return {"refill_no": worlds.code("RX", row["pad"], n_days)}
