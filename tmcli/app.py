"""Names to commands, errors to exit codes. The only place that prints an error.

A command's module is imported when it is asked for, so `tm --help` imports none. Each command gets `-q`
and `-v`; while it runs, prints of any library go to stderr, and stdout belongs to records.

    0 done | 1 ran, but failed or missed a threshold | 2 wrong usage, unreadable input | 130 Ctrl-C
"""

from __future__ import annotations

import errno
import gc
import os
import sys
import traceback
from collections.abc import Callable, Mapping
from contextlib import redirect_stdout, suppress
from functools import partial
from importlib import import_module
from typing import Annotated, Any

os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")  # nobody asked to be counted
os.environ.setdefault("PYDANTIC_DISABLE_PLUGINS", "__all__")  # else it searches every installed package
os.environ["TYPER_USE_RICH"] = "0"  # read when typer is imported: plain help, the same in pipe and terminal

import typer
from typer.core import TyperCommand, TyperGroup

from tmcli import console, signals, streams
from tmcli.commands.options import Quiet, Verbose
from tmcli.commands.options.bundles import expanded, headings
from tmcli.errors import TmError, did_you_mean

COMMANDS = {
    "tasks": "Make tasks: from toolboxes, a data set, or by a teacher.",
    "synth": "Let a teacher play tasks and write its trajectories.",
    "filter": "Keep the trajectories that are worth imitating.",
    "sft": "Train a model to imitate trajectories.",
    "rl": "Train a policy by trial and error on tasks (GRPO).",
    "rollout": "Let a policy play tasks and write its trajectories.",
    "eval": "Judge trajectories and sum up how good the policy is.",
    "tools": "List tools, try one by hand, check your own, or begin new ones.",
    "show": "Read trajectories as a person.",
}
"""In the order of a study. The same sentence opens each command's help, by test."""

READERS = ("tm filter", "tm eval", "tm show")
"""Commands that make something of all that a pipe brings, however early it ends."""


class Command(TyperCommand):
    """Its help tells options that go together under a heading of their own."""

    headings: Mapping[str, str] = {}
    """Name of an option -> the heading of its bundle."""

    def format_options(self, ctx: Any, formatter: Any) -> None:
        sections: dict[str, list[Any]] = {"Arguments": [], "Options": []}
        for param in self.get_params(ctx):
            is_option = param.param_type_name == "option"
            heading = self.headings.get(str(param.name), "Options") if is_option else "Arguments"
            if (told := param.get_help_record(ctx)) is not None:
                sections.setdefault(heading, []).append(told)
        for heading, lines in sections.items():
            if lines:
                with formatter.section(heading):
                    formatter.write_dl(lines)


class Commands(TyperGroup):
    """The commands, each imported when it is asked for."""

    def list_commands(self, ctx: Any) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        if cmd_name in COMMANDS and cmd_name not in self.commands:
            self.commands[cmd_name] = self._load(cmd_name)
        return self.commands.get(cmd_name)

    def _load(self, name: str) -> Any:
        """The `app` of `commands/<name>.py`, or its `run`, with -q and -v."""
        module = import_module(f"tmcli.commands.{name}")
        app = getattr(module, "app", None)
        if app is None:
            app = typer.Typer(add_completion=False)
            app.command(name, cls=Command)(expanded(module.run))
        command: Any = typer.main.get_command(app)
        if isinstance(command, Command):
            command.headings = headings(module.run)
        for leaf in [command, *getattr(command, "commands", {}).values()]:
            words = ["TM", name] if leaf is command else ["TM", name, leaf.name]
            for param in leaf.params:
                param.show_envvar = False  # the name follows from a rule that `tm --help` tells
                # By what the user types, for Python may have to call it otherwise (`--from`).
                flags = [flag[2:] for flag in param.opts if flag.startswith("--")]
                param.envvar = ["_".join([*words, flag]).replace("-", "_").upper() for flag in flags] or None
            if leaf.callback is not None:
                leaf.params += [param for param in self.params if param.name in ("quiet", "verbose")]
                leaf.callback = _guarded(
                    leaf.callback, f"tm {name}" if leaf is command else f"tm {name} {leaf.name}"
                )
        return command

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        if args[0] not in COMMANDS and not args[0].startswith("-"):
            ctx.fail(f"no command is named {args[0]!r}; {did_you_mean(args[0], COMMANDS)}")
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))


def _guarded(run: Callable[..., Any], name: str) -> Callable[..., None]:
    """A command that speaks as it was asked to, and whose errors are sentences and exit codes."""

    def guarded(*, quiet: bool, verbose: bool, **options: Any) -> None:
        before = console.settings
        console.configure(name, quiet=quiet or before.quiet, verbose=verbose or before.verbose)
        try:
            with redirect_stdout(sys.stderr), signals.told_to(partial(_reads_on, name)):
                run(**options)
            if signals.interrupted():
                raise KeyboardInterrupt
        except typer.Exit:
            raise
        except (Exception, KeyboardInterrupt) as error:
            raise typer.Exit(_tell(error)) from error

    return guarded


def _reads_on(name: str, now: bool) -> bool:
    """Ctrl-C in a pipe is for all of it: who makes the records is ending, and hands over what is finished."""
    if now or name not in READERS or not streams.reads_pipe():
        return False
    with suppress(RuntimeError):  # in the middle of something else that is being said
        console.note("reading what still comes; Ctrl-C again stops now")
    return True


def _tell(error: BaseException) -> int:
    """Say what went wrong; the exit code."""
    code = 2
    match error:
        case TmError():
            message, code = str(error), error.exit_code
        case KeyboardInterrupt() | RuntimeError(__cause__=KeyboardInterrupt()):  # in a class's making
            message, code = "interrupted", 130
        case MemoryError():
            message = "out of memory; use a smaller --concurrency or batch, or a machine with more"
        case OSError(errno=errno.ENOSPC | errno.EDQUOT):
            message = "the disk is full; free some space, or point TMPDIR to another disk"
        case _:
            message = (
                f"this is a bug in tm: {type(error).__name__}: {error}; -v shows where, please report it"
            )
            code = 1
    console.error("; ".join([message, *getattr(error, "__notes__", [])]))
    if console.settings.verbose:
        console.write("".join(traceback.format_exception(error)))
    return code


def _version(wanted: bool) -> None:
    if wanted:
        from importlib import metadata

        typer.echo(f"tm {metadata.version('tmcli')}")
        raise typer.Exit()


app = typer.Typer(
    cls=Commands, context_settings={"auto_envvar_prefix": "TM", "help_option_names": ["-h", "--help"]}
)
Version = Annotated[
    bool,
    typer.Option(
        "--version", callback=_version, is_eager=True, show_envvar=False, help="Show the version and stop."
    ),
]


@app.callback()
def tm(quiet: Quiet = False, verbose: Verbose = False, version: Version = False) -> None:  # noqa: ARG001
    """Train language models to use tools they have never seen, by trial and execution.

    \b
        tm synth --teacher gpt-4o | tm filter > sft.jsonl
        tm sft sft.jsonl --model smollm2 -o ckpt/sft
        tm rl --policy ckpt/sft -o ckpt/rl
        tm rollout --policy ckpt/rl --tasks unseen | tm eval

    Each step reads records and writes records; - is stdin or stdout. Every option can be set as
    TM_COMMAND_OPTION. Exit codes: 0 done, 1 ran but failed or missed a threshold, 2 wrong usage or
    unreadable input, 130 Ctrl-C.
    """
    console.configure("tm", quiet=quiet, verbose=verbose)


def main() -> None:
    """The entry point: own stdout, run one command, exit."""
    signals.install()
    gc.set_threshold(50_000, 20, 100)  # records are many small objects without cycles: a fifth of the time
    try:
        with streams.owned_stdout():
            arguments = sys.argv[1:] or ["--help"]
            code = typer.main.get_command(app).main(arguments, prog_name="tm", standalone_mode=False)
    except typer.TyperException as error:  # wrong usage
        context = getattr(error, "ctx", None)
        name = context.command_path if context else "tm"
        console.configure(name)
        console.error(f"{error.format_message().rstrip('.')}; see {name} --help")
        code = error.exit_code
    except (Exception, KeyboardInterrupt) as error:  # noqa: BLE001 - told, not swallowed
        code = _tell(error)
    sys.exit(signals.exit_code(code))
