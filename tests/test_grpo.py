"""The trainer of rl: TRL's loss from rows end to end, advantages by phase, and nothing learned but what was
sampled."""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path
from typing import Any

import pytest
import torch
from datasets import Dataset
from peft import LoraConfig
from transformers import CONFIG_MAPPING, AutoModelForCausalLM, TrainerCallback, set_seed
from trl import GRPOConfig, GRPOTrainer

from tmcli import model as models
from tmcli.trainer import adapter, attention, logprobs
from tmcli.trainer.grpo import Batch, Grpo

NUMBERS = torch.Generator().manual_seed(0)


@pytest.fixture(autouse=True)
def _silence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRL_EXPERIMENTAL_SILENCE", "1")


def ids_of(n: int) -> list[int]:
    return torch.randint(3, 250, (n,), generator=NUMBERS).tolist()


PROMPTS = [ids_of(n) for n in (20, 33)]
LENGTHS = (9, 30, 1, 17, 140, 6, 12, 25)
COMPLETIONS = [ids_of(n) for n in LENGTHS]
MASKS = [[int(j % 11 < 6) for j in range(n)] for n in LENGTHS]
REWARDS: list[float | None] = [1.0, 0.2, None, 0.5, 0.0, 1.0, 0.3, 0.0]
PHASES = [[m * (1 + (j > 8)) for j, m in enumerate(mask)] for mask in MASKS]


class Fixed:
    """Rollouts that were played long ago: two groups of four."""

    def __init__(self, **more: Any) -> None:
        self.masks, self.completions, self.logprobs = MASKS, COMPLETIONS, None
        self.batch = Batch(rewards={"joint": REWARDS, "trial": REWARDS, "execution": REWARDS}, phases=PHASES)
        self.more = more

    def __call__(self, prompts: list[str], trainer: Any) -> dict[str, Any]:
        assert prompts == ["0"] * 4 + ["1"] * 4
        return {
            "prompt_ids": [PROMPTS[int(prompt)] for prompt in prompts],
            "completion_ids": self.completions,
            "env_mask": self.masks,
            "logprobs": self.logprobs,
            "tm_reward": REWARDS,
        }


class Kept(TrainerCallback):  # type: ignore[misc]
    """The gradients of each step."""

    def __init__(self) -> None:
        self.steps: list[dict[str, torch.Tensor]] = []

    def on_pre_optimizer_step(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        named = kwargs["model"].named_parameters()
        self.steps.append({name: p.grad.clone() for name, p in named if p.grad is not None})


def reward(tm_reward: list[float | None], **_: Any) -> list[float | None]:
    return tm_reward


def trained(
    kind: type, folder: Path, rollouts: Any = None, *, full: bool = False, model: Any = None, **more: Any
) -> tuple[Any, list[dict[str, Any]], Kept]:
    """(trainer, its log, its gradients) of some steps over the same episodes."""
    own = {
        key: more.pop(key)
        for key in list(more)
        if key in ("advantage", "auxiliary", "sampling_cap", "held_out")
    }
    usual = {
        "output_dir": str(folder),
        "max_steps": 2,
        "per_device_train_batch_size": 4,
        "gradient_accumulation_steps": 2,
        "num_generations": 4,
        "max_completion_length": 150,
        "learning_rate": 1e-2,
        "shuffle_dataset": False,
        "logging_steps": 1,
        "save_strategy": "no",
        "report_to": "none",
        "use_cpu": True,
        "bf16": False,
        "gradient_checkpointing": False,
        "disable_tqdm": True,
        "temperature": 0.9,
    }
    loaded, tokenizer = models.load("tiny", dtype=torch.float32)
    set_seed(0)
    rollouts = rollouts or Fixed()
    theirs = {"reward_funcs": [reward], "rollout_func": rollouts}
    ours = {"rollouts": rollouts, **own}
    kept = Kept()
    trainer = kind(
        model=model or loaded,
        args=GRPOConfig(**usual | more),
        train_dataset=Dataset.from_dict({"prompt": ["0", "1"]}),
        processing_class=tokenizer,
        peft_config=None if full else LoraConfig(r=4, lora_alpha=8, target_modules="all-linear"),
        callbacks=[kept],
        **(ours if issubclass(kind, Grpo) else theirs),
    )
    trainer.train()
    return trainer, [line for line in trainer.state.log_history if "loss" in line], kept


class Ordered(GRPOTrainer):  # type: ignore[misc]
    """TRL's own, but for the order in which a batch is cut into passes."""

    def _prepare_inputs(self, generation_batch: Any) -> Any:
        from unittest.mock import patch

        with patch("trl.trainer.grpo_trainer.shuffle_sequence_dict", lambda batch: batch):
            return super()._prepare_inputs(generation_batch)


def same(ours: Any, theirs: Any, rel: float = 2e-3) -> None:
    (_, mine, gradients), (_, others, expected) = ours, theirs
    assert len(mine) == len(others)
    for line, other in zip(mine, others, strict=True):
        left_out = ("step_time", "rewards/")
        names = [name for name in other if not name.startswith(left_out)]
        for name in names:
            if other[name] is None:
                assert line[name] is None, name
            else:
                assert line[name] == pytest.approx(other[name], rel=rel, abs=2e-5), name
    for one, other in zip(gradients.steps, expected.steps, strict=True):
        assert one.keys() == other.keys()
        scale = max(g.abs().max().item() for g in other.values())
        for name in other:
            torch.testing.assert_close(one[name], other[name], rtol=1e-2, atol=2e-3 * scale)


LOSSES: list[dict[str, Any]] = [
    *({"loss_type": name} for name in ("grpo", "dr_grpo", "dapo", "bnpo", "sapo")),
    {"loss_type": "cispo", "epsilon_high": 5.0},
    {"loss_type": "vespo", "num_iterations": 2},
    {"loss_type": "luspo", "importance_sampling_level": "sequence"},
    {"loss_type": "grpo", "beta": 0.1},
    {"loss_type": "dapo", "num_iterations": 3, "max_steps": 4, "epsilon": 0.02, "epsilon_high": 0.05},
    {
        "loss_type": "grpo",
        "num_iterations": 2,
        "importance_sampling_level": "sequence",
        "scale_rewards": "batch",
    },
    {
        "loss_type": "dr_grpo",
        "steps_per_generation": 4,
        "per_device_train_batch_size": 2,
        "scale_rewards": "none",
    },
]


@pytest.mark.parametrize("more", LOSSES, ids=str)
def test_loss_gradients_and_metrics_are_trls(more: dict[str, Any], tmp_path: Path) -> None:
    same(trained(Grpo, tmp_path, **more), trained(Ordered, tmp_path, **more))
