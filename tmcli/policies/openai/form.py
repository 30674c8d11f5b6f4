"""What a request is and where it goes: chat completions, or what an engine takes for token ids.

    OpenAI(name, sampling)                            chat completions, `CHAT`
    OpenAI(name, sampling, form=Form(...))            another form, over the same connections

Servers, patience, keys and counting are the same for all of them.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from tmcli.policies.openai import outcomes
from tmcli.policies.openai.outcomes import Outcome


@dataclass(frozen=True, slots=True)
class Form:
    """One kind of request."""

    path: Callable[[str], str]
    """Where it is posted, from the path of the server's address."""
    read: Callable[[int, bytes], Outcome]
    """What an HTTP answer means; never raises."""


CHAT = Form(lambda base: f"{base}/chat/completions", outcomes.read)
