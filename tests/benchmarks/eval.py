"""How many trajectories `tm eval` judges in a second, on one core and without a judge.

    python tests/benchmarks/eval.py [--n 100000] [--rounds 3]

The trajectories are those of `corpus.py`: the scripted teacher over the training toolboxes, drifts mixed,
some broken as real ones are. Beside it, in turns, so that a busy machine slows both alike: a loop of orjson
that only reads the lines. What is told is CPU time, the least of the rounds; the start of the process
(that of 10 lines) is told apart; peak memory is the whole process's. A table goes to stderr, JSON to stdout.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from itertools import islice
from pathlib import Path
from typing import NamedTuple

from corpus import made

LINE = 7500
"""Bytes of a usual line: how large a corpus is asked for."""
LOOP = "import orjson, sys\nfor line in open(sys.argv[1], 'rb'): orjson.loads(line)"
HEAVY = ("torch", "transformers", "numpy", "matplotlib", "jinja2")


class Result(NamedTuple):
    cpu_s: float
    peak_mb: float


def run(argv: list[str]) -> Result:
    """One process on one core."""
    core = {min(os.sched_getaffinity(0))}
    child = subprocess.Popen(
        argv,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        preexec_fn=lambda: os.sched_setaffinity(0, core),  # noqa: PLW1509 - no threads yet
    )
    _, status, usage = os.wait4(child.pid, 0)
    child.returncode = os.waitstatus_to_exitcode(status)
    if child.returncode:
        raise RuntimeError(f"{' '.join(argv)} ended with {child.returncode}")
    return Result(usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024)


def loaded(file: Path) -> list[str]:
    """Which of the heavy packages `tm eval` loads."""
    argv = [sys.executable, "-X", "importtime", "-m", "tmcli", "eval", str(file)]
    said = subprocess.run(argv, capture_output=True, text=True, check=True).stderr
    modules = {line.rpartition("|")[2].strip() for line in said.splitlines() if "import time:" in line}
    return [name for name in HEAVY if name in modules]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--n", type=int, default=100_000)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        file, few = Path(folder) / "runs.jsonl", Path(folder) / "few.jsonl"
        with made(options.n * LINE // 1_000_000 + 1).open("rb") as lines, file.open("wb") as out:
            out.writelines(islice(lines, options.n))
        with file.open("rb") as lines:
            few.write_bytes(b"".join(islice(lines, 10)))
            n = 10 + sum(1 for _ in lines)
        contenders = {
            "start": [sys.executable, "-m", "tmcli", "eval", str(few)],
            "tm eval": [sys.executable, "-m", "tmcli", "eval", str(file)],
            "orjson loop": [sys.executable, "-c", LOOP, str(file)],
        }
        found: dict[str, list[Result]] = {name: [] for name in contenders}
        for _ in range(options.rounds):
            for name, argv in contenders.items():
                found[name].append(run(argv))
        heavy = loaded(few)
        mb = file.stat().st_size / 1e6
    cpu = {name: min(one.cpu_s for one in results) for name, results in found.items()}
    report = {
        "n": n,
        "mb": round(mb),
        "cpu_s": {name: round(value, 2) for name, value in cpu.items()},
        "scores_per_s": round(n / (cpu["tm eval"] - cpu["start"])),
        "with_start_per_s": round(n / cpu["tm eval"]),
        "times_an_orjson_loop": round((cpu["tm eval"] - cpu["start"]) / cpu["orjson loop"], 2),
        "peak_mb": round(max(one.peak_mb for one in found["tm eval"])),
        "heavy": heavy,
    }
    for name, value in report.items():
        print(f"{name:>20}  {value}", file=sys.stderr)
    print(json.dumps(report))


if __name__ == "__main__":
    main()
