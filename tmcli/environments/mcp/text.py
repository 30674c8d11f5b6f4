"""What MCP servers call and answer, in the words our records have: tool names, schemas, replies."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable
from typing import Any

import mcp_types

from tmcli.records import Json

MAX_NAME = 64
"""What OpenAI-compatible servers take as a tool's name: so many of `[a-zA-Z0-9_-]`."""


def shown(names: Iterable[str], room: int = MAX_NAME) -> dict[str, str]:
    """Each tool's own name -> one of at most `room` characters that model servers take. Fitting ones stay.

    >>> shown(["get.x", "a b", "get_x"])
    {'get_x': 'get_x', 'get.x': 'get_x_e8860c61', 'a b': 'a_b'}
    """
    fitting = re.compile(rf"[a-zA-Z0-9_-]{{1,{room}}}")
    own = list(dict.fromkeys(names))
    named = {name: name for name in own if fitting.fullmatch(name)}
    taken = set(named)
    for name in own:
        if name not in named:
            made = re.sub(r"[^a-zA-Z0-9_-]", "_", name)
            if made in taken or not fitting.fullmatch(made):
                made = f"{made[: room - 9]}_{hashlib.sha256(name.encode()).hexdigest()[:8]}"
            named[name] = made
            taken.add(made)
    return named


def schema(name: str, tool: mcp_types.Tool) -> Json:
    """The tool as an OpenAI function schema."""
    told = tool.description or tool.title or ""
    return {
        "type": "function",
        "function": {"name": name, "description": told, "parameters": tool.input_schema},
    }


def error(sentence: str) -> str:
    return json.dumps({"error": sentence}, ensure_ascii=False)


def told(result: mcp_types.CallToolResult | mcp_types.InputRequiredResult) -> tuple[bool, str]:
    """Is it a result, and its text for the model.

    One text is that text as it is; several parts are a JSON list. Structured content stands in where there
    is no text: servers send the same in both. A failure is `{"error": text}` unless it has that form already.
    """
    if isinstance(result, mcp_types.InputRequiredResult):
        return False, error("the tool asks its user for input, and there is none")
    parts: list[Any] = [_part(block) for block in result.content]
    if result.structured_content is not None and not any(isinstance(part, str) for part in parts):
        parts.insert(0, result.structured_content)
    if not parts:
        text = "null"
    elif len(parts) > 1:
        text = json.dumps([_value(part) for part in parts], ensure_ascii=False)
    else:
        text = parts[0] if isinstance(parts[0], str) else json.dumps(parts[0], ensure_ascii=False)
    if not result.is_error:
        return True, text
    value = _value(text)
    return False, text if isinstance(value, dict) and "error" in value else error(text)


def _part(block: mcp_types.ContentBlock) -> str | Json:
    match block:
        case mcp_types.TextContent():
            return block.text
        case mcp_types.EmbeddedResource(resource=mcp_types.TextResourceContents(text=text)):
            return text
        case mcp_types.EmbeddedResource(resource=resource):
            kind, size, name = resource.mime_type, len(getattr(resource, "blob", "")), resource.uri
            return {"not_shown": name, "type": kind or "unknown", "bytes": size * 3 // 4}
        case mcp_types.ResourceLink():
            return {"not_shown": block.uri, "type": block.mime_type or "unknown", "name": block.name}
        case _:
            return {"not_shown": block.type, "type": block.mime_type, "bytes": len(block.data) * 3 // 4}


def _value(part: Any) -> Any:
    """JSON text of an object or list as what it says; anything else as it is."""
    if isinstance(part, str) and part.lstrip()[:1] in ("{", "["):
        try:
            return json.loads(part)
        except (ValueError, RecursionError):
            return part
    return part
