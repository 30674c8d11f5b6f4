"""Journals: a file that grows as episodes end, ordered at the end, written by one run alone."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from dataclasses import replace
from pathlib import Path

import pytest
from conftest import Tm, environment
from hypothesis import given
from hypothesis import strategies as st
from trajectories import trajectory as made

from tmcli.errors import InputError, OutputError
from tmcli.journal import open_journal
from tmcli.records import Trajectory, encode

FORMS = ["x.jsonl", "x.jsonl.gz", "x.jsonl.zst", "x.parquet"]


def played(task: str, sample: int = 0, **more: object) -> Trajectory:
    return replace(made(), **({"id": f"{task}#{sample}", "policy": {"key": "k"}} | more))  # type: ignore[arg-type]


def write(path: Path, tasks: str, records: list[Trajectory], **options: bool) -> None:
    """Tasks come in the order of the letters, records as they are listed."""
    with open_journal(str(path), key="k", **options) as journal:
        assert not journal.ordered
        for task in tasks:
            journal.order.add(task)
        for record in records:
            if record.id not in journal.done:
                journal.write(record)


def lines(*records: Trajectory) -> bytes:
    return b"".join(encode(record) + b"\n" for record in records)


IN_ORDER = [played("b", 0), played("b", 1), played("b", 10), played("a"), played("c")]


@given(st.permutations(IN_ORDER), st.integers(0, len(IN_ORDER)))
def test_however_they_ended_the_file_is_in_the_order_of_the_input(ended: list[Trajectory], cut: int) -> None:
    """Also where a first run got only so far."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "x.jsonl")
        path.write_bytes(lines(*ended[:cut]))
        write(path, "bac", ended, resume=True)
        assert path.read_bytes() == lines(*IN_ORDER)
        assert os.listdir(folder) == ["x.jsonl"]


@pytest.mark.parametrize("name", FORMS)
def test_the_bytes_do_not_tell_how_they_ended(name: str, tmp_path: Path) -> None:
    write(tmp_path / name, "bac", IN_ORDER)
    whole = (tmp_path / name).read_bytes()
    write(tmp_path / name, "bac", IN_ORDER[::-1], force=True)
    assert (tmp_path / name).read_bytes() == whole
    assert os.listdir(tmp_path) == [name]


def test_unordered_stays_as_it_ended(tmp_path: Path) -> None:
    write(tmp_path / "x.jsonl", "bac", IN_ORDER[::-1], ordered=False)
    assert (tmp_path / "x.jsonl").read_bytes() == lines(*IN_ORDER[::-1])


def test_records_of_other_tasks_stay_behind(tmp_path: Path) -> None:
    path = tmp_path / "x.jsonl"
    path.write_bytes(lines(played("z"), played("y"), played("c")))
    write(path, "ac", [played("a")], resume=True)
    assert path.read_bytes() == lines(played("a"), played("c"), played("z"), played("y"))


def test_what_is_done_and_was_it_right(tmp_path: Path) -> None:
    path = tmp_path / "x.jsonl"
    right, wrong = played("a", 0, scores={"answer": 1.0}), played("a", 1, scores={"answer": 0.0})
    path.write_bytes(lines(right, wrong, played("b", scores={}), played("c", status="invalid")))
    with open_journal(str(path), key="k", resume=True) as journal:
        done = journal.done
        assert [done.is_right(name) for name in ("a#0", "a#1", "b#0")] == [True, False, False]
        assert [name in done for name in ("a#1", "b#0", "c#0")] == [True, True, False]
    assert path.read_bytes() == lines(right, wrong, played("b", scores={}))


def test_a_last_line_that_lacks_its_end_alone_is_kept(tmp_path: Path) -> None:
    path = tmp_path / "x.jsonl"
    path.write_bytes(lines(*IN_ORDER)[:-1])
    write(path, "bac", [], resume=True)
    assert path.read_bytes() == lines(*IN_ORDER)


@pytest.mark.parametrize("tail", [b'{"kind":"traj', b'{"kind":"trajectory","v":1,"id":"q', b"\0" * 100])
def test_a_torn_end_is_cut_off(tail: bytes, tmp_path: Path) -> None:
    path = tmp_path / "x.jsonl"
    path.write_bytes(lines(*IN_ORDER) + tail)
    write(path, "bac", [], resume=True)
    assert path.read_bytes() == lines(*IN_ORDER)


@pytest.mark.parametrize("text", [b"my notes", b"my notes\n", b'{"kind":"task"', b"[1]", b"\x80\x81"])
def test_a_file_of_somebody_else_is_left_alone(text: bytes, tmp_path: Path) -> None:
    path = tmp_path / "x.jsonl"
    path.write_bytes(text)
    with pytest.raises(InputError, match=r"x\.jsonl:1: "):
        write(path, "", [], resume=True)
    assert path.read_bytes() == text


@pytest.mark.parametrize("name", FORMS)
@pytest.mark.parametrize("option", ["resume", "force", None])
def test_two_runs_never_write_to_one_file(option: str | None, name: str, tmp_path: Path) -> None:
    path = tmp_path / name
    with open_journal(str(path), key="k") as journal:
        journal.write(IN_ORDER[0])
        with pytest.raises(OutputError, match=r"is being written by another run|exists; use --resume"):
            write(path, "", [], **({option: True} if option else {}))
        journal.write(IN_ORDER[1])
    write(path, "b", [], resume=True)
    assert os.listdir(tmp_path) == [name]


def test_the_second_run_is_told_so(tm: Tm, tmp_path: Path) -> None:
    words = ["-m", "tmcli", "synth", "-n", "100000", "-o", "x.jsonl"]
    with subprocess.Popen(
        [sys.executable, *words], cwd=tmp_path, env=environment(), stderr=subprocess.DEVNULL
    ) as first:
        while not ((tmp_path / "x.jsonl").exists() and (tmp_path / "x.jsonl").stat().st_size):
            assert first.poll() is None
        second = tm("synth", "-n", "3", "-o", "x.jsonl", "--resume")
        first.kill()
    assert second.returncode == 2
    assert b"x.jsonl is being written by another run; let that one end" in second.stderr
    assert tm("synth", "-n", "3", "-o", "x.jsonl", "--resume").returncode == 0


def test_where_it_cannot_be_ordered_it_is_complete(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """No room for a second copy: a folder stands in its way."""
    (tmp_path / ".x.jsonl.order.tmp").mkdir()
    write(tmp_path / "x.jsonl", "bac", IN_ORDER[::-1])
    assert (tmp_path / "x.jsonl").read_bytes() == lines(*IN_ORDER[::-1])
    assert "is complete, but in the order in which the episodes ended" in capsys.readouterr().err


def test_a_link_stays_a_link_and_rights_stay(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "x.jsonl").symlink_to("real/y.jsonl")
    write(tmp_path / "x.jsonl", "b", [])
    (tmp_path / "real" / "y.jsonl").write_bytes(lines(*IN_ORDER[::-1]))
    (tmp_path / "real" / "y.jsonl").chmod(0o640)
    write(tmp_path / "x.jsonl", "bac", [], resume=True)
    assert (tmp_path / "x.jsonl").is_symlink()
    assert (tmp_path / "real" / "y.jsonl").read_bytes() == lines(*IN_ORDER)
    assert (tmp_path / "real" / "y.jsonl").stat().st_mode & 0o777 == 0o640


def test_what_a_killed_run_left_half_written_goes(tmp_path: Path) -> None:
    for name in (".x.jsonl.order.tmp", ".x.jsonl.1234.tmp", ".x.jsonl.mine.tmp"):
        (tmp_path / name).touch()
    write(tmp_path / "x.jsonl", "bac", IN_ORDER)
    assert sorted(os.listdir(tmp_path)) == [".x.jsonl.mine.tmp", "x.jsonl"]


@pytest.mark.parametrize("name", FORMS)
@pytest.mark.parametrize("how", ["remove", "move", "replace", "empty", "append"])
@pytest.mark.parametrize("more", [[IN_ORDER[0]], []])
def test_a_file_that_somebody_takes_away_stops_the_run(
    name: str, how: str, more: list[Trajectory], tmp_path: Path
) -> None:
    """At the next record or at the end, and nothing is said to be kept."""
    grows = tmp_path / (name if name == "x.jsonl" else f"{name}.part")

    def run() -> None:
        with open_journal(str(tmp_path / name), key="k") as journal:
            journal.write(IN_ORDER[1])
            if how in ("move", "replace"):
                grows.rename(tmp_path / "y")
            if how == "remove":
                grows.unlink()
            if how in ("replace", "empty"):
                grows.write_bytes(b"")
            if how == "append":
                grows.write_bytes(grows.read_bytes() + b"mine")
            for record in more:
                journal.write(record)

    with pytest.raises(OutputError, match="was removed, moved or changed while this run") as told:
        run()
    assert not hasattr(told.value, "__notes__")
    assert grows.exists() == (how not in ("remove", "move"))
    if how == "move":
        assert (tmp_path / "y").read_bytes() == lines(IN_ORDER[1])


@pytest.mark.slow
def test_memory_of_a_long_run(tmp_path: Path) -> None:
    """Of 20,000 episodes that ended in disorder, less than 100 bytes each, also at the end and resumed."""
    import random
    import tracemalloc

    n = 20_000
    ended = random.Random(0).sample(range(n), n)
    short = played("x", messages=[], turns=[], tools=[])
    for resume in (False, True):
        tracemalloc.start()
        try:
            with open_journal(str(tmp_path / "x.jsonl"), key="k", resume=resume) as journal:
                assert len(journal.done) == (n if resume else 0)
                for i in range(n):
                    journal.order.add(f"{i:016x}")
                for i in () if resume else ended:
                    journal.write(replace(short, id=f"{i:016x}#0"))
            most = tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()
        assert most < n * 100 + 100_000
