"""An rl run that is stopped or killed goes on to the same metrics, samples and weights; the best are kept."""

from __future__ import annotations

import json
import random
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from conftest import Tm
from lives import TOGETHER, ended, life, logged
from test_rl import SMALL
from transformers import TrainerControl, TrainerState

from tmcli.trainer.life import Life

WORDS = [
    *SMALL,
    *"-n 5 --steps 6 --eval-tasks unseen --eval-n 2 --eval-every 4 --save-every 2 --samples-every 2".split(),
    *"--learning-rate 1e-2 -o ckpt".split(),
]
UPDATES = [*WORDS, "--updates", "2", "--advantage", "split"]
COMPASS = [*WORDS, "--compass", "0.5", "--dynamic-sampling", "1", "--curriculum", "hops", "--full"]
TIMED = ("generation/seconds", "generation/tokens_per_second", "update/seconds", "sampling/logp_difference")
"""What differs each time; the last is rounding, which differs with what is computed side by side."""


def made(cwd: Path) -> dict[str, Any]:
    """What a run wrote, but for what tells of time."""
    folder = cwd / "ckpt"
    lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    return {
        "metrics": [{k: v for k, v in line.items() if k not in TIMED} for line in lines],
        "samples": [sample(line) for line in (folder / "samples.jsonl").read_bytes().splitlines()],
        **{name: (folder / name).read_bytes() for name in ("model.safetensors", "README.md", "reward.png")},
    }


def sample(line: bytes) -> Any:
    """An episode; its log-probabilities are rounded otherwise when others are computed beside it."""
    episode = json.loads(line)
    episode["tokens"].pop("logprobs")
    return episode


Whole = Callable[[list[str]], dict[str, Any]]


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Whole:
    """What an undisturbed run makes, once for each way to train."""
    found: dict[str, dict[str, Any]] = {}

    def run(words: list[str]) -> dict[str, Any]:
        key = " ".join(words)
        if key not in found:
            there = tmp_path_factory.mktemp("whole")
            assert life(words, there).wait(200) == 0, (there / "said").read_text()
            found[key] = made(there)
        return found[key]

    return run


def complete(words: list[str], cwd: Path, whole: dict[str, Any], tm: Tm) -> None:
    done = tm(*words, "--resume", env={"OMP_NUM_THREADS": "1"}, timeout=200)
    assert done.returncode == 0, done.stderr.decode()
    assert made(cwd) == whole
    assert {path.name for path in cwd.iterdir()} == {"ckpt", "said"}
    left = {path.name for path in (cwd / "ckpt").iterdir()}
    assert not {name for name in left if name.startswith((".", "checkpoint", "part", "served"))}
    again = tm(*words, "--resume")
    assert again.stdout == done.stdout


def test_killed_and_resumed(whole: Whole, tm: Tm, tmp_path: Path) -> None:
    words = [*WORDS, "--steps", "4"]
    assert ended(words, tmp_path, signal.SIGKILL, lambda: logged(tmp_path) >= 4) == -signal.SIGKILL
    refused = tm(*words)
    assert refused.returncode == 2
    assert b"holds an unfinished run, saved at step 2 of 4; use --resume to go on" in refused.stderr
    complete(words, tmp_path, whole(words), tm)


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_stopped_and_resumed(number: int, whole: Whole, tm: Tm, tmp_path: Path) -> None:
    """Wherever it is then: in the midst of episodes, most likely. Nothing but those is lost."""
    words = " ".join(WORDS).replace("--save-every 2 ", "").split()
    code = ended(words, tmp_path, number, lambda: logged(tmp_path) >= 4)
    said = (tmp_path / "said").read_text()
    assert code == (130 if number == signal.SIGINT else 143), said
    assert said.splitlines()[-1].endswith("of 6 is saved, --resume goes on from there")
    complete(words, tmp_path, whole(words), tm)


@pytest.mark.slow
@pytest.mark.parametrize("words", [UPDATES, COMPASS], ids=["updates", "compass"])
def test_killed_again_and_again(words: list[str], whole: Whole, tm: Tm, tmp_path: Path) -> None:
    """Lives end at a drawn line of the metrics, or a drawn moment after one."""
    dice = random.Random(0)
    for number in (signal.SIGKILL, signal.SIGTERM, signal.SIGKILL):
        n, pause = logged(tmp_path) + dice.randint(0, 3), dice.choice([0, dice.random()])
        at: list[float] = []

        def due(n: int = n, pause: float = pause, at: list[float] = at) -> bool:
            if logged(tmp_path) >= n and not at:
                at.append(time.monotonic() + pause)
            return bool(at) and time.monotonic() >= at[0]

        ended([*words, "--resume"], tmp_path, number, due)
    complete(words, tmp_path, whole(words), tm)


@pytest.mark.slow
def test_two_processes_are_one(whole: Whole, tmp_path: Path) -> None:
    """The same episodes, rewards and losses, also where a group is spread over both."""
    words = [*WORDS, "--prompts-per-step", "1", "--dynamic-sampling", "1"]
    assert life(words, tmp_path, TOGETHER).wait(200) == 0, (tmp_path / "said").read_text()
    one, two = whole(words), made(tmp_path)
    assert len(one["metrics"]) == len(two["metrics"])
    for ours, theirs in zip(one["metrics"], two["metrics"], strict=True):
        assert ours.keys() == theirs.keys()
        for name, value in ours.items():
            close = value if value is None else pytest.approx(value, rel=1e-2, abs=1e-4)
            assert name == "sampling/logp_difference" or theirs[name] == close, (name, ours["step"])
    assert one["samples"] == two["samples"]


def test_the_best_step_is_where_most_is_solved(tmp_path: Path) -> None:
    """None is no better than anything, and the first of equals stays."""
    watch = Life(tmp_path, eval_every=2, patience=2, watched="eval_outcome", higher=True, between=2)
    state, best, saved, stopped = TrainerState(max_steps=20), [], [], []
    for i, outcome in enumerate([0.2, None, 0.5, 0.4, 0.5, 0.9]):
        control: Any = TrainerControl()
        state.global_step = 2 * (i + 1)
        watch.on_evaluate(None, state, control, {"eval_outcome": outcome})
        best.append(state.best_global_step)
        saved.append(control.should_save)
        stopped.append(control.should_training_stop)
    assert best == [2, 2, 6, 6, 6, 12]
    assert saved == [True, False, True, False, False, True]
    assert stopped == [False, False, False, False, True, False]


def test_nothing_is_saved_in_the_midst_of_a_batch(tmp_path: Path) -> None:
    watch = Life(tmp_path, save_every=4, eval_every=5, between=3)
    state, found = TrainerState(max_steps=20), {}
    for step in range(1, 21):
        control: Any = TrainerControl()
        state.global_step = step
        watch.on_step_end(None, state, control)
        found[step] = (control.should_save, control.should_evaluate)
    assert [step for step, (save, _) in found.items() if save] == [6, 9, 12, 18]
    assert [step for step, (_, held_out) in found.items() if held_out] == [6, 12, 15, 20]
