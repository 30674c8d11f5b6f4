"""Checkpoint folders: written whole or not at all, self-contained, with the run record that made them.

    DIR/config.json, model.safetensors   merged weights: AutoModelForCausalLM loads the folder as it is
    DIR/adapter_config.json, ...         instead, with `adapter_only`: peft loads it onto its base
    DIR/tokenizer*.json, chat_template   the template that training used
    DIR/run.json                         the `run` record
    DIR/metrics.jsonl                    one line a logged step
    DIR/README.md, loss.png              of `tm sft`: the model card, and the loss curve

A folder under construction is `DIR.part`; it is renamed when all is in it. Where several processes train
(`accelerate launch`, `torchrun`), the first alone writes.
"""

from __future__ import annotations

from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

import orjson

from tmcli.checkpoint.part import Saved, building, is_first, mark_saved, n_processes, saved, tidy
from tmcli.errors import InputError, OutputError, UsageError
from tmcli.records import Json, Run, decode, digest, encode, expect

if TYPE_CHECKING:
    from tmcli.chat import Chat

__all__ = [
    "Metrics",
    "Saved",
    "building",
    "finished",
    "is_first",
    "mark_saved",
    "n_processes",
    "resolved",
    "save",
    "saved",
    "versions",
    "weights_key",
    "write_run",
]

LIBRARIES = ("torch", "transformers", "trl", "peft")


def versions() -> Json:
    """Versions of what shapes a training result."""
    import platform

    found = {"tm": metadata.version("tmcli"), "python": platform.python_version()}
    return found | {name: metadata.version(name) for name in LIBRARIES}


def resolved(options: Json, model: str, records: list[str]) -> Json:
    """The options as the run record holds them, with `key`: the hash of the options, of the weights that
    training starts from and of the records trained on. `finished` goes by it."""
    return options | {"key": digest([options, weights_key(Path(model)), records])}


def finished(path: Path, key: str, *, force: bool = False) -> Run | None:
    """The run record of a finished checkpoint made with the same options and records, or None.

    Raises `OutputError` when it was made otherwise and `force` does not say to replace it.
    """
    file = path / "run.json"
    if not file.exists():
        return None
    try:
        run = expect(decode(file.read_bytes().strip()), Run)
    except InputError as error:
        raise error.at(str(file), 1) from error
    if run.options.get("key") != key and force:
        return None
    if run.options.get("key") != key:
        raise OutputError(
            f"{path} was made with other options or records", "use --force to replace it, or another name"
        )
    if is_first():
        tidy(path)  # it may have been killed when all but that was done
    return run


def weights_key(path: Path) -> str:
    """What tells this checkpoint from another one of the same name: the key of the run that wrote it."""
    try:
        run = decode((path / "run.json").read_bytes().strip())
    except (OSError, InputError):
        return ""
    return str(run.options.get("key", "")) if isinstance(run, Run) else ""


def needs(model: str, folder: Path) -> bool:
    """Is it `folder`, or an adapter that stands on it, perhaps through others?"""
    seen: set[Path] = set()
    while (path := Path(model).resolve()) not in seen:
        if path == folder.resolve():
            return True
        seen.add(path)
        try:
            model = orjson.loads((path / "adapter_config.json").read_bytes())["base_model_name_or_path"] or ""
        except (OSError, KeyError, orjson.JSONDecodeError):
            return False
    return False


def save(part: Path, model: Any, chat: Chat, *, adapter_only: bool, base: str = "") -> None:
    """Weights and tokenizer into the folder; an adapter is merged unless it is to stay alone, and then tells
    of its `base`, also where that has no name but ours. Other software stops where training taught it to."""
    if not is_first():
        return
    if not adapter_only and hasattr(model, "merge_and_unload"):
        model = model.merge_and_unload()
    elif adapter_only and not hasattr(model, "merge_and_unload"):
        raise UsageError("all weights were trained: there is no adapter", "leave one option out")
    if not adapter_only and model.generation_config is not None:
        model.generation_config.eos_token_id = sorted(chat.stop_ids)
    model.save_pretrained(part, safe_serialization=True)
    chat.tokenizer.save_pretrained(part)
    for weights in part.glob("*.safetensors"):  # made for the owner alone; others may read the rest
        weights.chmod((part / "tokenizer_config.json").stat().st_mode)
    file = part / "adapter_config.json"
    if file.exists():
        config = orjson.loads(file.read_bytes())
        config["base_model_name_or_path"] = base or config.get("base_model_name_or_path")
        file.write_bytes(orjson.dumps(config, option=orjson.OPT_INDENT_2) + b"\n")


def write_run(part: Path, run: Run) -> None:
    """The run record beside the weights."""
    (part / "run.json").write_bytes(encode(run) + b"\n")


TIMED = (
    "train_runtime train_samples_per_second train_steps_per_second total_flos train_loss "
    "eval_runtime eval_samples_per_second eval_steps_per_second"
).split()
"""What differs each time: kept for the run record, left out of `metrics.jsonl`, which is the same again."""


class Metrics:
    """`metrics.jsonl`: one line a logged step, flushed at once, and the last values for the record."""

    def __init__(self, part: Path) -> None:
        self._file = part / "metrics.jsonl"
        self.last: Json = {}

    def write(self, line: Json) -> None:
        """Append one line; later values of a name replace earlier ones in `last`."""
        self.last |= line
        lasting = {name: value for name, value in line.items() if name not in TIMED}
        if lasting.keys() <= {"step", "epoch"} or not is_first():
            return
        with self._file.open("ab") as out:
            out.write(orjson.dumps(lasting) + b"\n")

    def lines(self) -> list[Json]:
        """All that was logged, also by the runs that this one continues."""
        return [orjson.loads(line) for line in self._file.read_bytes().splitlines()]
