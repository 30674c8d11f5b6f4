"""`tm tools check`: a working toolbox, broken in one place after the other."""

import json
from importlib import resources
from pathlib import Path
from typing import Any

import pytest
from conftest import Tm

from tmcli import signatures, toolbox
from tmcli.steps.tools import check, schemas, sources, templates
from tmcli.steps.tools.scaffold import start


@pytest.fixture
def box(tmp_path: Path) -> Path:
    """A fresh toolbox: bicycles, repairs, mechanics."""
    start(str(tmp_path / "mytools"))
    return tmp_path / "mytools"


def edit(path: Path, old: str, new: str) -> None:
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))


def line_of(file: str, text: str) -> int:
    """In a fresh toolbox."""
    lines = resources.files("tmcli").joinpath("scaffold", "toolbox", file).read_text().splitlines()
    return next(number for number, line in enumerate(lines, 1) if text in line)


AT = line_of("tools.py", "def find_repair")

# ---- schemas ---------------------------------------------------------------------------------------


def tool(**changes: Any) -> Any:
    parameters = {"type": "object", "properties": {"a": {"type": "string"}}, "required": ["a"]}
    function = {"name": "f", "description": "Does it", "parameters": parameters} | changes
    return {
        "type": "function",
        "function": {key: value for key, value in function.items() if value is not ...},
    }


def with_a(**schema: Any) -> Any:
    return tool(parameters={"type": "object", "properties": {"a": schema}, "required": []})


@pytest.mark.parametrize(
    ("tools", "fault"),
    [
        ({}, "tools: has no list of tools; write"),
        ([], "tools: has no list of tools; write"),
        ([3], 'tools[0]: is no function schema; write {"type": "function"'),
        ([{"name": "f"}], "tools[0]: is no function schema"),
        ([tool(name=...)], "tools[0]: has no name; use at most 64 letters, digits, _ and -"),
        ([tool(name="find it")], "tools[0]: has the name 'find it'; use at most"),
        ([tool(), tool()], "tools[1]: is a second tool named 'f'; rename one of them"),
        ([tool(description=...)], "f: has no description; say in a sentence"),
        ([tool(description=" ")], "f: has no description"),
        ([tool(parameters=...)], "f.parameters: is no schema of an object; write"),
        ([tool(parameters={"type": "array"})], "f.parameters: is no schema of an object"),
        ([tool(parameters={"type": "object", "properties": []})], "f.properties: [] is not of type 'object'"),
        ([with_a()], 'f.a: has no type; add "type": "string"'),
        ([with_a(type="str")], "f.a.type: 'str' is no type; did you mean 'string'?"),
        ([with_a(type="string", enum="s")], "f.a.enum: 's' is not of type 'array'; write an array"),
        ([with_a(type="string", enum=["s", 1])], "f.a.enum: 1 is not of type 'string'; correct the enum"),
        ([with_a(type="integer", default="1")], "f.a.default: '1' is not of type 'integer'"),
        ([with_a(type="string", enum=["s"], default="m")], "f.a.default: 'm' is not one of ['s']"),
        ([with_a(type="array", items={"type": "txt"})], "f.a.items.type: 'txt' is no type"),
        ([tool(parameters={"type": "object", "required": ["b"]})], "f.required: 'b' is no parameter; known"),
    ],
)
def test_schema_faults(tools: Any, fault: str) -> None:
    faults = [str(fault) for fault in schemas.faults(tools, "tools.json")]
    assert len(faults) == 1, faults
    assert faults[0].startswith(f"tools.json: {fault}")


def test_good_schemas() -> None:
    refers = with_a(**{"$ref": "#/nowhere"})
    assert not list(schemas.faults([tool(), refers | {"function": refers["function"] | {"name": "g"}}], ""))
    assert not list(schemas.faults([with_a()], "", typed=False))


# ---- the files ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("file", "old", "new", "fault"),
    [
        ("json", '"split": "own"', '"split": "mine"', "tools.json: split: is 'mine'; write \"own\""),
        ("json", '"about": ', '"abuot": ', "tools.json: abuot: is not known here; did you mean 'about'?"),
        ("json", '"name": "mytools"', '"name": ""', "tools.json: name: is missing or no text"),
        ("json", '"classes": {', '"classes": [], "x": {', "tools.json: classes: is missing or no object"),
        (
            "json",
            '"find_repair": "search", ',
            "",
            "tools.json: classes.find_repair: has no function class; say",
        ),
        (
            "json",
            '"search"',
            '"serch"',
            "classes.find_repair: 'serch' is no function class; did you mean 'search'",
        ),
        ("json", '": "search"', '": "search", "g": "get"', "tools.json: classes.g: is no tool; known are"),
        ("py", "def find_repair", "def find_repairs", "tools.py: find_repair: is not defined; did you mean"),
        ("py", "\n\ndef _more", "\n\ndef more", "tools.py:59: more: is not in tools.json; list it there"),
        (
            "py",
            "customer: str",
            "name: str",
            "find_repair.customer: is in tools.json and no parameter of the",
        ),
        (
            "py",
            "customer: str",
            "customer: str, n: int",
            f"tools.py:{AT}: find_repair.n: is not in tools.json; add",
        ),
        (
            "py",
            "customer: str",
            'customer: str = ""',
            "find_repair.customer: has a default, yet tools.json req",
        ),
        ("json", '"required": ["customer"]', '"required": []', "find_repair.customer: has no default, yet"),
        ("py", "customer: str", "*customer: str", "find_repair.customer: *customer does not say what may be"),
        ("py", "world: World, customer", "customer", f"tools.py:{AT}: find_repair: takes no world, yet"),
    ],
)
def test_faults_of_files(box: Path, file: str, old: str, new: str, fault: str) -> None:
    with (box / "tools.py").open("a") as out:
        out.write("\n\ndef _more() -> None:\n    pass\n")
    edit(box / f"tools.{file}", old, new)
    spec, written = sources.spec_of(box, "box"), signatures.read(str(box / "tools.py"))
    faults = [str(fault) for fault in sources.faults(spec, written, "box")]
    assert any(fault in line for line in faults), faults
    assert len(faults) <= 3  # a name that changed is missed in several places


@pytest.mark.parametrize(
    ("data", "fault"),
    [
        (None, "tools.json: cannot be read: No such file or directory; write it"),
        (b"{\n,}", "tools.json:2: not JSON: "),
        (b"\xff", "tools.json: byte 1 is not UTF-8; save it as UTF-8"),
        (b"[]", "tools.json: holds no JSON object; write"),
    ],
)
def test_no_tools_json(box: Path, data: bytes | None, fault: str) -> None:
    (box / "tools.json").unlink()
    if data is not None:
        (box / "tools.json").write_bytes(data)
    (box / "tools.py").write_text("def f(:\n")
    json_fault, py_fault = check(str(box)).faults
    assert str(json_fault).startswith(f"{box}/{fault}")
    assert str(py_fault).startswith(f"{box}/tools.py:1: invalid syntax; correct the file")


# ---- templates -----------------------------------------------------------------------------------------

REPAIR = ("repair_info", {"repair_id": "{repair[id]}"})
GOOD = {
    "given": {"repair": "repairs"},
    "ask": ["What is the price of {repair[id]} in euros?", "How many euros is {repair[id]}?"],
    "plan": [REPAIR],
    "answer": "price_eur",
}
INFO = ("mechanic_info", {"mechanic_id": (0, "mechanic_id")})


@pytest.mark.parametrize(
    ("template", "fault"),
    [
        ([], " is no dict"),
        (GOOD | {"anwser": 1}, "anwser is not known here; did you mean 'answer'?"),
        ({key: GOOD[key] for key in ("given", "ask", "plan")}, "answer is missing; add it"),
        (GOOD | {"plan": []}, "plan is no list of (tool, {parameter: value})"),
        (GOOD | {"plan": ["repair_info"]}, "plan is no list of (tool, {parameter: value})"),
        (
            GOOD | {"given": {"repair": "repair"}},
            "given.repair 'repair' is no table of the world with rows; did",
        ),
        (GOOD | {"given": {"repair": []}}, "ask[0] cannot be filled in: string indices"),
        (GOOD | {"ask": "What is the price?"}, "ask is no list of texts"),
        (GOOD | {"ask": GOOD["ask"][:1] * 2}, "ask has fewer than 2 different wordings"),
        (
            GOOD | {"ask": [*GOOD["ask"], "How many euros?"]},
            "ask[2] does not tell 'repair', which the plan needs",
        ),
        (GOOD | {"ask": [*GOOD["ask"], "{repair[id]}?"]}, "ask[2] does not name the unit of 'price_eur'"),
        (
            GOOD | {"ask": [*GOOD["ask"], "euro {repare[id]}"]},
            "ask[2] {repare} is not given; did you mean 'rep",
        ),
        (
            GOOD | {"ask": [*GOOD["ask"], "euro {repair[bycicle]}"]},
            "ask[2] a row has no 'bycicle'; did you mean 'bicyc",
        ),
        (
            GOOD | {"ask": [*GOOD["ask"], "euro {repair[id]"]},
            "ask[2] cannot be filled in: expected '}' before",
        ),
        (
            GOOD | {"plan": [("repair_inf", {})]},
            "plan[0] there is no tool 'repair_inf'; did you mean 'repair_info'",
        ),
        (GOOD | {"plan": [("repair_info", {})]}, "plan[0].repair_id repair_info requires it; give it"),
        (
            GOOD | {"plan": [(*REPAIR[:1], REPAIR[1] | {"x": 1})]},
            "plan[0].x repair_info has no such parameter",
        ),
        (
            GOOD | {"plan": [INFO, REPAIR]},
            "plan[0].mechanic_id (0, 'mechanic_id') is no path into an earlier reply",
        ),
        (GOOD | {"answer": 3}, "answer 3 is neither key, path nor combination"),
        (
            GOOD | {"answer": (1, "price_eur")},
            "answer (1, 'price_eur') is no path into a reply; begin with 0 to 0",
        ),
        (
            GOOD | {"answer": {"combine": "add", "of": [(0, "x")]}},
            "answer.combine 'add' is not known; known are",
        ),
        (GOOD | {"answer": {"combine": "max", "of": [(2, "x")]}}, "answer (2, 'x') is no path into a reply"),
        (GOOD | {"answer": {"combine": "argmax", "of": [(0, "x")]}}, "answer.names has 0 names for 1 values"),
        (GOOD | {"check": "equal"}, "check 'equal' is no way to compare; known are"),
    ],
)
def test_template_faults(box: Path, template: Any, fault: str) -> None:
    loaded = toolbox.load(str(box))
    said = [
        f"{place} {problem}; {remedy}"
        for place, problem, remedy in templates.faults(template, loaded, loaded.world(0))
    ]
    assert any(line.startswith(fault) for line in said), said
    if "given" not in fault and "string" not in fault:
        assert len(said) == 1, said


def test_good_templates(box: Path) -> None:
    loaded = toolbox.load(str(box))
    for template in (GOOD, *loaded.templates):
        assert not list(templates.faults(template, loaded, loaded.world(0)))


def test_lines_of_templates(box: Path) -> None:
    text = (box / "tasks.py").read_text().splitlines()
    lines = templates.lines(box / "tasks.py")
    assert [text[line - 1] for line in lines] == ["    {"] * 4
    (box / "tasks.py").write_text("TEMPLATES = list(range(3))\n")
    assert templates.lines(box / "tasks.py") == []


# ---- tried in the sandbox ------------------------------------------------------------------------------

FOUND = 'worlds.find(world["repairs"], "customer", customer, "customer")'
FIND = f'return {{"repair_id": {FOUND}}}'
MAKE = f"tools.py:{line_of('tools.py', 'def make_world')}: make_world: "
TOOL = f"tools.py:{AT}: find_repair: "


@pytest.mark.parametrize(
    ("old", "new", "fault"),
    [
        ("import random", "import randon", f"{MAKE}the tools' world cannot be built: ModuleNotFoundError"),
        ("rng = ", "while True: seed\n    rng = ", f"{MAKE}the tool gave no answer within"),
        ("Random(seed)", "Random(7)", f"{MAKE}every seed has the same world; draw it"),
        (
            "Random(seed)",
            "SystemRandom()",
            f"{MAKE}the world of seed 0 is not the same in every process; draw",
        ),
        ("FIRST, LAST", "list(set(FIRST)), LAST", f"{MAKE}the world of seed 0 is not the same in every"),
        ('"ready_on": ', '"days": (1, 2), "ready_on": ', f"{MAKE}the world does not survive JSON: a tuple"),
        ("rng.randint(10_000, 99_999)", "rng.choice('12')", "tasks.py:36: TEMPLATES[2]: "),
        (
            "rng.randint(10_000, 99_999)",
            "rng.choice('12')",
            "answers are '01', which can be guessed; ask for",
        ),
        (
            FIND,
            'return {"repair_id": customer and "R0"}',
            "tasks.py:27: TEMPLATES[1]: LookupError: no repair 'R0'",
        ),
        (FIND, FIND.replace("{", "{1: 2, "), f"{TOOL}returns what does not survive JSON (a tuple, or"),
        (FIND, FIND.replace("{", '{"all": {1, 2}, '), f"{TOOL}returns what is not JSON: Object of type set"),
        (FIND, f"return {FOUND}", "TypeError: string indices must be integers"),
        (
            'f"0{rng.randint(10_000, 99_999)}"',
            "f\"{len(__import__('os').environ)}{rng.randint(10_000, 99_999)}\"",
            "in the sandbox, where the gold answer is",
        ),
        (
            "worlds.date(rng, 2025, 2026)",
            "repair_id",
            "tasks.py:18: TEMPLATES[0]: ValueError: the question tells the",
        ),
        (
            FIND,
            f"if len(customer) > 99: return []\n    {FIND}",
            f"{TOOL}returns [], no object for (customer=",
        ),
        (
            FIND,
            f"if not customer: raise ValueError\n    {FIND}",
            f":{AT + 2}: find_repair: raises ValueError without a",
        ),
        (
            FIND,
            f"if not customer: {{}}['x']\n    {FIND}",
            f":{AT + 2}: find_repair: raises KeyError: 'x' for (customer",
        ),
        (
            FIND,
            f"if '?' in customer: raise SystemExit\n    {FIND}",
            f":{AT + 2}: find_repair: raises SystemExit for (customer=",
        ),
        (FIND, f"while customer == '?': pass\n    {FIND}", f"{TOOL}the tool gave no answer within 0.5 s for"),
        (
            FIND,
            f"import os\n    return {{'pid': os.getpid(), 'repair_id': {FOUND}}}",
            f"{TOOL}replies otherwise in",
        ),
        (
            FIND,
            f"world['n'] = world.get('n', 0) + 1\n    return {{'n': world['n'], 'repair_id': {FOUND}}}",
            "replies otherwise when called again; let no call change another's reply",
        ),
    ],
)
def test_faults_of_trials(box: Path, monkeypatch: pytest.MonkeyPatch, old: str, new: str, fault: str) -> None:
    monkeypatch.setattr("tmcli.steps.tools.trials.TIMEOUT_S", 0.5)
    edit(box / "tools.py", old, new)
    faults = [str(fault) for fault in check(str(box)).faults]
    assert any(fault in line for line in faults), faults


@pytest.mark.parametrize(
    ("old", "new", "fault"),
    [
        (
            '"answer": "phone"',
            '"answer": "fone"',
            ":36: TEMPLATES[2]: KeyError: 'fone'; correct the template",
        ),
        ("TEMPLATES:", "OTHERS:", ": TEMPLATES is not defined; correct the toolbox"),
        ("TEMPLATES:", "TEMPLATES, x =", ":"),
        ("from typing", "from typin", ": ModuleNotFoundError: No module named 'typin'; correct the toolbox"),
        (
            '"repair": "repairs"}',
            '"repair": "repair"}',
            ":18: TEMPLATES[0].given.repair: 'repair' is no table",
        ),
    ],
)
def test_faults_of_tasks(box: Path, old: str, new: str, fault: str) -> None:
    edit(box / "tasks.py", old, new)
    faults = [str(fault) for fault in check(str(box)).faults]
    assert any(line.startswith(f"{box}/tasks.py{fault}") for line in faults), faults


def test_a_toolbox_without_tasks_is_fine(box: Path) -> None:
    (box / "tasks.py").unlink()
    checked = check(str(box))
    assert (checked.faults, checked.n_templates, checked.n_played) == ([], 0, 0)


def test_tools_called_like_builtins(tmp_path: Path) -> None:
    path = tmp_path / "names.py"
    names = ("list", "type", "str", "isinstance", "json")
    path.write_text(
        "".join(f'def {name}(a: int) -> int:\n    """Do it."""\n    return a\n' for name in names)
    )
    assert check(str(path)).faults == []


# ---- as typed --------------------------------------------------------------------------------------------


def test_a_fresh_toolbox_is_fine(tm: Tm, box: Path) -> None:
    done = tm("tools", "check", "mytools/")
    assert (done.returncode, done.stdout) == (0, b"")
    assert done.stderr == b"tm tools check: mytools/ is fine: 3 tools, 4 task templates, 32 tasks played\n"


def test_all_faults_at_once(tm: Tm, box: Path) -> None:
    edit(box / "tools.json", '"search"', '"serch"')
    edit(box / "tools.json", '"Returns mechanic, phone"', '""')
    edit(box / "tools.py", FIND, f"[][len(customer)]\n    {FIND}")
    edit(box / "tasks.py", '"answer": "ready_on"', '"answer": "price_eur"')
    done = tm("tools", "check", "mytools/")
    assert done.returncode == 1
    lines = done.stdout.decode().splitlines()
    assert lines[0] == (
        "mytools/tools.json: classes.find_repair: 'serch' is no function class; did you mean 'search'?"
    )
    assert lines[1].startswith("mytools/tools.json: mechanic_info: has no description; say in a sentence")
    assert lines[2].startswith(
        "mytools/tasks.py:18: TEMPLATES[0].ask[0]: does not name the unit of 'price_eur'"
    )
    assert any(
        line.startswith(f"mytools/tools.py:{AT + 2}: find_repair: raises IndexError: ") for line in lines
    )
    assert done.stderr.decode() == f"tm tools check: {len(lines)} faults; correct them and check again\n"
    told = [json.loads(line) for line in tm("tools", "check", "mytools/", "--json").stdout.splitlines()]
    assert len(told) == len(lines)
    assert told[1] == {
        "file": "mytools/tools.json",
        "line": None,
        "field": "mechanic_info",
        "problem": "has no description",
        "remedy": "say in a sentence what it does and returns",
    }


def test_a_python_file(tm: Tm, tmp_path: Path) -> None:
    start(str(tmp_path / "mytools.py"))
    done = tm("tools", "check", "mytools.py")
    assert (done.returncode, done.stdout) == (0, b"")
    assert done.stderr == b"tm tools check: mytools.py is fine: 2 tools\n"
    edit(tmp_path / "mytools.py", "if part not in _PRICES", "if False")
    edit(tmp_path / "mytools.py", "def list_parts()", "def list_parts(n)")
    done = tm("tools", "check", "mytools.py")
    assert done.returncode == 1
    assert done.stdout.decode().splitlines() == [
        "mytools.py:14: list_parts.n: has no type; write n: str, or what it is",
        'mytools.py:35: get_price: raises KeyError: \'\' for (part="", currency="eur"); raise LookupError or'
        " ValueError with a sentence that a model can learn from",
    ]


@pytest.mark.parametrize(
    ("source", "text"),
    [
        ("libary", "no toolbox, folder or file is named 'libary'; did you mean 'library'?"),
        ("mytools/", "no toolbox, folder or file is named 'mytools/'; known are: "),
    ],
)
def test_no_source(tm: Tm, source: str, text: str) -> None:
    done = tm("tools", "check", source)
    assert (done.returncode, done.stdout) == (2, b"")
    assert text in done.stderr.decode()


@pytest.mark.slow
@pytest.mark.parametrize("name", toolbox.names())
def test_built_in_toolboxes_are_fine(name: str) -> None:
    assert [str(fault) for fault in check(name).faults] == []
