"""Near duplicates, documents a second: tm, and others that do MinHash, on the same texts in one run.

    tm synth -n 20000 -o runs.jsonl
    python tests/benchmarks/near.py runs.jsonl
    python tests/benchmarks/near.py runs.jsonl --peers /tmp/peers/bin/python   # datasketch and datatrove too

A document is what tm compares of a trajectory: question, words of the model, calls. `short` is it; `long` is
eight in one, as a talkative model writes. Every tenth comes again with one word in 50 changed, the last ones,
which leaves a likeness of about 0.96. Each contender has a process of its own, takes texts and says which
are near an earlier one, from a likeness of 0.9 on: runs of five words, one core, 128 slots (tm 256), and its
usual way to find and confirm. They take turns; the best of three rounds counts, in seconds of the processor.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import random
import re
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

THRESHOLD = 0.9
RUN = 5
SLOTS = 128
BANDS = 8
LONG = 8
WORD = re.compile(r"\w+")
Flags = list[bool]


# ---- contenders: texts -> which are near an earlier one ------------------------------------------


def with_tm(texts: list[str]) -> Flags:
    from tmcli.filters.near import NearSeen, WordKeys
    from tmcli.filters.words import words

    keys, seen = WordKeys(THRESHOLD), NearSeen(THRESHOLD)
    flags: Flags = []
    for at in range(0, len(texts), 256):
        flags += map(seen.seen, keys.of_all([words(text) for text in texts[at : at + 256]]))
    return flags


def shingles(text: str) -> list[str]:
    said = WORD.findall(text.lower())
    return [" ".join(said[i : i + RUN]) for i in range(max(1, len(said) - RUN + 1))]


def with_rensa(texts: list[str], **more: int) -> Flags:
    """Its own deduplicator, which confirms by whole signatures; the bands are its choice."""
    from rensa import RMinHashDeduplicator

    options = {"num_perm": SLOTS} | more
    seen = RMinHashDeduplicator(threshold=THRESHOLD, use_lsh=True, **options)
    return [not new for new in seen.add_pairs((str(i), shingles(text)) for i, text in enumerate(texts))]


def with_more_of_rensa(texts: list[str]) -> Flags:
    """With slots and bands enough to find what tm finds."""
    return with_rensa(texts, num_perm=2 * SLOTS, num_bands=2 * BANDS)


def with_numpy(texts: list[str]) -> Flags:
    """By hand: permutations of 32-bit hashes, bands in a dictionary, whole signatures compared."""
    import numpy as np

    rng = np.random.default_rng(1)
    odd = rng.integers(1, 1 << 63, SLOTS, np.uint64) | np.uint64(1)
    more = rng.integers(1, 1 << 63, SLOTS, np.uint64)
    bands: dict[tuple[int, bytes], list[int]] = {}
    kept: list[np.ndarray] = []
    flags: Flags = []
    for text in texts:
        hashed = [hashlib.blake2b(one.encode(), digest_size=8).digest() for one in shingles(text)]
        found = np.frombuffer(b"".join(hashed), np.uint64)
        slots = ((found[:, None] * odd + more) >> np.uint64(32)).min(axis=0).astype(np.uint32)
        keys = [(i, part.tobytes()) for i, part in enumerate(slots.reshape(BANDS, -1))]
        rows = {row for key in keys for row in bands.get(key, ())}
        flags.append(any((kept[row] == slots).mean() >= THRESHOLD for row in rows))
        if not flags[-1]:
            for key in keys:
                bands.setdefault(key, []).append(len(kept))
            kept.append(slots)
    return flags


def with_datasketch(texts: list[str]) -> Flags:
    from datasketch import MinHash, MinHashLSH

    seen = MinHashLSH(threshold=THRESHOLD, num_perm=SLOTS)
    kept = {}
    flags: Flags = []
    for i, text in enumerate(texts):
        one = MinHash(num_perm=SLOTS)
        one.update_batch([piece.encode() for piece in shingles(text)])
        flags.append(any(one.jaccard(kept[key]) >= THRESHOLD for key in seen.query(one)))
        if not flags[-1]:
            kept[i] = one
            seen.insert(i, one)
    return flags


def with_datatrove(texts: list[str]) -> Flags:
    """Its four steps over files; what shares a band is a duplicate, nothing is confirmed."""
    from datatrove.data import Document
    from datatrove.pipeline.dedup import (
        MinhashDedupBuckets,
        MinhashDedupCluster,
        MinhashDedupFilter,
        MinhashDedupSignature,
    )
    from datatrove.pipeline.dedup.minhash import MinhashConfig
    from datatrove.utils.logging import logger

    logger.remove()
    config = MinhashConfig(n_grams=RUN, num_buckets=BANDS, hashes_per_bucket=SLOTS // BANDS)

    def documents() -> Iterator[Document]:
        return (Document(text, str(i)) for i, text in enumerate(texts))

    with tempfile.TemporaryDirectory() as folder:
        signatures, buckets, removed = (f"{folder}/{name}" for name in ("signatures", "buckets", "removed"))
        MinhashDedupSignature(signatures, config).run(documents())
        for bucket in range(BANDS):
            MinhashDedupBuckets(signatures, buckets, config=config).run(None, bucket, BANDS)
        MinhashDedupCluster(buckets, removed, config).run(None)
        kept = {document.id for document in MinhashDedupFilter(removed).run(documents())}
    return [str(i) not in kept for i in range(len(texts))]


CONTENDERS: dict[str, Callable[[list[str]], Flags]] = {
    "tm": with_tm,
    "rensa": with_rensa,
    "rensa, 256 slots, 16 bands": with_more_of_rensa,
    "numpy": with_numpy,
    "datasketch": with_datasketch,
    "datatrove": with_datatrove,
}
PEERS = ("datasketch", "datatrove")


# ---- texts, and the run --------------------------------------------------------------------------


def texts_of(path: Path) -> list[str]:
    """What tm compares of each trajectory."""
    from tmcli import io
    from tmcli.filters.view import View

    texts = []
    for _, line in io.read_lines(str(path))[1]:
        view = View.of(line)
        texts.append("\n".join([view.question, *view.said, *(call.key.decode() for call in view.calls)]))
    return texts


def with_near(texts: list[str]) -> Iterator[tuple[str, bool]]:
    """Each text, and for every tenth one nearly like it. Was it made so?"""
    rng = random.Random(0)
    for i, text in enumerate(texts):
        yield text, False
        if i % 10 == 0:
            said = WORD.findall(text)
            n = max(1, len(said) // 50)
            yield " ".join([*said[:-n], *rng.choices("abcdefgh", k=n)]), True


def alone(name: str, path: Path) -> None:
    """One contender; says how long it took and what it found."""
    texts = [json.loads(line) for line in path.open()]
    CONTENDERS[name](texts[:64])  # what is made once
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    start = time.process_time()
    flags = CONTENDERS[name](texts)
    seconds = time.process_time() - start
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    print(
        json.dumps({"seconds": seconds, "mb": grown / 1024, "flags": "".join("01"[flag] for flag in flags)})
    )


def compare(title: str, made: list[tuple[str, bool]], peers: str | None, rounds: int) -> None:
    planted = [near for _, near in made]
    best: dict[str, dict[str, object]] = {}
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "texts.jsonl"
        path.write_text("".join(json.dumps(text) + "\n" for text, _ in made))
        for _ in range(rounds):
            for name in CONTENDERS:
                python = peers if name in PEERS else sys.executable
                if python is None:
                    continue
                done = subprocess.run(
                    [python, __file__, "--alone", name, str(path)],
                    env=os.environ | {"OMP_NUM_THREADS": "1", "RAYON_NUM_THREADS": "1"},
                    stdout=subprocess.PIPE,
                    check=True,
                )
                said = json.loads(done.stdout.splitlines()[-1])
                if name not in best or said["seconds"] < best[name]["seconds"]:
                    best[name] = said
    mean = sum(len(text) for text, _ in made) / len(made)
    print(f"\n{title}: {len(made)} texts of {mean:.0f} characters, {sum(planted)} made near duplicates")
    print("| | texts/s | of tm | MB more | made and found | others found |\n|---|---|---|---|---|---|")
    tm = float(best["tm"]["seconds"])  # type: ignore[arg-type]
    for name, said in best.items():
        flags = [flag == "1" for flag in str(said["flags"])]
        found = sum(flag and near for flag, near in zip(flags, planted, strict=True))
        seconds = float(said["seconds"])  # type: ignore[arg-type]
        cells = (
            f"{len(made) / seconds:.0f} | {tm / seconds:.2f} | {said['mb']:.0f} | {found / sum(planted):.1%}"
        )
        print(f"| {name} | {cells} | {sum(flags) - found} |")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("file", type=Path, help="trajectories, or with --alone texts")
    parser.add_argument("--peers", help="a Python that has datasketch and datatrove")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--alone", choices=CONTENDERS, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.alone:
        alone(options.alone, options.file)
        return
    texts = texts_of(options.file)
    joined = ["\n".join(texts[i : i + LONG]) for i in range(0, len(texts), LONG)]
    compare("short", list(with_near(texts)), options.peers, options.rounds)
    compare("long", list(with_near(joined)), options.peers, options.rounds)


if __name__ == "__main__":
    main()
