"""What an HTTP server answered, as what a model reads.

    ok, text = told(404, "application/json", b'{"detail": "no such movie"}')
    # False, {"error":"no such movie","status":404}

A good answer (2xx) is told as it came, JSON without blanks; as with every environment, an object with an
`error` in it counts as one. Any other answer is `{"error": the server's message, "status": n}` with what
else its JSON object says. Texts end after `MAX_BYTES`, with a note; what is no text is named, not shown.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import orjson

from tmcli.records import Json

MAX_BYTES = 65_536
"""Of a reply; tools in the sandbox may write as much."""
MAX_MESSAGE_CHARS = 500
_MESSAGES = ("message", "detail", "error_description", "status_message", "error", "errors", "title", "reason")
"""Where servers put their sentence, the likeliest first."""
_LONG = re.compile(rb"[:\[,]\s*-?\d{19,}\s*[,\]}]")
"""Whole numbers that would not survive being read: JSON with such ones is told as it was sent."""
_MARKUP = re.compile(r"<(script|style)\b.*?</\1>|<[^>]*>", re.DOTALL | re.IGNORECASE)


def told(
    status: int, media: str, data: bytes, cut: bool = False, clean: Callable[[str], str] = str
) -> tuple[bool, str]:
    """(was it a good answer, its text). `cut`: there was more than `data`; `clean` takes secrets out."""
    good = 200 <= status < 300
    if good and not data:
        return True, orjson.dumps({"status": status}).decode()
    value = None if cut else _json(data)
    text = _text(data, media, cut)
    if text is None:
        kind = media.partition(";")[0] or "data"
        text = orjson.dumps({"content": f"{'more than ' * cut}{len(data)} bytes of {kind}"}).decode()
    exact = value is None or _LONG.search(data)
    shown = clean(text if exact else orjson.dumps(value).decode())
    if good:
        return not (isinstance(value, dict) and bool(value.get("error"))), bounded(shown, cut)
    value = _json(shown.encode())
    return False, refusal(status, value if isinstance(value, dict | list | str) else shown)


def refusal(status: int, said: Any = None) -> str:
    """An error as the model reads it. `said`: the server's JSON, or its text."""
    rest: Json = dict(said) if isinstance(said, dict) else {}
    sentence = ""
    for key in _MESSAGES:
        if sentence := _sentence(rest.get(key)):
            del rest[key]
            break
    if not sentence and not rest:
        sentence = _sentence(said) or f"the server answers {status}"
    told = {"error": sentence or f"the server answers {status}", "status": status}
    more = {key: value for key, value in rest.items() if key not in told and value is not None}
    full = orjson.dumps({**told, **more}).decode()
    return full if len(full) <= 4 * MAX_MESSAGE_CHARS else orjson.dumps(told).decode()


def error(sentence: str) -> str:
    """An error of no server's, as the model reads it."""
    return orjson.dumps({"error": sentence}).decode()


def bounded(text: str, cut: bool = False) -> str:
    """The text as Unicode, ended after `MAX_BYTES`; `cut`: it was incomplete before."""
    data = text.encode("utf-8", "replace")
    if len(data) <= MAX_BYTES and not cut:
        return data.decode()
    length = "is longer" if cut else f"had {len(data)} bytes"
    return f"{data[:MAX_BYTES].decode('utf-8', 'ignore')}... (cut: the reply {length})"


def _sentence(said: Any) -> str:
    """The words of an error in whatever form it came: text, markup, object, or a list of these."""
    if isinstance(said, str):
        return " ".join(_MARKUP.sub(" ", said).split())[:MAX_MESSAGE_CHARS]
    if isinstance(said, list):
        return "; ".join(filter(None, map(_sentence, said[:5])))[:MAX_MESSAGE_CHARS]
    if not isinstance(said, dict):
        return ""
    words = next((text for key in (*_MESSAGES, "msg") if (text := _sentence(said.get(key)))), "")
    where = said.get("loc") or said.get("field") or said.get("path")
    if isinstance(where, list):
        where = ".".join(str(part) for part in where if part not in ("body", "query", "path", "header"))
    return f"{where}: {words}" if isinstance(where, str) and where and words else words


def _json(data: bytes) -> Any:
    try:
        return orjson.loads(data)
    except orjson.JSONDecodeError:
        return None


def _text(data: bytes, media: str, cut: bool) -> str | None:
    """The bytes as text in the charset the server names; None when they are none."""
    if b"\0" in data[:1024]:
        return None
    named = re.search(r"charset=\"?([\w.:-]+)", media)
    try:
        return data.decode(named.group(1) if named else "utf-8", "ignore" if cut else "strict")
    except LookupError:
        return data.decode("utf-8", "replace")
    except UnicodeDecodeError:
        return data.decode("latin-1") if media.startswith("text/") else None
