"""What a teacher behind a server is told, what it never is, and what comes of asking it several times."""

from __future__ import annotations

import asyncio
import json
import re
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from subprocess import CompletedProcess
from typing import Any

import pytest
from conftest import Tm
from players import sum_task
from servers import Brain, Expert, ModelServer, call, say, text
from services import WebService
from shell import pipe, records
from trajectories import dropped
from virtual import VirtualServer

from tmcli import drift, suites, toolbox
from tmcli.environments.world import World
from tmcli.episode import Limits, play
from tmcli.importers.stabletoolbench import read
from tmcli.policies import Calls, Sampling, Service
from tmcli.policies.openai import OpenAI
from tmcli.policies.openai.text import described
from tmcli.protocol import CALL_CLOSE, CALL_OPEN, TAGS, describe, prompt
from tmcli.records import Json, Task, Trajectory, encode, new_task
from tmcli.score import judge

# ---- the prompts ---------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["teacher", "teacher_direct", "hint"])
def test_a_prompt_speaks_of_no_domain(name: str) -> None:
    """No tool and no toolbox of ours: the test set least of all."""
    words = set(re.findall(r"\w+", prompt(name).lower()))
    for box in map(toolbox.load, toolbox.names()):
        assert box.name not in words
        assert not words & {tool["function"]["name"].lower() for tool in box.tools}


def test_the_method_is_told_in_our_markup() -> None:
    tags = {tag for tag in TAGS if f"<{tag}>" in prompt("teacher")}
    assert tags == set(TAGS)
    assert {tag for tag in TAGS if f"<{tag}>" in prompt("teacher_direct")} == {"plan", "answer"}
    example = prompt("teacher").partition("An example")[2]
    said = [describe(line) for line in example.splitlines() if line.strip().startswith("<")]
    assert [turn.phase for turn in said].count("trial") == 2
    assert said[-1].answer == "Ada Moss"
    assert all(turn.state == "ok" for turn in said)


# ---- what a model is never told ------------------------------------------------------------------

SECRETS: Json = {
    "answer": ["SECRET-GOLD"],
    "check": "exact",
    "plan": [{"name": "SECRET-PLAN", "arguments": {"SECRET-ARGUMENT": "SECRET-VALUE"}}],
    "subgoals": {"SECRET-TOOL": ["SECRET-SUBGOAL"]},
    "tags": {"SECRET-TAG": "SECRET-WORD", "toolbox": "SECRET-BOX"},
    "source": "SECRET-SOURCE",
}
TEXT: Json = {"type": "string"}


def tool(name: str, **properties: Json) -> Json:
    parameters = {"type": "object", "properties": properties, "required": list(properties)[:1]}
    function = {"name": name, "description": f"Does {name}.", "parameters": parameters}
    return {"type": "function", "function": function}


def asked(tools: list[Json], **env: Any) -> Task:
    return new_task(messages=[{"role": "user", "content": "What is it?"}], tools=tools, env=env, answer=[])


def in_toolbox(*kinds: str) -> Callable[[Path, ExitStack], Task]:
    return lambda folder, stack: next(suites.suite("train", 1, 5, list(kinds)))


def in_python(folder: Path, stack: ExitStack) -> Task:
    code = "# SECRET-CODE\ndef look(place):\n    secret = 'SECRET-CODE'\n    raise ValueError('not there')\n"
    other = "def count(day):\n    return 3\n"
    tools = [tool("look", place=TEXT), tool("count", day={**TEXT, "format": "date"})]
    return asked(tools, kind="python", codes={"look": code, "count": other})


def in_http(folder: Path, stack: ExitStack) -> Task:
    parameter = {"name": "day", "in": "query", "required": True, "schema": TEXT}
    operation = {"operationId": "count", "parameters": [parameter]}
    paths = {"/SECRET-path": {"get": {**operation, "responses": {"200": {"description": "-"}}}}}
    document = {"openapi": "3.1.0", "info": {"title": "SECRET-API"}, "paths": paths}
    (folder / "SECRET-api.json").write_text(json.dumps(document))
    service = stack.enter_context(WebService({"paths": {}}))
    where = {"openapi": str(folder / "SECRET-api.json"), "base_url": service.url}
    return asked([tool("count", day=TEXT)], kind="http", **where)


def in_mcp(folder: Path, stack: ExitStack) -> Task:
    server = {"command": sys.executable, "args": [str(Path(__file__).with_name("mcp_server.py")), "small"]}
    server["env"] = {"NAME": "SECRET-KEY"}
    (folder / "SECRET-mcp.json").write_text(json.dumps({"mcpServers": {"one": server}}))
    return asked([tool("echo", word=TEXT)], kind="mcp", config=str(folder / "SECRET-mcp.json"))


def in_stabletoolbench(folder: Path, stack: ExitStack) -> Task:
    entry = {
        "category_name": "Media",
        "tool_name": "Vimeo",
        "api_name": "Search",
        "api_description": "Finds.",
        "required_parameters": [{"name": "query", "type": "STRING", "description": "", "default": ""}],
        "optional_parameters": [],
    }
    row = {"query": "What is it?", "query_id": 7, "relevant APIs": [["Vimeo", "Search"]], "api_list": [entry]}
    (folder / "G1.json").write_text(json.dumps([row]))
    server = stack.enter_context(VirtualServer({("vimeo", "search"): entry}))
    return next(iter(read(str(folder / "G1.json"), server.url)))


def in_replay(folder: Path, stack: ExitStack) -> Task:
    calls = [{"name": "look", "arguments": {"place": "SECRET-call"}, "ok": True, "text": "SECRET-reply"}]
    recording = {"kind": "recording", "v": 1, "task": "SECRET-task", "calls": calls}
    (folder / "SECRET.jsonl").write_text(json.dumps(recording) + "\n")
    where = {"recording": str(folder / "SECRET.jsonl"), "task": "SECRET-task"}
    return asked([tool("look", place=TEXT)], kind="replay", **where)


def simulated(folder: Path, stack: ExitStack) -> Task:
    return asked([tool("look", place=TEXT), tool("count", day=TEXT)], kind="simulate")


def drifted(make: Callable[[Path, ExitStack], Task]) -> Callable[[Path, ExitStack], Task]:
    kinds = ["rename", "undocument", "stale", "format", "wrap"]
    return lambda folder, stack: drift.apply(make(folder, stack), kinds, 1)


PLAIN = {
    "python": in_python,
    "http": in_http,
    "mcp": in_mcp,
    "stabletoolbench": in_stabletoolbench,
    "replay": in_replay,
    "simulate": simulated,
}
WORLDS: dict[str, Callable[[Path, ExitStack], Task]] = {
    "toolbox": in_toolbox(),
    **{f"toolbox, {kind}": in_toolbox(kind) for kind in (*drift.KINDS, "all")},
    **PLAIN,
    **{f"{name}, drifted": drifted(make) for name, make in PLAIN.items()},
}


def curious(tools: list[Json], protocol: Calls) -> Brain:
    """Calls all there is, rightly and wrongly; answers wrongly, is told so, calls again, answers."""
    made: list[str] = []
    for function in (tool["function"] for tool in tools):
        names = function.get("parameters", {}).get("properties", {})
        made += [function["name"], json.dumps(dict.fromkeys(names, "2024-05-31"))]

    def calls(*pairs: str, content: str) -> Json:
        if protocol == "native":
            return call(*pairs, content=content)
        each = zip(pairs[::2], pairs[1::2], strict=True)
        bodies = (f'{CALL_OPEN}{{"name": "{a}", "arguments": {b}}}{CALL_CLOSE}' for a, b in each)
        return text(content + "".join(bodies))

    return say(
        calls(*made[:16], content="<trial>all</trial>"),
        calls(made[0], "{broken", "unheard_of", '{"a": 1}', content="<plan>worse</plan>"),
        text("<answer>wrong</answer>"),
        calls(*made[:2], content="<plan>again</plan>"),
        text("<answer>still wrong</answer>"),
    )


def served(
    brain: Brain, task: Task, limits: Limits, protocol: Calls = "native"
) -> tuple[list[Json], Trajectory]:
    """Everything that was sent, and the judged record of it."""

    async def run(url: str) -> Trajectory:
        world = World(timeout_s=20)
        policy = OpenAI(f"m@{url}", Sampling(), service=Service(protocol=protocol))
        try:
            return await play(task, 0, policy, world, limits)
        finally:
            await policy.aclose()
            await world.close()

    with ModelServer(brain) as server:
        played = judge(asyncio.run(run(server.url)))
        return server.requests, played


def requests_of(task: Task, protocol: Calls = "native") -> tuple[list[Json], Trajectory]:
    limits = Limits(hints=True, max_tokens=10**6)
    return served(curious(task.tools, protocol), task, limits, protocol)


BODY = {"model", "messages", "tools", "temperature", "max_tokens", "max_completion_tokens", "seed", "stop"}


@pytest.mark.parametrize("protocol", ["native", "text"])
@pytest.mark.parametrize("where", WORLDS)
def test_no_request_holds_what_the_task_hides(where: str, protocol: Calls, tmp_path: Path) -> None:
    with ExitStack() as stack:
        task = WORLDS[where](tmp_path, stack)
        task = replace(task, **SECRETS, env={**task.env, "note": "SECRET-ENV"})
        sent, played = requests_of(task, protocol)
    assert (played.status, played.stop, played.failure) == ("ok", "answer", None)
    assert len(sent) == 5
    assert [turn.get("hint", False) for turn in played.turns] == [False, False, True, False, False]
    told = json.dumps(sent)
    assert "SECRET" not in told
    assert task.id not in told
    # Nothing is there but the method, the question, the tools shown, its own words, their replies, the hint.
    replies = {message["content"] for message in played.messages if message["role"] == "tool"}
    for body in sent:
        assert set(body) <= BODY
        system, *rest = body["messages"]
        if protocol == "native":
            assert (system["content"], body["tools"]) == (prompt("teacher"), task.tools)
        else:
            assert system["content"] == f"{prompt('teacher')}\n\n{described(task.tools)}"
        assert rest[: len(task.messages)] == task.messages
        for message in rest[len(task.messages) :]:
            assert set(message) <= {"role", "content", "tool_calls", "tool_call_id"}
            if message["role"] == "tool" or message["content"].startswith("<tool_response>"):
                assert set(told_in(message["content"])) <= replies
            elif message["role"] != "assistant":
                assert message == {"role": "user", "content": prompt("hint")}


def told_in(content: str) -> list[str]:
    """The replies in a tool's message, or in the user's turn that stands for several."""
    return re.findall(r"<tool_response>\n(.*?)\n</tool_response>", content, re.DOTALL) or [content]


def hidden(task: Task) -> Iterator[str]:
    """Texts that would help: golds, plan, sub-goals; not those that the question itself holds."""
    values = [*task.answer, *(gold for golds in (task.subgoals or {}).values() for gold in golds)]
    question = json.dumps([task.messages, task.tools])
    yield from (value for value in values if not re.search(rf"(?<!\w){re.escape(value)}(?!\w)", question))
    yield json.dumps(task.plan)
    yield task.source
    yield task.id


@pytest.mark.parametrize("kinds", [[], ["all"]])
def test_real_tasks_come_without_their_golds(kinds: list[str]) -> None:
    """With golds as they are: nothing of them before a tool has told."""
    for task in suites.suite("train", 6, 2, kinds):
        sent, _ = requests_of(task)
        for body in sent:
            ours = [m for m in body["messages"] if m["role"] in ("system", "user")]
            told = json.dumps([ours, body["tools"]])
            for value in hidden(task):
                assert not re.search(rf"(?<!\w){re.escape(value)}(?!\w)", told), (task.id, value)


# ---- a model that does not know our tags ---------------------------------------------------------


ADD = call("add", '{"a": 0, "b": 1}')
AUTHOR = sum_task(answer=["Jane Austen"], check="exact")


@pytest.mark.parametrize(
    ("final", "task", "right"),
    [
        ("1", None, True),
        ("The sum is **1**.", None, True),
        ("0 + 1 = 1", None, False),  # the first number counts
        ("Jane Austen", AUTHOR, True),
        ("**Jane Austen**", AUTHOR, True),
        ("**Jane Austen.**", AUTHOR, True),
        ("The author is Jane Austen.", AUTHOR, False),  # exact: the answer alone
        ("The author is **Jane Austen**.", replace(AUTHOR, check="contains"), True),
        ("Which author do you mean?", AUTHOR, False),
        (None, AUTHOR, False),
    ],
)
def test_without_tags_the_last_words_are_the_answer(
    final: str | None, task: Task | None, right: bool
) -> None:
    """Native calls and plain text: the outcome counts as ever, format pays for the last turn alone."""
    _, got = served(say(ADD, text(final)), task or sum_task(), Limits())
    assert (got.stop, got.prediction, got.status) == ("no_call", final, "ok")
    assert [turn["phase"] for turn in got.turns] == ["execution", "execution"]
    parts = {name: got.scores[name] for name in ("answer", "format", "trial", "repeat")}
    assert parts == {"answer": float(right), "format": 0.5, "trial": 0.0, "repeat": 0.0}
    assert got.reward == pytest.approx(right + 0.1)  # format, and nothing left unmended
    assert dropped(got) == (None if right else "wrong_answer" if final else "no_answer")


# ---- tm synth, several times a task --------------------------------------------------------------

TOOL_CALL = call("add", '{"a": 0, "b": 1}', content="<plan>add</plan>")
GOOD, BAD = text("<answer>1</answer>"), text("<answer>7</answer>")
WORDS = ("synth", "--tasks", "tasks.jsonl", "--teacher", "gpt-4o", "--protocol", "native", "--temperature=1")


def learner(body: Json) -> Json:
    """Adds, then answers: rightly from the sample on that the question names, or once it was told."""
    users = [message["content"] for message in body["messages"] if message["role"] == "user"]
    spoken = sum(message["role"] == "assistant" for message in body["messages"])
    if not spoken:
        return TOOL_CALL
    told = len(users) > 1 and "listens" in users[0]
    return GOOD if told or body["seed"] >= int(users[0].split()[-1]) else BAD


def write_tasks(folder: Path, *questions: str, **more: Any) -> list[Task]:
    tasks = [sum_task(messages=[{"role": "user", "content": question}], **more) for question in questions]
    (folder / "tasks.jsonl").write_bytes(b"".join(encode(task) + b"\n" for task in tasks))
    return tasks


def made(got: CompletedProcess[bytes]) -> dict[str, list[int]]:
    """Question -> samples played, all in the order of the output."""
    assert got.returncode == 0, got.stderr
    out: dict[str, list[int]] = {}
    for record in records(got.stdout):
        out.setdefault(record["task"]["messages"][0]["content"], []).append(int(record["id"].split("#")[1]))
    return out


@pytest.mark.parametrize("concurrency", [pytest.param("1", marks=pytest.mark.slow), "8"])
def test_samples_are_played_until_enough_are_right(concurrency: str, tm: Tm, tmp_path: Path) -> None:
    write_tasks(tmp_path, "right from 0", "right from 1", "right from 99")
    with ModelServer(learner) as server:
        words = (*WORDS, "--concurrency", concurrency, "--samples", "4")
        one = tm(*words, "--until-correct", "1", env=server.env())
        asked_for = len(server.requests)
        two = tm(*words, "--until-correct", "2", env=server.env())
        every = tm(*words, env=server.env())
    assert made(one) == {"right from 0": [0], "right from 1": [0, 1], "right from 99": [0, 1, 2, 3]}
    assert made(two) == {"right from 0": [0, 1], "right from 1": [0, 1, 2], "right from 99": [0, 1, 2, 3]}
    assert list(made(every).values()) == [[0, 1, 2, 3]] * 3
    assert asked_for == 2 * 7  # nothing was played in vain
    kept = tm("filter", input=one.stdout)
    assert [(r["prediction"], r["id"][-2:]) for r in records(kept.stdout)] == [("1", "#0"), ("1", "#1")]
    assert b"\nwrong_answer  5  71.4%" in kept.stderr


def test_where_nobody_can_tell_all_samples_are_played(tm: Tm, tmp_path: Path) -> None:
    write_tasks(tmp_path, "right from 0", answer=[])
    with ModelServer(learner) as server:
        got = tm(*WORDS, "--samples", "3", "--until-correct", "1", "--hints", env=server.env())
    assert made(got) == {"right from 0": [0, 1, 2]}
    assert {r["scores"]["answer"] for r in records(got.stdout)} == {None}
    assert b'"hint"' not in got.stdout


def test_hints_save_samples_and_are_marked(tm: Tm, tmp_path: Path) -> None:
    write_tasks(tmp_path, "right from 0", "listens, right from 2", "right from 2")
    with ModelServer(learner) as server:
        words = (*WORDS, "--samples", "3", "--until-correct", "1", "-o", "raw.jsonl")
        plain = tm(*words, env=server.env())
        assert plain.returncode == 0, plain.stderr
        before = (tmp_path / "raw.jsonl").read_bytes()
        other = tm(*words, "--hints", "--resume", env=server.env())
        assert other.returncode == 2
        assert b"other options" in other.stderr
        assert (tmp_path / "raw.jsonl").read_bytes() == before
        got = tm(*words[:-2], "--hints", env=server.env())
    assert made(got) == {"right from 0": [0], "listens, right from 2": [0], "right from 2": [0, 1, 2]}
    back = [sum(turn.get("hint", False) for turn in r["turns"]) for r in records(got.stdout)]
    assert back == [0, 1, 1, 1, 0]
    assert [r["scores"]["answer"] for r in records(got.stdout)] == [1.0, 1.0, 0.0, 0.0, 1.0]
    assert len(records(tm("filter", input=got.stdout).stdout)) == 3
    assert len(records(tm("filter", "--rule", "hinted", input=got.stdout).stdout)) == 2


@pytest.mark.parametrize("kept", [1, *(pytest.param(n, marks=pytest.mark.slow) for n in (0, 4))])
def test_resumed_it_comes_to_the_same(kept: int, tm: Tm, tmp_path: Path) -> None:
    """With samples left out, with hints, and with the last line torn."""
    write_tasks(tmp_path, "right from 1", "listens, right from 9", "right from 0", "right from 9")
    words = (*WORDS, "--samples", "3", "--until-correct", "1", "--hints", "-o")
    with ModelServer(learner) as server:
        assert tm(*words, "whole.jsonl", env=server.env()).returncode == 0
        whole = (tmp_path / "whole.jsonl").read_bytes()
        lines = whole.splitlines(keepends=True)
        assert len(lines) == 2 + 1 + 1 + 3
        (tmp_path / "out.jsonl").write_bytes(b"".join(lines[:kept]) + lines[kept][:80])
        got = tm(*words, "out.jsonl", "--resume", env=server.env())
        assert got.returncode == 0, got.stderr
        assert (tmp_path / "out.jsonl").read_bytes() == whole
        n = len(server.requests)
        more = tm(*words, "out.jsonl", "--resume", env=server.env())
        assert more.returncode == 0, more.stderr
        assert len(server.requests) == n  # nothing was left to do


def test_more_may_be_asked_for_later(tm: Tm, tmp_path: Path) -> None:
    """`--until-correct` and `--samples` shape no episode: a file grows with them."""
    write_tasks(tmp_path, "right from 1", "right from 0")
    words = (*WORDS, "-o", "out.jsonl", "--samples")
    with ModelServer(learner) as server:
        assert tm(*words, "3", "--until-correct", "1", env=server.env()).returncode == 0
        got = tm(*words, "4", "--until-correct", "2", "--resume", env=server.env())
        assert got.returncode == 0, got.stderr
    played = [(r["task"]["messages"][0]["content"][-1], r["id"][-1]) for r in _read(tmp_path / "out.jsonl")]
    assert sorted(played) == [("0", "0"), ("0", "1"), ("1", "0"), ("1", "1"), ("1", "2")]


def test_with_drift_and_a_teacher_that_really_plays(tmp_path: Path) -> None:
    """The whole pipe: drifted tools, samples, hints, filter; the expert needs one sample and no hint."""
    tasks = list(suites.suite("train", 6, 0, ["stale"]))
    with ModelServer(Expert(tasks)) as server:
        line = (
            "tm synth --teacher gpt-4o --protocol native -n 6 --drift stale --samples 3 --until-correct 1"
            " --hints -o raw.jsonl && tm filter raw.jsonl > sft.jsonl"
        )
        got = pipe(line, tmp_path, server.env())
    assert got.returncode == 0, got.stderr
    kept = _read(tmp_path / "sft.jsonl")
    assert [record["id"] for record in kept] == [f"{task.id}#0" for task in tasks]
    assert _read(tmp_path / "raw.jsonl") == kept
    assert {r["messages"][0]["content"] for r in server.requests} == {prompt("teacher")}
    assert not any("hint" in turn for record in kept for turn in record["turns"])


def test_the_baseline_is_told_as_much_but_the_trials(tm: Tm, tmp_path: Path) -> None:
    write_tasks(tmp_path, "right from 0")
    with ModelServer(learner) as server:
        got = tm(*WORDS, "--style", "direct", env=server.env())
        assert got.returncode == 0, got.stderr
        assert {r["messages"][0]["content"] for r in server.requests} == {prompt("teacher_direct")}
    assert records(got.stdout)[0]["messages"][0]["content"] == prompt("direct")


def _read(path: Path) -> list[Json]:
    return records(path.read_bytes())
