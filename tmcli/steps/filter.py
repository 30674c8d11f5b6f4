"""Keep the trajectories that are worth training on; nothing vanishes without a reason.

    plan = Plan(chosen("default"))
    judged = ((line, judge(line)) for line in lines)              # or `verdicts`, elsewhere
    for line in kept(judged, plan, say): ...

What one line says by itself is found out line by line, here or elsewhere (`verdicts`). The rest is done here,
in the order of the lines: rules that remember what was kept, stages that ask somebody, and the choice of a
balanced part. Lines are never rewritten.
"""

from __future__ import annotations

import heapq
import re
import tempfile
from array import array
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

import orjson

from tmcli import streams
from tmcli.errors import InputError, OutputError
from tmcli.filters.duplicates import Seen, fingerprint
from tmcli.filters.facts import Facts, Mix, mix
from tmcli.filters.rules import Given, Setting, checks
from tmcli.filters.view import View
from tmcli.records import Drop

if TYPE_CHECKING:
    from tmcli.filters.balance import Balance

MAX_WHY = 500
"""Characters of a reason that are told: it may quote the model."""


@dataclass(frozen=True)
class Plan:
    """What is asked of each line. Plain data, for it goes to workers."""

    settings: dict[Drop, Setting]
    given: Given = field(default_factory=Given)
    facts: bool = False
    """Will a balanced part be chosen?"""

    @property
    def is_near(self) -> bool:
        """Are lines compared in a way that is much quicker for many at once?"""
        return "near_duplicate" in self.settings or "near_calls" in self.settings


class Verdict(NamedTuple):
    """What one line says by itself."""

    reason: Drop | None = None
    why: str = ""
    error: InputError | None = None
    """The line is no trajectory, or its task no task."""
    mix: Mix | None = None
    exact: int = 0
    """What exact duplicates share."""
    words: bytes = b""
    calls: bytes = b""
    """What near duplicates share."""
    facts: Facts | None = None


class Judge:
    """The rules without a memory, ready to be asked."""

    def __init__(self, plan: Plan) -> None:
        settings = plan.settings
        self.checks = checks(settings, plan.given)
        self.exact = "duplicate" in settings
        self.facts = plan.facts
        self.near: dict[str, Any] = {}
        """Field of a verdict -> what makes its keys; many at once are made much quicker than one by one."""
        if plan.is_near:
            from tmcli.filters.near import CallKeys, WordKeys

            for field_, name, keys in (
                ("words", "near_duplicate", WordKeys),
                ("calls", "near_calls", CallKeys),
            ):
                if name in settings:
                    self.near[field_] = keys(float(settings[name] or 0))

    def __call__(self, line: bytes) -> Verdict:
        """Of one line, but for what near duplicates share."""
        return self._of(line)[0]

    def all(self, lines: Iterable[bytes]) -> list[Verdict]:
        """Of many lines."""
        if not self.near:
            return [self._of(line)[0] for line in lines]
        found: list[Verdict] = []
        taken: dict[str, list[Any]] = {name: [] for name in self.near}
        passed: list[int] = []
        for line in lines:
            verdict, view = self._of(line)
            if view is not None:
                passed.append(len(found))
                for name, keys in self.near.items():
                    taken[name].append(keys.take(view))
            found.append(verdict)
        for name, keys in self.near.items():
            for i, key in zip(passed, keys.of_all(taken[name]), strict=True):
                found[i] = found[i]._replace(**{name: key})
        return found

    def _of(self, line: bytes) -> tuple[Verdict, View | None]:
        """And the view, where it passes."""
        try:
            view = View.of(line)
            for reason, check in self.checks:
                why = check(view)
                if why is not None:
                    return Verdict(reason, why[:MAX_WHY], None, mix(view)), None
        except InputError as error:
            return Verdict(error=error), None
        exact = fingerprint(view) if self.exact else 0
        facts = Facts.of(view) if self.facts else None
        return Verdict(None, "", None, mix(view), exact, b"", b"", facts), view


def verdicts(lines: Iterable[bytes], plan: Plan) -> list[Verdict]:
    """One for each line."""
    return Judge(plan).all(lines)


class Stage(Protocol):
    """A rule that asks somebody: `filters/reverify.py`, `filters/judge`. It looks ahead; the order stays."""

    def run(self, items: Iterable[tuple[bytes, Any]]) -> Iterator[tuple[bytes, Any, Drop | None, str]]: ...


Say = Callable[[bytes, Verdict], None]
"""Told of each line that is not kept: its verdict has a reason or an error."""
Judged = Iterable[tuple[bytes, Verdict]]
Kept = Generator[tuple[bytes, Verdict], None, None]


def kept(
    judged: Judged,
    plan: Plan,
    say: Say,
    stages: Sequence[Stage] = (),
    balance: Balance | None = None,
) -> Kept:
    """The lines that pass, in order. Of the others `say` is told, in order as well; but those that are left
    out for the balance come last."""
    if stages:
        items = _asked(judged, plan, say, stages)
    else:
        items = _new(judged, plan, say)
    return items if balance is None else _balanced(items, balance, say)


def _new(judged: Judged, plan: Plan, say: Say) -> Kept:
    """What no rule drops, nor any memory of what was kept."""
    seen = Seen()
    words = calls = None
    if plan.is_near:
        from tmcli.filters.near import NearSeen

        words, calls = (
            NearSeen(float(plan.settings[name] or 0)) if name in plan.settings else None
            for name in ("near_duplicate", "near_calls")
        )
    for line, verdict in judged:
        if verdict.reason is None and verdict.error is None:
            if verdict.exact and verdict.exact in seen:
                verdict = verdict._replace(reason="duplicate")
            elif words and verdict.words and words.near(verdict.words):
                verdict = verdict._replace(reason="near_duplicate")
            elif calls and verdict.calls and calls.near(verdict.calls):
                verdict = verdict._replace(reason="near_calls")
            else:
                if verdict.exact:
                    seen.add(verdict.exact)
                if words and verdict.words:
                    words.add(verdict.words)
                if calls and verdict.calls:
                    calls.add(verdict.calls)
                yield line, verdict
                continue
        say(line, verdict)


def _asked(judged: Judged, plan: Plan, say: Say, stages: Sequence[Stage]) -> Kept:
    """What passes the stages too."""
    order = _Order(say)
    items: Any = order.numbered(_new(judged, plan, order.drop))
    for stage in stages:
        items = _through(stage, items, order)
    for line, (number, verdict) in items:
        order.end(number)
        yield line, verdict


def _through(stage: Stage, items: Any, order: _Order) -> Iterator[tuple[bytes, tuple[int, Verdict]]]:
    for line, (number, verdict), reason, why in stage.run(items):
        if reason is None:
            yield line, (number, verdict)
        else:
            order.end(number, (line, verdict._replace(reason=reason, why=why[:MAX_WHY])))


class _Order:
    """Tells what is dropped in the order of the lines, however far stages look ahead of what they give."""

    def __init__(self, say: Say) -> None:
        self._say = say
        self._n = 0
        self._open: deque[int] = deque()
        """Numbers of those with the stages, and since."""
        self._ended: set[int] = set()
        self._waiting: list[tuple[int, bytes, Verdict]] = []

    def numbered(self, items: Judged) -> Iterator[tuple[bytes, tuple[int, Verdict]]]:
        for line, verdict in items:
            self._n += 1
            self._open.append(self._n)
            yield line, (self._n, verdict)

    def drop(self, line: bytes, verdict: Verdict) -> None:
        """One that the stages never see."""
        self._n += 1
        if not self._open:
            self._say(line, verdict)
        else:
            heapq.heappush(self._waiting, (self._n, line, verdict))

    def end(self, number: int, dropped: tuple[bytes, Verdict] | None = None) -> None:
        """A stage gave it back; the last one, or it is dropped."""
        if dropped is not None:
            heapq.heappush(self._waiting, (number, *dropped))
        self._ended.add(number)
        while self._open and self._open[0] in self._ended:
            self._ended.remove(self._open.popleft())
        while self._waiting and (not self._open or self._waiting[0][0] < self._open[0]):
            self._say(*heapq.heappop(self._waiting)[1:])


def _balanced(items: Judged, balance: Balance, say: Say) -> Kept:
    """A balanced part of them. They wait in a temporary file until all are known."""
    mixes: dict[Mix | None, int] = {}
    which = array("L")
    with tempfile.TemporaryFile() as spool:
        for line, verdict in items:
            assert verdict.facts is not None
            balance.add(verdict.facts)
            which.append(mixes.setdefault(verdict.mix, len(mixes)))
            with _spooling(spool):
                spool.write(line + b"\n")
        left_out = balance.chosen()
        names = list(mixes)
        with _spooling(spool):
            spool.seek(0)
        for i, line in enumerate(spool):
            reason = left_out[i]
            verdict = Verdict(reason, mix=names[which[i]])
            if reason is None:
                yield line[:-1], verdict
            else:
                say(line[:-1], verdict)


_TOLD = re.compile(rb',"dropped":"[a-z_]+","dropped_why":"(?:[^"\\]|\\.)*"\}$')
"""As `rejected` ends a line."""


@contextmanager
def _spooling(spool: Any) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        spool.raw.close()  # else closing it would try to write again
        failed = streams.unwritable(f"a temporary file in {tempfile.gettempdir()}", error)
        raise OutputError(failed.problem, "free some space, or point TMPDIR to another disk") from error


def rejected(line: bytes, reason: Drop, why: str) -> bytes:
    """The line of a dropped trajectory, with its reason; every other byte as it was."""
    told = b'"dropped":%s,"dropped_why":%s}' % (orjson.dumps(reason), orjson.dumps(why, default=str))
    line = _TOLD.sub(b"}", line.rstrip())  # it was dropped before
    if b'"dropped' in line:
        record = orjson.loads(line)
        if record.keys() & {"dropped", "dropped_why"}:
            record = {key: value for key, value in record.items() if key not in ("dropped", "dropped_why")}
            with suppress(orjson.JSONEncodeError):  # deeper than is ever written: of two, the last one counts
                line = orjson.dumps(record)
    return line[:-1] + b"," + told
