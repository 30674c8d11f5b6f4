"""The options of `tm eval` that make a page of what was judged."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

import typer

from tmcli.errors import UsageError

if TYPE_CHECKING:  # nothing of it is needed where no page is asked for
    from tmcli.records import Run
    from tmcli.report.books import Books
    from tmcli.report.html.episodes import Episodes


@dataclass(frozen=True)
class Html:
    """What is reported, and where."""

    html: Annotated[
        str | None,
        typer.Option(
            "--html", metavar="FILE", help="Write a report: one page with tables, charts and all episodes."
        ),
    ] = None
    training: Annotated[
        list[str] | None,
        typer.Option(
            "--run", metavar="DIR", help="A training run, its curves to stand in the report; several times."
        ),
    ] = None
    limit: Annotated[
        int,
        typer.Option("--html-limit", min=0, metavar="N", help="Episodes that can be read in the report."),
    ] = 20_000

    @contextmanager
    def episodes(self, *, force: bool) -> Iterator[Episodes | None]:
        """Where the episodes wait for the page; None where none is asked for. What cannot be written is
        refused at once, not when all is judged."""
        if self.html is None:
            if self.training:
                raise UsageError("--run: a training run is drawn in a report", "--html FILE")
            yield None
            return
        from tmcli import streams
        from tmcli.report.html import Episodes
        from tmcli.report.html.courses import courses
        from tmcli.report.html.page import check

        if self.html == "-":
            raise UsageError("--html cannot be stdout", "name a file")
        check()
        streams.check_new(self.html, force=force)
        with Episodes(self.limit, courses(self.training or [])) as episodes:
            yield episodes

    def write(self, episodes: Episodes | None, run: Run, books: Books, *, force: bool) -> None:
        """The page, whole or not at all."""
        if self.html is None or episodes is None:
            return
        from tmcli import console, streams
        from tmcli.report.html import page

        with streams.new_file(self.html, force=force) as sink, sink.buffered() as out:
            for part in page(run, books, episodes):
                out.write(part)
        console.note(f"the report is {self.html}")
