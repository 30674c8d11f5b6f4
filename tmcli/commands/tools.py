"""`tm tools`: tools from any source, for a person to look at, to try, to check and to begin."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Annotated

import typer

from tmcli import console, streams
from tmcli.catalog import ANY
from tmcli.commands import options
from tmcli.errors import RunError, UsageError, did_you_mean

if TYPE_CHECKING:
    from tmcli.catalog import Catalog
    from tmcli.environments import Observation
    from tmcli.records import Json, Task

app = typer.Typer(
    help="List tools, try one by hand, check your own, or begin new ones.",
    add_completion=False,
    no_args_is_help=True,
)

Sources = Annotated[list[str] | None, typer.Argument(metavar="[SOURCE]...", help=f"Where tools are: {ANY}.")]
Tool = Annotated[str, typer.Argument(metavar="TOOL", help="As library.find_book, or alone with --in.")]
Values = Annotated[list[str] | None, typer.Argument(metavar="[NAME=VALUE]...", help="The call's arguments.")]
New = Annotated[str, typer.Argument(metavar="PATH", help="A folder, or a Python file (.py).")]
In = Annotated[str | None, typer.Option("--in", metavar="SOURCE", help=f"Where the tool is: {ANY}.")]
Seed = Annotated[
    int, typer.Option("--seed", metavar="N", help="The world, as a task's `env.seed`; the drift.")
]
AsJson = Annotated[bool, typer.Option("--json", help="One JSON object a line.")]
Status = Annotated[
    bool, typer.Option("--status", show_default=False, help="Say what holds (also without it).")
]


@app.command("list")
def list_(
    sources: Sources = None, drift: options.Drift = "", seed: Seed = 0, as_json: AsJson = False
) -> None:
    """List tools, one a line: parameters with their types (? where optional), function class, description.

    \b
      tm tools list library
      tm tools list mytools/ petstore.yaml mcp.json
      tm tools list library --drift stale --seed 3

    Without SOURCE: all built-in toolboxes. With --drift: as a model would be shown them.
    """
    from tmcli import catalog, toolbox

    names = toolbox.names()
    for source in sources or names:
        found = catalog.catalog_of(source)
        prefix = f"{source}." if source in names else f"{source}: " if len(sources or ()) > 1 else ""
        for tool in _task(found, drift, seed).tools:
            function_class = found.classes.get(tool["function"]["name"], "")
            _write(json.dumps(tool) if as_json else prefix + catalog.signature(tool, function_class))


@app.command("call")
def call(
    tool: Tool,
    values: Values = None,
    source: In = None,
    drift: options.Drift = "",
    seed: Seed = 0,
    timeout: options.Timeout = 10.0,
    simulate: options.Simulate = False,
    server: options.Server = None,
) -> None:
    """Call one tool by hand, as an episode would, and print its reply.

    \b
      tm tools call library.book_info book_id=B712 --seed 7
      tm tools call find_repair customer="Dario Brandt" --in mytools/
      tm tools call library.find_book title="Longest Mirror" --drift format --seed 7

    Values are read as the tool's schema says: texts as they are, all else as JSON. With --drift: the tool as
    a model would meet it. Exit code 1 when the tool answers with an error.
    """
    from tmcli import catalog, toolbox

    name = tool
    if source is None:
        source, _, name = tool.rpartition(".")
        if tool in toolbox.names():
            first = toolbox.load(tool).names[0]
            raise UsageError(f"{tool!r} names a toolbox, not a tool", f"write {tool}.{first}")
        if not source:
            remedy = f"write TOOLBOX.{tool}, or add --in SOURCE"
            raise UsageError(f"{tool!r} does not say where the tool is", remedy)
    task = _task(catalog.catalog_of(source).at(options.server(server)), drift, seed)
    functions = {shown["function"]["name"]: shown["function"] for shown in task.tools}
    if name not in functions:
        raise UsageError(f"{source} has no tool named {name!r}", did_you_mean(name, functions))
    arguments = dict(catalog.argument(value, functions[name]) for value in values or [])
    seen = asyncio.run(_call(task, name, arguments, timeout, simulate))
    _write(seen.text)
    if not seen.ok:
        raise typer.Exit(1)


@app.command("init")
def init(path: New) -> None:
    """Begin tools of your own: a small toolbox that works, or a Python file of functions.

    \b
      tm tools init mytools/
      tm tools init mytools.py

    Nothing that exists is written over.
    """
    from tmcli.steps.tools.scaffold import start

    commands = start(path)
    console.note("\n  ".join([f"{path} is made; next:", *commands]))


@app.command("check")
def check(sources: Sources = None, as_json: AsJson = False) -> None:
    """Find all that is wrong with tools, each fault with its place and remedy.

    \b
      tm tools check mytools/
      tm tools check mytools.py petstore.yaml

    Schemas are read; toolboxes and Python files are tried as well: worlds are built twice, tasks are made and
    their plans played in the sandbox, tools are called with odd arguments. Without SOURCE: all built-in
    toolboxes. Exit code 1 when there are faults.
    """
    from tmcli import toolbox
    from tmcli.steps import tools

    n_faults = 0
    for source in sources or toolbox.names():
        checked = tools.check(source)
        n_faults += len(checked.faults)
        for fault in checked.faults:
            _write(json.dumps(tools.fault_json(fault)) if as_json else str(fault).replace("\n", " "))
        if not checked.faults:
            console.note(f"{source} is fine: {checked.summary}")
    if n_faults:
        raise RunError(f"{n_faults} fault{'s' if n_faults > 1 else ''}", "correct them and check again")


@app.command("sandbox")
def sandbox(status: Status = True) -> None:  # noqa: ARG001 - said for those who read the line
    """Say what the sandbox holds on this machine and what not, found out by trying.

    \b
      tm tools sandbox --status

    Each line: what is kept from tools, yes or no, and by what.
    """
    from tmcli.environments import holds

    lines = [(hold.name, "yes" if hold.holds else "NO", hold.how) for hold in holds.status()]
    width = max(len(name) for name, _, _ in lines)
    for name, answer, how in lines:
        _write(f"{name:<{width}}  {answer:<3}  {how}")


def _task(found: Catalog, drift: str, seed: int) -> Task:
    """A task with these tools, as a model would meet them."""
    task = found.task(seed)
    kinds = options.words(drift)
    if kinds:
        from tmcli.drift import apply

        task = apply(task, kinds, seed)
    return task


async def _call(task: Task, name: str, arguments: Json, timeout_s: float, simulate: bool) -> Observation:
    from tmcli.environments.world import World

    world = World(timeout_s, simulate=simulate)
    session = world.open(task)
    try:
        return await session.call(name, arguments)
    finally:
        await session.close()
        await world.close()


def _write(line: str) -> None:
    out = streams.stdout()
    out.write(f"{console.safe(line)}\n".encode(errors="backslashreplace"))
    out.flush()
