"""What a run record tells of its making, and `tm eval --repro`, which makes it again."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from conftest import Tm
from servers import ModelServer, say, text
from trajectories import lines, task, trajectory

from tmcli.errors import UsageError
from tmcli.records import Run, Score
from tmcli.report.provenance import Provenance, weights_hash
from tmcli.report.repro import arguments, compared
from tmcli.score import judge, score_of
from tmcli.steps.tools.scaffold import start

Json = dict[str, Any]


def read(path: Path) -> Json:
    record: Json = json.loads(path.read_bytes())
    return record


def changed(path: Path, change: Callable[[Json], None]) -> None:
    record = read(path)
    change(record)
    path.write_text(json.dumps(record) + "\n")


# ---- again, and the same ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    "words",
    [
        "--policy scripted --tasks unseen -n 3 --drift stale,rename@0.3 --samples 2 --seed 7 --style direct",
        "--policy scripted --matrix -n 2 --drift rename,all --strengths 0.5,1 --k 1,2",
        pytest.param(
            "--policy tiny --tasks seen -n 2 --max-new-tokens 8 --max-turns 2 --temperature 1 --seed 5",
            marks=pytest.mark.slow,
        ),
    ],
)
def test_what_is_played_is_the_same_again(tm: Tm, tmp_path: Path, words: str) -> None:
    first = tm("eval", *words.split(), "--keep", "kept.jsonl", "-o", "run.jsonl")
    assert first.returncode == 0, first.stderr
    kept = (tmp_path / "kept.jsonl").read_bytes()
    again = tm("eval", "--repro", "run.jsonl", "-o", "again.jsonl")
    assert again.returncode == 0, again.stderr
    before, now = read(tmp_path / "run.jsonl"), read(tmp_path / "again.jsonl")
    assert now.pop("repro") == {"same": now_many(before), "different": [], "facts": []}
    assert f"the same: all {now_many(before)} numbers" in again.stderr.decode()
    for name in ("metrics", "counts", "versions", "provenance"):
        assert now[name] == before[name]
    assert now["options"]["arguments"] == before["options"]["arguments"]
    assert (tmp_path / "kept.jsonl").read_bytes() == kept  # nor was it written again
    third = tm("eval", "--repro", "again.jsonl")
    assert third.returncode == 0, third.stderr


def now_many(record: Json) -> int:
    """Numbers of a record: leaves that are no times."""

    def count(value: Any) -> int:
        if isinstance(value, dict):
            return sum(count(item) for key, item in value.items() if key != "seconds")
        return sum(map(count, value)) if isinstance(value, list) else 1

    return count(record["counts"]) + count(record["metrics"])


def test_what_is_read_is_judged_again(tm: Tm, tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text(lines(*(trajectory(task=task(i)) for i in range(3))))
    (tmp_path / "b.jsonl").write_text(lines(*(trajectory(task=task(i), prediction="?") for i in range(3))))
    first = tm("eval", "a.jsonl", "b.jsonl", "-o", "run.jsonl", env={"TM_EVAL_BY": "hops"})
    assert first.returncode == 0, first.stderr
    again = tm("eval", "--repro", "run.jsonl")  # without the variable
    assert again.returncode == 0, again.stderr
    assert json.loads(again.stdout)["options"]["by"] == ["hops"]


def test_a_report_and_what_was_set_aside_are_no_part_of_it(tm: Tm, tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text(f"broken\n{lines(trajectory())}")
    (tmp_path / "ckpt").mkdir()
    (tmp_path / "ckpt" / "metrics.jsonl").write_text('{"step": 1, "loss": 2.5}\n')
    report = ["--html", "page.html", "--html-limit", "5", "--run", "ckpt"]
    first = tm("eval", "a.jsonl", "--rejects", "rejects.jsonl", *report, "-o", "run.jsonl")
    assert first.returncode == 0, first.stderr
    again = tm("eval", "--repro", "run.jsonl")
    assert again.returncode == 0, again.stderr
    assert json.loads(again.stdout)["options"]["arguments"] == ["--skip-invalid", "a.jsonl"]


def test_a_threshold_that_was_missed_is_no_part_of_it(tm: Tm, tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text(lines(trajectory(prediction="?")))
    assert tm("eval", "a.jsonl", "--fail-under", "1", "-o", "run.jsonl").returncode == 1
    assert tm("eval", "--repro", "run.jsonl").returncode == 0


# ---- again, and not the same --------------------------------------------------------------------------


def test_a_record_keeps_no_password(tm: Tm, tmp_path: Path) -> None:
    with ModelServer(say(text("<answer>1</answer>"))) as server:
        url = server.url.replace("://", "://someone:hush-h@sh@") + "?key=hush"
        played = tm("eval", "--policy", f"m@{url}", "--tasks", "unseen", "-n", "1", "-o", "run.jsonl")
    assert played.returncode == 0, played.stderr
    assert f"m@{server.url}" in read(tmp_path / "run.jsonl")["options"]["arguments"]
    assert b"hush" not in (tmp_path / "run.jsonl").read_bytes() + played.stderr


def test_other_numbers_are_told(tm: Tm, tmp_path: Path) -> None:
    tm("eval", "--policy", "scripted", "-n", "2", "-o", "run.jsonl")

    def claim(record: Json) -> None:
        record["metrics"]["accuracy"] = 0.25
        record["versions"]["tm"] = "0.0.1"

    changed(tmp_path / "run.jsonl", claim)
    again = tm("eval", "--repro", "run.jsonl", "-o", "again.jsonl")
    assert again.returncode == 1
    told = again.stderr.decode()
    assert "versions.tm was '0.0.1', is '" in told
    assert "1 of " in told
    assert "numbers differ; metrics.accuracy was 0.25, is 1; the notes above say what else" in told
    found = read(tmp_path / "again.jsonl")["repro"]
    assert found["different"] == [{"name": "metrics.accuracy", "before": 0.25, "now": 1.0}]


def test_an_older_version_with_the_same_numbers_is_no_failure(tm: Tm, tmp_path: Path) -> None:
    tm("eval", "--policy", "scripted", "-n", "2", "-o", "run.jsonl")
    changed(tmp_path / "run.jsonl", lambda record: record["versions"].update(python="3.9.0"))
    again = tm("eval", "--repro", "run.jsonl")
    assert again.returncode == 0
    assert b"versions.python was '3.9.0', is '3." in again.stderr
    assert b"the same: all " in again.stderr


def test_other_tools_are_told(tm: Tm, tmp_path: Path) -> None:
    start(str(tmp_path / "mybox"))
    first = tm("eval", "--policy", "scripted", "--tasks", "mybox", "-n", "3", "-o", "run.jsonl")
    assert first.returncode == 0, first.stderr
    tools = tmp_path / "mybox" / "tools.py"
    tools.write_text(tools.read_text() + "\n# another version\n")
    again = tm("eval", "--repro", "run.jsonl")
    assert again.returncode == 0, again.stderr
    assert b"provenance.0.tools_hash was '" in again.stderr


def test_other_trajectories_are_told(tm: Tm, tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text(lines(*(trajectory(task=task(i)) for i in range(3))))
    tm("eval", "a.jsonl", "-o", "run.jsonl")
    (tmp_path / "a.jsonl").write_text(lines(*(trajectory(task=task(i), prediction="?") for i in (0, 1, 3))))
    again = tm("eval", "--repro", "run.jsonl")
    assert again.returncode == 1
    assert b"provenance.0.tasks_hash was '" in again.stderr
    assert b"metrics.accuracy was 1, is 0" in again.stderr


# ---- what cannot be made again ---------------------------------------------------------------------------


def test_records_that_cannot_be_made_again(tm: Tm, tmp_path: Path) -> None:
    (tmp_path / "runs.jsonl").write_text(lines(trajectory()))
    (tmp_path / "stdin.jsonl").write_bytes(tm("eval", input=lines(trajectory()).encode()).stdout)
    tm("eval", "runs.jsonl", "--scores", "-o", "scores.jsonl")
    for name, problem in (
        ("stdin.jsonl", "what was evaluated came from stdin; keep it in a file"),
        ("scores.jsonl", "a score record"),
        ("runs.jsonl", "a trajectory record"),
        ("none.jsonl", "none.jsonl"),
    ):
        done = tm("eval", "--repro", name)
        assert (done.returncode, problem in done.stderr.decode()) == (2, True), done.stderr


def test_options_beside_it_are_refused(tm: Tm, tmp_path: Path) -> None:
    (tmp_path / "runs.jsonl").write_text(lines(trajectory()))
    tm("eval", "runs.jsonl", "-o", "run.jsonl")
    for words in (("--by", "hops"), ("runs.jsonl",), ("--policy", "scripted")):
        done = tm("eval", "--repro", "run.jsonl", *words)
        assert done.returncode == 2
        assert f"{words[0]} cannot be given beside it; leave it out" in done.stderr.decode()


def test_a_file_that_is_gone_is_told(tm: Tm, tmp_path: Path) -> None:
    (tmp_path / "runs.jsonl").write_text(lines(trajectory()))
    tm("eval", "runs.jsonl", "-o", "run.jsonl")
    (tmp_path / "runs.jsonl").unlink()
    done = tm("eval", "--repro", "run.jsonl")
    assert done.returncode == 2
    assert done.stderr.decode().count("runs.jsonl: cannot be read") == 1


def record(options: Json, step: str = "eval", **metrics: Any) -> Run:
    return Run(step=step, options=options, versions={}, counts={}, seconds=1.0, metrics=metrics)


@pytest.mark.parametrize("options", [{}, {"arguments": "x"}, {"arguments": [1]}])
def test_a_record_without_its_command_line(options: Json) -> None:
    with pytest.raises(UsageError, match="no run record of tm eval that tells how it was made"):
        arguments(record(options))


def test_times_are_no_numbers_and_missing_ones_differ() -> None:
    before = record({}, seconds=1.0, intervals={"seconds": [1, 2], "calls": [1, 2]}, groups=[{"n": 1}])
    now = record({}, seconds=9.0, intervals={"seconds": [8, 9], "calls": [1, 3]}, groups=[{"n": 1}, {"n": 2}])
    found = compared(before, now)
    assert [(one.name, one.before, one.now) for one in found.numbers] == [
        ("metrics.intervals.calls[1]", 2, 3),
        ("metrics.groups[1].n", None, 2),
    ]
    assert found.same == 2


# ---- hashes ----------------------------------------------------------------------------------------------


def rows(*tasks: Json) -> list[Json]:
    provenance = Provenance()
    for one in provenance.seen([trajectory(task=one) for one in tasks]):
        provenance.add(score_of(judge(one)))  # type: ignore[arg-type]
    return provenance.rows()


def test_hashes_are_of_sets() -> None:
    (one,), (two,), (other,) = rows(task(0), task(1)), rows(task(1), task(0), task(0)), rows(task(0), task(2))
    assert (one["tasks_hash"], one["tools_hash"]) == (two["tasks_hash"], two["tools_hash"])
    assert (one["tasks"], two["tasks"], two["episodes"]) == (2, 2, 3)
    assert other["tasks_hash"] != one["tasks_hash"]
    assert other["tools_hash"] == one["tools_hash"]  # one toolbox
    (python,) = rows(task(0, env={"kind": "python", "tools": {}}))
    assert python["tools_hash"] not in (one["tools_hash"], None)


def test_what_nobody_knows_is_null() -> None:
    (gone,) = rows(task(0, env={"kind": "toolbox", "toolbox": "gone/box", "seed": 0}))
    assert gone["tools_hash"] is None
    provenance = Provenance()
    known: Json = {"scores": {}, "calls": 0, "errors": 0, "stop": "answer", "tags": {}}
    provenance.add(Score(id="a#0", task_id="a", correct=True, policy={"name": "p"}, **known))
    assert [(row["policy"]["name"], row["tools_hash"]) for row in provenance.rows()] == [("p", None)]


def test_weights_are_told_apart_by_their_files(tmp_path: Path) -> None:
    base, adapter = tmp_path / "base", tmp_path / "adapter"
    base.mkdir()
    adapter.mkdir()
    (base / "model.safetensors").write_bytes(b"weights")
    (base / "config.json").write_text("{}")
    (adapter / "adapter_config.json").write_text(json.dumps({"base_model_name_or_path": str(base)}))
    first, second = weights_hash(str(base)), weights_hash(str(adapter))
    assert first is not None
    assert second not in (None, first)
    (base / "run.json").write_text('{"seconds": 1}')  # when it was made is no weight
    assert weights_hash(str(base)) == first
    (base / "model.safetensors").write_bytes(b"Weights")
    assert weights_hash(str(base)) != first
    assert weights_hash(str(adapter)) != second
    assert weights_hash("tiny") is weights_hash("gpt-4o") is weights_hash("m@http://localhost/v1") is None


@pytest.mark.slow
def test_a_checkpoint_s_weights_are_in_the_record(tm: Tm, tmp_path: Path) -> None:
    from tmcli.model import load

    model, tokenizer = load("tiny")
    model.save_pretrained(tmp_path / "ckpt")
    tokenizer.save_pretrained(tmp_path / "ckpt")
    asked = ("--policy", "./ckpt", "--tasks", "seen", "-n", "1", "--max-turns", "1", "--max-new-tokens", "4")
    done = tm("eval", *asked, "-o", "run.jsonl")
    assert done.returncode == 0, done.stderr
    run = read(tmp_path / "run.jsonl")
    assert run["provenance"][0]["weights_hash"] == weights_hash(str(tmp_path / "ckpt"))
    assert {"tm", "python", "torch", "transformers"} <= run["versions"].keys()
    weights = tmp_path / "ckpt" / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1] + b"\x00")  # the last weight
    again = tm("eval", "--repro", "run.jsonl")
    assert b"provenance.0.weights_hash was '" in again.stderr
