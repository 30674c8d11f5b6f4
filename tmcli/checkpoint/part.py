"""A checkpoint folder under construction, `DIR.part`, and what a run that was killed left in it.

    DIR.part/part.json             what is made here: the key of the options and records
    DIR.part/metrics.jsonl         one line a logged step
    DIR.part/checkpoint-40/        what the trainer needs to go on: weights (safetensors), optimizer state
    DIR.part/checkpoint-40/tm.json written last: without it, the folder is a torn one

The optimizer's and the random generators' state are torch files (pickles) that we wrote ourselves; they are
read with `weights_only`, which runs no code.
"""

from __future__ import annotations

import fcntl
import os
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import orjson

from tmcli.errors import OutputError
from tmcli.records import Json

OURS = "part.json"
COMPLETE = "tm.json"

_FULL = re.compile(r"I/O error|PytorchStreamWriter failed|inline_container\.cc.*unexpected pos", re.DOTALL)
"""How safetensors and torch say that a file could not be written: theirs are no `OSError`s."""


def is_first() -> bool:
    """Is this the one that writes, of the processes that train together?"""
    return os.environ.get("RANK", "0") == "0"


def n_processes() -> int:
    """How many train together."""
    return int(os.environ.get("WORLD_SIZE", "1"))


@dataclass(frozen=True, slots=True)
class Saved:
    """Where a run can go on."""

    path: Path
    step: int
    total: int
    metrics_size: int
    """Bytes of `metrics.jsonl` up to this step."""


def saved(part: Path) -> Saved | None:
    """The newest whole checkpoint of the trainer."""
    found = []
    for file in part.glob(f"checkpoint-*/{COMPLETE}"):
        with suppress(OSError, ValueError, TypeError):
            found.append(Saved(file.parent, **orjson.loads(file.read_bytes())))
    return max(found, key=lambda one: one.step, default=None)


def mark_saved(part: Path, step: int, total: int, keep: set[int]) -> None:
    """The trainer's checkpoint of `step` is whole; all but it and those of `keep` are removed."""
    folder = part / f"checkpoint-{step}"
    metrics = part / "metrics.jsonl"
    facts = {"step": step, "total": total, "metrics_size": metrics.stat().st_size if metrics.exists() else 0}
    _write(folder / COMPLETE, facts)
    for other in part.glob("checkpoint-*"):
        if other != folder and other.name.removeprefix("checkpoint-") not in map(str, keep):
            _remove(other)


def tidy(path: Path) -> None:
    """A finished checkpoint needs nothing to go on from."""
    for folder in path.glob(f"checkpoint-*/{COMPLETE}"):
        _remove(folder.parent)
    (path / OURS).unlink(missing_ok=True)


@contextmanager
def building(path: Path, *, force: bool, resume: bool = False, key: str = "") -> Iterator[Path]:
    """A folder to build in, which becomes `path` when the block ends well. It is empty, or with `resume` as
    a run with the same `key` left it. When the block fails, it stays if a run can go on from there.

    Raises `OutputError` when `path` exists and `force` is not given, when it is anything but a checkpoint
    of ours or an empty folder (nothing else is ever removed), when it cannot be written, or when an
    unfinished run is there that is neither resumed nor to be replaced.
    """
    path = path.resolve()
    part = path.with_name(f"{path.name}.part")
    if not is_first():
        yield part
        return
    _check(path, force=force)
    with _opened(path, part, force=force, resume=resume, key=key):
        try:
            with _sentence(path):
                yield part
                if path.is_dir():
                    shutil.rmtree(path)
                part.rename(path)
                tidy(path)
        except BaseException as error:
            if (left := saved(part)) is not None:
                error.add_note(f"step {left.step} of {left.total} is saved, --resume goes on from there")
            raise
        finally:
            if saved(part) is None:
                shutil.rmtree(part, ignore_errors=True)


@contextmanager
def _sentence(path: Path) -> Iterator[None]:
    try:
        yield
    except Exception as error:
        if not isinstance(error, OSError) and not _FULL.search(str(error)):
            raise
        raise OutputError(f"{path} could not be written: {error}", "free some space") from error


def _check(path: Path, *, force: bool) -> None:
    if path.exists() and not force:
        raise OutputError(
            f"{path} exists already", "use --resume to keep it when finished, --force, or another name"
        )
    if path.exists() and not (path.is_dir() and ((path / "run.json").exists() or not any(path.iterdir()))):
        raise OutputError(f"{path} is no checkpoint of tm, so it is not replaced", "choose another folder")


@contextmanager
def _opened(path: Path, part: Path, *, force: bool, resume: bool, key: str) -> Iterator[None]:
    """`part`, ours alone, with nothing in it but what this run goes on from."""
    try:
        part.mkdir(parents=True, exist_ok=True)
        if not (part / OURS).exists() and any(part.iterdir()):
            raise OutputError(f"{part} is in the way, and not made by tm", "move it, or choose another name")
        fd = os.open(part, os.O_RDONLY | os.O_CLOEXEC)
    except OSError as error:
        raise OutputError(f"{path} cannot be written: {error.strerror}", "choose another folder") from error
    try:
        _lock(fd, part)
        _clear(part, force=force, resume=resume, key=key)
        yield
    finally:
        os.close(fd)


def _lock(fd: int, part: Path) -> None:
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise OutputError(
            f"{part} is being written by another run", "let that one end, or choose another name"
        ) from None
    except OSError:  # a file system that knows no locks
        pass


def _clear(part: Path, *, force: bool, resume: bool, key: str) -> None:
    """Remove what this run does not go on from. Raises `OutputError` where that would lose something."""
    left = saved(part)
    same = _key(part) == key
    if left is not None and not force:
        what = f"{part} holds an unfinished run, saved at step {left.step} of {left.total}"
        if not resume:
            raise OutputError(what, "use --resume to go on, --force to start anew, or another name")
        if not same:
            raise OutputError(
                f"{what}, with other options or records", "use --force to start anew, or another name"
            )
    going_on = left if resume and same else None
    for entry in part.iterdir():
        if going_on is None or (entry.is_dir() and not (entry / COMPLETE).exists()):
            _remove(entry)
    metrics = part / "metrics.jsonl"
    if going_on is not None and metrics.exists():
        os.truncate(metrics, going_on.metrics_size)
    _write(part / OURS, {"key": key})


def _key(part: Path) -> str | None:
    with suppress(OSError, ValueError, AttributeError):
        return str(orjson.loads((part / OURS).read_bytes()).get("key"))
    return None


def _write(file: Path, facts: Json) -> None:
    """Whole or not at all."""
    beside = file.with_name(f".{file.name}")
    beside.write_bytes(orjson.dumps(facts) + b"\n")
    beside.replace(file)


def _remove(entry: Path) -> None:
    if entry.is_dir() and not entry.is_symlink():
        (entry / COMPLETE).unlink(missing_ok=True)  # first: half a folder is none
        shutil.rmtree(entry)
    else:
        entry.unlink(missing_ok=True)
