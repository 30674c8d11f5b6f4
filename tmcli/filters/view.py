"""What the rules see of one line: checked at once, its parts made when a rule asks for them, and kept.

    view = View.of(line)        # InputError, in the words of `records.decode`, where it is no trajectory
    view.calls, view.correct    # from `score.py`, once

A usual line is checked by msgspec, in a third of the time that `records.decode` takes. Whatever msgspec or
this module does not know, an unknown key even, `records.decode` decides: the two never disagree.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Generic, TypeVar, cast

import orjson
from msgspec import Raw

from tmcli import score
from tmcli.filters import shape
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

    task: Task
    """Or what looks like one."""

    def __init__(self, line: bytes, parts: shape.Line | Trajectory) -> None:
        self.line = line
        self.id = parts.id
        self.status = parts.status
        self.stop = parts.stop
        self.prediction = parts.prediction
        self.failure = parts.failure
        self.reward = parts.reward
        self.turns: list[Json] = cast(list[Json], parts.turns)
        self.tools: list[Json] = cast(list[Json], parts.tools)
        self.scores = parts.scores
        self.usage = parts.usage
        self.policy = parts.policy
        self._parts = parts

    @classmethod
    def of(cls, line: bytes) -> View:
        parts = shape.read(line)
        if parts is not None:
            view = cls(line, parts)
            view.task = cast(Task, parts.task)
            return view
        trajectory = expect(decode(line), Trajectory)
        view = cls(line, trajectory)
        view.task = score.task_in(trajectory)
        view.__dict__["trajectory"] = trajectory
        return view

    @once
    def messages(self) -> list[Json]:
        """The whole dialogue."""
        return cast(list[Json], _json(self._parts.messages))

    @once
    def tokens(self) -> Json | None:
        return cast(Json | None, _json(self._parts.tokens))

    @once
    def trajectory(self) -> Trajectory:
        """The whole record: for whoever needs all of it, for it takes its time."""
        return expect(decode(self.line), Trajectory)

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


def _json(part: Any) -> Any:
    return orjson.loads(memoryview(part)) if isinstance(part, Raw) else part
