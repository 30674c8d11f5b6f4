"""Attempts to leave the sandbox. Never imported: `holds.py` has this text run as tool code, inside.

Each function returns the names of what went through. They go through C where C code may do what Python
code may not.
"""

from __future__ import annotations

import os
import resource
import signal
import socket
import sys
import threading
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

try:
    import ctypes

    libc: Any = ctypes.CDLL(None, use_errno=True)
except ImportError:
    libc = os


def _through(tries: Mapping[str, Callable[[], object]]) -> list[str]:
    found = []
    for name, attempt in tries.items():
        try:
            if attempt() != -1:  # what a C function returns where Python raises
                found.append(name)
        except Exception:  # noqa: BLE001, S112  refused, in whatever way
            continue
    return found


def granted() -> list[str]:
    """What the kernel granted to this very child."""
    return list(vars(sys.modules["__main__"])["GRANTED"])


def loop() -> None:
    """Ended by the timer in the child."""
    while True:
        pass


def loop_without_timer() -> None:
    """Ended from outside."""
    signal.signal(signal.SIGALRM, signal.SIG_IGN)
    loop()


def memory(size: int) -> list[str]:
    """More than there should be."""
    return _through({f"{size >> 20} MB": lambda: len(bytearray(size))})


def processes() -> list[str]:
    """And threads."""

    def fork() -> int:
        pid = int(libc.fork())
        if pid == 0:
            os._exit(0)
        return pid

    def thread() -> int:
        if libc is os:
            threading.Thread(target=int).start()
            return 0
        return -1 if libc.pthread_create(ctypes.byref(ctypes.c_ulong()), None, libc.getpid, None) else 0

    return _through({"a process": fork, "a thread": thread})


def programs() -> list[str]:
    """Where this goes through nothing returns."""
    path = sys.executable

    def execute() -> int:
        if libc is os:
            os.execv(path, [path, "-c", ""])  # noqa: S606  that is the question
        arguments = (ctypes.c_char_p * 4)(path.encode(), b"-c", b"", None)
        return int(libc.execv(path.encode(), arguments))

    return _through({"a program": execute})


def signals(ours: int) -> list[str]:
    """Signal 0 asks only whether one may be sent."""
    return _through(
        {
            "a signal to us": lambda: libc.kill(ours, 0),
            "a signal to the parent": lambda: libc.kill(os.getppid(), 0),
        }
    )


def environment(ours: int, variable: str) -> list[str]:
    """Of this process and of those above it."""

    def read(pid: int) -> int:
        with open(f"/proc/{pid}/environ", "rb") as file:
            return len(file.read(1))

    return _through(
        {
            "a variable of ours": lambda: os.environ[variable],
            "our environment in /proc": lambda: read(ours),
            "the parent's environment in /proc": lambda: read(os.getppid()),
        }
    )


def written(folder: str, file: str) -> list[str]:
    """A file of the user's must stay as it is, and nothing must be added."""
    path = os.path.join(folder, "tried")
    return _through(
        {
            "a file in the working folder": lambda: open("tried", "w").close(),
            "a file elsewhere": lambda: open(path, "w").close(),
            "a folder": lambda: os.mkdir(f"{path}-folder"),
            "a change": lambda: open(file, "r+").close(),
            "another mode": lambda: os.chmod(file, 0o700),
            "other times": lambda: os.utime(file, (1, 1)),
            "a removal": lambda: os.remove(file),
        }
    )


def read(files: list[str], folders: list[str]) -> list[str]:
    """Files and folders of the user and of the system."""
    tries: dict[str, Callable[[], object]] = {path: partial(open, path) for path in files}
    return _through(tries | {path: partial(os.listdir, path) for path in folders})


def sockets() -> list[str]:
    """Of any kind."""
    kinds = {
        "TCP": (socket.AF_INET, socket.SOCK_STREAM),
        "UDP": (socket.AF_INET, socket.SOCK_DGRAM),
        "a local socket": (socket.AF_UNIX, socket.SOCK_STREAM),
    }
    return _through({name: partial(socket.socket, *kind) for name, kind in kinds.items()})


def privileges() -> list[str]:
    """Capabilities, and limits that rise again."""

    def capabilities() -> int:
        sets = ctypes.create_string_buffer(24)
        libc.capget(bytes((0x22, 0x05, 0x08, 0x20, 0, 0, 0, 0)), sets)  # of version 3, of this process
        return 1 if any(sets.raw) else -1

    def raised() -> None:
        _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (most + 1, most + 1))

    tries: dict[str, Callable[[], object]] = {"a raised limit": raised}
    if sys.platform == "linux":
        tries["capabilities"] = capabilities
    return _through(tries)
