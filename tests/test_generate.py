"""`tm tasks --generate` as a user runs it: a model behind a real server explores real tools, asks, and
solves; and models that lie, guess, repeat themselves and write no JSON."""

from __future__ import annotations

import fcntl
import json
import random
import re
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from conftest import Tm, environment
from hypothesis import given
from hypothesis import strategies as st
from servers import Brain, ModelServer, Trouble, call, text
from services import WebService
from shell import pipe, records

from tmcli.catalog import catalog_of
from tmcli.commands.options.generating import Generating
from tmcli.commands.tasks import run
from tmcli.errors import UsageError
from tmcli.protocol import prompt
from tmcli.records import Json, task_id
from tmcli.records import from_json as record_of
from tmcli.steps.generate.agreement import Agree
from tmcli.steps.generate.likeness import Asked
from tmcli.steps.generate.plan import KINDS, draw_for
from tmcli.steps.generate.proposal import REASONS, UnfitError, parse

TOWNS_PY = '''
"""Towns and who lives there."""

from typing import Any

FIRST = "Amber Bracken Cinder Drift Elder Fallow Gorse Heron Ivory Juniper".split()
SECOND = "Harbour Hollow Meadow Quarry Sound Thicket Upland Vale Weir Yard".split()
_TOWNS = {f"{a} {b}": 1000 + 37 * i for i, (a, b) in enumerate((a, b) for a in FIRST for b in SECOND)}


def list_towns() -> dict[str, Any]:
    """List all towns.

    Returns:
        towns
    """
    return {"towns": sorted(_TOWNS)}


def count_people(town: str) -> dict[str, Any]:
    """Count who lives in a town.

    Args:
        town: Its full name.

    Returns:
        people
    """
    if town not in _TOWNS:
        raise LookupError(f"no town {town!r}")
    return {"people": _TOWNS[town]}
'''.strip()

ASKS = (
    "What is the population of {town}?",
    "I am moving house soon. Tell me who many souls {town} counts, please, as a plain number.",
    "{town}: number of inhabitants",
    "For my school essay on places nobody knows, I need the head count of {town}.",
    "Could you find out how big the community called {town} is? Count residents, not homes.",
    "Give me the figure the registry holds for people registered at {town}",
)

WORDS = (
    "apple barge cloud delta ember flint grove husky inlet joker kiosk ladle mango nylon otter piano quill"
    " raven sugar tulip umbra vigor wheat xenon yacht zebra acorn brisk cedar dwell eagle frost glide hazel"
    " index jelly koala lemon mirth noble ocean pearl quest robin siren thorn unity vivid woven yield"
).split()


def proposal_number(body: Json) -> int | None:
    """Which proposal this is, where it is one."""
    for message in body["messages"]:
        if found := re.match(r"Proposal (\d+): write one question", str(message.get("content"))):
            return int(found[1])
    return None


def question(body: Json) -> str:
    return next(str(m["content"]) for m in reversed(body["messages"]) if m["role"] == "user")


def turn(body: Json) -> int:
    return sum(message["role"] == "assistant" for message in body["messages"])


def reply(body: Json, n: int = -1) -> Json:
    """What the n-th call brought."""
    heard = [m["content"] for m in body["messages"] if m["role"] == "tool"]
    value: Json = json.loads(heard[n])
    return value


def proposes(query: str, answer: Any, **more: Any) -> Json:
    return text(f"<answer>{json.dumps({'query': query, 'answer': answer, **more})}</answer>")


def asks(number: int, town: str) -> str:
    """A question about a town, unlike all others."""
    story = " ".join(random.Random(number).sample(WORDS, 12))
    return f"{ASKS[number % len(ASKS)].format(town=town)} ({story})"


def town_in(query: str) -> str:
    found = re.search(
        r"[A-Z][a-z]+ (?:Harbour|Hollow|Meadow|Quarry|Sound|Thicket|Upland|Vale|Weir|Yard)", query
    )
    return found[0] if found else "Nowhere"


class Mind:
    """A model that knows its part by its system turn: it proposes, guesses or solves. Each part may be
    replaced, that of the proposer for one proposal too."""

    def __init__(self, **parts: Callable[[Json, int], Json]) -> None:
        self.parts = parts
        self.seen: Counter[str] = Counter()
        self.numbers: Counter[int] = Counter()

    def __call__(self, body: Json) -> Json:
        system = body["messages"][0]["content"]
        if prompt("propose") in system:
            number = proposal_number(body)
            assert number is not None
            self.seen["propose"] += 1
            self.numbers[number] += turn(body) == 0
            part = self.parts.get(f"propose_{number}", self.parts.get("propose", propose))
            return part(body, number)
        if prompt("closed") in system:
            assert "tools" not in body
            self.seen["guess"] += 1
            return self.parts.get("guess", guess)(body, 0)
        self.seen["solve"] += 1
        assert prompt("teacher") in system
        return self.parts.get("solve", solve)(body, int(body.get("seed", 0)))


def propose(body: Json, number: int) -> Json:
    """Explores, then asks about what it found."""
    match turn(body):
        case 0:
            return call("list_towns", "{}", content="<plan>see what there is</plan>")
        case 1:
            towns = reply(body)["towns"]
            return call("count_people", json.dumps({"town": towns[number * 17 % len(towns)]}))
        case _:
            towns = reply(body, 0)["towns"]
            return proposes(asks(number, towns[number * 17 % len(towns)]), reply(body)["people"])


def guess(body: Json, _: int) -> Json:
    return text("<answer>12</answer>")


def solve(body: Json, seed: int) -> Json:
    """Calls the tool, and says what it brought."""
    match turn(body):
        case 0:
            town = json.dumps({"town": town_in(question(body))})
            return call("count_people", town, content="<plan>ask</plan>")
        case _:
            return text(f"<answer>{reply(body)['people']}</answer>")


NATIVE = ("--protocol", "native")
LINE = ("tasks", "--generate", "--tools", "towns.py", "--teacher", "gpt-4o", *NATIVE)


@pytest.fixture
def towns(tmp_path: Path) -> Path:
    (tmp_path / "towns.py").write_text(TOWNS_PY)
    return tmp_path


def dropped(path: Path) -> list[Json]:
    return records(path.read_bytes())


# ---- what is made --------------------------------------------------------------------------------------


def test_tasks_for_a_python_file_go_through_the_whole_toolkit(tm: Tm, towns: Path) -> None:
    mind = Mind()
    with ModelServer(mind) as server:
        done = tm(*LINE, "-n", "8", "-o", "tasks.jsonl", env=server.env())
        assert done.returncode == 0, done.stderr
        tasks = records((towns / "tasks.jsonl").read_bytes())
        rolled = pipe(
            "tm rollout --policy gpt-4o --protocol native --tasks tasks.jsonl -o runs.jsonl"
            " && tm synth --teacher gpt-4o --protocol native --tasks tasks.jsonl | tm filter > sft.jsonl"
            " && tm tasks tasks.jsonl --drift stale > drifted.jsonl",
            towns,
            server.env(),
        )
    assert rolled.returncode == 0, rolled.stderr
    assert mind.seen["guess"] == 16
    assert len(tasks) == 8
    assert b"tasks: 8 of 8" in done.stderr
    assert b"8 tasks of 8 proposals" in done.stderr
    assert b"8 requests" not in done.stderr  # more: each explores
    first = tasks[0]
    assert list(first)[:2] == ["kind", "v"]
    assert first["id"] == task_id(record_of(first))  # type: ignore[arg-type]
    assert first["env"]["toolbox"] == "towns.py"
    assert first["source"] == "generate:towns.py"
    assert first["tags"] == {"toolbox": "towns", "split": "own", "drift": [], "hops": 1}
    assert first["check"] == "number"
    assert "plan" not in first
    about = first["provenance"]
    assert (about["teacher"], about["solver"], about["proposal"], about["seed"]) == ("gpt-4o", "gpt-4o", 0, 0)
    assert about["agreement"] == "4/4"
    assert about["answers"] == [[first["answer"][0], 4]]
    assert about["without_tools"] == ["12", "12"]
    assert [one["name"] for one in about["calls"]] == ["list_towns", "count_people"]
    assert about["kind"] in KINDS
    runs = records((towns / "runs.jsonl").read_bytes())
    assert [run["scores"]["answer"] for run in runs] == [1.0] * 8
    assert len(records((towns / "sft.jsonl").read_bytes())) == 8
    drifted = records((towns / "drifted.jsonl").read_bytes())
    assert [task["tags"]["drift"] for task in drifted] == [["stale"]] * 8
    assert [task["provenance"] for task in drifted] == [task["provenance"] for task in tasks]


def test_same_bytes_whatever_the_concurrency_and_to_stdout(tm: Tm, towns: Path) -> None:
    with ModelServer(Mind()) as server:
        one = tm(*LINE, "-n", "6", "--concurrency", "1", env=server.env())
        many = tm(*LINE, "-n", "6", "--concurrency", "32", env=server.env())
    assert one.returncode == 0, one.stderr
    assert one.stdout == many.stdout
    assert len(records(one.stdout)) == 6


def test_a_toolbox_with_worlds(tm: Tm, tmp_path: Path) -> None:
    """Its tools list nothing: the proposer is shown a part of its world, and each proposal has one."""

    def part(body: Json, number: int) -> Json:
        said = next(m["content"] for m in body["messages"] if m["role"] == "user")
        world = json.loads(next(line for line in said.splitlines() if line.startswith("{")))
        customer = next(iter(world["repairs"].values()))["customer"]
        if turn(body) == 0:
            return call("find_repair", json.dumps({"customer": customer}))
        if turn(body) == 1:
            return call("repair_info", json.dumps(reply(body)))
        return proposes(f"{asks(number, customer)} Which make and model came in?", reply(body)["bicycle"])

    def solver(body: Json, seed: int) -> Json:
        if turn(body) == 0:
            names = re.findall(r"[A-Z][a-z]+ [A-Z][a-z]+", question(body))
            return call(
                "find_repair", json.dumps({"customer": next(n for n in names if n.split()[0] in FIRST)})
            )
        if turn(body) == 1:
            return call("repair_info", json.dumps(reply(body)))
        return text(f"<answer>{reply(body)['bicycle']}</answer>")

    from tmcli.scaffold.toolbox.tools import FIRST

    assert tm("tools", "init", "mybox").returncode == 0
    mind = Mind(propose=part, solve=solver)
    with ModelServer(mind) as server:
        line = [word if word != "towns.py" else "mybox" for word in LINE]
        done = tm(*line, "-n", "5", "-o", "out.jsonl", env=server.env())
    assert done.returncode == 0, done.stderr
    tasks = records((tmp_path / "out.jsonl").read_bytes())
    assert len({task["env"]["seed"] for task in tasks}) == 5
    assert {task["tags"]["hops"] for task in tasks} == {2}
    assert {task["check"] for task in tasks} == {"exact"}


def test_an_openapi_service(tm: Tm, tmp_path: Path) -> None:
    answer = {"examples": {"one": {"value": {"name": "Rex Barkley", "weight_kg": 31}}}}
    number = {"name": "id", "in": "path", "required": True, "schema": {"type": "integer"}}
    operation = {
        "operationId": "get_pet",
        "parameters": [number],
        "responses": {"200": {"content": {"application/json": answer}}},
    }
    document = {"openapi": "3.0.0", "info": {}, "paths": {"/pets/{id}": {"get": operation}}}

    def part(body: Json, number: int) -> Json:
        if turn(body) == 0:
            return call("get_pet", json.dumps({"id": number}))
        return proposes(
            f"{asks(number, 'our pet')} It is pet no. {900 + number}; what is its name?", reply(body)["name"]
        )

    def solver(body: Json, seed: int) -> Json:
        if turn(body) == 0:
            return call("get_pet", json.dumps({"id": int(re.findall(r"no\. (\d+)", question(body))[0])}))
        return text(f"<answer>{reply(body)['name']}</answer>")

    (tmp_path / "pets.json").write_text(json.dumps(document))
    with ModelServer(Mind(propose=part, solve=solver)) as server, WebService(document) as service:
        line = [word if word != "towns.py" else "pets.json" for word in LINE]
        done = tm(*line, "--server", service.url, "-n", "3", "--agree", "2/2", env=server.env())
        assert len(service.requests) == 3 + 3 * 2
    assert done.returncode == 0, done.stderr
    tasks = records(done.stdout)
    assert [task["env"]["kind"] for task in tasks] == ["http"] * 3
    assert {task["env"]["base_url"] for task in tasks} == {service.url}
    assert {task["provenance"]["agreement"] for task in tasks} == {"2/2"}


@pytest.mark.slow
def test_a_server_of_the_model_context_protocol(tm: Tm, tmp_path: Path) -> None:
    entry = {"command": sys.executable, "args": [str(Path(__file__).with_name("mcp_server.py")), "stdio"]}
    (tmp_path / "mcp.json").write_text(json.dumps({"mcpServers": {"t": entry}}))

    def part(body: Json, number: int) -> Json:
        if turn(body) == 0:
            return call("add", json.dumps({"a": 1000 * number, "b": 7}))
        return proposes(
            f"{asks(number, 'the office')} What comes of {1000 * number} there?", 1000 * number + 7
        )

    def solver(body: Json, seed: int) -> Json:
        if turn(body) == 0:
            asked = re.findall(r"comes of (\d+) there", question(body))[0]
            return call("add", json.dumps({"a": int(asked), "b": 7}))
        return text(f"<answer>{body['messages'][-1]['content']}</answer>")

    with ModelServer(Mind(propose=part, solve=solver)) as server:
        line = [word if word != "towns.py" else "mcp.json" for word in LINE]
        done = tm(*line, "-n", "1", "--agree", "2/2", env=server.env())
    assert done.returncode == 0, done.stderr
    assert [task["env"]["kind"] for task in records(done.stdout)] == ["mcp"]


# ---- what is dropped -----------------------------------------------------------------------------------


def liar(answer: Callable[[Json, int], Json]) -> Callable[[Json, int], Json]:
    """Explores as it should, then says something else."""
    return lambda body, number: propose(body, number) if turn(body) < 2 else answer(body, number)


def stubborn(body: Json, number: int) -> Json:
    return text("<answer>What a fine tool this is</answer>")


def test_every_reason_to_drop_and_its_question(tm: Tm, towns: Path) -> None:
    def town(body: Json, number: int) -> str:
        names = reply(body, 0)["towns"]
        return str(names[number * 17 % len(names)])

    def second(body: Json, number: int) -> Json:
        """Unreadable at first; when told, it writes as it should."""
        told = [m["content"] for m in body["messages"] if m["role"] == "user"]
        return proposes(asks(number, town(body, number)), 1000) if len(told) > 1 else stubborn(body, number)

    def cannot(body: Json, number: int) -> Json:
        if turn(body) == 0:
            return call("count_people", '{"town": "Atlantis"}')
        return proposes(f"{asks(number, 'sunken Atlantis')}", "Cannot be done.")

    def solver(body: Json, seed: int) -> Json:
        asked = question(body)
        if "no need to look" in asked:
            return text("<answer>four thousand and 4004</answer>".replace("four thousand and ", ""))
        if "Atlantis" in asked and turn(body):
            return text("<answer>It cannot be done.</answer>")
        if "toss" in asked and turn(body):
            return text(f"<answer>{5000 + seed}</answer>")
        if "Atlantis" in asked:
            return call("count_people", '{"town": "Atlantis"}')
        return solve(body, seed)

    def guesser(body: Json, _: int) -> Json:
        return text("<answer>42</answer>") if "meaning of life" in question(body) else guess(body, 0)

    mind = Mind(
        solve=solver,
        guess=guesser,
        propose_0=propose,
        propose_1=stubborn,
        propose_2=lambda body, n: proposes(asks(n, "Amber Harbour"), 1000),
        propose_3=liar(lambda body, n: proposes(asks(n, "Amber Vale") + " Is it big?", True)),
        propose_4=liar(lambda body, n: proposes(f"{asks(n, 'Amber Vale')} Is it 1,234 or 77?", 77)),
        propose_5=liar(lambda body, n: proposes(asks(0, town(body, 0)) + "!", reply(body)["people"])),
        propose_6=liar(lambda body, n: proposes(f"{asks(n, 'Drift Yard')} And the meaning of life?", 42)),
        propose_7=liar(lambda body, n: proposes(f"{asks(n, 'Drift Yard')} There is no need to look.", 4004)),
        propose_8=liar(lambda body, n: proposes(asks(n, town(body, n)), 99)),
        propose_9=liar(lambda body, n: proposes(f"{asks(n, town(body, n))} Or toss a coin.", 5000)),
        propose_10=liar(second),
        propose_11=cannot,
        propose_12=lambda body, n: call("no_such_tool", "{}") if turn(body) < 20 else stubborn(body, n),
        propose_13=liar(
            lambda body, n: text('<answer>```json\n{"query": "<answer>hm</answer>", "answer": 1}\n```')
        ),
    )
    with ModelServer(mind) as server:
        done = tm(*LINE, "-n", "16", "-o", "tasks.jsonl", "--max-turns", "5", env=server.env())
    assert done.returncode == 0, done.stderr
    tasks = records((towns / "tasks.jsonl").read_bytes())
    rows = {row["proposal"]: row for row in dropped(towns / "tasks.jsonl.dropped")}
    assert {number: row["drop"] for number, row in rows.items()} == {
        1: "unreadable",
        2: "no_calls",
        3: "guessable",
        4: "gold_in_question",
        5: "near_duplicate",
        6: "answerable_without_tools",
        7: "answerable_without_tools",
        8: "disputed",
        9: "no_agreement",
        10: "disputed",
        12: "unreadable",
        13: "unreadable",
    }
    assert {row["drop"] for row in rows.values()} == set(REASONS)
    assert len(tasks) == 16
    assert [task["provenance"]["proposal"] for task in tasks[:3]] == [0, 11, 14]
    impossible = tasks[1]
    assert impossible["answer"] == ["cannot be done"]
    assert impossible["provenance"]["agreement"] == "4/4"
    assert rows[4]["answer"] == "77"
    assert rows[1]["said"] == "What a fine tool this is"
    assert rows[1]["provenance"]["told"].startswith("the answer is not one JSON object like")
    assert rows[10]["provenance"]["told"].startswith("the answer is not one JSON object like")
    assert rows[10]["provenance"]["agreement"] == "0/4"
    assert rows[8]["why"].startswith("the solves agree on another answer: ")
    assert rows[9]["provenance"]["answers"] == [["5000", 1], ["5001", 1], ["5002", 1], ["5003", 1]]
    assert rows[9]["why"] == "1/4 solves agree with the proposer, and 3 must"
    assert "What is the population" in rows[5]["why"]
    assert b"16 tasks of 28 proposals (dropped: unreadable 3, " in done.stderr
    # a dropped question can be mended by hand
    (towns / "mended.jsonl").write_text(json.dumps(rows[8] | {"answer": 1}) + "\n")
    mended = tm("tasks", "mended.jsonl", "--tools", "towns.py")
    assert records(mended.stdout)[0]["messages"][0]["content"] == rows[8]["query"]


def test_nothing_kept_is_a_failure_that_ends_soon(tm: Tm, towns: Path) -> None:
    mind = Mind(propose=stubborn)
    with ModelServer(mind) as server:
        done = tm(*LINE, "-n", "40", "-o", "tasks.jsonl", "--rejects", "bad.jsonl", env=server.env())
    assert done.returncode == 1
    assert b"none of 80 proposals could be kept; the first: the answer is not one JSON object" in done.stderr
    assert len(dropped(towns / "bad.jsonl")) == 80
    assert len(mind.numbers) == 80


@pytest.mark.slow
def test_tools_that_have_given_all_they_have(tm: Tm, towns: Path) -> None:
    """A teacher that asks the same for ever: one task is kept, and it ends."""
    same = liar(lambda body, n: proposes("How many people does the town Amber Harbour count?", 1000))
    with ModelServer(Mind(propose=same)) as server:
        done = tm(*LINE, "-n", "30", "--agree", "1/1", env=server.env())
    assert done.returncode == 0
    assert len(records(done.stdout)) == 1
    assert b"1 of 30 tasks: nothing new was kept any more" in done.stderr
    assert b"near_duplicate" in done.stderr


# ---- stopping and going on -------------------------------------------------------------------------------


def mixed() -> Mind:
    """Every third proposal is of no use."""
    return Mind(propose=lambda body, n: stubborn(body, n) if n % 3 == 1 else propose(body, n))


def test_resume_makes_only_what_is_missing(tm: Tm, towns: Path) -> None:
    words = (*LINE, "-n", "9", "--resume")
    with ModelServer(mixed()) as server:
        assert tm(*LINE, "-n", "9", "-o", "whole.jsonl", env=server.env()).returncode == 0
        whole = [(towns / name).read_bytes() for name in ("whole.jsonl", "whole.jsonl.dropped")]
        for name, lines in (("tasks.jsonl", whole[0]), ("tasks.jsonl.dropped", whole[1])):
            kept = lines.splitlines(keepends=True)[:3]
            (towns / name).write_bytes(b"".join(kept) + b'{"kind": "ta')
        mind = mixed()
        server.brain = mind
        again = tm(*words, "-o", "tasks.jsonl", env=server.env())
        assert again.returncode == 0, again.stderr
        assert min(mind.numbers) == 5  # 0 2 3 are kept, 1 4 7 dropped
        assert [(towns / name).read_bytes() for name in ("tasks.jsonl", "tasks.jsonl.dropped")] == whole
        with (towns / "tasks.jsonl").open("ab") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            second = tm(*words, "-o", "tasks.jsonl", env=server.env())
        assert b"tasks.jsonl is being written by another run" in second.stderr
        other = tm(*words, "-o", "tasks.jsonl", "--seed", "5", env=server.env())
        assert other.returncode == 2
        assert b"tasks.jsonl was made with other options; give the same ones" in other.stderr
        there = tm(*LINE, "-n", "9", "-o", "tasks.jsonl", env=server.env())
        assert b"tasks.jsonl exists; use --resume to continue it, --force" in there.stderr


@pytest.mark.slow
def test_killed_in_the_middle_and_resumed(tm: Tm, towns: Path) -> None:
    """Stopped after some requests; what is missing then is made anew, and all is as if nothing had been."""
    with ModelServer(mixed()) as server:
        assert tm(*LINE, "-n", "70", "--agree", "1/1", "-o", "whole.jsonl", env=server.env()).returncode == 0
        total = len(server.requests)
        words = (*LINE, "-n", "70", "--agree", "1/1", "-o", "tasks.jsonl", "--resume")
        for share, how in ((0.5, signal.SIGKILL), (0.3, signal.SIGINT), (0.6, signal.SIGKILL)):
            due = len(server.requests) + int(total * share)
            child = subprocess.Popen(
                [sys.executable, "-m", "tmcli", *words], cwd=towns, env=environment(server.env())
            )
            while len(server.requests) < due and child.poll() is None:
                time.sleep(0.01)
            child.send_signal(how)
            assert child.wait() in (-signal.SIGKILL, 130)
        assert (towns / "tasks.jsonl").stat().st_size
        done = tm(*words, env=server.env())
        assert done.returncode == 0, done.stderr
        for name in ("", ".dropped"):
            assert (towns / f"tasks.jsonl{name}").read_bytes() == (towns / f"whole.jsonl{name}").read_bytes()
        mind = mixed()
        server.brain = mind
        nothing = tm(*words, env=server.env())
        assert b"nothing to do: 70 tasks are there" in nothing.stderr
        assert not mind.numbers
        more = tm(*words, "-n", "72", env=server.env())
        assert more.returncode == 0, more.stderr
        assert len(records((towns / "tasks.jsonl").read_bytes())) == 72
        assert min(mind.numbers) > 100


@pytest.mark.slow
def test_a_budget_ends_it_well_and_resume_goes_on(tm: Tm, towns: Path) -> None:
    with ModelServer(mixed()) as server:
        assert tm(*LINE, "-n", "9", "-o", "whole.jsonl", env=server.env()).returncode == 0
        words = (*LINE, "-n", "9", "-o", "tasks.jsonl", "--resume")
        before = len(server.requests)
        short = tm(*words, "--max-requests", "60", env=server.env())
        assert short.returncode == 0, short.stderr
        assert b"stopped early: the budget of 60 requests is" in short.stderr
        assert len(server.requests) - before <= 60
        assert tm(*words, env=server.env()).returncode == 0
    assert (towns / "tasks.jsonl").read_bytes() == (towns / "whole.jsonl").read_bytes()


@pytest.mark.slow
def test_a_rerun_out_of_the_cache_asks_nobody(tm: Tm, towns: Path) -> None:
    with ModelServer(mixed()) as server:
        first = tm(*LINE, "-n", "5", "--cache", "cache", env=server.env())
        assert first.returncode == 0, first.stderr
        asked = len(server.requests)
        again = tm(*LINE, "-n", "5", "--cache", "cache", env=server.env())
        assert len(server.requests) == asked
    assert again.stdout == first.stdout


def test_what_breaks_is_not_decided_and_made_again(tm: Tm, towns: Path) -> None:
    def broken(body: Json, number: int) -> Any:
        return Trouble(400) if number == 2 else propose(body, number)

    with ModelServer(Mind(propose=broken)) as server:
        done = tm(*LINE, "-n", "5", "-o", "tasks.jsonl", env=server.env())
        assert done.returncode == 0, done.stderr
        assert b"some proposals could not be decided: the server" in done.stderr
        first = [task["provenance"]["proposal"] for task in records((towns / "tasks.jsonl").read_bytes())]
        assert first == [0, 1, 3, 4, 5]
        server.brain = Mind()
        again = tm(*LINE, "-n", "6", "-o", "tasks.jsonl", "--resume", env=server.env())
    assert again.returncode == 0, again.stderr
    numbers = [task["provenance"]["proposal"] for task in records((towns / "tasks.jsonl").read_bytes())]
    assert numbers == [0, 1, 2, 3, 4, 5]


# ---- who does it -----------------------------------------------------------------------------------------


def test_another_solver_and_one_budget_for_both(tm: Tm, towns: Path) -> None:
    with ModelServer(Mind()) as server:
        line = (*LINE, "--solver", "gpt-4o-mini", "-n", "3", "-o", "tasks.jsonl")
        done = tm(*line, env=server.env())
        models = Counter(str(request["model"]) for request in server.requests)
        before = len(server.requests)
        short = tm(*line, "--force", "--max-requests", "20", env=server.env())
        assert len(server.requests) - before <= 20
    assert done.returncode == 0, done.stderr
    assert models == {"gpt-4o": 9, "gpt-4o-mini": 3 * (2 + 8)}
    (first, *_) = records((towns / "tasks.jsonl").read_bytes() or b"{}")
    assert first.get("provenance", {}).get("solver") in ("gpt-4o-mini", None)
    assert b"stopped early" in short.stderr


@pytest.mark.slow
def test_a_server_that_knows_no_tools(tm: Tm, towns: Path) -> None:
    """Calls as text, through all phases."""

    def spoken(brain: Brain) -> Brain:
        def said(body: Json) -> Any:
            messages: list[Json] = []
            for message in body["messages"]:
                content = message["content"]
                parts = re.findall(r"<tool_response>\s*(.*?)\s*</tool_response>", content, re.DOTALL)
                if message["role"] == "user" and parts:
                    messages += [{"role": "tool", "content": part} for part in parts]
                else:
                    messages.append(message)
            choice = brain({**body, "messages": messages})
            message = choice["message"]
            for one in message.pop("tool_calls", []):
                inner = {
                    "name": one["function"]["name"],
                    "arguments": json.loads(one["function"]["arguments"]),
                }
                message["content"] = f"{message['content'] or ''}<tool_call>{json.dumps(inner)}</tool_call>"
            return {"message": message}

        return said

    with ModelServer(spoken(Mind())) as server:
        line = [word if word != "native" else "text" for word in LINE]
        done = tm(*line, "-n", "3", env=server.env())
        assert all("tools" not in request for request in server.requests)
    assert done.returncode == 0, done.stderr
    assert len(records(done.stdout)) == 3


def test_a_dry_run_asks_nobody(tm: Tm, towns: Path) -> None:
    with ModelServer(Mind()) as server:
        done = tm(*LINE, "-n", "20", "--dry-run", "-o", "tasks.jsonl", env=server.env())
        assert not server.requests
    assert done.returncode == 0, done.stderr
    assert b"100 episodes of 20 tasks" in done.stderr
    assert not (towns / "tasks.jsonl").exists()


BOX = "--generate --tools library --teacher gpt-4o"


@pytest.mark.parametrize(
    ("words", "problem"),
    [
        (f"{BOX} --drift stale", "--drift does not go with --generate; first make the tasks, then: tm tasks"),
        ("--generate --tools towns.py --teacher gpt-4o", "OPENAI_API_KEY is not set"),
        (
            "--generate --tools towns.py --teacher m@http://h/v1 --resume",
            "--resume continues a plain JSON Lines",
        ),
        ("--max-requests 3", "--max-requests is for --generate; add it, or leave this out"),
    ],
)
def test_wrong_combinations_as_typed(tm: Tm, towns: Path, words: str, problem: str) -> None:
    done = tm("tasks", *words.split())
    assert done.returncode == 2
    assert problem in done.stderr.decode()
    assert done.stdout == b""


@pytest.mark.parametrize(
    ("given", "problem"),
    [
        ({"teacher": "gpt-4o"}, "--generate needs --tools; name a toolbox or its folder"),
        ({"tools": "towns.py"}, "--generate needs a --teacher; name one, as --teacher gpt-4o"),
        (
            {"tools": "library", "teacher": "scripted"},
            "--teacher scripted cannot do this: it plays plans, and has",
        ),
        ({"tools": "library", "teacher": "m", "solver": "scripted"}, "--solver scripted cannot do this"),
        (
            {"tools": "library", "teacher": "m", "temperature": 0.0},
            "--temperature 0 makes all solves the same",
        ),
        (
            {"tools": "library", "teacher": "m", "suite": "train"},
            "--suite does not go with --generate; name what",
        ),
        (
            {"tools": "library", "teacher": "m", "file": "x.jsonl"},
            "FILE does not go with --generate; let it make",
        ),
        ({"tools": "library", "teacher": "m", "agree": "5/4"}, "--agree '5/4' cannot be read; write K/N"),
        ({"tools": "nothing", "teacher": "m"}, "no toolbox, folder or file is named 'nothing'"),
        ({"generate": False, "teacher": "m"}, "--teacher is for --generate; add it, or leave this out"),
        ({"generate": False, "resume": True}, "--resume is for --generate"),
        ({"generate": False, "tools": "towns.py"}, "write: tm tasks FILE --tools SOURCE"),
    ],
)
def test_wrong_combinations(given: Json, problem: str) -> None:
    words = {"generate": True, **given}
    others = {name: words.pop(name) for name in ("tools", "suite", "file") if name in words}
    with pytest.raises(UsageError) as caught:
        run(generating=Generating(**words), **others)
    assert problem in str(caught.value)


# ---- the parts -------------------------------------------------------------------------------------------


def test_draws_cover_tools_and_kinds_and_know_only_their_number() -> None:
    catalog = catalog_of("library")
    draws = [draw_for(catalog, 0, number) for number in range(52)]
    assert {draw.kind for draw in draws} == set(KINDS)
    assert {name for draw in draws for name in draw.focus} == {t["function"]["name"] for t in catalog.tools}
    assert len({draw.world for draw in draws}) == 52
    assert draws[17] == draw_for(catalog, 0, 17)
    assert draws[17] != draw_for(catalog, 1, 17)
    assert len({draw.brief() for draw in draws}) == 52


def test_of_many_tools_a_task_has_some() -> None:
    from dataclasses import replace

    catalog = catalog_of("library")
    one = catalog.tools[0]
    many = [{**one, "function": {**one["function"], "name": f"tool_{i}"}} for i in range(300)]
    draw = draw_for(replace(catalog, tools=many), 0, 3)
    names = [tool["function"]["name"] for tool in draw.tools]
    assert len(names) == 64
    assert set(draw.focus) <= set(names)


@pytest.mark.parametrize(
    ("said", "sentence"),
    [
        (None, "is not one JSON object"),
        ("[1]", "is not one JSON object"),
        ('{"answer": 1}', '"query" is not a text'),
        ('{"query": "?", "answer": {"a": 1}}', '"answer" is not a text, a number'),
        ('{"query": "?", "answer": []}', '"answer" is not a text, a number'),
        ('{"query": "?", "answer": "x", "check": "judge"}', '"check" is none of exact, number, set'),
        ('{"query": "?", "answer": "x", "check": ["exact"]}', '"check" is none of'),
        ('{"query": "?", "answer": "many", "check": "number"}', '"answer" is no number'),
        (json.dumps({"query": "x" * 2001, "answer": 1}), '"query" must have 1 to 2000 characters'),
        ('{"query": "?", "answer": " "}', '"answer" must have 1 to 300 characters'),
        ('{"query": "a\\u001bb", "answer": 1}', '"query" holds markup or control characters'),
        ('{"query": "a", "answer": "<|im_end|>"}', '"answer" holds markup'),
        ('{"query": "<tool_call>", "answer": 1}', '"query" holds markup'),
        ('{"query": "\\ud800", "answer": 1}', "is not one JSON object"),
    ],
)
def test_unreadable_proposals(said: str | None, sentence: str) -> None:
    with pytest.raises(UnfitError) as caught:
        parse(said)
    assert sentence in caught.value.sentence


JSONS: Any = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=6), inner, max_size=4),
    max_leaves=6,
)


@given(
    st.text()
    | st.fixed_dictionaries({}, optional={"query": JSONS, "answer": JSONS, "check": JSONS}).map(json.dumps)
)
def test_no_text_of_a_model_breaks_the_reader(said: str) -> None:
    with suppress(UnfitError):
        assert parse(said).answer


def test_agreement_in_words() -> None:
    assert Agree.parse(" 2/3 ") == Agree(2, 3)
    for wrong in ("3", "0/2", "4/3", "a/b", "1/65", ""):
        with pytest.raises(UsageError):
            Agree.parse(wrong)


def test_near_duplicates_and_what_is_none() -> None:
    asked = Asked()
    asked.add("How many pages has Silent Harbor?", ["find_book"])
    assert asked.like("Silent Harbor: how many pages has it?", ["find_book"]) is not None
    assert asked.like("how many  pages has silent harbor", ["find_book"]) is not None
    assert asked.like("How many pages has Golden Tide?", ["find_book"]) is None
    assert asked.like("In which year was the author of Silent Harbor born?", ["find_book"]) is None
