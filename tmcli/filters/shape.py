"""The shape of a usual trajectory, for msgspec: `read` gives the parts of a line, or None.

None says only that the line is not usual: `records.decode` decides then, and words what is wrong. What is
given is what `records.decode` would give. For that, no byte is skipped unread, for msgspec does not look into
what it skips: each key is known here, or the line is not usual (but see `_check_tools`). And integers of more
than 64 bits, which orjson reads as floats, occur only in parts that orjson reads in the end; one that it
refuses is looked for by every hundredth byte.
"""

from __future__ import annotations

import sys
from functools import lru_cache
from typing import Annotated, Any, Literal

import msgspec
import orjson
from msgspec import UNSET, Meta, Raw, UnsetType, field

from tmcli.protocol import Phase
from tmcli.records import Check, Json, Status, Stop
from tmcli.score import documents


class Struct(msgspec.Struct, forbid_unknown_fields=True, gc=False):
    """Made and forgotten with a line."""


_LONG = b"000"
"""Three digits, as `_DIGITS` makes them, a hundred bytes apart: perhaps one number of 300 digits or more."""
_DIGITS = bytes(ord("0") if chr(i) in "0123456789" else ord("x") for i in range(256))
_POWER = b"0e"
_POWERS = bytes(
    ord("0") if chr(i) in "0123456789" else ord("e") if chr(i) in "eE" else ord("x") for i in range(256)
)
_NONE, _EMPTY = Raw(b"null"), Raw(b"{}")


class Made(Struct):
    """What is not there is left out again when `value` writes it."""

    name: str
    arguments: Any = UNSET
    ok: Any = UNSET
    error: Any = UNSET
    ms: Any = UNSET


class Turn(Struct):
    phase: Phase
    calls: list[Made]
    state: Any = UNSET
    hint: Any = UNSET


class Function(Struct):
    name: str
    arguments: Any = UNSET


class Call(Struct):
    function: Function
    id: Any = UNSET
    type: Any = UNSET


class Message(Struct):
    role: Literal["system", "developer", "user", "assistant", "tool"]
    content: str | UnsetType | None = UNSET
    tool_calls: list[Call] | UnsetType | None = UNSET
    tool_call_id: Any = UNSET
    name: Any = UNSET
    weight: Any = UNSET
    reasoning_content: Any = UNSET


class Named(msgspec.Struct, gc=False):
    name: str


class Tool(msgspec.Struct, gc=False):
    """Of which all else is skipped."""

    function: Named


class Documented(msgspec.Struct, gc=False):
    name: str
    parameters: Raw = _NONE


class Shown(msgspec.Struct, gc=False):
    """As `Tool`, for its schema."""

    function: Documented


class Question(Struct):
    """A message of a task: instructions, or a turn of before, are seldom."""

    role: Literal["user"]
    content: str


class Task(Struct):
    kind: Literal["task"]
    v: Literal[1]
    id: str
    asked: list[Question] = field(name="messages")
    shown: list[Raw] = field(name="tools")
    env: Raw
    answer: list[str]
    check: Check = "exact"
    subgoals: dict[str, list[str]] | None = None
    plan: Raw = _NONE
    tags: Raw = _EMPTY
    source: str = ""

    @property
    def extra(self) -> Json:
        return {}

    @property
    def messages(self) -> Any:
        return value(self.asked)

    @property
    def tools(self) -> Any:
        return value(self.shown)


class Line(Struct):
    """What comes Raw is read by orjson: `read` puts the value in its place."""

    kind: Literal["trajectory"]
    v: Literal[1]
    id: str
    task: Task
    messages: list[Message]
    tools: list[Raw]
    turns: list[Turn]
    prediction: str | None
    stop: Stop
    status: Status = "ok"
    failure: str | None = None
    reward: float | None = None
    scores: Raw = _EMPTY
    usage: Raw = _EMPTY
    policy: Raw = _EMPTY
    tokens: Raw = _NONE
    judged: Any = None  # these are `filter`'s own
    dropped: Any = None
    dropped_why: Any = None


class AnyMade(msgspec.Struct, gc=False):
    """As `Made`, of a line that is not usual."""

    name: str
    arguments: Any = UNSET
    ok: Any = UNSET


class AnyTurn(msgspec.Struct, gc=False):
    """As `Turn`."""

    phase: Phase
    calls: list[AnyMade]
    state: Any = UNSET
    hint: Any = UNSET


class AnyFunction(msgspec.Struct, gc=False):
    """As `Function`."""

    name: str
    arguments: Any = UNSET


class AnyCall(msgspec.Struct, gc=False):
    """As `Call`."""

    function: AnyFunction
    id: Any = UNSET


class AnyMessage(msgspec.Struct, gc=False):
    """As `Message`."""

    role: str
    content: str | UnsetType | None = UNSET
    tool_calls: list[AnyCall] | UnsetType | None = UNSET
    tool_call_id: Any = UNSET
    name: Any = UNSET
    weight: Any = UNSET


_Ids = list[Annotated[int, Meta(ge=-(2**63), le=2**63 - 1)]]


class Tokens(Struct):
    ids: _Ids
    mask: _Ids
    logprobs: list[Any] | None = None
    vocabulary: Any = None
    template: Any = None


_line = msgspec.json.Decoder(Line).decode
_tokens = msgspec.json.Decoder(Tokens | None).decode
_tools = msgspec.json.Decoder(list[Tool]).decode
_shown = msgspec.json.Decoder(Shown).decode

UNUSUAL = (msgspec.MsgspecError, ValueError, TypeError, KeyError, RecursionError)


def read(line: bytes) -> Line | None:
    """Its parts. All are values but `tools` and `tokens`, which are Raw, and `messages` and `turns`, whose
    shapes are for those that are in a hurry: `value` makes values of them."""
    if _LONG in line[::100].translate(_DIGITS) or (_is_deep_read() and _is_deep(line)):
        return None
    try:
        parts: Any = _line(line)
        task = parts.task
        if parts.tokens is not _NONE:
            _check_tokens(_tokens(parts.tokens))
        raw = task.env, task.plan, task.tags, parts.scores, parts.usage, parts.policy
        values = orjson.loads(b"[%b]" % b",".join(raw))
        task.env, task.plan, task.tags, parts.scores, parts.usage, parts.policy = values
        _check(task, values[2:])
        _check_tools(parts.tools)
        if task.shown != parts.tools:
            _check_tools(task.shown)
    except UNUSUAL:
        return None
    return parts  # type: ignore[no-any-return]


def _is_deep_read() -> bool:
    """Does msgspec read as deep as Python may go, and is that deeper than orjson reads (1024)? Up to Python
    3.11 the recursion limit is 1000 for both, unless somebody raised it."""
    return sys.version_info >= (3, 12) or sys.getrecursionlimit() > 1000


def _is_deep(line: bytes) -> bool:
    """May it be nested deeper than 1000?"""
    return line.count(b"[") + line.count(b"{") > 1000


def value(part: Any) -> Any:
    """The JSON value of a part."""
    return orjson.loads(memoryview(part) if isinstance(part, Raw) else msgspec.json.encode(part))


def schema(tools: list[Raw], name: str) -> list[Any]:
    """[what it takes] of the first tool of this name."""
    shown = (_shown(tool).function for tool in tools)
    return next(([value(tool.parameters)] for tool in shown if tool.name == name), [])


def names(tools: list[Raw]) -> frozenset[str]:
    """Of all tools."""
    return frozenset([tool.function.name for tool in _tools(b"[%b]" % b",".join(tools))])


@lru_cache(maxsize=2048)
def spelled(tool: bytes) -> str:
    """As orjson writes it, in lower case. The same tools come again and again."""
    return documents([orjson.loads(tool)])


def loosely(turns: list[Json]) -> list[AnyTurn]:
    """The shape of turns, whatever else they hold."""
    return msgspec.convert(turns, list[AnyTurn])


def loosely_said(messages: list[Json]) -> list[AnyMessage]:
    """The shape of messages, whatever else they hold."""
    return msgspec.convert(messages, list[AnyMessage])


def _check(task: Any, objects: list[Any]) -> None:
    """What `records.decode` would refuse, and what is seldom, raises one of `UNUSUAL`."""
    plan = task.plan
    if (plan is not None and plan.__class__ is not list) or task.env["kind"].__class__ is not str:
        raise ValueError
    for item in objects if plan is None else plan + objects:
        if item.__class__ is not dict:
            raise ValueError


def _check_tokens(tokens: Tokens | None) -> None:
    if tokens is not None and not (
        len(tokens.ids) == len(tokens.mask) == len(tokens.ids if tokens.logprobs is None else tokens.logprobs)
    ):
        raise ValueError


def _check_tools(tools: list[Raw]) -> None:
    """They are most of a line, and seldom looked at: checked, and left as they are. What msgspec skips in
    them is JSON, but it may be no UTF-8, or a number without end, as 1e999. The same tools come again and
    again, if not the same lists."""
    if _checked.issuperset(map(bytes, tools)):
        return
    text = b"[%b]" % b",".join(tools)
    if not text.isascii():
        text.decode()
    if _POWER in text.translate(_POWERS):
        orjson.loads(text)
    _tools(text)
    if len(_checked) > MAX_CHECKED:
        _checked.clear()
    if len(text) < MAX_CHARS:
        _checked.update(map(bytes, tools))


MAX_CHECKED, MAX_CHARS = 5000, 20_000
"""Tools that are remembered, and bytes of those of a line."""
_checked: set[bytes] = set()
