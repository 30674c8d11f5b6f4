"""A very fast OpenAI-compatible server for load: raw asyncio (uvloop where installed), no framework.

    python tests/load_server.py --port 0 --latency-ms 200 --turns 3 --faults 0.2 --seed 1    # prints its port

    with LoadServer(latency_ms=200, faults=0.2) as server:
        tm("rollout", "--policy", f"m@{server.url}")
        assert server.stats()["duplicates"] == 0

Turn k of a dialogue calls the first tool offered, with arguments made from its schema; the last one of
`--turns` answers. The reply depends on nothing but the request's body, whatever fault came before it. Faults
are drawn from the seed, the body and how often it came, so that a run meets the same ones in any order.

    GET /stats      counts: requests, ok, faults by kind, duplicates (a request answered well that already
                    had been), unheard (the client left before its answer), connections now, at most, in all
    GET /die?s=2    drop every connection and refuse new ones for that long
    GET /v1/models  the model's name
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import resource
import socket
import subprocess
import sys
from collections import Counter
from collections.abc import Sequence
from hashlib import blake2b
from pathlib import Path
from typing import Any, Self
from urllib.parse import parse_qs
from urllib.request import urlopen

import orjson

KINDS = ("429", "429-after", "500", "503", "reset", "malformed", "hang", "empty")
"""What may go wrong with a request.

    429, 500, 503   refused, with a reason as JSON (`429-after`: with a Retry-After of 0.05 s)
    reset           headers and half of the body, then a reset
    malformed       half of the body with a length that fits it
    hang            nothing for `--hang-s`, then the connection is closed
    empty           200 and no body
"""
REASONS = {429: "Too Many Requests", 500: "Internal Server Error", 503: "Service Unavailable"}


class LoadServer:
    """The server as a process of its own, which ends with this one."""

    def __init__(
        self,
        *,
        latency_ms: float = 0,
        turns: int = 3,
        faults: float = 0,
        kinds: Sequence[str] = KINDS,
        seed: int = 0,
        answers: int = 10,
        hang_s: float = 2,
    ) -> None:
        options = {
            "--latency-ms": latency_ms,
            "--turns": turns,
            "--faults": faults,
            "--kinds": ",".join(kinds),
            "--seed": seed,
            "--answers": answers,
            "--hang-s": hang_s,
        }
        self.command = [sys.executable, str(Path(__file__)), "--follow-stdin"]
        self.command += [str(word) for pair in options.items() for word in pair]
        self.port = 0
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/v1"

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    def env(self, key: str = "sk-test") -> dict[str, str]:
        """The environment in which `tm ... gpt-4o` means this server."""
        return {"OPENAI_BASE_URL": self.url, "OPENAI_API_KEY": key}

    def stats(self) -> dict[str, Any]:
        with urlopen(f"http://127.0.0.1:{self.port}/stats", timeout=30) as response:
            stats: dict[str, Any] = json.load(response)
            return stats

    def die(self, seconds: float) -> None:
        with urlopen(f"http://127.0.0.1:{self.port}/die?s={seconds}", timeout=30) as response:
            response.read()

    def __enter__(self) -> Self:
        self._process = subprocess.Popen(self.command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        assert self._process.stdout is not None
        self.port = int(self._process.stdout.readline())
        return self

    def __exit__(self, *_: object) -> None:
        assert self._process is not None
        self._process.kill()
        self._process.communicate()


class Server:
    """What all connections share."""

    def __init__(self, options: argparse.Namespace) -> None:
        self.latency_s = options.latency_ms / 1000
        self.turns = options.turns
        self.faults = options.faults
        self.kinds = options.kinds.split(",") if options.kinds else []
        self.seed = options.seed
        self.answers = options.answers
        self.hang_s = options.hang_s
        self.loop = asyncio.get_running_loop()
        self.connections: set[Connection] = set()
        self.counts: Counter[str] = Counter()
        self.met: Counter[str] = Counter()
        """Faults by kind."""
        self.tries: dict[bytes, int] = {}
        """How often a request came, by the digest of its body."""
        self.done: set[bytes] = set()
        """Those that were answered well."""
        self._reserved = _bound(options.port)
        """Bound, never listening: keeps the port ours while the server is dead."""
        self.port: int = self._reserved.getsockname()[1]
        self._server: asyncio.Server | None = None

    async def listen(self) -> None:
        self._server = await self.loop.create_server(
            lambda: Connection(self), sock=_bound(self.port), backlog=4096
        )

    def die(self, seconds: float) -> None:
        assert self._server is not None
        self._server.close()
        for connection in list(self.connections):
            connection.transport.abort()
        self.loop.call_later(seconds, lambda: asyncio.ensure_future(self.listen()))

    def trouble(self, digest: bytes) -> str:
        """What goes wrong with this request this time; empty: nothing."""
        tries = self.tries[digest] = self.tries.get(digest, 0) + 1
        if not self.faults:
            return ""
        drawn = int.from_bytes(blake2b(b"%d %d" % (self.seed, tries), digest_size=8, key=digest).digest())
        if (drawn >> 32) / 2**32 >= self.faults:
            return ""
        return self.kinds[drawn % len(self.kinds)]

    def stats(self) -> dict[str, Any]:
        names = ("requests", "ok", "duplicates", "unheard", "connections", "most", "connected")
        counts = {**self.counts, "connections": len(self.connections)}
        return {**{name: counts.get(name, 0) for name in names}, "faults": dict(sorted(self.met.items()))}

    def completion(self, body: dict[str, Any], digest: bytes, size: int) -> bytes:
        """The answer to a request: its turn's call, or the last one's `<answer>`."""
        number = int.from_bytes(digest)
        turn = sum(message["role"] == "assistant" for message in body.get("messages", []))
        message: dict[str, Any] = {"role": "assistant"}
        tools = body.get("tools")
        if tools and turn < self.turns - 1:
            function = tools[0]["function"]
            tag = "trial" if turn == 0 else "plan"
            message["content"] = f"<{tag}>I look at what {function['name']} returns.</{tag}>"
            arguments = orjson.dumps(value(function.get("parameters") or {}, number)).decode()
            call = {"name": function["name"], "arguments": arguments}
            message["tool_calls"] = [{"id": f"call_{digest.hex()}", "type": "function", "function": call}]
        else:
            message["content"] = f"<answer>{number % self.answers}</answer>"
        choice = {
            "index": 0,
            "message": message,
            "logprobs": None,
            "finish_reason": "tool_calls" if "tool_calls" in message else "stop",
        }
        usage = {"prompt_tokens": size // 4, "completion_tokens": 20, "total_tokens": size // 4 + 20}
        return orjson.dumps(
            {
                "id": f"chatcmpl-{digest.hex()}",
                "object": "chat.completion",
                "created": 0,
                "model": body.get("model", ""),
                "choices": [choice],
                "usage": usage,
            }
        )


class Connection(asyncio.Protocol):
    """One client's connection: requests come one after the other."""

    transport: asyncio.Transport

    def __init__(self, server: Server) -> None:
        self.server = server
        self.buffer = bytearray()
        self.later: asyncio.TimerHandle | None = None
        """The answer that waits for its time."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport) or hasattr(transport, "write")
        self.transport = transport  # type: ignore[assignment]
        server = self.server
        server.connections.add(self)
        server.counts["connected"] += 1
        server.counts["most"] = max(server.counts["most"], len(server.connections))

    def connection_lost(self, error: Exception | None) -> None:
        self.server.connections.discard(self)
        if self.later is not None:
            self.later.cancel()
            self.server.counts["unheard"] += 1

    def data_received(self, data: bytes) -> None:
        buffer = self.buffer
        buffer += data
        while self.later is None:
            end = buffer.find(b"\r\n\r\n")
            if end < 0:
                return
            head = bytes(buffer[: end + 2]).lower()
            at = head.find(b"\r\ncontent-length:")
            size = int(head[at + 17 : head.index(b"\r\n", at + 17)]) if at >= 0 else 0
            if len(buffer) < end + 4 + size:
                return
            body = bytes(buffer[end + 4 : end + 4 + size])
            target = bytes(buffer[: buffer.find(b"\r\n")]).split(b" ")[1]
            del buffer[: end + 4 + size]
            if head.startswith(b"post "):
                self.asked(body)
            else:
                self.told(target.decode("latin-1"))

    def told(self, target: str) -> None:
        """Answer a GET."""
        path, _, query = target.partition("?")
        if path == "/stats":
            self.send(200, orjson.dumps(self.server.stats()))
        elif path == "/die":
            self.send(200, b"{}")
            seconds = float(parse_qs(query).get("s", ["1"])[0])
            self.server.loop.call_later(0.01, self.server.die, seconds)
        elif path.endswith("/models"):
            self.send(200, b'{"object":"list","data":[{"id":"m","object":"model"}]}')
        else:
            self.send(404, b'{"error":{"message":"no such page"}}')

    def asked(self, body: bytes) -> None:
        """Answer a POST, now or when its time has come."""
        server = self.server
        server.counts["requests"] += 1
        digest = blake2b(body, digest_size=8).digest()
        trouble = server.trouble(digest)
        delay_s = server.latency_s
        if trouble:
            server.met[trouble] += 1
            delay_s = server.hang_s if trouble == "hang" else delay_s
        if delay_s > 0:
            self.later = server.loop.call_later(delay_s, self.answer, body, digest, trouble)
        else:
            self.answer(body, digest, trouble)

    def answer(self, body: bytes, digest: bytes, trouble: str) -> None:
        self.later = None
        server = self.server
        if trouble in ("", "reset", "malformed"):
            data = server.completion(orjson.loads(body), digest, len(body))
            if trouble == "reset":
                self.reset(data)
                return
            if trouble == "malformed":
                data = data[: len(data) // 2]
            else:
                server.counts["ok"] += 1
                server.counts["duplicates"] += digest in server.done
                server.done.add(digest)
            self.send(200, data)
        elif trouble == "hang":
            self.transport.close()
            return
        elif trouble == "empty":
            self.send(200, b"")
        else:
            status = int(trouble[:3])
            after = "Retry-After: 0.05\r\n" if trouble.endswith("-after") else ""
            self.send(status, b'{"error":{"message":"something broke","code":null}}', after)
        if self.buffer:
            self.data_received(b"")

    def send(self, status: int, data: bytes, headers: str = "") -> None:
        head = f"HTTP/1.1 {status} {REASONS.get(status, 'OK')}\r\nContent-Type: application/json\r\n{headers}"
        self.transport.write(b"%bContent-Length: %d\r\n\r\n%b" % (head.encode(), len(data), data))

    def reset(self, data: bytes) -> None:
        """Half of the body, and once that is on its way, a reset."""
        head = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n" % len(data)
        self.transport.write(head + data[: len(data) // 2])
        raw = self.transport.get_extra_info("socket")
        # Linger 0: a close sends a reset instead of an end.
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        self.transport.abort()


def value(schema: dict[str, Any], number: int) -> Any:
    """A value that fits the simple part of a JSON Schema, chosen by `number`."""
    if options := schema.get("enum"):
        return options[number % len(options)]
    kind = schema.get("type")
    kind = kind[0] if isinstance(kind, list) else kind
    if kind == "object" or "properties" in schema:
        wanted = schema.get("required", [])
        given = schema.get("properties", {})
        return {name: value(of, number) for name, of in given.items() if name in wanted}
    if kind == "array":
        return [value(schema.get("items") or {}, number)]
    if kind in ("integer", "number"):
        return number % 100
    if kind == "boolean":
        return number % 2 == 0
    return f"x{number % 1000}"


def _bound(port: int) -> socket.socket:
    one = socket.socket()
    one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    one.bind(("127.0.0.1", port))
    return one


async def serve(options: argparse.Namespace) -> None:
    server = Server(options)
    await server.listen()
    print(server.port, flush=True)
    if options.follow_stdin:
        await asyncio.to_thread(sys.stdin.read)
    else:
        await asyncio.Event().wait()


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--port", type=int, default=0, help="0: any free one, which is printed")
    parser.add_argument("--latency-ms", type=float, default=0)
    parser.add_argument("--turns", type=int, default=3, help="assistant turns of a dialogue")
    parser.add_argument("--faults", type=float, default=0, help="share of the requests that go wrong")
    parser.add_argument("--kinds", default=",".join(KINDS), help="which faults, with commas")
    parser.add_argument("--seed", type=int, default=0, help="of the faults")
    parser.add_argument("--answers", type=int, default=10, help="dialogues answer a number below this one")
    parser.add_argument("--hang-s", type=float, default=2, help="how long a `hang` takes")
    parser.add_argument("--follow-stdin", action="store_true", help="end when stdin ends")
    options = parser.parse_args()
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    loop_factory = None
    with contextlib.suppress(ImportError):
        import uvloop

        loop_factory = uvloop.new_event_loop
    with contextlib.suppress(KeyboardInterrupt), asyncio.Runner(loop_factory=loop_factory) as runner:
        runner.run(serve(options))


if __name__ == "__main__":
    main()
