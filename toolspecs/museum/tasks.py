"""Questions about the museum; what a template holds is told in `tmcli/templates.py`."""

from typing import Any

VISITORS = list(range(2, 31))
FIND_ARTWORK = ("find_artwork", {"work": "{art[work]}"})
FIND_OTHER = ("find_artwork", {"work": "{other[work]}"})
ARTWORK_OF = ("artwork_info", {"artwork_id": (0, "artwork_id")})
OTHER_OF = ("artwork_info", {"artwork_id": (1, "artwork_id")})
FIND_TOUR = ("find_tour", {"guide": "{tour[guide]}", "held_on": "{tour[held_on]}"})
TOUR_OF = ("tour_info", {"tour_id": (0, "tour_id")})

TEMPLATES: list[dict[str, Any]] = [
    {
        "given": {"art": "artworks"},
        "ask": [
            "Catalogue entry '{art[work]}': artwork id?",
            "Our catalogue lists '{art[work]}' with an artwork id. Tell me that id.",
            "I am labelling '{art[work]}' and lack its artwork id.",
        ],
        "plan": [FIND_ARTWORK],
        "answer": "artwork_id",
    },
    {
        "given": {"hall": "halls"},
        "ask": [
            "Guard on duty in hall {hall[id]}?",
            "Someone guards hall {hall[id]} today; who?",
            "Tell me the guard posted to hall {hall[id]}.",
        ],
        "plan": [("hall_info", {"hall": "{hall[id]}"})],
        "answer": "guard",
    },
    {
        "given": {"art": "artworks"},
        "ask": [
            "Everything hanging in hall {art[hall]}: artwork ids, please.",
            "Hall {art[hall]} is being emptied; enumerate its artwork ids.",
            "Artwork ids on show in hall {art[hall]}?",
        ],
        "plan": [("hall_info", {"hall": "{art[hall]}"})],
        "answer": {"combine": "set", "of": [(0, "artwork_ids")]},
    },
    {
        "given": {"art": "artworks"},
        "ask": [
            "Height of '{art[work]}' in cm?",
            "A frame for '{art[work]}' must be how many cm high?",
            "'{art[work]}' hangs on a wall; how many cm tall is the work?",
        ],
        "plan": [FIND_ARTWORK, ARTWORK_OF],
        "answer": "height_cm",
    },
    {
        "given": {"art": "artworks"},
        "ask": [
            "Visitors look for '{art[work]}'. Send them to what hall?",
            "'{art[work]}' hangs in one of our halls; tell me the hall.",
            "Hall with '{art[work]}' in it?",
        ],
        "plan": [FIND_ARTWORK, ARTWORK_OF],
        "answer": "hall",
    },
    {
        "given": {"art": "artworks"},
        "ask": [
            "Last cleaning of '{art[work]}', written YYYY-MM-DD?",
            "The restorer cleaned '{art[work]}' on some day; note it as YYYY-MM-DD.",
            "'{art[work]}' looks dusty: last cleaned on (YYYY-MM-DD)?",
        ],
        "plan": [FIND_ARTWORK, ARTWORK_OF],
        "answer": "cleaned_on",
    },
    {
        "given": {"tour": "tours"},
        "ask": [
            "{tour[guide]} leads a tour on {tour[held_on]}; fee in EUR?",
            "Fee, in EUR, charged by {tour[guide]} for touring on {tour[held_on]}?",
            "Joining {tour[guide]}'s tour of {tour[held_on]} costs how many EUR?",
        ],
        "plan": [FIND_TOUR, TOUR_OF],
        "answer": "fee_eur",
    },
    {
        "given": {"tour": "tours"},
        "ask": [
            "Guests signed up with {tour[guide]} for {tour[held_on]}: what number?",
            "How crowded is {tour[guide]}'s tour on {tour[held_on]}, in guests?",
            "{tour[guide]} walks the museum on {tour[held_on]} with how many guests?",
        ],
        "plan": [FIND_TOUR, TOUR_OF],
        "answer": "guests",
    },
    {
        "given": {"art": "artworks", "other": "artworks"},
        "ask": [
            "Artworks {art[id]} and {other[id]}: how many cm apart are their heights?",
            "One of {art[id]} and {other[id]} is taller. How many cm more?",
            "Subtract the heights of artworks {art[id]} and {other[id]}; cm left over?",
        ],
        "plan": [
            ("artwork_info", {"artwork_id": "{art[id]}"}),
            ("artwork_info", {"artwork_id": "{other[id]}"}),
        ],
        "answer": {"combine": "difference", "of": [(0, "height_cm"), (1, "height_cm")]},
    },
    {
        "given": {"tour": "tours", "n": VISITORS},
        "ask": [
            "Sign {n} visitors up with {tour[guide]} on {tour[held_on]}; voucher?",
            "A party of {n} visitors joins {tour[guide]}'s tour of {tour[held_on]}. Tell them the voucher.",
            "Voucher for {n} visitors walking with {tour[guide]} on {tour[held_on]}?",
        ],
        "plan": [FIND_TOUR, ("join_tour", {"tour_id": (0, "tour_id"), "visitors": "{n}"})],
        "answer": "voucher",
    },
    {
        "given": {"art": "artworks"},
        "ask": [
            "'{art[work]}' was painted by somebody; by whom?",
            "Painter behind '{art[work]}'?",
            "Whose brush made '{art[work]}'? The painter, please.",
        ],
        "plan": [FIND_ARTWORK, ARTWORK_OF, ("painter_info", {"painter_id": (1, "painter_id")})],
        "answer": "painter",
    },
    {
        "given": {"art": "artworks"},
        "ask": [
            "Somebody touched '{art[work]}'. Call the guard of its hall: who?",
            "Guard watching over '{art[work]}'?",
            "Tell me the guard in whose hall '{art[work]}' hangs.",
        ],
        "plan": [FIND_ARTWORK, ARTWORK_OF, ("hall_info", {"hall": (1, "hall")})],
        "answer": "guard",
    },
    {
        "given": {"tour": "tours"},
        "ask": [
            "{tour[guide]}'s tour of {tour[held_on]} gathers in one hall; area in m2?",
            "How large, in m2, is the hall {tour[guide]} shows on {tour[held_on]}?",
            "Area (m2) of the hall toured by {tour[guide]} on {tour[held_on]}?",
        ],
        "plan": [FIND_TOUR, TOUR_OF, ("hall_info", {"hall": (1, "hall")})],
        "answer": "area_m2",
    },
    {
        "given": {"art": "artworks"},
        "ask": [
            "Its painter left how many works, if we speak of '{art[work]}'?",
            "Output of the painter of '{art[work]}', counted in works?",
            "Whoever painted '{art[work]}' made how many works overall?",
        ],
        "plan": [FIND_ARTWORK, ARTWORK_OF, ("painter_info", {"painter_id": (1, "painter_id")})],
        "answer": "works",
    },
    {
        "given": {"art": "artworks", "other": "artworks"},
        "ask": [
            "Stack '{art[work]}' upon '{other[work]}': total height in cm?",
            "Combined height (cm) of '{art[work]}' with '{other[work]}'?",
            "'{art[work]}' and '{other[work]}' hang one above the other; cm of wall needed?",
        ],
        "plan": [FIND_ARTWORK, FIND_OTHER, ARTWORK_OF, OTHER_OF],
        "answer": {"combine": "sum", "of": [(2, "height_cm"), (3, "height_cm")]},
    },
    {
        "given": {"art": "artworks", "other": "artworks"},
        "ask": [
            "Earlier cleaning day, '{art[work]}' versus '{other[work]}' (YYYY-MM-DD)?",
            "'{art[work]}' and '{other[work]}' were each cleaned once; note the earlier day, YYYY-MM-DD.",
            "Of '{art[work]}' and '{other[work]}' one was cleaned first. Which day (YYYY-MM-DD)?",
        ],
        "plan": [FIND_ARTWORK, FIND_OTHER, ARTWORK_OF, OTHER_OF],
        "answer": {"combine": "min", "of": [(2, "cleaned_on"), (3, "cleaned_on")]},
    },
]
