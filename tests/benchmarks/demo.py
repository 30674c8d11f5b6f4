"""The demo, timed step by step, and its table for the README.

    python tests/benchmarks/demo.py [OUT]          # default: a fresh runs/demo-benchmark
    python tests/benchmarks/demo.py OUT --readme   # afterwards: write the README's block from OUT

Runs `examples/01-whole-run.sh` as `make demo` does and keeps the seconds of each `tm` line in
OUT/seconds.json. Run it with nothing else running.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).parents[2]
README = ROOT / "README.md"
BEGIN, END = "<!-- demo:begin -->", "<!-- demo:end -->"


def run(out: Path) -> None:
    """Run the script; what it says goes on to stderr."""
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    process = subprocess.Popen(
        ["sh", ROOT / "examples" / "01-whole-run.sh"],
        env=os.environ | {"OUT": str(out), "PATH": path},
        stderr=subprocess.PIPE,
        text=True,
    )
    steps: list[tuple[str, float]] = []
    assert process.stderr is not None
    for line in process.stderr:
        sys.stderr.write(line)
        if line.startswith("$ tm "):
            steps.append((line[5:].split()[0], time.monotonic()))
    if process.wait():
        sys.exit(process.returncode)
    ends = [start for _, start in steps[1:]] + [time.monotonic()]
    seconds: dict[str, float] = {}
    for (step, start), end in zip(steps, ends, strict=True):
        seconds[step] = round(seconds.get(step, 0) + end - start, 1)
    (out / "seconds.json").write_text(json.dumps(seconds) + "\n")


def report(out: Path) -> str:
    """Markdown: seconds by step, and accuracy with intervals by policy and split."""
    seconds = json.loads((out / "seconds.json").read_text())
    steps = ", ".join(f"{step} {value:.0f}" for step, value in seconds.items())
    summary = json.loads((out / "eval.jsonl").read_text().splitlines()[0])
    lines = ["| policy | tools | documents | tasks | right | 95 % interval |", "|---|---|---|---|---|---|"]
    for group in summary["metrics"]["groups"]:
        by = group["by"]
        if by.get("split", "all") == "all" or group["n"] == 0:
            continue
        low, high = group["interval"]
        documents = {"none": "true", "stale": "stale"}.get(by.get("drift", ""), "both")
        cells = [by["file"], by["split"], documents, group["n"], f"{group['accuracy']:.0%}"]
        lines.append(f"| {' | '.join(map(str, cells))} | {low:.0%} to {high:.0%} |")
    total = f"{sum(seconds.values()) / 60:.1f} minutes on {os.cpu_count()} cores"
    return "\n".join(
        [
            *lines,
            "",
            f"After installation the run took {total} (seconds: {steps}), by",
            "[tests/benchmarks/demo.py](tests/benchmarks/demo.py), which also writes this table.",
        ]
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("out", nargs="?", type=Path, default=ROOT / "runs" / "demo-benchmark")
    parser.add_argument("--readme", action="store_true", help="run nothing; write the table of OUT's run")
    options = parser.parse_args()
    if not options.readme:
        run(options.out)
    text = report(options.out)
    print(text)
    if options.readme:
        before, _, rest = README.read_text().partition(BEGIN)
        _, _, after = rest.partition(END)
        README.write_text(f"{before}{BEGIN}\n{text}\n{END}{after}")


if __name__ == "__main__":
    main()
