"""Questions about a harbor; what a template holds is told in `tmcli/templates.py`."""

from typing import Any

LOOK_UP = ("look_up_vessel", {"vessel": "{vessel[vessel]}"})
SHEET = ("vessel_sheet", {"hull_no": (0, "hull_no")})
CARGO = ("cargo_manifest", {"hull_no": (0, "hull_no")})
DEEP_ENOUGH = ("berths_deeper_than", {"depth_m": (1, "draught_m")})

TIMES = [f"{hour:02}:{minute:02}" for hour in range(24) for minute in range(0, 60, 5)]
DEPTHS = [round(3.2 + 0.1 * i, 1) for i in range(70)]

TEMPLATES: list[dict[str, Any]] = [
    {
        "given": {"vessel": "vessels"},
        "ask": [
            "In which port is the vessel {vessel[vessel]} at home?",
            "Which port is home to the ship {vessel[vessel]}?",
            "Name the home port of {vessel[vessel]}.",
        ],
        "plan": [LOOK_UP],
        "answer": "home_port",
    },
    {
        "given": {"port": "ports", "time": TIMES},
        "ask": [
            "It is {time} here in the harbor. What time is it in {port[port]}?",
            "When our harbor clock says {time}, what does the clock in {port[port]} say?",
            "Convert {time} harbor time to the local time of {port[port]}.",
        ],
        "plan": [("port_clock", {"port": "{port[port]}", "harbor_time": "{time}"})],
        "answer": "local_time",
    },
    {
        "given": {"berth": "berths"},
        "ask": [
            "How many tonnes can the crane at berth {berth[id]} lift?",
            "What is the lifting power of the crane of berth {berth[id]}, in tonnes?",
            "Up to how many tonnes may a load weigh for the crane at berth {berth[id]}?",
        ],
        "plan": [("berth_sheet", {"berth_no": "{berth[id]}"})],
        "answer": "crane_t",
    },
    {
        "given": {"vessel": "vessels"},
        "ask": [
            "Which goods make up the largest part of the cargo of vessel {vessel[id]}?",
            "Of what does vessel {vessel[id]} carry the most tonnes?",
            "Name the heaviest item in the cargo of vessel {vessel[id]}.",
        ],
        "plan": [("cargo_manifest", {"hull_no": "{vessel[id]}"})],
        "answer": (0, "cargo", 0, "goods"),
    },
    {
        "given": {"vessel": "vessels"},
        "ask": [
            "Who is the captain of the {vessel[vessel]}?",
            "Who commands the vessel {vessel[vessel]}?",
            "I have to speak to the captain of the {vessel[vessel]}. What is the name?",
        ],
        "plan": [LOOK_UP, SHEET],
        "answer": "captain",
    },
    {
        "given": {"vessel": "vessels"},
        "ask": [
            "How many metres long is the ship {vessel[vessel]}?",
            "What length does the vessel {vessel[vessel]} have, in metres?",
            "Tell me the length of the {vessel[vessel]} from bow to stern, in metres.",
        ],
        "plan": [LOOK_UP, SHEET],
        "answer": "length_m",
    },
    {
        "given": {"vessel": "vessels", "time": TIMES},
        "ask": [
            "When it is {time} in this harbor, what time is it in the home port of the {vessel[vessel]}?",
            "The crew of the {vessel[vessel]} calls its home port at {time} our time. What time is it there?",
            "What does the clock in the home port of the {vessel[vessel]} show at {time} harbor time?",
        ],
        "plan": [LOOK_UP, ("port_clock", {"port": (0, "home_port"), "harbor_time": "{time}"})],
        "answer": "local_time",
    },
    {
        "given": {"vessel": "vessels"},
        "ask": [
            "How many tonnes does the heaviest item in the cargo of the {vessel[vessel]} weigh?",
            "How many tonnes of its main cargo does the {vessel[vessel]} carry?",
            "What is the largest weight, in tonnes, listed in the cargo of the {vessel[vessel]}?",
        ],
        "plan": [LOOK_UP, CARGO],
        "answer": (1, "cargo", 0, "tonnes"),
    },
    {
        "given": {"depth": DEPTHS},
        "ask": [
            "What is the daily fee in euros of the shallowest berth that is deeper than {depth} m?",
            "Among the berths deeper than {depth} metres, take the shallowest. How many euros does it cost a "
            "day?",
            "A boat needs more than {depth} m of water. What does the shallowest suitable berth cost per "
            "day, "
            "in euros?",
        ],
        "plan": [
            ("berths_deeper_than", {"depth_m": "{depth}"}),
            ("berth_sheet", {"berth_no": (0, "berths", 0, "berth_no")}),
        ],
        "answer": "fee_eur",
    },
    {
        "given": {"a": "berths", "b": "berths"},
        "ask": [
            "What do berths {a[id]} and {b[id]} cost a day, both together, in euros?",
            "We rent berth {a[id]} and berth {b[id]} for one day. How many euros is that in all?",
            "Add up the daily fees of the berths {a[id]} and {b[id]}, in euros.",
        ],
        "plan": [("berth_sheet", {"berth_no": "{a[id]}"}), ("berth_sheet", {"berth_no": "{b[id]}"})],
        "answer": {"combine": "sum", "of": [(0, "fee_eur"), (1, "fee_eur")]},
    },
    {
        "given": {"vessel": "vessels"},
        "ask": [
            "How many of our berths are deep enough for the {vessel[vessel]}?",
            "Count the berths that are deeper than the draught of the {vessel[vessel]}.",
            "At how many berths could the {vessel[vessel]} lie without touching ground?",
        ],
        "plan": [LOOK_UP, SHEET, DEEP_ENOUGH],
        "answer": {"combine": "count", "of": [(2, "berths")]},
    },
    {
        "given": {"a": "vessels", "b": "vessels", "c": "vessels"},
        "ask": [
            "Which of the vessels {a[id]}, {b[id]} and {c[id]} has the smallest draught?",
            "Of vessels {a[id]}, {b[id]} and {c[id]}, which one could enter the shallowest water?",
            "The channel is shallow: which draws least, vessel {a[id]}, {b[id]} or {c[id]}?",
        ],
        "plan": [
            ("vessel_sheet", {"hull_no": "{a[id]}"}),
            ("vessel_sheet", {"hull_no": "{b[id]}"}),
            ("vessel_sheet", {"hull_no": "{c[id]}"}),
        ],
        "answer": {
            "combine": "argmin",
            "of": [(0, "draught_m"), (1, "draught_m"), (2, "draught_m")],
            "names": ["{a[id]}", "{b[id]}", "{c[id]}"],
        },
    },
    {
        "given": {"vessel": "vessels"},
        "ask": [
            "Which is the shallowest berth that is still deep enough for the {vessel[vessel]}?",
            "We keep the deep berths free: name the shallowest one whose depth exceeds the draught of the "
            "{vessel[vessel]}.",
            "Of the berths in which the {vessel[vessel]} floats, which has the least depth?",
        ],
        "plan": [LOOK_UP, SHEET, DEEP_ENOUGH],
        "answer": (2, "berths", 0, "berth_no"),
    },
    {
        "given": {"a": "vessels", "b": "vessels"},
        "ask": [
            "By how many metres do the lengths of the {a[vessel]} and the {b[vessel]} differ?",
            "How many metres lie between the length of the {a[vessel]} and that of the {b[vessel]}?",
            "Of the ships {a[vessel]} and {b[vessel]}, one is longer. By how many metres?",
        ],
        "plan": [
            ("look_up_vessel", {"vessel": "{a[vessel]}"}),
            ("look_up_vessel", {"vessel": "{b[vessel]}"}),
            ("vessel_sheet", {"hull_no": (0, "hull_no")}),
            ("vessel_sheet", {"hull_no": (1, "hull_no")}),
        ],
        "answer": {"combine": "difference", "of": [(2, "length_m"), (3, "length_m")]},
    },
    {
        "given": {"vessel": "vessels"},
        "ask": [
            "From what date is the shallowest berth free that is deep enough for the {vessel[vessel]}?",
            "The {vessel[vessel]} wants the shallowest berth it floats in. From when is that berth free?",
            "Find the shallowest berth that suits the draught of the {vessel[vessel]}. From which day is "
            "it free?",
        ],
        "plan": [
            LOOK_UP,
            SHEET,
            DEEP_ENOUGH,
            ("berth_sheet", {"berth_no": (2, "berths", 0, "berth_no")}),
        ],
        "answer": "free_from",
    },
    {
        "given": {"vessel": "vessels", "arrival": "arrivals"},
        "ask": [
            "The {vessel[vessel]} arrives on {arrival[id]}. Request the shallowest berth that is deep enough "
            "and give me the mooring code.",
            "Moor the {vessel[vessel]} on {arrival[id]} at the shallowest berth in which it floats. What is "
            "the mooring code?",
            "Please request a mooring for the {vessel[vessel]}, arriving {arrival[id]}, at the shallowest "
            "berth that suits its draught. Which mooring code does it get?",
        ],
        "plan": [
            LOOK_UP,
            SHEET,
            DEEP_ENOUGH,
            (
                "request_mooring",
                {
                    "hull_no": (0, "hull_no"),
                    "berth_no": (2, "berths", 0, "berth_no"),
                    "arrive_on": "{arrival[id]}",
                },
            ),
        ],
        "answer": "mooring_code",
    },
]
