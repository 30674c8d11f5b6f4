"""Questions about flights; what a template holds is told in `tmcli/templates.py`."""

from typing import Any

CABINS = ["economy", "comfort", "business"]
ROUTE = "from {flight[origin]} to {flight[target]}"
OTHER = "from {other[origin]} to {other[target]}"
FIND_FLIGHT = ("find_flight", {"origin": "{flight[origin]}", "target": "{flight[target]}"})
FIND_OTHER = ("find_flight", {"origin": "{other[origin]}", "target": "{other[target]}"})
FLIGHT_OF = ("flight_info", {"flight_id": (0, "flight_id")})
OTHER_OF = ("flight_info", {"flight_id": (1, "flight_id")})
FIND_TICKET = ("find_ticket", {"passenger": "{ticket[passenger]}"})
TICKET_OF = ("ticket_info", {"ticket": (0, "ticket")})
DEPARTURES = ("list_departures", {"city": "{flight[origin]}", "date": "{flight[date]}"})
CHEAPEST_OF = ("flight_info", {"flight_id": (0, "flights", 0, "flight_id")})

TEMPLATES: list[dict[str, Any]] = [
    {
        "given": {"flight": "flights"},
        "ask": [
            f"Which flight goes {ROUTE}?",
            f"What is the flight id {ROUTE}?",
            f"Give the id of the flight {ROUTE}.",
        ],
        "plan": [FIND_FLIGHT],
        "answer": "flight_id",
    },
    {
        "given": {"flight": "flights"},
        "ask": [
            "How many minutes does flight {flight[id]} take?",
            "Give the duration of flight {flight[id]} in minutes.",
            "Flight {flight[id]}: how long does it last, in minutes?",
        ],
        "plan": [("flight_info", {"flight_id": "{flight[id]}"})],
        "answer": "duration_min",
    },
    {
        "given": {"flight": "flights"},
        "ask": [
            "What is the lowest price in EUR to fly from {flight[origin]} on {flight[date]}?",
            "I leave {flight[origin]} on {flight[date]}. How many EUR is the cheapest flight?",
            "Find the cheapest departure from {flight[origin]} on {flight[date]}; what does it cost in EUR?",
        ],
        "plan": [DEPARTURES],
        "answer": (0, "flights", 0, "price_eur"),
    },
    {
        "given": {"flight": "flights"},
        "ask": [
            f"At which gate is the flight {ROUTE}?",
            f"Which gate has the flight {ROUTE}?",
            f"I fly {ROUTE}. Which gate is it?",
        ],
        "plan": [FIND_FLIGHT, FLIGHT_OF],
        "answer": "gate",
    },
    {
        "given": {"flight": "flights"},
        "ask": [
            f"What is the price of the flight {ROUTE} in EUR?",
            f"How many EUR is it to fly {ROUTE}?",
            f"What does the flight {ROUTE} cost in EUR?",
        ],
        "plan": [FIND_FLIGHT, FLIGHT_OF],
        "answer": "price_eur",
    },
    {
        "given": {"flight": "flights"},
        "ask": [
            f"On which date is the flight {ROUTE}, as YYYY-MM-DD?",
            f"When does the flight {ROUTE} leave (YYYY-MM-DD)?",
            f"Give the date, as YYYY-MM-DD, of the flight {ROUTE}.",
        ],
        "plan": [FIND_FLIGHT, FLIGHT_OF],
        "answer": "date",
    },
    {
        "given": {"ticket": "tickets"},
        "ask": [
            "Which seat does {ticket[passenger]} have?",
            "Give the seat of {ticket[passenger]}.",
            "Where does {ticket[passenger]} sit? Name the seat.",
        ],
        "plan": [FIND_TICKET, TICKET_OF],
        "answer": "seat",
    },
    {
        "given": {"flight": "flights", "cabin": CABINS},
        "ask": [
            f"Book a seat in {{cabin}} {ROUTE} and give the booking.",
            f"I want to fly {{cabin}} {ROUTE}. Book it; which booking do I get?",
            f"Get me a {{cabin}} seat on the flight {ROUTE} and tell the booking.",
        ],
        "plan": [FIND_FLIGHT, ("book_seat", {"flight_id": (0, "flight_id"), "cabin": "{cabin}"})],
        "answer": "booking",
    },
    {
        "given": {"flight": "flights", "other": "flights"},
        "ask": [
            "What do flights {flight[id]} and {other[id]} cost together, in EUR?",
            "Add up the prices of flights {flight[id]} and {other[id]} in EUR.",
            "I take flight {flight[id]} and then {other[id]}. How many EUR is that in all?",
        ],
        "plan": [
            ("flight_info", {"flight_id": "{flight[id]}"}),
            ("flight_info", {"flight_id": "{other[id]}"}),
        ],
        "answer": {"combine": "sum", "of": [(0, "price_eur"), (1, "price_eur")]},
    },
    {
        "given": {"flight": "flights"},
        "ask": [
            "From which gate does the cheapest flight leave {flight[origin]} on {flight[date]}?",
            "I leave {flight[origin]} on {flight[date]} by the cheapest flight. Which gate is it?",
            "Name the gate of the cheapest departure from {flight[origin]} on {flight[date]}.",
        ],
        "plan": [DEPARTURES, CHEAPEST_OF],
        "answer": "gate",
    },
    {
        "given": {"flight": "flights"},
        "ask": [
            f"Who is the pilot {ROUTE}?",
            f"Name the pilot of the flight {ROUTE}.",
            f"Which pilot flies {ROUTE}?",
        ],
        "plan": [FIND_FLIGHT, FLIGHT_OF, ("plane_info", {"plane_id": (1, "plane_id")})],
        "answer": "pilot",
    },
    {
        "given": {"ticket": "tickets"},
        "ask": [
            "To which gate must {ticket[passenger]} go?",
            "Which gate does {ticket[passenger]} need?",
            "{ticket[passenger]} has a ticket. From which gate does the flight leave?",
        ],
        "plan": [FIND_TICKET, TICKET_OF, OTHER_OF],
        "answer": "gate",
    },
    {
        "given": {"ticket": "tickets"},
        "ask": [
            "On which date does {ticket[passenger]} fly, as YYYY-MM-DD?",
            "When does {ticket[passenger]} fly (YYYY-MM-DD)?",
            "Give the date, as YYYY-MM-DD, on which {ticket[passenger]} flies.",
        ],
        "plan": [FIND_TICKET, TICKET_OF, OTHER_OF],
        "answer": "date",
    },
    {
        "given": {"flight": "flights"},
        "ask": [
            "How many seats has the plane of the cheapest flight from {flight[origin]} on {flight[date]}?",
            "Take the cheapest departure from {flight[origin]} on {flight[date]}. How many seats are in it?",
            "The cheapest flight leaves {flight[origin]} on {flight[date]}; count the seats of its plane.",
        ],
        "plan": [DEPARTURES, CHEAPEST_OF, ("plane_info", {"plane_id": (1, "plane_id")})],
        "answer": "seats",
    },
    {
        "given": {"ticket": "tickets"},
        "ask": [
            "Who is the pilot of the flight that {ticket[passenger]} takes?",
            "Which pilot flies {ticket[passenger]}?",
            "{ticket[passenger]} has a ticket. Name the pilot.",
        ],
        "plan": [FIND_TICKET, TICKET_OF, OTHER_OF, ("plane_info", {"plane_id": (2, "plane_id")})],
        "answer": "pilot",
    },
    {
        "given": {"flight": "flights", "other": "flights"},
        "ask": [
            f"How many minutes do the flights {ROUTE} and {OTHER} take in all?",
            f"I fly {ROUTE}, and later {OTHER}. How many minutes am I in the air?",
            f"Add up the minutes of the flights {ROUTE} and {OTHER}.",
        ],
        "plan": [FIND_FLIGHT, FIND_OTHER, FLIGHT_OF, OTHER_OF],
        "answer": {"combine": "sum", "of": [(2, "duration_min"), (3, "duration_min")]},
    },
]
