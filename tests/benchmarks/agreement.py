"""How far tm's metrics agree with the official scorers: cases and mismatches, a line each.

    python tests/benchmarks/agreement.py [CHANGED [FTRL.parquet [RESTBENCH.json]]]

CHANGED is how many changed answers are made of each of BFCL's cases, 5 by default.

BFCL's checker is the one of the installed package `bfcl-eval`. The other scorers cannot be installed: their
published rules are written again in `tests/scorers.py`, apart from the code that they check.
"""

from __future__ import annotations

import json
import random
import sys
import time
from collections import Counter
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

import official
import scorers
from trajectories import call, trajectory, turn

from tmcli import importers
from tmcli.score import made, solve
from tmcli.score.benchmarks import restbench, rotbench, toolhop
from tmcli.score.benchmarks.bfcl import accepts


def bfcl(n_changed: int, seed: int = 0) -> None:
    rng = random.Random(seed)
    counts: Counter[str] = Counter()
    shown: list[str] = []
    for case in official.cases():
        takes = case.task.extra["takes"]
        answers = [official.answer(case, rng, first=True), official.answer(case, rng)]
        answers += [official.changed(official.answer(case, rng), case, rng) for _ in range(n_changed)]
        for i, calls in enumerate(answers):
            theirs = official.judged(case, calls)
            ours = accepts(calls, case.golds, takes, case.category)
            kind = "gold" if i < 2 else "changed"
            counts[kind] += 1
            counts[f"{kind} accepted"] += theirs is True
            counts[f"{kind} raised"] += theirs is None
            if bool(theirs) != ours:
                counts[f"{kind} mismatch"] += 1
                shown.append(f"{case.row['id']}: {theirs} there, {ours} here: {calls!r:.300}")
    for kind in ("gold", "changed"):
        told = ", ".join(f"{counts[f'{kind} {word}']} {word}" for word in ("accepted", "raised", "mismatch"))
        print(f"BFCL AST, {kind} answers: {counts[kind]} cases, {told}")
    for line in shown[:20]:
        print(line)


def ftrl(path: str, seed: int = 0, n: int = 20) -> None:
    """Solve-P/R/F1, and ToolHop's rule, on episodes that find some of each row's golds."""
    rng = random.Random(seed)
    cases = wrong = wrong_toolhop = 0
    for task in importers.read("ftrl", path):
        subgoals = task.subgoals or {}
        golds = [gold for found in subgoals.values() for gold in found]
        names = [tool["function"]["name"] for tool in task.tools]
        for _ in range(n):
            texts = [f"{{'found': '{rng.choice(golds)}'}}", rng.choice(golds).upper(), "none", task.answer[0]]
            calls = [call(rng.choice(names), reply=rng.choice(texts)) for _ in range(rng.randrange(8))]
            last = turn("execution", content=rng.choice([*texts, f"<answer>{task.answer[0]}</answer>"]))
            messages = trajectory([*(turn("execution", one) for one in calls), last])
            cases += 1
            wrong += solve(made(messages), subgoals) != scorers.ftrl(messages.messages, subgoals)
            gold = rng.choice([*golds, *task.answer])
            theirs = scorers.toolhop(messages.messages, gold)
            wrong_toolhop += toolhop.correct(messages.messages, gold) != theirs
    print(f"FTRL Solve-P/R/F1: {cases} cases, {wrong} mismatch")
    print(f"ToolHop answer correctness: {cases} cases, {wrong_toolhop} mismatch")


def paths(path: str, seed: int = 0, n: int = 20) -> None:
    rng = random.Random(seed)
    cases = wrong = 0
    for task in importers.read("restbench", path):
        golds = task.extra["path"]
        names = [tool["function"]["name"] for tool in task.tools]
        for _ in range(n):
            called = [name for name in golds if rng.random() < 0.9 and name]
            for _ in range(rng.randrange(3)):
                called.insert(rng.randrange(len(called) + 1), rng.choice(names))
            if rng.random() < 0.3:
                rng.shuffle(called)
            cases += 1
            wrong += restbench.path(called, golds)["path"] != float(scorers.in_order(golds, called))
    print(f"RestBench correct path: {cases} cases, {wrong} mismatch")


def calls_of_rotbench(seed: int = 0, n: int = 20_000) -> None:
    """Its files cannot be installed: drawn calls and golds."""
    rng = random.Random(seed)
    tools = ["f", "g", "finish", "ask", "end"]
    wrong = wrong_ftrl = 0

    def drawn() -> tuple[str, dict[str, object]]:
        values = ("a", "b", "None", 1, True, [1])
        return rng.choice(tools), {key: rng.choice(values) for key in "pqr" if rng.random() < 0.5}

    for _ in range(n):
        golds = [drawn() for _ in range(rng.randrange(1, 4))]
        name, given = rng.choice([drawn(), rng.choice(golds)])
        said, *accepted = (
            f"Thought:\nAction: {tool}\nAction Input: {json.dumps(arguments)}"
            for tool, arguments in [(name, given), *golds]
        )
        theirs = scorers.rotbench(said, accepted, tools)
        wrong += rotbench.official((name, given), golds, "end", "ask") != theirs
        wrong_ftrl += rotbench.ftrl((name, given), golds) != scorers.ftrl_rotbench(said, accepted)
    print(f"RoTBench TS/PI/CF: {n} cases, {wrong} mismatch")
    print(f"RoTBench as FTRL scores it: {n} cases, {wrong_ftrl} mismatch")


if __name__ == "__main__":
    start = time.process_time()
    bfcl(int(sys.argv[1]) if len(sys.argv) > 1 else 5)
    calls_of_rotbench()
    if len(sys.argv) > 2:
        ftrl(sys.argv[2])
    if len(sys.argv) > 3:
        paths(sys.argv[3])
    print(f"{time.process_time() - start:.0f} s of CPU time")
