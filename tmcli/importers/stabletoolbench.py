"""StableToolBench (arXiv 2403.07714): solvable ToolBench queries, each with its APIs, as a JSON array.

    [{"query": ..., "query_id": 588, "relevant APIs": [["Vimeo", "SearchVideos"]], "api_list": [
        {"category_name": ..., "tool_name": ..., "api_name": ..., "api_description": ...,
         "required_parameters": [{"name", "type", "description", "default"}], "optional_parameters": [...]}]}]

Tools and parameters are named as ToolBench's own client names them: `{api}_for_{tool}` in lower case, and of
that the last 64 characters (the first where two end alike). Descriptions end after 256 characters, as there.
NUMBER is a number, where there it is an integer; the default of a required parameter is an example, for it
is never filled in. There is no gold answer: `ground_truth` is the names of the relevant tools.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import orjson

from tmcli import streams
from tmcli.errors import InputError
from tmcli.records import Json, Task, from_json, new_task, to_json

SERVER = "http://localhost:8080/virtual"
MAX_NAME = 64
MAX_DESCRIPTION = 256

_TYPES: dict[str, Json] = {
    "STRING": {"type": "string"},
    "NUMBER": {"type": "number"},
    "BOOLEAN": {"type": "boolean"},
    "DATE (YYYY-MM-DD)": {"type": "string", "format": "date"},
}
"""The rest (ENUM without its values, ARRAY and OBJECT written as text...) are strings, as there."""
_WORDS = {"from", "class", "return", "false", "true", "id", "and"}
"""Names that ToolBench puts `is_` before: they are none in Python."""
_FIX = "correct or drop the row"


def read(path: str, server: str | None = None) -> Iterator[Task]:
    """The tasks of a file, or of stdin (`-`), for a server of the `/virtual` protocol."""
    source = streams.open_source(path)
    url = server or SERVER
    if re.fullmatch(r"https?://[^/]+/?", url):
        url = f"{url.rstrip('/')}/virtual"

    def tasks() -> Iterator[Task]:
        try:
            for number, row in enumerate(_rows(source), 1):
                try:
                    yield _task(row, url, Path(source.name), number)
                except InputError as error:
                    raise error.at(source.name, number) from error
        finally:
            source.close()

    return tasks()


def _rows(source: streams.Source) -> list[Any]:
    try:
        rows = orjson.loads(b"".join(streams.lines(source)))
    except orjson.JSONDecodeError as error:
        raise InputError(f"not JSON: {error}", "get the file again", source=source.name) from error
    if not isinstance(rows, list):
        raise InputError("no JSON array of queries", "get the file again", source=source.name)
    return rows


def _task(row: Any, url: str, file: Path, number: int) -> Task:
    if not isinstance(row, dict) or not isinstance(row.get("query"), str):
        raise InputError("no text that asks", _FIX, field="query")
    listed = row.get("api_list")
    if not isinstance(listed, list) or not listed:
        raise InputError("no array of APIs", _FIX, field="api_list")
    tools: list[Json] = []
    apis: dict[str, Json] = {}
    shown: dict[tuple[str, str], str] = {}
    for i, api in enumerate(listed):
        names = _names(api, f"api_list[{i}]")
        if names in shown:  # listed twice
            continue
        name = _unique(f"{standard(names[1])}_for_{standard(names[0])}", apis)
        shown[names] = name
        apis[name] = {
            "category": api["category_name"],
            "tool_name": standard(names[0]),
            "api_name": standard(names[1]),
        }
        tools.append(_tool(name, api, f"api_list[{i}]"))
    relevant = _relevant(row.get("relevant APIs"), shown)
    task = new_task(
        messages=[{"role": "user", "content": row["query"]}],
        tools=tools,
        env={"kind": "stabletoolbench", "url": url, "apis": apis},
        answer=[],
        check="judge",
        tags={"dataset": "stabletoolbench", "group": file.stem, "hops": len(relevant), "drift": []},
        source=f"stabletoolbench:{file.name}:{number}",
        extra={"ground_truth": relevant},
    )
    from_json(to_json(task))  # other people's data: every field is checked
    return task


def standard(name: str) -> str:
    """A name as ToolBench writes it.

    >>> [standard(name) for name in ("Get User's ID", "24h Weather", "id")]
    ['get_user_s_id', 'get_24h_weather', 'is_id']
    """
    made = re.sub(r"_+", "_", re.sub(r"[^\u4e00-\u9fa5a-zA-Z0-9_^]", "_", name)).lower().strip("_")
    if made[:1].isdigit():
        made = f"get_{made}"
    return f"is_{made}" if made in _WORDS else made


def _names(api: Any, field: str) -> tuple[str, str]:
    """Whose API it is and what it is called there."""
    for part in ("category_name", "tool_name", "api_name"):
        if not isinstance(api, dict) or not isinstance(api.get(part), str) or not api[part]:
            raise InputError("no text", _FIX, field=f"{field}.{part}")
    return api["tool_name"], api["api_name"]


def _unique(name: str, taken: dict[str, Json]) -> str:
    fitting = re.sub(r"[^a-z0-9_-]", "_", name)
    numbered = (f"{fitting[: MAX_NAME - 4]}_{n}" for n in range(2, 1000))
    return next(made for made in (fitting[-MAX_NAME:], fitting[:MAX_NAME], *numbered) if made not in taken)


def _tool(name: str, api: Json, field: str) -> Json:
    properties: dict[str, Json] = {}
    required: list[str] = []
    for part in ("required_parameters", "optional_parameters"):
        parameters = api.get(part) or []
        if not isinstance(parameters, list):
            raise InputError("no array of parameters", _FIX, field=f"{field}.{part}")
        for i, parameter in enumerate(parameters):
            if not isinstance(parameter, dict) or not isinstance(parameter.get("name"), str):
                raise InputError("a parameter without a name", _FIX, field=f"{field}.{part}[{i}]")
            key = standard(parameter["name"]) or parameter["name"]
            if key in properties:  # some are listed twice
                continue
            properties[key] = _schema(parameter, "examples" if part == "required_parameters" else "default")
            if part == "required_parameters":
                required.append(key)
    about = str(api.get("api_description") or "").strip()[:MAX_DESCRIPTION]
    schema = {"type": "object", "properties": properties, "required": required}
    described = about or f"{api['api_name']} of {api['tool_name']}"
    return {"type": "function", "function": {"name": name, "description": described, "parameters": schema}}


def _schema(parameter: Json, as_what: str) -> Json:
    schema = dict(_TYPES.get(str(parameter.get("type") or "").upper(), {"type": "string"}))
    if about := str(parameter.get("description") or "").strip()[:MAX_DESCRIPTION]:
        schema["description"] = about
    value = _typed(schema["type"], parameter.get("default"))
    if value is not None:
        schema[as_what] = [value] if as_what == "examples" else value
    return schema


def _typed(kind: str, value: Any) -> Any:
    """A default in its type: they are written as text. None where there is none, or it has another type."""
    if kind == "string":
        text = value if isinstance(value, str) else orjson.dumps(value).decode()
        return None if value is None else text or None
    if isinstance(value, str):
        try:
            value = orjson.loads(value.strip().lower())
        except orjson.JSONDecodeError:
            return None
    fits = isinstance(value, bool) if kind == "boolean" else isinstance(value, int | float)
    return value if fits and (kind == "boolean" or not isinstance(value, bool)) else None


def _relevant(pairs: Any, shown: dict[tuple[str, str], str]) -> list[str]:
    field = "relevant APIs"
    if not isinstance(pairs, list):
        raise InputError("no array of pairs", _FIX, field=field)
    found = []
    for pair in pairs:
        name = shown.get(tuple(pair)) if isinstance(pair, list) and len(pair) == 2 else None
        if name is None:
            raise InputError(f"{pair!r} is not in the list of APIs", _FIX, field=field)
        found.append(name)
    return found
