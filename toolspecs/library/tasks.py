"""Questions about the library; what a template holds is told in `tmcli/toolbox.py`."""

from typing import Any

FIND_BOOK = ("find_book", {"title": "{book[title]}"})
FIND_READER = ("find_reader", {"name": "{reader[name]}"})
BOOK_OF = ("book_info", {"book_id": (0, "book_id")})

TEMPLATES: list[dict[str, Any]] = [
    {
        "given": {"book": "books"},
        "ask": ["What is the book id of {book[title]}?", "Which book id does {book[title]} have?"],
        "plan": [FIND_BOOK],
        "answer": "book_id",
    },
    {
        "given": {"book": "books"},
        "ask": ["How many pages does book {book[id]} have?", "Give the pages of book {book[id]}."],
        "plan": [("book_info", {"book_id": "{book[id]}"})],
        "answer": "pages",
    },
    {
        "given": {"book": "books"},
        "ask": ["In which year was {book[title]} published?", "What is the year of the book {book[title]}?"],
        "plan": [FIND_BOOK, BOOK_OF],
        "answer": "year",
    },
    {
        "given": {"book": "books"},
        "ask": ["How many pages does {book[title]} have?", "How long is the book {book[title]}, in pages?"],
        "plan": [FIND_BOOK, BOOK_OF],
        "answer": "pages",
    },
    {
        "given": {"reader": "readers"},
        "ask": [
            "For how many more days may {reader[name]} keep the loan?",
            "How many days are left on the loan of {reader[name]}?",
        ],
        "plan": [FIND_READER, ("loan_info", {"reader_id": (0, "reader_id")})],
        "answer": "days",
    },
    {
        "given": {"book": "books"},
        "ask": ["Who wrote book {book[id]}?", "Name the author of book {book[id]}."],
        "plan": [
            ("book_info", {"book_id": "{book[id]}"}),
            ("author_info", {"author_id": (0, "author_id")}),
        ],
        "answer": "author",
    },
    {
        "given": {"book": "books"},
        "ask": ["Who wrote {book[title]}?", "Name the author of the book {book[title]}."],
        "plan": [FIND_BOOK, BOOK_OF, ("author_info", {"author_id": (1, "author_id")})],
        "answer": "author",
    },
    {
        "given": {"reader": "readers"},
        "ask": [
            "How many pages does the book on loan to {reader[name]} have?",
            "{reader[name]} has a book on loan. Give its pages.",
        ],
        "plan": [
            FIND_READER,
            ("loan_info", {"reader_id": (0, "reader_id")}),
            ("book_info", {"book_id": (1, "book_id")}),
        ],
        "answer": "pages",
    },
]
