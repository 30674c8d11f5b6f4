"""Metrics that other people's benchmarks have for their own tasks, each by the rule of its source.

    benchmark(case)    # {"bfcl": 1.0} for a task of BFCL, {} for one of no benchmark

The tag `dataset` says whose task it is, and the golds lie in the task (`importers/`). Drift is taken off the
calls first. BFCL and RoTBench look at one reply: here the first turn of the execution phase, for what was
tried before it is no answer. StableToolBench's pass rate needs a judge (`score/verdicts.py`); FTRL's rule is
`score/subgoals.py`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tmcli.errors import InputError
from tmcli.records import Json
from tmcli.score.benchmarks import bfcl, restbench, rotbench, toolhop
from tmcli.score.calls import Made
from tmcli.score.parts import Case

Call = tuple[str, Any]


def benchmark(case: Case) -> Json:
    """The metrics of this episode; none where the task lacks the golds. Raises `InputError` where they have
    another form than importers give them."""
    dataset = case.task.tags.get("dataset")
    metrics = _METRICS.get(dataset) if isinstance(dataset, str) else None
    if metrics is None:
        return {}
    try:
        return metrics(case)
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        problem = f"trajectory {case.trajectory.id}: the golds of {dataset} cannot be read: {error!r}"
        raise InputError(problem, "import the task again", field="task") from error


RIGHT = ("bfcl",)
"""Metrics that say whether the task was done, where nothing else does."""


def _bfcl(case: Case) -> Json:
    task = case.task
    category, golds = task.tags.get("category"), task.extra.get("ground_truth")
    if not isinstance(category, str) or ("relevance" not in category and not golds):
        return {}
    shown = {own: name for name, own in task.extra.get("names", {}).items()}
    golds = [{shown.get(own, own): accepted for own, accepted in gold.items()} for gold in golds or []]
    takes = {shown.get(own, own): one for own, one in task.extra.get("takes", {}).items()}
    if golds and not takes:  # imported before they were kept
        return {}
    return {"bfcl": float(bfcl.accepts(_without_drift(case, _reply(case)), golds, takes, category))}


def _restbench(case: Case) -> Json:
    golds = case.task.extra.get("path")
    if not golds:
        return {}
    return dict(restbench.path([name for name, _ in _without_drift(case, case.calls)], golds))


def _rotbench(case: Case) -> Json:
    extra = case.task.extra
    golds = [(gold["name"], gold["arguments"]) for gold in extra.get("ground_truth", [])]
    if not golds:
        return {}
    call = next(iter(_without_drift(case, _reply(case))), None)
    theirs = rotbench.official(call, golds, extra.get("ends", ""), extra.get("asks", ""))
    marks = {**dict(zip(_ROTBENCH, theirs, strict=True))}
    return marks | dict(zip(_FTRL_ROTBENCH, rotbench.ftrl(call, golds), strict=True))


_ROTBENCH = ("rotbench_ts", "rotbench_pi", "rotbench_cf")
_FTRL_ROTBENCH = ("ftrl_ts", "ftrl_pi", "ftrl_cf")


def _toolhop(case: Case) -> Json:
    golds = case.task.extra.get("ground_truth") or case.task.answer
    if not golds:
        return {}
    messages = case.trajectory.messages
    return {"toolhop": float(any(toolhop.correct(messages, gold) for gold in golds))}


_METRICS: dict[str, Callable[[Case], Json]] = {
    "bfcl": _bfcl,
    "restbench": _restbench,
    "rotbench": _rotbench,
    "toolhop": _toolhop,
}
NAMES = ("bfcl", "path", "path_any_order", "path_extra", *_ROTBENCH, *_FTRL_ROTBENCH, "toolhop")
"""All metrics; `path_extra` alone is no share."""


def _reply(case: Case) -> list[Made]:
    """The calls of the first execution turn."""
    start = 0
    for turn in case.trajectory.turns:
        n = len(turn["calls"])
        if turn["phase"] == "execution":
            return case.calls[start : start + n]
        start += n
    return []


def _without_drift(case: Case, calls: list[Made]) -> list[Call]:
    """The calls as the tools took them. What could not be read has no arguments (None), and so has a call
    that never came through the drift."""
    given = [(call.name, call.arguments if call.readable else None) for call in calls]
    if not calls or not case.task.env.get("drift"):
        return given
    from tmcli.drift import Lens, layers_of, true_tools
    from tmcli.environments.arguments import fault

    lens = Lens(layers_of(case.task), true_tools(case.task))
    out: list[Call] = []
    for name, arguments in given:
        crossing = None
        if isinstance(arguments, dict) and fault(lens.live, name, arguments) is None:
            crossing = lens.inward(name, arguments)
        out.append((name, None) if crossing is None or crossing.call is None else crossing.call)
    return out
