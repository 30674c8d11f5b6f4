"""The filter, walked by a small model of the kernel's machine: for processors that are not at hand too."""

import errno
import os
import re
import struct
from pathlib import Path

import pytest

from tmcli.environments import lock

ALLOWED, KILLED = lock.ALLOW, lock.KILL_PROCESS


def refused(error: int) -> int:
    return 0x00050000 | error


def verdict(code: bytes, machine: int, number: int, *arguments: int) -> int:
    """What the kernel would do with this call."""
    data = struct.pack("IIQ6Q", number, machine, 0, *arguments, *[0] * (6 - len(arguments)))
    steps = list(struct.iter_unpack("HBBI", code))
    value = at = 0
    while True:
        what, true, false, constant = steps[at]
        at += 1
        if what == lock.RET:
            return int(constant)
        if what == lock.LD_W_ABS:
            (value,) = struct.unpack_from("I", data, constant)
            continue
        holds = {
            lock.JEQ: value == constant,
            lock.JGT: value > constant,
            lock.JGE: value >= constant,
            lock.JSET: bool(value & constant),
        }[what]
        at += true if holds else false


def numbers(machine: str) -> dict[str, int]:
    column = list(lock.MACHINES).index(machine)
    rows = [call.split(":") for call in lock.CALLS.split()]
    return {name: int(of[column]) for name, *of in rows if of[column]}


def program(machine: str, files_are_locked: bool = True) -> bytes:
    code = lock.program(machine, files_are_locked)
    assert code is not None
    return code


@pytest.mark.parametrize("machine", lock.MACHINES)
def test_only_the_table_is_let_through(machine: str) -> None:
    code, known = program(machine), numbers(machine)
    by_number = {number: name for name, number in known.items()}
    ruled = {
        "clone3": errno.ENOSYS,
        "openat2": errno.ENOSYS,
        "ioctl": errno.ENOTTY,
        "socketpair": errno.EPERM,
    }
    assert len(by_number) == len(known) > 85
    for number in range(1100):
        name = by_number.get(number)
        if name in ruled:
            due = refused(ruled[name])
        elif name is not None:
            due = ALLOWED
        else:
            due = refused(errno.ENOSYS if number > lock.LAST else errno.EPERM)
        assert verdict(code, lock.MACHINES[machine], number) == due, (number, name)


@pytest.mark.parametrize("machine", lock.MACHINES)
def test_other_machines_numbers_are_death(machine: str) -> None:
    others = [code for name, code in lock.MACHINES.items() if name != machine]
    for other in [*others, 0x40000003]:  # i386
        assert verdict(program(machine), other, 0) == KILLED
    assert verdict(program(machine), lock.MACHINES[machine], lock.X32 | 39) == KILLED


@pytest.mark.parametrize("machine", lock.MACHINES)
@pytest.mark.parametrize(
    ("name", "arguments", "due"),
    [
        ("prlimit64", (0, 7, 0, 1), ALLOWED),
        ("prlimit64", (0, 7, 1, 0), refused(errno.EPERM)),
        ("prlimit64", (0, 7, 1 << 32, 0), refused(errno.EPERM)),  # a pointer whose lower half is zero
        ("prlimit64", (1, 7, 0, 1), refused(errno.EPERM)),
        ("fcntl", (3, 1), ALLOWED),
        ("fcntl", (3, 7), ALLOWED),
        ("fcntl", (3, 1030), ALLOWED),
        ("fcntl", (3, 8), refused(errno.EPERM)),  # F_SETOWN
        ("fcntl", (3, 1024), refused(errno.EPERM)),  # F_SETLEASE
        ("fcntl", (3, 1 << 32 | 8), refused(errno.EPERM)),  # the kernel looks at the lower half
        ("ioctl", (3, 0x5421), ALLOWED),
        ("ioctl", (3, 0x5412), refused(errno.ENOTTY)),  # TIOCSTI
        ("socketpair", (1, 1), ALLOWED),
        ("socketpair", (2, 1), refused(errno.EPERM)),
    ],
)
def test_rules_that_look_at_arguments(machine: str, name: str, arguments: tuple[int, ...], due: int) -> None:
    number = numbers(machine)[name]
    assert verdict(program(machine), lock.MACHINES[machine], number, *arguments) == due


@pytest.mark.parametrize(
    ("machine", "name", "index"), [("x86_64", "open", 1), ("x86_64", "openat", 2), ("aarch64", "openat", 2)]
)
@pytest.mark.parametrize(
    ("flags", "reads"),
    [
        (os.O_RDONLY | getattr(os, "O_CLOEXEC", 0), True),
        (os.O_WRONLY, False),
        (os.O_RDWR, False),
        (os.O_CREAT, False),
        (os.O_RDONLY | os.O_TRUNC, False),
    ],
)
def test_without_landlock_files_open_for_reading(
    machine: str, name: str, index: int, flags: int, reads: bool
) -> None:
    code = program(machine, files_are_locked=False)
    arguments = [0] * index + [flags]
    due = ALLOWED if reads else refused(errno.EACCES)
    assert verdict(code, lock.MACHINES[machine], numbers(machine)[name], *arguments) == due


@pytest.mark.parametrize("locked", [True, False])
@pytest.mark.parametrize("machine", lock.MACHINES)
def test_the_kernel_can_take_it(machine: str, locked: bool) -> None:
    steps = list(struct.iter_unpack("HBBI", program(machine, locked)))
    assert len(steps) < 4096
    for at, (what, true, false, _) in enumerate(steps):
        if what not in (lock.RET, lock.LD_W_ABS):
            assert at + 1 + max(true, false) < len(steps)
    assert steps[-1][0] == lock.RET


def test_no_filter_where_the_numbers_are_unknown() -> None:
    assert lock.program("riscv64", True) is None


HEADERS = {
    "x86_64": Path("/usr/include/x86_64-linux-gnu/asm/unistd_64.h"),
    "aarch64": Path("/usr/include/asm-generic/unistd.h"),
}


@pytest.mark.parametrize("machine", HEADERS)
def test_the_numbers_are_those_of_the_kernels_headers(machine: str) -> None:
    if not HEADERS[machine].exists():
        pytest.skip(f"{HEADERS[machine]} is not installed")
    rows = re.findall(r"#define __NR(?:3264)?_(\w+)\s+(\d+)", HEADERS[machine].read_text())
    header = {name: int(number) for name, number in rows}
    header |= {"newfstatat": header.get("newfstatat", header.get("fstatat", -1))}
    assert {name: number for name, number in numbers(machine).items() if header.get(name) != number} == {}
