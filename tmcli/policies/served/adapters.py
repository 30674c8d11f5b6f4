"""A trained adapter brought over to running servers, between two phases of generation.

    adapters = Adapters("vllm", urls, key)
    adapters.sync(folder)                # loads what `save_pretrained` wrote there, unloads the one before
    adapters.name                        # what requests ask for

The server reads the folder itself: it must see the same files. Each adapter has a name that was never used,
so nothing that a server cached for an older one answers for it, and a request after a restart of the server,
which knows no adapters, is refused and not answered by the bare model.

vLLM needs `--enable-lora --max-lora-rank R` and VLLM_ALLOW_RUNTIME_LORA_UPDATING=True, SGLang `--enable-lora
--max-lora-rank R --lora-target-modules all`.
"""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import httpx

from tmcli import console
from tmcli.errors import RunError, UsageError
from tmcli.policies.openai import troubles
from tmcli.policies.openai.redact import Redact
from tmcli.policies.served.engines import Kind, origin
from tmcli.policies.served.facts import shown

LOAD_S = 300.0
FLAGS = {
    "vllm": "VLLM_ALLOW_RUNTIME_LORA_UPDATING=True vllm serve ... --enable-lora --max-lora-rank R",
    "sglang": "--enable-lora --max-lora-rank R --lora-target-modules all",
}
"""How a server is started that takes adapters while it runs."""


class Adapters:
    """The adapter that some servers answer with."""

    def __init__(self, kind: Kind, urls: Sequence[httpx.URL], key: str) -> None:
        self.kind = kind
        self.urls = list(urls)
        self.name = ""
        self._headers = {"Authorization": f"Bearer {key}"} if key else {}
        self._clean = Redact([key])
        self._is_loaded = False
        self._run = uuid.uuid4().hex[:8]
        self._count = 0

    def sync(self, folder: Path) -> None:
        """Load the adapter in `folder` on every server. Raises `RunError` or `UsageError`."""
        folder = folder.resolve()
        if not (folder / "adapter_config.json").is_file():
            raise UsageError(f"{folder} holds no adapter", "servers take adapters only: leave --full out")
        before = self.name if self._is_loaded else ""
        self._count += 1
        name = f"tm-{self._run}-{self._count}"
        for url in self.urls:
            self._post(url, "load_lora_adapter", {"lora_name": name, "lora_path": str(folder)})
        self.name, self._is_loaded = name, True
        if before:
            self._unload(before)

    def drop(self) -> None:
        """Leave the servers as they were. The name stays: who asks on is refused, not answered by the model
        without it."""
        if self._is_loaded:
            self._is_loaded = False
            self._unload(self.name)

    def _unload(self, name: str) -> None:
        """The server has room for few; one that is not there any more harms nobody."""
        for url in self.urls:
            try:
                self._post(url, "unload_lora_adapter", {"lora_name": name})
            except (RunError, UsageError) as error:
                console.detail(str(error))

    def _post(self, url: httpx.URL, what: str, body: dict[str, Any]) -> None:
        base = url.path.rstrip("/")
        path = f"{base}/{what}" if self.kind == "vllm" else f"{origin(base)}/{what}"
        try:
            answer = httpx.post(url.copy_with(path=path), json=body, headers=self._headers, timeout=LOAD_S)
        except (httpx.HTTPError, OSError) as error:
            words = troubles.met(error).words
            raise RunError(
                f"the server {shown(url)} {words} when weights were brought to it",
                "start it again and go on with --resume",
            ) from error
        if answer.is_success and b'"success":false' not in answer.content.replace(b" ", b""):
            return
        said = self._clean(" ".join(answer.text.split())[:300])
        problem = f"the server {shown(url)} takes no adapter: it answers {answer.status_code}: {said}"
        if b"No adapter found" in answer.content or b"No such file" in answer.content:
            raise UsageError(problem, "start it where it sees the folder of the run")
        raise UsageError(problem, f"start it with {FLAGS[self.kind]}")
