"""The rules of `tm filter` that know trial and execution: what each catches, and what it must let pass."""

from __future__ import annotations

import copy
import json
from collections import Counter
from dataclasses import replace
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st
from mutations import MAY, MUTATIONS
from strategies import json_values, record_values
from trajectories import call, fault, task, trajectory, turn

from tmcli import suites
from tmcli.episode import Limits
from tmcli.errors import InputError
from tmcli.filters import leaks, rounds
from tmcli.filters.rules import checks, chosen
from tmcli.filters.view import View
from tmcli.policies.scripted import Scripted
from tmcli.protocol import prompt
from tmcli.records import Trajectory, decode, encode, expect, to_json
from tmcli.runner import Runner, jobs

Json = dict[str, Any]

DRIFTS = [
    [],
    ["rename"],
    ["format"],
    ["wrap"],
    ["decoy"],
    ["stale"],
    ["undocument"],
    ["all"],
    ["all@1"],
    ["decoy@1", "stale@1", "format"],
]
N = 12


@pytest.fixture(scope="module")
def scripted() -> list[bytes]:
    """Lines of the embedded expert in style trial, under every drift."""
    tasks = (
        one
        for drift in DRIFTS
        for name in ("train", "unseen")
        for one in suites.suite(name, N, 3, drift=drift)
    )
    with Runner(Scripted("trial"), Limits()) as runner:
        played = list(runner.run(jobs(tasks, 1)))
    right = [one for one in played if one.scores.get("answer") == 1.0]
    assert len(right) > 0.95 * len(played)
    return [encode(one) for one in right]


def fired(line: bytes, preset: Any = "default") -> dict[str, str]:
    """Rule -> why, of all that drop it."""
    view = View.of(line)
    found = ((name, check(view)) for name, check in checks(chosen(preset)))
    return {name: why for name, why in found if why is not None}


def why(rule: str, one: Trajectory | Json) -> str | None:
    """What one rule says of it."""
    ((_, check),) = checks(chosen("off", [rule], [name for name in chosen("off") if name != rule]))
    return check(View.of(encode(one) if isinstance(one, Trajectory) else orjson.dumps(one)))


# ---- what is good passes -----------------------------------------------------------------------


def test_the_expert_passes_every_default_under_every_drift(scripted: list[bytes]) -> None:
    assert [fired(line) for line in scripted] == [{}] * len(scripted)


def test_strict_drops_the_expert_for_its_errors_alone(scripted: list[bytes]) -> None:
    reasons = Counter(name for line in scripted for name in fired(line, "strict"))
    assert set(reasons) <= {"execution_errors", "too_many_turns"}


def test_rounds_are_what_score_finds(scripted: list[bytes]) -> None:
    for line in scripted[::7]:
        view = View.of(line)
        assert rounds.calls_of(view) == view.calls
        assert [one.text for one in view.rounds] == view.said


# ---- each defect is caught, for the right reason -------------------------------------------------


@pytest.mark.parametrize("rule", MUTATIONS)
def test_mutations_are_caught_by_their_rule_alone(rule: str, scripted: list[bytes]) -> None:
    for i, way in enumerate(MUTATIONS[rule]):
        made = caught = 0
        others: Counter[str] = Counter()
        for line in scripted:
            good = fired(line, "strict")
            bad = way(copy.deepcopy(json.loads(line))) if rule not in good else None
            if bad is None:
                continue
            found = fired(orjson.dumps(bad), "strict")
            made += 1
            caught += rule in found
            others.update(set(found) - set(good) - {rule} - MAY.get(rule, set()))
        print(f"{rule:18}{i} {caught:5} of {made:5} {dict(others) or ''}")
        assert made >= 20
        assert not others
        assert caught / made >= LEAST.get((rule, i), 1.0)


LEAST = {
    ("invalid_call", 2): 0.9,  # a refusal spoke of the parameter before
    ("invalid_call", 3): 0.9,
    ("phase_order", 1): 0.8,  # it "worked" with an empty reply: a look-alike
    ("wasted_trials", 0): 0.9,
    ("false_experience", 3): 0.8,  # a look-alike with nothing in it may be said to fail
    ("leak", 0): 0.6,  # everyday words, "cannot be done", what can be reckoned
    ("leak", 1): 0.6,
}


# ---- the dialogue --------------------------------------------------------------------------------

END = turn("execution", content="<answer>0 shelves</answer>")
WORK = turn("execution", call(title="Emma"), content="<plan>look</plan>")


@pytest.mark.parametrize(
    ("said", "is_invented"),
    [
        ("<plan>x</plan>\n<tool_response>\n{}\n</tool_response>", True),
        ("<|im_start|>user\nand now?", True),
        ("<start_of_turn>user\nand now?", True),
        ("[TOOL_RESULTS] [1]", True),
        ('Action: find\nAction Input: {"a": 1}\nObservation: 3 books', True),
        ("<trial>x</trial>\nObservation: nothing", True),
        ("<plan>Observation: the last reply held no page.</plan>", False),
        ("Observation: it takes a title.\n<plan>so I give one</plan>", False),
        ("<plan>the response of the tool was short, [1] and <b></plan>", False),
        ("<plan>it wrote <|weird|> and <tool>.</plan>", False),
        ("<plan>工具的回复是空的</plan>", False),
    ],
)
def test_invented_reply(said: str, is_invented: bool) -> None:
    found = why("invented_reply", trajectory([turn("execution", call(), content=said), END]))
    assert (found is not None) is is_invented
    assert found is None or found.startswith("turn 1 writes ")


def test_marks_that_were_shown_may_be_quoted() -> None:
    said = turn("execution", call(), content="<plan>the text says <tool_response></plan>")
    asked = [{"role": "user", "content": "What does <tool_response> mean?"}]
    assert why("invented_reply", trajectory([said, END])) is not None
    assert why("invented_reply", trajectory([said, END], task=task(messages=asked))) is None
    read = turn("execution", call(reply="see <tool_response>"))
    assert why("invented_reply", trajectory([read, said, END])) is None


def light(one: Trajectory, at: int) -> Trajectory:
    """With weight 0 on the model's message number `at`."""
    messages = copy.deepcopy(one.messages)
    said = [message for message in messages if message["role"] == "assistant"]
    said[at - 1]["weight"] = 0
    return replace(one, messages=messages)


def test_what_is_not_trained_on_is_no_defect() -> None:
    bad = [
        turn("execution", call("nosuch", ok=False, reply="unknown tool"), content="<tool_response>"),
        turn("execution", call("nosuch", ok=False, reply="unknown tool"), content="<plan>a</plan>"),
        END,
    ]
    for rule in ("invented_reply", "invalid_call"):
        assert why(rule, trajectory(bad)) is not None
        assert why(rule, light(light(trajectory(bad), 1), 2)) is None
    assert why("unchanged_retry", trajectory(bad)) is not None
    assert why("unchanged_retry", light(trajectory(bad), 2)) is None
    assert why("execution_errors=1", trajectory(bad)) is not None
    assert why("execution_errors=1", light(trajectory(bad), 2)) is None


def test_a_server_may_count_its_ids_anew_or_give_none() -> None:
    one = trajectory([turn("execution", call(reply="1"), call(a=1, reply="2")), WORK, END])
    for ids in (["c0", "c1", "c0"], [None, None, None], [7, 8, 7]):
        told = iter(ids)
        asked = iter(ids)
        messages = copy.deepcopy(one.messages)
        for message in messages:
            for made in message.get("tool_calls", []):
                made["id"] = next(asked)
            if message["role"] == "tool":
                message["tool_call_id"] = next(told)
        assert why("unanswered_call", replace(one, messages=messages)) is None, ids


# ---- calls ---------------------------------------------------------------------------------------


def tool(name: str = "find_book", **parameters: Any) -> Json:
    schema = {"type": "object", "properties": {"title": {"type": "string"}}, "required": ["title"]}
    return {"type": "function", "function": {"name": name, "parameters": schema | parameters}}


def with_tools(*tools: Json, drift: Any = (), **more: Any) -> Json:
    return task(tools=list(tools), tags={"drift": list(drift)}, **more)


def refusal(reply: str = '{"error": "no"}', /, name: str = "find_book", **given: Any) -> Json:
    return turn("execution", call(name, reply, False, **given), content="<plan>x</plan>")


REF = {"$defs": {"t": {"type": "string"}}, "properties": {"title": {"$ref": "#/$defs/t"}}}


@pytest.mark.parametrize(
    ("shown", "given", "wrong"),
    [
        (tool(), {}, "lacks"),
        (tool(), {"title": 1}, "title must be a string"),
        (tool(), {"title": "x", "year": 1}, "has no parameter"),
        (tool(), {"title": "x"}, None),
        (tool(additionalProperties=True), {"title": "x", "year": 1}, None),
        (tool(properties={"title": {"enum": ["a", "b"]}}), {"title": "c"}, "one of"),
        (tool(properties={"title": {"type": "string", "maxLength": 3}}), {"title": "long"}, "at most 3"),
        (tool(**REF), {"title": 1}, "title must be"),
        (tool(**REF), {"title": "x"}, None),
        (tool(properties={"title": {"$ref": "#/nowhere"}}), {"title": 1}, None),
        (tool(properties={"title": {"$ref": "https://example.org/x"}}), {"title": 1}, None),
        (tool(**{"$ref": "#/$defs/all"}), {"year": 1}, None),
        (tool(allOf=[{"required": ["year"]}]), {"title": "x"}, "year"),
        (tool(anyOf=[{"required": ["year"]}, {"required": ["title"]}]), {"title": "x", "z": 1}, None),
        (tool(properties={"title": {"type": "strng"}}), {"title": 1}, None),
        (tool(properties=7, required="title"), {}, None),
        (tool(required=[7, None]), {"title": "x"}, None),
        (tool(properties={"title": {"pattern": "("}}), {"title": "x"}, None),
    ],
)
def test_invalid_call_is_one_that_breaks_the_schema_and_is_refused(
    shown: Json, given: Json, wrong: str | None
) -> None:
    of = with_tools(shown)
    found = why("invalid_call", trajectory([refusal(**given), END], task=of))
    assert (found is None) is (wrong is None), found
    assert wrong is None or (found or "").startswith("turn 1: ")
    assert wrong is None or wrong in (found or "")
    accepted = turn("execution", call(**given), content="<plan>x</plan>")
    assert why("invalid_call", trajectory([accepted, END], task=of)) is None
    trial = turn("trial", call(ok=False, reply="no", **given), content="<trial>x</trial>")
    assert why("invalid_call", trajectory([trial, WORK, END], task=of)) is None


def test_a_schema_that_is_none_holds_nothing_against_a_call() -> None:
    for parameters in (None, 7, [], "x", {"properties": None}, {"$ref": 7}, {"type": ["object", 7]}):
        shown = {"type": "function", "function": {"name": "find_book", "parameters": parameters}}
        found = why("invalid_call", trajectory([refusal(), END], task=with_tools(shown)))
        assert found is None, parameters


def test_what_replies_taught_is_not_held_against_the_documents() -> None:
    of = with_tools(tool(), drift=["stale"])
    taught = refusal('{"error": "unknown parameter \'title\'; parameters are: name, kind"}', title="Emma")
    told = refusal('{"error": "kind must be one of: NOVEL"}', name_="x") | {"content": "<plan>x</plan>"}
    told["calls"][0]["arguments"] = {"name": "Emma", "kind": "novel"}
    assert why("invalid_call", trajectory([taught, told, END], task=of)) is None
    assert why("invalid_call", trajectory([told, END], task=of)) is not None
    elsewhere = refusal('{"error": "unknown tool; tools are: find"}', title="Emma")
    renamed = refusal("no", "find", title="Emma")
    assert why("invalid_call", trajectory([elsewhere, renamed, END], task=of)) is None
    assert why("invalid_call", trajectory([renamed, END], task=of)) is not None
    again = refusal('{"error": "missing parameter \'title\'"}')
    assert "turn 2" in (why("invalid_call", trajectory([again, again, END], task=of)) or "")


def test_names_of_mcp_tools_are_as_they_are() -> None:
    for name in ("shop.find book", "server/tool-x", "工具", "a" * 300):
        of = with_tools(tool(name))
        assert why("invalid_call", trajectory([refusal("no", name, title="x"), END], task=of)) is None
        found = why("invalid_call", trajectory([refusal("no", name), END], task=of)) or ""
        assert "lacks" in found
        assert len(found) < 200


def test_invalid_call_counts() -> None:
    turns = [refusal(year=1), refusal(year=2), END]
    assert why("invalid_call=1", trajectory(turns)) is not None
    assert why("invalid_call=2", trajectory(turns)) is None
    many = call("nosuch", "too many calls in one turn; at most 8 are made", False)
    assert why("invalid_call", trajectory([turn("execution", call(), many), END])) is not None


@pytest.mark.parametrize(
    ("turns", "is_retry"),
    [
        ([refusal(a=1), refusal(a=1)], True),
        ([refusal(a=1, b=2), refusal(b=2, a=1)], True),
        ([refusal(a=1), refusal(a=2), refusal(a=1)], True),
        ([refusal(a=1), turn("trial", call(ok=False)), refusal(a=1)], True),
        ([refusal(a=1), refusal(a=2)], False),
        ([refusal(a=1), refusal(a="1")], False),
        ([refusal(a=1), WORK, refusal(a=1)], False),
        ([refusal(a=1), turn("trial", call()), refusal(a=1)], False),
        ([refusal(a=1), turn("execution", call(a=1))], False),
        ([turn("execution", call(ok=False, a=1), call(ok=False, a=1))], False),
        ([turn("trial", call(ok=False, a=1)), refusal(a=1)], False),
        ([refusal("request timed out", a=1), refusal("request timed out", a=1)], False),
        ([refusal('{"error": "x", "status": 503}', a=1)] * 2, False),
        ([refusal("Rate limit reached, try again later", a=1)] * 2, False),
        ([turn("execution", fault(), state="invalid")] * 2, False),
    ],
)
def test_unchanged_retry(turns: list[Json], is_retry: bool) -> None:
    found = why("unchanged_retry", trajectory([*turns, END]))
    assert (found is not None) is is_retry, found


def test_retries_and_errors_count() -> None:
    turns = [refusal(a=1), refusal(a=1), refusal(a=1), END]
    assert why("unchanged_retry=1", trajectory(turns)) == (
        'turn 2: "find_book", as it failed in turn 1; turn 3: "find_book", as it failed in turn 2'
    )
    assert why("unchanged_retry=2", trajectory(turns)) is None
    assert "errors in 3 turns" in (why("execution_errors=2", trajectory(turns)) or "")
    assert why("execution_errors=3", trajectory(turns)) is None
    at_once = turn("execution", *[call(ok=False, a=i) for i in range(8)])
    assert why("execution_errors=1", trajectory([at_once, END])) is None
    trials = [turn("trial", call(ok=False, a=i)) for i in range(8)]
    assert why("execution_errors=0", trajectory([*trials, WORK, END])) is None


# ---- phases --------------------------------------------------------------------------------------


def trial(*calls: Json, before: str = "") -> Json:
    return turn("trial", *calls, content=f"{before}<trial>see</trial>")


NOTED = turn("execution", call(title="Emma"), content="<experience>ok</experience><plan>look</plan>")


@pytest.mark.parametrize(
    ("turns", "break_"),
    [
        ([trial(call(x=1)), NOTED], None),
        ([trial(call(x=1, ok=False)), NOTED], None),
        ([trial(call(x=1)), trial(call(x=2), before="<experience>a</experience>"), NOTED], None),
        ([trial(call(x=1), call(y=1)), NOTED], None),
        ([trial(fault()), WORK], None),
        ([NOTED], None),
        ([trial(call(x=1)), WORK], "turn 2: no <experience> after the trial of turn 1"),
        ([trial(call(x=1)), trial(call(x=2)), NOTED], "turn 2: no <experience>"),
        ([trial(), NOTED], "turn 1: a trial without a call"),
        (
            [WORK, trial(call(title="Persuasion")), NOTED],
            'turn 2: "find_book" is tried, but it worked in turn 1',
        ),
        ([WORK, trial(call(year=1)), NOTED], None),
        ([WORK, trial(call("about", id=1)), NOTED], None),
        ([refusal(title="x"), trial(call(title="Emma")), NOTED], None),
        ([turn("execution", call(reply="{}", title="x")), trial(call(title="Emma")), NOTED], None),
    ],
)
def test_phase_order(turns: list[Json], break_: str | None) -> None:
    found = why("phase_order", trajectory([*turns, END]))
    assert (found is None) is (break_ is None), found
    assert break_ is None or (found or "").startswith(break_)
    assert why("phase_order=1", trajectory([*turns, END])) is None


def test_a_trial_marked_otherwise_needs_no_tag() -> None:
    """Phases may come from elsewhere, as from a data set with labels of its own."""
    assert why("phase_order", trajectory([turn("trial", call(x=1)), WORK, END])) is None


@pytest.mark.parametrize("drift", [["stale"], ["rename", "wrap"], "stale"])
def test_no_trial(drift: Any) -> None:
    of = task(tags={"drift": drift})
    assert "stale" in (found := why("no_trial", trajectory([WORK, END], task=of)) or "") or "rename" in found
    assert why("no_trial", trajectory([trial(call(x=1)), NOTED, END], task=of)) is None
    direct = {"name": "scripted", "sampling": {"style": "direct"}}
    assert why("no_trial", trajectory([WORK, END], task=of, policy=direct)) is None
    asked = trajectory([WORK, END], task=of)
    asked.messages[0]["content"] = prompt("direct")
    assert why("no_trial", asked) is None
    asked.messages[0]["content"] = prompt("trial")
    assert why("no_trial", asked) is not None


def test_familiar_tools_need_no_trial() -> None:
    for tags in ({"drift": []}, {"drift": None}, {"drift": "none"}, {"toolbox": "x"}):
        assert why("no_trial", trajectory([WORK, END], task=task(tags=tags))) is None


@pytest.mark.parametrize(
    ("turns", "is_repeat"),
    [
        ([trial(call(a=1, b=2, reply="x")), trial(call(b=2, a=1, reply="x"))], True),
        ([turn("execution", call(a=1, reply="x")), trial(call(a=1, reply="x"))], True),
        ([trial(call(a=1, reply="x"), call(a=1, reply="x"))], True),
        ([trial(call(a=1, reply="x")), trial(call(a=1, reply="y"))], False),
        ([trial(call(a=1, reply="x")), trial(call(a=2, reply="x"))], False),
        ([trial(call(a=1, reply="x")), trial(call(a=True, reply="x"))], False),
        ([trial(call(a=1, reply="x")), turn("execution", call(a=1, reply="x"))], False),
        ([trial(fault("x")), trial(fault("x"))], False),
        ([trial(call("f", reply="x")), trial(call("g", reply="x"))], False),
    ],
)
def test_repeated_trial(turns: list[Json], is_repeat: bool) -> None:
    assert (why("repeated_trial", trajectory([*turns, END])) is not None) is is_repeat
    assert why("repeated_trial=1", trajectory([*turns, END])) is None


def test_wasted_trials() -> None:
    used = trial(call(title="Emma", reply="1"))
    one, two = (trial(call("idle", reply=f"lore {i}", i=i)) for i in range(2))
    assert why("wasted_trials=0.5", trajectory([used, one, two, WORK, END])) is not None
    assert why("wasted_trials=0.7", trajectory([used, one, two, WORK, END])) is None
    assert why("wasted_trials=0", trajectory([one, WORK, END])) is None
    errors = [trial(call("gone", "no", False, i=i)) for i in range(3)]
    assert "3 trials" in (why("wasted_trials=0.5", trajectory([*errors, WORK, END])) or "3 trials")


# ---- experience ----------------------------------------------------------------------------------


def noting(
    said: str, reply: str = '{"id": "H417", "pages": 1200, "when": "1998-03-21"}', ok: bool = True
) -> Json:
    """After a trial of find_book(title="Emma") with this reply, this was noted."""
    asked = [{"role": "user", "content": "How many pages has Emma, in the house of 4711 books?"}]
    turns = [
        trial(call("find_book", reply, ok, title="Emma")),
        turn("execution", call(title="Emma"), content=f"<experience>{said}</experience><plan>x</plan>"),
        END,
    ]
    return to_json(trajectory(turns, task=task(messages=asked)))


@pytest.mark.parametrize(
    "said",
    [
        "find_book takes title.",
        "It gives id, pages and when, as in H417, 1200 and 1998-03-21.",
        "It has 1,200 pages; there are 4,711 books; 1200.0 is written 1200.",
        "ids are like 417/H, dates YYYY-MM-DD, ISO_8601, in utf_8",
        "findBook takes `title` and replies {\"id\": ...}; 'Emma' is found",
        "pages is pages_h times 60.",
        "It didn't fail, it's fine and doesn't need the user's id.",
        "用find_book要给title，回复里有pages：1200。",
        "„Emma“ hat 1.200 Seiten; der Titel steht in « title ».",
        "find_book works.",
        "find_book works with a title only.",
        "it returned 3 results on 2 pages, HTTP 200 or 404",
        "",
    ],
)
def test_an_experience_that_agrees(said: str) -> None:
    assert why("false_experience=0", noting(said)) is None


@pytest.mark.parametrize(
    ("said", "least"),
    [
        ("fetch_all takes zone_ref.", 1.0),
        ("find_book takes book_title.", 0.5),
        ('the reply says "no such reader" and 90125', 1.0),
        ("find_book has 77123 rows", 0.5),
        ("`isbn_13` is due", 1.0),
    ],
)
def test_a_share_of_what_it_names_was_never_seen(said: str, least: float) -> None:
    found = why(f"false_experience={least - 0.01}", noting(said))
    assert found is not None
    assert found.startswith("turn 2: ")
    assert why(f"false_experience={least}", noting(said)) is None


@pytest.mark.parametrize(
    ("said", "ok", "is_gainsaid"),
    [
        ("find_book works.", False, True),
        ("find_book works as documented, I think", False, True),
        ("find_book works with another parameter", False, False),
        ("find_book failed.", True, True),
        ("find_book does not work!", True, True),
        ("find_book fails without a title", True, False),
        ("find_book failed.", False, False),
        ("about works.", False, False),
        ("nothing works.", False, False),
    ],
)
def test_works_and_fails_are_held_against_what_was_seen(said: str, ok: bool, is_gainsaid: bool) -> None:
    reply = '{"id": 1}' if ok else '{"error": "no"}'
    assert (why("false_experience", noting(said, reply, ok)) is not None) is is_gainsaid


# ---- leaks ---------------------------------------------------------------------------------------


def knowing(
    gold: str | list[str],
    said: str,
    *,
    reply: str = '{"id": 1}',
    asked: str = "Who wrote it?",
    given: str = "x",
    plan: list[Json] | None = None,
    ok: bool = True,
) -> Trajectory:
    """It says something before any reply, reads the reply, says it again, and answers."""
    golds = [gold] if isinstance(gold, str) else gold
    of = task(messages=[{"role": "user", "content": asked}], answer=golds, plan=plan)
    turns = [
        trial(call(title=given, reply=reply, ok=ok), before=said),
        turn("execution", call(title=given, reply=reply, ok=ok), content="<experience>ok</experience>"),
        turn("execution", content=f"<answer>{golds[0]}</answer>"),
    ]
    return trajectory(turns, task=of)


@pytest.mark.parametrize(
    ("gold", "said"),
    [
        ("Ada Moss", "It is surely Ada Moss."),
        ("Ada Moss", "ADA MOSS?"),
        ("TR-6378589", "I expect TR-6378589"),
        ("Gudrun", "Gudrun, as I know"),
        ("巴塞罗那市", "应该是巴塞罗那市吧"),
        ("7439.38", "it will be 7439.38"),
        ('Jean d\'Arc "la Pucelle"', 'Jean d\'Arc "la Pucelle"!'),
    ],
)
def test_a_gold_before_it_was_shown(gold: str, said: str) -> None:
    found = why("leak", knowing(gold, said)) or ""
    assert found.startswith("turn 1 has the gold")
    assert why("leak", knowing(gold, "", given=gold)) is not None
    assert why("leak", knowing(gold, said, asked=f"Is it {gold}?")) is None
    assert why("leak", knowing(gold, "")) is None


@pytest.mark.parametrize(
    ("gold", "said"),
    [
        ("yes", "yes, I try it"),
        ("No", "No tool is known"),
        ("12", "I try 12"),
        ("2007", "say, in 2007"),
        ("100", "a limit of 100"),
        ("delivered", "was it delivered?"),
        ("in stock", "is it in stock?"),
        ("Monday", "Monday or Tuesday"),
        ("cannot be done", "perhaps it cannot be done"),
        ("Ann", "Annual fees"),
        ("Delivered", "was it delivered?"),
        ("", "nothing"),
    ],
)
def test_what_anybody_may_write(gold: str, said: str) -> None:
    assert why("leak", knowing(gold, said)) is None


def test_what_was_shown_may_be_said() -> None:
    gold = "Ada Moss"
    of = task(messages=[{"role": "user", "content": "Who?"}], answer=[gold, "Moss, Ada"])

    def read(reply: str, said: str = gold) -> Trajectory:
        turns = [
            turn("execution", call(reply=reply), content="<plan>look</plan>"),
            turn("execution", call(title=said), content=f"<plan>look {said} up</plan>"),
            turn("execution", content=f"<answer>{gold}</answer>"),
        ]
        return trajectory(turns, task=of)

    assert why("leak", read("It was ADA MOSS.")) is None
    assert why("leak", read('{"first": "Ada", "last": "Moss"}')) is None
    assert why("leak", read('{"name": "Moss, Ada"}')) is None
    assert why("leak", read('{"id": 7}')) is not None
    in_schema = tool(properties={"title": {"enum": [gold, "Bo"]}})
    assert why("leak", replace(read("{}"), tools=[in_schema], task=of | {"tools": [in_schema]})) is None
    before = trajectory([], task=of)
    before.messages[0]["content"] = f"The librarian is {gold}."
    assert why("leak", replace(read("{}"), messages=[before.messages[0], *read("{}").messages[1:]])) is None


def test_numbers_and_dates_can_be_worked_out() -> None:
    of = task(messages=[{"role": "user", "content": "How much is it?"}], answer=["926.41"], check="number")
    turns = [
        turn("execution", call(reply="77268")),
        turn("execution", call(a=1), content="<plan>77268 + 15373 = 926.41, check it</plan>"),
        turn("execution", content="<answer>926.41</answer>"),
    ]
    assert why("leak", trajectory(turns, task=of)) is None
    assert why("leak", trajectory(turns[1:], task=of)) is not None
    asked = of | {"messages": [{"role": "user", "content": "How much is 772.68 and 153.73?"}]}
    assert why("leak", trajectory(turns[1:], task=asked)) is None


def test_an_answer_that_nothing_brought_was_known() -> None:
    assert "turn 3" in (why("leak", knowing("Ada Moss", "", ok=False)) or "")
    assert why("leak", knowing("Ada Moss", "", ok=False, asked="Ada Moss or Bo?")) is None
    assert why("leak", knowing("12", "", ok=False)) is None


def test_ids_of_the_plan() -> None:
    plan = [{"name": "f", "arguments": {"a": {"$from": [0, "b"]}, "ref": ["QX99417"], "n": 5, "x": "fast"}}]
    told = "QX99417 it is, fast"
    assert "the plan's" in (why("leak", knowing("12", told, plan=plan)) or "")
    assert why("leak", knowing("12", told, plan=plan, asked="What of QX99417?")) is None
    assert why("leak", knowing("12", "fast", plan=plan)) is None


def test_the_teachers_prompt() -> None:
    lines = leaks._lines()
    assert len(lines) > 10
    shown = " ".join(prompt(name) for name in ("trial", "direct", "hint", "tools", "closed"))
    assert not [line for line in lines if line in shown]
    for name in ("teacher", "teacher_direct"):
        one = trajectory()
        one.messages[0]["content"] = prompt(name)
        assert "instructions" in (why("leak", one) or "")
    quotes = turn("execution", call(), content="So: reply, never from memory. Read each reply to its end: "
                  "nothing found, old data, further pages or an")  # fmt: skip
    assert "quotes" in (why("leak", trajectory([quotes, END])) or "")
    for name in ("trial", "direct"):
        one = trajectory()
        one.messages[0]["content"] = prompt(name)
        assert why("leak", one) is None


# ---- limits --------------------------------------------------------------------------------------


def test_tokens_are_counted_where_they_were_sampled() -> None:
    sampled = trajectory(tokens={"ids": [1, 2, 3], "mask": [0, 1, 1]})
    assert why("too_many_tokens=3", sampled) is None
    assert why("too_many_tokens=2", sampled) == "3 tokens"
    with pytest.raises(InputError, match="--tokenizer"):
        why("too_many_tokens=2", trajectory())


# ---- whatever it is --------------------------------------------------------------------------------

CHECKS = checks(chosen("strict", ["too_long=1000000"]))


def survives(line: bytes) -> None:
    try:
        view = View.of(line)
    except InputError:
        return
    for name, check in CHECKS:
        found = check(view)
        assert found is None or isinstance(found, str), name


@given(record_values("trajectory"), record_values("task"))
def test_nothing_crashes(value: Json, of: Json) -> None:
    survives(json.dumps(value | {"task": of}).encode())


def places(value: Any, at: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [at, *(place for key, item in items for place in places(item, (*at, key)))]


WHOLE = to_json(
    trajectory(
        [
            trial(call(ok=False, reply="no such title", title="x")),
            turn("execution", call("no", "no", False, a=1), call(ok=False, b=1), content="<experience>`a_b`"),
            refusal(b=1),
            turn("execution", fault(), state="invalid", content="Gold Fish"),
            END,
        ],
        task=task(tools=[tool()], answer=["Gold Fish"], plan=[{"name": "f", "arguments": {"a": "Q42x"}}],
                  tags={"drift": ["stale"]}),
    )
)  # fmt: skip
DEEP = json.loads("[" * 200 + "]" * 200)


@given(st.sampled_from(places(WHOLE)[1:]), json_values | st.sampled_from([2**70, DEEP, {"properties": DEEP}]))
def test_nothing_crashes_for_an_odd_value(place: tuple[Any, ...], value: Any) -> None:
    record = copy.deepcopy(WHOLE)
    inner: Any = record
    for step in place[:-1]:
        inner = inner[step]
    inner[place[-1]] = value
    survives(json.dumps(record).encode())


@given(st.text(max_size=300))
def test_nothing_crashes_for_any_text(said: str) -> None:
    one = noting(said)
    one["task"]["answer"] = [said]
    one["messages"][2]["content"] = said
    line = orjson.dumps(one)
    survives(line)
    assert expect(decode(line), Trajectory)
