"""All that an rl run plays and trains with: model, policy, runners, trainer.

with Stage(options, watch, world, part) as stage:
    trainer, life = stage.trainer(curriculum, held_out)
    stage.train(trainer, life)
"""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Self

from transformers import PrinterCallback
from trl import GRPOConfig

from tmcli import checkpoint, signals
from tmcli import trainer as training
from tmcli.chat import Chat
from tmcli.curriculum import Curriculum
from tmcli.environments.world import World
from tmcli.episode import Limits
from tmcli.function_classes import FunctionClasses
from tmcli.policies import Sampling, Service
from tmcli.policies.local import Local
from tmcli.policies.served.trained import Trained
from tmcli.records import Json, Task, Trajectory
from tmcli.runner import Runner
from tmcli.score import task_in
from tmcli.steps.rl.options import SEQUENCE_LEVEL, RlOptions, Watch
from tmcli.trainer.calls import marks
from tmcli.trainer.compass import Compass
from tmcli.trainer.grpo import Grpo
from tmcli.trainer.held_out import WATCHED, HeldOut
from tmcli.trainer.life import GRACE_S, Life
from tmcli.trainer.rollouts import Rollouts, groups
from tmcli.trainer.samples import Samples

SERVED = "served"
"""Where a server finds the weights."""
SAMPLING_CAP = 2.0
"""A server computes a little otherwise than the trainer: how much that may weigh at most."""


class Stage:
    """Closes its runner, and with it the world."""

    def __init__(
        self,
        options: RlOptions,
        watch: Watch,
        world: World | None,
        classes: FunctionClasses | None,
        part: Path,
    ) -> None:
        self.options = options
        self.watch = watch
        self.world = world
        self.classes = classes
        self.part = part
        self.model, self.tokenizer = training.load(options)
        self.chat = Chat(self.tokenizer, options.template)
        self._open = ExitStack()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self._open.close()
        shutil.rmtree(self.part / SERVED, ignore_errors=True)

    def trainer(self, curriculum: Curriculum, held_out: Sequence[Task]) -> tuple[Any, Life]:
        """The trainer, and the life it is to be trained in."""
        options, watch = self.options, self.watch
        policy = self._policy()
        limits = Limits(options.style, max_turns=options.max_turns, max_tokens=options.max_tokens)
        runner = Runner(policy, limits, concurrency=watch.concurrency, world=self.world)
        self.runner = self._open.enter_context(runner)
        left = checkpoint.saved(self.part)
        self.rollouts = rollouts = Rollouts(
            curriculum,
            runner,
            self.chat.turn_end_id,
            options,
            samples=Samples(self.part, watch.samples_every, options.group_size, left.step if left else 0),
            classes=self._marks if self.classes else None,
        )
        compass = None
        if self.classes is not None:
            compass = Compass(self.model, len(self.classes.names), options.compass, seed=options.seed)
        trainer: Any = Grpo(
            model=self.model,
            args=GRPOConfig(**_arguments(self.part, options)),
            train_dataset=groups(options.n_groups),
            processing_class=self.tokenizer,
            peft_config=training.adapter(options),
            rollouts=rollouts,
            advantage=options.advantage,
            auxiliary=compass,
            held_out=HeldOut(held_out, runner, options.reward) if held_out else None,
            sampling_cap=SAMPLING_CAP if watch.server else None,
        )
        policy.model = trainer.model
        trainer.args.eval_on_start = bool(held_out) and left is None
        every = options.eval_every or max(1, options.steps // 10)
        life = Life(
            self.part,
            save_every=watch.save_every,
            eval_every=every if held_out else 0,
            patience=options.patience,
            watched=WATCHED,
            higher=True,
            between=options.updates,
        )
        if checkpoint.n_processes() == 1:  # several would have to agree
            rollouts.is_asked = lambda: life.is_asked
        trainer.remove_callback(PrinterCallback)
        trainer.add_callback(life)
        return trainer, life

    def train(self, trainer: Any, life: Life) -> None:
        """To the end, or until a signal comes. Episodes that are played then are played again on resuming."""

        def stop(now: bool) -> bool:
            heard = life.asked_to_stop(now)
            if heard and self.rollouts.playing and checkpoint.n_processes() == 1:
                self.runner.stop(True)
            return heard

        with signals.told_to(stop, GRACE_S):
            try:
                life.train(trainer)
            except KeyboardInterrupt:
                if self.rollouts.playing and life.is_asked:
                    life.save_between(trainer)
                raise
        if life.stopped:
            raise KeyboardInterrupt

    def _policy(self) -> Local | Trained:
        """Who plays: the model here, or on a server that follows it."""
        options, watch = self.options, self.watch
        sampling = Sampling(options.temperature, options.top_p, options.max_new_tokens, options.seed)
        if watch.server is not None:
            service = Service(protocol="tokens", at_once=watch.concurrency)
            return Trained(watch.server, sampling, self.chat, self.part / SERVED, service=service)
        return Local(options.policy, self.model, self.chat, sampling, max_batch_tokens=watch.max_batch_tokens)

    def _marks(self, trajectory: Trajectory) -> list[int]:
        """The function class of the call that ends on each token."""
        assert self.classes is not None
        return marks(trajectory, self.chat, self.classes.numbers(task_in(trajectory)))


def _arguments(part: Path, options: RlOptions) -> Json:
    n_processes = checkpoint.n_processes()
    per_pass = options.per_pass(n_processes)
    return training.shared_arguments(part, options) | {
        "max_steps": options.steps,
        "per_device_train_batch_size": per_pass,
        "gradient_accumulation_steps": options.n_episodes // (per_pass * n_processes),
        "num_generations": options.group_size,
        "num_iterations": options.updates,
        "max_completion_length": options.max_tokens,
        "temperature": options.temperature,
        "top_p": options.top_p,
        "lr_scheduler_type": "constant_with_warmup",
        "warmup_steps": options.warmup,
        "loss_type": options.loss,
        "epsilon": options.clip[0],
        "epsilon_high": options.clip[1],
        "importance_sampling_level": "sequence" if options.loss in SEQUENCE_LEVEL else "token",
        "scale_rewards": options.scale_rewards,
        "beta": options.beta,
        "shuffle_dataset": False,  # the order is the curriculum's
        "ddp_find_unused_parameters": False,
    }
