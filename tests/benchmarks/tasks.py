"""How fast tasks are made, how many of them are the same, and what training shares with unseen toolboxes.

    python tests/benchmarks/tasks.py [-n 10000] [--drift stale]

Speed is that of `tm tasks` as a process (its start included) and in process. Duplicates are counted among
the questions of the suite `train`; what `train` shares with `unseen` among the texts of worlds (names, not
ids or dates), their words, the wordings with what is filled in masked, words in fives out of those, tool
names, and schemas of parameters. The table goes to stderr, one JSON object to stdout.
"""

from __future__ import annotations

import argparse
import json
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from tmcli import suites
from tmcli.records import Task, digest, encode
from tmcli.toolbox import Toolbox

N_WORLDS = 200
"""Of each toolbox, for the names they hold."""


def process_rate(n: int, drift: str) -> float:
    """Tasks a second that `tm tasks` writes."""
    argv = [str(Path(sys.executable).parent / "tm"), "tasks", "--suite", "train", "-n", str(n), "-q"]
    start = time.perf_counter()
    subprocess.run([*argv, *(["--drift", drift] if drift else [])], stdout=subprocess.DEVNULL, check=True)
    return n / (time.perf_counter() - start)


def made(n: int, drift: str) -> tuple[list[Task], float]:
    """Tasks, and how many a second are made and written as JSON here."""
    list(suites.suite("train", 20, 1))  # toolboxes are loaded
    start = time.perf_counter()
    tasks = []
    for task in suites.suite("train", n, 0, drift.split(",") if drift else []):
        encode(task)
        tasks.append(task)
    return tasks, n / (time.perf_counter() - start)


# ---- what they share -----------------------------------------------------------------------------


def names(box: Toolbox) -> set[str]:
    """Texts of its worlds that are names: no ids, dates, seats or times."""
    return {
        text
        for seed in range(N_WORLDS)
        for text in texts(box.world(seed))
        if re.search(r"[a-z]{2}", text) and not re.search(r"\d", text)
    }


def texts(value: object) -> Iterator[str]:
    if isinstance(value, dict):
        for item in value.values():
            yield from texts(item)
    elif isinstance(value, list):
        for item in value:
            yield from texts(item)
    elif isinstance(value, str):
        yield value


def wordings(box: Toolbox) -> set[str]:
    return {
        re.sub(r"\{[^}]*\}", "_", text).casefold() for template in box.templates for text in template["ask"]
    }


def fives(wordings: set[str]) -> set[tuple[str, ...]]:
    lines = [re.findall(r"\w+", text) for text in wordings]
    return {tuple(line[i : i + 5]) for line in lines for i in range(len(line) - 4)}


def parts(name: str) -> dict[str, set[object]]:
    """What a suite's toolboxes are made of."""
    boxes = suites.members(name)
    functions = [tool["function"] for box in boxes for tool in box.tools]
    entities = set().union(*map(names, boxes))
    asked = set().union(*map(wordings, boxes))
    return {
        "names in worlds": set(entities),
        "words of names": {word for entity in entities for word in entity.split()},
        "wordings": set(asked),
        "words in fives": set(fives(asked)),
        "tool names": {function["name"] for function in functions},
        "schemas of parameters": {digest(function["parameters"]) for function in functions},
        "parameter names": {key for function in functions for key in function["parameters"]["properties"]},
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("-n", type=int, default=10_000)
    parser.add_argument("--drift", default="")
    options = parser.parse_args()
    tasks, rate = made(options.n, options.drift)
    outside = process_rate(options.n, options.drift)
    questions = {task.messages[0]["content"] for task in tasks}
    report: dict[str, object] = {
        "n": options.n,
        "drift": options.drift,
        "tasks_per_s": round(rate),
        "process_tasks_per_s": round(outside),
        "duplicate_questions": len(tasks) - len(questions),
        "duplicate_ids": len(tasks) - len({task.id for task in tasks}),
        "impossible": sum(not task.tags["possible"] for task in tasks),
    }
    say(f"{'tasks/s, in process':30} {rate:10.0f}")
    say(f"{'tasks/s, tm tasks':30} {outside:10.0f}")
    say(f"{'same questions':30} {report['duplicate_questions']:10} of {options.n}")
    say(f"{'same ids':30} {report['duplicate_ids']:10} of {options.n}")
    say(f"{'cannot be done':30} {report['impossible']:10} of {options.n}\n")
    say(f"{'':30} {'train':>8} {'unseen':>8} {'shared':>8}")
    unseen = parts("unseen")
    for what, seen in parts("train").items():
        shared = seen & unseen[what]
        say(f"{what:30} {len(seen):8} {len(unseen[what]):8} {len(shared):8}  {examples(shared)}")
        report[what.replace(" ", "_")] = [len(seen), len(unseen[what]), len(shared)]
    print(json.dumps(report))


def examples(shared: set[object]) -> str:
    said = sorted(" ".join(one) if isinstance(one, tuple) else str(one) for one in shared)
    return ", ".join(said[:3]) + (", ..." if len(said) > 3 else "")


def say(line: str) -> None:
    print(line, file=sys.stderr)


if __name__ == "__main__":
    main()
