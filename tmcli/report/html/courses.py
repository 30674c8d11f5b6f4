"""What a training run logged, read from its folder: for the curves of the report.

courses(["ckpt/rl"])[0].lines    # the lines of metrics.jsonl
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import orjson

from tmcli.errors import InputError
from tmcli.records import Json


@dataclass(frozen=True)
class Course:
    """One run."""

    name: str
    lines: list[Json]


def courses(folders: Sequence[str]) -> list[Course]:
    """Raises `InputError` where a folder has no metrics. A torn last line is left out."""
    names = _names(folders)
    return [Course(name, _lines(folder)) for name, folder in zip(names, folders, strict=True)]


def _lines(folder: str) -> list[Json]:
    file = Path(folder) / "metrics.jsonl"
    try:
        data = file.read_bytes()
    except OSError as error:
        problem = f"{folder} is no folder of a training run: {error.strerror or error}"
        raise InputError(problem, "name what tm sft or tm rl wrote with -o") from error
    out: list[Json] = []
    whole, _, torn = data.rpartition(b"\n")
    for number, line in enumerate([*whole.splitlines(), torn], start=1):
        try:
            value = orjson.loads(line) if line.strip() else None
        except orjson.JSONDecodeError as error:
            if line is torn:
                continue
            problem = f"not JSON: {error.msg}"
            raise InputError(problem, "correct the line", source=str(file), line=number) from error
        if isinstance(value, dict) and isinstance(value.get("step"), int | float):
            out.append(value)
    return out


def _names(folders: Sequence[str]) -> list[str]:
    """What tells the runs apart.

    >>> _names(["a/sft", "a/rl/"]), _names(["a/rl", "b/rl"])
    (['sft', 'rl'], ['a/rl', 'b/rl'])
    """
    names = [Path(folder).name for folder in folders]
    return names if len(set(names)) == len(names) else [str(Path(folder)) for folder in folders]
