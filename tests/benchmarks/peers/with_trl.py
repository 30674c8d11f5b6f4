"""TRL's own tool loop: GRPOTrainer with an `environment_factory` whose methods are the toolbox's functions.

The loop is TRL's, unchanged. That every turn is a call is said by the tokenizer's `response_template`, which
TRL asks what a turn holds. One difference is levelled: TRL does not close a turn that was cut, so its suffix
gets the turn end that all others have in their contexts.

`defaults` is TRL as it comes: weights in fp32, autocast to bf16, gradient checkpointing. `best` is what helps
on this machine: weights in bf16, no checkpointing. `continuous` is `best` with TRL's
`use_transformers_continuous_batching`.
"""

from __future__ import annotations

import inspect
import tempfile
import time
from pathlib import Path
from typing import Any, Literal

import torch
from datasets import Dataset
from peers.same_work import BOX, CALL, DAY, Contender, Episode, Played, quiet, runs
from transformers import PrinterCallback

from tmcli import model as models
from tmcli import toolbox
from tmcli.chat import Chat
from tmcli.records import Json
from tmcli.trainer import lora

Settings = Literal["defaults", "best", "continuous"]

SETTINGS: dict[str, Json] = {
    "defaults": {},
    "best": {"gradient_checkpointing": False, "bf16": torch.cpu._is_avx512_bf16_supported()},
    "continuous": {"gradient_checkpointing": False, "use_transformers_continuous_batching": True},
}
PAGE = 64
TYPES = {"string": str, "integer": int}


def environment() -> type:
    """A class with a method for each tool, as TRL wants it."""

    class World:
        episode: Episode

        def reset(self, number: int, **row: Any) -> None:
            self.episode = EPISODES[number]

    for tool in toolbox.load(BOX).tools:
        function = tool["function"]
        setattr(World, function["name"], method(function))
    return World


EPISODES: list[Episode] = []
"""Those of this run; a row of the dataset has its number."""


def method(function: Json) -> Any:
    """A method that calls one tool of the toolbox, with the signature and docstring its schema says."""
    name = function["name"]

    def call(self: Any, **arguments: Any) -> str:
        assert name == CALL  # of the day that the task's world knows, as for all contenders
        reply: str = self.episode.reply()
        return reply

    here = [inspect.Parameter("self", inspect.Parameter.POSITIONAL_OR_KEYWORD)]
    lines = []
    for argument, schema in function["parameters"]["properties"].items():
        kind = TYPES[schema["type"]]
        here.append(inspect.Parameter(argument, inspect.Parameter.POSITIONAL_OR_KEYWORD, annotation=kind))
        choices = f" (choices: {schema['enum']})".replace("'", '"') if "enum" in schema else ""
        lines.append(f"    {argument}: {schema.get('description', 'One')}{choices}")
    call.__name__ = name
    call.__doc__ = "\n".join([function["description"], "", "Args:", *lines])
    call.__annotations__ = {p.name: p.annotation for p in here[1:]} | {"return": str}
    call.__signature__ = inspect.Signature(here, return_annotation=str)  # type: ignore[attr-defined]
    return call


def every_other(prompts: list[Any], **_: Any) -> list[float]:
    """The reward: what tm's episodes get by answering right every other time."""
    return [float(number % 2) for number in range(len(prompts))]


def trainer(folder: Path, output: Path, settings: Settings, turns: int, new: int, **more: Any) -> Any:
    """TRL's trainer of the episodes in `EPISODES`. `more`: of its configuration, `rank` of an adapter."""
    quiet()
    from trl import GRPOConfig, GRPOTrainer

    class Timed(GRPOTrainer):  # type: ignore[misc]
        generated: list[tuple[float, list[list[int]], list[list[int]]]]
        """(seconds, completions, masks) of each generation phase."""

        def _generate(self, prompts: list[Any]) -> Any:
            started = time.perf_counter()
            out = super()._generate(prompts)
            self.generated.append((time.perf_counter() - started, out[1], out[2]))
            return out

        def _get_tool_suffix_ids(self, tool_messages: list[Json]) -> list[int]:
            return [self._tokenizer.eos_token_id, *super()._get_tool_suffix_ids(tool_messages)]

    rank = more.pop("rank", None)
    full = settings == "defaults" or (rank is None and "max_steps" in more)
    model, tokenizer = models.load(str(folder), dtype=torch.float32 if full else None)
    assert tokenizer.eos_token_id == Chat(tokenizer).turn_end_id
    call = {"type": "function", "function": {"name": CALL, "arguments": {DAY: "the day"}}}
    tokenizer.response_template = {
        "version": 1,
        "start_anchor": "<|im_start|>assistant\n",
        "defaults": {"role": "assistant"},
        "fields": {"tool_calls": {"content": "text", "transform": [call]}},
    }
    sampled = "temperature" in more
    config = {
        "output_dir": str(output),
        "report_to": "none",
        "disable_tqdm": True,
        "save_strategy": "no",
        "use_cpu": not torch.cuda.is_available(),
        "logging_steps": 1,
        "shuffle_dataset": False,
        "max_completion_length": 8192,
        "max_tool_calling_iterations": turns - 1,
        "generation_kwargs": {"max_new_tokens": new, **({} if sampled else {"do_sample": False})},
        **SETTINGS[settings],
        **more,
    }
    rows = [{"prompt": one.opening(), "number": number} for number, one in enumerate(EPISODES)]
    made = Timed(
        model=model,
        args=GRPOConfig(**config),
        reward_funcs=[every_other],
        train_dataset=Dataset.from_list(rows),
        processing_class=tokenizer,
        environment_factory=environment(),
        peft_config=lora(rank) if rank else None,
    )
    made.generated = []
    made.remove_callback(PrinterCallback)
    return made


class Trl(Contender):
    """Its generation phase alone."""

    settings: Settings = "best"

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.made: Any = None

    def prepare(self, episodes: list[Episode], turns: int, new: int) -> None:
        super().prepare(episodes, turns, new)
        EPISODES[:] = episodes
        self.made = None
        groups = {"per_device_train_batch_size": 2, "num_generations": 2, "num_generations_eval": 1}
        with tempfile.TemporaryDirectory() as output:
            more = groups | self.configured()
            self.made = trainer(self.folder, Path(output), self.settings, turns, new, **more)
        self.made.model.eval()

    def configured(self) -> Json:
        """What else of TRL's configuration depends on the episodes."""
        return {}

    def play(self) -> Played:
        rows = [{"prompt": one.opening(), "number": number} for number, one in enumerate(self.episodes)]
        self.made._generate_and_score_completions(rows)
        seconds, ids, masks = self.made.generated[-1]
        return seconds, [runs(*row) for row in zip(ids, masks, strict=True)]


class Defaults(Trl):
    settings = "defaults"


class Paged(Trl):
    """Its cache is sized for the episodes: by itself it takes nine tenths of the free memory, and more."""

    settings = "continuous"

    def configured(self) -> Json:
        longest = 600 + self.turns * (self.new + 100)
        pages = len(self.episodes) * (longest // PAGE + 1)
        sizes = {"page_size": PAGE, "num_blocks": pages, "max_batch_tokens": 512}
        return {"transformers_continuous_batching_config": sizes}
