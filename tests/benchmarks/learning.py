"""Does `tm rl` raise accuracy on unseen tools over the SFT it starts from? The curve, and a paired interval.

    python tests/benchmarks/learning.py SFT OUT [--steps 26] [--test 200] [--more "--method compass ..."]

SFT is a checkpoint that knows the protocol, from the eight toolboxes of training:

    tm tasks --suite train -n 900 --hops 1,2 --drift none@0.25,rename,stale -o tasks.jsonl
    tm synth --tasks tasks.jsonl --teacher scripted:trials=4 | tm filter -o imitate.jsonl
    tm sft imitate.jsonl --model smollm2 -o SFT

It practises tools that nobody showed it, two of the four unseen toolboxes; now and then it plays other tasks
over these: that is the curve, in OUT/rl/metrics.jsonl, and the weights that solve most are kept.
At the end both policies play the same new tasks, greedily: over the other two unseen toolboxes, which neither
ever saw, and over three of SFT's; `tm eval --compare` holds them against each other task by task. Every line
of work is a `tm` command. An hour on two cores.
"""

from __future__ import annotations

import argparse
import json
import shlex
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

Json = dict[str, Any]

KIND = {"seen": "flights,kitchen,library", "unseen": "clinic,museum"}
PRACTISED = "garden,harbor"
COMMON = "--hops 1 --drift none,stale"
PLAYED = ["--max-tokens", "1280", "--max-new-tokens", "160", "--max-turns", "8"]
PRACTICE = ["--prompts-per-step", "5", "--group-size", "8", "--warmup", "2", "--eval-every", "13"]


def tm(*words: object) -> float:
    """Run a command as a user would; the seconds it took."""
    line = [sys.executable, "-m", "tmcli", *map(str, words)]
    print("$ tm", shlex.join(line[3:]), file=sys.stderr, flush=True)
    started = time.monotonic()
    subprocess.run(line, check=True, stdout=subprocess.DEVNULL)
    return time.monotonic() - started


def tasks(file: Path, *words: object) -> None:
    tm("tasks", *words, "-o", file, "--force")


def accuracy(before: Path, after: Path) -> Json:
    """Of the same tasks in two files: `a`, `b`, `difference`, its `interval` and `p`."""
    compared = after.with_name(f"compared-{after.name}")
    tm("eval", "--compare", before, after, "-o", compared, "--quiet", "--force")
    comparison: Json = json.loads(compared.read_text())["metrics"]["comparisons"][0]["metrics"]["accuracy"]
    return comparison


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("sft", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--steps", type=int, default=26)
    parser.add_argument("--test", type=int, default=200, help="tasks of each kind")
    parser.add_argument("--train", type=int, default=2000, help="tasks to practise")
    parser.add_argument("--of", default=COMMON, help="which tasks everywhere: words for tm tasks")
    parser.add_argument("--on", default=f"--toolbox {PRACTISED}", help="and which of them to practise")
    parser.add_argument("--more", default="", help="more words for tm rl")
    options = parser.parse_args()
    out: Path = options.out
    common = shlex.split(options.of)
    out.mkdir(parents=True, exist_ok=True)
    train, held = out / "train.jsonl", out / "held-out.jsonl"
    tasks(train, "--suite", "unseen", "-n", options.train, *common, "--seed", 5, *shlex.split(options.on))
    tasks(held, "--suite", "unseen", "-n", 40, "--toolbox", PRACTISED, *common)
    for kind, boxes in KIND.items():
        test = out / f"test-{kind}.jsonl"
        tasks(test, "--suite", kind, "-n", options.test, "--toolbox", boxes, *common, "--seed", 7)
    words = [*PLAYED, *PRACTICE, *shlex.split(options.more)]
    seconds = tm("rl", "--policy", options.sft, "--tasks", train, "--steps", options.steps, *words,
                 "--eval-tasks", held, "-o", out / "rl", "--resume")  # fmt: skip
    for kind in KIND:
        for name, weights in (("sft", options.sft), ("rl", out / "rl")):
            tm("rollout", "--policy", weights, "--tasks", out / f"test-{kind}.jsonl", *PLAYED,
               "--concurrency", 64, "-o", out / f"{name}-{kind}.jsonl", "--resume")  # fmt: skip
    for line in map(json.loads, (out / "rl" / "metrics.jsonl").open()):
        if any(key.startswith("eval_") for key in line):
            print(json.dumps(line))
    print(f"rl: {options.steps} steps in {seconds / 60:.1f} minutes")
    print("| tools | tasks | sft | rl | gain | 95 % interval | p |\n|---|---|---|---|---|---|---|")
    for kind in KIND:
        found = accuracy(out / f"sft-{kind}.jsonl", out / f"rl-{kind}.jsonl")
        low, high = found["interval"]
        shares = f"{found['a']:.1%} | {found['b']:.1%} | {found['difference']:+.1%}"
        print(f"| {kind} | {found['tasks']} | {shares} | {low:+.1%} to {high:+.1%} | {found['p']:.2g} |")


if __name__ == "__main__":
    main()
