"""A server's words for one of our sentences: one short line, without secrets.

>>> Redact(["sk-a/secret key"])("bad key sk-a%2Fsecret%20key,\\n try again")
'bad key ***, try again'
>>> Redact([])("Authorization: Bearer abcdefgh12345 was sent")
'Authorization: Bearer *** was sent'
"""

from __future__ import annotations

import re
from base64 import b64encode
from collections.abc import Iterable
from urllib.parse import quote, quote_plus

MAX_CHARS = 300
SHORT = 6
"""A shorter secret is hidden as a whole word only: it may be a part of any other."""

_LIKE_KEYS = re.compile(r"((?:Bearer|Basic)\s+)[^\s\"',;]{6,}|\bsk-[\w-]{8,}", re.I)


class Redact:
    """Knows some secrets, in all forms in which a server may say them back."""

    def __init__(self, secrets: Iterable[str]) -> None:
        forms: set[str] = set()
        for secret in filter(None, secrets):
            forms |= {secret, quote(secret), quote(secret, safe=""), quote_plus(secret)}
            forms |= {secret.replace("/", "\\/"), b64encode(secret.encode()).decode()}
        words = [
            re.escape(form) if len(form) >= SHORT else rf"(?<!\w){re.escape(form)}(?!\w)"
            for form in sorted(forms, key=len, reverse=True)
        ]
        self._secrets = re.compile("|".join(words), re.I) if words else None

    def __call__(self, text: str) -> str:
        if self._secrets is not None:
            text = self._secrets.sub("***", text)
        text = _LIKE_KEYS.sub(lambda match: f"{match.group(1) or ''}***", text)
        line = "".join(c if c.isprintable() else " " for c in text[: 8 * MAX_CHARS])
        return " ".join(line.split())[:MAX_CHARS]
