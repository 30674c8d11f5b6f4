"""Templates of tasks. Each is filled in anew for every task, over the world of that task's seed.

    given   {slot: table of the world}; a row is drawn for each slot
    ask     the question in several wordings; {repair[customer]} is a column of the row, {repair[id]} its id
    plan    the calls that lead to the answer: (tool, {parameter: value}). A value is a text like those
            above, a number, or (0, "repair_id"): what call 0 replied under that key
    answer  a key of the last reply, or a path (1, "price_eur"), or a combination of several

A question names the unit of its answer, and never the answer. More in the docstring of `tmcli/templates.py`.
"""

from typing import Any

FIND = ("find_repair", {"customer": "{repair[customer]}"})
FIND_OTHER = ("find_repair", {"customer": "{other[customer]}"})

TEMPLATES: list[dict[str, Any]] = [
    {
        "given": {"repair": "repairs"},
        "ask": [
            "When is repair {repair[id]} ready?",
            "On which day can repair {repair[id]} be fetched?",
        ],
        "plan": [("repair_info", {"repair_id": "{repair[id]}"})],
        "answer": "ready_on",
    },
    {
        "given": {"repair": "repairs"},
        "ask": [
            "Which bicycle did {repair[customer]} bring in?",
            "What bicycle is being repaired for {repair[customer]}?",
        ],
        "plan": [FIND, ("repair_info", {"repair_id": (0, "repair_id")})],
        "answer": "bicycle",
    },
    {
        "given": {"repair": "repairs"},
        "ask": [
            "Under which phone number do I reach the mechanic who repairs the bicycle of {repair[customer]}?",
            "{repair[customer]} wants to call the mechanic of the repair. What is the phone number?",
        ],
        "plan": [
            FIND,
            ("repair_info", {"repair_id": (0, "repair_id")}),
            ("mechanic_info", {"mechanic_id": (1, "mechanic_id")}),
        ],
        "answer": "phone",
    },
    {
        "given": {"repair": "repairs", "other": "repairs"},
        "ask": [
            "How many euros do {repair[customer]} and {other[customer]} pay for their repairs together?",
            "What do the repairs of {repair[customer]} and {other[customer]} come to, in euros?",
        ],
        "plan": [
            FIND,
            FIND_OTHER,
            ("repair_info", {"repair_id": (0, "repair_id")}),
            ("repair_info", {"repair_id": (1, "repair_id")}),
        ],
        "answer": {"combine": "sum", "of": [(2, "price_eur"), (3, "price_eur")]},
    },
]
