"""A chat template, rendered: always with the same date, and a refusal is a sentence.

    render = Render(tokenizer, template)
    text = render([{"role": "user", "content": "hi"}], begin=True)
"""

from __future__ import annotations

from importlib import resources
from typing import Any

from tmcli.errors import UsageError
from tmcli.records import Json

_CLOCK = "strftime_now"
_TODAY = {"%d": "26", "%m": "07", "%b": "Jul", "%B": "July", "%y": "24", "%Y": "2024", "%A": "Friday"}
"""What Llama's templates take for today where there is no clock. With one, what is trained would differ from
what is generated on the next day."""

_TM = resources.files("tmcli").joinpath("prompts", "tm.jinja")
_FIRST_LINE = "{%- for message in messages -%}\n"
"""Where the macros of tm.jinja end."""


OTHER = "use --template tm"


class Refused(UsageError):
    """A template cannot write a dialogue."""


class Render:
    """A template of a tokenizer."""

    def __init__(self, tokenizer: Any, template: str) -> None:
        self.tokenizer = tokenizer
        self.template = template
        self._template = _stopped_clock() + template if _CLOCK in template else template

    def __call__(self, messages: list[Json], tools: list[Json] | None = None, *, begin: bool = False) -> str:
        """The text of a dialogue; `begin`: up to where the model's turn begins. Raises `Refused`."""
        try:
            text: str = self.tokenizer.apply_chat_template(
                messages,
                tools=tools or None,
                chat_template=self._template,
                tokenize=False,
                add_generation_prompt=begin,
            )
        except Exception as error:  # templates are programs: they raise what they like
            said = (str(error).strip() or type(error).__name__).splitlines()[0]
            raise Refused(f"the model's chat template refuses the dialogue: {said}", OTHER) from error
        return text


def _stopped_clock() -> str:
    """A macro that hides the clock from a template."""
    parts = "".join(f" | replace('{part}', '{value}')" for part, value in _TODAY.items())
    return f"{{%- macro {_CLOCK}(format) -%}}{{{{ format{parts} }}}}{{%- endmacro %}}"


def signatures(tokenizer: Any, tools: list[Json]) -> list[str]:
    """Each tool in a line, as tm.jinja writes it."""
    macros = _TM.read_text("utf-8").partition(_FIRST_LINE)[0]
    each = Render(tokenizer, macros + "{%- for tool in tools %}{{ signature(tool) + '\\n' }}{%- endfor -%}")
    return each([{"role": "user", "content": ""}], tools)[:-1].split("\n") if tools else []


def tm_template(tokenizer: Any) -> str:
    """Our template. Without ChatML tokens in the vocabulary, plain headers and the eos token serve."""
    text = _TM.read_text("utf-8")
    if {"<|im_start|>", "<|im_end|>"} <= tokenizer.get_vocab().keys():
        return text
    if not tokenizer.eos_token:
        raise UsageError("the model's tokenizer has no end-of-sequence token", "use another model")
    if tokenizer("")["input_ids"] == [tokenizer.bos_token_id]:  # its models never read a text without one
        text = "{{- bos_token -}}\n" + text
    return text.replace("<|im_start|>", "### ").replace("<|im_end|>", tokenizer.eos_token)


def own_template(tokenizer: Any) -> str | None:
    """The model's own template; where it has several, the one for dialogues."""
    own = tokenizer.chat_template
    if isinstance(own, dict):
        own = own.get("default")
    return own if isinstance(own, str) and own else None


def training_variant(tokenizer: Any, own: str) -> str:
    """The template as TRL changed it for training, where TRL knows it."""
    from trl.chat_template_utils import get_training_chat_template

    before, tokenizer.chat_template = tokenizer.chat_template, own
    try:
        return get_training_chat_template(tokenizer) or own
    except Exception:  # noqa: BLE001 - not known to TRL, or it fails in TRL's probes: checked as it is
        return own
    finally:
        tokenizer.chat_template = before
