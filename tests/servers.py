"""Real HTTP servers on loopback for tests: an OpenAI-compatible server with a model that really plays.

    with ModelServer(Expert(tasks)) as server:          # reads messages and tools, calls, learns, answers
        tm("synth", "--teacher", "gpt-4o", env=server.env())

    ModelServer(say(call("find_book", '{"title": "X"}'), text("<answer>X</answer>")), troubles=[Trouble(429)])

A `brain` turns one request's body into one choice. `troubles` come first, one a request, None is none.
"""

from __future__ import annotations

import asyncio
import json
import re
import socket
import struct
import sys
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from tmcli.policies import Reply
from tmcli.protocol import Style, prompt
from tmcli.records import Json, Task


@dataclass(frozen=True)
class Trouble:
    """What goes wrong with one request."""

    status: int = 200
    body: str | None = None
    """Sent as it is; None: an error object."""
    headers: dict[str, str] = field(default_factory=dict)
    reset: bool = False
    """The connection is reset in the middle of the body."""
    delay_s: float = 0.0
    """Wait, then answer well."""


Brain = Callable[[Json], "Json | Trouble"]
"""Request body -> choice: `{"message": ..., "finish_reason": ...}`, or what goes wrong instead."""


class ModelServer:
    """An HTTP server in threads of its own; `requests`, `keys`, `paths` and `times` tell what came."""

    def __init__(
        self,
        brain: Brain,
        troubles: Iterable[Trouble | None] = (),
        tools: Callable[[Json], Json | Trouble] | None = None,
    ) -> None:
        self.brain = brain
        self.troubles = list(troubles)
        self.tools = takes_tools if tools is None else tools
        """How it treats tools: what it answers to the probe of `--protocol auto`."""
        self.probes: list[Json] = []
        """The probe's requests: they are no part of `requests`, and meet no trouble."""
        self.requests: list[Json] = []
        self.keys: list[str | None] = []
        self.paths: list[str] = []
        self.times: list[float] = []
        self._lock = threading.Lock()
        self._server = Threads(("127.0.0.1", 0), _handler(self))
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_address[1]}/v1"

    def env(self, key: str = "sk-test") -> dict[str, str]:
        """The environment in which `tm ... gpt-4o` means this server."""
        return {"OPENAI_BASE_URL": self.url, "OPENAI_API_KEY": key}

    def __enter__(self) -> ModelServer:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def take(self, handler: BaseHTTPRequestHandler, body: Json) -> Trouble | None:
        """Note a request; the trouble it meets, if any."""
        with self._lock:
            self.requests.append(body)
            self.keys.append(handler.headers.get("Authorization"))
            self.paths.append(handler.path)
            self.times.append(time.monotonic())
            return self.troubles.pop(0) if self.troubles else None


class Threads(ThreadingHTTPServer):
    """A server that answers each connection in a thread of its own."""

    request_queue_size = 128  # many episodes connect at once

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Clients that gave up are part of the tests."""
        if not isinstance(sys.exc_info()[1], ConnectionError):
            super().handle_error(request, client_address)


def _handler(server: ModelServer) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        timeout = 5
        disable_nagle_algorithm = True

        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            if is_probe(body):
                server.probes.append(body)
                told = server.tools(body)
                if isinstance(told, Trouble):
                    self.fail(told)
                else:
                    choices = [{"index": 0, "finish_reason": "length", **text("Hello")}]
                    self.send(200, json.dumps({"choices": choices, "usage": told}), {})
                return
            trouble = server.take(self, body)
            if trouble is not None and trouble.delay_s:
                time.sleep(trouble.delay_s)
            elif trouble is not None:
                self.fail(trouble)
                return
            problem = complaint(body)
            if problem:
                self.fail(Trouble(400, json.dumps({"error": {"message": problem}})))
                return
            said = server.brain(body)
            if isinstance(said, Trouble):
                self.fail(said)
                return
            choice = {"index": 0, "finish_reason": "stop", **said}
            usage = {"prompt_tokens": 100, "completion_tokens": 10, "total_tokens": 110}
            completion = {"id": "x", "object": "chat.completion", "choices": [choice], "usage": usage}
            self.send(200, json.dumps(completion), {})

        def fail(self, trouble: Trouble) -> None:
            error = json.dumps({"error": {"message": "something broke", "code": None}})
            data = error if trouble.body is None else trouble.body
            if not trouble.reset:
                self.send(trouble.status, data, trouble.headers)
                return
            self.send(200, '{"choices": [', {"Content-Length": "1000"})
            self.wfile.flush()
            # Linger 0: close sends a reset instead of an end.
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self.connection.close()
            self.close_connection = True

        def send(self, status: int, text: str, headers: dict[str, str]) -> None:
            data = text.encode()
            self.send_response(status)
            for name, value in {"Content-Length": str(len(data)), **headers}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, format: str, *args: Any) -> None:
            pass

    return Handler


def is_probe(body: Json) -> bool:
    """Does this request ask no more than whether tools are taken?"""
    return bool(body["messages"] == [{"role": "user", "content": "Hi"}])


def takes_tools(body: Json) -> Json:
    """A server that shows tools to the model: its prompt is longer with them."""
    return {"prompt_tokens": 60 if "tools" in body else 10}


def complaint(body: Json) -> str:
    """What the real API would refuse in these messages; empty when nothing."""
    open_ids: list[str] = []
    names = {tool["function"]["name"] for tool in body.get("tools", [])}
    for message in body["messages"]:
        if not isinstance(message.get("content"), str):
            return "a message without content"
        if message["role"] == "tool":
            if message["tool_call_id"] not in open_ids:
                return f"tool message {message['tool_call_id']} answers no call"
            open_ids.remove(message["tool_call_id"])
            continue
        if open_ids:
            return f"calls without a reply: {open_ids}"
        if message.get("tool_calls") == []:
            return "an empty list of calls"
        for call in message.get("tool_calls", []):
            if not isinstance(call["id"], str) or not call["id"] or call["id"] in open_ids:
                return f"the id {call['id']!r} is no id, or another call's"
            open_ids.append(call["id"])
            name = call["function"]["name"]
            if name not in names and not re.fullmatch(r"[a-zA-Z0-9_-]{1,64}", name):
                return f"no function can be called {name!r}"
            try:
                arguments = json.loads(call["function"]["arguments"])
            except ValueError:
                arguments = None
            if not isinstance(arguments, dict):
                return f"the arguments of {call['id']} are not a JSON object"
    return f"calls without a reply: {open_ids}" if open_ids else ""


# ---- brains --------------------------------------------------------------------------------------


def text(content: str | None, **more: Any) -> Json:
    """A choice that only speaks."""
    return {"message": {"role": "assistant", "content": content}, **more}


def call(*name_and_arguments: str, content: str | None = None, **more: Any) -> Json:
    """A choice with native calls: name, arguments as text, name, arguments..."""
    pairs = zip(name_and_arguments[::2], name_and_arguments[1::2], strict=True)
    calls = [
        {"id": f"id-{i}-{name}", "type": "function", "function": {"name": name, "arguments": arguments}}
        for i, (name, arguments) in enumerate(pairs)
    ]
    message: Json = {"role": "assistant", "content": content, "tool_calls": calls}
    return {"message": message, "finish_reason": "tool_calls", **more}


def say(*choices: Json) -> Brain:
    """The n-th choice in the n-th turn of each dialogue, whoever asks; then the last again."""

    def brain(body: Json) -> Json:
        said = sum(message["role"] == "assistant" for message in body["messages"])
        return dict(choices[min(said, len(choices) - 1)])

    return brain


def after(trouble: Trouble, brain: Brain) -> Brain:
    """Trouble at the first request, then the brain."""
    met: list[bool] = []

    def troubled(body: Json) -> Json | Trouble:
        if met:
            return brain(body)
        met.append(True)
        return trouble

    return troubled


def question(body: Json) -> str:
    """What the user asked."""
    return next(str(m["content"]) for m in reversed(body["messages"]) if m["role"] == "user")


def by_question(brains: dict[str, Brain]) -> Brain:
    """A brain for each question."""
    return lambda body: brains[question(body)](body)


class Expert:
    """A model that knows how to solve these tasks: the scripted expert behind the wire.

    It recognises a task by its question, keeps one conversation per dialogue (its call ids tell which),
    and sees only what the wire brings: replies and errors in the server's form.
    """

    def __init__(self, tasks: Sequence[Task], style: Style = "trial") -> None:
        from tmcli.policies.scripted import Scripted

        self.tasks = {task.messages[-1]["content"]: task for task in tasks}
        self.policy = Scripted(style=style)
        self.style = style
        self.dialogues: dict[str, Any] = {}
        self._lock = threading.Lock()
        self._count = 0

    def __call__(self, body: Json) -> Json:
        messages = body["messages"]
        assert body["tools"]
        with self._lock:
            self._count += 1
            number = self._count
            known = [c["id"] for m in messages for c in m.get("tool_calls", []) if c["id"] in self.dialogues]
            if known:
                conversation = self.dialogues[known[-1]]
            else:
                conversation = self.policy.open(self.tasks[question(body)], 0)
        reply: Reply = asyncio.run(conversation.reply([self._record(message) for message in messages]))
        calls: list[Json] = [
            {
                "id": f"call_{number}_{i}",
                "type": "function",
                "function": {"name": one.name, "arguments": json.dumps(one.arguments)},
            }
            for i, one in enumerate(reply.turn.calls)
        ]
        with self._lock:
            self.dialogues.update((one["id"], conversation) for one in calls)
        message: Json = {"role": "assistant", "content": reply.content}
        if calls:
            message["tool_calls"] = calls
        return {"message": message, "finish_reason": "tool_calls" if calls else "stop"}

    def _record(self, message: Json) -> Json:
        """A wire message in the form of records, which the expert reads."""
        if message["role"] == "system":
            return {"role": "system", "content": prompt(self.style)}
        if "tool_calls" not in message:
            return message
        calls = [
            {**c, "function": {**c["function"], "arguments": json.loads(c["function"]["arguments"])}}
            for c in message["tool_calls"]
        ]
        return {**message, "tool_calls": calls}
