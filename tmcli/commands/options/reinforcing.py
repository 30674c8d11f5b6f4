"""The options of reinforcement, in bundles: what is rewarded, in what batches, how episodes are played.

def run(..., aim: Aim = Aim(), batches: Batches = Batches(), rehearsing: Rehearsing = Rehearsing()):
"""

from __future__ import annotations

import math
from dataclasses import dataclass, fields
from typing import Annotated, Any

import typer

from tmcli.commands import options
from tmcli.commands.options.bundles import Playing
from tmcli.commands.options.training import Watching, Weights
from tmcli.errors import UsageError
from tmcli.score import DEFAULT_WEIGHTS, parse_weights
from tmcli.steps.rl import METHODS, Advantage, Loss, Method, RlOptions, Scale, Watch

D = RlOptions()
WEIGHTS = ",".join(f"{part}={weight:g}" for part, weight in DEFAULT_WEIGHTS.items())
USUAL_CLIP = {"cispo": (0.2, 5.0)}
"""Where TRL's papers recommend another than 0.2 on both sides."""

Learner = Annotated[
    str,
    typer.Option("--policy", metavar="POLICY", help="Who learns: a checkpoint or hub id, smollm2, or tiny."),
]


def check_learner(policy: str) -> None:
    """Raises `UsageError` for one without weights here."""
    from tmcli.policies import is_scripted

    if is_scripted(policy) or "://" in policy:
        who = policy if is_scripted(policy) else "a server's model"
        raise UsageError(
            f"{who} has no weights here to train",
            "name a checkpoint folder, a hub id, smollm2 or tiny; --server URL has a server generate",
        )


@dataclass(frozen=True)
class Batches:
    """How much is played and trained, and on which tasks."""

    steps: Annotated[int, typer.Option("--steps", min=1, metavar="N", help="Optimizer steps.")] = D.steps
    prompts_per_step: Annotated[
        int, typer.Option("--prompts-per-step", min=1, metavar="N", help="Tasks of a batch.")
    ] = D.prompts_per_step
    group_size: Annotated[
        int,
        typer.Option("--group-size", min=2, metavar="N", help="Episodes a task; their mean is the baseline."),
    ] = D.group_size
    batch_size: Annotated[
        int,
        typer.Option(
            "--batch-size", min=1, metavar="N", help="Episodes per forward and backward pass, at most."
        ),
    ] = D.batch_size
    updates: Annotated[
        int, typer.Option("--updates", min=1, metavar="K", help="Optimizer steps on each batch of episodes.")
    ] = D.updates
    learning_rate: Annotated[
        float | None, typer.Option("--learning-rate", help="Constant; 3e-4 for LoRA, 3e-5 with --full.")
    ] = None
    warmup: Annotated[
        int, typer.Option("--warmup", min=0, metavar="N", help="Steps in which the rate rises.")
    ] = D.warmup
    curriculum: Annotated[
        str,
        typer.Option(
            "--curriculum", metavar="drift,hops", help="From easy to hard: fewer drifts, or calls, first."
        ),
    ] = ""
    dynamic_sampling: Annotated[
        int,
        typer.Option(
            "--dynamic-sampling",
            min=0,
            metavar="N",
            help="Play a group of equal rewards again with another task, N times at most.",
        ),
    ] = D.dynamic_sampling
    mask_truncated: Annotated[
        bool, typer.Option("--mask-truncated", help="No loss on episodes that a limit ended.")
    ] = D.mask_truncated

    def resolved(self, weights: Weights) -> dict[str, Any]:
        """As `RlOptions` takes them. Raises `UsageError`."""
        weights.check()
        rate = weights.rate(self.learning_rate, D.learning_rate)
        words = tuple(dict.fromkeys(options.words(self.curriculum)))
        return {**vars(self), "learning_rate": rate, "curriculum": words}


@dataclass(frozen=True)
class Aim:
    """What is rewarded, and how it is learned. None: as the method says."""

    method: Annotated[
        Method,
        typer.Option(
            "--method",
            help="A preset. toolmaster: the whole reward, jointly; grpo: outcome=1,format=0.1 alone; compass:"
            " grpo with --compass 0.1. Options given beside it win.",
        ),
    ] = "toolmaster"
    reward: Annotated[
        str | None,
        typer.Option("--reward", metavar="PART=W,...", help=f"Weights of the reward's parts; {WEIGHTS}."),
    ] = None
    advantage: Annotated[
        Advantage,
        typer.Option(
            "--advantage", help="split: trial and execution tokens each have an advantage of their own."
        ),
    ] = D.advantage
    scale_rewards: Annotated[
        Scale, typer.Option("--scale-rewards", help="By the spread of what rewards are divided.")
    ] = D.scale_rewards
    loss: Annotated[Loss, typer.Option("--loss", help="Variant of the loss, as TRL has it.")] = D.loss
    clip: Annotated[
        str | None,
        typer.Option(
            "--clip", metavar="E[,E]", help="How far a ratio may count, down and up; 0.2 (cispo: 0.2,5)."
        ),
    ] = None
    beta: Annotated[float, typer.Option("--beta", min=0.0, help="Weight of the KL term.")] = D.beta
    compass: Annotated[
        float | None,
        typer.Option(
            "--compass", min=0.0, metavar="W", help="Weight of ToolCompass's auxiliary loss; 0 is off."
        ),
    ] = None
    function_classes: Annotated[
        str | None,
        typer.Option(
            "--function-classes",
            metavar="FILE",
            help="JSON {tool: class} for --compass, instead of what the toolspecs say.",
        ),
    ] = None

    def resolved(self) -> dict[str, Any]:
        """As `RlOptions` takes them. Raises `UsageError`."""
        given = {one.name: getattr(self, one.name) for one in fields(self)}
        if self.reward is not None:
            given["reward"] = parse_weights(self.reward)
        given["clip"] = self._clip()
        for name, weight in (("--beta", self.beta), ("--compass", self.compass or 0.0)):
            if weight == math.inf:
                raise UsageError(f"{name} {weight} is no weight", "try 0.1")
        made = {**METHODS[self.method], **{name: value for name, value in given.items() if value is not None}}
        if self.function_classes is not None and not made.get("compass"):
            raise UsageError("--function-classes is for --compass", "add --compass 0.1, say")
        return made

    def _clip(self) -> tuple[float, float]:
        if self.clip is None:
            return USUAL_CLIP.get(self.loss, D.clip)
        try:
            given = [float(word) for word in options.words(self.clip)]
            low, high = given * 2 if len(given) == 1 else given
        except ValueError:
            low = high = -1.0
        if not 0 <= low <= 1 or not 0 <= high < math.inf:
            raise UsageError(
                f"--clip {self.clip!r} is no range", "write 0.2, or 0.2,0.28 for more room upwards"
            )
        return low, high


@dataclass(frozen=True)
class Examining:
    """What is held out, and how often it is played."""

    eval_tasks: Annotated[
        str | None,
        typer.Option(
            "--eval-tasks",
            metavar="FILE|SUITE",
            help="Held out: played greedily now and then; the weights that solve most are kept.",
        ),
    ] = None
    eval_n: Annotated[
        int | None, typer.Option("--eval-n", min=1, metavar="N", help="How many of them at most.")
    ] = None
    eval_every: Annotated[
        int, typer.Option("--eval-every", min=0, metavar="N", help="Steps; 0 is a tenth of the run.")
    ] = D.eval_every
    patience: Annotated[
        int,
        typer.Option(
            "--patience", min=0, metavar="N", help="Stop after N evaluations without a better one; 0 is off."
        ),
    ] = D.patience

    def check(self) -> None:
        """Raises `UsageError` where nothing is held out."""
        if self.eval_tasks is None:
            for one in fields(self):
                if getattr(self, one.name) != one.default:
                    word = one.name.replace("_", "-")
                    raise UsageError(f"--{word} needs something held out", "add --eval-tasks seen, say")


@dataclass(frozen=True)
class Following(Watching):
    """What does not change the result."""

    samples_every: Annotated[
        int,
        typer.Option(
            "--samples-every", min=0, metavar="N", help="Steps after which a group is kept in samples.jsonl."
        ),
    ] = 10

    def watching(self, rehearsing: Rehearsing, weights: Weights) -> Watch:
        """As `rl` takes it. Raises `UsageError` for a tracker that is not there, no server's address, or an
        adapter that no server takes."""
        if rehearsing.server is not None:
            from tmcli.policies.openai.names import addresses

            addresses(rehearsing.server)  # a bare name would be asked for at OpenAI's
            if weights.adapter == "dora" and not weights.full:
                raise UsageError("--server: vLLM and SGLang load no DoRA adapter", "choose --adapter rslora")
        return Watch(
            self.save_every,
            self.trackers(),
            self.samples_every,
            rehearsing.concurrency,
            rehearsing.max_batch_tokens,
            rehearsing.server,
        )


@dataclass(frozen=True)
class Rehearsing(Playing):
    """How episodes are played while a policy is trained."""

    max_turns: options.MaxTurns = D.max_turns
    temperature: Annotated[
        float,
        typer.Option("--temperature", min=0.01, max=100.0, metavar="T", help="Of the episodes played."),
    ] = D.temperature
    concurrency: options.Concurrency = 64
    server: Annotated[
        str | None,
        typer.Option(
            "--server",
            metavar="URL",
            help="Generate on this vLLM or SGLang server, which serves the --policy; weights are brought over"
            " before each batch.",
        ),
    ] = None
