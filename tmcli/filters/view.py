"""What the rules see of one line: checked at once, its parts made when a rule asks for them, and kept.

view = View.of(line)        # InputError, in the words of `records.decode`, where it is no trajectory
view.calls, view.correct    # from `score.py`, once
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Generic, TypeVar

from tmcli import score
from tmcli.records import Json, Task, Trajectory, decode, expect

T = TypeVar("T")


class once(Generic[T]):  # noqa: N801 - used as a decorator, as `property` is
    """A property that is made once; `functools.cached_property` takes a lock each time it is."""

    def __init__(self, make: Callable[..., T]) -> None:
        self.make = make
        self.name = make.__name__
        self.__doc__ = make.__doc__

    def __get__(self, view: object, owner: type | None = None) -> T:
        value = self.make(view)
        view.__dict__[self.name] = value
        return value


class View:
    """One trajectory. Its parts are JSON as it was read: look, do not change."""

    def __init__(self, line: bytes, trajectory: Trajectory, task: Task) -> None:
        self.line = line
        self.trajectory = trajectory
        self.task = task
        self.id = trajectory.id
        self.status = trajectory.status
        self.stop = trajectory.stop
        self.prediction = trajectory.prediction
        self.failure = trajectory.failure
        self.reward = trajectory.reward
        self.messages = trajectory.messages
        self.turns = trajectory.turns
        self.tools = trajectory.tools
        self.tokens = trajectory.tokens
        self.scores = trajectory.scores
        self.usage = trajectory.usage
        self.policy = trajectory.policy

    @classmethod
    def of(cls, line: bytes) -> View:
        trajectory = expect(decode(line), Trajectory)
        return cls(line, trajectory, score.task_in(trajectory))

    @once
    def played(self) -> list[tuple[Json, Json, list[Json]]]:
        """(turn, assistant message, the tool messages after it) of each turn that was played."""
        return list(score.played(self))

    @once
    def calls(self) -> list[score.Made]:
        """All calls in order, with their replies."""
        return score.made(self)

    @once
    def correct(self) -> bool | None:
        """Is the answer right? Judged anew; None: nobody can tell."""
        return score.correct(self.prediction, self.task.answer, self.task.check)

    @once
    def question(self) -> str:
        """The user's words of the task."""
        return "\n".join(
            message.get("content") or "" for message in self.task.messages if message["role"] == "user"
        )

    @once
    def said(self) -> list[str]:
        """What the model wrote, turn after turn."""
        return [message.get("content") or "" for _, message, _ in self.played]
