"""Tasks from other people's data, and `tm tasks` as a person types it."""

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from conftest import Tm

from tmcli.errors import InputError
from tmcli.records import Task, task_id
from tmcli.steps.tasks import FTRL_COLUMNS, from_ftrl

FTRL = Path(__file__).parents[2] / "shared" / "data" / "ftrl_dev.parquet"
needs_ftrl = pytest.mark.skipif(not FTRL.exists(), reason="../shared/data/ftrl_dev.parquet is not there")

ROW: dict[str, Any] = {
    "messages": [
        {"role": "system", "content": "Be good."},
        {
            "role": "user",
            "content": "Please call given tools to answer.\nAnd so on.\nQuestion: How old is Ann?",
        },
    ],
    "tools": '[{"type": "function", "function": {"name": "age", "parameters": {"type": "object"}}}]',
    "codes": '{"age": "def age(): return 7"}',
    "unsolved_set": '{"age": ["7", "8"]}',
    "data_source": "self/multi_hop",
    "answer": "7",
}


def write(path: Path, *rows: dict[str, Any]) -> str:
    pq.write_table(pa.Table.from_pylist(list(rows)), path)
    return str(path)


# ---- FTRL --------------------------------------------------------------------------------------


def test_a_row_becomes_a_task(tmp_path: Path) -> None:
    (task,) = from_ftrl(write(tmp_path / "rows.parquet", ROW))
    assert task == Task(
        id=task_id(task),
        messages=[{"role": "user", "content": "How old is Ann?"}],
        tools=json.loads(ROW["tools"]),
        env={"kind": "python", "codes": {"age": "def age(): return 7"}},
        answer=["7"],
        check="contains",
        subgoals={"age": ["7", "8"]},
        tags={"dataset": "ftrl", "category": "multi_hop", "hops": 2, "drift": []},
        source="ftrl:rows.parquet:1",
    )


def test_the_category_is_optional(tmp_path: Path) -> None:
    row = {key: value for key, value in ROW.items() if key != "data_source"}
    (task,) = from_ftrl(write(tmp_path / "rows.parquet", row))
    assert task.tags == {"dataset": "ftrl", "hops": 2, "drift": []}


@pytest.mark.parametrize("column", FTRL_COLUMNS)
def test_a_missing_column_is_named(tmp_path: Path, column: str) -> None:
    row = {key: value for key, value in ROW.items() if key != column}
    with pytest.raises(InputError, match=f"rows.parquet: the file has no column '{column}'"):
        list(from_ftrl(write(tmp_path / "rows.parquet", row)))


@pytest.mark.parametrize(
    ("column", "value", "error"),
    [
        ("tools", "[", "rows.parquet:2: tools: not JSON text"),
        ("tools", "{}", "rows.parquet:2: tools: JSON text that is not an array"),
        ("tools", "[{}]", r"rows.parquet:2: tools\[0\].function: "),
        ("codes", None, "rows.parquet:2: codes: not JSON text"),
        ("unsolved_set", '{"age": "7"}', "rows.parquet:2: subgoals.age: "),
        ("answer", None, r"rows.parquet:2: answer\[0\]: "),
        ("messages", [], "rows.parquet:2: messages: no user turn"),
    ],
)
def test_a_broken_row_has_its_place(tmp_path: Path, column: str, value: Any, error: str) -> None:
    tasks = from_ftrl(write(tmp_path / "rows.parquet", ROW, {**ROW, column: value}))
    assert next(tasks).answer == ["7"]
    with pytest.raises(InputError, match=error):
        next(tasks)


@pytest.mark.parametrize("data", [b"", b"{}", b"PAR1" + b"x" * 100 + b"PAR1"])
def test_not_parquet(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "rows.parquet"
    path.write_bytes(data)
    with pytest.raises(InputError, match="not a Parquet file, or a damaged one"):
        list(from_ftrl(str(path)))


@needs_ftrl
def test_the_hundred_real_rows() -> None:
    tasks = list(from_ftrl(str(FTRL)))
    assert len({task.id for task in tasks}) == 100
    categories = [task.tags["category"] for task in tasks]
    assert {name: categories.count(name) for name in set(categories)} == dict.fromkeys(
        ("single_hop", "multi_hop", "parallel_single_hop", "parallel_multi_hop"), 25
    )
    for task in tasks:
        assert task.check == "contains"
        assert task.subgoals
        assert set(task.subgoals) <= set(task.env["codes"])
        assert [tool["function"]["name"] for tool in task.tools] == list(task.env["codes"])
        (question,) = task.messages
        assert question["role"] == "user"
        assert "Please call given tools" not in question["content"]
        assert "Question:" not in question["content"]


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


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("--suite tran", "no suite is named 'tran'; did you mean 'train'?"),
        ("--suite train rows.parquet", "give either --suite or FILE"),
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
