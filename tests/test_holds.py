"""The status says what is so: here, and on machines that lack a lock."""

import asyncio
import json
import os
from pathlib import Path

import pytest

from tmcli.environments.children import ZYGOTE
from tmcli.environments.holds import LINES, Hold, status
from tmcli.environments.sandbox import Sandbox

MISSING = {
    "landlock": ("    if abi < 1:\n", "    if True:\n"),
    "seccomp": ("program(os.uname().machine", "program('pdp11'"),
    "ctypes": ("    import ctypes\n", "    raise ImportError\n"),
}


@pytest.fixture
def without(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """The true zygote, beside a `lock.py` that finds a part of the machine missing."""
    part: str = request.param
    there, gone = MISSING[part]
    source = (ZYGOTE.parent / "lock.py").read_text()
    assert source.count(there) == 1
    folder = tmp_path / "environments"
    folder.mkdir()
    (folder / "lock.py").write_text(source.replace(there, gone))
    (folder / "zygote.py").write_text(ZYGOTE.read_text())
    (tmp_path / "worlds.py").write_text((ZYGOTE.parents[1] / "worlds.py").read_text())
    monkeypatch.setattr("tmcli.environments.children.ZYGOTE", folder / "zygote.py")
    return part


def by_name(holds: list[Hold]) -> dict[str, Hold]:
    return {hold.name: hold for hold in holds}


def call(source: str) -> tuple[bool, str]:
    async def run() -> tuple[bool, str]:
        sandbox = Sandbox(5, 256)
        try:
            session = sandbox.open({"kind": "python", "codes": {"f": source}}, lambda *_: None)
            seen = await session.call("f", {})
            return seen.ok, seen.text
        finally:
            await sandbox.close()

    return asyncio.run(run())


def test_where_all_is_granted_all_holds() -> None:
    granted = json.loads(call("import sys\ndef f(): return sys.modules['__main__'].GRANTED")[1])
    if set(granted) != {"limits", "privileges", "landlock", "seccomp"}:
        pytest.skip(f"this kernel grants only: {', '.join(granted)}")
    holds = status()
    assert [hold.name for hold in holds] == list(LINES)
    assert [hold for hold in holds if not hold.holds or not hold.how] == []
    assert by_name(holds)["files read"].how == "Landlock"


@pytest.mark.parametrize("without", ["landlock"], indirect=True)
def test_without_landlock(without: str) -> None:
    holds = by_name(status())
    assert not holds["files read"].holds
    assert "/etc/passwd" in holds["files read"].how
    assert "Landlock" not in str(holds)
    for name in ("time", "memory", "processes", "signals", "files written", "sockets", "privileges"):
        assert holds[name].holds, holds[name]


@pytest.mark.parametrize("without", ["seccomp", "ctypes"], indirect=True)
def test_without_seccomp(without: str) -> None:
    holds = by_name(status())
    assert holds["sockets"] == Hold("sockets", False, "went through: TCP, UDP, a local socket")
    assert holds["files read"].holds == (without == "seccomp")
    for name in ("time", "memory"):
        assert holds[name].holds, holds[name]
    assert "seccomp" not in str(holds)


@pytest.mark.parametrize("without", ["seccomp", "ctypes"], indirect=True)
@pytest.mark.parametrize(
    "start",
    [
        "os.fork()",
        "os.system('true')",
        "os.execv(sys.executable, ['python', '-c', ''])",
        "__import__('subprocess').run([sys.executable, '-c', ''])",
        "threading.Thread(target=print).start()",
        "os.kill(os.getppid(), 0)",
    ],
)
def test_without_seccomp_python_still_refuses(without: str, start: str) -> None:
    ok, text = call(f"import os, sys, threading\ndef f(): {start}")
    assert not ok
    assert "tools may not start processes or threads, or send signals" in text


def test_the_tries_leave_nothing_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr("tempfile.tempdir", None)
    status()
    assert os.listdir(tmp_path) == []
