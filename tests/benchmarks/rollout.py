"""Episodes with a local model, side by side: plain `generate`, TRL's tool loop, and tm.

    python tests/benchmarks/rollout.py                                  # some cells, about five minutes
    python tests/benchmarks/rollout.py --cells 1x2,8x6,32x12 --rounds 3
    python tests/benchmarks/rollout.py --cells all --only trl,tm        # contenders that have these words
    python tests/benchmarks/rollout.py --model ckpt/sft --new 48

A cell is EPISODESxTURNS. The episodes are the same for all: tasks of one built-in toolbox, in each turn
`--new` tokens, greedily, then a call of one of its tools, whose reply is in the next turn's context; how that
is made so for everybody is said in `peers/same_work.py`. The contenders take turns, cell by cell, each in a
process that lives for the whole run and has its model loaded:

    generate        transformers' `generate`, the dialogue prefilled again for each turn, all rows in step
    continuous      the same by transformers' continuous batching (`generate_batch`)
    trl             TRL's GRPOTrainer with `environment_factory`, generation phase only, weights in bf16
    trl-defaults    the same as TRL comes: weights in fp32
    trl-continuous  `trl` with `use_transformers_continuous_batching`
    tm              the local policy behind the Runner, the tools in tm's sandbox, trajectories judged

`text` says in how many episodes the sampled text equals that of the first contender, and `ties`: of the
others, how many differ first where both tokens are nearly as likely (a rounding decides there, in bf16 within
0.2 nats). `MB` is the most memory the process held (not its sandbox), `cpu` its seconds. A contender that
fails, or takes longer than `--limit`, is a line that says so. The table goes to stderr, one JSON object a
cell to stdout.

Run it with nothing else running.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
import traceback
from contextlib import suppress
from importlib import import_module
from itertools import chain
from pathlib import Path
from queue import Empty, Queue
from threading import Thread
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))

from peers import same_work

Json = dict[str, Any]

CONTENDERS = {
    "generate": "with_generate.Generate",
    "continuous": "with_generate.Continuous",
    "trl": "with_trl.Trl",
    "trl-defaults": "with_trl.Defaults",
    "trl-continuous": "with_trl.Paged",
    "tm": "with_tm.Tm",
}
DEFAULT = "generate,continuous,trl,tm"
CELLS = "1x6,8x2,8x6,32x2"
ALL = ",".join(f"{n}x{turns}" for n in (1, 8, 32) for turns in (2, 6, 12))
TIE = 0.2
"""Nats between two tokens that bf16 may swap."""


def serve(name: str, folder: Path) -> None:
    """A contender's process: reads a cell a line, writes a result a line."""
    same_work.quiet()
    module, made = CONTENDERS[name].split(".")
    contender = getattr(import_module(f"peers.{module}"), made)(folder)
    peak = same_work.Peak()
    out = sys.stdout
    sys.stdout = sys.stderr
    print("{}", file=out, flush=True)
    for line in sys.stdin:
        n, turns, new = json.loads(line)
        episodes = [same_work.Episode(task) for task in same_work.tasks(n)]
        try:
            contender.prepare(episodes, turns, new)
            peak.reset()
            spent = time.process_time()
            seconds, said = contender.play()
            if {len(turn) for turn in chain(*said)} != {new} or {len(one) for one in said} != {turns}:
                raise RuntimeError("it did other work than it was asked to")
            spent = time.process_time() - spent
            result: Json = {"seconds": seconds, "cpu_s": spent, "mb": peak.mb, "said": said}
        except Exception as error:  # noqa: BLE001 - a contender that fails is a line of the table
            traceback.print_exc()
            result = {"error": f"{type(error).__name__}: {error}".splitlines()[0][:200]}
        print(json.dumps(result), file=out, flush=True)


class Process:
    """A contender, waiting for cells."""

    def __init__(self, name: str, folder: Path, log: Path) -> None:
        self.name = name
        command = [sys.executable, __file__, "--serve", name, str(folder)]
        self.process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log.open("w"), text=True
        )
        self.lines: Queue[Json] = Queue()
        Thread(target=self._read, daemon=True).start()
        self.dead = self._next(300).get("error", "")

    def _read(self) -> None:
        assert self.process.stdout
        for line in self.process.stdout:
            self.lines.put(json.loads(line))
        self.lines.put({"error": "it died", "over": True})

    def _next(self, limit: float) -> Json:
        try:
            return self.lines.get(timeout=limit)
        except Empty:
            self.close()
            return {"error": f"more than {limit:.0f} s", "over": True}

    def play(self, n: int, turns: int, new: int, limit: float) -> Json:
        if self.dead:
            return {"error": self.dead}
        assert self.process.stdin
        with suppress(BrokenPipeError):  # it died: `_read` has said so
            self.process.stdin.write(json.dumps([n, turns, new]) + "\n")
            self.process.stdin.flush()
        result = self._next(limit)
        if result.get("over"):
            self.dead = result["error"]
        return result

    def close(self) -> None:
        self.process.kill()
        self.process.wait()


class Referee:
    """Says where two texts of one episode part, and whether a rounding could decide it."""

    def __init__(self, folder: Path) -> None:
        import torch

        from tmcli import model as models
        from tmcli.chat import Chat

        self.model, tokenizer = models.load(str(folder), dtype=torch.float32)
        self.chat = Chat(tokenizer)

    def tie(self, task: Any, one: list[list[int]], other: list[list[int]]) -> bool:
        import torch

        episode = same_work.Episode(task)
        ids = self.chat.prompt_ids(episode.opening(), task.tools)
        for a, b in zip(one, other, strict=True):
            if a != b:
                at = next((i for i, pair in enumerate(zip(a, b, strict=False)) if pair[0] != pair[1]), None)
                if at is None:
                    return False
                with torch.inference_mode():
                    logits = self.model(torch.tensor([ids + a[:at]]), logits_to_keep=1).logits[0, -1]
                return abs(float(logits[a[at]] - logits[b[at]])) < TIE
            ids = [*ids, *a, self.chat.turn_end_id, *self.chat.suffix_ids(episode.told())]
        return True


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--cells", default=CELLS, help=f"EPISODESxTURNS, comma list, or all ({ALL})")
    parser.add_argument("--only", default=DEFAULT, help=f"of {', '.join(CONTENDERS)}; default {DEFAULT}")
    parser.add_argument("--model", default="smollm2")
    parser.add_argument("--new", type=int, default=24, help="tokens a turn")
    parser.add_argument("--rounds", type=int, default=1, help="the best of so many is shown")
    parser.add_argument("--limit", type=float, default=300, help="seconds of one run in one cell")
    parser.add_argument("--logs", type=Path, help="folder for what the contenders print")
    parser.add_argument("--serve", nargs=2, help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.serve:
        serve(asked.serve[0], Path(asked.serve[1]))
        return
    names = asked.only.split(",")
    if unknown := set(names) - CONTENDERS.keys():
        sys.exit(f"no contender {', '.join(sorted(unknown))}; there are {', '.join(CONTENDERS)}")
    chosen = ALL if asked.cells == "all" else asked.cells
    cells = [tuple(map(int, cell.split("x"))) for cell in chosen.split(",")]
    with tempfile.TemporaryDirectory() as temporary:
        logs = asked.logs or Path(temporary)
        logs.mkdir(exist_ok=True)
        folder = same_work.endless(asked.model, Path(temporary) / "model")
        processes = [Process(name, folder, logs / f"{name}.log") for name in names]
        referee = Referee(folder)
        try:
            for n, turns in cells:
                for process in processes:  # what a first run pays once: threads, kernels, the sandbox
                    process.play(1, 2, 4, asked.limit)
                runs = [
                    {process.name: process.play(n, turns, asked.new, asked.limit) for process in processes}
                    for _ in range(asked.rounds)
                ]
                show(n, turns, asked.new, runs, referee)
        finally:
            for process in processes:
                process.close()


def show(n: int, turns: int, new: int, runs: list[dict[str, Json]], referee: Referee) -> None:
    """One cell: a line a contender, and the JSON."""
    tasks = same_work.tasks(n)
    found: dict[str, Json] = {}
    base = next((one["said"] for one in runs[0].values() if "said" in one), [])
    print(f"\n{n} episodes x {turns} turns x {new} tokens", file=sys.stderr)
    first = None
    for name in runs[0]:
        good = [run[name] for run in runs if "said" in run[name]]
        if not good:
            found[name] = runs[0][name]
            print(f"{name:15} {runs[0][name]['error']}", file=sys.stderr)
            continue
        best = min(good, key=lambda one: one["seconds"])
        said = best.pop("said")
        equal = [a == b for a, b in zip(base, said, strict=True)]
        ties = sum(
            referee.tie(task, a, b)
            for task, a, b, same in zip(tasks, base, said, equal, strict=True)
            if not same
        )
        found[name] = best | {"equal": sum(equal), "ties": ties, "all_s": [one["seconds"] for one in good]}
        seconds = best["seconds"]
        first = first or seconds
        print(
            f"{name:15} {n * turns * new / seconds:7.1f} tokens/s {60 * n / seconds:7.1f} episodes/min "
            f"{first / seconds:6.2f}x   {seconds:6.1f} s, cpu {best['cpu_s']:6.1f}   {best['mb']:5.0f} MB   "
            f"text {sum(equal)}/{n}" + (f" ties {ties}" if sum(equal) < n else ""),
            file=sys.stderr,
            flush=True,
        )
    print(json.dumps({"episodes": n, "turns": turns, "new": new, "contenders": found}), flush=True)


if __name__ == "__main__":
    main()
