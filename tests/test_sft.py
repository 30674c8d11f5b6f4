"""sft for real, on the tiny model: what is trained, what is written, what is refused."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from conftest import Tm
from shell import pipe


@pytest.fixture(scope="module")
def played(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four trajectories of the scripted teacher."""
    folder = tmp_path_factory.mktemp("sft")
    line = "tm tasks -n 4 --hops 1,2 --drift none,stale | tm synth --tasks - | tm filter > sft.jsonl"
    assert pipe(line, folder, {}).returncode == 0
    return folder / "sft.jsonl"


def small(*more: str) -> list[str]:
    return ["--model", "tiny", "--epochs", "1", "--batch-size", "2", "--rank", "4", *more]


def test_a_checkpoint_is_self_contained(tm: Tm, played: Path, tmp_path: Path) -> None:
    done = tm("sft", str(played), *small("-o", "ckpt"), cwd=tmp_path)
    assert done.returncode == 0, done.stderr.decode()
    (line,) = done.stdout.splitlines()
    run = json.loads(line)
    assert (run["kind"], run["step"], run["output"]) == ("run", "sft", "ckpt")
    assert run["counts"]["trained"] == 4
    assert json.loads((tmp_path / "ckpt" / "run.json").read_bytes()) == run
    steps = [json.loads(row) for row in (tmp_path / "ckpt" / "metrics.jsonl").read_text().splitlines()]
    assert [row["step"] for row in steps] == [1, 2]
    assert steps[0]["loss"] > 0
    assert not (tmp_path / "ckpt.part").exists()

    from transformers import AutoModelForCausalLM, AutoTokenizer

    model = AutoModelForCausalLM.from_pretrained(tmp_path / "ckpt")
    assert model.num_parameters() > 0
    tokenizer = AutoTokenizer.from_pretrained(tmp_path / "ckpt")
    assert "tools" in tokenizer.chat_template
    assert tokenizer.convert_tokens_to_ids("<|im_end|>") in model.generation_config.eos_token_id

    again = tm("sft", str(played), *small("-o", "ckpt"), cwd=tmp_path)
    assert again.returncode == 2
    assert b"--resume" in again.stderr
    assert tm("sft", str(played), *small("-o", "ckpt", "--resume"), cwd=tmp_path).stdout == done.stdout
    other = tm("sft", str(played), *small("-o", "ckpt", "--resume", "--seed", "1"), cwd=tmp_path)
    assert other.returncode == 2
    assert b"other options" in other.stderr

    alone = tm("sft", str(played), *small("-o", "adapter", "--adapter-only"), cwd=tmp_path)
    assert alone.returncode == 0, alone.stderr.decode()
    assert (tmp_path / "adapter" / "adapter_config.json").exists()
    assert tm("rollout", "--policy", "adapter", "-n", "1", "--max-turns", "1", cwd=tmp_path).returncode == 0
    words = ["--model", "adapter", "--max-steps", "1", "--adapter-only"]
    upper = tm("sft", str(played), *words, "-o", "upper", cwd=tmp_path)
    assert upper.returncode == 0, upper.stderr.decode()
    assert tm("rollout", "--policy", "upper", "-n", "1", "--max-turns", "1", cwd=tmp_path).returncode == 0
    itself = tm("sft", str(played), *words, "-o", "adapter", "--force", cwd=tmp_path)
    assert itself.returncode == 2
    assert b"adapter cannot replace the base that it needs" in itself.stderr


def test_check_shows_what_is_trained(tm: Tm, played: Path, tmp_path: Path) -> None:
    shown = tm("sft", "--check", str(played), "--model", "tiny", cwd=tmp_path)
    assert shown.returncode == 0, shown.stderr.decode()
    text = shown.stdout.decode()
    first = json.loads(played.read_text().splitlines()[0])
    for message in first["messages"]:
        if message["role"] == "assistant":
            assert f"⟦{message['content']}" in text
        elif message["role"] == "tool":
            assert f"⟦{message['content']}" not in text
    n_turns = sum(message["role"] == "assistant" for message in first["messages"])
    assert f"{n_turns} of them end a turn (<|im_end|>)" in text
    assert text.count("<|im_end|>⟧") == n_turns


def test_bad_input_is_one_sentence(tm: Tm, played: Path, tmp_path: Path) -> None:
    (tmp_path / "empty.jsonl").write_bytes(b"")
    record = json.loads(played.read_text().splitlines()[0])
    record["messages"] = record["messages"][:2]
    (tmp_path / "silent.jsonl").write_text(json.dumps(record) + "\n")
    for arguments, said in (
        (["empty.jsonl", "--model", "tiny", "-o", "x"], b"no trajectory is left to train on"),
        (["silent.jsonl", "--model", "tiny", "-o", "x"], b"of 1, left out: 1 without a turn to learn"),
        ([str(played), "--model", "tiny", "-o", "x", "--max-length", "9"], b"give a larger --max-length"),
        ([str(played), "--model", "tiny", "-o", "x", "--epochs", "0"], b"no number of passes"),
        ([str(played), "--model", "tiny", "-o", "x", "--epochs", "inf"], b"no number of passes"),
        ([str(played), "--model", "tiny", "-o", "x", "--learning-rate", "nan"], b"no rate"),
        ([str(played), "--model", "tiny", "-o", "x", "--learning-rate", "-1"], b"no rate"),
        ([str(played), "--model", "./nowhere", "-o", "x"], b"nowhere"),
        ([str(played), "--model", "tiny"], b"-o DIR"),
        (["absent.jsonl", "--model", "tiny", "-o", "x"], b"absent.jsonl"),
    ):
        failed = tm("sft", *arguments, cwd=tmp_path)
        assert failed.returncode == 2, arguments
        assert said in failed.stderr, failed.stderr
        assert len(failed.stderr.splitlines()) <= 2
        assert failed.stdout == b""
        assert not list(tmp_path.glob("x*"))


def test_force_removes_nothing_but_a_checkpoint(tm: Tm, played: Path, tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("years of work")
    for output in ("mine", "."):
        refused = tm("sft", str(played), *small("-o", output, "--force"), cwd=tmp_path)
        assert refused.returncode == 2
        assert b"no checkpoint of tm" in refused.stderr
    assert (tmp_path / "mine" / "thesis.txt").read_text() == "years of work"
    (tmp_path / "empty").mkdir()
    for _ in range(2):  # an empty folder, then a checkpoint
        assert tm("sft", str(played), *small("-o", "empty", "--force"), cwd=tmp_path).returncode == 0


def test_records_that_changed_are_other_records(tm: Tm, played: Path, tmp_path: Path) -> None:
    """Their ids are those of the tasks: the same again from another teacher. One step is a step."""
    words = small("--max-steps", "1", "--precision", "fp32", "-o", "ckpt")
    assert tm("sft", str(played), *words, cwd=tmp_path).returncode == 0
    (step,) = [json.loads(row) for row in (tmp_path / "ckpt" / "metrics.jsonl").read_text().splitlines()]
    assert step["learning_rate"] > 0
    (tmp_path / "other.jsonl").write_text(played.read_text().replace("<experience>", "<experience>So: "))
    refused = tm("sft", "other.jsonl", *words, "--resume", cwd=tmp_path)
    assert refused.returncode == 2
    assert b"other options or records" in refused.stderr


def test_lost_weights_are_no_result(tm: Tm, played: Path, tmp_path: Path) -> None:
    """A record without anything to learn is left out, and spoils no mean."""
    silent = [json.loads(row) for row in played.read_text().splitlines()]
    for message in silent[0]["messages"]:
        message["weight"] = 0
    (tmp_path / "some.jsonl").write_text("".join(json.dumps(record) + "\n" for record in silent))
    words = small("--full", "--learning-rate", "1e30", "-o", "ckpt")
    lost = tm("sft", "some.jsonl", *words, cwd=tmp_path)
    assert lost.returncode == 1
    said = lost.stderr.decode()
    assert "of 4 trajectories, left out: 1 without a turn to learn" in said
    assert "the weights are lost at step 2" in said
    assert "lower --learning-rate than 1e+30" in said
    assert lost.stdout == b""
    assert not list(tmp_path.glob("ckpt*"))


def test_a_full_disk_is_a_sentence(tm: Tm, played: Path, tmp_path: Path) -> None:
    """What safetensors and torch say of it is no OSError."""
    line = f"ulimit -f 100; tm sft {played} --model tiny --rank 4 --max-steps 2 --save-every 1 -o ckpt"
    full = pipe(line, tmp_path, {})
    assert full.returncode == 2, full.stderr
    assert b"could not be written" in full.stderr
    assert b"free some space" in full.stderr
    assert b"--resume goes on from there" in full.stderr
    assert full.stdout == b""


def test_an_adapter_names_its_base_as_we_do(tmp_path: Path) -> None:
    """Not by the folder that an embedded model lies in."""
    from peft import get_peft_model

    from tmcli import checkpoint
    from tmcli import model as models
    from tmcli.chat import Chat
    from tmcli.trainer import lora

    base, tokenizer = models.load("tiny")
    base.name_or_path = str(tmp_path / "private")
    adapted = get_peft_model(base, lora(2))
    checkpoint.save(tmp_path, adapted, Chat(tokenizer), adapter_only=True, base="tiny")
    config = json.loads((tmp_path / "adapter_config.json").read_bytes())
    assert config["base_model_name_or_path"] == "tiny"
