"""The page itself: `page.html` filled by jinja2, which escapes all that is no part of it.

Its policy (CSP) lets the browser load nothing, and run only the script and the style whose hashes it names.
"""

from __future__ import annotations

import base64
import hashlib
import importlib.util
from collections.abc import Iterator
from importlib import resources
from pathlib import PurePath
from typing import Any

from tmcli.console import safe
from tmcli.errors import UsageError
from tmcli.records import Json, Run
from tmcli.report.books import Books
from tmcli.report.html.charts import charts
from tmcli.report.html.episodes import Episodes
from tmcli.report.html.view import COLUMNS
from tmcli.report.summary import Group

NOT_TOLD = {"files"}
"""Options that the page says elsewhere."""


def check() -> None:
    """Raises `UsageError` where a library that draws or fills the page is missing."""
    missing = [name for name in ("jinja2", "matplotlib") if importlib.util.find_spec(name) is None]
    if missing:
        raise UsageError(f"--html needs {' and '.join(missing)}", "pip install 'tmcli[report]'")


def page(run: Run, books: Books, episodes: Episodes) -> Iterator[bytes]:
    """Part by part: the file is never whole in memory."""
    import jinja2
    from markupsafe import Markup

    groups = books.summary.groups()
    environment = jinja2.Environment(
        autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True,
        finalize=_shown,
    )  # fmt: skip
    style, script = _text("page.css"), _text("page.js")
    pictures = [
        {"title": chart.title, "note": chart.note, "svg": Markup(chart.svg)}  # noqa: S704 - drawn here
        for chart in charts(groups, run.metrics, episodes.faults, episodes.runs)
    ]
    files = [str(file) for file in run.options.get("files") or []]
    first, *further = books.tables()
    header, rows = first.header, first.rows
    parts = environment.from_string(_text("page.html")).generate(
        title=", ".join("stdin" if file == "-" else PurePath(file).name for file in files) or "tm eval",
        policy=f"default-src 'none'; script-src {_hash(script)}; style-src {_hash(style)};"
        " base-uri 'none'; form-action 'none'",
        style=Markup(style),  # noqa: S704 - ours
        script=Markup(script),  # noqa: S704 - ours
        cards=[_card(group) for group in groups if group.total],
        header=header,
        rows=[
            {"cells": row, "total": group.total and len(rows) > 1}
            for row, group in zip(rows, groups, strict=True)
        ],
        n_words=sum(name in groups[0].by for name in header),
        further=further,
        better=_better(run.metrics.get("comparisons") or []),
        warnings=books.warnings(),
        counts=run.counts,
        charts=pictures,
        columns=" ".join(COLUMNS),
        n=episodes.n,
        kept=episodes.kept,
        per_block=episodes.wholes.size,
        row_blocks=episodes.rows.lines(),
        episode_blocks=episodes.wholes.lines(),
        options={name: _told(value) for name, value in run.options.items() if _told(value)},
        versions=run.versions,
    )
    for part in parts:
        yield part.encode("utf-8", "replace")


def _card(group: Group) -> Json:
    """The numbers in large print of a whole file or policy."""
    metrics = group.metrics
    share, interval = metrics.get("accuracy"), metrics.get("interval")
    facts = {
        "tasks": metrics.get("tasks"),
        "episodes": metrics.get("n"),
        "reward": _number(metrics.get("reward"), 3),
        "calls an episode": _number(metrics.get("calls"), 1),
        "errors an episode": _number(metrics.get("errors"), 1),
        "tokens an episode": _number(metrics.get("tokens"), 0),
    }
    return {
        "name": " ".join(word for key, word in group.by.items() if key in ("file", "policy")),
        "accuracy": None if share is None else f"{share:.1%}",
        "interval": None if share is None or not interval else f"{interval[0]:.1%} to {interval[1]:.1%}",
        "low": 100 * (interval[0] if interval else 0),
        "width": 100 * (interval[1] - interval[0] if interval else 0),
        "at": 100 * (share or 0),
        "facts": {name: value for name, value in facts.items() if value is not None},
    }


def _better(comparisons: list[Json]) -> list[Json]:
    """Who won which tasks."""
    return [
        {"who": one[who], "than": one[than], "tasks": one[tasks]}
        for one in comparisons
        for who, than, tasks in (("b", "a", "won"), ("a", "b", "lost"))
        if one[tasks]
    ]


def _number(value: float | None, digits: int) -> str | None:
    return None if value is None else f"{value:,.{digits}f}"


def _told(value: Any) -> str:
    """An option, as the page says it."""
    if isinstance(value, dict):
        return ", ".join(f"{name} {_told(inner)}" for name, inner in value.items() if _told(inner))
    if isinstance(value, list):
        return ", ".join(map(str, value))
    return "" if value is None or value is False else f"{value:g}" if isinstance(value, float) else str(value)


def _shown(value: Any) -> Any:
    """Control characters are seen, never obeyed: some turn the direction of a whole line."""
    if isinstance(value, float):
        return f"{value:.3g}"
    return safe(value) if type(value) is str else value


def _text(name: str) -> str:
    return resources.files("tmcli").joinpath("report", "html", name).read_text("utf-8")


def _hash(text: str) -> str:
    """How a policy names an inline script or style."""
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"
