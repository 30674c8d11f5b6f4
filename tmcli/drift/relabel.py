"""relabel: the things that tools are about have other names, in question, documents and replies alike.

    task = relabel(task, strength=0.9, rng)         # a hall is a lantern now: lantern_info, "of lantern H402"

Nothing is unfamiliar but the words, and nothing is wrong: it makes any number of toolboxes of a few, for a
policy that is to match a question with documents, and not to know tools by heart. So it is no layer between
model and tools as the others are: the task is another one, with documents, plan and golds of its own, and
`env["words"]` translates for the tools, see `environments/relabeled.py`.

Words are exchanged where questions and documents share them, or where nothing of the plan is called so: what
only the language tells ("how heavy", `weight_kg`) stays.
"""

from __future__ import annotations

import random
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Any

from tmcli import toolbox
from tmcli.drift import names
from tmcli.drift.layer import properties_of
from tmcli.drift.thesaurus import ENDS, VERBS
from tmcli.records import Json, Task

KIND = "relabel"

THINGS = """
    acorn almond amulet anchor antler anvil arrow barrel basin basket beacon beaker bell belt bench bell bolt
    bonnet boulder bracket bramble brick bridle bucket buckle button cable candle canoe canopy
    carpet carriage cedar chain chalk chapel chimney chisel cider clay clog cloak clover cobble collar comet
    copper coral cork cradle crater cricket crown crystal curtain cushion dagger dial diamond donkey
    drawer drum dune easel elbow emblem engine falcon fiddle filter flagon flute fountain funnel furnace
    gadget garnet gazebo gear goblet gong gravel griddle hammer hammock handle harp hatchet hedge
    helmet hinge hook hoop igloo ingot jacket jigsaw kayak kernel kettle keyhole kiln kite knot ladder lagoon
    lantern latch lattice lever lichen locket loom magnet mallet mantle marble medal mill mirror mitten
    monocle mortar nail napkin needle nozzle nugget oar obelisk orchid otter oven paddle panel parrot pebble
    pedal pendant pendulum pepper pigeon pillar pillow pipe piston pocket prism pulley puppet puzzle quarry
    quill quilt raft rail rattle raven reed ribbon ridge ring rivet rocket rope rudder saddle sail sandal
    satchel saucer scarf sceptre scroll shaft shawl shell shield shovel shutter sickle sieve signal skillet
    sled sleeve slipper socket spade spindle spiral splinter spoon spur stable statue stencil stirrup sundial
    swan syrup tablet tankard tassel teapot temple tent thimble thistle throne tile timber token torch totem
    trinket trowel trumpet tunnel turban turnip turret umbrella urn valley valve vase velvet vessel
    violet walnut wagon whistle wicket willow windmill wreath yoke zipper
""".split()

PLAIN = frozenset(
    """
    a all an and at before best born by count date day due each first for from how id ids in is kind kmh last
    list many max min month most name nearest next no number of on one open opened or other paid per running
    second since the time to total two warmer week year amount daily hour left
    """.split()
)
"""Words that are no things, or of any toolbox."""

_TEXT = re.compile(r"[A-Za-z][A-Za-z_]*")
_VOWELS = "aeiou"


@dataclass(frozen=True, slots=True)
class Words:
    """Words for words, both ways: singular -> singular, in lower case."""

    new: dict[str, str]

    def back(self) -> Words:
        return Words({new: old for old, new in self.new.items()})

    def name(self, name: str) -> str:
        """An identifier.

        >>> Words({"hall": "lantern"}).name("hall_info"), Words({"hall": "lantern"}).name("halls")
        ('lantern_info', 'lanterns')
        """
        return "_".join(map(self._word, name.split("_")))

    def text(self, text: str, keep: Iterable[str] = ()) -> str:
        """A sentence; what is to `keep` stays as it is.

        >>> Words({"artwork": "lantern"}).text("An artwork of 'Artwork': which?", ["Artwork"])
        "A lantern of 'Artwork': which?"
        """
        kept = sorted({text for text in keep if text}, key=len, reverse=True)
        if not kept:
            return _WITH_ARTICLE.sub(self._said, text)
        parts = re.split(f"({'|'.join(map(re.escape, kept))})", text)
        return "".join(part if i % 2 else _WITH_ARTICLE.sub(self._said, part) for i, part in enumerate(parts))

    def keys(self, value: Any) -> Any:
        """A reply."""
        if isinstance(value, dict):
            return {self.name(key): self.keys(item) for key, item in value.items()}
        return [self.keys(item) for item in value] if isinstance(value, list) else value

    def path(self, path: Any) -> Any:
        """Where a value is found in replies."""
        if isinstance(path, str):
            return self.name(path)
        return [self.name(key) if isinstance(key, str) else key for key in path]

    def _word(self, word: str) -> str:
        low = word.lower()
        new = self.new.get(low)
        if new is None and low.endswith("s") and low[:-1] in self.new:
            new = f"{self.new[low[:-1]]}s"
        if new is None:
            return word
        return new.capitalize() if word[0].isupper() else new

    def _said(self, found: re.Match[str]) -> str:
        article, space, word = found[1] or "", found[2] or "", found[3]
        new = self.name(word)
        if article and new != word:
            article = article[0] + ("n" if new[0].lower() in _VOWELS else "")
        return f"{article}{space}{new}"


_WITH_ARTICLE = re.compile(r"(?:\b([Aa]n?)(\s+))?\b([A-Za-z][A-Za-z_]*)")


def relabel(task: Task, strength: float, rng: random.Random) -> Task:
    """The task about other things; itself where it has no plan over a toolbox, or no words to exchange."""
    if task.env.get("kind") != "toolbox" or task.env.get("drift") or "words" in task.env or not task.plan:
        return task
    words = _drawn(task, strength, rng)
    if not words.new:
        return task
    values = list(_values(task))
    true = [_document(words, tool) for tool in toolbox.true_tools(task.env)]
    return replace(
        task,
        messages=[{**said, "content": words.text(said["content"], values)} for said in task.messages],
        tools=[_document(words, tool) for tool in task.tools],
        env={**task.env, "words": words.new, "schemas": true},
        plan=[_step(words, step) for step in task.plan],
        subgoals=task.subgoals and {words.name(tool): due for tool, due in task.subgoals.items()},
    )


def _drawn(task: Task, strength: float, rng: random.Random) -> Words:
    """Other words for each thing, with the strength as its chance."""
    assert task.plan is not None
    values = list(_values(task))
    question = " ".join(str(message["content"]) for message in task.messages)
    for value in sorted(values, key=len, reverse=True):
        question = question.replace(value, " ")
    asked = {_singular(word) for said in _TEXT.findall(question) for word in names.words(said)}
    needed = set(_things(_said_in(task.plan))) - asked
    known = toolbox.true_tools(task.env)
    things = dict.fromkeys(word for tool in known for word in _things(_told_by(tool)))
    listed = {word.lower() for tool in known for word in _TEXT.findall(repr(_enums(tool)))}
    chosen = [
        word for word in things if word not in needed and word not in listed and rng.random() < strength
    ]
    free = [thing for thing in dict.fromkeys(THINGS) if thing not in things and thing not in asked]
    return Words(dict(zip(chosen, rng.sample(free, min(len(chosen), len(free))), strict=False)))


def _things(said: Iterable[str]) -> Iterator[str]:
    """The words for things in these names."""
    for name in said:
        for word in map(_singular, names.words(name)):
            plain = word in PLAIN or word in ENDS or word in VERBS or word in names.READING
            if not plain and len(word) > 2 and names.unit_of(f"x_{word}") == "":
                yield word


def _said_in(plan: list[Json]) -> Iterator[str]:
    for step in plan:
        yield step["name"]
        yield from step["arguments"]
    yield from (key for path in toolbox.paths(plan) for key in path if isinstance(key, str))


def _told_by(tool: Json) -> Iterator[str]:
    yield tool["function"]["name"]
    yield from properties_of(tool)
    _, _, returned = str(tool["function"].get("description")).partition("Returns ")
    yield from _TEXT.findall(re.split(r"[,;:] [a-z]+ first|, and ", returned)[0])


def _enums(tool: Json) -> list[Any]:
    return [schema.get("enum") for schema in properties_of(tool).values() if isinstance(schema, dict)]


def _values(task: Task) -> Iterator[str]:
    """Texts of the question that are no words of ours: what calls are given, and the golds."""
    for step in task.plan or []:
        yield from (value for value in step["arguments"].values() if isinstance(value, str))
        how = step.get("answer")
        yield from how.get("names", ()) if isinstance(how, dict) else ()
    yield from task.answer


def _singular(word: str) -> str:
    return word[:-1] if word.endswith("s") and not word.endswith("ss") and len(word) > 3 else word


def _document(words: Words, tool: Json) -> Json:
    function = tool["function"]
    schema = function.get("parameters") or {}
    told = {
        "name": words.name(function["name"]),
        **({"description": words.text(function["description"])} if "description" in function else {}),
        "parameters": {
            **schema,
            "properties": {words.name(key): value for key, value in properties_of(tool).items()},
            **({"required": [words.name(key) for key in schema["required"]]} if "required" in schema else {}),
        },
    }
    return {**tool, "function": {**function, **told}}


def _step(words: Words, step: Json) -> Json:
    made: Json = {
        "name": words.name(step["name"]),
        "arguments": {
            words.name(key): {"$from": words.path(value["$from"])} if toolbox.is_reference(value) else value
            for key, value in step["arguments"].items()
        },
    }
    if "answer" not in step:
        return made
    how = step["answer"]
    if isinstance(how, dict):
        how = {**how, "of": [words.path(path) for path in how["of"]]}
    elif how is not None:
        how = words.path(how)
    return {**made, "answer": how}
