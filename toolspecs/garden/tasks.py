"""Questions about gardens; what a template holds is told in `tmcli/templates.py`."""

from typing import Any

RENTED_BY = ("plot_rented_by", {"gardener": "{plot[gardener]}"})
RECORD = ("plot_record", {"plot_no": (0, "plot_no")})
DRIEST = ("driest_plots", {"lane": "{lane[lane]}"})
RECORD_OF_DRIEST = ("plot_record", {"plot_no": (0, "plots", 0, "plot_no")})

DAYS = [f"2027-{month:02}-{day:02}" for month in range(1, 13) for day in range(1, 29)]
GRAMS = list(range(5, 120))
SACHETS = list(range(3, 60))

TEMPLATES: list[dict[str, Any]] = [
    {
        "given": {"plot": "plots"},
        "ask": [
            "Which plot does {plot[gardener]} rent?",
            "What is the number of the garden plot of {plot[gardener]}?",
            "At which plot can I find the gardener {plot[gardener]}?",
        ],
        "plan": [RENTED_BY],
        "answer": "plot_no",
    },
    {
        "given": {"crop": "crops", "grams": GRAMS},
        "ask": [
            "How many seeds are there in {grams} g of {crop[crop]}?",
            "I bought {grams} grams of {crop[crop]} seed. How many grains is that?",
            "Convert {grams} g of seed of the crop {crop[crop]} into a number of seeds.",
        ],
        "plan": [("seeds_in", {"crop": "{crop[crop]}", "seed_g": "{grams}"})],
        "answer": "seeds",
    },
    {
        "given": {"crop": "crops"},
        "ask": [
            "By what date must {crop[crop]} be sown?",
            "What is the last day for sowing {crop[crop]}?",
            "Until when may a gardener sow {crop[crop]}? Give the date.",
        ],
        "plan": [("crop_card", {"crop": "{crop[crop]}"})],
        "answer": "sow_by",
    },
    {
        "given": {"lane": "lanes"},
        "ask": [
            "Which two plots are the driest in {lane[lane]}?",
            "I can water only two plots in {lane[lane]} today: name those with the driest soil.",
            "Give the numbers of the two plots in {lane[lane]} that hold least moisture.",
        ],
        "plan": [DRIEST],
        "answer": {"combine": "set", "of": [(0, "plots", 0, "plot_no"), (0, "plots", 1, "plot_no")]},
    },
    {
        "given": {"plot": "plots"},
        "ask": [
            "Until what date has {plot[gardener]} leased the plot?",
            "When does the lease of {plot[gardener]}'s garden plot end?",
            "On which day does {plot[gardener]} have to give the plot back?",
        ],
        "plan": [RENTED_BY, RECORD],
        "answer": "leased_until",
    },
    {
        "given": {"plot": "plots"},
        "ask": [
            "What does {plot[gardener]} grow?",
            "Which crop is on the plot of {plot[gardener]}?",
            "Name the crop that grows in the garden of {plot[gardener]}.",
        ],
        "plan": [RENTED_BY, RECORD],
        "answer": "crop",
    },
    {
        "given": {"plot": "plots", "day": DAYS},
        "ask": [
            "The crop of plot {plot[id]} is sown again on {day}. On what date can it be harvested?",
            "I sow the crop of plot {plot[id]} once more on {day}. When is the harvest?",
            "Give the harvest date of the crop on plot {plot[id]} if it is sown on {day}.",
        ],
        "plan": [
            ("plot_record", {"plot_no": "{plot[id]}"}),
            ("harvest_date", {"crop": (0, "crop"), "sown_on": "{day}"}),
        ],
        "answer": "harvest_on",
    },
    {
        "given": {"lane": "lanes"},
        "ask": [
            "Which crop grows on the driest plot in {lane[lane]}?",
            "What is planted in {lane[lane]} where the soil is driest?",
            "One plot in {lane[lane]} holds less moisture than all others there. Name its crop.",
        ],
        "plan": [DRIEST, RECORD_OF_DRIEST],
        "answer": "crop",
    },
    {
        "given": {"plot": "plots", "sachets": SACHETS},
        "ask": [
            "Order {sachets} sachets of seed of the crop that grows on plot {plot[id]}. What is the order "
            "reference?",
            "Plot {plot[id]} is to be sown again with the same crop. Order {sachets} sachets of its seed and "
            "give me the reference.",
            "Find out what stands on plot {plot[id]}, order {sachets} sachets of that seed, and tell me the "
            "order reference.",
        ],
        "plan": [
            ("plot_record", {"plot_no": "{plot[id]}"}),
            ("order_seed", {"crop": (0, "crop"), "sachets": "{sachets}"}),
        ],
        "answer": "order_ref",
    },
    {
        "given": {"a": "crops", "b": "crops"},
        "ask": [
            "By how many grams do the yields of a plant of {a[crop]} and a plant of {b[crop]} differ?",
            "One plant of {a[crop]} and one of {b[crop]}: how many grams apart are their yields?",
            "How many grams more does the better one of a {a[crop]} plant and a {b[crop]} plant yield?",
        ],
        "plan": [("crop_card", {"crop": "{a[crop]}"}), ("crop_card", {"crop": "{b[crop]}"})],
        "answer": {"combine": "difference", "of": [(0, "yield_g"), (1, "yield_g")]},
    },
    {
        "given": {"plot": "plots"},
        "ask": [
            "How many grams does each plant on the plot of {plot[gardener]} yield?",
            "How much does a plant of the crop that {plot[gardener]} grows yield, in grams?",
            "{plot[gardener]} wants to know the yield of a single plant on the plot, in grams.",
        ],
        "plan": [RENTED_BY, RECORD, ("crop_card", {"crop": (1, "crop")})],
        "answer": "yield_g",
    },
    {
        "given": {"plot": "plots", "grams": GRAMS},
        "ask": [
            "{plot[gardener]} buys {grams} g more seed of the crop on the plot. How many seeds is that?",
            "How many seeds are in {grams} grams of what {plot[gardener]} grows?",
            "Look up the crop of {plot[gardener]}: how many of its seeds make {grams} g?",
        ],
        "plan": [RENTED_BY, RECORD, ("seeds_in", {"crop": (1, "crop"), "seed_g": "{grams}"})],
        "answer": "seeds",
    },
    {
        "given": {"lane": "lanes", "n": SACHETS},
        "ask": [
            "Order {n} sachets of seed of the crop on the driest plot in {lane[lane]}. On what date do they "
            "arrive?",
            "The driest plot in {lane[lane]} needs {n} sachets of new seed of its crop. Order them: which "
            "day will they come?",
            "In {lane[lane]}, take the plot with the least moisture and order {n} sachets of the seed of its "
            "crop. When do they arrive?",
        ],
        "plan": [
            DRIEST,
            RECORD_OF_DRIEST,
            ("order_seed", {"crop": (1, "crop"), "sachets": "{n}"}),
        ],
        "answer": "arrives_on",
    },
    {
        "given": {"a": "plots", "b": "plots", "c": "plots"},
        "ask": [
            "Which of the plots {a[id]}, {b[id]} and {c[id]} is the largest?",
            "Of plots {a[id]}, {b[id]} and {c[id]}, which one covers most ground?",
            "I need a lot of room. Which plot has the largest area: {a[id]}, {b[id]} or {c[id]}?",
        ],
        "plan": [
            ("plot_record", {"plot_no": "{a[id]}"}),
            ("plot_record", {"plot_no": "{b[id]}"}),
            ("plot_record", {"plot_no": "{c[id]}"}),
        ],
        "answer": {
            "combine": "argmax",
            "of": [(0, "area_m2"), (1, "area_m2"), (2, "area_m2")],
            "names": ["{a[id]}", "{b[id]}", "{c[id]}"],
        },
    },
    {
        "given": {"a": "plots", "b": "plots"},
        "ask": [
            "How many square metres do {a[gardener]} and {b[gardener]} rent together?",
            "Put the plots of {a[gardener]} and {b[gardener]} together: how many square metres is that?",
            "What is the area of the gardens of {a[gardener]} and {b[gardener]} in all, in m2?",
        ],
        "plan": [
            ("plot_rented_by", {"gardener": "{a[gardener]}"}),
            ("plot_rented_by", {"gardener": "{b[gardener]}"}),
            ("plot_record", {"plot_no": (0, "plot_no")}),
            ("plot_record", {"plot_no": (1, "plot_no")}),
        ],
        "answer": {"combine": "sum", "of": [(2, "area_m2"), (3, "area_m2")]},
    },
    {
        "given": {"plot": "plots"},
        "ask": [
            "{plot[gardener]} sows the same crop again, on the last day allowed for it. When can it be "
            "harvested?",
            "If {plot[gardener]} waits with sowing the crop of the plot until the latest possible date, on "
            "what date is the harvest?",
            "Find the last sowing date of the crop that {plot[gardener]} grows: if it is sown that day, when "
            "is it harvested?",
        ],
        "plan": [
            RENTED_BY,
            RECORD,
            ("crop_card", {"crop": (1, "crop")}),
            ("harvest_date", {"crop": (1, "crop"), "sown_on": (2, "sow_by")}),
        ],
        "answer": "harvest_on",
    },
]
