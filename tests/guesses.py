"""Guessing without tools, as well as one can: what a task's kind was answered with most often elsewhere, an
option that the question names, or that it cannot be done; for each kind what was right most often.

    guesser = Guesser(tasks_of_other_worlds)
    guesser(task)    # "cannot be done"

A kind is the toolbox, the calls of the plan and what is asked of them: more than a policy is ever told, so
this bounds from above what guessing brings.
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Iterable

from trajectories import trajectory, turn

from tmcli.protocol import CANNOT
from tmcli.records import Task, Trajectory, to_json
from tmcli.score import correct

_OPTION = re.compile(r"\b[A-Z]{1,3}\d+\b|\b\d{4}-\d\d-\d\d\b|(?!^)\b[A-Z][\w'-]+(?: [A-Z][\w'-]+)*")
"""Ids, dates and names of a question."""


def options(task: Task) -> list[str]:
    """What could be chosen from: "Which is heavier, PC1 or PC2?" names two."""
    return list(dict.fromkeys(_OPTION.findall(task.messages[-1]["content"])))


def kind(task: Task) -> str:
    assert task.plan is not None
    calls = "+".join(str(step.get("name")) for step in task.plan)
    shape = re.sub(r"\d+", "#", re.sub(r"[A-Z][\w'-]+", "", task.messages[-1]["content"]))[:20]
    return f"{task.tags['toolbox']} {calls} {task.check} {shape}"


class Guesser:
    """Learns from tasks whose answers are known."""

    def __init__(self, tasks: Iterable[Task]) -> None:
        said: dict[str, list[Task]] = defaultdict(list)
        for task in tasks:
            said[kind(task)].append(task)
            said[str(task.tags["toolbox"])].append(task)
        self.best = {key: self._best(known) for key, known in said.items()}

    def __call__(self, task: Task) -> str:
        choice = self.best.get(kind(task)) or self.best[str(task.tags["toolbox"])]
        return self._say(choice, task)

    def _best(self, known: list[Task]) -> str:
        common = [answer for answer, _ in Counter(task.answer[0] for task in known).most_common(5)]
        choices = ["option 0", "option 1", "option 2", CANNOT, *common]
        right = {
            choice: sum(correct(self._say(choice, task), task.answer, task.check) is True for task in known)
            for choice in choices
        }
        return max(right, key=lambda choice: right[choice])

    def _say(self, choice: str, task: Task) -> str:
        if not choice.startswith("option "):
            return choice
        named = options(task)
        return named[min(int(choice[7:]), len(named) - 1)] if named else CANNOT


def episode(task: Task, answer: str) -> Trajectory:
    """The answer at once, without a call."""
    said = turn("execution", content=f"<answer>{answer}</answer>")
    return trajectory([said], task=to_json(task), prediction=answer)
