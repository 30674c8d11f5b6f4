"""How fast trajectories are filtered, and in how much memory: `tm filter` and what others would use.

    python tests/benchmarks/filter.py [--mb 500] [--peers PYTHON] [--only NAME,...] [--rounds 1]

All keep what did not fail, has an answer and at most 12 turns, and drop exact duplicates (`tm, lean` by these
rules alone); how many are kept must agree. `default` is the preset, with all its rules. Each is a process on
one core (-j 2: on two) that reads a file and writes one; time and peak memory (of -j: the sum) are the whole
process's, its start included. The file is made by `corpus.py` and kept in the temporary folder. PYTHON has
the libraries that are not ours (orjson, msgspec, pysimdjson, polars, duckdb, datatrove, datasets). The
memory curve is that of `tm filter` on the first N MB of it. A table goes to stderr, JSON to stdout.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any, NamedTuple

from corpus import made

PEERS = Path(__file__).parent / "peers" / "filtering.py"
TM = [sys.executable, "-m", "tmcli", "filter", "--force"]
LEAN = ["--preset", "off", "--rule", "invalid_status,no_answer,too_many_turns=12,duplicate"]
OURS = {
    "tm, lean": [*TM, *LEAN],
    "tm, default": TM,
    "tm, default, -j 2": [*TM, "-j", "2"],
}
LIBRARIES = ["msgspec", "pysimdjson", "orjson", "polars", "duckdb", "json", "datatrove", "datasets"]
JQ = """
foreach (
  inputs
  | select(.status != "invalid" and ((.prediction // "") | test("\\\\S")) and (.turns | length) <= 12)
  | {key: ([.task.id, .prediction, .turns] | tojson), n: input_line_number, record: .}
) as $one ({};
  if has($one.key) then . else setpath([$one.key]; $one.n) end;
  if .[$one.key] == $one.n then $one.record else empty end)
"""
"""Its set is an object that is changed in place: deeper down, jq would copy it each time."""
NOT_INSTALLED = 3
LIMIT_S = 1200


class Result(NamedTuple):
    seconds: float
    peak_mb: float
    kept: int


def run(argv: list[str], out: Path, cores: int = 1) -> Result | None:
    """One process on so many cores; None: what it needs is not installed."""
    allowed = set(sorted(os.sched_getaffinity(0))[:cores])
    environment = os.environ | {"OMP_NUM_THREADS": "1", "POLARS_MAX_THREADS": "1"}
    with tempfile.TemporaryFile() as said:
        start = time.perf_counter()
        child = subprocess.Popen(
            argv,
            stdout=subprocess.DEVNULL,
            stderr=said,
            env=environment,
            preexec_fn=lambda: os.sched_setaffinity(0, allowed),  # noqa: PLW1509 - no threads yet
        )
        peaks: list[float] = []
        watcher = threading.Thread(target=watch, args=(child.pid, peaks)) if cores > 1 else None
        if watcher:
            watcher.start()
        timer = threading.Timer(LIMIT_S, child.kill)
        timer.start()
        _, status, usage = os.wait4(child.pid, 0)
        seconds = time.perf_counter() - start
        timer.cancel()
        child.returncode = os.waitstatus_to_exitcode(status)
        if watcher:
            watcher.join()
        said.seek(0)
        words = said.read().decode(errors="replace")
    if child.returncode == NOT_INSTALLED:
        return None
    if child.returncode:
        how = f"took more than {LIMIT_S} s" if seconds >= LIMIT_S else f"ended with {child.returncode}"
        raise RuntimeError(f"{how}\n{words[-2000:]}")
    with out.open("rb") as lines:
        kept = sum(1 for _ in lines)
    return Result(seconds, max([usage.ru_maxrss / 1024, *peaks]), kept)


def watch(pid: int, peaks: list[float]) -> None:
    """The memory of a process and its children together, while they live."""
    page = os.sysconf("SC_PAGE_SIZE") / (1 << 20)
    with contextlib.suppress(OSError):
        while Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z":
            total = 0
            for one in family(str(pid)):
                with contextlib.suppress(OSError):
                    total += int(Path(f"/proc/{one}/statm").read_text().split()[1])
            peaks.append(total * page)
            time.sleep(0.05)


def family(pid: str) -> list[str]:
    """A process and all that came of it."""
    found = [pid]
    for one in found:
        for thread in Path(f"/proc/{one}/task").glob("*/children"):
            with contextlib.suppress(OSError):
                found += thread.read_text().split()
    return found


def contenders(source: Path, out: Path, python: str) -> dict[str, tuple[list[str], int]]:
    """Name -> (its command, its cores)."""
    ours = {
        name: ([*argv, str(source), "-o", str(out)], 2 if "-j" in argv else 1) for name, argv in OURS.items()
    }
    libraries = {name: ([python, str(PEERS), name, str(source), str(out)], 1) for name in LIBRARIES}
    jq = shutil.which("jq")
    shell = 'exec "$0" -nc "$1" "$2" > "$3"'
    found = {"jq": (["sh", "-c", shell, jq, JQ, str(source), str(out)], 1)} if jq else {}
    return ours | libraries | found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--mb", type=int, default=500)
    parser.add_argument("--peers", default=sys.executable, metavar="PYTHON")
    parser.add_argument("--only", default="", help="a comma list of names, or of their beginnings")
    parser.add_argument("--rounds", type=int, default=1, help="each so often, in turn; the median counts")
    parser.add_argument("--curve", default="50,200", help="sizes of the memory curve, in MB")
    options = parser.parse_args()
    say(f"making {options.mb} MB of trajectories, or finding them ...")
    source = made(options.mb)
    size = source.stat().st_size / 1e6
    report: dict[str, Any] = {"mb": round(size, 1), "contenders": {}, "curve": {}}
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "kept.jsonl"
        only = tuple(name.strip() for name in options.only.split(",") if name.strip())
        chosen = {
            name: how
            for name, how in contenders(source, out, options.peers).items()
            if name.startswith(only or "")
        }
        results: dict[str, list[Result]] = {}
        for _ in range(options.rounds):
            for name, (argv, cores) in chosen.items():
                try:
                    result = run(argv, out, cores)
                except RuntimeError as error:
                    if name in OURS:
                        raise
                    say(f"{name:20} {error}")
                    continue
                if result is None:
                    say(f"{name:20} is not installed in {options.peers}")
                    continue
                results.setdefault(name, []).append(result)
                say(f"{name:20} {size / result.seconds:7.1f} MB/s ...")
        report["contenders"] = summary(results, size)
        sizes = [int(word) for word in options.curve.split(",") if word]
        for name, argv in list(OURS.items())[:2]:
            curve = {}
            for megabytes in sorted({*(n for n in sizes if n < options.mb), options.mb}):
                result = run([*argv, str(made(megabytes)), "-o", str(out)], out)
                assert result is not None
                curve[megabytes] = round(result.peak_mb, 1)
            report["curve"][name] = curve
            told = ", ".join(f"{n} MB: {peak} MB" for n, peak in curve.items())
            say(f"peak memory of {name}: {told}")
    print(json.dumps(report))
    check(report["contenders"])


def summary(results: dict[str, list[Result]], size: float) -> dict[str, Any]:
    """The table, and what JSON says of it."""
    table = {
        name: {
            "mb_per_s": round(size / statistics.median(one.seconds for one in runs), 1),
            "peak_mb": round(max(one.peak_mb for one in runs), 1),
            "kept": runs[0].kept,
        }
        for name, runs in results.items()
    }
    base = table.get("orjson", {}).get("mb_per_s")
    say(f"\n{'':20} {'MB/s':>8} {'orjson=1':>9} {'peak MB':>9} {'kept':>9}")
    for name, row in sorted(table.items(), key=lambda item: -item[1]["mb_per_s"]):
        ratio = f"{row['mb_per_s'] / base:9.2f}" if base else " " * 9
        say(f"{name:20} {row['mb_per_s']:8.1f} {ratio} {row['peak_mb']:9.0f} {row['kept']:9}")
    return table


def check(table: dict[str, Any]) -> None:
    """The same question has one answer."""
    same = {name: row["kept"] for name, row in table.items() if "default" not in name}
    if len(set(same.values())) > 1:
        raise SystemExit(f"they do not keep the same: {same}")


def say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
