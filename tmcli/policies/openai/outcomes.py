"""What a server's answer means: the one table. Nothing else decides what an answer comes to.

    outcome = read(status, data)          # one HTTP answer; never raises
    outcome.then                          # "said": outcome.choice is what the model said

What came over HTTP (first row that fits; a status inside of an error object counts as the answer's):

    2xx, a choice with a message                          said       wire.py reads it, see below
    2xx, a choice that ends in error or abort             again
    2xx, anything else (malformed, empty, no choice)      again
    402; "insufficient quota", "insufficient balance"     quota      the run ends, --resume goes on
    context length exceeded, prompt too long; 413         said       cut before a word: stop `length`
    content filter, flagged by moderation                 said       stop `refusal`
    4xx, a sampling option is not supported               without    asked again without it, said once
    4xx, a reasoning field in messages is refused         without    the same
    4xx, the value of a sampling option is refused        option     the run ends
    4xx or 5xx, "does not support tools" and the like     no_tools   probe: text; `native`: the run ends
    other 400, 404, 422, 501 that speaks of tools         bad_tools  probe: text; else the episode is invalid
    408, 409, 425, 429, 5xx (overload)                    again
    401, 403                                              key        the run ends
    404, 405                                              model      the run ends
    3xx                                                   moved      the run ends
    any other 4xx                                         failed     the episode is invalid

What a choice says, and what the model is told (wire.py, text.py):

    a refusal, finish `content_filter`, `refusal`...      ends as `refusal`
    finish `length`, `max_tokens`, mid tool call too      ends as `length`; an <answer> that is closed counts
    no content and no call; reasoning only                ends as `no_call`, no prediction
    calls, whatever finish says (`stop` too)              made, and answered under the server's ids, in order
    calls and text                                        both kept; calls repeated in the text are cut
    calls written as text only                            read by protocol.py, sent back as calls
    `function_call`, the old form                         a call
    several calls at once                                 made at once; beyond the episode's limit: told so
    a call to an unknown tool                             made: the environment tells "unknown tool 'x'; tools
                                                          are: ..."
    arguments that are not JSON, or no object             not made; told '"arguments" of f is not a JSON
                                                          object; write the call again'
    arguments that lack braces, Python literals           made as meant; the turn is `repaired`
    arguments too long, or nested too deeply              not made; told so
    a call without a name, or that is no call             not made; told "the call names no function"
    an id that is missing, doubled, or no text            replaced by ours; each call has one reply
    reasoning fields; <think>...</think> in the content   kept in the record, no markup and no answer in it;
                                                          sent back as it was said
    <tool_response> written by the model                  cut there: no tool said that; `repaired`
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from typing import Any, Literal

import orjson

from tmcli.errors import PolicyFailure, RunError, TmError, UsageError
from tmcli.policies import Finish
from tmcli.records import Json

Then = Literal[
    "said", "again", "quota", "key", "model", "moved", "option", "failed", "without", "no_tools", "bad_tools"
]

OPTIONS = ("seed", "top_p", "stop", "temperature", "max_completion_tokens", "max_tokens")
"""What a server may refuse and can be asked without; of two named at once the first is left out."""
REASONING = ("reasoning_content", "reasoning_details", "reasoning")
"""Where servers put a model's thoughts: kept in the record, and sent back within the episode (DeepSeek and
OpenRouter want them, Groq refuses them)."""

PASSING = (408, 409, 425, 429)
CUT = ("length", "max_tokens", "model_length")
REFUSED = ("content_filter", "refusal", "safety", "prohibited_content", "recitation", "blocklist")
BROKEN = ("error", "abort", "insufficient_system_resource")
"""Finish reasons, in small letters: OpenAI's, Anthropic's, Gemini's, DeepSeek's, OpenRouter's and vLLM's."""

_QUOTA = re.compile(
    r"insufficient.(?:quota|balance|credits?|funds)|credit balance|billing_(?:hard|not)", re.I
)
_CONTEXT = re.compile(
    r"context.?(?:length|window|size)|(?:prompt|input|request).{0,20} too (?:long|large)"
    r"|reduce the length|too many (?:input )?tokens|could not finish the message because max_tokens",
    re.I,
)
_FILTER = re.compile(r"content.?(?:filter|policy|management policy)|flagged", re.I)
_REFUSES = re.compile(
    r"unsupported|not (?:be )?(?:supported|permitted|allowed|included)|(?:n.t|not) (?:support|accept|allow)"
    r"|un(?:recognized|known|expected)|extra.(?:inputs?|fields?|forbidden)|deprecated|both be specified",
    re.I,
)
_T = r"(?:tools?|tool_choice|functions?|(?:tool|function).?(?:us|call|choice)\w*)"
_NO_TOOLS = re.compile(
    rf"enable-auto-tool-choice|requires? --jinja|endpoints found that support tool"
    rf"|(?:n.t|not) support\w* (?:the )?['\"`]?{_T}\b"
    rf"|(?:unsupported|unrecognized|unknown|extra_forbidden).{{0,40}}['\"`: ]{_T}['\"`]?(?:$|[^\w ])"
    rf"|(?:^|[\s'\"`]){_T}['\"`]? (?:is|are) (?:not (?:support|avail|enabl|permit|allow)|unsupp|disabl)",
    re.I | re.S,
)
"""This server or model takes none at all; one that refuses a schema says something else."""
_TOOLS = re.compile(r"\btool|function", re.I)
_INSTEAD = re.compile(r"\b(?:use|try)\W{1,4}$", re.I)
"""`max_tokens` is named as what to use for `max_completion_tokens`, and the other way round."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What one HTTP answer comes to."""

    then: Then
    choice: Json = field(default_factory=dict)
    """For `said`: the first choice, with the `usage` of the completion."""
    trouble: str = ""
    """For the others, what the server did ("answers 429: slow down"). Its words: to be cleaned."""
    label: str = ""
    """For `again`: one word for counting."""
    field: str = ""
    """For `without`: what to leave out."""

    def error(self, problem: str, model: str = "") -> TmError:
        """The error that ends the episode or the run; `problem` is the cleaned sentence."""
        kind, remedy = _ERRORS.get(self.then, (PolicyFailure, ""))
        return kind(problem, remedy.replace("MODEL", repr(model)))


_ERRORS: dict[str, tuple[type[TmError], str]] = {
    "quota": (RunError, "add credit, then go on with --resume"),
    "key": (UsageError, "set OPENAI_API_KEY to a key that this server takes"),
    "model": (UsageError, "does it serve MODEL, and does its address end in /v1?"),
    "moved": (UsageError, "write the address it has moved to"),
    "option": (UsageError, "change that option"),
    "no_tools": (
        UsageError,
        "use --protocol text; or start the server with tools "
        "(vLLM: --enable-auto-tool-choice --tool-call-parser NAME)",
    ),
}


class Unfit(Exception):
    """The server does not take the request as it is; `outcome` says what to change. Nothing failed."""

    def __init__(self, outcome: Outcome, problem: str = "") -> None:
        super().__init__(problem)
        self.outcome = outcome
        self.problem = problem


def read(status: int, data: bytes) -> Outcome:
    """What an HTTP answer means."""
    body = _json(data)
    if 200 <= status < 300:
        return _completion(body, data)
    return _refused(status, body, data)


def finish(reason: Any, refusal: str) -> Finish:
    """How a choice ended."""
    word = reason.lower() if isinstance(reason, str) else ""
    if refusal or word.startswith(REFUSED):
        return "refusal"
    return "length" if word in CUT else "stop"


def _completion(body: Any, data: bytes) -> Outcome:
    found = body if isinstance(body, dict) else {}
    choices = found.get("choices")
    choice = choices[0] if isinstance(choices, list) and choices else None
    if not isinstance(choice, dict) or not isinstance(choice.get("message"), dict):
        error = found.get("error")
        code = error.get("code") if isinstance(error, dict) else None
        if isinstance(code, int) and 400 <= code < 600:  # a gateway that hides a status in a body
            return _refused(code, body, b"")
        said = (_reason(body) if error else _text(data)) or "nothing"
        return Outcome("again", trouble=f"answers no chat completion: {said}", label="malformed")
    if not isinstance(choice["message"].get("tool_calls"), list | None):
        return Outcome("again", trouble="answers no chat completion", label="malformed")
    if choice.get("finish_reason") in BROKEN:
        said = f": {_reason(choice)}" if choice.get("error") else ""
        return Outcome("again", trouble=f"broke off its reply{said}", label="broken")
    usage = found.get("usage")
    return Outcome("said", {**choice, "usage": usage if isinstance(usage, dict) else {}})


def _refused(status: int, body: Any, data: bytes) -> Outcome:
    reason = _reason(body) or _text(data) or "no reason given"
    trouble = f"answers {status}: {reason}"
    error = body.get("error") if isinstance(body, dict) else None
    error = error if isinstance(error, dict) else {}
    words = f"{error.get('code') or error.get('type') or ''} {reason}"
    if status == 402 or (status in (400, 403, 429) and _QUOTA.search(words)):
        return Outcome("quota", trouble=trouble)
    if status in (400, 413, 422, 500) and (status == 413 or _CONTEXT.search(words)):
        return _cut("length")
    if status in (400, 403, 422) and _FILTER.search(words):
        return _cut("content_filter")
    if status in (400, 404, 422, 500, 501) and _NO_TOOLS.search(words):
        return Outcome("no_tools", trouble=trouble)
    if status in (400, 422) and (option := _option(error.get("param"), words)):
        return Outcome("without", trouble=trouble, field=option)
    if status in (400, 422) and error.get("param") in OPTIONS:
        return Outcome("option", trouble=trouble)
    if status in (400, 404, 422, 501) and _TOOLS.search(words):
        return Outcome("bad_tools", trouble=trouble)
    if status in PASSING or status >= 500:
        return Outcome("again", trouble=trouble, label=str(status))
    then: dict[int, Then] = {401: "key", 403: "key", 404: "model", 405: "model"}
    return Outcome(then.get(status, "moved" if status < 400 else "failed"), trouble=trouble)


def _option(param: Any, words: str) -> str:
    """The option or field that a server says it does not take, or nothing."""
    if not _REFUSES.search(words):
        return ""
    if param in OPTIONS:
        return str(param)
    for word in (*OPTIONS, *REASONING):
        mark = "['\"`.]" if word in ("stop", "reasoning") else r"(?<![\w-])"  # these are English words, too
        found = re.search(rf"{mark}{word}(?![\w-])", words)
        if found and not _INSTEAD.search(words[: found.start()]):
            return word
    return ""


def _cut(reason: str) -> Outcome:
    """A choice in which nothing is said: the request itself was too long, or was filtered."""
    return Outcome("said", {"message": {}, "finish_reason": reason, "usage": {}})


def _reason(body: Any) -> str:
    """A server's words for what is wrong."""
    for path in (("error", "message"), ("error",), ("message",), ("detail",)):
        value = body
        for key in path:
            value = value.get(key) if isinstance(value, dict) else None
        if isinstance(value, str) and value:
            return value[:4000]
        if isinstance(value, list) and value:  # what FastAPI says of a field
            return orjson.dumps(value)[:4000].decode("utf-8", "replace")
    return ""


def _text(data: bytes) -> str:
    """Words that are no JSON; far more than is shown, so that no secret is cut before it is found."""
    return data[:4000].decode("utf-8", "replace").strip()


def _json(data: bytes) -> Any:
    try:
        return orjson.loads(data)
    except orjson.JSONDecodeError:
        pass
    try:  # a byte order mark, NaN, half of a surrogate pair: Python's own servers send them
        body = json.loads(data.decode("utf-8-sig"), parse_constant=lambda _: None)
        return orjson.loads(json.dumps(body, ensure_ascii=False).encode("utf-8", "replace"))
    except (ValueError, RecursionError):
        return None
