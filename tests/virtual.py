"""A real server of StableToolBench's `/virtual` protocol on loopback.

    with VirtualServer(documents, honest=True) as server:        # (tool_name, api_name) -> its api_list entry
        server.url, server.requests

An honest one holds arguments to the documents, as a real API does; the other says yes to everything, as a
language model asked for a plausible success does. `troubles` come first, one a request, None is none.
"""

import json
import threading
import time
from collections.abc import Iterable, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

Json = dict[str, Any]
FIELDS = {
    "category": str,
    "tool_name": str,
    "api_name": str,
    "tool_input": str | dict,
    "strip": str,
    "toolbench_key": str,
}


class VirtualServer:
    """Threads of its own; `requests` tells what came."""

    def __init__(
        self,
        documents: Mapping[tuple[str, str], Json],
        honest: bool = True,
        troubles: Iterable[int | float | str | None] = (),
    ) -> None:
        """A trouble is a status, a text to send as it is, or seconds (as a float) to wait."""
        self.documents = documents
        self.honest = honest
        self.troubles = list(troubles)
        self.requests: list[Json] = []
        self.headers: list[Json] = []
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(self))
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_address[1]}/virtual"

    def __enter__(self) -> "VirtualServer":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def answer(self, body: Json) -> Json:
        """`{error, response}`, as the original's server words them."""
        try:
            given = json.loads(body["tool_input"]) if body["tool_input"] else {}
        except ValueError:
            return {"error": "Tool input parse error...\n", "response": ""}
        document = self.documents.get((body["tool_name"], body["api_name"]))
        if document is None:
            return {"error": "API not working error...", "response": ""}
        wrong = self.honest and objection(document, given)
        if wrong:
            return {"error": "Message error...", "response": wrong}
        return {"error": "", "response": json.dumps({"api": document["api_name"], "asked": given})}


def objection(document: Json, given: Json) -> str:
    """What the function behind the API would raise."""
    parameters = {p["name"]: p for p in document["required_parameters"] + document["optional_parameters"]}
    for name in given:
        if name not in parameters:
            return f"{document['api_name']}() got an unexpected keyword argument '{name}'"
    for parameter in document["required_parameters"]:
        if parameter["name"] not in given:
            return f"missing 1 required positional argument: '{parameter['name']}'"
    for name, value in given.items():
        if isinstance(value, list | dict):
            return f"{name} is no {parameters[name]['type']}"
    return ""


def _handler(server: VirtualServer) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        timeout = 5
        disable_nagle_algorithm = True

        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            server.requests.append(body)
            server.headers.append(dict(self.headers))
            trouble = server.troubles.pop(0) if server.troubles else None
            if isinstance(trouble, float):
                time.sleep(trouble)
            elif isinstance(trouble, int):
                self.send(trouble, '{"detail": "no"}')
                return
            elif trouble is not None:
                self.send(200, trouble)
                return
            if self.path != "/virtual":
                self.send(404, '{"detail": "Not Found"}')
            elif any(not isinstance(body.get(key), kind) for key, kind in FIELDS.items()):
                self.send(422, '{"detail": "no such request"}')
            else:
                self.send(200, json.dumps(server.answer(body)))

        def send(self, status: int, text: str) -> None:
            try:
                self.send_response(status)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(text.encode())))
                self.end_headers()
                self.wfile.write(text.encode())
            except ConnectionError:  # a client that gave up
                self.close_connection = True

        def log_message(self, format: str, *args: Any) -> None:
            pass

    return Handler
