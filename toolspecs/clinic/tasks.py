"""Questions about the clinic; what a template holds is told in `tmcli/templates.py`."""

from typing import Any

TESTS = ["iron", "sodium", "glucose", "calcium", "zinc", "lithium"]
DAYS = list(range(5, 200))
FIND_CHART = ("find_chart", {"patient": "{chart[patient]}"})
FIND_OTHER = ("find_chart", {"patient": "{other[patient]}"})
CHART_OF = ("chart_info", {"chart": (0, "chart")})
OTHER_OF = ("chart_info", {"chart": (1, "chart")})
VISITS = ("list_visits", {"day": "{chart[next_visit]}"})
FIRST_OF = ("chart_info", {"chart": (0, "visits", 0, "chart")})

TEMPLATES: list[dict[str, Any]] = [
    {
        "given": {"chart": "charts"},
        "ask": [
            "Pull the chart number for {chart[patient]}, please.",
            "{chart[patient]} is at the desk; under what chart number are they filed?",
            "We need the chart number that belongs to {chart[patient]}.",
        ],
        "plan": [FIND_CHART],
        "answer": "chart",
    },
    {
        "given": {"drug": "drugs"},
        "ask": [
            "State the dose, in mg, for drug {drug[id]}.",
            "Drug {drug[id]} has a fixed dose; how many mg would that be?",
            "A nurse asks for the mg dose of drug {drug[id]}.",
        ],
        "plan": [("drug_info", {"drug": "{drug[id]}"})],
        "answer": "dose_mg",
    },
    {
        "given": {"chart": "charts"},
        "ask": [
            "Whose chart opens the clinic day {chart[next_visit]}? Its number, please.",
            "Chart number of the earliest visit scheduled for {chart[next_visit]}?",
            "Visits of {chart[next_visit]}: tell me the chart seen first.",
        ],
        "plan": [VISITS],
        "answer": (0, "visits", 0, "chart"),
    },
    {
        "given": {"chart": "charts"},
        "ask": [
            "Recorded weight, in kg, for {chart[patient]}?",
            "How many kg does {chart[patient]} weigh?",
            "Before dosing {chart[patient]} we check body weight: how many kg?",
        ],
        "plan": [FIND_CHART, CHART_OF],
        "answer": "weight_kg",
    },
    {
        "given": {"chart": "charts"},
        "ask": [
            "Which drug does {chart[patient]} take?",
            "{chart[patient]} was prescribed one drug; state its id.",
            "Id of the drug prescribed to {chart[patient]}?",
        ],
        "plan": [FIND_CHART, CHART_OF],
        "answer": "drug",
    },
    {
        "given": {"chart": "charts"},
        "ask": [
            "Next visit of patient {chart[patient]}, written YYYY-MM-DD?",
            "{chart[patient]} forgot the next appointment; remind them (YYYY-MM-DD).",
            "What day is {chart[patient]} expected back at the clinic (YYYY-MM-DD)?",
        ],
        "plan": [FIND_CHART, CHART_OF],
        "answer": "next_visit",
    },
    {
        "given": {"chart": "charts", "test": TESTS},
        "ask": [
            "The lab tested {chart[patient]} for {test}; state the value.",
            "Lab value for {test}, patient {chart[patient]}?",
            "Check {test} for {chart[patient]} and report what the lab found.",
        ],
        "plan": [FIND_CHART, ("lab_value", {"chart": (0, "chart"), "test": "{test}"})],
        "answer": "value",
    },
    {
        "given": {"chart": "charts"},
        "ask": [
            "Chart {chart[id]} is signed by a physician; by whom?",
            "Physician in charge of chart {chart[id]}?",
            "Tell me the physician responsible for chart {chart[id]}.",
        ],
        "plan": [
            ("chart_info", {"chart": "{chart[id]}"}),
            ("physician_info", {"physician_id": (0, "physician_id")}),
        ],
        "answer": "physician",
    },
    {
        "given": {"drug": "drugs", "other": "drugs"},
        "ask": [
            "Drugs {drug[id]} and {other[id]} are given at once; total dose in mg?",
            "Combined dose, in mg, for drug {drug[id]} plus drug {other[id]}?",
            "Sum both doses, drug {drug[id]} with drug {other[id]}, in mg.",
        ],
        "plan": [("drug_info", {"drug": "{drug[id]}"}), ("drug_info", {"drug": "{other[id]}"})],
        "answer": {"combine": "sum", "of": [(0, "dose_mg"), (1, "dose_mg")]},
    },
    {
        "given": {"chart": "charts", "n": DAYS},
        "ask": [
            "Please refill the drug of {chart[patient]} for {n} days; we need the refill number.",
            "{chart[patient]} runs out of the drug: refill {n} days, then state the refill number.",
            "Refill number once {chart[patient]} is given another {n} days?",
        ],
        "plan": [FIND_CHART, ("refill_drug", {"chart": (0, "chart"), "n_days": "{n}"})],
        "answer": "refill_no",
    },
    {
        "given": {"chart": "charts"},
        "ask": [
            "{chart[patient]} takes a drug; dose in mg?",
            "Dose, in mg, of whatever drug {chart[patient]} was prescribed?",
            "How strong, in mg, is {chart[patient]}'s prescribed drug?",
        ],
        "plan": [FIND_CHART, CHART_OF, ("drug_info", {"drug": (1, "drug")})],
        "answer": "dose_mg",
    },
    {
        "given": {"chart": "charts"},
        "ask": [
            "{chart[patient]} needs the physician paged. Pager number?",
            "Page the physician treating {chart[patient]}: on what pager number?",
            "Pager of the physician who treats {chart[patient]}?",
        ],
        "plan": [FIND_CHART, CHART_OF, ("physician_info", {"physician_id": (1, "physician_id")})],
        "answer": "pager",
    },
    {
        "given": {"chart": "charts"},
        "ask": [
            "Physician of the earliest visit scheduled for {chart[next_visit]}?",
            "Somebody is seen first on {chart[next_visit]}; by what physician?",
            "Tell me the physician whose patient opens the day {chart[next_visit]}.",
        ],
        "plan": [VISITS, FIRST_OF, ("physician_info", {"physician_id": (1, "physician_id")})],
        "answer": "physician",
    },
    {
        "given": {"chart": "charts"},
        "ask": [
            "Maker of the drug that {chart[patient]} swallows daily?",
            "{chart[patient]} asks what firm is the maker of the prescribed drug.",
            "Tell {chart[patient]} the maker behind their drug.",
        ],
        "plan": [FIND_CHART, CHART_OF, ("drug_info", {"drug": (1, "drug")})],
        "answer": "maker",
    },
    {
        "given": {"chart": "charts", "other": "charts"},
        "ask": [
            "{chart[patient]} and {other[patient]} step on one scale; how many kg does it show?",
            "Total weight in kg, {chart[patient]} plus {other[patient]}?",
            "Sum the weights (kg) recorded for {chart[patient]} and {other[patient]}.",
        ],
        "plan": [FIND_CHART, FIND_OTHER, CHART_OF, OTHER_OF],
        "answer": {"combine": "sum", "of": [(2, "weight_kg"), (3, "weight_kg")]},
    },
    {
        "given": {"chart": "charts", "other": "charts", "test": TESTS},
        "ask": [
            "Higher {test} value, out of {chart[patient]} and {other[patient]}?",
            "Lab work on {chart[patient]} and {other[patient]}: state the larger {test} value.",
            "{test} was measured for {chart[patient]} and {other[patient]}; report the higher value.",
        ],
        "plan": [
            FIND_CHART,
            FIND_OTHER,
            ("lab_value", {"chart": (0, "chart"), "test": "{test}"}),
            ("lab_value", {"chart": (1, "chart"), "test": "{test}"}),
        ],
        "answer": {"combine": "max", "of": [(2, "value"), (3, "value")]},
    },
]
