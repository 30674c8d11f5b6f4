"""`tm tools` as a person types it."""

import json
import subprocess
import sys
from typing import Any

import pytest

from tmcli import suites, toolbox


def tm(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-m", "tmcli", "tools", *words], capture_output=True, text=True)


def test_list_tells_every_tool() -> None:
    done = tm("list")
    assert (done.returncode, done.stderr) == (0, "")
    lines = done.stdout.splitlines()
    assert len(lines) == sum(len(toolbox.load(name).tools) for name in toolbox.names())
    assert "clinic.lab_value(chart, test) - Returns value" in lines


def test_list_some() -> None:
    lines = tm("list", "museum", "library").stdout.splitlines()
    assert [line.partition(".")[0] for line in lines] == ["museum"] * 6 + ["library"] * 5


def test_a_plan_can_be_followed_by_hand() -> None:
    task = next(task for task in suites.suite("unseen") if task.tags["hops"] == 2)
    plan = task.plan or []
    results: dict[int, Any] = {}
    for i, step in enumerate(plan):
        arguments = toolbox.resolve(step["arguments"], results)
        words = [f"{name}={value}" for name, value in arguments.items()]
        done = tm("call", f"{task.env['toolbox']}.{step['name']}", *words, "--seed", str(task.env["seed"]))
        assert (done.returncode, done.stderr) == (0, "")
        results[i] = json.loads(done.stdout)
    assert toolbox.text_of(results[1][plan[1]["answer"]]) == task.answer[0]


@pytest.mark.parametrize(
    ("words", "code", "text"),
    [
        (["library.find_book", "title=?"], 1, '{"error": "no book \'?\'"}'),
        (["library.book_info", "book=B1"], 1, "unknown parameter 'book'; parameters are: book_id"),
        (["library.find_book"], 1, "missing parameter 'title'; parameters are: title"),
        (["libary.find_book"], 2, "no toolbox is named 'libary'; did you mean 'library'?"),
        (["library.find_bok"], 2, "library has no tool named 'find_bok'; did you mean 'find_book'?"),
        (["library"], 2, "'library' names a toolbox, not a tool; write library.find_book"),
        (["library.find_book", "Emma"], 2, "'Emma' is no argument; write NAME=VALUE"),
    ],
)
def test_errors(words: list[str], code: int, text: str) -> None:
    done = tm("call", *words)
    assert done.returncode == code
    where, other = (done.stdout, done.stderr) if code == 1 else (done.stderr, done.stdout)
    assert text in where
    assert other == ""


def test_list_unknown() -> None:
    done = tm("list", "musum")
    assert done.returncode == 2
    assert "did you mean 'museum'?" in done.stderr
