"""What a user turns in `tm rl`, and the presets of `--method`.

    options = RlOptions(policy="ckpt/sft", **METHODS["grpo"])

Defaults and presets are ours: ToolMaster's hyper-parameters are not public.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Literal

from tmcli.score import DEFAULT_WEIGHTS

Method = Literal["toolmaster", "grpo", "compass"]
Advantage = Literal["joint", "split"]
Scale = Literal["group", "batch", "none"]
Loss = Literal["grpo", "dr_grpo", "dapo", "bnpo", "cispo", "sapo", "luspo", "vespo"]
SEQUENCE_LEVEL = ("luspo",)
"""Losses that weigh whole episodes, so importance is of the episode too."""


@dataclass(frozen=True, slots=True)
class RlOptions:
    """What shapes the result."""

    policy: str = "smollm2"
    template: Literal["auto", "own", "text", "tm"] = "auto"

    # what is trained
    full: bool = False
    adapter: Literal["lora", "rslora", "dora", "qlora"] = "lora"
    rank: int = 32
    adapter_only: bool = False
    precision: Literal["auto", "bf16", "fp32"] = "auto"
    gradient_checkpointing: bool = False

    # how much
    steps: int = 20
    """Optimizer steps."""
    prompts_per_step: int = 4
    """Tasks of a batch."""
    group_size: int = 8
    """Episodes per task: the group whose mean is the baseline."""
    batch_size: int = 4
    """Episodes per forward and backward pass, at most: as many as share a batch evenly. On a CPU larger
    passes are hardly faster, and need more memory."""
    updates: int = 1
    """Optimizer steps on each batch of episodes."""
    learning_rate: float = 3e-4
    """For LoRA; `full` wants about a tenth."""
    warmup: int = 0
    """Steps in which the rate rises to `learning_rate`; it is constant then."""

    # on what
    curriculum: tuple[str, ...] = ()
    """From easy to hard by these measures, of `curriculum.HARDNESS`."""
    dynamic_sampling: int = 0
    """How often a group that teaches nothing is played again with another task."""
    mask_truncated: bool = False
    """No loss on episodes that a limit ended."""
    eval_every: int = 0
    """Steps between held-out evaluations; 0: a tenth of the run."""
    patience: int = 0
    """Evaluations without a better one after which to stop; 0: never."""

    # what for
    method: Method = "toolmaster"
    reward: Mapping[str, float] = field(default_factory=lambda: dict(DEFAULT_WEIGHTS))
    advantage: Advantage = "joint"
    scale_rewards: Scale = "none"
    """With `group`, where all of a group fail, the small parts decide as loudly as the outcome elsewhere."""
    loss: Loss = "dapo"
    clip: tuple[float, float] = (0.2, 0.2)
    """How far below and above 1 the ratio of new to old probability may count."""
    beta: float = 0.0
    """Weight of the KL term."""
    compass: float = 0.0
    """Weight of ToolCompass's auxiliary loss."""
    function_classes: str | None = None
    """A file of classes in place of the toolspecs'."""

    # how episodes are played
    style: Literal["trial", "direct"] = "trial"
    temperature: float = 1.0
    top_p: float = 1.0
    max_turns: int = 8
    max_tokens: int = 1536
    max_new_tokens: int = 256
    seed: int = 0

    @property
    def model(self) -> str:
        """As `tmcli.trainer` calls what it loads."""
        return self.policy

    @property
    def packing(self) -> str:
        return "auto"

    @property
    def n_episodes(self) -> int:
        """Of a batch."""
        return self.prompts_per_step * self.group_size

    def per_pass(self, n_processes: int) -> int:
        """Episodes of one process's pass."""
        each = self.n_episodes // n_processes
        return max(n for n in range(1, min(self.batch_size, each) + 1) if each % n == 0)

    @property
    def n_groups(self) -> int:
        """Of the run."""
        return -(-self.steps // self.updates) * self.prompts_per_step


@dataclass(frozen=True, slots=True)
class Watch:
    """What does not change the result: when to save, who is told, and how much is done at once."""

    save_every: int = 0
    """Steps; 0 is about every ten minutes."""
    report_to: tuple[str, ...] = ()
    """Trackers, of `trainer/reporters.py`."""
    samples_every: int = 10
    """Steps after which a group of episodes is kept in `samples.jsonl`; 0: never."""
    concurrency: int = 64
    """Episodes at once."""
    max_batch_tokens: int | None = None
    """Positions of cache that all running episodes may hold; None: as memory allows."""
    server: str | None = None
    """Where episodes are generated; None: here."""


METHODS: Mapping[Method, Mapping[str, Any]] = MappingProxyType(
    {
        "toolmaster": {},
        "grpo": {"reward": {"outcome": 1.0, "format": 0.1}},
        "compass": {"reward": {"outcome": 1.0, "format": 0.1}, "compass": 0.1},
    }
)
"""What a method sets; what is given explicitly wins."""
