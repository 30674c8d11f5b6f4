"""Questions about the museum; what a template holds is told in `tmcli/toolbox.py`."""

from typing import Any

FIND_ARTWORK = ("find_artwork", {"work": "{art[work]}"})
ARTWORK_OF = ("artwork_info", {"artwork_id": (0, "artwork_id")})
TOUR = "{tour[weekday]} tour by {tour[guide]}"
FIND_TOUR = ("find_tour", {"guide": "{tour[guide]}", "weekday": "{tour[weekday]}"})
TOUR_OF = ("tour_info", {"tour_id": (0, "tour_id")})

TEMPLATES: list[dict[str, Any]] = [
    {
        "given": {"art": "artworks"},
        "ask": ["What is the artwork id of {art[work]}?", "Which artwork id does {art[work]} have?"],
        "plan": [FIND_ARTWORK],
        "answer": "artwork_id",
    },
    {
        "given": {"hall": "halls"},
        "ask": ["Who is the guard of hall {hall[id]}?", "Name the guard of hall {hall[id]}."],
        "plan": [("hall_info", {"hall": "{hall[id]}"})],
        "answer": "guard",
    },
    {
        "given": {"art": "artworks"},
        "ask": ["What is the height of {art[work]}?", "How high is the artwork {art[work]}?"],
        "plan": [FIND_ARTWORK, ARTWORK_OF],
        "answer": "height",
    },
    {
        "given": {"art": "artworks"},
        "ask": ["In which hall is {art[work]}?", "Which hall shows {art[work]}?"],
        "plan": [FIND_ARTWORK, ARTWORK_OF],
        "answer": "hall",
    },
    {
        "given": {"tour": "tours"},
        "ask": [f"What is the fee of the {TOUR}?", f"How much is the fee for the {TOUR}?"],
        "plan": [FIND_TOUR, TOUR_OF],
        "answer": "fee",
    },
    {
        "given": {"tour": "tours"},
        "ask": [f"How many guests join the {TOUR}?", f"Give the number of guests of the {TOUR}."],
        "plan": [FIND_TOUR, TOUR_OF],
        "answer": "guests",
    },
    {
        "given": {"art": "artworks"},
        "ask": ["Who is the painter of {art[work]}?", "Name the painter of the artwork {art[work]}."],
        "plan": [FIND_ARTWORK, ARTWORK_OF, ("painter_info", {"painter_id": (1, "painter_id")})],
        "answer": "painter",
    },
    {
        "given": {"art": "artworks"},
        "ask": ["Who guards the hall that shows {art[work]}?", "Name the guard of the hall of {art[work]}."],
        "plan": [FIND_ARTWORK, ARTWORK_OF, ("hall_info", {"hall": (1, "hall")})],
        "answer": "guard",
    },
]
