"""rl: GRPO over trial and execution jointly, on TRL's GRPOTrainer.

The trainer asks `rollout_func` for completions; they are whole episodes, played by the same runner, in
the same environments, as everywhere else. Departures from a plain GRPO run:

- A completion is everything after the prompt: sampled turns and tool replies. `env_mask` keeps the
  replies out of the loss but in the context.
- The reward is `score.judge`'s weighted sum of named parts, outcome first.
- An episode the world broke has no reward (None), leaves its group's baseline and gets advantage 0. A
  group with fewer than two valid members teaches nothing: all its rewards are None, and it is counted.
- No KL term by default (beta 0), so no reference model is held.

Each prompt handed to the trainer is a task's id: TRL gives `rollout_func` the prompts and nothing else
of the row. `rollout_func` is experimental in TRL; its contract is pinned by version and by test.
Hyper-parameters are ours (ToolMaster's are not public).
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from tmcli import checkpoint
from tmcli.errors import InputError
from tmcli.records import Json, Run, Task, Trajectory
from tmcli.score import DEFAULT_WEIGHTS, judge

if TYPE_CHECKING:
    from tmcli.environments.world import World
    from tmcli.runner import Runner


@dataclass(frozen=True, slots=True)
class RlOptions:
    """What a user turns. The demo, on two cores, uses fewer steps and smaller groups than these defaults."""

    policy: str = "smollm2"
    template: Literal["auto", "own", "text", "tm"] = "auto"
    full: bool = False
    rank: int = 32
    learning_rate: float = 2e-4
    steps: int = 20
    """Optimizer steps."""
    prompts_per_step: int = 4
    group_size: int = 8
    """Episodes per task and step: the group whose mean is the baseline."""
    batch_size: int = 8
    """Episodes per forward and backward pass; must divide prompts_per_step * group_size."""
    temperature: float = 1.0
    max_new_tokens: int = 256
    style: Literal["trial", "direct"] = "trial"
    max_turns: int = 8
    max_tokens: int = 1536
    beta: float = 0.0
    """Weight of the KL term."""
    reward: dict[str, float] = field(default_factory=lambda: dict(DEFAULT_WEIGHTS))
    adapter_only: bool = False
    seed: int = 0


class Rollouts:
    """TRL's `rollout_func`: task ids in, judged episodes as token ids out."""

    def __init__(self, tasks: dict[str, Task], runner: Runner, options: RlOptions, eos: int) -> None:
        self.tasks = tasks
        self.runner = runner
        self.options = options
        self.eos = eos
        self.played: Counter[str] = Counter()
        """Episodes so far per task: a new sample number each time, so seeds never repeat."""
        self.counts: Counter[str] = Counter()

    def __call__(self, prompts: list[str], trainer: Any) -> Json:
        """`prompts` come repeated, a group's members next to each other."""
        from tmcli.runner import Job

        jobs = []
        for task_id in prompts:
            jobs.append(Job(self.tasks[task_id], (self.played[task_id],)))
            self.played[task_id] += 1
        played = [judge(t, self.options.reward) for t in self.runner.run(jobs)]
        rewards = self._rewards(played)
        split = [self._split(trajectory) for trajectory in played]
        return {
            "prompt_ids": [prompt for prompt, _, _ in split],
            "completion_ids": [completion for _, completion, _ in split],
            "env_mask": [mask for _, _, mask in split],
            "logprobs": None,  # on-policy: the trainer computes them
            "tm_reward": rewards,
            "tm_answer": [trajectory.scores.get("answer") for trajectory in played],
        }

    def _rewards(self, played: list[Trajectory]) -> list[float | None]:
        """Rewards by member; all None in a group with fewer than two valid members."""
        size = self.options.group_size
        rewards: list[float | None] = []
        for start in range(0, len(played), size):
            group = [trajectory.reward for trajectory in played[start : start + size]]
            valid = [reward for reward in group if reward is not None]
            self.counts["groups"] += 1
            self.counts["episodes"] += len(group)
            self.counts["episodes_without_reward"] += len(group) - len(valid)
            if len(valid) < 2:
                self.counts["groups_skipped"] += 1
                group = [None] * len(group)
            elif len(set(valid)) == 1:
                self.counts["groups_equal"] += 1
            rewards += group
        return rewards

    def _split(self, trajectory: Trajectory) -> tuple[list[int], list[int], list[int]]:
        """(prompt ids, completion ids, mask); a stand-in without loss where nothing was sampled."""
        tokens = trajectory.tokens
        if tokens is None or 1 not in tokens["mask"]:
            return [self.eos], [self.eos], [0]
        first = tokens["mask"].index(1)
        return tokens["ids"][:first], tokens["ids"][first:], tokens["mask"][first:]


def reward(tm_reward: list[float | None], **_: Any) -> list[float | None]:
    """The reward function TRL calls: `Rollouts` has judged already."""
    return tm_reward


def rl(
    tasks: Iterable[Task],
    output: Path,
    options: RlOptions,
    *,
    resume: bool = False,
    force: bool = False,
    concurrency: int = 64,
    world: World | None = None,
    on_step: Callable[[int, int, Json], None] = lambda step, total, logs: None,
) -> Run:
    """Train and write the checkpoint folder `output`. `world`: where the tools run, as it runs them.

    `on_step(step, total, logs)` is called after every optimizer step. Raises `InputError` without tasks or
    with tasks that nothing can judge, `OutputError` when `output` must not be overwritten.
    """
    by_id = {task.id: task for task in tasks}
    if not by_id:
        raise InputError("there are no tasks to train on", "see tm tasks --help for where tasks come from")
    if not any(task.answer or task.subgoals for task in by_id.values()):
        raise InputError(
            "no task has an accepted answer, so nothing can be rewarded", "add `answer` to the tasks"
        )
    shaping = asdict(options) | (world.key if world is not None else {})
    resolved = checkpoint.resolved(shaping, options.policy, list(by_id))
    if resume and (run := checkpoint.finished(output, resolved["key"])) is not None:
        return run
    started = time.monotonic()
    with checkpoint.building(output, force=force) as part:
        import torch

        from tmcli import model as models
        from tmcli.chat import Chat
        from tmcli.episode import Limits
        from tmcli.policies import Sampling
        from tmcli.policies.local import Local
        from tmcli.runner import Runner

        model, tokenizer = models.load(options.policy, dtype=torch.float32 if options.full else None)
        chat = Chat(tokenizer, options.template)
        sampling = Sampling(
            temperature=options.temperature, max_new_tokens=options.max_new_tokens, seed=options.seed
        )
        policy = Local(options.policy, model, chat, sampling)
        limits = Limits(style=options.style, max_turns=options.max_turns, max_tokens=options.max_tokens)
        metrics = checkpoint.Metrics(part)
        with Runner(policy, limits, concurrency=concurrency, world=world) as runner:
            rollouts = Rollouts(by_id, runner, options, chat.turn_end_id)
            trainer = _trainer(model, tokenizer, rollouts, options, part, metrics, on_step)
            policy.model = trainer.model
            trainer.train()
        checkpoint.save(part, trainer.model, chat, adapter_only=options.adapter_only, base=options.policy)
        run = Run(
            step="rl",
            options=resolved | chat.chosen,
            versions=checkpoint.versions(),
            counts={"tasks": len(by_id), "steps": options.steps, **rollouts.counts},
            seconds=round(time.monotonic() - started, 3),
            output=str(output),
            metrics={"reward": metrics.last.get("reward"), "loss": metrics.last.get("train_loss")},
        )
        checkpoint.write_run(part, run)
    return run


def _trainer(
    model: Any,
    tokenizer: Any,
    rollouts: Rollouts,
    options: RlOptions,
    part: Path,
    metrics: checkpoint.Metrics,
    on_step: Callable[[int, int, Json], None],
) -> Any:
    import os

    from datasets import Dataset
    from transformers import PrinterCallback
    from trl import GRPOConfig, GRPOTrainer

    from tmcli.trainer import LoggedSteps, lora, quiet_arguments

    os.environ["TRL_EXPERIMENTAL_SILENCE"] = "1"  # we know: the minor version is pinned
    n_episodes = options.prompts_per_step * options.group_size
    if n_episodes % options.batch_size:
        raise InputError(
            f"batch_size {options.batch_size} does not divide {n_episodes} episodes a step",
            "choose a divisor of prompts_per_step * group_size",
        )
    config = GRPOConfig(
        max_steps=options.steps,
        per_device_train_batch_size=options.batch_size,
        gradient_accumulation_steps=n_episodes // options.batch_size,
        num_generations=options.group_size,
        max_completion_length=options.max_tokens,
        temperature=options.temperature,
        learning_rate=options.learning_rate,
        lr_scheduler_type="constant",
        beta=options.beta,
        seed=options.seed,
        **quiet_arguments(part),
    )
    trainer: Any = GRPOTrainer(
        model=model,
        args=config,
        reward_funcs=[reward],
        train_dataset=Dataset.from_dict({"prompt": list(rollouts.tasks)}),
        processing_class=tokenizer,
        peft_config=None if options.full else lora(options.rank),
        rollout_func=rollouts,
    )
    trainer.remove_callback(PrinterCallback)
    trainer.add_callback(LoggedSteps(metrics, on_step))
    return trainer
