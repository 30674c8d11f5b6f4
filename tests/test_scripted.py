"""The scripted teacher really plays: it is right everywhere, and what it notes is what the tools told."""

import json
import re
from collections.abc import Iterator
from dataclasses import replace
from statistics import mean

import pytest

from tmcli import drift, suites
from tmcli.episode import Limits
from tmcli.errors import UsageError
from tmcli.policies.scripted import Scripted
from tmcli.protocol import parse, write_call
from tmcli.records import Json, Task, Trajectory, encode, new_task
from tmcli.runner import Runner, jobs
from tmcli.score import judge

N = 45


@pytest.fixture(scope="module")
def teacher() -> Iterator[Runner]:
    with Runner(Scripted("trial"), Limits()) as runner:
        yield runner


@pytest.fixture(scope="module")
def stale(teacher: Runner) -> list[Trajectory]:
    return play(teacher, [task for name in suites.SUITES for task in suites.suite(name, N, 0, ["stale"])])


@pytest.fixture(scope="module")
def plain(teacher: Runner) -> list[Trajectory]:
    return play(teacher, [task for name in suites.SUITES for task in suites.suite(name, N)])


def play(runner: Runner, tasks: list[Task], samples: int = 1) -> list[Trajectory]:
    return [judge(trajectory) for trajectory in runner.run(jobs(tasks, samples))]


def said(trajectory: Trajectory) -> list[Json]:
    return [message for message in trajectory.messages if message["role"] == "assistant"]


def calls(message: Json) -> list[Json]:
    return [call["function"] for call in message.get("tool_calls", [])]


def dialogue(trajectory: Trajectory) -> int:
    """Characters from the question on."""
    texts = [message["content"] for message in trajectory.messages[1:]]
    texts += [write_call(**call) for message in said(trajectory) for call in calls(message)]
    return sum(map(len, texts))


def right(trajectory: Trajectory) -> bool:
    return trajectory.stop == "answer" and trajectory.scores["answer"] == 1 == trajectory.scores["format"]


def test_trial_is_right_everywhere(plain: list[Trajectory], stale: list[Trajectory]) -> None:
    assert all(map(right, plain + stale))
    assert len(plain) == len(stale) == N * len(suites.SUITES)


def test_direct_is_right_everywhere() -> None:
    with Runner(Scripted("direct"), Limits(style="direct")) as runner:
        for name in suites.SUITES:
            for trajectory in play(runner, list(suites.suite(name, 20, drift=["none", "stale"]))):
                assert right(trajectory)
                assert all(call["ok"] for turn in trajectory.turns for call in turn["calls"])
                made = [call["name"] for turn in trajectory.turns for call in turn["calls"]]
                assert made == [step["name"] for step in trajectory.task["plan"]]
                assert {turn["phase"] for turn in trajectory.turns} == {"execution"}


def test_nothing_is_known_before_it_was_told(stale: list[Trajectory]) -> None:
    """The true name of a renamed parameter is never sent before an error told it."""
    for trajectory in stale:
        told: set[tuple[str, str]] = set()
        renamed = trajectory.task["env"]["drift"][0]["renamed"]
        for i, message in enumerate(trajectory.messages):
            for call in calls(message):
                for parameter in call["arguments"]:
                    if parameter in renamed.get(call["name"], {}).values():
                        assert (call["name"], parameter) in told, i
            if message["role"] == "tool" and "parameters are: " in message["content"]:
                listed = json.loads(message["content"])["error"].partition("parameters are: ")[2]
                told |= {(message["name"], parameter) for parameter in listed.split(", ")}


def test_the_answer_is_read_from_the_replies(teacher: Runner) -> None:
    tasks = [replace(task, answer=["a wrong gold"]) for task in suites.suite("unseen", 10)]
    for wrong, true in zip(play(teacher, tasks), suites.suite("unseen", 10), strict=True):
        assert wrong.prediction == true.answer[0]


def test_turns_are_trial_then_experience_then_execution(stale: list[Trajectory]) -> None:
    for trajectory in stale:
        first, second, *rest = said(trajectory)
        assert re.fullmatch(r"<trial>try \w+</trial>", first["content"])
        assert second["content"].startswith("<experience>")
        tags = [set(parse(message["content"]).tags) - {"experience"} for message in (second, *rest)]
        assert tags == [{"plan"}] * (len(tags) - 1) + [{"answer"}]
        assert not any("<experience>" in message["content"] for message in rest)
        assert all(len(calls(message)) == 1 for message in (second, *rest)[:-1])


def test_experience_says_what_the_tools_said(stale: list[Trajectory]) -> None:
    for trajectory in stale:
        renamed = trajectory.task["env"]["drift"][0]["renamed"]
        notes = parse(said(trajectory)[1]["content"]).tags["experience"]
        for call in calls(said(trajectory)[0]):
            (note,) = re.findall(rf"(?:^|\. ){call['name']} takes ([^.]*)\.", notes)
            real = renamed.get(call["name"], {})
            assert note == ", ".join(real.get(sent, sent) for sent in call["arguments"])


def test_some_tools_are_met_only_while_executing(stale: list[Trajectory]) -> None:
    left_out = corrected = 0
    for trajectory in stale:
        tools = {step["name"] for step in trajectory.task["plan"]}
        tried = {call["name"] for call in calls(said(trajectory)[0])}
        assert len(tried) == 1
        left_out += bool(tools - tried)
        for before, after in zip(said(trajectory)[1:], said(trajectory)[2:], strict=False):
            if found := re.fullmatch(r"<plan>(\w+) takes (.*)</plan>", after["content"]):
                corrected += 1
                assert found.group(1) in tools - tried
                assert [call["name"] for call in calls(before)] == [call["name"] for call in calls(after)]
                assert calls(before) != calls(after)
    assert left_out == len([t for t in stale if len({step["name"] for step in t.task["plan"]}) > 1])
    assert corrected > 5


def test_what_a_trial_brought_is_not_called_again(plain: list[Trajectory]) -> None:
    for trajectory in plain:
        made = [json.dumps(call) for message in said(trajectory) for call in calls(message)]
        assert len(made) == len(set(made))


def test_dialogues_are_short(plain: list[Trajectory], stale: list[Trajectory]) -> None:
    """Tokens are what costs: characters of a two-hop dialogue, from the question on."""
    for trajectories, limit in [(plain, 700), (stale, 1000)]:
        assert mean(dialogue(t) for t in trajectories if t.task["tags"]["hops"] == 2) < limit


def test_same_bytes_again(teacher: Runner) -> None:
    tasks = list(suites.suite("train", 12, drift=["stale"]))
    first, again = (play(teacher, tasks, samples=2) for _ in range(2))
    assert [encode(t) for t in first] == [encode(t) for t in again]


def test_two_old_names_in_one_call(teacher: Runner) -> None:
    found = [
        task
        for task in suites.suite("train", 300, drift=["stale"])
        if len(task.env["drift"][0]["renamed"].get("find_flight", {})) == 2
        and any(step["name"] == "find_flight" for step in task.plan or [])
    ]
    assert len(found) > 5
    for trajectory in play(teacher, found[:8]):
        assert right(trajectory)
        text = " ".join(message["content"] for message in said(trajectory))
        assert re.search(r"find_flight takes origin, target", text)


def test_a_task_without_plan_is_refused(teacher: Runner) -> None:
    task = replace(next(suites.suite("train", 1)), plan=None)
    with pytest.raises(UsageError, match="needs one; use --teacher MODEL"):
        play(teacher, [task])


def test_tools_a_task_brings_and_a_plan_that_does_not_fit(teacher: Runner) -> None:
    """Types are probed as documented; a plan that cannot be played makes the episode invalid, not wrong."""
    tools = []
    for name, parameter, kind in [("first", "word", "string"), ("second", "count_id", "integer")]:
        schema = {"type": "object", "properties": {parameter: {"type": kind}}, "required": [parameter]}
        tools.append({"type": "function", "function": {"name": name, "parameters": schema}})
    codes = {
        "first": "def first(word):\n    return {'n': [{'count': 4}]}",
        "second": "def second(count_id):\n    return {'twice': 8 / count_id * count_id}",
    }
    plan = [
        {"name": "first", "arguments": {"word": "w"}},
        {"name": "second", "arguments": {"count_id": {"$from": [0, "n", 0, "count"]}}, "answer": "twice"},
    ]
    task = new_task(
        messages=[{"role": "user", "content": "?"}],
        tools=tools,
        env={"kind": "python", "codes": codes},
        answer=["8"],
        check="number",
        plan=plan,
    )
    fine = drift.apply(task, ["stale"], 1)
    wrong_path = replace(task, plan=[plan[0], {**plan[1], "arguments": {"count_id": {"$from": [0, "m"]}}}])
    wrong_call = replace(task, plan=[{**plan[0], "arguments": {"word": "w", "more": 1}, "answer": "n"}])
    trajectories = play(teacher, [task, fine, wrong_path, wrong_call], samples=3)
    assert all(map(right, trajectories[:6]))
    for trajectory in trajectories[6:]:
        assert (trajectory.status, trajectory.stop, trajectory.reward) == ("invalid", "infrastructure", None)
        assert "mend the task" in str(trajectory.failure)
