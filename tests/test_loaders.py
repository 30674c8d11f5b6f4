"""What `tm filter` writes, read by TRL, LLaMA-Factory and axolotl with their own code.

TRL is installed here. The other two are asked where they are installed (`pip install --no-deps
llamafactory axolotl` and what they import), in the slow tests; `test_exporters.py` pins the rows that they
were shown to read.
"""

from __future__ import annotations

import copy
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from conftest import Tm
from trajectories import call, lines, task, trajectory, turn

from tmcli.chat import Chat
from tmcli.exporters import row_of
from tmcli.records import Trajectory, to_json

Json = dict[str, Any]
Tokens = tuple[list[int], list[int]]
SCHEMAS: list[dict[str, Json]] = [
    {"title": {"type": "string", "description": "as printed"}},
    {"room": {"type": "integer"}, "kinds": {"type": "array", "items": {"enum": ["a", "b"]}}},
    {"spot": {"type": "object", "properties": {"x": {"type": "number"}}, "required": ["x"]}},
    {},
]
ARGUMENTS: list[Json] = [{"title": "Émile"}, {"room": 3, "kinds": ["a"]}, {"spot": {"x": 1.5}}, {}]


def different(n: int = 8) -> list[Trajectory]:
    """Rows whose tools, and the keys of whose arguments, differ: two calls at once, text before calls."""
    rows = []
    for i in range(n):
        which = i % len(SCHEMAS)
        parameters = {"type": "object", "properties": SCHEMAS[which], "required": list(SCHEMAS[which])}
        name = f"tool_{which}"
        function = {"name": name, "description": f"number {which}", "parameters": parameters}
        made = call(name, **ARGUMENTS[which])
        turns = [
            turn("trial", made, content="<trial>see</trial>"),
            turn("execution", {**made, "reply": '{"n": 2}'}, made, content="<plan>twice</plan>"),
            turn("execution", made),
            turn("execution", content=f"<answer>{i} shelves</answer>"),
        ]
        rows.append(trajectory(turns, task=task(i, tools=[{"type": "function", "function": function}])))
    return rows


@pytest.fixture(scope="module")
def tokenizer() -> Any:
    """With Qwen2.5's own template, as TRL ships it: no hub."""
    from trl.chat_template_utils import qwen2_5_chat_template

    from tmcli import model

    tokenizer = model.load("tiny")[1]
    tokenizer.chat_template = qwen2_5_chat_template
    return tokenizer


@pytest.fixture(scope="module")
def ours(tokenizer: Any) -> list[Tokens]:
    """Ids and labels, as `tm sft` trains them."""
    chat = Chat(copy.deepcopy(tokenizer), "own")
    rows = [chat.encode(row.messages, row.tools) for row in different()]
    return [(ids, [i if m else -100 for i, m in zip(ids, mask, strict=True)]) for ids, mask in rows]


def filtered(tm: Tm, path: Path, *options: str, rows: Sequence[Trajectory] = ()) -> Path:
    data = lines(*rows or different()).encode()
    done = tm("filter", "--preset", "off", *options, "-o", path, input=data)
    assert done.returncode == 0, done.stderr.decode()
    return path


def loaded(kind: str, path: Path) -> Any:
    import datasets

    return datasets.load_dataset(kind, data_files=str(path), split="train", cache_dir=str(path.parent / "hf"))


def extra(got: Sequence[Tokens], want: Sequence[Tokens], tokenizer: Any) -> Counter[str]:
    """What others train on and we do not. The ids are equal, but for the line end after the last turn, and
    what we train on, they do."""
    more: Counter[str] = Counter()
    assert len(got) == len(want)
    for (ids, labels), (our_ids, our_labels) in zip(got, want, strict=True):
        n = len(our_ids)
        assert ids[:n] == our_ids
        assert tokenizer.decode(ids[n:]) == "\n"
        our_labels = [*our_labels, *[-100] * (len(ids) - n)]
        for label, ours in zip(labels, our_labels, strict=True):
            if label != ours:
                assert ours == -100
                more[tokenizer.decode([label])] += 1
    return more


@pytest.mark.parametrize(("kind", "name"), [("json", "sft.jsonl"), ("parquet", "sft.parquet")])
def test_trl_trains_on_the_same_tokens(
    kind: str, name: str, tokenizer: Any, ours: list[Tokens], tm: Tm, tmp_path: Path
) -> None:
    from trl import SFTConfig, SFTTrainer

    from tmcli import model

    dataset = loaded(kind, filtered(tm, tmp_path / name))
    for row, record in zip(dataset, different(), strict=True):  # no key came from a neighbour
        assert (row["messages"], row["tools"]) == (record.messages, record.tools)
    trainer = SFTTrainer(
        model=model.load("tiny")[0],
        args=SFTConfig(
            output_dir=str(tmp_path),
            assistant_only_loss=True,
            max_length=None,
            max_steps=1,
            report_to="none",
            use_cpu=True,
            bf16=False,
        ),
        train_dataset=dataset,
        processing_class=tokenizer,
    )
    rows = trainer.train_dataset
    more = extra(list(zip(rows["input_ids"], rows["labels"], strict=True)), ours, tokenizer)
    assert set(more) == {"\n"}  # its template counts line ends around a turn in, which are not sampled
    assert trainer.train().training_loss > 0


def test_datasets_takes_parquet_however_late_a_row_differs(tm: Tm, tmp_path: Path) -> None:
    """Of JSON lines it looks at the first 10 MB to see which fields vary; Parquet says so itself."""
    first, other = different(2)
    long = replace(first, task={**first.task, "source": "x" * 11_000_000})
    path = filtered(tm, tmp_path / "sft.parquet", rows=[long, *[first] * 3, other])
    dataset = loaded("parquet", path)
    assert dataset[4]["messages"] == other.messages
    assert dataset[4]["tools"] == other.tools
    assert dataset[1]["messages"] == first.messages


def test_trl_wants_arguments_as_objects_not_as_openai_writes_them(tokenizer: Any) -> None:
    """Templates write JSON themselves: text becomes text in quotes. Give TRL the records."""
    record = different(1)[0]
    row = row_of("openai")(to_json(record), Counter())
    assert row is not None
    shown = tokenizer.apply_chat_template(row["messages"], tools=row["tools"], tokenize=False)
    assert '"arguments": "{\\"title\\"' in shown


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_llama_factory_writes_what_the_models_own_template_would(
    tokenizer: Any, tm: Tm, tmp_path: Path
) -> None:
    converter = pytest.importorskip("llamafactory.data.converter", exc_type=ImportError)
    from llamafactory.data.parser import DatasetAttr
    from llamafactory.data.template import TEMPLATES

    rows = loaded("json", filtered(tm, tmp_path / "sft.jsonl", "--to", "sharegpt"))
    attributes = DatasetAttr("file", "sft")
    columns = {"messages": "conversations", "system": "system", "tools": "tools"}
    attributes.join({"formatting": "sharegpt", "columns": columns})
    qwen = TEMPLATES["qwen"]
    convert = converter.get_dataset_converter("sharegpt", attributes, None)
    for row, record in zip(rows, different(), strict=True):
        read = convert(row)
        dialogue = read["_prompt"] + read["_response"]
        pairs = qwen.encode_multiturn(tokenizer, dialogue, read["_system"], read["_tools"], False)
        text = "".join(tokenizer.decode(told) + tokenizer.decode(said) for told, said in pairs)
        assert text == tokenizer.apply_chat_template(record.messages, tools=record.tools, tokenize=False)


def axolotl(tokenizer: Any) -> Any:
    """How it makes tokens of rows, with the settings that the README names."""
    strategies = pytest.importorskip("axolotl.prompt_strategies.chat_template", exc_type=ImportError)
    from axolotl.utils.dict import DictDefault

    of_all = {"train_on_inputs": False, "sequence_len": 4096, "chat_template": "tokenizer_default"}
    of_set = {
        "field_messages": "messages",
        "message_field_training": "weight",
        "roles_to_train": ["assistant"],
        "train_on_eos": "turn",
    }
    return strategies.load(tokenizer, DictDefault(of_all), DictDefault(of_set))


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", ["openai.jsonl", "sft.jsonl", "sft.parquet"])
def test_axolotl_trains_on_the_same_tokens(
    name: str, tokenizer: Any, ours: list[Tokens], tm: Tm, tmp_path: Path
) -> None:
    strategy = axolotl(tokenizer)
    options = ("--to", "openai") if name == "openai.jsonl" else ()
    path = filtered(tm, tmp_path / name, *options)
    rows = loaded("parquet" if path.suffix == ".parquet" else "json", path)
    read = [strategy.tokenize_prompt(row) for row in rows]
    assert not extra([(row["input_ids"], row["labels"]) for row in read], ours, tokenizer)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_axolotl_leaves_a_turn_of_weight_0_out(tokenizer: Any) -> None:
    strategy = axolotl(tokenizer)
    messages = [
        {"role": "system", "content": "s"},
        {"role": "user", "content": "u"},
        {"role": "assistant", "content": "<answer>wrong</answer>", "weight": 0},
        {"role": "user", "content": "again"},
        {"role": "assistant", "content": "<answer>right</answer>"},
    ]
    read = strategy.tokenize_prompt({"messages": messages})
    learned = tokenizer.decode([label for label in read["labels"] if label != -100])
    assert learned == "<answer>right</answer><|im_end|>"
