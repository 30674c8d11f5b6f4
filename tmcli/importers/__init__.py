"""Other people's data sets as tasks: `tm tasks --from NAME FILE`. One module each, imported when asked for.

    for task in importers.read("ftrl", "ftrl_dev.parquet"):
        ...

A module has `read(path)`, an iterator of tasks (`read(path, server)` where the tools are behind one); the
file is opened at once and read as you go. What a data set says about its prompt stays out: our own system
turn says how to play. What its tools are, what they do and what counts as right is kept as it is. Golds
that tm cannot check itself are the record's `ground_truth`, and its `check` is "judge".
"""

from __future__ import annotations

from collections.abc import Iterator
from importlib import import_module
from itertools import chain
from typing import Any

from tmcli.errors import UsageError, did_you_mean
from tmcli.records import Task

IMPORTERS = ("bfcl", "ftrl", "restbench", "rotbench", "stabletoolbench", "toolhop")
"""The data sets: the modules beside this one."""

SERVED = ("restbench", "stabletoolbench")
"""Those whose tools are behind a server."""


def read(name: str, path: str | None, server: str | None = None) -> Iterator[Task]:
    """The tasks of a data set; without `path` those that an installed package of it brings.

    `NAME:SCENARIO` where the module has `SCENARIOS`. Raises `UsageError` for a data set or a scenario nobody
    knows, a file that is due, or a server that is not.
    """
    name, colon, scenario = name.partition(":")
    if name not in IMPORTERS:
        raise UsageError(f"no data set is named {name!r}", did_you_mean(name, IMPORTERS))
    if server is not None and name not in SERVED:
        raise UsageError(f"the tools of {name} are not behind a server", "leave --server out")
    module: Any = import_module(f"tmcli.importers.{name}")
    if path is None:
        if not hasattr(module, "installed"):
            raise UsageError(f"--from {name} needs a file", f"write: tm tasks --from {name} FILE")
        return chain.from_iterable(module.read(found) for found in module.installed())
    if colon:
        known = getattr(module, "SCENARIOS", ())
        if scenario not in known:
            raise UsageError(f"{name} has no scenario {scenario!r}", did_you_mean(scenario, known))
        asked: Iterator[Task] = module.read(path, scenario)
        return asked
    tasks: Iterator[Task] = module.read(path, server) if name in SERVED else module.read(path)
    return tasks
