"""The table of rules: what `filter` drops, by which name, and how strictly.

    settings = chosen("default", on=["too_many_turns=8"], off=["duplicate"])
    for name, check in checks(settings, Given()):
        why = check(view)          # None: it passes; else what was wrong, as `turn 3: find lacks 'title'`

A new rule is one entry here. Those without `make` remember, or ask somebody: `steps/filter.py` does them.
An error in the trial phase is never a defect: failing on purpose is the method.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, Literal

from tmcli.errors import UsageError, did_you_mean
from tmcli.filters import (
    answers,
    calls,
    dialogue,
    experience,
    expression,
    judge,
    language,
    leaks,
    limits,
    phases,
)
from tmcli.filters.view import View
from tmcli.records import Drop

Check = Callable[[View], str | None]
"""None: it passes; else what was wrong, in a few words, or "" where the rule's name says it all."""
Setting = bool | int | float | str | None
"""None: off; True: on; else its threshold."""
Preset = Literal["strict", "default", "off"]


@dataclass(frozen=True)
class Given:
    """What else rules are told of: options that are no threshold. Plain data, for it goes to workers."""

    keep: str = ""
    """`--keep EXPR`"""
    tokenizer: str | None = None
    """`--tokenizer MODEL`"""
    tests: Any = None
    """What `--decontaminate` read: a `contamination.TestSet`."""


@dataclass(frozen=True)
class Rule:
    """A reason to drop a trajectory."""

    name: Drop
    says: str
    """What it drops, for `--list-rules`."""
    make: Callable[..., Check] | None
    """Setting -> check; with `needs`, (setting, what it needs) -> check. None: a rule that remembers what was
    kept, or that asks somebody."""
    default: Setting
    strict: Setting
    takes: type = bool
    """Of its threshold: int, float or str; bool: it has none."""
    words: tuple[str, ...] = ()
    """What a text may be."""
    needs: Literal["", "keep", "tokenizer", "tests"] = ""
    """The part of `Given` that `make` is given as well."""
    option: str = ""
    """The option that turns it on, whatever the preset; without it, there is nothing to do."""


def plain(check: Check) -> Callable[[Setting], Check]:
    """For a rule without a threshold."""
    return lambda _: check


def _contaminated_query(n: int, tests: Any) -> Check:
    from tmcli.filters import contamination

    return contamination.check_query(n, tests)


def _contaminated_tool(by: Literal["schema", "name", "both"], tests: Any) -> Check:
    from tmcli.filters import contamination

    return contamination.check_tool(by, tests)


_TABLE = [
    Rule("invalid_status", "the world broke, not the model", plain(dialogue.invalid_status), True, True),
    Rule("role_order", "messages in an order no chat has", plain(dialogue.role_order), True, True),
    Rule(
        "unanswered_call",
        "a call without exactly one reply, or a reply to none",
        plain(dialogue.unanswered_call),
        True,
        True,
    ),
    Rule("invented_reply", "a tool's reply written by the model", plain(dialogue.invented_reply), True, True),
    Rule("no_answer", "it ended without an answer", plain(answers.no_answer), True, True),
    Rule("unjudged", "nobody can tell whether it is right", plain(answers.unjudged), True, True),
    Rule("wrong_answer", "the answer fits no gold", plain(answers.wrong_answer), True, True),
    Rule("no_calls", "no tool was called", plain(dialogue.no_calls), True, True),
    Rule("protocol", "an execution turn with an unreadable call", plain(dialogue.protocol), True, True),
    Rule("invalid_call", "over N refused calls that break what was shown", calls.invalid_call, 0, 0, int),
    Rule("phase_order", "over N breaks: trial, <experience>, execution", phases.phase_order, 0, 0, int),
    Rule("no_trial", "unfamiliar tools, and none was tried", plain(phases.no_trial), True, True),
    Rule("repeated_trial", "over N trials with call and reply of before", phases.repeated_trial, 0, 0, int),
    Rule("wasted_trials", "over this share of trials for nothing", phases.wasted_trials, None, 0.5, float),
    Rule(
        "false_experience",
        "over this share of what it notes was never seen",
        experience.false_experience,
        0.5,
        0.25,
        float,
    ),
    Rule("unchanged_retry", "over N failed calls made again unchanged", calls.unchanged_retry, 0, 0, int),
    Rule("execution_errors", "over N execution turns with an error", calls.execution_errors, None, 2, int),
    Rule("leak", "a gold or plan before it was shown, the teacher's prompt", plain(leaks.leak), True, True),
    Rule("too_long", "more than N characters in the dialogue", limits.too_long, None, None, int),
    Rule("too_many_turns", "more than N assistant turns", limits.too_many_turns, None, 12, int),
    Rule(
        "too_many_tokens",
        "more than N tokens; see --tokenizer",
        limits.too_many_tokens,
        None,
        None,
        int,
        needs="tokenizer",
    ),
    Rule(
        "language",
        "prose in another language than these (en, or en|de)",
        language.language,
        None,
        None,
        str,
    ),
    Rule("hinted", "right only after --hints told it was wrong", plain(dialogue.hinted), None, True),
    Rule(
        "expression",
        "what --keep is not true for",
        lambda _, text: expression.expression(text),
        True,
        True,
        needs="keep",
        option="--keep",
    ),
    Rule(
        "contaminated_query",
        "N words in a row of a test's question, or all of a shorter one",
        _contaminated_query,
        12,
        12,
        int,
        needs="tests",
        option="--decontaminate",
    ),
    Rule(
        "contaminated_tool",
        "a tool of a test: by what it takes, by its name, or by both",
        _contaminated_tool,
        "schema",
        "both",
        str,
        ("schema", "name", "both"),
        "tests",
        "--decontaminate",
    ),
    Rule("duplicate", "task, calls and answer of one that was kept", None, True, True),
    Rule("near_duplicate", "most words those of one that was kept (0.5 to 1)", None, None, 0.9, float),
    Rule("near_calls", "most calls those of one that was kept (0.5 to 1)", None, None, None, float),
    Rule(
        "not_reproduced",
        "the tools, asked again, reply something else",
        None,
        True,
        True,
        option="--reverify",
    ),
    Rule("judged_no", "a judge said no to a question", plain(judge.judged_no), None, None),
    Rule("not_judged", "a judge gave no verdict on a question", plain(judge.not_judged), None, None),
    Rule("over_task", "one more than K of its task", None, True, True, option="--per-task"),
    Rule("over_tool", "one more than K that call the same tool", None, True, True, option="--per-tool"),
    Rule(
        "over_stratum",
        "one more than K of its toolbox, hops and drift",
        None,
        True,
        True,
        option="--per-stratum",
    ),
]
RULES: dict[Drop, Rule] = {rule.name: rule for rule in _TABLE}


def chosen(preset: Preset, on: Iterable[str] = (), off: Iterable[str] = ()) -> dict[Drop, Setting]:
    """The setting of each rule that is on, in order. `on`: NAME or NAME=VALUE.

    A rule with an option of its own is in it also where the preset is `off`: nothing is done without that
    option, and whoever gives it wants it. Raises `UsageError` with the remedy.
    """
    settings: dict[Drop, Setting] = {
        name: _of(rule, "default" if rule.option and preset == "off" else preset)
        for name, rule in RULES.items()
    }
    for word in on:
        name, equals, text = (part.strip() for part in word.partition("="))
        rule = _rule(name, "--rule")
        settings[rule.name] = _setting(rule, text) if equals else _usual(rule)
    for name in off:
        rule = _rule(name.strip(), "--no-rule")
        settings[rule.name] = None
    return {name: setting for name, setting in settings.items() if setting is not None}


def checks(settings: dict[Drop, Setting], given: Given | None = None) -> list[tuple[Drop, Check]]:
    """The checks of these rules in order, but for those that remember or ask, and those whose option was
    not given."""
    given = given or Given()
    made: list[tuple[Drop, Check]] = []
    for name, setting in settings.items():
        rule = RULES[name]
        if rule.make is None:
            continue
        if not rule.needs:
            made.append((name, rule.make(setting)))
        elif getattr(given, rule.needs) or not rule.option:
            made.append((name, rule.make(setting, getattr(given, rule.needs))))
    return made


def shown(setting: Setting) -> str:
    """A setting as the table of rules has it.

    >>> shown(None), shown(True), shown(0), shown(0.5)
    ('off', 'on', '0', '0.5')
    """
    if setting is None:
        return "off"
    return "on" if setting is True else str(setting)


def _of(rule: Rule, preset: Preset) -> Setting:
    return {"default": rule.default, "strict": rule.strict, "off": None}[preset]


def _rule(name: str, option: str) -> Rule:
    rule = RULES.get(name)  # type: ignore[call-overload]
    if rule is None:
        raise UsageError(
            f"{option}: no rule is named {name[:100]!r}", did_you_mean(name, RULES) + " (--list-rules)"
        )
    return rule  # type: ignore[no-any-return]


def _usual(rule: Rule) -> Setting:
    """What a rule is set to when it is only named."""
    usual = rule.default if rule.default is not None else rule.strict
    if usual is None and rule.takes is bool:
        return True
    if usual is None:
        raise UsageError(f"--rule {rule.name} needs a value: {rule.says}", f"write --rule {rule.name}=VALUE")
    return usual


def _setting(rule: Rule, text: str) -> Setting:
    """The threshold that a user typed."""
    if rule.takes is bool:
        raise UsageError(
            f"--rule {rule.name} takes no value", f"write --rule {rule.name}, or --no-rule {rule.name}"
        )
    if rule.words and text not in rule.words:
        raise UsageError(
            f"--rule {rule.name}={text[:100]!r} is none of its values", did_you_mean(text, rule.words)
        )
    try:
        value = rule.takes(text)
    except ValueError:
        value = None
    if value is None or text == "" or (_is_number(value) and not 0 <= value < float("inf")):
        due = {int: "a whole number from 0", float: "a number from 0"}.get(rule.takes, "a text")
        raise UsageError(f"--rule {rule.name}={text[:100]!r}: {due} is due", f"it drops: {rule.says}")
    return value  # type: ignore[no-any-return]


def _is_number(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)
