"""Do the files of a toolbox belong together: `tools.json`, `tools.py`, `tasks.py`? Read, not run."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tmcli.errors import InputError, did_you_mean
from tmcli.records import Json
from tmcli.signatures import Function, Source
from tmcli.steps.tools import schemas
from tmcli.toolbox import CLASSES, SPLITS

KEYS = ("name", "split", "about", "classes", "tools")


def spec_of(place: Path, shown: str) -> Json:
    """What `tools.json` holds; `shown` is how the folder is called. Raises `InputError`."""
    file = f"{shown}/tools.json"
    try:
        spec = json.loads((place / "tools.json").read_text("utf-8"))
    except OSError as error:
        raise InputError(f"cannot be read: {error.strerror}", "write it", source=file) from error
    except json.JSONDecodeError as error:
        raise InputError(f"not JSON: {error.msg}", "correct it", source=file, line=error.lineno) from error
    except UnicodeDecodeError as error:
        raise InputError(f"byte {error.start + 1} is not UTF-8", "save it as UTF-8", source=file) from error
    if not isinstance(spec, dict):
        raise InputError("holds no JSON object", 'write {"name": ..., "tools": [...]}', source=file)
    return spec


def faults(spec: Json, written: Source, shown: str) -> Iterator[InputError]:
    """Where the two files are wrong, or say different things."""
    for field, problem, remedy in _spec(spec):
        yield InputError(problem, remedy, field=field, source=f"{shown}/tools.json")
    yield from schemas.faults(spec.get("tools"), f"{shown}/tools.json")
    file = f"{shown}/tools.py"
    for fault in written.faults:
        yield moved(fault, file)
    tools = {str(tool.get("name")): tool for tool in functions(spec)}
    for name, tool in tools.items():
        function = written.functions.get(name)
        if function is None:
            remedy = did_you_mean(name, written.functions) if written.functions else "define it"
            yield InputError("is not defined", remedy, field=name, source=file)
            continue
        for field, problem, remedy in _unlike(tool, function):
            yield InputError(problem, remedy, field=field, source=file, line=function.line)
    for name, function in written.functions.items():
        if name not in tools:
            remedy = "list it there, or let its name begin with _"
            yield InputError("is not in tools.json", remedy, field=name, source=file, line=function.line)


def runnable(spec: Json, written: Source) -> list[Json]:
    """The tools that can be called, whatever else may be wrong with them."""
    found: Json = {}
    for tool in functions(spec):
        function = written.functions.get(str(tool.get("name")))
        parameters: Any = tool.get("parameters")
        properties = parameters.get("properties") if isinstance(parameters, dict) else None
        if function and isinstance(properties, dict) and properties.keys() == function.parameters.keys():
            found.setdefault(function.name, {"type": "function", "function": tool})
    return list(found.values())


def moved(error: InputError, source: str) -> InputError:
    """The same error about a file as it is called here."""
    return InputError(error.problem, error.remedy, field=error.field, source=source, line=error.line)


def functions(spec: Json) -> list[Json]:
    """The function schemas, as far as they are some."""
    tools = spec.get("tools")
    functions = (
        [tool.get("function") for tool in tools if isinstance(tool, dict)] if isinstance(tools, list) else []
    )
    return [function for function in functions if isinstance(function, dict)]


def _spec(spec: Json) -> Iterator[tuple[str, str, str]]:
    for key in spec:
        if key not in KEYS:
            yield key, "is not known here", did_you_mean(key, KEYS)
    for key in ("name", "about"):
        if not isinstance(spec.get(key), str) or not spec[key].strip():
            yield key, "is missing or no text", f'add "{key}": "..."'
    if spec.get("split") not in (*SPLITS, "own"):
        yield "split", f"is {spec.get('split')!r}", 'write "own", or "seen" or "unseen" for the suites of tm'
    classes = spec.get("classes")
    if not isinstance(classes, dict):
        yield "classes", "is missing or no object", 'add "classes": {"find_it": "search", ...}'
        return
    names = [str(function.get("name")) for function in functions(spec)]
    for name in names:
        if name not in classes:
            yield f"classes.{name}", "has no function class", f"say one of: {', '.join(CLASSES)}"
    for name, word in classes.items():
        if name not in names:
            yield f"classes.{name}", "is no tool", did_you_mean(name, names)
        if word not in CLASSES:
            yield f"classes.{name}", f"{word!r} is no function class", did_you_mean(str(word), CLASSES)


def _unlike(tool: Json, function: Function) -> Iterator[tuple[str, str, str]]:
    """Where a function's parameters are not those of its schema."""
    parameters: Any = tool.get("parameters")
    parameters = parameters if isinstance(parameters, dict) else {}
    documented = parameters.get("properties")
    documented = documented if isinstance(documented, dict) else {}
    required = parameters.get("required")
    required = required if isinstance(required, list) else []
    name = function.name
    for key in documented:
        if key not in function.parameters:
            remedy = (
                did_you_mean(key, function.parameters) if function.parameters else "add it, or drop it there"
            )
            yield f"{name}.{key}", "is in tools.json and no parameter of the function", remedy
    for key in function.parameters:
        if key not in documented:
            yield f"{name}.{key}", "is not in tools.json", "add it there, or drop it here"
        elif key not in function.defaults and key not in required:
            yield f"{name}.{key}", "has no default, yet tools.json does not require it", "add it to required"
        elif key in function.defaults and key in required:
            yield f"{name}.{key}", "has a default, yet tools.json requires it", "drop one of the two"
