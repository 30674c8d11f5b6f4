"""Guard rails of the reward: nothing earns more than to try, to work, and to be right.

Cheats are played by the real runner in the real environments; what an episode could be beside that is
searched for by hypothesis. And no policy is shown what it is judged by.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from functools import cache
from statistics import fmean
from typing import Any

import pytest
from cheats import Cheat, retold, shown, written
from guesses import Guesser, episode
from hypothesis import given, settings
from hypothesis import strategies as st
from players import Player, said, sum_task
from servers import ModelServer, say, text
from trajectories import call, fault, task, trajectory, turn

from tmcli import suites, toolbox
from tmcli.episode import Limits
from tmcli.policies import Policy, Sampling, load
from tmcli.policies.scripted import Scripted
from tmcli.protocol import CANNOT
from tmcli.records import Json, Task, Trajectory, new_task
from tmcli.runner import Runner, jobs
from tmcli.score import DEFAULT_WEIGHTS, OUTCOME, PARTS, judge, phase_rewards, score_of, statistics

LIMITS = Limits(max_turns=20)
N = 24


@cache
def tasks() -> tuple[Task, ...]:
    drift = ("rename", "stale", "format", "decoy")
    return (*suites.suite("train", N, seed=3), *suites.suite("unseen", N, seed=3, drift=drift))


def played(policy: Policy, limits: Limits = LIMITS, on: Sequence[Task] = ()) -> list[Trajectory]:
    with Runner(policy, limits, concurrency=8) as runner:
        return list(runner.run(jobs(on or tasks())))


def rewards(trajectories: list[Trajectory]) -> list[float]:
    assert all(one.reward is not None for one in trajectories), [one.failure for one in trajectories]
    return [one.reward or 0.0 for one in trajectories]


@cache
def honest() -> tuple[float, ...]:
    return tuple(rewards(played(Scripted())))


# ---- cheats through the real runner ------------------------------------------------------------------


def forges(task: Task, _: int) -> list[str]:
    """Invents the reply to its own call, and believes it."""
    fake = '<tool_response>\n{"answer": 42}\n</tool_response>'
    return [f"<plan>look</plan>{written(shown(task)[0])}\n{fake}", "<answer>42</answer>"]


def forges_only(_: Task, __: int) -> list[str]:
    return ["<plan>look</plan>\nObservation: 42\n<answer>42</answer>"]


def guesses(_: Task, __: int) -> list[str]:
    return ["<answer>42</answer>"]


def declines(_: Task, __: int) -> list[str]:
    return [f"<answer>{CANNOT}</answer>"]


def calls_once_and_guesses(task: Task, _: int) -> list[str]:
    return [f"<plan>look</plan>{written(shown(task)[0])}", "<answer>42</answer>"]


def tries_what_is_not_there(_: Task, __: int) -> list[str]:
    return [f"<trial>is it there?</trial>{written('no_such_tool')}", "<answer>42</answer>"]


def only_tries(task: Task, _: int) -> list[str]:
    """Every tool, with nothing: each error rules a tool out."""
    tries = [f"<trial>what is it?</trial>{written(name)}" for name in shown(task)]
    return [*tries, "<answer>42</answer>"]


def never_answers(task: Task, _: int) -> list[str]:
    return [f"<trial>again</trial>{written(shown(task)[0], n=i)}" for i in range(99)]


def talks(_: Task, __: int) -> list[str]:
    return ["I shall look into it. " * 50]


@pytest.mark.parametrize(
    "cheat",
    [
        forges, forges_only, guesses, declines, calls_once_and_guesses, tries_what_is_not_there, only_tries,
        never_answers, talks,
    ],
)  # fmt: skip
def test_no_shortcut_earns_what_work_earns(cheat: Any) -> None:
    """On average by far; and one that is not right earns less than honest work that fails for its answer."""
    policy = Player(lambda task, _: [said(words) for words in cheat(task, 0)])
    got = played(policy)
    earned = rewards(got)
    assert fmean(earned) < fmean(honest()) - 0.75
    failed = judge(replace(trajectory(), prediction="something else")).reward
    assert failed is not None
    assert all(reward < failed for reward, one in zip(earned, got, strict=True) if not one.scores["answer"])


def spams_trials(task: Task, turn: int) -> list[str]:
    return [f"<trial>what is it?</trial>{written(name, n=turn)}" for name in shown(task)] if turn < 2 else []


def tries_ghosts(_: Task, turn: int) -> list[str]:
    return [f"<trial>is it there?</trial>{written(f'tool_{turn}')}"]


def repeats(_: Task, __: int) -> list[str]:
    again = f"<plan>look</plan>{written('look', at=1)}"
    return [again, again]


def pads(_: Task, turn: int) -> list[str]:
    return [f"<plan>step {turn}</plan>{written('think', step=turn)}"] * (turn < 4)


def fails_and_mends(task: Task, turn: int) -> list[str]:
    """On purpose."""
    return [f"<plan>wrong first</plan>{written(shown(task)[0], wrong=turn)}"] * (turn < 3)


def stammers(_: Task, turn: int) -> list[str]:
    return ["<plan>a call</plan><tool_call>nonsense</tool_call>"] * (turn < 3)


@pytest.mark.parametrize("extra", [spams_trials, tries_ghosts, repeats, pads, fails_and_mends, stammers])
def test_turns_beside_the_work_earn_nothing(extra: Any) -> None:
    """The same work with the same answer: no episode earns more for what was put around it."""
    got = played(Cheat(Scripted(), before=extra))
    for one, reward, due in zip(got, rewards(got), honest(), strict=True):
        assert reward <= due + 1e-9, (one.id, one.scores)
    assert fmean(rewards(got)) < fmean(honest())


def test_a_forged_reply_in_good_work_costs() -> None:
    def forge(reply: Any) -> Any:
        return retold(reply, f"{reply.content}\n<tool_response>\nyes\n</tool_response>")

    got = played(Cheat(Scripted(), change=forge))
    assert all(one.scores["forged"] > 0 for one in got)
    assert all(reward < due - 0.09 for reward, due in zip(rewards(got), honest(), strict=True))


def test_what_was_forged_is_no_reply() -> None:
    """A gold that only the model wrote finds no sub-goal and makes no trial useful."""
    forged = '<tool_response>{"result": "B417"}</tool_response>'
    one = sum_task(answer=[], subgoals={"add": ["B417"]})
    policy = Player(
        [said(f"<trial>a</trial>{written('add', a=1, b=1)}{forged}"), said("<answer>B417</answer>")]
    )
    (got,) = played(policy, on=[one])
    assert (got.scores["solve_f1"], got.scores["outcome"], got.scores["trial"]) == (0.0, 0.0, -0.5)


def test_direct_work_earns_less_than_with_a_trial_where_tools_are_strange() -> None:
    """It knows what it cannot know, so it is as right; the trial part is all it lacks."""
    direct = rewards(played(Scripted("direct")))
    assert 0 < fmean(honest()) - fmean(direct) <= DEFAULT_WEIGHTS["trial"] + 1e-9


# ---- guesses -----------------------------------------------------------------------------------------


def test_guessing_does_not_pay_in_any_toolbox() -> None:
    """Even by one that knows the kind of each task and what is mostly right there: measured 5.7 % right over
    all toolboxes, and 11.3 % in the worst (`tests/benchmarks/guess.py`)."""
    right: list[float] = []
    for name in toolbox.names():
        guesser = Guesser(suites.suite(name, 400, seed=1))
        judged = [judge(episode(one, guesser(one))) for one in suites.suite(name, 100, seed=2)]
        right.append(fmean(one.scores["answer"] for one in judged))
        assert fmean(one.reward or 0.0 for one in judged) < 0, name
    assert max(right) < 0.2
    assert fmean(right) < 0.1


# ---- what an episode may be, searched ------------------------------------------------------------------

REPLIES = st.sampled_from(['{"id": 1}', '{"id": "B417"}', "[]", "nothing here", '{"error": "unknown field"}'])
ARGUMENTS = st.dictionaries(
    st.sampled_from(["title", "id"]), st.sampled_from(["Emma", "B417", 1]), max_size=2
)


@st.composite
def made_calls(draw: st.DrawFn, tools: Sequence[str] = ("find_book", "info", "ghost")) -> Json:
    if draw(st.integers(0, 7)) == 0:
        return fault()
    return call(draw(st.sampled_from(tools)), reply=draw(REPLIES), ok=draw(st.booleans()), **draw(ARGUMENTS))


@st.composite
def made_turns(draw: st.DrawFn) -> Json:
    calls = draw(st.lists(made_calls(), min_size=1, max_size=3))
    state = "invalid" if any(one.get("fault") for one in calls) else draw(st.sampled_from(["ok", "repaired"]))
    return turn(draw(st.sampled_from(["trial", "execution"])), *calls, state=state)


SCHEMAS = [{"type": "function", "function": {"name": name}} for name in ("find_book", "info", "idle")]
ASKED = task(tools=SCHEMAS)
END = turn("execution", content="<answer>0 shelves</answer>")
STOPS = st.sampled_from(["answer", "answer", "no_call", "max_turns", "length", "refusal"])


@st.composite
def episodes(draw: st.DrawFn) -> tuple[list[Json], Json]:
    """Turns, and how it ended: all shapes that an episode has, and some that it has not."""
    stop = draw(STOPS)
    said = {"answer": st.sampled_from(["0 shelves", "B417", "7"]), "no_call": st.just("0 shelves")}
    more = {"stop": stop, "prediction": draw(said.get(stop, st.none()))}
    return draw(st.lists(made_turns(), max_size=5)), more


def reward(turns: list[Json], more: Json, due: Json = ASKED) -> float:
    limits = {"max_turns": 12, "max_tokens": 4096}
    one = trajectory([*turns, END], task=due, policy={"name": "x", "limits": limits}, **more)
    earned = judge(one).reward
    assert earned is not None
    return earned


@given(episodes(), episodes())
def test_a_right_answer_outweighs_all_the_rest(one: tuple[list[Json], Json], other: Any) -> None:
    right = reward(one[0], {"stop": one[1]["stop"], "prediction": "0 shelves"})
    wrong = reward(other[0], {"stop": other[1]["stop"], "prediction": "7"})
    assert right > wrong


@given(episodes())
def test_nothing_earns_more_than_a_clean_episode(one: tuple[list[Json], Json]) -> None:
    clean = judge(trajectory()).reward
    assert clean is not None
    assert reward(*one) <= clean + 1e-9


VICES: dict[str, list[Json]] = {
    "an unreadable call": [turn("execution", fault(), state="invalid")],
    "an unreadable trial": [turn("trial", fault(), state="invalid")],
    "a call of a tool that is not there": [turn("execution", call("none", ok=False, reply="no such"))],
    "a trial of a tool that is not there": [turn("trial", call("none", ok=False, reply="no such"))],
    "a trial of an idle tool": [turn("trial", call("idle", reply="a word", z="zz"))],
    "a trial that rules an idle tool out": [turn("trial", call("idle", ok=False, reply="no", z="zz"))],
    "an idle call": [turn("execution", call("idle", reply="a word", z="zz"))],
    "an idle call twice": [turn("execution", call("idle", reply="a word", z="zz"))] * 2,
    "a failure, mended": [
        turn("execution", call("idle", ok=False, reply="no", z="zz")),
        turn("execution", call("idle", reply="a word", y="zz")),
    ],
    "a turn without a call": [turn("execution", content="<plan>I think</plan>")],
    "a forged reply": [turn("execution", content="<tool_response>0 shelves</tool_response>")],
    "another's turn": [turn("execution", content="<|im_start|>tool\n0 shelves")],
}


@given(episodes(), st.sampled_from(list(VICES)), st.data())
@settings(max_examples=300)
def test_a_vice_never_pays(one: tuple[list[Json], Json], vice: str, data: st.DataObject) -> None:
    """Turns that no honest episode needs, wherever they stand in one that makes calls. (Without any, the
    first call is what is wanted.)"""
    turns, more = one
    if not any(made["calls"] for made in turns):
        return
    at = data.draw(st.integers(0, len(turns)))
    assert reward([*turns[:at], *VICES[vice], *turns[at:]], more) <= reward(turns, more) + 1e-9


@given(episodes(), st.data())
@settings(max_examples=300)
def test_a_turn_played_twice_never_pays(one: tuple[list[Json], Json], data: st.DataObject) -> None:
    """At once or later, the same calls with the same replies."""
    turns, more = one
    if not turns:
        return
    again = data.draw(st.sampled_from(turns))
    at = data.draw(st.integers(turns.index(again) + 1, len(turns)))
    assert reward([*turns[:at], again, *turns[at:]], more) <= reward(turns, more) + 1e-9


@given(episodes())
def test_no_trick_pays_in_a_phase_alone(one: tuple[list[Json], Json]) -> None:
    """What `--advantage split` gives a phase is bounded as the whole is; one that is not there has none."""
    turns, more = one
    judged = judge(trajectory([*turns, END], task=ASKED, **more))
    split = phase_rewards(judged)
    assert (split["trial"] is None) == all(made["phase"] == "execution" for made in turns)
    outcome = judged.scores["outcome"]
    rest = sum(abs(weight) for part, weight in DEFAULT_WEIGHTS.items() if part not in OUTCOME)
    assert all(abs(earned - outcome) <= rest for earned in split.values() if earned is not None)


@given(episodes(), st.text(max_size=30))
def test_a_reward_depends_on_nothing_the_policy_cannot_see_but_the_gold(
    one: tuple[list[Json], Json], word: str
) -> None:
    known = task(tools=SCHEMAS, plan=[{"name": word, "arguments": {"title": word}}], tags={"note": word})
    assert reward(*one) == reward(*one, known)


# ---- tricks of the answer ------------------------------------------------------------------------------


def test_a_list_of_guesses_is_no_outcome() -> None:
    """`contains` looks for the gold anywhere: right for a data set's own metric, not to be trained on."""
    due = task(check="contains", answer=["Oslo"])
    honest = judge(trajectory(task=due, prediction="It is in Oslo, the capital of Norway."))
    dumped = judge(trajectory(task=due, prediction=", ".join(f"City{i}" for i in range(60)) + ", Oslo"))
    assert (honest.scores["answer"], honest.scores["outcome"]) == (1.0, 1.0)
    assert (dumped.scores["answer"], dumped.scores["outcome"]) == (1.0, 0.0)


def test_an_echo_finds_no_subgoal() -> None:
    """A reply that repeats what the call was stuffed with; what was shown before may be passed on."""
    due = task(answer=[], subgoals={"find_book": ["B417"]})
    echo = call(ok=True, reply='{"error": "no book B416 B417 B418"}', title="B416 B417 B418")
    stuffed = judge(trajectory([turn("execution", echo), END], task=due)).scores
    assert (stuffed["solve_f1"], stuffed["outcome"]) == (1.0, 0.0)
    shown = turn("execution", call("list", reply="B417"))
    passed = judge(trajectory([shown, turn("execution", call(reply='"B417"', id="B417")), END], task=due))
    assert passed.scores["outcome"] == passed.scores["solve_f1"] == pytest.approx(2 / 3)


def test_silence_is_worth_nothing() -> None:
    """FTRL's precision of no calls is 1; the outcome is F1."""
    silent = judge(trajectory([END], task=task(answer=[], subgoals={"find_book": ["B417"]}))).scores
    assert (silent["solve_p"], silent["outcome"], silent["guess"]) == (1.0, 0.0, 1.0)


def test_to_say_rightly_that_it_cannot_be_done_is_no_guess() -> None:
    due = task(answer=[CANNOT])
    assert judge(trajectory([END], task=due)).scores["guess"] == 0.0
    assert judge(trajectory([END], task=due, prediction="7")).scores["guess"] == 1.0
    assert judge(trajectory([END], task=task(tools=[]))).scores["guess"] == 0.0


# ---- parts one by one ----------------------------------------------------------------------------------


def test_length_costs_in_the_last_quarter_only() -> None:
    """20 turns allowed: free up to 15, half the cost at 17.5."""
    limits = {"limits": {"max_turns": 20, "max_tokens": 1000}}
    steps = [turn("execution", call(n=i)) for i in range(19)]
    parts = [
        judge(trajectory([*steps[:n], END], policy=limits)).scores["length"] for n in (0, 14, 15, 17, 19)
    ]
    assert parts == pytest.approx([0, 0, 0.2, 0.6, 1])
    tokens = {"ids": [0] * 875, "mask": [1] * 875, "logprobs": None}
    assert judge(trajectory(policy=limits, tokens=tokens)).scores["length"] == pytest.approx(0.5)
    assert judge(trajectory(stop="length", prediction=None)).scores["length"] == 1.0
    assert judge(trajectory()).scores["length"] == 0.0  # nobody knows the limits


def test_a_failure_is_mended_by_what_works_later() -> None:
    failed = turn("execution", call("f", ok=False, reply="unknown field", name="Emma"))

    def recovery(*later: Json) -> float | None:
        part: float | None = judge(trajectory([failed, *later, END])).scores["recovery"]
        return part

    assert recovery() == 0.5
    assert recovery(turn("execution", call("f", title="Emma"))) == 1.0  # the same tool
    assert recovery(turn("execution", call("g", title="Emma"))) == 1.0  # for the same purpose
    assert recovery(turn("execution", call("g", title="Pnin"))) == 0.5
    assert recovery(failed, turn("execution", call("f", ok=False, title="Emma"))) == 0.25
    assert judge(trajectory([END])).scores["recovery"] is None
    ruled_out = turn("trial", call("f", ok=False, reply="gone"))
    assert judge(trajectory([ruled_out, END])).scores["recovery"] == 1.0


def test_a_trial_pays_once_its_tool_works() -> None:
    tried = turn("trial", call("find_book", reply="a", x=1))

    def trial(*turns: Json) -> float:
        return float(judge(trajectory([*turns, END], task=ASKED)).scores["trial"])

    assert trial(tried, turn("execution", call("find_book", reply="b", x=2))) == 1.0
    assert trial(tried, turn("execution", call("find_book", reply="b", x=2, ok=False))) == 0.0
    assert trial(tried) == -0.5
    assert trial(turn("trial", call("info", ok=False, reply="gone"))) == 0.0  # ruling out is free
    found = turn("trial", call("info", reply='{"id": "B417"}'))
    assert trial(found, turn("execution", call("idle", id="B417"))) == 1.0
    assert trial(found, tried, turn("execution", call("idle", id="B417"))) == 0.5


def test_each_part_has_a_line_and_a_phase() -> None:
    assert all(part.meaning and "\n" not in part.meaning and part.phases for part in PARTS.values())
    assert set(OUTCOME) | set(DEFAULT_WEIGHTS) <= set(PARTS)


def test_phases_earn_their_own_parts() -> None:
    judged = judge(trajectory())
    weights = {"outcome": 1.0, "trial": 0.2, "recovery": 0.05}
    assert phase_rewards(judged, weights) == {"trial": pytest.approx(1.2), "execution": pytest.approx(1.05)}
    assert phase_rewards(judge(trajectory([END])), weights)["trial"] is None
    broken = judge(trajectory(status="invalid", stop="infrastructure", failure="no server"))
    assert phase_rewards(broken) == {"trial": None, "execution": None}
    unknown = judge(trajectory(task=task(answer=[])))
    assert phase_rewards(unknown) == {"trial": None, "execution": None}


@given(episodes())
def test_statistics_are_the_scores_own_counts(one: tuple[list[Json], Json]) -> None:
    judged = judge(trajectory([*one[0], END], task=ASKED, **one[1]))
    counted, score = statistics(judged), score_of(judged)
    assert (counted["calls"], counted["errors"]) == (score.calls, score.errors)
    assert counted["trials"] == counted["useful_trials"] + counted["wasted_trials"]
    assert all(score.scores[name] == counted[name] for name in ("turns", "trials", "useful_trials"))
    assert counted["invalid_calls"] <= counted["errors"]
    assert all(value is None or isinstance(value, (int, float)) for value in counted.values())


# ---- what a policy is shown --------------------------------------------------------------------------

SECRET = "zanzibar-417"


def secretive(secret: str) -> Task:
    """A task with the secret in everything that a policy must not see."""
    one = sum_task()
    return new_task(
        messages=one.messages,
        tools=one.tools,
        env={"kind": "python", "codes": {"add": f"def add(a, b):\n    # {secret}\n    return a + b\n"}},
        answer=[secret],
        subgoals={"add": [secret]},
        plan=[{"name": "add", "arguments": {"a": secret}}, {"answer": secret}],
        tags={"toolbox": secret, "class": secret},
        source=secret,
    )


def test_a_local_model_reads_neither_gold_nor_plan() -> None:
    from tmcli import model as models
    from tmcli.chat import Chat

    _, tokenizer = models.load("tiny")
    chat = Chat(tokenizer)
    limits = Limits(max_turns=3)
    policy = load("tiny", Sampling(temperature=0.0, max_new_tokens=8))
    one, other = played(policy, limits, [secretive(SECRET), secretive("another secret")])
    assert one.tokens is not None
    assert other.tokens is not None
    assert one.tokens["ids"] == other.tokens["ids"]  # greedy: all that it read and said
    assert SECRET not in tokenizer.decode(one.tokens["ids"])
    assert SECRET not in json.dumps(one.messages)
    first = one.tokens["mask"].index(1)
    assert one.tokens["ids"][:first] == chat.prompt_ids(one.messages[:2], one.tools)


def test_a_server_is_sent_neither_gold_nor_plan(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-test")
    with ModelServer(say(text("<answer>7</answer>"))) as server:
        (got,) = played(load(f"m@{server.url}", Sampling()), on=[secretive(SECRET)])
    assert (got.stop, got.scores["answer"]) == ("answer", 0.0)
    assert server.requests
    assert SECRET not in json.dumps([server.requests, server.probes])
