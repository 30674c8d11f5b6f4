"""Sampled tokens per second of a local policy: plain `generate`, and tm's batch with kept caches.

    python tests/benchmarks/rollout.py [--episodes 24] [--turns 3] [--new 48]

Both continue the same dialogues (a prompt of a real task, then turns of `new` tokens with a tool reply
between them) with smollm2, greedily. `generate` gets each turn's whole context again, padded as a batch;
tm prefills only what is new. Run it with nothing else running.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import time
from typing import Any

import torch

from tmcli import model as models
from tmcli import suites
from tmcli.chat import Chat
from tmcli.policies import Sampling
from tmcli.policies.local import Local
from tmcli.protocol import prompt
from tmcli.records import Json, Task

TOLD: list[Json] = [{"role": "tool", "tool_call_id": "call_0", "name": "f", "content": '{"book_id": "B42"}'}]


def opening(task: Task) -> list[Json]:
    return [{"role": "system", "content": prompt("trial")}, *task.messages]


@torch.inference_mode()
def with_generate(model: Any, chat: Chat, tasks: list[Task], turns: int, new: int) -> float:
    """Seconds for all turns of all episodes with transformers' `generate`."""
    contexts = [chat.prompt_ids(opening(task), task.tools) for task in tasks]
    chat.tokenizer.padding_side = "left"
    started = time.perf_counter()
    for _ in range(turns):
        batch = chat.tokenizer.pad({"input_ids": contexts}, return_tensors="pt")
        out = model.generate(**batch, min_new_tokens=new, max_new_tokens=new, do_sample=False, pad_token_id=0)
        said = out[:, batch["input_ids"].shape[1] :].tolist()
        contexts = [ids + more + chat.suffix_ids(TOLD) for ids, more in zip(contexts, said, strict=True)]
    return time.perf_counter() - started


def with_tm(model: Any, chat: Chat, tasks: list[Task], turns: int, new: int) -> float:
    """Seconds for the same with tm's local policy; a turn's end is put out of reach, so lengths are equal."""
    policy = Local("smollm2", model, chat, Sampling(max_new_tokens=new))
    ends, chat.stop_ids = chat.stop_ids, frozenset()

    async def episode(task: Task) -> None:
        conversation = policy.open(task, 0)
        messages = opening(task)
        for _ in range(turns):
            reply = await conversation.reply(messages)
            messages += [{"role": "assistant", "content": reply.content}, *TOLD]
        conversation.close()

    async def everyone() -> None:
        await asyncio.gather(*map(episode, tasks))

    started = time.perf_counter()
    asyncio.run(everyone())
    chat.stop_ids = ends
    return time.perf_counter() - started


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--episodes", type=int, default=24)
    parser.add_argument("--turns", type=int, default=3)
    parser.add_argument("--new", type=int, default=48)
    options = parser.parse_args()
    model, tokenizer = models.load("smollm2")
    chat = Chat(tokenizer)
    tasks = list(suites.suite("seen", options.episodes))
    n_tokens = options.episodes * options.turns * options.new
    results = {
        name: n_tokens / how(model, chat, tasks, options.turns, options.new)
        for name, how in {"generate": with_generate, "tm": with_tm}.items()
    }
    print(f"{options.episodes} episodes x {options.turns} turns x {options.new} tokens")
    for name, speed in results.items():
        print(f"{name:10} {speed:7.1f} sampled tokens/s  {speed / results['generate']:5.2f}x")
    print(json.dumps({f"{name}_tokens_per_s": speed for name, speed in results.items()}))


if __name__ == "__main__":
    main()
