"""Every model family: the tokens that are trained are those the model would have to sample, and no others.

Three views of a dialogue have to agree, ids and mask: the family's own template rendered whole, the pieces
that `Chat` trains on, and what a rollout of real (tiny, random) weights with the family's tokenizer produced.
"""

from __future__ import annotations

import asyncio
import json
import re
from dataclasses import replace
from functools import cache
from importlib.util import find_spec
from itertools import groupby, pairwise
from pathlib import Path
from typing import Any

import pytest
import torch
import trl
from conftest import Tm
from families import FAMILIES, template_of, tokenizer_of
from hypothesis import example, given, settings
from hypothesis import strategies as st
from players import sum_task
from tokenizers import Tokenizer
from transformers import LlamaConfig, LlamaForCausalLM

from tmcli.chat import Chat
from tmcli.environments.world import World
from tmcli.episode import Limits, play
from tmcli.errors import UsageError
from tmcli.model import load_tokenizer
from tmcli.policies import Sampling
from tmcli.policies.local import Local
from tmcli.protocol import Call, parse, prompt
from tmcli.records import Json, Trajectory, encode
from tmcli.report.mask import mask_text
from tmcli.score import judge

every = pytest.mark.parametrize("name", FAMILIES)
texts = pytest.mark.parametrize("name", [name for name in FAMILIES if FAMILIES[name].mode == "text"])

LOOK: Json = {"name": "look", "parameters": {"type": "object", "properties": {"key": {"type": "string"}}}}
TOOLS: list[Json] = [{"type": "function", "function": LOOK}]
TELLS = prompt("tools").replace("{tools}", "look(key?)")
"""What a `text` dialogue says of the tools."""


def calling(content: str, *arguments: Json) -> Json:
    calls = [
        {"id": f"call_{i}", "type": "function", "function": {"name": "look", "arguments": given}}
        for i, given in enumerate(arguments)
    ]
    return {"role": "assistant", "content": content, "tool_calls": calls}


def answering(content: str) -> Json:
    return {"role": "assistant", "content": content}


def reply(content: str, number: int = 0) -> Json:
    return {"role": "tool", "tool_call_id": f"call_{number}", "name": "look", "content": content}


def user(content: str) -> Json:
    return {"role": "user", "content": content}


SYSTEM: Json = {"role": "system", "content": "Use tools."}
DIALOGUE = [
    SYSTEM,
    user("What is 42?"),
    calling("<trial>sé 😀</trial>", {"key": 'é\n"}'}, {}),
    reply('{"error": "no"}'),
    reply("43", 1),
    calling("", {"key": "e\u0301 𝒳"}),
    reply("nothing"),
    answering("<answer>43</answer>"),
    user("Wrong."),
    answering(""),
]
SAID = [
    '<trial>sé 😀</trial><tool_call>{"name": "look", "arguments": {"key": "é\\n\\"}"}}</tool_call>'
    '<tool_call>{"name": "look", "arguments": {}}</tool_call>',
    '<tool_call>{"name": "look", "arguments": {"key": "e\u0301 𝒳"}}</tool_call>',
    "<answer>43</answer>",
    "",
]
"""What is trained, where calls are ours."""
HEARD = [
    "What is 42?",
    '<tool_response>\n{"error": "no"}\n</tool_response>\n<tool_response>\n43\n</tool_response>',
    "<tool_response>\nnothing\n</tool_response>",
    "Wrong.",
]
"""The user's turns of the dialogue as `text` tells it."""


@cache
def chat_of(name: str) -> Chat:
    return Chat(tokenizer_of(name))


def own_words(name: str, turns: list[Json]) -> list[Json]:
    """The dialogue as the family's own template takes it."""
    mode = FAMILIES[name].mode
    if mode != "text":
        return turns
    told = [user(content) for content in HEARD]
    said = [answering(content) for content in SAID]
    system = f"Use tools.\n\n{TELLS}"
    if name in ("gemma", "mistral", "mistral_strict"):  # no system turn, or none that stays
        told[0] = user(f"{system}\n\n{HEARD[0]}")
    else:
        told.insert(0, {"role": "system", "content": system})
    head = told[:-3]
    return [*head, said[0], told[-3], said[1], told[-2], said[2], told[-1], said[3]]


def decoded(chat: Chat, ids: list[int]) -> str:
    return str(chat.tokenizer.decode(ids, clean_up_tokenization_spaces=False))


def spans(ids: list[int], mask: list[int]) -> list[list[int]]:
    """The trained runs of ids."""
    pairs = groupby(zip(ids, mask, strict=True), key=lambda pair: pair[1])
    return [[token for token, _ in run] for trained, run in pairs if trained]


# ---- which form ------------------------------------------------------------------------------------


@every
def test_auto_chooses_and_says_why(name: str) -> None:
    family, chat = FAMILIES[name], chat_of(name)
    assert (chat.mode, chat.turn_end) == (family.mode, family.end)
    assert family.why in chat.why
    assert "\n" not in chat.why
    assert chat.turn_end_id in chat.stop_ids
    assert chat.chosen == {"template_chosen": chat.mode, "template_why": chat.why}


@texts
def test_a_checkpoint_keeps_the_template_and_the_choice(name: str) -> None:
    tokenizer = tokenizer_of(name)
    first = Chat(tokenizer)
    assert tokenizer.chat_template == template_of(name)
    assert (Chat(tokenizer).form, first.form) == (first.form, chat_of(name).form)


@every
@pytest.mark.parametrize("template", ["own", "text", "tm"])
def test_a_form_that_was_asked_for_is_given_or_refused(name: str, template: Any) -> None:
    if template == "tm":
        assert Chat(tokenizer_of(name), template).mode == "tm"
    elif FAMILIES[name].mode == "tm":
        with pytest.raises(UsageError, match="use --template tm"):
            Chat(tokenizer_of(name), template)
    elif template == "own" and FAMILIES[name].mode == "text":
        with pytest.raises(UsageError, match="use --template text, or auto"):
            Chat(tokenizer_of(name), template)
    else:
        assert Chat(tokenizer_of(name), template).mode == template


# ---- pieces and the whole ----------------------------------------------------------------------------


@every
def test_the_pieces_are_the_template_rendered_whole(name: str) -> None:
    """Ids, not text: what is tokenised in pieces is what the whole would be."""
    chat = chat_of(name)
    ids, mask = chat.encode(DIALOGUE, TOOLS)
    whole = chat.tokenizer.apply_chat_template(
        own_words(name, DIALOGUE),
        tools=None if chat.mode == "text" else TOOLS,
        tokenize=False,
        date_string="26 Jul 2024",
    )
    assert chat.tokenizer(whole, add_special_tokens=False)["input_ids"][: len(ids)] == ids
    assert len(mask) == len(ids)


@every
def test_the_mask_is_what_is_sampled_and_nothing_else(name: str) -> None:
    chat = chat_of(name)
    ids, mask = chat.encode(DIALOGUE, TOOLS)
    runs = spans(ids, mask)
    turns = [message for message in DIALOGUE if message["role"] == "assistant"]
    assert runs == [chat.sampled_ids(message) for message in turns]
    assert all(run[-1] == chat.turn_end_id and run.count(chat.turn_end_id) == 1 for run in runs)
    said = [decoded(chat, run).removesuffix(chat.turn_end) for run in runs]
    if chat.mode == "own":
        thought = "<think>\n\n</think>\n\n" if name == "qwen3" else ""
        calls = [re.sub("</tool_call>(?=<)", "</tool_call>\n", text) for text in SAID]
        calls = [re.sub("(?<=</trial>)(?=<tool)", "\n", text) for text in calls]
        calls = [re.sub("<tool_call>(.*?)</tool_call>", "<tool_call>\n\\1\n</tool_call>", t) for t in calls]
        assert said == [thought + text for text in calls]
    else:
        lead = " " if name == "mistral" else ""
        assert [text.removeprefix(lead) for text in said] == SAID
    told = decoded(chat, [token for token, trained in zip(ids, mask, strict=True) if not trained])
    assert "<trial>sé" not in told
    assert "nothing" in told


@every
def test_one_beginning_of_text(name: str) -> None:
    family, chat = FAMILIES[name], chat_of(name)
    for messages in (DIALOGUE, DIALOGUE[1:]):
        ids, _ = chat.encode(messages, TOOLS)
        bos = chat.tokenizer.bos_token_id
        assert [i for i, token in enumerate(ids) if token == bos] == ([0] if family.bos else [])


@every
def test_a_dialogue_may_begin_and_go_on_in_many_ways(name: str) -> None:
    chat = chat_of(name)
    texts = []
    for head in ([SYSTEM], [{**SYSTEM, "role": "developer"}], []):
        texts.append(decoded(chat, chat.prompt_ids([*head, user("What?"), user("Which?")], TOOLS)))
    assert texts[0] == texts[1]
    assert "Use tools." in texts[0]
    assert "Use tools." not in texts[2]
    assert all("look(key?)" in text or '"look"' in text for text in texts)
    assert all(text.index("What?") < text.index("Which?") for text in texts)
    assert texts[0].index("look") < texts[0].index("What?")
    odd = [{"role": "system", "content": "later"}, user("three"), user("four"), reply("five"), reply("six")]
    suffix = decoded(chat, chat.suffix_ids(odd))
    assert [word for word in ("later", "three", "four", "five", "six") if word not in suffix] == []
    assert chat.encode([*DIALOGUE[:2], answering("a"), answering("b")], TOOLS)[1].count(1) == len(
        chat.sampled_ids(answering("a")) + chat.sampled_ids(answering("b"))
    )


@texts
def test_today_is_always_the_same_day(name: str) -> None:
    text = decoded(chat_of(name), chat_of(name).prompt_ids(DIALOGUE[:2], TOOLS))
    assert FAMILIES[name].head in text


@every
def test_text_is_trained_as_it_stands(name: str) -> None:
    """Templates trim (Llama, Gemma, Mistral): the trained text is what was said, not what they make of it."""
    chat = chat_of(name)
    message = answering("  two before, three after   ")
    trained = decoded(chat, chat.sampled_ids(message)[:-1])
    assert trained.endswith(message["content"])
    assert chat.heard(chat.sampled_ids(message))[1] == message["content"]


# ---- what a rollout produced -------------------------------------------------------------------------


class Driven(LlamaForCausalLM):
    """Real weights that are pushed to sample certain tokens, one a step; free when there are none left."""

    script: list[int]
    allowed: list[int] | None = None

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        out = super().forward(*args, **kwargs)
        if self.script:
            out.logits[..., self.script.pop(0)] += 1e4
        elif self.allowed is not None:
            out.logits[..., self.allowed] += 1e4
        return out


def weights(chat: Chat, script: list[int], allowed: list[int] | None = None) -> Driven:
    config = LlamaConfig(
        vocab_size=len(chat.tokenizer),
        hidden_size=32,
        intermediate_size=32,
        num_hidden_layers=1,
        num_attention_heads=2,
        max_position_embeddings=8192,
        eos_token_id=chat.tokenizer.eos_token_id,
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = Driven(config).eval()
    model.script, model.allowed = list(script), allowed
    return model


def rollout(chat: Chat, script: list[int], allowed: list[int] | None = None, **sampling: Any) -> Trajectory:
    """An episode with tools, played by `policies/local.py`."""

    async def run() -> Trajectory:
        world = World(timeout_s=20)
        policy = Local("tiny", weights(chat, script, allowed), chat, Sampling(**sampling))
        try:
            return await play(sum_task(), 0, policy, world, Limits(max_tokens=8000, max_turns=5), "k")
        finally:
            await policy.aclose()
            await world.close()

    return judge(asyncio.run(run()))


def from_text(chat: Chat, played: Trajectory) -> tuple[list[int], list[int]]:
    """What its messages alone make of a trajectory."""
    return chat.encode_trajectory(replace(played, tokens=None))


def typed(chat: Chat, *turns: str, end: str | None = None) -> list[int]:
    """Tokens of turns typed by hand, each with its end, as a model would sample them behind its header."""
    ids: list[int] = []
    for turn in turns:
        ids += chat.tokenizer(turn + (end or chat.turn_end), add_special_tokens=False)["input_ids"]
    return ids


ADDS = '<tool_call>{"name": "add", "arguments": {"a": 0, "b": 1}}</tool_call>'
TURNS = [
    f"<trial>see — é 😀 e\u0301</trial>{ADDS}"
    '<tool_call>{"name": "fail", "arguments": {}}</tool_call>'
    '<tool_call>{"name": "long", "arguments": {}}</tool_call>',
    f"<experience>add adds</experience><plan>add</plan>{ADDS}",
    "<answer>1</answer>",
]
OWN_ADDS = ADDS.replace("<tool_call>", "<tool_call>\n").replace("</tool_call>", "\n</tool_call>")
OWN_TURNS = [
    f"<trial>see — é 😀 e\u0301</trial>\n{OWN_ADDS}\n"
    '<tool_call>\n{"name": "fail", "arguments": {}}\n</tool_call>\n'
    '<tool_call>\n{"name": "long", "arguments": {}}\n</tool_call>',
    f"<experience>add adds</experience><plan>add</plan>\n{OWN_ADDS}",
    "<answer>1</answer>",
]


def turns_of(name: str) -> list[str]:
    if name == "qwen3":
        return [f"<think>\nhm\n</think>\n\n{turn}" for turn in OWN_TURNS]
    return OWN_TURNS if FAMILIES[name].mode == "own" else TURNS


@every
def test_a_rollout_is_encoded_as_it_was_sampled(name: str) -> None:
    chat = chat_of(name)
    played = rollout(chat, typed(chat, *turns_of(name)))
    assert (played.stop, played.prediction) == ("answer", "1")
    assert [len(turn["calls"]) for turn in played.turns] == [3, 1, 0]
    assert "xxx... (3000 more characters cut)" in decoded(chat, played.tokens["ids"] if played.tokens else [])
    assert played.tokens is not None
    sampled = played.tokens["ids"], played.tokens["mask"]
    assert chat.encode_trajectory(played) == sampled  # as they are
    assert chat.encode_trajectory(played)[0] is played.tokens["ids"]
    assert from_text(chat, played) == sampled  # and from the messages
    assert all(run[-1] == chat.turn_end_id for run in spans(*sampled))


@pytest.mark.parametrize("engine", [True, False], ids=["engine", "generate"])
def test_a_turn_ends_where_a_model_begins_to_make_up_what_comes(
    engine: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After its calls or its answer; the next turn is sampled as if it had ended by itself."""
    monkeypatch.setattr(Driven, "_supports_attention_backend", engine)
    chat = Chat(load_tokenizer("tiny"))  # a token is a byte

    def bytes_of(text: str) -> list[int]:
        return chat.tokenizer(text, add_special_tokens=False)["input_ids"]

    thinks = "<think>so <answer>7</answer> it is</think>"
    made_up = [
        f"{thinks}<trial>see</trial>{ADDS}\n{ADDS}\n<tool_r",
        f"<plan>add</plan>{ADDS}u",
        "<answer>1</answer>\nu",
    ]
    played = rollout(chat, [i for text in made_up for i in bytes_of(text)], temperature=0.0)
    assert (played.stop, played.prediction) == ("answer", "1")
    assert [len(turn["calls"]) for turn in played.turns] == [2, 1, 0]
    assert played.tokens is not None
    ids, mask = played.tokens["ids"], played.tokens["mask"]
    assert [decoded(chat, run) for run in spans(ids, mask)] == made_up
    assert all(ids[i] == chat.turn_end_id for i in range(1, len(ids)) if mask[i - 1] and not mask[i])


def test_a_token_never_reaches_over_the_border_of_a_turn() -> None:
    """Where the whole would join the header's line break with the first words, pieces do not: a model that
    samples behind the header cannot. What was generated is what is trained."""
    tokenizer = tokenizer_of("gemma3")
    merging = json.loads(tokenizer.backend_tokenizer.to_str())
    merging["added_tokens"] = [token for token in merging["added_tokens"] if token["content"] != "\n"]
    tokenizer._tokenizer = Tokenizer.from_str(json.dumps(merging))
    chat = Chat(tokenizer)
    whole = tokenizer.apply_chat_template(own_words("gemma3", DIALOGUE), tokenize=False)
    ids, _ = chat.encode(DIALOGUE, TOOLS)
    joined = chat.tokenizer(whole, add_special_tokens=False)["input_ids"][: len(ids)]
    assert joined != ids
    assert whole.startswith(decoded(chat, ids))
    played = rollout(chat, typed(chat, *TURNS))
    assert played.tokens is not None
    assert from_text(chat, played) == (played.tokens["ids"], played.tokens["mask"])


@every
def test_what_does_not_come_back_from_text_is_trained_as_sampled(name: str) -> None:
    """Line breaks that a tokenizer would join with the header's, spaces that parsing drops, other forms of
    the same call, broken UTF-8: the ids are the truth."""
    chat = chat_of(name)
    call = '<tool_call> {"name":"add","parameters":{"a":0,"b":1}}</tool_call>'
    odd = typed(chat, f"\n\n<plan>x</plan> \n{call}")
    half = chat.tokenizer("😀", add_special_tokens=False)["input_ids"][:-1]
    script = [*odd, *half, *typed(chat, "<answer>1</answer>")]
    played = rollout(chat, script)
    assert played.stop == "answer"
    assert played.tokens is not None
    runs = spans(*chat.encode_trajectory(played))
    assert [token for run in runs for token in run] == script
    assert from_text(chat, played)[0] != played.tokens["ids"]


@every
def test_random_words_come_back(name: str) -> None:
    """Free sampling among printable tokens: what random weights say is trained as they said it."""
    chat = chat_of(name)
    vocabulary = chat.tokenizer.get_vocab()
    letters = [token for word, token in vocabulary.items() if len(word) == 1 and word.encode().isalnum()]
    allowed = [*letters, chat.turn_end_id]
    played = rollout(chat, [], allowed, temperature=1.0, max_new_tokens=400, seed=5)
    assert played.tokens is not None
    said = decoded(chat, spans(played.tokens["ids"], played.tokens["mask"])[0])
    assert played.stop == "no_call"
    assert said == f"{played.messages[-1]['content']}{chat.turn_end}"
    if name not in ("qwen3", "mistral"):  # whose templates begin with a thought, and a space
        again, mask = from_text(chat, played)
        assert decoded(chat, again) == decoded(chat, played.tokens["ids"])
        assert decoded(chat, spans(again, mask)[0]) == said


@every
def test_a_turn_that_was_cut_has_no_end_to_learn(name: str) -> None:
    chat = chat_of(name)
    script = typed(chat, turns_of(name)[2].replace("</answer>", ""))[:-1]
    played = rollout(chat, script, max_new_tokens=len(script))
    assert played.stop == "length"
    assert played.tokens is not None
    sampled = played.tokens["ids"], played.tokens["mask"]
    assert chat.encode_trajectory(played) == sampled
    assert from_text(chat, played) == sampled
    assert chat.turn_end_id not in spans(*sampled)[0]


@every
def test_another_end_ends_a_turn_too(name: str) -> None:
    """The end of a text, which untrained models say: the turn ends there, and its own end is told."""
    chat = chat_of(name)
    end = chat.tokenizer.eos_token
    assert chat.tokenizer.eos_token_id in chat.stop_ids
    first, last = turns_of(name)[1:]
    played = rollout(chat, [*typed(chat, first, end=end), *typed(chat, last)])
    assert played.stop == "answer"
    assert played.tokens is not None
    ids, mask = played.tokens["ids"], played.tokens["mask"]
    place = next(i for i, (m, after) in enumerate(pairwise(mask)) if m and not after)
    assert ids[place] == chat.tokenizer.eos_token_id
    if end != chat.turn_end:
        assert ids[place + 1] == chat.turn_end_id


def test_ids_of_another_template_are_not_taken() -> None:
    chat = chat_of("llama3")
    played = rollout(chat, typed(chat, *TURNS))
    other = Chat(tokenizer_of("llama3"), "tm")
    assert other.vocabulary == chat.vocabulary
    assert other.encode_trajectory(played) == other.encode(played.messages, played.tools)
    assert played.tokens is not None
    older = {key: value for key, value in played.tokens.items() if key != "template"}
    assert other.encode_trajectory(replace(played, tokens=older))[0] == played.tokens["ids"]


# ---- thoughts ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("template", ["own", "text", "tm"])
def test_no_markup_counts_in_thoughts(template: Any) -> None:
    chat = Chat(tokenizer_of("qwen3"), template)
    adds = OWN_ADDS if template == "own" else ADDS
    gap = "\n" if template == "own" else ""
    inside = "maybe <answer>4</answer> or <tool_call>{}</tool_call>?"
    thought = f"<think>\n{inside}\n</think>\n\n"
    script = typed(chat, f"{thought}<plan>add</plan>{gap}{adds}", f"{thought}<answer>1</answer>")
    played = rollout(chat, script)
    assert (played.stop, played.prediction) == ("answer", "1")
    said = [message for message in played.messages if message["role"] == "assistant"]
    assert {m["reasoning_content"] for m in said} == {inside}
    assert [m["content"] for m in said] == ["<plan>add</plan>", "<answer>1</answer>"]
    assert [turn["state"] for turn in played.turns] == ["ok", "ok"]
    assert played.tokens is not None
    assert from_text(chat, played) == (played.tokens["ids"], played.tokens["mask"])


def test_a_template_may_open_the_thoughts() -> None:
    """As DeepSeek-R1's: the header holds <think>, and the first words sampled are thoughts."""
    tokenizer = tokenizer_of("qwen3")
    tokenizer.chat_template = (
        "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content.split('</think>')[-1] }}<|im_end|>\n"
        "{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n<think>\n{% endif %}"
    )
    chat = Chat(tokenizer)
    assert chat.mode == "text"
    played = rollout(chat, typed(chat, f"hm\n</think>\n\n{TURNS[1]}", "\n</think>\n\n<answer>1</answer>"))
    assert (played.stop, played.prediction) == ("answer", "1")
    assert played.messages[2]["reasoning_content"] == "hm"
    assert "reasoning_content" not in played.messages[-1]
    assert played.tokens is not None
    assert from_text(chat, played) == (played.tokens["ids"], played.tokens["mask"])
    endless = rollout(chat, typed(chat, "<answer>1</answer> hm"))  # it never stops to think
    assert (endless.stop, endless.prediction) == ("no_call", None)


def test_thoughts_are_not_new_words_for_a_model_without_them() -> None:
    chat = chat_of("llama3")
    thinking = {**answering("<answer>1</answer>"), "reasoning_content": "hm"}
    assert chat.sampled_ids(thinking) == chat.sampled_ids(answering("<answer>1</answer>"))


# ---- for any dialogue --------------------------------------------------------------------------------

WORDS = [
    *("<|im_end|>", "<|im_start|>assistant\n", "<|eot_id|>", "<start_of_turn>model\n", "</s>", "[INST]"),
    *(
        "<bos>",
        "</tool_response>",
        "<tool_response>",
        "<tool_call>",
        "</tool_call>",
        "</think>",
        "<think>",
        "<0x0A>",
    ),
    *("\n\n", "  ", "e\u0301", "😀", "\u200d", "\ufdd0", "{{ 7 }}", "<b>", "▁", '"', "\\", "</trial>"),
]
printable = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
anything = st.lists(printable | st.sampled_from(WORDS), max_size=4).map("".join)
values = st.recursive(
    anything | st.integers(-(2**53), 2**53) | st.booleans() | st.none(),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(anything, inner, max_size=2),
    max_leaves=4,
)
# What a model says besides its calls is prose: its own markup in there is its own fault, and read as such.
prose = printable.filter(lambda t: not re.search(r"[<>\[\]]", t)).map(str.strip)
turn = st.builds(
    lambda tag, text, calls: calling(f"<{tag}>{text}</{tag}>", *calls),
    st.sampled_from(["trial", "plan"]),
    prose,
    st.lists(st.dictionaries(anything, values, max_size=2), max_size=3),
)


@st.composite
def dialogues(draw: st.DrawFn) -> list[Json]:
    messages = [{"role": role, "content": draw(anything)} for role in draw(st.sampled_from([[], ["system"]]))]
    messages.append(user(draw(anything)))
    for _ in range(draw(st.integers(1, 3))):
        said = draw(turn)
        messages.append(said)
        messages += [reply(draw(anything), i) for i in range(len(said["tool_calls"]))]
        if draw(st.booleans()) or not said["tool_calls"]:
            messages.append(user(draw(anything)))
    return [*messages, answering(f"<answer>{draw(prose)}</answer>")]


def with_spaces(message: Json) -> Json:
    """What vocabularies of pieces make of it: to them, `▁` is a space."""
    spaced: Json = json.loads(json.dumps(message, ensure_ascii=False).replace("▁", " "))
    return spaced


@every
@settings(max_examples=12)
@given(messages=dialogues())
@example(messages=[user("u"), calling("", {"key": "</tool_call><|im_end|>"}, {"<think>": "[INST]"})])
def test_any_dialogue_is_trained_turn_by_turn_and_read_back(name: str, messages: list[Json]) -> None:
    chat = chat_of(name)
    turns = [message for message in messages if message["role"] == "assistant"]
    if messages[-1] not in turns:
        messages = [*messages, answering("<answer>1</answer>")]
        turns.append(messages[-1])
    ids, mask = chat.encode(messages, TOOLS)
    runs = spans(ids, mask)
    assert runs == [chat.sampled_ids(message) for message in turns]
    for message, run in zip(turns, runs, strict=True):
        assert run.count(chat.turn_end_id) == 1
        assert run[-1] == chat.turn_end_id
        assert not set(run[:-1]) & set(chat.tokenizer.all_special_ids)
        read = parse(chat.heard(run)[1])
        meant = with_spaces(message) if FAMILIES[name].pieces else message
        made = [call["function"] for call in meant.get("tool_calls", [])]
        assert read.calls == tuple(Call(call["name"], call["arguments"]) for call in made)
        assert read.text == meant["content"].rstrip()
        assert read.state == "ok"


@every
@settings(max_examples=12)
@given(text=anything, name_of_tool=anything)
def test_what_is_told_cannot_steer(name: str, text: str, name_of_tool: str) -> None:
    """Not by a reply, a question or a tool's document: each has the control tokens of an empty one."""
    chat = chat_of(name)
    markup = {"<tool_response>", "</tool_response>", "<think>", "</think>", "<tool_call>", "</tool_call>"}
    words = set(FAMILIES[name].special) | set(FAMILIES[name].markup) & markup
    control = {chat.tokenizer.convert_tokens_to_ids(word) for word in words}

    def steering(ids: list[int]) -> list[int]:
        return [token for token in ids if token in control]

    assert steering(chat.suffix_ids([reply(text), reply(text)])) == steering(
        chat.suffix_ids([reply(""), reply("")])
    )
    assert steering(chat.suffix_ids([user(text)])) == steering(chat.suffix_ids([user("")]))
    document: Json = {"name": f"look{name_of_tool}", "description": text}
    told = chat.prompt_ids([SYSTEM, user(text)], [{"type": "function", "function": document}])
    plain: Json = {"name": "look", "description": "d"}
    assert steering(told) == steering(
        chat.prompt_ids([SYSTEM, user("")], [{"type": "function", "function": plain}])
    )
    if chat.mode == "text":
        suffix = decoded(chat, chat.suffix_ids([reply(text)]))
        assert (suffix.count("<tool_response>"), suffix.count("</tool_response>")) == (1, 1)


# ---- shown -------------------------------------------------------------------------------------------


@every
def test_the_check_shows_the_mask(name: str) -> None:
    chat = chat_of(name)
    played = rollout(chat, typed(chat, *turns_of(name)))
    shown = mask_text(replace(played, tokens=None), chat, colour=False)
    marked = [span.strip() for span in re.findall("⟦(.*?)⟧", shown, re.DOTALL)]
    assert marked == [f"{turn}{chat.turn_end}" for turn in turns_of(name)]
    assert f"3 of them end a turn ({chat.turn_end})\ntemplate {chat.mode}: {chat.why}" in shown
    assert shown == mask_text(played, chat, colour=False)


def test_sft_check_shows_it_from_a_folder(tmp_path: Path, tm: Tm) -> None:
    chat = chat_of("llama3_1")
    played = rollout(chat, typed(chat, *TURNS))
    tokenizer_of("llama3_1").save_pretrained(tmp_path / "model")
    weights(chat, []).config.save_pretrained(tmp_path / "model")
    done = tm("sft", "--check", "--model", tmp_path / "model", input=encode(played))
    assert done.returncode == 0, done.stderr
    assert f"⟦{TURNS[0]}<|eot_id|>⟧" in done.stdout.decode()
    assert "template text: the model's chat template refuses" in done.stdout.decode()


# ---- templates and tokenizers as they ship -----------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize(
    "path",
    [
        path
        for path in sorted((Path(trl.__file__).parent / "chat_templates").glob("*.jinja"))
        if not path.stem.endswith("_training")
    ],
    ids=lambda path: path.stem,
)
def test_every_template_that_trl_ships_finds_a_form(path: Path) -> None:
    text = path.read_text("utf-8")
    tokenizer = tokenizer_of("tm_headers")
    words = re.findall(r"<[|｜][^<>\s']*?[|｜]>|<(?:start|end)_of_\w+>|<\|?turn\|?>", text)
    tokenizer.add_tokens(sorted({*words, "<think>", "</think>"}), special_tokens=True)
    tokenizer.chat_template = text
    chat = Chat(tokenizer)
    ids, mask = chat.encode(DIALOGUE, TOOLS)
    for message, run in zip([m for m in DIALOGUE if m["role"] == "assistant"], spans(ids, mask), strict=True):
        read = parse(chat.heard(run)[1])
        assert [call.arguments for call in read.calls] == [
            call["function"]["arguments"] for call in message.get("tool_calls", [])
        ]
        assert read.text == message["content"]


def mistral_tokenizer() -> Any:
    """Mistral's own vocabulary, as the package mistral-common ships it."""
    from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast
    from transformers.convert_slow_tokenizer import generate_merges
    from transformers.utils import sentencepiece_model_pb2_new as pb2

    found = find_spec("mistral_common")
    if found is None or not found.submodule_search_locations:
        pytest.skip("mistral-common is not installed")
    file = Path(found.submodule_search_locations[0]) / "data" / "mistral_instruct_tokenizer_240323.model.v3"
    proto = pb2.ModelProto()
    proto.ParseFromString(file.read_bytes())
    vocabulary = {piece.piece: i for i, piece in enumerate(proto.pieces)}
    merges = generate_merges(vocabulary, {piece.piece: piece.score for piece in proto.pieces})
    tokenizer = Tokenizer(
        models.BPE(vocab=vocabulary, merges=merges, byte_fallback=True, fuse_unk=True, unk_token="<unk>")
    )
    control = [piece.piece for piece in proto.pieces if piece.type in (2, 3)]
    tokenizer.add_special_tokens([AddedToken(token, normalized=False) for token in control])
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="first", split=False)
    tokenizer.decoder = decoders.Sequence(
        [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, bos_token="<s>", eos_token="</s>", unk_token="<unk>", pad_token="<unk>"
    )


@pytest.mark.slow
@pytest.mark.parametrize("name", ["mistral", "mistral_strict"])
def test_mistrals_own_tokenizer(name: str) -> None:
    tokenizer = mistral_tokenizer()
    tokenizer.chat_template = template_of(name)
    chat = Chat(tokenizer)
    assert (chat.mode, chat.turn_end) == ("text", "</s>")
    played = rollout(chat, typed(chat, *TURNS))
    assert (played.stop, played.prediction) == ("answer", "1")
    assert played.tokens is not None
    assert from_text(chat, played) == (played.tokens["ids"], played.tokens["mask"])
    ids, mask = chat.encode(DIALOGUE, TOOLS)
    assert [chat.heard(run)[1] for run in spans(ids, mask)] == SAID


@pytest.mark.slow
def test_the_same_ids_as_mistrals_own_encoder() -> None:
    """mistral-common tokenises turn by turn; its ids are what Mistral's models were trained on."""
    tokenizer = mistral_tokenizer()
    pytest.importorskip("sentencepiece")
    mistral = pytest.importorskip("mistral_common.tokens.tokenizers.mistral").MistralTokenizer.v3()
    request = pytest.importorskip("mistral_common.protocol.instruct.request").ChatCompletionRequest
    tokenizer.chat_template = template_of("mistral")
    chat = Chat(tokenizer)
    turns = own_words("mistral", DIALOGUE)[:-2]  # the vendor's encoder takes no empty turn
    theirs = mistral.encode_chat_completion(request.from_openai(messages=turns[:-1])).tokens
    ids, mask = chat.encode(DIALOGUE[:-2], TOOLS)
    assert ids[: len(theirs)] == theirs
    assert json.dumps(mask[: len(theirs)]).count("1") > 0
