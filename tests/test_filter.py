"""`tm filter`: what passes, what is dropped, and why."""

import gzip
import io
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from conftest import Tm, environment
from hypothesis import given
from hypothesis import strategies as st
from shell import pipe
from trajectories import call, dropped, fault, lines, task, trajectory, turn

from tmcli.blocks import processes
from tmcli.errors import UsageError
from tmcli.filters.duplicates import Seen, fingerprint
from tmcli.filters.rules import RULES, chosen
from tmcli.filters.view import View
from tmcli.records import Drop, Trajectory, decode, encode
from tmcli.steps.filter import Plan, Verdict, kept, rejected, verdicts

GOLDEN = Path(__file__).parent / "golden" / "trajectories.jsonl"


def without(played: Trajectory, index: int) -> Trajectory:
    return replace(played, messages=[m for i, m in enumerate(played.messages) if i != index])


# ---- one line a reason ---------------------------------------------------------------------------

WORK = turn("execution", call())
END = turn("execution")
USER = {"role": "user", "content": "?"}


@pytest.mark.parametrize(
    ("due", "played"),
    [
        (None, trajectory()),
        (None, trajectory([turn("trial", fault(), state="invalid"), WORK, END])),
        (None, trajectory([turn("execution", call(ok=False, reply="error")), WORK, END])),
        (None, trajectory([turn("execution", call(), state="repaired"), END])),
        ("invalid_status", trajectory(status="invalid", stop="infrastructure", prediction=None)),
        ("no_answer", trajectory(prediction=None, stop="max_turns")),
        ("no_answer", trajectory([WORK], prediction=None, stop="max_turns")),
        ("wrong_answer", trajectory(prediction="12")),
        ("wrong_answer", trajectory(prediction="12", reward=1.0, scores={"answer": 1.0})),
        ("unjudged", trajectory(task=task(answer=[]))),
        ("unjudged", trajectory(task=task(check="judge"))),
        ("no_calls", trajectory([END])),
        ("no_calls", trajectory([turn("trial", fault(), state="invalid"), END])),
        ("protocol", trajectory([turn("execution", call(), fault(), state="invalid"), END])),
        ("role_order", without(trajectory(), 1)),
        ("role_order", without(trajectory(), 3)),
        ("role_order", replace(trajectory(), messages=[*trajectory().messages, USER])),
        ("role_order", replace(trajectory(), messages=[])),
        ("unanswered_call", trajectory([turn("execution", call(reply=None), call()), END])),
        ("unanswered_call", trajectory([turn("execution", call(reply=None))])),
    ],
)
def test_reasons(due: str | None, played: Trajectory) -> None:
    assert dropped(played) == due


def test_a_reply_to_no_call_is_unanswered_call() -> None:
    played = trajectory()
    played.messages[3]["tool_call_id"] = "call_9"
    assert dropped(played) == "unanswered_call"


def test_a_call_answered_twice_is_unanswered_call() -> None:
    played = trajectory()
    played.messages.insert(4, played.messages[3])
    assert dropped(played) == "unanswered_call"


def test_too_long_counts_the_dialogue() -> None:
    n = sum(len(message["content"]) for message in trajectory().messages)
    n += len('{"name_":"x"}') + len('{"title":"Emma"}')
    assert dropped(trajectory(), "off", [f"too_long={n}"]) is None
    assert dropped(trajectory(), "off", [f"too_long={n - 1}"]) == "too_long"


def test_duplicate_is_same_task_calls_and_answer() -> None:
    def key(one: Trajectory) -> int:
        return fingerprint(View.of(encode(one)))

    def same(**more: Any) -> Trajectory:
        return trajectory([turn("execution", call(a=1, b=2)), END], **more)

    worded = turn("execution", call(b=2, a=1), content="<plan>said otherwise</plan>")
    assert key(same()) == key(trajectory([worded, END], sample=1))
    others = [
        same(task=task(1)),
        same(prediction="x"),
        trajectory([turn("execution", call(a=1, b=3)), END]),
        trajectory([turn("trial", call(a=1, b=2)), END]),
        trajectory([turn("execution", call("other", a=1, b=2)), END]),
    ]
    assert len({key(one) for one in [same(), *others]}) == 6


@given(st.lists(st.integers(1, 2**64 - 1) | st.integers(1, 30), max_size=3000))
def test_seen_is_a_set(numbers: list[int]) -> None:
    seen, known = Seen(), set()
    for number in numbers:
        assert (number in seen) == (number in known)
        seen.add(number)
        known.add(number)
    assert len(seen) == len(known)
    assert all(number in seen for number in known)


# ---- the order of things -------------------------------------------------------------------------


def through(
    *played: Trajectory, settings: dict[Drop, Any] | None = None, stages: Any = ()
) -> list[tuple[str, str]]:
    """What is said of each, in the order in which it is said."""
    plan = Plan(chosen("default") if settings is None else settings)
    told: list[tuple[str, str]] = []

    def name(line: bytes) -> str:
        return json.loads(line)["id"].partition("#")[2]

    def say(line: bytes, verdict: Verdict) -> None:
        told.append((name(line), str(verdict.reason)))

    judged = zip(map(encode, played), verdicts(map(encode, played), plan), strict=True)
    for line, _ in kept(judged, plan, say, stages):
        told.append((name(line), "kept"))
    return told


def test_a_dropped_twin_does_not_make_the_next_a_duplicate() -> None:
    twins = [without(trajectory(), 1), trajectory(sample=1), trajectory(sample=2)]
    assert through(*twins) == [("0", "role_order"), ("1", "kept"), ("2", "duplicate")]


def test_all_rules_off_keep_all() -> None:
    wrong_twice = [trajectory(prediction="x"), trajectory(prediction="x", sample=1)]
    assert through(*wrong_twice, settings={}) == [("0", "kept"), ("1", "kept")]


class Asked:
    """A stage that looks `ahead` items ahead, and drops some samples."""

    def __init__(self, ahead: int, wrong: set[int]) -> None:
        self.ahead, self.wrong = ahead, wrong

    def run(self, items: Any) -> Iterator[tuple[bytes, Any, Drop | None, str]]:
        waiting: list[tuple[bytes, Any]] = []
        for item in items:
            waiting.append(item)
            if len(waiting) > self.ahead:
                yield self.answer(*waiting.pop(0))
        yield from (self.answer(*item) for item in waiting)

    def answer(self, line: bytes, mine: Any) -> tuple[bytes, Any, Drop | None, str]:
        sample = int(json.loads(line)["id"].partition("#")[2])
        return line, mine, "judged_no" if sample in self.wrong else None, "no"


@given(st.lists(st.sampled_from(["good", "wrong", "no"]), max_size=30), st.integers(0, 9), st.integers(0, 9))
def test_rejects_keep_the_order_however_far_stages_look_ahead(
    kinds: list[str], first: int, second: int
) -> None:
    played = [
        trajectory(sample=i, task=task(i), **({"prediction": "x"} if kind == "wrong" else {}))
        for i, kind in enumerate(kinds)
    ]
    no = [i for i, kind in enumerate(kinds) if kind == "no"]
    stages = [Asked(first, set(no[::2])), Asked(second, set(no[1::2]))]
    due = {"good": "kept", "wrong": "wrong_answer", "no": "judged_no"}
    told = through(*played, stages=stages)
    dropped_ = [one for one in told if one[1] != "kept"]
    assert dropped_ == [(str(i), due[kind]) for i, kind in enumerate(kinds) if kind != "good"]
    assert [one for one in told if one[1] == "kept"] == [
        (str(i), "kept") for i, kind in enumerate(kinds) if kind == "good"
    ]


def test_rejected_adds_to_the_line_and_nothing_else() -> None:
    line = b' {"kind" : "trajectory" , "x": 1.0e2 } '
    once = rejected(line, "leak", 'it says "11"')
    assert once == b' {"kind" : "trajectory" , "x": 1.0e2 ,"dropped":"leak","dropped_why":"it says \\"11\\""}'
    again = rejected(once, "no_answer", "")
    assert again == b' {"kind" : "trajectory" , "x": 1.0e2 ,"dropped":"no_answer","dropped_why":""}'
    other = rejected(b'{"dropped": 1, "x": "\\"dropped\\""}', "leak", "")
    assert json.loads(other) == {"x": '"dropped"', "dropped": "leak", "dropped_why": ""}
    deep = b'{"dropped":1,"x":' + b"[" * 400 + b"]" * 400 + b"}"
    assert json.loads(rejected(deep, "leak", ""))["dropped"] == "leak"


# ---- the table of rules --------------------------------------------------------------------------


def test_rules_are_in_the_order_of_the_reasons() -> None:
    from typing import get_args

    names = list(RULES)
    assert names == [reason for reason in get_args(Drop) if reason in names]


def test_presets_and_single_rules() -> None:
    assert [name for name in chosen("off") if not RULES[name].option] == []
    assert chosen("strict")["too_many_turns"] == 12
    assert "too_many_turns" not in chosen("default")
    assert chosen("default", ["too_many_turns"])["too_many_turns"] == 12
    assert chosen("strict", ["too_many_turns=3"])["too_many_turns"] == 3
    assert "duplicate" not in chosen("default", (), ["duplicate"])
    assert "duplicate" not in chosen("strict", ["duplicate"], ["duplicate"])
    assert list(chosen("strict", ["too_long=9"])) == [
        r for r in RULES if r in chosen("strict", ["too_long=9"])
    ]


@pytest.mark.parametrize(
    ("word", "told"),
    [
        ("duplicat", "did you mean 'duplicate'?"),
        ("too_long", "--rule too_long needs a value"),
        ("too_long=x", "a whole number from 0 is due"),
        ("too_long=-1", "a whole number from 0 is due"),
        ("too_long=", "a whole number from 0 is due"),
        ("near_duplicate=nan", "a number from 0 is due"),
        ("duplicate=1", "takes no value"),
        ("contaminated_tool=both_", "did you mean 'both'?"),
    ],
)
def test_a_rule_that_is_none(word: str, told: str) -> None:
    with pytest.raises(UsageError, match=f".*{told.replace('?', '.')}"):
        chosen("default", [word])


def test_the_table_is_listed(tm: Tm) -> None:
    shown = tm("filter", "--list-rules", "--rule", "too_long=5000", "--no-rule", "duplicate")
    rows = {row.split()[0]: row.split()[1:4] for row in shown.stdout.decode().splitlines()}
    assert list(rows) == ["rule", *RULES]
    assert rows["too_long"] == ["off", "off", "5000"]
    assert rows["duplicate"] == ["on", "on", "off"]
    assert rows["too_many_turns"] == ["off", "12", "off"]
    strict = tm("filter", "--list-rules", "--preset", "strict").stdout.decode()
    assert {row.split()[3] for row in strict.splitlines() if row.startswith("too_many_turns")} == {"12"}


# ---- the command ---------------------------------------------------------------------------------


def test_golden_survivors_byte_for_byte(tm: Tm) -> None:
    """The golden lines have odd spacing, unknown keys and one defect each but the first and last."""
    golden = GOLDEN.read_bytes().splitlines(keepends=True)
    result = tm("filter", GOLDEN, "--rejects", "dropped.jsonl")
    assert result.returncode == 0, result.stderr
    assert result.stdout == golden[0] + golden[-1]
    assert result.stderr.startswith(b"tm filter: kept 2 of 6 trajectories\n")


def test_rejects_say_why(tm: Tm, tmp_path: Path) -> None:
    tm("filter", GOLDEN, "--rejects", "dropped.jsonl", "-o", "kept.jsonl")
    left = [json.loads(line) for line in (tmp_path / "dropped.jsonl").read_bytes().splitlines()]
    assert [one["dropped"] for one in left] == ["wrong_answer", "unjudged", "invalid_status", "duplicate"]
    assert left[0]["dropped_why"] == "'2 shelves' is not '1 shelves'"
    golden = [json.loads(line) for line in GOLDEN.read_bytes().splitlines()]
    why = {"dropped": "", "dropped_why": ""}
    assert [one | why for one in left] == [one | why for one in golden[1:5]]


def test_pipe_of_three(tmp_path: Path) -> None:
    """`tm filter FILE | tm filter - | tm filter`, as a shell runs it; with gzip in front."""
    text = lines(*(trajectory(task=task(i)) for i in range(5)))
    (tmp_path / "in.jsonl.gz").write_bytes(gzip.compress(text.encode()))
    tm = f"{sys.executable} -m tmcli"
    line = f"set -o pipefail; {tm} filter in.jsonl.gz | {tm} filter - | {tm} filter -q"
    result = subprocess.run(
        ["bash", "-c", line], cwd=tmp_path, env=environment(), capture_output=True, text=True
    )
    assert result.returncode == 0, result.stderr
    assert result.stdout == text
    assert result.stderr.count("kept 5 of 5") == 2


def test_several_files_share_the_memory_for_duplicates(tm: Tm, tmp_path: Path) -> None:
    for name in ("a.jsonl", "b.jsonl"):
        (tmp_path / name).write_text(lines(trajectory(), trajectory(task=task(int(name == "a.jsonl")))))
    result = tm("filter", "a.jsonl", "b.jsonl")
    assert result.stdout.decode() == lines(trajectory(), trajectory(task=task(1)))
    assert b"\nduplicate  2  50.0%" in result.stderr


def test_parquet_and_back(tm: Tm, tmp_path: Path) -> None:
    text = lines(trajectory(), trajectory(task=task(1)))
    assert tm("filter", "-o", "x.parquet", input=text.encode()).returncode == 0
    assert tm("filter", "x.parquet").stdout.decode() == text
    assert tm("filter", "--to", "parquet", input=text.encode()).stdout[:4] == b"PAR1"


def test_nothing_kept_is_no_error(tm: Tm) -> None:
    result = tm("filter", input=lines(trajectory(prediction="x")).encode())
    assert (result.returncode, result.stdout) == (0, b"")
    assert b"nothing was kept" in result.stderr


def test_nothing_came(tm: Tm) -> None:
    result = tm("filter", input=b"")
    assert (result.returncode, result.stdout) == (0, b"")
    assert b"there were no trajectories" in result.stderr


def test_unjudged_can_be_kept(tm: Tm) -> None:
    """What a teacher did on tasks without golds can be kept."""
    text = lines(trajectory(task=task(answer=[])))
    assert tm("filter", input=text.encode()).stdout == b""
    assert tm("filter", "--no-rule", "unjudged", input=text.encode()).stdout.decode() == text


def test_unknown_reason(tm: Tm) -> None:
    for words in (("--no-rule", "unjudgd"), ("--rule", "hinted,unjudgd")):
        result = tm("filter", *words, input=b"")
        assert result.returncode == 2
        assert b"did you mean 'unjudged'?" in result.stderr


def test_another_kind_of_record(tm: Tm) -> None:
    result = tm("filter", input=json.dumps(task()).encode())
    assert result.returncode == 2
    assert b"stdin:1: kind: a task record where a trajectory" in result.stderr


def test_broken_lines_stop_or_are_set_aside(tm: Tm, tmp_path: Path) -> None:
    no_task = lines(replace(trajectory(), task={"id": "t"}))
    text = lines(trajectory()) + '{"kind": "traj\n' + no_task + lines(trajectory(prediction="x"))
    stopped = tm("filter", "-o", "kept.jsonl", input=text.encode())
    assert stopped.returncode == 2
    assert b"stdin:2: " in stopped.stderr
    assert not (tmp_path / "kept.jsonl").exists()
    result = tm("filter", "--skip-invalid", "--rejects", "aside.jsonl", input=text.encode())
    assert (result.returncode, result.stdout.decode()) == (0, lines(trajectory()))
    aside = (tmp_path / "aside.jsonl").read_text().splitlines()
    assert aside[:2] == ['{"kind": "traj', no_task.rstrip("\n")]
    assert json.loads(aside[2])["dropped"] == "wrong_answer"
    assert b"2 broken lines" in result.stderr


def test_a_task_that_is_none_is_named(tm: Tm) -> None:
    result = tm("filter", input=lines(replace(trajectory(), id="t#0", task={"id": "t"})).encode())
    assert result.returncode == 2
    assert b"task.kind: trajectory t#0: " in result.stderr


def test_output_is_never_overwritten(tm: Tm, tmp_path: Path) -> None:
    (tmp_path / "kept.jsonl").write_text("mine")
    result = tm("filter", "-o", "kept.jsonl", input=lines(trajectory()).encode())
    assert result.returncode == 2
    assert (tmp_path / "kept.jsonl").read_text() == "mine"
    assert tm("filter", "-o", "kept.jsonl", "--force", input=lines(trajectory()).encode()).returncode == 0
    assert isinstance(decode((tmp_path / "kept.jsonl").read_bytes().rstrip()), Trajectory)


def test_options_that_need_each_other(tm: Tm) -> None:
    for words, told in (
        (("--rule", "expression"), b"--rule expression needs --keep"),
        (("--tokenizer", "tiny"), b"--rule too_many_tokens=N"),
        (("--stats", "-"), b"share stdout"),
        (("--stats", "/dev/stdout"), b"--stats /dev/stdout and the records would share stdout"),
        (("--rejects", "/dev/stdout"), b"share stdout"),
        (("--rejects", "x", "-o", "./x", "--force"), b"--rejects x and -o ./x would share a file"),
        (("--rejects", "x", "--stats", "x"), b"--stats x and --rejects x would share a file"),
        (("--decontaminate", "-"), b"--decontaminate - and the records would share stdin"),
        (("--decontaminate", ""), b"--decontaminate names no tasks"),
        (("-j", "2", "--engine", "ray"), b"--workers"),
    ):
        result = tm("filter", *words)
        assert result.returncode == 2
        assert told in result.stderr


def test_tests_are_not_written_over(tm: Tm, tmp_path: Path) -> None:
    (tmp_path / "tests.jsonl").write_text(lines(trajectory()))
    result = tm("filter", "-o", "tests.jsonl", "--decontaminate", "tests.jsonl", "--force", input=b"")
    assert result.returncode == 2
    assert b"-o tests.jsonl and --decontaminate tests.jsonl would share a file" in result.stderr
    assert (tmp_path / "tests.jsonl").read_text() == lines(trajectory())


def test_outputs_may_share_a_device(tm: Tm) -> None:
    words = ("-o", "/dev/null", "--rejects", "/dev/null", "--stats", "/dev/null")
    assert tm("filter", *words, input=lines(trajectory()).encode()).returncode == 0


def test_stats_say_what_was_asked_for(tm: Tm, tmp_path: Path) -> None:
    words = (
        "--keep",
        "true",
        "--per-task",
        "3",
        "--reverify",
        "--decontaminate",
        "garden",
        "--preset",
        "off",
    )
    assert tm("filter", *words, "--stats", "s", input=lines(trajectory()).encode()).returncode == 0
    options = json.loads((tmp_path / "s").read_bytes())["options"]
    asked = {"keep": "true", "decontaminate": ["garden"], "per_task": 3, "reverify": True}
    assert options.items() > asked.items()


def test_a_full_disk_for_what_waits_is_told(tmp_path: Path) -> None:
    (tmp_path / "in.jsonl").write_text(lines(*(trajectory(task=task(i)) for i in range(300))))
    command = "ulimit -f 100; tm filter in.jsonl --per-task 1 | wc -l"
    done = pipe(command, tmp_path, {})
    assert done.stdout.strip() == b"0"
    assert b"cannot write a temporary file in " in done.stderr
    assert b"TMPDIR" in done.stderr


def test_the_summary_says_what_changed(tm: Tm, tmp_path: Path) -> None:
    easy = [trajectory(task=task(i, tags={"hops": 1})) for i in range(6)]
    hard = [trajectory(task=task(i, tags={"hops": 3}), prediction="x") for i in range(2)]
    text = lines(*easy, *hard).encode()
    result = tm("filter", "--stats", "stats.jsonl", input=text)
    table = [row.split() for row in result.stderr.decode().splitlines()]
    assert ["wrong_answer", "2", "25.0%", "'x'", "is", "not", "'0", "shelves'"] in table
    assert ["hops", "3", "25.0%", "0.0%"] in table
    stats = json.loads((tmp_path / "stats.jsonl").read_bytes())
    assert (stats["kind"], stats["step"]) == ("run", "filter")
    assert stats["counts"] == {"in": 8, "kept": 6, "dropped": {"wrong_answer": 2}, "broken": 0}
    assert stats["metrics"]["mix"]["hops"] == {"1": [0.75, 1.0], "3": [0.25, 0.0]}
    assert stats["options"]["rules"]["duplicate"] is True
    assert tm("filter", "-q", input=text).stderr == b""


# ---- several processes -----------------------------------------------------------------------------

MANY = 1500
"""Trajectories that fill several blocks."""


@pytest.fixture(scope="module")
def many() -> bytes:
    played = [
        trajectory(
            task=task(i % 900, tags={"hops": i % 3}),
            sample=i,
            prediction="x" if i % 7 == 0 else f"{i % 900} shelves",
        )
        for i in range(MANY)
    ]
    return lines(*played).encode() + b'{"torn\n' + lines(trajectory(task=task(9999))).encode()


def test_processes_write_the_same_bytes(many: bytes, tm: Tm, tmp_path: Path) -> None:
    (tmp_path / "in.jsonl").write_bytes(many)
    words = ("filter", "in.jsonl", "in.jsonl", "--skip-invalid", "--per-stratum", "200", "--preset", "strict")
    one = tm(*words, "--rejects", "one.jsonl")
    three = tm(*words, "-j", "3", "--rejects", "three.jsonl")
    assert one.returncode == three.returncode == 0, three.stderr
    assert one.stdout == three.stdout
    assert one.stdout.count(b"\n") == 600
    assert one.stderr == three.stderr
    assert (tmp_path / "one.jsonl").read_bytes() == (tmp_path / "three.jsonl").read_bytes()
    broken = [tm("filter", "in.jsonl", "-j", n) for n in "13"]
    assert broken[0].returncode == broken[1].returncode == 2
    assert broken[0].stderr == broken[1].stderr
    assert f"in.jsonl:{MANY + 1}: not JSON".encode() in broken[0].stderr
    assert broken[0].stdout == broken[1].stdout


def test_head_ends_processes_quietly(many: bytes, tmp_path: Path) -> None:
    (tmp_path / "in.jsonl").write_bytes(many * 5)
    done = pipe("tm filter -q in.jsonl --skip-invalid -j 2 | head -n 1 | wc -l", tmp_path, {})
    assert (done.returncode, done.stdout.strip(), done.stderr) == (0, b"1", b"")
    assert not children(tmp_path)


def children(folder: Path) -> list[int]:
    """Processes of ours that work in this folder."""
    found = []
    for process in Path("/proc").iterdir():
        try:
            if process.name.isdecimal() and os.readlink(process / "cwd") == str(folder):
                words = (process / "cmdline").read_bytes()
                if b"tmcli.blocks.processes" in words:
                    found.append(int(process.name))
        except OSError:
            continue
    return found


def wait(what: Any) -> None:
    until = time.monotonic() + 30
    while not what():
        assert time.monotonic() < until
        time.sleep(0.02)


@pytest.fixture
def running(many: bytes, tmp_path: Path) -> Iterator[subprocess.Popen[bytes]]:
    """`tm filter -j 2` in the middle of a stream, with its processes."""
    command = [sys.executable, "-m", "tmcli", "filter", "-j", "2", "-", "-o", "out.jsonl", "--skip-invalid"]
    with subprocess.Popen(
        command,
        cwd=tmp_path,
        env=environment(),
        stdin=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as process:
        assert process.stdin is not None
        process.stdin.write(many * 3)
        process.stdin.flush()
        wait(lambda: len(children(tmp_path)) == 2)
        yield process
        process.kill()


def test_processes_end_with_their_parent(running: subprocess.Popen[bytes], tmp_path: Path) -> None:
    running.kill()
    running.wait()
    wait(lambda: not children(tmp_path))
    assert not (tmp_path / "out.jsonl").exists()


def test_processes_are_quiet_when_killed_in_the_middle() -> None:
    words = processes._whole
    assert words(io.BytesIO(b"abc"), 3) == b"abc"
    with pytest.raises(EOFError):
        words(io.BytesIO(b"abc"), 4)


def test_ctrl_c_twice_ends_it(running: subprocess.Popen[bytes], tmp_path: Path) -> None:
    """Once, what still comes is read; twice, it stops now."""
    assert running.stderr is not None
    running.send_signal(signal.SIGINT)
    assert b"reading what still comes" in running.stderr.readline()
    running.send_signal(signal.SIGINT)
    assert running.wait(30) == 130
    assert b"Traceback" not in running.stderr.read()
    wait(lambda: not children(tmp_path))


def test_a_killed_process_is_told(running: subprocess.Popen[bytes], many: bytes, tmp_path: Path) -> None:
    assert running.stdin is not None
    assert running.stderr is not None
    for number in children(tmp_path):
        os.kill(number, signal.SIGKILL)
    try:
        for _ in range(20):
            running.stdin.write(many)
        running.stdin.close()
    except BrokenPipeError:
        pass
    assert running.wait(30) == 1
    said = running.stderr.read()
    assert b"one of the processes of --jobs ended (signal 9)" in said
    assert b"Traceback" not in said
    assert not (tmp_path / "out.jsonl").exists()


def test_nothing_heavy_is_loaded(tmp_path: Path) -> None:
    (tmp_path / "in.jsonl").write_text(lines(trajectory()))
    code = (
        "import sys; from tmcli.app import app; import typer\n"
        "typer.main.get_command(app).main(['filter', 'in.jsonl'], standalone_mode=False)\n"
        "heavy = {'torch', 'transformers', 'pyarrow', 'numpy', 'cel', 'rensa', 'py3langid', 'aiohttp'}\n"
        "assert not heavy & set(sys.modules), heavy & set(sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, env=environment(), capture_output=True, timeout=60
    )
    assert done.returncode == 0, done.stderr.decode()
