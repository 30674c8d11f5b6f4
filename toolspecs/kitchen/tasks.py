"""Questions about the kitchen; what a template holds is told in `tmcli/templates.py`."""

from typing import Any

GRAMS = list(range(20, 500, 5))
FIND_RECIPE = ("find_recipe", {"dish": "{recipe[dish]}"})
FIND_OTHER = ("find_recipe", {"dish": "{other[dish]}"})
RECIPE_OF = ("recipe_info", {"recipe_id": (0, "recipe_id")})
OTHER_OF = ("recipe_info", {"recipe_id": (1, "recipe_id")})
FIND_JAR = ("find_jar", {"spice": "{jar[spice]}"})
JAR_OF = ("jar_info", {"jar": (0, "jar")})
QUICKEST = ("list_recipes", {"ingredient": "{recipe[spice]}"})
QUICKEST_OF = ("recipe_info", {"recipe_id": (0, "recipe_ids", 0)})

TEMPLATES: list[dict[str, Any]] = [
    {
        "given": {"jar": "jars"},
        "ask": [
            "Which jar holds {jar[spice]}?",
            "In which jar is the {jar[spice]}?",
            "Find the jar of {jar[spice]}.",
        ],
        "plan": [FIND_JAR],
        "answer": "jar",
    },
    {
        "given": {"recipe": "recipes"},
        "ask": [
            "Which spice goes into recipe {recipe[id]}?",
            "Name the spice of recipe {recipe[id]}.",
            "Recipe {recipe[id]}: which spice is in it?",
        ],
        "plan": [("recipe_info", {"recipe_id": "{recipe[id]}"})],
        "answer": "spice",
    },
    {
        "given": {"recipe": "recipes"},
        "ask": [
            "Which recipe ids use {recipe[spice]}?",
            "List the ids of all recipes with {recipe[spice]}.",
            "I have {recipe[spice]}. Give the recipe ids that need it.",
        ],
        "plan": [QUICKEST],
        "answer": {"combine": "set", "of": [(0, "recipe_ids")]},
    },
    {
        "given": {"recipe": "recipes"},
        "ask": [
            "How many minutes does {recipe[dish]} take?",
            "Give the minutes that {recipe[dish]} takes.",
            "How long do I cook {recipe[dish]}, in minutes?",
        ],
        "plan": [FIND_RECIPE, RECIPE_OF],
        "answer": "time_min",
    },
    {
        "given": {"recipe": "recipes"},
        "ask": [
            "Which spice goes into {recipe[dish]}?",
            "What is the spice of {recipe[dish]}?",
            "Name the spice in {recipe[dish]}.",
        ],
        "plan": [FIND_RECIPE, RECIPE_OF],
        "answer": "spice",
    },
    {
        "given": {"jar": "jars"},
        "ask": [
            "How many grams of {jar[spice]} are there?",
            "Give the grams of {jar[spice]} we have.",
            "How much {jar[spice]} is left, in grams?",
        ],
        "plan": [FIND_JAR, JAR_OF],
        "answer": "stock_g",
    },
    {
        "given": {"jar": "jars"},
        "ask": [
            "Until when is the {jar[spice]} good, as YYYY-MM-DD?",
            "What is the best before date (YYYY-MM-DD) of the {jar[spice]}?",
            "By which date should the {jar[spice]} be used (YYYY-MM-DD)?",
        ],
        "plan": [FIND_JAR, JAR_OF],
        "answer": "best_before",
    },
    {
        "given": {"recipe": "recipes"},
        "ask": [
            "What is the phone of the cook of recipe {recipe[id]}?",
            "Which phone number has the cook of recipe {recipe[id]}?",
            "I want to call the cook of recipe {recipe[id]}. Give the phone number.",
        ],
        "plan": [
            ("recipe_info", {"recipe_id": "{recipe[id]}"}),
            ("cook_info", {"cook_id": (0, "cook_id")}),
        ],
        "answer": "phone",
    },
    {
        "given": {"recipe": "recipes", "other": "recipes"},
        "ask": [
            "How many minutes do recipes {recipe[id]} and {other[id]} take one after the other?",
            "Add up the minutes of recipes {recipe[id]} and {other[id]}.",
            "I cook recipe {recipe[id]} and then {other[id]}. How many minutes is that?",
        ],
        "plan": [
            ("recipe_info", {"recipe_id": "{recipe[id]}"}),
            ("recipe_info", {"recipe_id": "{other[id]}"}),
        ],
        "answer": {"combine": "sum", "of": [(0, "time_min"), (1, "time_min")]},
    },
    {
        "given": {"jar": "jars", "grams": GRAMS},
        "ask": [
            "Order {grams} grams of {jar[spice]} for {jar[restock]} and give the order number.",
            "We need {grams} grams of {jar[spice]} on {jar[restock]}. Order it; which order number is it?",
            "Have {grams} grams of {jar[spice]} delivered on {jar[restock]}. What is the order number?",
        ],
        "plan": [
            FIND_JAR,
            (
                "order_spice",
                {"jar": (0, "jar"), "amount_g": "{grams}", "deliver_on": "{jar[restock]}"},
            ),
        ],
        "answer": "order_no",
    },
    {
        "given": {"recipe": "recipes"},
        "ask": [
            "Who is the cook of {recipe[dish]}?",
            "Which cook made up {recipe[dish]}?",
            "Name the cook of {recipe[dish]}.",
        ],
        "plan": [FIND_RECIPE, RECIPE_OF, ("cook_info", {"cook_id": (1, "cook_id")})],
        "answer": "cook",
    },
    {
        "given": {"recipe": "recipes"},
        "ask": [
            "Which jar do I need for the spice in {recipe[dish]}?",
            "{recipe[dish]} needs a spice. Which jar holds it?",
            "I cook {recipe[dish]}. Find the jar of its spice.",
        ],
        "plan": [FIND_RECIPE, RECIPE_OF, ("find_jar", {"spice": (1, "spice")})],
        "answer": "jar",
    },
    {
        "given": {"recipe": "recipes"},
        "ask": [
            "Who is the cook of the quickest recipe with {recipe[spice]}?",
            "Of all recipes with {recipe[spice]}, take the quickest. Which cook made it up?",
            "Name the cook of the recipe with {recipe[spice]} that takes least time.",
        ],
        "plan": [QUICKEST, QUICKEST_OF, ("cook_info", {"cook_id": (1, "cook_id")})],
        "answer": "cook",
    },
    {
        "given": {"recipe": "recipes"},
        "ask": [
            "What is the price in EUR of the spice that goes into {recipe[dish]}?",
            "{recipe[dish]} needs a spice. How many EUR is its jar?",
            "Give the price of the spice in {recipe[dish]}, in EUR.",
        ],
        "plan": [
            FIND_RECIPE,
            RECIPE_OF,
            ("find_jar", {"spice": (1, "spice")}),
            ("jar_info", {"jar": (2, "jar")}),
        ],
        "answer": "price_eur",
    },
    {
        "given": {"recipe": "recipes", "other": "recipes"},
        "ask": [
            "By how many minutes do {recipe[dish]} and {other[dish]} differ?",
            "What is the difference in minutes between {recipe[dish]} and {other[dish]}?",
            "Compare the minutes of {recipe[dish]} and {other[dish]}: what lies between them?",
        ],
        "plan": [FIND_RECIPE, FIND_OTHER, RECIPE_OF, OTHER_OF],
        "answer": {"combine": "difference", "of": [(2, "time_min"), (3, "time_min")]},
    },
    {
        "given": {"jar": "jars", "other": "jars"},
        "ask": [
            "How many grams of {jar[spice]} and {other[spice]} are there together?",
            "Add up the grams of {jar[spice]} and of {other[spice]}.",
            "{jar[spice]} and {other[spice]}: how many grams is that in all?",
        ],
        "plan": [
            FIND_JAR,
            ("find_jar", {"spice": "{other[spice]}"}),
            JAR_OF,
            ("jar_info", {"jar": (1, "jar")}),
        ],
        "answer": {"combine": "sum", "of": [(2, "stock_g"), (3, "stock_g")]},
    },
]
