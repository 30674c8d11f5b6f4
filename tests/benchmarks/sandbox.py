"""What a tool call costs in the sandbox, beside no sandbox at all and a process for each call.

    python tests/benchmarks/sandbox.py [--rounds 5] [--calls 2000] [--sessions 100] [--processes 5]
    python tests/benchmarks/sandbox.py --at-once 256,1024      # how many of them a round opens together

The same call everywhere: one tool of the built-in library, its arguments checked, its reply as JSON.
- in process: the function called here, with nothing between;
- in a session: in a locked child, one call after the other;
- shared session per call: open, the first call, close, where sessions share children as those of a built-in
  toolbox do: the rate at which sessions open;
- own session per call: the same with a child for each session, as for a toolbox of your own;
- process per call: a fresh Python that builds the world and answers, without locks.
All take turns in each round, so that a busy machine disturbs them alike; compare the ratios. Then so many
sessions at once (1,024), each with two calls: sessions/s, what this process spends on one, and the longest
that its event loop did nothing else. The table goes to stderr, one JSON object to stdout.
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
from tmcli.records import Json, new_task

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

    def opened(self, shared: bool) -> SandboxSession:
        session = cast(SandboxSession, self.environment.open(self.task))
        session.shared = shared
        return session

    async def played(self, shared: bool, n_calls: int = 1) -> str:
        session = self.opened(shared)
        for _ in range(n_calls):
            reply = (await session.call(TOOL, self.arguments)).text
        await session.close()
        return reply

    async def shared_session_per_call(self) -> str:
        return await self.played(shared=True)

    async def own_session_per_call(self) -> str:
        return await self.played(shared=False)

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


async def at_once(ways: Ways, n: int, shared: bool) -> Json:
    """`n` sessions, all of them open before the first is closed."""
    longest_s, before = 0.0, time.perf_counter()

    async def tick() -> None:
        nonlocal longest_s, before
        while True:
            await asyncio.sleep(0.001)
            longest_s, before = max(longest_s, time.perf_counter() - before), time.perf_counter()

    ticking = asyncio.create_task(tick())
    start, cpu = time.perf_counter(), time.process_time()
    sessions = [ways.opened(shared) for _ in range(n)]
    for _ in range(2):
        await asyncio.gather(*(session.call(TOOL, ways.arguments) for session in sessions))
    for session in sessions:
        await session.close()
    took = time.perf_counter() - start
    cpu_ms = (time.process_time() - cpu) / n * 1000
    ticking.cancel()
    return {"per_s": round(n / took, 1), "longest_ms": round(longest_s * 1000, 1), "cpu_ms": round(cpu_ms, 3)}


async def crowds(numbers: list[int]) -> dict[str, Json]:
    ways = Ways()
    try:
        await ways.played(shared=True)
        return {
            f"{n}_{'shared' if shared else 'own'}_at_once": await at_once(ways, n, shared)
            for n in numbers
            for shared in (True, False)
        }
    finally:
        await ways.environment.close()


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
    parser.add_argument("--at-once", default="1024", help="numbers of sessions, with commas")
    options = parser.parse_args()
    n_calls = {
        "in_process": options.calls,
        "in_a_session": options.calls,
        "shared_session_per_call": options.sessions,
        "own_session_per_call": options.sessions,
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
        line = f"{name.replace('_', ' '):24}{per_s[name]:10,.0f} /s   p50 {p50:8.3f} ms   p99 {p99:8.3f} ms"
        print(f"{line}   x{ratio:,.0f} of a process per call", file=sys.stderr)
        report[name] = {"per_s": round(per_s[name], 1), "p50_ms": round(p50, 4), "p99_ms": round(p99, 4)}
    for name, crowd in asyncio.run(crowds([int(n) for n in options.at_once.split(",")])).items():
        line = f"{name.replace('_', ' '):24}{crowd['per_s']:10,.0f} /s   here {crowd['cpu_ms']:.3f} ms each"
        print(f"{line}   loop blocked {crowd['longest_ms']:.0f} ms at most", file=sys.stderr)
        report[name] = crowd
    print(json.dumps(report))


if __name__ == "__main__":
    main()
