"""Hostile and broken tool code, as real sources in real child processes."""

import asyncio
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from tmcli.environments import Observation
from tmcli.environments.sandbox import ZYGOTE, Sandbox, SandboxSession
from tmcli.errors import EnvironmentFailure

OK = "def ok(value=1): return {'value': value}"
LATE = '{"error": "the tool gave no answer within 0.5 s"}'


def unchecked(name: str, arguments: dict[str, Any]) -> None:
    """These tests go past the schemas."""


def running(
    script: Callable[[Sandbox, SandboxSession], Awaitable[Any]],
    codes: dict[str, str],
    *,
    timeout_s: float = 0.5,
    memory_mb: int = 256,
) -> Any:
    """Run `script` with one open session."""

    async def run() -> Any:
        sandbox = Sandbox(timeout_s, memory_mb)
        try:
            session = sandbox.open({"kind": "python", "codes": {"ok": OK, **codes}}, unchecked)
            return await script(sandbox, session)
        finally:
            await sandbox.close()

    return asyncio.run(run())


def attack(source: str, **limits: Any) -> Observation:
    """Call the tool `bad`; whatever it does, the next call of the same session is answered."""

    async def script(_: Sandbox, session: SandboxSession) -> Observation:
        assert (await session.call("ok", {})).ok
        seen = await session.call("bad", {})
        after = await session.call("ok", {"value": 2})
        assert (after.ok, after.text) == (True, '{"value": 2}')
        return seen

    seen: Observation = running(script, {"bad": source}, **limits)
    return seen


def said(seen: Observation) -> str:
    """The error the model is told."""
    assert not seen.ok
    error = json.loads(seen.text)["error"]
    assert isinstance(error, str)
    return error


@pytest.mark.parametrize(
    ("source", "error"),
    [
        ("import sys\ndef bad(): sys.exit(3)", "SystemExit: 3"),
        ("import os\ndef bad(): os._exit(3)", "the tool ended its own process (exit code 3)"),
        ("import os\ndef bad(): os.abort()", "the tool crashed (SIGABRT)"),
        ("def bad(): raise KeyboardInterrupt", "KeyboardInterrupt"),
        ("class E(BaseException): pass\ndef bad(): raise E('x')", "E: x"),
        ("def bad(): raise ValueError('no book \"x\"\\n\\x00é\\ud800')", 'ValueError: no book "x"\n\x00é?'),
        (
            "class E(Exception):\n def __str__(self): raise E\ndef bad(): raise E",
            "E, with a message that cannot be shown",
        ),
        ("def bad(): return bad()", "RecursionError: maximum recursion depth exceeded"),
        ("def bad(): return bytearray(10**9)", "the tool ran out of memory (256 MB)"),
        ("def bad():\n a = []\n while True: a.append('x' * 10**6)", "the tool ran out of memory (256 MB)"),
        ("def bad(): return input()", "EOFError: EOF when reading a line"),
        ("def bad(:", "SyntaxError: invalid syntax (<bad>, line 1)"),
        ("def other(): return 1", "NameError: name 'bad' is not defined"),
        ("bad = 3", "TypeError: 'int' object is not callable"),
        ("import not_there\ndef bad(): pass", "ModuleNotFoundError: No module named 'not_there'"),
        ("1 / 0\ndef bad(): pass", "ZeroDivisionError: division by zero"),
    ],
)
def test_what_the_tool_does_wrong_is_told(source: str, error: str) -> None:
    assert said(attack(source, timeout_s=5)).startswith(error)


@pytest.mark.parametrize(
    "source",
    [
        "def bad():\n while True: pass",
        "while True: pass\ndef bad(): pass",
        "def bad():\n while True:\n  try:\n   while True: pass\n  except BaseException: pass",
        "import re\ndef bad(): re.match(r'(a+)+$', 'a' * 60 + 'b')",
        "import time\ndef bad(): time.sleep(60)",
        "def bad(): return 10 ** 10 ** 9",
        "def bad():\n while True: print('x' * 1000, flush=True)",
    ],
)
def test_the_clock_in_the_child(source: str) -> None:
    seen = attack(source)
    assert (seen.ok, seen.text) == (False, LATE)
    assert 500 <= seen.ms < 1400


@pytest.mark.parametrize("busy", ["time.sleep(60)", "\n  pass"])
def test_the_clock_outside_when_the_inner_one_is_disarmed(busy: str) -> None:
    seen = attack(
        "import signal, time\ndef bad():\n signal.signal(signal.SIGALRM, signal.SIG_IGN)\n"
        f" signal.signal(signal.SIGXCPU, signal.SIG_IGN)\n while True: {busy}"
    )
    assert (seen.ok, seen.text) == (False, LATE)
    assert seen.ms > 1400


@pytest.mark.parametrize(
    "start",
    [
        "os.fork()",
        "os.system('true')",
        "os.execv('/bin/true', ['true'])",
        "os.posix_spawn('/bin/true', ['true'], {})",
        "__import__('subprocess').run(['true'])",
        "threading.Thread(target=print).start()",
        "os.kill(os.getppid(), 9)",
        "os.killpg(os.getppid(), 9)",
    ],
)
def test_no_processes_no_threads_no_signals(start: str) -> None:
    error = said(attack(f"import os, threading\ndef bad():\n for _ in range(50): {start}"))
    assert error == "PermissionError: tools may not start processes or threads, or send signals"


def test_no_files() -> None:
    source = "def bad():\n with open('big', 'w') as file: file.write('x' * 100_000)"
    assert said(attack(source)) == "OSError: [Errno 27] File too large"


def test_secrets_are_absent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "hunter2")
    seen = attack("import os\ndef bad(): return [dict(os.environ), os.listdir(), os.getcwd()]")
    environ, files, folder = json.loads(seen.text)
    assert "hunter2" not in seen.text
    assert set(environ) <= {"PYTHONHASHSEED", "PYTHONUTF8", "LC_CTYPE"}
    assert files == []
    assert not Path(folder).exists()  # by now


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("'plain é'", "plain é"),
        ("{'a': [1, 'é', None]}", '{"a": [1, "é", null]}'),
        ("3", "3"),
        ("True", "true"),
        ("None", "null"),
        ("{1, }", "{1}"),
        ("{(1, 2): 3}", "{(1, 2): 3}"),
        ("float('nan')", "NaN"),
        ("'\\ud800'", "?"),
    ],
)
def test_results(value: str, text: str) -> None:
    seen = attack(f"def bad(): return {value}")
    assert (seen.ok, seen.text) == (True, text)


def test_a_returned_error_is_an_error() -> None:
    seen = attack("def bad(): return {'error': 'no such place'}")
    assert (seen.ok, seen.text) == (False, '{"error": "no such place"}')
    assert attack("def bad(): return {'error': None, 'value': 1}").ok


def test_a_huge_result_is_cut_and_says_so() -> None:
    seen = attack("def bad(): return 'é' * 1_000_000", timeout_s=5)
    assert seen.ok
    assert seen.text.endswith("... (cut: the reply had 2000000 bytes)")
    assert len(seen.text.encode()) < 66_000
    assert len(said(attack("def bad(): raise ValueError('x' * 10**6)"))) < 2_100


def test_cyclic_and_hostile_values() -> None:
    assert attack("def bad():\n a = []\n a.append(a)\n return a").text == "[[...]]"
    hostile = "class D(dict):\n def items(self): raise SystemExit\n def get(self, *a): raise SystemExit\n"
    assert said(attack(f"{hostile}def bad(): return D(a=1)")) == "SystemExit"


FORGED = "import os, struct\nframe = struct.pack('!I', 40) + bytes(16) + b'+' + b'forged'.ljust(23)\n"


def test_prints_forge_nothing() -> None:
    bad = "def bad():\n os.write(1, frame); os.write(2, frame); print(frame)\n return 1"
    assert attack(f"{FORGED}print('x' * 100_000)\n{bad}").text == "1"


def test_forged_frames_on_every_descriptor_are_told_from_ours() -> None:
    forge = " for fd in range(3, 64):\n  try: os.write(fd, frame)\n  except OSError: pass\n return 1"
    assert said(attack(f"{FORGED}def bad():\n{forge}")) == "the tool wrote into the channel of its replies"
    assert said(attack(f"{FORGED}frame = b'\\xff' * 100\ndef bad():\n{forge}")).startswith("the tool wrote")


@pytest.mark.parametrize("then", ["return 1", "time.sleep(60)"])
def test_a_closed_channel_is_the_tools_fault(then: str) -> None:
    error = said(attack(f"import os, time\ndef bad():\n os.closerange(3, 64)\n {then}", timeout_s=5))
    assert error in (
        "the tool ended its own process (exit code 0)",
        "the tool closed the channel of its replies",
    )


def test_arguments_that_are_not_json() -> None:
    async def script(_: Sandbox, session: SandboxSession) -> list[str]:
        deep: list[Any] = []
        for _i in range(100_000):
            deep = [deep]
        return [said(await session.call("ok", {"value": value})) for value in ({1, 2}, deep)]

    assert running(script, {}) == ["the arguments are not JSON"] * 2


COUNT = "n = 0\ndef count():\n global n\n n += 1\n return n"


def test_a_fresh_child_knows_what_was_changed() -> None:
    async def script(_: Sandbox, session: SandboxSession) -> list[str]:
        names = ("count", "count", "loop", "count", "die", "count")
        return [(await session.call(name, {})).text for name in names]

    codes = {
        "count": COUNT,
        "loop": "def loop():\n while True: pass",
        "die": "import os\ndef die(): os._exit(0)",
    }
    one, two, _, three, _, four = running(script, codes)
    assert [one, two, three, four] == ["1", "2", "3", "4"]


def test_parallel_calls_are_done_in_order_and_sessions_share_nothing() -> None:
    async def script(sandbox: Sandbox, session: SandboxSession) -> list[list[str]]:
        other = sandbox.open(session.spec, unchecked)
        both = [[s.call("count", {}) for _ in range(5)] for s in (session, other)]
        return [[seen.text for seen in await asyncio.gather(*calls)] for calls in both]

    assert running(script, {"count": COUNT}) == [["1", "2", "3", "4", "5"]] * 2


def test_the_same_bytes_every_time() -> None:
    source = "import random\ndef bad(): return [random.random(), list({'a', 'b', 'c', 'd'}), hash('x')]"
    assert attack(source).text == attack(source).text


def test_a_session_closes_twice_and_is_then_closed() -> None:
    async def script(sandbox: Sandbox, session: SandboxSession) -> None:
        await session.call("ok", {})
        await session.close()
        await session.close()
        assert not sandbox.sessions
        with pytest.raises(EnvironmentFailure, match="closed"):
            await session.call("ok", {})

    running(script, {})


def test_a_cancelled_call_leaves_a_session_that_answers_right() -> None:
    async def script(_: Sandbox, session: SandboxSession) -> str:
        await session.call("ok", {})
        call = asyncio.create_task(session.call("slow", {}))
        await asyncio.sleep(0.1)
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call
        return (await session.call("ok", {"value": 7})).text

    slow = "import time\ndef slow(): time.sleep(0.3); return 'late'"
    assert running(script, {"slow": slow}) == '{"value": 7}'


def test_a_reply_that_came_while_the_loop_stood_still_counts() -> None:
    async def script(_: Sandbox, session: SandboxSession) -> Observation:
        await session.call("ok", {})
        call = asyncio.create_task(session.call("ok", {"value": 5}))
        await asyncio.sleep(0)
        time.sleep(1.7)  # noqa: ASYNC251  as `runner.py` does between episodes, past both clocks
        return await call

    seen = running(script, {})
    assert (seen.ok, seen.text) == (True, '{"value": 5}')


def pid_of_zygote(sandbox: Sandbox) -> int:
    zygote = sandbox._zygote
    assert zygote is not None
    return zygote.process.pid


def test_a_zygote_killed_in_mid_call_is_replaced() -> None:
    async def script(sandbox: Sandbox, session: SandboxSession) -> list[str]:
        first = (await session.call("count", {})).text
        call = asyncio.create_task(session.call("slow", {}))
        await asyncio.sleep(0.2)
        old = pid_of_zygote(sandbox)
        os.kill(old, signal.SIGKILL)
        texts = [first, (await call).text, (await session.call("count", {})).text]
        assert pid_of_zygote(sandbox) != old
        return texts

    slow = "import time\ndef slow(): time.sleep(0.6); return 'done'"
    assert running(script, {"count": COUNT, "slow": slow}, timeout_s=3) == ["1", "done", "2"]


def test_a_zygote_killed_between_calls_is_replaced() -> None:
    async def script(sandbox: Sandbox, session: SandboxSession) -> list[str]:
        texts = []
        for _ in range(3):
            texts.append((await session.call("count", {})).text)
            os.kill(pid_of_zygote(sandbox), signal.SIGKILL)
        return texts

    assert running(script, {"count": COUNT}) == ["1", "2", "3"]


def test_a_zygote_that_cannot_live_is_our_failure(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    async def script(_: Sandbox, session: SandboxSession) -> None:
        with pytest.raises(EnvironmentFailure):
            await session.call("ok", {})

    monkeypatch.setattr("tmcli.environments.sandbox.ZYGOTE", tmp_path / "gone.py")
    running(script, {})
    monkeypatch.setattr(sys, "executable", str(tmp_path / "no-python"))
    running(script, {})


def test_a_world_that_cannot_be_built_is_our_failure() -> None:
    async def script(sandbox: Sandbox, _: SandboxSession) -> None:
        source = "def make_world(seed): raise ValueError(f'no world {seed}')"
        spec = {"kind": "toolbox", "name": "broken", "source": source, "seed": 7}
        with pytest.raises(EnvironmentFailure, match="cannot be built: ValueError: no world 7"):
            await sandbox.open(spec, unchecked).call("f", {})

    running(script, {})


def test_many_event_loops_one_sandbox() -> None:
    sandbox = Sandbox()

    async def once() -> bool:
        session = sandbox.open({"kind": "python", "codes": {"ok": OK}}, unchecked)
        seen = await session.call("ok", {})
        await session.close()
        return seen.ok

    assert asyncio.run(once())
    assert asyncio.run(once())
    asyncio.run(sandbox.close())


# ---- what the zygote may remove ----------------------------------------------------------------


@pytest.mark.parametrize("name", ["work", "tm-sandbox-work"])
def test_a_zygote_that_nobody_controls_removes_nothing(tmp_path: Path, name: str) -> None:
    """Started by hand, with a descriptor that is no socket, in any folder (it once emptied a checkout)."""
    folder = tmp_path / name
    (folder / "src").mkdir(parents=True)
    (folder / "src" / "precious.py").write_text("1")
    for fd in ("99", "0"):
        result = subprocess.run(
            [sys.executable, "-s", "-P", "-S", "-B", str(ZYGOTE), fd, "1", "64"],
            cwd=folder,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=20,
        )
        assert result.returncode != 0
        assert (folder / "src" / "precious.py").read_text() == "1"


@pytest.mark.parametrize(
    ("name", "stays"), [("work", True), ("tm-sandbox-1", False), ("tm-sandbox-full", True)]
)
def test_a_zygote_removes_its_own_empty_folder_only(tmp_path: Path, name: str, stays: bool) -> None:
    folder = tmp_path / name
    folder.mkdir()
    if name.endswith("full"):
        (folder / "left").write_text("1")
    ours, theirs = socket.socketpair()
    zygote = subprocess.Popen(
        [sys.executable, "-s", "-P", "-S", "-B", str(ZYGOTE), str(theirs.fileno()), "1", "64"],
        cwd=folder,
        stdin=subprocess.DEVNULL,
        pass_fds=[theirs.fileno()],
    )
    theirs.close()
    ours.close()
    assert zygote.wait(timeout=20) == 0
    assert folder.exists() == stays
    assert not name.endswith("full") or (folder / "left").exists()


HOST = """
import asyncio, sys
from tmcli.environments.sandbox import Sandbox
async def main():
    sandbox = Sandbox(timeout_s=60)
    codes = {"pid": "import os\\ndef pid(): return os.getpid()", "loop": "def loop():\\n while True: pass"}
    sessions = [sandbox.open({"kind": "python", "codes": codes}, lambda n, a: None) for _ in range(3)]
    pids = [(await session.call("pid", {})).text for session in sessions]
    print(*pids, sandbox._zygote.process.pid, flush=True)
    await asyncio.gather(*(session.call("loop", {}) for session in sessions[1:]))
asyncio.run(main())
"""


def test_nothing_outlives_us(tmp_path: Path) -> None:
    host = subprocess.Popen(
        [sys.executable, "-c", HOST],
        env={**os.environ, "TMPDIR": str(tmp_path)},
        stdout=subprocess.PIPE,
        text=True,
    )
    assert host.stdout is not None
    with host.stdout:
        pids = [int(word) for word in host.stdout.readline().split()]
    assert len(pids) == 4
    assert all(map(is_alive, pids))
    assert list(tmp_path.iterdir())
    time.sleep(0.2)
    host.kill()
    host.wait()
    end = time.monotonic() + 5
    while time.monotonic() < end and (any(map(is_alive, pids)) or list(tmp_path.iterdir())):
        time.sleep(0.02)
    assert [pid for pid in pids if is_alive(pid)] == []
    assert list(tmp_path.iterdir()) == []


def is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    stat = Path(f"/proc/{pid}/stat")  # a zombie that nobody waits for has ended all the same
    return not stat.exists() or ") Z " not in stat.read_text()
