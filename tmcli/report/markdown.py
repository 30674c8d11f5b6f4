"""A Markdown summary of an evaluation, as GitHub shows it under a workflow's run.

    markdown(books.tables(), outcomes, books.notes())

Words from records (tags, file names) stay text: they open no link, no image and no HTML.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from tmcli.report.table import Table
from tmcli.report.thresholds import Outcome


def markdown(tables: Iterable[Table], outcomes: Iterable[Outcome], notes: Iterable[str]) -> str:
    """The thresholds as a list, the tables, then the notes."""
    limits = [f"- {'✅' if one.ok else '❌'} {_cell(one.says)}" for one in outcomes]
    parts = ["### tm eval", "\n".join(limits)]
    for one in tables:
        lines = [_row(one.header), "|" + "---|" * len(one.header), *map(_row, one.rows)]
        parts += [f"**{_cell(one.title)}**" if one.title else "", "\n".join(lines)]
    return "\n\n".join(part for part in [*parts, *map(_cell, notes)] if part) + "\n"


def _row(cells: Iterable[object]) -> str:
    return f"| {' | '.join(map(_cell, cells))} |"


def _cell(value: object) -> str:
    """One line of text, nothing in it markup.

    >>> _cell("a|b <b>[x](y)</b>"), _cell(None)
    ('a\\\\|b &lt;b>\\\\[x](y)&lt;/b>', '-')
    """
    text = "-" if value is None else f"{value:.3g}" if isinstance(value, float) else str(value)
    text = " ".join(text.split()).replace("&", "&amp;").replace("<", "&lt;")
    return re.sub(r"([\\|*_`\[~#@]|!(?=\[)|://)", r"\\\1", text)
