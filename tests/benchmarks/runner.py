"""What an episode costs tm beside bare loops and other frameworks, against one fast server.

    python tests/benchmarks/runner.py                                        # all of it: about an hour
    python tests/benchmarks/runner.py --tasks 200 --concurrency 64 --latency 0
    python tests/benchmarks/runner.py --peers peers/bin/python               # and openai, inspect_ai there
    python tests/benchmarks/runner.py --faults 0.2 --only openai,tm          # who survives
    python tests/benchmarks/runner.py --memory 1000,10000,100000             # is memory flat?

The same dialogues for all: a system prompt, a question and the tools of a built-in toolbox; three requests
each (call, call, answer) to `tests/load_server.py`, which runs on its own. Every contender is a process, and
what it costs is what the system says of it and its children, less what a run of two episodes costs: so the
imports are left out, which a long run pays once. `ideal` is tasks x turns x latency / concurrency.

    raw        sockets of asyncio (uvloop), nothing but the bytes
    aiohttp    a loop over one session, with orjson and uvloop: the yardstick
    httpx      a loop over one client, as it comes
    openai     a loop over the openai client, as it comes (where installed)
    runner     tm's Runner as a library, tools simulated, records dropped
    tm         `tm rollout -o FILE`, tools simulated: retries, records, resume, progress on a terminal
    sandbox    the same with the toolbox's own tools, each episode in a locked process
    inspect    its `generate` loop with tools that return at once, its log written (where installed)

The table goes to stderr, one JSON object to stdout. Run it with nothing else running.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import pty
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Awaitable, Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))

TURNS = 3
OURS = ("raw", "aiohttp", "httpx", "openai", "runner", "tm", "sandbox")
PEERS = ("inspect",)
LIMIT_S = 1800.0
"""A contender that takes longer is given up."""

Json = dict[str, Any]
Post = Callable[[Json], Awaitable[Json]]


@dataclass
class Cost:
    """What one run of one contender took."""

    seconds: float
    cpu_s: float
    mb: float
    done: int
    """Episodes that came to their end."""


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--tasks", type=int, default=2000)
    parser.add_argument("--concurrency", default="64,256,1024")
    parser.add_argument("--latency", default="0,200", help="milliseconds, with commas")
    parser.add_argument("--only", default=",".join(OURS), help="contenders, with commas")
    parser.add_argument("--peers", metavar="PYTHON", help="runs what is not installed here")
    parser.add_argument("--faults", type=float, default=0.0, help="share of requests that go wrong")
    parser.add_argument("--memory", metavar="N,N,N", help="only: peak memory of tm for so many episodes")
    parser.add_argument("--play", help=argparse.SUPPRESS)
    parser.add_argument("--url", help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.play:
        play(options.play, options.url, options.folder, options.tasks, int(options.concurrency))
        return
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        run(["-c", PREPARE, name, str(options.tasks)], folder, python=sys.executable)
        report = memory(options, folder) if options.memory else compare(options, folder)
    print(json.dumps(report))


def compare(options: argparse.Namespace, folder: Path) -> list[Json]:
    """Every contender in every cell."""
    from load_server import LoadServer

    chosen = [name for name in options.only.split(",") if name]
    if options.peers and options.only == ",".join(OURS):
        chosen += PEERS
    missing = [name for name in chosen if name in PACKAGES and not has(python(name, options), PACKAGES[name])]
    for name in missing:
        say(f"{name}: not installed, left out")
    chosen = [name for name in chosen if name not in missing]
    starts: dict[str, Cost] = {}
    rows: list[Json] = []
    for name in chosen:
        with LoadServer(turns=TURNS) as server:
            starts[name] = contend(name, server.url, folder, 2, 2, options)
    for latency_ms in map(float, options.latency.split(",")):
        for concurrency in map(int, options.concurrency.split(",")):
            ideal = options.tasks * TURNS * latency_ms / 1000 / min(concurrency, options.tasks)
            what = f"{options.tasks} tasks x {TURNS}, {latency_ms:g} ms, {concurrency} at once"
            say(f"\n{what}, ideal {ideal:.1f} s")
            say(f"{'':10} {'start s':>8} {'wall s':>8} {'episodes/s':>10} {'CPU ms':>8} {'MB':>6}  done")
            for name in chosen:
                faults = {"faults": options.faults, "seed": 1, "hang_s": 1.0}
                with LoadServer(turns=TURNS, latency_ms=latency_ms, **faults) as server:
                    cost = contend(name, server.url, folder, options.tasks, concurrency, options)
                    stats = server.stats()
                if not cost.done:
                    say(f"{name:10} came to nothing")
                    continue
                start = starts[name]
                wall = max(1e-9, cost.seconds - start.seconds)
                each_ms = (cost.cpu_s - start.cpu_s) / max(1, options.tasks - 2) * 1000
                say(
                    f"{name:10} {start.seconds:8.2f} {wall:8.2f} {options.tasks / wall:10.0f}"
                    f" {each_ms:8.2f} {cost.mb:6.0f}  {cost.done}"
                    + (f" ({stats['requests']} requests)" if options.faults else "")
                )
                rows.append(
                    {
                        "contender": name,
                        "latency_ms": latency_ms,
                        "concurrency": concurrency,
                        "tasks": options.tasks,
                        "ideal_s": ideal,
                        "start_s": round(start.seconds, 3),
                        "wall_s": round(wall, 3),
                        "cpu_ms_per_episode": round(each_ms, 3),
                        "peak_mb": round(cost.mb),
                        "done": cost.done,
                        "requests": stats["requests"],
                        "duplicates": stats["duplicates"],
                    }
                )
    return rows


def memory(options: argparse.Namespace, folder: Path) -> list[Json]:
    """Peak memory of `tm rollout` for growing numbers of episodes, each of a task of its own."""
    from load_server import LoadServer

    rows: list[Json] = []
    concurrency = options.concurrency.split(",")[0]
    say(f"{'episodes':>10} {'MB':>6} {'seconds':>8} {'CPU ms each':>11}")
    for n in map(int, options.memory.split(",")):
        with LoadServer(turns=TURNS, faults=options.faults, seed=1, hang_s=0.5) as server:
            words = tm_words(server.url, folder, "-", int(concurrency))
            cost = run(words, folder, python=sys.executable, feed=stream(folder, n))
        done = finished(folder)
        say(f"{n:10} {cost.mb:6.0f} {cost.seconds:8.1f} {cost.cpu_s / n * 1000:11.2f}  {done} done")
        rows.append({"episodes": n, "done": done, **asdict(cost)})
    return rows


# ---- contenders as processes ---------------------------------------------------------------------


def contend(
    name: str, url: str, folder: Path, n: int, concurrency: int, options: argparse.Namespace
) -> Cost:
    """Let a contender play the first `n` dialogues."""
    if name in ("tm", "sandbox"):
        tasks = folder / f"{name}-{n}.jsonl"
        lines = (folder / f"{name}.jsonl").read_text().splitlines(keepends=True)
        tasks.write_text("".join(lines[:n]))
        cost = run(tm_words(url, folder, str(tasks), concurrency), folder, python=sys.executable)
        cost.done = finished(folder)
        return cost
    words = [__file__, "--play", name, "--url", url, "--folder", str(folder)]
    words += ["--tasks", str(n), "--concurrency", str(concurrency)]
    return run(words, folder, python=python(name, options))


def tm_words(url: str, folder: Path, tasks: str, concurrency: int) -> list[str]:
    words = ["-m", "tmcli", "rollout", "--policy", f"m@{url}", "--tasks", tasks, "--protocol", "native"]
    return [*words, "--concurrency", str(concurrency), "-o", str(folder / "out.jsonl"), "--force"]


def run(words: list[str], folder: Path, *, python: str, feed: Iterable[bytes] = ()) -> Cost:
    """A Python process to its end: its stderr is a terminal, its last line on stdout tells what was done."""
    master, slave = pty.openpty()
    env = {**os.environ, "OPENAI_API_KEY": "none", "TERM": "xterm"}
    started = time.perf_counter()
    child = subprocess.Popen(
        [python, *words], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=slave, env=env, cwd=folder
    )
    os.close(slave)
    shown: list[bytes] = []
    threads = [
        threading.Thread(target=drain, args=(master, shown)),
        threading.Thread(target=fill, args=(child, feed)),
    ]
    for thread in threads:
        thread.start()
    timer = threading.Timer(LIMIT_S, child.kill)
    timer.start()
    assert child.stdout is not None
    said = child.stdout.read()
    _, status, used = os.wait4(child.pid, 0)
    seconds = time.perf_counter() - started
    child.returncode = os.waitstatus_to_exitcode(status)
    timer.cancel()
    for thread in threads:
        thread.join()
    child.stdout.close()
    if child.returncode:
        say(f"{words[:4]} ended with {child.returncode}: {b''.join(shown)[-600:].decode(errors='replace')}")
    last = said.splitlines()[-1] if said.strip() else b""
    done = int(last) if last.isdigit() else 0
    return Cost(seconds, used.ru_utime + used.ru_stime, used.ru_maxrss / 1024, done)


def drain(master: int, shown: list[bytes]) -> None:
    """What a terminal would show; it ends when nobody holds the other side."""
    with suppress(OSError):
        while part := os.read(master, 65536):
            shown[:] = [*shown[-20:], part]
    os.close(master)


def fill(child: subprocess.Popen[bytes], feed: Iterable[bytes]) -> None:
    assert child.stdin is not None
    with suppress(BrokenPipeError):
        for line in feed:
            child.stdin.write(line)
        child.stdin.close()


def finished(folder: Path) -> int:
    """Different valid episodes in the output, which is removed."""
    ids = set()
    path = folder / "out.jsonl"
    if not path.exists():  # it came to nothing
        return 0
    with path.open("rb") as lines:
        for line in lines:
            record = json.loads(line)
            if record["status"] == "ok":
                ids.add(record["id"])
    path.unlink()
    return len(ids)


def stream(folder: Path, n: int) -> Iterator[bytes]:
    """`n` tasks, all different."""
    kept = [json.loads(line) for line in (folder / "tm.jsonl").read_text().splitlines()]
    for number in range(n):
        task = kept[number % len(kept)]
        asked = f"{task['messages'][0]['content']} ({number})"
        task = {**task, "id": f"task-{number}", "messages": [{"role": "user", "content": asked}]}
        yield json.dumps(task).encode() + b"\n"


def python(name: str, options: argparse.Namespace) -> str:
    """Who runs this contender: what is not ours may be installed elsewhere."""
    elsewhere = options.peers and name in PACKAGES and not has(sys.executable, PACKAGES[name])
    return options.peers if elsewhere else sys.executable


PACKAGES = {"openai": "openai", "inspect": "inspect_ai"}


def has(python: str, package: str) -> bool:
    words = f"import importlib.util as u, sys; sys.exit(u.find_spec({package!r}) is None)"
    return shutil.which(python) is not None and subprocess.run([python, "-c", words]).returncode == 0


def say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


PREPARE = """
import json, sys
from pathlib import Path
from tmcli import suites
from tmcli.protocol import prompt
from tmcli.records import encode
folder, n = Path(sys.argv[1]), int(sys.argv[2])
with open(folder / "sandbox.jsonl", "wb") as real, open(folder / "tm.jsonl", "wb") as simulated:
    with open(folder / "dialogues.jsonl", "w") as plain:
        for task in suites.suite("train", n):
            line = encode(task)
            real.write(line + b"\\n")
            record = {**json.loads(line), "env": {"kind": "simulate"}}
            simulated.write(json.dumps(record).encode() + b"\\n")
            messages = [{"role": "system", "content": prompt("teacher")}, *task.messages]
            plain.write(json.dumps({"messages": messages, "tools": task.tools}) + "\\n")
"""


# ---- contenders from within ----------------------------------------------------------------------


def play(name: str, url: str, folder: Path, n: int, concurrency: int) -> None:
    """Be a contender; print how many episodes came to their end."""
    if name == "runner":
        print(sum(one.status == "ok" for one in with_runner(url, folder, n, concurrency)))
        return
    if name in PEERS:
        print(globals()[f"with_{name}"](url, folder, n, concurrency))
        return
    with (folder / "dialogues.jsonl").open() as lines:
        dialogues = [json.loads(line) for _, line in zip(range(n), lines, strict=False)]
    factory = None
    if name in ("raw", "aiohttp"):
        with suppress(ImportError):
            import uvloop

            factory = uvloop.new_event_loop
    with asyncio.Runner(loop_factory=factory) as runner:
        print(runner.run(LOOPS[name](url, dialogues, concurrency)))


async def episodes(dialogues: list[Json], concurrency: int, post: Post) -> int:
    """The bare loop: so many workers, each with one dialogue after the other."""
    waiting = iter(dialogues)
    done = 0

    async def worker() -> None:
        nonlocal done
        for dialogue in waiting:
            body = {"model": "m", "temperature": 0, "seed": 0, "max_tokens": 512, **dialogue}
            messages = body["messages"] = list(dialogue["messages"])
            with suppress(Exception):  # a lost episode
                for turn in range(TURNS):
                    message = (await post(body))["choices"][0]["message"]
                    calls = message.get("tool_calls") or []
                    assert bool(calls) == (turn < TURNS - 1)
                    messages.append(message)
                    for call in calls:
                        reply = {"role": "tool", "tool_call_id": call["id"], "content": '{"status": "ok"}'}
                        messages.append(reply)
                done += 1

    await asyncio.gather(*(worker() for _ in range(concurrency)))
    return done


async def with_raw(url: str, dialogues: list[Json], concurrency: int) -> int:
    import orjson

    host, _, port = url.removeprefix("http://").partition("/")[0].partition(":")
    idle: list[tuple[asyncio.StreamReader, asyncio.StreamWriter]] = []

    async def post(body: Json) -> Json:
        reader, writer = idle.pop() if idle else await asyncio.open_connection(host, int(port))
        data = orjson.dumps(body)
        head = f"POST /v1/chat/completions HTTP/1.1\r\nHost: {host}\r\nContent-Length: {len(data)}\r\n\r\n"
        writer.write(head.encode() + data)
        said = (await reader.readuntil(b"\r\n\r\n")).lower()
        length = int(said.split(b"content-length:")[1].split(b"\r\n")[0])
        answer: Json = orjson.loads(await reader.readexactly(length))
        idle.append((reader, writer))
        return answer

    done = await episodes(dialogues, concurrency, post)
    for _, writer in idle:
        writer.close()
    return done


async def with_aiohttp(url: str, dialogues: list[Json], concurrency: int) -> int:
    import aiohttp
    import orjson

    headers = {"Content-Type": "application/json"}
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0), headers=headers) as session:

        async def post(body: Json) -> Json:
            async with session.post(f"{url}/chat/completions", data=orjson.dumps(body)) as response:
                response.raise_for_status()
                answer: Json = orjson.loads(await response.read())
                return answer

        return await episodes(dialogues, concurrency, post)


async def with_httpx(url: str, dialogues: list[Json], concurrency: int) -> int:
    import httpx

    limits = httpx.Limits(max_connections=None, max_keepalive_connections=None)
    async with httpx.AsyncClient(limits=limits, timeout=300) as client:

        async def post(body: Json) -> Json:
            response = await client.post(f"{url}/chat/completions", json=body)
            answer: Json = response.raise_for_status().json()
            return answer

        return await episodes(dialogues, concurrency, post)


async def with_openai(url: str, dialogues: list[Json], concurrency: int) -> int:
    import openai

    async with openai.AsyncOpenAI(base_url=url, api_key="none", max_retries=8) as client:

        async def post(body: Json) -> Json:
            return (await client.chat.completions.create(**body)).model_dump(exclude_none=True)

        return await episodes(dialogues, concurrency, post)


LOOPS = {"raw": with_raw, "aiohttp": with_aiohttp, "httpx": with_httpx, "openai": with_openai}


def with_runner(url: str, folder: Path, n: int, concurrency: int) -> Iterator[Any]:
    from tmcli import io
    from tmcli.policies import Service
    from tmcli.records import Task
    from tmcli.runner import Setup, jobs

    service = Service(protocol="native", at_once=concurrency)
    setup = Setup(f"m@{url}", service=service, concurrency=concurrency)
    with setup.open() as runner:
        tasks = io.read(str(folder / "tm.jsonl"), kind=Task)
        yield from runner.run(jobs(task for _, task in zip(range(n), tasks, strict=False)))


def with_inspect(url: str, folder: Path, n: int, concurrency: int) -> int:
    from inspect_ai import Task, eval
    from inspect_ai.dataset import Sample
    from inspect_ai.model import ChatMessageSystem, ChatMessageUser, get_model
    from inspect_ai.solver import Generate, TaskState, solver
    from inspect_ai.tool import ToolDef, ToolParams

    def tool(function: Json) -> Any:
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

    with (folder / "dialogues.jsonl").open() as lines:
        dialogues = [json.loads(line) for _, line in zip(range(n), lines, strict=False)]
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
        max_connections=concurrency,
        max_samples=concurrency,
        fail_on_error=False,
        display="none",
        log_dir=str(folder / "logs"),
    )
    return sum("<answer>" in one.output.completion for one in log.samples or [] if one.error is None)


if __name__ == "__main__":
    main()
