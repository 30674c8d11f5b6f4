"""`--hints`: a wrong answer is sent back once, with fixed words, marked, and not trained on."""

from __future__ import annotations

import asyncio
import json
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

import pytest
from conftest import Tm
from hypothesis import given
from hypothesis import strategies as st
from players import Player, Turn, said, sum_task
from servers import ModelServer, call, say, text
from trajectories import dropped

from tmcli import io
from tmcli import model as models
from tmcli.chat import Chat
from tmcli.environments.world import World
from tmcli.episode import Limits, play
from tmcli.errors import PolicyFailure
from tmcli.filters.duplicates import fingerprint
from tmcli.filters.view import View
from tmcli.policies import Calls, Policy, Sampling, Service
from tmcli.policies.openai import OpenAI
from tmcli.policies.scripted import Scripted
from tmcli.protocol import prompt, write_call
from tmcli.records import Task, Trajectory, decode, encode
from tmcli.report.mask import mask_text
from tmcli.report.summary import Summary
from tmcli.report.transcript import transcript
from tmcli.score import judge, made, score_of
from tmcli.steps.sft import examples
from tmcli.suites import suite

ADD = said("<plan>add</plan>" + write_call("add", {"a": 0, "b": 1}))
WRONG = said("<answer>12</answer>")
RIGHT = said("<answer>1</answer>")
HINT = {"role": "user", "content": prompt("hint")}


def episode(policy: Policy, task: Task | None = None, **limits: Any) -> Trajectory:
    async def run() -> Trajectory:
        world = World(timeout_s=5)
        try:
            return await play(task or sum_task(), 0, policy, world, Limits(**limits), "k")
        finally:
            await policy.aclose()
            await world.close()

    return judge(asyncio.run(run()))


def hinted(*turns: Turn, task: Task | None = None, **limits: Any) -> Trajectory:
    return episode(Player(turns), task, **({"hints": True} | limits))


def marks(played: Trajectory) -> list[int]:
    """The turns that were sent back, as both marks have it."""
    in_turns = [i for i, turn in enumerate(played.turns) if turn.get("hint")]
    assistants = [message for message in played.messages if message["role"] == "assistant"]
    assert [i for i, message in enumerate(assistants) if message.get("weight") == 0] == in_turns
    return in_turns


@pytest.fixture(scope="module")
def mended() -> Trajectory:
    """Wrong, told so, right."""
    return hinted(ADD, WRONG, ADD, RIGHT)


# ---- the loop ------------------------------------------------------------------------------------


def test_a_wrong_answer_is_sent_back_and_the_end_counts(mended: Trajectory) -> None:
    assert (mended.stop, mended.prediction, mended.status) == ("answer", "1", "ok")
    assert (mended.scores["answer"], mended.usage["turns"]) == (1.0, 4)
    assert marks(mended) == [1]
    at = mended.messages.index(HINT)
    assert mended.messages[at - 1] == {"role": "assistant", "content": "<answer>12</answer>", "weight": 0}
    assert [message["role"] for message in mended.messages[at:]] == ["user", "assistant", "tool", "assistant"]
    assert mended.turns[1] == {"phase": "execution", "state": "ok", "calls": [], "hint": True}
    assert decode(encode(mended)) == mended


@pytest.mark.parametrize(
    ("turns", "stop", "prediction"),
    [
        ([WRONG, said("<answer>13</answer>")], "answer", "13"),
        ([WRONG, said("It is 1.")], "no_call", "It is 1."),
        ([WRONG, said("no", finish="refusal")], "refusal", None),
        ([WRONG, said("<answer>", finish="length")], "length", None),
        ([WRONG, ADD], "max_turns", None),
        ([said("<answer></answer>"), RIGHT], "answer", "1"),
    ],
)
def test_after_the_hint_it_goes_on_as_ever(turns: list[Turn], stop: str, prediction: str | None) -> None:
    got = hinted(*turns, max_turns=4)
    assert (got.stop, got.prediction) == (stop, prediction)
    assert marks(got) == [0]
    assert got.messages.count(HINT) == 1
    assert (got.scores["answer"] == 1.0) is (prediction in ("1", "It is 1."))


def test_what_breaks_after_the_hint_makes_it_invalid() -> None:
    got = hinted(WRONG, PolicyFailure("the server is down"))
    assert (got.status, got.stop, got.prediction, got.reward) == ("invalid", "infrastructure", None, None)


@pytest.mark.parametrize(
    ("turns", "more"),
    [
        ([RIGHT], {}),
        ([said("It is 12.")], {}),
        ([said("12", finish="refusal")], {}),
        ([said("<answer>12</answer>", finish="length")], {}),
        ([WRONG], {"max_turns": 1}),
        ([ADD, WRONG], {"max_turns": 2}),
        ([said("<answer>12</answer>", prompt_tokens=90, completion_tokens=10)], {"max_tokens": 100}),
    ],
)
def test_not_for_what_is_right_or_no_answer_or_at_the_limit(turns: list[Turn], more: dict[str, int]) -> None:
    with_hints, without = hinted(*turns, **more), hinted(*turns, hints=False, **more)
    assert encode(with_hints) == encode(without)
    assert HINT not in with_hints.messages


@pytest.mark.parametrize("task", [sum_task(answer=[]), sum_task(check="judge"), sum_task(answer=[" "])])
def test_not_where_nobody_can_tell(task: Task) -> None:
    assert marks(hinted(WRONG, RIGHT, task=task)) == []


def test_the_hint_has_fixed_words() -> None:
    """Whatever the gold and however near the answer: the same text, of ours alone."""
    told = set()
    for gold in ("12.0001", "cannot be done", "-3"):
        got = hinted(WRONG, RIGHT, task=sum_task(answer=[gold], plan=[{"name": "add", "arguments": {}}]))
        told.update(message["content"] for message in got.messages[2:] if message["role"] == "user")
    assert told == {prompt("hint")}


def test_older_runs_keep_their_key() -> None:
    assert "hints" not in Limits().to_json()
    assert Limits(hints=True).to_json() == {**Limits().to_json(), "hints": True}


TURNS = st.sampled_from(
    [ADD, WRONG, RIGHT, said("<answer>13</answer>"), said("hm"), said("<tool_call>x</tool_call>")]
)


@given(turns=st.lists(TURNS, min_size=1, max_size=6), limit=st.integers(1, 5))
def test_at_most_one_and_only_where_due(turns: list[Turn], limit: int) -> None:
    class Session:
        async def call(self, name: str, arguments: Any) -> Any:
            from tmcli.environments import Observation

            return Observation(True, "1", 0.0)

        async def close(self) -> None:
            pass

    class Tools:
        key: ClassVar[dict[str, Any]] = {}

        def open(self, task: Task, sample: int) -> Session:
            return Session()

    def run(hints: bool) -> Trajectory:
        limits = Limits(hints=hints, max_turns=limit)
        return judge(asyncio.run(play(sum_task(), 0, Player(turns), Tools(), limits)))  # type: ignore[arg-type]

    plain, got = run(False), run(True)
    sent_back = marks(got)
    due = plain.stop == "answer" and plain.scores["answer"] == 0.0 and len(plain.turns) < limit
    assert sent_back == ([len(plain.turns) - 1] if due else [])
    assert got.messages.count(HINT) == len(sent_back)
    assert decode(encode(got)) == got
    assert score_of(got).correct is (got.scores["answer"] == 1.0)
    if not due:
        assert encode(got) == encode(plain)


def test_the_embedded_teacher_stays_with_its_answer() -> None:
    task = next(suite("train", 1, 0, ["stale"]))
    got = episode(Scripted(), replace(task, answer=["another"]), hints=True)
    assert (got.status, got.stop) == ("ok", "answer")
    assert marks(got) == [len(got.turns) - 2]
    answers = [m["content"] for m in got.messages if m["role"] == "assistant"][-2:]
    assert answers[1] in answers[0]


# ---- over the wire -------------------------------------------------------------------------------


@pytest.mark.parametrize("protocol", ["native", "text"])
def test_a_server_hears_the_hint_and_no_mark(protocol: Calls) -> None:
    written = text(write_call("add", {"a": 0, "b": 1}))
    add = call("add", '{"a": 0, "b": 1}') if protocol == "native" else written
    brain = say(add, text("<answer>12</answer>"), add, text("<answer>1</answer>"))
    with ModelServer(brain) as server:
        policy = OpenAI(f"m@{server.url}", Sampling(), service=Service(protocol=protocol))
        got = episode(policy, hints=True)
        last = server.requests[-1]
    assert (got.stop, got.prediction, marks(got)) == ("answer", "1", [1])
    heard = [message for message in last["messages"] if message["role"] != "system"]
    at = heard.index(HINT)
    assert heard[at - 1] == {"role": "assistant", "content": "<answer>12</answer>"}
    assert not any("weight" in message or "hint" in message for message in heard)


# ---- what comes after ----------------------------------------------------------------------------


def labelled(chat: Chat, trajectory: Trajectory) -> str:
    counts: dict[str, int] = {}
    ((ids, mask),) = examples([trajectory], chat, 4096, counts)
    assert counts["trained"] == 1
    return str(chat.tokenizer.decode([i for i, m in zip(ids, mask, strict=True) if m]))


@pytest.fixture(scope="module")
def chat() -> Chat:
    return Chat(models.load_tokenizer("tiny"))


def test_sft_puts_no_loss_on_the_wrong_answer(mended: Trajectory, chat: Chat) -> None:
    trained = labelled(chat, mended)
    plan = '<plan>add</plan><tool_call>{"name": "add", "arguments": {"a": 0, "b": 1}}</tool_call><|im_end|>'
    assert trained == f"{plan}{plan}<answer>1</answer><|im_end|>"
    ids, _ = chat.encode_trajectory(mended)
    assert "<answer>12</answer>" in chat.tokenizer.decode(ids)  # it is read, though
    assert prompt("hint") in chat.tokenizer.decode(ids)
    shown = mask_text(mended, chat, colour=False)
    assert "⟦<answer>1</answer><|im_end|>⟧" in shown
    assert "⟦<answer>12" not in shown


def test_sampled_tokens_are_masked_alike(mended: Trajectory, chat: Chat) -> None:
    """Where a local model played, its own ids are trained: less the turn that was sent back."""
    heavy = [{k: v for k, v in message.items() if k != "weight"} for message in mended.messages]
    ids, mask = chat.encode(heavy, mended.tools)
    sampled = {"ids": ids, "mask": mask, "logprobs": [0.0] * len(ids), "vocabulary": chat.vocabulary}
    local = replace(mended, tokens=sampled)
    assert labelled(chat, local) == labelled(chat, mended)
    assert chat.encode_trajectory(local)[0] is ids
    # A turn that was cut before its first token leaves no run of ones: then the text tells.
    lost = replace(local, turns=[*local.turns, {"phase": "execution", "state": "ok", "calls": []}])
    assert labelled(chat, lost) == labelled(chat, mended)
    unhinted = replace(local, messages=heavy)
    assert chat.encode_trajectory(unhinted)[1] is mask


def test_nothing_to_learn_is_left_out(mended: Trajectory, chat: Chat) -> None:
    light = [{**m, "weight": 0} if m["role"] == "assistant" else m for m in mended.messages]
    counts: dict[str, int] = {}
    assert list(examples([replace(mended, messages=light)], chat, 4096, counts)) == []
    assert counts["no_assistant_turn"] == 1


def test_filter_keeps_it_unless_asked(mended: Trajectory) -> None:
    assert dropped(mended) is None
    assert dropped(mended, on=["hinted"]) == "hinted"
    assert dropped(mended, "strict") == "hinted"
    assert dropped(hinted(ADD, RIGHT), on=["hinted"]) is None
    assert dropped(hinted(ADD, WRONG, WRONG)) == "wrong_answer"


def test_it_is_no_duplicate_of_one_that_needed_no_hint(mended: Trajectory) -> None:
    alone = hinted(ADD, ADD, RIGHT)
    assert [call.key for call in made(alone)] == [call.key for call in made(mended)]
    assert fingerprint(View.of(encode(alone))) != fingerprint(View.of(encode(mended)))


def test_eval_says_so(mended: Trajectory) -> None:
    """A right answer after a hint is right, but its share is told."""
    summary = Summary([])
    for played in (mended, hinted(ADD, RIGHT)):
        summary.add(score_of(played))
    total = summary.metrics()
    assert (total["accuracy"], total["hinted_share"]) == (1.0, 0.5)
    unhinted = Summary([])
    unhinted.add(score_of(hinted(ADD, RIGHT)))
    assert "hinted_share" not in unhinted.metrics()
    assert "hinted" not in score_of(hinted(ADD, RIGHT)).scores


def test_show_tells_it(mended: Trajectory) -> None:
    told = "\n".join(line.text for line in transcript(mended))
    assert f"   answer: 12\n   hint: {prompt('hint')}\n\n3. execution" in told
    assert "right: 1 (stop: answer)" in told


def test_records_pass_through_every_step(mended: Trajectory, tm: Tm, tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_bytes(encode(mended) + b"\n")
    assert tm("filter", "a.jsonl", "-o", "a.parquet").returncode == 0
    assert next(iter(io.read(str(tmp_path / "a.parquet"), kind=Trajectory))) == mended
    assert tm("filter", "a.parquet").stdout == encode(mended) + b"\n"
    none = tm("filter", "--rule", "hinted", "--rejects", "r.jsonl", "a.jsonl")
    assert (none.returncode, none.stdout) == (0, b"")
    assert b"\nhinted   1  100.0%" in none.stderr
    assert json.loads((tmp_path / "r.jsonl").read_bytes())["dropped"] == "hinted"
    wrong = tm("filter", "--rule", "hintd", "a.jsonl")
    assert wrong.returncode == 2
    assert b"did you mean 'hinted'?" in wrong.stderr
