"""The sandbox's own process: a small warm Python that forks one locked child per session.

    python -s -P -S -B zygote.py CONTROL_FD TIMEOUT_S MEMORY_MB [SITE_PACKAGES ...]

Started by `sandbox.py`, by path: it imports nothing of tmcli, so it starts fast and a fork copies little.
Over CONTROL_FD come `open` messages, each with the socket of a new session, and `kill` messages; every
child's end is told back. When the other side of CONTROL_FD closes, everything here dies.

What is covered: a child has no secrets in its environment, an address space, CPU time, file size and
number of open files that are bounded, a kernel timer for each call, and may start no process or thread
and send no signal. It dies with this process, and this process with the one that started it.

What is not covered, so **this is not a security boundary**: files that the user may read (other
processes' environments in /proc among them) and the network are open (Landlock and seccomp would close
them); the ban on processes is an audit hook, which C code evades; tool code shares the child with the
loop that calls it and could find the token that marks a reply, raise limits or reset the timer.
"""

from __future__ import annotations

import _thread
import contextlib
import datetime as dt
import gc
import json
import math
import os
import random
import re
import resource
import select
import signal
import socket
import struct
import sys
import types
from typing import Any, NoReturn

try:
    import ctypes
except ImportError:  # a Python built without it: children then die by the end of their socket
    ctypes = None  # type: ignore[assignment]

WARM = (dt, math, random, re)
"""What tool code imports most: loaded once here, shared by every fork."""

MESSAGE = struct.Struct("!cIi")
"""On the control socket, both ways: what, session, exit code or errno."""
OPEN, KILL, DIED, FAILED = b"o", b"k", b"d", b"f"
LENGTH = struct.Struct("!I")
MAX_REPLY_BYTES = 65_536
MAX_ERROR_CHARS = 2_000
FOLDER_PREFIX = "tm-sandbox-"
"""How the working folder's name begins: `sandbox.py` makes it, and this process removes it at its end."""

DENIED = frozenset({
    "os.exec", "os.fork", "os.forkpty", "os.posix_spawn", "os.spawn", "os.system", "pty.spawn",
    "subprocess.Popen", "os.kill", "os.killpg", "signal.pthread_kill",
})  # fmt: skip


def main(control_fd: int, timeout_s: float, memory_mb: int) -> NoReturn:
    """Fork children until the control socket closes, then end them and leave nothing behind."""
    control = socket.socket(fileno=control_fd)  # first: it raises where `sandbox.py` did not start us
    folder = os.getcwd()
    children: dict[int, int] = {}
    try:
        _fork_on_request(control, children, timeout_s, memory_mb)
    except OSError:
        pass  # the other side is gone: a reset or a broken pipe says so as well as an end
    finally:
        for pid in children.values():
            _kill(pid)
        # Only a folder that `sandbox.py` made for this process, and only an empty one: never what is in it.
        if os.path.basename(folder).startswith(FOLDER_PREFIX):
            with contextlib.suppress(OSError):
                os.rmdir(folder)
        os._exit(0)


def _fork_on_request(
    control: socket.socket, children: dict[int, int], timeout_s: float, memory_mb: int
) -> None:
    parent = os.getppid()
    awake, waker = os.pipe()
    os.set_blocking(awake, False)
    os.set_blocking(waker, False)
    signal.signal(signal.SIGCHLD, lambda *_: None)  # a handler of any kind makes the wake-up byte come
    signal.set_wakeup_fd(waker)
    prctl = _prctl()
    gc.freeze()
    while os.getppid() == parent:
        readable, _, _ = select.select([control.fileno(), awake], [], [], 1.0)
        if awake in readable:
            with contextlib.suppress(BlockingIOError):
                os.read(awake, 4096)
        for session, pid in list(children.items()):
            done, status = os.waitpid(pid, os.WNOHANG)
            if done:
                del children[session]
                _kill(pid)  # what it may have left in its group
                control.sendall(MESSAGE.pack(DIED, session, os.waitstatus_to_exitcode(status)))
        if control.fileno() not in readable:
            continue
        data, fds, _, _ = socket.recv_fds(control, MESSAGE.size, 1)
        if len(data) < MESSAGE.size:
            return
        what, session, _ = MESSAGE.unpack(data)
        if what == KILL and session in children:
            _kill(children[session])
        elif what == OPEN:
            try:
                pid = os.fork()
            except OSError as error:
                control.sendall(MESSAGE.pack(FAILED, session, error.errno or 0))
            else:
                if pid == 0:
                    _become_child(fds, control, (awake, waker), prctl, timeout_s, memory_mb)
                with contextlib.suppress(OSError):  # the child does so too: whoever comes first
                    os.setpgid(pid, pid)
                children[session] = pid
        for fd in fds:
            os.close(fd)


def _kill(pid: int) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(pid, signal.SIGKILL)
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)


def _prctl() -> Any:
    """Looked up before the fork: a child should load nothing."""
    if ctypes is None or sys.platform != "linux":
        return None
    return ctypes.CDLL(None, use_errno=True).prctl


# ---- the child ---------------------------------------------------------------------------------


def _become_child(
    fds: list[int],
    control: socket.socket,
    pipe: tuple[int, int],
    prctl: Any,
    timeout_s: float,
    memory_mb: int,
) -> NoReturn:
    try:
        zygote = os.getppid()
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        control.close()
        for fd in pipe:
            os.close(fd)
        with contextlib.suppress(OSError):
            os.setpgid(0, 0)
        if prctl is not None:
            prctl(1, signal.SIGKILL, 0, 0, 0)  # PR_SET_PDEATHSIG
            prctl(38, 1, 0, 0, 0)  # PR_SET_NO_NEW_PRIVS: no sudo on the way
        if os.getppid() == zygote and fds:
            _lock(memory_mb)
            _serve(socket.socket(fileno=fds[0]), timeout_s, memory_mb)
    finally:
        os._exit(0)


def _lock(memory_mb: int) -> None:
    memory = memory_mb * 1024 * 1024
    limits = [
        (resource.RLIMIT_CORE, 0),
        (resource.RLIMIT_FSIZE, 0),
        (resource.RLIMIT_NOFILE, 64),
        (resource.RLIMIT_AS, memory),  # macOS takes it and does not keep it
    ]
    if hasattr(resource, "RLIMIT_NPROC"):  # root is exempt: the audit hook below is what holds there
        limits.append((resource.RLIMIT_NPROC, 0))
    for what, most in limits:
        with contextlib.suppress(OSError, ValueError):
            resource.setrlimit(what, (most, most))

    def refuse(*_: object, **__: object) -> NoReturn:
        raise PermissionError("tools may not start processes or threads, or send signals")

    sys.addaudithook(lambda event, _: refuse() if event in DENIED else None)
    for start in ("start_new_thread", "start_new", "start_joinable_thread"):  # not audited by every version
        if hasattr(_thread, start):
            setattr(_thread, start, refuse)


def _serve(channel: socket.socket, timeout_s: float, memory_mb: int) -> None:
    """Answer one frame after the other. A reply: length, token, `+` ok | `-` error | `!` no world, text."""

    def clock(seconds: float) -> None:
        # SIGALRM is left at its default, death: no tool code can catch it, no loop in C holds it back.
        signal.setitimer(signal.ITIMER_REAL, seconds)
        if seconds:
            due = math.ceil(sum(resource.getrusage(resource.RUSAGE_SELF)[:2]) + seconds) + 1
            _, most = resource.getrlimit(resource.RLIMIT_CPU)
            due = due if most == resource.RLIM_INFINITY else min(due, most)
            resource.setrlimit(resource.RLIMIT_CPU, (due, most))

    opening = _receive(channel)
    if opening is None:
        return
    spec = json.loads(opening)
    token = bytes.fromhex(spec["token"])
    tools = TOOLS[spec["kind"]](spec)
    clock(timeout_s)
    broken = None
    try:
        random.seed(spec.get("seed", 0))
        tools.prepare()
    except BaseException as error:  # noqa: BLE001  tool code may raise anything
        broken = _sentence(error, False, memory_mb)
    for name, arguments in spec["history"]:
        with contextlib.suppress(BaseException):  # it was told to the model the first time
            tools.text(tools.call(name, arguments))
    while True:
        clock(0)
        request = _receive(channel)
        if request is None:
            return
        clock(timeout_s)
        if broken is not None:
            mark, text = b"!", broken
        else:
            name, arguments = json.loads(request)
            mark, text = _answer(tools, name, arguments, memory_mb)
        clock(0)
        body = token + mark + _cut(text)
        channel.sendall(LENGTH.pack(len(body)) + body)


def _receive(channel: socket.socket) -> bytes | None:
    data = b""
    due = LENGTH.size
    header = True
    while len(data) < due:
        more = channel.recv(due - len(data))
        if not more:
            return None
        data += more
        if header and len(data) == due:
            header, due, data = False, LENGTH.unpack(data)[0], b""
    return data


def _answer(
    tools: Toolbox | Python, name: str, arguments: dict[str, Any], memory_mb: int
) -> tuple[bytes, str]:
    try:
        value = tools.call(name, arguments)
        failed = isinstance(value, dict) and bool(value.get("error"))
        return b"-" if failed else b"+", tools.text(value)
    except BaseException as error:  # noqa: BLE001  sys.exit and KeyboardInterrupt are the tool's doing too
        error.__traceback__ = None  # its frames may hold all the memory there is
        return b"-", json.dumps({"error": _sentence(error, tools.plain, memory_mb)}, ensure_ascii=False)


def _sentence(error: BaseException, plain: bool, memory_mb: int) -> str:
    """What the model is told: the message alone (`plain`), or as Python would put it."""
    if isinstance(error, MemoryError):
        return f"the tool ran out of memory ({memory_mb} MB)"
    kind = type(error).__name__
    try:
        only = error.args[0] if isinstance(error, KeyError) and len(error.args) == 1 else None
        message = str.__str__(only if plain and isinstance(only, str) else str(error))[:MAX_ERROR_CHARS]
    except BaseException:  # noqa: BLE001  its __str__ is tool code as well
        return f"{kind}, with a message that cannot be shown"
    if plain and message and isinstance(error, Exception):
        return message
    return f"{kind}: {message}" if message else kind


def _cut(text: str) -> bytes:
    data = str.encode(text, "utf-8", "replace")
    if len(data) <= MAX_REPLY_BYTES:
        return data
    return data[:MAX_REPLY_BYTES] + f"... (cut: the reply had {len(data)} bytes)".encode()


def _module(name: str, source: str) -> dict[str, Any]:
    """Run a source as a module of its own; dataclasses look their module up in `sys.modules`."""
    module = types.ModuleType(f"tool_{name}")
    sys.modules[module.__name__] = module
    exec(compile(source, f"<{name}>", "exec", dont_inherit=True), module.__dict__)  # noqa: S102  its purpose
    return module.__dict__


class Toolbox:
    """Functions over one world: `make_world(seed)` once, then `function(world, **arguments)`; those of a
    source without a `make_world` are called as `function(**arguments)`. Tools of `others` have a world of
    their own, of the same seed, made when one of them is first called."""

    plain = True

    def __init__(self, spec: dict[str, Any]) -> None:
        self.seed: int = spec["seed"]
        self.box: dict[str, Any] = spec
        self.others: dict[str, dict[str, Any]] = {
            tool: box for box in spec.get("others", ()) for tool in box["tools"]
        }
        self.ready: dict[str, tuple[dict[str, Any], tuple[Any, ...]]] = {}

    def prepare(self) -> None:
        self._open(self.box)

    def call(self, name: str, arguments: dict[str, Any]) -> Any:
        functions, world = self._open(self.others.get(name, self.box))
        return functions[name](*world, **arguments)

    def text(self, value: Any) -> str:
        return json.dumps(value, ensure_ascii=False)

    def _open(self, box: dict[str, Any]) -> tuple[dict[str, Any], tuple[Any, ...]]:
        name = box["name"]
        if name not in self.ready:
            functions = _module(name, box["source"])
            make_world = functions.get("make_world")
            self.ready[name] = functions, (make_world(self.seed),) if make_world else ()
        return self.ready[name]


class Python:
    """One source a tool, run at the tool's first call, so that a broken one harms no other."""

    plain = False

    def __init__(self, spec: dict[str, Any]) -> None:
        self.sources: dict[str, str] = spec["codes"]
        self.modules: dict[str, dict[str, Any]] = {}

    def prepare(self) -> None:
        """Nothing: see the class."""

    def call(self, name: str, arguments: dict[str, Any]) -> Any:
        if name not in self.modules:
            self.modules[name] = _module(name, self.sources[name])
        if name not in self.modules[name]:
            raise NameError(f"name {name!r} is not defined")
        return self.modules[name][name](**arguments)

    def text(self, value: Any) -> str:
        if isinstance(value, str):
            return str.__str__(value)
        try:
            return json.dumps(value, ensure_ascii=False)
        except (TypeError, ValueError):
            return str(value)


TOOLS: dict[str, type[Toolbox] | type[Python]] = {"toolbox": Toolbox, "python": Python}


def _offer_worlds() -> None:
    """Make `tmcli.worlds` importable, and nothing else of tmcli: built-in toolboxes are made with it."""
    path = os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "worlds.py")
    package, worlds = types.ModuleType("tmcli"), types.ModuleType("tmcli.worlds")
    package.__path__ = []
    with open(path, encoding="utf-8") as file:
        exec(compile(file.read(), path, "exec", dont_inherit=True), worlds.__dict__)  # noqa: S102  our own
    vars(package)["worlds"] = worlds
    sys.modules |= {"tmcli": package, "tmcli.worlds": worlds}


if __name__ == "__main__":
    sys.path.extend(sys.argv[4:])
    _offer_worlds()
    main(int(sys.argv[1]), float(sys.argv[2]), int(sys.argv[3]))
