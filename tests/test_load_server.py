"""The load server keeps its word: the same replies under any faults, and true counts."""

import json
import socket
import time
from collections import Counter
from http.client import HTTPConnection, HTTPException
from typing import Any

from load_server import KINDS, LoadServer

TOOL = {
    "type": "function",
    "function": {
        "name": "find",
        "parameters": {
            "type": "object",
            "properties": {"name": {"type": "string"}, "n": {"enum": [3, 5]}, "more": {"type": "string"}},
            "required": ["name", "n"],
        },
    },
}


def body(number: int, turn: int = 0) -> bytes:
    said = [{"role": "assistant", "content": "x"}] * turn
    messages = [{"role": "user", "content": f"question {number}"}, *said]
    return json.dumps({"model": "m", "messages": messages, "tools": [TOOL]}).encode()


def ask(server: LoadServer, data: bytes, timeout: float = 10) -> tuple[int, bytes, dict[str, str]]:
    connection = HTTPConnection("127.0.0.1", server.port, timeout=timeout)
    try:
        connection.request("POST", "/v1/chat/completions", data)
        response = connection.getresponse()
        return response.status, response.read(), dict(response.headers)
    finally:
        connection.close()


def completed(server: LoadServer, data: bytes, tries: int = 100) -> tuple[Any, Counter[str]]:
    """The completion after as many tries as it takes, and what was met on the way."""
    met: Counter[str] = Counter()
    for _ in range(tries):
        try:
            status, text, headers = ask(server, data)
        except (HTTPException, ConnectionError) as error:
            met[type(error).__name__] += 1
            continue
        if status != 200:
            met[f"{status}{'-after' if 'Retry-After' in headers else ''}"] += 1
            continue
        try:
            return json.loads(text), met
        except ValueError:
            met["malformed" if text else "empty"] += 1
    raise AssertionError(f"no answer: {met}")


def test_plays_a_dialogue() -> None:
    with LoadServer(turns=3) as server:
        for turn in (0, 1):
            choice = completed(server, body(1, turn))[0]["choices"][0]
            call = choice["message"]["tool_calls"][0]["function"]
            arguments = json.loads(call["arguments"])
            assert (call["name"], choice["finish_reason"]) == ("find", "tool_calls")
            assert sorted(arguments) == ["n", "name"]
            assert arguments["n"] in (3, 5)
        choice = completed(server, body(1, 2))[0]["choices"][0]
        assert choice["message"]["content"].startswith("<answer>")
        assert choice["finish_reason"] == "stop"


def test_faults_change_no_reply() -> None:
    bodies = [body(number) for number in range(60)]
    with LoadServer() as server:
        calm = [completed(server, one)[0] for one in bodies]
    with LoadServer(faults=0.5, hang_s=0.01, seed=3) as server:
        both = [completed(server, one) for one in bodies]
        stats = server.stats()
    assert [reply for reply, _ in both] == calm
    assert set(stats["faults"]) == set(KINDS)
    met = sum((met for _, met in both), Counter[str]())
    assert {"429", "429-after", "500", "503", "malformed", "empty"} <= set(met)
    assert met.total() == sum(stats["faults"].values())
    assert stats["requests"] == stats["ok"] + met.total()
    assert (stats["ok"], stats["duplicates"]) == (60, 0)


def test_counts_what_was_answered_twice() -> None:
    with LoadServer() as server:
        for _ in range(3):
            completed(server, body(1))
        assert server.stats()["duplicates"] == 2


def test_counts_clients_that_leave() -> None:
    with LoadServer(latency_ms=60_000) as server:
        one = socket.create_connection(("127.0.0.1", server.port))
        one.sendall(b"POST / HTTP/1.1\r\nContent-Length: %d\r\n\r\n%b" % (len(body(1)), body(1)))
        while not server.stats()["requests"]:
            time.sleep(0.01)
        one.close()
        while not server.stats()["unheard"]:
            time.sleep(0.01)


def test_dies_and_returns() -> None:
    met: Counter[str] = Counter()
    with LoadServer() as server:
        completed(server, body(1))
        server.die(1)
        end = time.monotonic() + 60
        while not met["answered"]:
            assert time.monotonic() < end, met
            try:
                ask(server, body(2), timeout=2)
            except (HTTPException, OSError) as error:  # refused, or lost as the server died
                met[type(error).__name__] += 1
            else:
                met["answered"] += met.total() > 0
            time.sleep(0.01)
        assert server.stats()["ok"] >= 2
