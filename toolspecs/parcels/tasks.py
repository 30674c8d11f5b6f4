"""Questions about parcels; what a template holds is told in `tmcli/templates.py`."""

from typing import Any

FOR = ("parcels_for", {"receiver": "{receiver[receiver]}"})
TRACK_LATEST = ("track_parcel", {"tracking_no": (0, "parcels", 0)})
NEAR = ("nearest_depots", {"town": "{town[id]}"})

SERVICES = ["economy", "standard", "express", "overnight"]
DAYS = [f"202{year}-{month:02}-{day:02}" for year in (7, 8) for month in range(1, 13) for day in range(1, 29)]
WEIGHTS = [round(0.35 + 0.15 * i, 2) for i in range(150)]

TEMPLATES: list[dict[str, Any]] = [
    {
        "given": {"parcel": "parcels"},
        "ask": [
            "On what date is parcel {parcel[id]} due?",
            "When should parcel {parcel[id]} arrive? Give the date.",
            "What is the delivery date of parcel {parcel[id]}?",
        ],
        "plan": [("track_parcel", {"tracking_no": "{parcel[id]}"})],
        "answer": "due_on",
    },
    {
        "given": {"kg": WEIGHTS, "service": SERVICES},
        "ask": [
            "What does it cost in euros to send {kg} kg by {service} service?",
            "How many euros is the postage for a parcel of {kg} kg, {service} service?",
            "I have a parcel that weighs {kg} kg. Give the {service} postage in euros.",
        ],
        "plan": [("quote_postage", {"weight_kg": "{kg}", "parcel_service": "{service}"})],
        "answer": "postage_eur",
    },
    {
        "given": {"town": "towns"},
        "ask": [
            "How many kilometres is it to the depot nearest to {town[id]}?",
            "How far is {town[id]} from the nearest parcel depot, in kilometres?",
            "Give the distance in kilometres between {town[id]} and the depot closest to it.",
        ],
        "plan": [NEAR],
        "answer": (0, "depots", 0, "distance_km"),
    },
    {
        "given": {"receiver": "receivers"},
        "ask": [
            "Which parcels are there for {receiver[receiver]}? Give all tracking numbers.",
            "List the tracking numbers of everything that was sent to {receiver[receiver]}.",
            "{receiver[receiver]} asks for the tracking numbers of all parcels on the way. Which are they?",
        ],
        "plan": [FOR],
        "answer": {"combine": "set", "of": [(0, "parcels")]},
    },
    {
        "given": {"receiver": "receivers"},
        "ask": [
            "How many kilograms does the latest parcel for {receiver[receiver]} weigh?",
            "What is the weight in kg of the parcel that was sent last to {receiver[receiver]}?",
            "The newest parcel for {receiver[receiver]}: how heavy is it, in kg?",
        ],
        "plan": [FOR, TRACK_LATEST],
        "answer": "weight_kg",
    },
    {
        "given": {"parcel": "parcels"},
        "ask": [
            "At what time does the depot that holds parcel {parcel[id]} open?",
            "I want to fetch parcel {parcel[id]}. When does its depot open in the morning?",
            "Give the opening time of the depot that has parcel {parcel[id]}.",
        ],
        "plan": [
            ("track_parcel", {"tracking_no": "{parcel[id]}"}),
            ("depot_card", {"depot_id": (0, "depot_id")}),
        ],
        "answer": "opens_at",
    },
    {
        "given": {"town": "towns"},
        "ask": [
            "In which town is the depot that is nearest to {town[id]}?",
            "I live in {town[id]}. Which town do I drive to for the nearest parcel depot?",
            "Name the town of the parcel depot closest to {town[id]}.",
        ],
        "plan": [NEAR, ("depot_card", {"depot_id": (0, "depots", 0, "depot_id")})],
        "answer": "depot_town",
    },
    {
        "given": {"a": "parcels", "b": "parcels"},
        "ask": [
            "How many kilograms do parcels {a[id]} and {b[id]} weigh together?",
            "I have to carry both {a[id]} and {b[id]}. What do the two parcels weigh in kg?",
            "Add up the weights of the parcels {a[id]} and {b[id]}, in kg.",
        ],
        "plan": [
            ("track_parcel", {"tracking_no": "{a[id]}"}),
            ("track_parcel", {"tracking_no": "{b[id]}"}),
        ],
        "answer": {"combine": "sum", "of": [(0, "weight_kg"), (1, "weight_kg")]},
    },
    {
        "given": {"a": SERVICES[:2], "b": SERVICES[2:], "kg": WEIGHTS},
        "ask": [
            "How many euros more does {b} service cost than {a} service for a parcel of {kg} kg?",
            "By how many euros do {a} and {b} postage differ for {kg} kg?",
            "A parcel weighs {kg} kg. What is the difference in euros between {a} and {b} postage?",
        ],
        "plan": [
            ("quote_postage", {"weight_kg": "{kg}", "parcel_service": "{a}"}),
            ("quote_postage", {"weight_kg": "{kg}", "parcel_service": "{b}"}),
        ],
        "answer": {"combine": "difference", "of": [(0, "postage_eur"), (1, "postage_eur")]},
    },
    {
        "given": {"town": "towns", "kg": WEIGHTS, "service": SERVICES, "day": DAYS},
        "ask": [
            "Ship a parcel of {kg} kg by {service} service on {day} from the depot nearest to {town[id]}. "
            "What is the label code?",
            "I am in {town[id]} with a parcel of {kg} kg. Ship it on {day} from the nearest depot, {service} "
            "service, and give me the label code.",
            "On {day}, send {kg} kg by {service} service from the depot closest to {town[id]}. Which label "
            "code does the parcel get?",
        ],
        "plan": [
            NEAR,
            (
                "ship_parcel",
                {
                    "depot_id": (0, "depots", 0, "depot_id"),
                    "weight_kg": "{kg}",
                    "parcel_service": "{service}",
                    "ship_on": "{day}",
                },
            ),
        ],
        "answer": "label_code",
    },
    {
        "given": {"a": "parcels", "b": "parcels", "c": "parcels"},
        "ask": [
            "Which of the parcels {a[id]}, {b[id]} and {c[id]} is the heaviest?",
            "Of parcels {a[id]}, {b[id]} and {c[id]}, which one weighs most?",
            "Which parcel has the greatest weight: {a[id]}, {b[id]} or {c[id]}?",
        ],
        "plan": [
            ("track_parcel", {"tracking_no": "{a[id]}"}),
            ("track_parcel", {"tracking_no": "{b[id]}"}),
            ("track_parcel", {"tracking_no": "{c[id]}"}),
        ],
        "answer": {
            "combine": "argmax",
            "of": [(0, "weight_kg"), (1, "weight_kg"), (2, "weight_kg")],
            "names": ["{a[id]}", "{b[id]}", "{c[id]}"],
        },
    },
    {
        "given": {"receiver": "receivers"},
        "ask": [
            "In which town is the latest parcel for {receiver[receiver]} now?",
            "Where is the parcel that was sent last to {receiver[receiver]}? Name the town.",
            "Name the town of the depot that has the newest parcel for {receiver[receiver]}.",
        ],
        "plan": [FOR, TRACK_LATEST, ("depot_card", {"depot_id": (1, "depot_id")})],
        "answer": "depot_town",
    },
    {
        "given": {"receiver": "receivers", "town": "towns"},
        "ask": [
            "Redirect the latest parcel for {receiver[receiver]} to the depot nearest to {town[id]}. On what "
            "date is it due then?",
            "{receiver[receiver]} is in {town[id]} now. Redirect the newest parcel to the depot nearest "
            "to that "
            "town and tell me the new due date.",
            "Have the parcel that was sent last to {receiver[receiver]} go to the depot closest to "
            "{town[id]}. When is it due now?",
        ],
        "plan": [
            FOR,
            NEAR,
            (
                "redirect_parcel",
                {"tracking_no": (0, "parcels", 0), "depot_id": (1, "depots", 0, "depot_id")},
            ),
        ],
        "answer": "due_on",
    },
    {
        "given": {"receiver": "receivers", "service": SERVICES},
        "ask": [
            "{receiver[receiver]} sends the latest parcel back. What is the {service} postage for it, in "
            "euros?",
            "How many euros is the {service} postage for a parcel as heavy as the last one sent to "
            "{receiver[receiver]}?",
            "What would the newest parcel for {receiver[receiver]} cost in euros if it went by {service} "
            "service?",
        ],
        "plan": [
            FOR,
            TRACK_LATEST,
            ("quote_postage", {"weight_kg": (1, "weight_kg"), "parcel_service": "{service}"}),
        ],
        "answer": "postage_eur",
    },
    {
        "given": {"a": "receivers", "b": "receivers"},
        "ask": [
            "How many kilograms do the latest parcels for {a[receiver]} and {b[receiver]} weigh together?",
            "Take the newest parcel for {a[receiver]} and the newest for {b[receiver]}: what is their weight "
            "in kg in all?",
            "Add up the weights, in kg, of the parcels sent last to {a[receiver]} and to {b[receiver]}.",
        ],
        "plan": [
            ("parcels_for", {"receiver": "{a[receiver]}"}),
            ("parcels_for", {"receiver": "{b[receiver]}"}),
            ("track_parcel", {"tracking_no": (0, "parcels", 0)}),
            ("track_parcel", {"tracking_no": (1, "parcels", 0)}),
        ],
        "answer": {"combine": "sum", "of": [(2, "weight_kg"), (3, "weight_kg")]},
    },
    {
        "given": {"receiver": "receivers", "town": "towns", "service": SERVICES, "day": DAYS},
        "ask": [
            "Ship a parcel as heavy as the latest one for {receiver[receiver]} on {day} from the depot "
            "nearest to {town[id]}, by {service} service. What is its label code?",
            "{receiver[receiver]}, who is in {town[id]}, returns the newest parcel: ship its weight on {day} "
            "from the nearest depot by {service} service and give me the label code.",
            "Ship a parcel of the same weight as the newest one for {receiver[receiver]}: on {day}, by "
            "{service} service, from the depot closest to {town[id]}. Which label code is it?",
        ],
        "plan": [
            FOR,
            TRACK_LATEST,
            NEAR,
            (
                "ship_parcel",
                {
                    "depot_id": (2, "depots", 0, "depot_id"),
                    "weight_kg": (1, "weight_kg"),
                    "parcel_service": "{service}",
                    "ship_on": "{day}",
                },
            ),
        ],
        "answer": "label_code",
    },
]
