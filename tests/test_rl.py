"""rl for real, on the tiny model; and the contract with TRL's experimental `rollout_func`."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from conftest import Tm

from tmcli import model as models
from tmcli import suites
from tmcli.chat import Chat
from tmcli.checkpoint import Metrics
from tmcli.episode import Limits
from tmcli.policies import Sampling
from tmcli.policies.local import Local
from tmcli.records import Trajectory
from tmcli.runner import Runner
from tmcli.steps import rl

OPTIONS = rl.RlOptions(
    policy="tiny",
    steps=1,
    prompts_per_step=2,
    group_size=2,
    batch_size=2,
    rank=4,
    max_turns=2,
    max_new_tokens=12,
)


class Recorded(rl.Rollouts):
    """The real rollouts, with rewards drawn from a list and what passed kept."""

    rewards: list[float | None]

    def __call__(self, prompts: list[str], trainer: Any) -> Any:
        self.output = super().__call__(prompts, trainer)
        return self.output

    def _rewards(self, played: list[Trajectory]) -> list[float | None]:
        judged = [replace(t, reward=reward) for t, reward in zip(played, self.rewards, strict=True)]
        return super()._rewards(judged)


def trained(
    rewards: list[float | None], folder: Path
) -> tuple[Recorded, Any, dict[str, torch.Tensor], dict[str, torch.Tensor]]:
    """One GRPO step on the tiny model: (rollouts, trainer, weights before, weights after)."""
    model, tokenizer = models.load("tiny", dtype=torch.float32)
    chat = Chat(tokenizer)
    tasks = {task.id: task for task in suites.suite("train", 2)}
    sampling = Sampling(temperature=1.0, max_new_tokens=OPTIONS.max_new_tokens)
    policy = Local("tiny", model, chat, sampling)
    limits = Limits(max_turns=OPTIONS.max_turns, max_tokens=OPTIONS.max_tokens)
    with Runner(policy, limits, concurrency=4) as runner:
        rollouts = Recorded(tasks, runner, OPTIONS, chat.turn_end_id)
        rollouts.rewards = rewards
        trainer = rl._trainer(model, tokenizer, rollouts, OPTIONS, folder, Metrics(folder), lambda *_: None)
        policy.model = trainer.model
        before = {k: v.clone() for k, v in trainer.model.state_dict().items()}
        trainer.train()
    return rollouts, trainer, before, trainer.model.state_dict()


def changed(before: dict[str, torch.Tensor], after: dict[str, torch.Tensor]) -> list[str]:
    return [name for name in before if not torch.equal(before[name], after[name])]


def test_rollouts_reach_the_loss_as_they_were_played(tmp_path: Path) -> None:
    rollouts, trainer, before, after = trained([1.0, 0.0, 0.5, 0.25], tmp_path)
    output = rollouts.output
    assert len(output["prompt_ids"]) == 4
    for ids, mask in zip(output["completion_ids"], output["env_mask"], strict=True):
        assert len(ids) == len(mask)
        assert mask[0] == 1
    assert output["prompt_ids"][0] == output["prompt_ids"][1]  # a group's members lie side by side
    assert output["completion_ids"][0] != output["completion_ids"][1]
    assert changed(before, after)
    assert all("lora" in name for name in changed(before, after))
    logged = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    assert logged[0]["reward"] == pytest.approx(0.4375)
    assert trainer.state.global_step == 1


def test_none_is_not_zero(tmp_path: Path) -> None:
    """A member without reward leaves its group: the others' baseline is theirs alone."""
    rollouts, trainer, _, _ = trained([1.0, None, 0.5, 0.5], tmp_path)
    assert rollouts.output["tm_reward"] == [None, None, 0.5, 0.5]  # one valid member is no group
    assert rollouts.counts == {
        "groups": 2, "episodes": 4, "episodes_without_reward": 1, "groups_skipped": 1, "groups_equal": 1
    }  # fmt: skip
    assert trainer.state.global_step == 1


def test_groups_without_a_lesson_move_nothing(tmp_path: Path) -> None:
    _, _, before, after = trained([None, None, 0.5, 0.5], tmp_path)
    assert not changed(before, after)


def test_rl_writes_a_checkpoint_that_plays(tm: Tm, tmp_path: Path) -> None:
    words = (
        "rl --policy tiny --tasks train -n 2 --steps 1 --prompts-per-step 1 --group-size 2 --batch-size 2"
        " --max-turns 2 --max-new-tokens 8 -o ckpt --record calls.jsonl"
    ).split()
    done = tm(*words, timeout=120)
    assert done.returncode == 0, done.stderr.decode()
    run = json.loads(done.stdout)
    assert (run["step"], run["counts"]["episodes"], run["counts"]["steps"]) == ("rl", 2, 1)
    recorded = [json.loads(line) for line in (tmp_path / "calls.jsonl").read_text().splitlines()]
    assert sorted(line["sample"] for line in recorded) == [0, 1]
    played = tm(*"rollout --policy ckpt --tasks unseen -n 1 --max-turns 1 --max-new-tokens 8".split())
    assert played.returncode == 0, played.stderr.decode()
    trajectory = json.loads(played.stdout)
    assert trajectory["policy"]["sampling"]["weights"] == run["options"]["key"]
    assert len(trajectory["tokens"]["ids"]) == len(trajectory["tokens"]["mask"])


def test_bad_input_is_one_sentence(tm: Tm, tmp_path: Path) -> None:
    (tmp_path / "none.jsonl").write_bytes(b"")
    for words, said in (
        ("--policy tiny --tasks none.jsonl", b"no tasks"),
        ("--policy tiny --tasks unsene", b"did you mean 'unseen'"),
        ("--policy tiny --reward anser=1", b"answer"),
        ("--policy ./nowhere", b"nowhere"),
        ("--policy tiny --batch-size 3", b"divisor"),
    ):
        failed = tm("rl", *words.split(), "-o", "ckpt")
        assert failed.returncode == 2, (words, failed.stderr)
        assert said in failed.stderr
        assert not list(tmp_path.glob("ckpt*"))
