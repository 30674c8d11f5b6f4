"""Schemas of a plain Python file: read, never run."""

import ast
import json
import re
import tempfile
from pathlib import Path
from typing import Annotated, Any, Literal, Optional, Union

import pytest
from hypothesis import given
from hypothesis import strategies as st
from jsonschema import Draft202012Validator
from pydantic import TypeAdapter, ValidationError

from tmcli.annotations import Unfit, schema_of
from tmcli.errors import InputError
from tmcli.signatures import survey, tools_of

HEAD = "from typing import Annotated, Any, Literal, Optional, Union\n"

SHOP = '''"""A shop."""

from __future__ import annotations

import datetime as dt
import typing as t
from typing import Literal as L

from nowhere import nothing  # the file is not run

Size = L["s", "m"]
raise SystemExit("the file is not run")


def find(item: str, *, size: Size | None = None, most: float = 9.5, tags: list[str] = ()) -> dict[str, t.Any]:
    """Find what is for sale.  Case does not
    matter.

    The cheapest comes first.

    Args:
        item: Its name,
            or a part of it.
        size (str): Of clothes.

    Returns:
        item_id, price_eur
    """
    return nothing


def order(item_id: "str", day: t.Annotated[str, "When.", {"format": "date"}]) -> t.Any:
    """Order an item."""


def _price(item):
    """Not public."""


class Till:
    def open(self, key):
        """Not a function of the module."""
'''


def written(tmp_path: Path, text: str) -> str:
    path = tmp_path / "mytools.py"
    path.write_text(text)
    return str(path)


def test_a_file_of_functions(tmp_path: Path) -> None:
    find, order = tools_of(written(tmp_path, SHOP))
    assert find == {
        "type": "function",
        "function": {
            "name": "find",
            "description": "Find what is for sale. Case does not matter. The cheapest comes first."
            " Returns: item_id, price_eur",
            "parameters": {
                "type": "object",
                "properties": {
                    "item": {"type": "string", "description": "Its name, or a part of it."},
                    "size": {
                        "type": ["string", "null"],
                        "enum": ["s", "m", None],
                        "description": "Of clothes.",
                    },
                    "most": {"type": "number", "default": 9.5},
                    "tags": {"type": "array", "items": {"type": "string"}},
                },
                "required": ["item"],
            },
        },
    }
    day = {"type": "string", "description": "When.", "format": "date"}
    assert order["function"]["parameters"]["properties"] == {"item_id": {"type": "string"}, "day": day}
    assert order["function"]["parameters"]["required"] == ["item_id", "day"]


def test_the_world_is_not_shown(tmp_path: Path) -> None:
    text = '''def make_world(seed): return {}
def f(world: dict, a: int) -> int:
    """Do it."""
def g(world) -> int:
    """Do another."""
'''
    tools = tools_of(written(tmp_path, text))
    assert [list(tool["function"]["parameters"]["properties"]) for tool in tools] == [["a"], []]


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("def f(a: int, b):", "2: f.b: has no type; write b: str, or what it is"),
        ("def f(*a: int):", "2: f.a: *a does not say what may be given; name each parameter"),
        ("def f(\n  a: int,\n  **kw):", "4: f.kw: **kw does not say what may be given; name each parameter"),
        ("def f(a: int, /):", "2: f: arguments are given by name; leave out the `/`"),
        ("def f(world, a: int):", "2: f: takes a world, and nothing makes one; define make_world(seed)"),
        (
            "def make_world(seed): ...\ndef f(a: int):",
            "3: f: takes no world, yet the file makes one; make `world`",
        ),
        (
            "def f(a: tuple[int, int]):",
            "2: f.a: tuple has no form in JSON, as arguments come; write list[...]",
        ),
        (
            "import datetime as d\ndef f(a: d.date):",
            "3: f.a: d.date has no form in JSON, as arguments come; write",
        ),
        ("def f(a: dict[int, str]):", "2: f.a: the keys of a JSON object are texts; write dict[str, ...]"),
        ("def f(a: Sise):", "2: f.a: the type Sise is not known; known are: str, int"),
        ("def f(a: List[str]):", "2: f.a: List is not imported; write: from typing import List"),
        ("def f(a: Optional):", "2: f.a: Optional is not used as it should be; write it as in"),
        ("def f(a: list[str, int]):", "2: f.a: list[str, int] has the wrong number of parts; write"),
        ("def f(a: print('x')):", "2: f.a: the annotation \"print('x')\" is no type; known are"),
        ("def f(a: 'list['):", "2: f.a: the annotation 'list[' is no type; known are"),
        ("def f(a: Literal[1.5]):", "2: f.a: Literal holds neither texts nor whole numbers; list"),
        ("def f(a: Literal[b]):", "2: f.a: Literal holds what is no literal; list texts or whole numbers"),
        ("def f(a: Annotated[str, max]):", "2: f.a: Annotated holds max; give a text, or an object"),
        (
            "def f(a: Annotated[str, {'type': 'text'}]):",
            "2: f.a: Annotated holds no JSON Schema: 'text' is not",
        ),
        ("A = list['A']\ndef f(a: A):", "3: f.a: the annotation is nested too deep; write a simpler one"),
        ("async def f(a: int):", "2: f: is an async function; write a plain `def`"),
        ("def f(a: int): 'x'\ndef f(a: int):", "3: f: is defined in line 2 already; rename one of them"),
        ("def _f(a: int):", "1: there is no public function; define one, with types and a docstring"),
    ],
)
def test_faults(tmp_path: Path, text: str, fault: str) -> None:
    path = written(tmp_path, f"{HEAD}{text}\n    'It does it.'\n")
    _, faults = survey(path)
    assert len(faults) == 1, faults
    assert str(faults[0]).startswith(f"{path}:{fault}")
    with pytest.raises(InputError, match=re.escape(str(faults[0]))):
        tools_of(path)


def test_all_faults_are_found_in_order(tmp_path: Path) -> None:
    text = 'def f(a, b: set): ...\ndef g(c: int):\n    """Do.\n\n    Args:\n        d: it\n    """\n'
    _, faults = survey(written(tmp_path, text))
    assert [f"{fault.line} {fault.field}" for fault in faults] == ["1 f", "1 f.a", "1 f.b", "2 g"]
    assert str(faults[3]).endswith("g: `Args:` has 'd', no parameter; known are: c")


@pytest.mark.parametrize(
    ("data", "problem"),
    [(b"def f(:\n", ":1: invalid syntax"), (b"\xff", "no Python source"), (b"a\0b", ""), (b"(" * 5000, "")],
)
def test_no_python(tmp_path: Path, data: bytes, problem: str) -> None:
    path = tmp_path / "broken.py"
    path.write_bytes(data)
    with pytest.raises(InputError, match="correct the file") as caught:
        tools_of(str(path))
    assert problem in str(caught.value)


def test_no_file(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"none\.py: cannot be read: No such file"):
        tools_of(str(tmp_path / "none.py"))


# ---- any annotation --------------------------------------------------------------------------------

SCALARS = st.sampled_from(["str", "int", "float", "bool", "None"])
VALUES = st.text(st.characters(codec="ascii", exclude_categories=["C"])) | st.integers(-9, 9)
LITERALS = st.lists(VALUES, min_size=1, max_size=3).map(
    lambda values: f"Literal[{', '.join(map(repr, values))}]"
)
TYPES = st.recursive(
    SCALARS | LITERALS | st.sampled_from(["list", "dict", "Any"]),
    lambda inner: (
        st.builds("list[{}]".format, inner)
        | st.builds("dict[str, {}]".format, inner)
        | st.builds("Optional[{}]".format, inner)
        | st.builds("Union[{}, {}]".format, inner, inner)
        | st.builds('Annotated[{}, "said"]'.format, inner)
    ),
    max_leaves=5,
)
JSON: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers(-9, 9) | st.floats(-9, 9) | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=5,
)
TYPING = {"Annotated": Annotated, "Any": Any, "Literal": Literal, "Optional": Optional, "Union": Union}
NAMES = {name: f"typing.{name}" for name in TYPING}


@given(TYPES, st.lists(JSON, max_size=8))
def test_schemas_allow_what_the_types_do(annotation: str, values: list[Any]) -> None:
    """Beside pydantic, which is given the very type: same values pass."""
    schema = schema_of(ast.parse(annotation, mode="eval").body, NAMES, {})
    Draft202012Validator.check_schema(schema)
    ours = Draft202012Validator(schema)
    theirs = TypeAdapter(eval(annotation, TYPING))
    for value in values:
        try:
            theirs.validate_json(json.dumps(value), strict=True)
        except ValidationError:
            passes = False
        else:
            passes = True
        if isinstance(value, float) and value.is_integer():
            continue  # 1.0 is an integer to JSON Schema
        if "float" not in annotation or passes:
            assert ours.is_valid(value) == passes, schema


@given(st.text(max_size=40))
def test_no_annotation_surprises(text: str) -> None:
    try:
        schema = schema_of(ast.Constant(text), NAMES, {})
    except Unfit as unfit:
        _problem, _remedy = unfit.args
    else:
        Draft202012Validator.check_schema(schema)


NAME = st.from_regex(r"[a-z][a-z0-9_]{0,8}", fullmatch=True).filter(str.isidentifier)
PARAMETERS = st.dictionaries(NAME, st.tuples(TYPES, st.booleans()), max_size=4)


@given(st.dictionaries(NAME, PARAMETERS, min_size=1, max_size=3))
def test_any_typed_file(functions: dict[str, dict[str, tuple[str, bool]]]) -> None:
    keywords = {"world", "make_world", *__import__("keyword").kwlist}
    functions = {
        name: {p: of for p, of in parameters.items() if p not in keywords}
        for name, parameters in functions.items()
        if name not in keywords
    }
    text = HEAD
    for name, parameters in functions.items():
        listed = ", ".join(f"{p}: {kind}{' = None' if has else ''}" for p, (kind, has) in parameters.items())
        text += f"def {name}({'*, ' if listed else ''}{listed}):\n    'It does {name}.'\n"
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "any.py"
        path.write_text(text)
        tools, faults = survey(str(path))
    assert faults == [] or not functions
    assert [tool["function"]["name"] for tool in tools] == list(functions)
    for tool, parameters in zip(tools, functions.values(), strict=True):
        schema = tool["function"]["parameters"]
        Draft202012Validator.check_schema(schema)
        assert list(schema["properties"]) == list(parameters)
        assert schema["required"] == [name for name, (_, has) in parameters.items() if not has]
