"""What is played is written, counted and summed up; what cannot be right is said at the end."""

from __future__ import annotations

from dataclasses import replace

import pytest
from trajectories import trajectory

from tmcli import ledger
from tmcli.errors import InputError, RunError
from tmcli.journal import Journal
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


def keep(*trajectories: Trajectory, done: set[str] | None = None) -> list[AnyRecord]:
    out = Listed()
    ledger.keep(trajectories, Journal(out, done or set()), None)
    return out.records


def test_some_invalid_is_a_warning(capsys: pytest.CaptureFixture[str]) -> None:
    assert keep(GOOD, BAD, GOOD) == [GOOD, BAD, GOOD]
    told = capsys.readouterr().err
    assert "3 in" in told
    assert "(correct 2, invalid 1)" in told
    assert "1 of 3 episodes are invalid: the server is down" in told


def test_all_invalid_is_a_failed_run() -> None:
    with pytest.raises(RunError, match="no episode could be played to its end: the server is down"):
        keep(BAD, BAD)


def test_no_task_is_an_error_unless_all_is_done(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(InputError, match="no tasks"):
        keep()
    assert keep(done={"a#0"}) == []
    assert "nothing to do" in capsys.readouterr().err


def test_how_many_episodes_are_due() -> None:
    journal = Journal(Listed(), {"a#0"})
    assert ledger.expected("-", None, 1, journal) is None
    assert ledger.expected("-", 3, 2, journal) == 5
    assert (ledger.expected("train", None, 1, journal) or 0) > 0
