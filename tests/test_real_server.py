"""`tm rollout` against servers that others wrote: transformers' own, and vLLM where one is named.

    pip install fastapi openai uvicorn                           # what `transformers serve` needs
    TM_TEST_VLLM=/path/to/bin/vllm pytest -m slow tests/test_real_server.py

Both serve models of ours on loopback. What is proved is the talk with the server, not what the models know.
"""

from __future__ import annotations

import importlib.util
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.error import URLError
from urllib.request import urlopen

import pytest
from conftest import Tm
from shell import records

pytestmark = pytest.mark.slow

START_S = 100
SERVING = ("fastapi", "openai", "uvicorn")
VLLM = os.environ.get("TM_TEST_VLLM", "")
BLIND = (
    "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
"""A chat template that shows no tools."""


def saved(folder: Path, name: str, template: str) -> Path:
    """Weights and tokenizer as any server loads them."""
    import torch

    from tmcli import model

    weights, tokenizer = model.load(name, dtype=torch.float32)
    tokenizer.chat_template = template
    weights.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


@contextmanager
def served(log: Path, *words: str | Path) -> Iterator[str]:
    """A server's process, from the moment it is healthy; `{port}` in its words is a free one."""
    with socket.create_server(("127.0.0.1", 0)) as held:
        port = held.getsockname()[1]
    env = {**os.environ, "HF_HUB_OFFLINE": "1", "VLLM_CPU_KVCACHE_SPACE": "1", "VLLM_NO_USAGE_STATS": "1"}
    env |= {"VLLM_ALLOW_RUNTIME_LORA_UPDATING": "True", "VLLM_SERVER_DEV_MODE": "1"}
    with log.open("wb") as out:
        command = [str(word) for word in (*words, "--host", "127.0.0.1", "--port", port)]
        process = subprocess.Popen(command, env=env, stdout=out, stderr=out, start_new_session=True)
    try:
        deadline = time.monotonic() + START_S
        while not healthy(port):
            assert process.poll() is None, log.read_text()[-2000:]
            assert time.monotonic() < deadline, log.read_text()[-2000:]
            time.sleep(0.2)
        yield f"http://127.0.0.1:{port}/v1"
    finally:
        process.terminate()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, 9)
            process.wait()


def healthy(port: int) -> bool:
    try:
        with urlopen(f"http://127.0.0.1:{port}/health", timeout=2) as answer:
            return bool(answer.status == 200)
    except (URLError, OSError):
        return False


def play(tm: Tm, policy: str, *words: str) -> set[str]:
    """Two short episodes; the protocols they were played in."""
    limits = ("--max-new-tokens", "12", "--max-tokens", "20000", "--max-turns", "2")
    done = tm("rollout", "--policy", policy, "--tasks", "unseen", "-n", "2", *limits, *words, timeout=120)
    assert done.returncode == 0, done.stderr.decode()
    episodes = records(done.stdout)
    assert [one["status"] for one in episodes] == ["ok", "ok"]
    assert all(one["usage"]["prompt_tokens"] and one["usage"]["completion_tokens"] for one in episodes)
    return {one["policy"]["sampling"]["protocol"] for one in episodes}


def test_transformers_serve(tm: Tm, tmp_path: Path) -> None:
    missing = [name for name in SERVING if importlib.util.find_spec(name) is None]
    if missing:
        pytest.skip(f"`transformers serve` needs {', '.join(missing)}")
    from importlib import resources

    seeing = resources.files("tmcli").joinpath("prompts", "tm.jinja").read_text("utf-8")
    models = {
        "native": saved(tmp_path / "seeing", "tiny", seeing),
        "text": saved(tmp_path / "blind", "tiny", BLIND),
    }
    command = (sys.executable, "-m", "transformers.cli.transformers", "serve", "--device", "cpu")
    with served(tmp_path / "log", *command) as url:
        for protocol, folder in models.items():
            assert play(tm, f"{folder}@{url}") == {protocol}
        assert play(tm, f"{models['native']}@{url}", "--protocol", "text") == {"text"}


@pytest.mark.skipif(not VLLM, reason="TM_TEST_VLLM does not name a vllm")
@pytest.mark.parametrize("parser", [False, True])
def test_vllm(parser: bool, tm: Tm, tmp_path: Path) -> None:
    from importlib import resources

    seeing = resources.files("tmcli").joinpath("prompts", "tm.jinja").read_text("utf-8")
    folder = saved(tmp_path / "model", "smollm2", seeing)
    options = ["--max-model-len", "4096", "--dtype", "float32", "--enforce-eager", "--served-model-name", "m"]
    if parser:
        options += ["--enable-auto-tool-choice", "--tool-call-parser", "hermes"]
    with served(tmp_path / "log", VLLM, "serve", folder, *options) as url:
        assert play(tm, f"m@{url}") == {"native" if parser else "text"}
        assert play(tm, f"m@{url}", "--protocol", "text") == {"text"}


@pytest.mark.skipif(not VLLM, reason="TM_TEST_VLLM does not name a vllm")
def test_vllm_in_token_ids(tm: Tm, tmp_path: Path) -> None:
    """Ids and log-probabilities are those of a forward pass here, of an adapter and of whole weights, too."""
    import torch
    from test_token_ids import adapted, sampled, say_once, scores

    from tmcli import model
    from tmcli.policies import Sampling
    from tmcli.policies.served import Served

    weights, _ = model.load("smollm2", dtype=torch.float32)
    folder = saved(tmp_path / "model", "smollm2", BLIND)
    options = ["--max-model-len", "4096", "--dtype", "float32", "--enforce-eager", "--enable-lora"]
    options += ["--logprobs-mode", "processed_logprobs"]
    with served(tmp_path / "log", VLLM, "serve", folder, *options) as url:
        assert play(tm, f"{folder}@{url}", "--protocol", "tokens") == {"tokens"}
        policy = Served(url, Sampling(temperature=0.7, max_new_tokens=12))

        def exact(expected: torch.nn.Module) -> bool:
            tokens = say_once(policy)
            return sampled(tokens) == pytest.approx(scores(expected, tokens, 0.7), abs=1e-3)

        assert exact(weights)
        for seed in (1, 2):
            other = adapted(tmp_path / "adapter", weights, seed)
            assert not exact(other)
            policy.sync(tmp_path / "adapter")
            assert exact(other)
        policy.weights.drop()
        policy.adapter = ""
        with torch.no_grad():
            weights.model.layers[3].mlp.down_proj.weight.mul_(0.5)
        weights.save_pretrained(tmp_path / "whole")
        assert not exact(weights)
        policy.sync(tmp_path / "whole")
        assert exact(weights)
