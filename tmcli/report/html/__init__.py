"""What was judged as one page: numbers, pictures and all episodes in a file that needs no network.

    with Book() as book:                                    # what `--html report.html` keeps while it judges
        for score in evaluate(book.watch(records), ...):
            book.add(score, label)
        with streams.new_file("report.html", force=False) as sink:
            for part in page(run, groups, book):
                sink.write_all(part)

The page is `page.html` (jinja2, everything escaped), `page.css` and `page.js`; pictures are SVG, by
matplotlib. Episodes lie in it as gzip in base64, in blocks that the browser unpacks when it needs them, so
nothing that a model or tool wrote is ever markup. Same records, same bytes.
"""

from tmcli.report.html.book import Book
from tmcli.report.html.page import page

__all__ = ["Book", "page"]
