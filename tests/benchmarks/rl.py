"""A step of reinforcement learning, side by side: TRL's GRPOTrainer with tools, and `tm rl`.

    python tests/benchmarks/rl.py                                     # 8 episodes of 4 turns; five minutes
    python tests/benchmarks/rl.py --prompts 4 --group 8 --turns 6     # 32 episodes a step
    python tests/benchmarks/rl.py --full --only trl,tm --rounds 3

The same tasks, tools, group size, batch, LoRA rank, temperature and loss for all, and in each turn the same
number of tokens (`peers/same_work.py` says how); what is sampled differs. Every other episode of a group has
reward 1, the others less, so that each has an advantage. Each run is a process of its own, and the contenders
take turns. The first step of a run, which pays for threads and kernels, does not count.

    trl             GRPOTrainer with `environment_factory`: frozen weights in bf16, no gradient checkpointing,
                    `--pass` episodes in a pass (the fewer, the less padding and memory)
    trl-defaults    as TRL comes: weights in fp32, autocast to bf16, gradient checkpointing, 8 in a pass
    tm              `tm rl`: Runner, tools in the sandbox, episodes judged, metrics written

`step` is the median second of a step, `generation` its part for episodes, `update` the rest. `norm` is the
gradient's of the last step: it tells that something was learned. The table goes to stderr, one JSON object to
stdout. Run it with nothing else running.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from itertools import pairwise
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))

from peers import same_work

Json = dict[str, Any]

CONTENDERS = ("trl-defaults", "trl", "tm")


class Clock:
    """When each step ended, and what was logged of it."""

    def __init__(self) -> None:
        self.ends: list[float] = []
        self.cpu: list[float] = []
        self.logs: list[Json] = []

    def step(self, logs: Json) -> None:
        self.ends.append(time.perf_counter())
        self.cpu.append(time.process_time())
        self.logs.append(logs)

    def told(self, generations: list[float], peak: float) -> Json:
        """The steps after the first."""
        steps = [end - start for start, end in pairwise(self.ends)]
        return {
            "step_s": steps,
            "generation_s": generations[1:],
            "cpu_s": [end - start for start, end in pairwise(self.cpu)],
            "mb": peak,
            "reward": self.logs[-1]["reward"],
            "norm": self.logs[-1].get("grad_norm"),
        }


def with_trl(folder: Path, output: Path, name: str, asked: Any) -> Json:
    """Some steps of TRL's trainer."""
    from peers import with_trl
    from transformers import TrainerCallback

    class Steps(TrainerCallback):  # type: ignore[misc]
        def on_log(self, *_: Any, logs: Json, **__: Any) -> None:
            if "loss" in logs:
                clock.step(logs)

    n = asked.prompts * asked.group
    size = min(8, n) if name == "trl-defaults" else min(asked.size, n)
    with_trl.EPISODES[:] = [same_work.Episode(task) for task in same_work.tasks(asked.prompts * asked.steps)]
    trainer = with_trl.trainer(
        folder,
        output,
        "defaults" if name == "trl-defaults" else "best",
        asked.turns,
        asked.new,
        rank=None if asked.full else asked.rank,
        temperature=1.0,
        max_steps=asked.steps,
        per_device_train_batch_size=size,
        gradient_accumulation_steps=n // size,
        num_generations=asked.group,
        learning_rate=asked.rate,
        lr_scheduler_type="constant",
        loss_type=asked.loss,
    )
    clock, peak = Clock(), same_work.Peak()
    trainer.add_callback(Steps())
    peak.reset()
    trainer.train()
    return clock.told([seconds for seconds, *_ in trainer.generated], peak.mb)


def with_tm(folder: Path, output: Path, asked: Any) -> Json:
    """Some steps of `tm rl`; only the policy's turns are read as calls, as TRL's are."""
    from peers import with_tm

    from tmcli.policies import local

    with_tm.Calling.turns = asked.turns
    local.Local = with_tm.Calling  # type: ignore[misc]  # what `tm rl` plays with from here on
    from tmcli.steps.rl import RlOptions, Watch, rl

    options = RlOptions(
        policy=str(folder),
        full=asked.full,
        rank=asked.rank,
        steps=asked.steps,
        prompts_per_step=asked.prompts,
        group_size=asked.group,
        batch_size=asked.tm_size,
        learning_rate=asked.rate,
        loss=asked.loss,
        max_turns=asked.turns,
        max_new_tokens=asked.new,
        max_tokens=8192,
    )
    clock, peak = Clock(), same_work.Peak()
    peak.reset()
    tasks = same_work.tasks(asked.prompts * asked.steps)

    def on_step(step: int, total: int, logs: Json) -> None:
        if step > len(clock.ends):  # what is logged after the last one is no step
            clock.step(logs)

    rl(tasks, output, options, Watch(samples_every=0), on_step=on_step)
    mb = peak.mb
    lines = [json.loads(line) for line in (output / "metrics.jsonl").read_text().splitlines()]
    clock.logs = [line for line in lines if "loss" in line]
    return clock.told([line["generation/seconds"] for line in clock.logs], mb)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--only", default=",".join(CONTENDERS), help=f"of {', '.join(CONTENDERS)}")
    parser.add_argument("--model", default="smollm2")
    parser.add_argument("--prompts", type=int, default=2, help="tasks a step")
    parser.add_argument("--group", type=int, default=4, help="episodes a task")
    parser.add_argument("--turns", type=int, default=4)
    parser.add_argument("--new", type=int, default=32, help="tokens a turn")
    parser.add_argument("--steps", type=int, default=3, help="the first does not count")
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--full", action="store_true", help="all weights, not LoRA")
    parser.add_argument("--rank", type=int, default=16)
    parser.add_argument("--rate", type=float, default=1e-5, help="learning rate")
    parser.add_argument("--loss", default="dapo")
    parser.add_argument("--pass", dest="size", type=int, default=2, help="episodes in a pass of trl")
    parser.add_argument("--tm-pass", dest="tm_size", type=int, default=8, help="--batch-size of tm")
    parser.add_argument("--limit", type=float, default=1200, help="seconds of one run")
    parser.add_argument("--one", nargs=2, help=argparse.SUPPRESS)
    asked = parser.parse_args()
    asked.tm_size = min(asked.tm_size, asked.prompts * asked.group)
    if asked.one:
        same_work.quiet()
        name, folder = asked.one
        with tempfile.TemporaryDirectory() as temporary:
            output = Path(temporary) / "out"
            arguments = (Path(folder), output)
            found = with_tm(*arguments, asked) if name == "tm" else with_trl(*arguments, name, asked)
        print(json.dumps(found))
        return
    n = asked.prompts * asked.group
    print(
        f"{n} episodes ({asked.prompts} x {asked.group}) of {asked.turns} turns x {asked.new} tokens a step, "
        f"{'all weights' if asked.full else f'LoRA of rank {asked.rank}'}",
        file=sys.stderr,
    )
    names = asked.only.split(",")
    runs: dict[str, list[Json]] = {name: [] for name in names}
    with tempfile.TemporaryDirectory() as temporary:
        folder = same_work.endless(asked.model, Path(temporary) / "model")
        for _ in range(asked.rounds):
            for name in names:
                runs[name].append(one(name, folder, asked.limit))
    show(runs, n)
    print(json.dumps({"asked": vars(asked), "runs": runs}))


def one(name: str, folder: Path, limit: float) -> Json:
    """One run in a process of its own."""
    command = [sys.executable, __file__, *sys.argv[1:], "--one", name, str(folder)]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=limit)
    except subprocess.TimeoutExpired:
        return {"error": f"more than {limit:.0f} s"}
    if done.returncode:
        said = done.stderr.strip().splitlines() or ["nothing was said"]
        return {"error": said[-1][:300]}
    found: Json = json.loads(done.stdout.splitlines()[-1])
    return found


def show(runs: dict[str, list[Json]], n: int) -> None:
    """A line a contender."""
    first = None
    for name, found in runs.items():
        good = [run for run in found if "step_s" in run]
        if not good:
            print(f"{name:13} {found[0]['error']}", file=sys.stderr)
            continue
        step = statistics.median(seconds for run in good for seconds in run["step_s"])
        generation = statistics.median(seconds for run in good for seconds in run["generation_s"])
        cpu = statistics.median(seconds for run in good for seconds in run["cpu_s"])
        first = first or step
        print(
            f"{name:13} step {step:6.1f} s {first / step:5.2f}x   generation {generation:6.1f} s   "
            f"update {step - generation:6.1f} s   {60 * n / step:6.1f} episodes/min   cpu {cpu:6.1f} s   "
            f"{max(run['mb'] for run in good):5.0f} MB   "
            f"reward {good[-1]['reward']:.2f} norm {good[-1]['norm']:.3f}",
            file=sys.stderr,
        )


if __name__ == "__main__":
    main()
