"""Checkpoint folders: written whole or not at all, self-contained, with the run record that made them.

    DIR/config.json, model.safetensors   merged weights: AutoModelForCausalLM loads the folder as it is
    DIR/adapter_config.json, ...         instead, with `adapter_only`: peft loads it onto its base
    DIR/tokenizer*.json, chat_template   the template that training used
    DIR/run.json                         the `run` record
    DIR/metrics.jsonl                    one line a logged step

A folder under construction is `DIR.part`; it is renamed when all is in it. Where several processes train
(`accelerate launch`, `torchrun`), the first alone writes.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import metadata
from pathlib import Path
from typing import Any

import orjson

from tmcli.errors import InputError, OutputError, UsageError
from tmcli.records import Json, Run, decode, digest, encode, expect

LIBRARIES = ("torch", "transformers", "trl", "peft")


def is_first() -> bool:
    """Is this the one that writes, of the processes that train together?"""
    return os.environ.get("RANK", "0") == "0"


def versions() -> Json:
    """Versions of what shapes a training result."""
    import platform

    found = {"tm": metadata.version("tmcli"), "python": platform.python_version()}
    return found | {name: metadata.version(name) for name in LIBRARIES}


def resolved(options: Json, model: str, records: list[str]) -> Json:
    """The options as the run record holds them, with `key`: the hash of the options, of the weights that
    training starts from and of the records trained on. `finished` goes by it."""
    return options | {"key": digest([options, weights_key(Path(model)), records])}


def finished(path: Path, key: str) -> Run | None:
    """The run record of a finished checkpoint made with the same options and records, or None.

    Raises `OutputError` when it was made otherwise.
    """
    file = path / "run.json"
    if not file.exists():
        return None
    try:
        run = expect(decode(file.read_bytes().strip()), Run)
    except InputError as error:
        raise error.at(str(file), 1) from error
    if run.options.get("key") != key:
        raise OutputError(
            f"{path} was made with other options or records", "use --force to replace it, or another name"
        )
    return run


def weights_key(path: Path) -> str:
    """What tells this checkpoint from another one of the same name: the key of the run that wrote it."""
    try:
        run = decode((path / "run.json").read_bytes().strip())
    except (OSError, InputError):
        return ""
    return str(run.options.get("key", "")) if isinstance(run, Run) else ""


@contextmanager
def building(path: Path, *, force: bool) -> Iterator[Path]:
    """An empty folder to build in, which becomes `path` when the block ends well.

    Raises `OutputError` when `path` exists and `force` is not given, when it is anything but a checkpoint
    of ours or an empty folder (nothing else is ever removed), or when it cannot be written.
    """
    if not is_first():
        with tempfile.TemporaryDirectory(prefix="tm-") as aside:
            yield Path(aside)
        return
    path = path.resolve()
    if path.exists() and not force:
        raise OutputError(
            f"{path} exists already", "use --resume to keep it when finished, --force, or another name"
        )
    if path.exists() and not (path.is_dir() and ((path / "run.json").exists() or not any(path.iterdir()))):
        raise OutputError(f"{path} is no checkpoint of tm, so it is not replaced", "choose another folder")
    part = path.with_name(f"{path.name}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        shutil.rmtree(part, ignore_errors=True)
        part.mkdir()
    except OSError as error:
        raise OutputError(f"{path} cannot be written: {error.strerror}", "choose another folder") from error
    try:
        yield part
        if path.is_dir():
            shutil.rmtree(path)
        part.rename(path)
    except OSError as error:
        raise OutputError(f"{path} could not be written: {error}", "free some space") from error
    finally:
        shutil.rmtree(part, ignore_errors=True)


def save(part: Path, model: Any, tokenizer: Any, *, adapter_only: bool) -> None:
    """Weights and tokenizer into the folder; an adapter is merged unless it is to stay alone."""
    if not is_first():
        return
    if not adapter_only and hasattr(model, "merge_and_unload"):
        model = model.merge_and_unload()
    elif adapter_only and not hasattr(model, "merge_and_unload"):
        raise UsageError("all weights were trained: there is no adapter", "leave one option out")
    model.save_pretrained(part, safe_serialization=True)
    tokenizer.save_pretrained(part)


def write_run(part: Path, run: Run) -> None:
    """The run record beside the weights."""
    (part / "run.json").write_bytes(encode(run) + b"\n")


class Metrics:
    """`metrics.jsonl`: one line a logged step, flushed at once, and the last values for the record."""

    def __init__(self, part: Path) -> None:
        self._file = part / "metrics.jsonl"
        self.last: Json = {}

    def write(self, line: Json) -> None:
        """Append one line; later values of a name replace earlier ones in `last`."""
        self.last |= line
        with self._file.open("ab") as out:
            out.write(orjson.dumps(line) + b"\n")
