"""The contender `inspect` (inspect-ai 0.3): one `eval` of its `generate` loop.

    python with_inspect.py URL FOLDER EPISODES CONCURRENCY

Tools return at once, nothing is scored, its log is written, nothing is displayed.
"""

from __future__ import annotations

import json
import sys
from itertools import islice
from pathlib import Path
from typing import Any

from inspect_ai import Task, eval
from inspect_ai.dataset import Sample
from inspect_ai.model import ChatMessageSystem, ChatMessageUser, get_model
from inspect_ai.solver import Generate, TaskState, solver
from inspect_ai.tool import ToolDef, ToolParams


def tool(function: dict[str, Any]) -> Any:
    async def execute(**arguments: Any) -> str:
        return '{"status": "ok"}'

    schema = function["parameters"]
    named = {name: {"description": name, **one} for name, one in schema["properties"].items()}
    parameters = ToolParams(properties=named, required=schema.get("required", []))
    about = function.get("description") or "none"
    return ToolDef(execute, function["name"], about, parameters).as_tool()


@solver
def dialogue() -> Any:
    async def solve(state: TaskState, generate: Generate) -> TaskState:
        state.tools = [tool(one["function"]) for one in state.metadata["tools"]]
        return await generate(state, tool_calls="loop")

    return solve


def main(url: str, folder: str, n: str, concurrency: str) -> int:
    with (Path(folder) / "dialogues.jsonl").open() as lines:
        dialogues = [json.loads(line) for line in islice(lines, int(n))]
    samples = [
        Sample(
            input=[
                ChatMessageSystem(content=one["messages"][0]["content"]),
                ChatMessageUser(content=one["messages"][1]["content"]),
            ],
            metadata={"tools": one["tools"]},
        )
        for one in dialogues
    ]
    (log,) = eval(
        Task(dataset=samples, solver=dialogue()),
        model=get_model("openai-api/local/m", base_url=url, api_key="none"),
        max_connections=int(concurrency),
        max_samples=int(concurrency),
        fail_on_error=False,
        display="none",
        log_dir=str(Path(folder) / "logs"),
    )
    return sum("<answer>" in one.output.completion for one in log.samples or [] if one.error is None)


if __name__ == "__main__":
    print(main(*sys.argv[1:]))
