"""A server's model that follows one in training here.

    policy = Trained("http://localhost:8000/v1", sampling, chat, folder)
    policy.model = trainer.model                     # as for a local policy
    policy.refresh()                                 # the server answers with its weights from now on

Saved to `folder` and read there by the server: an adapter where one is trained, else the whole model. The
base under an adapter must be what the server serves; else its log-probabilities differ from the trainer's. Of
several processes the first brings the weights over, and the others ask for what it brought.
"""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

from tmcli.chat import Chat
from tmcli.meter import Meter
from tmcli.policies import Sampling, Service
from tmcli.policies.served import Served


class Trained(Served):
    """A policy on a server, with the weights of a model that is trained here."""

    def __init__(
        self,
        name: str,
        sampling: Sampling,
        chat: Chat,
        folder: Path,
        *,
        service: Service = Service(),
        meter: Meter | None = None,
    ) -> None:
        super().__init__(name, sampling, chat, service=service, meter=meter)
        self.folder = folder
        self.model: Any = None

    def refresh(self) -> None:
        """Bring the weights over. No episode is open."""
        from peft import PeftModel
        from torch import distributed

        together = distributed.is_available() and distributed.is_initialized()
        if not together or distributed.get_rank() == 0:
            shutil.rmtree(self.folder, ignore_errors=True)
            # Else PEFT asks the hub whether the vocabulary has grown, which it never has here.
            more = {"save_embedding_layers": False} if isinstance(self.model, PeftModel) else {}
            self.model.save_pretrained(self.folder, **more)
            self.sync(self.folder)
        if together:
            names = [self.adapter]
            distributed.broadcast_object_list(names)
            self.adapter = names[0]
