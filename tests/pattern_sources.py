"""Finds the regular expressions of the package, for `test_patterns.py`.

`compiled` finds those that modules and classes hold, `written_in_functions` those in the code of functions. A pattern
that a function makes of data is in neither: `MADE_OF_DATA` names such functions.
"""

import ast
import importlib
import re
from collections.abc import Iterable, Iterator, Mapping
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

from slimseq.inference.text.notation import find_notation

ROOT = Path(__file__).parent.parent
# The folders whose code reads texts of requests.
ROOMS = ("inference", "models_store", "evaluation", "app")
# Functions whose first argument is a pattern.
FUNCTIONS = frozenset({"compile", "findall", "finditer", "fullmatch", "match", "search", "split", "sub", "subn"})
# Functions that make patterns of data, and the languages for which they are tried.
MADE_OF_DATA: dict[str, tuple[str, ...]] = {
    # Modules hold all patterns that these functions make, so `compiled` finds them.
    "slimseq.inference.text.span_rules._pattern": (),
    "slimseq.inference.text.numbers._grouped_numbers": (),
    "slimseq.inference.text.notation.Notation.__init__": ("en", "de", "fr", "pt", "es", "ru", "ja", "de-CH"),
}

# How deep containers and objects of a module are searched. They may hold each other in a circle.
MAX_DEPTH = 4


class Source(NamedTuple):
    """A module that uses regular expressions."""

    name: str
    tree: ast.Module

    @property
    def module(self) -> ModuleType:
        return importlib.import_module(self.name)


@cache
def sources() -> list[Source]:
    """Returns the modules that import `re`."""
    found = []
    for room in ROOMS:
        for path in sorted((ROOT / room / "slimseq").rglob("*.py")):
            tree = ast.parse(path.read_text(encoding="utf-8"))
            imported = {name.name for node in ast.walk(tree) if isinstance(node, ast.Import) for name in node.names}
            if "re" in imported:
                name = ".".join(path.relative_to(ROOT / room).with_suffix("").parts)
                found.append(Source(name.removesuffix(".__init__"), tree))
    return found


def hidden_imports() -> list[str]:
    """Returns imports such as `from re import compile`, whose patterns the other functions here would miss."""
    found = []
    for room in ROOMS:
        for path in sorted((ROOT / room / "slimseq").rglob("*.py")):
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
                if _hides_patterns(node):
                    found.append(f"{path}: {ast.unparse(node)}")
    return found


def _hides_patterns(node: ast.AST) -> bool:
    if isinstance(node, ast.ImportFrom):
        return node.module in ("re", "regex")
    if isinstance(node, ast.Import):
        return any(each.name == "regex" or (each.name == "re" and each.asname) for each in node.names)
    return False


def compiled() -> dict[str, re.Pattern[Any]]:
    """Returns the patterns that modules, their classes and their containers hold, by where they are."""
    found: dict[str, re.Pattern[Any]] = {}
    for source in sources():
        for name, value in vars(source.module).items():
            found |= _patterns_within(value, f"{source.name}.{name}", source.name, 0)
    return found


def _patterns_within(value: object, name: str, module: str, depth: int) -> dict[str, re.Pattern[Any]]:
    """Returns the patterns in a value of a module: in itself, its items, and its attributes."""
    if isinstance(value, re.Pattern):
        return {name: value}
    if depth == MAX_DEPTH:
        return {}
    inner: Iterable[tuple[object, object]] = ()
    if isinstance(value, Mapping):
        inner = [*value.items(), *((f"key {key}", key) for key in value)]
    elif isinstance(value, list | tuple | set | frozenset):
        inner = enumerate(value)
    elif getattr(value, "__module__", None) == module and hasattr(value, "__dict__"):
        # A class of the module, or an object of one.
        inner = vars(value).items()
    found: dict[str, re.Pattern[Any]] = {}
    for key, each in inner:
        found |= _patterns_within(each, f"{name}.{key}", module, depth + 1)
    return found


class _WithSample(ast.NodeTransformer):
    """Replaces each call of `re.escape` by a sample of its result. Any literal text takes the same time to search."""

    def visit_Call(self, node: ast.Call) -> ast.AST:
        return ast.Constant("ab") if ast.unparse(node.func) == "re.escape" else self.generic_visit(node)


def written_in_functions() -> tuple[dict[str, re.Pattern[Any]], list[str]]:
    """Returns the patterns that functions have in their code, and the functions that make others of data."""
    found: dict[str, re.Pattern[Any]] = {}
    made_of_data: list[str] = []
    for source in sources():
        for name, call in _calls(source.tree, source.name):
            argument = ast.fix_missing_locations(ast.Expression(_WithSample().visit(call.args[0])))
            try:
                pattern = eval(compile(argument, name, "eval"), vars(source.module))
            except NameError:
                # The argument uses a variable of the function, so it is not known here.
                made_of_data.append(name)
                continue
            # `compiled` finds what is a pattern already.
            if not isinstance(pattern, re.Pattern):
                found[f"{name} {pattern!r}"] = re.compile(pattern)
    return found, made_of_data


def _calls(node: ast.AST, name: str, is_function: bool = False) -> Iterator[tuple[str, ast.Call]]:
    """Yields the calls of `re` within functions below a node, each with the full name of its function."""
    for child in ast.iter_child_nodes(node):
        inner, is_within = name, is_function
        if isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            inner = f"{name}.{child.name}"
            is_within = is_function or not isinstance(child, ast.ClassDef)
        if is_within and isinstance(child, ast.Call) and isinstance(child.func, ast.Attribute):
            module, _, function = ast.unparse(child.func).rpartition(".")
            if module == "re" and function in FUNCTIONS:
                yield name, child
        yield from _calls(child, inner, is_within)


def made_of_data() -> dict[str, re.Pattern[Any]]:
    """Returns what the functions of `MADE_OF_DATA` make for the languages named there."""
    found: dict[str, re.Pattern[Any]] = {}
    for name, languages in MADE_OF_DATA.items():
        for language in languages:
            notation = find_notation(language)
            assert notation is not None
            found[f"{name} {language}"] = notation.numeral
    return found
