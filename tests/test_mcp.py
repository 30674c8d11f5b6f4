"""Tools of real MCP servers: processes of their own, over stdio and streamable HTTP on loopback."""

import asyncio
import contextlib
import gc
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tmcli.environments import Observation, mcp
from tmcli.environments.machinery import Machinery
from tmcli.environments.mcp import McpSession, connection, stdio, text
from tmcli.environments.mcp.config import read
from tmcli.environments.world import World
from tmcli.errors import EnvironmentFailure, InputError, UsageError
from tmcli.records import Json, Task, new_task

SERVER = Path(__file__).with_name("mcp_server.py")
Configure = Callable[..., str]


def sdk(**more: Any) -> Json:
    return {"command": sys.executable, "args": [str(SERVER), "stdio"], **more}


def small(*words: str, **more: Any) -> Json:
    return {"command": sys.executable, "args": [str(SERVER), "small", *words], **more}


@pytest.fixture
def config(tmp_path: Path) -> Configure:
    """`config(name=entry, ...)` -> the path of an mcp.json with these servers."""

    def write(**servers: Json) -> str:
        path = tmp_path / "mcp.json"
        path.write_text(json.dumps({"mcpServers": servers}))
        return str(path)

    return write


@pytest.fixture(scope="module")
def web() -> Iterator[str]:
    """The address of a server that lives as long as this module's tests."""
    argv = [sys.executable, str(SERVER), "http"]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as process:
        assert process.stdout is not None
        yield f"http://127.0.0.1:{process.stdout.readline().strip()}/mcp"
        process.kill()


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stdio, "GRACE_S", 0.5)
    monkeypatch.setattr(connection, "START_S", 20.0)


def task_in(config: str, tools: list[Json] | None = None, **env: Any) -> Task:
    env = {"kind": "mcp", "config": config, **env}
    return new_task(messages=[{"role": "user", "content": "?"}], tools=tools or [], env=env, answer=[])


def tool(name: str, **properties: Json) -> Json:
    parameters = {"type": "object", "properties": properties}
    return {"type": "function", "function": {"name": name, "parameters": parameters}}


def play(task: Task, acts: Callable[[McpSession], Awaitable[Any]], timeout_s: float = 10.0) -> Any:
    """What `acts` brings with one session; everything is closed, twice."""

    async def run() -> Any:
        machinery = Machinery(timeout_s)
        session = mcp.open_session(task, machinery)
        assert isinstance(session, McpSession)
        try:
            return await acts(session)
        finally:
            await session.close()
            await session.close()
            await machinery.aclose()
            await machinery.aclose()

    found = asyncio.run(run())
    gc.collect()  # what was not closed says so now
    return found


def seen_in(task: Task, *calls: tuple[str, Json], timeout_s: float = 10.0) -> list[Observation]:
    """What the calls of one session bring, one after the other."""

    async def acts(session: McpSession) -> list[Observation]:
        return [await session.call(name, arguments) for name, arguments in calls]

    found: list[Observation] = play(task, acts, timeout_s)
    return found


def failure_in(task: Task, *calls: tuple[str, Json], timeout_s: float = 10.0) -> str:
    with pytest.raises(EnvironmentFailure) as caught:
        seen_in(task, *calls, timeout_s=timeout_s)
    return str(caught.value)


def error(seen: Observation) -> str:
    assert not seen.ok
    said: str = json.loads(seen.text)["error"]
    return said


def alive(pid: int) -> bool:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, 0)
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    return False


def gone(pid: int) -> bool:
    """Soon: a killed process takes a moment to die."""
    until = time.monotonic() + 2
    while alive(pid) and time.monotonic() < until:
        time.sleep(0.01)
    return not alive(pid)


# ---- what a real server answers ----------------------------------------------------------------


@pytest.fixture(params=["stdio", "http"])
def server(request: pytest.FixtureRequest, config: Configure) -> str:
    """The same tools, over each transport."""
    if request.param == "stdio":
        return config(one=sdk())
    return config(one={"url": request.getfixturevalue("web")})


def test_replies_of_all_kinds(server: str) -> None:
    replies = {
        ("add", '{"a": 1}'): "3",
        ("greet", '{"name": "Zoë"}'): "Hello Zoë",
        ("get_books", "{}"): '[{"title": "Emma"}, {"title": "Dune"}]',
        ("structured", "{}"): '{"rows": [1, 2]}',
        ("picture", "{}"): '{"not_shown": "image", "type": "image/png", "bytes": 12}',
        ("count", "{}"): "1",
    }
    errors = {
        ("fail", '{"reason": "bad luck"}'): "Error executing tool fail: bad luck",
        ("refuse", "{}"): "no more today",  # a code the SDK also uses for a closed connection
        ("structured", '{"wrong": true}'): '{"rows": [1, 2]}',
        ("nope", "{}"): "Unknown tool: nope",
    }
    kinds = [(name, json.loads(arguments)) for name, arguments in (*replies, *errors)]
    more: list[tuple[str, Json]] = [
        ("parts", {}),
        ("add", {}),
        ("add", {"a": "x"}),
        ("add", {"a": float("nan")}),
        ("add", {"a": "\ud800"}),
        ("add", {"a": {1, 2}}),
        ("count", {}),
    ]
    seen = seen_in(task_in(server), *kinds, *more)
    assert [each.text for each in seen[: len(replies)]] == list(replies.values())
    assert all(each.ok and each.ms > 0 for each in seen[: len(replies)])
    assert [error(each) for each in seen[len(replies) : len(kinds)]] == list(errors.values())
    parts, missing, wrong, *unsayable, count = seen[len(kinds) :]
    assert json.loads(parts.text) == [
        {"a": 1},
        "plain",
        {"not_shown": "image", "type": "image/png", "bytes": 3},
        "inside",
        {"not_shown": "file:///b.pdf", "type": "application/pdf", "bytes": 3},
        {"not_shown": "file:///c.txt", "type": "unknown", "name": "c"},
    ]
    assert "Field required" in error(missing)
    assert "should be a valid integer" in error(wrong)
    assert [error(each) for each in unsayable] == ["the arguments are not JSON"] * 3
    assert count.text == "2"


def test_late_big_and_curious_tools(server: str) -> None:
    calls: list[tuple[str, Json]] = [
        ("slow", {"seconds": 30}),
        ("add", {"a": 1}),
        ("big", {"n": 70_000}),
        ("big", {"n": 3_000_000}),
        *(("ask", {"what": what}) for what in ("input", "roots", "model")),
    ]
    late, add, big, bigger, *asked = seen_in(task_in(server), *calls, timeout_s=1.5)
    assert error(late) == "the tool gave no answer within 1.5 s"
    assert add.text == "3"
    assert big.text == "x" * 65_536 + "... (cut: the reply had 70000 bytes)"
    assert len(bigger.text) < 66_000
    assert [each.text.partition(": ")[2] for each in asked] == [
        "Elicitation not supported",
        "List roots not supported",
        "Sampling not supported",
    ]


def test_calls_made_at_once_and_given_up(server: str) -> None:
    """They are answered side by side, each its own; one that is cancelled disturbs no other."""

    async def acts(session: McpSession) -> list[Observation]:
        given_up = asyncio.create_task(session.call("slow", {"seconds": 30}))
        await session.call("add", {"a": 1})
        given_up.cancel()
        with pytest.raises(asyncio.CancelledError):
            await given_up
        calls: list[tuple[str, Json]] = [
            ("echo_after", {"text": "first", "seconds": 0.2}),
            ("echo_after", {"text": "second", "seconds": 0}),
            ("meet", {"n": 2}),
            ("meet", {"n": 2}),
            ("fail", {"reason": "third"}),
        ]
        return await asyncio.gather(*(session.call(name, arguments) for name, arguments in calls))

    seen = play(task_in(server), acts)
    assert [each.text for each in seen[:4]] == ["first", "second", "met", "met"]
    assert error(seen[4]).endswith("third")


def test_sessions_share_no_state(config: Configure, web: str) -> None:
    """Nor does one web server mix them; over stdio each has a process of its own."""

    async def acts(one: McpSession) -> list[str]:
        other = McpSession(list(one.servers.values()), one.shared)
        calls = [one, one, other, one]
        texts = [(await session.call("count", {})).text for session in calls]
        await other.close()
        return texts

    assert play(task_in(config(one={"url": web})), acts) == ["1", "2", "1", "3"]


@pytest.mark.parametrize("kind", ["stdio", "http"])
def test_a_session_closed_under_a_call(kind: str, config: Configure, web: str) -> None:
    async def acts(session: McpSession) -> str:
        await session.call("count", {})
        call = asyncio.create_task(session.call(*slow))
        await asyncio.sleep(0.05)
        await session.close()
        with pytest.raises(EnvironmentFailure):
            await call
        with pytest.raises(EnvironmentFailure, match="the session is closed"):
            await session.call("count", {})
        return "done"

    slow: tuple[str, Json] = ("mute", {}) if kind == "stdio" else ("slow", {"seconds": 30})
    path = config(one=small() if kind == "stdio" else {"url": web})
    assert play(task_in(path), acts) == "done"


def test_a_reply_that_came_while_the_loop_stood_still(config: Configure) -> None:
    """As on a busy machine: what is there already is not late."""

    async def acts(session: McpSession) -> Observation:
        await session.call("echo", {})
        call = asyncio.create_task(session.call("echo", {"a": 1}))
        await asyncio.sleep(0.005)
        time.sleep(1.0)  # noqa: ASYNC251 - just so
        return await call

    assert play(task_in(config(one=small())), acts, 0.9).text == '{"a": 1}'


# ---- processes ---------------------------------------------------------------------------------


def test_what_a_process_sees_of_us(
    config: Configure, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-ours")
    monkeypatch.setenv("MY_TOKEN", "sesame-street")
    path = config(one=small(env={"TOKEN": "Bearer ${MY_TOKEN}", "LEVEL": "${LEVEL:-7}"}))
    (seen,) = seen_in(task_in(path), ("environment", {}))
    told = json.loads(seen.text)
    environment = told["environment"]
    assert environment["TOKEN"] == "***"  # there to the letter, else it would not be masked
    assert environment["LEVEL"] == "7"
    assert environment["PATH"] == os.environ["PATH"]
    assert "OPENAI_API_KEY" not in environment
    assert "MY_TOKEN" not in environment
    assert told["folder"] == str(tmp_path)


def test_nothing_is_left_of_a_server(config: Configure) -> None:
    """Neither the polite one's children, nor the one that will not go."""
    before = set(os.listdir("/proc/self/fd"))
    for words in ((), ("stay",)):
        seen = seen_in(task_in(config(one=small(*words))), ("pid", {}), ("child", {}))
        assert all(gone(int(each.text)) for each in seen), words
        assert not Path(f"/proc/{seen[0].text}").exists(), "a zombie"
    assert set(os.listdir("/proc/self/fd")) <= before


def test_nothing_is_left_when_a_run_is_broken_off(config: Configure) -> None:
    pids: list[int] = []

    async def acts() -> None:
        session = mcp.open_session(task_in(config(one=small("stay"))), Machinery())
        pids.extend([int((await session.call(name, {})).text) for name in ("pid", "child")])
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        asyncio.run(acts())
    gc.collect()
    assert all(map(gone, pids))


def test_closing_while_a_server_starts(config: Configure) -> None:
    async def acts(session: McpSession) -> None:
        call = asyncio.create_task(session.call("echo", {}))
        await asyncio.sleep(0.1)
        await session.close()
        with pytest.raises(EnvironmentFailure):
            await call

    play(task_in(config(one=small("mute"))), acts)


def test_nothing_starts_before_the_first_call_nor_for_calls_that_cannot_be(config: Configure) -> None:
    async def acts(session: McpSession) -> list[Observation]:
        seen = [await session.call("nope", {}), await session.call("add", {"b": {1}})]
        assert not session._connections
        return seen

    task = task_in(config(one=small()), [tool("add"), tool("get")])
    assert error(play(task, acts)[0]) == "unknown tool 'nope'; tools are: add, get"


# ---- servers that break ------------------------------------------------------------------------


def test_a_server_that_dies_in_a_call_and_what_comes_after(config: Configure) -> None:
    async def acts(session: McpSession) -> list[str]:
        assert (await session.call("echo", {})).ok
        told = []
        for name in ("exit", "echo"):
            with pytest.raises(EnvironmentFailure) as caught:
                await session.call(name, {})
            told.append(caught.value.problem)
        return told

    sentence = "the MCP server 'one' ended (exit code 3); it said last: the disk is full"
    assert play(task_in(config(one=small())), acts) == [sentence, sentence]


@pytest.mark.parametrize(("number", "name"), [(signal.SIGKILL, "SIGKILL"), (40, "signal 40")])
def test_a_server_killed_between_calls(config: Configure, number: int, name: str) -> None:
    async def acts(session: McpSession) -> None:
        os.kill(int((await session.call("pid", {})).text), number)
        await session.call("echo", {})

    with pytest.raises(EnvironmentFailure, match=rf"the MCP server 'one' ended \({name}\)"):
        play(task_in(config(one=small())), acts)


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["words"], r"ended \(exit code 4\); it said last: cannot open the database with key \*\*\*"),
        (["leave"], r"ended \(exit code 0\); it said last: so long"),
        (["refuse"], "refused to start: no licence"),
        (["old"], "speaks no MCP that is known here: Unsupported protocol version.*1999"),
        (["flood"], "closed its output, or filled it with what is no MCP; it said last: garbage"),
    ],
)
def test_servers_that_do_not_start(config: Configure, words: list[str], sentence: str) -> None:
    path = config(one=small(*words, env={"KEY": "sesame-street"}))
    with pytest.raises(EnvironmentFailure, match=f"the MCP server 'one' {sentence}"):
        seen_in(task_in(path), ("echo", {}))


def test_a_server_that_never_says_hello(config: Configure, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection, "START_S", 0.4)
    said = failure_in(task_in(config(one=small("mute", "garbage"))), ("echo", {}))
    assert said.startswith(
        "the MCP server 'one' did not start within 0.4 s; it said last: Welcome! {not json}"
    )


def test_garbage_beside_messages_does_no_harm(config: Configure, caplog: pytest.LogCaptureFixture) -> None:
    calls: list[tuple[str, Json]] = [("echo", {"a": 1}), ("error", {}), ("surrogate", {}), ("nope", {})]
    seen = seen_in(task_in(config(one=small("garbage"))), *calls)
    assert seen[0].text == '{"a": 1}'
    assert [error(each) for each in seen[1:]] == [
        "Invalid params: a is missing",
        "the tool's reply cannot be read",
        "Unknown tool: nope",
    ]


def test_a_line_without_end(config: Configure, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stdio, "MAX_MESSAGE_BYTES", 200_000)
    calls: list[tuple[str, Json]] = [("long", {"n": n}) for n in (150_000, 250_000, 5_000_000)]
    fits, over, far, after = seen_in(task_in(config(one=small())), *calls, ("echo", {}))
    assert fits.ok
    assert error(over) == error(far) == "the tool's reply is longer than 200000 bytes"
    assert after.text == "{}"


def test_a_result_that_is_none(config: Configure) -> None:
    assert "answered a call with what is no result" in failure_in(
        task_in(config(one=small())), ("nonsense", {})
    )


def test_a_tool_that_is_mute(config: Configure) -> None:
    mute, echo = seen_in(task_in(config(one=small())), ("mute", {}), ("echo", {}), timeout_s=0.3)
    assert error(mute) == "the tool gave no answer within 0.3 s"
    assert echo.text == "{}"


def test_a_server_that_knows_only_the_newer_protocol(config: Configure) -> None:
    echo, nope = seen_in(task_in(config(one=small("modern"))), ("echo", {"a": 1}), ("nope", {}))
    assert echo.text == '{"a": 1}'
    assert error(nope) == "Unknown tool: nope"


# ---- HTTP --------------------------------------------------------------------------------------


def test_a_web_server_killed_under_and_between_calls(config: Configure) -> None:
    argv = [sys.executable, str(SERVER), "http"]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as process:
        assert process.stdout is not None
        path = config(one={"url": f"http://127.0.0.1:{process.stdout.readline().strip()}/mcp"})

        async def acts(session: McpSession) -> None:
            assert (await session.call("add", {"a": 1})).ok
            call = asyncio.create_task(session.call("slow", {"seconds": 30}))
            await asyncio.sleep(0.1)
            process.kill()
            for broken in (call, session.call("add", {"a": 1})):
                with pytest.raises(EnvironmentFailure, match="the MCP server 'one' is gone: "):
                    await broken

        play(task_in(path), acts)


def test_headers_come_from_the_environment(
    config: Configure, web: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MY_KEY", "sesame")
    path = config(one={"type": "http", "url": web, "headers": {"X-Key": "${MY_KEY}"}})
    (seen,) = seen_in(task_in(path), ("header", {"name": "x-key"}))
    assert seen.text == "***"  # sent to the letter, and masked in what comes back
    assert "sesame" not in json.dumps(task_in(path).env)


class _Deaf(BaseHTTPRequestHandler):
    """Answers every request with the status in its path."""

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        self.send_response(int(self.path.strip("/")))
        body = b'{"detail": "no"}'
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:
        pass


def test_web_servers_that_refuse(config: Configure) -> None:
    with ThreadingHTTPServer(("127.0.0.1", 0), _Deaf) as server:
        thread = Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        for status, name in (
            (401, "401 Unauthorized"),
            (404, "404 Not Found"),
            (503, "503 Service Unavailable"),
        ):
            path = config(one={"url": f"http://127.0.0.1:{server.server_address[1]}/{status}"})
            assert f"the MCP server 'one' answers {name}" in failure_in(task_in(path), ("add", {}))
        server.shutdown()
        thread.join()


def test_nobody_is_there(config: Configure) -> None:
    path = config(one={"url": "http://127.0.0.1:9/mcp"})
    assert "the MCP server 'one' cannot be reached: " in failure_in(task_in(path), ("add", {}))


# ---- names, several servers, tasks -------------------------------------------------------------


def test_two_servers(config: Configure) -> None:
    path = config(files=small(), **{"my.web": small(), "third": small("words")})
    calls: list[tuple[str, Json]] = [
        ("files__echo", {"a": 1}),
        ("my_web__echo", {"a": 2}),
        ("echo", {}),
        ("web__echo", {}),
        ("files__nope", {}),
    ]
    one, two, *wrong = seen_in(task_in(path), *calls)  # the third one would break, and is not started
    assert (one.text, two.text) == ('{"a": 1}', '{"a": 2}')
    assert [error(each) for each in wrong] == [
        "unknown tool 'echo'; tools are: files__..., my_web__..., third__...",
        "unknown tool 'web__echo'; tools are: files__..., my_web__..., third__...",
        "Unknown tool: nope",
    ]
    (named,) = seen_in(task_in(path, servers=["my.web"]), ("echo", {"a": 3}))
    assert named.text == '{"a": 3}'


def test_listed_tools(config: Configure, web: str) -> None:
    path = config(one={"url": web}, two=small())
    tools = asyncio.run(mcp.list_tools(path))
    names = [each["function"]["name"] for each in tools]
    assert names[:3] == ["one__add", "one__greet", "one__get_books"]
    assert names[-2:] == ["two__environment", "two__error"]  # from the second page
    add = tools[0]["function"]
    assert add["description"] == "Add two numbers."
    assert add["parameters"]["properties"]["a"]["type"] == "integer"
    assert add["parameters"]["required"] == ["a"]
    alone = asyncio.run(mcp.list_tools(path, ["two"]))
    assert [each["function"]["name"] for each in alone][:2] == ["echo", "exit"]


def test_a_task_has_the_tools_it_has(config: Configure) -> None:
    task = task_in(config(one=small()), [tool("echo")])
    echo, pid = seen_in(task, ("echo", {"a": 1}), ("pid", {}))
    assert echo.ok
    assert error(pid) == "unknown tool 'pid'; tools are: echo"


def test_true_schemas_of_a_drifted_task_are_held(config: Configure) -> None:
    true = [tool("echo", a={"type": "integer"})]
    task = task_in(config(one=small()), [tool("echo", old={"type": "integer"})], schemas=true)
    stale, wrong, right = seen_in(task, ("echo", {"old": 1}), ("echo", {"a": "x"}), ("echo", {"a": 1}))
    assert error(stale) == "unknown parameter 'old'; parameters are: a"
    assert error(wrong) == "a must be an integer"
    assert right.text == '{"a": 1}'


@given(st.lists(st.text(max_size=80), unique=True), st.integers(20, 64))
def test_shown_names_fit_and_differ(names: list[str], room: int) -> None:
    shown = text.shown(names, room)
    assert sorted(shown) == sorted(names)
    assert len(set(shown.values())) == len(names)
    assert all(0 < len(name) <= room and name.isascii() for name in shown.values())
    assert all(re.fullmatch(r"[a-zA-Z0-9_-]+", name) for name in shown.values())
    assert shown == text.shown([*names, *names], room)


def test_through_the_world(config: Configure) -> None:
    async def run() -> list[str]:
        world = World()
        sessions = [world.open(task_in(config(one=small()))) for _ in range(3)]
        seen = await asyncio.gather(*(session.call("pid", {}) for session in sessions))
        await world.close()  # closes what nobody closed
        return [each.text for each in seen]

    pids = asyncio.run(run())
    assert len(set(pids)) == 3
    assert all(gone(int(pid)) for pid in pids)


def test_simulated(config: Configure) -> None:
    """Nothing is started, and no config read: calls are held to the task's schemas."""

    async def run() -> list[bool]:
        session = World(simulate=True).open(task_in("no.json", [tool("f", a={"type": "integer"})]))
        return [(await session.call("f", arguments)).ok for arguments in ({"a": 1}, {"a": "x"})]

    assert asyncio.run(run()) == [True, False]


# ---- the config --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("written", "sentence"),
    [
        ("{", "not JSON"),
        ("[]", "mcpServers: no object with servers"),
        ('{"mcpServers": {}}', "mcpServers: no object with servers"),
        ('{"mcpServers": {"a": 3}}', "mcpServers.a: an object is due"),
        ('{"mcpServers": {"a": {}}}', "mcpServers.a.command: "),
        ('{"mcpServers": {"a": {"command": "ls", "args": "x"}}}', "mcpServers.a.args: a list of strings"),
        (
            '{"mcpServers": {"a": {"command": "ls", "env": {"P": 1}}}}',
            "mcpServers.a.env: an object of strings",
        ),
        ('{"mcpServers": {"a": {"command": "ls", "cwd": 1}}}', "mcpServers.a.cwd: "),
        ('{"mcpServers": {"a": {"url": "ftp://x"}}}', "mcpServers.a.url: an address"),
        ('{"mcpServers": {"a": {"type": "http", "command": "ls"}}}', "mcpServers.a.url: an address"),
        (
            '{"mcpServers": {"a": {"type": "sse", "url": "http://x"}}}',
            "mcpServers.a.type: stdio or http, not 'sse'",
        ),
        ('{"mcpServers": {"a": {"url": "http://x", "headers": []}}}', "mcpServers.a.headers: "),
    ],
)
def test_a_broken_config(tmp_path: Path, written: str, sentence: str) -> None:
    path = tmp_path / "mcp.json"
    path.write_text(written)
    with pytest.raises(InputError) as caught:
        read(str(path))
    assert str(caught.value).startswith(f"{path}: {sentence}")


def test_what_this_machine_lacks(config: Configure, tmp_path: Path) -> None:
    wrong: dict[str, tuple[Json, list[str] | None]] = {
        "has no MCP server 'on'; did you mean 'one'": (small(), ["on"]),
        "there is no command 'no-such-program'": ({"command": "no-such-program"}, None),
        "there is no command './server'": ({"command": "./server"}, None),
        "cannot run in '.*nowhere'; it is no folder": ({"command": "ls", "cwd": "nowhere"}, None),
        r"NO_SUCH is not set, and the MCP server 'one' of .* needs it; set it, or write \$\{NO_SUCH:-": (
            {"url": "http://x", "headers": {"a": "${NO_SUCH}"}},
            None,
        ),
    }
    for sentence, (entry, names) in wrong.items():
        with pytest.raises(UsageError, match=sentence):
            read(config(one=entry), names)
    with pytest.raises(UsageError, match="there is no file"):
        read(str(tmp_path / "none.json"))
    with pytest.raises(UsageError, match=r"'a\.b' and 'a b' of .* have one name in tools' names"):
        read(config(**{"a.b": small(), "a b": small()}))


@pytest.mark.parametrize(
    ("env", "error"), [({"config": 3}, "env.config: "), ({"servers": "a"}, "env.servers: ")]
)
def test_a_broken_environment_is_the_records_fault(config: Configure, env: Json, error: str) -> None:
    with pytest.raises(InputError, match=error):
        mcp.open_session(task_in(**{"config": config(one=small()), **env}), Machinery())


def test_expansion(config: Configure, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("A", "one")
    monkeypatch.setenv("EMPTY", "")
    (tmp_path / "inside").mkdir()
    words = ["${A}-${EMPTY:-two}-${EMPTY}-${NONE:-}", "$A", "${not a name}"]
    path = config(one={"command": "ls", "args": words, "cwd": "${DIR:-inside}", "env": {"K": "${A}"}})
    (server,) = read(path)
    assert server.command[1:] == ("one-two--", "$A", "${not a name}")
    assert server.cwd == str(tmp_path / "inside")
    assert dict(server.env)["K"] == "one"
    assert "one" not in server.secrets  # too short to hide anything


def test_relative_programs_start_in_the_configs_folder(config: Configure, tmp_path: Path) -> None:
    program = tmp_path / "server"
    program.write_text(f"#!/bin/sh\nexec {sys.executable} {SERVER} small\n")
    program.chmod(0o755)
    (seen,) = seen_in(task_in(config(one={"command": "./server"})), ("echo", {}))
    assert seen.ok


def test_without_the_package(config: Configure, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "mcp_types", None)
    path = config(one=small())
    for needs in (
        lambda: mcp.open_session(task_in(path), Machinery()),
        lambda: asyncio.run(mcp.list_tools(path)),
    ):
        with pytest.raises(
            UsageError, match=r"need the mcp package, version 2 or newer; pip install 'tmcli\[mcp\]'"
        ):
            needs()


def test_what_a_server_repeats_of_its_secrets_is_masked(
    config: Configure, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TOKEN", 'TOP"SECRET')
    (server,) = read(config(one={"command": "ls", "env": {"K": "${TOKEN}"}}))
    assert server.masked('it is TOP"SECRET, {"a": "TOP\\"SECRET"}') == 'it is ***, {"a": "***"}'
