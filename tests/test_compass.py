"""ToolCompass's losses against NumPy, its prototypes, and what becomes of them in processes and on resume."""

from __future__ import annotations

import io
import json
import math
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from conftest import Tm, environment
from hypothesis import example, given, settings
from hypothesis import strategies as st
from peft import get_peft_model
from safetensors.torch import load_file
from test_grpo import COMPLETIONS, MASKS, PROMPTS, Fixed, trained
from transformers import LlamaConfig

from tmcli import model as models
from tmcli import toolbox
from tmcli.trainer import attention, lora
from tmcli.trainer.compass import DIMENSION, MEMORY, SEPARATION, TEMPERATURE, Compass, tapped
from tmcli.trainer.grpo import Grpo

WIDTH, N_CLASSES = 24, 5


class Shaped:
    """As much of a model as `Compass` looks at."""

    def __init__(self, n_layers: int = 4) -> None:
        self.config = LlamaConfig(hidden_size=WIDTH, num_hidden_layers=n_layers, num_attention_heads=4)


def compass(seed: int = 0, known: tuple[int, ...] = ()) -> Compass:
    """One in fp64, with prototypes of some classes."""
    made = Compass(Shaped(), N_CLASSES, 0.1, seed=seed).double()
    random = torch.Generator().manual_seed(seed)
    for k in known:
        made.prototypes[k] = torch.nn.functional.normalize(torch.randn(DIMENSION, generator=random), dim=0)
        made.known[k] = True
    return made


def batch(classes: list[int], seed: int = 1) -> tuple[torch.Tensor, torch.Tensor]:
    random = torch.Generator().manual_seed(seed)
    hidden = torch.randn(len(classes), WIDTH, generator=random, dtype=torch.float64)
    return hidden.requires_grad_(), torch.tensor(classes, dtype=torch.long)


# ---- the formulas, call by call ------------------------------------------------------------------


def by_hand(
    weight: np.ndarray, hidden: np.ndarray, classes: list[int], prototypes: dict[int, np.ndarray]
) -> tuple[float, float]:
    """(L_var, L_sep) as they are written, with loops. A class without a prototype has zbar for one."""
    z = {}
    for i, c in enumerate(classes):
        if c >= 0:
            g = weight @ hidden[i]
            z[i] = g / math.sqrt(sum(g * g))
    if not z:
        return 0.0, 0.0
    zbar = {}
    for k in set(classes) - {-1}:
        total = sum(z[i] for i in z if classes[i] == k)
        zbar[k] = total / math.sqrt(sum(total * total))
    mu = {**zbar, **prototypes}
    variation = 0.0
    for i, one in z.items():
        parts = {k: math.exp(float(mu[k] @ one) / TEMPERATURE) for k in mu}
        variation -= math.log(parts[classes[i]] / sum(parts.values())) / len(z)
    separation = 0.0
    for k, here in zbar.items():
        others = [math.exp(float(here @ mu[j]) / TEMPERATURE) for j in mu if j != k]
        if others:
            separation += math.log(sum(others) / len(others)) / len(zbar)
    return variation, separation


def known_to(made: Compass) -> dict[int, np.ndarray]:
    return {k: made.prototypes[k].numpy() for k in range(N_CLASSES) if made.known[k]}


@settings(max_examples=60)
@given(
    classes=st.lists(st.integers(-1, N_CLASSES - 1), min_size=1, max_size=12),
    known=st.sets(st.integers(0, N_CLASSES - 1)),
    seed=st.integers(0, 99),
)
@example(classes=[-1, -1], known=set(), seed=0)  # no call at all
@example(classes=[-1, 2, 2], known=set(), seed=0)  # one class, for the first time
@example(classes=[2, 2], known={2}, seed=0)  # one class alone
@example(classes=[2, 2], known={0, 2, 4}, seed=0)  # others are known but absent
@example(classes=[0, 1, -1, 3], known={4}, seed=0)  # known and new ones
def test_losses_are_the_formulas(classes: list[int], known: set[int], seed: int) -> None:
    made = compass(seed, tuple(sorted(known)))
    hidden, c = batch(classes, seed)
    weight = made.head.weight.detach().numpy()
    variation, separation = by_hand(weight, hidden.detach().numpy(), classes, known_to(made))
    loss = made.loss(hidden, c)
    assert loss.item() == pytest.approx(variation + SEPARATION * separation, abs=1e-9)
    n = sum(value >= 0 for value in classes)
    measured = made.sums_since()
    assert set(made.sums_since().values()) == {(0.0, 0.0)}
    if n:
        total, count = measured["compass/variation"]
        assert (total / count, count) == (pytest.approx(variation), n)
        assert measured["compass/separation"][0] / n == pytest.approx(separation, abs=1e-9)
    loss.backward()  # there is always a gradient, and it is a number
    assert made.head.weight.grad is not None
    assert made.head.weight.grad.isfinite().all()
    assert (hidden.grad is None) == (n == 0)


def test_gradients_are_those_of_the_formulas() -> None:
    """By finite differences of the NumPy loss, with respect to head and hidden states. Prototypes, the new
    ones too, are constants: they stay where they were while the rest is moved."""
    classes = [0, 1, -1, 1, 3, 0, -1]
    made = compass(3, (0, 3, 4))
    hidden, c = batch(classes, 3)
    made.loss(hidden, c).backward()
    weight, states = made.head.weight.detach().numpy().copy(), hidden.detach().numpy().copy()
    z = (states[[1, 3]] @ weight.T) / np.linalg.norm(states[[1, 3]] @ weight.T, axis=1, keepdims=True)
    first = z.sum(0) / np.linalg.norm(z.sum(0))
    fixed = {**known_to(made), 1: first}

    def loss() -> float:
        variation, separation = by_hand(weight, states, classes, fixed)
        return variation + SEPARATION * separation

    random = np.random.default_rng(0)
    assert made.head.weight.grad is not None
    assert hidden.grad is not None
    for values, gradient in ((weight, made.head.weight.grad), (states, hidden.grad)):
        for _ in range(40):
            place = tuple(random.integers(0, n) for n in values.shape)
            was = values[place]
            values[place] = was + 1e-5
            above = loss()
            values[place] = was - 1e-5
            below = loss()
            values[place] = was
            assert float(gradient[place]) == pytest.approx((above - below) / 2e-5, abs=1e-8, rel=1e-5)
    assert not hidden.grad[[2, 6]].any()  # no call ends there


def test_prototypes_move_once_a_step_towards_its_calls() -> None:
    made = compass(0, (0, 1))
    before = made.prototypes.clone()
    passes = [batch([0, 2, -1, 2], 5), batch([0, -1], 6)]
    for hidden, c in passes:
        made.loss(hidden, c)
    assert torch.equal(made.prototypes, before)  # constants until the step
    z = {
        i: torch.nn.functional.normalize(made.head(hidden.detach()), dim=-1).detach()
        for i, (hidden, _) in enumerate(passes)
    }
    made.step()
    direction = torch.nn.functional.normalize(z[0][0] + z[1][0], dim=0)
    due = torch.nn.functional.normalize(MEMORY * before[0] + (1 - MEMORY) * direction, dim=0)
    torch.testing.assert_close(made.prototypes[0], due)
    torch.testing.assert_close(made.prototypes[1], before[1])  # without calls it stays
    torch.testing.assert_close(made.prototypes[2], torch.nn.functional.normalize(z[0][1] + z[0][3], dim=0))
    assert made.known.tolist() == [True, True, True, False, False]
    after = made.prototypes.clone()
    made.step()
    assert torch.equal(made.prototypes, after)  # a step without calls moves nothing
    assert torch.equal(after.norm(dim=-1) > 0.999, made.known)


def test_bf16_states_under_autocast_are_judged_in_fp32() -> None:
    made = Compass(Shaped(), N_CLASSES, 0.1)
    hidden, c = batch([0, 1, 2, 1])
    plain = made.loss(hidden.detach().bfloat16().float(), c)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        loss = made.loss(hidden.detach().bfloat16(), c)
    assert loss.dtype == torch.float32
    torch.testing.assert_close(loss, plain)


# ---- where it looks ------------------------------------------------------------------------------


@pytest.mark.parametrize(("n_layers", "layer"), [(1, 1), (2, 1), (4, 1), (30, 8), (32, 8), (36, 9), (64, 16)])
def test_the_layer_is_the_papers_part_of_the_model(n_layers: int, layer: int) -> None:
    assert Compass(Shaped(n_layers), 2, 0.1).layer == layer
    assert Compass(Shaped(n_layers), 2, 0.1, layer=1).layer == 1


@pytest.mark.parametrize("adapted", [False, True])
def test_the_tap_has_the_hidden_states_of_the_pass(adapted: bool) -> None:
    model, _ = models.load("tiny", dtype=torch.float32)
    ids = torch.arange(5, 25).reshape(2, 10)
    due = model(ids, output_hidden_states=True).hidden_states
    if adapted:
        model = get_peft_model(model, lora(4))  # its B is zero: the same states
    for layer in (1, 2):
        with tapped(model, layer) as tap:
            model(ids)
        if layer < 2:  # the last of transformers' list is behind the norm
            torch.testing.assert_close(tap.hidden, due[layer].flatten(0, 1))
        assert tap.hidden.shape == (20, 64)
        assert tap.hidden.requires_grad
    kept = tap.hidden
    model(ids)
    assert tap.hidden is kept  # outside of it nothing is kept


# ---- in the trainer ------------------------------------------------------------------------------


CLASSES = [[k % 3 if m and j % 11 == 5 else -1 for j, m in enumerate(mask)] for k, mask in enumerate(MASKS)]


class Calling(Fixed):
    """Episodes with calls, and nothing to learn from their rewards: what is left is the compass's."""

    def __init__(self) -> None:
        super().__init__()
        self.batch = replace(self.batch, rewards={"joint": [1.0] * 8}, classes=CLASSES)


@pytest.mark.parametrize(
    ("end_to_end", "more"),
    [(True, {}), (False, {}), (True, {"gradient_checkpointing": True}), (True, {"num_iterations": 2})],
)
def test_the_trainer_learns_its_gradient_and_no_more(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, end_to_end: bool, more: dict[str, Any]
) -> None:
    """Rows end to end or padded, with activations computed again, against rows that go one by one."""
    model, _ = models.load("tiny", dtype=torch.float32)
    made = Compass(model, 3, 0.5)
    assert made.layer == 1
    for start in (0, 4):  # the passes of the first step
        hidden, classes = [], []
        for i in range(start, start + 4):
            prompt = PROMPTS[i // 4]
            with tapped(model, made.layer) as tap:
                model(torch.tensor([[*prompt, *COMPLETIONS[i]]]))
            hidden.append(tap.hidden)
            classes += [-1] * len(prompt) + CLASSES[i]
        (made.weight * made.loss(torch.cat(hidden), torch.tensor(classes)) / 2).backward()
    due = {name: p.grad for name, p in model.named_parameters() if p.grad is not None and p.grad.any()}
    assert due
    assert not any("layers.1" in name for name in due)

    monkeypatch.setattr(attention, "keeps_rows_apart", lambda model: end_to_end)
    used = Compass(model, 3, 0.5)
    trainer, log, kept = trained(
        Grpo, tmp_path, Calling(), full=True, auxiliary=used, max_grad_norm=0, **more
    )
    for name, gradient in kept.steps[0].items():
        torch.testing.assert_close(gradient, due.get(name, torch.zeros_like(gradient)), rtol=1e-3, atol=1e-6)
    assert not any(used.sums.flatten())
    assert used.known.all()
    assert not torch.equal(used.head.weight, made.head.weight)  # the optimizer moves it too
    assert all(line["compass/variation"] > 0 and 0 <= line["compass/accuracy"] <= 1 for line in log)
    plain = models.load("tiny", dtype=torch.float32)[0].state_dict().keys()
    assert trainer.model.state_dict().keys() == plain  # none of it is saved


FEW = "--steps 1 --prompts-per-step 2 --group-size 2 --batch-size 2 --max-turns 2 --max-new-tokens 8".split()
SAMPLES = ["--samples-every", "1"]


@pytest.mark.slow
def test_as_a_user_asks_for_it(tm: Tm, tmp_path: Path) -> None:
    tasks = tm("tasks", "--suite", "train", "-n", "2", "--drift", "rename").stdout
    (tmp_path / "tasks.jsonl").write_bytes(tasks)
    names = sorted(toolbox.load("library").names + toolbox.load("bank").names + toolbox.load("parcels").names)
    words = {name: f"zz{i % 3}class" for i, name in enumerate(names)}
    (tmp_path / "classes.json").write_text(json.dumps(words))
    compass = ["--compass", "0.5", "--function-classes", "classes.json"]
    ran = tm(
        "rl", "--policy", "tiny", "--tasks", "tasks.jsonl", "-o", "out", *FEW, *SAMPLES, *compass, timeout=200
    )
    assert ran.returncode == 0, ran.stderr
    assert b'"zz0class"' in ran.stdout  # the run record says what was asked for
    samples = (tmp_path / "out" / "samples.jsonl").read_bytes()
    assert samples
    assert b"zz0class" not in samples  # no model was told
    assert not list((tmp_path / "out").glob("*auxiliary*"))
    kept = load_file(tmp_path / "out" / "model.safetensors")
    assert not [name for name in kept if "head" in name and "lm_head" not in name]

    (tmp_path / "classes.json").write_text('{"nobody": "search"}')
    ran = tm("rl", "--policy", "tiny", "--tasks", "tasks.jsonl", "-o", "other", *FEW, *compass)
    assert ran.returncode == 2
    assert b"no tool of the tasks has a function class; say what they do: --function-classes" in ran.stderr


# ---- steps, processes, resume --------------------------------------------------------------------


def steps(made: Compass, n: int, first: int = 0, ranks: tuple[int, ...] = (0, 1)) -> list[float]:
    """Optimizer steps over passes of their own, one a rank: losses."""
    optimizer = torch.optim.AdamW(made.parameters(), lr=1e-2)
    made.follow(optimizer)
    losses = []
    for step in range(first, first + n):
        optimizer.zero_grad()
        for rank in ranks:
            # the second rank has no calls in its first pass
            classes = [-1, -1] if (step, rank) == (0, 1) else [(step + rank) % 3, -1, (step + 1) % 3, 3]
            hidden, c = batch(classes, 10 * step + rank)
            loss = made.loss(hidden, c) / len(ranks)
            loss.backward()
            losses.append(float(loss.detach()) * len(ranks))
        optimizer.step()
    return losses


def test_the_loss_falls() -> None:
    made = compass()
    hidden, c = batch([0, 0, 1, 1, 2, 2, -1])
    optimizer = torch.optim.AdamW(made.parameters(), lr=1e-2)
    made.follow(optimizer)
    losses = []
    for _ in range(30):
        optimizer.zero_grad()
        loss = made.loss(hidden, c)
        loss.backward()
        optimizer.step()
        losses.append(float(loss.detach()))
    assert losses[-1] < 0.5 * losses[0]
    assert made.sums_since()["compass/accuracy"] == (180, 180)


def test_the_same_seed_makes_the_same_head() -> None:
    first, second, other = (Compass(Shaped(), 3, 0.1, seed=seed).head.weight for seed in (1, 1, 2))
    assert torch.equal(first, second)
    assert not torch.equal(first, other)


def test_it_goes_on_from_its_state() -> None:
    """Through a file that is read without running code; what is saved is what steps depend on."""
    whole = compass()
    steps(whole, 2)
    file = io.BytesIO()
    torch.save(whole.state_dict(), file)
    file.seek(0)
    again = compass(seed=7)
    again.load_state_dict(torch.load(file, weights_only=True))
    assert steps(again, 2, first=2) == steps(whole, 2, first=2)
    assert torch.equal(again.prototypes, whole.prototypes)
    assert set(whole.state_dict()) == {"head.weight", "prototypes", "known"}


PROCESS = """
import json, sys
import torch
from test_compass import compass, steps
place, rank = sys.argv[1], int(sys.argv[2])
torch.distributed.init_process_group("gloo", init_method=f"file://{place}", rank=rank, world_size=2)
made = compass()
losses = steps(made, 4, ranks=(rank,))
print(json.dumps([losses, made.prototypes.tolist(), made.head.weight.tolist()]))
torch.distributed.destroy_process_group()
"""


@pytest.mark.slow  # each of them loads torch
def test_two_processes_do_what_one_does(tmp_path: Path) -> None:
    alone = compass()
    losses = steps(alone, 4)
    here = environment({"PYTHONPATH": str(Path(__file__).parent), "OMP_NUM_THREADS": "1"})
    words = [sys.executable, "-c", PROCESS, str(tmp_path / "meet")]
    started = [
        subprocess.Popen([*words, str(rank)], stdout=subprocess.PIPE, env=here, cwd=Path(__file__).parents[1])
        for rank in range(2)
    ]
    outputs = [process.communicate(timeout=120)[0] for process in started]
    assert [process.returncode for process in started] == [0, 0]
    for rank, output in enumerate(outputs):
        said, prototypes, weight = json.loads(output)
        assert said == pytest.approx(losses[rank::2])
        torch.testing.assert_close(torch.tensor(prototypes).double(), alone.prototypes)
        torch.testing.assert_close(torch.tensor(weight).double(), alone.head.weight.detach())
