"""How often guessing is right, and what it earns: the floor that a reward must not pay for.

    python tests/benchmarks/guess.py [-n 300] [--known 3000] [--drift stale]

`tests/guesses.py` learns from `--known` tasks of each toolbox in other worlds, then guesses `n` tasks of it
without any call. Beside it: the share of the tasks that are right when one always says that it cannot be
done, the mean reward of guessing by the default weights, and the mean reward of the scripted expert who
works. The table goes to stderr, one JSON object to stdout.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from statistics import fmean

sys.path.insert(0, str(Path(__file__).parents[1]))

from guesses import Guesser, episode

from tmcli import suites, toolbox
from tmcli.episode import Limits
from tmcli.policies.scripted import Scripted
from tmcli.protocol import CANNOT
from tmcli.runner import Runner, jobs
from tmcli.score import correct, judge


def measured(name: str, n: int, known: int, drift: list[str]) -> dict[str, float]:
    """The numbers of one toolbox."""
    guesser = Guesser(suites.suite(name, known, seed=1))
    tasks = list(suites.suite(name, n, seed=2, drift=drift))
    guessed = [judge(episode(task, guesser(task))) for task in tasks]
    with Runner(Scripted(), Limits(), concurrency=16) as runner:
        worked = [one.reward or 0.0 for one in runner.run(jobs(tasks))]
    return {
        "tasks": len(tasks),
        "guessed_right": fmean(one.scores["answer"] for one in guessed),
        "declined_right": fmean(correct(CANNOT, task.answer, task.check) is True for task in tasks),
        "guess_reward": fmean(one.reward or 0.0 for one in guessed),
        "expert_reward": fmean(worked),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("-n", type=int, default=300)
    parser.add_argument("--known", type=int, default=3000)
    parser.add_argument("--drift", default="")
    options = parser.parse_args()
    drift = [kind for kind in options.drift.split(",") if kind]
    rows = {name: measured(name, options.n, options.known, drift) for name in toolbox.names()}
    rows["all"] = {key: fmean(row[key] for row in rows.values()) for key in rows[toolbox.names()[0]]}
    columns = list(rows["all"])
    print(f"{'toolbox':<10}", *(f"{column:>15}" for column in columns), file=sys.stderr)
    for name, row in rows.items():
        print(f"{name:<10}", *(f"{row[column]:>15.3f}" for column in columns), file=sys.stderr)
    print(json.dumps(rows))


if __name__ == "__main__":
    main()
