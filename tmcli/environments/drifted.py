"""Tools under drift: a session around any other, with the task's drift between the model and the tools.

    session = Drifted(session, task)      # where the task has `env["drift"]`, see `drift/`

Arguments are held against the interface as it has become, in the words of `arguments.py`; then the call goes
in through the layers and the reply comes out. A reply that no layer touches stays the same text. What the
tools reply is JSON or a text; what was cut on the way is a text.
"""

from __future__ import annotations

import asyncio
import json
import time
from typing import Any

from tmcli.drift import Call, Lens, layers_of, true_tools
from tmcli.environments import Observation, Session
from tmcli.environments.arguments import fault
from tmcli.records import Task


class Drifted:
    """One episode's tools, as unfamiliar as the task says."""

    def __init__(self, session: Session, task: Task) -> None:
        """Raises `InputError` for drift nobody understands."""
        self.session = session
        self.lens = Lens(layers_of(task), true_tools(task))
        self._kept: dict[str, Observation] = {}
        self._one_at_a_time = asyncio.Lock()

    async def call(self, name: str, arguments: dict[str, Any]) -> Observation:
        start = time.perf_counter()
        if (wrong := fault(self.lens.live, name, arguments)) is not None:
            return observed({"error": wrong}, False, start)
        crossing = self.lens.inward(name, arguments)
        if crossing.call is None:
            value, ok = self.lens.outward(crossing, None, False)
            return observed(value, ok, start)
        seen = await self._asked(crossing.call, self.lens.page(crossing))
        before = read(seen)
        value, ok = self.lens.outward(crossing, before, seen.ok)
        if ok == seen.ok and value == before:
            return seen
        return observed(value, ok, start)

    async def close(self) -> None:
        await self.session.close()

    async def _asked(self, call: Call, page: int | None) -> Observation:
        """What the tools reply. A further page is of the reply that was given already: to ask for it again
        might do something again."""
        if page is None:
            return await self.session.call(*call)
        async with self._one_at_a_time:
            key = json.dumps(call, sort_keys=True)
            if page == 1 or key not in self._kept:
                self._kept[key] = await self.session.call(*call)
            return self._kept[key]


def read(seen: Observation) -> Any:
    """What was replied; an error is an object."""
    try:
        value = json.loads(seen.text)
    except ValueError:
        value = seen.text
    return value if seen.ok or isinstance(value, dict) else {"error": value}


def observed(value: Any, ok: bool, start: float) -> Observation:
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return Observation(ok, text, (time.perf_counter() - start) * 1000)
