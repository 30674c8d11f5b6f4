"""Tools of a built-in toolbox: `{"kind": "toolbox", "toolbox": "library", "seed": 123}`.

The child builds the world once, `make_world(seed)`, and each call is `function(world, **arguments)` after
the arguments were checked against the toolbox's true schemas. What the function raises is told as its
message alone; a result is written as JSON.
"""

from __future__ import annotations

from tmcli import toolbox
from tmcli.environments.arguments import fault
from tmcli.environments.machinery import Machinery
from tmcli.environments.sandbox import SandboxSession
from tmcli.errors import InputError
from tmcli.records import Task


def open_session(task: Task, machinery: Machinery) -> SandboxSession:
    """A session over the toolbox the task names."""
    name, seed = task.env.get("toolbox"), task.env.get("seed")
    if not isinstance(name, str) or not isinstance(seed, int):
        raise InputError("no toolbox name with a whole number as seed", "correct the task", field="env")
    box = toolbox.load(name)
    spec = {"kind": "toolbox", "name": name, "source": box.source, "seed": seed}
    return machinery.sandbox.open(spec, lambda tool, arguments: fault(box.tools, tool, arguments))
