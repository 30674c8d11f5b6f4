"""Questions about cinemas; what a template holds is told in `tmcli/templates.py`."""

from typing import Any

FACTS = ("film_facts", {"film": "{film[film]}"})
SHOWN = ("showtimes", {"film_id": (0, "film_id")})
FIRST_SHOWING = (1, "screenings", 0, "screening_id")
OF_DIRECTOR = ("films_by", {"director": "{director[director]}"})
NEWEST = ("film_facts", {"film": (0, "films", 0)})
OF_WEEKEND = ("box_office", {"weekend": "{weekend[id]}"})
TOP = ("film_facts", {"film": (0, "ranking", 0, "film")})

SEAT = ["stalls", "balcony"]
SEATS = list(range(2, 8))

TEMPLATES: list[dict[str, Any]] = [
    {
        "given": {"film": "films"},
        "ask": [
            "How long is the film {film[film]}, in minutes?",
            "How many minutes does {film[film]} run?",
            "Give the running time of the film {film[film]} in minutes.",
        ],
        "plan": [FACTS],
        "answer": "runtime_min",
    },
    {
        "given": {"film": "films"},
        "ask": [
            "When was the premiere of {film[film]}?",
            "On what date did the film {film[film]} have its premiere?",
            "Tell me the day on which {film[film]} was premiered.",
        ],
        "plan": [FACTS],
        "answer": "premiere",
    },
    {
        "given": {"director": "directors"},
        "ask": [
            "Which films did {director[director]} make?",
            "List the titles of all films directed by {director[director]}.",
            "Name every film of the director {director[director]}.",
        ],
        "plan": [OF_DIRECTOR],
        "answer": {"combine": "set", "of": [(0, "films")]},
    },
    {
        "given": {"weekend": "weekends"},
        "ask": [
            "How many visitors did the most successful film of the weekend of {weekend[id]} have?",
            "How many people saw the number one film on the weekend of {weekend[id]}?",
            "Give the number of visitors of the top film of the weekend of {weekend[id]}.",
        ],
        "plan": [OF_WEEKEND],
        "answer": (0, "ranking", 0, "visitors"),
    },
    {
        "given": {"showing": "showings", "seat": SEAT},
        "ask": [
            "What does a seat in the {seat} cost at screening {showing[id]}, in euros?",
            "How many euros is one {seat} seat for screening {showing[id]}?",
            "Give the price in euros of a single seat in the {seat} at screening {showing[id]}.",
        ],
        "plan": [("seats_left", {"screening_id": "{showing[id]}", "seat_class": "{seat}"})],
        "answer": "price_eur",
    },
    {
        "given": {"film": "films"},
        "ask": [
            "On what date is the first showing of {film[film]}?",
            "When is {film[film]} shown for the first time? Give the date.",
            "I want to see {film[film]} as early as possible. On which date is that?",
        ],
        "plan": [FACTS, SHOWN],
        "answer": (1, "screenings", 0, "show_date"),
    },
    {
        "given": {"director": "directors"},
        "ask": [
            "How many minutes long is the newest film by {director[director]}?",
            "What is the running time, in minutes, of the latest film that {director[director]} made?",
            "{director[director]} has a new film out. How many minutes does it run?",
        ],
        "plan": [OF_DIRECTOR, NEWEST],
        "answer": "runtime_min",
    },
    {
        "given": {"weekend": "weekends"},
        "ask": [
            "When was the premiere of the film with the most visitors on the weekend of {weekend[id]}?",
            "Give the premiere date of the number one film of the weekend of {weekend[id]}.",
            "One film led the box office on the weekend of {weekend[id]}. When was its premiere?",
        ],
        "plan": [OF_WEEKEND, TOP],
        "answer": "premiere",
    },
    {
        "given": {"a": "films", "b": "films"},
        "ask": [
            "How many minutes do {a[film]} and {b[film]} run in total?",
            "We watch both {a[film]} and {b[film]}. How many minutes is that in all?",
            "Add up the running times of {a[film]} and {b[film]}, in minutes.",
        ],
        "plan": [("film_facts", {"film": "{a[film]}"}), ("film_facts", {"film": "{b[film]}"})],
        "answer": {"combine": "sum", "of": [(0, "runtime_min"), (1, "runtime_min")]},
    },
    {
        "given": {"a": "films", "b": "films", "c": "films"},
        "ask": [
            "Which film is the longest: {a[film]}, {b[film]} or {c[film]}?",
            "Of {a[film]}, {b[film]} and {c[film]}, which one has the longest running time?",
            "We have a long evening: which of the films {a[film]}, {b[film]} and {c[film]} lasts longest?",
        ],
        "plan": [
            ("film_facts", {"film": "{a[film]}"}),
            ("film_facts", {"film": "{b[film]}"}),
            ("film_facts", {"film": "{c[film]}"}),
        ],
        "answer": {
            "combine": "argmax",
            "of": [(0, "runtime_min"), (1, "runtime_min"), (2, "runtime_min")],
            "names": ["{a[film]}", "{b[film]}", "{c[film]}"],
        },
    },
    {
        "given": {"film": "films", "seat": SEAT},
        "ask": [
            "How many seats are left in the {seat} for the first showing of {film[film]}?",
            "At the earliest showing of {film[film]}, how many {seat} seats can still be had?",
            "Count the free seats in the {seat} at the first screening of {film[film]}.",
        ],
        "plan": [FACTS, SHOWN, ("seats_left", {"screening_id": FIRST_SHOWING, "seat_class": "{seat}"})],
        "answer": "seats",
    },
    {
        "given": {"film": "films", "seat": SEAT, "n": SEATS},
        "ask": [
            "Reserve {n} seats in the {seat} for the first showing of {film[film]}. What is the reservation "
            "id?",
            "{n} of us want to sit in the {seat} at the earliest screening of {film[film]}. Reserve the "
            "seats "
            "and give me the reservation id.",
            "Please reserve {n} {seat} seats at the first screening of {film[film]} and tell me the "
            "reservation id.",
        ],
        "plan": [
            FACTS,
            SHOWN,
            ("reserve_seats", {"screening_id": FIRST_SHOWING, "seat_class": "{seat}", "seats": "{n}"}),
        ],
        "answer": "reservation_id",
    },
    {
        "given": {"film": "films", "reservation": "reservations"},
        "ask": [
            "Move reservation {reservation[id]} to the first showing of {film[film]}. Which is the first "
            "seat?",
            "Change reservation {reservation[id]} to the earliest screening of {film[film]} and tell me the "
            "first seat.",
            "We would rather see {film[film]}, at its first screening: move reservation {reservation[id]} "
            "there. What is our first seat now?",
        ],
        "plan": [
            FACTS,
            SHOWN,
            ("move_reservation", {"reservation_id": "{reservation[id]}", "screening_id": FIRST_SHOWING}),
        ],
        "answer": "first_seat",
    },
    {
        "given": {"director": "directors", "seat": SEAT},
        "ask": [
            "What does a seat in the {seat} cost, in euros, at the first showing of the newest film by "
            "{director[director]}?",
            "I want to see the latest film of {director[director]} at its earliest screening. How many euros "
            "is a {seat} seat?",
            "Take the newest film that {director[director]} made: what is the price in euros of one {seat} "
            "seat at its first showing?",
        ],
        "plan": [
            OF_DIRECTOR,
            NEWEST,
            ("showtimes", {"film_id": (1, "film_id")}),
            ("seats_left", {"screening_id": (2, "screenings", 0, "screening_id"), "seat_class": "{seat}"}),
        ],
        "answer": "price_eur",
    },
    {
        "given": {"weekend": "weekends", "seat": SEAT, "n": SEATS},
        "ask": [
            "Reserve {n} seats in the {seat} for the first showing of the film that led the box office "
            "on the "
            "weekend of {weekend[id]}. Which is our first seat?",
            "Take the number one film of the weekend of {weekend[id]} and reserve {n} {seat} seats at its "
            "earliest screening. What is the first seat?",
            "We want {n} seats in the {seat} for the most visited film of the weekend of {weekend[id]}, at "
            "its first showing. Reserve them and tell me the first seat.",
        ],
        "plan": [
            OF_WEEKEND,
            TOP,
            ("showtimes", {"film_id": (1, "film_id")}),
            (
                "reserve_seats",
                {
                    "screening_id": (2, "screenings", 0, "screening_id"),
                    "seat_class": "{seat}",
                    "seats": "{n}",
                },
            ),
        ],
        "answer": "first_seat",
    },
    {
        "given": {"film": "films"},
        "ask": [
            "By how many euros do a balcony seat and a box seat differ at the first showing of {film[film]}?",
            "At the earliest screening of {film[film]}, how much dearer is a seat in a box than one in the "
            "balcony, in euros?",
            "What is the difference in euros between the prices of a box seat and a balcony seat at the "
            "first "
            "screening of {film[film]}?",
        ],
        "plan": [
            FACTS,
            SHOWN,
            ("seats_left", {"screening_id": FIRST_SHOWING, "seat_class": "balcony"}),
            ("seats_left", {"screening_id": FIRST_SHOWING, "seat_class": "box"}),
        ],
        "answer": {"combine": "difference", "of": [(2, "price_eur"), (3, "price_eur")]},
    },
]
