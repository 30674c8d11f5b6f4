"""`--keep EXPR`: one's own rule over a record's fields, in CEL (https://cel.dev), never `eval`.

    check = expression("n_errors <= 2 && task.tags.hops >= 3")
    check(view)                     # None: kept; "": dropped

An expression sees the fields of the trajectory (`messages`, `task`, `usage`, ...; those that are left out are
null), the whole of it as `record`, and what `NAMES` computes. Only what it names is looked at. CEL has no
loops but those over lists, no side effects, and regular expressions in linear time; `1 < 1.5` compares
numbers of both kinds. A field that is not there is an error of the record, never a silent no:
`has(task.plan)` asks first.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import partial
from keyword import iskeyword
from typing import TYPE_CHECKING, Any, get_args

from tmcli.errors import InputError, UsageError, did_you_mean
from tmcli.records import Drop, Trajectory, known_fields

if TYPE_CHECKING:
    import cel

    from tmcli.filters.view import View

MAX_CHARS = 4000
"""A longer expression is no rule but a program."""

MAX_LOOPS = 3
"""Loops in loops: no Ctrl-C gets through to CEL while it counts."""

NAMES: dict[str, Callable[[View], Any]] = {
    "correct": lambda view: view.correct,
    "question": lambda view: view.question,
    "n_turns": lambda view: len(view.turns),
    "n_calls": lambda view: len(view.calls),
    "n_trials": lambda view: sum(call.phase == "trial" for call in view.calls),
    "n_errors": lambda view: sum(not call.ok for call in view.calls),
    "n_tools": lambda view: len(view.tools),
    "n_chars": lambda view: sum(len(message.get("content") or "") for message in view.messages),
    "n_hints": lambda view: sum(bool(turn.get("hint")) for turn in view.turns),
}
"""What is computed when it is named. `correct` is null where nobody knows; `n_trials` are calls."""

FIELDS = known_fields(Trajectory)
OBJECTS = ("task", "scores", "usage", "policy")
"""Those that are objects wherever they are."""
RECORD = "record"

FUNCTIONS = frozenset(
    "size contains startsWith endsWith matches int uint double string bytes type timestamp duration".split()
)
"""What CEL itself brings; macros (`all`, `exists`, `exists_one`, `map`, `filter`) are none by then."""

_BOUND = re.compile(r"\.\s*(?:all|exists|exists_one|map|filter)\s*\(\s*([A-Za-z_]\w*)\s*,")
_STRING = re.compile(
    r"""[rRbB]*(?:'{3}.*?'{3}|"{3}.*?"{3}|'(?:[^'\\\n]|\\.)*'|"(?:[^"\\\n]|\\.)*")""", re.DOTALL
)
_LOOP = re.compile(r"(\.\s*(?:all|exists|exists_one|map|filter)\s*)?\(|\)")
_PATTERN = re.compile(rf"\.\s*matches\s*\(\s*({_STRING.pattern})\s*\)", re.DOTALL)
_PLACE = re.compile(r"<input>:(\d+):(\d+): (?:Syntax error: )?([^\n]*)")
_EXPECTING = re.compile(r" expecting \{.*|!$")


def expression(text: str) -> Callable[[View], str | None]:
    """The check of `--keep text`. Raises `UsageError` where it cannot be read, names what nobody knows, or is
    the name of a rule; the check raises `InputError` for a record that it does not fit."""
    _refuse_rules(text)
    program = _compiled(text)
    wanted = _wanted(text, program)
    _refuse_endless(text)
    _refuse_patterns(text)
    fields = {name: _parts(text, name) for name in FIELDS if name in wanted}
    read = partial(_touched, _decoder(fields)) if fields else None
    computed = {name: NAMES[name] for name in NAMES if name in wanted}

    def check(view: View) -> str | None:
        known = read(view.line) if read is not None else {}
        if RECORD in wanted:
            known[RECORD] = _whole(view.line)
        known |= {name: make(view) for name, make in computed.items()}
        try:
            said = program.execute(known)
        except Exception as error:  # whatever CEL raises: it says no more than these two sentences
            problem, remedy = _unfit(error, text)
            raise InputError(f"trajectory {view.id}: --keep {problem}", remedy) from error
        if not isinstance(said, bool):
            raise InputError(
                f"trajectory {view.id}: --keep gives {_kind(said)}, not true or false", "compare it, as x > 0"
            )
        return None if said else ""

    return check


def _refuse_rules(text: str) -> None:
    """`--keep REASON` was another option once."""
    words = [word.strip() for word in text.split(",")]
    if all(word in get_args(Drop) for word in words):
        raise UsageError(
            f"--keep {text}: that is a rule, and --keep takes an expression over a record's fields",
            f"--no-rule {','.join(words)} lets them through",
        )


def _refuse_endless(text: str) -> None:
    loops: list[bool] = []
    for found in _LOOP.finditer(_STRING.sub("''", text)):
        if found[0] != ")":
            loops.append(found[1] is not None)
        elif loops:
            loops.pop()
        if sum(loops) > MAX_LOOPS:
            raise UsageError(
                f"--keep loops over lists inside {MAX_LOOPS} others, which may take forever", "nest fewer"
            )


def _refuse_patterns(text: str) -> None:
    """A wrong one is no record's fault."""
    import cel

    for literal in _PATTERN.findall(text):
        try:
            cel.compile(f"''.matches({literal})").execute({})
        except Exception as error:
            said = " ".join(str(error).split()).rpartition("error: ")[2].partition(". Check")[0]
            raise UsageError(
                f"--keep: {literal[:100]} is no regular expression: {said[:200]}", "write it as RE2 reads it"
            ) from error


def _compiled(text: str) -> cel.Program:
    import cel

    if len(text) > MAX_CHARS:
        raise UsageError(f"--keep has {len(text)} characters, at most {MAX_CHARS} are read", "say it shorter")
    try:
        return cel.compile(text)
    except Exception as error:
        raise UsageError(*_unread(text, str(error))) from error


def _unread(text: str, said: str) -> tuple[str, str]:
    """CEL's words for what it cannot read, and its mark under the place. Where a choice lacks its other half
    it first says so of the whole."""
    found = [(int(line), int(at), what) for line, at, what in _PLACE.findall(said)]
    line, at, what = next((one for one in found if "Incomplete" not in one[2]), (1, 1, "it cannot be read"))
    what = _EXPECTING.sub("", what).replace("'<EOF>'", "its end")
    if inside := re.search(r'msg: "([^"]*)"', what):  # how its reader says that it is nested too deep
        what = inside[1]
    lines = text.split("\n")
    shown = lines[min(line, len(lines)) - 1]
    start = max(0, at - 40)
    mark = f"{shown[start : at - 1]} --> {shown[at - 1 : at + 39]}".strip()
    place = f"character {at}" if "\n" not in text else f"line {line}, character {at}"
    return f"--keep cannot be read at {place} ({mark}): {what}", "write CEL, as n_turns <= 8 && correct"


def _wanted(text: str, program: cel.Program) -> set[str]:
    """The names of ours that it needs. Raises `UsageError` for one that nobody knows."""
    bound = set(_BOUND.findall(text))
    known = [*FIELDS, *NAMES, RECORD]
    for name in program.variables():
        if name not in known and name not in bound:
            remedy = f"{did_you_mean(name, known)}; other keys are record.{name}"
            raise UsageError(f"--keep: no field is called {name!r}", remedy)
    for name in program.functions():
        if name.isidentifier() and name not in FUNCTIONS:
            raise UsageError(f"--keep: no function is called {name!r}", did_you_mean(name, FUNCTIONS))
    return set(program.variables())


def _parts(text: str, name: str) -> set[str]:
    """The parts of an object field that are named, where no more of it is: CEL is slow to take in all of a
    task. None are named where all of it may be needed."""
    if name not in OBJECTS:
        return set()
    parts = re.findall(rf"(?<![\w.]){name}\b(?:\.([A-Za-z]\w*))?", text)
    return set() if any(not part or iskeyword(part) for part in parts) else set(parts)


def _decoder(fields: dict[str, set[str]]) -> Any:
    """Decodes these fields of a line, or those parts of them, and passes over the others."""
    import msgspec

    def part(name: str) -> Any:
        return msgspec.defstruct(name, [(one, Any, msgspec.UNSET) for one in sorted(fields[name])])

    made = [(name, part(name) if fields[name] else Any, None) for name in fields]
    return msgspec.json.Decoder(msgspec.defstruct("Touched", made))


def _touched(decoder: Any, line: bytes) -> dict[str, Any]:
    import msgspec

    known: dict[str, Any] = msgspec.to_builtins(decoder.decode(line))  # without what is not there
    return known


def _whole(line: bytes) -> Any:
    import orjson

    return orjson.loads(line)


def _unfit(error: Exception, text: str) -> tuple[str, str]:
    """What is wrong with one record, and what to write instead."""
    if isinstance(error, KeyError):
        key = str(error.args[0]).strip("'\"")[:100] if error.args else ""
        path = re.search(rf"[A-Za-z_][\w.]*\.{re.escape(key)}\b", text)
        return (
            f"finds no {key!r} in it",
            f"ask first, as has({path[0][:200] if path else 'task.plan'}) && ...",
        )
    said = " ".join(str(error).split())
    if isinstance(error, TypeError) and "overload" in said:
        said = "does something with a value of the wrong type, or with null"
        return said, "ask first, as prediction != null && ...; 1 and '1' differ"
    return f"fails: {said.partition('. Check')[0][:200]}", "ask first whether the value is there and fits"


def _kind(value: Any) -> str:
    names = {dict: "an object", list: "a list", str: "a text", type(None): "null"}
    return names.get(type(value), "a number")
