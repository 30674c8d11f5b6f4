"""How far tm's metrics agree with the official scorers: cases and mismatches, a line each.

    python tests/benchmarks/agreement.py [CHANGED]    # changed answers a case, default 5

BFCL's checker is the one of the installed package `bfcl-eval`. The other scorers cannot be installed: their
published rules are written again in `tests/scorers.py`, apart from the code that they check.
"""

from __future__ import annotations

import random
import sys
import time
from collections import Counter
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

import official

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
    print("\n".join(shown[:20]))


if __name__ == "__main__":
    start = time.process_time()
    bfcl(int(sys.argv[1]) if len(sys.argv) > 1 else 5)
    print(f"{time.process_time() - start:.0f} s of CPU time")
