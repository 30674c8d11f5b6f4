"""A real web service on loopback for tests: it serves an OpenAPI document's paths as a stranger would.

    with WebService("tmdb_oas.json", key="secret") as service:      # or python tests/services.py FILE
        service.url, service.requests

It reads the document by itself, with none of tm's code: routes by path, checks `api_key` and the query's
required and integer parameters, and answers with the document's examples. `troubles` come first, one a
request, None is none.
"""

from __future__ import annotations

import json
import re
import socket
import struct
import sys
import threading
import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote

Json = dict[str, Any]


@dataclass(frozen=True)
class Oops:
    """What goes wrong with one request."""

    status: int = 200
    body: str | bytes = "{}"
    headers: dict[str, str] = field(default_factory=dict)
    reset: bool = False
    """The connection is reset in the middle of the body."""
    delay_s: float = 0.0
    """Wait first."""


@dataclass(frozen=True)
class Seen:
    """One request."""

    method: str
    target: str
    headers: Json
    body: str
    at: float

    @property
    def path(self) -> str:
        return self.target.partition("?")[0]

    @property
    def query(self) -> dict[str, list[str]]:
        return parse_qs(self.target.partition("?")[2], keep_blank_values=True)


class WebService:
    """An HTTP server in threads of its own."""

    def __init__(
        self, document: Path | Json | None = None, key: str = "", troubles: Iterable[Oops | None] = ()
    ) -> None:
        loaded = json.loads(Path(document).read_bytes()) if isinstance(document, Path) else document or {}
        self.document = loaded
        self.key = key
        self.troubles = list(troubles)
        self.requests: list[Seen] = []
        self.lock = threading.Lock()
        self.routes = [
            (re.compile(re.sub(r"\\\{[^}]*\\\}", "([^/]+)", re.escape(path))), item)
            for path, item in sorted(loaded.get("paths", {}).items(), key=lambda pair: pair[0].count("{"))
        ]
        self._server = _Server(("127.0.0.1", 0), _handler(self))
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    def __enter__(self) -> WebService:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def trouble(self, seen: Seen) -> Oops | None:
        with self.lock:
            self.requests.append(seen)
            return self.troubles.pop(0) if self.troubles else None

    def answer(self, seen: Seen) -> Oops:
        """As TMDB answers: its own words for a wrong key, path or argument."""
        if not self.document:
            said = {"method": seen.method, "target": seen.target, "headers": seen.headers, "body": seen.body}
            return Oops(body=json.dumps(said))
        if self.key and seen.query.get("api_key") != [self.key]:
            said = f"Invalid API key {seen.query.get('api_key', [''])[0]}: You must be granted a valid key."
            return _refused(401, 7, said)
        for pattern, item in self.routes:
            if (match := pattern.fullmatch(seen.path)) and seen.method.lower() in item:
                return self._found(item, seen, [unquote(value) for value in match.groups()])
        return _refused(404, 34, "The resource you requested could not be found.")

    def _found(self, item: Json, seen: Seen, values: list[str]) -> Oops:
        operation = item[seen.method.lower()]
        described = [*item.get("parameters", []), *operation.get("parameters", [])]
        names = [p["name"] for p in described if p["in"] == "path"]
        for parameter, value in [
            *((p, v) for p, v in zip([p for p in described if p["in"] == "path"], values, strict=False)),
            *((p, v) for p in described if p["in"] == "query" for v in seen.query.get(p["name"], [])),
        ]:
            if parameter["schema"].get("type") == "integer" and not value.isdecimal():
                return _refused(400, 5, f"Invalid parameters: {parameter['name']} must be an integer.")
        for parameter in described:
            if (
                parameter["in"] == "query"
                and parameter.get("required")
                and parameter["name"] not in seen.query
            ):
                return _refused(400, 5, f"Invalid parameters: {parameter['name']} must be provided.")
        assert len(names) <= len(values) or "{" not in "".join(names)
        content = operation["responses"]["200"]["content"]["application/json"]
        return Oops(body=json.dumps(next(iter(content["examples"].values()))["value"], indent=1))


def _refused(status: int, code: int, message: str) -> Oops:
    return Oops(status, json.dumps({"success": False, "status_code": code, "status_message": message}))


class _Server(ThreadingHTTPServer):
    request_queue_size = 128
    daemon_threads = False  # joined when the server closes, so that no socket outlives a test

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Clients that gave up are part of the tests."""
        if not isinstance(sys.exc_info()[1], ConnectionError):
            super().handle_error(request, client_address)


def _handler(service: WebService) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        timeout = 2
        disable_nagle_algorithm = True

        def handle_any(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0)).decode("utf-8", "replace")
            headers = {name.lower(): text for name, text in self.headers.items()}
            seen = Seen(self.command, self.path, headers, body, time.monotonic())
            trouble = service.trouble(seen)
            if trouble is not None:
                time.sleep(trouble.delay_s)
            self.send(trouble or service.answer(seen))

        do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = do_HEAD = handle_any  # noqa: N815  their names

        def send(self, oops: Oops) -> None:
            data = oops.body.encode() if isinstance(oops.body, str) else oops.body
            length = len(data) + 1000 if oops.reset else len(data)
            self.send_response(oops.status)
            for name, value in {
                "Content-Length": str(length),
                "Content-Type": "application/json",
                **oops.headers,
            }.items():
                self.send_header(name, value)
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(data)
            if oops.reset:
                self.wfile.flush()
                # Linger 0: close sends a reset instead of an end.
                self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                self.connection.close()
                self.close_connection = True

        def log_message(self, format: str, *args: Any) -> None:
            pass

    return Handler


if __name__ == "__main__":
    with WebService(Path(sys.argv[1]) if len(sys.argv) > 1 else None) as running:
        print(running.url, flush=True)
        sys.stdin.read()
