"""Questions about hotels; what a template holds is told in `tmcli/templates.py`."""

from typing import Any

LOOKUP = ("lookup_hotel", {"hotel": "{hotel[hotel]}"})
OF_GUEST = ("guest_booking", {"guest": "{booking[guest]}"})
IN_CITY = ("hotels_in", {"city_name": "{city[city]}"})
BEST = (0, "hotels", 0, "hotel_id")
WHEN = {"check_in": "{day}", "nights": "{nights}"}

ROOMS = ["double", "twin", "triple", "family"]
NIGHTS = list(range(2, 15))
DAYS = [f"202{year}-{month:02}-{day:02}" for year in (6, 7) for month in range(1, 13) for day in range(1, 29)]

TEMPLATES: list[dict[str, Any]] = [
    {
        "given": {"hotel": "hotels"},
        "ask": [
            "In which city is the {hotel[hotel]}?",
            "Which city will I find the hotel {hotel[hotel]} in?",
            "Name the city of the hotel {hotel[hotel]}.",
        ],
        "plan": [LOOKUP],
        "answer": "city",
    },
    {
        "given": {"city": "cities"},
        "ask": [
            "What is the id of the best rated hotel in {city[city]}?",
            "Give the hotel id of the hotel with the highest rating in {city[city]}.",
            "Which hotel id belongs to the top rated hotel of {city[city]}?",
        ],
        "plan": [IN_CITY],
        "answer": (0, "hotels", 0, "hotel_id"),
    },
    {
        "given": {"booking": "bookings"},
        "ask": [
            "On what date does {booking[guest]} check in?",
            "When does the hotel stay of {booking[guest]} begin?",
            "Give the check-in date of {booking[guest]}.",
        ],
        "plan": [OF_GUEST],
        "answer": "check_in",
    },
    {
        "given": {"hotel": "hotels"},
        "ask": [
            "How many kilometres is it from the {hotel[hotel]} to the station?",
            "How far from the station is the {hotel[hotel]}, in kilometres?",
            "What is the distance in kilometres between the station and the {hotel[hotel]}?",
        ],
        "plan": [LOOKUP, ("hotel_details", {"hotel_id": (0, "hotel_id")})],
        "answer": "distance_km",
    },
    {
        "given": {"booking": "bookings"},
        "ask": [
            "What is the phone number of the hotel where {booking[guest]} is staying?",
            "I want to call {booking[guest]} at the hotel. What is its phone number?",
            "Find the phone number of the hotel that {booking[guest]} has booked.",
        ],
        "plan": [OF_GUEST, ("hotel_details", {"hotel_id": (0, "hotel_id")})],
        "answer": "phone",
    },
    {
        "given": {"city": "cities"},
        "ask": [
            "What is the best rated hotel in {city[city]} called?",
            "Which hotel in {city[city]} has the highest rating?",
            "Name the hotel that guests rate best in {city[city]}.",
        ],
        "plan": [IN_CITY, ("hotel_details", {"hotel_id": BEST})],
        "answer": "hotel",
    },
    {
        "given": {"hotel": "hotels", "room": ROOMS},
        "ask": [
            "What does a {room} room at the {hotel[hotel]} cost a night, in euros?",
            "How many euros do I pay per night for a {room} room at the {hotel[hotel]}?",
            "I want a {room} room at the {hotel[hotel]}. What is it a night, in euros?",
        ],
        "plan": [LOOKUP, ("room_rate", {"hotel_id": (0, "hotel_id"), "room_type": "{room}"})],
        "answer": "rate_eur",
    },
    {
        "given": {"hotel": "hotels", "room": ROOMS, "day": DAYS, "nights": NIGHTS},
        "ask": [
            "Book a {room} room at the {hotel[hotel]} from {day} for {nights} "
            "nights. What is the booking id?",
            "I need a {room} room at the {hotel[hotel]}, {nights} nights from "
            "{day}. Book it and give me the booking id.",
            "Please book {nights} nights at the {hotel[hotel]} in a {room} room, first "
            "night {day}. Which booking id do I get?",
        ],
        "plan": [
            LOOKUP,
            ("book_room", {"hotel_id": (0, "hotel_id"), "room_type": "{room}", **WHEN}),
        ],
        "answer": "booking_id",
    },
    {
        "given": {"booking": "bookings"},
        "ask": [
            "Cancel the booking of {booking[guest]}. How many euros are refunded?",
            "{booking[guest]} cannot travel: cancel the booking and tell me the refund in euros.",
            "Please cancel the hotel booking of {booking[guest]}. What is the refund in euros?",
        ],
        "plan": [OF_GUEST, ("cancel_booking", {"booking_id": (0, "booking_id")})],
        "answer": "refund_eur",
    },
    {
        "given": {"a": "bookings", "b": "bookings"},
        "ask": [
            "How many nights do {a[guest]} and {b[guest]} stay in total?",
            "Add up the nights that {a[guest]} and {b[guest]} have booked.",
            "What is the total number of nights in the bookings of {a[guest]} and {b[guest]}?",
        ],
        "plan": [("guest_booking", {"guest": "{a[guest]}"}), ("guest_booking", {"guest": "{b[guest]}"})],
        "answer": {"combine": "sum", "of": [(0, "nights"), (1, "nights")]},
    },
    {
        "given": {"city": "cities", "room": ROOMS, "day": DAYS, "nights": NIGHTS},
        "ask": [
            "Book a {room} room in the best rated hotel of {city[city]} from {day} "
            "for {nights} nights. Which room number is it?",
            "I am coming to {city[city]} on {day} for {nights} nights. Book a "
            "{room} room in the hotel with the highest rating and tell me the room number.",
            "In {city[city]}, book the best rated hotel: {room} room, {nights} nights, "
            "arriving {day}. What room number do I get?",
        ],
        "plan": [
            ("hotels_in", {"city_name": "{city[city]}"}),
            ("book_room", {"hotel_id": BEST, "room_type": "{room}", **WHEN}),
        ],
        "answer": "room_number",
    },
    {
        "given": {"hotel": "hotels"},
        "ask": [
            "How many euros a night is a family room at the best rated hotel in the city where the "
            "{hotel[hotel]} is?",
            "Find the city of the {hotel[hotel]}. What does a family room at the best rated hotel there cost "
            "a night, in euros?",
            "What is the price per night, in euros, of a family room at the highest rated hotel in the same "
            "city as the {hotel[hotel]}?",
        ],
        "plan": [
            LOOKUP,
            ("hotels_in", {"city_name": (0, "city")}),
            ("room_rate", {"hotel_id": (1, "hotels", 0, "hotel_id"), "room_type": "family"}),
        ],
        "answer": "rate_eur",
    },
    {
        "given": {"a": "hotels", "b": "hotels", "c": "hotels"},
        "ask": [
            "Which of the hotels {a[id]}, {b[id]} and {c[id]} is nearest to the station?",
            "Which hotel is the shortest way from the station: {a[id]}, {b[id]} or {c[id]}?",
            "I arrive by train. Of the hotels {a[id]}, {b[id]} and {c[id]}, which one is closest to the "
            "station?",
        ],
        "plan": [
            ("hotel_details", {"hotel_id": "{a[id]}"}),
            ("hotel_details", {"hotel_id": "{b[id]}"}),
            ("hotel_details", {"hotel_id": "{c[id]}"}),
        ],
        "answer": {
            "combine": "argmin",
            "of": [(0, "distance_km"), (1, "distance_km"), (2, "distance_km")],
            "names": ["{a[id]}", "{b[id]}", "{c[id]}"],
        },
    },
    {
        "given": {"booking": "bookings", "hotel": "hotels", "room": ROOMS},
        "ask": [
            "Book a {room} room at the {hotel[hotel]} for the same check-in date and number of nights as "
            "{booking[guest]} has booked. What is the new booking id?",
            "A friend travels with {booking[guest]}. Book a {room} room at the {hotel[hotel]} for the same "
            "nights and give me the booking id.",
            "I need a {room} room at the {hotel[hotel]} for just the dates of {booking[guest]}'s stay. Book "
            "it: which booking id does it get?",
        ],
        "plan": [
            OF_GUEST,
            LOOKUP,
            (
                "book_room",
                {
                    "hotel_id": (1, "hotel_id"),
                    "room_type": "{room}",
                    "check_in": (0, "check_in"),
                    "nights": (0, "nights"),
                },
            ),
        ],
        "answer": "booking_id",
    },
    {
        "given": {"a": "bookings", "b": "bookings"},
        "ask": [
            "Cancel the bookings of {a[guest]} and {b[guest]}. How many euros are refunded in all?",
            "Neither {a[guest]} nor {b[guest]} can travel: cancel both bookings and tell me the total refund "
            "in euros.",
            "Please cancel the hotel stays of {a[guest]} and of {b[guest]}. What do the refunds add up to in "
            "euros?",
        ],
        "plan": [
            ("guest_booking", {"guest": "{a[guest]}"}),
            ("guest_booking", {"guest": "{b[guest]}"}),
            ("cancel_booking", {"booking_id": (0, "booking_id")}),
            ("cancel_booking", {"booking_id": (1, "booking_id")}),
        ],
        "answer": {"combine": "sum", "of": [(2, "refund_eur"), (3, "refund_eur")]},
    },
    {
        "given": {"booking": "bookings"},
        "ask": [
            "What is the rating of the best hotel in the city where {booking[guest]} is staying?",
            "{booking[guest]} has booked a hotel. How is the best hotel in the same city rated?",
            "In the city where {booking[guest]} has booked a hotel, what is the highest hotel rating?",
        ],
        "plan": [
            OF_GUEST,
            ("hotel_details", {"hotel_id": (0, "hotel_id")}),
            ("lookup_hotel", {"hotel": (1, "hotel")}),
            ("hotels_in", {"city_name": (2, "city")}),
        ],
        "answer": (3, "hotels", 0, "rating"),
    },
]
