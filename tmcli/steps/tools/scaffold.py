"""Begin tools of one's own: a small toolbox that works, to be changed into another.

    commands = start("mytools/")         # or mytools.py; what to type next

What is written lies in `tmcli/scaffold/`. Nothing that exists is written over.
"""

from __future__ import annotations

import json
import shlex
from importlib import resources
from pathlib import Path

from tmcli import streams
from tmcli.errors import OutputError, UsageError

FILES = ("tools.json", "tools.py", "tasks.py")


QUESTION = '{"query": "How many US dollars is a bell?", "answer": 4.7}'
"""About the functions of `functions.py`."""


def start(path: str) -> list[str]:
    """Write a toolbox folder, or a Python file; returns the commands to type next."""
    place = Path(path)
    if place.suffix not in ("", ".py"):
        remedy = "write for instance mytools/ or mytools.py"
        raise UsageError(f"{path} would be neither a folder nor a Python file", remedy)
    play = "tm rollout --policy smollm2 --tasks - | tm eval"
    if place.suffix == ".py":
        _write({place: _text("functions.py")})
        file = shlex.quote(path)
        return [
            f"tm tools check {file}",
            f"tm tools call get_price part=bell currency=usd --in {file}",
            f"echo {shlex.quote(QUESTION)} | tm tasks - --tools {file} | {play}",
        ]
    texts = {place / name: _text("toolbox", name) for name in FILES}
    texts[place / "tools.json"] = texts[place / "tools.json"].replace(
        '"bicycles"', json.dumps(place.resolve().name)
    )
    _write(texts)
    folder = shlex.quote(f"{place}/")
    return [
        f"tm tools check {folder}",
        f"tm tools list {folder}",
        f"tm tasks --suite {folder} -n 20 | {play}",
    ]


def _write(texts: dict[Path, str]) -> None:
    """All of them, or none when one is there already."""
    for path in texts:
        if path.exists():
            raise OutputError(f"{path} exists", "use another name; nothing was written")
    for path, text in texts.items():
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with path.open("x", encoding="utf-8") as file:
                file.write(text)
        except OSError as error:
            raise streams.unwritable(str(path), error) from error


def _text(*names: str) -> str:
    return resources.files("tmcli").joinpath("scaffold", *names).read_text("utf-8")
