"""Questions about the library; what a template holds is told in `tmcli/templates.py`."""

from typing import Any

FIND_BOOK = ("find_book", {"title": "{book[title]}"})
FIND_READER = ("find_reader", {"name": "{reader[name]}"})
FIND_OTHER = ("find_book", {"title": "{other[title]}"})
BOOK_OF = ("book_info", {"book_id": (0, "book_id")})
LOAN_OF = ("loan_info", {"reader_id": (0, "reader_id")})
LENT_BOOK = ("book_info", {"book_id": (1, "book_id")})

TEMPLATES: list[dict[str, Any]] = [
    {
        "given": {"book": "books"},
        "ask": [
            "What is the book id of {book[title]}?",
            "Which book id does {book[title]} have?",
            "Look up the book id of {book[title]}.",
            "Under which book id is {book[title]} kept?",
        ],
        "plan": [FIND_BOOK],
        "answer": "book_id",
    },
    {
        "given": {"book": "books"},
        "ask": [
            "How many pages does book {book[id]} have?",
            "Give the pages of book {book[id]}.",
            "Book {book[id]}: how many pages is it?",
        ],
        "plan": [("book_info", {"book_id": "{book[id]}"})],
        "answer": "pages",
    },
    {
        "given": {"reader": "readers"},
        "ask": [
            "Which reader ids have a loan due on {reader[due]}?",
            "List the ids of all readers whose loan is due on {reader[due]}.",
            "Whose loans end on {reader[due]}? Give reader ids.",
        ],
        "plan": [("list_due", {"date": "{reader[due]}"})],
        "answer": {"combine": "set", "of": [(0, "reader_ids")]},
    },
    {
        "given": {"book": "books"},
        "ask": [
            "In which year was {book[title]} published?",
            "What is the year of the book {book[title]}?",
            "When did {book[title]} come out? Give the year.",
        ],
        "plan": [FIND_BOOK, BOOK_OF],
        "answer": "year",
    },
    {
        "given": {"book": "books"},
        "ask": [
            "How many pages does {book[title]} have?",
            "How long is the book {book[title]}, in pages?",
            "Count the pages of {book[title]}.",
        ],
        "plan": [FIND_BOOK, BOOK_OF],
        "answer": "pages",
    },
    {
        "given": {"book": "books"},
        "ask": [
            "On which shelf is {book[title]}?",
            "Where do I find {book[title]}? Name the shelf.",
            "Which shelf holds the book {book[title]}?",
        ],
        "plan": [FIND_BOOK, BOOK_OF],
        "answer": "shelf",
    },
    {
        "given": {"reader": "readers"},
        "ask": [
            "When is the loan of {reader[name]} due, as YYYY-MM-DD?",
            "By which date must {reader[name]} bring the book back (YYYY-MM-DD)?",
            "Give the due date of the loan of {reader[name]}, as YYYY-MM-DD.",
        ],
        "plan": [FIND_READER, LOAN_OF],
        "answer": "due",
    },
    {
        "given": {"book": "books"},
        "ask": [
            "Who wrote book {book[id]}?",
            "Name the author of book {book[id]}.",
            "Whose book is {book[id]}? Give the author.",
        ],
        "plan": [
            ("book_info", {"book_id": "{book[id]}"}),
            ("author_info", {"author_id": (0, "author_id")}),
        ],
        "answer": "author",
    },
    {
        "given": {"book": "books", "other": "books"},
        "ask": [
            "How many pages do books {book[id]} and {other[id]} have together?",
            "Add up the pages of books {book[id]} and {other[id]}.",
            "Books {book[id]} and {other[id]}: how many pages in total?",
        ],
        "plan": [
            ("book_info", {"book_id": "{book[id]}"}),
            ("book_info", {"book_id": "{other[id]}"}),
        ],
        "answer": {"combine": "sum", "of": [(0, "pages"), (1, "pages")]},
    },
    {
        "given": {"book": "books"},
        "ask": [
            "Who wrote {book[title]}?",
            "Name the author of the book {book[title]}.",
            "Which author wrote {book[title]}?",
        ],
        "plan": [FIND_BOOK, BOOK_OF, ("author_info", {"author_id": (1, "author_id")})],
        "answer": "author",
    },
    {
        "given": {"reader": "readers"},
        "ask": [
            "How many pages does the book on loan to {reader[name]} have?",
            "{reader[name]} has a book on loan. Give its pages.",
            "Count the pages of the book that {reader[name]} has borrowed.",
        ],
        "plan": [FIND_READER, LOAN_OF, LENT_BOOK],
        "answer": "pages",
    },
    {
        "given": {"reader": "readers"},
        "ask": [
            "To which shelf does the book on loan to {reader[name]} belong?",
            "{reader[name]} brings a loan back. Which shelf does it go to?",
            "Name the shelf of the book that {reader[name]} has borrowed.",
        ],
        "plan": [FIND_READER, LOAN_OF, LENT_BOOK],
        "answer": "shelf",
    },
    {
        "given": {"book": "books", "reader": "readers"},
        "ask": [
            "Reserve {book[title]} for {reader[name]} and give the code.",
            "{reader[name]} wants to reserve {book[title]}. Which code comes with it?",
            "Make a reservation of {book[title]} for the reader {reader[name]}; what is its code?",
        ],
        "plan": [
            FIND_BOOK,
            FIND_READER,
            ("reserve_book", {"book_id": (0, "book_id"), "reader_id": (1, "reader_id")}),
        ],
        "answer": "code",
    },
    {
        "given": {"reader": "readers"},
        "ask": [
            "Who wrote the book on loan to {reader[name]}?",
            "{reader[name]} has a book on loan. Name its author.",
            "Which author's book has {reader[name]} borrowed?",
        ],
        "plan": [FIND_READER, LOAN_OF, LENT_BOOK, ("author_info", {"author_id": (2, "author_id")})],
        "answer": "author",
    },
    {
        "given": {"book": "books", "other": "books"},
        "ask": [
            "By how many pages do {book[title]} and {other[title]} differ?",
            "What is the difference in pages between {book[title]} and {other[title]}?",
            "Compare {book[title]} with {other[title]}: how many pages lie between them?",
        ],
        "plan": [
            FIND_BOOK,
            FIND_OTHER,
            BOOK_OF,
            LENT_BOOK,
        ],
        "answer": {"combine": "difference", "of": [(2, "pages"), (3, "pages")]},
    },
    {
        "given": {"book": "books", "other": "books"},
        "ask": [
            "In which year did the older one of {book[title]} and {other[title]} come out?",
            "{book[title]} or {other[title]}: give the year of the one that came out first.",
            "Take the books {book[title]} and {other[title]}. What is the earlier year of the two?",
        ],
        "plan": [FIND_BOOK, FIND_OTHER, BOOK_OF, LENT_BOOK],
        "answer": {"combine": "min", "of": [(2, "year"), (3, "year")]},
    },
]
