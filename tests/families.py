"""Tokenizers of the model families, made here: real merges, each family's control tokens, its own template.

    tokenizer = tokenizer_of("llama3_1")         # with the template as the family ships it
    FAMILIES["llama3_1"].mode                    # which form tm has to choose for it

Two kinds, as the families have them: byte-level BPE (Qwen, Llama 3, Mistral's Tekken), and pieces with `▁`
for a space and bytes to fall back on (Gemma; Mistral with a space before the first word).
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import trl
from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors
from tokenizers.trainers import BpeTrainer
from transformers import PreTrainedTokenizerFast

from tmcli.protocol import prompt

_TEMPLATES = Path(trl.__file__).parent / "chat_templates"
_WORDS = r"[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+"
"""How Qwen and Llama 3 cut text before they merge: punctuation takes the line breaks behind it."""
_CORPUS = [prompt("trial"), prompt("teacher"), prompt("tools"), "user\n\nassistant\n\nmodel\n<answer>" * 9]

_STRICT = """{{ bos_token }}{% for m in messages %}
{%- if (m.role == 'user') != (loop.index0 % 2 == 0) %}{{ raise_exception('roles must alternate') }}{% endif %}
{%- if m.role == 'user' %}{{ '[INST] ' + m.content + ' [/INST]' }}
{%- elif m.role == 'assistant' %}{{ m.content + eos_token }}
{%- else %}{{ raise_exception('only user and assistant') }}{% endif %}{% endfor %}"""
"""As Mistral's first: no system turn, strict alternation, no header to begin a turn with."""

_TOOLS = """{%- if messages[0].role == 'system' %}{% set system = messages[0].content %}
{%- set said = messages[1:] %}{% else %}{% set said = messages %}{% endif %}{{ bos_token }}
{%- for m in said %}{% if m.role == 'user' %}
{%- if tools and loop.last %}{{ '[AVAILABLE_TOOLS] ' + (tools | tojson) + '[/AVAILABLE_TOOLS]' }}{% endif %}
{%- if loop.last and system is defined %}{{ '[INST] ' + system + '\n\n' + m.content + '[/INST]' }}
{%- else %}{{ '[INST] ' + m.content + '[/INST]' }}{% endif %}
{%- elif m.tool_calls %}{{ '[TOOL_CALLS] [' }}{% for call in m.tool_calls %}
{%- if not call.id or call.id | length != 9 %}{{ raise_exception('ids have nine letters') }}{% endif %}
{{- (call.function | tojson)[:-1] + ', "id": "' + call.id + '"}' }}{% endfor %}{{ ']' + eos_token }}
{%- elif m.role == 'assistant' %}{{ ' ' + m.content | trim + eos_token }}
{%- elif m.role == 'tool' %}{{ '[TOOL_RESULTS] ' + m.content + '[/TOOL_RESULTS]' }}{% endif %}{% endfor %}"""
"""As Mistral's third: system and tools move to the last user turn, ids have nine letters, text is trimmed."""


@dataclass(frozen=True, slots=True)
class Family:
    """What its tokenizer has, and what tm should make of it."""

    mode: str
    why: str
    """A part of the sentence."""
    end: str
    special: tuple[str, ...]
    bos: str | None = None
    markup: tuple[str, ...] = ()
    """Added tokens that are not special."""
    pieces: bool = False
    """Pieces with `▁`, not byte-level."""
    space: bool = False
    """A space before the first word."""
    template: str | None = ""
    """None: it has none; empty: TRL's file of the family's name."""
    head: str = ""
    """What the template writes before the dialogue."""


_CHATML = ("<|endoftext|>", "<|im_start|>", "<|im_end|>")
_LLAMA = (
    "<|begin_of_text|>",
    "<|end_of_text|>",
    "<|start_header_id|>",
    "<|end_header_id|>",
    "<|eom_id|>",
    "<|eot_id|>",
    "<|python_tag|>",
)
_GEMMA = ("<pad>", "<eos>", "<bos>", "<unk>", "<start_of_turn>", "<end_of_turn>")
_MISTRAL = (
    *("<unk>", "<s>", "</s>", "[INST]", "[/INST]", "[TOOL_CALLS]", "[AVAILABLE_TOOLS]"),
    *("[/AVAILABLE_TOOLS]", "[TOOL_RESULTS]", "[/TOOL_RESULTS]"),
)
_CALLS = ("<tool_call>", "</tool_call>")
_THOUGHTS = ("<tool_response>", "</tool_response>", "<think>", "</think>")
_DATE = "Cutting Knowledge Date: December 2023\nToday Date: 26 Jul 2024\n\n"
_B = "<|begin_of_text|>"
_NONE, _NO_TOOLS, _ONE, _APPENDS = (
    "has no chat template",
    "knows no tools",
    "single tool-calls",
    "only appends",
)

FAMILIES = {
    "tm": Family("tm", _NONE, "<|im_end|>", _CHATML, template=None),
    "tm_headers": Family("tm", _NONE, "</s>", ("<unk>", "<s>", "</s>"), "<s>", template=None),
    "qwen2_5": Family("own", _APPENDS, "<|im_end|>", _CHATML, markup=_CALLS),
    "qwen3": Family("own", _APPENDS, "<|im_end|>", _CHATML, markup=_CALLS + _THOUGHTS),
    "llama3": Family("text", _NO_TOOLS, "<|eot_id|>", _LLAMA, _B),
    "llama3_1": Family("text", _ONE, "<|eot_id|>", _LLAMA, _B, head=_DATE),
    "llama3_2": Family("text", _ONE, "<|eot_id|>", _LLAMA, _B, head=_DATE),
    "gemma": Family(
        "text", _NO_TOOLS, "<end_of_turn>", _GEMMA, "<bos>", markup=("\n", "\n\n", "<b>"), pieces=True
    ),
    "gemma3": Family(
        "text", _NO_TOOLS, "<end_of_turn>", _GEMMA, "<bos>", markup=("\n", "\n\n", "<b>"), pieces=True
    ),
    "mistral": Family(
        "text", "nine letters", "</s>", _MISTRAL, "<s>", pieces=True, space=True, template=_TOOLS
    ),
    "mistral_strict": Family("text", _NO_TOOLS, "</s>", _MISTRAL, "<s>", template=_STRICT),
}


@cache
def _trained(name: str) -> str:
    """The tokenizer as JSON: training one takes a moment."""
    family = FAMILIES[name]
    tokenizer = Tokenizer(models.BPE(byte_fallback=family.pieces, fuse_unk=True))
    special = [AddedToken(token, special=True, normalized=False) for token in family.special]
    alphabet: Sequence[str] = pre_tokenizers.ByteLevel.alphabet()
    if family.pieces:
        # trained with a cut at spaces, used without: merges reach over line breaks and brackets
        tokenizer.normalizer = normalizers.Replace(" ", "▁")
        tokenizer.pre_tokenizer = pre_tokenizers.Split("▁", "merged_with_next")
        alphabet = []
    else:
        cut = pre_tokenizers.Split(Regex(_WORDS), "isolated")
        level = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
        tokenizer.pre_tokenizer = pre_tokenizers.Sequence([cut, level])
        tokenizer.decoder = decoders.ByteLevel()
    octets = [f"<0x{i:02X}>" for i in range(256)] if family.pieces else []
    trainer = BpeTrainer(
        vocab_size=900,
        show_progress=False,
        initial_alphabet=list(alphabet),
        special_tokens=[*special, *(AddedToken(octet, special=True) for octet in octets)],
    )
    tokenizer.train_from_iterator(_CORPUS, trainer)
    if family.pieces:
        tokenizer = _with_octets(tokenizer, family)
    tokenizer.add_tokens([AddedToken(token, normalized=False) for token in family.markup])
    if family.bos:  # as these tokenizers do by themselves: only the template may write it
        bos = family.bos, tokenizer.token_to_id(family.bos)
        tokenizer.post_processor = processors.TemplateProcessing(f"{family.bos} $A", special_tokens=[bos])
    return str(tokenizer.to_str())


def _with_octets(trained: Tokenizer, family: Family) -> Tokenizer:
    """The same pieces, but single bytes are pieces to fall back on, not tokens to be met in text."""
    model = json.loads(trained.to_str())["model"]
    merges = [tuple(pair) for pair in model["merges"]]
    tokenizer = Tokenizer(
        models.BPE(vocab=model["vocab"], merges=merges, byte_fallback=True, fuse_unk=True, unk_token="<unk>")
    )
    tokenizer.add_special_tokens([AddedToken(token, normalized=False) for token in family.special])
    if family.space:
        tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="first", split=False)
    else:
        tokenizer.normalizer = normalizers.Replace(" ", "▁")
    strip = [decoders.Strip(" ", 1, 0)] if family.space else []
    tokenizer.decoder = decoders.Sequence(
        [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), *strip]
    )
    return tokenizer


def template_of(name: str) -> str | None:
    """The family's template as it ships."""
    template = FAMILIES[name].template
    return (_TEMPLATES / f"{name}.jinja").read_text("utf-8") if template == "" else template


def tokenizer_of(name: str) -> Any:
    """A fresh tokenizer of the family."""
    family = FAMILIES[name]
    return PreTrainedTokenizerFast(
        tokenizer_object=Tokenizer.from_str(_trained(name)),
        bos_token=family.bos,
        eos_token=family.end if family.end != "<end_of_turn>" else "<eos>",
        pad_token=family.special[0],
        chat_template=template_of(name),
        model_max_length=8192,
    )
