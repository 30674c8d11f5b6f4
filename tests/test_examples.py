"""What we show works: every `examples/*.sh` runs, and every `tm` line we print could be typed."""

import os
import re
import shlex
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
EXAMPLES = sorted((ROOT / "examples").glob("*.sh"))
SHOWN = [*EXAMPLES, ROOT / "README.md"]
SMALL = {
    "MODEL": "tiny",
    "TRAIN": "8",
    "TEST": "2",
    "EPOCHS": "1",
    "RL_STEPS": "1",
    "RL_GROUP": "2",
    "MAX_TOKENS": "1100",
    "MAX_NEW": "24",
    "SIZE": "smoke",  # of study.sh
    "ARMS": "base trial trial-rl",
}


def run(script: Path, out: Path) -> subprocess.CompletedProcess[str]:
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    return subprocess.run(
        ["sh", script],
        cwd=out.parent,
        env=os.environ | SMALL | {"OUT": str(out), "PATH": path},
        capture_output=True,
        text=True,
    )


def files(folder: Path) -> dict[str, float]:
    """What lies in the output folder, and when it was written."""
    return {str(path): path.stat().st_mtime for path in folder.rglob("*") if path.is_file()}


@pytest.mark.slow
@pytest.mark.timeout(900)  # it trains twice: a busy machine takes far longer
@pytest.mark.parametrize("script", EXAMPLES, ids=lambda path: path.name)
def test_example_runs_and_a_rerun_continues(script: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    first = run(script, out)
    assert first.returncode == 0, first.stderr
    before = files(out)
    assert before
    again = run(script, out)
    assert again.returncode == 0, again.stderr
    weights = [name for name in before if name.endswith(".safetensors")]
    assert weights
    assert {name: before[name] for name in weights} == {name: files(out)[name] for name in weights}


@cache
def help_of(*command: str) -> str:
    result = subprocess.run(
        [sys.executable, "-m", "tmcli", *command, "--help"], capture_output=True, text=True
    )
    return result.stdout if result.returncode == 0 else ""


def tm_lines(path: Path) -> list[str]:
    """Lines with a `tm` command, continuations joined: of a script all, of Markdown those in blocks of
    shell, and those of the generated help that begin with a command."""
    text = path.read_text()
    if path.suffix != ".md":
        return shell_lines(text)
    blocks = re.findall(r"^```(\w*)\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    shown = [line for language, block in blocks if language == "sh" for line in shell_lines(block)]
    helped = [line for language, block in blocks if language == "text" for line in shell_lines(block)]
    return shown + [line for line in helped if re.match(r"tm [a-z]|.*\| tm [a-z]", line)]


def shell_lines(text: str) -> list[str]:
    lines = [line.strip() for line in text.replace("\\\n", " ").splitlines()]
    return [line for line in lines if re.search(r"\btm [a-z-]", line) and not line.startswith("#")]


def invocations(line: str) -> list[list[str]]:
    """`step X tm a --b | tm c > f` -> [["a", "--b"], ["c"]]."""
    lexer = shlex.shlex(line, posix=True, punctuation_chars="|&;()<>")
    lexer.whitespace_split = True
    found: list[list[str]] = []
    words: list[str] | None = None
    for word in lexer:
        if set(word) <= set("|&;()<>"):
            words = None
        elif word == "tm" and words is None:
            words = []
            found.append(words)
        elif words is not None:
            words.append(word)
    return found


CASES = [
    pytest.param(words, id=f"{path.name}: tm {' '.join(words)}"[:100])
    for path in SHOWN
    for line in tm_lines(path)
    for words in invocations(line)
]


@pytest.mark.parametrize("words", CASES)
def test_command_and_options_exist(words: list[str]) -> None:
    if words[0].startswith("-"):
        assert words[0] in help_of()
        return
    command = words[:1]
    text = help_of(*command)
    assert text, f"no command {command[0]!r}"
    if "COMMAND [ARGS]" in text:
        command = words[:2]
        text = help_of(*command)
        assert text, f"no command {' '.join(command)!r}"
    known = set(re.findall(r"(?<![\w-])--?[a-zA-Z][\w-]*", text))
    used = {word.partition("=")[0] for word in words if re.match(r"--?[a-zA-Z]", word)}
    assert used <= known


def test_there_is_something_to_check() -> None:
    assert len(CASES) > 10
