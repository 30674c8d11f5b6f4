"""Tools that the task brings as Python: `{"kind": "python", "codes": {tool: source}}`, the FTRL and ToolHop
shape. Each source defines a function of the tool's name, called with the arguments as they are.

What it raises is told as Python would (`TypeError: ...`); a string is the reply as it is, anything else
is written as JSON, and what JSON has no form for as `str` has it. A returned object with an `error` counts
as an error. With `"schemas"` in the environment (tasks under drift keep the true ones there) the arguments
are checked first; without it Python's own error tells. Sources may import the standard library and what is
installed beside tm.
"""

from __future__ import annotations

from tmcli.environments.arguments import fault, unknown_tool
from tmcli.environments.machinery import Machinery
from tmcli.environments.sandbox import SandboxSession
from tmcli.errors import InputError
from tmcli.records import Json, Task


def open_session(task: Task, machinery: Machinery) -> SandboxSession:
    """A session over the task's own sources."""
    codes = task.env.get("codes")
    if not isinstance(codes, dict) or not all(isinstance(source, str) for source in codes.values()):
        raise InputError("no object of tool name to Python source", "correct the task", field="env.codes")
    schemas: list[Json] | None = task.env.get("schemas")

    def check(name: str, arguments: Json) -> str | None:
        if name not in codes:
            return unknown_tool(name, codes)
        return None if schemas is None else fault(schemas, name, arguments)

    return machinery.sandbox.open({"kind": "python", "codes": codes}, check)
