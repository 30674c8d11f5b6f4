"""`tm synth`: a teacher's trajectories, to imitate."""

from __future__ import annotations

from typing import Annotated

import typer

from tmcli import ledger, policies
from tmcli.commands import options
from tmcli.episode import Limits
from tmcli.journal import open_journal
from tmcli.runner import Runner
from tmcli.steps.synth import synth

Teacher = Annotated[
    str,
    typer.Option(
        "--teacher",
        metavar="TEACHER",
        help="Who plays: scripted (embedded), a checkpoint, or MODEL[@URL] of an OpenAI-compatible server"
        " (OPENAI_API_KEY, OPENAI_BASE_URL).",
    ),
]


def run(
    tasks: options.Tasks = "train",
    teacher: Teacher = "scripted",
    style: options.Style = "trial",
    n: options.TaskCount = None,
    samples: options.Samples = 1,
    drift: options.Drift = "",
    seed: options.Seed = 0,
    output: options.Output = "-",
    to: options.To = None,
    resume: options.Resume = False,
    force: options.Force = False,
    concurrency: options.Concurrency = 8,
    max_turns: options.MaxTurns = 12,
    max_tokens: options.MaxTokens = 32_768,
    max_new_tokens: options.MaxNewTokens = 4096,
    temperature: options.Temperature = 0.0,
    top_p: options.TopP = 1.0,
    timeout: options.Timeout = 10.0,
    simulate: options.Simulate = False,
    record: options.Record = None,
    replay: options.Replay = None,
    skip_invalid: options.SkipInvalid = False,
    rejects: options.Rejects = None,
) -> None:
    """Let a teacher play tasks and write its trajectories.

    \b
      tm synth --teacher gpt-4o | tm filter > sft.jsonl
      tm synth --tasks tasks.jsonl --samples 4 --temperature 0.7 -o raw.jsonl --resume

    All that was played is written, right and wrong, each as it ends; tm filter chooses. When a server or
    a tool's machinery breaks, the episode is invalid: counted, and played again by --resume.
    """
    sampling = policies.Sampling(temperature, top_p, max_new_tokens, seed)
    limits = Limits(style, max_turns=max_turns, max_tokens=max_tokens)
    with options.open_rejects(skip_invalid, rejects, force=force) as aside:
        chosen = options.tasks_from(tasks, n=n, seed=seed, drift=drift, rejects=aside)
        world = options.world(
            timeout_s=timeout,
            simulate=simulate,
            record=record,
            replay=replay,
            output=output,
            resume=resume,
            force=force,
        )
        policy = policies.load(teacher, sampling, style)
        with (
            Runner(policy, limits, concurrency=concurrency, world=world) as runner,
            open_journal(output, key=runner.key, resume=resume, force=force, to=to) as journal,
        ):
            total = ledger.expected(tasks, n, samples, journal)
            ledger.keep(synth(chosen, runner, samples, journal.done), journal, total)
