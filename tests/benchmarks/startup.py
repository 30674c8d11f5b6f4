"""How long `tm` takes to say something, beside what cannot be avoided and what people are used to.

    python tests/benchmarks/startup.py [--runs 9] [--trl-runs 3] [--no-trl]

All programs take turns within one run, so that a busy machine disturbs them alike; compare the
ratios, not the milliseconds. The table goes to stderr, one JSON object to stdout.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

BARE_TYPER = '''
import typer
app = typer.Typer(rich_markup_mode=None, pretty_exceptions_enable=False, add_completion=False)

@app.command()
def one(name: str, n: int = 1) -> None:
    """Say it."""

@app.command()
def two(name: str, n: int = 1) -> None:
    """Say it again."""

app()
'''
RUNNING = ("bare typer one X", "tm filter EMPTY")
"""typer loads pydantic to run a command, not to show its help: like is compared with like."""


def programs(folder: Path, with_trl: bool) -> dict[str, list[str]]:
    """Name -> argv; every one ends with exit code 0."""
    script = folder / "bare.py"
    script.write_text(BARE_TYPER)
    empty = folder / "empty.jsonl"
    empty.touch()
    here = Path(sys.executable).parent
    table = {
        "python -c pass": [sys.executable, "-c", "pass"],
        "bare typer --help": [sys.executable, str(script), "--help"],
        "bare typer one X": [sys.executable, str(script), "one", "X"],
        "tm --help": [str(here / "tm"), "--help"],
        "tm filter EMPTY": [str(here / "tm"), "filter", str(empty)],
    }
    if with_trl:
        table |= {
            "trl --help": [str(here / "trl"), "--help"],
            "trl sft --help": [str(here / "trl"), "sft", "--help"],
        }
    return table


def milliseconds(argv: list[str]) -> float:
    # rich off for the bare app, and no check for updates or hub in any of them
    quiet = os.environ | {"TYPER_USE_RICH": "0", "HF_HUB_OFFLINE": "1"}
    start = time.perf_counter()
    subprocess.run(
        argv,
        env=quiet,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        check=True,
    )
    return (time.perf_counter() - start) * 1000


def main() -> None:
    parser = argparse.ArgumentParser(description="How long tm takes to start, beside others.")
    parser.add_argument("--runs", type=int, default=9)
    parser.add_argument("--trl-runs", type=int, default=3, help="trl takes seconds: fewer runs")
    parser.add_argument("--no-trl", action="store_true")
    options = parser.parse_args()
    times: dict[str, list[float]] = {}
    with tempfile.TemporaryDirectory() as folder:
        table = programs(Path(folder), not options.no_trl)
        for argv in table.values():
            milliseconds(argv)  # files into the cache, bytecode onto disk
        for turn in range(options.runs):
            for name, argv in table.items():
                if turn < options.trl_runs or not name.startswith("trl"):
                    times.setdefault(name, []).append(milliseconds(argv))
    medians = {name: statistics.median(values) for name, values in times.items()}
    report = {}
    for name in times:
        bare = "bare typer one X" if name in RUNNING else "bare typer --help"
        ratio = medians[name] / medians[bare]
        print(f"{name:20} {medians[name]:8.0f} ms   x{ratio:<6.2f} of {bare}", file=sys.stderr)
        report[name] = {"median_ms": round(medians[name], 1), "of": bare, "ratio": round(ratio, 3)}
    print(json.dumps(report))


if __name__ == "__main__":
    main()
