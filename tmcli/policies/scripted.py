"""The embedded teacher: plays the gold plan as someone would who had to find the tools' ways out first.

    trial     call the first tool as documented; note what the reply teaches; then execute
    direct    the golden path: the plan's calls as the tools take them, no trials (the baseline)

With `trials=N` it tries other tools before the first, those that someone would take for it who knows the
question and the documents only (exploring.py): what it then shows is how to go on where a tool was none.

It knows the plan and reads the documents; what a tool really takes and means it learns from replies alone:
an error lists the parameters or shows a form, a look-alike has nothing or old data, a reply has another
shape, another unit or further pages. A lesson of a later tool is met while executing, and said in the next
plan. Of look-alikes it calls the one shown first. Each choice follows from what can be seen, never from
chance: what nobody could learn would only be noise. Its wording is plain and always the same: a small model
is to learn it.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any, Literal

from tmcli import toolbox
from tmcli.drift import forms
from tmcli.drift.decoy import UPDATED, YEARS
from tmcli.errors import InputError, PolicyFailure, UsageError
from tmcli.policies import Reply
from tmcli.policies.beliefs import Beliefs
from tmcli.policies.exploring import Search, likely
from tmcli.policies.manner import USUAL, Manner
from tmcli.policies.reading import Reading, empty, in_units
from tmcli.protocol import CANNOT, Call, Style, describe
from tmcli.records import Json, Task

AT_ONCE = 8
"""Calls of one tool that are made in one turn, where none needs another."""

RANKING = ("max", "min", "argmax", "argmin")
"""Answers for which dates are compared."""

_RETURNS = re.compile(r"\bReturns (\w+)")


@dataclass(frozen=True, slots=True)
class Scripted:
    """Plays tasks that have a gold plan, see `toolbox.py`."""

    style: Style = "trial"
    manner: Manner = USUAL

    @property
    def name(self) -> str:
        return "scripted"

    @property
    def sampling(self) -> Json:
        apart = {key: value for key, value in asdict(self.manner).items() if value != getattr(USUAL, key)}
        return {"style": self.style, **apart}

    def open(self, task: Task, sample: int) -> _Expert:
        """Raises `UsageError` for a task without a plan, `InputError` for a plan that is none."""
        if not task.plan or "answer" not in task.plan[-1]:
            raise UsageError(
                f"task {task.id} has no gold plan, and the scripted teacher needs one", "use --teacher MODEL"
            )
        try:
            return _Expert(task, task.plan, self.style, self.manner)
        except (LookupError, TypeError, AttributeError) as error:
            problem = f"the plan of task {task.id} cannot be read: {error!r}"
            raise InputError(problem, "mend the task") from error

    async def aclose(self) -> None:
        pass


@dataclass(slots=True)
class _Asked:
    """A call that waits for its reply."""

    step: int
    """The step of the plan it is for."""
    call: Call
    """As it was made."""


class _Expert:
    """One episode."""

    tokens = None

    def __init__(self, task: Task, plan: list[Json], style: Style, manner: Manner) -> None:
        self.task = task
        self.plan = plan
        self.beliefs = Beliefs(task, known=style == "direct")
        self.notes = style == "trial" and manner.notes
        self.learns = style == "direct" or manner.corrections
        tries = style == "trial" and manner.trials > 0
        self.phase: Literal["trial", "noting", "execution"] = "trial" if tries else "execution"
        self.paths = list(toolbox.paths(plan))
        self.readings = {i: Reading(list(dict.fromkeys(self._needed(i)))) for i in range(len(plan))}
        self.units = [key for path in self.paths for key in path[1:] if isinstance(key, str)]
        functions = [tool["function"] for tool in task.tools]
        self.descriptions = {function["name"]: function.get("description") for function in functions}
        self.asked: list[_Asked] = []
        self.results: dict[int, Any] = {}
        self.cannot = False
        self.lessons: list[str] = []
        """Learned from the last replies."""
        self.told: set[str] = set()
        """What was said of units."""
        self.explores = style == "trial" and manner.trials > 1
        self.wrong = max(0, manner.trials - 1)
        """Other tools it may still try."""
        self.takes = dict(self.beliefs.documented)
        """Shown tool -> its parameters, as documented or as learned by trying it for another."""
        self.taught = False
        """By the last replies: to make the calls otherwise."""
        self.search = self._search(0)
        self.searched = {0}
        """Steps that other tools were tried for."""

    async def reply(self, messages: list[Json]) -> Reply:
        try:
            return self._next(messages)
        except (ValueError, LookupError, TypeError) as error:
            raise PolicyFailure(f"plan and replies do not fit: {error!r}", "mend the task") from error

    def close(self) -> None:
        pass

    def _next(self, messages: list[Json]) -> Reply:
        tried = self.search.call
        found = self._found(messages[-1]["content"]) if tried else ""
        if self.phase == "trial":
            self.lessons = [found] if found else []
            if call := self.search.next():
                return self._say(f"{self._noted()}<trial>try {call.name}</trial>", [call])
            self.phase = "noting"
            if not self._missing(0):
                return self._call(f"{self._noted()}<trial>try {self._shown(0)}</trial>", [0])
        correction = self._hear(messages) if self.asked else ""
        noted = self._noted()
        if self.phase == "noting":
            if self.explores and self.taught and not self._goes_on(0) and not self.cannot:
                return self._call(f"{noted}<trial>try {self._shown(0)}</trial>", [0])
            if not self.learns:
                self.beliefs = Beliefs(self.task, known=True)
        self.phase = "execution"
        steps = [] if self.cannot else self._ready()
        self._look_around(steps)
        if call := self.search.next():
            self.asked, self.lessons = [], []
            is_other = tried is None or call.name != tried.name
            aim = ", ".join(filter(None, [found, f"try {call.name}" if is_other else ""]))
            return self._say(f"{noted}<plan>{aim}</plan>", [call])
        if not steps:
            self.asked, self.lessons = [], []  # a hint would find it all said: the plan knows no other answer
            return self._say(f"{noted}<answer>{self._answer()}</answer>", [])
        pages = [f"page {self.readings[i].next_page} of {self._shown(i)}" for i in steps if self._goes_on(i)]
        aim = (
            correction
            or _listed(list(dict.fromkeys(pages)))
            or ", ".join(filter(None, [found, f"{self._aim(steps)} from {self._shown(steps[0])}"]))
        )
        return self._call(f"{noted}<plan>{aim}</plan>", steps)

    # ---- other tools, that look as likely to who does not know the plan

    def _search(self, step: int) -> Search:
        """For the tool of a step, among those that a reader would try before it."""
        if not self.explores:
            return Search([], {}, [])
        arguments = toolbox.resolve(self.plan[step]["arguments"], self.results)
        alike = self.beliefs.alike[self.plan[step]["name"]]
        used = {self._shown(i) for i in self.results}
        documents = [tool["function"] for tool in self.task.tools if tool["function"]["name"] not in used]
        found = likely(self.task.messages[-1]["content"], documents, self._values(step, arguments))
        first = min((found.index(name) for name in alike if name in found), default=len(found))
        found = found[: min(first, self.wrong)]
        self.wrong -= len(found)
        return Search(found, self.takes, self._values(step, arguments))

    def _values(self, step: int, arguments: Json) -> list[Any]:
        """What there is to be given, in the forms that are known by now."""
        name = self.plan[step]["name"]
        return list((arguments if self._missing(step) else self.beliefs.call(name, arguments)[1]).values())

    def _found(self, text: str) -> str:
        """What a tool that is tried teaches."""
        call = self.search.call
        assert call is not None
        said = self.search.hear(text)
        for tool, shown in self.beliefs.alike.items() if self.search.again else ():
            if shown[:1] == [call.name]:  # a later step's: it is known by then
                self.beliefs.learn(tool, call.arguments, self.search.error)
        if not (learned := self.beliefs.learn_forms(self.search.error)):
            return said
        step = max(self.searched)
        arguments = toolbox.resolve(self.plan[step]["arguments"], self.results)
        self.search.rewrite(call, self._values(step, arguments))
        return ". ".join(learned)

    def _look_around(self, steps: list[int]) -> None:
        """Begin to try others for the next step, if it is one alone that can be made now."""
        step = next((i for i in range(len(self.plan)) if i not in self.results), 0)
        if not (self.explores and self.learns) or step in self.searched or self._goes_on(step):
            return
        if len(steps) == 1 or (self._missing(step) and self._can_start(step)):
            self.searched.add(step)
            self.search = self._search(step)

    # ---- what to do next

    def _ready(self) -> list[int]:
        """The steps to make now: the next one, and others of its tool that need nothing unknown."""
        open_steps = [i for i in range(len(self.plan)) if i not in self.results]
        if not open_steps or self._missing(open_steps[0]):
            self.cannot = bool(open_steps)
            return []
        tool = self.plan[open_steps[0]]["name"]
        same = [i for i in open_steps if self.plan[i]["name"] == tool and self._can_start(i)]
        return [i for i in same if self._goes_on(i) == self._goes_on(same[0])][:AT_ONCE]

    def _can_start(self, step: int) -> bool:
        values = self.plan[step]["arguments"].values()
        return all(value["$from"][0] in self.results for value in values if toolbox.is_reference(value))

    def _goes_on(self, step: int) -> bool:
        return self.readings[step].next_page is not None

    def _missing(self, step: int) -> bool:
        """Is there no tool for this?"""
        return not self.beliefs.alike[self.plan[step]["name"]]

    def _answer(self) -> str:
        how = self.plan[-1]["answer"]
        if self.cannot or how is None:
            return CANNOT
        results = self.results
        if isinstance(how, dict) and how["combine"] in RANKING:
            results = {step: forms.texts(value, forms.as_iso) for step, value in results.items()}
        return toolbox.text_of(toolbox.gold(self.plan, results))

    # ---- what to say

    def _call(self, text: str, steps: list[int]) -> Reply:
        calls = []
        self.asked = []
        for i in steps:
            calls.append(self._made(i))
            self.asked.append(_Asked(i, calls[-1]))
        return self._say(text, calls)

    def _made(self, step: int) -> Call:
        """How a step is made, as far as is known."""
        arguments = toolbox.resolve(self.plan[step]["arguments"], self.results)
        name, sent = self.beliefs.call(self.plan[step]["name"], arguments)
        return Call(name, {**sent, "page": self.readings[step].next_page} if self._goes_on(step) else sent)

    def _noted(self) -> str:
        return f"<experience>{'. '.join(self.lessons)}.</experience>" if self.notes and self.lessons else ""

    def _say(self, text: str, calls: list[Call]) -> Reply:
        return Reply(content=text, turn=describe(text, tuple(calls)))

    def _shown(self, step: int) -> str:
        return self.beliefs.alike[self.plan[step]["name"]][0]

    def _aim(self, steps: list[int]) -> str:
        """What the replies of these steps are for."""
        keys = [str(path[-1]) for path in self.paths if path[0] in steps and isinstance(path[-1], str)]
        said = _RETURNS.search(str(self.descriptions.get(self._shown(steps[0]))))
        return _listed(list(dict.fromkeys(keys))) or (said[1] if said else "more")

    def _needed(self, step: int) -> Iterator[Any]:
        yield from (path[1] for path in self.paths if path[0] == step and len(path) > 1)

    # ---- what to learn

    def _hear(self, messages: list[Json]) -> str:
        """Learn from the replies to my last calls; what must be done otherwise, in words."""
        last = max(i for i, message in enumerate(messages) if message["role"] == "assistant")
        self.lessons = []
        corrections: list[str] = []
        for asked, message in zip(self.asked, messages[last + 1 :], strict=True):
            tool = self.plan[asked.step]["name"]
            learned = self._read(asked, tool, message["content"])
            corrections += learned
            if self.phase == "noting":
                takes = self.beliefs.takes(tool)
                shape = self.readings[asked.step].shape
                shaped = [f"it answers {shape}"] if shape else []
                self.lessons = [*(said for said in learned if said != takes), takes, *shaped, *self.lessons]
        self.taught = bool(corrections)
        if self.phase == "noting":
            return ""
        return "; ".join(dict.fromkeys(corrections))

    def _read(self, asked: _Asked, tool: str, text: str) -> list[str]:
        """One reply: what it brought, or what to do otherwise."""
        if asked.call.name != self.beliefs.alike[tool][0]:
            return []  # of two calls in one turn the first has shown that the tool is not the right one
        reply = _value(text)
        old = isinstance(reply, dict) and reply.get(UPDATED) in YEARS
        error = reply.get("error") if isinstance(reply, dict) else None
        if error is not None:
            learned = self.beliefs.learn(tool, asked.call.arguments, str(error))
            if not learned and old:
                learned = self.beliefs.doubt(tool, "old data")
            if not learned and self._made(asked.step) == asked.call:
                if asked.step < len(self.plan) - 1 or self.plan[-1]["answer"] is not None:
                    raise PolicyFailure(f"{tool} answers the plan's call with {error!r}", "mend the task")
                self.cannot = True
            return learned
        if (empty(reply) or old) and (wrong := self.beliefs.doubt(tool, "old data" if old else "nothing")):
            return wrong
        reading = self.readings[asked.step]
        reading.add(reply)
        if reading.next_page is None:
            found: list[str] = []
            self.results[asked.step] = in_units(reading.value, self.units, found)
            self.lessons += [said for said in dict.fromkeys(found) if said not in self.told]
            self.told.update(found)
        return []


def _value(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return text


def _listed(words: list[str]) -> str:
    """
    >>> _listed(["a", "b", "c"]), _listed(["a"]), _listed([])
    ('a, b and c', 'a', '')
    """
    return " and ".join(filter(None, [", ".join(words[:-1]), *words[-1:]]))
