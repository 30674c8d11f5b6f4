"""rl: GRPO over trial and execution jointly, on TRL's GRPOTrainer.

The trainer asks for completions; they are whole episodes, played by the same runner, in the same
environments, as everywhere else (`trainer/rollouts.py`). The reward is a weighted sum of named parts, outcome
first; no part knows a gold call. No KL term by default (beta 0), so no reference model is held.

With held-out tasks, which are also played before the first step, the weights that solve most of them are the
result. A run that was killed goes on from its last checkpoint to the same weights and, but for what tells of
time, the same `metrics.jsonl`.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, replace
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

from tmcli import checkpoint
from tmcli.curriculum import Curriculum
from tmcli.errors import InputError, UsageError
from tmcli.records import Json, Run, Task
from tmcli.steps.rl.options import METHODS, Advantage, Loss, Method, RlOptions, Scale, Watch

if TYPE_CHECKING:
    from tmcli.environments.world import World
    from tmcli.function_classes import FunctionClasses

__all__ = ["METHODS", "Advantage", "Loss", "Method", "RlOptions", "Scale", "Watch", "rl"]

MOST_TASKS = 10_000
"""So many are taken of a stream, or as many as the run has groups."""


def rl(
    tasks: Iterable[Task],
    output: Path,
    options: RlOptions,
    watch: Watch = Watch(),
    *,
    held_out: Sequence[Task] = (),
    resume: bool = False,
    force: bool = False,
    world: World | None = None,
    on_step: Callable[[int, int, Json], None] = lambda step, total, logs: None,
) -> Run:
    """Train and write the checkpoint folder `output`. `world`: where the tools run, as it runs them.

    `on_step(step, total, logs)` is called after every optimizer step. Raises `InputError` without tasks or
    with tasks that nothing can judge, `OutputError` when `output` must not be overwritten,
    `KeyboardInterrupt` when a signal ended it early (it is saved then, to be resumed).
    """
    if options.adapter_only and checkpoint.needs(options.policy, output):
        raise UsageError(f"{output} cannot replace the base that it needs", "choose another folder")
    _check(options)
    known = list({task.id: task for task in islice(tasks, max(MOST_TASKS, options.n_groups))}.values())
    curriculum = Curriculum(known, options.n_groups, options.seed, options.curriculum)
    for name, some in (("rewarded", known), ("held out", held_out)):
        if some and not any(task.answer or task.subgoals for task in some):
            problem = f"no task has an accepted answer, so nothing can be {name}"
            raise InputError(problem, "add `answer` to the tasks")
    classes = _classes(options, known)
    shaping = asdict(options) | (world.key if world is not None else {}) | (classes.key if classes else {})
    records = [*(task.id for task in known), *(f"held out: {task.id}" for task in held_out)]
    resolved = checkpoint.resolved(shaping, options.policy, records)
    key = resolved["key"]
    if resume and (run := checkpoint.finished(output, key, force=force)) is not None:
        return run
    started = time.monotonic()
    with checkpoint.building(output, force=force, resume=resume, key=key) as part:
        from tmcli import model as models

        models.quiet()  # before the import of libraries that advise at once
        from tmcli import trainer as training
        from tmcli.report.card import model_card
        from tmcli.report.curve import REWARD, curve_picture
        from tmcli.steps.rl.stage import Stage
        from tmcli.trainer.reporters import reporters
        from tmcli.trainer.told import ToldOfEpisodes

        metrics = checkpoint.Metrics(part)
        with Stage(options, watch, world, classes, part) as stage:
            trainer, life = stage.trainer(curriculum, held_out)
            if checkpoint.is_first():
                for listener in (
                    ToldOfEpisodes(metrics, on_step),
                    *reporters(watch.report_to, part, resolved),
                ):
                    trainer.add_callback(listener)
            stage.train(trainer, life)
        run = Run(
            step="rl",
            options=resolved | stage.chat.chosen,
            versions=checkpoint.versions(),
            counts={
                "tasks": len(known),
                "tasks_held_out": len(held_out),
                "tasks_in_both": len({task.id for task in known} & {task.id for task in held_out}),
            },
            seconds=round(time.monotonic() - started, 3),
            output=str(output),
        )
        if checkpoint.is_first():
            run = _told(run, metrics.lines(), options, life.best_step)
            trained = trainer.model if options.adapter_only else training.merged(trainer.model, options)
            checkpoint.save(part, trained, stage.chat, adapter_only=options.adapter_only, base=options.policy)
            picture = curve_picture(metrics.lines(), part / REWARD.file, REWARD)
            (part / "README.md").write_text(model_card(run, picture=picture), "utf-8")
            checkpoint.write_run(part, run)
    return run


def _check(options: RlOptions) -> None:
    """Can the episodes of a batch be shared evenly? Raises `InputError`."""
    n = checkpoint.n_processes()
    if options.n_episodes % n:
        raise InputError(
            f"{n} processes cannot share the {options.n_episodes} episodes of a batch evenly",
            "choose another --prompts-per-step or --group-size",
        )


def _classes(options: RlOptions, tasks: list[Task]) -> FunctionClasses | None:
    """What the tools of the tasks do, where that is to be learned."""
    if not options.compass:
        return None
    from tmcli import function_classes

    file = options.function_classes
    classes = function_classes.FunctionClasses() if file is None else function_classes.read(file)
    classes.check(tasks)
    return classes


COUNTED = {
    "episodes_without_reward": "episodes/no_reward",
    "groups_skipped": "groups/skipped",
    "groups_equal": "groups/equal",
    "groups_resampled": "groups/resampled",
}
"""What the run record counts, and the metric of each: a share of a batch's groups or episodes."""

MEASURED = ("reward", "reward/outcome", "reward/answer", "loss", "eval_outcome", "eval_reward")


def _told(run: Run, lines: list[Json], options: RlOptions, best_step: int) -> Run:
    """The record with what was logged: also by the lives that this one continues."""
    batches = [line for line in lines if "groups/equal" in line]
    n_groups = len(batches) * options.prompts_per_step
    counts = run.counts | {
        "steps": max((line["step"] for line in lines), default=0),
        "groups": n_groups,
        "episodes": 0,
        **dict.fromkeys(COUNTED, 0),
    }
    for line in batches:
        resampled = round((line["groups/resampled"] or 0) * options.prompts_per_step)
        n_episodes = (options.prompts_per_step + resampled) * options.group_size
        counts["episodes"] += n_episodes
        for name, metric in COUNTED.items():
            of = n_episodes if metric.startswith("episodes/") else options.prompts_per_step
            counts[name] += round((line[metric] or 0) * of)
    last = {name: value for line in lines for name, value in line.items() if value is not None}
    metrics = {name: last.get(name) for name in MEASURED}
    if lines and not lines[0]["step"]:
        metrics["eval_outcome_before"] = lines[0]["eval_outcome"]
    best = next((line for line in lines if line["step"] == best_step and "eval_outcome" in line), None)
    if best:
        metrics |= {"best_step": best_step} | {name: best[name] for name in best if name in MEASURED}
    return replace(run, counts=counts, metrics={k: v for k, v in metrics.items() if v is not None})
