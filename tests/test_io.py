"""Files of records: what goes in comes out, whatever the form; what is wrong is a sentence with its place."""

import errno
import gzip
import io as bytes_io
import os
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import orjson
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st
from strategies import lines
from test_records import TASK, TRAJECTORY

from tmcli import io, parquet, streams
from tmcli.errors import InputError, OutputError, UsageError
from tmcli.io import Rejects, open_output, read
from tmcli.journal import open_journal
from tmcli.records import KINDS, AnyRecord, Task, Trajectory, decode, encode, expect, from_json, known_fields

FORMS = ["x.jsonl", "x.jsonl.gz", "x.jsonl.zst", "x.parquet"]


def task(number: int = 0, **more: Any) -> Task:
    return expect(from_json(TASK | {"id": f"t{number}"} | more), Task)


def trajectory(number: int = 0, *, key: str = "k", status: str = "ok", **more: Any) -> Trajectory:
    fields = {"id": f"t#{number}", "policy": {"name": "p", "key": key}, "status": status}
    return expect(from_json(TRAJECTORY | fields | more), Trajectory)


def write(path: Path, *records: AnyRecord, **options: Any) -> Path:
    with open_output(str(path), **options) as out:
        for record in records:
            out.write(record)
    return path


def read_all(path: Path, **options: Any) -> list[AnyRecord]:
    return list(read(str(path), **options))


def whats_in(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


# ---- forms ---------------------------------------------------------------------------------------


@given(lines())
def test_a_line_is_the_same_after_parquet(line: bytes) -> None:
    row = parquet.to_row(decode(line).kind, line)
    assert parquet.to_line(row) == line


@pytest.mark.parametrize("kind", KINDS)
def test_a_canonical_line_needs_no_copy(kind: str) -> None:
    """Else Parquet files would hold everything twice."""

    @settings(max_examples=40)
    @given(lines(kind))
    def check(line: bytes) -> None:
        canonical = encode(replace(decode(line)))
        assert parquet.to_row(kind, canonical)["line"] is None

    check()


@pytest.mark.parametrize("name", FORMS[1:])
@pytest.mark.parametrize("kind", KINDS)
def test_every_form_gives_the_bytes_back(name: str, kind: str) -> None:
    @settings(max_examples=10)
    @given(st.lists(lines(kind), max_size=5))
    def check(written: list[bytes]) -> None:
        with tempfile.TemporaryDirectory() as folder:
            first, there, back = (Path(folder, at) for at in ("first.jsonl", name, "back.jsonl"))
            first.write_bytes(b"".join(line + b"\n" for line in written))
            write(there, *read_all(first))
            write(back, *read_all(there))
            assert back.read_bytes() == first.read_bytes()

    check()


@pytest.mark.parametrize("name", FORMS)
def test_content_decides_how_to_read(tmp_path: Path, name: str) -> None:
    there = write(tmp_path / name, task(1), task(2))
    disguised = there.rename(tmp_path / "anything.txt")
    assert read_all(disguised, kind=Task) == [task(1), task(2)]


def test_to_decides_before_the_name(tmp_path: Path) -> None:
    there = write(tmp_path / "x.jsonl", task(), to="parquet")
    assert there.read_bytes()[:4] == b"PAR1"
    assert write(tmp_path / "x.parquet", task(), to="jsonl").read_bytes() == encode(task()) + b"\n"
    with pytest.raises(UsageError, match="Parquet is compressed inside"):
        write(tmp_path / "x.gz", task(), to="parquet")


@pytest.mark.parametrize("name", FORMS)
def test_the_same_records_give_the_same_bytes(tmp_path: Path, name: str) -> None:
    (tmp_path / "other").mkdir()
    written = [write(folder / name, *map(task, range(50))) for folder in (tmp_path, tmp_path / "other")]
    assert written[0].read_bytes() == written[1].read_bytes()


@pytest.mark.parametrize("name", FORMS)
def test_no_records(tmp_path: Path, name: str) -> None:
    assert read_all(write(tmp_path / name)) == []


def test_blank_lines_are_no_records_but_count(tmp_path: Path) -> None:
    there = tmp_path / "x.jsonl"
    there.write_bytes(b"\n" + encode(task(1)) + b"\r\n  \n" + encode(task(2)) + b"\n{\n")
    records = read(str(there))
    assert [next(records), next(records)] == [task(1), task(2)]
    with pytest.raises(InputError, match=r"x\.jsonl:5: not JSON"):
        next(records)


@pytest.mark.parametrize("packed", [gzip.compress, zstandard.compress])
def test_several_members_are_one_stream(tmp_path: Path, packed: Any) -> None:
    there = tmp_path / "x"
    there.write_bytes(b"".join(packed(encode(task(n)) + b"\n") for n in range(3)))
    assert read_all(there) == [task(0), task(1), task(2)]


@pytest.mark.parametrize("name", FORMS[1:])
def test_a_file_cut_off_is_damaged(tmp_path: Path, name: str) -> None:
    there = write(tmp_path / name, *map(task, range(2000)))
    there.write_bytes(there.read_bytes()[:-20])
    with pytest.raises(InputError, match="damaged or cut off") as raised:
        read_all(there)
    assert raised.value.source == str(there)


@pytest.mark.parametrize("name", FORMS[1:3])
def test_a_file_gone_bad_is_damaged(tmp_path: Path, name: str) -> None:
    there = write(tmp_path / name, *map(task, range(2000)))
    data = bytearray(there.read_bytes())
    data[len(data) // 2 : len(data) // 2 + 40] = b"?" * 40
    there.write_bytes(data)
    with pytest.raises(InputError):
        read_all(there)


def test_columns_of_parquet(tmp_path: Path) -> None:
    given = trajectory(reward=1.5, prediction=None, newer={"a": [1]})
    (row,) = pq.read_table(write(tmp_path / "x.parquet", given)).to_pylist()
    assert list(row) == ["kind", "v", *known_fields(Trajectory), "extra", "line"]
    assert (row["kind"], row["v"], row["reward"], row["prediction"]) == ("trajectory", 1, 1.5, None)
    assert orjson.loads(row["task"]) == TASK
    assert orjson.loads(row["extra"]) == {"newer": {"a": [1]}}
    assert row["failure"] is row["line"] is None


def test_parquet_holds_one_kind(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="a trajectory record after task records"):
        write(tmp_path / "x.parquet", task(), trajectory())
    assert whats_in(tmp_path) == []


def test_somebody_elses_parquet(tmp_path: Path) -> None:
    there = tmp_path / "x.parquet"
    pq.write_table(pa.table({"question": ["?"]}), there)
    with pytest.raises(
        InputError, match=r"x\.parquet: a Parquet file that tm did not write; tm tasks --from"
    ):
        read_all(there)


def test_parquet_is_written_in_groups(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parquet, "GROUP_ROWS", 10)
    there = write(tmp_path / "x.parquet", *map(task, range(25)))
    assert pq.read_metadata(there).num_row_groups == 3
    assert read_all(there) == [task(n) for n in range(25)]


# ---- broken lines --------------------------------------------------------------------------------

BROKEN = {
    "torn": (b'{"kind":"task","v":1,', "not JSON"),
    "not utf-8": (b'{"kind":"\xff"}', "byte 10 is not UTF-8"),
    "too deep": (b"[" * 3000 + b"]" * 3000, "nested too deep"),
    "wrong kind": (encode(trajectory()), "a trajectory record where a task"),
    "no record": (b"[]", "a JSON array, not an object"),
    "oversized": (b'{"kind":"' + b"x" * 9000 + b'"}', "longer than"),
}


@pytest.fixture
def short_lines(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(io, "MAX_LINE", 8192)


@pytest.mark.usefixtures("short_lines")
@pytest.mark.parametrize("what", BROKEN)
@pytest.mark.parametrize("end", [b"\n" + encode(task(2)) + b"\n", b""])
def test_a_broken_line_stops_with_its_place(tmp_path: Path, what: str, end: bytes) -> None:
    line, says = BROKEN[what]
    there = tmp_path / "x.jsonl"
    there.write_bytes(encode(task(1)) + b"\n" + line + end)
    records = read(str(there), kind=Task)
    assert next(records) == task(1)
    with pytest.raises(InputError, match=says) as raised:
        next(records)
    assert (raised.value.source, raised.value.line) == (str(there), 2)
    assert raised.value.remedy


@pytest.mark.usefixtures("short_lines")
def test_broken_lines_are_set_aside_byte_for_byte(tmp_path: Path) -> None:
    broken = [line for line, _ in BROKEN.values()]
    there, aside = tmp_path / "x.jsonl", tmp_path / "aside.jsonl"
    there.write_bytes(b"".join(encode(task(n)) + b"\n" + line + b"\n" for n, line in enumerate(broken)))
    with Rejects(str(aside)) as rejects:
        kept = read_all(there, kind=Task, rejects=rejects)
    assert kept == [task(n) for n in range(len(broken))]
    assert rejects.count == len(broken)
    assert "x.jsonl:2: not JSON" in str(rejects.first)
    assert aside.read_bytes() == b"".join(line + b"\n" for line in broken)


def test_broken_lines_can_only_be_counted(tmp_path: Path) -> None:
    there = tmp_path / "x.jsonl"
    there.write_bytes(b"{\n" + encode(task()) + b"\n")
    with Rejects() as rejects:
        assert read_all(there, rejects=rejects) == [task()]
    assert rejects.count == 1


def test_rejects_replace_nothing_unasked(tmp_path: Path) -> None:
    there = write(tmp_path / "x.jsonl", task())
    with pytest.raises(OutputError, match="exists; use --force"):
        Rejects(str(there))
    with Rejects(str(there), force=True) as rejects, pytest.raises(OutputError, match="is also the input"):
        read(str(there), rejects=rejects)
    assert read_all(there) == [task()]
    with pytest.raises(UsageError):
        Rejects("-")


def test_the_size_limit_is_a_limit_not_a_target(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    line = encode(task())
    there = tmp_path / "x.jsonl"
    there.write_bytes(line + b"\n" + line)
    monkeypatch.setattr(io, "MAX_LINE", len(line))
    assert read_all(there) == [task(), task()]
    monkeypatch.setattr(io, "MAX_LINE", len(line) - 1)
    with Rejects() as rejects:
        assert read_all(there, rejects=rejects) == []
    assert rejects.count == 2


# ---- files that cannot be read or written --------------------------------------------------------


def test_inputs_that_are_not_there(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"nowhere: cannot be read: no such file .*; check the name"):
        read(str(tmp_path / "nowhere"))
    with pytest.raises(InputError, match="is a directory; name a file in it"):
        read_all(tmp_path)


def test_an_output_is_never_replaced_unasked(tmp_path: Path) -> None:
    there = write(tmp_path / "x.jsonl", task(1))
    with pytest.raises(OutputError, match=r"x\.jsonl exists; use --force to replace it, or another name"):
        write(there, task(2))
    assert read_all(there) == [task(1)]
    write(there, task(2), force=True)
    assert read_all(there) == [task(2)]


def test_an_output_is_never_the_input(tmp_path: Path) -> None:
    there = write(tmp_path / "x.jsonl", task(1), task(2))
    (tmp_path / "link").symlink_to(there)
    for name in ("x.jsonl", "link"):
        records = read(str(there))
        out = open_output(str(tmp_path / name), force=True)
        with pytest.raises(OutputError, match="is also the input"), out:
            pass
        assert len(list(records)) == 2


@pytest.mark.parametrize("name", FORMS)
def test_nothing_half_written_is_left(tmp_path: Path, name: str) -> None:
    def failing() -> None:
        with open_output(str(tmp_path / name)) as out:
            out.write(task())
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        failing()
    assert whats_in(tmp_path) == []


def test_a_link_stays_a_link(tmp_path: Path) -> None:
    real, link = tmp_path / "real.jsonl", tmp_path / "link.jsonl"
    write(real, task(1))
    link.symlink_to(real)
    write(link, task(2), force=True)
    assert link.is_symlink()
    assert read_all(real) == [task(2)]


def test_outputs_that_cannot_be(tmp_path: Path) -> None:
    missing = r"cannot write .*: no such file or directory; make the folder first"
    with pytest.raises(OutputError, match=missing):
        write(tmp_path / "no" / "x.jsonl", task())
    with pytest.raises(OutputError, match="is a folder; name a file in it"):
        write(tmp_path, task(), force=True)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_no_permission(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    with pytest.raises(OutputError, match="permission denied; check the permissions"):
        write(tmp_path / "x.jsonl", task())


def test_no_permission_as_anyone() -> None:
    said = str(streams.unwritable("x", OSError(errno.EACCES, "Permission denied")))
    assert said == "cannot write x: permission denied; check the permissions, or write elsewhere"


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
@pytest.mark.parametrize("to", ["jsonl", "parquet"])
def test_a_full_disk(to: Any) -> None:
    with pytest.raises(OutputError, match="cannot write /dev/full: no space left on device; free some space"):
        write(Path("/dev/full"), *map(task, range(1000)), to=to)


def test_a_device_is_written_to() -> None:
    write(Path(os.devnull), task())
    assert not Path(os.devnull).is_file()


def test_a_bomb_unfolds_in_steps() -> None:
    bomb = zstandard.compress(b"\0" * (1 << 28))
    stream = streams.decompress(bomb[:4], bytes_io.BytesIO(bomb))
    assert len(stream.read(1000)) == 1000


# ---- journals ------------------------------------------------------------------------------------


def play(path: Path, *records: Trajectory, key: str = "k", **options: Any) -> set[str]:
    """Write those records that are not done; what was done before."""
    with open_journal(str(path), key=key, **options) as journal:
        before = {record.id for record in records if record.id in journal.done}
        assert len(before) == len(journal.done)
        for record in records:
            if record.id not in before:
                journal.write(record)
    return before


def interrupt(path: Path, *records: Trajectory, **options: Any) -> BaseException:
    def run() -> None:
        with open_journal(str(path), key="k", **options) as journal:
            for record in records:
                journal.write(record)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt) as raised:
        run()
    return raised.value


@pytest.mark.parametrize("name", FORMS)
def test_a_journal_continues(tmp_path: Path, name: str) -> None:
    there = tmp_path / name
    stop = interrupt(there, trajectory(0), trajectory(1, status="invalid"))
    part = name if name == "x.jsonl" else f"{name}.part"
    assert whats_in(tmp_path) == [part]
    assert stop.__notes__ == [f"2 records are kept in {tmp_path / part}; --resume continues"]
    with pytest.raises(OutputError, match="exists; use --resume to continue it, --force to replace it"):
        play(there, trajectory(0))
    assert play(there, *map(trajectory, range(3)), resume=True) == {"t#0"}
    assert whats_in(tmp_path) == [name]
    assert read_all(there) == [trajectory(0), trajectory(1), trajectory(2)]
    assert play(there, *map(trajectory, range(4)), resume=True) == {"t#0", "t#1", "t#2"}
    assert read_all(there) == [trajectory(n) for n in range(4)]
    assert play(there, trajectory(7), force=True) == set()
    assert read_all(there) == [trajectory(7)]
    assert whats_in(tmp_path) == [name]


@pytest.mark.parametrize("name", FORMS)
def test_a_journal_in_which_nothing_happened_leaves_nothing(tmp_path: Path, name: str) -> None:
    interrupt(tmp_path / name)
    assert whats_in(tmp_path) == []


def test_every_record_is_there_at_once(tmp_path: Path) -> None:
    there = tmp_path / "x.jsonl"
    with open_journal(str(there), key="k") as journal:
        for n in range(3):
            journal.write(trajectory(n))
            assert len(read_all(there)) == n + 1


@given(cut=st.integers(0, 3 * (len(encode(trajectory(0))) + 1)))
def test_wherever_it_was_cut_it_continues(cut: int) -> None:
    whole = b"".join(encode(trajectory(n)) + b"\n" for n in range(3))
    with tempfile.TemporaryDirectory() as folder:
        there = Path(folder, "x.jsonl")
        there.write_bytes(whole[:cut])
        play(there, *map(trajectory, range(3)), resume=True)
        assert there.read_bytes() == whole


def test_a_line_torn_in_the_middle_is_not_ours(tmp_path: Path) -> None:
    there = tmp_path / "x.jsonl"
    there.write_bytes(encode(trajectory(0))[:-9] + b"\n" + encode(trajectory(1)) + b"\n")
    before = there.read_bytes()
    with pytest.raises(InputError, match=r"x\.jsonl:1: not JSON"):
        play(there, resume=True)
    assert there.read_bytes() == before


@pytest.mark.parametrize("name", FORMS)
def test_other_options_do_not_mix(tmp_path: Path, name: str) -> None:
    there = tmp_path / name
    play(there, trajectory(0, key="old"), key="old")
    before = there.read_bytes()
    with pytest.raises(OutputError, match="was made with other options; give the same ones, use --force"):
        play(there, trajectory(0), resume=True)
    assert there.read_bytes() == before
    assert whats_in(tmp_path) == [name]


def test_contradictions(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="--resume needs a file"):
        play(Path("-"), resume=True)
    with pytest.raises(UsageError, match="contradict"):
        play(tmp_path / "x.jsonl", resume=True, force=True)


def test_a_journal_of_another_kind(tmp_path: Path) -> None:
    there = write(tmp_path / "x.jsonl", task())
    with pytest.raises(InputError, match=r"x\.jsonl:1: kind: a task record where a trajectory"):
        play(there, resume=True)
    assert read_all(there) == [task()]
