"""FTRL's Parquet as tasks: a row of its shape, and the hundred real ones."""

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tmcli.errors import InputError
from tmcli.importers import ftrl
from tmcli.records import Task, task_id

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


def test_a_row_becomes_a_task(tmp_path: Path) -> None:
    (task,) = ftrl.read(write(tmp_path / "rows.parquet", ROW))
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
    (task,) = ftrl.read(write(tmp_path / "rows.parquet", row))
    assert task.tags == {"dataset": "ftrl", "hops": 2, "drift": []}


@pytest.mark.parametrize("column", ftrl.COLUMNS)
def test_a_missing_column_is_named(tmp_path: Path, column: str) -> None:
    row = {key: value for key, value in ROW.items() if key != column}
    with pytest.raises(InputError, match=f"rows.parquet: the file has no column '{column}'"):
        list(ftrl.read(write(tmp_path / "rows.parquet", row)))


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
    tasks = ftrl.read(write(tmp_path / "rows.parquet", ROW, {**ROW, column: value}))
    assert next(tasks).answer == ["7"]
    with pytest.raises(InputError, match=error):
        next(tasks)


@pytest.mark.parametrize("data", [b"", b"{}", b"PAR1" + b"x" * 100 + b"PAR1"])
def test_not_parquet(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "rows.parquet"
    path.write_bytes(data)
    with pytest.raises(InputError, match="not a Parquet file, or a damaged one"):
        list(ftrl.read(str(path)))


@needs_ftrl
def test_the_hundred_real_rows() -> None:
    tasks = list(ftrl.read(str(FTRL)))
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
