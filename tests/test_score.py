"""One truth for right and wrong: answers, labels, FTRL's formulas, rewards."""

import json
import random
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from trajectories import call, fault, task, trajectory, turn

from tmcli.errors import InputError, UsageError
from tmcli.filters.rounds import calls_of
from tmcli.filters.view import View
from tmcli.protocol import CANNOT
from tmcli.records import Check, Trajectory, decode, encode
from tmcli.score import (
    DEFAULT_WEIGHTS,
    OUTCOME,
    Made,
    contains,
    correct,
    judge,
    labels,
    made,
    parse_weights,
    played,
    repeated,
    score_of,
    solve,
)
from tmcli.score.calls import found, holds

FTRL = Path(__file__).parents[2] / "shared" / "data" / "ftrl_dev.parquet"

# ---- answers -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("check", "gold", "prediction", "due"),
    [
        ("exact", "Paris", "  paris.", True),
        ("exact", "Paris", '"Paris"', True),
        ("exact", "New  York", "new york!", True),
        ("exact", "STRASSE", "straße", True),
        ("exact", "U.S.", "U.S", True),
        ("exact", "Paris", "Paris, France", False),
        ("exact", "?", "?", True),
        ("exact", "?", "!", False),
        ("number", "1200", "1,200", True),
        ("number", "1200", "It holds 1,200 books.", True),
        ("number", "0.1", "0.10000001", True),
        ("number", "1000000", "1000002", False),
        ("number", "0", "0.0", True),
        ("number", "-5", "\N{MINUS SIGN}5 degrees", True),
        ("number", "5", "A-5", True),
        ("number", "1.5e3", "1500", True),
        ("number", ".5", "0.5", True),
        ("number", "2", "two", False),
        ("number", "1", "9" * 5000, False),
        ("number", "none", "None.", True),
        ("contains", "Israel, Sudan", "sudan and israel", True),
        ("contains", "2,716,450", "2716450 people", True),
        ("contains", "Israel, Sudan", "Israel", False),
        ("set", "B7, B12, B9", "B9, B7 and B12.", True),
        ("set", "Salt and Pepper, Oil", "oil, salt and pepper", True),
        ("set", "B7, B12", "B7", False),
        ("exact", CANNOT, "It cannot be done.", True),
        ("exact", CANNOT, "Sorry, this can’t be answered with the tools.", True),
        ("exact", CANNOT, "That is impossible", True),
        ("exact", CANNOT, "42", False),
        ("exact", CANNOT, "B12 can be found", False),
        ("exact", "Emma", "It cannot be done.", False),
        ("contains", "a", "Anna", True),
        ("set", "a, b", "B, A", True),
        ("set", "a, b", "[b, a, a]", True),
        ("set", "a, b", "a", False),
        ("set", "a", "a, b", False),
    ],
)
def test_answers(check: Check, gold: str, prediction: str, due: bool) -> None:
    assert correct(prediction, [gold], check) is due


def test_any_accepted_gold_will_do() -> None:
    assert correct("b", ["a", "b"], "exact") is True


def test_null_is_not_wrong() -> None:
    assert correct("x", [], "exact") is None
    assert correct("x", [" "], "exact") is None
    assert correct("x", ["x"], "judge") is None
    assert correct(None, ["x"], "judge") is False
    assert correct(" ", ["x"], "contains") is False


@given(st.text(max_size=40), st.lists(st.text(max_size=20), max_size=3))
def test_no_text_breaks_a_check(prediction: str, golds: list[str]) -> None:
    checks: tuple[Check, ...] = ("exact", "number", "contains", "set", "judge")
    for check in checks:
        assert correct(prediction, golds, check) in (True, False, None)


@given(st.text(min_size=1, max_size=40))
def test_every_gold_accepts_itself(gold: str) -> None:
    checks: tuple[Check, ...] = ("exact", "contains", "number", "set")
    if gold.strip():
        assert all(correct(gold, [gold], check) for check in checks)


# ---- FTRL, written a second time straight from its paper's formulas ------------------------------

WORDS = st.sampled_from(["Oslo", "oslo", "1,200", "1200", "Oslo, Bergen", "Bergen", "", "x"])
CALLS = st.lists(
    st.tuples(st.sampled_from(["f", "g", "h"]), st.lists(WORDS, max_size=3).map(" ".join)), max_size=6
)
SUBGOALS = st.dictionaries(st.sampled_from(["f", "g", "k"]), st.lists(WORDS, max_size=3), max_size=3)


def verify(pred: str, gold: str) -> bool:
    pred = pred.lower().replace(",", "").strip()
    return min(pred.find(piece.lower().replace(",", "").strip()) for piece in gold.split(", ")) >= 0


def ftrl(messages: list[dict[str, Any]], unsolved: dict[str, list[str]]) -> tuple[float, float, float] | None:
    """c, n, s from the messages alone."""
    n = sum(map(len, unsolved.values()))
    if n == 0:
        return None
    names = {}
    c = s = 0
    open_golds = [(tool, gold) for tool, golds in unsolved.items() for gold in golds]
    for message in messages:
        for asked in message.get("tool_calls", []):
            c += 1
            names[asked["id"]] = asked["function"]["name"]
        if message["role"] == "tool" and message["tool_call_id"] in names:
            for pair in open_golds:
                if pair[0] == names[message["tool_call_id"]] and verify(message["content"], pair[1]):
                    open_golds.remove(pair)
                    s += 1
                    break
    return (1.0 if c == 0 else s / c, s / n, 2 * s / (c + n))


@given(WORDS, WORDS)
def test_contains_is_answer_verify(prediction: str, gold: str) -> None:
    assert contains(prediction, gold) is verify(prediction, gold)


@given(CALLS, SUBGOALS, st.integers(1, 3))
def test_solve_is_ftrls(calls: list[tuple[str, str]], subgoals: dict[str, list[str]], per_turn: int) -> None:
    made_calls = [call(name, reply=reply, i=i) for i, (name, reply) in enumerate(calls)]
    turns = [turn("execution", *made_calls[i : i + per_turn]) for i in range(0, len(calls), per_turn)]
    played = trajectory([*turns, turn("execution")], task=task(subgoals=subgoals))
    due = ftrl(played.messages, subgoals)
    assert solve(made(played), subgoals) == due
    scores = judge(played).scores
    assert (scores.get("solve_p"), scores.get("solve_r"), scores.get("solve_f1")) == (due or (None,) * 3)


@pytest.mark.skipif(not FTRL.exists(), reason="the real tasks of ../shared/data are not here")
def test_solve_is_ftrls_on_real_tasks() -> None:
    """Their sub-goals as they are; calls and replies drawn so that some find a gold and some do not."""
    import pyarrow.parquet

    rng = random.Random(0)
    found = 0.0
    for row in pyarrow.parquet.read_table(FTRL).to_pylist():
        subgoals = json.loads(row["unsolved_set"])
        golds = [gold for of_tool in subgoals.values() for gold in of_tool]
        names = [tool["function"]["name"] for tool in json.loads(row["tools"])]
        calls = [
            call(
                rng.choice(names),
                i=i,
                reply=json.dumps({"said": rng.sample(golds, rng.randint(0, len(golds)))}),
            )
            for i in range(rng.randint(0, 12))
        ]
        real = task(messages=row["messages"], answer=[row["answer"]], check="contains", subgoals=subgoals)
        played = trajectory([*(turn("execution", one) for one in calls), turn("execution")], task=real)
        solved = solve(made(played), subgoals)
        assert solved is not None
        assert solved == ftrl(played.messages, subgoals)
        found += solved[2]
    assert found > 5  # the draw is not empty


def test_solve_leaves_out_what_could_not_be_read() -> None:
    played = trajectory([turn("execution", call("f", reply="Oslo"), fault("Oslo")), turn("execution")])
    assert solve(made(played), {"f": ["Oslo"], "invalid": ["Oslo"]}) == (1.0, 0.5, 2 / 3)


# ---- calls -------------------------------------------------------------------------------------


def marks(*turns: dict[str, Any]) -> list[str]:
    return list(labels(made(trajectory([*turns, turn("execution")])), "the end"))


def test_a_trial_is_useful_when_its_tool_is_used_later() -> None:
    assert marks(turn("trial", call(title="a")), turn("execution", call(title="b", reply="2"))) == [
        "useful_trial",
        "direct",
    ]


def test_a_trial_is_useful_when_what_it_found_is_used() -> None:
    found = turn("trial", call("find", name="Ann", reply='{"reader": "R9", "name": "Ann"}'))
    assert marks(found, turn("execution", call("loan", reader="R9"))) == ["useful_trial", "direct"]
    assert marks(found, turn("execution", call("loan", reader="R91"))) == ["wasted_trial", "direct"]
    assert marks(found, turn("execution", call("loan", name="Ann"))) == ["wasted_trial", "direct"]
    assert marks(turn("trial", call("find", reply="It is The End."))) == ["useful_trial"]


def test_a_trial_is_useful_when_it_rules_a_tool_out() -> None:
    assert marks(turn("trial", call("gone", ok=False, reply="error"))) == ["useful_trial"]
    assert marks(turn("trial", call("decoy", reply="[]"))) == ["useful_trial"]
    assert marks(turn("trial", call("idle", reply="something"))) == ["wasted_trial"]


def test_a_repeated_trial_is_wasted() -> None:
    again = turn("trial", call(b=2, a=1, reply="new"))
    assert marks(turn("trial", call(a=1, b=2)), again, turn("execution", call())) == [
        "useful_trial",
        "wasted_trial",
        "direct",
    ]


def test_a_trial_without_news_is_wasted() -> None:
    assert marks(turn("trial", call(a=1)), turn("trial", call(a=2)), turn("execution", call())) == [
        "useful_trial",
        "wasted_trial",
        "direct",
    ]


def test_an_unreadable_trial_is_wasted() -> None:
    assert marks(turn("trial", fault(), state="invalid")) == ["wasted_trial"]


def test_replies_are_found_by_id_within_the_turn() -> None:
    """Some servers name the first call of every turn alike; replies may stand in any order."""
    two = turn("trial", call("f", reply="1"), call("g", reply="2"))
    played = trajectory([two, turn("execution", call("h", reply="3"))])
    played.messages[3:5] = played.messages[4:2:-1]
    played.messages[5]["tool_calls"][0]["id"] = played.messages[6]["tool_call_id"] = "call_0"
    assert [(one.name, one.reply) for one in made(played)] == [("f", "1"), ("g", "2"), ("h", "3")]


def test_a_task_may_bring_assistant_turns_of_its_own() -> None:
    said = [
        {"role": "user", "content": "Hi"},
        {"role": "assistant", "content": "Hello"},
        {"role": "user", "content": "Go"},
    ]
    played = trajectory([turn("trial", call("f", reply="1")), turn("execution")], task=task(messages=said))
    assert [(one.phase, one.name, one.reply) for one in made(played)] == [("trial", "f", "1")]


def test_repeats_are_counted_within_a_phase() -> None:
    played = trajectory(
        [turn("trial", call(a=1)), turn("execution", call(a=1)), turn("execution", call(a=1))]
    )
    assert repeated(made(played)) == 1


# ---- rewards -----------------------------------------------------------------------------------


def test_a_good_episode() -> None:
    judged = judge(trajectory())
    assert judged.scores == {
        "outcome": 1.0, "answer": 1.0, "format": 1.0, "trial": 1.0, "repeat": 0.0,
        "recovery": 1.0, "length": 0.0, "forged": 0.0, "guess": 0.0,
    }  # fmt: skip
    assert judged.reward == pytest.approx(1.25)


def test_outcome_comes_first() -> None:
    """The worst right episode earns more than the best wrong one."""
    worst = trajectory([turn("execution", call(), call(), fault(), state="invalid")], stop="no_call")
    best = replace(trajectory(), prediction="wrong")
    rewards = judge(worst).reward, judge(best).reward
    assert rewards[0] is not None
    assert rewards[1] is not None
    assert rewards[0] > rewards[1] > 0
    rest = sum(abs(weight) for part, weight in DEFAULT_WEIGHTS.items() if part not in OUTCOME)
    assert rest < DEFAULT_WEIGHTS["outcome"] == 1


def test_trials_are_free_but_no_goldmine() -> None:
    """One useful trial earns as much as it can; more than one a tool, or wasted ones, lower the share."""
    one = [turn("trial", call(i=0, reply="r0"))]
    three = [turn("trial", call(i=i, reply=f"r{i}")) for i in range(3)]
    work = turn("execution", call(i=9, reply="r9"))
    assert judge(trajectory([*one, work])).scores["trial"] == 1.0
    assert judge(trajectory([*three, work])).scores["trial"] == pytest.approx(1 / 3)
    assert judge(trajectory([work])).scores["trial"] == 0.0


def test_a_broken_world_is_never_a_zero() -> None:
    broken = trajectory(status="invalid", stop="infrastructure", failure="no server", reward=0.0)
    judged = judge(replace(broken, scores={"answer": 0}))
    assert (judged.scores, judged.reward) == ({}, None)
    assert score_of(judged).correct is None


def test_unjudged_is_never_a_zero() -> None:
    judged = judge(trajectory(task=task(answer=[])))
    assert judged.scores["answer"] is None
    assert judged.reward is None
    assert score_of(judged).correct is None


def test_solve_f1_can_be_the_outcome() -> None:
    played = trajectory(task=task(answer=[], subgoals={"find_book": ['"id": 1']}))
    assert judge(played, {"solve_f1": 1.0}).reward == pytest.approx(2 / 3)
    assert judge(trajectory(task=task(answer=[])), {"solve_f1": 1.0}).reward is None


def test_judging_again_changes_nothing_and_ignores_what_was_stored() -> None:
    lied = replace(trajectory(), prediction="wrong", reward=9.0, scores={"answer": 1.0})
    once = judge(lied)
    assert once.scores["answer"] == 0.0
    again = decode(encode(once))
    assert isinstance(again, Trajectory)
    assert encode(judge(again)) == encode(once)


def test_a_reward_never_reads_the_plan() -> None:
    with_plan = task(plan=[{"name": "find_book", "arguments": {"title": "Emma"}}])
    assert judge(trajectory(task=with_plan)).reward == judge(trajectory()).reward


def test_score_counts() -> None:
    turns = [
        turn("trial", call(ok=False, reply="e", x=1)),
        turn("execution", call(), fault()),
        turn("execution"),
    ]
    score = score_of(judge(trajectory(turns)))
    assert (score.calls, score.errors, score.correct) == (2, 2, True)
    trials = [score.scores[name] for name in ("trials", "useful_trials", "wasted_trials")]
    assert trials == [1, 1, 0]
    assert (score.scores["turns"], score.scores["completion_tokens"]) == (3, 30)


def test_a_task_that_is_none_is_named() -> None:
    with pytest.raises(InputError, match=r"task\.kind: trajectory t#0: the record has no kind"):
        judge(replace(trajectory(), id="t#0", task={"id": "t"}))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("anwser=1", "did you mean 'answer'"),
        ("answer=x", "write answer=0.5"),
        ("answer", "write answer=0.5"),
        ("answer=nan", "not a number"),
        (" ", "write them"),
    ],
)
def test_wrong_weights(text: str, said: str) -> None:
    with pytest.raises(UsageError, match=said):
        parse_weights(text)


def test_weights() -> None:
    assert parse_weights("answer=2, repeat=-0.5") == {"answer": 2.0, "repeat": -0.5}


def test_an_episode_without_a_word_is_judged() -> None:
    """The model's server was down at the first turn: no assistant message, no turn."""
    silent = replace(
        trajectory(), messages=[{"role": "user", "content": "?"}], turns=[], prediction=None,
        stop="infrastructure", status="invalid", failure="the server is down",
    )  # fmt: skip
    assert list(played(silent)) == []
    assert judge(silent).reward is None
    assert score_of(silent).correct is None


def test_calls_without_ids_are_answered_in_their_order() -> None:
    two = turn("execution", call(a=1, reply="one"), call(a=2, reply="two"))
    played = trajectory([two, turn("execution")])
    for message in played.messages:
        for asked in message.get("tool_calls") or []:
            del asked["id"]
        message.pop("tool_call_id", None)
    assert [one.reply for one in made(played)] == ["one", "two"]
    view = View.of(encode(played))
    assert [one.reply for one in view.calls] == [one.reply for one in calls_of(view)] == ["one", "two"]


WORDS = st.text("aB1_ .-éİKſ", max_size=6)


@given(WORDS, WORDS.filter(lambda value: any(map(str.isalnum, value))))
def test_a_value_is_found_as_a_pattern_finds_it(text: str, value: str) -> None:
    """The quick way, for ASCII, and the slow one are one."""
    pattern = rf"(?<!\w){re.escape(value)}(?!\w)"
    assert holds(text, value) is (re.search(pattern, text, re.IGNORECASE) is not None)
    reply = Made("trial", "f", {}, True, text)
    later = [Made("execution", "g", {"a": value}, True, None)]
    assert found(reply, later, None) is (value.strip() != "" and holds(text, value.strip()))
