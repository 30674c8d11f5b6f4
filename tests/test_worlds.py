"""What worlds are made of: distinct, drawn from the seed alone, and found again."""

import datetime as dt
import random
import re
import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tmcli import worlds

SEEDS = st.integers(0, 2**32)
TABLE = {"B100": {"title": "Silent Harbor"}, "B200": {"title": "Crimson Mirror"}}


@given(SEEDS, st.integers(0, 90), st.integers(2, 5))
def test_ids_are_distinct(seed: int, n: int, digits: int) -> None:
    made = worlds.ids(random.Random(seed), "HX", n, digits)
    assert len(set(made)) == n
    assert all(re.fullmatch(rf"HX[1-9]\d{{{digits - 1}}}", each) for each in made)


@given(SEEDS, st.lists(st.text("abc", min_size=1), min_size=1, max_size=5, unique=True), st.integers(1, 5))
def test_pairs_are_distinct_combinations(seed: int, words: list[str], n: int) -> None:
    rights = [str(i) for i in range(n)]
    due = {f"{word}-{right}" for word in words for right in rights}
    made = worlds.pairs(random.Random(seed), words, rights, len(due), form="{}-{}")
    assert sorted(made) == sorted(due)


def test_more_than_there_is() -> None:
    with pytest.raises(ValueError, match="5 distinct things of 4"):
        worlds.pairs(random.Random(1), ["a", "b"], ["c", "d"], 5)


@given(SEEDS)
def test_dates_are_of_the_years_and_can_be_read_again(seed: int) -> None:
    made = worlds.date(random.Random(seed), 2024, 2025)
    assert dt.date(2024, 1, 1) <= dt.date.fromisoformat(made) <= dt.date(2025, 12, 31)
    assert worlds.day(f" {made} ") == made


@pytest.mark.parametrize(
    "text", ["", "?", "31/12/2024", "20241231", "2025-02-30", "2025-1-1", "2025-W01-1", "soon"]
)
def test_what_is_no_date(text: str) -> None:
    with pytest.raises(ValueError, match="dates are like 2025-03-31"):
        worlds.day(text)


@given(SEEDS, st.integers(-50, 50), st.integers(0, 50))
def test_whole_numbers_reach_both_ends(seed: int, least: int, more: int) -> None:
    assert least <= worlds.whole(random.Random(seed), least, least + more) <= least + more


def test_all_draws_are_even() -> None:
    rng = random.Random(1)
    drawn = [worlds.whole(rng, 1, 6) for _ in range(6000)]
    assert all(abs(drawn.count(face) - 1000) < 150 for face in range(1, 7))


@pytest.mark.parametrize("said", ["Silent Harbor", " silent  HARBOR", "SILENT HARBOR "])
def test_names_are_found_whatever_their_case(said: str) -> None:
    assert worlds.find(TABLE, "title", said, "book") == "B100"


def test_what_is_not_there() -> None:
    with pytest.raises(LookupError, match=r"^no book 'Emma'$"):
        worlds.find(TABLE, "title", "Emma", "book")
    with pytest.raises(LookupError, match=r"^no book 'B300'$"):
        worlds.get(TABLE, "B300", "book")


@given(st.integers(), st.text(), st.text())
def test_codes_tell_parts_apart(number: int, a: str, b: str) -> None:
    made = worlds.code("RC", number, a, b)
    assert made == worlds.code("RC", number, a, b)
    assert re.fullmatch(r"RC[1-9]\d{3}", made)


def test_codes_are_spread() -> None:
    assert len({worlds.code("RC", i) for i in range(1000)}) > 900


def test_same_draws_in_another_process() -> None:
    program = (
        "import random; from tmcli import worlds; rng = random.Random(5)\n"
        "print(worlds.ids(rng, 'B', 5), worlds.pairs(rng, 'ab', 'cd', 3), worlds.date(rng, 1990, 2030),"
        " worlds.code('X', rng.random(), 'ü'))"
    )
    said = {
        subprocess.run(
            [sys.executable, "-c", program], capture_output=True, check=True, env={"PYTHONHASHSEED": seed}
        ).stdout
        for seed in ("1", "2")
    }
    assert len(said) == 1
