"""The sandbox's own process: a small warm Python that forks locked children, one per session of tools that
somebody wrote, a few for all sessions of the built-in toolboxes.

    python -s -P -S -B zygote.py CONTROL_FD TIMEOUT_S MEMORY_MB [SITE_PACKAGES ...]

Started by `children.py`, by path: of tmcli it loads `lock.py` and `worlds.py` alone, by their paths, so it
starts fast and a fork copies little. Over CONTROL_FD come `open` messages, each with the socket of a new
child, and `kill` messages; every child's birth and end are told back. When the other side of CONTROL_FD
closes, everything here dies.

What is covered. A child has no secrets in its environment; a bounded address space; a kernel timer for
each call; it dies with this process, and this process with the one that started it. Where the kernel has
Landlock and seccomp (see `lock.py`), C code is held as Python is:
- no process, thread or program is started, no signal sent, no socket made, no privilege or limit raised;
- nothing is written anywhere: the working folder is empty and stays so, /dev/null takes what it is given;
- read are the standard library, site-packages, shared libraries and time zones, not the user's files,
  /etc/passwd or /proc, where the environments of other processes are;
- the child of a toolbox of your own, or of Python in a task, is its session's alone and nothing outlives
  it, so no session sees or answers for another.
A signal to itself is refused like any other: `os.abort()` then ends by a fault of the processor.

A built-in toolbox is code of ours that a model gives arguments to, checked against their schemas: its
sessions share children, each with a world of its own there. One that loops or crashes ends the child, and
is in one of its own from then on; what the others changed is made again in a new one (`sandbox.py`).

What is not covered, so **this is not a security boundary**:
- the kernel itself: a fault of its own opens every lock here, where a virtual machine would still hold;
- a session from its own tools: they share the child with the loop that calls them, may change what later
  calls of the session see, forge its replies and stop the timer (then the clock outside ends it);
- that a file exists, its size and times; the machine's name; what site-packages hold; the load on processor
  and memory, `memory_mb` and one processor for each session that runs;
- where Landlock or seccomp is missing (macOS, old kernels, other processors than x86_64 and aarch64), what
  they hold: there an audit hook refuses processes and signals, and C code evades it.
`tm tools sandbox --status` tries it all on this machine.
"""

from __future__ import annotations

import _thread
import base64
import contextlib
import datetime as dt
import functools
import gc
import importlib.util
import json
import marshal
import math
import os
import random
import re
import select
import signal
import socket
import struct
import sys
import types
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, NoReturn

if TYPE_CHECKING:
    from tmcli.environments.lock import Lock

WARM = (dt, math, random, re)
"""What tool code imports most: loaded once here, shared by every fork."""

MESSAGE = struct.Struct("!cIi")
"""On the control socket, both ways: what, session, exit code or errno."""
OPEN, KILL, BORN, DIED, FAILED = b"o", b"k", b"b", b"d", b"f"
HEAD = struct.Struct("!cI")
"""How a frame to a child begins, after its length: what, session."""
SPEC, CALL, LEAVE = b"s", b"c", b"l"
LENGTH = struct.Struct("!I")
NONCE_BYTES = 16
"""Go out with each request and come back with its reply: none can be written before it was asked for."""
AS_JSON = json.JSONEncoder(ensure_ascii=False, allow_nan=False).encode
"""NaN and Infinity are refused: JSON has none."""
MAX_REPLY_BYTES = 65_536
MAX_ERROR_CHARS = 2_000
FOLDER_PREFIX = "tm-sandbox-"
"""How the working folder's name begins: `children.py` makes it, and this process removes it at its end."""
READABLE = (
    os.path.join(sys.base_prefix, "lib"),
    *("/lib", "/lib64", "/usr/lib", "/usr/lib64", "/usr/local/lib", "/nix/store", "/etc/ld.so.cache"),
    *("/usr/share/zoneinfo", "/etc/localtime", "/etc/mime.types"),
)
"""Beside site-packages and the empty working folder."""

GRANTED: list[str] = []
"""In a child: what `lock.py` says the kernel granted."""
DENIED = frozenset({
    "os.exec", "os.fork", "os.forkpty", "os.posix_spawn", "os.spawn", "os.system", "pty.spawn",
    "subprocess.Popen", "os.kill", "os.killpg", "signal.pthread_kill",
})  # fmt: skip


def main(control_fd: int, timeout_s: float, memory_mb: int) -> NoReturn:
    """Fork children until the control socket closes, then end them and leave nothing behind."""
    control = socket.socket(fileno=control_fd)  # first: it raises where `children.py` did not start us
    folder = os.getcwd()
    children: dict[int, int] = {}
    try:
        lock = _load("tmcli.environments.lock", "lock.py").Lock([*READABLE, *sys.argv[4:], folder])
        _offer_worlds()
        _give_tools_their_own_json()
        _fork_on_request(control, children, lock, timeout_s, memory_mb)
    except OSError:
        pass  # the other side is gone: a reset or a broken pipe says so as well as an end
    finally:
        for pid in children:
            _kill(pid)
        # Only a folder that `children.py` made for this process, and only an empty one: never what is in it.
        if os.path.basename(folder).startswith(FOLDER_PREFIX):
            with contextlib.suppress(OSError):
                os.rmdir(folder)
        os._exit(0)


def _load(name: str, *path: str) -> Any:
    """One module of tmcli from its file, under its own name, without the packages around it."""
    file = os.path.join(os.path.dirname(os.path.abspath(__file__)), *path)
    spec = importlib.util.spec_from_file_location(name, file)
    assert spec is not None
    assert spec.loader is not None
    module = sys.modules[name] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def _give_tools_their_own_json() -> None:
    """Replies are written with ours, whatever a tool does to the one that it imports."""
    for name in [name for name in sys.modules if name.partition(".")[0] == "json"]:
        del sys.modules[name]
    importlib.import_module("json")


def _fork_on_request(
    control: socket.socket, children: dict[int, int], lock: Lock, timeout_s: float, memory_mb: int
) -> None:
    parent = os.getppid()
    awake, waker = os.pipe()
    os.set_blocking(awake, False)
    os.set_blocking(waker, False)
    signal.signal(signal.SIGCHLD, lambda *_: None)  # a handler of any kind makes the wake-up byte come
    signal.set_wakeup_fd(waker)
    pids: dict[int, int] = {}
    gc.collect()
    gc.freeze()
    waiting = select.poll()  # `select` takes no number above 1023, and our parent may have a thousand open
    waiting.register(control, select.POLLIN)
    waiting.register(awake, select.POLLIN)
    while os.getppid() == parent:
        readable = {fd for fd, _ in waiting.poll(1000)}
        if awake in readable:
            with contextlib.suppress(BlockingIOError):
                os.read(awake, 4096)
            for pid, status in _ended():
                session = children.pop(pid)
                del pids[session]
                _kill(pid, group=True)  # what it may have left there
                control.sendall(MESSAGE.pack(DIED, session, os.waitstatus_to_exitcode(status)))
        if control.fileno() not in readable:
            continue
        data, fds, _, _ = socket.recv_fds(control, MESSAGE.size, 1)
        if len(data) < MESSAGE.size:
            return
        what, session, _ = MESSAGE.unpack(data)
        if what == KILL and session in pids:
            _kill(pids[session])
        elif what == OPEN:
            try:
                pid = os.fork()
            except OSError as error:
                control.sendall(MESSAGE.pack(FAILED, session, error.errno or 0))
            else:
                if pid == 0:
                    _become_child(fds, control, (awake, waker), lock, timeout_s, memory_mb)
                with contextlib.suppress(OSError):  # the child does so too: whoever comes first
                    os.setpgid(pid, pid)
                children[pid], pids[session] = session, pid
                control.sendall(MESSAGE.pack(BORN, session, 0))
        for fd in fds:
            os.close(fd)


def _ended() -> Iterator[tuple[int, int]]:
    """Children that are over, and how."""
    with contextlib.suppress(ChildProcessError):
        while (end := os.waitpid(-1, os.WNOHANG))[0]:
            yield end


def _kill(pid: int, group: bool = False) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(pid, signal.SIGKILL)
    if not group:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


# ---- the child ---------------------------------------------------------------------------------


def _become_child(
    fds: list[int],
    control: socket.socket,
    pipe: tuple[int, int],
    lock: Lock,
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
        lock.die_with_parent()
        if os.getppid() == zygote and fds:
            granted = lock.turn(memory_mb)
            if "seccomp" not in granted:
                _refuse_in_python()
            GRANTED.extend(granted)
            _serve(fds[0], timeout_s, memory_mb)
    finally:
        os._exit(0)


def _refuse_in_python() -> None:
    """Where the kernel does not refuse: C code goes past it."""

    def refuse(*_: object, **__: object) -> NoReturn:
        raise PermissionError("tools may not start processes or threads, or send signals")

    sys.addaudithook(lambda event, _: refuse() if event in DENIED else None)
    for start in ("start_new_thread", "start_new", "start_joinable_thread"):  # not audited by every version
        if hasattr(_thread, start):
            setattr(_thread, start, refuse)


def _serve(channel: int, timeout_s: float, memory_mb: int) -> None:
    """Answer one frame after the other. A session's spec comes first, then its requests: nonce, name and
    arguments. A reply: length, the request's nonce, `+` ok | `-` error | `!` no world | `m` no memory in a
    shared child, text."""
    # Names of our own, which no tool changes unawares. SIGALRM is left at its default, death: no tool code
    # can catch it, no loop in C holds it back.
    write, clock, real = os.write, signal.setitimer, signal.ITIMER_REAL
    sessions: dict[int, Session] = {}
    for data in _frames(channel):
        what, number = HEAD.unpack_from(data)
        if what == LEAVE:
            sessions.pop(number, None)
            continue
        clock(real, timeout_s)
        if what == SPEC:
            sessions[number] = Session(json.loads(data[HEAD.size :]), memory_mb)
            clock(real, 0)
            continue
        nonce = data[HEAD.size : HEAD.size + NONCE_BYTES]
        mark, text = sessions[number].answer(data[HEAD.size + NONCE_BYTES :])
        cut = _cut(text)
        clock(real, 0)
        reply = LENGTH.pack(NONCE_BYTES + 1 + len(cut)) + nonce + mark + cut
        while reply:
            reply = reply[write(channel, reply) :]


def _frames(channel: int) -> Iterator[bytes]:
    """What comes, frame by frame, until the other side closes."""
    read, length_of, start = os.read, LENGTH.unpack_from, LENGTH.size
    data = bytearray()
    while more := read(channel, 65_536):
        data += more
        while len(data) >= start and len(data) >= (end := start + length_of(data)[0]):
            yield bytes(data[start:end])
            del data[:end]


class Session:
    """One session's tools. The others of a shared child have theirs."""

    def __init__(self, spec: dict[str, Any], memory_mb: int) -> None:
        self.memory_mb = memory_mb
        self.shared: bool = spec.get("shared", False)
        self.tools = TOOLS[spec["kind"]](spec)
        self.broken: tuple[bytes, str] | None = None
        try:
            random.seed(spec.get("seed", 0))
            self.tools.prepare()
        except BaseException as error:  # noqa: BLE001  tool code may raise anything
            self.broken = self._mark(error, b"!"), _sentence(error, False, memory_mb)
        for name, arguments in spec["history"]:
            with contextlib.suppress(BaseException):  # it was told to the model the first time
                self.tools.text(self.tools.call(name, arguments))

    def answer(self, request: bytes) -> tuple[bytes, str]:
        """Its mark and text."""
        if self.broken is not None:
            return self.broken
        try:
            name, arguments = json.loads(request.decode())
            value = self.tools.call(name, arguments)
            failed = isinstance(value, dict) and bool(value.get("error"))
            return b"-" if failed else b"+", self.tools.text(value)
        except BaseException as error:  # noqa: BLE001  sys.exit and KeyboardInterrupt are the tool's doing too
            error.__traceback__ = None  # its frames may hold all the memory there is
            sentence = _sentence(error, self.tools.plain, self.memory_mb)
            return self._mark(error, b"-"), AS_JSON({"error": sentence})

    def _mark(self, error: BaseException, mark: bytes) -> bytes:
        """Others may have taken the memory: in a child of its own it is seen whether it is enough."""
        return b"m" if self.shared and isinstance(error, MemoryError) else mark


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


def _module(name: str, source: str = "", compiled: str = "") -> dict[str, Any]:
    """Run a source as a module of its own; dataclasses look their module up in `sys.modules`."""
    module = types.ModuleType(f"tool_{name}")
    sys.modules[module.__name__] = module
    if compiled:
        code = marshal.loads(base64.b64decode(compiled))  # noqa: S302  from our side, like the source
    else:
        code = compile(source, f"<{name}>", "exec", dont_inherit=True)
    exec(code, module.__dict__)  # noqa: S102  its purpose
    return module.__dict__


@functools.lru_cache(maxsize=64)
def _once(name: str, source: str, compiled: str) -> dict[str, Any]:
    """The module of a source that several sessions have: its functions know their world alone."""
    return _module(name, source, compiled)


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
        try:
            return AS_JSON(value)
        except (TypeError, ValueError, RecursionError) as error:
            raise ValueError(f"the result is not JSON: {error}") from None

    def _open(self, box: dict[str, Any]) -> tuple[dict[str, Any], tuple[Any, ...]]:
        name = box["name"]
        if name not in self.ready:
            functions = _once(name, box.get("source", ""), box.get("compiled", ""))
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
            return AS_JSON(value)
        except (TypeError, ValueError):
            return str(value)


TOOLS: dict[str, type[Toolbox] | type[Python]] = {"toolbox": Toolbox, "python": Python}


def _offer_worlds() -> None:
    """Make `tmcli.worlds` importable, and nothing else of tmcli: built-in toolboxes are made with it."""
    package = sys.modules["tmcli"] = types.ModuleType("tmcli")
    package.__path__ = []
    vars(package)["worlds"] = _load("tmcli.worlds", os.pardir, "worlds.py")


if __name__ == "__main__":
    sys.path.extend(sys.argv[4:])
    main(int(sys.argv[1]), float(sys.argv[2]), int(sys.argv[3]))
