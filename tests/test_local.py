"""The local policy against plain forward passes: ids, caches and log-probs are what they claim."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
import torch

from tmcli import model as models
from tmcli.chat import Chat
from tmcli.policies import Sampling
from tmcli.policies.local import Local
from tmcli.records import Json, Task, new_task

TOOL: Json = {
    "type": "function",
    "function": {
        "name": "look",
        "description": "Look up",
        "parameters": {"type": "object", "properties": {"key": {"type": "string"}}, "required": ["key"]},
    },
}


def tasks(n: int) -> list[Task]:
    return [
        new_task(
            messages=[{"role": "user", "content": "What is " + "x" * (3 * i + 1) + "?"}],
            tools=[TOOL],
            env={"kind": "python", "codes": {}},
            answer=["1"],
        )
        for i in range(n)
    ]


@pytest.fixture(scope="module")
def tiny() -> tuple[Any, Chat]:
    model, tokenizer = models.load("tiny", dtype=torch.float32)
    return model, Chat(tokenizer)


async def dialogue(policy: Local, task: Task, sample: int, n_turns: int) -> Json:
    """Turns with a tool reply between them, as an episode would have."""
    conversation = policy.open(task, sample)
    messages: list[Json] = [{"role": "system", "content": "s"}, *task.messages]
    for turn in range(n_turns):
        reply = await conversation.reply(messages)
        messages.append({"role": "assistant", "content": reply.content})
        messages.append({"role": "tool", "tool_call_id": f"call_{turn}", "content": "r" * (5 + turn)})
    tokens = conversation.tokens
    conversation.close()
    assert tokens is not None
    return tokens


def play(policy: Local, n: int, n_turns: int, samples: int = 1) -> list[Json]:
    async def everyone() -> list[Json]:
        return await asyncio.gather(
            *(dialogue(policy, t, s, n_turns) for t in tasks(n) for s in range(samples))
        )

    return asyncio.run(everyone())


def test_greedy_ids_and_logprobs_equal_a_fresh_forward_pass(tiny: tuple[Any, Chat]) -> None:
    model, chat = tiny
    policy = Local("tiny", model, chat, Sampling(max_new_tokens=9))
    for tokens in play(policy, n=5, n_turns=3):
        ids, mask, logprobs = tokens["ids"], tokens["mask"], tokens["logprobs"]
        assert len(ids) == len(mask) == len(logprobs)
        assert sum(mask) > 9
        with torch.inference_mode():
            scores = torch.log_softmax(model(torch.tensor([ids])).logits[0].float(), -1)
        for position, sampled in enumerate(mask):
            if sampled:
                before = scores[position - 1]
                assert before[ids[position]] >= before.max() - 1e-4
                assert before[ids[position]].item() == pytest.approx(logprobs[position], abs=1e-4)


def test_a_batch_says_what_each_would_say_alone(tiny: tuple[Any, Chat]) -> None:
    model, chat = tiny
    sampling = Sampling(max_new_tokens=7, temperature=1.0)
    together = play(Local("tiny", model, chat, sampling), 4, 2, samples=2)
    alone = [
        asyncio.run(dialogue(Local("tiny", model, chat, sampling), t, s, 2))["ids"]
        for t in tasks(4)
        for s in range(2)
    ]
    assert [tokens["ids"] for tokens in together] == alone
    assert alone[0] != alone[1]  # samples of one task differ


def test_sampled_tokens_are_never_tokenised_again(tiny: tuple[Any, Chat]) -> None:
    """Ids that do not survive decode + encode (here: broken UTF-8) stay as they were sampled."""
    model, chat = tiny
    policy = Local("tiny", model, chat, Sampling(max_new_tokens=40, temperature=1.5, seed=3))
    kept = [t["ids"] for t in play(policy, n=3, n_turns=2)]
    assert any(chat.tokenizer(chat.tokenizer.decode(ids))["input_ids"] != ids for ids in kept)


def test_top_p_never_leaves_the_nucleus(tiny: tuple[Any, Chat]) -> None:
    model, chat = tiny
    greedy = play(Local("tiny", model, chat, Sampling(max_new_tokens=8)), 2, 1)
    nucleus = play(Local("tiny", model, chat, Sampling(max_new_tokens=8, temperature=1.0, top_p=1e-6)), 2, 1)
    assert [t["ids"] for t in greedy] == [t["ids"] for t in nucleus]


def test_a_full_context_ends_with_length(tiny: tuple[Any, Chat], monkeypatch: pytest.MonkeyPatch) -> None:
    model, chat = tiny
    monkeypatch.setattr(model.config, "max_position_embeddings", 30)
    policy = Local("tiny", model, chat, Sampling(max_new_tokens=8))

    async def one() -> str:
        return (await policy.open(tasks(1)[0], 0).reply([{"role": "user", "content": "y" * 50}])).finish

    assert asyncio.run(one()) == "length"


def test_requests_that_come_as_the_threads_rest_are_heard(tiny: tuple[Any, Chat]) -> None:
    """Between two conversations nobody is there, and OpenMP's workers are dismissed: nothing else changes."""
    model, chat = tiny
    policy = Local("tiny", model, chat, Sampling(max_new_tokens=4))

    async def one_after_another() -> list[list[int]]:
        return [(await dialogue(policy, tasks(1)[0], 0, 1))["ids"] for _ in range(30)]

    said = asyncio.run(asyncio.wait_for(one_after_another(), 60))
    policy.refresh()
    assert all(ids == said[0] for ids in said)
    assert torch.ones(1 << 20).sum().item() == 1 << 20  # they come back when they are needed
