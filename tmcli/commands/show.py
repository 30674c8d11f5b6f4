"""`tm show`: records as a person reads them."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import IO, Annotated

import orjson
import typer

from tmcli import io, streams
from tmcli.commands.options import Input
from tmcli.errors import InputError, UsageError
from tmcli.records import AnyRecord, Run, Score, Trajectory, decode, encode, expect
from tmcli.report import terminal
from tmcli.report.difference import as_json, difference
from tmcli.report.grep import Grep
from tmcli.report.readable import readable
from tmcli.report.transcript import Line

Id = Annotated[
    str,
    typer.Option("--id", metavar="ID", help="Only this one, or all of this task; the start will do."),
]
Pattern = Annotated[
    str | None,
    typer.Option("--grep", metavar="RE", help="Only those with this pattern in a line; (?i) in any case."),
]
Count = Annotated[int | None, typer.Option("-n", "--limit", min=1, metavar="N", help="At most this many.")]
Diff = Annotated[
    tuple[str, str] | None,
    typer.Option(
        "--diff",
        metavar="A B",
        help="Compare two policies on each task turn by turn: two files, or two ids of FILE.",
    ),
]
Full = Annotated[bool, typer.Option("--full", help="Long texts whole.")]
AsText = Annotated[
    bool | None,
    typer.Option("--text/--json", help="Text, or records as they are; else text on a terminal alone."),
]
Pager = Annotated[bool, typer.Option("--pager/--no-pager", help="On a terminal, through PAGER or less.")]

Shown = tuple[Callable[[bool], Iterable[Line]], Callable[[], bytes]]
"""One thing that can be shown: its lines (whole ones?), and its JSON."""


def run(
    file: Input = "-",
    id: Id = "",
    grep: Pattern = None,
    limit: Count = None,
    diff: Diff = None,
    full: Full = False,
    text: AsText = None,
    pager: Pager = True,
) -> None:
    """Read trajectories as a person.

    \b
      tm show runs.jsonl
      tm show runs.jsonl --grep '^wrong|error' --full
      tm show --diff base.jsonl rl.jsonl --id 15159c
      tm rollout --policy ckpt/ --tasks unseen | tm show

    Phase by phase: what was tried, what the tools answered, what was learned, and what it is worth by
    today's rules. Tasks, scores and runs can be read as well. Where stdout is no terminal, those that were
    chosen go on as JSON lines, byte for byte. Control characters in what models and tools said are shown,
    never sent to the terminal.
    """
    pattern = Grep(grep) if grep is not None else None
    screen = streams.terminal()
    is_text = screen is not None if text is None else text
    found = _pairs(file, diff, id) if diff else _records(file, id)
    chosen = (one for one in found if pattern is None or pattern.finds(map(terminal.text, one[0](True))))
    colour = terminal.has_colour(terminal=screen is not None)
    n = 0
    with _out(screen if is_text and pager else None) as out:
        for lines, json in islice(chosen, limit):
            n += 1
            if not is_text:
                out.write(json() + b"\n")
            for line in lines(full) if is_text else ():
                said = terminal.coloured(line, pattern) if colour else terminal.text(line)
                out.write(f"{said}\n".encode())
            out.flush()
    if n:
        return
    what = [f"--id {id}"] * bool(id) + [f"--grep {grep}"] * (grep is not None)
    problem = f"nothing is left by {' and '.join(what)}" if what else "there is nothing to show"
    if diff and not what:
        problem = "no task is in both files"
    raise InputError(problem, "tm show FILE shows what there is", source="" if diff else file)


@contextmanager
def _out(screen: int | None) -> Iterator[IO[bytes]]:
    """A pager on this terminal, where there is one, or stdout."""
    command = terminal.pager() if screen is not None else None
    if command is not None and screen is not None:
        with terminal.paged(command, screen) as pages:
            yield pages
    else:
        yield streams.stdout()


# ---- what is shown -------------------------------------------------------------------------------


def _records(file: str, id: str) -> Iterator[Shown]:
    for record in io.read(file):
        if not id or (not isinstance(record, Run) and _is_called(record, id)):
            yield _shown(record)


def _shown(record: AnyRecord) -> Shown:
    return lambda full: readable(record, full=full), lambda: encode(record)


def _is_called(record: AnyRecord, id: str) -> bool:
    own = record.id if not isinstance(record, Run) else ""
    return own.startswith(id) or (isinstance(record, Score) and record.task_id.startswith(id))


def _pairs(file: str, names: tuple[str, str], id: str) -> Iterator[Shown]:
    """Two files, by the ids that both have; or two of one file."""
    files = [name == "-" or Path(name).exists() for name in names]
    if not any(files):
        pairs: Iterable[tuple[Trajectory, Trajectory]] = [_named(file, names)]
        told = "", ""
    elif all(files):
        if "-" in names:
            raise UsageError("--diff reads its files more than once, which stdin cannot", "save it first")
        if file != "-":
            raise UsageError("--diff A B names two files already", f"leave out {file}")
        pairs = _matched(*names, id)
        told = names
    else:
        missing = names[files.index(False)]
        raise UsageError(f"--diff: there is no file {missing}", "name two files, or two ids of FILE")
    for left, right in pairs:
        yield _compared(left, right, told)


def _compared(left: Trajectory, right: Trajectory, names: tuple[str, str]) -> Shown:
    return lambda full: difference(left, right, names, full=full), lambda: orjson.dumps(as_json(left, right))


def _named(file: str, ids: tuple[str, str]) -> tuple[Trajectory, Trajectory]:
    """The first that each begins."""
    found: dict[str, Trajectory] = {}
    for record in io.read(file, kind=Trajectory):
        for start in ids:
            if record.id.startswith(start):
                found.setdefault(start, record)
        if len(found) == len(set(ids)):
            return found[ids[0]], found[ids[1]]
    missing = next(start for start in ids if start not in found)
    remedy = "tm show FILE --json | jq .id lists them"
    raise InputError(f"no trajectory is called {missing!r}", remedy, source=file)


def _matched(left: str, right: str, id: str) -> Iterator[tuple[Trajectory, Trajectory]]:
    """Those of the left file, each with the one of the same id in the right file, else with the first of its
    task there. The right one waits in a temporary file: memory holds ids alone."""
    places: dict[str, tuple[int, int]] = {}
    with tempfile.TemporaryFile() as spool:
        for one in io.read(right, kind=Trajectory):
            if one.id.startswith(id):
                place = spool.tell(), spool.write(encode(one))
                places.setdefault(one.id, place)
                places.setdefault(_task(one), place)
        for one in io.read(left, kind=Trajectory):
            found = places.get(one.id) or places.get(_task(one)) if one.id.startswith(id) else None
            if found:
                spool.seek(found[0])
                yield one, expect(decode(spool.read(found[1])), Trajectory)


def _task(one: Trajectory) -> str:
    return str(one.task.get("id"))
