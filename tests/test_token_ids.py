"""A server's model in token ids: exactly what a local model says, and never anything that does not fit.

The engines are real HTTP servers that speak vLLM's and SGLang's words, with a model of ours behind them. vLLM
itself is in `test_real_server.py`.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from copy import deepcopy
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import pytest
import torch
from conftest import Tm
from engines import Engine
from hypothesis import given
from hypothesis import strategies as st
from servers import ModelServer, say, text
from shell import records

from tmcli import model as models
from tmcli.chat import Chat
from tmcli.errors import PolicyFailure, RunError, UsageError
from tmcli.http import Patience
from tmcli.policies import Sampling, Service
from tmcli.policies.local import Local
from tmcli.policies.served import Served
from tmcli.policies.served.engines import read_sglang, read_vllm
from tmcli.policies.served.trained import Trained
from tmcli.records import Json, Task, new_task

KINDS: tuple[Literal["vllm", "sglang"], ...] = ("vllm", "sglang")
QUICK = Patience(tries=3, base_s=0.01, max_pause_s=0.02, total_s=2.0)
MESSAGES: list[Json] = [{"role": "user", "content": "What is it?"}]


@pytest.fixture(scope="module")
def tiny() -> tuple[Any, Any]:
    return models.load("tiny", dtype=torch.float32)


@pytest.fixture(params=KINDS)
def engine(tiny: tuple[Any, Any], request: pytest.FixtureRequest) -> Iterator[Engine]:
    with Engine(request.param, *tiny, "tiny") as running:
        yield running


def task(n: int) -> Task:
    tool = {"name": "look", "description": "Look up", "parameters": {"type": "object", "properties": {}}}
    return new_task(
        messages=[{"role": "user", "content": f"What is {n}?"}],
        tools=[{"type": "function", "function": tool}],
        env={"kind": "python", "codes": {}},
        answer=["1"],
    )


def served(engine: Engine, sampling: Sampling, **more: Any) -> Served:
    return Served(f"tiny@{engine.url}", sampling, patience=QUICK, **more)


def tokens_of(policy: Any, n: int = 3, n_turns: int = 3) -> list[Json]:
    """The tokens of some dialogues that ran at once, with a tool reply after each turn."""

    async def dialogue(n: int) -> Json:
        conversation = policy.open(task(n), 0)
        messages = [{"role": "system", "content": "s"}, {"role": "user", "content": "x" * (3 * n + 1)}]
        for turn in range(n_turns):
            reply = await conversation.reply(messages)
            messages.append({"role": "assistant", "content": reply.content})
            messages.append({"role": "tool", "tool_call_id": f"call_{turn}", "content": "r" * (5 + turn)})
        tokens: Json = conversation.tokens
        conversation.close()
        return tokens

    async def everyone() -> list[Json]:
        try:
            return await asyncio.gather(*map(dialogue, range(n)))
        finally:
            await policy.aclose()

    return asyncio.run(everyone())


def say_once(policy: Served) -> Json:
    """The tokens of one dialogue of one turn."""

    async def once() -> Json:
        conversation = policy.open(task(0), 0)
        try:
            await conversation.reply(MESSAGES)
        finally:
            await policy.server.aclose()
        return conversation.tokens

    return asyncio.run(once())


def scores(model: Any, tokens: Json, temperature: float = 1.0) -> list[float]:
    """The log-probabilities of what was sampled, by a fresh forward pass."""
    ids = torch.tensor([tokens["ids"]])
    with torch.inference_mode():
        all_of_them = torch.log_softmax(model(ids).logits[0].float() / temperature, -1)
    chosen = all_of_them[:-1].gather(1, ids[0, 1:, None])[:, 0].tolist()
    return [p for p, sampled in zip(chosen, tokens["mask"][1:], strict=True) if sampled]


def sampled(tokens: Json) -> list[float]:
    return [p for p, one in zip(tokens["logprobs"], tokens["mask"], strict=True) if one]


def test_a_served_model_says_what_the_local_one_says(engine: Engine, tiny: tuple[Any, Any]) -> None:
    model, tokenizer = tiny
    sampling = Sampling(max_new_tokens=9)
    local = tokens_of(Local("tiny", model, Chat(tokenizer), sampling))
    remote = tokens_of(served(engine, sampling))
    for ours, theirs in zip(local, remote, strict=True):
        assert {**theirs, "logprobs": None} == {**ours, "logprobs": None}
        assert theirs["logprobs"] == pytest.approx(ours["logprobs"], abs=1e-4)


@pytest.mark.parametrize("temperature", [1.0, 0.5])
def test_logprobs_are_those_that_were_sampled_from(
    temperature: float, engine: Engine, tiny: tuple[Any, Any]
) -> None:
    sampling = Sampling(temperature=temperature, max_new_tokens=12, seed=4)
    first, *others = tokens_of(served(engine, sampling))
    assert first["ids"] == tokens_of(served(engine, sampling))[0]["ids"]
    for tokens in (first, *others):
        assert sampled(tokens) == pytest.approx(scores(tiny[0], tokens, temperature), abs=1e-4)


def test_ids_that_no_text_leads_to_stay_as_they_were_sampled(engine: Engine, tiny: tuple[Any, Any]) -> None:
    """Half characters: text would come back as other ids."""
    kept = tokens_of(served(engine, Sampling(max_new_tokens=30, temperature=1.0)), 2, 2)
    tokenizer = tiny[1]
    assert any(tokenizer(tokenizer.decode(one["ids"]))["input_ids"] != one["ids"] for one in kept)
    prompts = [body.get("prompt", body.get("input_ids")) for body in engine.requests]
    for tokens in kept:  # the second turn's prompt begins with the first, as it was sampled
        assert any(prompt == tokens["ids"][: len(prompt)] for prompt in prompts if len(prompt) > 30)


def test_an_answer_ends_where_the_context_does(tiny: tuple[Any, Any]) -> None:
    with Engine("vllm", *tiny, "tiny", context=70) as engine:
        tokens = tokens_of(served(engine, Sampling(max_new_tokens=50)), 1, 3)[0]
    assert all(
        len(body["prompt"]) + body["max_tokens"] <= 70 for body in engine.requests if len(body["prompt"]) < 70
    )
    assert len(tokens["ids"]) >= 70


def adapted(folder: Path, model: Any, seed: int) -> Any:
    """An adapter that changes something, in a folder."""
    from peft import LoraConfig, get_peft_model

    torch.manual_seed(seed)
    config = LoraConfig(r=4, target_modules="all-linear", init_lora_weights=False, task_type="CAUSAL_LM")
    peft = get_peft_model(deepcopy(model), config).eval()
    peft.save_pretrained(folder)
    return peft


def test_weights_are_brought_over(engine: Engine, tiny: tuple[Any, Any], tmp_path: Path) -> None:
    policy = Served(engine.url, Sampling(temperature=1.0, max_new_tokens=10), patience=QUICK)
    assert policy.server.model == "tiny"
    before = say_once(policy)
    assert sampled(before) == pytest.approx(scores(tiny[0], before), abs=1e-4)
    names = set()
    for seed in (1, 2):
        model = adapted(tmp_path / "adapter", tiny[0], seed)
        policy.sync(tmp_path / "adapter")
        names.add(policy.adapter)
        assert list(engine.adapters) == [policy.adapter]  # the one before is gone
        after = say_once(policy)
        assert sampled(after) == pytest.approx(scores(model, after), abs=1e-4)
        assert sampled(after) != pytest.approx(scores(tiny[0], after), abs=1e-2)
    assert len(names) == 2
    asyncio.run(policy.aclose())
    assert not engine.adapters
    with pytest.raises(RunError, match=r"started anew: go on with --resume"):  # never the bare model
        say_once(policy)


def test_a_whole_model_is_brought_over(engine: Engine, tiny: tuple[Any, Any], tmp_path: Path) -> None:
    model = deepcopy(tiny[0])
    with torch.no_grad():
        model.model.layers[0].mlp.down_proj.weight.mul_(-3)
    model.save_pretrained(tmp_path)
    policy = served(engine, Sampling(temperature=1.0, max_new_tokens=10))
    policy.sync(tmp_path)
    after = say_once(policy)
    assert sampled(after) == pytest.approx(scores(model, after), abs=1e-4)
    assert sampled(after) != pytest.approx(scores(tiny[0], after), abs=1e-3)


def test_a_folder_without_weights_is_refused(engine: Engine, tmp_path: Path) -> None:
    policy = served(engine, Sampling())
    with pytest.raises(UsageError, match="holds no weights"):
        policy.sync(tmp_path)


def test_a_server_without_adapters_is_told_how_to_start(
    engine: Engine, tiny: tuple[Any, Any], tmp_path: Path
) -> None:
    engine.takes_adapters = False
    adapted(tmp_path, tiny[0], 0)
    with pytest.raises(UsageError, match=r"does not take an adapter.*start it with .*--enable-lora"):
        served(engine, Sampling()).sync(tmp_path)


# ---- what a server may do wrong ------------------------------------------------------------------


def first(answer: Json) -> Json:
    """Where an engine keeps what was sampled."""
    found: Json = answer["choices"][0] if "choices" in answer else answer
    return found


def no_ids(answer: Json) -> Json:
    first(answer).pop("token_ids", None)
    answer.get("meta_info", {}).pop("output_token_logprobs", None)
    return answer


def one_logprob_less(answer: Json) -> Json:
    if "choices" in answer:
        first(answer)["logprobs"]["token_logprobs"].pop()
    else:
        answer["meta_info"]["output_token_logprobs"].pop()
    return answer


def no_logprob(answer: Json) -> Json:
    if "choices" in answer:
        first(answer)["logprobs"]["token_logprobs"][0] = None
    else:
        answer["meta_info"]["output_token_logprobs"][0][0] = None
    return answer


def odd_end(answer: Json) -> Json:
    if "choices" in answer:
        first(answer)["finish_reason"] = "abort"
    else:
        answer["meta_info"]["finish_reason"] = {"type": "abort", "message": "x"}
    return answer


def longer_prompt(answer: Json) -> Json:
    """As if the server had put a token of its own before ours."""
    answer.get("usage", answer.get("meta_info", {}))["prompt_tokens"] += 1
    return answer


SPOILERS = {
    "no token ids": no_ids,
    "token ids, .* log-probabilities and a count of": one_logprob_less,
    "log-probabilities that are none": no_logprob,
    "broke off its reply": odd_end,
    "tokens of a prompt that has": longer_prompt,
}


@pytest.mark.parametrize("problem", SPOILERS)
def test_a_server_that_cannot_is_refused_before_the_first_episode(problem: str, engine: Engine) -> None:
    engine.spoil = SPOILERS[problem]
    with pytest.raises(UsageError, match=rf"gives no token ids .*{problem}.*serve the model with vLLM"):
        say_once(served(engine, Sampling(max_new_tokens=5)))


@pytest.mark.parametrize("problem", SPOILERS)
def test_what_does_not_fit_is_no_answer(problem: str, engine: Engine) -> None:
    policy = served(engine, Sampling(max_new_tokens=5))
    say_once(policy)
    engine.spoil = SPOILERS[problem]
    with pytest.raises(PolicyFailure, match=problem if "prompt" in problem else f"{problem}.*tried 3 times"):
        say_once(policy)


@pytest.mark.parametrize("problem", [p for p in SPOILERS if "prompt" not in p])
def test_trouble_that_passes_is_asked_again(problem: str, engine: Engine) -> None:
    policy = served(engine, Sampling(max_new_tokens=5))
    expected = say_once(policy)
    once = [SPOILERS[problem]]
    engine.spoil = lambda answer: once.pop()(answer) if once else answer
    assert say_once(policy) == expected
    assert not once


def test_other_text_for_the_same_ids_is_refused(engine: Engine) -> None:
    def other(answer: Json) -> Json:
        first(answer)["text"] = "something else"
        return answer

    engine.spoil = other
    with pytest.raises(UsageError, match="do not mean the same by token ids"):
        say_once(served(engine, Sampling(max_new_tokens=5)))


def test_logprobs_of_another_temperature_are_refused(engine: Engine) -> None:
    engine.raw = True
    with pytest.raises(UsageError, match=r"log-probabilities of temperature 1.*processed_logprobs"):
        say_once(served(engine, Sampling(temperature=0.5, max_new_tokens=5)))
    assert sampled(say_once(served(engine, Sampling(temperature=1.0, max_new_tokens=5))))


def test_a_server_that_dies_ends_the_run_in_a_sentence(engine: Engine) -> None:
    patience = replace(QUICK, tries=8, total_s=1.0)
    policy = Served(f"tiny@{engine.url}", Sampling(max_new_tokens=5), patience=patience)
    say_once(policy)
    engine.stop()
    with pytest.raises(RunError, match=r"has not answered for .*go on with --resume"):
        say_once(policy)


def test_no_server_is_said_at_once() -> None:
    with pytest.raises(RunError, match="refuses the connection; is it running"):
        Served("tiny@http://127.0.0.1:9/v1", Sampling())


def test_an_unknown_model_is_said_at_once(engine: Engine) -> None:
    with pytest.raises(UsageError, match="serves no model 'tinny'; did you mean 'tiny'"):
        Served(f"tinny@{engine.url}", Sampling())


def test_a_model_whose_tokenizer_nobody_knows(tiny: tuple[Any, Any]) -> None:
    with (
        Engine("vllm", *tiny, "mine") as engine,
        pytest.raises(UsageError, match="the tokenizer of 'mine' cannot be found"),
    ):
        Served(f"mine@{engine.url}", Sampling())


def test_every_option_is_said(engine: Engine) -> None:
    """Engines take what is not said from the model's generation_config."""
    service = Service(protocol="tokens", extra_body={"min_p": 0.1})
    say_once(served(engine, Sampling(max_new_tokens=5, top_p=0.9), service=service))
    body = engine.requests[-1]
    options = body.get("sampling_params", body)
    expected = {"temperature": 0.0, "top_p": 0.9, "top_k": -1, "min_p": 0.1, "repetition_penalty": 1.0}
    assert {name: options[name] for name in expected} == expected


# ---- on the command line -------------------------------------------------------------------------


def test_a_rollout_through_token_ids(tiny: tuple[Any, Any], tm: Tm) -> None:
    limits = ("--max-new-tokens", "8", "--max-turns", "2")
    with Engine("vllm", *tiny, "tiny") as engine:
        words = ("rollout", "--policy", f"tiny@{engine.url}", "--protocol", "tokens", "--tasks", "unseen")
        done = tm(*words, "-n", "2", *limits)
    assert done.returncode == 0, done.stderr.decode()
    for episode in records(done.stdout):
        tokens = episode["tokens"]
        assert len(tokens["ids"]) == len(tokens["mask"]) == len(tokens["logprobs"])
        assert sum(tokens["mask"]) == episode["usage"]["completion_tokens"]
        assert episode["policy"]["sampling"]["protocol"] == "tokens"


def test_a_server_of_text_is_refused_on_the_command_line(tm: Tm) -> None:
    with ModelServer(say(text("Hello"))) as server:
        words = ("rollout", "--policy", f"tiny@{server.url}", "--tasks", "unseen", "-n", "1")
        done = tm(*words, "--protocol", "tokens")
    assert done.returncode == 2
    assert b"lists no models; does its address end in /v1?" in done.stderr


KEYS = [
    "choices", "usage", "meta_info", "finish_reason", "type", "token_ids", "logprobs", "token_logprobs",
    "output_token_logprobs", "completion_tokens",
]  # fmt: skip
ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(KEYS), inner, max_size=4),
    max_leaves=12,
)


@given(ANYTHING, st.sampled_from([200, 400, 500]))
def test_readers_never_raise(body: Any, status: int) -> None:
    for read in (read_vllm, read_sglang):
        outcome = read(status, json.dumps(body).encode())
        assert outcome.then in ("again", "failed", "said")
        if outcome.then == "said":
            said = outcome.choice["message"]
            assert len(said["token_ids"]) == len(said["logprobs"]) > 0


def test_a_served_policy_follows_a_model_in_training(
    engine: Engine, tiny: tuple[Any, Any], tmp_path: Path
) -> None:
    sampling = Sampling(temperature=1.0, max_new_tokens=10)
    policy = Trained(engine.url, sampling, Chat(tiny[1]), tmp_path / "served")
    policy.model = adapted(tmp_path / "other", tiny[0], 5)
    for _ in range(2):
        policy.refresh()
        after = say_once(policy)
        assert sampled(after) == pytest.approx(scores(policy.model, after), abs=1e-4)
        with torch.no_grad():
            for name, weight in policy.model.named_parameters():
                weight.mul_(0.5 if "lora_" in name else 1.0)
    assert sampled(after) != pytest.approx(scores(policy.model, after), abs=1e-3)
