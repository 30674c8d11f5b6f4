"""A plain Python file of typed functions as tools: their schemas, read without running the file.

    tools = signatures.tools_of("mytools.py")        # OpenAI function schemas, or InputError at file:line

Every public function of the file is a tool, `make_world` aside. What a model is shown comes from what is
written anyway: the annotations say the types (`annotations.py`), a Google docstring says what the tool does
and, under `Args:`, what each parameter is; a parameter with a default is optional.

    def price(item: str, currency: Literal["eur", "usd"] = "eur") -> dict:
        '''Look up what an item costs.

        Args:
            item: Its name, as in the catalogue.
        '''

Where the file has a `make_world(seed)`, each function takes the `world` first, which no model ever sees.
"""

from __future__ import annotations

import ast
import inspect
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from tmcli.annotations import NAMES, Unfit, flat, literal, schema_of
from tmcli.errors import InputError, did_you_mean
from tmcli.records import Json

MAKE_WORLD = "make_world"


@dataclass(frozen=True, slots=True)
class Function:
    """A public function, as written."""

    name: str
    line: int
    parameters: dict[str, ast.arg]
    """Those that a call names: all but `world`."""
    defaults: dict[str, ast.expr]
    takes_world: bool
    docstring: str


@dataclass(slots=True)
class Source:
    """A file of tools, read and not run."""

    path: str
    text: str
    functions: dict[str, Function] = field(default_factory=dict)
    world_line: int | None = None
    """Where `make_world` is defined."""
    faults: list[InputError] = field(default_factory=list)
    """What keeps a function from being a tool."""
    names: dict[str, str] = field(default_factory=dict)
    """Imported name -> what it is, e.g. `L` -> `typing.Literal`."""
    aliases: dict[str, ast.expr] = field(default_factory=dict)
    """Names that the file itself gives, `Size = Literal["s", "m"]`."""

    def fault(self, line: int, place: str, problem: str, remedy: str) -> None:
        self.faults.append(InputError(problem, remedy, field=place, source=self.path, line=line))


def tools_of(path: str) -> list[Json]:
    """The schemas of a file. Raises `InputError` at the first thing that is wrong."""
    tools, faults = survey(path)
    if faults:
        raise faults[0]
    return tools


def survey(path: str) -> tuple[list[Json], list[InputError]]:
    """The schemas of what could be read, and all that is wrong, in the order of the file."""
    source = read(path)
    tools = [_tool(source, function) for function in source.functions.values()]
    if not tools and not source.faults:
        source.fault(1, "", "there is no public function", "define one, with types and a docstring")
    return tools, sorted(source.faults, key=lambda fault: fault.line or 0)


def read(path: str) -> Source:
    """The public functions of a file. Raises `InputError` when it cannot be read or is no Python."""
    try:
        text = Path(path).read_text("utf-8")
        tree = ast.parse(text)
    except OSError as error:
        raise InputError(f"cannot be read: {error.strerror}", "check the path", source=path) from error
    except SyntaxError as error:
        raise InputError(error.msg, "correct the file", source=path, line=error.lineno) from error
    except (ValueError, RecursionError, MemoryError) as error:  # not UTF-8, a NUL byte, nested too deep
        raise InputError(f"no Python source: {error}", "correct the file", source=path) from error
    source = Source(path, text)
    for node in _statements(tree.body):
        _note(source, node)
    for function in source.functions.values():
        if source.world_line and not function.takes_world:
            remedy = f"make `world` its first parameter, or begin its name with _, or drop {MAKE_WORLD}"
            source.fault(function.line, function.name, "takes no world, yet the file makes one", remedy)
        if function.takes_world and not source.world_line:
            remedy = f"define {MAKE_WORLD}(seed), or rename the parameter"
            source.fault(function.line, function.name, "takes a world, and nothing makes one", remedy)
    return source


def _statements(body: list[ast.stmt]) -> Iterator[ast.stmt]:
    """Those of the module itself, also inside `if TYPE_CHECKING:` and `try:`."""
    for node in body:
        if isinstance(node, (ast.If, ast.Try)):
            yield from _statements([*node.body, *node.orelse])
        else:
            yield node


def _note(source: Source, node: ast.stmt) -> None:
    match node:
        case ast.Import():
            source.names |= {alias.asname or alias.name: alias.name for alias in node.names}
        case ast.ImportFrom(module=str(module)):
            module = module.removesuffix("_extensions")  # typing_extensions offers what typing does
            for alias in node.names:
                known = [name for name in NAMES if name.startswith(f"{module}.")]
                imported = known if alias.name == "*" else [f"{module}.{alias.name}"]
                source.names |= {alias.asname or name.rpartition(".")[2]: name for name in imported}
        case ast.Assign(targets=[ast.Name(id=name)], value=value):
            source.aliases[name] = value
        case ast.AnnAssign(target=ast.Name(id=name), value=ast.expr() as value):
            source.aliases[name] = value
        case ast.FunctionDef(name="make_world"):
            source.world_line = node.lineno
        case ast.AsyncFunctionDef(name=name) if not name.startswith("_"):
            source.fault(node.lineno, name, "is an async function", "write a plain `def`")
        case ast.FunctionDef(name=name) if not name.startswith("_"):
            if name in source.functions:
                first = source.functions[name].line
                source.fault(node.lineno, name, f"is defined in line {first} already", "rename one of them")
            source.functions[name] = _function(source, node)


def _function(source: Source, node: ast.FunctionDef) -> Function:
    written = node.args
    in_order = [*written.posonlyargs, *written.args]
    takes_world = bool(in_order) and in_order[0].arg == "world"
    if written.posonlyargs[takes_world:]:
        source.fault(node.lineno, node.name, "arguments are given by name", "leave out the `/`")
    for star, rest in (("*", written.vararg), ("**", written.kwarg)):
        if rest is not None:
            problem = f"{star}{rest.arg} does not say what may be given"
            source.fault(rest.lineno, f"{node.name}.{rest.arg}", problem, "name each parameter")
    last = [argument.arg for argument in in_order[len(in_order) - len(written.defaults) :]]
    defaults = dict(zip(last, written.defaults, strict=True))
    by_name = zip(written.kwonlyargs, written.kw_defaults, strict=True)
    defaults |= {argument.arg: value for argument, value in by_name if value is not None}
    parameters = {argument.arg: argument for argument in [*in_order[takes_world:], *written.kwonlyargs]}
    docstring = ast.get_docstring(node) or ""
    return Function(node.name, node.lineno, parameters, defaults, takes_world, docstring)


def _tool(source: Source, function: Function) -> Json:
    """The schema; what is wrong goes to the source's faults."""
    description, described = _documents(source, function)
    properties: Json = {}
    for name, argument in function.parameters.items():
        place = f"{function.name}.{name}"
        if argument.annotation is None:
            source.fault(argument.lineno, place, "has no type", f"write {name}: str, or what it is")
            continue
        try:
            schema = schema_of(argument.annotation, source.names, source.aliases)
        except Unfit as unfit:
            source.fault(argument.lineno, place, *unfit.args)
            continue
        if described.get(name):
            schema["description"] = described[name]
        try:
            default = literal(function.defaults[name])
        except (KeyError, ValueError):
            default = None
        properties[name] = schema if default is None else schema | {"default": default}
    required = [name for name in properties if name not in function.defaults]
    parameters = {"type": "object", "properties": properties, "required": required}
    about = {"name": function.name, "description": description, "parameters": parameters}
    return {"type": "function", "function": about}


def _documents(source: Source, function: Function) -> tuple[str, dict[str, str]]:
    """What the docstring says: of the function, and of each parameter."""
    if not function.docstring:
        source.fault(function.line, function.name, "has no docstring", "say in a sentence what it does")
        return "", {}
    from docstring_parser import ParseError, google

    try:
        parsed = google.parse(inspect.cleandoc(function.docstring))
    except ParseError as error:
        problem = f"its docstring cannot be read: {flat(str(error))}"
        source.fault(function.line, function.name, problem, "write `Args:` and `Returns:` as Google does")
        return flat(function.docstring), {}
    described: dict[str, str] = {}
    for param in parsed.params:
        name = param.arg_name.lstrip("*")
        if name in function.parameters:
            described[name] = flat(param.description or "")
        elif name != "world":
            remedy = did_you_mean(name, function.parameters)
            source.fault(function.line, function.name, f"`Args:` has {name!r}, no parameter", remedy)
    said = [parsed.short_description, parsed.long_description]
    if parsed.returns is not None and parsed.returns.description:
        said.append(f"Returns: {parsed.returns.description}")
    return flat(" ".join(part for part in said if part)), described
