"""Questions about the clinic; what a template holds is told in `tmcli/toolbox.py`."""

from typing import Any

FIND_CHART = ("find_chart", {"patient": "{chart[patient]}"})
CHART_OF = ("chart_info", {"chart": (0, "chart")})

TEMPLATES: list[dict[str, Any]] = [
    {
        "given": {"chart": "charts"},
        "ask": ["What is the chart number of {chart[patient]}?", "Which chart belongs to {chart[patient]}?"],
        "plan": [FIND_CHART],
        "answer": "chart",
    },
    {
        "given": {"drug": "drugs"},
        "ask": ["What is the dose of drug {drug[id]}?", "Give the dose of drug {drug[id]}."],
        "plan": [("drug_info", {"drug": "{drug[id]}"})],
        "answer": "dose",
    },
    {
        "given": {"chart": "charts"},
        "ask": ["What is the weight of {chart[patient]}?", "How many kilos does {chart[patient]} weigh?"],
        "plan": [FIND_CHART, CHART_OF],
        "answer": "weight",
    },
    {
        "given": {"chart": "charts"},
        "ask": ["Which drug does {chart[patient]} take?", "Give the drug of {chart[patient]}."],
        "plan": [FIND_CHART, CHART_OF],
        "answer": "drug",
    },
    {
        "given": {"lab": "tests"},
        "ask": [
            "What is the {lab[test]} value of {lab[patient]}?",
            "Which {lab[test]} value did the lab find for {lab[patient]}?",
        ],
        "plan": [
            ("find_chart", {"patient": "{lab[patient]}"}),
            ("lab_value", {"chart": (0, "chart"), "test": "{lab[test]}"}),
        ],
        "answer": "value",
    },
    {
        "given": {"chart": "charts"},
        "ask": ["Who is the physician of chart {chart[id]}?", "Name the physician of chart {chart[id]}."],
        "plan": [
            ("chart_info", {"chart": "{chart[id]}"}),
            ("physician_info", {"physician_id": (0, "physician_id")}),
        ],
        "answer": "surname",
    },
    {
        "given": {"chart": "charts"},
        "ask": [
            "What is the dose of the drug that {chart[patient]} takes?",
            "{chart[patient]} takes a drug. What is its dose?",
        ],
        "plan": [FIND_CHART, CHART_OF, ("drug_info", {"drug": (1, "drug")})],
        "answer": "dose",
    },
    {
        "given": {"chart": "charts"},
        "ask": [
            "What is the pager number of the physician of {chart[patient]}?",
            "{chart[patient]} calls the physician. Which pager number is it?",
        ],
        "plan": [FIND_CHART, CHART_OF, ("physician_info", {"physician_id": (1, "physician_id")})],
        "answer": "pager",
    },
]
