"""Near duplicates: likeness held against exact Jaccard, memory, and the same bytes everywhere."""

from __future__ import annotations

import random
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import Tm
from hypothesis import example, given
from hypothesis import strategies as st
from trajectories import call, lines, task, trajectory, turn

from tmcli.errors import UsageError
from tmcli.filters.near import SLOTS, CallKeys, NearSeen, WordKeys, bands_of
from tmcli.filters.view import View
from tmcli.filters.words import words
from tmcli.records import Trajectory, encode

RUN = WordKeys.run
WORDS = [f"w{i}" for i in range(5000)]


def view(one: Trajectory) -> View:
    return View.of(encode(one))


def shingles(text: list[str]) -> set[tuple[str, ...]]:
    return {tuple(text[i : i + RUN]) for i in range(len(text) - RUN + 1)}


def jaccard(one: list[str], other: list[str]) -> float:
    a, b = shingles(one), shingles(other)
    return len(a & b) / len(a | b)


def alike(rng: random.Random, n: int, due: float) -> tuple[list[str], list[str]]:
    """Two texts of n words, whose exact likeness is as near to `due` as single words allow."""
    one = rng.choices(WORDS, k=n)
    other = list(one)
    before = other
    for at in rng.sample(range(n), n):
        if jaccard(one, other) <= due:
            break
        before = list(other)
        other[at] = "changed"
    return one, min(other, before, key=lambda text: abs(jaccard(one, text) - due))


# ---- how well it tells ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("threshold", "likeness", "least", "most"),
    [
        (0.9, 0.98, 0.99, 1.0),
        (0.9, 0.95, 0.94, 1.0),
        (0.9, 0.80, 0.0, 0.02),
        (0.9, 0.70, 0.0, 0.0),
        (0.9, 0.30, 0.0, 0.0),
        (0.7, 0.80, 0.97, 1.0),
        (0.7, 0.60, 0.0, 0.07),
        (0.5, 0.65, 0.97, 1.0),
        (0.5, 0.30, 0.0, 0.02),
    ],
)
def test_what_is_found_at_a_known_likeness(
    threshold: float, likeness: float, least: float, most: float
) -> None:
    rng = random.Random(f"{threshold}{likeness}")
    keys = WordKeys(threshold)
    pairs = [alike(rng, 250, likeness) for _ in range(200)]
    made = keys.of_all([text for pair in pairs for text in pair])
    found = 0
    for one, other in zip(made[::2], made[1::2], strict=True):
        seen = NearSeen(threshold)
        seen.add(one)
        found += seen.near(other)
    assert least <= found / len(pairs) <= most


def test_the_estimate_is_not_off_on_average() -> None:
    rng = random.Random(0)
    keys = WordKeys(0.9)
    off = []
    for n, due in ((20, 0.5), (60, 0.7), (250, 0.3), (250, 0.9)):
        pairs = [alike(rng, n, due) for _ in range(150)]
        made = keys.of_all([text for pair in pairs for text in pair])
        for (a, b), one, other in zip(pairs, made[::2], made[1::2], strict=True):
            bits = int.from_bytes(one[: SLOTS // 8], "little") ^ int.from_bytes(other[: SLOTS // 8], "little")
            off.append(1 - 2 * bits.bit_count() / SLOTS - jaccard(a, b))
        assert abs(sum(off[-150:])) / 150 < 0.013  # three times the standard error of the mean


def test_of_unrelated_ones_none_is_lost_and_each_takes_few_bytes() -> None:
    rng = random.Random(1)
    n = 20_000
    keys, seen = WordKeys(0.9), NearSeen(0.9)
    for _ in range(n // 500):
        made = keys.of_all([rng.choices(WORDS, k=40) for _ in range(500)])
        assert not any(map(seen.seen, made))
    assert seen.nbytes / n < 80


@pytest.mark.parametrize(("threshold", "most"), [(0.95, 88), (0.8, 140), (0.5, 205)])
def test_bytes_of_one_that_is_kept(threshold: float, most: int) -> None:
    rng = random.Random(2)
    seen = NearSeen(threshold)
    size = SLOTS // 8 + 4 * bands_of(threshold)[0]
    for n in range(1, 9001):
        seen.add(rng.randbytes(size))
        if n > 8000:
            assert seen.nbytes / n < most


@pytest.mark.parametrize("threshold", [0.0, 0.49, 1.01, float("nan")])
def test_a_threshold_that_cannot_be_kept(threshold: float) -> None:
    with pytest.raises(UsageError, match=r"give a number from 0\.5 to 1"):
        NearSeen(threshold)


# ---- what must always hold -----------------------------------------------------------------------

texts = st.lists(st.sampled_from(["a", "b", "find", "7", "ß", "页"]), max_size=12)


@given(st.lists(texts, max_size=6))
@example([[], ["a"], []])
def test_blocks_do_not_matter(taken: list[list[str]]) -> None:
    for keys in (WordKeys(0.9), CallKeys(0.6)):
        assert keys.of_all(taken) == [keys.of_all([one])[0] for one in taken]
        assert [key == b"" for key in keys.of_all(taken)] == [not one for one in taken]


@given(texts.filter(bool), texts.filter(bool), st.sampled_from([0.5, 0.8, 0.9, 1.0]))
def test_the_same_shingles_are_always_found(one: list[str], other: list[str], threshold: float) -> None:
    seen, keys = NearSeen(threshold), CallKeys(threshold)
    first, again, longer = keys.of_all([one, one[::-1] + one, one + other])
    assert not seen.seen(first)
    assert seen.seen(first)
    assert seen.seen(again)
    if set(other) <= set(one):
        assert seen.seen(longer)


def test_what_was_remembered_long_ago_is_found() -> None:
    rng = random.Random(3)
    keys, seen = WordKeys(0.9), NearSeen(0.9)
    first = keys.of_all([rng.choices(WORDS, k=30) for _ in range(100)])
    rest = keys.of_all([rng.choices(WORDS, k=30) for _ in range(12_000)])
    for key in first + rest:
        seen.add(key)
    assert all(map(seen.near, first))


def test_the_same_bytes_on_every_machine() -> None:
    script = (
        "from tmcli.filters.near import *\n"
        "texts = [f'w{i * i * i % 9973}' for i in range(3000)]\n"
        "print(*(kind(j).of_all([texts])[0].hex() for kind in (WordKeys, CallKeys) for j in (0.9, 0.7)))"
    )
    said = {
        subprocess.run(
            [sys.executable, "-c", script],
            env={"PYTHONHASHSEED": seed, "RAYON_NUM_THREADS": threads, "RENSA_FORCE_KERNEL": kernel},
            capture_output=True,
            text=True,
            check=True,
            timeout=60,
        ).stdout
        for seed, threads, kernel in (("1", "1", ""), ("2", "2", "scalar"))
    }
    assert len(said) == 1
    # from another day and machine: a change here changes what `tm filter` keeps
    assert said.pop().split()[0][:32] == "07d75b59b2967a8bf61670db8dfe1483"


def test_words() -> None:
    assert (
        words("Find_Book(title='Emma')") == words("find book TITLE emma") == ["find", "book", "title", "emma"]
    )
    assert words("ＣＡＦÉ, naïve—it’s") == ["café", "naïve", "it", "s"]
    assert words("Straße") == words("STRASSE")
    assert words(" \n\t.,") == words("…“”") == []


# ---- of trajectories, and in a pipe --------------------------------------------------------------


def told(*said: str, title: str = "Emma") -> Trajectory:
    return trajectory([turn("execution", call(title=title), content=text) for text in said])


LONG = " ".join(f"step {i} looks at shelf {i * 7 % 31}" for i in range(40))


def test_the_question_what_was_said_and_the_calls_count_the_replies_do_not() -> None:
    keys = WordKeys(0.9)
    one = keys.of(view(told(LONG)))
    assert (
        keys.of(view(trajectory([turn("execution", call(title="Emma", reply="else"), content=LONG)]))) == one
    )
    assert keys.of(view(told(LONG, title="Persuasion"))) != one
    assert keys.of(view(told(LONG + " and more"))) != one
    asked = trajectory([turn("execution", call(title="Emma"), content=LONG)], task=task(1))
    assert keys.of(view(asked)) != one


def test_calls_are_compared_by_name_and_arguments_in_any_order_of_keys() -> None:
    keys = CallKeys(0.9)
    one = keys.of(view(trajectory([turn("execution", call(a=1, b=2), call(c=3))])))
    assert keys.of(view(trajectory([turn("execution", call(b=2, a=1)), turn("execution", call(c=3))]))) == one
    assert keys.of(view(trajectory([turn("execution", call(c=3), call(a=1, b=2))]))) != one
    assert keys.of(view(trajectory([turn("execution")]))) == b""


def test_near_duplicates_in_a_pipe(tm: Tm, tmp_path: Path) -> None:
    first = told(LONG)
    near = told(LONG.replace("shelf 0", "rack 0", 1))
    other = told(" ".join(f"then box {i * 3} is opened again" for i in range(40)))
    file = tmp_path / "in.jsonl"
    file.write_text(lines(first, near, other, first))
    done = tm("filter", file, "--preset", "off", "--rule", "near_duplicate=0.9")
    assert done.stdout.decode() == lines(first, other)
    assert b"near_duplicate" in done.stderr
    two = tm("filter", file, "--preset", "off", "--rule", "near_duplicate=0.9", "-j", "2")
    assert two.stdout == done.stdout
    calls = tm("filter", file, "--preset", "off", "--rule", "near_calls=0.9")
    assert calls.stdout.decode() == lines(first)
    wrong = tm("filter", file, "--rule", "near_duplicate=0.2")
    assert wrong.returncode == 2
    assert b"0.5 to 1" in wrong.stderr
