"""`tm show`: a trajectory as a person reads it."""

from __future__ import annotations

from typing import Annotated

import typer

from tmcli import console, io, streams
from tmcli.commands.options import Input
from tmcli.errors import InputError
from tmcli.records import Trajectory
from tmcli.report.transcript import transcript

Id = Annotated[
    str,
    typer.Option("--id", metavar="ID", help="Only this trajectory, or all of this task; the start will do."),
]
Count = Annotated[int, typer.Option("-n", "--limit", min=1, metavar="N", help="At most this many.")]


def run(file: Input = "-", id: Id = "", limit: Count = 1) -> None:
    """Read trajectories as a person.

    \b
      tm show runs.jsonl
      tm rollout --policy ckpt/ --tasks unseen | tm show -n 10 | less

    Phase by phase: what was tried, what the tools answered, what was learned, and what it is worth by
    today's rules. Control characters in what models and tools said are shown, never sent to the terminal.
    """
    out = streams.stdout()
    n = 0
    for trajectory in io.read(file, kind=Trajectory):
        if not trajectory.id.startswith(id):
            continue
        if n == limit:
            console.note(f"{n} shown; -n N shows more, --id ID a certain one")
            break
        text = console.safe(transcript(trajectory))
        out.write(f"{text}\n".encode())
        out.flush()
        n += 1
    if not n:
        problem = f"no trajectory is called {id!r}" if id else "no trajectories"
        raise InputError(problem, "tm show FILE -n 100 shows what there is", source=file)
