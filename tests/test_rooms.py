"""Sessions that share a child: each as if it were alone, whatever the others do."""

import asyncio
import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, cast

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tmcli import suites, toolbox
from tmcli.environments import Observation
from tmcli.environments.children import ZYGOTE
from tmcli.environments.rooms import FULL, MAX_ROOMS
from tmcli.environments.sandbox import MAX_MOVES, Sandbox, SandboxSession
from tmcli.environments.toolbox import open_session
from tmcli.environments.world import World
from tmcli.errors import EnvironmentFailure
from tmcli.records import Task, new_task

BOX = """
import ctypes, gc, os, time
def make_world(seed): return {"n": seed}
def add(world, by):
    world["n"] += by
    return world["n"]
def refuse(world): raise LookupError(f"no {world['n']}")
def crash(world): ctypes.string_at(0)
def leave(world): os._exit(3)
def eat(world): return len(bytearray(10**9))
def loop(world):
    while True: pass
def slow(world, s):
    time.sleep(s)
    return world["n"]
def pid(world): return os.getpid()
def sessions(world): return sum(type(thing).__name__ == "Session" for thing in gc.get_objects())
"""


def unchecked(name: str, arguments: dict[str, Any]) -> None:
    """These tests go past the schemas."""


def opened(sandbox: Sandbox, seed: int = 0, shared: bool = True) -> SandboxSession:
    return sandbox.open({"kind": "toolbox", "name": "box", "source": BOX, "seed": seed}, unchecked, shared)


def running(
    script: Callable[[Sandbox], Awaitable[Any]], *, timeout_s: float = 10, memory_mb: int = 256
) -> Any:
    async def run() -> Any:
        sandbox = Sandbox(timeout_s, memory_mb)
        try:
            return await script(sandbox)
        finally:
            await sandbox.close()

    return asyncio.run(run())


async def value(session: SandboxSession, name: str, **arguments: Any) -> Any:
    seen = await session.call(name, arguments)
    return json.loads(seen.text)


def zygote_of(sandbox: Sandbox) -> int:
    assert sandbox._zygote is not None
    return sandbox._zygote.process.pid


def children_of(pid: int) -> list[int]:
    return [int(word) for word in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


# ---- the same as alone ---------------------------------------------------------------------------

Step = tuple[int, str, dict[str, Any]]
STEPS = st.tuples(
    st.integers(0, 4),
    *[st.one_of(
        st.integers(-9, 9).map(lambda by: ("add", {"by": by})),
        st.sampled_from(["refuse", "crash", "leave", "eat", "nothing"]).map(lambda name: (name, {})),
    )],
).map(lambda drawn: (drawn[0], *drawn[1]))  # fmt: skip


@settings(max_examples=15)
@given(st.lists(STEPS, max_size=30))
def test_sessions_side_by_side_are_as_if_alone(steps: list[Step]) -> None:
    """In any order, and with some that end the child they share."""

    def played(shared: bool) -> Any:
        async def script(sandbox: Sandbox) -> list[list[tuple[bool, str]]]:
            async def play(seed: int) -> list[tuple[bool, str]]:
                session = opened(sandbox, seed, shared)
                seen = [
                    await session.call(name, arguments) for number, name, arguments in steps if number == seed
                ]
                await session.close()
                return [(one.ok, one.text) for one in seen]

            return list(await asyncio.gather(*map(play, range(5))))

        return running(script)

    assert played(True) == played(False)


@pytest.mark.parametrize("name", toolbox.names())
def test_a_built_in_toolbox_says_the_same_in_both(name: str) -> None:
    """Gold calls and wrong ones, beside tools of other toolboxes; and no module keeps anything."""

    async def played(shared: bool) -> tuple[list[list[Observation]], list[bool]]:
        world = World()
        tasks = list(suites.suite(name, n=8, seed=3))
        were_shared = []

        async def play(task: Task) -> list[Observation]:
            others = [other for other in toolbox.names() if other != name][:3]
            strange = {f"{other}.{tool}": tool for other in others for tool in toolbox.load(other).names[:1]}
            env = {**task.env, "distractors": [*strange]}
            session = cast(SandboxSession, world.open(new_task(messages=[], tools=[], env=env, answer=[])))
            were_shared.append(session.shared)
            session.shared = shared
            seen, replies = [], dict[int, Any]()
            for number, step in enumerate(task.plan or []):
                arguments = toolbox.resolve(step["arguments"], replies)
                seen.append(await session.call(step["name"], arguments))
                replies[number] = json.loads(seen[-1].text)
                for tool in (step["name"], *strange.values(), "nothing"):
                    seen.append(await session.call(tool, dict.fromkeys(arguments, "x1")))
                seen.append(await session.call(step["name"], arguments))
            await session.close()
            return seen

        try:
            return list(await asyncio.gather(*map(play, tasks))), were_shared
        finally:
            await world.close()

    def told(seen: list[list[Observation]]) -> list[list[tuple[bool, str]]]:
        return [[(one.ok, one.text) for one in of] for of in seen]

    together, were_shared = asyncio.run(played(True))
    alone, _ = asyncio.run(played(False))
    assert told(together) == told(alone)
    assert all(were_shared)
    assert sum(one.ok for of in together for one in of) > 8


def test_modules_of_built_in_toolboxes_keep_nothing() -> None:
    """What a call changes is its world: else sessions of one child would meet."""
    for name in toolbox.names():
        box = toolbox.load(name)
        functions: dict[str, Any] = {}
        exec(box.source, functions)
        before = repr({key: kept for key, kept in functions.items() if key != "__builtins__"})
        for task in suites.suite(name, n=20, seed=1):
            world, replies = functions["make_world"](task.env["seed"]), dict[int, Any]()
            with contextlib.suppress(LookupError, ValueError):  # of tasks that cannot be done
                for number, step in enumerate(task.plan or []):
                    arguments = toolbox.resolve(step["arguments"], replies)
                    replies[number] = functions[step["name"]](world, **arguments)
        assert repr({key: kept for key, kept in functions.items() if key != "__builtins__"}) == before


def test_only_what_lies_with_the_built_in_ones_shares(tmp_path: Path) -> None:
    copy = tmp_path / "library"
    shutil.copytree(toolbox.folder() / "library", copy)
    (tmp_path / "one.py").write_text('def one(n: int) -> int:\n    """One."""\n    return n\n')

    def shares(place: str, *distractors: str) -> bool:
        env = {"kind": "toolbox", "toolbox": place, "seed": 1, "distractors": list(distractors)}
        return open_session(new_task(messages=[], tools=[], env=env, answer=[]), World().machinery).shared

    other = toolbox.load("bank").names[0]
    assert shares("library")
    assert shares("library", f"bank.{other}")
    assert not shares(str(copy))
    assert not shares(str(tmp_path / "one.py"))
    assert not shares("library", f"{copy}.{toolbox.load('library').names[0]}")
    assert shares(str(toolbox.folder() / "library"))  # the very same files


# ---- what others do ------------------------------------------------------------------------------


def test_one_that_loops_is_alone_from_then_on() -> None:
    async def script(sandbox: Sandbox) -> None:
        sessions = [opened(sandbox, seed) for seed in range(40)]
        assert await asyncio.gather(*(value(one, "add", by=1) for one in sessions)) == [*range(1, 41)]
        looping = [asyncio.create_task(value(one, "loop")) for one in sessions[:4]]
        others = asyncio.gather(*(value(one, "add", by=1) for one in sessions[4:]))
        late = {"error": "the tool gave no answer within 0.5 s"}
        assert await asyncio.gather(*looping) == [late] * 4
        assert await others == [*range(6, 42)]  # once, and not again
        assert [one.shared for one in sessions[:4]] == [False] * 4
        assert await asyncio.gather(*(value(one, "add", by=1) for one in sessions)) == [
            *range(2, 6), *range(7, 43),
        ]  # fmt: skip

    running(script, timeout_s=0.5)


def test_who_is_moved_again_and_again_is_answered_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tmcli.environments.rooms.MAX_ROOMS", 1)

    async def script(sandbox: Sandbox) -> None:
        patient, bad = opened(sandbox, 7), [opened(sandbox) for _ in range(2 * MAX_MOVES)]
        assert await value(patient, "add", by=1) == 8
        *crashes, added = await asyncio.gather(
            *(value(one, "crash") for one in bad), value(patient, "add", by=1)
        )
        assert crashes == [{"error": "the tool crashed (SIGSEGV)"}] * len(bad)
        assert added == 9
        assert await value(patient, "add", by=1) == 10

    running(script)


@pytest.mark.parametrize("kill", [signal.SIGKILL, signal.SIGSTOP])
def test_a_shared_child_that_the_machine_ends_is_replaced(kill: int) -> None:
    async def script(sandbox: Sandbox) -> None:
        sessions = [opened(sandbox, seed) for seed in range(20)]
        for pid in {await value(one, "pid") for one in sessions}:
            os.kill(pid, kill)
        late = {"error": "the tool gave no answer within 0.5 s"}
        for expected in (1, 2):
            counted = await asyncio.gather(*(value(one, "add", by=1) for one in sessions))
            assert counted.count(late) == (MAX_ROOMS if kill == signal.SIGSTOP and expected == 1 else 0)
        assert sum(counted) in range(20 * 19 // 2 + 2 * 20 - MAX_ROOMS, 20 * 19 // 2 + 2 * 20 + 1)

    running(script, timeout_s=0.5)


def test_a_waiting_call_is_not_late() -> None:
    """Ten calls of 0.3 s each in one child: each has its own second."""

    async def script(sandbox: Sandbox) -> list[Any]:
        sessions = [opened(sandbox, seed) for seed in range(10 * MAX_ROOMS)]
        return await asyncio.gather(*(value(one, "slow", s=0.3) for one in sessions))

    assert running(script, timeout_s=1) == [*range(10 * MAX_ROOMS)]


def test_a_cancelled_call_is_not_made() -> None:
    async def script(sandbox: Sandbox) -> list[Any]:
        one, other = opened(sandbox, 1), opened(sandbox, 2)
        await value(one, "add", by=1)
        slow = asyncio.create_task(value(one, "slow", s=0.3))
        added = asyncio.create_task(value(other, "add", by=1))
        await asyncio.sleep(0.1)
        slow.cancel()
        return [await added, await value(one, "add", by=1), one.shared]

    assert running(script) == [3, 3, True]


@pytest.mark.parametrize(("shared", "s"), [(True, 0.01), (False, 0.5)])
def test_the_zygote_killed_beside_many_calls(shared: bool, s: float) -> None:
    async def script(sandbox: Sandbox) -> None:
        sessions = [opened(sandbox, seed, shared) for seed in range(60)]
        await asyncio.gather(*(value(one, "add", by=1) for one in sessions))
        calls = [asyncio.create_task(value(one, "slow", s=s)) for one in sessions]
        await asyncio.sleep(0.1)
        old = zygote_of(sandbox)
        os.kill(old, signal.SIGKILL)
        assert await asyncio.gather(*calls) == [*range(1, 61)]
        assert zygote_of(sandbox) != old

    running(script)


# ---- many ----------------------------------------------------------------------------------------


def test_a_thousand_at_once() -> None:
    async def script(sandbox: Sandbox) -> None:
        sessions = [opened(sandbox, seed) for seed in range(1024)]
        for n in (1, 2):
            counted = await asyncio.gather(*(value(one, "add", by=1) for one in sessions))
            assert counted == [*range(n, 1024 + n)]
        pids = set(await asyncio.gather(*(value(one, "pid") for one in sessions)))
        assert len(pids) == max(MAX_ROOMS, -(-1024 // FULL))

    running(script)


@pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc")
def test_nothing_is_left_of_two_thousand() -> None:
    async def script(sandbox: Sandbox) -> None:
        last = opened(sandbox)
        await value(last, "pid")

        async def play(seed: int, shared: bool = True) -> None:
            session = opened(sandbox, seed, shared)
            assert await value(session, "add", by=1) == seed + 1
            if seed % 400 == 7:
                assert "crashed" in (await value(session, "crash"))["error"]
            await session.close()

        def held() -> tuple[int, int]:
            """Children, and files open for anything else than them."""
            n_children = len(children_of(zygote_of(sandbox)))
            return n_children, len(os.listdir("/proc/self/fd")) - n_children

        _, n_files = held()
        for start in range(0, 2000, 200):
            await asyncio.gather(*map(play, range(start, start + 200)))
        await asyncio.gather(*(play(seed, False) for seed in range(40)))
        for _ in range(500):  # children of their own end soon after they are told to
            if (now := held())[0] <= MAX_ROOMS:
                break
            await asyncio.sleep(0.02)
        assert now[0] <= MAX_ROOMS
        assert now[1] == n_files
        assert await value(last, "sessions") == 1
        zygote = sandbox._zygote
        assert zygote is not None
        assert len(zygote._ends) == len(children_of(zygote.process.pid))
        assert not zygote._births
        assert not zygote._unsent

    running(script)


def test_a_slow_zygote_stops_nobody_and_is_waited_for() -> None:
    """It is stopped for longer than a call may take: calls wait, the event loop does not."""

    async def script(sandbox: Sandbox) -> None:
        await value(opened(sandbox), "pid")
        worst, ticks = 0.0, asyncio.create_task(asyncio.sleep(0))

        async def tick() -> None:
            nonlocal worst
            while True:
                before = time.perf_counter()
                await asyncio.sleep(0.005)
                worst = max(worst, time.perf_counter() - before)

        ticks = asyncio.create_task(tick())
        os.kill(zygote_of(sandbox), signal.SIGSTOP)
        sessions = [opened(sandbox, seed, shared=False) for seed in range(300)]
        calls = [asyncio.create_task(value(one, "add", by=1)) for one in sessions]
        await asyncio.sleep(3)
        assert not any(call.done() for call in calls)
        stalled = worst
        for call in calls[:100]:
            call.cancel()
        os.kill(zygote_of(sandbox), signal.SIGCONT)
        assert await asyncio.gather(*calls[100:]) == [*range(101, 301)]
        ticks.cancel()
        assert stalled < 1  # milliseconds, on a machine that has time

    running(script, timeout_s=1)


LOW = """
import asyncio, collections, resource, sys
from tmcli.environments.sandbox import Sandbox
from tmcli.errors import EnvironmentFailure
from test_rooms import opened, value
async def main():
    sandbox, shared = Sandbox(), sys.argv[1] == "shared"
    async def play(seed):
        session = opened(sandbox, seed, shared)
        try: return await value(session, "add", by=0)
        except EnvironmentFailure as error: return str(error)
    said = await asyncio.gather(*map(play, range(200)))
    for session in list(sandbox.sessions): await session.close()
    again = await play(5)
    await sandbox.close()
    sentences = {one for one in said if isinstance(one, str)}
    print(sum(one == seed for seed, one in enumerate(said)), again, *sentences)
resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64))
asyncio.run(main())
"""


def test_few_open_files_are_enough_to_share_and_else_are_told() -> None:
    def said(how: str) -> str:
        result = subprocess.run(
            [sys.executable, "-c", LOW, how],
            cwd=Path(__file__).parent,
            capture_output=True,
            text=True,
            timeout=60,
        )
        assert (result.returncode, result.stderr) == (0, "")
        return result.stdout

    assert said("shared") == "200 5\n"
    n_ok, again, *sentence = said("own").split()
    assert 20 < int(n_ok) < 200
    assert again == "5"
    assert " ".join(sentence).startswith("no socket can be made for the tools: Too many open files")


def test_a_machine_that_cannot_fork_more_says_so(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The true zygote, with a fork that fails from the third on (root may always fork)."""
    source = ZYGOTE.read_text()
    fork = "pid = os.fork()"
    assert source.count(fork) == 1
    folder = tmp_path / "environments"
    folder.mkdir()
    shutil.copy(ZYGOTE.parent / "lock.py", folder)
    shutil.copy(ZYGOTE.parents[1] / "worlds.py", tmp_path)
    fails = f"{fork} if len(pids) < 3 else (_ for _ in ()).throw(BlockingIOError(11, ''))"
    (folder / "zygote.py").write_text(source.replace(fork, fails))
    monkeypatch.setattr("tmcli.environments.children.ZYGOTE", folder / "zygote.py")

    async def script(sandbox: Sandbox) -> None:
        sessions = [opened(sandbox, seed, shared=False) for seed in range(30)]
        said = await asyncio.gather(*(value(one, "add", by=1) for one in sessions), return_exceptions=True)
        assert [one for one in said if isinstance(one, int)] == [1, 2, 3]
        (sentence,) = {str(one) for one in said if not isinstance(one, int)}
        assert sentence.startswith("no process can be forked for the tools: ")
        assert "ulimit -u" in sentence
        await sessions[0].close()
        for _ in range(100):  # until that child is over
            with contextlib.suppress(EnvironmentFailure):
                assert await value(sessions[9], "add", by=1) == 10
                return
            await asyncio.sleep(0.02)
        raise AssertionError

    running(script)
