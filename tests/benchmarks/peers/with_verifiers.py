"""The contender `verifiers` (0.4): its `Agent`, run on so many tasks at once.

    python with_verifiers.py URL FOLDER EPISODES CONCURRENCY

Its own harnesses (`bash`, `null`) start a Python program by `uv` for each episode, and its tools are MCP
servers. Here is the least that its documentation allows: a harness whose chat loop and tools run in this
process, over the interception server that every agent has. Traces are kept, not written.
"""

from __future__ import annotations

import asyncio
import json
import logging
import sys
from itertools import islice
from pathlib import Path
from typing import Any

import openai
import verifiers.v1 as vf

__all__ = ["LoopHarness"]


class Data(vf.TaskData):
    tools: list[dict[str, Any]]


class LoopConfig(vf.HarnessConfig):
    id: str = "with_verifiers"


class LoopHarness(vf.Harness[LoopConfig]):
    APPENDS_SYSTEM_PROMPT = True
    EXECUTES_CODE = False
    NEEDS_CONTAINER = False

    async def launch(
        self,
        ctx: vf.ModelContext,
        trace: vf.Trace,
        runtime: vf.Runtime,
        endpoint: str,
        secret: str,
        mcp_urls: dict[str, str],
        data: Data,
    ) -> vf.ProgramResult:
        system, prompt = self.resolve_text_prompt(data)
        messages: list[Any] = [{"role": "system", "content": system}, {"role": "user", "content": prompt}]
        # One client for all episodes: the endpoint is one server, only the key differs.
        client = shared(endpoint).with_options(api_key=secret)
        while True:
            completion = await client.chat.completions.create(
                model=ctx.model, messages=messages, tools=data.tools
            )
            message = completion.choices[0].message
            messages.append(message.model_dump(exclude_none=True))
            if not message.tool_calls:
                return vf.ProgramResult(exit_code=0, stdout=message.content or "", stderr="")
            for call in message.tool_calls:
                reply = {"role": "tool", "tool_call_id": call.id, "content": '{"status": "ok"}'}
                messages.append(reply)


clients: dict[str, openai.AsyncOpenAI] = {}


def shared(endpoint: str) -> openai.AsyncOpenAI:
    if endpoint not in clients:
        clients[endpoint] = openai.AsyncOpenAI(base_url=endpoint, api_key="none", max_retries=8)
    return clients[endpoint]


async def main(url: str, folder: str, n: str, concurrency: str) -> int:
    with (Path(folder) / "dialogues.jsonl").open() as lines:
        dialogues = [json.loads(line) for line in islice(lines, int(n))]
    tasks = [
        vf.Task(
            Data(
                idx=number,
                system_prompt=one["messages"][0]["content"],
                prompt=one["messages"][1]["content"],
                tools=one["tools"],
            )
        )
        for number, one in enumerate(dialogues)
    ]
    config = vf.AgentConfig(
        harness=LoopConfig(),
        runtime=vf.SubprocessConfig(),
        model="m",
        client=vf.EvalClientConfig(base_url=url, api_key_var="OPENAI_API_KEY"),
        sampling=vf.SamplingConfig(temperature=0, max_tokens=512),
    )
    room = asyncio.Semaphore(int(concurrency))
    async with vf.Agent(config) as agent:

        async def play(task: vf.Task) -> bool:
            async with room:
                trace = await agent.run(task)
                return trace.ok and trace.num_turns == 3

        return sum(await asyncio.gather(*map(play, tasks)))


if __name__ == "__main__":
    logging.basicConfig(level=logging.ERROR)
    print(asyncio.run(main(*sys.argv[1:])))
