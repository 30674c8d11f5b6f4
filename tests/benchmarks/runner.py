"""What an episode costs tm beside bare loops and other frameworks, against one fast server.

    python tests/benchmarks/runner.py                                        # ours, in every cell
    python tests/benchmarks/runner.py --tasks 200 --concurrency 64 --latency 0
    python tests/benchmarks/runner.py --peer inspect=A/bin/python --peer verifiers=B/bin/python
    python tests/benchmarks/runner.py --faults 0.2 --only openai,tm          # who survives
    python tests/benchmarks/runner.py --memory 1000,10000,100000             # is memory flat?

The same dialogues for all: a system prompt, a question and the tools of a built-in toolbox; three requests
each (call, call, answer) to `tests/load_server.py`, which runs on its own. Every contender is a process, and
what it costs is what the system says of it and its children, less what a run of two episodes without latency
costs (the least of three): so the start is left out, which a long run pays once. `ideal` is tasks x turns x
latency / concurrency; where the tasks do not fill the last round, nobody can reach it.

    aiohttp    a loop over one session, with orjson and uvloop: the yardstick
    raw        sockets of asyncio (uvloop), nothing but the bytes
    httpx      a loop over one client, as it comes
    openai     a loop over the openai client, as it comes (where installed, or `--peer openai=PYTHON`)
    runner     tm's Runner as a library, tools simulated, records dropped
    tm         `tm rollout -o FILE`, tools simulated, everything on
    sandbox    the same with the toolbox's own tools, in locked processes

`aiohttp` and `tm` send the same bodies, over the same library. What tm does besides:

    records    reads each task as a record and checks it; writes each trajectory as it ends, the file in order
    tools      finds the call in the reply, checks its arguments against the tool's schema, answers
    judging    reads the protocol's tags and the answer, compares it, counts the outcomes
    retries    limits, backoff and a breaker around every request, a bound on what a reply may hold
    progress   meters tokens and time, draws its line on a terminal

The peers, each in `peers/with_NAME.py`, which says how it is used, and by a Python that has it:

    verifiers  0.4: an agent with a harness and tools in its process, by way of its interception server
    inspect    its `generate` loop with tools that return at once, its log written
    curator    three rounds of a batch: it has no turns

distilabel is left out for curator's reason: a pipeline of steps over batches, no turns and no tools.
A contender that fails, or takes longer than `--limit`, is a row that says so. The table goes to stderr, one
JSON object on one line to stdout. Run it with nothing else running.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import pty
import shutil
import signal
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
OURS = ("aiohttp", "raw", "httpx", "openai", "runner", "tm", "sandbox")
PEERS = ("verifiers", "inspect", "curator")
STARTS = 3
"""Runs of two episodes; the least of them is what a start costs."""

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
    failed: str = ""
    """Why it came to nothing."""


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--tasks", type=int, default=2000)
    parser.add_argument("--concurrency", default="64,256,1024")
    parser.add_argument("--latency", default="0,200", help="milliseconds, with commas")
    parser.add_argument("--only", default="", help=f"contenders, with commas: {', '.join(OURS + PEERS)}")
    parser.add_argument(
        "--peer",
        metavar="NAME=PYTHON",
        action="append",
        default=[],
        help="runs this contender by that interpreter (more than once)",
    )
    parser.add_argument("--limit", type=float, default=1800, help="seconds that one run may take")
    parser.add_argument("--faults", type=float, default=0.0, help="share of requests that go wrong")
    parser.add_argument("--memory", metavar="N,N,N", help="only: peak memory of tm for so many episodes")
    parser.add_argument("--play", help=argparse.SUPPRESS)
    parser.add_argument("--url", help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.play:
        play(options.play, options.url, options.folder, options.tasks, int(options.concurrency))
        return
    options.python = {}
    for name, _, path in (one.partition("=") for one in options.peer):
        found = shutil.which(path)
        if found is None:
            parser.error(f"--peer {name}: no Python at {path!r}")
        options.python[name] = os.path.abspath(found)  # its own links: a venv is known by them
    chosen = options.only.split(",") if options.only else [*OURS, *options.python]
    for name in {*chosen, *options.python}:
        if name not in OURS + PEERS:
            parser.error(f"no contender is called {name!r}; there are {', '.join(OURS + PEERS)}")
    options.chosen = [name for name in OURS + PEERS if name in chosen]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        prepared = run(["-c", PREPARE, name, str(options.tasks)], folder, options)
        if prepared.failed:
            sys.exit(f"the dialogues could not be made: {prepared.failed}")
        rows = memory(options, folder) if options.memory else compare(options, folder)
    print(json.dumps({"cpus": os.cpu_count(), "load": os.getloadavg()[0], "rows": rows}))


def compare(options: argparse.Namespace, folder: Path) -> list[Json]:
    """Every contender in every cell."""
    from load_server import LoadServer

    starts: dict[str, Cost] = {}
    for name in options.chosen:
        with LoadServer(turns=TURNS) as server:
            starts[name] = start(name, server.url, folder, options)
    rows: list[Json] = []
    for latency_ms in map(float, options.latency.split(",")):
        for concurrency in map(int, options.concurrency.split(",")):
            ideal = options.tasks * TURNS * latency_ms / 1000 / min(concurrency, options.tasks)
            what = f"{options.tasks} tasks x {TURNS}, {latency_ms:g} ms, {concurrency} at once"
            say(f"\n{what}, ideal {ideal:.2f} s")
            say(
                f"{'':10} {'start s':>8} {'wall s':>8} {'/ ideal':>8} {'/ aiohttp':>9} {'episodes/s':>10}"
                f" {'CPU ms':>8} {'/ aiohttp':>9} {'MB':>6}  done"
            )
            yardstick: Json = {}
            for name in options.chosen:
                row: Json = {"contender": name, "latency_ms": latency_ms, "concurrency": concurrency}
                row |= {"tasks": options.tasks, "ideal_s": ideal}
                rows.append(row)
                cost, stats = starts[name], Json()
                if not cost.failed:
                    faults = {"faults": options.faults, "seed": 1, "hang_s": 1.0}
                    with LoadServer(turns=TURNS, latency_ms=latency_ms, **faults) as server:
                        cost = contend(name, server.url, folder, options.tasks, concurrency, options)
                        stats = server.stats()
                wall = cost.seconds - starts[name].seconds
                each_ms = (cost.cpu_s - starts[name].cpu_s) / max(1, options.tasks - 2) * 1000
                if not cost.failed and min(wall, each_ms) <= 0:
                    cost.failed = "cost less than its start: too few tasks, or a busy machine"
                if cost.failed:
                    row["failed"] = cost.failed
                    say(f"{name:10} {cost.failed}")
                    continue
                row |= {
                    "start_s": round(starts[name].seconds, 3),
                    "wall_s": round(wall, 3),
                    "episodes_per_s": round(options.tasks / wall, 1),
                    "cpu_ms_per_episode": round(each_ms, 3),
                    "peak_mb": round(cost.mb),
                    "done": cost.done,
                    "requests": stats["requests"],
                    "duplicates": stats["duplicates"],
                }
                yardstick = row if name == "aiohttp" else yardstick
                row["wall_by_ideal"] = ratio(wall, ideal)
                row["wall_by_aiohttp"] = ratio(wall, yardstick.get("wall_s"))
                row["cpu_by_aiohttp"] = ratio(each_ms, yardstick.get("cpu_ms_per_episode"))
                say(
                    f"{name:10} {row['start_s']:8.2f} {wall:8.2f} {shown(row['wall_by_ideal']):>8}"
                    f" {shown(row['wall_by_aiohttp']):>9} {row['episodes_per_s']:10.0f} {each_ms:8.2f}"
                    f" {shown(row['cpu_by_aiohttp']):>9} {cost.mb:6.0f}  {cost.done}"
                    + (f" ({stats['requests']} requests)" if options.faults else "")
                )
    return rows


def start(name: str, url: str, folder: Path, options: argparse.Namespace) -> Cost:
    """What a contender costs before it plays: the least of a few runs of two episodes."""
    least = contend(name, url, folder, 2, 2, options)
    for _ in range(STARTS - 1):
        if least.failed:
            break
        again = contend(name, url, folder, 2, 2, options)
        least.seconds = min(least.seconds, again.seconds)
        least.cpu_s = min(least.cpu_s, again.cpu_s)
    return least


def ratio(cost: float, of: float | None) -> float | None:
    return round(cost / of, 2) if of and of > 0 else None


def shown(number: float | None) -> str:
    return "-" if number is None else f"{number:.2f}"


def memory(options: argparse.Namespace, folder: Path) -> list[Json]:
    """Peak memory of `tm rollout` for growing numbers of episodes, each of a task of its own."""
    from load_server import LoadServer

    rows: list[Json] = []
    concurrency = options.concurrency.split(",")[0]
    say(f"{'episodes':>10} {'MB':>6} {'seconds':>8} {'CPU ms each':>11}")
    for n in map(int, options.memory.split(",")):
        with LoadServer(turns=TURNS, faults=options.faults, seed=1, hang_s=0.5) as server:
            words = tm_words(server.url, folder, "-", int(concurrency))
            cost = run(words, folder, options, feed=stream(folder, n))
        cost.done = finished(folder)
        say(
            f"{n:10} {cost.mb:6.0f} {cost.seconds:8.1f} {cost.cpu_s / n * 1000:11.2f}  {cost.done} done"
            f" {cost.failed}"
        )
        rows.append({"episodes": n, **asdict(cost)})
    return rows


# ---- contenders as processes ---------------------------------------------------------------------


def contend(
    name: str,
    url: str,
    folder: Path,
    n: int,
    concurrency: int,
    options: argparse.Namespace,
) -> Cost:
    """Let a contender play the first `n` dialogues."""
    python = options.python.get(name, sys.executable)
    if name in ("tm", "sandbox"):
        tasks = folder / f"{name}-{n}.jsonl"
        lines = (folder / f"{name}.jsonl").read_text().splitlines(keepends=True)
        tasks.write_text("".join(lines[:n]))
        cost = run(tm_words(url, folder, str(tasks), concurrency), folder, options, python)
        cost.done = finished(folder)
    elif name in PEERS:
        script = Path(__file__).parent / "peers" / f"with_{name}.py"
        cost = run([str(script), url, str(folder), str(n), str(concurrency)], folder, options, python)
    else:
        words = [__file__, "--play", name, "--url", url, "--folder", str(folder)]
        words += ["--tasks", str(n), "--concurrency", str(concurrency)]
        cost = run(words, folder, options, python)
    if not cost.done and not cost.failed:
        cost.failed = "no episode came to its end"
    return cost


def tm_words(url: str, folder: Path, tasks: str, concurrency: int) -> list[str]:
    words = ["-m", "tmcli", "rollout", "--policy", f"m@{url}", "--tasks", tasks, "--protocol", "native"]
    return [*words, "--concurrency", str(concurrency), "-o", str(folder / "out.jsonl"), "--force"]


def run(
    words: list[str],
    folder: Path,
    options: argparse.Namespace,
    python: str = sys.executable,
    feed: Iterable[bytes] = (),
) -> Cost:
    """A Python process to its end: its stderr is a terminal, its last line on stdout tells what was done."""
    master, slave = pty.openpty()
    # Not a folder of the user's: peers keep caches at home.
    env = {**os.environ, "OPENAI_API_KEY": "none", "TERM": "xterm", "HOME": str(folder)}
    started = time.perf_counter()
    child = subprocess.Popen(
        [python, *words],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=slave,
        env=env,
        cwd=folder,
        start_new_session=True,
    )
    os.close(slave)
    drawn: list[bytes] = []
    threads = [
        threading.Thread(target=drain, args=(master, drawn)),
        threading.Thread(target=fill, args=(child, feed)),
    ]
    for thread in threads:
        thread.start()
    late = threading.Event()

    def stop() -> None:
        late.set()
        with suppress(ProcessLookupError):
            os.killpg(child.pid, signal.SIGKILL)

    timer = threading.Timer(options.limit, stop)
    timer.start()
    assert child.stdout is not None
    try:
        said = child.stdout.read()
        _, status, used = os.wait4(child.pid, 0)
    except BaseException:
        stop()
        raise
    finally:
        timer.cancel()
    seconds = time.perf_counter() - started
    child.returncode = os.waitstatus_to_exitcode(status)
    for thread in threads:
        thread.join()
    child.stdout.close()
    last = said.splitlines()[-1] if said.strip() else b""
    cost = Cost(seconds, used.ru_utime + used.ru_stime, used.ru_maxrss / 1024, 0)
    if late.is_set():
        cost.failed = f"took longer than {options.limit:g} s"
    elif child.returncode:
        lines = b"".join(drawn).decode(errors="replace").split("\n")
        why = next((line.strip() for line in reversed(lines) if line.strip()), "")
        cost.failed = f"ended with {child.returncode}: {why[:200]}"
    elif last.isdigit():
        cost.done = int(last)
    return cost


def drain(master: int, drawn: list[bytes]) -> None:
    """What a terminal would show; it ends when nobody holds the other side."""
    with suppress(OSError):
        while part := os.read(master, 65536):
            drawn[:] = [*drawn[-20:], part]
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


if __name__ == "__main__":
    main()
