"""What was judged as one page: numbers, pictures and all episodes in a file that needs no network.

    with Episodes() as episodes:                            # what `--html report.html` keeps while it judges
        for score in evaluate(episodes.watch(records), ...):
            books.add(score, label)
            episodes.add(score, label)
        with streams.new_file("report.html", force=False) as sink:
            for part in page(run, books, episodes):
                sink.write_all(part)

The page is `page.html` (jinja2, everything escaped), `page.css` and `page.js`; pictures are SVG, by
matplotlib. Episodes lie in it as gzip in base64, in blocks that the browser unpacks when it needs them, so
nothing that a model or tool wrote is ever markup. Same records, same bytes.
"""

from tmcli.report.html.episodes import Episodes
from tmcli.report.html.page import page

__all__ = ["Episodes", "page"]
