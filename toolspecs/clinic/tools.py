"""A clinic: charts of patients, drugs, lab values, physicians. All drawn from the seed."""

import random
from typing import Any

World = dict[str, dict[str, dict[str, Any]]]

FIRST = [
    "Amina", "Colin", "Fiona", "Jamal", "Petra", "Quentin", "Sofia", "Ulrich", "Wanda", "Zane",
    "Elise", "Gordon",
]  # fmt: skip
LAST = [
    "Abbott", "Calloway", "Drummond", "Ferris", "Gupta", "Holloway", "Ibrahim", "Kendrick",
    "Lockhart", "Mbeki", "Norwood", "Prescott",
]  # fmt: skip
STARTS = ["Bel", "Cor", "Dex", "Flu", "Lor", "Mel", "Nor", "Pra", "Tri", "Vel", "Xan", "Zor"]
STOPS = ["atin", "omide", "axil", "evan", "iprol", "ozine", "umab", "alol"]
TESTS = ["iron", "sodium", "glucose", "calcium"]


def make_world(seed: int) -> World:
    rng = random.Random(seed)
    people = rng.sample([f"{first} {last}" for first in FIRST for last in LAST], 12)
    surnames = rng.sample(LAST, 8)
    makers = rng.sample([start + stop for start in STARTS for stop in STOPS], 10)
    physicians = {
        physician_id: {"surname": surname, "pager": str(rng.randint(1000, 9999))}
        for physician_id, surname in zip(_ids(rng, "Y", 8), surnames, strict=True)
    }
    drugs = {
        drug: {"dose": rng.randint(5, 500), "maker": maker}
        for drug, maker in zip(_ids(rng, "X", 10), makers, strict=True)
    }
    charts = {
        chart: {
            "patient": name,
            "weight": rng.randint(45, 140),
            "drug": rng.choice(list(drugs)),
            "physician_id": rng.choice(list(physicians)),
            "lab": {test: rng.randint(20, 400) for test in TESTS},
        }
        for chart, name in zip(_ids(rng, "C", 12), people, strict=True)
    }
    tests = {
        f"{chart}-{test}": {"patient": row["patient"], "test": test}
        for chart, row in charts.items()
        for test in TESTS
    }
    return {"physicians": physicians, "drugs": drugs, "charts": charts, "tests": tests}


def find_chart(world: World, patient: str) -> Any:
    return {"chart": _find(world["charts"], "patient", patient, "patient")}


def chart_info(world: World, chart: str) -> Any:
    row = _get(world["charts"], chart, "chart")
    return {"weight": row["weight"], "drug": row["drug"], "physician_id": row["physician_id"]}


def drug_info(world: World, drug: str) -> Any:
    return _get(world["drugs"], drug, "drug")


def lab_value(world: World, chart: str, test: str) -> Any:
    values = _get(world["charts"], chart, "chart")["lab"]
    if test.casefold() not in values:
        raise ValueError(f"no test {test!r}; tests are: {', '.join(values)}")
    return {"value": values[test.casefold()]}


def physician_info(world: World, physician_id: str) -> Any:
    return _get(world["physicians"], physician_id, "physician")


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
