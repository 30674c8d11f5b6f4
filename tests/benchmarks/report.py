"""How long a report takes to build, how large it is, and how quick its page is in a browser.

    python tests/benchmarks/report.py [--episodes 10000] [--browser]

Episodes are those of the scripted expert (trial and direct) over the unseen suite under mixed drifts.
`tm eval --html` is timed beside the same without, as processes in turn; memory is the process's peak.
--browser opens the page in headless Chromium and times what a reader waits for. A table goes to stderr,
JSON to stdout.
"""

from __future__ import annotations

import argparse
import gzip
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

TM = [sys.executable, "-m", "tmcli"]
LOOK = """
const done = arguments[arguments.length - 1];
const tick = () => new Promise((next) => setTimeout(next, 0));
(async () => {
  const out = {};
  const timed = async (name, work) => {
    const started = performance.now();
    await work();
    out[name] = (performance.now() - started) / 1000;
  };
  asked = new URLSearchParams("outcome=wrong");
  await timed("filter_s", async () => { await filter(); await tick(); });
  asked = new URLSearchParams("q=zzz-nowhere");
  await timed("search_all_s", () => filter());
  asked = new URLSearchParams(`open=${rows.length >> 1}`);
  await timed("open_s", () => showDetail());
  out.rows = rows.length;
  out.heap_mb = performance.memory.usedJSHeapSize / 1e6;
  done(out);
})();
"""


def make(folder: Path, n: int) -> list[str]:
    """Two files, `n` episodes in all."""
    files = []
    for style in ("trial", "direct"):
        file = folder / f"{style}.jsonl"
        drift = ["--drift", "rename,stale,format,none@0.25"]
        words = ["synth", "--tasks", "unseen", "-n", str(n // 2), "--style", style, *drift, "-o", str(file)]
        subprocess.run([*TM, *words, "-q"], check=True)
        files.append(str(file))
    return files


def measured(words: list[str]) -> dict[str, float]:
    """CPU seconds, wall seconds and peak memory of a process."""
    started = time.perf_counter()
    child = subprocess.Popen([*TM, *words], stdout=subprocess.DEVNULL)
    _, status, used = os.wait4(child.pid, 0)
    assert status == 0, words
    peak = used.ru_maxrss / 1e3
    cpu = used.ru_utime + used.ru_stime
    return {"wall_s": time.perf_counter() - started, "cpu_s": cpu, "peak_mb": peak}


def looked_at(page: Path) -> dict[str, Any]:
    """What a reader waits for."""
    sys.path.insert(0, str(Path(__file__).parents[1]))
    from browser import chromium
    from selenium.webdriver.support.ui import WebDriverWait

    with tempfile.TemporaryDirectory() as profile, chromium(Path(profile)) as browser:
        started = time.perf_counter()
        browser.get(page.as_uri())
        ready = "return document.documentElement.dataset.ready === 'yes'"
        WebDriverWait(browser, 120, 0.02).until(lambda driver: driver.execute_script(ready))
        return {"ready_s": time.perf_counter() - started, **browser.execute_async_script(LOOK)}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--episodes", type=int, default=10_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--browser", action="store_true")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        files = make(folder, asked.episodes)
        page = folder / "report.html"
        kinds = {
            "without": ["eval", *files, "-q"],
            "html": ["eval", *files, "-q", "--html", str(page), "--force"],
        }
        rounds = [{name: measured(words) for name, words in kinds.items()} for _ in range(asked.rounds)]
        best = {name: min((one[name] for one in rounds), key=lambda m: m["cpu_s"]) for name in kinds}
        data = page.read_bytes()
        out = {
            "episodes": asked.episodes,
            "records_mb": sum(Path(file).stat().st_size for file in files) / 1e6,
            "page_mb": len(data) / 1e6,
            "page_gzip_mb": len(gzip.compress(data, 6)) / 1e6,
            **best,
            **({"browser": looked_at(page)} if asked.browser else {}),
        }
    for name, value in out.items():
        print(f"{name:14} {value}", file=sys.stderr)
    out["own_peak_mb"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3
    print(json.dumps(out))


if __name__ == "__main__":
    main()
