"""`tm rl`: GRPO over trial and execution."""

from __future__ import annotations

import shutil
from pathlib import Path

from tmcli import checkpoint, console, io
from tmcli.commands import options
from tmcli.commands.options.reinforcing import (
    Aim,
    Batches,
    Examining,
    Following,
    Learner,
    Rehearsing,
    check_learner,
)
from tmcli.commands.options.training import Weights
from tmcli.errors import InputError, UsageError
from tmcli.records import Run
from tmcli.steps.rl import RlOptions, rl

D = RlOptions()


def run(
    policy: Learner = D.policy,
    tasks: options.Tasks = "train",
    output: options.CheckpointFolder = None,
    n: options.TaskCount = None,
    drift: options.Drift = "",
    batches: Batches = Batches(),
    aim: Aim = Aim(),
    examining: Examining = Examining(),
    weights: Weights = Weights(),
    template: options.Template = "auto",
    style: options.Style = "trial",
    max_tokens: options.MaxTokens = D.max_tokens,
    max_new_tokens: options.MaxNewTokens = D.max_new_tokens,
    rehearsing: Rehearsing = Rehearsing(),
    following: Following = Following(),
    seed: options.Seed = 0,
    resume: options.Resume = False,
    force: options.Force = False,
) -> None:
    """Train a policy by trial and error on tasks (GRPO).

    \b
      tm rl --policy ckpt/sft --tasks train --drift none,stale -o ckpt/rl
      tm rl --policy ckpt/sft --eval-tasks seen --eval-n 50 --patience 3 -o ckpt/rl
      tm rl --policy ckpt/sft --method compass --curriculum drift,hops -o ckpt/rl

    The reward is a weighted sum of named parts, outcome first; an episode that could not be judged has no
    reward and leaves its group. Of a stream of tasks the first 10,000 are taken, or as many as the run has
    groups. Writes the checkpoint folder (default: POLICY-rl), with metrics.jsonl and samples.jsonl, and one
    run record to stdout. A run that was stopped or killed goes on with --resume.
    """
    check_learner(policy)
    examining.check()
    chosen = RlOptions(
        policy=policy,
        template=template,
        **vars(weights),
        **batches.resolved(weights),
        **aim.resolved(),
        eval_every=examining.eval_every,
        patience=examining.patience,
        style=style,
        temperature=rehearsing.temperature,
        top_p=rehearsing.top_p,
        max_turns=rehearsing.max_turns,
        max_tokens=max_tokens,
        max_new_tokens=max_new_tokens,
        seed=seed,
    )
    watch = following.watching(rehearsing, weights)
    if tasks == examining.eval_tasks == "-":
        raise UsageError("--tasks and --eval-tasks cannot both read stdin", "name a file for one of them")
    if "-" in (tasks, examining.eval_tasks) and checkpoint.n_processes() > 1:
        raise UsageError("several processes cannot read the same stdin", "name a file")
    if not checkpoint.is_first():  # one of several processes speaks, and writes, for all
        console.configure(console.settings.command, quiet=True)
    folder = Path(output) if output else Path(f"{policy.rstrip('/')}-rl")
    held_out = []
    if examining.eval_tasks is not None:
        held_out = list(options.tasks_from(examining.eval_tasks, n=examining.eval_n, seed=seed, drift=drift))
        if not held_out:
            raise InputError(
                f"there are no tasks in --eval-tasks {examining.eval_tasks}", "see tm tasks --help"
            )
    with console.progress(chosen.steps, "rl") as progress:
        finished = rl(
            options.tasks_from(tasks, n=n, seed=seed, drift=drift),
            folder,
            chosen,
            watch,
            held_out=held_out,
            resume=resume,
            force=force,
            world=options.world(
                simulate=rehearsing.simulate,
                record=rehearsing.record,
                replay=rehearsing.replay,
                output=str(folder),
                resume=resume,
                force=force,
                timeout_s=rehearsing.timeout,
            ),
            on_step=progress.step,
        )
    if checkpoint.is_first():
        with io.open_output("-") as out:
            out.write(finished)
        _warn(finished)
        _show_curve(folder)
        console.note(f"checkpoint: {finished.output}")


def _warn(run: Run) -> None:
    """Say what makes its numbers less than they seem."""
    counts = run.counts
    if both := counts.get("tasks_in_both", 0):
        console.warn(f"{both} of the {counts['tasks_held_out']} held-out tasks are trained on, too")
    if lost := counts["episodes_without_reward"]:
        console.warn(f"{lost} of {counts['episodes']} episodes had no reward, and taught nothing")
    before, best = (run.metrics.get(name) for name in ("eval_outcome_before", "eval_outcome"))
    if before is not None and best is not None and best <= before:
        console.warn(f"no more was solved of what is held out than before training: {best:.3g}, {before:.3g}")


def _show_curve(folder: Path) -> None:
    """Draw what came of it where a person watches."""
    if not console.is_live() or console.settings.quiet:
        return
    from tmcli.report.curve import REWARD, curve_text

    lines = checkpoint.Metrics(folder).lines()
    console.write(curve_text(lines, min(shutil.get_terminal_size().columns, 100), REWARD) or "")
