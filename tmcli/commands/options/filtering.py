"""What `tm filter` drops: presets, rules, and the options that rules of their own belong to."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from tmcli.commands.options import words
from tmcli.errors import UsageError

if TYPE_CHECKING:  # `tm --help` needs the options, not what the methods need
    from tmcli.filters.balance import Balance
    from tmcli.filters.rules import Given, Setting
    from tmcli.records import Drop, Json


@dataclass(frozen=True)
class Rules:
    """Which rules, and how strict."""

    preset: Annotated[
        Literal["strict", "default", "off"],
        typer.Option("--preset", help="The rules to begin with; --list-rules shows them."),
    ] = "default"
    rule: Annotated[
        list[str] | None,
        typer.Option(
            "--rule", metavar="NAME[=VALUE],...", help="Drop by this rule too, or by this threshold."
        ),
    ] = None
    no_rule: Annotated[
        list[str] | None, typer.Option("--no-rule", metavar="NAME,...", help="Do not drop by this rule.")
    ] = None
    list_rules: Annotated[
        bool, typer.Option("--list-rules", help="Show all rules and what they are set to, and stop.")
    ] = False
    keep: Annotated[
        str,
        typer.Option(
            "--keep",
            metavar="EXPR",
            help="Keep only what this CEL expression over the fields is true for: 'size(turns) < 9'.",
        ),
    ] = ""
    tokenizer: Annotated[
        str | None,
        typer.Option(
            "--tokenizer",
            metavar="MODEL",
            help="Count tokens as this model does, where a trajectory holds none (too_many_tokens).",
        ),
    ] = None
    decontaminate: Annotated[
        list[str] | None,
        typer.Option(
            "--decontaminate",
            metavar="FILE|SUITE",
            help="Drop what shares its question's words, or its tools, with these tasks: tests, say.",
        ),
    ] = None

    @property
    def on(self) -> list[str]:
        return [one for text in self.rule or [] for one in words(text)]

    @property
    def off(self) -> list[str]:
        return [one for text in self.no_rule or [] for one in words(text)]

    def settings(self, given: Collection[str]) -> dict[Drop, Setting]:
        """The rules that are on; `given`: the options that turn rules on, of those that were given."""
        from tmcli.filters.rules import RULES, chosen

        settings = chosen(self.preset, self.on, self.off)
        given = {
            *given,
            *(["--keep"] if self.keep else []),
            *(["--decontaminate"] if self.decontaminate else []),
        }
        if "--judge" in given and "judged_no" not in self.off:
            settings["judged_no"] = True
        asked = {word.partition("=")[0].strip() for word in self.on}
        for rule in RULES.values():
            if rule.option and rule.option not in given:
                if rule.name in asked:
                    raise UsageError(f"--rule {rule.name} needs {rule.option}", f"add {rule.option}")
                settings.pop(rule.name, None)
        if self.tokenizer and "too_many_tokens" not in settings:
            raise UsageError("--tokenizer counts for too_many_tokens", "add --rule too_many_tokens=N")
        return settings

    def given(self) -> Given:
        from tmcli.filters.rules import Given

        tests = None
        if self.decontaminate:
            from tmcli.filters.contamination import TestSet

            tests = TestSet.read(self.decontaminate)
        if self.keep:
            from tmcli.filters import expression

            expression.expression(self.keep)  # refuses what cannot be one
        return Given(self.keep, self.tokenizer, tests)

    def told(self) -> Json:
        """What was asked for beside the rules, for a `run` record."""
        asked = {"keep": self.keep, "tokenizer": self.tokenizer, "decontaminate": self.decontaminate}
        return {name: value for name, value in asked.items() if value}

    def table(self) -> str:
        """All rules, as `--list-rules` shows them."""
        from tmcli.filters.rules import RULES, chosen, shown

        now = chosen(self.preset, self.on, self.off)
        head = ("rule", "default", "strict", "now", "drops")
        rows = [
            (
                rule.name,
                shown(rule.default),
                shown(rule.strict),
                shown(now.get(rule.name)),
                rule.says + (f" (with {rule.option})" if rule.option else ""),
            )
            for rule in RULES.values()
        ]
        widths = [max(map(len, column)) for column in zip(head, *rows, strict=True)]
        return "\n".join(
            "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
            for row in (head, *rows)
        )


@dataclass(frozen=True)
class Balancing:
    """How much of each kind."""

    per_task: Annotated[
        int | None, typer.Option("--per-task", min=1, metavar="K", help="At most K of a task (over_task).")
    ] = None
    per_tool: Annotated[
        int | None,
        typer.Option("--per-tool", min=1, metavar="K", help="At most K that call the same tool (over_tool)."),
    ] = None
    per_stratum: Annotated[
        int | None,
        typer.Option(
            "--per-stratum",
            min=1,
            metavar="K",
            help="At most K of a toolbox, number of hops and drift together (over_stratum).",
        ),
    ] = None

    def given(self) -> list[str]:
        """The options that were."""
        limits = {"--per-task": self.per_task, "--per-tool": self.per_tool, "--per-stratum": self.per_stratum}
        return [name for name, most in limits.items() if most is not None]

    def told(self) -> Json:
        """For a `run` record."""
        return {field.name: most for field in fields(self) if (most := getattr(self, field.name)) is not None}

    def balance(self) -> Balance | None:
        """None: all may stay."""
        if not self.given():
            return None
        from tmcli.filters.balance import Balance

        return Balance(self.per_task, self.per_tool, self.per_stratum)
