"""Locks a process for good with what its kernel offers: no root, no namespaces, no helper program.

    lock = Lock(["/usr/lib"])       # in the warm process: all that can be made ready, and its privileges go
    if os.fork() == 0:
        lock.turn(memory_mb=512)    # in the child: what is refused from here on stays refused

Stands alone (`zygote.py` loads it by its path). `turn` returns the names of what was granted; nothing else
is claimed. On Linux, with ctypes:

- `limits`: address space, files of no size, few open files, no processes (which root is exempt from).
- `privileges`: no capability is left, and no program started could bring one (`no_new_privs`).
- `landlock` (Linux 5.13 and later): files below the given paths may be read, /dev/null may be written, and
  nothing else may be opened, made, removed or renamed; from 6.7 on no TCP, from 6.12 on no signal and no
  abstract socket that leaves the process.
- `seccomp`: a list of the system calls that computing needs. All others are refused, in C code too: new
  processes and threads, programs, sockets, signals, other processes' memory, limits, modes and owners,
  mounts, namespaces, shared memory, and whatever a later kernel brings. Without Landlock it also refuses
  to open a file for writing.

Elsewhere there are the limits alone. Not covered: whether a file exists, its size and times (`stat`) can be
asked of any path, and the kernel's own faults are the kernel's.
"""

from __future__ import annotations

import contextlib
import errno
import os
import resource
import signal
import struct
import sys
from collections.abc import Callable, Iterable
from typing import Any

try:
    import ctypes
except ImportError:  # a Python built without it
    ctypes = None  # type: ignore[assignment]

PR_SET_PDEATHSIG, PR_SET_DUMPABLE, PR_SET_SECCOMP = 1, 4, 22
PR_CAPBSET_DROP, PR_SET_NO_NEW_PRIVS, PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL = 24, 38, 47, 4
SECCOMP_MODE_FILTER = 2
CAPABILITY_VERSION_3 = 0x20080522


class Lock:
    """What a fork needs to lock itself, made ready before it."""

    def __init__(self, readable: Iterable[str]) -> None:
        self._granted = ["limits"]
        self._rules = -1
        self._program: tuple[Any, Any] | None = None
        self._prctl: Callable[..., int] | None = None
        if ctypes is None or sys.platform != "linux":
            return
        libc = ctypes.CDLL(None, use_errno=True)
        prctl = libc.prctl
        prctl.argtypes = [ctypes.c_int, *[ctypes.c_ulong] * 4]
        self._prctl = prctl
        self._syscall = libc.syscall
        self._syscall.argtypes = [ctypes.c_long] * 7
        self._syscall.restype = ctypes.c_long
        if _give_up_privileges(prctl, libc.capset):
            self._granted.append("privileges")
        self._rules, self.landlock_abi = _landlock(self._syscall, readable)
        instructions = program(os.uname().machine, files_are_locked=self._rules >= 0)
        if instructions is not None:
            code = ctypes.create_string_buffer(instructions, len(instructions))
            filters = struct.pack("HP", len(instructions) // 8, ctypes.addressof(code))
            self._program = ctypes.create_string_buffer(filters, len(filters)), code

    def die_with_parent(self) -> None:
        """Where the kernel can: the end of the process that forked is the end of this one."""
        if self._prctl is not None:
            self._prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)

    def turn(self, memory_mb: int) -> tuple[str, ...]:
        """Lock this process. Returns what was granted, of the names in the module's docstring."""
        granted = list(self._granted)
        _limit(memory_mb)
        if self._prctl is None:
            return tuple(granted)
        self._prctl(PR_SET_DUMPABLE, 0, 0, 0, 0)  # no core file, and no program of the system's to read one
        if self._rules >= 0:
            # From ABI 7 on each refusal would go to the kernel's log; flag 1 leaves it alone.
            flags = 1 if self.landlock_abi >= 7 else 0
            if self._syscall(LANDLOCK_RESTRICT_SELF, self._rules, flags, 0, 0, 0, 0) == 0:
                granted.append("landlock")
            os.close(self._rules)
        if self._program is not None:
            where = ctypes.addressof(self._program[0])
            if self._prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, where, 0, 0) == 0:
                granted.append("seccomp")
        return tuple(granted)


def _limit(memory_mb: int) -> None:
    memory = memory_mb * 1024 * 1024
    limits = {
        "AS": memory,  # macOS takes it and does not keep it
        "CORE": 0,
        "FSIZE": 0,
        "NOFILE": 64,
        "NPROC": 0,  # root is exempt
        "MEMLOCK": 0,
        "MSGQUEUE": 0,
        "SIGPENDING": 64,  # counted per user: timers of a tool must not use up everybody's
    }
    for name, most in limits.items():
        with contextlib.suppress(AttributeError, OSError, ValueError):
            resource.setrlimit(getattr(resource, f"RLIMIT_{name}"), (most, most))


def _give_up_privileges(prctl: Callable[..., int], capset: Callable[..., int]) -> bool:
    """For this process and all its forks. A plain user has nothing to give up, and succeeds."""
    if prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0:
        return False
    for capability in range(64):
        prctl(PR_CAPBSET_DROP, capability, 0, 0, 0)  # only root may, and only root need
    prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0)
    return capset(struct.pack("Ii", CAPABILITY_VERSION_3, 0), bytes(24)) == 0


# ---- Landlock: which files ---------------------------------------------------------------------

LANDLOCK_CREATE_RULESET, LANDLOCK_ADD_RULE, LANDLOCK_RESTRICT_SELF = 444, 445, 446
"""The same on every machine."""
WRITE_FILE, READ_FILE, READ_DIR, TRUNCATE = 1 << 1, 1 << 2, 1 << 3, 1 << 14
DEVICES = ("/dev/null", "/dev/zero", "/dev/random", "/dev/urandom")


def _landlock(syscall: Callable[..., int], readable: Iterable[str]) -> tuple[int, int]:
    """A descriptor of the rules, or -1, and the kernel's version of Landlock."""
    abi = syscall(LANDLOCK_CREATE_RULESET, 0, 0, 1, 0, 0, 0)
    if abi < 1:
        return -1, 0
    # Every right this kernel knows and we know is taken, then some are given back by the rules.
    n_rights = {1: 13, 2: 14, 3: 15, 4: 15}.get(abi, 16)
    rights, tcp, scopes = (1 << n_rights) - 1, 0b11, 0b11
    attributes = struct.pack("QQQ", rights, tcp, scopes)[: 8 if abi < 4 else 16 if abi < 6 else 24]
    data = ctypes.create_string_buffer(attributes, len(attributes))
    rules: int = syscall(LANDLOCK_CREATE_RULESET, ctypes.addressof(data), len(attributes), 0, 0, 0, 0)
    if rules < 0:
        return -1, 0
    for path in readable:
        _allow(syscall, rules, path, READ_FILE | READ_DIR)
    for path in DEVICES:
        writing = WRITE_FILE | TRUNCATE if path == "/dev/null" else 0
        _allow(syscall, rules, path, (READ_FILE | writing) & rights)
    return rules, abi


def _allow(syscall: Callable[..., int], rules: int, path: str, rights: int) -> None:
    try:
        fd = os.open(path, os.O_PATH | os.O_CLOEXEC)
    except OSError:
        return  # no such folder on this machine
    if not os.path.isdir(path):
        rights &= ~READ_DIR  # else the rule is refused
    rule = struct.pack("=Qi", rights, fd)
    data = ctypes.create_string_buffer(rule, len(rule))
    syscall(LANDLOCK_ADD_RULE, rules, 1, ctypes.addressof(data), 0, 0, 0)
    os.close(fd)


# ---- seccomp: which system calls ---------------------------------------------------------------

MACHINES = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}
"""Whose numbers the table below has, in this order, and how the kernel calls each."""
X32 = 0x40000000
LAST = 462
"""Higher numbers came after this table: refused as unknown, so that the C library does without."""
CALLS = """
    read:0:63 write:1:64 open:2: close:3:57 stat:4: fstat:5:80 lstat:6: poll:7: lseek:8:62 mmap:9:222
    mprotect:10:226 munmap:11:215 brk:12:214 rt_sigaction:13:134 rt_sigprocmask:14:135 rt_sigreturn:15:139
    ioctl:16:29 pread64:17:67 pwrite64:18:68 readv:19:65 writev:20:66 access:21: pipe:22: select:23:
    sched_yield:24:124 mremap:25:216 msync:26:227 madvise:28:233 dup:32:23 dup2:33: pause:34:
    nanosleep:35:101 getitimer:36:102 alarm:37: setitimer:38:103 getpid:39:172 exit:60:93 wait4:61:260
    uname:63:160 fcntl:72:25 getdents:78: getcwd:79:17 chdir:80:49 fchdir:81:50 readlink:89: umask:95:166
    gettimeofday:96:169 getrlimit:97:163 getrusage:98:165 sysinfo:99:179 times:100:153 getuid:102:174
    getgid:104:176 geteuid:107:175 getegid:108:177 getppid:110:173 getpgrp:111: getpgid:121:155
    getsid:124:156 getgroups:115:158 getresuid:118:148 getresgid:120:150 capget:125:90 rt_sigpending:127:136
    rt_sigtimedwait:128:137 rt_sigsuspend:130:133 sigaltstack:131:132 statfs:137:43 fstatfs:138:44
    sched_getparam:143:121 sched_getscheduler:145:120 sched_get_priority_max:146:125
    sched_get_priority_min:147:126 sched_rr_get_interval:148:127 arch_prctl:158: gettid:186:178 time:201:
    futex:202:98 sched_getaffinity:204:123 epoll_create:213: epoll_wait:232: epoll_ctl:233:21
    epoll_create1:291:20 epoll_pwait:281:22 epoll_pwait2:441:441 getdents64:217:61 set_tid_address:218:96
    restart_syscall:219:128 fadvise64:221:223 timer_create:222:107 timer_settime:223:110
    timer_gettime:224:108 timer_getoverrun:225:109 timer_delete:226:111 clock_gettime:228:113
    clock_getres:229:114 clock_nanosleep:230:115 exit_group:231:94 waitid:247:95 openat:257:56
    newfstatat:262:79 readlinkat:267:78 faccessat:269:48 faccessat2:439:439 pselect6:270:72 ppoll:271:73
    set_robust_list:273:99 get_robust_list:274:100 timerfd_create:283:85 timerfd_settime:286:86
    timerfd_gettime:287:87 eventfd:284: eventfd2:290:19 dup3:292:24 pipe2:293:59 preadv:295:69
    prlimit64:302:261 getcpu:309:168 getrandom:318:278 statx:332:291 rseq:334:293 close_range:436:436
    clone3:435:435 openat2:437:437 socketpair:53:199
"""
"""name:number on x86_64:number on aarch64. Let through, or ruled on in `_rules`; the rest is refused."""

LD_W_ABS, RET = 0x20, 0x06
JEQ, JGT, JGE, JSET = 0x15, 0x25, 0x35, 0x45
ALLOW, KILL_PROCESS = 0x7FFF0000, 0x80000000
NUMBER, MACHINE = 0, 4
"""Offsets in what the filter is given; behind them the arguments, eight bytes each."""

Instruction = tuple[int, int, int, int]
Rule = tuple[Instruction, ...]
"""Ends in a return; a jump counts the instructions it skips, when true and when not."""


def _refuse(error: int) -> Instruction:
    return RET, 0, 0, 0x00050000 | error


def _argument(index: int, half: int = 0) -> Instruction:
    return LD_W_ABS, 0, 0, 16 + 8 * index + 4 * half


LET: Rule = ((RET, 0, 0, ALLOW),)
REFUSED: Rule = (_refuse(errno.EPERM),)
UNKNOWN: Rule = (_refuse(errno.ENOSYS),)
NO_DEVICE: Rule = (  # ioctl: FIONBIO, which asyncio needs, and nothing of terminals and drivers
    *(_argument(1), (JEQ, 0, 1, 0x5421)),
    (RET, 0, 0, ALLOW),
    _refuse(errno.ENOTTY),
)
PAIRS: Rule = (  # socketpair of AF_UNIX, for asyncio again: joined to itself alone, and never to be bound
    *(_argument(0), (JEQ, 0, 1, 1)),
    (RET, 0, 0, ALLOW),
    _refuse(errno.EPERM),
)
READS_LIMITS: Rule = (  # prlimit64 of this process, without a new limit
    *(_argument(0), (JEQ, 0, 5, 0), _argument(2), (JEQ, 0, 3, 0), _argument(2, 1), (JEQ, 0, 1, 0)),
    (RET, 0, 0, ALLOW),
    _refuse(errno.EPERM),
)
COPIES: Rule = (  # fcntl up to F_SETLKW, and F_DUPFD_CLOEXEC: none that sends signals or takes leases
    *(_argument(1), (JGT, 0, 1, 7), (JEQ, 0, 1, 1030)),
    (RET, 0, 0, ALLOW),
    _refuse(errno.EPERM),
)


def _opens(index: int) -> Rule:
    """Reading only: for kernels without Landlock."""
    writes = os.O_ACCMODE | os.O_CREAT | os.O_TRUNC
    return _argument(index), (JSET, 0, 1, writes), _refuse(errno.EACCES), (RET, 0, 0, ALLOW)


def _rules(machine: str, files_are_locked: bool) -> list[Rule]:
    """The rule of each number up to `LAST`, and one more for all above."""
    special = {
        "clone3": UNKNOWN,  # its flags are out of a filter's reach, and so are the next one's
        "openat2": UNKNOWN,
        "ioctl": NO_DEVICE,
        "socketpair": PAIRS,
        "prlimit64": READS_LIMITS,
        "fcntl": COPIES,
    }
    if not files_are_locked:
        special |= {"open": _opens(1), "openat": _opens(2)}
    rules = [REFUSED] * (LAST + 1) + [UNKNOWN]
    column = list(MACHINES).index(machine)
    for call in CALLS.split():
        name, *numbers = call.split(":")
        if numbers[column]:
            rules[int(numbers[column])] = special.get(name, LET)
    return rules


def program(machine: str, files_are_locked: bool) -> bytes | None:
    """The filter in the kernel's own form; None for a machine whose numbers are not in the table."""
    if machine not in MACHINES or sys.byteorder != "little" or struct.calcsize("P") != 8:
        return None
    rules = _rules(machine, files_are_locked)
    starts = [n for n, rule in enumerate(rules) if n == 0 or rule != rules[n - 1]]
    code: list[Instruction] = [
        (LD_W_ABS, 0, 0, MACHINE),
        (JEQ, 1, 0, MACHINES[machine]),
        (RET, 0, 0, KILL_PROCESS),  # another machine's numbers, 32-bit ones for instance
        (LD_W_ABS, 0, 0, NUMBER),
        *((JGE, 0, 1, X32), (RET, 0, 0, KILL_PROCESS)),
        *_tree([(start, rules[start]) for start in starts]),
    ]
    return b"".join(struct.pack("HBBI", *instruction) for instruction in code)


def _tree(rows: list[tuple[int, Rule]]) -> Rule:
    """The rule of the row that holds the number. By halves: the kernel walks it for every number at once."""
    if len(rows) == 1:
        return rows[0][1]
    middle = len(rows) // 2
    low, high = _tree(rows[:middle]), _tree(rows[middle:])
    return (JGE, len(low), 0, rows[middle][0]), *low, *high
