"""What a call of an `mcp` tool costs beside the SDK's own client asking the same server.

    python tests/benchmarks/mcp_calls.py [--calls 300] [--rounds 5] [--starts 5]

The server is the tests' one, written with the SDK: over stdio each client has its own process, over
streamable HTTP they share one on loopback. Clients take turns within each round, so that a busy machine
disturbs them alike; compare the ratios. A start is everything from nothing to the first reply, and to the
end of the server or session. The table goes to stderr, one JSON object to stdout.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path

from mcp import Client, StdioServerParameters

from tmcli.environments.world import World
from tmcli.records import new_task

SERVER = Path(__file__).parents[1] / "mcp_server.py"

Ask = Callable[[], Awaitable[None]]
Open = Callable[[], AbstractAsyncContextManager[Ask]]


@asynccontextmanager
async def raw(server: StdioServerParameters | str) -> AsyncIterator[Ask]:
    # with the handshake, as tm opens it: the newer protocol has no sessions that keep a state
    async with Client(server, mode="legacy") as client:

        async def ask() -> None:
            assert not (await client.call_tool("greet", {"name": "Emma"})).is_error

        yield ask


@asynccontextmanager
async def ours(world: World, config: str, name: str) -> AsyncIterator[Ask]:
    env = {"kind": "mcp", "config": config, "servers": [name]}
    session = world.open(new_task(messages=[], tools=[], env=env, answer=[]))

    async def ask() -> None:
        assert (await session.call("greet", {"name": "Emma"})).ok

    try:
        yield ask
    finally:
        await session.close()


async def call_times(clients: dict[str, Open], n_calls: int, rounds: int) -> dict[str, list[float]]:
    """Client -> seconds of each call, within one session each."""
    times: dict[str, list[float]] = {name: [] for name in clients}
    for _ in range(rounds):
        for name, client in clients.items():
            async with client() as ask:
                for _ in range(20):
                    await ask()
                for _ in range(n_calls):
                    started = time.perf_counter()
                    await ask()
                    times[name].append(time.perf_counter() - started)
    return times


async def start_times(clients: dict[str, Open], n_starts: int) -> dict[str, list[float]]:
    """Client -> seconds of sessions of one call."""
    times: dict[str, list[float]] = {name: [] for name in clients}
    for _ in range(n_starts):
        for name, client in clients.items():
            started = time.perf_counter()
            async with client() as ask:
                await ask()
            times[name].append(time.perf_counter() - started)
    return times


async def measure(url: str, config: str, options: argparse.Namespace) -> dict[str, dict[str, float]]:
    world = World()
    stdio = StdioServerParameters(command=sys.executable, args=[str(SERVER), "stdio"])
    report: dict[str, dict[str, float]] = {}
    for wire, server in (("stdio", stdio), ("http", url)):
        clients: dict[str, Open] = {
            f"SDK {wire}": lambda server=server: raw(server),  # type: ignore[misc]
            f"tm {wire}": lambda wire=wire: ours(world, config, wire),  # type: ignore[misc]
        }
        calls = await call_times(clients, options.calls, options.rounds)
        starts = await start_times(clients, options.starts)
        bare = f"SDK {wire}"
        for name in clients:
            report[name] = {
                "p50_ms": round(statistics.median(calls[name]) * 1000, 3),
                "p50_ratio": round(statistics.median(calls[name]) / statistics.median(calls[bare]), 3),
                "p99_ms": round(sorted(calls[name])[int(len(calls[name]) * 0.99)] * 1000, 3),
                "start_ms": round(statistics.median(starts[name]) * 1000, 1),
                "start_ratio": round(statistics.median(starts[name]) / statistics.median(starts[bare]), 3),
            }
    await world.close()
    return report


def main() -> None:
    parser = argparse.ArgumentParser(description="What a call of an mcp tool costs beside the bare SDK.")
    parser.add_argument("--calls", type=int, default=300, help="a round and client")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--starts", type=int, default=5)
    options = parser.parse_args()
    argv = [sys.executable, str(SERVER), "http"]
    with (
        tempfile.TemporaryDirectory() as folder,
        subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as web,
    ):
        assert web.stdout is not None
        url = f"http://127.0.0.1:{web.stdout.readline().strip()}/mcp"
        path = Path(folder) / "mcp.json"
        stdio = {"command": sys.executable, "args": [str(SERVER), "stdio"]}
        path.write_text(json.dumps({"mcpServers": {"stdio": stdio, "http": {"url": url}}}))
        try:
            report = asyncio.run(measure(url, str(path), options))
        finally:
            web.kill()
    for name, row in report.items():
        call = f"p50 {row['p50_ms']:7.3f} ms  x{row['p50_ratio']:<5.2f} p99 {row['p99_ms']:7.3f} ms"
        start = f"{row['start_ms']:7.1f} ms  x{row['start_ratio']:.2f}"
        print(f"{name:10} call {call}   start to end {start}", file=sys.stderr)
    print(json.dumps(report))


if __name__ == "__main__":
    main()
