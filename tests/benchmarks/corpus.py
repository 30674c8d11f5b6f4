"""Realistic trajectories by the megabyte: what the benchmark of `tm filter` reads.

    path = made(500)            # a file of 500 MB in the temporary folder, made once (some minutes)

The scripted teacher plays the training toolboxes under changing drifts, with and without trials. Some
episodes are then broken as real ones are: the world failed (2 %), no answer (5 %), a wrong one (5 %), too
many turns (4 %); some come again as another sample of their task (8 %). The same size gives the same bytes.
"""

from __future__ import annotations

import os
import random
import tempfile
from collections.abc import Iterator
from itertools import count
from pathlib import Path
from typing import Any

import orjson

from tmcli import suites
from tmcli.episode import Limits
from tmcli.policies.scripted import Scripted
from tmcli.records import encode
from tmcli.runner import Runner, jobs

VERSION = 1
DRIFTS: list[list[str]] = [
    [],
    ["stale"],
    ["format"],
    ["rename", "stale"],
    ["wrap", "undocument"],
    ["decoy"],
    ["rename", "format", "wrap", "decoy", "stale", "undocument"],
]
BATCH = 1000


def made(megabytes: int) -> Path:
    """The file; its first N MB are the file of N MB."""
    path = Path(tempfile.gettempdir()) / f"tm-trajectories-{VERSION}-{megabytes}.jsonl"
    if path.exists():
        return path
    part = path.with_suffix(f".{os.getpid()}.tmp")
    left = megabytes * 1_000_000
    with part.open("wb") as out:
        for line in larger(megabytes) or defective(random.Random(0)):
            if left < len(line):
                break
            out.write(line)
            left -= len(line)
    part.replace(path)
    return path


def larger(megabytes: int) -> Iterator[bytes] | None:
    """The lines of a larger file, if one was made."""
    for path in Path(tempfile.gettempdir()).glob(f"tm-trajectories-{VERSION}-*.jsonl"):
        if int(path.stem.rpartition("-")[2]) > megabytes:
            return path.open("rb")
    return None


def defective(rng: random.Random) -> Iterator[bytes]:
    recent: list[bytes] = []
    for line in played():
        if len(recent) > 500 and rng.random() < 0.08:
            again = orjson.loads(rng.choice(recent))
            again["id"] = f"{again['task']['id']}#{rng.randrange(1, 9)}"
            yield orjson.dumps(again) + b"\n"
        chance = rng.random()
        if chance < 0.16:
            record = orjson.loads(line)
            broken(record, chance)
            line = orjson.dumps(record)
        if len(recent) < 1000:
            recent.append(line)
        else:
            recent[rng.randrange(1000)] = line
        yield line + b"\n"


def broken(record: dict[str, Any], chance: float) -> None:
    messages, turns = record["messages"], record["turns"]
    if chance < 0.02:
        record |= {"status": "invalid", "failure": "the server went away", "stop": "infrastructure"}
    if chance < 0.07:
        record |= {"prediction": None, "reward": None}
        del messages[-1], turns[-1]
        record["stop"] = "infrastructure" if chance < 0.02 else "max_turns"
    elif chance < 0.12:
        record["prediction"] = "something else"
        messages[-1]["content"] = "<answer>something else</answer>"
    else:
        first = next((i for i, message in enumerate(messages) if message.get("tool_calls")), None)
        if first is None:
            return
        n = 1 + len(messages[first]["tool_calls"])
        more = 13 - len(turns)
        messages[first:first] = messages[first : first + n] * more
        turns[:0] = [turns[0]] * more


def played() -> Iterator[bytes]:
    """Episodes of the scripted teacher, without end."""
    for seed in count():
        style = "direct" if seed % 5 == 4 else "trial"
        with Runner(Scripted(style=style), Limits()) as runner:
            tasks = suites.suite("train", BATCH, seed, DRIFTS[seed % len(DRIFTS)])
            for trajectory in runner.run(jobs(tasks)):
                yield encode(trajectory)
