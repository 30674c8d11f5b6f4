"""`tm tools` as a person types it; `tools check` is in test_check.py."""

import json
import re
import sys
from pathlib import Path
from typing import Any

import pytest
from conftest import Tm
from shell import pipe, records

from tmcli import suites, toolbox

PETS: Any = {
    "openapi": "3.0.0",
    "info": {"title": "Pets", "version": "1"},
    "servers": [{"url": "http://127.0.0.1:9"}],
    "paths": {
        "/pets/{id}": {
            "get": {
                "operationId": "get_pet",
                "summary": "Find \x1b[31ma pet",
                "parameters": [
                    {"name": "id", "in": "path", "required": True, "schema": {"type": "integer"}},
                    {"name": "tags", "in": "query", "schema": {"type": "array", "items": {"type": "string"}}},
                ],
                "responses": {
                    "200": {
                        "description": "",
                        "content": {"application/json": {"example": {"name": "Rex\u202e"}}},
                    }
                },
            }
        }
    },
}
SERVER = Path(__file__).parent / "mcp_server.py"


# ---- list ----------------------------------------------------------------------------------------------


def test_list_tells_every_tool(tm: Tm) -> None:
    done = tm("tools", "list")
    assert (done.returncode, done.stderr) == (0, b"")
    lines = done.stdout.decode().splitlines()
    assert len(lines) == sum(len(toolbox.load(name).tools) for name in toolbox.names())
    assert "library.find_book(title: string) [search] - Returns book_id" in lines


def test_list_some(tm: Tm) -> None:
    lines = tm("tools", "list", "museum", "library").stdout.decode().splitlines()
    names = [line.partition(".")[0] for line in lines]
    assert names == ["museum"] * names.count("museum") + ["library"] * names.count("library")


def test_list_as_json(tm: Tm) -> None:
    lines = tm("tools", "list", "library", "--json").stdout.splitlines()
    assert [json.loads(line) for line in lines] == toolbox.load("library").tools


def test_list_under_drift_is_what_a_model_is_shown(tm: Tm) -> None:
    done = tm("tools", "list", "library", "--drift", "stale", "--seed", "3")
    assert done.stdout != tm("tools", "list", "library").stdout
    assert done.stdout == tm("tools", "list", "library", "--drift", "stale", "--seed", "3").stdout
    assert done.stdout != tm("tools", "list", "library", "--drift", "stale", "--seed", "4").stdout


def test_list_a_document(tm: Tm, tmp_path: Path) -> None:
    (tmp_path / "pets.json").write_text(json.dumps(PETS))
    line = b"get_pet(id: integer, tags?: array of string) - Find \\x1b[31ma pet"
    assert tm("tools", "list", "pets.json").stdout.rstrip(b".\n") == line
    both = tm("tools", "list", "pets.json", "museum").stdout
    assert both.startswith(b"pets.json: " + line)
    assert b"\nmuseum." in both


# ---- call ----------------------------------------------------------------------------------------------


def test_a_plan_can_be_followed_by_hand(tm: Tm) -> None:
    task = next(task for task in suites.suite("unseen") if task.tags["hops"] == 2 and task.tags["possible"])
    plan = task.plan or []
    results: dict[int, Any] = {}
    for i, step in enumerate(plan):
        arguments = toolbox.resolve(step["arguments"], results)
        words = [f"{name}={value}" for name, value in arguments.items()]
        done = tm(
            "tools", "call", f"{task.env['toolbox']}.{step['name']}", *words, "--seed", str(task.env["seed"])
        )
        assert (done.returncode, done.stderr) == (0, b"")
        results[i] = json.loads(done.stdout)
    assert toolbox.text_of(toolbox.gold(plan, results)) == task.answer[0]


@pytest.mark.parametrize(
    ("words", "code", "text"),
    [
        (["library.find_book", "title=?"], 1, '{"error": "no book \'?\'"}'),
        (["library.book_info", "book=B1"], 1, "unknown parameter 'book'; parameters are: book_id"),
        (["library.find_book"], 1, "missing parameter 'title'; parameters are: title"),
        (["libary.find_book"], 2, "no toolbox, folder or file is named 'libary'; did you mean 'library'?"),
        (["library.find_bok"], 2, "library has no tool named 'find_bok'; did you mean 'find_book'?"),
        (["library"], 2, "'library' names a toolbox, not a tool; write library.find_book"),
        (
            ["find_book"],
            2,
            "'find_book' does not say where the tool is; write TOOLBOX.find_book, or add --in",
        ),
        (["library.find_book", "Emma"], 2, "'Emma' is no argument; write NAME=VALUE"),
        (["find_book", "--in", "libary"], 2, "no toolbox, folder or file is named 'libary'; did you mean"),
        (["find_book", "--in", "no/box"], 2, "there is no toolbox at no/box; "),
        (["library.find_book", "--drift", "stail"], 2, "no drift is named 'stail'; did you mean 'stale'?"),
    ],
)
def test_errors(tm: Tm, words: list[str], code: int, text: str) -> None:
    done = tm("tools", "call", *words)
    assert done.returncode == code
    where, other = (done.stdout, done.stderr) if code == 1 else (done.stderr, done.stdout)
    assert text in where.decode()
    assert other == b""


def test_list_unknown(tm: Tm) -> None:
    done = tm("tools", "list", "musum")
    assert done.returncode == 2
    assert b"did you mean 'museum'?" in done.stderr


def test_values_are_read_by_their_types(tm: Tm, tmp_path: Path) -> None:
    (tmp_path / "echo.py").write_text(
        "from typing import Any, Literal\n"
        "def echo(text: str = '', n: int = 0, many: list[str] | None = None, size: Literal['5', None] = None,"
        " any: Any = None) -> Any:\n"
        '    """Say it again."""\n'
        "    return [text, n, many, size, any]\n"
    )
    words = ["text=7", "n=7", 'many=["a", "b"]', "size=5", 'any={"a": [1]}', "--in", "echo.py"]
    assert json.loads(tm("tools", "call", "echo", *words).stdout) == ["7", 7, ["a", "b"], "5", {"a": [1]}]
    wrong = tm("tools", "call", "echo", "n=seven", "--in", "echo.py")
    assert (wrong.returncode, json.loads(wrong.stdout)) == (1, {"error": "n must be an integer"})


def test_call_a_drifted_tool(tm: Tm) -> None:
    """What the stale documents say does not work; what the error tells does."""
    shown = tm("tools", "list", "library", "--drift", "stale", "--seed", "3").stdout.decode()
    stale = next(
        match
        for match in re.finditer(r"^library\.(\w+)\((\w+): string\)", shown, re.MULTILINE)
        if match[2] not in toolbox.load("library").schemas[match[1]]
    )
    name, parameter = stale.groups()
    drift = ("--drift", "stale", "--seed", "3")
    done = tm("tools", "call", f"library.{name}", f"{parameter}=x", *drift)
    assert done.returncode == 1
    (real,) = toolbox.load("library").schemas[name]
    assert f"unknown parameter {parameter!r}; parameters are: {real}" in done.stdout.decode()
    assert "unknown" not in tm("tools", "call", f"library.{name}", f"{real}=x", *drift).stdout.decode()


def test_call_a_document(tm: Tm, tmp_path: Path) -> None:
    (tmp_path / "pets.json").write_text(json.dumps(PETS))
    done = tm("tools", "call", "get_pet", "id=3", "--in", "pets.json", "--simulate")
    assert (done.returncode, done.stderr) == (0, b"")
    assert json.loads(done.stdout) == {"name": "Rex\u202e"}
    assert "\u202e" not in done.stdout.decode()
    wrong = tm("tools", "call", "get_pet", "id=three", "--in", "pets.json", "--simulate")
    assert wrong.returncode == 1
    assert b"id must be an integer" in wrong.stdout


def test_an_mcp_server(tm: Tm, tmp_path: Path) -> None:
    server = {"command": sys.executable, "args": [str(SERVER), "stdio"]}
    (tmp_path / "mcp.json").write_text(json.dumps({"mcpServers": {"tests": server}}))
    assert b"add(a: integer, b?: integer) - Add two numbers." in tm("tools", "list", "mcp.json").stdout
    done = tm("tools", "call", "add", "a=3", "--in", "mcp.json")
    assert (done.returncode, done.stdout, done.stderr) == (0, b"5\n", b"")


# ---- init ----------------------------------------------------------------------------------------------


def test_begin_a_toolbox_and_play_it(tm: Tm, tmp_path: Path) -> None:
    done = tm("tools", "init", "my tools/")
    assert (done.returncode, done.stdout) == (0, b"")
    made, *commands = done.stderr.decode().splitlines()
    assert made == "tm tools init: my tools/ is made; next:"
    assert len(commands) == 3
    assert json.loads((tmp_path / "my tools" / "tools.json").read_text())["name"] == "my tools"
    for command in commands:
        line = command.replace("--policy smollm2", "--policy scripted")
        ran = pipe(line, tmp_path, {})
        assert ran.returncode == 0, ran.stderr
    run = json.loads(ran.stdout)
    assert (run["metrics"]["n"], run["metrics"]["accuracy"]) == (20, 1.0)


def test_begin_a_file(tm: Tm, tmp_path: Path) -> None:
    done = tm("tools", "init", "mytools.py")
    assert (done.returncode, done.stdout) == (0, b"")
    _, check, call, play = done.stderr.decode().splitlines()
    assert pipe(check, tmp_path, {}).returncode == 0
    assert json.loads(pipe(call, tmp_path, {}).stdout) == {"price": 4.7, "currency": "usd"}
    line, _, rest = play.rpartition(" | tm rollout ")
    assert rest == "--policy smollm2 --tasks - | tm eval"
    (task,) = records(pipe(line, tmp_path, {}).stdout)
    assert (task["answer"], task["env"]["toolbox"]) == (["4.7"], "mytools.py")


def test_nothing_is_written_over(tm: Tm, tmp_path: Path) -> None:
    (tmp_path / "mytools").mkdir()
    (tmp_path / "mytools" / "tasks.py").write_text("mine")
    (tmp_path / "mytools.py").write_text("mine")
    for name, file in (("mytools", "mytools/tasks.py"), ("mytools.py", "mytools.py")):
        done = tm("tools", "init", name)
        assert done.returncode == 2
        assert done.stderr.decode() == (
            f"tm tools init: {file} exists; use another name; nothing was written\n"
        )
        assert (tmp_path / file).read_text() == "mine"
    assert [path.name for path in (tmp_path / "mytools").iterdir()] == ["tasks.py"]


def test_init_of_something_else(tm: Tm, tmp_path: Path) -> None:
    assert b"neither a folder nor a Python file" in tm("tools", "init", "mytools.json").stderr
    (tmp_path / "file").write_text("")
    done = tm("tools", "init", "file")
    assert (done.returncode, b"cannot write" in done.stderr) == (2, True)


# ---- sandbox -------------------------------------------------------------------------------------------


def test_what_the_sandbox_holds(tm: Tm) -> None:
    done = tm("tools", "sandbox", "--status")
    assert (done.returncode, done.stderr) == (0, b"")
    lines = [re.split(r"  +", line, maxsplit=2) for line in done.stdout.decode().splitlines()]
    assert {"time", "memory", "secrets"} <= {name for name, _, _ in lines}
    assert {answer for _, answer, _ in lines} <= {"yes", "NO"}
    assert done.stdout == tm("tools", "sandbox").stdout
