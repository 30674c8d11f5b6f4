"""The trial-and-execution protocol: the only module that knows the markup.

One assistant turn is optional tags in this order, then tool calls:

    <experience>what I learned</experience>     after replies to a trial
    <trial>why I try this</trial>               + calls: this is a *trial* turn
    <plan>next step, or what went wrong</plan>  + calls: this is an *execution* turn
    <answer>final answer</answer>               ends the episode

A call is `<tool_call>{"name": ..., "arguments": {...}}</tool_call>`, the form of the Hermes and Qwen
templates. ToolMaster's own markup is not public: these tags are ours.

Parsing never raises. A call that cannot be read becomes a `Fault`, which the episode feeds back to
the model as a tool error.
"""

from __future__ import annotations

import ast
import re
import warnings
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from functools import cache
from importlib import resources
from typing import Any, Literal

import orjson

Phase = Literal["trial", "execution"]
State = Literal["ok", "repaired", "invalid"]
Style = Literal["trial", "direct", "propose", "closed"]
"""`trial`: try, learn, execute. `direct`: the golden-path baseline without trials. To make tasks: `propose`
one of one's own, and `closed`, an answer without any tool."""

TAGS = ("experience", "trial", "plan", "answer")
CALL_OPEN, CALL_CLOSE = "<tool_call>", "</tool_call>"
RESPONSE_OPEN, RESPONSE_CLOSE = "<tool_response>", "</tool_response>"
"""A tool's reply where it travels as text."""
THINK_OPEN, THINK_CLOSE = "<think>", "</think>"
ANSWER_CLOSE = "</answer>"
CANNOT = "cannot be done"
"""The right answer where the tools cannot bring one. The prompts say so."""
MAX_CALL_CHARS = 20_000
"""A longer call is refused unread: model text is hostile and parsing must stay cheap."""
MAX_CALL_DEPTH = 64
"""A deeper call is refused: what reads it next may not get to its bottom."""

_NEXT = rf"(?=<(?:{'|'.join(TAGS)}|tool_call)>)"
_TAG = {tag: re.compile(rf"<{tag}>(.*?)(?:</{tag}>|{_NEXT}|\Z)", re.DOTALL) for tag in TAGS}
_CALL = re.compile(rf"{CALL_OPEN}(.*?)(?:{CALL_CLOSE}|(?={CALL_OPEN})|\Z)", re.DOTALL)
_THOUGHTS = re.compile(r"<think>(.*?)(?:</think>|\Z)", re.DOTALL)
_MARKUP = re.compile(rf"</?(?:{'|'.join(TAGS)}|tool_call|tool_response)>")


@dataclass(frozen=True, slots=True)
class Call:
    """One tool call the model made."""

    name: str
    arguments: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Fault:
    """A call that could not be read, and the sentence the model is told about it."""

    text: str
    error: str


@dataclass(frozen=True, slots=True)
class Turn:
    """One assistant turn, read."""

    phase: Phase
    text: str
    """The turn as written, without the calls that could be read; unreadable ones stay in it."""
    calls: tuple[Call, ...] = ()
    faults: tuple[Fault, ...] = ()
    state: State = "ok"
    tags: dict[str, str] = field(default_factory=dict)
    """Tag name -> its text, for the tags the turn holds."""

    @property
    def answer(self) -> str | None:
        """The text of `<answer>`, or None."""
        return self.tags.get("answer")


def parse(content: str) -> Turn:
    """Read an assistant turn written as text.

    >>> turn = parse('<trial>see</trial><tool_call>{"name": "f", "arguments": {"a": 1}}</tool_call>')
    >>> turn.phase, turn.calls[0].name, turn.calls[0].arguments, turn.state
    ('trial', 'f', {'a': 1}, 'ok')
    >>> parse('<tool_call>{"name": "f", "arguments": {"a": 1}</tool_call>').state
    'repaired'
    >>> parse('<tool_call>f(1)</tool_call>').faults[0].error
    'the call is not a JSON object with "name" and "arguments"'
    """
    calls: list[Call] = []
    faults: list[Fault] = []
    state: State = "ok"
    said: list[str] = []
    end = 0
    for match, call in _calls(content):
        if isinstance(call, Fault):
            faults.append(call)
            state = "invalid"
            continue
        said.append(content[end : match.start()])
        end = match.end()
        calls.append(call[0])
        if state == "ok" and (call[1] or not match.group(0).endswith(CALL_CLOSE)):
            state = "repaired"
    text = "".join([*said, content[end:]]).rstrip()
    return describe(text, tuple(calls), tuple(faults), state)


def call_ends(content: str) -> list[tuple[str, int]]:
    """Name and end of each call that `parse` reads; the end of one that nothing closes is its last word's.

    >>> call_ends('<tool_call>{"name": "f"}</tool_call> <tool_call>?</tool_call>')
    [('f', 36)]
    """
    return [
        (call[0].name, len(content[: match.end()].rstrip()))
        for match, call in _calls(content)
        if not isinstance(call, Fault)
    ]


def _calls(content: str) -> Iterator[tuple[re.Match[str], tuple[Call, bool] | Fault]]:
    return ((match, read_call(match.group(1))) for match in _CALL.finditer(content))


def strays(content: str) -> bool | None:
    """Does a turn go on after its last call or its answer, with anything but a further call? None: neither
    was closed yet.

    >>> strays('<tool_call>{}'), strays('<tool_call>{}</tool_call> <tool_c'), strays("<answer>4</answer> So")
    (None, False, True)
    """
    called, answered = content.rfind(CALL_CLOSE), content.rfind(ANSWER_CLOSE)
    if max(called, answered) < 0:
        return None
    if answered > called:
        return bool(content[answered + len(ANSWER_CLOSE) :].strip())
    rest = content[called + len(CALL_CLOSE) :].strip()
    if rest.startswith(CALL_OPEN):
        return None
    return not CALL_OPEN.startswith(rest)


def describe(
    text: str, calls: tuple[Call, ...] = (), faults: tuple[Fault, ...] = (), state: State = "ok"
) -> Turn:
    """A turn whose calls are already known (native tool calls of a server, or `parse`)."""
    tags = {tag: m.group(1).strip() for tag, pattern in _TAG.items() if (m := pattern.search(text))}
    if state == "ok" and any(f"</{tag}>" not in text for tag in tags):
        state = "repaired"
    phase: Phase = "trial" if "trial" in tags else "execution"
    return Turn(phase, text, calls, faults, "invalid" if faults else state, tags)


def read_call(text: str) -> tuple[Call, bool] | Fault:
    """One call body -> (call, was it repaired) or a Fault.

    Tolerated, and counted as repaired: missing closing braces, Python literals, a ```json fence,
    `parameters` for `arguments`, arguments given as JSON text.
    """
    body = text.strip()
    if len(body) > MAX_CALL_CHARS:
        return Fault(body[:200], f"the call is longer than {MAX_CALL_CHARS} characters")
    repaired = False
    value = _json(body)
    if value is None:
        repaired = True
        body = body.removeprefix("```json").removeprefix("```").removesuffix("```").strip()
        value = _json(body)
        for missing in ("}", "}}", '"}}'):
            value = value if value is not None else _json(body + missing)
        value = value if value is not None else _literal(body)
    if not isinstance(value, dict) or not isinstance(value.get("name"), str):
        return Fault(body[:200], 'the call is not a JSON object with "name" and "arguments"')
    arguments = value.get("arguments")
    if arguments is None and "parameters" in value:
        arguments, repaired = value["parameters"], True
    if isinstance(arguments, str):
        arguments, repaired = _json(arguments), True
    if arguments is None and "arguments" not in value:
        arguments, repaired = {}, True
    if not isinstance(arguments, dict):
        return Fault(body[:200], f'"arguments" of {value["name"][:100]} is not a JSON object')
    if _deep(arguments):
        return Fault(body[:200], f"the call is nested deeper than {MAX_CALL_DEPTH} levels")
    return Call(value["name"], arguments), repaired


def write_call(name: str, arguments: dict[str, Any]) -> str:
    """The markup of one call, spaced as the Hermes and Qwen templates' `tojson` spaces it.

    >>> write_call("f", {"a": 1})
    '<tool_call>{"name": "f", "arguments": {"a": 1}}</tool_call>'
    """
    import json  # orjson has no spaced form, and templates write one

    body = json.dumps({"name": name, "arguments": arguments}, ensure_ascii=False)
    return f"{CALL_OPEN}{body}{CALL_CLOSE}"


def write_response(content: str) -> str:
    """A tool's reply as text, in a user's turn.

    >>> write_response("1")
    '<tool_response>\\n1\\n</tool_response>'
    """
    return f"{RESPONSE_OPEN}\n{content}\n{RESPONSE_CLOSE}"


def tools_text(tools: Iterable[str]) -> str:
    """What a model is told of its tools, a line each, and of calls as text; nothing where there are none."""
    lines = "\n".join(tools)
    return prompt("tools").replace("{tools}", lines) if lines else ""


def split_thoughts(content: str) -> tuple[str, str]:
    """(thoughts, what was said) of a model that thinks aloud in `<think>`: no markup counts in there. Where
    the chat template opened the tag already, all before `</think>` is thought.

    >>> split_thoughts("<think>maybe <answer>4</answer>?</think><answer>5</answer>")
    ('maybe <answer>4</answer>?', '<answer>5</answer>')
    >>> split_thoughts("hm</think>5")
    ('hm', '5')
    """
    if "think>" not in content:
        return "", content
    opened, closed, _ = content.partition("</think>")
    if closed and "<think>" not in opened:
        content = f"<think>{content}"
    thoughts = [match.group(1) for match in _THOUGHTS.finditer(content)]
    return "\n".join(thoughts), _THOUGHTS.sub("", content)


def strip_markup(text: str) -> str:
    """Text without our tags (what a model that ignored the protocol said as its answer)."""
    return _MARKUP.sub(" ", text).strip()


@cache
def prompt(name: str) -> str:
    """A prompt text of `prompts/`: what the student is shown (`trial`, `direct`), what a model that was
    not trained on it is told instead (`teacher`), and what a wrong answer is sent back with (`hint`)."""
    return resources.files("tmcli").joinpath("prompts", f"{name}.txt").read_text("utf-8").strip()


def _deep(value: Any) -> bool:
    """Is this nested deeper than a call may be?"""
    level = [value]
    for _ in range(MAX_CALL_DEPTH):
        level = [part for item in level if isinstance(item, dict | list) for part in _parts(item)]
        if not level:
            return False
    return True


def _parts(value: dict[str, Any] | list[Any]) -> Iterable[Any]:
    return value.values() if isinstance(value, dict) else value


def _json(text: str) -> Any:
    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError:
        return None


def _literal(text: str) -> Any:
    """A Python literal as JSON; what JSON cannot hold (sets, bytes, number keys) is None."""
    try:
        with warnings.catch_warnings():  # the compiler warns about the model's text on stderr
            warnings.simplefilter("ignore")
            value = ast.literal_eval(text)
        return orjson.loads(orjson.dumps(value))
    except (ValueError, SyntaxError, MemoryError, RecursionError, TypeError):
        return None
