"""Questions about the kitchen; what a template holds is told in `tmcli/toolbox.py`."""

from typing import Any

FIND_RECIPE = ("find_recipe", {"dish": "{recipe[dish]}"})
RECIPE_OF = ("recipe_info", {"recipe_id": (0, "recipe_id")})
FIND_JAR = ("find_jar", {"spice": "{jar[spice]}"})
JAR_OF = ("jar_info", {"jar": (0, "jar")})

TEMPLATES: list[dict[str, Any]] = [
    {
        "given": {"jar": "jars"},
        "ask": ["Which jar holds {jar[spice]}?", "In which jar is the {jar[spice]}?"],
        "plan": [FIND_JAR],
        "answer": "jar",
    },
    {
        "given": {"recipe": "recipes"},
        "ask": ["Which spice goes into recipe {recipe[id]}?", "Name the spice of recipe {recipe[id]}."],
        "plan": [("recipe_info", {"recipe_id": "{recipe[id]}"})],
        "answer": "spice",
    },
    {
        "given": {"recipe": "recipes"},
        "ask": ["How many minutes does {recipe[dish]} take?", "Give the minutes that {recipe[dish]} takes."],
        "plan": [FIND_RECIPE, RECIPE_OF],
        "answer": "minutes",
    },
    {
        "given": {"recipe": "recipes"},
        "ask": ["Which spice goes into {recipe[dish]}?", "What is the spice of {recipe[dish]}?"],
        "plan": [FIND_RECIPE, RECIPE_OF],
        "answer": "spice",
    },
    {
        "given": {"jar": "jars"},
        "ask": ["How many grams of {jar[spice]} are there?", "Give the grams of {jar[spice]} we have."],
        "plan": [FIND_JAR, JAR_OF],
        "answer": "grams",
    },
    {
        "given": {"jar": "jars"},
        "ask": ["What is the price of {jar[spice]}?", "How much does {jar[spice]} cost?"],
        "plan": [FIND_JAR, JAR_OF],
        "answer": "price",
    },
    {
        "given": {"recipe": "recipes"},
        "ask": ["Who is the cook of {recipe[dish]}?", "Which cook made up {recipe[dish]}?"],
        "plan": [FIND_RECIPE, RECIPE_OF, ("cook_info", {"cook_id": (1, "cook_id")})],
        "answer": "cook",
    },
    {
        "given": {"recipe": "recipes"},
        "ask": [
            "Which jar do I need for the spice in {recipe[dish]}?",
            "{recipe[dish]} needs a spice. Which jar holds it?",
        ],
        "plan": [FIND_RECIPE, RECIPE_OF, ("find_jar", {"spice": (1, "spice")})],
        "answer": "jar",
    },
]
