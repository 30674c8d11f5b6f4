"""`--repro`: a command's own line, kept in its record, and run again from there.

options["arguments"] = command_line(context)   # what shapes numbers, of flags and TM_* variables
repeat(context, "summary.jsonl", output, to, force=force)
"""

from __future__ import annotations

import re
import tempfile
from dataclasses import fields, replace
from pathlib import Path
from typing import Annotated, Any

import typer

from tmcli import console, io
from tmcli.commands.options.html import Html
from tmcli.errors import InputError, RunError, UsageError
from tmcli.records import Run, expect
from tmcli.report.repro import Number, arguments, compared

Repro = Annotated[
    str | None,
    typer.Option(
        "--repro",
        metavar="RECORD",
        help="Evaluate again as this run record tells, and say whether the numbers are the same.",
    ),
]

ASIDE = {
    "output", "to", "force", "keep", "resume", "record", "fail_under", "fail_over", "junit", "github",
    "repro", "quiet", "verbose", "concurrency", "engine", "ray_address", "workers",
    *(one.name for one in fields(Html)),
}  # fmt: skip
"""Options that shape no number: where things go, how fast they are, and what is thought of them."""

SERVERS = {"policy", "judge"}
"""Options that may name addresses."""

MOST = 20
"""Differing numbers that are told one by one; the record has all."""


def command_line(context: typer.Context) -> list[str]:
    """The words that would give these options again, without those that shape no number, and without the
    passwords and keys of addresses: a record is passed on."""
    words: list[str] = []
    files: list[str] = []
    for param in context.command.params:
        source = context.get_parameter_source(param.name or "")
        value: Any = context.params.get(param.name or "")
        if param.name in ASIDE or value is None or source is None or source.name.startswith("DEFAULT"):
            continue
        several = list(value) if isinstance(value, list | tuple) else [value]
        if param.name in SERVERS:
            several = [_public(value)]
        if param.param_type_name == "argument":
            files += map(str, several)
        elif param.name == "rejects":  # which also says that broken lines are left out
            words += [] if context.params["skip_invalid"] else ["--skip-invalid"]
        elif isinstance(value, bool):
            words += [(param.opts if value else param.secondary_opts)[0]]
        else:
            flag = max(param.opts, key=len)  # `--tasks` rather than `-t`
            words += [word for one in several for word in (flag, str(one))]
    return words + files


def _public(name: str) -> str:
    """A model and its servers without what their addresses may hold.

    >>> _public("m@http://me:p@ss@a:1/v1?key=x,http://b:1/v1"), _public("Qwen/Qwen3-8B")
    ('m@http://a:1/v1,http://b:1/v1', 'Qwen/Qwen3-8B')
    """
    return re.sub(r"(?<=://)[^/?#]*@|[?#][^,]*", "", name) if "://" in name else name


def repeat(context: typer.Context, path: str, output: str, to: io.Form | None, *, force: bool) -> None:
    """Run what a record tells of, compare, and write the new record. Raises `RunError` where
    numbers differ."""
    if others := command_line(context):
        problem = f"--repro takes all options from {path}: {others[0]} cannot be given beside it"
        raise UsageError(problem, "leave it out")
    before = record_of(path)
    words = arguments(before)
    console.note(f"tm eval {' '.join(words)}")
    with tempfile.TemporaryDirectory(prefix="tm-repro-") as folder:
        there = str(Path(folder) / "again.jsonl")
        name = context.command_path
        if code := context.command.main([*words, "-o", there], prog_name=name, standalone_mode=False):
            raise typer.Exit(code)  # it has said why
        now = record_of(there)
    found = compared(before, now)
    for fact in found.facts:
        console.note(fact)
    with io.open_output(output, to=to, force=force) as out:
        out.write(_with(now, found.to_json()))
    if not found.numbers:
        console.note(f"the same: all {found.same} numbers")
        return
    rows = [[n.name, _cell(n.before), _cell(n.now)] for n in found.numbers[:MOST]]
    console.table("", ["number", "before", "now"], rows)
    raise RunError(
        f"{len(found.numbers)} of {found.same + len(found.numbers)} numbers differ; {_first(found.numbers)}",
        "the notes above say what else is different" if found.facts else "nothing that is known of differs",
    )


def record_of(path: str) -> Run:
    """The one run record in a file."""
    records = list(io.read(path))
    if len(records) != 1:
        raise InputError(f"{len(records)} records where one is due", "give what tm eval wrote", source=path)
    return expect(records[0], Run)


def _with(run: Run, repro: Any) -> Run:
    return replace(run, extra={**run.extra, "repro": repro})


def _first(numbers: list[Number]) -> str:
    first = next((number for number in numbers if number.name == "metrics.accuracy"), numbers[0])
    return f"{first.name} was {_cell(first.before)}, is {_cell(first.now)}"


def _cell(value: Any) -> str:
    return "-" if value is None else f"{value:.6g}" if isinstance(value, float) else str(value)
