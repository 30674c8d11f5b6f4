"""`tm rl`: GRPO over trial and execution."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from tmcli import checkpoint, console, io
from tmcli.commands.options import (
    AdapterOnly,
    CheckpointFolder,
    Concurrency,
    Drift,
    Force,
    Full,
    MaxNewTokens,
    MaxTokens,
    MaxTurns,
    PolicyName,
    Rank,
    Record,
    Replay,
    Resume,
    Seed,
    Simulate,
    Style,
    TaskCount,
    Tasks,
    Template,
    tasks_from,
    world,
)
from tmcli.score import parse_weights
from tmcli.steps.rl import RlOptions, rl

D = RlOptions()
WEIGHTS = ",".join(f"{part}={weight:g}" for part, weight in D.reward.items())


def run(
    policy: PolicyName = D.policy,
    tasks: Tasks = "train",
    output: CheckpointFolder = None,
    n: TaskCount = None,
    drift: Drift = "",
    steps: Annotated[int, typer.Option("--steps", min=1, help="Optimizer steps.")] = D.steps,
    prompts_per_step: Annotated[
        int, typer.Option("--prompts-per-step", min=1, help="Tasks played each step.")
    ] = D.prompts_per_step,
    group_size: Annotated[
        int, typer.Option("--group-size", min=2, help="Episodes per task; their mean is the baseline.")
    ] = D.group_size,
    batch_size: Annotated[
        int, typer.Option("--batch-size", min=1, help="Episodes per forward and backward pass.")
    ] = D.batch_size,
    learning_rate: Annotated[float, typer.Option("--learning-rate", help="Constant.")] = D.learning_rate,
    reward: Annotated[
        str, typer.Option("--reward", metavar="PART=W,...", help="Weights of the reward's parts.")
    ] = WEIGHTS,
    temperature: Annotated[
        float, typer.Option("--temperature", min=0.01, metavar="T", help="Of the episodes played.")
    ] = D.temperature,
    beta: Annotated[float, typer.Option("--beta", min=0.0, help="Weight of the KL term.")] = D.beta,
    full: Full = False,
    rank: Rank = D.rank,
    template: Template = "auto",
    style: Style = "trial",
    max_turns: MaxTurns = D.max_turns,
    max_tokens: MaxTokens = D.max_tokens,
    max_new_tokens: MaxNewTokens = D.max_new_tokens,
    concurrency: Concurrency = 64,
    simulate: Simulate = False,
    record: Record = None,
    replay: Replay = None,
    adapter_only: AdapterOnly = False,
    seed: Seed = 0,
    resume: Resume = False,
    force: Force = False,
) -> None:
    """Train a policy by trial and error on tasks (GRPO).

    \b
      tm rl --policy ckpt/sft --tasks train --drift none,stale -o ckpt/rl

    The reward is a weighted sum of named parts, outcome first; an episode that could not be judged has no
    reward and leaves its group. Writes the checkpoint folder (default: POLICY-rl), and one run record to
    stdout.
    """
    options = RlOptions(
        policy=policy,
        template=template,
        full=full,
        rank=rank,
        learning_rate=learning_rate,
        steps=steps,
        prompts_per_step=prompts_per_step,
        group_size=group_size,
        batch_size=batch_size,
        temperature=temperature,
        max_new_tokens=max_new_tokens,
        style=style,
        max_turns=max_turns,
        max_tokens=max_tokens,
        beta=beta,
        reward=parse_weights(reward),
        adapter_only=adapter_only,
        seed=seed,
    )
    folder = Path(output) if output else Path(f"{policy.rstrip('/')}-rl")
    with console.progress(steps, "rl") as progress:
        finished = rl(
            tasks_from(tasks, n=n, seed=seed, drift=drift),
            folder,
            options,
            resume=resume,
            force=force,
            concurrency=concurrency,
            world=world(
                simulate=simulate,
                record=record,
                replay=replay,
                output=str(folder),
                resume=resume,
                force=force,
            ),
            on_step=progress.step,
        )
    if checkpoint.is_first():
        with io.open_output("-") as out:
            out.write(finished)
        console.note(f"checkpoint: {finished.output}")
