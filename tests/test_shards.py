"""`--records-per-file`: a set of files that appears together, or not at all."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from trajectories import task, trajectory

from tmcli import io
from tmcli.errors import OutputError, UsageError
from tmcli.records import Trajectory, encode


def several(n: int) -> list[Trajectory]:
    return [trajectory(task=task(i)) for i in range(n)]


def write(path: Path, records: list[Trajectory], per_file: int, *, force: bool = False) -> None:
    with io.open_output(str(path), force=force, per_file=per_file) as out:
        for record in records:
            out.write_line(encode(record))


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def read(folder: Path) -> list[bytes]:
    return [encode(record) for name in names(folder) for record in io.read(str(folder / name))]


@pytest.mark.parametrize("suffix", [".jsonl", ".jsonl.gz", ".jsonl.zst", ".parquet", ""])
def test_files_of_n_records_in_order_hold_what_one_file_would(tmp_path: Path, suffix: str) -> None:
    records = several(7)
    write(tmp_path / f"out.v2{suffix}", records, 3)
    assert names(tmp_path) == [f"out.v2-0000{i}{suffix}" if suffix else f"out-0000{i}.v2" for i in range(3)]
    assert read(tmp_path) == [encode(record) for record in records]


@given(n=st.integers(0, 9), per_file=st.integers(1, 5))
def test_every_file_but_the_last_is_full(
    tmp_path_factory: pytest.TempPathFactory, n: int, per_file: int
) -> None:
    folder = tmp_path_factory.mktemp("shards")
    write(folder / "out.jsonl", several(n), per_file)
    sizes = [len(list(io.read(str(folder / name)))) for name in names(folder)]
    assert sizes[:-1] == [per_file] * (len(sizes) - 1)
    assert 0 < sizes[-1] <= per_file if n else sizes == [0]
    assert sum(sizes) == n


def test_a_file_of_an_earlier_set_is_refused_before_anything_is_written(tmp_path: Path) -> None:
    write(tmp_path / "out.jsonl", several(2), 1)
    (tmp_path / "out-00000.jsonl").unlink()
    with pytest.raises(OutputError, match=r"out-00001.jsonl exists; use --force"):
        write(tmp_path / "out.jsonl", several(1), 1)
    assert names(tmp_path) == ["out-00001.jsonl"]


def test_force_replaces_the_whole_set_and_nothing_else(tmp_path: Path) -> None:
    write(tmp_path / "out.jsonl", several(5), 1)
    for other in ("out.jsonl", "out-1.jsonl", "out-00000.jsonl.gz", "about-00009.jsonl"):
        (tmp_path / other).write_text("")
    write(tmp_path / "out.jsonl", several(2), 1, force=True)
    others = ["about-00009.jsonl", "out-00000.jsonl.gz", "out-1.jsonl", "out.jsonl"]
    assert names(tmp_path) == sorted(["out-00000.jsonl", "out-00001.jsonl", *others])


def test_a_run_that_stops_leaves_what_was_there(tmp_path: Path) -> None:
    write(tmp_path / "out.jsonl", several(2), 1)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}

    def stopped() -> None:
        with io.open_output(str(tmp_path / "out.jsonl"), force=True, per_file=1) as out:
            for record in several(5):
                out.write_line(encode(record))
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        stopped()
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_an_input_is_never_part_of_the_set(tmp_path: Path) -> None:
    write(tmp_path / "out.jsonl", several(3), 1)
    records = io.read(str(tmp_path / "out-00002.jsonl"))
    with pytest.raises(OutputError, match=r"out-00002.jsonl is also the input"):
        write(tmp_path / "out.jsonl", several(1), 1, force=True)
    assert len(list(records)) == 1


@pytest.mark.parametrize("path", ["-", os.devnull])
def test_one_stream_cannot_be_several_files(path: str) -> None:
    with pytest.raises(UsageError, match="name a file"):
        write(Path(path), [], 2)


def test_a_missing_folder_is_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="make the folder first"):
        write(tmp_path / "nowhere" / "out.jsonl", [], 2)


def test_what_was_left_is_told_when_a_file_cannot_take_its_name(tmp_path: Path) -> None:

    def robbed() -> None:
        with io.open_output(str(tmp_path / "out.jsonl"), per_file=1) as out:
            for record in several(3):
                out.write_line(encode(record))
            growing = next(name for name in names(tmp_path) if name.startswith(".out-00001"))
            (tmp_path / growing).unlink()

    with pytest.raises(OutputError, match=r"1 of its 3 files are new"):
        robbed()
    assert names(tmp_path) == ["out-00000.jsonl"]
