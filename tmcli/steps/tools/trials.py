"""Run the tools of a toolbox, to see whether tasks can be built on them.

    trials = Trials(box, "mytools/tools.py", "mytools/tasks.py", lines)
    asyncio.run(trials.run())
    trials.faults

Worlds and replies come from two sandboxes whose hash seeds differ, and must be the same in both. Tasks are
made of each template; their plans are played as an episode would, and must bring the gold answer; an answer
must not be guessable. At last each tool is given odd arguments: what it raises is to be a sentence.
"""

from __future__ import annotations

import copy
import json
import random
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tmcli import suites, templates, toolbox
from tmcli.environments.sandbox import Sandbox, SandboxSession
from tmcli.environments.world import World
from tmcli.errors import EnvironmentFailure, InputError
from tmcli.records import Json, Task
from tmcli.steps.tools.templates import faults as template_faults
from tmcli.steps.tools.templates import lines as template_lines
from tmcli.toolbox import Toolbox

SEEDS = range(5)
"""Worlds that are compared."""
N_ANSWERS = 60
"""Tasks of a template whose answers are compared."""
MOST_ALIKE = 1 / 3
"""A greater share of equal answers can be guessed."""
N_PLAYED = 3
"""How many of them are played."""
N_MIXED = 20
"""Tasks of the toolbox's own suite, played as well: some cannot be done, some show other tools."""
TIMEOUT_S = 5.0

PROBE = Path(__file__).with_name("probe.py").read_text("utf-8")

ODD: Json = {
    "string": ["", "?", "é \u202e\x00", "x" * 3000],
    "integer": [0, -1, 10**18],
    "number": [0, -1.5, 1e300],
    "boolean": [True, False],
    "array": [[]],
    "object": [{}],
    "null": [None],
}
"""By type: what a schema allows and nobody expects."""


class Trials:
    """One toolbox, being tried."""

    def __init__(self, box: Toolbox, file: str, tasks_file: str, lines: dict[str, int]) -> None:
        self.box = box
        self.file = file
        """As faults call the file of the functions."""
        self.tasks_file = tasks_file
        self.lines = lines
        """Where each function is."""
        self.faults: list[InputError] = []
        self.n_played = 0
        self.known: dict[str, tuple[int, Json]] = {}
        """Tool -> a seed, and arguments that bring a reply."""
        self.templates = self._read_templates()

    def _read_templates(self) -> list[Any]:
        problem, remedy, line = "TEMPLATES is no list", "write TEMPLATES = [{...}]", None
        try:
            if isinstance(self.box.templates, list):
                return self.box.templates
        except InputError as error:
            problem, remedy, line = error.problem, error.remedy, error.line
        self.faults.append(InputError(problem, remedy, source=self.tasks_file, line=line))
        return []

    async def run(self) -> None:
        """Try everything. What hangs is found in the sandbox first, before anything is run in our process."""
        pair = Sandbox(TIMEOUT_S), Sandbox(TIMEOUT_S, hash_seed=1)
        world = World(TIMEOUT_S)
        try:
            if await self._worlds(pair):
                await self._templates(world)
                for tool in self.box.tools:
                    await self._odd(pair, tool["function"])
        finally:
            for part in (*pair, world):
                await part.close()

    # ---- worlds ----------------------------------------------------------------------------------

    async def _worlds(self, pair: tuple[Sandbox, Sandbox]) -> bool:
        """Can they be built, and are they the same everywhere?"""
        place, line = "make_world", self.lines.get("make_world")
        digests = set()
        for seed in SEEDS:
            told = [await self._ask(sandbox, seed, "_tm_world", {}) for sandbox in pair]
            if isinstance(told[0], str) or isinstance(told[1], str):
                problem = next(text for text in told if isinstance(text, str))
                self._fault(line, place if line else "", problem, "correct it; it is run with every task")
                return False
            if told[0]["problem"] and self.templates:
                remedy = "build it of dicts with text keys, lists, texts and numbers"
                self._fault(line, place, f"the world {told[0]['problem']}", remedy)
                return False
            if told[0]["digest"] != told[1]["digest"]:
                remedy = "draw all from random.Random(seed): no clock, no order of a set"
                self._fault(line, place, f"the world of seed {seed} is not the same in every process", remedy)
                return False
            digests.add(told[0]["digest"])
        if line and len(digests) == 1 and self.templates:
            self._fault(line, place, "every seed has the same world", "draw it from random.Random(seed)")
            return False
        return True

    # ---- templates -------------------------------------------------------------------------------

    async def _templates(self, world: World) -> None:
        """Those that can be filled in, and then all of them mixed."""
        if not self.templates:
            return
        example = self.box.world(0)
        lines = template_lines(self.box.folder / "tasks.py")
        before = len(self.faults)
        for number, template in enumerate(self.templates):
            line = lines[number] if number < len(lines) else None
            wrong = list(template_faults(template, self.box, example))
            for place, problem, remedy in wrong:
                where = f"TEMPLATES[{number}].{place}".rstrip(".")
                self.faults.append(
                    InputError(problem, remedy, field=where, source=self.tasks_file, line=line)
                )
            if not wrong:
                await self._template(world, number, line)
        if len(self.faults) == before:
            await self._mixed(world)

    async def _template(self, world: World, number: int, line: int | None) -> None:
        """Make tasks of one template; compare their answers, play some."""
        template = self.templates[number]
        made: list[Task] = []
        try:
            alone = copy.copy(self.box)  # what was read of the box is shared
            vars(alone)["templates"] = [{**template, "cannot": False}]
            for seed in range(N_ANSWERS):
                made.append(templates.make(alone, seed, random.Random(f"{number}:{seed}")))
        except InputError as error:
            problem = error.problem.removeprefix("template 1: ")
            self._template_fault(number, line, problem, "correct the template or its tools")
            return
        except Exception as error:  # noqa: BLE001  the toolbox's own code
            problem = f"{type(error).__name__}: {error}"
            self._template_fault(number, line, problem, "correct the tools that it calls")
            return
        (answer, count), *_ = Counter(task.answer[0] for task in made).most_common(1)
        if count > MOST_ALIKE * len(made):
            problem = f"{count} of {len(made)} answers are {answer!r}, which can be guessed"
            self._template_fault(number, line, problem, "ask for what differs from world to world")
        for task in made[:N_PLAYED]:
            wrong = await self._play(world, task)
            if wrong is not None:
                self._template_fault(number, line, *wrong)
                return

    async def _mixed(self, world: World) -> None:
        """Play what the toolbox's own suite offers."""
        for task in suites.suite(self.box.place, N_MIXED):
            wrong = await self._play(world, task)
            if wrong is not None:
                question = task.messages[0]["content"]
                self.faults.append(InputError(*wrong, field=repr(question), source=self.tasks_file))
                return

    async def _play(self, world: World, task: Task) -> tuple[str, str] | None:
        """Make the calls of the plan, each twice. What is wrong, or None."""
        self.n_played += 1
        plan = task.plan or []
        session = world.open(task)
        results: dict[int, Any] = {}
        try:
            for i, step in enumerate(plan):
                arguments = toolbox.resolve(step["arguments"], results)
                call = f"{step['name']}({', '.join(f'{key}={value!r}' for key, value in arguments.items())})"
                seen = await session.call(step["name"], arguments)
                again = await session.call(step["name"], arguments)
                if not seen.ok:
                    if i == len(plan) - 1 and step["answer"] is None:
                        return None
                    return f"the plan's call {call} is answered {seen.text}", "correct the plan, or the tool"
                if again.text != seen.text:
                    return (
                        f"{call} replies otherwise when called again",
                        "let no call change what others reply",
                    )
                results[i] = json.loads(seen.text)
                self.known.setdefault(step["name"], (task.env["seed"], arguments))
            gold = toolbox.text_of(toolbox.gold(plan, results))
        except (LookupError, ValueError, TypeError) as error:
            return (
                f"its plan comes to nothing in the sandbox: {type(error).__name__}: {error}",
                "correct the plan",
            )
        except EnvironmentFailure as error:
            return f"its plan cannot be played: {error.problem}", error.remedy
        finally:
            await session.close()
        if gold != task.answer[0]:
            problem = f"its plan brings {gold!r} in the sandbox, and the gold answer is {task.answer[0]!r}"
            return problem, "let tools reply the same in every process, with JSON"
        return None

    # ---- odd arguments -----------------------------------------------------------------------------

    async def _odd(self, pair: tuple[Sandbox, Sandbox], function: Json) -> None:
        """Call a tool with what its schema allows and nobody expects; of each sort of fault one is told."""
        name = function["name"]
        seed, known = self.known.get(name, (0, None))
        told: set[str] = set()
        sessions = [self._session(sandbox, seed) for sandbox in pair]
        try:
            for arguments in _odd_calls(function["parameters"], known):
                first, second = [await _probe(session, name, arguments) for session in sessions]
                sort, line, problem, remedy = self._verdict(name, first, second)
                if sort and sort not in told:
                    told.add(sort)
                    given = ", ".join(f"{key}={_short(value)}" for key, value in arguments.items())
                    self._fault(line or self.lines.get(name), name, f"{problem} for ({given})", remedy)
                if sort == "silent":
                    return
        finally:
            for session in sessions:
                await session.close()

    def _verdict(self, name: str, first: Json | str, second: Json | str) -> tuple[str, int | None, str, str]:
        if isinstance(first, str):
            return "silent", None, first, "let it answer in time, whatever it is asked"
        if first.get("raised"):
            if not first["meant"]:
                said = f": {first['text']}" if first["text"] else ""
                remedy = "raise LookupError or ValueError with a sentence that a model can learn from"
                return "crash", self._line(first), f"raises {first['raised']}{said}", remedy
            if not first["text"]:
                return (
                    "mute",
                    self._line(first),
                    f"raises {first['raised']} without a sentence",
                    "say what is wrong",
                )
        elif first["problem"]:
            return "json", None, f"returns {first['problem']}", "return dicts, lists, texts, numbers"
        elif self.box.file.name == "tools.py" and not first["object"]:
            return "object", None, f"returns {first['text'][:40]}, no object", 'return {"key": value}'
        if first != second:
            return (
                "random",
                None,
                "replies otherwise in another process",
                "use no clock, no chance, no order of a set",
            )
        return "", None, "", ""

    def _line(self, told: Json) -> int | None:
        """Where it was raised; a call that does not fit is raised in the probe, behind the last line."""
        line: int = told["line"]
        return line if line <= self.box.source.count("\n") + 1 else None

    # ---- the sandbox -------------------------------------------------------------------------------

    def _session(self, sandbox: Sandbox, seed: int) -> SandboxSession:
        source = f"{self.box.source}\n\n{PROBE}"
        spec = {"kind": "toolbox", "name": self.box.name, "source": source, "seed": seed}
        return sandbox.open(spec, lambda *_: None)

    async def _ask(self, sandbox: Sandbox, seed: int, name: str, arguments: Json) -> Json | str:
        session = self._session(sandbox, seed)
        try:
            return await _reply(session, name, arguments)
        finally:
            await session.close()

    def _fault(self, line: int | None, place: str, problem: str, remedy: str) -> None:
        self.faults.append(InputError(problem, remedy, field=place, source=self.file, line=line))

    def _template_fault(self, number: int, line: int | None, problem: str, remedy: str) -> None:
        place = f"TEMPLATES[{number}]"
        self.faults.append(InputError(problem, remedy, field=place, source=self.tasks_file, line=line))


async def _reply(session: SandboxSession, name: str, arguments: Json) -> Json | str:
    """What the probe tells, or the sentence of a sandbox that got no answer."""
    try:
        seen = await session.call(name, arguments)
        reply: Json = json.loads(seen.text)
    except EnvironmentFailure as error:
        return error.problem
    except ValueError:  # cut
        return "replies more than a model can read"
    return reply if seen.ok else str(reply.get("error"))


async def _probe(session: SandboxSession, tool: str, arguments: Json) -> Json | str:
    return await _reply(session, "_tm_probe", {"tool": tool, "arguments": arguments})


def _odd_calls(parameters: Json, known: Json | None) -> Iterator[Json]:
    """All parameters odd at once; then, from a call that is known to work, one at a time."""
    odd = {name: _odd(schema) for name, schema in parameters["properties"].items()}
    for i in range(max(map(len, odd.values()), default=1)):
        yield {name: values[i % len(values)] for name, values in odd.items()}
    if known is not None:
        yield known
        for name, values in odd.items():
            yield from ({**known, name: value} for value in values)


def _odd(schema: Any) -> list[Any]:
    schema = schema if isinstance(schema, dict) else {}
    if schema.get("enum"):
        return list(schema["enum"])
    if schema.get("format") == "date":
        return ["", "soon", "2023-02-29", "9999-12-31"]
    kind = schema.get("type", "string")
    kinds = kind if isinstance(kind, list) else [kind]
    return [value for word in kinds for value in ODD.get(word, [])] or [None]


def _short(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=True)
    return text if len(text) <= 40 else f"{text[:30]}...{text[-4:]}"
