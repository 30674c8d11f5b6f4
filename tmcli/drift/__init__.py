"""Drift: tools that are not as their documents say. Seeded, and the same in training and evaluation.

    drifted = drift.apply(task, ["stale", "format@0.5"], seed)     # another task: other tools, so another id

Over tools of any environment, and reversible. `task.tools` is what the model is shown; `env["drift"]` holds
what was done, for `environments/drifted.py`, which stands between model and tools, and for the scripted
expert, which must err as the documents make it err. Nothing is translated for the model: the error tells.

    rename      tools and parameters have other names, and the documents say so
    format      dates, ids, closed lists and units are written otherwise; the documents do not say so
    wrap        replies have another shape, or come in pages
    decoy       look-alikes answer with nothing, or with old data
    stale       the documents describe an older version: parameters had other names
    undocument  descriptions, types and closed lists are gone from the documents
    all         each of these

    relabel     things have other names, in question, documents and replies alike: another toolbox, no worse;
                for practice, so not of `all`, and done to those that `none` leaves as they are too

`@` says how likely each tool, and each of its parameters or values, is touched; at least one tool of the plan
always is. A kind that finds nothing to change leaves the task as it is.
"""

from __future__ import annotations

import math
import random
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction

from tmcli.drift.layer import Call, Ground, Layer, renamed
from tmcli.drift.lens import KINDS, Crossing, Lens, layers_of, true_tools
from tmcli.drift.relabel import KIND as RELABEL
from tmcli.drift.relabel import relabel
from tmcli.errors import InputError, UsageError, did_you_mean
from tmcli.records import Json, Task, task_id

__all__ = [
    "ALL", "KINDS", "NONE", "SHARE", "Call", "Crossing", "Kind", "Layer", "Lens",
    "apply", "check", "layers_of", "over", "parse", "true_tools",
]  # fmt: skip

NONE = "none"
"""Not a drift: in a list of kinds it leaves that share of the tasks as they are, half of them by default."""

ALL = "all"

SHARE = 0.7
"""How likely a tool, and then each of its parameters, is touched."""

TURNS = 12
"""Assistant turns an episode has by default. Several kinds together leave a plan so many that it can be
played: a first trial and the answer need two, each call one, and each thing to find out one more."""

LONGER = ("wrap", "decoy", "stale")
"""Kinds that may cost a turn for each tool of the plan: what room there is, they share."""


@dataclass(frozen=True, slots=True)
class Kind:
    """One word of `--drift`, read."""

    name: str
    strength: float


def parse(words: Iterable[str]) -> list[Kind]:
    """The kinds of drift that these words name, in the order they are laid over one another; `none` first. A
    word that comes again counts as it was said last.

    >>> parse(["stale@0.5", "none", "rename"])
    [Kind(name='none', strength=0.5), Kind(name='rename', strength=0.7), Kind(name='stale', strength=0.5)]

    Raises `UsageError` for a kind nobody knows, and a strength that is none.
    """
    said: dict[str, float] = {}
    for word in words:
        name, at, number = (part.strip() for part in word.partition("@"))
        if name not in (known := (*KINDS, RELABEL, NONE, ALL)):
            raise UsageError(f"no drift is named {name!r}", did_you_mean(name, known))
        strength = _strength(name, number) if at else 0.5 if name == NONE else SHARE
        said |= dict.fromkeys(KINDS if name == ALL else [name], strength)
    return [Kind(name, said[name]) for name in (NONE, RELABEL, *KINDS) if name in said]


def check(kinds: Iterable[str]) -> None:
    """Raises `UsageError` for a kind nobody knows."""
    parse(kinds)


def over(tasks: Iterable[Task], kinds: Sequence[str], seed: int) -> Iterator[Task]:
    """The tasks under drift. With `none@0.75` among the kinds, three of four neighbours stay as they are:
    which, is drawn, for a strict turn would fall in step with the turns of the toolboxes.

    Raises `UsageError` for an unknown kind, at once.
    """
    return _over(tasks, parse(kinds), seed)


def _over(tasks: Iterable[Task], kinds: list[Kind], seed: int) -> Iterator[Task]:
    share = Fraction(next((kind.strength for kind in kinds if kind.name == NONE), 0)).limit_denominator(20)
    rest = [kind for kind in kinds if kind.name != NONE]
    others = [kind for kind in rest if kind.name == RELABEL]  # these tools do what their documents say
    staying: list[int] = []
    for i, task in enumerate(tasks):
        group, place = divmod(i, share.denominator)
        if place == 0 and share:
            rng = random.Random(f"{seed}:{NONE}:{group}")
            staying = rng.sample(range(share.denominator), share.numerator)
        yield _applied(task, others if place in staying else rest, seed)


def apply(task: Task, kinds: Sequence[str], seed: int) -> Task:
    """The task under these kinds of drift."""
    return _applied(task, [kind for kind in parse(kinds) if kind.name != NONE], seed)


def _applied(task: Task, kinds: list[Kind], seed: int) -> Task:
    if not kinds:
        return task
    past = layers_of(task)
    _check_order(task, [*([RELABEL] if "words" in task.env else []), *(layer.kind for layer in past)], kinds)
    rng = random.Random(f"{seed}:{task.id}")
    if kinds[0].name == RELABEL:
        task = _relabeled(task, kinds[0].strength, rng)
        past, kinds = [], kinds[1:]
    tools = true_tools(task)
    layers, documents = _laid(task, past, tools, kinds, rng)
    if not layers:
        return task
    env = {**task.env, "drift": [layer.entry for layer in [*past, *layers]]}
    if env.get("kind") != "toolbox":
        env.setdefault("schemas", tools)
    answer, subgoals = task.answer, task.subgoals
    for layer in layers:
        answer = layer.answer(answer)
        subgoals = layer.subgoals(subgoals) if subgoals else subgoals
    tags = {**task.tags, "drift": [*task.tags.get("drift", []), *(layer.kind for layer in layers)]}
    task = replace(task, tools=documents, env=env, answer=answer, subgoals=subgoals, tags=tags)
    return replace(task, id=task_id(task))


def _relabeled(task: Task, strength: float, rng: random.Random) -> Task:
    made = relabel(task, strength, rng)
    if made is task:
        return task
    made = replace(made, tags={**task.tags, "drift": [RELABEL]})
    return replace(made, id=task_id(made))


def _laid(
    task: Task, past: list[Layer], tools: list[Json], kinds: list[Kind], rng: random.Random
) -> tuple[list[Layer], list[Json]]:
    """The new layers over those of the task, and what is shown then."""
    layers = past
    live, documents = Lens(layers, tools).live, task.tools
    calls = _calls(task)
    for layer in layers:
        calls = renamed(layer, calls)
    room = TURNS - 1 - len(calls)
    sharing = [kind.name for kind in kinds if kind.name in LONGER]
    indexed: dict[int, tuple[list[Json], dict[str, Json]]] = {}
    for kind in kinds:
        if kind.name in sharing:
            most = room // len(sharing)
            sharing.remove(kind.name)
        else:
            most = room - len(sharing)
        ground = Ground(task, live, documents, layers, calls, kind.strength, max(1, most), indexed)
        made = KINDS[kind.name].make(ground, rng)
        if made is None:
            continue
        layer = KINDS[kind.name]({"kind": kind.name, "strength": kind.strength, **made})
        room -= layer.longer(calls)
        truthful = live is documents and kind.name == "rename"
        documents = layer.document(documents)
        live = documents if truthful else layer.live(live)
        calls = renamed(layer, calls)
        layers = [*layers, layer]
    return layers[len(past) :], documents


def _calls(task: Task) -> list[Call]:
    """The calls of the plan."""
    for i, step in enumerate(task.plan or []):
        if not isinstance(step.get("name"), str) or not isinstance(step.get("arguments"), dict):
            raise InputError("no call with name and arguments", "correct the task", field=f"plan[{i}]")
    return [(step["name"], step["arguments"]) for step in task.plan or []]


def _check_order(task: Task, past: list[str], kinds: list[Kind]) -> None:
    """Each kind once, and over those that are there."""
    order = [RELABEL, *KINDS]
    for kind in kinds:
        if kind.name in past:
            raise UsageError(f"task {task.id} has {kind.name} drift already", "leave that drift out")
        if any(order.index(kind.name) < order.index(name) for name in past):
            problem = f"{kind.name} drift cannot be laid over the {past[-1]} drift of task {task.id}"
            raise UsageError(problem, f"give both kinds at once: --drift {kind.name},{past[-1]}")


def _strength(name: str, number: str) -> float:
    try:
        strength = float(number)
    except ValueError:
        strength = math.nan
    if not 0 < strength <= 1:
        raise UsageError(
            f"the strength of {name} is {number!r}, not above 0 and at most 1", f"write {name}@0.5"
        )
    return strength
