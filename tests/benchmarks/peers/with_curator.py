"""The contender `curator` (bespokelabs-curator 0.1): three rounds of a batch.

    python with_curator.py URL FOLDER EPISODES CONCURRENCY

It has no loop of turns and no tools: `LLM` asks one thing of each row. So each turn is a round over all rows
whose output the next one takes up, which is what its documentation shows for several steps. A call comes
as one of the chat completions API; going back, its messages know neither calls nor a `tool` role, so the
assistant's words and what the tool returns (as the user's) stand for them. Its cache and telemetry are off,
its limits per minute out of the way.
"""

from __future__ import annotations

import importlib.util
import json
import os
import sys
from itertools import islice
from pathlib import Path
from typing import Any

os.environ |= {"CURATOR_DISABLE_CACHE": "1", "CURATOR_VIEWER": "0", "TELEMETRY_ENABLED": "0"}
os.environ["LITELLM_LOCAL_MODEL_COST_MAP"] = "True"
# The encoding by which it counts tokens would be fetched from the net: litellm, which it needs, brings it.
found = importlib.util.find_spec("litellm")
assert found is not None
assert found.origin is not None
(encoding,) = Path(found.origin).parent.rglob("9b5ad71b2ce5302211f9c61530b329a4922fc6a4")
os.environ["TIKTOKEN_CACHE_DIR"] = str(encoding.parent)

from bespokelabs import curator  # noqa: E402  reads the environment

TURNS = 3
Json = dict[str, Any]


class Turn(curator.LLM):
    return_completions_object = True

    def prompt(self, row: Json) -> list[Json]:
        return json.loads(row["messages"])

    def parse(self, row: Json, response: Json) -> Json:
        message = response["choices"][0]["message"]
        messages = json.loads(row["messages"])
        messages.append({"role": "assistant", "content": message["content"]})
        messages += [{"role": "user", "content": '{"status": "ok"}'}] * len(message.get("tool_calls") or [])
        return {"messages": json.dumps(messages), "generation_params": row["generation_params"]}


def main(url: str, folder: str, n: str, concurrency: str) -> int:
    with (Path(folder) / "dialogues.jsonl").open() as lines:
        dialogues = [json.loads(line) for line in islice(lines, int(n))]
    ask = Turn(
        model_name="m",
        backend="openai",
        generation_params={"temperature": 0, "max_tokens": 512},
        backend_params={
            "base_url": url,
            "api_key": "none",
            "max_concurrent_requests": int(concurrency),
            "max_requests_per_minute": 10**9,
            "max_tokens_per_minute": 10**12,
            "require_all_responses": False,
        },
    )
    rows: Any = [
        {
            "messages": json.dumps(one["messages"]),
            "generation_params": json.dumps({"tools": one["tools"]}),
        }
        for one in dialogues
    ]
    for turn in range(TURNS):
        rows = ask(rows, working_dir=str(Path(folder) / f"curator-{turn}")).dataset
    return sum("<answer>" in json.loads(row["messages"])[-1]["content"] for row in rows)


if __name__ == "__main__":
    done = main(*sys.argv[1:])
    print(f"\n{done}")
