"""What is played is written, counted and summed up; what cannot be right is said at the end."""

from __future__ import annotations

import gzip
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from trajectories import trajectory

from tmcli import console, ledger
from tmcli.errors import InputError, RunError
from tmcli.journal import Journal
from tmcli.meter import Meter, Price
from tmcli.records import AnyRecord, Trajectory
from tmcli.score import judge


class Listed:
    """A writer that remembers."""

    def __init__(self) -> None:
        self.records: list[AnyRecord] = []

    def write(self, record: AnyRecord) -> None:
        self.records.append(record)


GOOD = judge(trajectory())
BAD = replace(
    GOOD, status="invalid", stop="infrastructure", failure="the server is down", scores={}, reward=None
)


WRONG = replace(GOOD, scores=GOOD.scores | {"answer": 0.0})
UNJUDGED = replace(GOOD, scores=GOOD.scores | {"answer": None})


class Player:
    """What is told about who plays."""

    def __init__(self, meter: Meter | None = None, stopped: str = "") -> None:
        self.meter = meter or Meter()
        self.running = 0
        self.stopped = stopped


def keep(
    *trajectories: Trajectory, done: set[str] | None = None, player: Player | None = None
) -> list[AnyRecord]:
    out = Listed()
    ledger.keep(trajectories, Journal(out, done or set()), None, player or Player())
    return out.records


def test_some_invalid_is_a_warning(capsys: pytest.CaptureFixture[str]) -> None:
    assert keep(GOOD, BAD, GOOD) == [GOOD, BAD, GOOD]
    told = capsys.readouterr().err
    assert "3 in" in told
    assert "(correct 2, failed 0, invalid 1)" in told
    assert "1 of 3 episodes are invalid: the server is down" in told


def test_each_episode_is_counted_once(capsys: pytest.CaptureFixture[str]) -> None:
    keep(GOOD, WRONG, UNJUDGED, BAD, WRONG)
    assert "(correct 1, failed 2, invalid 1, unjudged 1)" in capsys.readouterr().err


def test_all_invalid_is_a_failed_run() -> None:
    with pytest.raises(RunError, match="no episode could be played to its end: the server is down"):
        keep(BAD, BAD)


def test_no_task_is_an_error_unless_all_is_done(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(InputError, match="no tasks"):
        keep()
    assert keep(done={"a#0"}) == []
    assert "nothing to do" in capsys.readouterr().err


def asked(price: Price | None) -> Meter:
    meter = Meter(price)
    for _ in range(1203):
        meter.ask()
        meter.answered(1000, 10)
    for why in ["429"] * 2 + ["timeout"]:
        meter.retried(why)
    return meter


def test_what_servers_were_asked_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    keep(GOOD, player=Player(asked(Price(2.5, 10.0))))
    assert capsys.readouterr().err.splitlines()[1] == (
        "tm: 1,203,000 tokens in, 12,030 out, $3.13;"
        " 1,203 requests, 3 of them again (429: 2, timeout: 1)"
    )
    keep(GOOD, player=Player(asked(None)))
    assert "$" not in capsys.readouterr().err, "nobody knows what it costs"


def test_a_rerun_out_of_the_cache_is_free(capsys: pytest.CaptureFixture[str]) -> None:
    meter = Meter(Price(2.5, 10.0))
    meter.answered(1000, 10, cached=True)
    keep(GOOD, player=Player(meter))
    assert "0 tokens in, 0 out, $0.00; 0 requests, 1 reply from the cache" in capsys.readouterr().err


def test_where_no_server_is_asked_nothing_is_said_of_it(capsys: pytest.CaptureFixture[str]) -> None:
    keep(GOOD)
    assert "tokens" not in capsys.readouterr().err


def test_what_stopped_a_run_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    keep(GOOD, player=Player(stopped="the budget of $1.00 is used up ($1.01)"))
    assert "warning: stopped early: the budget of $1.00 is used up" in capsys.readouterr().err
    keep(player=Player(stopped="the budget of 0 requests is used up"))  # and not "no tasks to play"


def test_a_run_that_breaks_off_tells_its_sum(capsys: pytest.CaptureFixture[str]) -> None:
    def broken() -> Iterator[Trajectory]:
        yield GOOD
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        ledger.keep(broken(), Journal(Listed(), set()), None, Player(asked(None)))
    told = capsys.readouterr().err
    assert "episodes: 1 in" in told
    assert "1,203 requests" in told


def test_quiet_is_silent_but_for_warnings(capsys: pytest.CaptureFixture[str]) -> None:
    console.configure("tm", quiet=True)
    try:
        keep(GOOD, player=Player(asked(None), stopped="enough"))
    finally:
        console.configure("tm")
    assert capsys.readouterr().err == "tm: warning: stopped early: enough\n"


def test_how_many_episodes_are_due() -> None:
    journal = Journal(Listed(), {"a#0"})
    assert ledger.expected("-", None, 1, journal) is None
    assert ledger.expected("-", 3, 2, journal) == 5
    assert (ledger.expected("train", None, 1, journal) or 0) > 0


@given(n=st.integers(0, 50), parts=st.integers(1, 9), samples=st.integers(1, 4))
def test_the_shards_together_are_the_whole(n: int, parts: int, samples: int) -> None:
    journal = Journal(Listed(), set())
    due = [ledger.expected("-", n, samples, journal, (which + 1, parts)) or 0 for which in range(parts)]
    assert sum(due) == n * samples
    assert max(due) - min(due) <= samples


@pytest.mark.parametrize(
    ("name", "n", "samples", "shard", "due"),
    [
        ("t.jsonl", None, 2, (1, 1), 10),
        ("t.jsonl.gz", None, 1, (1, 1), 5),
        ("t.jsonl", 3, 1, (1, 1), 3),
        ("t.jsonl", 100, 1, (2, 2), 2),
        ("train", 7, 1, (1, 1), 7),
        ("t.parquet", None, 1, (1, 1), None),
        ("t.parquet", 4, 1, (1, 1), 4),
        ("-", None, 1, (1, 1), None),
        ("nowhere", None, 1, (1, 1), None),
    ],
)
def test_how_many_episodes_a_file_makes_due(
    name: str, n: int | None, samples: int, shard: tuple[int, int], due: int | None, tmp_path: Path
) -> None:
    lines = b'{"kind": "task"}\n' * 4 + b'\n{"kind": "task"}'
    (tmp_path / "t.jsonl").write_bytes(lines)
    (tmp_path / "t.jsonl.gz").write_bytes(gzip.compress(lines))
    (tmp_path / "t.parquet").write_bytes(b"PAR1" + lines)
    tasks = str(tmp_path / name) if name.startswith("t.") else name
    assert ledger.expected(tasks, n, samples, Journal(Listed()), shard) == due
