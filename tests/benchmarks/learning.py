"""Does `tm rl` raise accuracy on unseen tools over the SFT it starts from? The curve, and a paired interval.

    python tests/benchmarks/learning.py SFT OUT [--steps 40] [--test 200] [--more "--method compass ..."]

SFT is a checkpoint of the demo (`make demo`, ckpt-sft). The policy is trained on the demo's tasks (three
seen toolboxes; `--on` trains on others). Every few steps it plays tasks of two unseen toolboxes: that is the
curve, in OUT/rl/metrics.jsonl, and the weights that solve most are kept. At the end both policies play the
same new tasks, greedily: on the demo's unseen toolboxes, two others, and on its seen ones. The difference is
by task, its interval a bootstrap over tasks. Every line of work is a `tm` command.
"""

from __future__ import annotations

import argparse
import json
import shlex
import subprocess
import sys
import time
from pathlib import Path

import numpy as np

KIND = {"seen": "flights,kitchen,library", "unseen": "clinic,museum"}
HELD_OUT = "garden,harbor"
"""Unseen, and not among those of the test."""
COMMON = "--hops 1,2 --drift none,stale"
PLAYED = ["--max-tokens", "1024", "--max-new-tokens", "160", "--max-turns", "8"]


def tm(*words: object) -> float:
    """Run a command as a user would; the seconds it took."""
    line = [sys.executable, "-m", "tmcli", *map(str, words)]
    print("$ tm", shlex.join(line[3:]), file=sys.stderr, flush=True)
    started = time.monotonic()
    subprocess.run(line, check=True, stdout=subprocess.DEVNULL)
    return time.monotonic() - started


def tasks(file: Path, *words: object) -> None:
    tm("tasks", *words, "-o", file, "--force")


def answers(file: Path) -> dict[str, float]:
    """Task id -> 1 right, 0 wrong; what could not be judged is left out."""
    rows = (json.loads(line) for line in file.open())
    found = {row["task"]["id"]: row["scores"].get("answer") for row in rows}
    return {task: right for task, right in found.items() if right is not None}


def difference(before: dict[str, float], after: dict[str, float]) -> tuple[int, float, float, float]:
    """(tasks, mean of after - before, and its 95 % interval: 10,000 bootstrap samples of the tasks)."""
    both = sorted(before.keys() & after.keys())
    gained = np.array([after[task] - before[task] for task in both])
    draws = np.random.default_rng(0).integers(0, len(both), (10_000, len(both)))
    low, high = np.quantile(gained[draws].mean(1), [0.025, 0.975])
    return len(both), float(gained.mean()), float(low), float(high)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("sft", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--steps", type=int, default=40)
    parser.add_argument("--test", type=int, default=200, help="tasks of each kind")
    parser.add_argument("--train", type=int, default=1000, help="tasks to train on")
    parser.add_argument("--of", default=COMMON, help="which tasks everywhere: words for tm tasks")
    parser.add_argument("--on", default=f"--toolbox {KIND['seen']}", help="and which of them to train on")
    parser.add_argument("--more", default="", help="more words for tm rl")
    options = parser.parse_args()
    out: Path = options.out
    common = shlex.split(options.of)
    out.mkdir(parents=True, exist_ok=True)
    train, held = out / "train.jsonl", out / "held-out.jsonl"
    tasks(train, "--suite", "train", "-n", options.train, *common, *shlex.split(options.on))
    tasks(held, "--suite", "unseen", "-n", 40, "--toolbox", HELD_OUT, *common)
    for kind, boxes in KIND.items():
        test = out / f"test-{kind}.jsonl"
        tasks(test, "--suite", kind, "-n", options.test, "--toolbox", boxes, *common, "--seed", 7)
    seconds = tm("rl", "--policy", options.sft, "--tasks", train, "--steps", options.steps, *PLAYED,
                 "--eval-tasks", held, "-o", out / "rl", "--resume", *shlex.split(options.more))  # fmt: skip
    for kind in KIND:
        for name, weights in (("sft", options.sft), ("rl", out / "rl")):
            tm("rollout", "--policy", weights, "--tasks", out / f"test-{kind}.jsonl", *PLAYED,
               "--concurrency", 64, "-o", out / f"{name}-{kind}.jsonl", "--resume")  # fmt: skip
    for line in map(json.loads, (out / "rl" / "metrics.jsonl").open()):
        if any(key.startswith("eval_") for key in line):
            print(json.dumps(line))
    print(f"rl: {options.steps} steps in {seconds / 60:.1f} minutes")
    print("| tools | tasks | sft | rl | gain | 95 % interval |\n|---|---|---|---|---|---|")
    for kind in KIND:
        before, after = (answers(out / f"{name}-{kind}.jsonl") for name in ("sft", "rl"))
        n, gain, low, high = difference(before, after)
        was, now = (sum(part.values()) / max(1, len(part)) for part in (before, after))
        print(f"| {kind} | {n} | {was:.1%} | {now:.1%} | {gain:+.1%} | {low:+.1%} to {high:+.1%} |")


if __name__ == "__main__":
    main()
