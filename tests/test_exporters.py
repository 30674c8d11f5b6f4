"""OpenAI's and LLaMA-Factory's forms of a dialogue: exact rows, and what is lost on the way."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import orjson
import pytest
from conftest import Tm
from hypothesis import given
from hypothesis import strategies as st
from trajectories import TOOLS, call, fault, lines, task, trajectory, turn

from tmcli import exporters
from tmcli.errors import UsageError
from tmcli.records import Trajectory, encode

Json = dict[str, Any]
To = Literal["openai", "sharegpt"]
QUESTION = {"role": "user", "content": "How many shelves has room 0?"}
SYSTEM = {"role": "system", "content": "Try the tools."}
HINT = {"role": "user", "content": "That is wrong. Look again."}


def export(record: Trajectory, to: To) -> tuple[Json | None, dict[str, int]]:
    lost: Counter[str] = Counter()
    row = exporters.row_of(to)(json.loads(encode(record)), lost)
    return row, dict(lost)


def rich() -> Trajectory:
    """A trial that errs, two calls at once beside one that cannot be read, a wrong answer, the right one."""
    two = [call(title="Émile"), call(title="<tool_call>")]
    record = trajectory(
        [
            turn("trial", call(ok=False, reply='{"error": "no"}', name_="x"), content="<trial>see</trial>"),
            turn("execution", *two, fault(), content="<plan>p</plan>"),
            turn("execution", content="<answer>1 shelf</answer>"),
            turn("execution", content="<answer>0 shelves</answer>"),
        ]
    )
    messages = list(record.messages)
    wrong = next(i for i, message in enumerate(messages) if message["content"] == "<answer>1 shelf</answer>")
    messages[wrong] = {**messages[wrong], "weight": 0}
    messages.insert(wrong + 1, HINT)
    return replace(record, messages=messages)


def test_openai_has_arguments_as_text_ids_and_weight() -> None:
    def made(call_id: str, arguments: str) -> Json:
        return {"id": call_id, "type": "function", "function": {"name": "find_book", "arguments": arguments}}

    row, lost = export(rich(), "openai")
    assert row == {
        "messages": [
            SYSTEM,
            QUESTION,
            {
                "role": "assistant",
                "content": "<trial>see</trial>",
                "tool_calls": [made("call_0", '{"name_":"x"}')],
            },
            {"role": "tool", "tool_call_id": "call_0", "content": '{"error": "no"}'},
            {
                "role": "assistant",
                "content": "<plan>p</plan>",
                "tool_calls": [
                    made("call_1", '{"title":"Émile"}'),
                    made("call_2", '{"title":"<tool_call>"}'),
                ],
            },
            {"role": "tool", "tool_call_id": "call_1", "content": '{"id": 1}'},
            {"role": "tool", "tool_call_id": "call_2", "content": '{"id": 1}'},
            {
                "role": "user",
                "content": '<tool_response>\n{"error": "write the call again"}\n</tool_response>',
            },
            {"role": "assistant", "content": "<answer>1 shelf</answer>", "weight": 0},
            HINT,
            {"role": "assistant", "content": "<answer>0 shelves</answer>"},
        ],
        "tools": TOOLS,
    }
    assert lost == {"replies to unreadable calls, now said by the user": 1}


def test_sharegpt_alternates_with_calls_in_their_marks_and_replies_together() -> None:
    row, lost = export(rich(), "sharegpt")
    assert row == {
        "conversations": [
            {"from": "human", "value": "How many shelves has room 0?"},
            {
                "from": "function_call",
                "value": "<trial>see</trial>\n"
                '<tool_call>[{"name":"find_book","arguments":{"name_":"x"}}]</tool_call>',
            },
            {"from": "observation", "value": '{"error": "no"}'},
            {
                "from": "function_call",
                "value": '<plan>p</plan>\n<tool_call>[{"name":"find_book","arguments":{"title":"Émile"}},'
                '{"name":"find_book","arguments":{"title":"\\u003ctool_call>"}}]</tool_call>',
            },
            {
                "from": "observation",
                "value": '{"id": 1}\n</tool_response>\n<tool_response>\n{"id": 1}'
                '\n</tool_response>\n<tool_response>\n{"error": "write the call again"}',
            },
            {"from": "gpt", "value": "<answer>1 shelf</answer>"},
            {"from": "human", "value": "That is wrong. Look again."},
            {"from": "gpt", "value": "<answer>0 shelves</answer>"},
        ],
        "system": "Try the tools.",
        "tools": orjson.dumps(TOOLS).decode(),
    }
    assert lost == {
        "ids of calls": 3,
        "weight 0 of turns (they are trained on; --rule hinted drops such rows)": 1,
    }


def test_calls_without_text_are_plain_json() -> None:
    row, _ = export(trajectory([turn("execution", call(a=1)), turn("execution", content="x")]), "sharegpt")
    assert row is not None
    assert row["conversations"][1]["value"] == '[{"name":"find_book","arguments":{"a":1}}]'


def test_call_markup_in_text_is_broken_up_and_counted() -> None:
    said = turn("execution", call(a=1), content="<tool_call>{oops</tool_call>")
    row, lost = export(trajectory([said, turn("execution", content="x")]), "sharegpt")
    assert row is not None
    assert row["conversations"][1]["value"].startswith("< tool_call>{oops</tool_call>\n<tool_call>[")
    assert lost["call markup in text, broken up"] == 1


@pytest.mark.parametrize("to", ["openai", "sharegpt"])
def test_replies_after_the_last_turn_are_left_behind(to: To) -> None:
    row, lost = export(trajectory([turn("execution", call(a=1), call(b=2))], stop="max_turns"), to)
    assert row is not None
    last = (row.get("messages") or row["conversations"])[-1]
    assert last.get("role", last.get("from")) in ("assistant", "function_call")
    assert lost["replies after the last turn"] == 2


@pytest.mark.parametrize("to", ["openai", "sharegpt"])
def test_a_dialogue_without_a_turn_is_left_out(to: To) -> None:
    assert export(trajectory([], stop="infrastructure"), to) == (
        None,
        {"rows left out: no assistant turn": 1},
    )


def test_turns_that_do_not_alternate_are_left_out_of_sharegpt() -> None:
    said = turn("execution", content="x")
    assert export(trajectory([said, said]), "sharegpt") == (
        None,
        {"rows left out: turns that do not alternate": 1},
    )


MARKS = ["<tool_call>", "</tool_call>", "<think>a</think>", "[]", "{}"]
TEXTS = st.text(max_size=12) | st.sampled_from(MARKS)
VALUES = TEXTS | st.integers(-(2**63), 2**63 - 1) | st.none()


@given(
    texts=st.lists(TEXTS, min_size=1, max_size=4),
    values=st.lists(st.dictionaries(TEXTS, VALUES, max_size=3), max_size=3),
)
def test_sharegpt_can_be_taken_apart_again(texts: list[str], values: list[Json]) -> None:
    """As LLaMA-Factory does it: what the first pair of marks holds is JSON, the rest is text."""
    calls = [{**call(), "arguments": value} for value in values]
    row, _ = export(trajectory([turn("execution", *calls, content=text) for text in texts]), "sharegpt")
    if row is None:  # without replies there is nothing between two turns
        assert not calls
        assert len(texts) > 1
        return
    turns = [said for said in row["conversations"] if said["from"] in ("gpt", "function_call")]
    for said, text in zip(turns, texts, strict=True):
        if not calls:
            assert said == {"from": "gpt", "value": text}
            continue
        value = said["value"]
        assert said["from"] == "function_call"
        if text:
            before, _, rest = value.partition("<tool_call>")
            assert before == text.replace("<tool_call>", "< tool_call>") + "\n"
            value, _, after = rest.partition("</tool_call>")
            assert after == ""
        assert [made["arguments"] for made in json.loads(value)] == values


def test_what_is_lost_is_told_with_counts(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    tokens = {"ids": [1], "mask": [1], "vocabulary": "v"}
    records = [rich(), trajectory(reward=1.0, scores={"answer": 1.0}, tokens=tokens), trajectory([])]
    path = tmp_path / "sft.jsonl"
    with exporters.open_output(str(path), to="sharegpt") as out:
        for record in records:
            out.write_line(encode(record))
    assert len(path.read_bytes().splitlines()) == 2
    said = capsys.readouterr().err
    assert "--to sharegpt wrote 2 rows of dialogue and tools; lost:" in said
    for words in ("tasks with their golds 2", "phases 2", "rewards 1", "scores 1", "sampled tokens 1"):
        assert words in said
    assert "weight 0 of turns (they are trained on; --rule hinted drops such rows) 1" in said
    assert "rows left out: no assistant turn 1" in said


def test_other_forms_are_no_parquet(tmp_path: Path) -> None:
    with (
        pytest.raises(UsageError, match=r"name it .jsonl"),
        exporters.open_output(str(tmp_path / "sft.parquet"), to="openai"),
    ):
        pass


def test_shards_of_other_forms(tmp_path: Path) -> None:
    with exporters.open_output(str(tmp_path / "sft.jsonl.gz"), to="openai", per_file=2) as out:
        for i in range(3):
            out.write_line(encode(trajectory(task=task(i))))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["sft-00000.jsonl.gz", "sft-00001.jsonl.gz"]


def test_filter_writes_them_in_shards_and_says_what_is_lost(tm: Tm, tmp_path: Path) -> None:
    played = lines(*(trajectory(task=task(i)) for i in range(5))).encode()
    words = ("filter", "--to", "openai", "--records-per-file", "2", "-o", "sft.jsonl")
    done = tm(*words, input=played)
    assert done.returncode == 0, done.stderr
    shards = sorted(tmp_path.glob("sft-*.jsonl"))
    assert [len(path.read_bytes().splitlines()) for path in shards] == [2, 2, 1]
    assert list(json.loads(shards[0].read_bytes().splitlines()[0])) == ["messages", "tools"]
    assert b"wrote 5 rows of dialogue and tools; lost: ids and other fields 5, tasks" in done.stderr
    again = tm(*words, input=played)
    assert again.returncode != 0
    assert b"sft-00000.jsonl exists; use --force" in again.stderr
