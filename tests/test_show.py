"""`tm show`: what a person sees."""

import json
import os
import pty
import re
import signal
import subprocess
import sys
from pathlib import Path

from conftest import Tm, environment
from hypothesis import given
from hypothesis import strategies as st
from trajectories import call, fault, lines, task, trajectory, turn

from tmcli.records import Run, Score, Trajectory, encode
from tmcli.report import terminal
from tmcli.report.transcript import transcript

EPISODE = """\
== {id}  scripted  (toolbox library, split seen, hops 2)
user: How many shelves has room 0?

1. trial
   try: a guess
   -> find_book(name="x")
   <- error {{"error": "no parameter name"}}

2. execution, invalid
   learned: It is called title.
   plan: look
      it up
   -> find_book(title="Emma", n=1)
   <- {{"id": 1}}
   -> a call that could not be read
   <- error {{"error": "write the call again"}}

3. execution
   answer: 0 shelves

right: 0 shelves (stop: answer); accepted: 0 shelves
reward 1.2 = outcome 1  answer 1  format 0.5  trial 1  repeat 0  recovery 1  length 0  forged 0  guess 0

"""


def test_a_whole_episode(tm: Tm) -> None:
    error = call(ok=False, reply='{"error": "no parameter name"}', name="x")
    said = "<experience>It is called title.</experience>\n<plan>look\nit up</plan>"
    one = trajectory(
        [
            turn("trial", error, content="<trial>a guess</trial>"),
            turn("execution", call(title="Emma", n=1), fault(), state="invalid", content=said),
            turn("execution", content="<answer>0 shelves</answer>"),
        ]
    )
    result = tm("show", "--text", input=lines(one).encode())
    assert result.returncode == 0, result.stderr
    assert result.stdout.decode() == EPISODE.format(id=one.id)


def test_nothing_reaches_the_terminal_that_could_steer_it(tm: Tm) -> None:
    evil = "a\x1b]0;owned\x07b\x9b31mc\u202e\rd"
    turns = [
        turn("trial", call(evil, reply=evil, **{evil: evil}), content=evil),
        turn("execution", content=evil),
    ]
    nasty = trajectory(turns, task=task(answer=[evil]), prediction=evil, policy={"name": evil})
    out = tm("show", "--text", input=lines(nasty).encode()).stdout.decode()
    assert not set(out) & set("\x1b\x07\x9b\u202e\r")
    assert "\\x1b]0;owned" in out


def test_choosing(tm: Tm) -> None:
    some = [trajectory(task=task(i), sample=s) for i in range(2) for s in range(2)]
    text = lines(*some).encode()
    assert tm("show", "--text", input=text).stdout.count(b"==") == 4
    assert tm("show", "--text", "-n", "1", input=text).stdout.count(b"==") == 1
    chosen = tm("show", "--text", "--id", some[2].task["id"], input=text).stdout.decode()
    assert [line.split()[1] for line in chosen.splitlines() if line.startswith("==")] == [
        some[2].id,
        some[3].id,
    ]


def test_records_go_on_where_nobody_reads(tm: Tm) -> None:
    """Byte for byte, so that `tm show --grep ... | tm filter` is a choice by pattern."""
    some = [trajectory(task=task(i), prediction=f"{i} shelves", policy={"name": f"p{i}"}) for i in range(4)]
    text = b"".join(line.replace(b'"v":1', b'"v": 1') + b"\n" for line in lines(*some).encode().splitlines())
    assert tm("show", input=text).stdout == text
    assert tm("show", "--grep", "p[12]$|p[12] ", input=text).stdout.splitlines() == text.splitlines()[1:3]
    assert tm("show", "-n", "1", "--grep", "^right: [23]", input=text).stdout == text.splitlines(True)[2]


def test_an_invalid_one_says_what_broke(tm: Tm) -> None:
    broken = trajectory(
        status="invalid", stop="infrastructure", failure="no reply from the server", prediction=None
    )
    out = tm("show", "--text", input=lines(broken).encode()).stdout.decode()
    assert "not judged: no answer (stop: infrastructure)" in out
    assert "invalid: no reply from the server" in out
    assert "reward" not in out


def test_nothing_to_show(tm: Tm) -> None:
    assert b"there is nothing to show" in tm("show", input=b"").stderr
    for words in (["--id", "x"], ["--grep", "nowhere"]):
        result = tm("show", *words, input=lines(trajectory()).encode())
        assert (result.returncode, result.stdout) == (2, b"")
        assert f"nothing is left by {' '.join(words)}".encode() in result.stderr


# ---- patterns ------------------------------------------------------------------------------------


def test_a_pattern_that_is_none(tm: Tm) -> None:
    result = tm("show", "--grep", "find_book(", input=lines(trajectory()).encode())
    assert result.returncode == 2
    assert b"is no pattern" in result.stderr


def test_a_catastrophic_pattern_ends_in_a_sentence(tm: Tm) -> None:
    slow = trajectory(prediction="a" * 60 + "!")
    result = tm("show", "--grep", r"(a|aa)+$", input=lines(slow).encode(), timeout=30)
    assert result.returncode == 2
    assert b"takes longer than 1 s on one line" in result.stderr


# ---- long texts ----------------------------------------------------------------------------------


def test_long_texts_are_folded(tm: Tm) -> None:
    many = "\n".join(f"line {i}" for i in range(40))
    wide = "x" * 5000 + "the end"
    one = trajectory(
        [
            turn("trial", call(wide, reply=many)),
            turn("execution", call(title="Emma", reply=wide)),
            turn("execution"),
        ]
    )
    text = lines(one).encode()
    short = tm("show", "--text", input=text).stdout.decode()
    assert "line 7\n      ... 28 more lines, 221 characters (--full) ...\n      line 36" in short
    assert "line 20" not in short
    assert "the end" in short  # a reply's end often tells why
    assert max(map(len, short.splitlines())) < 1300
    whole = tm("show", "--text", "--full", input=text).stdout.decode()
    assert "line 20" in whole
    assert wide in whole


# ---- other kinds ---------------------------------------------------------------------------------

KINDS = """\
== {id}  task  (toolbox library, split seen, hops 2)
user: How many shelves has room 0?

tools (toolbox)
   find_book(title?)

plan
   -> find_book(title="Emma")

sub-goal: find_book: a | b
accepted (exact): 0 shelves

== t1#0  score  scripted  (split seen)
wrong (stop: answer), 2 calls, 1 errors
outcome 0  reward unknown

== run of tm sft, 12.3 s -> ckpt
options
   model: tiny
   drift: stale, wrap
metrics
   loss: 0.123
   groups 1
      by
         split: seen
      accuracy: 0.5

"""


def test_other_kinds_of_records(tm: Tm) -> None:
    plan = [{"name": "find_book", "arguments": {"title": "Emma"}}]
    one = task(plan=plan, subgoals={"find_book": ["a", "b"]})
    score = Score(
        id="t1#0",
        task_id="t1",
        correct=False,
        scores={"outcome": 0.0, "reward": None},
        calls=2,
        errors=1,
        stop="answer",
        tags={"split": "seen"},
        policy={"name": "scripted"},
    )
    run = Run(
        step="sft",
        options={"model": "tiny", "drift": ["stale", "wrap"], "suffix": ""},
        versions={},
        counts={},
        seconds=12.345,
        output="ckpt",
        metrics={"loss": 0.12345, "groups": [{"by": {"split": "seen"}, "accuracy": 0.5}]},
    )
    text = json.dumps(one).encode() + b"\n" + encode(score) + b"\n" + encode(run) + b"\n"
    result = tm("show", "--text", input=text)
    assert result.returncode == 0, result.stderr
    assert result.stdout.decode() == KINDS.format(id=one["id"])


# ---- terminals -----------------------------------------------------------------------------------

HOSTILE = [
    *(chr(i) for i in range(0x20) if chr(i) not in "\t\n"),  # C0
    *(chr(i) for i in range(0x7F, 0xA0)),  # DEL, C1
    "\x1b]0;title\x07",  # OSC: the title
    "\x1b]8;;http://evil\x1b\\link\x1b]8;;\x1b\\",  # OSC: a link
    "\x1b]52;c;AAAA\x07",  # OSC: the clipboard
    "\x1b[2J\x1b[1;1H\x1b[31m",  # CSI: clear, move, colour
    "\x1bP+q544e\x1b\\",  # DCS: asks the terminal, which would type an answer
    "\x9b31m\x9d0;t\x9c",  # the same in C1
    "\x1b[?1049h\x1bc",
    *"\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069\ufeff",  # bidi
    "\r\x1b[Kright: 1",
]
STEERING = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069\ufeff]")
COLOURS = re.compile(r"\x1b\[[0-9;]*m")


def nasty(evil: str) -> Trajectory:
    """It is everywhere where a model, a tool or a task can put it."""
    one = task(answer=[evil], tags={evil: evil})
    one["messages"][0]["content"] = evil
    turns = [
        turn("trial", call(evil, reply=evil, **{evil: evil}), content=f"<trial>{evil}</trial>{evil}"),
        turn("execution", fault(evil), content=f"<experience>{evil}</experience>", state="invalid"),
    ]
    return trajectory(turns, task=one, prediction=evil, policy={"name": evil}, failure=evil)


def screen(words: list[str], cwd: Path, keys: bytes = b"", **env: str) -> tuple[int, str]:
    """What a terminal is sent by `tm WORDS`, and the exit code."""
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", "tmcli", *words],
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        cwd=cwd,
        env=environment({"TERM": "xterm", "PAGER": "cat"} | env),
        start_new_session=True,
    )
    os.close(theirs)
    said = b""
    try:
        while True:
            try:
                data = os.read(ours, 1 << 16)
            except OSError:  # nobody has the other end any more
                break
            said += data
            if keys and keys in said:
                process.send_signal(signal.SIGINT)
                keys = b""
        return process.wait(60), said.decode().replace("\r\n", "\n")
    finally:
        process.kill()
        process.wait()
        os.close(ours)


def test_no_escape_of_a_corpus_reaches_the_terminal(tm: Tm, tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text(lines(*(nasty(f"a{evil}b") for evil in HOSTILE)))
    (tmp_path / "b.jsonl").write_text(lines(*(nasty(f"a{evil}b") for evil in HOSTILE)))
    for words in (["a.jsonl"], ["a.jsonl", "--full"], ["--diff", "a.jsonl", "b.jsonl"]):
        plain = tm("show", "--text", *words).stdout.decode()
        assert not STEERING.search(plain)
        code, text = screen(["show", *words], tmp_path)
        assert code == 0
        assert COLOURS.search(text)
        assert not STEERING.search(COLOURS.sub("", text))
        assert COLOURS.sub("", text) == plain
    assert plain.count("==") == len(HOSTILE)


@given(st.text())
def test_no_text_steers_a_terminal(evil: str) -> None:
    said = [terminal.coloured(line) for line in transcript(nasty(evil))]
    assert not STEERING.search(COLOURS.sub("", "".join(said)))
    assert not any("\n" in line for line in said)


def test_colours_are_only_for_terminals_that_want_them(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text(lines(trajectory()))
    assert "\x1b[1;36m1. trial\x1b[0m" in screen(["show", "a.jsonl"], tmp_path)[1]
    assert "\x1b" not in screen(["show", "a.jsonl"], tmp_path, NO_COLOR="1")[1]
    assert "\x1b" not in screen(["show", "a.jsonl"], tmp_path, TERM="dumb")[1]


def test_what_is_found_stands_out(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text(lines(trajectory()))
    text = screen(["show", "a.jsonl", "--grep", "shelv[a-z]+"], tmp_path)[1]
    assert "\x1b[1;7mshelves\x1b[0m" in text


# ---- the pager -----------------------------------------------------------------------------------


def test_a_terminal_gets_a_pager(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text(lines(trajectory()))
    program = tmp_path / "pages"
    program.write_text('#!/bin/sh\necho "pager $1 $LESS"\nexec cat\n')
    program.chmod(0o755)
    code, text = screen(["show", "a.jsonl"], tmp_path, PAGER=f"{program} -x")
    assert (code, text.startswith("pager -x FRX\n")) == (0, True)
    assert "\x1b[1;32mright: 0 shelves" in text
    assert "pager" not in screen(["show", "a.jsonl", "--no-pager"], tmp_path, PAGER=f"{program} -x")[1]
    assert "right: 0 shelves" in screen(["show", "a.jsonl"], tmp_path, PAGER="no-such-program")[1]


def test_quitting_the_pager_ends_quietly(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text(lines(*(trajectory(task=task(i)) for i in range(1500))))
    assert screen(["show", "a.jsonl"], tmp_path, PAGER="head -1")[0] == 0
    assert screen(["show", "a.jsonl"], tmp_path, PAGER="head -1")[1].count("\n") == 1


def test_ctrl_c_is_for_the_pager_first(tmp_path: Path) -> None:
    """It is let end in its own way, and nothing is left running."""
    (tmp_path / "a.jsonl").write_text(lines(trajectory()))
    program = tmp_path / "pages"
    program.write_text("#!/bin/sh\ntrap '' INT\ncat > /dev/null\necho reading\nsleep 1\necho done\n")
    program.chmod(0o755)
    code, text = screen(["show", "a.jsonl"], tmp_path, keys=b"reading", PAGER=str(program))
    assert "done" in text
    assert "Traceback" not in text
    assert code in (0, 130)
