"""Questions about flights; what a template holds is told in `tmcli/toolbox.py`."""

from typing import Any

ROUTE = "from {flight[origin]} to {flight[target]}"
FIND_FLIGHT = ("find_flight", {"origin": "{flight[origin]}", "target": "{flight[target]}"})
FLIGHT_OF = ("flight_info", {"flight_id": (0, "flight_id")})
FIND_TICKET = ("find_ticket", {"passenger": "{ticket[passenger]}"})
TICKET_OF = ("ticket_info", {"ticket": (0, "ticket")})

TEMPLATES: list[dict[str, Any]] = [
    {
        "given": {"flight": "flights"},
        "ask": [f"Which flight goes {ROUTE}?", f"What is the flight id {ROUTE}?"],
        "plan": [FIND_FLIGHT],
        "answer": "flight_id",
    },
    {
        "given": {"plane": "planes"},
        "ask": ["How many seats has plane {plane[id]}?", "Give the seats of plane {plane[id]}."],
        "plan": [("plane_info", {"plane_id": "{plane[id]}"})],
        "answer": "seats",
    },
    {
        "given": {"flight": "flights"},
        "ask": [f"At which gate is the flight {ROUTE}?", f"Which gate has the flight {ROUTE}?"],
        "plan": [FIND_FLIGHT, FLIGHT_OF],
        "answer": "gate",
    },
    {
        "given": {"flight": "flights"},
        "ask": [f"What is the price of the flight {ROUTE}?", f"How much is it to fly {ROUTE}?"],
        "plan": [FIND_FLIGHT, FLIGHT_OF],
        "answer": "price",
    },
    {
        "given": {"ticket": "tickets"},
        "ask": ["Which seat does {ticket[passenger]} have?", "Give the seat of {ticket[passenger]}."],
        "plan": [FIND_TICKET, TICKET_OF],
        "answer": "seat",
    },
    {
        "given": {"flight": "flights"},
        "ask": ["Who is the pilot of flight {flight[id]}?", "Name the pilot of flight {flight[id]}."],
        "plan": [
            ("flight_info", {"flight_id": "{flight[id]}"}),
            ("plane_info", {"plane_id": (0, "plane_id")}),
        ],
        "answer": "pilot",
    },
    {
        "given": {"flight": "flights"},
        "ask": [f"Who is the pilot {ROUTE}?", f"Name the pilot of the flight {ROUTE}."],
        "plan": [FIND_FLIGHT, FLIGHT_OF, ("plane_info", {"plane_id": (1, "plane_id")})],
        "answer": "pilot",
    },
    {
        "given": {"ticket": "tickets"},
        "ask": ["To which gate must {ticket[passenger]} go?", "Which gate does {ticket[passenger]} need?"],
        "plan": [FIND_TICKET, TICKET_OF, ("flight_info", {"flight_id": (1, "flight_id")})],
        "answer": "gate",
    },
]
