"""Tools of a task whose things have other names (`drift/relabel.py`): a session that translates both ways."""

from __future__ import annotations

import time
from typing import Any

from tmcli.drift.forms import texts
from tmcli.drift.relabel import Words
from tmcli.environments import Observation, Session
from tmcli.environments.arguments import fault
from tmcli.environments.drifted import observed, read
from tmcli.errors import InputError
from tmcli.records import Json, Task


class Relabeled:
    """One episode's tools, in the task's words."""

    def __init__(self, session: Session, task: Task) -> None:
        """Raises `InputError` for words that are none."""
        new, schemas = task.env["words"], task.env.get("schemas")
        if not isinstance(new, dict) or not isinstance(schemas, list):
            raise InputError("no words with their schemas", "make the task again", field="env.words")
        self.schemas: list[Json] = schemas
        self.session = session
        self.words = Words(new)
        self.true = self.words.back()

    async def call(self, name: str, arguments: dict[str, Any]) -> Observation:
        start = time.perf_counter()
        if (wrong := fault(self.schemas, name, arguments)) is not None:
            return observed({"error": wrong}, False, start)
        true = {self.true.name(key): value for key, value in arguments.items()}
        seen = await self.session.call(self.true.name(name), true)
        value = read(seen)
        if seen.ok:
            return observed(self.words.keys(value), True, start)
        given = [value for value in arguments.values() if isinstance(value, str)]
        told = {key: texts(said, lambda text: self.words.text(text, given)) for key, said in value.items()}
        return observed(told, False, start)

    async def close(self) -> None:
        await self.session.close()
