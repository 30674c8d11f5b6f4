"""The embedded teacher: plays the gold plan as someone would who had to find the tools' ways out first.

    trial     call the first tools as documented; note what the replies teach; then execute
    direct    the golden path: the plan's calls by their true names, no trials (the baseline)

It knows the plan and reads the documents; what a parameter is really called it learns from replies alone.
An old document of a later tool is met while executing, and corrected. Each choice follows from what can
be seen, never from chance: what nobody could learn would only be noise.
Its wording is plain and always the same: a small model is to learn it.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import Any, Literal

from tmcli import drift, toolbox
from tmcli.errors import PolicyFailure, UsageError
from tmcli.policies import Reply
from tmcli.protocol import Call, Style, describe
from tmcli.records import Json, Task

MAX_TRIALS = 1
"""Tools the trial calls, first on the way first; what is wrong with a further one shows while executing.
One, since each turn then asks for one decision: a small model learns that from few trajectories."""

PROBES: Json = {"string": "?", "integer": 0, "number": 0, "boolean": False, "array": [], "object": {}}
"""What a trial sends where the plan's value comes from an earlier reply."""

_PARAMETERS = re.compile(r"\bparameters are: (.*)$", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Scripted:
    """Plays tasks that have a gold plan, see `toolbox.py`."""

    style: Style = "trial"

    @property
    def name(self) -> str:
        return "scripted"

    @property
    def sampling(self) -> Json:
        return {"style": self.style}

    def open(self, task: Task, sample: int) -> _Expert:
        """Raises `UsageError` for a task without a plan."""
        if not task.plan or "answer" not in task.plan[-1]:
            raise UsageError(
                f"task {task.id} has no gold plan, and the scripted teacher needs one", "use --teacher MODEL"
            )
        return _Expert(task, self.style)

    async def aclose(self) -> None:
        pass


@dataclass(slots=True)
class _Asked:
    """A call that waits for its reply."""

    tool: str
    names: dict[str, str]
    """True parameter -> the name it was sent under."""
    step: int | None
    """The step of the plan it fulfils; None for a probe."""


class _Expert:
    """One episode."""

    tokens = None

    def __init__(self, task: Task, style: Style) -> None:
        self.plan: list[Json] = task.plan or []
        functions = [tool["function"] for tool in task.tools]
        self.schemas = {function["name"]: function.get("parameters") or {} for function in functions}
        self.phase: Literal["trial", "noting", "execution"] = "trial" if style == "trial" else "execution"
        self.names: dict[str, dict[str, str]] = {}
        """Tool -> true parameter -> what it is believed to be called."""
        for step in self.plan:
            for real in step["arguments"]:
                shown = drift.documented(task, step["name"], real) if style == "trial" else real
                self.names.setdefault(step["name"], {})[real] = shown
        self.asked: list[_Asked] = []
        self.results: dict[int, Any] = {}
        self.lessons: list[str] = []
        self.correction = ""

    async def reply(self, messages: list[Json]) -> Reply:
        try:
            return self._next(messages)
        except (ValueError, LookupError, TypeError) as error:
            raise PolicyFailure(f"plan and replies do not fit: {error!r}", "mend the task") from error

    def _next(self, messages: list[Json]) -> Reply:
        if self.phase == "trial":
            self.phase = "noting"
            return self._try()
        if self.asked:
            self._hear(messages)
        noted = f"<experience>{' '.join(self.lessons)}</experience>" if self.phase == "noting" else ""
        self.phase = "execution"
        step = next((i for i in range(len(self.plan)) if i not in self.results), None)
        if step is None:
            answer = self.results[len(self.plan) - 1][self.plan[-1]["answer"]]
            return self._say(f"{noted}<answer>{toolbox.text_of(answer)}</answer>", [])
        tool = self.plan[step]["name"]
        aim = self.correction or f"{self._aim(step)} from {tool}"
        arguments = toolbox.resolve(self.plan[step]["arguments"], self.results)
        return self._say(f"{noted}<plan>{aim}</plan>", [(step, tool, arguments)])

    def close(self) -> None:
        pass

    def _try(self) -> Reply:
        """One call of each of the first tools on the way, as documented."""
        first = {step["name"]: i for i, step in reversed(list(enumerate(self.plan)))}
        order = sorted(first, key=lambda tool: first[tool])[:MAX_TRIALS]
        calls: list[tuple[int | None, str, Json]] = []
        for tool in order:
            given = self.plan[first[tool]]["arguments"]
            probes = {
                real: self._probe(tool, real) if toolbox.is_reference(value) else value
                for real, value in given.items()
            }
            whole = not any(toolbox.is_reference(value) for value in given.values())
            calls.append((first[tool] if whole else None, tool, probes))
        return self._say(f"<trial>try {_listed(order)}</trial>", calls)

    def _probe(self, tool: str, real: str) -> Any:
        schema = self.schemas.get(tool, {}).get("properties", {}).get(self.names[tool][real], {})
        return PROBES.get(str(schema.get("type")), "?")

    def _say(self, text: str, calls: list[tuple[int | None, str, Json]]) -> Reply:
        self.asked = []
        said: list[Call] = []
        for step, tool, arguments in calls:
            names = {real: self.names[tool][real] for real in arguments}
            self.asked.append(_Asked(tool, names, step))
            said.append(Call(tool, {names[real]: value for real, value in arguments.items()}))
        return Reply(content=text, turn=describe(text, tuple(said)))

    def _hear(self, messages: list[Json]) -> None:
        """Learn from the replies to my last calls."""
        last = max(i for i, message in enumerate(messages) if message["role"] == "assistant")
        self.correction = ""
        for asked, message in zip(self.asked, messages[last + 1 :], strict=True):
            value = json.loads(message["content"])
            error = value.get("error") if isinstance(value, dict) else None
            if error is None and asked.step is not None:
                self.results[asked.step] = value
            learned = self._learn(asked, str(error or ""))
            if error is not None and asked.step is not None and not learned:
                raise PolicyFailure(f"{asked.tool} answers the plan's call with {error!r}", "mend the task")
            lesson = f"{asked.tool} takes {', '.join(self.names[asked.tool].values()) or 'nothing'}"
            if self.phase == "noting":
                self.lessons.append(f"{lesson}.")
            elif learned:
                self.correction = lesson

    def _learn(self, asked: _Asked, error: str) -> bool:
        """An error that lists the real parameters: those not sent are what the unknown ones are called, in
        order. Was anything learned?"""
        listed = _PARAMETERS.search(error)
        real = listed.group(1).split(", ") if listed else []
        missing = iter([name for name in real if name not in asked.names.values()])
        learned = False
        for parameter, sent in asked.names.items():
            if sent not in real and (name := next(missing, None)) is not None:
                self.names[asked.tool][parameter] = name
                learned = True
        return learned

    def _aim(self, step: int) -> str:
        """What the reply of this step is for."""
        keys = [
            str(value["$from"][1])
            for later in self.plan
            for value in later["arguments"].values()
            if toolbox.is_reference(value) and value["$from"][0] == step and len(value["$from"]) > 1
        ]
        if step == len(self.plan) - 1:
            keys.append(self.plan[step]["answer"])
        return _listed(list(dict.fromkeys(keys))) or "on"


def _listed(words: list[str]) -> str:
    """
    >>> _listed(["a", "b", "c"]), _listed(["a"]), _listed([])
    ('a, b and c', 'a', '')
    """
    return " and ".join(filter(None, [", ".join(words[:-1]), *words[-1:]]))
