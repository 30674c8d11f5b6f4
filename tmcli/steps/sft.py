"""sft: imitate trajectories, on TRL's SFTTrainer.

What carries loss is exactly what the model would have to sample: assistant text, calls and the turn-end
token: no tool reply, and nothing of a message of weight 0 (an answer that was sent back as wrong). Ids and
mask come from `chat.py`, or from the trajectory's own `tokens` where a policy with the same tokenizer really
sampled them; the trainer gets them as labels.

With `eval_share`, whole tasks are held out; the weights with the lowest loss on them are the result. A run
that was killed goes on from its last checkpoint to the same `metrics.jsonl` and the same weights.

Hyper-parameters are ours (ToolMaster's are not public).
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from tmcli import checkpoint, console, signals
from tmcli.errors import InputError, UsageError
from tmcli.records import Json, Run, Trajectory, digest, encode

if TYPE_CHECKING:
    from tmcli.chat import Chat
    from tmcli.trainer.life import Life

Row = tuple[list[int], list[int]]
"""Ids of a trajectory, and which of them are trained on."""


@dataclass(frozen=True, slots=True)
class SftOptions:
    """What a user turns; defaults are measured on the demo (SmolLM2-135M)."""

    model: str = "smollm2"
    template: Literal["auto", "own", "text", "tm"] = "auto"
    full: bool = False
    """Train all weights instead of an adapter."""
    adapter: Literal["lora", "rslora", "dora", "qlora"] = "lora"
    rank: int = 32
    learning_rate: float = 2e-3
    """For LoRA; `--full` wants about a tenth."""
    epochs: float = 1.0
    max_steps: int = 0
    """0: as many as `epochs` say."""
    batch_size: int = 4
    """Of all processes together."""
    max_length: int = 2048
    """Tokens; a longer trajectory is left out and counted, never cut: a cut one ends without an answer."""
    packing: Literal["auto", "on", "off"] = "auto"
    precision: Literal["auto", "bf16", "fp32"] = "auto"
    gradient_checkpointing: bool = False
    eval_share: float = 0.0
    """Of the tasks, held out."""
    eval_every: int = 0
    """Steps; 0: a tenth of the run."""
    patience: int = 0
    """Evaluations without a better one after which to stop; 0: never."""
    adapter_only: bool = False
    seed: int = 0


@dataclass(frozen=True, slots=True)
class Watch:
    """What does not change the result: when to save, and who is told."""

    save_every: int = 0
    """Steps; 0 is about every ten minutes."""
    report_to: tuple[str, ...] = ()
    """Trackers, of `trainer/reporters.py`."""


def examples(trajectories: Iterable[Trajectory], chat: Chat, max_length: int, counts: Json) -> Iterator[Row]:
    """(ids, mask) of each trajectory that can be trained on; `counts` tells what was left out."""
    counts.update({"in": 0, "trained": 0, "no_assistant_turn": 0, "too_long": 0, "invalid": 0})
    for trajectory in trajectories:
        counts["in"] += 1
        if trajectory.status == "invalid":
            counts["invalid"] += 1
            continue
        if not any(
            message["role"] == "assistant" and message.get("weight") != 0 for message in trajectory.messages
        ):
            counts["no_assistant_turn"] += 1
            continue
        ids, mask = chat.encode_trajectory(trajectory)
        if len(ids) > max_length:
            counts["too_long"] += 1
            continue
        if not any(mask[1:]):  # nothing predicts the first
            counts["no_assistant_turn"] += 1
            continue
        counts["trained"] += 1
        yield ids, mask


def split(
    trajectories: Sequence[Trajectory], share: float, seed: int
) -> tuple[list[Trajectory], list[Trajectory], Json]:
    """(to train on, held out, counts of tasks): whole tasks, so that no sample of a task tells of another.

    Tasks are one where the user asks the same, under whatever drift. Which are held out follows from the
    seed and the words alone, so the same task stays on its side when others come or go.
    """
    if not share:
        return list(trajectories), [], {}
    asked = [digest([m.get("content") for m in t.task["messages"]]) for t in trajectories]
    tasks = sorted(set(asked), key=lambda task: digest([seed, task]))
    if len(tasks) < 2:
        raise InputError("all trajectories are of one task: none can be held out", "leave --eval-share out")
    held_out = set(tasks[: min(max(1, round(share * len(tasks))), len(tasks) - 1)])
    pairs = list(zip(trajectories, asked, strict=True))
    return (
        [trajectory for trajectory, task in pairs if task not in held_out],
        [trajectory for trajectory, task in pairs if task in held_out],
        {"tasks": len(tasks) - len(held_out), "tasks_held_out": len(held_out)},
    )


def sft(
    trajectories: Iterable[Trajectory],
    output: Path,
    options: SftOptions,
    watch: Watch = Watch(),
    *,
    resume: bool = False,
    force: bool = False,
    on_step: Callable[[int, int, Json], None] = lambda step, total, logs: None,
) -> Run:
    """Train and write the checkpoint folder `output`; all trajectories are held in memory.

    `on_step(step, total, logs)` is called at every logged step. Raises `InputError` when nothing is left
    to train on, `OutputError` when `output` must not be overwritten, `KeyboardInterrupt` when a signal ended
    it early (it is saved then, to be resumed).
    """
    if options.adapter_only and checkpoint.needs(options.model, output):
        raise UsageError(f"{output} cannot replace the base that it needs", "choose another folder")
    records = list(trajectories)
    if not records:
        raise InputError("no trajectory is left to train on", "see what tm filter keeps and why")
    contents = [digest(encode(record).decode()) for record in records]
    resolved = checkpoint.resolved(asdict(options), options.model, contents)
    key = resolved["key"]
    if resume and (run := checkpoint.finished(output, key, force=force)) is not None:
        return run
    started = time.monotonic()
    with checkpoint.building(output, force=force, resume=resume, key=key) as part:
        from tmcli import model as models

        models.quiet()  # before the import of libraries that advise at once
        from tmcli import trainer as training
        from tmcli.chat import Chat
        from tmcli.report.card import model_card
        from tmcli.report.curve import curve_picture
        from tmcli.trainer.life import GRACE_S
        from tmcli.trainer.reporters import reporters
        from tmcli.trainer.told import ToldOfRows

        model, tokenizer = training.load(options)
        chat = Chat(tokenizer, options.template)
        rows, held_out, counts = _rows(records, chat, options)
        counts |= {
            "tokens": sum(len(ids) for ids, _ in rows),
            "trained_tokens": sum(sum(mask) for _, mask in rows),
        }
        metrics = checkpoint.Metrics(part)
        trainer, life = _trainer(model, tokenizer, rows, held_out, options, watch, part)
        told = ToldOfRows(metrics, on_step, counts["tokens"])
        for listener in [told, *reporters(watch.report_to, part, resolved)] if checkpoint.is_first() else []:
            trainer.add_callback(listener)
        with signals.told_to(life.asked_to_stop, GRACE_S):
            life.train(trainer)
        if life.stopped:
            raise KeyboardInterrupt
        run = Run(
            step="sft",
            options=resolved | chat.chosen,
            versions=checkpoint.versions(),
            counts=counts,
            seconds=round(time.monotonic() - started, 3),
            output=str(output),
            metrics=_measured(metrics, life.best_step) | {"tokens_per_second": round(told.speed, 1)}
            if checkpoint.is_first()
            else {},
        )
        if checkpoint.is_first():
            trained = trainer.model if options.adapter_only else training.merged(trainer.model, options)
            checkpoint.save(part, trained, chat, adapter_only=options.adapter_only, base=options.model)
            picture = curve_picture(metrics.lines(), part / "loss.png")
            (part / "README.md").write_text(model_card(run, picture=picture), "utf-8")
            checkpoint.write_run(part, run)
    return run


def _rows(records: list[Trajectory], chat: Chat, options: SftOptions) -> tuple[list[Row], list[Row], Json]:
    """(rows to train on, rows held out, counts)."""
    train, held_out, tasks = split(records, options.eval_share, options.seed)
    counts: Json = {}
    aside: Json = {}
    rows = list(examples(train, chat, options.max_length, counts))
    aside_rows = list(examples(held_out, chat, options.max_length, aside))
    if held_out:
        aside["held_out"] = aside.pop("trained")
        counts = {name: counts.get(name, 0) + aside.get(name, 0) for name in {**counts, **aside}} | tasks
    left_out = _left_out(counts, options.max_length)
    for name, kept in (("train on", rows), ("hold out", aside_rows)):
        if not kept and (kept is rows or held_out):
            raise InputError(
                f"no trajectory is left to {name}; of {counts['in']}, {left_out}",
                "give a larger --max-length" if counts["too_long"] else "see what tm filter keeps and why",
            )
    if left_out and checkpoint.is_first():
        console.warn(f"of {counts['in']} trajectories, {left_out}")
    return rows, aside_rows, counts


def _left_out(counts: Json, max_length: int) -> str:
    """In words; empty when all are trained on or held out."""
    told = {
        "too_long": f"longer than {max_length} tokens",
        "no_assistant_turn": "without a turn to learn",
        "invalid": "invalid",
    }
    parts = [f"{counts[name]} {words}" for name, words in told.items() if counts[name]]
    return f"left out: {', '.join(parts)}" if parts else ""


def _trainer(
    model: Any,
    tokenizer: Any,
    rows: list[Row],
    held_out: list[Row],
    options: SftOptions,
    watch: Watch,
    part: Path,
) -> tuple[Any, Life]:
    from transformers import PrinterCallback
    from trl import SFTConfig

    from tmcli import trainer as training
    from tmcli.trainer.life import Life

    n_steps = options.max_steps or math.ceil(math.ceil(len(rows) / options.batch_size) * options.epochs)
    eval_every = (options.eval_every or math.ceil(n_steps / 10)) if held_out else 0
    arguments = training.arguments(part, options, checkpoint.n_processes()) | {
        "max_steps": options.max_steps or -1,
        "warmup_steps": math.ceil(n_steps / 20) if n_steps >= 20 else 0,  # its first step has rate 0
        "prediction_loss_only": True,
        "ddp_find_unused_parameters": False,
    }
    trainer: Any = training.Sft(
        model=model,
        args=SFTConfig(**arguments),
        train_dataset=training.dataset(rows),
        eval_dataset=training.dataset(held_out) if held_out else None,
        processing_class=tokenizer,
        peft_config=training.adapter(options),
    )
    life = Life(part, save_every=watch.save_every, eval_every=eval_every, patience=options.patience)
    trainer.remove_callback(PrinterCallback)
    trainer.add_callback(life)
    return trainer, life


def _measured(metrics: checkpoint.Metrics, best_step: int) -> Json:
    """What the run record tells of the last step, and of the one whose weights were kept."""
    lines = metrics.lines()
    last = next(line for line in reversed(lines) if "loss" in line)
    found = {"steps": last["step"], "loss": last["loss"], "token_accuracy": last["mean_token_accuracy"]}
    best = next((line for line in lines if line["step"] == best_step and "eval_loss" in line), None)
    if best:
        found |= {
            "best_step": best_step,
            "eval_loss": best["eval_loss"],
            "eval_token_accuracy": best["eval_mean_token_accuracy"],
        }
    return found
