"""Tasks from the templates of a toolbox, filled in over a world.

    task = templates.make(box, world_seed, random.Random(1))

A template is a dict in TEMPLATES of a toolbox's `tasks.py`:

    given   {slot: table of the world, a row of which is drawn; or a list of values, one of which is}.
            Two slots of one table get different rows
    ask     wordings, filled in as `{book[title]}`; `{book[id]}` is the row's key
    plan    [(tool, {parameter: value})]: a text to fill in, a number, or a tuple `(0, "book_id")` for what
            call 0 replied under that key. A text for a parameter that is a number is read as one
    answer  see `toolbox.gold`; paths are tuples
    check   how the answer is compared; by default `exact` for texts, `number` for numbers, `set` for lists
    cannot  False: never make it a task that cannot be done

About six in a hundred tasks cannot be done with the tools at hand, and the gold answer says so: the first
call asks for a row of another world, or the tool that would bring the answer is missing. About a quarter
show some tools of another toolbox too.
"""

from __future__ import annotations

import json
import random
import re
from collections.abc import Sequence
from dataclasses import dataclass
from string import Formatter
from typing import Any

from tmcli import toolbox
from tmcli.errors import InputError
from tmcli.protocol import CANNOT
from tmcli.records import Check, Json, Task, new_task
from tmcli.toolbox import Toolbox

HOPS = {1: 0.15, 2: 0.4, 3: 0.3, 4: 0.15}
"""How often a task takes so many calls; longer ones count as the longest."""

CANNOT_SHARE = 0.06
DISTRACTED = 0.25
MAX_DISTRACTORS = 3

HELD_OUT = 1 << 31
"""World seeds from here on are never used for training: the suite `train` alone is below."""

MAX_DRAWS = 25
"""How often rows are drawn again, for an answer that the question does not tell."""


def make(
    box: Toolbox,
    world_seed: int,
    rng: random.Random,
    hops: Sequence[int] = (),
    others: Sequence[Toolbox] = (),
) -> Task:
    """A task over the world of this seed; `rng` picks template, rows, wording, and tools of `others` to show.

    Raises `InputError` when a template cannot be filled in, or its plan comes to nothing.
    """
    number, template = _pick(box, hops, rng)
    try:
        fate = rng.random() / CANNOT_SHARE if template.get("cannot", True) else 1.0
        distractors = _distractors(box, others, rng)
        shown = [*box.tools, *toolbox.tools_named(distractors)]
        filled = _solvable(box, template, world_seed, rng)
        if fate < 0.5:
            filled = _about_a_stranger(box, template, world_seed, rng) or filled
        elif fate < 1.0:
            filled = _one_tool_short(filled, shown) or filled
    except (LookupError, ValueError, TypeError, AttributeError) as error:
        problem = f"template {number}: {type(error).__name__}: {error}"
        place = str(box.tasks_file)
        raise InputError(problem, "correct the template or its tools", source=place) from error
    env: Json = {"kind": "toolbox", "toolbox": box.place, "seed": world_seed}
    if distractors:
        env["distractors"] = distractors
    if filled.without:
        env["without"] = [filled.without]
        shown = [tool for tool in shown if tool["function"]["name"] != filled.without]
    return new_task(
        messages=[{"role": "user", "content": filled.question}],
        tools=rng.sample(shown, len(shown)),  # the order tells nothing of the plan
        env=env,
        answer=[toolbox.text_of(filled.answer)],
        check=filled.check,
        plan=filled.plan,
        tags={
            "toolbox": box.name,
            "split": box.split,
            "hops": len(filled.plan),
            "possible": filled.plan[-1]["answer"] is not None,
            "drift": [],
        },
    )


def of(box: Toolbox, hops: Sequence[int]) -> dict[int, list[tuple[int, Json]]]:
    """Number of calls -> the templates that take so many (of these numbers), each with its place."""
    found: dict[int, list[tuple[int, Json]]] = {}
    for number, template in enumerate(box.templates, 1):
        length = len(template["plan"])
        if not hops or length in hops:
            found.setdefault(length, []).append((number, template))
    return dict(sorted(found.items()))


def _pick(box: Toolbox, hops: Sequence[int], rng: random.Random) -> tuple[int, Json]:
    templates = of(box, hops)
    weights = [HOPS.get(length, HOPS[max(HOPS)]) for length in templates]
    return rng.choice(templates[rng.choices(list(templates), weights)[0]])


def _distractors(box: Toolbox, others: Sequence[Toolbox], rng: random.Random) -> list[str]:
    """Some tools of one other toolbox, none of which is called like one of our own."""
    if not others or rng.random() >= DISTRACTED:
        return []
    other = rng.choice(others)
    free = [tool for tool in other.names if tool not in box.schemas]
    return [
        f"{other.place}.{tool}" for tool in rng.sample(free, min(rng.randint(1, MAX_DISTRACTORS), len(free)))
    ]


# ---- filling in ----------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Filled:
    """A template about certain rows."""

    question: str
    plan: list[Json]
    answer: Any
    check: Check
    without: str = ""
    """The tool that is missing."""


def _solvable(box: Toolbox, template: Json, world_seed: int, rng: random.Random) -> _Filled:
    """Rows for which the plan brings an answer that the question does not tell."""
    for _ in range(MAX_DRAWS):
        world = box.world(world_seed)  # a new one each time: a tool may have changed the last
        given = _given(template["given"], world, rng)
        question = rng.choice(template["ask"]).format(**given)
        plan = _plan(box, template, given)
        try:
            answer = box.run(world, plan)
        except ValueError as error:  # two have most
            failure = str(error)
            continue
        if not _told(question, answer, plan[-1]["answer"]):
            return _Filled(question, plan, answer, template.get("check") or _check(answer))
        failure = f"the question tells the answer: {question}"
    raise ValueError(failure)


def _about_a_stranger(box: Toolbox, template: Json, world_seed: int, rng: random.Random) -> _Filled | None:
    """The same about a row that only another world has: the first call says that there is no such thing."""
    _, arguments = template["plan"][0]
    texts = [text for text in arguments.values() if isinstance(text, str)]
    names = {name for text in texts for _, name, _, _ in Formatter().parse(text) if name}
    slots = {name.partition("[")[0] for name in names}
    strange = {
        slot: table for slot, table in template["given"].items() if slot in slots and isinstance(table, str)
    }
    world = box.world(world_seed)
    elsewhere = box.world(rng.getrandbits(30) | world_seed & HELD_OUT)
    for _ in range(MAX_DRAWS if strange else 0):
        given = _given(template["given"], world, rng) | _given(strange, elsewhere, rng)
        plan = _plan(box, template, given)[:1]
        try:
            box.replies(world, plan)
        except LookupError as error:
            if type(error) is LookupError:
                plan[0]["answer"] = None
                return _Filled(rng.choice(template["ask"]).format(**given), plan, CANNOT, "exact")
    return None


def _one_tool_short(filled: _Filled, shown: list[Json]) -> _Filled | None:
    """The same without the tool of the last call, where something can be done before it is missed, and where
    no other tool's description speaks of what it would bring."""
    tool = filled.plan[-1]["name"]
    steps = [i for i, step in enumerate(filled.plan) if step["name"] == tool]
    brought = {key for path in toolbox.paths(filled.plan) if path[0] in steps for key in path[1:]}
    described = " ".join(
        str(other["function"].get("description")) for other in shown if other["function"]["name"] != tool
    )
    if steps[0] == 0 or brought.intersection(re.findall(r"\w+", described)):
        return None
    plan = [*filled.plan[: steps[0]], {**filled.plan[steps[0]], "answer": None}]
    return _Filled(filled.question, plan, CANNOT, "exact", tool)


def _given(slots: Json, world: Any, rng: random.Random) -> Json:
    """A row or value for each slot, no row twice."""
    given: Json = {}
    taken: set[tuple[str, str]] = set()
    for slot, table in slots.items():
        if not isinstance(table, str):
            given[slot] = rng.choice(table)
            continue
        key = rng.choice([key for key in world[table] if (table, key) not in taken])
        taken.add((table, key))
        given[slot] = {**world[table][key], "id": key}
    return given


def _plan(box: Toolbox, template: Json, given: Json) -> list[Json]:
    plan: list[Json] = []
    for tool, arguments in template["plan"]:
        schemas = box.schemas[tool]
        filled = {name: _argument(value, given, schemas.get(name, {})) for name, value in arguments.items()}
        plan.append({"name": tool, "arguments": filled})
    plan[-1]["answer"] = _answer(template["answer"], given)
    return plan


def _argument(value: Any, given: Json, schema: Json) -> Any:
    if isinstance(value, tuple):
        return {"$from": list(value)}
    if not isinstance(value, str):
        return value
    text = value.format(**given)
    return json.loads(text) if schema.get("type") in ("integer", "number") else text


def _answer(answer: Any, given: Json) -> Any:
    if isinstance(answer, tuple):
        return list(answer)
    if not isinstance(answer, dict):
        return answer
    filled = {**answer, "of": [list(path) for path in answer["of"]]}
    if "names" in answer:
        filled["names"] = [name.format(**given) for name in answer["names"]]
    return filled


def _told(question: str, answer: Any, how: Any) -> bool:
    """Does the question hold the answer, or is there none? One of several named things always is in it."""
    if isinstance(how, dict) and "names" in how:
        return False
    text = question.casefold()
    words = re.findall(r"\w+(?:[.-]\w+)*", text)
    parts = [toolbox.text_of(part).casefold() for part in (answer if isinstance(answer, list) else [answer])]
    return not all(parts) or not parts or any(part in (words if part.isdigit() else text) for part in parts)


def _check(answer: Any) -> Check:
    if isinstance(answer, list):
        return "set"
    return "exact" if isinstance(answer, str) else "number"
