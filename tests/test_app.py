"""Names to commands, errors to sentences and exit codes."""

import json
from pathlib import Path

import pytest
import typer
from conftest import Tm

from tmcli.app import COMMANDS, app

ROOT = typer.main.get_command(app)


@pytest.mark.parametrize("name", COMMANDS)
def test_the_table_says_what_the_command_says(name: str) -> None:
    """`tm --help` reads the table, so that it imports no command."""
    command = ROOT.get_command(typer.Context(ROOT), name)  # type: ignore[attr-defined]
    assert command.help.split("\n\n")[0].replace("\n", " ") == COMMANDS[name]


def test_every_command_has_a_file_and_every_file_a_command() -> None:
    files = {path.stem for path in (Path(__file__).parent.parent / "tmcli" / "commands").glob("*.py")}
    assert files - {"__init__", "options"} == set(COMMANDS)


def test_all_commands_are_listed_in_order(tm: Tm) -> None:
    listing = tm("--help").stdout.decode().partition("\nCommands:\n")[2]
    assert [line.split()[0] for line in listing.splitlines()] == list(COMMANDS)


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["flter"], "tm: no command is named 'flter'; did you mean 'filter'?; see tm --help"),
        (["--verzion"], "tm: No such option: --verzion"),
        (["filter", "--forse"], "tm filter: No such option: --forse"),
        (["tasks", "-n", "x"], "tm tasks: Invalid value for '-n'"),
        (["tasks", "--to", "csv"], "tm tasks: Invalid value for '--to'"),
        (["filter", "nowhere.jsonl"], "tm filter: nowhere.jsonl: cannot be read: no such file or directory"),
        (["filter", "."], "tm filter: .: cannot be read: is a directory; name a file in it"),
        (
            ["synth", "--tasks", "trian"],
            "tm synth: no suite, no toolbox and no file is named 'trian'; did you mean 'train'?",
        ),
        (["tasks", "-n", "1", "-o", "no/x.jsonl"], "tm tasks: cannot write no/x.jsonl: no such file or"),
    ],
)
def test_wrong_usage_is_one_sentence_and_2(tm: Tm, words: list[str], says: str) -> None:
    result = tm(*words)
    said = result.stderr.decode()
    assert result.returncode == 2
    assert result.stdout == b""
    assert said.startswith(says)
    assert len(said.splitlines()) == 1


def test_verbose_before_or_after_the_command_shows_where(tm: Tm) -> None:
    for words in (["-v", "filter", "no"], ["filter", "no", "-v"]):
        said = tm(*words).stderr.decode()
        assert said.startswith("tm filter: no: cannot be read")
        assert "Traceback (most recent call last)" in said


def test_quiet_before_or_after_the_command(tm: Tm) -> None:
    loud = tm("filter").stderr.count(b"\n")
    for words in (["-q", "filter"], ["filter", "-q"]):
        assert tm(*words).stderr.count(b"\n") < loud


def test_a_bug_is_told_as_one(tm: Tm, tmp_path: Path) -> None:
    """A broken installation stands for all that nobody foresaw."""
    (tmp_path / "orjson.py").write_text("raise ZeroDivisionError('nobody foresaw')")
    result = tm("filter")
    assert result.returncode == 1
    assert b"this is a bug in tm: ZeroDivisionError: nobody foresaw; -v shows where" in result.stderr
    assert b"Traceback" not in result.stderr


def test_options_can_be_variables(tm: Tm) -> None:
    assert len(tm("tasks", env={"TM_TASKS_N": "3"}).stdout.splitlines()) == 3
    assert len(tm("tasks", env={"TM_TASKS_LIMIT": "3"}).stdout.splitlines()) == 3
    assert len(tm("tasks", "-n", "2", env={"TM_TASKS_N": "3"}).stdout.splitlines()) == 2
    assert b"--from ftrl" in tm("tasks", env={"TM_TASKS_FROM": "ftrl"}).stderr
    listed = tm("tools", "list", "library", env={"TM_TOOLS_LIST_JSON": "1"}).stdout
    assert json.loads(listed.splitlines()[0])["type"] == "function"
