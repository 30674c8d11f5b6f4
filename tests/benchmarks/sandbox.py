"""What a tool call costs in the sandbox, beside no sandbox at all and a process for each call.

    python tests/benchmarks/sandbox.py [--rounds 5] [--calls 2000] [--sessions 100] [--processes 5]

The same call everywhere: one tool of the built-in library, its arguments checked, its reply as JSON.
- in process: the function called here, with nothing between;
- in a session: in its locked child, one call after the other;
- session per call: open, the first call, close, which is the rate at which sessions open;
- process per call: a fresh Python that builds the world and answers, without locks.
All take turns in each round, so that a busy machine disturbs them alike; compare the ratios. The table
goes to stderr, one JSON object to stdout.
"""

import argparse
import asyncio
import json
import statistics
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable
from typing import Any, cast

from tmcli import toolbox
from tmcli.environments.arguments import fault
from tmcli.environments.holds import status
from tmcli.environments.sandbox import SandboxSession
from tmcli.environments.world import World
from tmcli.records import new_task

NAME, SEED = "library", 7
TOOL = "find_book"
FRESH = """
import json, sys
import tmcli.worlds
source, seed, name, arguments = json.load(sys.stdin)
functions = {}
exec(source, functions)
print(json.dumps(functions[name](functions["make_world"](seed), **arguments)))
"""


class Ways:
    """One method for each way of making the call."""

    def __init__(self) -> None:
        self.box = toolbox.load(NAME)
        self.functions: dict[str, Any] = {}
        exec(self.box.source, self.functions)
        self.world = self.functions["make_world"](SEED)
        self.arguments = {"title": next(iter(self.world["books"].values()))["title"]}
        env = {"kind": "toolbox", "toolbox": NAME, "seed": SEED}
        self.task = new_task(messages=[], tools=[], env=env, answer=[])
        self.environment = World()
        self.session = cast(SandboxSession, self.environment.open(self.task))

    async def in_process(self) -> str:
        assert fault(self.box.tools, TOOL, self.arguments) is None
        return json.dumps(self.functions[TOOL](self.world, **self.arguments))

    async def in_a_session(self) -> str:
        return (await self.session.call(TOOL, self.arguments)).text

    async def session_per_call(self) -> str:
        session = self.environment.open(self.task)
        reply = (await session.call(TOOL, self.arguments)).text
        await session.close()
        return reply

    async def process_per_call(self) -> str:
        request = json.dumps([self.box.source, SEED, TOOL, self.arguments]).encode()
        process = await asyncio.create_subprocess_exec(
            *[sys.executable, "-c", FRESH], stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )
        reply, _ = await process.communicate(request)
        return reply.decode().strip()


async def seconds(way: Callable[[], Awaitable[str]], n: int) -> list[float]:
    """Of each of `n` calls."""
    times = []
    for _ in range(n):
        start = time.perf_counter()
        await way()
        times.append(time.perf_counter() - start)
    return times


async def measure(rounds: int, n_calls: dict[str, int]) -> dict[str, list[float]]:
    times: dict[str, list[float]] = {name: [] for name in n_calls}
    ways = Ways()
    try:
        replies = {name: await getattr(ways, name)() for name in n_calls}  # the first of each, warm
        assert len(set(replies.values())) == 1, replies
        for _ in range(rounds):
            for name, n in n_calls.items():
                times[name] += await seconds(getattr(ways, name), n)
                ways.session.history.clear()  # a benchmark's calls are no episode
    finally:
        await ways.environment.close()
    return times


def main() -> None:
    parser = argparse.ArgumentParser(description="What a tool call costs in the sandbox.")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--calls", type=int, default=2000, help="a round, in process and in a session")
    parser.add_argument("--sessions", type=int, default=100, help="a round")
    parser.add_argument("--processes", type=int, default=5, help="a round")
    options = parser.parse_args()
    n_calls = {
        "in_process": options.calls,
        "in_a_session": options.calls,
        "session_per_call": options.sessions,
        "process_per_call": options.processes,
    }
    times = asyncio.run(measure(options.rounds, n_calls))
    held = [hold.name for hold in status() if hold.holds]
    print(f"holds: {', '.join(held)}", file=sys.stderr)
    report: dict[str, Any] = {"holds": held}
    per_s = {name: len(values) / sum(values) for name, values in times.items()}
    for name, values in times.items():
        p50, p99 = statistics.median(values) * 1000, statistics.quantiles(values, n=100)[98] * 1000
        ratio = per_s[name] / per_s["process_per_call"]
        line = f"{name.replace('_', ' '):17}{per_s[name]:10,.0f} /s   p50 {p50:8.3f} ms   p99 {p99:8.3f} ms"
        print(f"{line}   x{ratio:,.0f} of a process per call", file=sys.stderr)
        report[name] = {"per_s": round(per_s[name], 1), "p50_ms": round(p50, 4), "p99_ms": round(p99, 4)}
    print(json.dumps(report))


if __name__ == "__main__":
    main()
