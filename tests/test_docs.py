"""The README cannot rot: its reference is the `--help` of every command, compared here.

`TM_UPDATE_DOCS=1 pytest tests/test_docs.py` (or `make docs`) writes it instead.
"""

import doctest
import os
import re
import subprocess
import sys
from functools import cache
from importlib import import_module
from pathlib import Path

import pytest

from tmcli.records import KINDS

ROOT = Path(__file__).parent.parent
README = ROOT / "README.md"
WITH_EXAMPLES = [file for file in sorted(ROOT.glob("tmcli/**/*.py")) if ">>> " in file.read_text("utf-8")]
BEGIN, END = "<!-- help:begin (make docs writes this) -->\n", "<!-- help:end -->"


@cache
def help_of(*command: str) -> str:
    """`tm COMMAND --help` as a pipe of a fixed width sees it."""
    plain = {key: value for key, value in os.environ.items() if not key.startswith("TM_")}
    result = subprocess.run(
        [sys.executable, "-m", "tmcli", *command, "--help"],
        env=plain | {"COLUMNS": "96", "TERM": "dumb"},
        capture_output=True,
        text=True,
    )
    assert result.returncode == 0, result.stderr
    return "\n".join(line.rstrip() for line in result.stdout.strip().splitlines())


def subcommands(text: str) -> list[str]:
    """The names under "Commands:"; a wrapped description is indented deeper."""
    _, _, listing = text.partition("\nCommands:\n")
    return re.findall(r"^  (\w+)", listing, re.MULTILINE)


def commands(*parent: str) -> list[tuple[str, ...]]:
    """Every command, subcommands after their group."""
    return [parent, *(name for sub in subcommands(help_of(*parent)) for name in commands(*parent, sub))]


def test_reference_is_the_help() -> None:
    before, _, rest = README.read_text().partition(BEGIN)
    written, _, after = rest.partition(END)
    assert after, f"README.md lacks its markers {BEGIN.strip()} and {END}"
    due = "".join(
        f"\n### `{' '.join(('tm', *name))}`\n\n```text\n{help_of(*name)}\n```\n" for name in commands()
    )
    due += "\n"
    if os.environ.get("TM_UPDATE_DOCS"):
        README.write_text(before + BEGIN + due + END + after)
    else:
        assert written == due, "the help changed: run `make docs`"


def test_every_help_has_an_example_and_a_word_on_each_option() -> None:
    wrong = []
    for name in commands()[1:]:
        text, words = help_of(*name), " ".join(("tm", *name))
        if not text.startswith(f"Usage: {words} "):
            wrong.append(f"{words}: its usage line")
        if not subcommands(text) and not re.search(rf"^ +(.*\| )?(\$ )?{words}\b", text, re.MULTILINE):
            wrong.append(f"{words}: no example")
        # An option with its description on the same line, or on the next one, indented deep.
        for option, described in re.findall(r"^  (-[^\n]*)\n( {10})?", text, re.MULTILINE):
            if not described and "  " not in option.strip():
                wrong.append(f"{words} {option}: not a word about it")
    assert wrong == []


def test_every_kind_of_record_is_in_the_table() -> None:
    _, _, section = README.read_text().partition("\n## Records\n")
    rows = re.findall(r"^\| `(\w+)` \|", section.partition("\n## ")[0], re.MULTILINE)
    assert rows == list(KINDS)


def test_local_links_lead_somewhere() -> None:
    links = re.findall(r"\]\((?!https?:|#)([^)#]+)\)", README.read_text())
    assert links
    assert [link for link in links if not (README.parent / link).exists()] == []


@pytest.mark.parametrize("file", WITH_EXAMPLES, ids=lambda file: str(file.relative_to(ROOT)))
def test_examples_in_docstrings(file: Path) -> None:
    name = ".".join(file.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
    done = doctest.testmod(import_module(name))
    assert done.attempted
    assert not done.failed
