"""A training run as a real process that is stopped or killed."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

from conftest import environment

ALONE = [sys.executable]
TOGETHER = [str(Path(sys.executable).with_name("torchrun")), "--nproc-per-node", "2"]


def life(words: list[str], cwd: Path, start: list[str] = ALONE) -> subprocess.Popen[bytes]:
    """What it says is in the file `said`. One thread: what is added in what order is the same each time."""
    with (cwd / "said").open("wb") as said:
        return subprocess.Popen(
            [*start, "-m", "tmcli", *words],
            cwd=cwd,
            env=environment({"OMP_NUM_THREADS": "1"}),
            stdin=subprocess.DEVNULL,
            stdout=said,
            stderr=said,
        )


def logged(cwd: Path) -> int:
    """Lines of metrics so far."""
    file = cwd / "ckpt.part" / "metrics.jsonl"
    return file.read_bytes().count(b"\n") if file.exists() else 0


def ended(words: list[str], cwd: Path, sent: int, due: Callable[[], bool], start: list[str] = ALONE) -> int:
    """One life, which gets a signal when it is due; its exit code."""
    process = life(words, cwd, start)
    try:
        deadline = time.monotonic() + 200
        while not due() and process.poll() is None:
            assert time.monotonic() < deadline
            time.sleep(0.002)
        process.send_signal(sent)
        return process.wait(60)
    finally:
        process.kill()
        process.wait()
