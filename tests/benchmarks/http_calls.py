"""What a call of an `http` tool costs beside bare httpx asking the same server.

    python tests/benchmarks/http_calls.py [--calls 2000] [--rounds 5]

The server is a child process on loopback (uvicorn, a bare ASGI application, a reply of 1.5 kB). Both take
turns within each round, so that a busy machine disturbs them alike; compare the ratios. The table goes to
stderr, one JSON object to stdout.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import httpx

from tmcli.environments.world import World
from tmcli.records import new_task

PETS = {"page": 1, "pets": [{"id": i, "name": f"pet number {i}", "kind": "cat"} for i in range(30)]}
DOCUMENT = {
    "openapi": "3.1.0",
    "paths": {
        "/pets/{id}": {
            "get": {
                "operationId": "get_pet",
                "parameters": [
                    {"name": "id", "in": "path", "required": True, "schema": {"type": "integer"}},
                    {"name": "page", "in": "query", "schema": {"type": "integer"}},
                ],
                "responses": {"200": {"content": {"application/json": {"example": PETS}}}},
            }
        }
    },
}
CONCURRENCY = (1, 16)

Ask = Callable[[int], Awaitable[None]]


async def application(scope: Any, receive: Any, send: Any) -> None:
    """The server: always the same reply."""
    if scope["type"] != "http":
        return
    headers = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(REPLY))]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": REPLY})


REPLY = json.dumps(PETS).encode()


def serve(number: int) -> None:
    """Serve on a socket that the parent opened, until it closes our stdin."""
    import threading

    import uvicorn

    server = uvicorn.Server(uvicorn.Config(application, log_level="error", access_log=False, lifespan="off"))

    def watch() -> None:
        sys.stdin.read()
        server.should_exit = True

    threading.Thread(target=watch, daemon=True).start()
    server.run(sockets=[socket.socket(fileno=number)])


async def timed(ask: Ask, n_calls: int, at_once: int) -> list[float]:
    """Seconds of the whole, then of each call."""
    numbers = iter(range(n_calls))
    times: list[float] = []

    async def worker() -> None:
        for number in numbers:
            started = time.perf_counter()
            await ask(number)
            times.append(time.perf_counter() - started)

    started = time.perf_counter()
    await asyncio.gather(*(worker() for _ in range(at_once)))
    return [time.perf_counter() - started, *times]


async def measure(url: str, path: str, n_calls: int, rounds: int) -> dict[str, dict[int, list[list[float]]]]:
    world, simulated = World(), World(simulate=True)
    env = {"kind": "http", "openapi": path, "base_url": url}
    task = new_task(messages=[], tools=[], env=env, answer=[])
    session, document = world.open(task), simulated.open(task)
    async with httpx.AsyncClient() as client:

        async def raw(number: int) -> None:
            response = await client.get(f"{url}/pets/{number}", params={"page": 1})
            assert response.json()["page"] == 1

        async def ours(number: int) -> None:
            assert (await session.call("get_pet", {"id": number, "page": 1})).ok

        async def nobody(number: int) -> None:
            assert (await document.call("get_pet", {"id": number, "page": 1})).ok

        programs: dict[str, Ask] = {"bare httpx": raw, "tm http": ours, "tm --simulate": nobody}
        times: dict[str, dict[int, list[list[float]]]] = {
            name: {at_once: [] for at_once in CONCURRENCY} for name in programs
        }
        for ask in programs.values():
            await timed(ask, max(20, n_calls // 20), 16)  # connections, code and caches are warm
        for _ in range(rounds):
            for at_once in CONCURRENCY:
                for name, ask in programs.items():
                    times[name][at_once].append(await timed(ask, n_calls, at_once))
    await session.close()
    await world.close()
    await simulated.close()
    return times


def main() -> None:
    parser = argparse.ArgumentParser(description="What a call of an http tool costs beside bare httpx.")
    parser.add_argument("--calls", type=int, default=2000, help="a round, for each concurrency")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--serve", type=int, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.serve is not None:
        serve(options.serve)
        return
    with tempfile.TemporaryDirectory() as folder, socket.create_server(("127.0.0.1", 0), backlog=128) as held:
        path = Path(folder) / "pets.json"
        path.write_text(json.dumps(DOCUMENT))
        number = held.fileno()
        child = subprocess.Popen(
            [sys.executable, __file__, "--serve", str(number)], stdin=subprocess.PIPE, pass_fds=[number]
        )
        try:
            url = f"http://127.0.0.1:{held.getsockname()[1]}"
            times = asyncio.run(measure(url, str(path), options.calls, options.rounds))
        finally:
            child.communicate()
    report: dict[str, Any] = {}
    for name, by_concurrency in times.items():
        p50_ms = statistics.median(t for runs in by_concurrency[1] for t in runs[1:]) * 1000
        rates = {
            n: statistics.median(options.calls / runs[0] for runs in by_concurrency[n]) for n in CONCURRENCY
        }
        report[name] = {
            "p50_ms": round(p50_ms, 3),
            **{f"calls_per_s_{n}": round(r) for n, r in rates.items()},
        }
    bare = report["bare httpx"]
    for name, row in report.items():
        row["p50_ratio"] = round(row["p50_ms"] / bare["p50_ms"], 3)
        print(
            f"{name:14} p50 {row['p50_ms']:7.3f} ms  x{row['p50_ratio']:<5.2f}"
            + "".join(f"  {row[f'calls_per_s_{n}']:7d} calls/s at {n:2d} at once" for n in CONCURRENCY),
            file=sys.stderr,
        )
    print(json.dumps(report))


if __name__ == "__main__":
    main()
