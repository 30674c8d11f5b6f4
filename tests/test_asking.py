"""`tm filter --reverify --judge --keep --rule language=...`, as a user types them."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest
from conftest import Tm, environment
from servers import ModelServer, text
from trajectories import call, lines, task, trajectory, turn

from tmcli.commands.options.bundles import Serving, Spending
from tmcli.commands.options.judging import Judging
from tmcli.errors import UsageError
from tmcli.filters.judge import QUESTIONS
from tmcli.records import Json

PROSE = "Ich suche zuerst das Buch in der Bibliothek, denn danach wurde gefragt, und antworte dann."


def yes_or_no(body: Json) -> Json:
    """No to each room with an odd number."""
    shown = json.loads(body["messages"][1]["content"].split("\n")[2])["text"]
    word = "no" if int(shown.rstrip("?").rpartition(" ")[2]) % 2 else "yes"
    return text(json.dumps({"why": "so it is", "verdict": word}))


@pytest.fixture
def runs(tmp_path: Path) -> Path:
    file = tmp_path / "runs.jsonl"
    file.write_text(lines(*(trajectory(task=task(i)) for i in range(6))))
    return file


def read(data: bytes | Path) -> list[Json]:
    data = data if isinstance(data, bytes) else data.read_bytes()
    return [json.loads(line) for line in data.splitlines()]


def numbers(records: list[Json]) -> list[int]:
    return [int(one["task"]["env"]["seed"]) for one in records]


def test_a_judge_drops_and_notes(tm: Tm, runs: Path, tmp_path: Path) -> None:
    with ModelServer(yes_or_no) as server:
        found = tm(
            *(
                "filter",
                runs,
                "--preset",
                "off",
                "--judge",
                f"m@{server.url}",
                "--ask",
                "grounded",
                "--concurrency",
                "3",
            ),
            *("--rejects", "dropped.jsonl", "--stats", "stats.jsonl", "--price-in", "1", "--price-out", "2"),
            env=server.env(),
        )
        assert found.returncode == 0, found.stderr
        assert len(server.requests) == 6
    kept, dropped = read(found.stdout), read(tmp_path / "dropped.jsonl")
    assert numbers(kept) == [0, 2, 4]
    assert numbers(dropped) == [1, 3, 5]
    for line, n in zip(found.stdout.splitlines(), (0, 2, 4), strict=True):
        assert line.startswith(runs.read_bytes().splitlines()[n][:-1] + b',"judged":')
    assert kept[0]["judged"]["grounded"] == {"verdict": "yes", "why": "so it is"}
    assert {one["dropped"] for one in dropped} == {"judged_no"}
    assert dropped[0]["dropped_why"] == "grounded: so it is"
    assert dropped[0]["judged"]["grounded"]["verdict"] == "no"
    (stats,) = read(tmp_path / "stats.jsonl")
    assert "grounded_no" in json.dumps(stats["metrics"])
    assert b"6 requests" in found.stderr


def test_verdicts_only_noted(tm: Tm, runs: Path) -> None:
    with ModelServer(yes_or_no) as server:
        asked = ("--judge", f"m@{server.url}", "--ask", "grounded")
        noted = tm("filter", runs, "--preset", "off", *asked, "--no-rule", "judged_no", env=server.env())
        assert numbers(read(noted.stdout)) == [0, 1, 2, 3, 4, 5]
        n = len(server.requests)
        later = tm("filter", "--preset", "off", "--rule", "judged_no,not_judged", input=noted.stdout)
        assert numbers(read(later.stdout)) == [0, 2, 4]
        assert len(server.requests) == n


def test_no_way_to_run_it_changes_a_byte(tm: Tm, runs: Path) -> None:
    with ModelServer(yes_or_no) as server:
        asked = ["filter", runs, "--preset", "off", "--judge", f"m@{server.url}", "--cache", "replies"]
        first = tm(*asked, env=server.env())
        n = len(server.requests)
        for more in (["-j", "2", "--concurrency", "1"], ["--per-task", "5"]):
            again = tm(*asked, *more, env=server.env())
            assert again.returncode == 0, again.stderr
            assert again.stdout == first.stdout
        assert len(server.requests) == n
    assert first.stdout


def test_a_budget_ends_it_well(tm: Tm, runs: Path) -> None:
    with ModelServer(yes_or_no) as server:
        found = tm(
            *(
                "filter",
                runs,
                "--preset",
                "off",
                "--judge",
                f"m@{server.url}",
                "--ask",
                "grounded",
                "--max-requests",
                "2",
            ),
            env=server.env(),
        )
        assert len(server.requests) == 2
    assert found.returncode == 0, found.stderr
    assert b"have no verdict" in found.stderr
    assert b"the budget is used up" in found.stderr
    verdicts = [one["judged"]["grounded"]["verdict"] for one in read(found.stdout)]
    assert verdicts == ["yes", None, None, None, None]  # number 1 is dropped, 2 to 5 are not judged


def test_a_dry_run_asks_nothing(tm: Tm, runs: Path, tmp_path: Path) -> None:
    with ModelServer(yes_or_no) as server:
        asked = ("--judge", f"m@{server.url}", "--dry-run")
        found = tm("filter", runs, "--preset", "off", "-o", "out.jsonl", *asked, env=server.env())
        assert server.requests == server.probes == []
    assert found.returncode == 0, found.stderr
    assert found.stdout == b""
    assert b"questions about 6 trajectories, estimated; nothing was asked" in found.stderr
    assert not (tmp_path / "out.jsonl").exists()


def test_reverify_drops_what_the_tools_do_not_say(tm: Tm, tmp_path: Path) -> None:
    made = tm("synth", "-n", "4", "--drift", "all", "--teacher", "scripted")
    good = made.stdout.splitlines()
    forged = json.loads(good[1])
    next(m for m in forged["messages"] if m["role"] == "tool")["content"] = '{"made": "up"}'
    strange = json.loads(good[2])
    strange["task"]["env"]["kind"] = "moon"
    given = b"\n".join([good[0], json.dumps(forged).encode(), json.dumps(strange).encode(), good[3]]) + b"\n"
    found = tm("filter", "--preset", "off", "--reverify", "--rejects", "dropped.jsonl", input=given)
    assert found.returncode == 0, found.stderr
    assert found.stdout.splitlines() == [good[0], json.dumps(strange).encode(), good[3]]
    (dropped,) = read(tmp_path / "dropped.jsonl")
    assert dropped["dropped"] == "not_reproduced"
    assert 'recorded is \'{"made": "up"}' in dropped["dropped_why"]
    assert b"could not check 1 trajectory" in found.stderr


def test_reverify_and_judge_one_after_the_other(tm: Tm) -> None:
    made = tm("synth", "-n", "3", "--teacher", "scripted")
    with ModelServer(lambda body: text('{"why": "", "verdict": "yes"}')) as server:
        found = tm(
            *("filter", "--preset", "off", "--reverify", "--judge", f"m@{server.url}", "--ask", "grounded"),
            input=made.stdout,
            env=server.env(),
        )
        assert len(server.requests) == 3
    assert found.returncode == 0, found.stderr
    assert [one["judged"]["grounded"]["verdict"] for one in read(found.stdout)] == ["yes"] * 3


WRONG: dict[tuple[str, ...], str] = {
    ("--max-requests", "3"): "--max-requests is for --judge",
    ("--judge", "scripted"): "a judge is a model behind a server",
    ("--judge", "m@http://localhost:1/v1", "--budget-usd", "1"): "--budget-usd needs a price",
    ("--rule", "language=xx", "-j", "2"): "no language has the code 'xx'",
    ("--rule", "not_reproduced"): "--rule not_reproduced needs --reverify",
    ("--keep", "wrong_answer"): "--no-rule wrong_answer lets them through",
    ("--keep", "n_turns <", "-j", "2"): "--keep cannot be read at character 10",
}


@pytest.mark.parametrize("given", WRONG)
def test_wrong_words_are_told(tm: Tm, runs: Path, given: tuple[str, ...]) -> None:
    found = tm("filter", runs, *given, "-o", "out.jsonl", env={"OPENAI_API_KEY": "sk-test"})
    assert found.returncode == 2
    assert WRONG[given] in found.stderr.decode()
    assert not runs.with_name("out.jsonl").exists()


REFUSED: list[tuple[Judging, Serving, Spending, str]] = [
    (Judging(ask="grounded"), Serving(), Spending(), "--ask is for --judge"),
    (Judging(timeout=3), Serving(), Spending(), "--timeout is for --reverify"),
    (Judging(judge="m", timeout=3), Serving(), Spending(), "--timeout is for --reverify"),
    (Judging(concurrency=3), Serving(), Spending(), "--concurrency is for --reverify and --judge"),
    (Judging(reverify=True), Serving(cache="x"), Spending(), "--cache is for --judge"),
    (Judging(), Serving(), Spending(dry_run=True), "--dry-run is for --judge"),
    (Judging(judge="m", ask="truth"), Serving(), Spending(), "no question is called 'truth'"),
    (Judging(judge="m", ask=" ,"), Serving(), Spending(), "has nothing to ask"),
    (Judging(judge="m"), Serving(protocol="text"), Spending(), "--protocol is for models that call tools"),
]


@pytest.mark.parametrize(("judging", "serving", "spending", "told"), REFUSED)
def test_options_that_mean_nothing_are_refused(
    judging: Judging, serving: Serving, spending: Spending, told: str
) -> None:
    with pytest.raises(UsageError, match=told):
        judging.check(serving, spending)
    Judging(judge="m", reverify=True, concurrency=2, timeout=3).check(
        Serving(cache="x"), Spending(dry_run=True)
    )


def test_one_s_own_rule(tm: Tm, runs: Path) -> None:
    found = tm("filter", runs, "--preset", "off", "--keep", "task.env.seed != 3 && correct")
    assert numbers(read(found.stdout)) == [0, 1, 2, 4, 5]
    broken = tm("filter", runs, "--preset", "off", "--keep", "task.nothing == 1")
    assert broken.returncode == 2
    assert b"runs.jsonl:1: trajectory" in broken.stderr
    assert b"--keep finds no 'nothing' in it; ask first, as has(" in broken.stderr


def test_the_language_of_the_prose(tm: Tm) -> None:
    steps: Any = [turn("execution", call(), content=f"<plan>{PROSE}</plan>"), turn("execution", content="7")]
    given = lines(trajectory(), trajectory(steps, task=task(2))).encode()
    kept = tm("filter", "--preset", "off", "--rule", "language=en", input=given)
    assert kept.stdout == given.splitlines(keepends=True)[0]
    assert b"turn 1: de (Ich suche" in kept.stderr
    assert tm("filter", "--preset", "off", "--rule", "language=en|de", input=given).stdout == given


def test_help_names_every_question(tm: Tm) -> None:
    shown = " ".join(tm("filter", "--help", env={"COLUMNS": "200"}).stdout.decode().split())
    assert all(f"{one.name}: {one.says}" in shown for one in QUESTIONS.values())


def test_ctrl_c_ends_it_at_once(runs: Path, tmp_path: Path) -> None:
    """Those that are asked about are called off; nothing half written is left."""
    asked = threading.Event()

    def slow(body: Json) -> Json:
        asked.set()
        over.wait(20)
        return text("yes")

    over = threading.Event()
    with ModelServer(slow) as server:
        words = ["filter", str(runs), "--preset", "off", "--judge", f"m@{server.url}", "-o", "out.jsonl"]
        process = subprocess.Popen(
            [sys.executable, "-m", "tmcli", *words],
            cwd=tmp_path,
            env=environment(server.env()),
            stderr=subprocess.PIPE,
        )
        assert asked.wait(30)
        process.send_signal(signal.SIGINT)
        _, said = process.communicate(timeout=30)
        over.set()
    assert process.returncode == 130
    assert b"Traceback" not in said
    assert not (tmp_path / "out.jsonl").exists()
