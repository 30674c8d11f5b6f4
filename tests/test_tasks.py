"""`tm tasks` as a person types it: suites, data sets, files of tasks."""

import json
from pathlib import Path
from typing import Any

import pytest
from conftest import Tm
from test_ftrl import FTRL, ROW, needs_ftrl, write

from tmcli import toolbox

# ---- the command -------------------------------------------------------------------------------


def lines(data: bytes) -> list[dict[str, Any]]:
    return [json.loads(line) for line in data.splitlines()]


def test_without_anything_it_is_the_suite_train(tm: Tm) -> None:
    plain = tm("tasks", "-n", "3")
    assert plain.returncode == 0
    assert plain.stderr == b""
    assert [task["source"] for task in lines(plain.stdout)] == [f"suite:train:0:{i}" for i in range(3)]
    assert plain.stdout == tm("tasks", "--suite", "train", "--limit", "3").stdout
    assert plain.stdout != tm("tasks", "-n", "3", "--seed", "1").stdout


def test_drift_of_a_suite_and_of_a_file_of_tasks(tm: Tm, tmp_path: Path) -> None:
    made = tm("tasks", "--suite", "unseen", "-n", "3", "--drift", "stale")
    assert [task["tags"]["drift"] for task in lines(made.stdout)] == [["stale"]] * 3
    tm("tasks", "--suite", "unseen", "-n", "3", "-o", "tasks.jsonl")
    assert tm("tasks", "tasks.jsonl", "--drift", "stale").stdout == made.stdout
    piped = tm("tasks", "-", input=(tmp_path / "tasks.jsonl").read_bytes())
    assert piped.stdout == (tmp_path / "tasks.jsonl").read_bytes()


def test_import_drift_limit_and_parquet(tm: Tm, tmp_path: Path) -> None:
    write(tmp_path / "rows.parquet", ROW, ROW, ROW)
    tools = [{"type": "function", "function": {"name": "age", "parameters": {"properties": {"name": {}}}}}]
    write(tmp_path / "more.parquet", {**ROW, "tools": json.dumps(tools)})
    assert len(lines(tm("tasks", "--from", "ftrl", "rows.parquet", "--limit", "2").stdout)) == 2
    (drifted,) = lines(tm("tasks", "--from", "ftrl", "more.parquet", "--drift", "stale").stdout)
    assert drifted["env"]["schemas"] == tools != drifted["tools"]
    piped = tm(
        "tasks", "--from", "ftrl", "-", "--to", "parquet", input=(tmp_path / "rows.parquet").read_bytes()
    )
    assert piped.stdout[:4] == b"PAR1"
    assert len(lines(tm("tasks", "-", input=piped.stdout).stdout)) == 3


@needs_ftrl
def test_the_issues_own_line(tm: Tm) -> None:
    made = tm("tasks", "--from", "ftrl", FTRL)
    assert len(lines(made.stdout)) == 100
    assert made.stdout == tm("tasks", "--from", "ftrl", FTRL).stdout


def tags(data: bytes, name: str) -> list[Any]:
    return [task["tags"][name] for task in lines(data)]


def test_a_suite_narrowed(tm: Tm) -> None:
    made = tm("tasks", "--suite", "train", "--toolbox", "library, flights", "--hops", "1,3", "-n", "12")
    assert made.returncode == 0, made.stderr
    assert set(tags(made.stdout, "toolbox")) == {"library", "flights"}
    assert set(tags(made.stdout, "hops")) == {1, 3}
    assert tags(tm("tasks", "--toolbox", "library", "-n", "4").stdout, "toolbox") == ["library"] * 4


def test_one_toolbox_alone_by_name_and_by_folder(tm: Tm, tmp_path: Path) -> None:
    by_name = tm("tasks", "--suite", "library", "-n", "3")
    assert tags(by_name.stdout, "toolbox") == ["library"] * 3
    folder = toolbox.folder() / "library"
    by_folder = tm("tasks", "--suite", folder, "-n", "3")
    assert by_folder.returncode == 0, by_folder.stderr
    assert len(lines(by_folder.stdout)) == 3
    played = tm("synth", "--tasks", "library", "-n", "3")
    assert played.returncode == 0, played.stderr
    assert [t["task"]["id"] for t in lines(played.stdout)] == [t["id"] for t in lines(by_name.stdout)]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("--suite tran", "did you mean 'train'?"),
        ("--suite libary", "did you mean 'library'?"),
        ("--suite train rows.parquet", "give either --suite or FILE"),
        ("--toolbox library rows.parquet", "give either --suite or FILE"),
        ("--hops 1 --from ftrl rows.parquet", "give either --suite or FILE"),
        ("--toolbox libary", "did you mean 'library'?"),
        ("--hops one", "'one' is not a whole number; write for instance 1,2"),
        ("--hops 99", "99"),
        ("--server http://localhost:1", "--server is for --from and --tools"),
        ("--server http://localhost:1 --from ftrl rows.parquet", "the tools of ftrl are not behind a server"),
        ("--from frtl rows.parquet", "no data set is named 'frtl'; did you mean 'ftrl'?"),
        ("--from ftrl", "--from ftrl needs a file"),
        ("--from ftrl gone.parquet", "gone.parquet: cannot be read"),
        ("--from ftrl rows.parquet --drift stael", "did you mean 'stale'?"),
        ("rows.parquet", "tm tasks --from makes tasks"),
        ("gone.jsonl", "gone.jsonl"),
        ("--from ftrl rows.parquet -o rows.parquet --force", "rows.parquet"),
    ],
)
def test_wrong_usage_is_one_sentence(tm: Tm, tmp_path: Path, words: str, said: str) -> None:
    before = Path(write(tmp_path / "rows.parquet", ROW)).read_bytes()
    result = tm("tasks", *words.split())
    assert (result.returncode, result.stdout) == (2, b"")
    assert said in result.stderr.decode()
    assert result.stderr.count(b"\n") == 1
    assert [path.name for path in tmp_path.iterdir()] == ["rows.parquet"]
    assert (tmp_path / "rows.parquet").read_bytes() == before


def test_no_tasks_is_said(tm: Tm) -> None:
    result = tm("tasks", "-n", "0")
    assert (result.returncode, result.stdout) == (0, b"")
    assert b"no tasks were written" in result.stderr


def test_an_import_sets_no_rows_aside(tm: Tm, tmp_path: Path) -> None:
    """It reads whole data sets, and says so rather than ignore the option."""
    (tmp_path / "rows.json").write_text("{}")
    done = tm("tasks", "--from", "bfcl", "rows.json", "--rejects", "aside.jsonl", cwd=tmp_path)
    assert done.returncode == 2
    assert b"--skip-invalid and --rejects are for records" in done.stderr
