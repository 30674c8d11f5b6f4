"""Two episodes of one task compared: `report/diff.py`, `tm show --diff`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from conftest import Tm
from hypothesis import given
from hypothesis import strategies as st
from trajectories import call, lines, task, trajectory, turn

from tmcli.records import Trajectory
from tmcli.report.diff import aligned
from tmcli.report.transcript import steps

TRY = turn("trial", call(ok=False, reply="error", x=1), content="<trial>see</trial>")
LOOK = turn("execution", call(title="Emma"), content="<plan>look</plan>")
OTHER = turn("execution", call("count", n=1, reply="7"))
END = turn("execution", content="<answer>0 shelves</answer>")


def played(*turns: Any, n: int = 0, **more: Any) -> Trajectory:
    return trajectory(list(turns), task=task(n), **more)


def rows(left: Trajectory, right: Trajectory) -> list[tuple[Any, ...]]:
    return [
        (row.kind, row.left and row.left.number, row.right and row.right.number, *row.differs)
        for row in aligned(left, right)
    ]


def test_the_same_twice() -> None:
    one = played(TRY, LOOK, END)
    assert rows(one, one) == [("same", i, i) for i in (1, 2, 3)]


def test_a_turn_that_only_one_has() -> None:
    assert rows(played(TRY, LOOK, END), played(LOOK, END)) == [
        ("left", 1, None),
        ("same", 2, 1),
        ("same", 3, 2),
    ]
    assert rows(played(LOOK, END), played(LOOK, OTHER, END)) == [
        ("same", 1, 1),
        ("right", None, 2),
        ("same", 2, 3),
    ]


@pytest.mark.parametrize(
    ("right", "differs"),
    [
        (turn("execution", call(title="Ada"), content="<plan>look</plan>"), ("arguments",)),
        (turn("execution", call(title="Emma", reply="2"), content="<plan>look</plan>"), ("replies",)),
        (turn("execution", call(title="Emma", ok=False), content="<plan>look</plan>"), ("replies",)),
        (turn("execution", call(title="Emma")), ("text",)),
        (turn("trial", call(title="Emma"), content="<plan>look</plan>"), ("phase",)),
        (turn("execution", call(title="Emma"), content="<plan>look</plan>", state="repaired"), ("state",)),
        (turn("execution", call("find_author", title="Emma"), content="<plan>look</plan>"), ("tools",)),
        (
            turn("trial", call(title="Ada", reply="2"), content="x"),
            ("phase", "text", "arguments", "replies"),
        ),
    ],
)
def test_what_a_turn_differs_in(right: Any, differs: tuple[str, ...]) -> None:
    assert rows(played(LOOK, END), played(right, END)) == [("changed", 1, 1, *differs), ("same", 2, 2)]


def test_the_same_calls_belong_together_before_the_same_tools() -> None:
    again = turn("execution", call(title="Ada"))
    assert [row[:3] for row in rows(played(LOOK, END), played(again, LOOK, END))] == [
        ("right", None, 1),
        ("same", 1, 2),
        ("same", 2, 3),
    ]


TURNS = st.lists(st.sampled_from([TRY, LOOK, OTHER, END]), max_size=8)


@given(TURNS, TURNS)
def test_every_turn_is_told_once_in_its_order(left: list[Any], right: list[Any]) -> None:
    one, other = played(*left), played(*right)
    found = aligned(one, other)
    assert [row.left for row in found if row.left] == steps(one)
    assert [row.right for row in found if row.right] == steps(other)
    mirrored = aligned(other, one)
    assert sum(row.kind == "same" for row in found) == sum(row.kind == "same" for row in mirrored)
    assert rows(one, other) == rows(one, other)


def test_long_episodes_are_paired_by_number() -> None:
    one, other = played(*[LOOK] * 1200), played(*[TRY, LOOK] * 500)
    assert [row[1:3] for row in rows(one, other)] == [(i, i if i <= 1000 else None) for i in range(1, 1201)]


# ---- tm show --diff ------------------------------------------------------------------------------

SEEN = """\
== {id}  (toolbox library, split seen, hops 2)
- a.jsonl  {id}#0  old
+ b.jsonl  {id}#0  new
user: How many shelves has room 0?

- 1. trial
-    try: see
-    -> find_book(x=1)
-    <- error error

  2. execution | 1. execution  differs in arguments, replies
     plan: look
-    -> find_book(title="Emma")
-    <- {{"id": 1}}
+    -> find_book(title="Ada")
+    <- {{"id": 2}}

  3. execution | 2. execution  answer  (same)

  right: 0 shelves (stop: answer); accepted: 0 shelves
- reward 1.25 = outcome 1  answer 1  format 1  trial 1  repeat 0  recovery 1  length 0  forged 0  guess 0
+ reward 1.15 = outcome 1  answer 1  format 1  trial 0  repeat 0  recovery 1  length 0  forged 0  guess 0

"""


@pytest.fixture
def two(tmp_path: Path) -> tuple[Trajectory, Trajectory]:
    """One task by two policies, in files where other tasks are before it, and after it."""
    ada = turn("execution", call(title="Ada", reply='{"id": 2}'), content="<plan>look</plan>")
    left = played(TRY, LOOK, END, policy={"name": "old"})
    right = played(ada, END, policy={"name": "new"})
    (tmp_path / "a.jsonl").write_text(lines(played(n=8), left, played(n=1)))
    (tmp_path / "b.jsonl").write_text(lines(played(LOOK, END, n=1), right, played(n=9)))
    return left, right


def test_two_files(tm: Tm, two: tuple[Trajectory, Trajectory]) -> None:
    result = tm("show", "--text", "--diff", "a.jsonl", "b.jsonl", "-n", "1")
    assert result.returncode == 0, result.stderr
    assert result.stdout.decode() == SEEN.format(id=two[0].task["id"])
    text = tm("show", "--text", "--diff", "a.jsonl", "b.jsonl").stdout.decode()
    assert [line.split()[1] for line in text.splitlines() if line.startswith("==")] == [
        two[0].task["id"],
        task(1)["id"],
    ]
    chosen = tm("show", "--text", "--diff", "a.jsonl", "b.jsonl", "--id", task(1)["id"]).stdout.decode()
    assert text.endswith(chosen)
    found = tm("show", "--text", "--diff", "a.jsonl", "b.jsonl", "--grep", "title=.Ada").stdout.decode()
    assert text.startswith(found)


def test_for_a_program(tm: Tm, two: tuple[Trajectory, Trajectory]) -> None:
    out = tm("show", "--diff", "a.jsonl", "b.jsonl", "-n", "1").stdout
    said = json.loads(out)
    assert said["task"] == two[0].task["id"]
    assert [said[side]["policy"] for side in ("left", "right")] == ["old", "new"]
    assert said["turns"] == [
        {"kind": "left", "left": 1, "right": None, "differs": []},
        {"kind": "changed", "left": 2, "right": 1, "differs": ["arguments", "replies"]},
        {"kind": "same", "left": 3, "right": 2, "differs": []},
    ]


def test_two_ids_of_one_file(tm: Tm) -> None:
    one, other = played(LOOK, END, sample=0), played(TRY, LOOK, END, sample=1)
    said = json.loads(tm("show", "--diff", other.id, one.id, input=lines(one, other).encode()).stdout)
    assert (said["left"]["id"], said["right"]["id"]) == (other.id, one.id)
    assert [row["kind"] for row in said["turns"]] == ["left", "same", "same"]


def test_another_sample_stands_in_where_the_same_is_missing(tm: Tm, tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text(lines(played(LOOK, END, sample=3)))
    (tmp_path / "b.jsonl").write_text(lines(played(TRY, END, sample=1), played(LOOK, END, sample=2)))
    said = json.loads(tm("show", "--diff", "a.jsonl", "b.jsonl").stdout)
    assert (said["left"]["id"][-1], said["right"]["id"][-1]) == ("3", "1")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["a.jsonl", "c.jsonl"], "there is no file c.jsonl"),
        (["a.jsonl", "-"], "more than once"),
        (["x", "y"], "no trajectory is called 'x'"),
    ],
)
def test_wrong_usage(tm: Tm, two: tuple[Trajectory, Trajectory], words: list[str], said: str) -> None:
    assert two
    result = tm("show", "a.jsonl" if "x" in words else "-", "--diff", *words)
    assert (result.returncode, result.stdout) == (2, b"")
    assert said in result.stderr.decode()


def test_nothing_in_common(tm: Tm, tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text(lines(played(n=1)))
    (tmp_path / "b.jsonl").write_text(lines(played(n=2)))
    result = tm("show", "--diff", "a.jsonl", "b.jsonl")
    assert (result.returncode, result.stdout) == (2, b"")
    assert b"no task is in both files" in result.stderr


def test_only_what_differs_is_told_of_long_texts(tm: Tm, tmp_path: Path) -> None:
    long, other = "x" * 3000, "x" * 2000 + "HERE" + "x" * 996
    many = "\n".join(f"line {i}" for i in range(50))
    for name, reply in (("a", long), ("b", other)):
        some = [turn("execution", call(reply=reply), call(reply=many if name == "a" else "1", n=1)), END]
        (tmp_path / f"{name}.jsonl").write_text(lines(played(*some)))
    text = tm("show", "--text", "--diff", "a.jsonl", "b.jsonl").stdout.decode()
    assert "HERE" in text
    assert max(map(len, text.splitlines())) < 450
    assert "more lines (--full)" in text
    whole = tm("show", "--text", "--full", "--diff", "a.jsonl", "b.jsonl").stdout.decode()
    assert other in whole
    assert "line 49" in whole
