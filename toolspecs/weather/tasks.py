"""Questions about the weather; what a template holds is told in `tmcli/templates.py`."""

from typing import Any

AT = ("station_at", {"place": "{station[place]}"})
AT_A, AT_B = ("station_at", {"place": "{a[place]}"}), ("station_at", {"place": "{b[place]}"})
ON = {"measured_on": "{day[day]}"}
NEAREST = ("nearest_stations", {"station_id": (0, "station_id"), "how_many": 1})
RAIN = ("rank_by_rain", ON)

TEMPLATES: list[dict[str, Any]] = [
    {
        "given": {"station": "stations"},
        "ask": [
            "What is the id of the weather station at {station[place]}?",
            "Which station measures the weather at {station[place]}?",
            "Give me the station id for {station[place]}.",
        ],
        "plan": [AT],
        "answer": "station_id",
    },
    {
        "given": {"station": "stations"},
        "ask": [
            "At what altitude is station {station[id]}, in metres?",
            "Give the altitude of weather station {station[id]} in metres.",
            "How high up, in metres above the sea, is weather station {station[id]}?",
        ],
        "plan": [("station_profile", {"station_id": "{station[id]}"})],
        "answer": "altitude_m",
    },
    {
        "given": {"day": "days"},
        "ask": [
            "How many millimetres of rain fell at the wettest station on {day[day]}?",
            "What was the most rain that any station measured on {day[day]}, in millimetres?",
            "Give the highest rainfall of {day[day]} in millimetres, over all stations.",
        ],
        "plan": [RAIN],
        "answer": (0, "ranking", 0, "rain_mm"),
    },
    {
        "given": {"station": "stations", "day": "days"},
        "ask": [
            "How warm was it at {station[place]} on {day[day]}, in degrees Celsius?",
            "What temperature in Celsius did they measure at {station[place]} on {day[day]}?",
            "Give the temperature of {day[day]} at {station[place]}, in degrees Celsius.",
        ],
        "plan": [AT, ("daily_reading", {"station_id": (0, "station_id"), **ON})],
        "answer": "temp_c",
    },
    {
        "given": {"station": "stations"},
        "ask": [
            "Since what date has the station at {station[place]} been running?",
            "On which day did the weather station at {station[place]} start to work?",
            "Give the date on which the station at {station[place]} began to measure.",
        ],
        "plan": [AT, ("station_profile", {"station_id": (0, "station_id")})],
        "answer": "running_since",
    },
    {
        "given": {"day": "days"},
        "ask": [
            "At which place did it rain most on {day[day]}?",
            "Name the place with the most rain on {day[day]}.",
            "Where was the wettest weather station on {day[day]}?",
        ],
        "plan": [RAIN, ("station_profile", {"station_id": (0, "ranking", 0, "station_id")})],
        "answer": "place",
    },
    {
        "given": {"station": "stations", "hazard": ["frost", "storm", "flood", "heatwave"]},
        "ask": [
            "Set a {hazard} alert for {station[place]} and tell me its code.",
            "I want a {hazard} alert for the station at {station[place]}. What is the alert code?",
            "Please set up a {hazard} alert at the {station[place]} station. Which code does it get?",
        ],
        "plan": [AT, ("set_alert", {"station_id": (0, "station_id"), "hazard": "{hazard}"})],
        "answer": "alert_code",
    },
    {
        "given": {"station": "stations"},
        "ask": [
            "Which three stations are nearest to the one at {station[place]}? Give their ids.",
            "List the ids of the three weather stations closest to the one at {station[place]}.",
            "The station at {station[place]} is out of order. Name the ids of its three nearest neighbours.",
        ],
        "plan": [AT, ("nearest_stations", {"station_id": (0, "station_id"), "how_many": 3})],
        "answer": {"combine": "set", "of": [(1, "stations", i, "station_id") for i in range(3)]},
    },
    {
        "given": {"a": "stations", "b": "stations", "day": "days"},
        "ask": [
            "How much rain fell at stations {a[id]} and {b[id]} on {day[day]} in all, in millimetres?",
            "Add up the rain of {day[day]} at the stations {a[id]} and {b[id]}, in mm.",
            "What is the sum of the rainfall at {a[id]} and at {b[id]} on {day[day]}, in millimetres?",
        ],
        "plan": [
            ("daily_reading", {"station_id": "{a[id]}", **ON}),
            ("daily_reading", {"station_id": "{b[id]}", **ON}),
        ],
        "answer": {"combine": "sum", "of": [(0, "rain_mm"), (1, "rain_mm")]},
    },
    {
        "given": {"a": "stations", "b": "stations", "c": "stations", "day": "days"},
        "ask": [
            "Which of the stations {a[id]}, {b[id]} and {c[id]} had the strongest wind on {day[day]}?",
            "On {day[day]}, was it windiest at station {a[id]}, {b[id]} or {c[id]}?",
            "Of {a[id]}, {b[id]} and {c[id]}, which station measured the highest wind speed on {day[day]}?",
        ],
        "plan": [
            ("daily_reading", {"station_id": "{a[id]}", **ON}),
            ("daily_reading", {"station_id": "{b[id]}", **ON}),
            ("daily_reading", {"station_id": "{c[id]}", **ON}),
        ],
        "answer": {
            "combine": "argmax",
            "of": [(0, "wind_kmh"), (1, "wind_kmh"), (2, "wind_kmh")],
            "names": ["{a[id]}", "{b[id]}", "{c[id]}"],
        },
    },
    {
        "given": {"a": "stations", "b": "stations", "day": "days"},
        "ask": [
            "By how many degrees Celsius did the temperatures at {a[place]} and {b[place]} differ on "
            "{day[day]}?",
            "What was the difference in temperature between {a[place]} and {b[place]} on {day[day]}, in "
            "degrees Celsius?",
            "How many degrees Celsius apart were the temperatures at {a[place]} and {b[place]} on "
            "{day[day]}?",
        ],
        "plan": [
            AT_A,
            AT_B,
            (
                "warmer_station",
                {"first_station": (0, "station_id"), "second_station": (1, "station_id"), **ON},
            ),
        ],
        "answer": "difference_c",
        "cannot": False,  # two readings would tell it too
    },
    {
        "given": {"station": "stations", "day": "days"},
        "ask": [
            "What was the temperature, in degrees Celsius, on {day[day]} at the station nearest to the one "
            "at {station[place]}?",
            "Take the station that is closest to the one at {station[place]}. How warm was it there on "
            "{day[day]}, in degrees Celsius?",
            "The thermometer at {station[place]} is broken. What did its nearest neighbour station measure "
            "on {day[day]}, in degrees Celsius?",
        ],
        "plan": [
            AT,
            NEAREST,
            ("daily_reading", {"station_id": (1, "stations", 0, "station_id"), **ON}),
        ],
        "answer": "temp_c",
    },
    {
        "given": {"station": "stations"},
        "ask": [
            "At which place is the weather station that is nearest to the one at {station[place]}?",
            "The station at {station[place]} is closed. Where is the weather station nearest to it?",
            "Name the place of the station that lies closest to the station at {station[place]}.",
        ],
        "plan": [
            AT,
            NEAREST,
            ("station_profile", {"station_id": (1, "stations", 0, "station_id")}),
        ],
        "answer": "place",
    },
    {
        "given": {"a": "stations", "b": "stations", "day": "days"},
        "ask": [
            "What was the higher of the two wind speeds at {a[place]} and {b[place]} on {day[day]}, in km/h?",
            "The wind blew at {a[place]} and {b[place]} on {day[day]}. How many km/h was the stronger one?",
            "Take the windier of {a[place]} and {b[place]} on {day[day]}: how many km/h were measured there?",
        ],
        "plan": [
            AT_A,
            AT_B,
            ("daily_reading", {"station_id": (0, "station_id"), **ON}),
            ("daily_reading", {"station_id": (1, "station_id"), **ON}),
        ],
        "answer": {"combine": "max", "of": [(2, "wind_kmh"), (3, "wind_kmh")]},
    },
    {
        "given": {"day": "days"},
        "ask": [
            "Find the wettest station of {day[day]}. At which place is the station nearest to it?",
            "Which place has the station closest to where it rained most on {day[day]}?",
            "On {day[day]} one station had the most rain. Where is its nearest neighbour station?",
        ],
        "plan": [
            RAIN,
            ("nearest_stations", {"station_id": (0, "ranking", 0, "station_id"), "how_many": 1}),
            ("station_profile", {"station_id": (1, "stations", 0, "station_id")}),
        ],
        "answer": "place",
    },
    {
        "given": {"a": "stations", "b": "stations"},
        "ask": [
            "By how many metres of altitude do the stations at {a[place]} and {b[place]} differ?",
            "What is the difference in altitude between the stations at {a[place]} and {b[place]}, in m?",
            "Of the stations at {a[place]} and {b[place]}, how many metres higher is the upper one?",
        ],
        "plan": [
            AT_A,
            AT_B,
            ("station_profile", {"station_id": (0, "station_id")}),
            ("station_profile", {"station_id": (1, "station_id")}),
        ],
        "answer": {"combine": "difference", "of": [(2, "altitude_m"), (3, "altitude_m")]},
    },
]
