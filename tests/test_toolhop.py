"""ToolHop's JSON as tasks: rows of its shape, read, imported and played as a user would."""

from __future__ import annotations

import asyncio
import gzip
import json
from pathlib import Path
from typing import Any

import pytest
from conftest import Tm
from servers import ModelServer, call, say, text
from shell import pipe, records

from tmcli.environments.world import World
from tmcli.errors import InputError
from tmcli.importers import toolhop
from tmcli.records import Task, task_id

FATHER = '''import json

def helper(text):
    return text.title()

def kinship_lookup(person, relation='father', options=None):
    """Who is related to whom."""
    if not person:
        return {'error': 'person is required'}
    if person == 'Ada of Nowhere' and relation == 'father':
        return {'name': helper('odo of nowhere, count')}
    return {'error': 'nobody is known'}

# Example usage
response = kinship_lookup('Ada of Nowhere')
print(response)  # Expected output: {'name': ...}
'''
DEATH = "def life_dates(name: str, event: str = 'death') -> str:\n    return '4 May 1203'\n"
DIGITS = "def digit_sum(date):\n    return float(sum(int(c) for c in date if c.isdigit()))\n"


def tool(name: str, *parameters: str) -> dict[str, Any]:
    properties = {
        parameter: {"type": "string", "description": f"The {parameter}."} for parameter in parameters
    }
    schema = {"type": "object", "properties": properties, "required": list(parameters[:1])}
    return {"name": name, "description": f"An advanced tool for {name}.", "parameters": schema}


ROW: dict[str, Any] = {
    "id": 202,
    "question": "What is the sum of the digits of the date of death of Ada of Nowhere's father?",
    "answer": "15.0",
    "sub_task": {
        "Who is the father of Ada of Nowhere?": "Odo of Nowhere, Count",
        "When did Odo of Nowhere, Count die?": "4 May 1203",
        "What is the sum of the digits of 4 May 1203?": "10.0",
    },
    "tools": {
        "Who is the father of Ada of Nowhere?": tool("kinship_lookup", "person", "relation"),
        "When did Odo of Nowhere, Count die?": tool("life_dates", "name", "event"),
        "What is the sum of the digits of 4 May 1203?": tool("digit_sum", "date"),
    },
    "functions": [FATHER, DEATH, DIGITS],
    "domain": "Genealogy",
    "answer_type": "number",
    "previous_answer_type": "date",
}


def write(path: Path, *rows: Any) -> str:
    path.write_text(json.dumps(rows, indent=2))
    return str(path)


def test_a_row_becomes_a_task(tmp_path: Path) -> None:
    (task,) = toolhop.read(write(tmp_path / "ToolHop.json", ROW))
    assert task == Task(
        id=task_id(task),
        messages=[{"role": "user", "content": ROW["question"]}],
        tools=[{"type": "function", "function": schema} for schema in ROW["tools"].values()],
        env={
            "kind": "python",
            "codes": {"kinship_lookup": FATHER, "life_dates": DEATH, "digit_sum": DIGITS},
        },
        answer=["15"],
        check="contains",
        subgoals={
            "kinship_lookup": ["Odo of Nowhere, Count"],
            "life_dates": ["4 May 1203"],
            "digit_sum": ["10"],
        },
        tags={
            "dataset": "toolhop",
            "scenario": "free",
            "answer_type": "number",
            "domain": "genealogy",
            "hops": 3,
            "drift": [],
        },
        source="toolhop:ToolHop.json:202",
        extra={"ground_truth": ["15.0"]},
    )


def test_the_tools_run(tmp_path: Path) -> None:
    (task,) = toolhop.read(write(tmp_path / "rows.json", ROW))

    async def run() -> list[tuple[bool, str]]:
        world = World()
        session = world.open(task)
        calls = [
            ("kinship_lookup", {"person": "Ada of Nowhere"}),
            ("kinship_lookup", {"person": ""}),
            ("life_dates", {"name": "Odo of Nowhere, Count"}),
            ("digit_sum", {"date": "4 May 1203"}),
        ]
        seen = [await session.call(name, arguments) for name, arguments in calls]
        await session.close()
        await world.close()
        return [(each.ok, each.text) for each in seen]

    assert asyncio.run(run()) == [
        (True, '{"name": "Odo Of Nowhere, Count"}'),
        (False, '{"error": "person is required"}'),
        (True, "4 May 1203"),
        (True, "10.0"),
    ]


def test_functions_are_found_by_their_name(tmp_path: Path) -> None:
    """In any order, behind helpers, the last where there are two, none where nothing fits or can run."""
    newer = DEATH.replace("4 May 1203", "5 May 1203")
    broken = "def digit_sum(date):\n    return (\n"
    row = {**ROW, "functions": [broken, DEATH, newer, 3, FATHER]}
    (task,) = toolhop.read(write(tmp_path / "rows.json", row))
    assert task.env["codes"] == {"kinship_lookup": FATHER, "life_dates": newer, "digit_sum": broken}
    (task,) = toolhop.read(write(tmp_path / "rows.json", {**ROW, "functions": [FATHER]}))
    assert task.env["codes"] == {"kinship_lookup": FATHER, "life_dates": "", "digit_sum": ""}

    async def told() -> str:
        world = World()
        session = world.open(task)
        seen = await session.call("digit_sum", {"date": "1"})
        await world.close()
        return seen.text

    assert "digit_sum" in asyncio.run(told())
    assert "not defined" in asyncio.run(told())


def test_a_tool_of_two_hops_is_shown_once(tmp_path: Path) -> None:
    asked = {"first?": "A", "second?": "B", "without a tool?": "C"}
    tools = {"first?": tool("life_dates", "name"), "second?": tool("life_dates", "name", "event")}
    (task,) = toolhop.read(write(tmp_path / "rows.json", {**ROW, "sub_task": asked, "tools": tools}))
    assert [shown["function"] for shown in task.tools] == [tools["second?"]]
    assert task.subgoals == {"life_dates": ["A", "B"]}
    assert task.tags["hops"] == 3


@pytest.mark.parametrize(
    ("answer", "gold"),
    [
        ("15", "15"),
        ("15.0", "15"),
        ("100", "100"),
        ("0.50", "0.50"),
        ("1.10.0", "1.10.0"),
        (7, "7"),
        (7.0, "7"),
    ],
)
def test_only_the_end_of_a_whole_number_goes(answer: Any, gold: str, tmp_path: Path) -> None:
    (task,) = toolhop.read(write(tmp_path / "rows.json", {**ROW, "answer": answer}))
    assert task.answer == [gold]


def test_lines_and_packed_files(tmp_path: Path) -> None:
    rows = [ROW, {**ROW, "id": 203, "question": "Another?"}]
    due = [task.id for task in toolhop.read(write(tmp_path / "rows.json", *rows))]
    lined = tmp_path / "rows.jsonl"
    lined.write_text("\n" + "".join(json.dumps(row) + "\n\n" for row in rows))
    assert [task.id for task in toolhop.read(str(lined))] == due
    packed = tmp_path / "rows.json.gz"
    packed.write_bytes(gzip.compress((tmp_path / "rows.json").read_bytes()))
    assert [task.id for task in toolhop.read(str(packed))] == due


@pytest.mark.parametrize(
    ("change", "wrong"),
    [
        ({"question": None}, "rows.json:2: question: not a text"),
        ({"answer": None}, "rows.json:2: answer: an answer that is no text"),
        ({"tools": []}, "rows.json:2: tools: not an object"),
        ({"tools": {"first?": {}}}, r"rows.json:2: tools.first\?: a tool without a name"),
        ({"functions": None}, "rows.json:2: functions: not an array"),
        ({"sub_task": "x"}, "rows.json:2: sub_task: not an object"),
    ],
)
def test_a_broken_row_has_its_place(change: dict[str, Any], wrong: str, tmp_path: Path) -> None:
    tasks = toolhop.read(write(tmp_path / "rows.json", ROW, {**ROW, **change}))
    assert next(tasks).answer == ["15"]
    with pytest.raises(InputError, match=wrong):
        next(tasks)


@pytest.mark.parametrize(
    ("data", "wrong"),
    [
        ("[3]", "rows.json:1: a row that is not an object"),
        ("[{", "rows.json:1: not JSON"),
        ("PAR1", "rows.json:1: not JSON"),
    ],
)
def test_not_toolhop(data: str, wrong: str, tmp_path: Path) -> None:
    (tmp_path / "rows.json").write_text(data)
    with pytest.raises(InputError, match=wrong):
        list(toolhop.read(str(tmp_path / "rows.json")))


def test_imported_and_played_in_a_pipe(tmp_path: Path) -> None:
    write(tmp_path / "ToolHop.json", ROW)
    brain = say(call("kinship_lookup", '{"person": "Ada of Nowhere"}'), text("<answer>It is 15.</answer>"))
    with ModelServer(brain) as server:
        line = f"cat ToolHop.json | tm tasks --from toolhop - | tm rollout --tasks - --policy m@{server.url}"
        got = pipe(line, tmp_path, {})
    assert got.returncode == 0, got.stderr
    (made,) = records(got.stdout)
    assert made["scores"]["answer"] == 1.0
    assert made["messages"][3]["content"] == '{"name": "Odo Of Nowhere, Count"}'


def test_drifted(tm: Tm, tmp_path: Path) -> None:
    write(tmp_path / "ToolHop.json", ROW)
    got = tm("tasks", "--from", "toolhop", "ToolHop.json", "--drift", "stale")
    assert got.returncode == 0, got.stderr
    (task,) = records(got.stdout)
    assert task["tags"]["drift"] == ["stale"]
    assert [s["function"]["name"] for s in task["env"]["schemas"]] == list(task["env"]["codes"])
