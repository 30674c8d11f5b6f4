"""The ragged engine against transformers' `generate` and a fresh forward pass, on many architectures."""

from __future__ import annotations

import asyncio
import copy
from typing import Any

import pytest
import torch
import transformers
from hypothesis import given, settings
from hypothesis import strategies as st
from test_local import dialogue, play, tasks
from transformers import AutoModelForCausalLM, LlamaForCausalLM

from tmcli import model as models
from tmcli.chat import Chat
from tmcli.errors import PolicyFailure
from tmcli.policies import Sampling
from tmcli.policies.local import Local
from tmcli.policies.local.attention import serves
from tmcli.policies.local.choice import choose
from tmcli.policies.local.engine import Engine
from tmcli.policies.local.episode import Episode
from tmcli.policies.local.plain import Plain
from tmcli.records import Json

WINDOW = {"sliding_window": 8}
SMALL: Json = {
    "vocab_size": 64,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 8,
    "max_position_embeddings": 512,
}
SERVED: dict[str, Json] = {
    "Llama": {},
    "Qwen2": WINDOW | {"use_sliding_window": True, "max_window_layers": 1},
    "Qwen3": {},
    "Qwen3Moe": {"num_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 16},
    "Mistral": WINDOW,
    "Phi3": WINDOW,
    "Olmo2": {},
    "Gemma2": WINDOW | {"query_pre_attn_scalar": 8},
    "Gemma3Text": WINDOW
    | {
        "query_pre_attn_scalar": 8,
        "layer_types": ["sliding_attention", "sliding_attention", "full_attention"],
    },
    "GptOss": WINDOW | {"num_local_experts": 4, "num_experts_per_tok": 2},
    "Cohere2": WINDOW,
    "SmolLM3": {},
    "GPTNeoX": {},
}
PLAIN: dict[str, Json] = {
    "Mamba": {},
    "Lfm2": {"layer_types": ["conv", "full_attention", "conv"]},
    "StableLm": {},
}


def made(name: str, more: Json) -> Any:
    config = getattr(transformers, f"{name}Config")(
        **{**SMALL, "pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2, **more}
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model: Any = AutoModelForCausalLM.from_config(config).eval()
        for weight in model.parameters():
            if weight.dim() > 1:
                torch.nn.init.normal_(weight, std=0.3)
    model.generation_config.eos_token_id = None
    return model


def rows(n: int, length: int = 11) -> list[Episode]:
    """Rows of different lengths, some longer than a window."""
    return [
        Episode(i, i, ids=[(7 * i + 3 * j + j * j) % 60 + 3 for j in range(length + 9 * i)])
        for i in range(n)
    ]


def turn(engine: Engine | Plain, episodes: list[Episode]) -> None:
    ended = engine.run(episodes)
    while len(ended) < len(episodes):
        ended += engine.run([])
    assert {episode.number for episode in ended} == {episode.number for episode in episodes}


@torch.inference_mode()
def is_what_generate_says(model: Any, episode: Episode, n: int) -> bool:
    """The last turn of `n` tokens: the ids greedy generation gives, the log-probs a forward pass gives."""
    before = torch.tensor([episode.ids[: episode.n_before]])
    out = model.generate(before, attention_mask=torch.ones_like(before), max_new_tokens=n, do_sample=False)[
        0
    ].tolist()
    scores = model(torch.tensor([episode.ids])).logits[0].float().log_softmax(-1)
    for position in range(episode.n_before, len(episode.ids)):
        fresh = scores[position - 1, episode.ids[position]].item()
        assert episode.logprobs[position - len(episode.ids)] == pytest.approx(fresh, abs=1e-3)
    return bool(out == episode.ids)


@pytest.mark.parametrize("name", [*SERVED, *PLAIN])
def test_greedy_turns_are_what_generate_says(name: str) -> None:
    model = made(name, (SERVED | PLAIN)[name])
    sampling = Sampling(max_new_tokens=10)
    assert serves(model) == (name in SERVED)
    engine = (
        Engine(model, frozenset(), sampling, None) if serves(model) else Plain(model, frozenset(), sampling)
    )
    episodes = rows(3)
    for _ in range(2):
        turn(engine, episodes)
        for episode in episodes:
            assert is_what_generate_says(model, episode, 10)
            episode.hear([5, 6, 7])
    if name in SERVED:
        assert engine.speed.prefilled == sum(11 + 9 * i for i in range(3)) + 3 * 4  # only what was new


@given(lengths=st.lists(st.integers(1, 40), min_size=1, max_size=6), limit=st.integers(1, 2000))
@settings(max_examples=15, deadline=None)
def test_a_bound_changes_when_rows_run_and_not_what_they_say(lengths: list[int], limit: int) -> None:
    model = made("Llama", {})
    said = []
    for most in (limit, None):
        engine = Engine(model, frozenset({7, 9}), Sampling(temperature=1.0, max_new_tokens=12), most)
        episodes = [
            Episode(i, i, ids=[3 + (i + j) % 50 for j in range(length)])
            for i, length in enumerate(lengths)
        ]
        turn(engine, episodes)
        said.append([episode.ids for episode in episodes])
        assert all(episode.finish in ("stop", "length") for episode in episodes)
    assert said[0] == said[1]


@pytest.mark.parametrize("limit", [512, 768, 1024])
def test_what_is_kept_of_a_long_row_is_never_cut(limit: int) -> None:
    """Also where one row is longer than the bound, and a short one runs between its turns."""
    model = made("Llama", {"max_position_embeddings": 2048})
    engine = Engine(model, frozenset(), Sampling(max_new_tokens=4), limit)
    long = Episode(0, 0, ids=[3 + j * j % 50 for j in range(600)])
    short = rows(3)
    turn(engine, [long])
    turn(engine, short)
    long.hear([5, 6])
    turn(engine, [long])
    assert is_what_generate_says(model, long, 4)
    assert all(is_what_generate_says(model, episode, 4) for episode in short)


def test_a_common_beginning_is_read_once() -> None:
    model = made("Llama", {})
    shared = [3 + j % 50 for j in range(100)]
    engine = Engine(model, frozenset(), Sampling(temperature=1.0, max_new_tokens=8), None)
    episodes = [Episode(i, i, ids=[*shared, *range(10, 10 + i)]) for i in range(4)]
    episodes += [Episode(4 + i, i, ids=list(shared)) for i in range(2)]
    turn(engine, episodes)
    assert engine.speed.prefilled < 100 + 12
    for episode in episodes:
        alone = Engine(model, frozenset(), Sampling(temperature=1.0, max_new_tokens=8), None)
        again = Episode(0, episode.seed, ids=episode.ids[: episode.n_before])
        turn(alone, [again])
        assert again.ids == episode.ids
    assert len({tuple(episode.said) for episode in episodes}) > 1


class Cramped(LlamaForCausalLM):
    """A model whose memory is full with more than two rows."""

    n_failed = 0

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        step = kwargs.get("ragged")
        if step is not None and step.slots.size > 2:
            Cramped.n_failed += 1
            raise torch.OutOfMemoryError("no memory for so many rows")
        return super().forward(*args, **kwargs)


def test_out_of_memory_halves_the_batch_and_goes_on(capfd: pytest.CaptureFixture[str]) -> None:
    roomy = made("Llama", {})
    cramped = Cramped(roomy.config).eval()
    cramped.load_state_dict(roomy.state_dict())
    said = []
    for model in (roomy, cramped):
        engine = Engine(model, frozenset(), Sampling(temperature=1.0, max_new_tokens=9), None)
        episodes = rows(6)
        turn(engine, episodes)
        said.append([episode.ids for episode in episodes])
    assert said[0] == said[1]
    assert Cramped.n_failed > 0
    assert "out of memory: from now on at most" in capfd.readouterr().err


def test_a_turn_that_ended_before_memory_ran_out_is_told_of() -> None:
    n_passes = 0

    class Late(LlamaForCausalLM):
        def forward(self, *args: Any, **kwargs: Any) -> Any:
            nonlocal n_passes
            n_passes += 1
            if n_passes == 2:
                raise torch.OutOfMemoryError("full for once")
            return super().forward(*args, **kwargs)

    model = Late(made("Llama", {"max_position_embeddings": 4096}).config).eval()
    episodes = [Episode(i, i, ids=[3 + (i + j * j) % 50 for j in range(1500)]) for i in range(2)]
    turn(Engine(model, frozenset(), Sampling(max_new_tokens=1), None), episodes)  # each in a pass of its own
    assert [len(episode.said) for episode in episodes] == [1, 1]


def test_one_row_that_does_not_fit_is_an_error() -> None:
    class Full(LlamaForCausalLM):
        def forward(self, *args: Any, **kwargs: Any) -> Any:
            raise torch.OutOfMemoryError("full")

    model = Full(made("Llama", {}).config).eval()
    with pytest.raises(torch.OutOfMemoryError):
        Engine(model, frozenset(), Sampling(), None).run(rows(2))


# ---- adapters and weights that change ------------------------------------------------------------------


def adapted(model: Any, scale: float) -> Any:
    from peft import LoraConfig, get_peft_model

    models.quiet()
    config = LoraConfig(r=4, lora_alpha=8, target_modules="all-linear", lora_dropout=0.1)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        peft = get_peft_model(model, config)
        for name, weight in peft.named_parameters():
            if "lora_B" in name:
                torch.nn.init.normal_(weight, std=scale)
    return peft


def test_an_adapter_runs_as_in_training_and_follows_it() -> None:
    model = made("Llama", {})
    plain = copy.deepcopy(model)
    peft = adapted(model, 0.1).train()
    engine = Engine(peft, frozenset(), Sampling(max_new_tokens=10), None)
    for _ in range(2):
        episodes = rows(3)
        turn(engine, episodes)
        peft.eval()
        assert all(is_what_generate_says(peft, episode, 10) for episode in episodes)
        peft.train()
        assert peft.training
        assert peft.get_base_model().config._attn_implementation == "sdpa"  # the trainer's stays as it was
        with torch.no_grad():
            for name, weight in peft.named_parameters():
                if "lora_" in name:
                    weight.mul_(-1.5)
        engine.refresh()
    engine = Engine(plain, frozenset(), Sampling(max_new_tokens=10), None)
    others = rows(3)
    turn(engine, others)
    assert [e.ids for e in others] != [e.ids for e in episodes]


def test_a_small_update_of_an_adapter_is_not_lost_in_bf16() -> None:
    model = made("Llama", {}).to(torch.bfloat16)
    peft = adapted(model, 1e-5)
    said = []
    for factor in (1.0, 64.0):
        with torch.no_grad():
            for name, weight in peft.named_parameters():
                if "lora_B" in name:
                    weight.mul_(factor)
        engine = Engine(peft, frozenset(), Sampling(max_new_tokens=1), None)
        layer = engine.twin.module.model.layers[0].mlp.up_proj
        assert layer.adapter[1].dtype == torch.bfloat16
        said.append(layer.adapter[1].float().norm().item())
    assert said[1] == pytest.approx(64 * said[0], rel=0.01)


def test_weights_that_were_trained_are_taken_over() -> None:
    model = made("Llama", {})
    engine = Engine(model, frozenset(), Sampling(max_new_tokens=10), None)
    turn(engine, rows(2))
    with torch.no_grad():
        for weight in model.parameters():
            if weight.dim() > 1:
                weight.add_(0.1 * torch.sin(torch.arange(weight.numel()).view_as(weight)))
    engine.refresh()
    episodes = rows(2)
    turn(engine, episodes)
    assert all(is_what_generate_says(model, episode, 10) for episode in episodes)


# ---- tokens --------------------------------------------------------------------------------------------


def test_tokens_are_drawn_by_their_probabilities() -> None:
    logits = torch.tensor([[0.0, 1.0, -1.0, 2.0]]).repeat(4000, 1)
    draws = [(i + 0.5) / 4000 for i in range(4000)]
    tokens, logprobs = choose(logits, Sampling(temperature=0.5), draws)
    expected = (logits[0] / 0.5).softmax(-1)
    assert torch.bincount(torch.tensor(tokens), minlength=4).div(4000).tolist() == pytest.approx(
        expected.tolist(), abs=1e-3
    )
    assert logprobs[0] == pytest.approx(expected[tokens[0]].log().item(), abs=1e-5)
    nucleus, _ = choose(logits, Sampling(temperature=0.5, top_p=0.9), draws)
    assert set(nucleus) == {1, 3}
    narrowest, _ = choose(logits, Sampling(temperature=1.0, top_p=0.0), draws)
    assert set(narrowest) == {3}


# ---- whom a step waits for -----------------------------------------------------------------------------


@pytest.fixture(scope="module")
def tiny() -> tuple[Any, Chat]:
    model, tokenizer = models.load("tiny", dtype=torch.float32)
    return model, Chat(tokenizer)


def test_quick_tools_make_the_same_steps_each_time(tiny: tuple[Any, Chat]) -> None:
    steps = []
    for _ in range(2):
        policy = Local("tiny", *tiny, Sampling(max_new_tokens=12, temperature=1.0))
        play(policy, 4, 3, samples=2)
        steps.append((policy.speed.steps, policy.speed.sampled, policy.speed.prefilled))
    assert steps[0] == steps[1]


def test_a_slow_tool_holds_nobody_up(tiny: tuple[Any, Chat]) -> None:
    policy = Local("tiny", *tiny, Sampling(max_new_tokens=5))

    async def both() -> list[Json]:
        slow = policy.open(tasks(2)[1], 0)
        messages: list[Json] = [{"role": "system", "content": "s"}, *tasks(2)[1].messages]
        reply = await slow.reply(messages)
        quick = await dialogue(policy, tasks(1)[0], 0, 3)  # while the slow one's tool runs
        messages += [{"role": "assistant", "content": reply.content}, {"role": "tool", "content": "late"}]
        await slow.reply(messages)
        assert slow.tokens is not None
        slow.close()
        await policy.aclose()
        return [quick, slow.tokens]

    quick, slow = asyncio.run(asyncio.wait_for(both(), 60))
    assert sum(quick["mask"]) == 15
    assert sum(slow["mask"]) == 10


def test_what_was_said_does_not_depend_on_the_settings_before(tiny: tuple[Any, Chat]) -> None:
    policy = Local("tiny", *tiny, Sampling(max_new_tokens=6, temperature=1.0))
    free = play(policy, 2, 1)
    policy.settings = Sampling(max_new_tokens=6)
    greedy = play(policy, 2, 1)
    other = play(Local("tiny", *tiny, Sampling(max_new_tokens=6)), 2, 1)
    assert [t["ids"] for t in greedy] == [t["ids"] for t in other]
    assert [t["ids"] for t in greedy] != [t["ids"] for t in free]


@given(st.integers(1, 700), st.floats(0, 1, exclude_max=True), st.floats(0.01, 1), st.integers(0, 9))
@settings(max_examples=60, deadline=None)
def test_a_drawn_token_can_be_said(size: int, draw: float, top_p: float, seed: int) -> None:
    """Any vocabulary, any draw: the token of the inverse cumulated distribution, never one of share 0."""
    logits = 4 * torch.randn(1, size, generator=torch.Generator().manual_seed(seed))
    logits[0, ::3] = -torch.inf
    if size > 1:
        (token,), _ = choose(logits, Sampling(temperature=1.0), [draw])
        p = logits[0].double().softmax(-1)
        sums = p.cumsum(-1)
        assert p[token] > 0
        assert sums[token] - p[token] - 1e-6 <= draw <= sums[token] + 1e-6
        (token,), _ = choose(logits, Sampling(temperature=1.0, top_p=top_p), [draw])
        larger = p[p > p[token]].sum()
        assert p[token] > 0
        assert larger < top_p + 1e-6


class Faulty(LlamaForCausalLM):
    """A model that breaks once, at a step that is asked for."""

    left = -1

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        Faulty.left -= 1
        if Faulty.left == 0:
            raise RuntimeError("broken")
        return super().forward(*args, **kwargs)


def test_what_breaks_a_step_is_told_and_leaves_nothing_behind(tiny: tuple[Any, Chat]) -> None:
    model, chat = tiny
    faulty = Faulty(model.config).eval()
    faulty.load_state_dict(model.state_dict())
    policy = Local("tiny", faulty, chat, Sampling(max_new_tokens=6))

    async def broken() -> None:
        conversation = policy.open(tasks(1)[0], 0)
        messages: list[Json] = [*tasks(1)[0].messages]
        messages.append({"role": "assistant", "content": (await conversation.reply(messages)).content})
        messages.append({"role": "tool", "content": "r"})
        Faulty.left = 3
        try:
            with pytest.raises(PolicyFailure, match="generation failed: RuntimeError: broken"):
                await conversation.reply(messages)
        finally:
            conversation.close()

    asyncio.run(broken())
    assert play(policy, 2, 2) == play(Local("tiny", model, chat, Sampling(max_new_tokens=6)), 2, 2)
