"""Trial before execution: are there trials, where they belong, and do they bring something new?

An error in a trial is never a defect here: to fail on purpose is the method.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import cache

from tmcli.filters.rounds import Round, calls_of, quoted
from tmcli.filters.view import View
from tmcli.protocol import prompt
from tmcli.score import Made, labels

Check = Callable[[View], str | None]


def phase_order(most: int) -> Check:
    """More than `most` breaks of the order: a trial turn without a call; no `<experience>` in the turn after
    a trial; a tool tried, with no new parameter, after it already worked in execution."""

    def check(view: View) -> str | None:
        if not view.tries:
            return None
        breaks = _breaks(view.rounds)
        return "; ".join(breaks) if len(breaks) > most else None

    return check


def _breaks(rounds: list[Round]) -> list[str]:
    breaks: list[str] = []
    trial = 0
    is_execution = False
    for one in rounds:
        if trial and one.trained and "<experience>" not in one.text:
            breaks.append(f"turn {one.number}: no <experience> after the trial of turn {trial}")
        trial = 0
        if one.phase == "execution":
            is_execution = True
            continue
        if one.trained and not one.calls:
            breaks.append(f"turn {one.number}: a trial without a call")
        if "<trial>" in one.text and any(call.readable for call in one.calls):
            trial = one.number
        if is_execution and one.trained:
            breaks += _known(one, rounds)
    return breaks


def _known(one: Round, rounds: list[Round]) -> Iterator[str]:
    """Calls of a trial of which nothing was left to learn: the tool worked with these parameters."""
    worked: dict[str, dict[str, int]] = {}
    for before in rounds[: one.number - 1]:
        for call in before.calls if before.phase == "execution" else ():
            if call.ok and brings(call.reply):
                known = worked.setdefault(call.name, {})
                for name in ("", *_names(call)):
                    known.setdefault(name, before.number)
    for call in one.calls:
        known = worked.get(call.name, {})
        if known and call.readable and all(name in known for name in _names(call)):
            yield f"turn {one.number}: {quoted(call.name)} is tried, but it worked in turn {known['']}"


def _names(call: Made) -> list[str]:
    return list(call.arguments) if isinstance(call.arguments, dict) else []


def brings(reply: str | None) -> bool:
    """Is there something in a reply? Look-alikes answer emptily."""
    return reply is not None and reply.strip().lower() not in _NOTHING


_NOTHING = ("", "null", "none", "[]", "{}", '""', '{"results":[]}', '{"results": []}')


def no_trial(view: View) -> str | None:
    """The tools are unfamiliar, trials were asked for, and none was made."""
    drift = view.task.tags.get("drift")
    if not drift or drift == "none" or view.tries or _asked_otherwise(view):
        return None
    kinds = "+".join(map(str, drift)) if isinstance(drift, list) else str(drift)
    return f"the tools are unfamiliar ({kinds[:100]}), and none was tried"


def _asked_otherwise(view: View) -> bool:
    """Was another style than `trial` asked for? The expert says so; else the instructions it was given do."""
    sampling = view.policy.get("sampling")
    style = sampling.get("style") if isinstance(sampling, dict) else None
    return style == "direct" or any(
        message.role == "system" and (message.content or "").strip() in _other_prompts()
        for message in view.talk[:2]
    )


@cache
def _other_prompts() -> frozenset[str]:
    return frozenset(prompt(style) for style in ("direct", "closed", "propose", "teacher_direct"))


def repeated_trial(most: int) -> Check:
    """More than `most` trials that repeat a call (name and canonical arguments) and brought the same reply.
    One that brings another reply has shown something."""

    def check(view: View) -> str | None:
        before: dict[tuple[str, str | None], list[tuple[int, Made]]] = {}
        repeats: list[str] = []
        for one in view.rounds:
            for call in one.calls:
                alike = before.get((call.name, call.reply))
                if alike is None:
                    before[call.name, call.reply] = [(one.number, call)]
                    continue
                if one.phase == "trial" and one.trained and call.readable and call.reply is not None:
                    again = next((n for n, made in alike if made.key == call.key), 0)
                    if again:
                        repeats.append(f"turn {one.number}: {quoted(call.name)} as in turn {again}")
                alike.append((one.number, call))
        return "; ".join(repeats) if len(repeats) > most else None

    return lambda view: check(view) if view.tries else None


def wasted_trials(share: float) -> Check:
    """More than this share of the trials, and more than one, brought nothing that was used and ruled nothing
    out. One is how it is found that of two tools alike the first has old data."""

    def check(view: View) -> str | None:
        if not view.tries:
            return None
        calls = calls_of(view)
        marks = labels(calls, view.prediction)
        wasted, useful = marks.count("wasted_trial"), marks.count("useful_trial")
        if wasted < 2 or wasted <= share * (wasted + useful):
            return None
        names = (call.name for call, mark in zip(calls, marks, strict=True) if mark == "wasted_trial")
        return f"{wasted} of {wasted + useful} trials wasted: {quoted(', '.join(dict.fromkeys(names)))}"

    return check
