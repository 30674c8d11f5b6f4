"""Options that several commands share, and what to make of them. One word, one meaning everywhere.

    def run(input: Input = "-", output: Output = "-", to: To = None, force: Force = False) -> None:

Streams are plain strings, `-` is stdin or stdout, and `io.py` opens them. `-q` and `-v` work after
every command without being declared: `app.py` adds them. Nothing heavy is imported here.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from tmcli.errors import UsageError, did_you_mean

if TYPE_CHECKING:  # `tm --help` needs the options above, not what the functions below need
    from tmcli import io
    from tmcli.environments.recording import Recorder
    from tmcli.environments.world import World
    from tmcli.records import Task

# ---- streams -----------------------------------------------------------------------------------

Input = Annotated[
    str,
    typer.Argument(metavar="FILE", help="Records to read: JSONL or Parquet, also gzip or zstd; - is stdin."),
]
Output = Annotated[
    str,
    typer.Option(
        "-o", "--output", metavar="FILE", help="Where to write; .gz, .zst and .parquet by name; - is stdout."
    ),
]
To = Annotated[
    Literal["jsonl", "parquet"] | None,
    typer.Option("--to", help="Format, where the output's name does not say it."),
]
Force = Annotated[bool, typer.Option("--force", help="Replace an existing output.")]
Resume = Annotated[
    bool,
    typer.Option("--resume", help="Continue an existing output: only what is missing or failed is done."),
]
SkipInvalid = Annotated[
    bool, typer.Option("--skip-invalid", help="Set broken lines aside and count them, instead of stopping.")
]
Rejects = Annotated[
    str | None,
    typer.Option(
        "--rejects", metavar="FILE", help="Where broken lines go, byte for byte (implies --skip-invalid)."
    ),
]
Seed = Annotated[
    int,
    typer.Option("--seed", min=0, max=2**32 - 1, metavar="N", help="Seed of everything random."),
]

# ---- speech on stderr: declared once, added to every command by app.py ----------------------------

Quiet = Annotated[
    bool, typer.Option("-q", "--quiet", show_envvar=False, help="Only warnings and errors on stderr.")
]
Verbose = Annotated[
    bool,
    typer.Option("-v", "--verbose", show_envvar=False, help="Say each retry, and tracebacks of errors."),
]

# ---- tasks ---------------------------------------------------------------------------------------

Tasks = Annotated[
    str,
    typer.Option(
        "--tasks",
        metavar="FILE|-|SUITE",
        help="Tasks: a file, stdin, a suite (train, seen, unseen), or a toolbox.",
    ),
]
TaskCount = Annotated[
    int | None, typer.Option("-n", "--n", "--limit", min=0, metavar="N", help="How many tasks at most.")
]
Drift = Annotated[
    str,
    typer.Option(
        "--drift",
        metavar="KIND,...",
        help="Make the tools unfamiliar: rename, format, wrap, decoy, stale, undocument or all; @0.5 says how"
        " much, none@0.75 leaves a share of the tasks as they are; relabel: about other things.",
    ),
]

Server = Annotated[
    str | None,
    typer.Option(
        "--server",
        metavar="URL",
        help="Where the tools of an OpenAPI document or an imported data set answer.",
    ),
]

# ---- playing episodes ------------------------------------------------------------------------------

PolicyName = Annotated[
    str,
    typer.Option(
        "--policy",
        metavar="POLICY",
        help="Who answers: a checkpoint or hub id, smollm2, tiny, scripted, or MODEL[@URL] of a server that"
        " speaks OpenAI's protocol.",
    ),
]
Style = Annotated[
    Literal["trial", "direct"],
    typer.Option("--style", help="trial: try the tools first; direct: golden path only."),
]
Samples = Annotated[int, typer.Option("--samples", min=1, metavar="N", help="Episodes per task.")]
Concurrency = Annotated[
    int, typer.Option("--concurrency", min=1, metavar="N", help="Episodes played at once.")
]
MaxBatchTokens = Annotated[
    int | None,
    typer.Option(
        "--max-batch-tokens",
        min=1,
        metavar="N",
        help="Tokens of all running episodes that a model in this process holds; else what memory allows.",
    ),
]
MaxTurns = Annotated[
    int, typer.Option("--max-turns", min=1, metavar="N", help="Assistant turns per episode.")
]
MaxTokens = Annotated[int, typer.Option("--max-tokens", min=1, metavar="N", help="Tokens per episode.")]
MaxNewTokens = Annotated[
    int, typer.Option("--max-new-tokens", min=1, metavar="N", help="Tokens per assistant turn.")
]
Temperature = Annotated[
    float, typer.Option("--temperature", min=0.0, max=100.0, metavar="T", help="0 is greedy.")
]
TopP = Annotated[float, typer.Option("--top-p", min=0.0, max=1.0, metavar="P", help="Nucleus sampling.")]
Timeout = Annotated[float, typer.Option("--timeout", min=0.1, metavar="S", help="Seconds per tool call.")]
Simulate = Annotated[
    bool, typer.Option("--simulate", help="Answer from the tools' documents where a server would be asked.")
]
Record = Annotated[
    str | None, typer.Option("--record", metavar="FILE", help="Keep what every tool call brought, to replay.")
]
Replay = Annotated[
    str | None,
    typer.Option(
        "--replay", metavar="FILE", help="Run no tool: answer as a recording, or trajectories, tell."
    ),
]

# ---- training --------------------------------------------------------------------------------------

CheckpointFolder = Annotated[
    str | None, typer.Option("-o", "--output", metavar="DIR", help="Checkpoint folder to write.")
]
Template = Annotated[
    Literal["auto", "own", "text", "tm"],
    typer.Option(
        "--template",
        help="Chat template; auto: the model's own, else its turns with calls as text, else tm's.",
    ),
]
Full = Annotated[bool, typer.Option("--full", help="Train all weights, not a LoRA adapter.")]
Rank = Annotated[int, typer.Option("--rank", min=1, metavar="N", help="Rank of the LoRA adapter.")]
AdapterOnly = Annotated[
    bool, typer.Option("--adapter-only/--merge", help="Save the adapter alone, or merged into its base.")
]


def server(text: str | None) -> str | None:
    """The address of `--server`. Raises `UsageError` when it is none, or holds what no record may hold."""
    if text is not None:
        from tmcli.environments.http_client import address

        address(text, "http://localhost:8080/v1", "keys come from the environment")
    return text


def words(text: str) -> list[str]:
    """The words of a comma-separated option.

    >>> words("stale, format")
    ['stale', 'format']
    """
    return [word for part in text.split(",") if (word := part.strip())]


def numbers(text: str) -> list[int]:
    """The whole numbers of a comma-separated option.

    >>> numbers("1, 2")
    [1, 2]
    """
    if wrong := [word for word in words(text) if not word.isdecimal()]:
        raise UsageError(f"{wrong[0]!r} is not a whole number", "write for instance 1,2")
    return [int(word) for word in words(text)]


def tasks_from(
    spec: str,
    *,
    n: int | None = None,
    seed: int = 0,
    drift: str = "",
    rejects: io.Rejects | None = None,
) -> Iterator[Task]:
    """The tasks `--tasks` names, at most `n`, under `drift`: a suite, a toolbox, else a file or stdin."""
    from tmcli import io, suites, toolbox
    from tmcli.records import Task
    from tmcli.steps.tasks import tasks

    kinds = words(drift)
    if spec in (*suites.SUITES, *toolbox.names()) or spec.endswith(".py") or Path(spec).is_dir():
        return suites.suite(spec, n, seed, kinds)
    if spec != "-" and not Path(spec).exists():
        known = did_you_mean(spec, [*suites.SUITES, *toolbox.names()])
        raise UsageError(f"no suite, no toolbox and no file is named {spec!r}", known)
    return tasks(io.read(spec, kind=Task, rejects=rejects), n, kinds, seed)


def world(
    *,
    simulate: bool,
    record: str | None,
    replay: str | None,
    output: str,
    resume: bool,
    force: bool,
    timeout_s: float = 10.0,
) -> World:
    """Where tools run, as `--timeout --simulate --record --replay` ask; a recording is resumed or replaced
    together with the `output`."""
    from tmcli.environments.world import World

    kept = recorder(record, replay, output, resume=resume, force=force)
    return World(timeout_s, simulate=simulate, record=kept, replay=replay)


def recorder(
    record: str | None, replay: str | None, output: str, *, resume: bool, force: bool
) -> Recorder | None:
    """What `--record` asks for; a recording is resumed or replaced together with the output."""
    if record is None:
        return None
    from tmcli.environments.recording import Recorder

    if replay is not None and Path(record).resolve() == Path(replay).resolve():
        raise UsageError(f"{record} cannot be recorded and replayed at once", "record to another name")
    if record != "-" and Path(record).resolve() == Path(output).resolve():
        raise UsageError(f"{record} is the output already", "record to another name")
    return Recorder(record, resume=resume, force=force)


@contextmanager
def open_rejects(skip_invalid: bool, path: str | None, *, force: bool = False) -> Iterator[io.Rejects | None]:
    """What `--skip-invalid --rejects FILE` asks for, for `io.read(rejects=...)`; tells the count."""
    if not skip_invalid and path is None:
        yield None
        return
    from tmcli import console, io

    with io.Rejects(path, force=force) as rejects:
        yield rejects
    if rejects.count:
        lines = "1 broken line" if rejects.count == 1 else f"{rejects.count} broken lines"
        console.warn(f"{lines} set aside{f' in {path}' if path else ''}; the first: {rejects.first}")
