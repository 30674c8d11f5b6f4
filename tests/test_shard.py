"""`--shard I/N`: parts that are disjoint, and together the whole."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from conftest import Tm
from hypothesis import given
from hypothesis import strategies as st
from players import sum_task
from shell import pipe, records

from tmcli.errors import UsageError
from tmcli.runner import jobs, shard

TASK = sum_task()


@given(ids=st.lists(st.integers(0, 30)), n=st.integers(1, 7), samples=st.integers(1, 3))
def test_parts_are_disjoint_and_together_the_whole(ids: list[int], n: int, samples: int) -> None:
    """Also where tasks come twice."""
    tasks = [replace(TASK, id=f"t{i}") for i in ids]
    parts = [list(jobs(tasks, samples, shard=(i, n))) for i in range(1, n + 1)]
    names = [job.task.id for part in parts for job in part]
    assert sorted(names) == sorted({task.id for task in tasks})
    assert max(map(len, parts)) - min(map(len, parts)) <= 1
    whole = [job.task.id for job in jobs(tasks, samples)]
    for i, part in enumerate(parts):
        assert [job.task.id for job in part] == whole[i::n]


@pytest.mark.parametrize(("text", "i", "n"), [("", 1, 1), ("1/1", 1, 1), (" 2 / 4 ", 2, 4), ("4/4", 4, 4)])
def test_parts_as_they_are_written(text: str, i: int, n: int) -> None:
    assert shard(text) == (i, n)


@pytest.mark.parametrize("text", ["0/4", "5/4", "1", "1/", "/2", "a/b", "1/2/3", "-1/2", "1.5/2", "²/3"])
def test_what_is_no_part(text: str) -> None:
    with pytest.raises(UsageError, match="is no part of a whole; write I/N"):
        shard(text)


def test_cat_joins_what_shards_made(tm: Tm, tmp_path: Path) -> None:
    """-n counts before the parts are made."""
    for i in (1, 2, 3):
        got = tm("synth", "-n", "7", "--samples", "2", "--shard", f"{i}/3", "-o", f"{i}.jsonl")
        assert got.returncode == 0, got.stderr
    assert [len(records((tmp_path / f"{i}.jsonl").read_bytes())) for i in (1, 2, 3)] == [6, 4, 4]
    whole = tm("synth", "-n", "7", "--samples", "2").stdout
    joined = pipe("cat 1.jsonl 2.jsonl 3.jsonl", tmp_path, {}).stdout
    assert sorted(joined.splitlines()) == sorted(whole.splitlines())


def test_a_part_may_be_empty(tm: Tm, tmp_path: Path) -> None:
    for name in ("x.jsonl", "x.jsonl.gz"):
        got = tm("synth", "-n", "2", "--shard", "3/3", "-o", name)
        assert got.returncode == 0, got.stderr
        assert b"nothing to do: none of the 2 tasks is of this shard" in got.stderr
    assert pipe("cat x.jsonl; zcat x.jsonl.gz", tmp_path, {}).stdout == b""
    none = tm("synth", "-n", "0", "-o", "y.jsonl")
    assert none.returncode == 2
    assert b"no tasks to play" in none.stderr


def test_a_part_that_is_none_is_one_sentence(tm: Tm, tmp_path: Path) -> None:
    got = tm("synth", "--shard", "3/2", "-o", "x.jsonl")
    assert got.returncode == 2
    assert b"--shard '3/2' is no part of a whole; write I/N, from 1/N to N/N" in got.stderr
    assert list(tmp_path.iterdir()) == []
