"""RestBench (arXiv 2306.06624): questions to a real web service, with the paths that answer them.

    [{"query": "Who directed the top-1 rated movie?",
      "solution": ["GET /movie/top_rated", "GET /movie/{movie_id}/credits"]}, ...]

`tmdb.json` is read together with its OpenAPI document, `tmdb_oas.json` beside it (or in `../specs/`, as in
RestBench's repository); a folder is read as all its pairs. Every task has all operations of the document as
its tools, over `server`, else the document's own. RestBench has no gold answers: the solution is the
record's `ground_truth`, in the document's spelling (blanks and the names inside braces differ in places), and
its `path` names the tools of the same. Paths that the document does not have are kept, and named in the tag
`undocumented`; no tool calls them, so they are null in `path`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import orjson

from tmcli import streams
from tmcli.environments.openapi import Document, load
from tmcli.errors import InputError
from tmcli.records import Json, Task, from_json, new_task, to_json

DOCUMENT = "{}_oas.json"


def read(path: str, server: str | None = None) -> Iterator[Task]:
    """The tasks of a file, or of all files of a folder. Raises `InputError` when a document is missing."""
    folder = Path(path)
    if path == "-":
        raise InputError("RestBench cannot be read from stdin", "name its file: the document lies beside it")
    if not folder.is_dir():
        return _tasks(path, server)
    files = [file for file in sorted(folder.glob("*.json")) if _beside(file)]
    if not files:
        remedy = "name RestBench's tmdb.json, with tmdb_oas.json beside it"
        raise InputError("the folder has no NAME.json with NAME_oas.json beside it", remedy, source=path)
    parts = [_tasks(str(file), server) for file in files]
    return (task for part in parts for task in part)


def _beside(file: Path) -> Path | None:
    name = DOCUMENT.format(file.stem)
    places = (file.with_name(name), file.parent.parent / "specs" / name)
    return next((place for place in places if place.is_file()), None)


def _document(path: str) -> Document:
    found = _beside(Path(path))
    if found is None:
        problem = f"its OpenAPI document {DOCUMENT.format(Path(path).stem)} is not beside it"
        raise InputError(problem, "put it there", source=path)
    return load(str(found))


def _tasks(path: str, server: str | None) -> Iterator[Task]:
    source = streams.open_source(path)
    try:
        rows = orjson.loads(source.file.read())
    except orjson.JSONDecodeError as error:
        raise InputError(f"not JSON: {error}", "get the file again", source=source.name) from error
    finally:
        source.close()
    if not isinstance(rows, list):
        raise InputError("no JSON array of questions", "name RestBench's tmdb.json", source=source.name)
    document = _document(path)
    known = {
        _shape(f"{o.method} {o.path}"): (f"{o.method} {o.path}", n) for n, o in document.operations.items()
    }

    def tasks() -> Iterator[Task]:
        for number, row in enumerate(rows, 1):
            try:
                yield _task(row, document, known, server, f"restbench:{Path(source.name).name}:{number}")
            except InputError as error:
                raise error.at(source.name, number) from error

    return tasks()


def _task(
    row: Any, document: Document, known: dict[str, tuple[str, str]], server: str | None, name: str
) -> Task:
    query, paths = (row.get(key) if isinstance(row, dict) else None for key in ("query", "solution"))
    if not isinstance(query, str) or not query.strip():
        raise InputError("no question", "correct or drop the row", field="query")
    if not isinstance(paths, list) or not all(isinstance(path, str) for path in paths):
        raise InputError(
            'no array of paths like "GET /movie/{movie_id}"', "correct the row", field="solution"
        )
    unknown = [path for path in paths if _shape(path) not in known]
    if paths and len(unknown) == len(paths):
        problem = f"{document.path} has none of its paths ({', '.join(paths)})"
        raise InputError(problem, "is it the document of these questions?", field="solution")
    env: Json = {"kind": "http", "openapi": document.path, **({"base_url": server} if server else {})}
    task = new_task(
        messages=[{"role": "user", "content": query}],
        tools=document.tools,
        env=env,
        answer=[],
        check="judge",
        tags={
            "dataset": "restbench",
            "hops": len(paths),
            "drift": [],
            **({"undocumented": unknown} if unknown else {}),
        },
        source=name,
        extra={
            "ground_truth": [known.get(_shape(path), (path.strip(), None))[0] for path in paths],
            "path": [known.get(_shape(path), ("", None))[1] for path in paths],
        },
    )
    from_json(to_json(task))  # other people's data: every field is checked
    return task


def _shape(path: str) -> str:
    """A path without what may differ: blanks around it, and the names of its parameters.

    >>> _shape(" GET /movie/{movie_id} ")
    'GET /movie/{}'
    """
    method, _, rest = path.strip().partition(" ")
    return f"{method.upper()} {re.sub(r'[{][^}]*[}]', '{}', rest.strip())}"
