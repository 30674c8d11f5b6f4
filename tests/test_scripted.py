"""The scripted teacher really plays: it is right everywhere, and what it notes is what the tools told."""

import json
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from statistics import mean
from typing import Any

import pytest

from tmcli import drift, suites
from tmcli.drift import forms
from tmcli.episode import Limits
from tmcli.errors import InputError, UsageError
from tmcli.policies.manner import Manner, manner
from tmcli.policies.reading import Reading, in_units
from tmcli.policies.scripted import Scripted
from tmcli.protocol import CANNOT, parse, write_call
from tmcli.records import Json, Task, Trajectory, encode, new_task
from tmcli.runner import Runner, jobs
from tmcli.score import judge

N = 45
EACH = [["rename"], ["format"], ["wrap"], ["decoy"], ["stale"], ["undocument"]]
MIXED = [
    ["all"],
    ["all@0.2"],
    ["all@1"],
    ["format@1", "wrap@1"],
    ["decoy@1", "stale@1"],
    ["none@0.25", "all"],
]


@pytest.fixture(scope="module")
def teacher() -> Iterator[Runner]:
    with Runner(Scripted("trial"), Limits()) as runner:
        yield runner


@pytest.fixture(scope="module")
def golden() -> Iterator[Runner]:
    with Runner(Scripted("direct"), Limits(style="direct")) as runner:
        yield runner


@pytest.fixture(scope="module")
def stale(teacher: Runner) -> list[Trajectory]:
    return play(teacher, [task for name in suites.SUITES for task in suites.suite(name, N, 0, ["stale"])])


@pytest.fixture(scope="module")
def plain(teacher: Runner) -> list[Trajectory]:
    return play(teacher, [task for name in suites.SUITES for task in suites.suite(name, N)])


@pytest.fixture(scope="module")
def mixed(teacher: Runner) -> list[Trajectory]:
    """Under all six kinds at once."""
    return play(teacher, [task for name in suites.SUITES for task in suites.suite(name, N, 0, ["all"])])


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


def texts_in(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, (list, dict)):
        for item in value if isinstance(value, list) else [*value, *value.values()]:
            yield from texts_in(item)


# ---- right everywhere ------------------------------------------------------------------------------


def test_trial_is_right_everywhere(
    plain: list[Trajectory], stale: list[Trajectory], mixed: list[Trajectory]
) -> None:
    assert all(map(right, plain + stale + mixed))
    assert len(plain) == len(stale) == len(mixed) == N * len(suites.SUITES)


@pytest.mark.parametrize("kinds", [*EACH, *MIXED], ids=",".join)
def test_trial_is_right_under_every_drift(teacher: Runner, kinds: list[str]) -> None:
    """Hundreds of tasks: each is solved in the turns that an episode has, by what the tools tell."""
    for name in suites.SUITES:
        for trajectory in play(teacher, list(suites.suite(name, 40, 7, kinds))):
            assert right(trajectory), (trajectory.failure, trajectory.prediction, trajectory.task["env"])


@pytest.mark.parametrize("kinds", [["none", "stale"], *EACH, ["all"], ["all@1"]], ids=",".join)
def test_direct_is_right_everywhere(golden: Runner, kinds: list[str]) -> None:
    """The golden path: the plan's calls as the tools take them, further pages, and no error but the last."""
    for name in suites.SUITES:
        for trajectory in play(golden, list(suites.suite(name, 20, drift=kinds))):
            assert right(trajectory)
            assert {turn["phase"] for turn in trajectory.turns} == {"execution"}
            assert not any("<experience>" in message["content"] for message in said(trajectory))
            made = [call for turn in trajectory.turns for call in turn["calls"]]
            if trajectory.prediction != CANNOT:
                assert all(call["ok"] for call in made)
            layers = drift.layers_of(task_in(trajectory))
            due: Counter[str] = Counter()
            for step in trajectory.task["plan"]:
                name_then = step["name"]
                for layer in layers:
                    name_then, _ = layer.named(name_then, "")
                due[name_then] += 1
            first_pages = [call["name"] for call in made if call["arguments"].get("page", 1) == 1]
            missing = {
                name for name in due if name not in {tool["function"]["name"] for tool in trajectory.tools}
            }
            assert Counter(first_pages) == Counter(
                {name: n for name, n in due.items() if name not in missing}
            )


def task_in(trajectory: Trajectory) -> Task:
    from tmcli.score import task_in as read

    return read(trajectory)


def test_the_answer_is_read_from_the_replies(teacher: Runner) -> None:
    tasks = [replace(task, answer=["a wrong gold"]) for task in suites.suite("unseen", 20, drift=["all"])]
    for wrong, true in zip(play(teacher, tasks), suites.suite("unseen", 20, drift=["all"]), strict=True):
        assert wrong.scores["answer"] == 0
        assert judge(replace(wrong, task={**wrong.task, "answer": true.answer})).scores["answer"] == 1


def test_same_bytes_again(teacher: Runner) -> None:
    tasks = list(suites.suite("train", 12, drift=["all"]))
    first, again = (play(teacher, tasks, samples=2) for _ in range(2))
    assert [encode(t) for t in first] == [encode(t) for t in again]


# ---- truthful --------------------------------------------------------------------------------------


def test_nothing_is_known_before_it_was_told(stale: list[Trajectory], mixed: list[Trajectory]) -> None:
    """Names are shown or told by an error, of the tool or of its like; what is sent stands in the question or
    in a reply, written as an error asked."""
    converted = 0
    for trajectory in stale + mixed:
        documents = {
            tool["function"]["name"]: set(tool["function"].get("parameters", {}).get("properties", {}))
            for tool in trajectory.tools
        }
        known = trajectory.messages[1]["content"]
        forms_told: set[str] = set()
        for message in trajectory.messages[2:]:
            for call in calls(message):
                assert call["name"] in documents
                for parameter, value in call["arguments"].items():
                    assert parameter in documents[call["name"]] or parameter in known, parameter
                    for text in texts_in(value):
                        if text in known:
                            continue
                        converted += 1
                        ways = {forms.date_swap(form)(text) for form in forms_told & set(forms.DATES)}
                        ways |= {forms.id_swap(form)(text) for form in forms_told & set(forms.IDS)}
                        assert any(way in known for way in ways), (text, forms_told)
            if message["role"] == "tool":
                known += message["content"]
                for shown in re.findall(r"like (\S+?)[;\"]", message["content"]):
                    if form := forms.form_of(shown, (*forms.DATES, *forms.IDS)):
                        forms_told.add(form)
    assert converted > 30


def test_of_look_alikes_the_first_is_called_first(mixed: list[Trajectory]) -> None:
    doubted = 0
    for trajectory in mixed:
        order = [tool["function"]["name"] for tool in trajectory.tools]
        alike: dict[str, set[str]] = {}
        for entry in trajectory.task["env"]["drift"]:
            for fake, real in entry.get("of", {}).items():
                alike[fake] = alike[real] = alike.get(real, {real}) | {fake}
        tried: dict[str, None] = {}
        for message in said(trajectory):
            for call in calls(message):
                tried[call["name"]] = None
        for name in tried:
            if name in alike:
                earlier = [other for other in order[: order.index(name)] if other in alike[name]]
                doubted += len(earlier)
                assert list(tried)[: list(tried).index(name)][-len(earlier) :] == earlier or not earlier
    assert doubted > 20


def test_turns_are_trial_then_experience_then_execution(
    stale: list[Trajectory], mixed: list[Trajectory]
) -> None:
    for trajectory in stale + mixed:
        first, second, *rest = said(trajectory)
        assert re.fullmatch(r"<trial>try \w+</trial>", first["content"])
        assert len(calls(first)) == 1
        assert second["content"].startswith("<experience>")
        tags = [set(parse(message["content"]).tags) - {"experience"} for message in (second, *rest)]
        assert tags == [{"plan"}] * (len(tags) - 1) + [{"answer"}]
        for message in (second, *rest)[:-1]:
            names = {call["name"] for call in calls(message)}
            assert len(names) == 1


LESSON = (
    r"\w+ takes [\w, ]+|\w+ has (?:nothing|old data), try \w+"
    r"|it answers (?:under \w+|in pages|as names and values)|dates are written [YMD/-]+"
    r"|ids are written like \S+|\w+ [\w ]+ is written [\w ]+|\w+ is \w+ times \d+"
)
AIM = r"[\w, ]+ from \w+|page 2 of \w+"


def test_few_words_and_always_the_same(
    plain: list[Trajectory], stale: list[Trajectory], mixed: list[Trajectory]
) -> None:
    seen: Counter[str] = Counter()
    for trajectory in plain + stale + mixed:
        for message in said(trajectory)[1:]:
            tags = parse(message["content"]).tags
            if "experience" in tags:
                lessons = tags["experience"].rstrip(".").split(". ")
                assert all(re.fullmatch(LESSON, lesson) for lesson in lessons), tags
                seen.update(re.sub(r"\w*_\w*|\d+", "_", lesson).split()[1] for lesson in lessons)
            if "plan" in tags:
                pieces = tags["plan"].split("; ")
                assert all(re.fullmatch(f"{LESSON}|{AIM}", piece) for piece in pieces), tags
    assert {"takes", "has", "is", "are", "answers"} <= seen.keys()


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


def test_no_call_is_made_twice(
    plain: list[Trajectory], stale: list[Trajectory], mixed: list[Trajectory]
) -> None:
    for trajectory in plain + stale + mixed:
        made = [json.dumps(call) for message in said(trajectory) for call in calls(message)]
        assert len(made) == len(set(made)), trajectory.messages


def test_dialogues_are_short(
    plain: list[Trajectory], stale: list[Trajectory], mixed: list[Trajectory]
) -> None:
    """Tokens are what costs: characters of a two-hop dialogue, from the question on."""
    for trajectories, limit in [(plain, 700), (stale, 1000), (mixed, 1700)]:
        assert mean(dialogue(t) for t in trajectories if t.task["tags"]["hops"] == 2) < limit


# ---- plans of one's own ----------------------------------------------------------------------------

HOUSES = {
    "Oak": {"house_id": "H417", "built_on": "1998-03-21", "far_km": 2.5},
    "Elm": {"house_id": "H231", "built_on": "1977-12-01", "far_km": 0.75},
}
FIND = f"def find_house(name):\n    return {HOUSES!r}[name]"
ROOMS = """
def rooms_of(house_id, kind):
    rooms = {"H417": ["R101", "R102", "R103"], "H231": ["R201"]}[house_id]
    return {"rooms": rooms, "kind": kind, "price_eur": len(rooms)}
"""
TEXT: Json = {"type": "string"}


def tool(name: str, returns: str, /, **properties: Json) -> Json:
    schema = {"type": "object", "properties": properties, "required": list(properties)}
    function = {"name": name, "description": f"Returns {returns}", "parameters": schema}
    return {"type": "function", "function": function}


TOOLS = [
    tool("find_house", "house_id, built_on, far_km", name=TEXT),
    tool("rooms_of", "rooms, kind, price_eur", house_id=TEXT, kind={**TEXT, "enum": ["single", "double"]}),
]


def find(name: str) -> Json:
    return {"name": "find_house", "arguments": {"name": name}}


def rooms(call: int) -> Json:
    return {"name": "rooms_of", "arguments": {"house_id": {"$from": [call, "house_id"]}, "kind": "double"}}


def of_both(how: str, key: str, **more: Any) -> Json:
    return {"combine": how, "of": [[0, key], [1, key]], **more}


PLANS: list[tuple[list[Json], Any, str, str]] = [
    ([find("Oak")], "house_id", "H417", "exact"),
    ([find("Oak")], [0, "built_on"], "1998-03-21", "exact"),
    ([find("Elm")], "far_km", "0.75", "number"),
    ([find("Oak"), find("Elm")], of_both("sum", "far_km"), "3.25", "number"),
    ([find("Oak"), find("Elm")], of_both("difference", "far_km"), "1.75", "number"),
    ([find("Oak"), find("Elm")], of_both("max", "built_on"), "1998-03-21", "exact"),
    ([find("Oak"), find("Elm")], of_both("argmin", "built_on", names=["Oak", "Elm"]), "Elm", "exact"),
    ([find("Oak"), find("Elm")], of_both("set", "house_id"), "H417, H231", "set"),
    ([find("Oak"), rooms(0)], [1, "rooms", 2], "R103", "exact"),
    ([find("Oak"), rooms(0)], {"combine": "set", "of": [[1, "rooms"]]}, "R101, R102, R103", "set"),
    ([find("Oak"), rooms(0)], {"combine": "count", "of": [[1, "rooms"]]}, "3", "number"),
    ([find("Oak"), rooms(0)], "kind", "double", "exact"),
    ([find("Oak"), find("Elm"), rooms(0), rooms(1)],
     {"combine": "sum", "of": [[2, "price_eur"], [3, "price_eur"]]}, "4", "number"),
    ([find("Ash")], None, CANNOT, "exact"),
    ([find("Oak"), {**rooms(0), "name": "sell"}], None, CANNOT, "exact"),
]  # fmt: skip


def house_task(plan: list[Json], answer: Any, gold: str, check: str) -> Task:
    return new_task(
        messages=[{"role": "user", "content": f"Tell of {json.dumps(plan)}, double."}],
        tools=TOOLS,
        env={"kind": "python", "codes": {"find_house": FIND, "rooms_of": ROOMS}},
        answer=[gold],
        check=check,
        plan=[*plan[:-1], {**plan[-1], "answer": answer}],
    )


@pytest.mark.parametrize("kinds", [[], *EACH, ["all"], ["all@1"]], ids=",".join)
def test_every_form_of_a_plan(teacher: Runner, golden: Runner, kinds: list[str]) -> None:
    """Combined answers, dates that are compared, lists over pages, units: under each drift, several times."""
    tasks = [
        drift.apply(house_task(*plan), kinds, seed) for plan in PLANS for seed in range(5 if kinds else 1)
    ]
    for runner in (teacher, golden):
        for trajectory in play(runner, tasks):
            assert right(trajectory), (trajectory.failure, trajectory.prediction, trajectory.messages[2:])


def test_steps_that_need_nothing_of_each_other_are_made_in_one_turn(teacher: Runner) -> None:
    plan = [find("Oak"), find("Elm"), rooms(0), rooms(1)]
    task = house_task(plan, {"combine": "sum", "of": [[2, "price_eur"], [3, "price_eur"]]}, "4", "number")
    (trajectory,) = play(teacher, [task])
    made = [[call["name"] for call in calls(message)] for message in said(trajectory)]
    assert made == [["find_house"], ["find_house"], ["rooms_of", "rooms_of"], []]


def test_one_refusal_teaches_both_calls(teacher: Runner) -> None:
    """Two calls of a turn fail alike; the second teaches nothing new, and both are made again."""
    plan = [find("Oak"), find("Elm"), rooms(0), rooms(1)]
    task = house_task(plan, {"combine": "sum", "of": [[2, "price_eur"], [3, "price_eur"]]}, "4", "number")
    env = {
        **task.env,
        "schemas": TOOLS,
        "drift": [{"kind": "stale", "renamed": {"rooms_of": {"home": "house_id"}}}],
    }
    shown = [TOOLS[0], tool("rooms_of", "rooms, kind, price_eur", home=TEXT, kind=TEXT)]
    (trajectory,) = play(teacher, [replace(task, env=env, tools=shown)])
    assert right(trajectory)
    assert [len(calls(message)) for message in said(trajectory)] == [1, 1, 2, 2, 0]


def test_a_task_without_plan_is_refused(teacher: Runner) -> None:
    task = replace(next(suites.suite("train", 1)), plan=None)
    with pytest.raises(UsageError, match="needs one; use --teacher MODEL"):
        play(teacher, [task])


def test_a_plan_that_does_not_fit(teacher: Runner) -> None:
    """It makes the episode invalid, not wrong."""
    wrong_path = house_task([find("Oak"), rooms(0)], "rooms", "x", "set")
    wrong_path = replace(
        wrong_path,
        plan=[find("Oak"), {**rooms(0), "arguments": {"house_id": {"$from": [0, "x"]}}, "answer": "rooms"}],
    )
    wrong_call = house_task([find("Ash")], "house_id", "x", "exact")
    wrong_answer = house_task([find("Oak")], "colour", "x", "exact")
    for trajectory in play(teacher, [wrong_path, wrong_call, wrong_answer], samples=2):
        assert (trajectory.status, trajectory.stop, trajectory.reward) == ("invalid", "infrastructure", None)
        assert "mend the task" in str(trajectory.failure)


# ---- reading ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("reply", "need", "value", "shape"),
    [
        ({"a": 1}, ["a"], {"a": 1}, ""),
        ({"status": "ok", "data": {"a": 1}}, ["a"], {"a": 1}, "under data"),
        ({"status": "ok", "data": {"status": "paid"}}, ["status"], {"status": "paid"}, "under data"),
        ({"status": "ok", "data": [1]}, ["data"], {"status": "ok", "data": [1]}, ""),
        ({"results": [{"a": 1}], "count": 1}, ["a"], {"a": 1}, "under results"),
        ({"results": [{"b": 1}], "count": 1}, ["results"], {"results": [{"b": 1}], "count": 1}, ""),
        ({"fields": [{"name": "a", "value": 1}]}, ["a"], {"a": 1}, "as names and values"),
        ({"page": 1, "pages": 1, "fields": {"a": 1}}, ["a"], {"a": 1}, "in pages"),
        ({"far_m": 5}, ["far_km"], {"far_m": 5}, ""),
        ([1, 2], [1], [1, 2], ""),
        ("text", [], "text", ""),
    ],
)
def test_reading_through_a_shape(reply: Any, need: list[Any], value: Any, shape: str) -> None:
    reading = Reading(need)
    reading.add(reply)
    assert (reading.value, reading.shape, reading.next_page) == (value, shape, None)


def test_reading_on_until_it_is_there() -> None:
    reading = Reading(["b"])
    reading.add({"page": 1, "pages": 3, "fields": {"a": 1}, "next": "?"})
    assert reading.next_page == 2
    reading.add({"page": 2, "pages": 3, "fields": {"b": 2}, "next": "?"})
    assert (reading.next_page, reading.value) == (None, {"a": 1, "b": 2})
    hits = Reading(["hits"])
    hits.add({"page": 1, "pages": 2, "fields": {"hits": [1, 2]}, "next": "?"})
    hits.add({"page": 2, "pages": 2, "fields": {"hits": [3]}})
    assert (hits.next_page, hits.value) == (None, {"hits": [1, 2, 3]})
    items = Reading([0])
    items.add({"page": 1, "pages": 2, "items": [1], "next": "?"})
    items.add({"page": 2, "pages": 2, "items": [2]})
    assert items.value == [1, 2]


def test_units_are_read_where_a_key_is_missing() -> None:
    lessons: list[str] = []
    reply = {"hits": [{"far_m": 1250, "price_cents": "?", "a_km": 1, "a_m": 2}]}
    read = in_units(reply, ["far_km", "price_eur", "a_km"], lessons)
    assert read["hits"] == [{"far_m": 1250, "price_cents": "?", "a_km": 1, "a_m": 2, "far_km": 1.25}]
    assert lessons == ["far_m is far_km times 1000"]


@pytest.mark.parametrize(
    "step",
    [
        {"name": "find_book", "arguments": 3, "answer": "book_id"},
        {"name": "find_book", "arguments": {}, "answer": {"combine": "sum"}},
        {"name": "find_book", "arguments": {"title": {"$from": []}}, "answer": "book_id"},
        {"name": "find_book", "arguments": {}, "answer": 5},
    ],
)
def test_a_plan_that_is_none_is_told(step: Json) -> None:
    task = replace(next(suites.suite("library", 1)), plan=[step])
    with pytest.raises(InputError, match="cannot be read"):
        Scripted().open(task, 0)


# ---- manners -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("kinds", [[], ["stale"], ["none@0.25", "all"], ["all@1"]], ids=",".join)
@pytest.mark.parametrize(
    "text", ["scripted:trials=4", "scripted:trials=0", "scripted:trials=2,notes=off,corrections=off"]
)
def test_every_manner_is_right(text: str, kinds: list[str]) -> None:
    chosen = manner(text)
    tasks = [task for name in suites.SUITES for task in suites.suite(name, N, 3, kinds)]
    with Runner(Scripted("trial", chosen), Limits(max_turns=16)) as runner:
        played = play(runner, tasks)
    for trajectory in played:
        assert right(trajectory), (trajectory.failure, trajectory.prediction, trajectory.task["env"])
        phases = [turn["phase"] for turn in trajectory.turns]
        trials = phases.count("trial")
        tried = {call["name"] for message in said(trajectory)[:trials] for call in calls(message)}
        assert len(tried) <= chosen.trials or "decoy" in trajectory.task["tags"]["drift"]
        assert set(phases[trials:]) <= {"execution"}
        if not chosen.notes:
            assert not any("<experience>" in message["content"] for message in said(trajectory))
    errors = [
        not made["ok"]
        for t in played
        for turn in t.turns
        if turn["phase"] == "execution"
        for made in turn["calls"]
    ]
    if not chosen.corrections:  # the last call of a task that cannot be done still fails
        assert sum(errors) <= sum(t.prediction == CANNOT for t in played)
    elif kinds:
        assert sum(errors) > 10


def test_other_tools_are_tried_as_the_documents_read() -> None:
    """Those that share words with the question come first; none that changes anything is tried."""
    tasks = [task for name in suites.SUITES for task in suites.suite(name, N, 3, ["none", "rename", "stale"])]
    with Runner(Scripted("trial", Manner(trials=4)), Limits()) as runner:
        played = play(runner, tasks)
    tried = [
        list(dict.fromkeys(call["name"] for m in said(t) if "<trial>" in m["content"] for call in calls(m)))
        for t in played
    ]
    lengths = Counter(map(len, tried))
    assert all(lengths[n] > 10 for n in (1, 2, 3, 4))
    assert not any(
        name.startswith(("book_room", "book_seat", "cancel_", "order_", "send_"))
        for names in tried
        for name in names[:-1]
    )


def test_a_manner_that_is_none() -> None:
    assert manner("scripted") == Manner()
    for text in (
        "scripted:",
        "scripted:trials=x",
        "scripted:trials=-1",
        "scripted:notes=no",
        "scripted:trials=1,",
    ):
        with pytest.raises(UsageError, match="scripted teacher knows no"):
            manner(text)
