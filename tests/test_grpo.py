"""The trainer of rl: TRL's loss from rows end to end, advantages by phase, and nothing learned but what was
sampled."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from conftest import environment
from datasets import Dataset
from hypothesis import given
from hypothesis import strategies as st
from peft import LoraConfig
from transformers import CONFIG_MAPPING, AutoModelForCausalLM, TrainerCallback, set_seed
from trl import GRPOConfig, GRPOTrainer

from tmcli import model as models
from tmcli.records import Trajectory
from tmcli.trainer import attention, logprobs
from tmcli.trainer.compass import Compass
from tmcli.trainer.grpo import Batch, Grpo
from tmcli.trainer.spans import phases, spans

NUMBERS = torch.Generator().manual_seed(0)


@pytest.fixture(autouse=True)
def _silence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRL_EXPERIMENTAL_SILENCE", "1")


def ids_of(n: int) -> list[int]:
    return torch.randint(3, 250, (n,), generator=NUMBERS).tolist()


PROMPTS = [ids_of(n) for n in (20, 33)]
LENGTHS = (9, 30, 1, 17, 140, 6, 12, 25)
COMPLETIONS = [ids_of(n) for n in LENGTHS]
MASKS = [[int(j % 11 < 6) for j in range(n)] for n in LENGTHS]
REWARDS: list[float | None] = [1.0, 0.2, None, 0.5, 0.0, 1.0, 0.3, 0.0]
PHASES = [[m * (1 + (j > 8)) for j, m in enumerate(mask)] for mask in MASKS]


class Fixed:
    """Rollouts that were played long ago: two groups of four."""

    def __init__(self) -> None:
        self.masks, self.completions = MASKS, COMPLETIONS
        self.logprobs: list[list[float]] | None = None
        self.rewards = REWARDS
        classes = [[-1] * n for n in LENGTHS]
        self.batch = Batch(rewards={"joint": REWARDS}, phases=PHASES, classes=classes)

    def __call__(self, prompts: list[str], trainer: Any) -> dict[str, Any]:
        assert prompts == ["0"] * 4 + ["1"] * 4
        return {
            "prompt_ids": [PROMPTS[int(prompt)] for prompt in prompts],
            "completion_ids": self.completions,
            "env_mask": self.masks,
            "logprobs": self.logprobs,
            "tm_reward": self.rewards,
        }


class Kept(TrainerCallback):  # type: ignore[misc]
    """The gradients of each step."""

    def __init__(self) -> None:
        self.steps: list[dict[str, torch.Tensor]] = []

    def on_pre_optimizer_step(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        named = kwargs["model"].named_parameters()
        self.steps.append({name: p.grad.clone() for name, p in named if p.grad is not None})


def reward(tm_reward: list[float | None], **_: Any) -> list[float | None]:
    return tm_reward


OURS = ("advantage", "auxiliary", "sampling_cap", "held_out")


def trained(
    kind: type,
    folder: Path,
    rollouts: Any = None,
    *,
    full: bool = False,
    model: Any = None,
    resume: str | None = None,
    **more: Any,
) -> tuple[Any, list[dict[str, Any]], Kept]:
    """(trainer, its log, its gradients) of some steps over the same episodes."""
    own = {name: more.pop(name) for name in OURS if name in more}
    usual = {
        "output_dir": str(folder),
        "max_steps": 2,
        "per_device_train_batch_size": 4,
        "gradient_accumulation_steps": 2,
        "num_generations": 4,
        "max_completion_length": 150,
        "learning_rate": 1e-2,
        "shuffle_dataset": False,
        "logging_steps": 1,
        "save_strategy": "no",
        "report_to": "none",
        "use_cpu": True,
        "bf16": False,
        "gradient_checkpointing": False,
        "disable_tqdm": True,
        "temperature": 0.9,
    }
    loaded, tokenizer = models.load("tiny", dtype=torch.float32)
    set_seed(0)
    rollouts = rollouts or Fixed()
    theirs = {"reward_funcs": [reward], "rollout_func": rollouts}
    ours = {"rollouts": rollouts, **own}
    kept = Kept()
    trainer = kind(
        model=model or loaded,
        args=GRPOConfig(**usual | more),
        train_dataset=Dataset.from_dict({"prompt": ["0", "1"]}),
        processing_class=tokenizer,
        peft_config=None if full else LoraConfig(r=4, lora_alpha=8, target_modules="all-linear"),
        callbacks=[kept],
        **(ours if issubclass(kind, Grpo) else theirs),
    )
    trainer.train(resume_from_checkpoint=resume)
    return trainer, [line for line in trainer.state.log_history if "loss" in line], kept


class Ordered(GRPOTrainer):  # type: ignore[misc]
    """TRL's own, but for the order in which a batch is cut into passes."""

    def _prepare_inputs(self, generation_batch: Any) -> Any:
        from unittest.mock import patch

        with patch("trl.trainer.grpo_trainer.shuffle_sequence_dict", lambda batch: batch):
            return super()._prepare_inputs(generation_batch)


def same(ours: Any, theirs: Any, rel: float = 2e-3) -> None:
    (_, mine, gradients), (_, others, expected) = ours, theirs
    assert len(mine) == len(others)
    for line, other in zip(mine, others, strict=True):
        left_out = ("step_time", "rewards/")
        names = [name for name in other if not name.startswith(left_out)]
        for name in names:
            if other[name] is None:
                assert line[name] is None, name
            else:
                assert line[name] == pytest.approx(other[name], rel=rel, abs=2e-5), name
    for one, other in zip(gradients.steps, expected.steps, strict=True):
        assert one.keys() == other.keys()
        scale = max(g.abs().max().item() for g in other.values())
        for name in other:
            torch.testing.assert_close(one[name], other[name], rtol=1e-2, atol=2e-3 * scale)


TWICE = {"num_iterations": 2}
LOSSES: list[dict[str, Any]] = [
    {"loss_type": "grpo"},
    {"loss_type": "cispo", "epsilon_high": 5.0},
    {"loss_type": "luspo", "importance_sampling_level": "sequence"},
    {"loss_type": "dapo", "num_iterations": 3, "max_steps": 4, "epsilon": 0.02, "epsilon_high": 0.05},
    {"loss_type": "dr_grpo", "steps_per_generation": 4, "per_device_train_batch_size": 2},
]
MORE_LOSSES: list[dict[str, Any]] = [
    {"loss_type": "bnpo"},
    {"loss_type": "sapo"},
    {"loss_type": "vespo", **TWICE},
    {"loss_type": "dapo", "beta": 0.1},
    {"loss_type": "grpo", "importance_sampling_level": "sequence", "scale_rewards": "batch", **TWICE},
    {"loss_type": "bnpo", "per_device_train_batch_size": 1, "gradient_accumulation_steps": 8},
    {"loss_type": "dr_grpo", "scale_rewards": "none", "top_entropy_quantile": 0.5},
]


@pytest.mark.parametrize(
    "more", [*LOSSES, *(pytest.param(more, marks=pytest.mark.slow) for more in MORE_LOSSES)], ids=str
)
def test_loss_gradients_and_metrics_are_trls(more: dict[str, Any], tmp_path: Path) -> None:
    same(trained(Grpo, tmp_path, **more), trained(Ordered, tmp_path, **more))


def test_rows_that_would_mix_are_padded(tmp_path: Path) -> None:
    def padded() -> Any:
        model, _ = models.load("tiny", dtype=torch.float32)
        model.set_attn_implementation("eager")
        return model

    more: dict[str, Any] = {"beta": 0.1, **TWICE}
    ours = trained(Grpo, tmp_path, model=padded(), **more)
    assert not ours[0].end_to_end
    same(ours, trained(Ordered, tmp_path, model=padded(), **more))


def test_all_weights_are_kept_near_where_they_were(tmp_path: Path) -> None:
    """A reference of their own: TRL loads it by its name, which an embedded model has none of."""
    folder = tmp_path / "base"
    model, tokenizer = models.load("tiny", dtype=torch.float32)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    more: dict[str, Any] = {"full": True, "beta": 0.5, "learning_rate": 1e-3, "max_steps": 3}
    ours = trained(Grpo, tmp_path, **more)
    named = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    same(ours, trained(Ordered, tmp_path, model=named, **more))
    assert ours[1][-1]["kl"] > 0


@pytest.mark.parametrize("more", [{"gradient_checkpointing": True}, {"bf16": True}], ids=str)
def test_ways_to_compute_change_no_loss(more: dict[str, Any], tmp_path: Path) -> None:
    rel = 5e-2 if "bf16" in more else 1e-5
    usual, other = (trained(Grpo, tmp_path, max_steps=1, **m)[1][0] for m in ({}, more))
    for name in ("loss", "grad_norm", "entropy"):
        assert other[name] == pytest.approx(usual[name], rel=rel, abs=1e-6), name


def test_a_group_of_equals_is_only_read(tmp_path: Path) -> None:
    """It teaches nothing, as with TRL, and costs no way back; momentum goes on."""
    equal, other = Fixed(), Fixed()
    half: list[float | None] = [0.5] * 4
    equal.rewards = other.rewards = half + REWARDS[4:]
    equal.batch = replace(equal.batch, rewards={"joint": equal.rewards})
    ours = trained(Grpo, tmp_path, equal)
    same(ours, trained(Ordered, tmp_path, other))
    assert ours[1][0]["frac_reward_zero_std"] == 0.5

    none = Fixed()
    none.batch = replace(none.batch, rewards={"joint": [None] * 4 + [0.5] * 4})
    _, log, kept = trained(Grpo, tmp_path, none)
    assert not any(g.any() for step in kept.steps for g in step.values())
    assert log[0]["entropy"] > 0


def by_hand(model: Any, advantages: torch.Tensor, temperature: float = 0.9) -> torch.Tensor:
    """DAPO's loss of all rows, each alone; advantages (8, C)."""
    total, n = torch.zeros(()), 0
    for i, completion in enumerate(COMPLETIONS):
        prompt = PROMPTS[i // 4]
        logits = model(torch.tensor([[*prompt, *completion]])).logits[0, len(prompt) - 1 : -1] / temperature
        logps = logits.log_softmax(-1).gather(1, torch.tensor(completion)[:, None])[:, 0]
        mask = torch.tensor(MASKS[i])
        total = total - (logps * mask * advantages[i, : len(completion)]).sum()
        n += int(mask.sum())
    return total / n


def gradients(loss: torch.Tensor, model: Any) -> dict[str, torch.Tensor]:
    model.zero_grad()
    loss.backward()  # type: ignore[no-untyped-call]
    return {name: p.grad.clone() for name, p in model.named_parameters()}


@pytest.mark.parametrize("advantage", ["joint", "split"])
def test_each_phase_learns_from_its_own_reward(advantage: str, tmp_path: Path) -> None:
    """Against a plain sum over sampled tokens, each row alone."""
    rollouts = Fixed()
    trial = [0.0, 1.0, None, 0.5, None, None, 1.0, None]
    rollouts.batch = replace(rollouts.batch, rewards={"joint": REWARDS, "trial": trial, "execution": REWARDS})
    _, _, kept = trained(
        Grpo, tmp_path, rollouts, advantage=advantage, full=True, max_steps=1, max_grad_norm=0
    )

    def normal(rewards: list[float | None]) -> np.ndarray[Any, Any]:
        out = []
        for group in (rewards[:4], rewards[4:]):
            valid = [r for r in group if r is not None]
            enough = len(valid) > 1
            mean, spread = (np.mean(valid), np.std(valid, ddof=1)) if enough else (0.0, 1.0)
            out += [0.0 if r is None or not enough else (r - mean) / (spread + 1e-4) for r in group]
        return np.array(out)

    found = np.zeros((8, max(LENGTHS)))
    for i, codes in enumerate(PHASES):
        for j, phase in enumerate(codes):
            which = REWARDS if advantage == "joint" or phase == 2 else trial
            found[i, j] = normal(which)[i] if phase else 0.0
    model, _ = models.load("tiny", dtype=torch.float32)
    due = gradients(by_hand(model, torch.tensor(found, dtype=torch.float32)), model)
    for name, gradient in kept.steps[0].items():
        torch.testing.assert_close(gradient, due[name], rtol=1e-3, atol=1e-5)


def test_only_what_was_sampled_is_learned_and_replies_are_in_context(tmp_path: Path) -> None:
    """A reply that changes changes what follows it; one that nothing follows changes nothing."""

    def learned(row: int = 0, place: int | None = None) -> list[torch.Tensor]:
        changed = Fixed()
        changed.completions = [list(completion) for completion in COMPLETIONS]
        if place is not None:
            assert not MASKS[row][place]
            changed.completions[row][place] += 1
        return list(trained(Grpo, tmp_path, changed, max_steps=1)[2].steps[0].values())

    def equal(one: list[torch.Tensor], other: list[torch.Tensor]) -> bool:
        return all(torch.equal(a, b) for a, b in zip(one, other, strict=True))

    plain, last = learned(), LENGTHS[4] - 1
    assert MASKS[4][last] == MASKS[4][last - 1] == 0  # the episode's last reply
    assert equal(plain, learned(4, last))
    assert not equal(plain, learned(4, 8))


def test_what_a_sampler_thinks_weighs_at_most_so_much(tmp_path: Path) -> None:
    seen: list[torch.Tensor] = []

    class Looking(Grpo):
        def _corrected(self, inputs: Any) -> torch.Tensor:
            seen.append(inputs["old_per_token_logps"] - inputs["sampling_per_token_logps"])
            weighed: torch.Tensor = super()._corrected(inputs)
            seen.append(weighed / inputs["advantages"][:, None])
            return weighed

    told = Fixed()
    told.logprobs = [[-5.0] * len(completion) for completion in COMPLETIONS]
    _, log, _ = trained(Looking, tmp_path, told, sampling_cap=1.5, max_steps=1)
    apart, ratio = seen[:2]
    learned = ratio.isfinite()  # the advantage is 0 elsewhere
    torch.testing.assert_close(ratio[learned], apart.exp().clamp(max=1.5)[learned])
    assert ratio[learned].max() == 1.5
    assert log[0]["sampling/logp_difference"] > 0


def test_metrics_are_summed_and_none_is_not_zero(tmp_path: Path) -> None:
    counted = Fixed()
    counted.batch = replace(counted.batch, sums={"calls": (6.0, 4.0), "seen/reward": (0.0, 0.0)})
    _, log, _ = trained(Grpo, tmp_path, counted, max_steps=1)
    assert log[0]["calls"] == 1.5
    assert log[0]["seen/reward"] is None
    valid = [r for r in REWARDS if r is not None]
    assert log[0]["reward"] == pytest.approx(sum(valid) / len(valid))


class Asks(TrainerCallback):  # type: ignore[misc]
    """Evaluates after each step."""

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        control.should_evaluate = True


def test_what_is_held_out_is_played_when_asked(tmp_path: Path) -> None:
    heard: list[Any] = []

    class Hears(Grpo):
        def __init__(self, **more: Any) -> None:
            super().__init__(**more)
            self.add_callback(Asks)

    trainer, _, _ = trained(Hears, tmp_path, held_out=lambda: heard.append(0) or {"outcome": 0.25})  # type: ignore[func-returns-value]
    assert len(heard) == 2
    told = [line["eval_outcome"] for line in trainer.state.log_history if "eval_outcome" in line]
    assert told == [0.25, 0.25]
    assert trainer.model.training


@pytest.mark.parametrize("updates", [1, 2])
def test_a_run_goes_on_as_it_would_have(updates: int, tmp_path: Path) -> None:
    more: dict[str, Any] = {
        "max_steps": 4,
        "num_iterations": updates,
        "save_strategy": "steps",
        "save_steps": 2,
    }
    model, _ = models.load("tiny", dtype=torch.float32)
    whole, log, _ = trained(Grpo, tmp_path, auxiliary=Compass(model, 2, 0.1), **more)
    assert not (tmp_path / "README.md").exists()
    left = str(tmp_path / "checkpoint-2")
    assert (Path(left) / "auxiliary.pt").exists()
    again, rest, _ = trained(Grpo, tmp_path, auxiliary=Compass(model, 2, 0.1, seed=9), resume=left, **more)
    for one, other in zip(whole.model.parameters(), again.model.parameters(), strict=True):
        assert torch.equal(one, other)
    times = ("step_time", "train_runtime")
    for mine, line in zip(rest, log[2:] if len(rest) == 2 else log, strict=True):
        assert {k: v for k, v in mine.items() if k not in times} == {
            k: v for k, v in line.items() if k not in times
        }


FAMILIES: dict[str, dict[str, Any]] = {
    "llama": {},
    "gemma3_text": {"sliding_window": 30, "sliding_window_pattern": 2, "query_pre_attn_scalar": 5},
    "granite": {"logits_scaling": 3.0},
    "mistral": {"sliding_window": 25},
}


@pytest.mark.parametrize("family", FAMILIES)
def test_shared_prompts_are_prompts_of_their_own(family: str) -> None:
    """Log-probs, entropies and gradients of rows end to end, the prompt once, are those of rows alone."""
    shape = {"vocab_size": 251, "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2}
    heads = {"num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 8, "pad_token_id": 0}
    set_seed(0)
    config = CONFIG_MAPPING[family](**shape, **heads, **FAMILIES[family])
    model = AutoModelForCausalLM.from_config(config, attn_implementation="sdpa").float()
    assert attention.keeps_rows_apart(model)
    prompts = [PROMPTS[0]] * 4 + [PROMPTS[1]] * 3 + [PROMPTS[0]]
    weights = torch.randn(8, max(LENGTHS), generator=torch.Generator().manual_seed(3))

    def plain() -> tuple[torch.Tensor, torch.Tensor]:
        logps, entropies = torch.zeros(8, max(LENGTHS)), torch.zeros(8, max(LENGTHS))
        for i, (prompt, completion) in enumerate(zip(prompts, COMPLETIONS, strict=True)):
            logits = model(torch.tensor([[*prompt, *completion]])).logits[0, len(prompt) - 1 : -1] / 0.7
            there, mask = torch.tensor(completion), torch.tensor(MASKS[i])
            p = logits.log_softmax(-1)
            logps[i, : len(there)] = p.gather(1, there[:, None])[:, 0] * mask
            entropies[i, : len(there)] = -(p.exp() * p).sum(-1) * mask
        return logps, entropies.detach()

    expected, sure = plain()
    due = gradients((expected * weights).sum(), model)
    logprobs.score_head(model)
    attention.use(model)
    laid = logprobs.lay(prompts, COMPLETIONS, MASKS)
    n_tokens = laid.inputs["input_ids"].shape[1]
    assert n_tokens < sum(map(len, PROMPTS)) + sum(LENGTHS)  # and what follows the last sampled token is not
    logps, entropies = logprobs.scored(model, laid, expected.shape, 0.7)
    torch.testing.assert_close(logps, expected, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(entropies, sure, rtol=1e-4, atol=1e-4)
    for name, gradient in gradients((logps * weights).sum(), model).items():
        torch.testing.assert_close(gradient, due[name], rtol=1e-3, atol=1e-3 * due[name].abs().max().item())


ids = st.lists(st.integers(3, 9), min_size=1, max_size=6)
episodes = st.lists(
    st.tuples(st.sampled_from([[3, 4], [5]]), ids.flatmap(lambda c: st.tuples(st.just(c), bits(len(c))))),
    min_size=1,
    max_size=6,
)


def bits(n: int) -> st.SearchStrategy[list[int]]:
    return st.lists(st.integers(0, 1), min_size=n, max_size=n)


@given(episodes)
def test_each_sampled_token_is_predicted_from_what_came_before(rows: Any) -> None:
    prompts, completions, masks = [r[0] for r in rows], [r[1][0] for r in rows], [r[1][1] for r in rows]
    laid = logprobs.lay(prompts, completions, masks)
    tokens = laid.inputs["input_ids"][0].tolist()
    positions, bounds = laid.inputs["position_ids"][0].tolist(), laid.inputs["cu_seq_lens_q"].tolist()
    parents = laid.inputs["row_parents"].tolist()
    assert len(tokens) == len(positions) == bounds[-1] <= sum(map(len, prompts + completions))

    def past(at: int) -> list[int]:
        """What the token there sees: its row, and the row that this goes on from."""
        row = next(i for i, end in enumerate(bounds[1:]) if at < end)
        parent = parents[row]
        before = [] if parent < 0 else tokens[bounds[parent] : bounds[parent + 1]]
        return [*before, *tokens[bounds[row] : at + 1]]

    found = sorted(zip(laid.rows.tolist(), laid.places.tolist(), strict=True))
    assert found == [(i, j) for i, mask in enumerate(masks) for j, m in enumerate(mask) if m]
    for n, (i, j) in enumerate(zip(laid.rows.tolist(), laid.places.tolist(), strict=True)):
        column, at = int(laid.columns[n]), int(laid.at[n])
        assert past(column) == [*prompts[i], *completions[i][:j]]
        assert past(at) == [*prompts[i], *completions[i][: j + 1]]
        assert positions[column] + 1 == positions[at] == len(prompts[i]) + j
        assert int(laid.targets[n]) == tokens[at] == completions[i][j]


def test_spans_are_the_turns() -> None:
    mask = [0, 0, 1, 1, 0, 1, 0, 0, 1]
    played = trajectory(mask, ["trial", "execution", "execution"])
    assert [(s.turn, s.phase, s.start, s.end) for s in spans(played)] == [
        (0, "trial", 2, 4),
        (1, "execution", 5, 6),
        (2, "execution", 8, 9),
    ]
    assert phases(played) == [0, 0, 1, 1, 0, 2, 0, 0, 2]
    assert phases(replace(played, tokens=None)) == []
    assert len(spans(trajectory(mask, ["trial"]))) == 1


def trajectory(mask: list[int], turns: list[str]) -> Trajectory:
    return Trajectory(
        id="t#0",
        task={},
        messages=[],
        tools=[],
        turns=[{"phase": phase, "state": "ok", "calls": []} for phase in turns],
        prediction=None,
        stop="answer",
        status="ok",
        failure=None,
        usage={},
        policy={},
        tokens={"ids": list(range(len(mask))), "mask": mask, "logprobs": [0.0] * len(mask)},
    )


def test_the_rate_rises_from_the_first_step_on(tmp_path: Path) -> None:
    warm = {"lr_scheduler_type": "constant_with_warmup", "warmup_steps": 2, "max_steps": 4}
    _, log, _ = trained(Grpo, tmp_path, Fixed(), **warm)
    rates = [line["learning_rate"] for line in log if "loss" in line]
    assert rates == pytest.approx([1e-2 / 3, 2e-2 / 3, 1e-2, 1e-2])


PROCESS = """
import json, os, sys
from pathlib import Path
os.environ["TRL_EXPERIMENTAL_SILENCE"] = "1"
import test_grpo
from tmcli.trainer.grpo import Grpo
folder = Path(sys.argv[1])
told = test_grpo.shared(folder, 2)
(folder / f"told-{os.environ['RANK']}.json").write_text(told)
"""


class Shared(Fixed):
    """Each of several processes plays its part of the batch."""

    def __call__(self, prompts: list[str], trainer: Any) -> dict[str, Any]:
        start = trainer.accelerator.process_index * len(prompts)
        mine = slice(start, start + len(prompts))
        rewards: Any = dict.fromkeys(("joint", "trial", "execution"), REWARDS[mine])
        sums = {"n": (float(len(prompts)) ** 2, float(len(prompts)))}
        self.batch = Batch(rewards, phases=PHASES[mine], sums=sums)
        return {
            "prompt_ids": [PROMPTS[int(prompt)] for prompt in prompts],
            "completion_ids": COMPLETIONS[mine],
            "env_mask": MASKS[mine],
            "logprobs": [[-4.0] * length for length in LENGTHS[mine]],
        }


def shared(folder: Path, n: int) -> str:
    """What a run of `n` processes logs, and where its weights end."""
    more: dict[str, Any] = {"loss_type": "dapo", "advantage": "split", "beta": 0.1, "max_steps": 4, **TWICE}
    more |= {"per_device_train_batch_size": 2, "gradient_accumulation_steps": 4 // n}
    trainer, log, _ = trained(Grpo, folder, Shared(), **more, ddp_find_unused_parameters=False)
    lines = [{name: line.get(name) for name in ("loss", "reward", "grad_norm")} for line in log]
    told = [log[0]["n"], log[0]["sampling/logp_difference"]]
    return json.dumps([lines, told, [p.double().sum().item() for p in trainer.model.parameters()]])


@pytest.mark.slow  # each of them loads torch
def test_two_processes_do_what_one_does(tmp_path: Path) -> None:
    lines, told, weights = json.loads(shared(tmp_path, 1))
    here = environment({"PYTHONPATH": str(Path(__file__).parent), "OMP_NUM_THREADS": "1"})
    run = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2", "--no-python"]
    words = [sys.executable, *run, sys.executable, "-c", PROCESS, str(tmp_path)]
    done = subprocess.run(words, capture_output=True, env=here, timeout=240, check=False)
    assert done.returncode == 0, done.stderr.decode()
    outputs = [json.loads((tmp_path / f"told-{rank}.json").read_text()) for rank in range(2)]
    for found, other, ends in outputs:
        for mine, line in zip(found, lines, strict=True):
            for name, value in line.items():
                assert mine[name] == (value if value is None else pytest.approx(value, rel=1e-3, abs=1e-5))
        assert ends == pytest.approx(weights, rel=1e-3, abs=1e-3)
        assert other[0] == 4  # (16 + 16) / (4 + 4), not 64 / 8
        assert other[1] == pytest.approx(told[1], rel=1e-4)
