"""vLLM and SGLang for tests: real HTTP on loopback, a real model, and their own words for token ids.

    with Engine("vllm", model, "tiny") as engine:
        Served(engine.url, sampling)

Only what `tmcli.policies.served` uses, as vLLM 0.32 answered it and as the documents of SGLang say. `spoil`
changes an answer before it goes out; adapters are loaded with PEFT onto copies of the model.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from copy import deepcopy
from http.server import BaseHTTPRequestHandler
from typing import Any, Literal, Self

import torch
from servers import Threads, Trouble

from tmcli.records import Json

ANSWERS = Callable[[Json], "Json | Trouble"]


class Engine:
    """One engine with one model. Greedy and sampled, one request at a time."""

    def __init__(
        self, kind: Literal["vllm", "sglang"], model: Any, tokenizer: Any, name: str, context: int = 8192
    ) -> None:
        self.kind = kind
        self.model = model
        self.tokenizer = tokenizer
        self.name = name
        self.context = context
        self.raw = False
        """Log-probabilities of temperature 1, as vLLM gives them by default."""
        self.spoil: ANSWERS = lambda answer: answer
        self.adapters: dict[str, Any] = {}
        self.takes_adapters = True
        self.requests: list[Json] = []
        self._lock = threading.Lock()
        self._server = Threads(("127.0.0.1", 0), _handler(self))
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_address[1]}/v1"

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def stop(self) -> None:
        if self._thread.is_alive():
            self._server.shutdown()
            self._server.server_close()
            self._thread.join()

    # ---- what it answers ---------------------------------------------------------------------------

    def models(self) -> Json:
        card = {"id": self.name, "root": self.name, "parent": None, "max_model_len": self.context}
        more = [{"id": name, "root": "", "parent": self.name} for name in self.adapters]
        return {"data": [{**one, "owned_by": self.kind} for one in (card, *more)]}

    def post(self, path: str, body: Json) -> Json | Trouble:
        with self._lock:
            own = "/v1" if self.kind == "vllm" else ""
            if path in (f"{own}/load_lora_adapter", f"{own}/unload_lora_adapter") and self.takes_adapters:
                return self._adapter(path, body)
            if path in ("/collective_rpc", "/update_weights_from_disk", "/reset_prefix_cache"):
                return self._weights(path, body)
            if (self.kind, path) == ("vllm", "/v1/completions"):
                self.requests.append(body)
                return self._vllm(body)
            if (self.kind, path) == ("sglang", "/generate"):
                self.requests.append(body)
                return self._sglang(body)
            return Trouble(404, '{"detail": "Not Found"}')

    def _vllm(self, body: Json) -> Json | Trouble:
        if body["model"] not in (self.name, *self.adapters):
            return refused(404, f"The model `{body['model']}` does not exist.")
        adapter = "" if body["model"] == self.name else body["model"]
        ids, logprobs, reason = self._sampled(body["prompt"], body, body["max_tokens"], adapter)
        choice = {
            "index": 0,
            "text": self._text(ids, reason),
            "finish_reason": reason,
            "logprobs": {"token_logprobs": logprobs},
        }
        if body.get("return_token_ids"):
            choice["token_ids"] = ids
        usage = {"prompt_tokens": len(body["prompt"]), "completion_tokens": len(ids)}
        return self.spoil({"choices": [choice], "usage": usage})

    def _sglang(self, body: Json) -> Json | Trouble:
        adapter = body.get("lora_path", "")
        if adapter and adapter not in self.adapters:
            return refused(400, f"The following requested LoRA adapters are not loaded: {adapter}")
        options = body["sampling_params"]
        most = options["max_new_tokens"]
        seeded = {**options, "seed": options["sampling_seed"]}
        ids, logprobs, reason = self._sampled(body["input_ids"], seeded, most, adapter)
        meta = {
            "finish_reason": {"type": reason},
            "prompt_tokens": len(body["input_ids"]),
            "completion_tokens": len(ids),
        }
        if body.get("return_logprob"):
            meta["output_token_logprobs"] = [[p, i, None] for p, i in zip(logprobs, ids, strict=True)]
        return self.spoil({"text": self._text(ids, reason), "meta_info": meta})

    def _adapter(self, path: str, body: Json) -> Json | Trouble:
        name = body["lora_name"]
        if "unload" in path:
            return {"success": self.adapters.pop(name, None) is not None}
        if name in self.adapters:
            return refused(400, f"The lora adapter '{name}' has already been loaded.")
        from peft import PeftModel

        self.adapters[name] = PeftModel.from_pretrained(deepcopy(self.model), body["lora_path"]).eval()
        return {"success": True}

    def _weights(self, path: str, body: Json) -> Json:
        from transformers import AutoModelForCausalLM

        if path != "/reset_prefix_cache":
            folder = body["model_path"] if self.kind == "sglang" else body["kwargs"]["weights_path"]
            self.model = AutoModelForCausalLM.from_pretrained(folder).eval()
        return {"success": True}

    # ---- the model ---------------------------------------------------------------------------------

    @torch.inference_mode()
    def _sampled(
        self, prompt: list[int], options: Json, most: int, adapter: str
    ) -> tuple[list[int], list[float], str]:
        """A token at a time, with the whole context each time."""
        model = self.adapters[adapter] if adapter else self.model
        stops = {*options["stop_token_ids"], model.config.eos_token_id}
        dice = torch.Generator().manual_seed(options["seed"])
        ids: list[int] = []
        logprobs: list[float] = []
        heat = options["temperature"]
        while len(ids) < most:
            logits = model(torch.tensor([[*prompt, *ids]])).logits[0, -1].float()
            scores = torch.log_softmax(logits / (heat or 1.0), -1)
            if heat == 0 or options["top_k"] == 1:
                token = int(scores.argmax())
            else:
                token = int(torch.multinomial(scores.exp(), 1, generator=dice))
            ids.append(token)
            told = torch.log_softmax(logits, -1) if self.raw else scores
            logprobs.append(float(told[token]))
            if token in stops:
                return ids, logprobs, "stop"
        return ids, logprobs, "length"

    def _text(self, ids: list[int], reason: str) -> str:
        kept = ids[:-1] if reason == "stop" else ids
        text: str = self.tokenizer.decode(kept, skip_special_tokens=False)
        return text


def refused(status: int, problem: str) -> Trouble:
    return Trouble(status, json.dumps({"error": {"message": problem}}))


def _handler(engine: Engine) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        timeout = 5
        disable_nagle_algorithm = True

        def do_GET(self) -> None:
            self.send(200, json.dumps(engine.models() if self.path == "/v1/models" else {}))

        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            answer = engine.post(self.path, body)
            if isinstance(answer, Trouble):
                self.send(answer.status, answer.body or "{}")
            else:
                self.send(200, json.dumps(answer))

        def send(self, status: int, text: str) -> None:
            data = text.encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, format: str, *args: Any) -> None:
            pass

    return Handler
