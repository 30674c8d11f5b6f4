"""Run the tools of a toolbox, to see whether tasks can be built on them.

    trials = Trials(box, "mytools/tools.py", "mytools/tasks.py", lines, objects=True)
    asyncio.run(trials.run())
    trials.faults

Worlds and replies come from two sandboxes whose hash seeds differ, and must be the same in both. Tasks are
made of each template; their plans are played as an episode would, and must bring the gold answer; an answer
must not be guessable. At last each tool is given odd arguments: what it raises is to be a sentence.
"""

from __future__ import annotations

import asyncio
import copy
import json
import random
from collections import Counter
from pathlib import Path
from typing import Any

from tmcli import suites, templates, toolbox
from tmcli.environments.sandbox import NO_WORLD, Sandbox, SandboxSession
from tmcli.environments.world import World
from tmcli.errors import EnvironmentFailure, InputError, TmError
from tmcli.records import Json, Task
from tmcli.steps.tools import odd
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

Wrong = tuple[str, str]
"""A problem and its remedy."""


class Trials:
    """One toolbox, being tried."""

    def __init__(
        self, box: Toolbox, file: str, tasks_file: str, lines: dict[str, int], *, objects: bool
    ) -> None:
        self.box = box
        self.file = file
        """As faults call the file of the functions."""
        self.tasks_file = tasks_file
        self.lines = lines
        """Where each function is."""
        self.objects = objects
        """Is each reply to be a JSON object?"""
        self.faults: list[InputError] = []
        self.n_played = 0
        self.known: dict[str, tuple[int, Json]] = {}
        """Tool -> a seed, and arguments that are to bring a reply."""
        self.n_lines = len(box.source.splitlines())
        self.templates = self._read_templates()
        try:
            toolbox.load(box.place)
            self.playable = True
        except TmError:  # its files are broken, which is told already
            self.playable = False

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
        world = World(TIMEOUT_S)
        pair = world.machinery.sandbox, Sandbox(TIMEOUT_S, hash_seed=1)
        try:
            if await self._worlds(pair):
                await self._templates(world)
                for tool in self.box.tools:
                    await self._odd(pair, tool["function"])
        finally:
            await world.close()
            await pair[1].close()

    # ---- worlds ----------------------------------------------------------------------------------

    async def _worlds(self, pair: tuple[Sandbox, Sandbox]) -> bool:
        """Can they be built, and are they the same everywhere?"""
        place, line = "make_world", self.lines.get("make_world")
        digests = set()
        for seed in SEEDS:
            told = await asyncio.gather(*(self._ask(sandbox, seed, "_tm_world", {}) for sandbox in pair))
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
        try:
            example = self.box.world(0)
        except Exception as error:  # noqa: BLE001  what went well in the sandbox
            problem = f"outside the sandbox: {type(error).__name__}: {error}"
            self._fault(
                self.lines.get("make_world"), "make_world", problem, "let it need nothing but its seed"
            )
            return
        lines = template_lines(self.box.tasks_file)
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
        if self.playable and len(self.faults) == before:
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
        for task in made[:N_PLAYED] if self.playable else ():
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

    async def _play(self, world: World, task: Task) -> Wrong | None:
        """Make the calls of the plan, each twice."""
        self.n_played += 1
        plan = task.plan or []
        session = world.open(task)
        results: dict[int, Any] = {}
        try:
            for i, step in enumerate(plan):
                arguments = toolbox.resolve(step["arguments"], results)
                call = f"{step['name']}({odd.written(arguments)})"
                self.known.setdefault(step["name"], (task.env["seed"], arguments))
                seen = await session.call(step["name"], arguments)
                again = await session.call(step["name"], arguments)
                if again.text != seen.text:
                    return f"{call} replies otherwise when called again", "let no call change another's reply"
                if seen.ok:
                    results[i] = json.loads(seen.text)
                elif i < len(plan) - 1 or step["answer"] is not None:
                    return f"its call {call} is answered {seen.text}", "correct the plan, or the tool"
            gold = toolbox.text_of(toolbox.gold(plan, results))
        except (LookupError, ValueError, TypeError) as error:
            problem = f"its plan comes to nothing in the sandbox: {type(error).__name__}: {error}"
            return problem, "correct the plan, or the tools"
        except EnvironmentFailure as error:
            return f"its plan cannot be played: {error.problem}", error.remedy
        finally:
            await session.close()
        if gold == task.answer[0]:
            return None
        problem = f"its plan brings {gold!r} in the sandbox, where the gold answer is {task.answer[0]!r}"
        return problem, "let tools reply the same in every process, with JSON"

    # ---- odd arguments -----------------------------------------------------------------------------

    async def _odd(self, pair: tuple[Sandbox, Sandbox], function: Json) -> None:
        """Call a tool with what its schema allows and nobody expects."""
        name = function["name"]
        seed, known = self.known.get(name, (0, None))
        told: set[str] = set()
        sessions = [self._session(sandbox, seed) for sandbox in pair]
        try:
            for arguments in odd.calls(function["parameters"], known):
                probe = {"tool": name, "arguments": arguments}
                seen = await asyncio.gather(*(_reply(session, "_tm_probe", probe) for session in sessions))
                fault = odd.fault(*seen, objects=self.objects)
                if fault is not None and fault.sort not in told:
                    told.add(fault.sort)
                    # a call that does not fit is raised in the probe, behind the last line
                    line = fault.line if fault.line and fault.line <= self.n_lines else self.lines.get(name)
                    self._fault(line, name, f"{fault.problem} for ({odd.written(arguments)})", fault.remedy)
                if "silent" in told:
                    return
        finally:
            for session in sessions:
                await session.close()

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
        if not error.problem.startswith(NO_WORLD):
            raise  # the machine's fault, not the toolbox's
        return error.problem
    except ValueError:  # cut
        return "replies more than a model can read"
    return reply if seen.ok else str(reply.get("error"))
