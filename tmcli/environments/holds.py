"""What the sandbox holds on this machine, found out by trying it there in real children.

    for hold in status():
        print(hold.name, hold.holds, hold.how)

The attempts are those of `probes.py`. `how` names what held, or what went through. It speaks of these
attempts and proves nothing about others: `zygote.py` says what is not covered.
"""

from __future__ import annotations

import asyncio
import json
import os
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tmcli.environments.sandbox import Sandbox
from tmcli.records import Json

TIMEOUT_S = 10.0
LOOP_S = 0.3
"""For those that are to be ended."""
MEMORY_MB = 256
PROBES = Path(__file__).with_name("probes.py")


@dataclass(frozen=True)
class Hold:
    """One line of the status."""

    name: str
    holds: bool
    how: str


LINES: dict[str, tuple[tuple[str, ...], dict[str, str]]] = {
    "time": (("loop", "loop_without_timer"), {"": "a timer in the child and a clock outside it"}),
    "memory": (("memory",), {"": "a limit on the address space"}),
    "processes": (("processes", "programs"), {"seccomp": "seccomp"}),
    "signals": (("signals",), {"landlock": "Landlock", "seccomp": "seccomp"}),
    "secrets": (("environment",), {"": "an empty environment", "landlock": "Landlock"}),
    "files written": (("written",), {"landlock": "Landlock", "seccomp": "seccomp"}),
    "files read": (("read",), {"landlock": "Landlock"}),
    "sockets": (("sockets",), {"seccomp": "seccomp"}),
    "privileges": (("privileges",), {"privileges": "no capabilities", "seccomp": "seccomp"}),
}
"""Name -> its probes, and by what it may be held, if that was granted."""


def status() -> list[Hold]:
    """Try everything; takes about two seconds."""
    with tempfile.TemporaryDirectory(prefix="tm-holds-") as folder:
        file = Path(folder, "private")
        file.write_text("private", "utf-8")
        ours, homes = os.getpid(), [folder, str(Path.home()), str(Path.cwd())]
        arguments: dict[str, Json] = {
            "memory": {"size": 2 * MEMORY_MB * 1024 * 1024},
            "signals": {"ours": ours},
            "environment": {"ours": ours, "variable": "PATH"},
            "written": {"folder": folder, "file": str(file)},
            "read": {"files": [str(file), "/etc/passwd", __file__], "folders": homes},
        }
        names = ["granted", *(name for probes, _ in LINES.values() for name in probes)]
        said = asyncio.run(_said({name: arguments.get(name, {}) for name in names}))
    through = {probe: _through(probe, value) for probe, value in said.items()}
    granted = said["granted"] if isinstance(said["granted"], list) else []
    holds = []
    for name, (probes, means) in LINES.items():
        open_ways = [way for probe in probes for way in through[probe]]
        held_by = [word for means_of, word in means.items() if means_of in ("", *granted)]
        how = f"went through: {', '.join(open_ways)}" if open_ways else ", ".join(held_by) or "limits"
        holds.append(Hold(name, not open_ways, how))
    return holds


def _through(probe: str, said: Any) -> list[str]:
    """What a probe brought out. The loops must be ended for their time, the others must not end."""
    if probe.startswith("loop"):
        return [] if "gave no answer within" in said else [f"{probe}: {said}"]
    return said if isinstance(said, list) else [f"{probe}: {said}"]


async def _said(probes: Mapping[str, Json]) -> dict[str, Any]:
    """What each probe returned; a sentence where it was ended. Each has a session of its own."""
    source = PROBES.read_text("utf-8")
    patient, hasty = Sandbox(TIMEOUT_S, MEMORY_MB), Sandbox(LOOP_S, MEMORY_MB)

    async def said(name: str) -> Any:
        sandbox = hasty if name.startswith("loop") else patient
        session = sandbox.open({"kind": "python", "codes": {name: source}}, lambda *_: None)
        seen = await session.call(name, probes[name])
        value = json.loads(seen.text)
        return value if seen.ok else value["error"]

    try:
        return dict(zip(probes, await asyncio.gather(*map(said, probes)), strict=True))
    finally:
        await patient.close()
        await hasty.close()
