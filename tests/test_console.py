"""What a person reads on stderr: plain in a pipe, live on a terminal, never moved by what a model said."""

import os
import pty
import re
import subprocess
import sys
import termios
import time
import unicodedata

import pytest
from conftest import environment
from hypothesis import given
from hypothesis import strategies as st

from tmcli import console


@pytest.fixture(autouse=True)
def _settings(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(console, "settings", console.Settings("tm test"))


def on_terminal(program: str, columns: int = 80, **env: str) -> str:
    """What a program of `console` calls shows on a terminal so wide, as sent."""
    ours, theirs = pty.openpty()
    termios.tcsetwinsize(theirs, (24, columns))
    with subprocess.Popen(
        [sys.executable, "-c", f"from tmcli import console\n{program}"],
        stderr=theirs,
        env=environment({"TERM": "xterm"} | env),
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
            if b"RESIZE" in shown:
                termios.tcsetwinsize(ours, (24, 40))
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


BUSY = """
import time
from tmcli.console import Piece
facts = {{"1.2k tokens/s": 40, "$1.23": 75, "256 running": 50, "limit 128": 30}}
more = lambda: [Piece(text, weight) for text, weight in facts.items()]
with console.progress(20000, "episodes", more) as progress:
    for _ in range(1234):
        progress.advance(correct=1, failed=0, invalid=0)
    progress.advance(0, invalid=5)
    until = time.monotonic() + 20
    while progress.seconds < {seconds} and time.monotonic() < until:
        time.sleep(0.05)
        {each}
"""


def drawn(shown: str) -> list[str]:
    """The live lines, without what moves the cursor."""
    lines = re.split(r"[\r\n]+", re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", shown))
    return [line.rstrip() for line in lines if line.startswith("episodes ")]


@pytest.mark.parametrize(
    ("columns", "there", "not_there"),
    [
        (40, ["1234/20000", "correct 1234"], ["invalid 5", "$1.23", "running", "eta", "%"]),
        (80, ["1234/20000", "correct 1234", "invalid 5", "$1.23", "/s", "eta "], ["tokens", "limit", "%"]),
        (200, ["6%", "/s", "1.2k tokens/s", "$1.23", "256 running", "limit 128", "eta "], ["failed"]),
    ],
)
def test_the_live_line_fits(columns: int, there: list[str], not_there: list[str]) -> None:
    lines = drawn(on_terminal(BUSY.format(seconds=0.5, each="pass"), columns))
    full = [line for line in lines if "1234/20000" in line]
    assert full
    assert max(map(len, lines)) < columns
    assert all(word in full[-1] for word in there), full[-1]
    assert not any(word in full[-1] for word in not_there), full[-1]


def test_the_live_line_follows_the_terminals_width() -> None:
    once = "progress.seconds > 0.5 and not progress.counts.get('x')"
    each = f"if {once}: console.warn('RESIZE'); progress.advance(x=1)"
    shown = on_terminal(BUSY.format(seconds=1.5, each=each), 200)
    before, after = shown.split("RESIZE", 1)
    assert max(map(len, drawn(before))) > 40
    assert len(drawn(after)[-1]) < 40


def test_the_live_line_is_drawn_seldom() -> None:
    """However fast the episodes end."""
    each = "[progress.advance(correct=1) for _ in range(1000)]"
    shown = on_terminal(BUSY.format(seconds=1.0, each=each))
    assert len(drawn(shown)) <= 10 * 1.5


def test_no_colour_on_the_live_line_where_it_is_not_wanted() -> None:
    shown = on_terminal(BUSY.format(seconds=0.5, each="pass"), NO_COLOR="1")
    assert drawn(shown)
    assert not re.search(r"\x1b\[[0-9;]*m", shown)


def test_where_nothing_is_drawn_rich_is_not_loaded(capfd: pytest.CaptureFixture[str]) -> None:
    program = (
        "import sys; from tmcli import console\n"
        "with console.progress(1, 'episodes') as progress: progress.advance()\n"
        "assert 'rich' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", program], check=True, env=environment())


@given(
    pieces=st.lists(st.tuples(st.text("abc ", min_size=1, max_size=30), st.integers(0, 9)), min_size=1),
    width=st.integers(0, 200),
)
def test_the_weightiest_stay(pieces: list[tuple[str, int]], width: int) -> None:
    given_pieces = [console.Piece(*piece) for piece in pieces]
    line = console.fit(given_pieces, width)
    assert len(line) <= width
    heaviest = max(given_pieces, key=lambda piece: piece.weight).text
    assert heaviest[:width] in line
    whole = "  ".join(piece.text for piece in given_pieces)
    if len(whole) <= width:
        assert line == whole


def test_details_only_when_asked_for(capfd: pytest.CaptureFixture[str]) -> None:
    console.detail("again: 429")
    console.configure("tm test", verbose=True)
    console.detail("again: \x1b429")
    assert capfd.readouterr().err == "tm test: again: \\x1b429\n"


def test_saying_that_one_is_done_costs_little() -> None:
    """Where episodes end by the thousand, telling so must not be what takes the time."""
    progress = console.Progress(None, "episodes")
    start = time.process_time()
    for _ in range(10_000):
        progress.advance(correct=1, failed=0, invalid=0)
    assert time.process_time() - start < 1.0  # a busy machine's bound; about 20 ms
    assert progress.counts == {"correct": 10_000, "failed": 0, "invalid": 0}


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
