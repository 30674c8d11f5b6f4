"""The records that flow between steps: `task`, `trajectory`, `score`, `run`.

One JSON object a line, `"kind"` and `"v"` first, then the known fields in the order below, then keys
we do not know, untouched. Records are frozen; `dataclasses.replace` makes a changed copy. A record
that was read and not changed is written back byte for byte (`raw`).

Nested values (messages, tool schemas, environments) stay plain JSON, so that unknown keys inside
them pass through as well.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from typing import Any, ClassVar, Literal, TypeVar, get_args

import orjson

from tmcli.errors import InputError, did_you_mean

VERSION = 1
Json = dict[str, Any]

Check = Literal["exact", "number", "contains", "set", "judge"]
"""How `score.py` compares a prediction with the golds."""

Status = Literal["ok", "invalid"]
"""`invalid`: the world broke (server, sandbox), so the episode says nothing about the policy."""

Stop = Literal[
    "answer",  # the model wrote <answer>
    "no_call",  # a turn with neither call nor <answer>: its text is the prediction
    "max_turns",  # the turn limit was reached
    "length",  # the token limit of the episode or the model's context was reached
    "refusal",  # the server's safety system or the model refused
    "infrastructure",  # no reply from model, server or tool machinery: status is `invalid`
]
"""Why an episode ended: one closed list for every policy."""

Drop = Literal[
    "invalid_status",
    "role_order",
    "unanswered_call",
    "invented_reply",
    "no_answer",
    "unjudged",
    "wrong_answer",
    "no_calls",
    "protocol",
    "invalid_call",
    "phase_order",
    "no_trial",
    "repeated_trial",
    "wasted_trials",
    "false_experience",
    "unchanged_retry",
    "execution_errors",
    "leak",
    "too_long",
    "too_many_turns",
    "too_many_tokens",
    "language",
    "hinted",
    "expression",
    "contaminated_query",
    "contaminated_tool",
    "duplicate",
    "near_duplicate",
    "near_calls",
    "not_reproduced",
    "judged_no",
    "not_judged",
    "over_task",
    "over_tool",
    "over_stratum",
]
"""Why `filter` dropped a trajectory: one closed list, in the order in which it looks. `filters/rules.py`
explains each."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Record:
    """What all kinds share."""

    kind: ClassVar[str]

    extra: Mapping[str, Any] = field(default_factory=dict)
    """Keys that this version does not know; they pass through every step."""
    raw: bytes | None = field(default=None, init=False, compare=False, repr=False)
    """The line this record was read from; `dataclasses.replace` drops it."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Task(Record):
    """Something to solve, with the tools to solve it and the golds to judge it by."""

    kind: ClassVar[str] = "task"

    id: str
    """Hash of the content (`task_id`), so equal tasks have equal ids everywhere."""
    messages: list[Json]
    """The user's turn, in chat form."""
    tools: list[Json]
    """OpenAI function schemas: what the model is shown, right or (under drift) wrong."""
    env: Json
    """How to run the tools: `kind` and what that environment needs. See `environments/`."""
    answer: list[str]
    """Accepted golds; empty when nobody knows."""
    check: Check = "exact"
    """How a prediction is compared with `answer`."""
    subgoals: dict[str, list[str]] | None = None
    """Tool name -> gold sub-answers its replies should bring (FTRL's `unsolved_set`)."""
    plan: list[Json] | None = None
    """Gold calls `{name, arguments}`; only the scripted expert and metrics may read it."""
    tags: Json = field(default_factory=dict)
    """What to break results down by: `toolbox`, `split` (seen|unseen), `hops`, `drift`."""
    source: str = ""
    """Where the task came from: a suite with its seed, or a data set and row."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Trajectory(Record):
    """One played episode. `messages` + `tools` load in TRL, LLaMA-Factory and axolotl as they are."""

    kind: ClassVar[str] = "trajectory"

    id: str
    """`<task id>#<sample>`."""
    task: Json
    """The whole task record, as JSON (`Task` by `task_of`)."""
    messages: list[Json]
    """system, user, then assistant (with `tool_calls`, arguments as objects) and tool turns. `weight` 0 on
    an assistant message: not to be trained on."""
    tools: list[Json]
    """The schemas the model was shown."""
    turns: list[Json]
    """Per assistant turn: `phase`, `state` (ok|repaired|invalid), `calls` [name, arguments, ok, error], and
    `hint`: true where it was sent back as wrong; with `--timed` also `ms` and `tools_ms`, its wall time."""
    prediction: str | None
    """The final answer as written; None when the episode ended without one."""
    stop: Stop
    status: Status = "ok"
    failure: str | None = None
    """What broke, when `status` is `invalid`."""
    reward: float | None = None
    """Weighted sum of `scores`; None means *could not be judged* and is never read as 0."""
    scores: Json = field(default_factory=dict)
    """Named parts, each a number or None."""
    usage: Json = field(default_factory=dict)
    """`prompt_tokens`, `completion_tokens`, `turns`, and `cost` where prices are known."""
    policy: Json = field(default_factory=dict)
    """`name`, `sampling`, `limits`, `simulate` where a simulator answered for tools, and `key`: the hash of
    all options that shaped this episode."""
    tokens: Json | None = None
    """`ids`, `mask` (1 = sampled by the model), `logprobs`: equal lengths, checked on writing; and
    `vocabulary` and `template`, the hashes of the tokenizer's vocabulary and chat template they belong to."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Score(Record):
    """One judged trajectory."""

    kind: ClassVar[str] = "score"

    id: str
    """The trajectory's id."""
    task_id: str
    """The id of the task it was played on."""
    correct: bool | None
    """None: could not be judged."""
    scores: Json
    """Metric name -> number or None."""
    calls: int
    """Tool calls made."""
    errors: int
    """Calls that the tool answered with an error, or that could not be read."""
    stop: Stop
    tags: Json
    """The task's tags."""
    policy: Json
    """The trajectory's policy."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Run(Record):
    """A finished step in one line, so that training composes in pipes too."""

    kind: ClassVar[str] = "run"

    step: str
    """The command."""
    options: Json
    """Its resolved options."""
    versions: Json
    """tm, Python and the libraries that shape the result."""
    counts: Json
    """Records in, out, dropped by reason; steps trained; groups skipped."""
    seconds: float
    """How long it took."""
    output: str | None = None
    """Where the result lies: a file, or a checkpoint folder."""
    metrics: Json = field(default_factory=dict)
    """What the step measured: losses, rewards, accuracies with intervals."""


AnyRecord = Task | Trajectory | Score | Run
R = TypeVar("R", Task, Trajectory, Score, Run)
KINDS: dict[str, type[AnyRecord]] = {cls.kind: cls for cls in (Task, Trajectory, Score, Run)}


def known_fields(cls: type[AnyRecord]) -> list[str]:
    """Field names in the order they are written."""
    return [f.name for f in fields(cls) if f.name not in ("extra", "raw")]


def encode(record: AnyRecord) -> bytes:
    """One line without its newline; the bytes it was read from when nothing changed.

    Raises `InputError` when `tokens` has lists of different lengths, or a value is not JSON.
    """
    if record.raw is not None:
        return record.raw
    check_tokens(record)
    try:
        return orjson.dumps(to_json(record))
    except (TypeError, orjson.JSONEncodeError) as error:
        raise InputError(f"record {getattr(record, 'id', '')} is not JSON: {error}") from error


def to_json(record: AnyRecord) -> Json:
    """The record as a JSON object in canonical key order. Optional fields that are None are left
    out, except `prediction`, `reward` and `correct`, where null says something."""
    out: Json = {"kind": record.kind, "v": VERSION}
    for name in known_fields(type(record)):
        value = getattr(record, name)
        if value is None and name not in ("prediction", "reward", "correct"):
            continue
        out[name] = value
    out.update(record.extra)
    return out


def decode(line: bytes) -> AnyRecord:
    """Read one line. Raises `InputError` with the field and the remedy (the place is the reader's)."""
    try:
        value = orjson.loads(line)
    except orjson.JSONDecodeError as error:
        raise InputError(*_explain(line, error)) from error
    record = from_json(value)
    object.__setattr__(record, "raw", line)
    return record


def from_json(value: Any) -> AnyRecord:
    """A JSON value -> a record. Raises `InputError` with the field and the remedy."""
    if not isinstance(value, dict):
        raise InputError(f"the line holds a JSON {_name(value)}, not an object", "write one record a line")
    kind = value.get("kind")
    cls = KINDS.get(kind) if isinstance(kind, str) else None
    if cls is None:
        wrong = "has no kind" if kind is None else f"is of unknown kind {kind!r}"
        raise InputError(f"the record {wrong}", did_you_mean(str(kind), KINDS), field="kind")
    version = value.get("v")
    if version != VERSION or isinstance(version, bool):
        raise InputError(
            f"record version {version!r} is not {VERSION}",
            "write it again with this version of tm" if version else f'add "v": {VERSION}',
            field="v",
        )
    known: Json = {}
    extra: Json = {}
    checks = _FIELDS[cls.kind]
    for key, item in value.items():
        if key in checks:
            known[key] = checks[key](key, item)
        elif key not in ("kind", "v"):
            extra[key] = item
    missing = [name for name in _REQUIRED[cls.kind] if name not in known]
    if missing:
        raise InputError(f"the {kind} record lacks it", f"add {missing[0]!r}", field=missing[0])
    return cls(**known, extra=extra)


def expect(record: AnyRecord, cls: type[R]) -> R:
    """The record as `cls`, or `InputError` naming the step that makes such records."""
    if isinstance(record, cls):
        return record
    maker = {"task": "tm tasks", "trajectory": "tm synth or tm rollout", "score": "tm eval"}
    raise InputError(
        f"a {record.kind} record where a {cls.kind} is due",
        f"{maker.get(cls.kind, 'tm sft or tm rl')} makes {cls.kind} records",
        field="kind",
    )


def new_task(*, messages: list[Json], tools: list[Json], env: Json, answer: list[str], **more: Any) -> Task:
    """A task whose id is the hash of its content."""
    task = Task(id="", messages=messages, tools=tools, env=env, answer=answer, **more)
    return Task(
        id=task_id(task),
        extra=task.extra,
        **{name: getattr(task, name) for name in known_fields(Task) if name != "id"},
    )


def task_id(task: Task) -> str:
    """Hash of what is asked, shown, run and accepted; tags, plan and source do not change it."""
    return digest([task.messages, task.tools, task.env, task.answer, task.check])


def task_of(trajectory: Trajectory) -> Task:
    """The task a trajectory was played on. Raises `InputError` when it is not a task record."""
    return expect(from_json(trajectory.task), Task)


def digest(value: Any) -> str:
    """16 hex digits of SHA-256 over canonical JSON (sorted keys)."""
    return hashlib.sha256(orjson.dumps(value, option=orjson.OPT_SORT_KEYS)).hexdigest()[:16]


def check_tokens(record: AnyRecord) -> None:
    """Token ids, mask and log-probs of a trajectory belong together, one for one."""
    if isinstance(record, Trajectory) and record.tokens is not None:
        _same_lengths(record.tokens)


def _same_lengths(tokens: Json) -> None:
    lengths = {key: len(tokens[key]) for key in ("ids", "mask", "logprobs") if tokens.get(key) is not None}
    if "ids" not in lengths or "mask" not in lengths or len(set(lengths.values())) != 1:
        raise InputError(
            f"ids, mask and logprobs differ in length: {lengths}",
            "drop this record; it would train the wrong tokens",
            field="tokens",
        )


# ---- checks: (field, value) -> value, or InputError --------------------------------------------

Checker = Callable[[str, Any], Any]


def _name(value: Any) -> str:
    names = {dict: "object", list: "array", str: "string", bool: "boolean", type(None): "null"}
    return names.get(type(value), "number")


def _wrong(name: str, value: Any, due: str) -> InputError:
    return InputError(f"a JSON {_name(value)} where {due} is due", "correct or drop the record", field=name)


def _string(name: str, value: Any) -> str:
    if isinstance(value, str):
        return value
    raise _wrong(name, value, "a string")


def _object(name: str, value: Any) -> Json:
    if isinstance(value, dict):
        return value
    raise _wrong(name, value, "an object")


def _number(name: str, value: Any) -> float:
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        return float(value)
    raise _wrong(name, value, "a number")


def _integer(name: str, value: Any) -> int:
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    raise _wrong(name, value, "a whole number")


def _boolean(name: str, value: Any) -> bool:
    if isinstance(value, bool):
        return value
    raise _wrong(name, value, "true or false")


def _optional(check: Checker) -> Checker:
    return lambda name, value: None if value is None else check(name, value)


def _list(check: Checker) -> Checker:
    def run(name: str, value: Any) -> list[Any]:
        if not isinstance(value, list):
            raise _wrong(name, value, "an array")
        for i, item in enumerate(value):
            check(f"{name}[{i}]", item)
        return value

    return run


def _one_of(words: tuple[str, ...]) -> Checker:
    def run(name: str, value: Any) -> str:
        if value in words:
            return str(value)
        raise InputError(f"{value!r} is not allowed", did_you_mean(str(value), words), field=name)

    return run


ROLES = ("system", "developer", "user", "assistant", "tool")


def _message(name: str, value: Any) -> Json:
    message = _object(name, value)
    _one_of(ROLES)(f"{name}.role", message.get("role"))
    content = message.get("content")
    if content is not None and not isinstance(content, str):
        raise _wrong(f"{name}.content", content, "a string (text only)")
    calls = message.get("tool_calls")
    if calls is not None and not isinstance(calls, list):
        raise _wrong(f"{name}.tool_calls", calls, "an array")
    for i, call in enumerate(calls or []):
        at = f"{name}.tool_calls[{i}]"
        function = _object(f"{at}.function", _object(at, call).get("function"))
        _string(f"{at}.function.name", function.get("name"))
    return message


def _tool(name: str, value: Any) -> Json:
    function = _object(f"{name}.function", _object(name, value).get("function"))
    _string(f"{name}.function.name", function.get("name"))
    return _object(name, value)


def _environment(name: str, value: Any) -> Json:
    _string(f"{name}.kind", _object(name, value).get("kind"))
    return _object(name, value)


def _turn(name: str, value: Any) -> Json:
    turn = _object(name, value)
    _one_of(("trial", "execution"))(f"{name}.phase", turn.get("phase"))
    for i, call in enumerate(_list(_object)(f"{name}.calls", turn.get("calls"))):
        _string(f"{name}.calls[{i}].name", call.get("name"))
    return turn


def _subgoals(name: str, value: Any) -> dict[str, list[str]]:
    for tool, golds in _object(name, value).items():
        _list(_string)(f"{name}.{tool}", golds)
    return _object(name, value)


def _tokens(name: str, value: Any) -> Json:
    tokens = _object(name, value)
    for key in ("ids", "mask"):
        _list(_integer)(f"{name}.{key}", tokens.get(key))
    if tokens.get("logprobs") is not None:
        _list(lambda _, value: value)(f"{name}.logprobs", tokens["logprobs"])
    _same_lengths(tokens)
    return tokens


_STOP = _one_of(get_args(Stop))
_FIELDS: dict[str, dict[str, Checker]] = {
    "task": {
        "id": _string,
        "messages": _list(_message),
        "tools": _list(_tool),
        "env": _environment,
        "answer": _list(_string),
        "check": _one_of(get_args(Check)),
        "subgoals": _optional(_subgoals),
        "plan": _optional(_list(_object)),
        "tags": _object,
        "source": _string,
    },
    "trajectory": {
        "id": _string,
        "task": _object,
        "messages": _list(_message),
        "tools": _list(_tool),
        "turns": _list(_turn),
        "prediction": _optional(_string),
        "stop": _STOP,
        "status": _one_of(get_args(Status)),
        "failure": _optional(_string),
        "reward": _optional(_number),
        "scores": _object,
        "usage": _object,
        "policy": _object,
        "tokens": _optional(_tokens),
    },
    "score": {
        "id": _string,
        "task_id": _string,
        "correct": _optional(_boolean),
        "scores": _object,
        "calls": _integer,
        "errors": _integer,
        "stop": _STOP,
        "tags": _object,
        "policy": _object,
    },
    "run": {
        "step": _string,
        "options": _object,
        "versions": _object,
        "counts": _object,
        "seconds": _number,
        "output": _optional(_string),
        "metrics": _object,
    },
}
_REQUIRED: dict[str, list[str]] = {
    "task": ["id", "messages", "tools", "env", "answer"],
    "trajectory": ["id", "task", "messages", "tools", "turns", "prediction", "stop"],
    "score": ["id", "task_id", "correct", "scores", "calls", "errors", "stop", "tags", "policy"],
    "run": ["step", "options", "versions", "counts", "seconds"],
}


def _explain(line: bytes, error: orjson.JSONDecodeError) -> tuple[str, str]:
    try:
        line.decode("utf-8")
    except UnicodeDecodeError as wrong:
        return f"byte {wrong.start + 1} is not UTF-8", "save the file as UTF-8"
    if "depth limit" in error.msg:
        return "the JSON is nested too deep", "flatten or drop the record"
    return f"not JSON: {error.msg} at column {error.colno}", "correct the line, or cut a torn last line"
