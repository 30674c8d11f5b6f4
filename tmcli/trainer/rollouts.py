"""TRL's `rollout_func`: numbers of groups in, judged episodes as token ids out.

    rollouts = Rollouts(curriculum, runner, end, options)
    trainer = Grpo(..., train_dataset=groups(options), rollouts=rollouts)

They are whole episodes, played by the same runner, in the same environments, as everywhere else.

- A completion is everything after the prompt: sampled turns and tool replies. `env_mask` keeps the replies
  out of the loss but in the context.
- An episode without a reward (None) leaves its group, and carries no loss. Where fewer than two are left in
  a group, it teaches nothing: it is counted as skipped; as equal, where all rewards are the same.
- With `dynamic_sampling`, such groups are played again with other tasks, some times. Metrics are of all
  episodes that were played; TRL's own (`reward`, `completions/...`) are of those that are trained on.
- Which task a group plays, and which sample it is, follows from its number (`curriculum.py`): a run that
  goes on, and one of several processes, plays what an undisturbed run of one process plays.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import groupby
from time import monotonic
from typing import Any, NamedTuple, Protocol

from accelerate.utils import gather_object
from datasets import Dataset

from tmcli.curriculum import Curriculum
from tmcli.records import Json, Trajectory
from tmcli.runner import Job, Runner
from tmcli.score import judge, phase_rewards
from tmcli.trainer.grpo import Batch
from tmcli.trainer.samples import Samples
from tmcli.trainer.spans import phases
from tmcli.trainer.tally import Tally

TRUNCATED = ("length", "max_turns")

Rewards = dict[str, float | None]
"""joint, and under a split advantage also those of the phases."""


class Options(Protocol):
    """What of `RlOptions` is read here."""

    @property
    def group_size(self) -> int: ...
    @property
    def dynamic_sampling(self) -> int: ...
    @property
    def mask_truncated(self) -> bool: ...
    @property
    def reward(self) -> Mapping[str, float]: ...
    @property
    def advantage(self) -> str: ...
    @property
    def updates(self) -> int: ...


class Seat(NamedTuple):
    """One episode that is due."""

    group: int
    member: int


def groups(n: int) -> Dataset:
    """What TRL takes for prompts: the numbers of the run's groups. It hands on nothing else of a row."""
    return Dataset.from_dict({"prompt": [str(group) for group in range(n)]})


class Rollouts:
    """Called by the trainer for each batch; `batch` is what else it wants to know of it."""

    batch: Batch

    def __init__(
        self,
        curriculum: Curriculum,
        runner: Runner,
        end: int,
        options: Options,
        *,
        samples: Samples | None = None,
        classes: Callable[[Trajectory], list[int]] | None = None,
    ) -> None:
        self.curriculum = curriculum
        self.runner = runner
        self.end = end
        """The token that ends a turn: it stands in for an episode without tokens."""
        self.options = options
        self.samples = samples
        self.classes = classes
        """A token's function class, for the auxiliary loss."""
        self.playing = False
        """While it is so, no step has begun to change anything."""
        self.is_asked: Callable[[], bool] = lambda: False
        """Did a signal ask to stop?"""

    def __call__(self, prompts: list[str], trainer: Any) -> Json:
        """`prompts` are those of this process; a group's members are neighbours, perhaps over processes."""
        first = trainer.accelerator.process_index * len(prompts)
        size = self.options.group_size
        seats = [Seat(int(prompt), (first + i) % size) for i, prompt in enumerate(prompts)]
        tally = Tally()
        self.playing = True
        if self.is_asked():
            raise KeyboardInterrupt
        self.runner.policy.refresh()  # type: ignore[attr-defined]  # its weights have changed
        began = monotonic()
        played = self._play(seats, 0, tally)
        rewards = self._gathered(seats, played)
        for again in range(1, self.options.dynamic_sampling + 1):
            dull = {group for group, members in rewards.items() if not teaches(members)}
            if not dull:
                break
            anew = [i for i, seat in enumerate(seats) if seat.group in dull]
            for i, trajectory in zip(anew, self._play([seats[i] for i in anew], again, tally), strict=True):
                played[i] = trajectory
            tally.add("groups/resampled", sum(seats[i].member == 0 for i in anew), 0)
            rewards = self._gathered(seats, played)
        seconds = monotonic() - began
        self.playing = False
        for seat in seats:
            if seat.member == 0:  # each group is counted once, wherever its members are
                tally.add("groups/resampled", 0.0)
                tally.add("groups/skipped", float(valid(rewards[seat.group]) < 2))
                tally.add(
                    "groups/equal", float(valid(rewards[seat.group]) > 1 and not teaches(rewards[seat.group]))
                )
        n_sampled, _ = tally.sums.get("episodes/sampled_tokens", (0.0, 0.0))
        tally.add("generation/tokens_per_second", n_sampled, seconds)
        tally.add("generation/seconds", seconds)
        if self.samples is not None:
            self.samples.show(played, first, trainer.state.global_step, self.options.updates)
        return self._handed_over(played, tally)

    def _play(self, seats: Sequence[Seat], again: int, tally: Tally) -> list[Trajectory]:
        """An episode for each seat, judged."""
        size = self.options.group_size
        jobs = []
        for group, members in groupby(seats, lambda seat: seat.group):
            draw = self.curriculum.at(group, again)
            jobs.append(Job(draw.task, tuple(draw.sample(seat.member, size) for seat in members)))
        played = [judge(trajectory, self.options.reward) for trajectory in self.runner.run(jobs)]
        for trajectory in played:
            tally.episode(trajectory)
        return played

    def _gathered(self, seats: Sequence[Seat], played: Sequence[Trajectory]) -> dict[int, list[Rewards]]:
        """The rewards of each group, from all processes."""
        found: dict[int, list[Rewards]] = {}
        pairs = [(seat.group, self._rewards(one)) for seat, one in zip(seats, played, strict=True)]
        for group, rewards in gather_object(pairs):
            found.setdefault(group, []).append(rewards)
        return found

    def _rewards(self, trajectory: Trajectory) -> Rewards:
        joint: Rewards = {"joint": trajectory.reward}
        if self.options.advantage == "joint":
            return joint
        return joint | phase_rewards(trajectory, self.options.reward)

    def _handed_over(self, played: Sequence[Trajectory], tally: Tally) -> Json:
        rewards = [self._rewards(trajectory) for trajectory in played]
        rows = [self._row(trajectory) for trajectory in played]
        self.batch = Batch(
            rewards={name: [one[name] for one in rewards] for name in rewards[0]},
            phases=[row.phases for row in rows],
            classes=[row.classes for row in rows],
            sums=tally.sums,
        )
        return {
            "prompt_ids": [row.prompt for row in rows],
            "completion_ids": [row.completion for row in rows],
            "env_mask": [row.mask for row in rows],
            "logprobs": [row.logprobs for row in rows],
        }

    def _row(self, trajectory: Trajectory) -> Row:
        """A stand-in without loss where nothing was sampled."""
        tokens = trajectory.tokens
        if tokens is None or 1 not in tokens["mask"]:
            return Row([self.end], [self.end], [0], [0.0], [0], [-1])
        first = tokens["mask"].index(1)
        ids, mask = tokens["ids"], tokens["mask"]
        lost = trajectory.reward is None or (self.options.mask_truncated and trajectory.stop in TRUNCATED)
        return Row(
            ids[:first],
            ids[first:],
            [0] * (len(ids) - first) if lost else mask[first:],
            tokens["logprobs"][first:],
            phases(trajectory)[first:],
            self.classes(trajectory)[first:] if self.classes else [-1] * (len(ids) - first),
        )


class Row(NamedTuple):
    """One episode in tokens."""

    prompt: list[int]
    completion: list[int]
    mask: list[int]
    logprobs: list[float]
    phases: list[int]
    classes: list[int]


def valid(members: Iterable[Rewards]) -> int:
    """How many have a reward."""
    return sum(rewards["joint"] is not None for rewards in members)


def teaches(members: Sequence[Rewards]) -> bool:
    """Is a member better than another, in any of the rewards that give it an advantage?"""
    names = [name for name in members[0] if name != "joint"] or ["joint"]
    known = ([rewards[name] for rewards in members if rewards[name] is not None] for name in names)
    return any(len(set(values)) > 1 for values in known)
