"""What the rules see of one line: checked at once, its parts made when a rule asks for them, and kept.

    view = View.of(line)        # InputError, in the words of `records.decode`, where it is no trajectory
    view.calls, view.correct    # from `score.py`, once

A usual line is checked by msgspec, in a third of the time that `records.decode` takes. Whatever msgspec or
this module does not know, an unknown key even, `records.decode` decides: the two never disagree.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Generic, TypeVar, cast

import orjson
from msgspec import UNSET

from tmcli import score
from tmcli.filters import shape
from tmcli.filters.rounds import Round, calls_of, failures, rounds
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

    def __init__(self, line: bytes, parts: shape.Line | Trajectory, task: Task | shape.Task) -> None:
        self.line = line
        self.task = cast(Task, task)
        """Or what looks like one."""
        self.id = parts.id
        self.status = parts.status
        self.stop = parts.stop
        self.prediction = parts.prediction
        self.failure = parts.failure
        self.reward = parts.reward
        self.scores = parts.scores
        self.usage: Json = cast(Json, parts.usage)
        self.policy: Json = cast(Json, parts.policy)
        self._parts = parts

    @classmethod
    def usual(cls, line: bytes) -> View | None:
        """None: the line is not usual, if it is a trajectory at all."""
        parts = shape.read(line)
        return None if parts is None else cls(line, parts, parts.task)

    @classmethod
    def of(cls, line: bytes) -> View:
        view = cls.usual(line)
        if view is not None:
            return view
        trajectory = expect(decode(line), Trajectory)
        view = cls(line, trajectory, score.task_in(trajectory))
        view.__dict__["trajectory"] = trajectory
        return view

    @once
    def messages(self) -> list[Json]:
        """The whole dialogue."""
        return cast(list[Json], self._value(self._parts.messages))

    @once
    def turns(self) -> list[Json]:
        return cast(list[Json], self._value(self._parts.turns))

    @once
    def tools(self) -> list[Json]:
        return cast(list[Json], self._value(self._parts.tools))

    def schema(self, name: str) -> list[Any]:
        """[what it takes] of the tool of this name, as it was shown; [] where there is none. One alone is
        read quicker than `tools`."""
        if isinstance(self._parts, shape.Line):
            return shape.schema(self._parts.tools, name)
        return [tool["function"].get("parameters") for tool in self.tools if tool["function"]["name"] == name]

    @once
    def tokens(self) -> Json | None:
        return cast(Json | None, self._value(self._parts.tokens))

    def _value(self, part: object) -> object:
        return shape.value(part) if isinstance(self._parts, shape.Line) else part

    @once
    def steps(self) -> Sequence[shape.Turn | shape.AnyTurn]:
        """The turns with phases, calls and hints as attributes: quicker than `turns`. Numbers of more than 64
        bits may be integers in one line and floats in another."""
        parts = self._parts
        return parts.turns if isinstance(parts, shape.Line) else shape.loosely(parts.turns)

    @once
    def talk(self) -> Sequence[shape.Message | shape.AnyMessage]:
        """The messages with their parts as attributes: quicker than `messages`. What is missing is UNSET."""
        parts = self._parts
        return parts.messages if isinstance(parts, shape.Line) else shape.loosely_said(parts.messages)

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
    def rounds(self) -> list[Round]:
        """Turn by turn: what was said and called; quicker than `calls`."""
        return rounds(self)

    @once
    def failures(self) -> list[tuple[Round, score.Made]]:
        """The execution calls that could be read and failed."""
        return failures(self.rounds)

    @once
    def tries(self) -> bool:
        """Is there a trial turn?"""
        return any(turn.phase == "trial" for turn in self.steps)

    @once
    def names(self) -> frozenset[str]:
        """Of the tools that were shown."""
        if isinstance(self._parts, shape.Line):
            return shape.names(self._parts.tools)
        return frozenset(tool["function"]["name"] for tool in self.tools)

    def case(self) -> score.Case:
        """What it is judged by: `score.Case.of`, and quicker. It is not kept, for it keeps the view."""
        calls = calls_of(self)
        try:
            keys = [orjson.dumps(call[1:3], default=repr, option=score.CANONICAL) for call in calls]
        except TypeError:  # numbers of more than 64 bits, which `calls_of` reads in another way
            calls = self.calls
            keys = [call.key for call in calls]
        steps = self.steps
        turns = score.Turns(
            ["ok" if turn.state is UNSET else turn.state for turn in steps],
            [turn.phase for turn in steps].count("trial"),
            any(turn.hint is not UNSET and turn.hint for turn in steps),
            [] if isinstance(self._parts, shape.Line) else score.Turns.of(self.turns).ms,
        )
        asked = [message.get("content") or "" for message in self.task.messages] if self._whole else []
        return score.Case.known(
            self,
            self.task,
            calls,
            keys,
            turns,
            self.said,
            self.names,
            "\n".join(asked) if self._whole else self.question,
            self.documents,
        )

    @property
    def _whole(self) -> bool:
        """Is it a record, since its line is not usual?"""
        return not isinstance(self._parts, shape.Line)

    def documents(self) -> str:
        """The tools as they were shown, in lower case."""
        if self._whole:
            return score.documents(self.tools)
        return ",".join(map(shape.spelled, map(bytes, cast(shape.Line, self._parts).tools)))

    @once
    def correct(self) -> bool | None:
        """Is the answer right? Judged anew; None: nobody can tell."""
        return score.correct(self.prediction, self.task.answer, self.task.check)

    @once
    def question(self) -> str:
        """The user's words of the task."""
        parts = self._parts
        if isinstance(parts, shape.Line):
            return "\n".join([message.content for message in parts.task.asked])
        return "\n".join(
            message.get("content") or "" for message in self.task.messages if message["role"] == "user"
        )

    @once
    def said(self) -> list[str]:
        """What the model wrote, turn after turn."""
        return [one.text for one in self.rounds]

    @once
    def spoken(self) -> str:
        """The same in one text: what it lacks, no turn has."""
        return "\n".join(self.said)
