"""A training run that is stopped or killed goes on to the same metrics and the same weights.

Real processes on the tiny model. A run is killed when its metrics have reached a number of lines, or at a
moment drawn from a seed: while it loads, trains, saves or merges.
"""

from __future__ import annotations

import random
import signal
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from conftest import Tm
from lives import TOGETHER, ended, life, logged
from shell import pipe

WORDS = (
    "sft t.jsonl --model tiny --rank 4 --batch-size 2 --epochs 2 --precision fp32 "
    "--eval-share 0.3 --eval-every 3 --save-every 2 -o ckpt"
).split()
MADE = ("metrics.jsonl", "model.safetensors", "README.md", "loss.png")


@pytest.fixture(scope="module")
def played(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """Ten trajectories of the scripted teacher."""
    folder = tmp_path_factory.mktemp("played")
    line = "tm tasks -n 10 --hops 1 | tm synth --tasks - -o t.jsonl"
    assert pipe(line, folder, {}).returncode == 0
    return (folder / "t.jsonl").read_bytes()


@pytest.fixture
def folder(played: bytes, tmp_path: Path) -> Path:
    (tmp_path / "t.jsonl").write_bytes(played)
    return tmp_path


Whole = Callable[..., dict[str, bytes]]


@pytest.fixture(scope="module")
def whole(played: bytes, tmp_path_factory: pytest.TempPathFactory) -> Whole:
    """What an undisturbed run makes, once for each way to train."""
    made: dict[tuple[str, ...], dict[str, bytes]] = {}

    def run(*more: str) -> dict[str, bytes]:
        if more not in made:
            there = tmp_path_factory.mktemp("whole")
            (there / "t.jsonl").write_bytes(played)
            assert life([*WORDS, *more], there).wait(120) == 0
            made[more] = {name: (there / "ckpt" / name).read_bytes() for name in MADE}
        return made[more]

    return run


def complete(words: list[str], cwd: Path, whole: dict[str, bytes], tm: Tm) -> None:
    done = tm(*words, "--resume", cwd=cwd, env={"OMP_NUM_THREADS": "1"}, timeout=120)
    assert done.returncode == 0, done.stderr.decode()
    assert {name: (cwd / "ckpt" / name).read_bytes() for name in MADE} == whole
    assert {path.name for path in cwd.iterdir()} == {"t.jsonl", "ckpt", "said"}
    left = {path.name for path in (cwd / "ckpt").iterdir()}
    assert not {name for name in left if name.startswith((".", "checkpoint", "part"))}


def test_stopped_killed_and_resumed(folder: Path, whole: Whole, tm: Tm) -> None:
    """Ctrl-C, then SIGKILL; nobody starts anew or goes on with other options by mistake."""
    code = ended([*WORDS, "--resume"], folder, signal.SIGINT, lambda: logged(folder) >= 3)
    said = (folder / "said").read_text()
    assert code == 130, said
    assert "saving after this step; Ctrl-C again stops at once" in said
    assert said.splitlines()[-1].endswith("of 8 is saved, --resume goes on from there")

    before = {path: path.read_bytes() for path in (folder / "ckpt.part").rglob("*") if path.is_file()}
    for words, told in (
        (WORDS, b"--resume to go on"),
        ([*WORDS, "--resume", "--seed", "1"], b"other options"),
    ):
        refused = tm(*words, cwd=folder)
        assert refused.returncode == 2
        assert b"ckpt.part holds an unfinished run, saved at step" in refused.stderr
        assert told in refused.stderr
    assert before == {path: path.read_bytes() for path in (folder / "ckpt.part").rglob("*") if path.is_file()}

    n = logged(folder) + 1
    assert ended([*WORDS, "--resume"], folder, signal.SIGKILL, lambda: logged(folder) >= n) == -signal.SIGKILL
    complete(WORDS, folder, whole(), tm)


@pytest.mark.slow
def test_sigterm_saves(folder: Path, whole: Whole, tm: Tm) -> None:
    words = " ".join(WORDS).replace("--save-every 2 ", "").split()
    code = ended(words, folder, signal.SIGTERM, lambda: logged(folder) >= 2)
    assert code == 143
    assert "of 8 is saved, --resume goes on" in (folder / "said").read_text()
    complete(words, folder, whole(), tm)


@pytest.mark.slow
@pytest.mark.parametrize("mode", [[], ["--full", "--adapter", "lora"]], ids=["lora", "full"])
@pytest.mark.parametrize("seed", range(2))
def test_killed_again_and_again(mode: list[str], seed: int, folder: Path, whole: Whole, tm: Tm) -> None:
    """Three lives end at a drawn line of the metrics, or a drawn moment after one."""
    dice = random.Random(seed)
    words = [*WORDS, *mode]
    for _ in range(3):
        n, pause = logged(folder) + dice.randint(0, 6), dice.choice([0, 0, dice.random()])
        at: list[float] = []

        def due(n: int = n, pause: float = pause, at: list[float] = at) -> bool:
            if logged(folder) >= n and not at:
                at.append(time.monotonic() + pause)
            return bool(at) and time.monotonic() >= at[0]

        ended([*words, "--resume"], folder, signal.SIGKILL, due)
    complete(words, folder, whole(*mode), tm)


@pytest.mark.slow
def test_two_processes_stop_and_go_on(folder: Path, played: bytes, tmp_path: Path) -> None:
    """In the same step, and in the second pass over the data too."""
    (tmp_path / "whole").mkdir()
    (tmp_path / "whole" / "t.jsonl").write_bytes(played)
    words = " ".join(WORDS).replace("--epochs 2", "--epochs 4").split()
    assert life(words, tmp_path / "whole", TOGETHER).wait(200) == 0
    for n in (2, 8):
        ended([*words, "--resume"], folder, signal.SIGTERM, lambda n=n: logged(folder) >= n, TOGETHER)
        assert "is saved, --resume goes on from there" in (folder / "said").read_text()
    assert life([*words, "--resume"], folder, TOGETHER).wait(200) == 0
    for name in MADE:
        assert (folder / "ckpt" / name).read_bytes() == (tmp_path / "whole" / "ckpt" / name).read_bytes()


def test_what_is_not_ours_stays(tm: Tm, folder: Path) -> None:
    (folder / "ckpt.part").mkdir()
    (folder / "ckpt.part" / "thesis.txt").write_text("years of work")
    for more in ([], ["--force"], ["--resume"]):
        refused = tm(*WORDS, *more, cwd=folder)
        assert refused.returncode == 2
        assert b"ckpt.part is in the way, and not made by tm" in refused.stderr
    assert (folder / "ckpt.part" / "thesis.txt").read_text() == "years of work"


def test_only_one_run_writes(tm: Tm, folder: Path) -> None:
    from tmcli import checkpoint

    with checkpoint.building(folder / "ckpt", force=False, key="mine") as part:
        (part / "config.json").write_text("{}")
        refused = tm(*WORDS, "--force", cwd=folder)
        assert refused.returncode == 2
        assert b"is being written by another run" in refused.stderr
    assert (folder / "ckpt" / "config.json").exists()
