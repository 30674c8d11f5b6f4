"""Nothing heavy is loaded before it is needed: what a real process imports, not how long it takes."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

HEAVY = {
    "accelerate", "aiohttp", "datasets", "httpx", "numpy", "pandas", "peft", "pyarrow", "ray", "rich",
    "torch", "transformers", "trl", "uvloop",
}  # fmt: skip

SCORE = {
    "kind": "score",
    "v": 1,
    "id": "t1#0",
    "task_id": "t1",
    "correct": True,
    "scores": {"outcome": 1.0},
    "calls": 2,
    "errors": 0,
    "stop": "answer",
    "tags": {"toolbox": "library", "split": "seen", "hops": 1, "drift": []},
    "policy": {"name": "scripted"},
}


def imported(*words: str, cwd: Path) -> set[str]:
    """The packages that `tm WORDS` imports. `-X importtime` lists each import on stderr, however it ends."""
    result = subprocess.run(
        [sys.executable, "-X", "importtime", "-m", "tmcli", *words],
        cwd=cwd,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
    )
    modules = re.findall(r"^import time:\s+\d+ \|\s+\d+ \|\s+(\S+)$", result.stderr, re.MULTILINE)
    said = [line for line in result.stderr.splitlines() if not line.startswith("import time:")]
    assert result.returncode == 0, "\n".join(said)
    assert "tmcli.app" in modules
    return {module.partition(".")[0] for module in modules}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Small inputs, the trajectories made by the scripted teacher."""
    path = tmp_path_factory.mktemp("startup")
    (path / "empty.jsonl").touch()
    (path / "scores.jsonl").write_text(json.dumps(SCORE) + "\n")
    subprocess.run(
        [sys.executable, "-m", "tmcli", "synth", "-n", "2", "-o", "trajectories.jsonl"], cwd=path, check=True
    )
    return path


@pytest.mark.parametrize(
    "line",
    [
        "--help",
        "--version",
        "sft --help",
        "rl --help",
        "filter empty.jsonl",
        "filter trajectories.jsonl",
        "tasks -n 2",
        "tasks -n 2 --drift stale",
        "synth -n 1",
        "synth -n 1 --replay trajectories.jsonl",
        "eval scores.jsonl",
        "eval trajectories.jsonl",
        "tools list",
        "show trajectories.jsonl",
    ],
)
def test_loads_nothing_heavy(folder: Path, line: str) -> None:
    assert not imported(*line.split(), cwd=folder) & HEAVY
