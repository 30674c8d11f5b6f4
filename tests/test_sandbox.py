"""Hostile and broken tool code, as real sources in real child processes."""

import asyncio
import functools
import json
import os
import platform
import resource
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
from tmcli.environments.children import ENVIRONMENT, ZYGOTE
from tmcli.environments.lock import CALLS, MACHINES
from tmcli.environments.sandbox import Sandbox, SandboxSession
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


def attack(source: str, timeout_s: float = 5, **arguments: Any) -> Observation:
    """Call the tool `bad`; whatever it does, the next calls of this and of a new session are answered."""

    async def script(sandbox: Sandbox, session: SandboxSession) -> Observation:
        assert (await session.call("ok", {})).ok
        seen = await session.call("bad", arguments)
        for healthy in (session, sandbox.open(session.spec, unchecked)):
            after = await healthy.call("ok", {"value": 2})
            assert (after.ok, after.text) == (True, '{"value": 2}')
        return seen

    seen: Observation = running(script, {"bad": source}, timeout_s=timeout_s)
    return seen


def said(seen: Observation) -> str:
    """The error the model is told."""
    assert not seen.ok
    error = json.loads(seen.text)["error"]
    assert isinstance(error, str)
    return error


@functools.cache
def granted() -> frozenset[str]:
    """The locks that this machine's kernel grants to a child."""
    return frozenset(json.loads(attack("import sys\ndef bad(): return sys.modules['__main__'].GRANTED").text))


@pytest.fixture
def locked() -> None:
    """For what holds with all locks on; `test_holds.py` has the rest."""
    if not granted() >= {"landlock", "seccomp"}:
        pytest.skip(f"this kernel grants only: {', '.join(sorted(granted()))}")


EVERY = """
import ctypes, errno, fcntl, os, pathlib, resource, signal, socket, subprocess, sys, threading
libc = ctypes.CDLL(None, use_errno=True)
def bad(tries, **names):
    said = {}
    for attempt in tries:
        try: said[attempt] = repr(eval(attempt, globals(), names))
        except BaseException as error: said[attempt] = type(error).__name__
    return said
"""


def every(tries: list[str], **names: Any) -> dict[str, str]:
    """What comes of each expression, evaluated by tool code: the value as `repr` has it, or the error."""
    seen = attack(EVERY, tries=tries, **names)
    assert seen.ok, seen.text
    told: dict[str, str] = json.loads(seen.text)
    return told


# ---- what it survives --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("source", "error"),
    [
        ("import sys\ndef bad(): sys.exit(3)", "SystemExit: 3"),
        ("import os\ndef bad(): os._exit(3)", "the tool ended its own process (exit code 3)"),
        ("import os\ndef bad(): os.abort()", "the tool crashed (SIG"),
        ("import ctypes\ndef bad(): ctypes.string_at(0)", "the tool crashed (SIGSEGV)"),
        ("def bad(): raise KeyboardInterrupt", "KeyboardInterrupt"),
        ("class E(BaseException): pass\ndef bad(): raise E('x')", "E: x"),
        ("def bad(): raise ValueError('no book \"x\"\\n\\x00é\\ud800')", 'ValueError: no book "x"\n\x00é?'),
        (
            "class E(Exception):\n def __str__(self): raise E\ndef bad(): raise E",
            "E, with a message that cannot be shown",
        ),
        ("def bad(): return bad()", "RecursionError: maximum recursion depth exceeded"),
        (  # down the stack of C
            "import sys\ndef bad(x=1): sys.setrecursionlimit(10**9); return [*map(bad, [x])]",
            ("the tool crashed (SIGSEGV)", "RecursionError"),  # Python 3.11, and later ones
        ),
        ("def bad():\n a = []\n for _ in range(10**5): a = [a]\n return a", "RecursionError: maximum recurs"),
        ("def bad(): return bytearray(10**9)", "the tool ran out of memory (256 MB)"),
        ("def bad():\n a = []\n while True: a.append('x' * 10**6)", "the tool ran out of memory (256 MB)"),
        ("import mmap\ndef bad(): return mmap.mmap(-1, 10**9)", "OSError: [Errno 12] Cannot allocate memory"),
        ("def bad(): return 10**10_000", "ValueError: Exceeds the limit (4300 digits)"),
        ("import builtins\ndef bad(): builtins.len = None", "the tool ended its own process (exit code 0)"),
        ("def bad(): return input()", "EOFError: EOF when reading a line"),
        ("def bad(:", "SyntaxError: invalid syntax (<bad>, line 1)"),
        ("def other(): return 1", "NameError: name 'bad' is not defined"),
        ("bad = 3", "TypeError: 'int' object is not callable"),
        ("import not_there\ndef bad(): pass", "ModuleNotFoundError: No module named 'not_there'"),
        ("1 / 0\ndef bad(): pass", "ZeroDivisionError: division by zero"),
    ],
)
def test_what_the_tool_does_wrong_is_told(source: str, error: str | tuple[str, str]) -> None:
    assert said(attack(source)).startswith(error)


LOOPS = [
    "def bad():\n while True: pass",
    "while True: pass\ndef bad(): pass",
    "def bad():\n while True:\n  try:\n   while True: pass\n  except BaseException: pass",
    "import re\ndef bad(): re.match(r'(a+)+$', 'a' * 60 + 'b')",
    "import time\ndef bad(): time.sleep(60)",
    "def bad(): return 10 ** 10 ** 9",
    "def bad():\n while True: print('x' * 1000, flush=True)",
]
DISARMED = (
    "import signal, time\ndef bad():\n signal.signal(signal.SIGALRM, signal.SIG_IGN)\n"
    " signal.setitimer(signal.ITIMER_REAL, 0)\n while True: "
)


@pytest.mark.parametrize(
    ("sources", "least", "most"),
    [(LOOPS, 500, 1400), ([f"{DISARMED}time.sleep(60)", f"{DISARMED}pass"], 1500, 5000)],
    ids=["the clock in the child", "the clock outside when that one is disarmed"],
)
def test_a_call_past_its_time(sources: list[str], least: float, most: float) -> None:
    """All at once, and each session goes on."""

    async def late(sandbox: Sandbox, source: str) -> Observation:
        session = sandbox.open({"kind": "python", "codes": {"ok": OK, "bad": source}}, unchecked)
        seen = await session.call("bad", {})
        assert (await session.call("ok", {})).ok
        return seen

    async def script(sandbox: Sandbox, session: SandboxSession) -> list[Observation]:
        await session.call("ok", {})
        return await asyncio.gather(*(late(sandbox, source) for source in sources))

    for source, seen in zip(sources, running(script, {}), strict=True):
        assert (source, seen.ok, seen.text) == (source, False, LATE)
        assert least <= seen.ms < most


def test_a_gigabyte_of_output_goes_nowhere() -> None:
    flood = "import os\ndef bad():\n for fd in [1, 2] * 500: os.write(fd, data)\n return 1"
    assert attack(f"data = b'x' * 10**6\n{flood}").text == "1"


def test_a_tool_that_patches_everything_gets_its_reply_out() -> None:
    source = (
        "import builtins, json, os, signal, struct, sys\n"
        "def bad():\n json.dumps = json.loads = json.JSONEncoder.encode = json.encoder.JSONEncoder = None\n"
        " os.write = os.read = signal.setitimer = struct.pack = builtins.print = None\n"
        " sys.modules.clear()\n return {'value': 1}"
    )
    assert attack(source).text == '{"value": 1}'


# ---- what it keeps out -------------------------------------------------------------------------

NO_PROCESSES = {
    "os.fork()": "PermissionError",
    "libc.fork()": "-1",
    "libc.vfork()": "-1",
    "os.system('true') >> 8": "127",  # what a shell says that cannot be started
    "subprocess.run([sys.executable, '-c', ''])": "PermissionError",
    "os.posix_spawn(sys.executable, ['python', '-c', ''], {})": "PermissionError",
    "os.execv(sys.executable, ['python', '-c', ''])": "PermissionError",
    "libc.execv(sys.executable.encode(), None)": "-1",
    "threading.Thread(target=print).start()": "RuntimeError",
    "libc.pthread_create(ctypes.byref(ctypes.c_ulong()), None, libc.getpid, None) > 0": "True",  # its errno
}
THREAD = "libc.pthread_create(ctypes.byref(ctypes.c_ulong()), None, libc.getpid, None)"
BOMBS = {
    "sum(libc.fork() != -1 for _ in range(500))": "0",
    "sum(libc.syscall(435, bytes(88), 88) != -1 for _ in range(500))": "0",  # clone3
    f"sum({THREAD} == 0 for _ in range(500))": "0",
}
NO_SIGNALS = {
    "os.kill(ours, 0)": "PermissionError",
    "os.kill(os.getppid(), 9)": "PermissionError",
    "os.kill(os.getpid(), 9)": "PermissionError",
    "os.killpg(0, 9)": "PermissionError",
    "signal.raise_signal(9)": "PermissionError",
    "signal.pthread_kill(threading.get_ident(), 9)": "PermissionError",
    "libc.kill(ours, 0)": "-1",
    "libc.sigqueue(ours, 0, None)": "-1",
    "fcntl.fcntl(0, fcntl.F_SETOWN, ours)": "PermissionError",  # who gets SIGIO, or any other signal
    "fcntl.fcntl(0, fcntl.F_SETSIG, 9)": "PermissionError",
    "fcntl.fcntl(os.open(os.__file__, os.O_RDONLY), fcntl.F_SETLEASE, fcntl.F_RDLCK)": "PermissionError",
    "libc.ptrace(16, ours, None, None)": "-1",
    "os.pidfd_open(ours)": "PermissionError",
    "os.setsid()": "PermissionError",
    "os.setpgid(0, os.getppid())": "PermissionError",
    "libc.prctl(1, 0, 0, 0, 0)": "-1",  # outlive the parent
}
NO_FILES_WRITTEN = {
    "open('x', 'w')": "PermissionError",
    "open(folder + '/x', 'w')": "PermissionError",
    "open(file, 'a')": "PermissionError",
    "open(file, 'r+')": "PermissionError",
    "open('/dev/shm/x', 'w')": "PermissionError",
    "os.open(folder, os.O_TMPFILE | os.O_RDWR)": "PermissionError",
    "libc.creat((folder + '/x').encode(), 0o600)": "-1",
    "os.truncate(file, 0)": "PermissionError",
    "os.remove(file)": "PermissionError",
    "os.rename(file, file + '2')": "PermissionError",
    "os.link(file, file + '2')": "PermissionError",
    "os.symlink(file, file + '2')": "PermissionError",
    "os.mkdir(folder + '/x')": "PermissionError",
    "os.rmdir(os.getcwd())": "PermissionError",
    "os.mkfifo(folder + '/x')": "PermissionError",
    "os.chmod(file, 0o600)": "PermissionError",
    "os.chmod('/dev/null', 0o600)": "PermissionError",
    "os.chown(file, os.getuid(), os.getgid())": "PermissionError",
    "os.utime(file, (1, 1))": "PermissionError",
    "os.setxattr(file, 'user.x', b'1')": "PermissionError",
    "os.memfd_create('x')": "PermissionError",
    "open(os.devnull, 'w').write('x' * 100)": "100",
}
NO_FILES_READ = {
    "open(file)": "PermissionError",
    "os.listdir(folder)": "PermissionError",
    "open('/etc/passwd')": "PermissionError",
    "os.listdir('/')": "PermissionError",
    "os.listdir('..')": "PermissionError",
    "os.listdir(home)": "PermissionError",
    "open(project + '/pyproject.toml')": "PermissionError",
    "open(project + '/tmcli/records.py')": "PermissionError",
    "__import__('tmcli.records')": "ModuleNotFoundError",
    "open(f'/proc/{ours}/environ')": "PermissionError",
    "open(f'/proc/{os.getppid()}/environ')": "PermissionError",
    "open('/proc/self/environ')": "PermissionError",
    "open('/proc/self/root/etc/passwd')": "PermissionError",
    "os.open('/etc/passwd', os.O_PATH) and open(f'/proc/self/fd/3')": "PermissionError",
    "libc.open(b'/etc/passwd', 0)": "-1",
    "os.chroot('/')": "PermissionError",
    "os.getxattr('/etc/passwd', 'user.x')": "PermissionError",
    "os.listdir()": "[]",
    "len(os.urandom(3) + open('/dev/urandom', 'rb', 0).read(3))": "6",
}
NO_SOCKETS = {
    "socket.socket()": "PermissionError",
    "socket.socket(socket.AF_INET, socket.SOCK_DGRAM)": "PermissionError",
    "socket.socket(socket.AF_UNIX)": "PermissionError",
    "socket.socket(socket.AF_NETLINK, socket.SOCK_RAW)": "PermissionError",
    "socket.create_connection(('127.0.0.1', port))": "PermissionError",
    "libc.socket(2, 1, 0)": "-1",
    "libc.socketpair(2, 1, 0, (ctypes.c_int * 2)())": "-1",
    "socket.socketpair()[0].bind(chr(0) + 'x')": "PermissionError",  # pairs are let be, for asyncio
    "socket.socketpair()[0].send(b'x')": "PermissionError",
}
NO_PRIVILEGES = {
    "resource.setrlimit(resource.RLIMIT_AS, (1 << 40, 1 << 40))": "ValueError",
    "resource.setrlimit(resource.RLIMIT_FSIZE, (1, 1))": "ValueError",
    "resource.setrlimit(resource.RLIMIT_NOFILE, (1, 1))": "ValueError",
    "resource.prlimit(ours, resource.RLIMIT_CPU, (1, 1))": "PermissionError",
    "resource.getrlimit(resource.RLIMIT_AS)": f"({1 << 28}, {1 << 28})",
    "os.setuid(os.getuid())": "PermissionError",
    "os.setgroups([])": "PermissionError",
    "os.nice(1)": "PermissionError",
    "os.setpriority(os.PRIO_PROCESS, ours, 19)": "PermissionError",
    "os.sched_setaffinity(ours, {0})": "PermissionError",
    "libc.unshare(0x10000000)": "-1",
    "libc.mount(b'none', b'/', b'tmpfs', 0, None)": "-1",
    "libc.personality(0xffffffff)": "-1",
    "libc.shmget(0, 4096, 0o1600)": "-1",
    "libc.syscall(425, 1, bytes(120))": "-1",  # io_uring, which goes past filters
}


@pytest.mark.parametrize(
    "tries",
    [NO_PROCESSES, BOMBS, NO_SIGNALS, NO_FILES_WRITTEN, NO_FILES_READ, NO_SOCKETS, NO_PRIVILEGES],
    ids="processes bombs signals files_written files_read sockets privileges".split(),
)
def test_all_that_is_refused(locked: None, tries: dict[str, str], tmp_path: Path) -> None:
    """From Python, and from C by its functions."""
    file = tmp_path / "private"
    file.write_text("private")
    before = file.stat()
    with socket.create_server(("127.0.0.1", 0)) as server:
        told = every(
            [*tries],
            ours=os.getpid(),
            folder=str(tmp_path),
            file=str(file),
            home=str(Path.home()),
            project=str(Path(__file__).parents[1]),
            port=server.getsockname()[1],
        )
    assert told == tries
    assert [path.name for path in tmp_path.iterdir()] == ["private"]
    assert (file.read_text(), file.stat().st_mode) == ("private", before.st_mode)


RAW = """
import ctypes, errno
call = ctypes.CDLL(None, use_errno=True).syscall
call.argtypes = [ctypes.c_long] * 7
def bad(numbers):
    told = {}
    for number in numbers:
        result = call(number, *[-1] * 6)
        told.setdefault(result == -1 and errno.errorcode[ctypes.get_errno()], []).append(number)
    return told
"""


def test_every_system_call_that_is_not_in_the_table_is_refused(locked: None) -> None:
    """By its number, as C code may: the last word on what the functions above leave out."""
    column = list(MACHINES).index(platform.machine())
    known = {call.split(":")[1 + column] for call in CALLS.split()}
    known |= {"335", "336"}  # x86's marks of probes: they bypass every filter, and are SIGILL to others
    numbers = [number for number in range(600) if str(number) not in known]
    told = json.loads(attack(RAW, numbers=numbers).text)
    assert told == {
        "EPERM": [number for number in numbers if number <= 462],
        "ENOSYS": [number for number in numbers if number > 462],
    }
    assert len(told["EPERM"]) > 250


@pytest.mark.skipif(platform.machine() != "x86_64", reason="it has three ways into its kernel")
@pytest.mark.parametrize("code", [b"\xb8\x14\x00\x00\x00\xcd\x80\xc3", b"\xb8\x27\x00\x00\x40\x0f\x05\xc3"])
def test_other_machines_numbers_are_death(locked: None, code: bytes) -> None:
    """getpid, of 32-bit x86 and of x32, as machine code."""
    source = (
        "import ctypes, mmap\ndef bad():\n page = mmap.mmap(-1, 4096, prot=7)\n"
        f" page.write({code!r})\n at = ctypes.addressof(ctypes.c_char.from_buffer(page))\n"
        " return ctypes.CFUNCTYPE(ctypes.c_int)(at)()"
    )
    assert said(attack(source)) == "the tool crashed (SIGSYS)"


def test_secrets_are_absent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "hunter2")
    seen = attack("import os\ndef bad(): return [dict(os.environ), os.listdir(), os.getcwd()]")
    environ, files, folder = json.loads(seen.text)
    assert "hunter2" not in seen.text
    assert set(environ) <= {*ENVIRONMENT, "PYTHONHASHSEED", "LC_CTYPE"}
    assert files == []
    assert not Path(folder).exists()  # by now


STAIN = """
import builtins, json, os, random, sys, time
def stain():
    builtins.stained = json.stained = os.environ["stained"] = sys.modules["stained"] = "1"
    random.seed(5)
def bad():
    return [hasattr(builtins, "stained"), hasattr(json, "stained"), "stained" in os.environ,
            "stained" in sys.modules, random.random()]
"""


def test_nothing_is_left_for_the_next_session() -> None:
    async def script(sandbox: Sandbox, session: SandboxSession) -> list[str]:
        texts = [(await session.call("bad", {})).text]
        await session.call("stain", {})
        texts.append((await session.call("bad", {})).text)
        await session.close()
        texts.append((await sandbox.open(session.spec, unchecked).call("bad", {})).text)
        return texts

    # Both tools share a source, but not a module.
    clean, stained, after = running(script, {"bad": STAIN, "stain": STAIN}, timeout_s=5)
    assert clean == after != stained


def test_what_a_toolbox_returns_must_be_json() -> None:
    async def script(sandbox: Sandbox, _: SandboxSession) -> list[str]:
        values = [
            "float('nan')",
            "[1, float('-inf')]",
            "{1, 2}",
            "lambda: 1",
            "10**5000",
            "deep()",
            "'\\ud800'",
        ]
        deep = "def deep():\n a = []\n for _ in range(10**5): a = [a]\n return a\n"
        source = deep + "".join(f"def f{n}(): return {value}\n" for n, value in enumerate(values))
        session = sandbox.open({"kind": "toolbox", "name": "odd", "source": source, "seed": 1}, unchecked)
        return [(await session.call(f"f{n}", {})).text for n in range(len(values))]

    *wrong, surrogate = running(script, {}, timeout_s=5)
    assert all(text.startswith('{"error": "the result is not JSON: ') for text in wrong)
    assert len(set(wrong)) == 5
    assert surrogate == '"?"'


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
        ("float('nan')", "nan"),  # not JSON, so as `str` has it
        ("[float('inf')]", "[inf]"),
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


LATER = """
import ctypes, os, signal
def flood(*_):
    for fd in range(3, 64):
        try: os.write(fd, b"x" * 1000)
        except OSError: pass
def bad():
    libc, timer = ctypes.CDLL(None), ctypes.c_void_p()
    signal.signal(signal.SIGALRM, flood)
    libc.timer_create(1, None, ctypes.byref(timer))
    libc.timer_settime(timer, 0, (ctypes.c_long * 4)(0, 0, 0, 20_000_000), None)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="needs timer_create")
def test_what_is_written_between_calls_is_no_reply() -> None:
    async def script(_: Sandbox, session: SandboxSession) -> list[str]:
        texts = []
        for name in ("bad", "ok"):
            texts.append((await session.call(name, {})).text)
            await asyncio.sleep(0.1)
        return texts

    forged = '{"error": "the tool wrote into the channel of its replies"}'
    assert running(script, {"bad": LATER}) == ["null", forged]


REAL_TIME = """
import ctypes, struct, time
def bad():
    libc, timer = ctypes.CDLL(None), ctypes.c_void_p()
    libc.timer_create(1, struct.pack("Pii48x", 0, 40, 0), ctypes.byref(timer))
    libc.timer_settime(timer, 0, (ctypes.c_long * 4)(0, 0, 0, 20_000_000), None)
    time.sleep(60)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="needs timer_create")
def test_a_signal_without_a_name() -> None:
    assert said(attack(REAL_TIME)) == "the tool crashed (signal 40)"


def test_a_flooded_channel_is_the_tools_fault() -> None:
    flood = (
        " while True:\n  for fd in range(3, 64):\n   try: os.write(fd, bytes(10**5))\n   except OSError: pass"
    )
    assert said(attack(f"import os\ndef bad():\n{flood}")) == "the tool wrote into the channel of its replies"


def test_no_session_answers_for_another() -> None:
    async def script(sandbox: Sandbox, session: SandboxSession) -> tuple[Observation, Observation]:
        other = sandbox.open(session.spec, unchecked)
        await other.call("ok", {})
        slow = asyncio.create_task(other.call("slow", {}))
        await asyncio.sleep(0.1)
        return await session.call("bad", {}), await slow

    forge = " for fd in range(64):\n  try: os.write(fd, frame)\n  except OSError: pass\n return 1"
    slow = "import time\ndef slow(): time.sleep(0.3); return 'mine'"
    forged, true = running(script, {"bad": f"{FORGED}def bad():\n{forge}", "slow": slow}, timeout_s=5)
    assert not forged.ok
    assert (true.ok, true.text) == (True, "mine")


def test_large_arguments_and_replies() -> None:
    """More than fits between two processes at once."""
    seen = attack("def bad(text): return [len(text), text[-1], 'é' * 30_000]", text="x" * 10**7 + "é")
    assert json.loads(seen.text) == [10**7 + 1, "é", "é" * 30_000]


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
        time.sleep(1.7)  # noqa: ASYNC251  as a busy machine does, past both clocks
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

    monkeypatch.setattr("tmcli.environments.children.ZYGOTE", tmp_path / "gone.py")
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


def test_starts_beside_a_thousand_open_files() -> None:
    """The zygote's socket keeps its number, which is above all that `select` takes."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and hard < 2048:
        pytest.skip("so many files may not be opened here")
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, 2048), hard))
    many = [os.open(os.devnull, os.O_RDONLY) for _ in range(1100)]
    try:

        async def script(sandbox: Sandbox, session: SandboxSession) -> Observation:
            return await session.call("ok", {})

        assert running(script, {}).ok
    finally:
        for one in many:
            os.close(one)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
