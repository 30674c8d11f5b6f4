"""A Markdown summary of an evaluation, as GitHub shows it under a workflow's run.

    markdown(header, rows, outcomes, notes)

Words from records (tags, file names) stay text: they open no link, no image and no HTML.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from tmcli.report.thresholds import Outcome


def markdown(
    header: Sequence[str], rows: Iterable[Sequence[object]], outcomes: Iterable[Outcome], notes: Iterable[str]
) -> str:
    """The thresholds as a list, the table, then the notes."""
    limits = [f"- {'✅' if one.ok else '❌'} {_cell(one.says)}" for one in outcomes]
    table = [
        f"| {' | '.join(map(_cell, header))} |",
        f"|{'---|' * len(header)}",
        *(f"| {' | '.join(map(_cell, row))} |" for row in rows),
    ]
    parts = ["### tm eval", "\n".join(limits), "\n".join(table), *map(_cell, notes)]
    return "\n\n".join(part for part in parts if part) + "\n"


def _cell(value: object) -> str:
    """One line of text, nothing in it markup.

    >>> _cell("a|b <b>[x](y)</b>"), _cell(None)
    ('a\\\\|b &lt;b>\\\\[x](y)&lt;/b>', '-')
    """
    text = "-" if value is None else f"{value:.3g}" if isinstance(value, float) else str(value)
    text = " ".join(text.split()).replace("&", "&amp;").replace("<", "&lt;")
    return re.sub(r"([\\|*_`\[~#@]|!(?=\[)|://)", r"\\\1", text)
