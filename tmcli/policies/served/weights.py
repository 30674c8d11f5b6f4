"""Trained weights brought over to running servers, between two phases of generation.

    weights = Weights("vllm", urls, key)
    weights.sync(folder)                 # what `save_pretrained` wrote there, an adapter or a whole model
    weights.adapter                      # the name that requests ask for; empty: the model itself

The server reads the folder itself: it must see the same files. Each adapter has a name that was never used,
so nothing that a server cached for an older one answers for it, and a request after a restart of the server,
which knows no adapters, is refused and not answered by the bare model. A whole model has no name: a server
that is restarted within a phase answers the rest of it with the weights that it started with.

How a server must be started for either stands in `FLAGS`.
"""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from pathlib import Path

import httpx

from tmcli import console
from tmcli.errors import RunError, UsageError
from tmcli.policies.openai import troubles
from tmcli.policies.openai.redact import Redact
from tmcli.policies.served.engines import Kind, origin
from tmcli.policies.served.facts import shown
from tmcli.records import Json

LOAD_S = 600.0
FLAGS = {
    ("vllm", "an adapter"): "VLLM_ALLOW_RUNTIME_LORA_UPDATING=True, --enable-lora and --max-lora-rank R",
    ("vllm", "weights"): "VLLM_SERVER_DEV_MODE=1",
    ("sglang", "an adapter"): "--enable-lora, --max-lora-rank R and --lora-target-modules all",
    ("sglang", "weights"): "a newer SGLang",
}
"""How a server is started that takes an adapter, or whole weights, while it runs."""


class Weights:
    """What some servers answer with."""

    def __init__(self, kind: Kind, urls: Sequence[httpx.URL], key: str) -> None:
        self.kind = kind
        self.urls = list(urls)
        self.adapter = ""
        self._headers = {"Authorization": f"Bearer {key}"} if key else {}
        self._clean = Redact([key])
        self._loaded = ""
        """The adapter that was loaded here, and is to be unloaded here."""
        self._run = uuid.uuid4().hex[:8]
        self._count = 0

    def sync(self, folder: Path) -> None:
        """Answer with what is in `folder` from now on, on every server. Raises `RunError` or `UsageError`."""
        folder = folder.resolve()
        if (folder / "adapter_config.json").is_file():
            self._load(folder)
        elif (folder / "config.json").is_file():
            self._replace(folder)
        else:
            raise UsageError(f"{folder} holds no weights", "name a folder that save_pretrained wrote")

    def drop(self) -> None:
        """Leave the servers without our adapter. Its name stays: who asks on is refused, not answered by the
        bare model."""
        name, self._loaded = self._loaded, ""
        for url in self.urls if name else []:
            try:
                self._post(url, "an adapter", self._own("unload_lora_adapter"), {"lora_name": name})
            except (RunError, UsageError) as error:  # a server that is gone holds nothing any more
                console.detail(str(error))

    def _load(self, folder: Path) -> None:
        self._count += 1
        name = f"tm-{self._run}-{self._count}"
        body = {"lora_name": name, "lora_path": str(folder)}
        for url in self.urls:
            self._post(url, "an adapter", self._own("load_lora_adapter"), body)
        self.drop()
        self.adapter = self._loaded = name

    def _replace(self, folder: Path) -> None:
        for url in self.urls:
            if self.kind == "vllm":
                body: Json = {"method": "reload_weights", "kwargs": {"weights_path": str(folder)}}
                self._post(url, "weights", "collective_rpc", body)
                self._post(url, "weights", "reset_prefix_cache", {})
            else:
                body = {"model_path": str(folder), "flush_cache": True}
                self._post(url, "weights", "update_weights_from_disk", body)

    def _own(self, what: str) -> str:
        """vLLM has its endpoints for adapters under `/v1`."""
        return f"v1/{what}" if self.kind == "vllm" else what

    def _post(self, url: httpx.URL, what: str, path: str, body: Json) -> None:
        target = url.copy_with(path=f"{origin(url.path.rstrip('/'))}/{path}")
        try:
            answer = httpx.post(target, json=body, headers=self._headers, timeout=LOAD_S)
        except (httpx.HTTPError, OSError) as error:
            raise RunError(
                f"the server {shown(url)} {troubles.met(error).words} when {what} was brought to it",
                "start it again and go on with --resume",
            ) from error
        if answer.is_success and b'"success":false' not in answer.content.replace(b" ", b""):
            return
        said = self._clean(answer.text) or "nothing"
        problem = f"the server {shown(url)} does not take {what}: it answers {answer.status_code}: {said}"
        if b"No adapter found" in answer.content or b"No such file" in answer.content:
            raise UsageError(problem, "start it where it sees the folder of the run")
        raise UsageError(problem, f"start it with {FLAGS[self.kind, what]}")
