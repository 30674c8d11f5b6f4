"""MCP servers as processes, for tests and benchmarks.

python tests/mcp_server.py stdio            written with the SDK's server class
python tests/mcp_server.py http             the same over streamable HTTP; says its port on stdout
python tests/mcp_server.py small WORD...    no SDK, starts at once, and does what the words say wrong
"""

import asyncio
import json
import os
import signal
import subprocess
import sys
import time
from typing import Any

SMALL_TOOLS = (
    "echo", "exit", "mute", "nonsense", "long", "surrogate", "pid", "child", "environment", "error",
)  # fmt: skip


def build() -> Any:
    import mcp_types as types
    from mcp.server.mcpserver import Context, Image, MCPServer
    from mcp.server.mcpserver.exceptions import ToolError

    server = MCPServer("tests", log_level="CRITICAL")
    counts: dict[str, int] = {}
    together: dict[int, asyncio.Event] = {}
    waiting: dict[int, int] = {}

    @server.tool()
    def add(a: int, b: int = 2) -> int:
        """Add two numbers."""
        return a + b

    @server.tool()
    def greet(name: str) -> str:
        return f"Hello {name}"

    @server.tool(name="get.books", description="All books.")
    def books() -> list[dict[str, Any]]:
        return [{"title": "Emma"}, {"title": "Dune"}]

    @server.tool()
    def nothing() -> None:
        pass

    @server.tool()
    def fail(reason: str) -> str:
        raise ToolError(reason)

    @server.tool()
    def refuse() -> str:
        from mcp.shared.exceptions import MCPError

        raise MCPError(-32000, "no more today")

    @server.tool()
    async def slow(seconds: float) -> str:
        await asyncio.sleep(seconds)
        return "at last"

    @server.tool()
    async def meet(n: int) -> str:
        """Answers when `n` callers are here at once."""
        event = together.setdefault(n, asyncio.Event())
        waiting[n] = waiting.get(n, 0) + 1
        if waiting[n] == n:
            event.set()
        await event.wait()
        return "met"

    @server.tool()
    async def echo_after(text: str, seconds: float) -> str:
        await asyncio.sleep(seconds)
        return text

    @server.tool()
    def big(n: int) -> str:
        return "x" * n

    @server.tool()
    def picture() -> Image:
        return Image(data=b"\x89PNG" * 3, format="png")

    @server.tool()
    def parts() -> types.CallToolResult:
        blob = types.BlobResourceContents(uri="file:///b.pdf", mime_type="application/pdf", blob="QUJD")
        text = types.TextResourceContents(uri="file:///a.txt", text="inside")
        return types.CallToolResult(
            content=[
                types.TextContent(text='{"a": 1}'),
                types.TextContent(text="plain"),
                types.ImageContent(data="QUJD", mime_type="image/png"),
                types.EmbeddedResource(resource=text),
                types.EmbeddedResource(resource=blob),
                types.ResourceLink(uri="file:///c.txt", name="c"),
            ]
        )

    @server.tool()
    def structured(wrong: bool = False) -> types.CallToolResult:
        return types.CallToolResult(content=[], structured_content={"rows": [1, 2]}, is_error=wrong)

    @server.tool()
    def count(ctx: Context) -> int:
        """How often this was called in this session."""
        session = (ctx.headers or {}).get("mcp-session-id", "")
        counts[session] = counts.get(session, 0) + 1
        return counts[session]

    @server.tool()
    async def ask(ctx: Context, what: str) -> str:
        """Ask the client for something, and say what it said."""
        from pydantic import BaseModel

        class Form(BaseModel):
            name: str

        try:
            if what == "input":
                await ctx.elicit("Who are you?", Form)
            elif what == "roots":
                await ctx.session.list_roots()
            else:
                hello = types.SamplingMessage(role="user", content=types.TextContent(text="Hi"))
                await ctx.session.create_message([hello], max_tokens=5)
        except Exception as error:  # noqa: BLE001 - whatever it is, it is the reply
            return f"{type(error).__name__}: {error}"
        return "yes"

    @server.tool()
    def header(ctx: Context, name: str) -> str:
        return (ctx.headers or {}).get(name, "")

    return server


async def http() -> None:
    import uvicorn

    config = uvicorn.Config(build().streamable_http_app(), port=0, log_level="critical")
    server = uvicorn.Server(config)
    serving = asyncio.create_task(server.serve())
    while not server.started:  # noqa: ASYNC110 - it has no event
        await asyncio.sleep(0.01)
    print(server.servers[0].sockets[0].getsockname()[1], flush=True)
    await serving


# ---- without the SDK -----------------------------------------------------------------------------


def small(words: list[str]) -> None:
    """JSON-RPC by hand. Words: what goes wrong."""
    if "stay" in words:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    if "words" in words:
        print(f"cannot open the database with key {os.environ.get('KEY', '')}", file=sys.stderr, flush=True)
        sys.exit(4)
    if "garbage" in words:
        print("Welcome!\n\n{not json}", flush=True)
    if "flood" in words:
        while True:
            print("garbage " * 10, flush=True)
    for line in sys.stdin:
        asked = json.loads(line)
        if "id" not in asked or "mute" in words:
            continue
        answer = small_answer(asked, words)
        if answer is not None:
            say({"jsonrpc": "2.0", "id": asked["id"], **answer})
    while "stay" in words:
        time.sleep(1)


def say(message: dict[str, Any]) -> None:
    sys.stdout.write(json.dumps(message) + "\n")
    sys.stdout.flush()


def small_answer(asked: dict[str, Any], words: list[str]) -> dict[str, Any] | None:
    method, params = asked["method"], asked.get("params", {})
    if method == "initialize":
        if "modern" in words:
            wrong = {"supported": ["2026-07-28"], "requested": "2025-11-25"}
            return {"error": {"code": -32022, "message": "too old", "data": wrong}}
        if "refuse" in words:
            return {"error": {"code": -32603, "message": "no licence"}}
        version = "1999-01-01" if "old" in words else params["protocolVersion"]
        info = {"name": "small", "version": "1"}
        return {"result": {"protocolVersion": version, "capabilities": {"tools": {}}, "serverInfo": info}}
    if method == "server/discover":
        if "modern" not in words:
            return {"error": {"code": -32601, "message": "Method not found"}}
        return {
            "result": {
                "supportedVersions": ["2026-07-28"],
                "capabilities": {"tools": {}},
                "resultType": "complete",
                "ttlMs": 0,
                "cacheScope": "public",
            }
        }
    if method == "tools/list":
        if "leave" in words:
            print("so long", file=sys.stderr, flush=True)
            sys.exit(0)
        first = "cursor" not in params
        names = SMALL_TOOLS[:2] if first else SMALL_TOOLS[2:]  # in two pages
        tools = [{"name": name, "inputSchema": {"type": "object"}} for name in names]
        more = {"nextCursor": "2"} if first else {}
        modern = {"resultType": "complete", "ttlMs": 0, "cacheScope": "public"} if "modern" in words else {}
        return {"result": {"tools": tools, **more, **modern}}
    if method != "tools/call":
        return {"error": {"code": -32601, "message": "Method not found"}}
    arguments = params.get("arguments", {})
    match params["name"]:
        case "exit":
            print("the disk is full", file=sys.stderr, flush=True)
            sys.exit(3)
        case "environment":
            return text(json.dumps({"environment": dict(os.environ), "folder": os.getcwd()}))
        case "mute":
            return None
        case "nonsense":
            return {"result": {"content": "text"}}
        case "long":
            return text("x" * arguments["n"])
        case "surrogate":
            return text("a\ud800b")
        case "pid":
            return text(str(os.getpid()))
        case "child":
            # inherits stdout as well: it holds the pipe open
            child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
            return text(str(child.pid))
        case "error":
            return {"error": {"code": -32602, "message": "Invalid params: a is missing"}}
        case "echo":
            return text(json.dumps(arguments))
    return {"error": {"code": -32602, "message": f"Unknown tool: {params['name']}"}}


def text(said: str) -> dict[str, Any]:
    return {"result": {"content": [{"type": "text", "text": said}], "resultType": "complete"}}


if __name__ == "__main__":
    if sys.argv[1] == "stdio":
        build().run("stdio")
    elif sys.argv[1] == "http":
        asyncio.run(http())
    else:
        small(sys.argv[2:])
