"""`tm synth`: a teacher's trajectories, to imitate."""

from __future__ import annotations

from typing import Annotated

import typer

from tmcli import ledger
from tmcli.commands import options
from tmcli.commands.options.bundles import Machines, Playing, Serving, Spending, Writing, player, setup
from tmcli.episode import Limits
from tmcli.estimate import estimate
from tmcli.policies import Sampling
from tmcli.runner import jobs, shard
from tmcli.steps.synth import synth

Teacher = Annotated[
    str,
    typer.Option(
        "--teacher",
        metavar="TEACHER",
        help="Who plays: scripted[:trials=4] (embedded), a checkpoint, or MODEL[@URL,...] of an"
        " OpenAI-compatible server (OPENAI_API_KEY, OPENAI_BASE_URL).",
    ),
]
UntilCorrect = Annotated[
    int | None,
    typer.Option(
        "--until-correct", min=1, metavar="N", help="Play no more samples of a task once N are right."
    ),
]
Hints = Annotated[
    bool,
    typer.Option("--hints", help="Send a wrong answer back once to be corrected; the record says so."),
]


def run(
    tasks: options.Tasks = "train",
    teacher: Teacher = "scripted",
    style: options.Style = "trial",
    n: options.TaskCount = None,
    samples: options.Samples = 1,
    until_correct: UntilCorrect = None,
    hints: Hints = False,
    drift: options.Drift = "",
    seed: options.Seed = 0,
    max_tokens: options.MaxTokens = 32_768,
    max_new_tokens: options.MaxNewTokens = 4096,
    playing: Playing = Playing(),
    serving: Serving = Serving(),
    spending: Spending = Spending(),
    writing: Writing = Writing(),
    machines: Machines = Machines(),
) -> None:
    """Let a teacher play tasks and write its trajectories.

    \b
      tm synth --teacher gpt-4o | tm filter > sft.jsonl
      tm synth --tasks tasks.jsonl --samples 4 --until-correct 1 --temperature 0.7 -o raw.jsonl --resume
      tm synth --teacher gpt-4o --dry-run

    All that was played is written, right and wrong, each as it ends; tm filter chooses. When a server or
    a tool's machinery breaks, the episode is invalid: counted, and played again by --resume.
    """
    sampling = Sampling(playing.temperature, playing.top_p, max_new_tokens, seed)
    limits = Limits(
        style, max_turns=playing.max_turns, max_tokens=max_tokens, hints=hints, timed=playing.timed
    )
    made = setup(teacher, sampling, limits, playing, serving, spending)
    part = shard(machines.shard)
    with writing.aside() as aside:
        chosen = options.tasks_from(tasks, n=n, seed=seed, drift=drift, rejects=aside)
        if spending.dry_run:
            due = jobs(chosen, samples, writing.already(), enough=until_correct, shard=part)
            estimate(due, made).tell()
            return
        with player(made, playing, writing, machines) as who, writing.journal(who.key) as journal:
            total = ledger.expected(tasks, n, samples, journal, part)
            played = synth(
                chosen,
                who,
                samples,
                journal.done,
                enough=until_correct,
                shard=part,
                ordered=journal.ordered,
                order=journal.order,
            )
            ledger.keep(played, journal, total, who)
