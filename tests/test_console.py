"""What a person reads on stderr: plain in a pipe, live on a terminal, never moved by what a model said."""

import os
import pty
import subprocess
import sys
import unicodedata

import pytest
from conftest import environment
from hypothesis import given
from hypothesis import strategies as st

from tmcli import console


@pytest.fixture(autouse=True)
def _settings(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(console, "settings", console.Settings("tm test"))


def on_terminal(program: str, **env: str) -> str:
    """What a program of `console` calls shows on a terminal, as sent."""
    ours, theirs = pty.openpty()
    with subprocess.Popen(
        [sys.executable, "-c", f"from tmcli import console\n{program}"],
        stderr=theirs,
        env=environment({"TERM": "xterm", "COLUMNS": "80"} | env),
    ) as process:
        os.close(theirs)
        shown = b""
        while True:
            try:
                more = os.read(ours, 1 << 16)
            except OSError:  # Linux says so when the other end is closed
                break
            if not more:
                break
            shown += more
    os.close(ours)
    assert process.returncode == 0, shown
    return shown.decode()


def test_all_goes_to_stderr(capfd: pytest.CaptureFixture[str]) -> None:
    console.note("one")
    console.warn("two")
    console.error("three")
    console.table("four", ["a"], [[1]])
    out, err = capfd.readouterr()
    assert out == ""
    assert err == "tm test: one\ntm test: warning: two\ntm test: three\nfour\na\n1\n"


def test_quiet(capfd: pytest.CaptureFixture[str]) -> None:
    console.configure("tm test", quiet=True)
    console.note("one")
    console.warn("two")
    console.table("four", ["a"], [[1]])
    with console.progress(1, "five") as progress:
        progress.advance()
    assert capfd.readouterr().err == "tm test: warning: two\n"


@given(st.text())
def test_untrusted_text_moves_nothing(text: str) -> None:
    shown = console.safe(text)
    assert {char for char in shown if unicodedata.category(char) == "Cc"} <= {"\n", "\t"}
    assert not set(shown) & set("\x1b\x07\r\x9b\u202e\u2066")
    if text.isprintable():
        assert shown == text


def test_controls_are_shown() -> None:
    assert console.safe("\x1b]0;owned\x07 \u202eabc\r") == r"\x1b]0;owned\x07 \u202eabc\r"


def test_progress_in_a_pipe_is_one_line(capfd: pytest.CaptureFixture[str]) -> None:
    with console.progress(3, "episodes") as progress:
        progress.advance(ok=1)
        progress.advance(2, ok=1, invalid=1)
    assert capfd.readouterr().err == "tm test: episodes: 3 of 3 in 0 s (ok 2, invalid 1)\n"


def test_a_trainer_tells_its_step_and_what_it_measures(capfd: pytest.CaptureFixture[str]) -> None:
    with console.progress(None, "sft") as progress:
        progress.step(2, 4, {"loss": 1.2345})
        progress.step(4, 4, {"loss": 0.5})
    assert capfd.readouterr().err == "tm test: sft: 4 of 4 in 0 s (loss 0.5)\n"


def test_long_work_shows_life_in_a_pipe(
    capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(console, "EVERY_S", 0.0)
    with console.progress(None, "steps") as progress:
        progress.advance()
        progress.advance()
    assert [line[:17] for line in capfd.readouterr().err.splitlines()] == [
        "tm test: steps: 1",
        "tm test: steps: 2",
        "tm test: steps: 2",
    ]


WORK = """
with console.progress(2, "episodes") as progress:
    progress.advance(ok=1)
    console.warn("look")
    progress.advance(ok=1)
"""


def test_progress_on_a_terminal_is_live() -> None:
    shown = on_terminal(WORK)
    assert "\x1b[" in shown
    assert "2/2" in shown
    assert "look" in shown
    assert shown.rstrip().endswith("episodes: 2 of 2 in 0 s (ok 2)")


def test_a_dumb_terminal_is_not_drawn_on() -> None:
    shown = on_terminal(WORK, TERM="dumb")
    assert "\x1b" not in shown
    assert shown.splitlines() == ["tm: warning: look", "tm: episodes: 2 of 2 in 0 s (ok 2)"]


@pytest.mark.parametrize(
    ("env", "coloured"), [({}, True), ({"NO_COLOR": "1"}, False), ({"TERM": "dumb"}, False)]
)
def test_colour_only_where_it_is_wanted(env: dict[str, str], coloured: bool) -> None:
    shown = on_terminal("console.warn('x'); console.table('t', ['a'], [[1]])", **env)
    assert ("\x1b[" in shown) is coloured


def test_a_table_is_aligned(capfd: pytest.CaptureFixture[str]) -> None:
    rows = [["base", 3, 0.12345, None], ["sft\x1b", 12, 1.0, "90.1 % (88.0-92.0)"]]
    console.table("Results", ["policy", "n", "score", "accuracy"], rows)
    assert capfd.readouterr().err.splitlines() == [
        "Results",
        "policy    n  score            accuracy",
        "base      3  0.123                   -",
        "sft\\x1b  12      1  90.1 % (88.0-92.0)",
    ]


def test_an_empty_table_has_its_head(capfd: pytest.CaptureFixture[str]) -> None:
    console.table("", ["a", "b"], [])
    assert capfd.readouterr().err == "a  b\n"


def test_nobody_listening_is_no_error() -> None:
    program = "from tmcli import console; console.note('x'); console.warn('y')"
    ours, theirs = os.pipe()
    os.close(ours)
    result = subprocess.run([sys.executable, "-c", program], stderr=theirs, env=environment())
    os.close(theirs)
    assert result.returncode == 0
