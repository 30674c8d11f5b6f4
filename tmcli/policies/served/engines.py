"""How vLLM and SGLang are asked with token ids, and what their answers are.

    engine = ENGINES["vllm"]
    engine.form                                        where requests go, and how answers are read
    engine.body(ids, asked, adapter)                   one request
    choice["message"]                                  {"token_ids": [...], "logprobs": [...], "text": "..."}

vLLM: `/v1/completions` with `return_token_ids` (0.10.2 and newer). SGLang: `/generate` with `return_logprob`.
Every sampling option is said, as both engines take what is left out from the model's `generation_config`.
An answer whose ids and log-probabilities do not belong together is no answer: it is asked for again.

The log-probabilities are those of the distribution at this temperature: vLLM gives them with `--logprobs-mode
processed_logprobs` (there also after the top-p cut), at temperatures 0 and 1 always; SGLang by default.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import orjson

from tmcli.policies import Sampling
from tmcli.policies.openai import outcomes
from tmcli.policies.openai.form import Form
from tmcli.policies.openai.outcomes import Outcome
from tmcli.records import Json

Kind = Literal["vllm", "sglang"]


@dataclass(frozen=True, slots=True)
class Asked:
    """One request, but for its prompt."""

    sampling: Sampling
    most: int
    """Tokens, at most."""
    seed: int
    stop_ids: list[int]
    extra: Json
    """More fields (`min_p`)."""


@dataclass(frozen=True, slots=True)
class Engine:
    """What differs between the engines."""

    kind: Kind
    form: Form
    body: Callable[[list[int], Asked, str], Json]
    """The request for these ids; the adapter's name is empty for the base model."""


def _vllm(ids: list[int], asked: Asked, adapter: str) -> Json:
    sampling = asked.sampling
    body = {
        "temperature": sampling.temperature,
        "top_p": sampling.top_p,
        "seed": asked.seed,
        "top_k": -1,
        "min_p": 0.0,
        "repetition_penalty": 1.0,
        "presence_penalty": 0.0,
        "frequency_penalty": 0.0,
        **asked.extra,
        "prompt": ids,
        "max_tokens": asked.most,
        "stop_token_ids": asked.stop_ids,
        "logprobs": 0,  # of the sampled token alone
        "return_token_ids": True,
        "skip_special_tokens": False,
    }
    return body | ({"model": adapter} if adapter else {})


def _sglang(ids: list[int], asked: Asked, adapter: str) -> Json:
    sampling = asked.sampling
    options = {
        "temperature": sampling.temperature,
        "top_p": sampling.top_p,
        "sampling_seed": asked.seed % (1 << 31),
        "top_k": -1,
        "min_p": 0.0,
        "repetition_penalty": 1.0,
        "presence_penalty": 0.0,
        "frequency_penalty": 0.0,
        **asked.extra,
        "max_new_tokens": asked.most,
        "stop_token_ids": asked.stop_ids,
        "skip_special_tokens": False,
    }
    body: Json = {"input_ids": ids, "sampling_params": options, "return_logprob": True}
    return body | ({"lora_path": adapter} if adapter else {})


def read_vllm(status: int, data: bytes) -> Outcome:
    """One answer of `/v1/completions`."""
    if not 200 <= status < 300:
        return outcomes.read(status, data)
    match _loaded(data):
        case {"choices": [{"finish_reason": reason, **choice}], "usage": dict(usage)}:
            logprobs = choice.get("logprobs")
            probs = logprobs.get("token_logprobs") if isinstance(logprobs, dict) else None
            return _said(choice.get("token_ids"), probs, choice.get("text"), reason, usage)
    return _malformed("no completion")


def read_sglang(status: int, data: bytes) -> Outcome:
    """One answer of `/generate`."""
    if not 200 <= status < 300:
        outcome = outcomes.read(status, data)
        if status == 400 and b"not loaded" in data:  # the adapter, after a restart of the server
            return Outcome("model", trouble=outcome.trouble)
        return outcome
    match _loaded(data):
        case {"meta_info": {"finish_reason": {"type": reason}, **meta}, **body}:
            pairs = meta.get("output_token_logprobs")
            if not isinstance(pairs, list) or not all(isinstance(p, list) and len(p) > 1 for p in pairs):
                return _malformed("no token ids")
            ids, probs = [pair[1] for pair in pairs], [pair[0] for pair in pairs]
            usage = {name: meta.get(name) for name in ("prompt_tokens", "completion_tokens")}
            return _said(ids, probs, body.get("text"), reason, usage)
    return _malformed("no generation")


def _said(ids: Any, logprobs: Any, text: Any, reason: Any, usage: Json) -> Outcome:
    """What was sampled, if all of it is there."""
    if reason not in ("stop", "length"):
        return Outcome("again", trouble=f"broke off its reply ({reason})", label="broken")
    if ids is None or logprobs is None:
        what = "token ids" if ids is None else "log-probabilities"
        return _malformed(f"no {what}")
    if not (isinstance(ids, list) and ids and all(type(one) is int and one >= 0 for one in ids)):
        return _malformed("token ids that are none")
    if not (isinstance(logprobs, list) and all(map(_is_logprob, logprobs))):
        return _malformed("log-probabilities that are none")
    if len(ids) != len(logprobs) or usage.get("completion_tokens") != len(ids):
        n = usage.get("completion_tokens")
        return _malformed(f"{len(ids)} token ids, {len(logprobs)} log-probabilities and a count of {n}")
    message = {
        "token_ids": ids,
        "logprobs": [float(one) for one in logprobs],
        "text": text if isinstance(text, str) else "",
    }
    return Outcome("said", {"message": message, "finish_reason": reason, "usage": usage})


def _malformed(what: str) -> Outcome:
    return Outcome("again", trouble=f"answers with {what}", label="malformed")


def _is_logprob(value: Any) -> bool:
    return isinstance(value, float | int) and math.isfinite(value) and value < 1e-3


def _loaded(data: bytes) -> Any:
    try:
        return orjson.loads(data)
    except orjson.JSONDecodeError:
        return None


def origin(base: str) -> str:
    """The path under which an engine has its own endpoints, which stand beside `/v1`."""
    return base.removesuffix("/v1")


ENGINES: dict[Kind, Engine] = {
    "vllm": Engine("vllm", Form(lambda base: f"{base}/completions", read_vllm), _vllm),
    "sglang": Engine("sglang", Form(lambda base: f"{origin(base)}/generate", read_sglang), _sglang),
}
