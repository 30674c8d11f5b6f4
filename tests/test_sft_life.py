"""What an sft run holds out, keeps, shows and reports."""

from __future__ import annotations

import json
import math
import os
import pty
import struct
import subprocess
import sys
import termios
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from conftest import Tm, environment
from huggingface_hub import ModelCard
from hypothesis import given
from hypothesis import strategies as st
from shell import pipe
from trajectories import trajectory

from tmcli import io
from tmcli.errors import InputError
from tmcli.records import Run, Trajectory
from tmcli.report.card import model_card
from tmcli.report.curve import curve_text, points
from tmcli.steps.sft import split

SMALL = "--model tiny --rank 4 --batch-size 2 --precision fp32".split()


@pytest.fixture(scope="module")
def played(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two samples of each of six tasks."""
    folder = tmp_path_factory.mktemp("life")
    line = "tm tasks -n 6 --hops 1 | tm synth --tasks - --samples 2 -o t.jsonl"
    assert pipe(line, folder, {}).returncode == 0
    return folder / "t.jsonl"


# ---- held out ----------------------------------------------------------------------------------------------


def asked(question: str, sample: int) -> Trajectory:
    one = trajectory()
    task = {**one.task, "messages": [{"role": "user", "content": question}]}
    return replace(one, id=f"{question}#{sample}", task=task)


@given(
    st.lists(st.integers(0, 8), min_size=1, max_size=30),
    st.floats(0.01, 0.5),
    st.integers(0, 3),
)
def test_no_task_is_on_both_sides(questions: list[int], share: float, seed: int) -> None:
    records = [asked(f"q{question}", sample) for sample, question in enumerate(questions)]
    if len(set(questions)) < 2:
        with pytest.raises(InputError, match="all trajectories are of one task"):
            split(records, share, seed)
        return
    train, held_out, counts = split(records, share, seed)
    assert train
    assert held_out
    assert Counter(t.id for t in [*train, *held_out]) == Counter(t.id for t in records)
    sides = [{t.task["messages"][0]["content"] for t in side} for side in (train, held_out)]
    assert not sides[0] & sides[1]
    assert counts == {"tasks": len(sides[0]), "tasks_held_out": len(sides[1])}
    assert split(records[::-1], share, seed)[1] == held_out[::-1]  # by the words alone


def test_the_best_weights_are_kept(tm: Tm, played: Path, tmp_path: Path) -> None:
    """A rate that ruins the model soon; the result is the model before that."""
    words = ["--eval-share", "0.3", "--eval-every", "2", "--patience", "2", "--learning-rate", "0.5"]
    done = tm("sft", str(played), *SMALL, *words, "--epochs", "9", "-o", "ckpt", timeout=120)
    assert done.returncode == 0, done.stderr.decode()
    run = json.loads(done.stdout)
    lines = [json.loads(row) for row in (tmp_path / "ckpt" / "metrics.jsonl").read_text().splitlines()]
    found = {line["step"]: line["eval_loss"] for line in lines if "eval_loss" in line}
    best = min(found, key=found.__getitem__)
    assert run["metrics"]["best_step"] == best
    assert run["metrics"]["eval_loss"] == found[best]
    assert run["metrics"]["steps"] == max(found) == best + 4  # two evaluations without a better one
    counts = run["counts"]
    assert (counts["in"], counts["tasks"] + counts["tasks_held_out"]) == (12, 6)
    assert counts["held_out"] == 2 * counts["tasks_held_out"] == 4

    held_out = split(list(io.read(str(played), kind=Trajectory)), 0.3, 0)[1]
    assert loss_of(tmp_path / "ckpt", held_out) == pytest.approx(found[best], rel=1e-3)


def loss_of(folder: Path, trajectories: list[Trajectory]) -> float:
    """Mean negative log-likelihood of a saved model over the trained tokens."""
    import torch

    from tmcli import model as models
    from tmcli.chat import Chat

    model, tokenizer = models.load(str(folder), dtype=torch.float32)
    chat = Chat(tokenizer)
    total, n = 0.0, 0
    for ids, mask in map(chat.encode_trajectory, trajectories):
        labels = torch.tensor([i if m else -100 for i, m in zip(ids, mask, strict=True)])
        with torch.no_grad():
            logits = model(torch.tensor([ids])).logits[0, :-1]
        total += torch.nn.functional.cross_entropy(logits, labels[1:], reduction="sum").item()
        n += int((labels[1:] != -100).sum())
    return total / n


def test_options_that_contradict_each_other(tm: Tm, played: Path) -> None:
    for words, told in (
        (["--patience", "2"], b"--patience needs something held out; add --eval-share"),
        (["--eval-every", "2"], b"--eval-every needs something held out"),
        (["--full", "--adapter-only"], b"--full trains all weights: there is no adapter"),
        (["--full", "--adapter", "dora"], b"--full trains all weights, no dora"),
        (["--report-to", "tensorbord"], b"no tracker is named 'tensorbord'; did you mean 'tensorboard'?"),
    ):
        refused = tm("sft", str(played), *SMALL, *words, "-o", "x")
        assert refused.returncode == 2, words
        assert told in refused.stderr
    several = {"WORLD_SIZE": "2", "RANK": "0"}
    assert b"cannot read the same stdin" in tm("sft", "-", *SMALL, "-o", "x", env=several).stderr
    odd = tm("sft", str(played), *SMALL, "--batch-size", "3", "-o", "x", env=several)
    assert b"--batch-size 3 cannot be shared by 2 processes; try 2" in odd.stderr


def test_a_tracker_that_is_not_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    from tmcli.commands.options import training
    from tmcli.errors import UsageError

    monkeypatch.setitem(training.TRACKERS, "wandb", "no_such_package")
    with pytest.raises(UsageError, match="wandb is not installed; pip install no_such_package"):
        training.Watching(report_to="tensorboard,wandb").watch()


# ---- reported and shown -----------------------------------------------------------------------------------


def test_a_terminal_shows_a_curve_and_tensorboard_follows(played: Path, tmp_path: Path) -> None:
    words = [*SMALL, "--max-steps", "3", "--eval-share", "0.2", "--report-to", "tensorboard", "-o", "ckpt"]
    shown = on_terminal(["sft", str(played), *words], tmp_path)
    assert "loss by step" in shown
    assert "held out" in shown
    assert "tokens/s" in shown

    lines = [json.loads(row) for row in (tmp_path / "ckpt" / "metrics.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines if "loss" in line] == [1, 2, 3]
    assert (tmp_path / "ckpt" / "loss.png").read_bytes().startswith(b"\x89PNG")
    (events,) = (tmp_path / "ckpt" / "tensorboard").iterdir()
    told = scalars(events)
    for logged in ("loss", "eval_loss"):
        name = "eval/loss" if logged == "eval_loss" else "train/loss"
        due = {line["step"]: line[logged] for line in lines if logged in line}
        assert {step: value for (tag, step), value in told.items() if tag == name} == pytest.approx(due)


def on_terminal(words: list[str], cwd: Path) -> str:
    """What a person sees."""
    ours, theirs = pty.openpty()
    termios.tcsetwinsize(theirs, (24, 80))
    with subprocess.Popen(
        [sys.executable, "-m", "tmcli", *words],
        cwd=cwd,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=theirs,
        env=environment({"TERM": "xterm"}),
    ) as process:
        os.close(theirs)
        shown = b""
        while True:
            try:
                shown += os.read(ours, 1 << 16)
            except OSError:  # Linux says so when the other end is closed
                break
    os.close(ours)
    assert process.returncode == 0, shown.decode()
    return shown.decode()


def scalars(events: Path) -> dict[tuple[str, int], float]:
    """(name, step) -> value, of an event file: length, its checksum, the event, its checksum."""
    from tensorboardX.proto.event_pb2 import Event

    data, found = events.read_bytes(), {}
    while data:
        (size,) = struct.unpack_from("<Q", data)
        event = Event.FromString(data[12 : 12 + size])
        for value in event.summary.value:
            found[value.tag, event.step] = value.simple_value
        data = data[16 + size :]
    return found


def test_a_curve_needs_two_points() -> None:
    lines: list[dict[str, Any]] = [{"step": 1, "loss": 2.0}, {"step": 1, "eval_loss": math.nan}]
    assert curve_text(lines, 60) is None
    lines += [{"step": 2, "loss": 1.0}, {"step": 3, "loss": math.inf}]
    assert points(lines, "loss") == ([1.0, 2.0], [2.0, 1.0])
    text = curve_text(lines, 60)
    assert text is not None
    assert "\x1b" not in text
    assert max(map(len, text.splitlines())) <= 60


# ---- the model card ---------------------------------------------------------------------------------------


def finished(model: str, **options: Any) -> Run:
    return Run(
        step="sft",
        options={"model": model, "adapter_only": False, "key": "k", **options},
        versions={"tm": "1.0"},
        counts={"trained": 4},
        seconds=1.0,
        output="runs/ckpt/sft",
        metrics={"loss": 0.5, "tokens_per_second": 3.0},
    )


def test_the_card_is_one_of_the_hub(tmp_path: Path) -> None:
    for model, base in (
        ("Qwen/Qwen2.5-0.5B", "Qwen/Qwen2.5-0.5B"),
        ("smollm2", "HuggingFaceTB/SmolLM2-135M-Instruct"),
        ("tiny", None),
        (str(tmp_path), None),
    ):
        for adapter_only in (False, True):
            text = model_card(finished(model, adapter_only=adapter_only), picture=True)
            card = ModelCard(text)
            assert card.data.base_model == base
            assert card.data.library_name == ("peft" if adapter_only else "transformers")
            assert card.data.pipeline_tag == "text-generation"
            assert "arxiv:2601.12762" in card.data.tags
            assert "# sft" in card.text
            assert str(tmp_path) not in text
            assert "tm rollout --policy sft" in text
            assert "tokens per second" not in text  # the same card again


# ---- several processes ----------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize("size", [2, 4])
@pytest.mark.parametrize(
    "launcher", ["torchrun --nproc-per-node 2", "accelerate launch --multi_gpu --num_processes 2"]
)
def test_two_processes_are_one(launcher: str, size: int, played: Path, tmp_path: Path) -> None:
    """The batch is of all processes together, and the tail of a pass is no multiple of it."""
    (tmp_path / "t.jsonl").write_text("\n".join(played.read_text().splitlines()[:11]))
    words = (
        f"sft t.jsonl --model tiny --rank 4 --batch-size {size} --precision fp32 --epochs 2 --eval-share 0.1"
    )
    found = []
    for start, name in (("tm", "one"), (f"{launcher} -m tmcli", "two")):
        done = pipe(f"{start} {words} -o {name}", tmp_path, {"OMP_NUM_THREADS": "1"}, timeout=200)
        assert done.returncode == 0, done.stderr.decode()
        assert len(done.stdout.splitlines()) == 1
        found.append(
            [json.loads(row) for row in (tmp_path / name / "metrics.jsonl").read_text().splitlines()]
        )
    one, two = found
    assert len(one) == len(two)
    for ours, theirs in zip(one, two, strict=True):
        assert ours.keys() == theirs.keys()
        for key in ("loss", "eval_loss", "mean_token_accuracy", "eval_mean_token_accuracy", "grad_norm"):
            if key in ours:
                assert theirs[key] == pytest.approx(ours[key], rel=2e-3), (ours, theirs)
