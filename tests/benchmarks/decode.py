"""How fast a policy's tokens come, with and without an adapter, beside transformers' `generate`.

    python tests/benchmarks/decode.py [MODEL] [--batches 1,8,32] [--new 64] [--rounds 3] [--threads]

Every row is a text of 300 tokens; only the tokens after its first are timed, since prefilling is the same
work for all (`tests/benchmarks/rollout.py` times that as well). The contenders alternate in one process, the
best round counts, and a line says in how many rows the greedy text is that of `generate` (in bfloat16 near
ties fall both ways; `--fp32` compares without them). The adapter is LoRA of rank 32 with random weights;
nobody merges it.

`--threads` times decoding in a second thread while the first, which has worked before, waits: as in
`tm rl`, with and without its OpenMP workers dismissed (`policies/local/workers.py`).
"""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

import torch
from peft import LoraConfig, get_peft_model

from tmcli import model as models
from tmcli.policies import Sampling
from tmcli.policies.local import workers
from tmcli.policies.local.engine import Engine
from tmcli.policies.local.episode import Episode

CONTEXT = 300
TEXT = Path(__file__).parents[2] / "README.md"

Ids = list[list[int]]


class Timed(NamedTuple):
    """One contender's best round."""

    wall: float
    cpu: float
    made: int
    """Tokens, in that time."""
    said: Ids


def now() -> tuple[float, float]:
    return time.perf_counter(), time.process_time()


@torch.inference_mode()
def generate(model: Any, rows: Ids, new: int) -> Timed:
    """What `new` tokens take more than one."""
    batch = torch.tensor(rows)
    took = []
    for n in (1, new):
        start = now()
        out = model.generate(
            input_ids=batch, attention_mask=torch.ones_like(batch), do_sample=False,
            max_new_tokens=n, min_new_tokens=n, pad_token_id=0,
        )  # fmt: skip
        took.append([end - begun for begun, end in zip(start, now(), strict=True)])
    (wall_1, cpu_1), (wall, cpu) = took
    return Timed(wall - wall_1, cpu - cpu_1, len(rows) * (new - 1), out[:, CONTEXT:].tolist())


def engine(model: Any, rows: Ids, new: int) -> Timed:
    """All rows enter in the first step, which is not timed."""
    running = Engine(model, frozenset(), Sampling(0.0, 1.0, new, 0), None)
    episodes = [Episode(ids=list(ids), number=i, seed=i) for i, ids in enumerate(rows)]
    running.interrupted.set()
    running.run(episodes)
    running.interrupted.clear()
    before = sum(len(episode.said) for episode in episodes)
    start = now()
    while running.is_busy:
        running.run([])
    wall, cpu = (end - begun for begun, end in zip(start, now(), strict=True))
    said = [episode.said for episode in episodes]
    return Timed(wall, cpu, sum(map(len, said)) - before, said)


def compare(model: Any, adapted: Any, rows: Ids, new: int, rounds: int) -> None:
    contenders: dict[str, Callable[[], Timed]] = {
        "generate": lambda: generate(model, rows, new),
        "tm": lambda: engine(model, rows, new),
        "generate, LoRA": lambda: generate(adapted, rows, new),
        "tm, LoRA": lambda: engine(adapted, rows, new),
    }
    best: dict[str, Timed] = {}
    for _ in range(rounds):
        for name, play in contenders.items():
            timed = play()
            best[name] = min(timed, best.get(name, timed), key=lambda one: one.wall)
    for name, one in best.items():
        peer = best["generate, LoRA" if "LoRA" in name else "generate"]
        (speed, each), (theirs, theirs_each) = ((x.made / x.wall, x.made / x.cpu) for x in (one, peer))
        equal = sum(ids == other for ids, other in zip(one.said, peer.said, strict=True))
        print(
            f"| {len(rows)} | {name} | {speed:.0f} | {speed / theirs:.2f} | {each:.0f} | "
            f"{each / theirs_each:.2f} | {equal} of {len(rows)} |",
            flush=True,
        )


def threads(model: Any, rows: Ids, new: int, rounds: int) -> None:
    """The first thread works, and so has workers; then the second decodes."""
    ways: dict[str, Callable[[], None]] = {"left": lambda: None, "dismissed": workers.dismiss}
    with ThreadPoolExecutor(1) as second:
        best: dict[str, Timed] = {}
        for _ in range(rounds):
            for name, prepare in ways.items():
                torch.randn(2048, 2048).square().sum()
                prepare()
                timed = second.submit(engine, model, rows, new).result()
                second.submit(workers.dismiss).result()
                best[name] = min(timed, best.get(name, timed), key=lambda one: one.wall)
    for name, one in best.items():
        times = best["left"].wall / one.wall
        print(f"| {len(rows)} | workers {name} | {one.made / one.wall:.0f} | {times:.2f} |", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("model", nargs="?", default="smollm2")
    parser.add_argument("--batches", default="1,8,32")
    parser.add_argument("--new", type=int, default=64, help="tokens of a row")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--fp32", action="store_true")
    parser.add_argument("--threads", action="store_true")
    options = parser.parse_args()
    model, tokenizer = models.load(options.model)
    if options.fp32:
        model = model.float()
    ids = tokenizer(TEXT.read_text())["input_ids"]
    print(f"{options.model}, {model.dtype}, {os.cpu_count()} cores, {CONTEXT} tokens of context")
    if options.threads:
        print("| rows | | tokens/s | times |\n|---|---|---|---|")
    else:
        adapted, _ = models.load(options.model)
        adapted = get_peft_model(
            adapted.to(model.dtype),
            LoraConfig(r=32, target_modules="all-linear", init_lora_weights=False),
        ).eval()
        print("| rows | | tokens/s | times | tokens/CPU s | times | text as `generate`'s |")
        print("|---|---|---|---|---|---|---|")
    for n in map(int, options.batches.split(",")):
        rows = [ids[i * CONTEXT : (i + 1) * CONTEXT] for i in range(n)]
        if options.threads:
            threads(model, rows, options.new, options.rounds)
        else:
            compare(model, adapted, rows, options.new, options.rounds)


if __name__ == "__main__":
    main()
