"""Which form a model's dialogues take, and why.

    form, mode, why = choose(tokenizer, "auto")

`own`: the model's template writes calls and replies. `text`: its turns, our calls in them. `tm`: our ChatML,
with the shortest prompts. `auto` takes the first whose pieces are proven to be the template rendered whole,
and whose turns are read back as they were meant; it prefers `tm` to `text` where both write the same turns.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal

from tmcli.chat.control import Control
from tmcli.chat.plain import Plain, plain
from tmcli.chat.render import Refused, Render, own_template, tm_template, training_variant
from tmcli.chat.rendered import USER, Rendered
from tmcli.errors import UsageError
from tmcli.protocol import THINK_OPEN, Call, parse, split_thoughts
from tmcli.records import Json

Template = Literal["auto", "own", "text", "tm"]
Form = Rendered | Plain

_ASKED = "it was asked for"
_REWRITES = (
    "the model's chat template rewrites earlier turns (it is not append-only), "
    "so training would not see what generation sees"
)


def choose(tokenizer: Any, template: Template) -> tuple[Form, str, str]:
    """(form, its mode, a sentence why). Raises `UsageError` where a form was asked for that does not hold."""
    own = own_template(tokenizer)
    if template == "tm":
        return _tm(tokenizer), "tm", _ASKED
    if own is None:
        if template != "auto":
            raise UsageError("the model has no chat template of its own", "use --template tm")
        return _tm(tokenizer), "tm", "the model has no chat template"
    if own == tm_template(tokenizer) and template != "text":
        return _tm(tokenizer), "tm", "the model's chat template is tm's"
    if template != "auto":
        form, wrong = _own(tokenizer, own) if template == "own" else _tried(lambda: _text(tokenizer, own))
        if wrong or form is None:
            raise UsageError(wrong, f"use --template {'text' if template == 'own' else 'tm'}, or auto")
        return form, template, _ASKED
    form, wrong = _own(tokenizer, own)
    if form is not None and not wrong:
        return form, "own", "the model's chat template only appends, and its calls can be read"
    form, too = _tried(lambda: _text(tokenizer, own))
    if form is None or too:
        return _tm(tokenizer), "tm", f"{wrong}; as for its turns, {too}"
    if _same_turns(tokenizer, form):
        return _tm(tokenizer), "tm", f"{wrong}, and its turns are tm's"
    return form, "text", f"{wrong}; its turns serve, with calls as text"


def fault(form: Form) -> str:
    """What speaks against a form: what is trained would not be what is generated, or is not read back."""
    for dialogue in _PROBES:
        said = [message for message in dialogue if message["role"] == "assistant"]
        try:
            pieces, whole = _pieces(form, dialogue), form.whole(dialogue, _TOOLS)
            written = [form.said(message) for message in said]
        except Refused as error:
            return error.problem
        if any(message["content"] not in whole for message in dialogue):
            return "the model's chat template leaves out what was said"
        if form.exact and not whole.startswith(pieces):
            return _REWRITES
        for message, text in zip(said, written, strict=True):
            turn = parse(heard(form, text.removesuffix(form.turn_end))[1])
            if turn.calls != tuple(Call(**call["function"]) for call in message.get("tool_calls", [])):
                return "the model's chat template writes tool calls in a form that tm does not read"
            if turn.text != message["content"]:
                return "the model's chat template changes what the model says"
    return ""


def heard(form: Form, text: str) -> tuple[str, str]:
    """(thoughts, what was said aloud) of a turn as it was sampled, its end taken off."""
    text = text.removeprefix(form.lead)
    if form.opened:
        text = THINK_OPEN + text
    thoughts, aloud = split_thoughts(text)
    return thoughts.strip("\n"), aloud if aloud == text else aloud.lstrip("\n")


def _pieces(form: Form, dialogue: list[Json]) -> str:
    """The dialogue as it is generated, up to the end of its last turn."""
    turns = [i for i, message in enumerate(dialogue) if message["role"] == "assistant"]
    text = form.prompt(dialogue[: turns[0]], _TOOLS)
    for turn, following in zip(turns, [*turns[1:], None], strict=True):
        text += form.said(dialogue[turn])
        if following is not None:
            text += form.suffix(dialogue[turn + 1 : following])
    return text


def _own(tokenizer: Any, own: str) -> tuple[Form | None, str]:
    """The template as it is, or as TRL changed it so that it only appends; and what is wrong with it."""
    if "tools" not in own:
        return None, "the model's chat template knows no tools"
    form, wrong = _tried(lambda: _rendered(tokenizer, own, thinks=False))
    if wrong == _REWRITES:
        variant = training_variant(tokenizer, own)
        form, wrong = _tried(lambda: _rendered(tokenizer, variant, thinks=False))
    return form, wrong


def _tried(make: Callable[[], Form]) -> tuple[Form | None, str]:
    try:
        form = make()
        return form, fault(form)
    except UsageError as error:
        return None, error.problem


def _text(tokenizer: Any, own: str) -> Plain:
    control = Control(tokenizer, own, replies_are_text=True)
    return plain(Render(tokenizer, own), control, thinks=_thinks(tokenizer))


def _tm(tokenizer: Any) -> Rendered:
    return _rendered(tokenizer, tm_template(tokenizer), thinks=_thinks(tokenizer))


def _rendered(tokenizer: Any, template: str, *, thinks: bool) -> Rendered:
    control = Control(tokenizer, template, replies_are_text=False)
    return Rendered(Render(tokenizer, template), control, thoughts_as_text=thinks)


def _thinks(tokenizer: Any) -> bool:
    """Has the model a token for its thoughts? Elsewhere they are not trained: long, and new to it."""
    return THINK_OPEN in tokenizer.get_vocab()


def _same_turns(tokenizer: Any, form: Form) -> bool:
    """Are the model's own turns those that tm.jinja writes?"""
    turns = [{"role": role, "content": role} for role in ("system", "user", "assistant", "user")]
    ours = Render(tokenizer, tm_template(tokenizer))(turns, begin=True)
    try:
        return form.render(turns, begin=True) == ours
    except Refused:
        return False


def _function(name: str) -> Json:
    parameters = {"type": "object", "properties": {"a": {"type": "string"}}, "required": ["a"]}
    return {"type": "function", "function": {"name": name, "description": "d", "parameters": parameters}}


def _calling(content: str, *calls: tuple[str, Json]) -> Json:
    return {
        "role": "assistant",
        "content": content,
        "tool_calls": [
            {"id": f"call_{i}", "type": "function", "function": {"name": name, "arguments": arguments}}
            for i, (name, arguments) in enumerate(calls)
        ],
    }


def _reply(number: int, content: str) -> Json:
    return {"role": "tool", "tool_call_id": f"call_{number}", "name": "f", "content": content}


_TOOLS = [_function("f"), _function("g")]
_SYSTEM: Json = {"role": "system", "content": "system-3c"}
_ANSWER: Json = {"role": "assistant", "content": "<answer>1</answer>"}
_PROBES: list[list[Json]] = [
    [
        _SYSTEM,
        USER,
        _calling("<trial>t</trial>", ("f", {"a": "é"}), ("g", {})),
        _reply(0, '{"b": 1}'),
        _reply(1, "2"),
        _calling("", ("f", {"a": {"b": [1, None, True]}})),
        _reply(0, "3"),
        _ANSWER,
    ],
    [_SYSTEM, USER, _ANSWER, {"role": "user", "content": "again"}, _ANSWER],
    [
        USER,
        {"role": "assistant", "content": ""},
        {"role": "user", "content": "go on"},
        _calling("", ("g", {})),
    ],
]
"""Several calls in a turn, calls without text, text without calls, nothing at all; with and without a system
turn; a turn that was sent back."""
