"""`tm tools`: the built-in toolboxes, for a person to look at and to try."""

from __future__ import annotations

import asyncio
import json
from typing import Annotated, Any

import typer

from tmcli import streams, toolbox
from tmcli.commands.options import Timeout
from tmcli.environments import Observation
from tmcli.environments.world import World
from tmcli.errors import UsageError, did_you_mean
from tmcli.records import Json, Task, new_task

app = typer.Typer(
    help="List the tools of a toolbox, or call one by hand.", add_completion=False, no_args_is_help=True
)

Toolboxes = Annotated[list[str] | None, typer.Argument(metavar="[TOOLBOX]...", help="Only these toolboxes.")]
Tool = Annotated[str, typer.Argument(metavar="TOOLBOX.TOOL", help="As `tm tools list` writes it.")]
Values = Annotated[list[str] | None, typer.Argument(metavar="[NAME=VALUE]...", help="The call's arguments.")]
WorldSeed = Annotated[int, typer.Option("--seed", metavar="N", help="The world: a task's `env.seed`.")]


@app.command("list")
def list_(toolboxes: Toolboxes = None) -> None:
    """List the tools, one signature a line.

    \b
      tm tools list library
    """
    boxes = [toolbox.load(name) for name in toolboxes or toolbox.names()]
    for box in boxes:
        for tool in box.tools:
            _write(f"{box.name}.{_signature(tool['function'])}")


@app.command("call")
def call(tool: Tool, values: Values = None, seed: WorldSeed = 0, timeout: Timeout = 10.0) -> None:
    """Call one tool by hand, in the sandbox, and print its reply.

    \b
      tm tools call library.book_info book_id=B42 --seed 7

    Exit code 1 when the tool answers with an error.
    """
    name, dot, function = tool.partition(".")
    box = toolbox.load(name)
    schemas = {schema["function"]["name"]: schema["function"]["parameters"] for schema in box.tools}
    if not dot:
        raise UsageError(f"{tool!r} names a toolbox, not a tool", f"write {name}.{next(iter(schemas))}")
    if function not in schemas:
        raise UsageError(f"{name} has no tool named {function!r}", did_you_mean(function, schemas))
    arguments = dict(_argument(value, schemas[function]["properties"]) for value in values or [])
    env = {"kind": "toolbox", "toolbox": name, "seed": seed}
    task = new_task(messages=[], tools=box.tools, env=env, answer=[])
    seen = asyncio.run(_call(task, function, arguments, timeout))
    _write(seen.text)
    if not seen.ok:
        raise typer.Exit(1)


async def _call(task: Task, name: str, arguments: Json, timeout_s: float) -> Observation:
    world = World(timeout_s=timeout_s)
    session = world.open(task)
    try:
        return await session.call(name, arguments)
    finally:
        await session.close()
        await world.close()


def _argument(text: str, properties: Json) -> tuple[str, Any]:
    """`title=Emma`, read as the parameter's type has it; what cannot be stays text, for it to refuse."""
    name, equals, value = text.partition("=")
    if not equals:
        raise UsageError(f"{text!r} is no argument", "write NAME=VALUE, in quotes where it holds spaces")
    if properties.get(name, {}).get("type", "string") == "string":
        return name, value
    try:
        return name, json.loads(value)
    except json.JSONDecodeError:
        return name, value


def _signature(function: Json) -> str:
    """
    >>> _signature({"name": "f", "description": "D", "parameters": {"properties": {"a": {"type": "string"}}}})
    'f(a) - D'
    """
    names = ", ".join(function["parameters"]["properties"])
    return f"{function['name']}({names}) - {function['description']}"


def _write(line: str) -> None:
    out = streams.stdout()
    out.write(f"{line}\n".encode())
    out.flush()
