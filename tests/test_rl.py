"""rl for real, on the tiny model: what is played, handed to the trainer, counted and written."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from itertools import count
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from conftest import Tm
from engines import Engine

from tmcli import model as models
from tmcli import suites
from tmcli.chat import Chat
from tmcli.commands.options.reinforcing import Aim, Batches, Examining
from tmcli.commands.options.training import Weights
from tmcli.curriculum import Curriculum
from tmcli.episode import Limits
from tmcli.errors import OutputError, UsageError
from tmcli.policies import Sampling
from tmcli.policies.local import Local
from tmcli.records import Task, Trajectory
from tmcli.runner import Runner
from tmcli.score import DEFAULT_WEIGHTS
from tmcli.steps.rl import RlOptions, Watch, rl
from tmcli.trainer.rollouts import Rollouts, teaches, valid
from tmcli.trainer.samples import Samples
from tmcli.trainer.tally import Tally

OPTIONS = RlOptions(
    policy="tiny",
    steps=2,
    prompts_per_step=2,
    group_size=4,
    batch_size=2,
    rank=4,
    max_turns=2,
    max_new_tokens=60,
    reward={"outcome": 1.0, "length": -1.0},  # some of its turns end, and others are cut
)
SMALL = (
    "rl --policy tiny --rank 4 --precision fp32 --prompts-per-step 2 --group-size 4 --batch-size 2"
    " --max-turns 2 --max-new-tokens 60 --reward outcome=1,length=-1"
).split()


class Kept(Rollouts):
    """The real rollouts, with what was played kept."""

    def _play(self, *args: Any) -> list[Trajectory]:
        played = super()._play(*args)
        self.seen = [*getattr(self, "seen", []), *played]
        return played


@contextmanager
def rollouts(options: RlOptions = OPTIONS, tasks: Sequence[Task] = (), **more: Any) -> Iterator[Kept]:
    model, tokenizer = models.load("tiny", dtype=torch.float32)
    chat = Chat(tokenizer)
    policy = Local("tiny", model, chat, Sampling(1.0, 1.0, options.max_new_tokens, options.seed))
    curriculum = Curriculum(tasks or suites.suite("train", 4), options.n_groups, options.seed)
    limits = Limits(max_turns=options.max_turns, max_tokens=options.max_tokens)
    with Runner(policy, limits, concurrency=8) as runner:
        yield Kept(curriculum, runner, chat.turn_end_id, options, **more)


def trainer(process: int = 0, step: int = 0) -> Any:
    """What of a trainer the rollouts look at."""
    return SimpleNamespace(
        accelerator=SimpleNamespace(process_index=process), state=SimpleNamespace(global_step=step)
    )


PROMPTS = ["0"] * 4 + ["1"] * 4


def test_episodes_are_handed_over_as_they_were_played() -> None:
    with rollouts() as play:
        output = play(PROMPTS, trainer())
    assert [t.id.split("#")[1] for t in play.seen] == ["0", "1", "2", "3"] * 2
    assert len({t.task["id"] for t in play.seen}) == 2
    assert output["prompt_ids"][0] == output["prompt_ids"][3]  # a group's members lie side by side
    assert output["prompt_ids"][3] != output["prompt_ids"][4]
    assert output["completion_ids"][0] != output["completion_ids"][1]
    rows = zip(play.seen, *(output[name] for name in output), play.batch.phases, strict=True)
    for trajectory, prompt, completion, mask, logprobs, phases in rows:
        assert trajectory.tokens is not None
        assert prompt + completion == trajectory.tokens["ids"]
        assert [0] * len(prompt) + mask == trajectory.tokens["mask"]
        assert [0.0] * len(prompt) + logprobs == trajectory.tokens["logprobs"]
        assert [phase > 0 for phase in phases] == [bool(one) for one in mask]
    assert play.batch.rewards["joint"] == [t.reward for t in play.seen]
    assert len(set(play.batch.rewards["joint"])) > 1
    assert play.batch.sums["groups/equal"][1] == play.batch.sums["groups/skipped"][1] == 2
    assert play.batch.sums["reward/length"][1] == 8


def test_the_same_batch_is_played_again_and_by_any_process() -> None:
    with rollouts() as play:
        whole = play(PROMPTS, trainer())
        again = play(PROMPTS, trainer())
        part = play(PROMPTS[:3], trainer())
        second = play(["1"] * 4, trainer(process=1))
        other = play(["2"] * 4, trainer())
    assert whole == again
    for name in ("prompt_ids", "completion_ids", "env_mask"):  # log-probs differ by what runs beside
        assert part[name] == whole[name][:3]
        assert second[name] == whole[name][4:]
    assert other["completion_ids"] != whole["completion_ids"][:4]


def test_none_is_not_zero() -> None:
    """What nobody can judge leaves its group and carries no loss."""
    first, second = suites.suite("train", 2)
    dumb = replace(first, answer=[], subgoals=None, id="dumb")
    with rollouts(tasks=[dumb, second]) as play:
        output = play(PROMPTS, trainer())
    judged = [t.task["id"] != "dumb" for t in play.seen]
    assert sorted(judged) == [False] * 4 + [True] * 4
    assert [reward is not None for reward in play.batch.rewards["joint"]] == judged
    assert [any(mask) for mask in output["env_mask"]] == judged
    sums = play.batch.sums
    assert sums["groups/skipped"] == (1.0, 2.0)
    assert sums["episodes/no_reward"] == (4.0, 8.0)
    assert sums["reward/outcome"][1] == 4


def test_groups_that_teach_nothing_are_played_again() -> None:
    """With other tasks, a bounded number of times; and no episode comes twice."""
    options = replace(OPTIONS, reward={"guess": 1.0}, dynamic_sampling=2)  # the tiny model calls no tool
    with rollouts(options) as play:
        play(PROMPTS, trainer())
    ids = [t.id for t in play.seen]
    assert len(ids) == len(set(ids)) == 8 * 3
    assert play.batch.sums["groups/resampled"] == (4.0, 2.0)
    assert play.batch.sums["groups/equal"] == (2.0, 2.0)
    assert play.batch.sums["episodes/turns"][1] == 24
    with rollouts(replace(options, reward=OPTIONS.reward)) as play:
        play(PROMPTS, trainer())
    resampled = play.batch.sums["groups/resampled"][0]
    assert len(play.seen) == 8 + 4 * resampled < 24


def test_what_teaches() -> None:
    def group(*rewards: float | None) -> list[dict[str, float | None]]:
        return [{"joint": reward} for reward in rewards]

    assert teaches(group(0.0, 1.0, None))
    assert not teaches(group(1.0, 1.0, None))
    assert not teaches(group(None, None))
    assert not teaches(group(None, 1.0))
    assert valid(group(None, 1.0, 0.0)) == 2
    apart = [{"joint": 1.0, "trial": 0.5, "execution": 0.5}, {"joint": 1.0, "trial": 0.1, "execution": None}]
    assert teaches(apart)  # type: ignore[arg-type]


def test_truncated_episodes_may_carry_no_loss() -> None:
    with rollouts(replace(OPTIONS, mask_truncated=True)) as play:
        output = play(PROMPTS, trainer())
    cut = [t.stop in ("length", "max_turns") for t in play.seen]
    assert True in cut
    assert False in cut
    assert [not any(mask) for mask in output["env_mask"]] == cut
    assert None not in play.batch.rewards["joint"]  # they stay in the baseline


def test_split_rewards_by_phase() -> None:
    with rollouts(replace(OPTIONS, advantage="split")) as play:
        play(PROMPTS, trainer())
    assert set(play.batch.rewards) == {"joint", "trial", "execution"}
    for trajectory, trial in zip(play.seen, play.batch.rewards["trial"], strict=True):
        assert (trial is not None) == any(turn["phase"] == "trial" for turn in trajectory.turns)


def test_samples_can_be_shown(tm: Tm, tmp_path: Path) -> None:
    with rollouts(samples=Samples(tmp_path, 2, 4)) as play:
        for step in range(5):
            play(PROMPTS, trainer(step=step))
    lines = [json.loads(line) for line in (tmp_path / "samples.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines] == [1] * 4 + [2] * 4 + [4] * 4
    assert [line["id"] for line in lines[:4]] == [t.id for t in play.seen[:4]]
    assert tm("show", "samples.jsonl").returncode == 0
    Samples(tmp_path, 2, 4, resumed_at=3)
    kept = [json.loads(line)["step"] for line in (tmp_path / "samples.jsonl").read_text().splitlines()]
    assert kept == [1] * 4 + [2] * 4


def test_a_tally_never_takes_none_for_zero() -> None:
    tally = Tally()
    tally.add("a", None)
    tally.add("b", 1.0)
    tally.add("b", None)
    tally.add("b", 2.0, 3)
    assert tally.means() == {"a": None, "b": 0.75}


def test_rl_writes_a_checkpoint_that_plays(tm: Tm, tmp_path: Path) -> None:
    words = "--tasks train -n 4 --drift none@0.5,stale --steps 2 --record calls.jsonl -o ckpt"
    more = "--eval-tasks unseen --eval-n 2 --updates 2 --loss grpo --beta 0.01 --dynamic-sampling 1"
    done = tm(*SMALL, *words.split(), *more.split(), timeout=120)
    assert done.returncode == 0, done.stderr.decode()
    run = json.loads(done.stdout)
    assert run["step"] == "rl"
    counts = run["counts"]
    assert (counts["steps"], counts["groups"], counts["tasks"], counts["tasks_held_out"]) == (2, 2, 4, 2)
    assert counts["episodes"] == 8 + 4 * counts["groups_resampled"]
    lines = [json.loads(line) for line in (tmp_path / "ckpt" / "metrics.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines if "loss" in line] == [1, 2]
    first = lines[1]
    for name in (
        "reward reward/outcome reward/format reward/length trials/made calls/made calls/error_rate kl entropy"
        " episodes/turns episodes/no_reward groups/equal groups/skipped groups/resampled clip_ratio/low_mean"
        " turns/invalid_rate generation/tokens_per_second generation/seconds update/seconds seen/outcome"
    ).split():
        assert name in first, name
    assert first["grad_norm"] > 0
    assert first["calls/made"] == 0
    assert first["calls/error_rate"] is None  # of no call: unknown, not 0
    evaluated = [line for line in lines if "eval_outcome" in line]
    assert [line["step"] for line in evaluated] == [0, 2]  # what it began with, and what came of it
    assert all("eval_unseen/outcome" in line for line in evaluated)
    assert run["metrics"]["eval_outcome_before"] == 0
    assert b"no more was solved of what is held out than before training: 0, 0" in done.stderr
    assert run["metrics"]["best_step"] == 2
    card = (tmp_path / "ckpt" / "README.md").read_text()
    assert "played by the model itself (GRPO)" in card
    assert (tmp_path / "ckpt" / "reward.png").exists()
    assert b"outcome" in done.stderr
    played = tm(*"rollout --policy ckpt --tasks unseen -n 1 --max-turns 1 --max-new-tokens 8".split())
    assert played.returncode == 0, played.stderr.decode()
    trajectory = json.loads(played.stdout)
    assert trajectory["policy"]["sampling"]["weights"] == run["options"]["key"]


def test_a_server_plays_with_the_weights_of_the_step(tmp_path: Path) -> None:
    options = replace(OPTIONS, precision="fp32", learning_rate=1e-2, steps=3)
    tasks = list(suites.suite("train", 2))
    model, tokenizer = models.load("tiny", dtype=torch.float32)
    chat = Chat(tokenizer)
    with Engine("vllm", model, chat.tokenizer, "tiny") as engine:
        watch = Watch(server=engine.url, samples_every=1)
        run = rl(tasks, tmp_path / "ckpt", options, watch)
    lines = [json.loads(line) for line in (tmp_path / "ckpt" / "metrics.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines] == [1, 2, 3]
    assert any(line["grad_norm"] > 0 for line in lines[:2])
    assert all(line["sampling/logp_difference"] < 1e-5 for line in lines)  # or its weights were others
    assert run.counts["episodes_without_reward"] == 0
    assert not (tmp_path / "ckpt" / "served").exists()


def test_an_endless_stream_of_tasks(tmp_path: Path) -> None:
    """So many are taken as the run may need, and no more is waited for."""
    task = next(suites.suite("train", 1))
    taken = []

    def endless() -> Iterator[Task]:
        for i in count():
            taken.append(i)
            yield replace(task, id=str(i))

    for steps, due in ((1, 10_000), (6_000, 12_000)):
        taken.clear()
        with pytest.raises(OutputError, match="exists already"):  # the last thing before work begins
            rl(endless(), tmp_path, replace(OPTIONS, steps=steps))
        assert len(taken) == due


def test_bad_input_is_one_sentence(tm: Tm, tmp_path: Path) -> None:
    (tmp_path / "none.jsonl").write_bytes(b"")
    for words, said in (
        ("--policy tiny --tasks none.jsonl", b"no tasks"),
        ("--policy tiny --tasks unsene", b"did you mean 'unseen'"),
        ("--policy tiny --reward anser=1", b"answer"),
        ("--policy ./nowhere", b"nowhere"),
        ("--policy tiny --curriculum drfit", b"did you mean 'drift'"),
        ("--policy tiny --patience 2", b"--patience needs something held out"),
        ("--policy tiny --patience 2 --eval-tasks none.jsonl", b"no tasks in --eval-tasks"),
        ("--policy tiny --tasks - --eval-tasks -", b"cannot both read stdin"),
        ("--policy scripted", b"scripted has no weights here"),
        ("--policy m@http://127.0.0.1:1/v1", b"a server's model has no weights here"),
        ("--policy tiny --server localhost:8000", b"address cannot be read"),
        ("--policy tiny --server http://127.0.0.1:1 --adapter dora", b"load no DoRA adapter"),
        ("--policy tiny --temperature inf", b"less than or equal to 100"),
        ("--policy tiny --seed -1", b"--seed"),
    ):
        failed = tm("rl", *words.split(), "-o", "ckpt")
        assert failed.returncode == 2, (words, failed.stderr)
        assert said in failed.stderr, (words, failed.stderr)
        assert not list(tmp_path.glob("ckpt*"))
    (tmp_path / "ckpt").mkdir()
    (tmp_path / "above").mkdir()
    (tmp_path / "above" / "adapter_config.json").write_text('{"base_model_name_or_path": "ckpt"}')
    for policy in ("ckpt", "above"):
        failed = tm("rl", "--policy", policy, "--adapter-only", "--force", "-o", "ckpt")
        assert b"ckpt cannot replace the base that it needs" in failed.stderr


def test_a_method_is_a_preset_and_explicit_options_win() -> None:
    assert RlOptions(**Aim().resolved()) == RlOptions()
    plain = RlOptions(**Aim(method="grpo").resolved())
    assert plain.reward == {"outcome": 1.0, "format": 0.1}
    assert (plain.compass, plain.advantage) == (0.0, "joint")
    assert RlOptions(**Aim(method="compass").resolved()).compass == 0.1
    mixed = RlOptions(**Aim(method="compass", compass=0.0, reward="trial=1", clip="0.1,0.3").resolved())
    assert (mixed.compass, mixed.reward, mixed.clip) == (0.0, {"trial": 1.0}, (0.1, 0.3))
    assert Aim(loss="cispo").resolved()["clip"] == (0.2, 5.0)
    assert Aim(clip="0.3").resolved()["clip"] == (0.3, 0.3)
    for told, wrong in (
        ("no range", Aim(clip="-1").resolved),
        ("no range", Aim(clip="wide").resolved),
        ("no range", Aim(clip="0.2,0.3,0.4").resolved),
        ("--beta inf is no weight", Aim(beta=float("inf")).resolved),
        ("--function-classes is for --compass", Aim(function_classes="c.json").resolved),
        ("--eval-n needs something held out", Examining(eval_n=2).check),
        ("there is no adapter", lambda: Batches().resolved(Weights(full=True, adapter_only=True))),
        ("is no rate", lambda: Batches(learning_rate=-1.0).resolved(Weights())),
    ):
        with pytest.raises(UsageError, match=told):
            wrong()
    assert RlOptions().reward == DEFAULT_WEIGHTS
    assert Batches().resolved(Weights())["learning_rate"] == 3e-4
    assert Batches().resolved(Weights(full=True))["learning_rate"] == pytest.approx(3e-5)
    assert Batches(curriculum="drift,hops").resolved(Weights())["curriculum"] == ("drift", "hops")


@pytest.mark.parametrize(
    ("prompts", "group", "most", "n", "each"), [(4, 8, 4, 1, 4), (1, 6, 4, 1, 3), (2, 3, 8, 2, 3)]
)
def test_passes_share_a_batch_evenly(prompts: int, group: int, most: int, n: int, each: int) -> None:
    options = RlOptions(prompts_per_step=prompts, group_size=group, batch_size=most)
    assert options.per_pass(n) == each
