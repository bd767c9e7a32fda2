"""The regular expressions of the package: those that modules hold, and those that functions have in their code."""

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
# Rooms that texts of requests reach.
ROOMS = ("inference", "models_store", "evaluation", "app")
# Functions whose first argument is a pattern.
FUNCTIONS = frozenset({"compile", "findall", "finditer", "fullmatch", "match", "search", "split", "sub", "subn"})
# Functions that make patterns of data, and the languages of some of them; none where modules hold all results.
MADE_OF_DATA: dict[str, tuple[str, ...]] = {
    "slimseq.inference.text.spans._pattern": (),
    "slimseq.inference.text.notation.Notation.__init__": ("en", "de", "fr", "pt", "es", "ru", "ja", "de-CH"),
}


class Source(NamedTuple):
    """A module that uses regular expressions."""

    name: str
    tree: ast.Module

    @property
    def module(self) -> ModuleType:
        return importlib.import_module(self.name)


@cache
def sources() -> list[Source]:
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
    """Returns the imports of regular expressions by which `sources` and `written_in_functions` would miss some."""
    found = []
    for room in ROOMS:
        for path in sorted((ROOT / room / "slimseq").rglob("*.py")):
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
                names = [each.name for each in node.names] if isinstance(node, ast.Import) else []
                is_renamed = isinstance(node, ast.Import) and any(
                    each.name == "re" and each.asname for each in node.names
                )
                is_from = isinstance(node, ast.ImportFrom) and node.module in ("re", "regex")
                if is_renamed or is_from or "regex" in names:
                    found.append(f"{path}: {ast.unparse(node)}")
    return found


def compiled() -> dict[str, re.Pattern[Any]]:
    """Returns the patterns that modules, their classes and their containers hold, by where they are."""
    found: dict[str, re.Pattern[Any]] = {}
    for source in sources():
        for name, value in vars(source.module).items():
            found |= _within(value, f"{source.name}.{name}", source.name, 0)
    return found


def _within(value: object, name: str, module: str, depth: int) -> dict[str, re.Pattern[Any]]:
    if isinstance(value, re.Pattern):
        return {name: value}
    inner: Iterable[tuple[object, object]] = ()
    if isinstance(value, Mapping):
        inner = [*value.items(), *((f"key {key}", key) for key in value)]
    elif isinstance(value, list | tuple | set | frozenset):
        inner = enumerate(value)
    elif getattr(value, "__module__", None) == module and hasattr(value, "__dict__"):
        # A class of the module, or an object of one.
        inner = vars(value).items()
    found: dict[str, re.Pattern[Any]] = {}
    for key, each in inner if depth < 4 else ():
        found |= _within(each, f"{name}.{key}", module, depth + 1)
    return found


class _WithSample(ast.NodeTransformer):
    """Puts a text in the place of what `re.escape` gets: to search for a text as it is takes the same time."""

    def visit_Call(self, node: ast.Call) -> ast.AST:
        return ast.Constant("ab") if ast.unparse(node.func) == "re.escape" else self.generic_visit(node)


def written_in_functions() -> tuple[dict[str, re.Pattern[Any]], list[str]]:
    """Returns the patterns that functions have in their code, and where others are made of data."""
    found: dict[str, re.Pattern[Any]] = {}
    unknown: list[str] = []
    for source in sources():
        for name, call in _calls(source.tree, source.name):
            pattern = _WithSample().visit(call.args[0])
            try:
                text = eval(
                    compile(ast.fix_missing_locations(ast.Expression(pattern)), name, "eval"), vars(source.module)
                )
            except NameError:
                unknown.append(name)
                continue
            if not isinstance(text, re.Pattern):
                found[f"{name} {text!r}"] = re.compile(text)
    return found, unknown


def _calls(node: ast.AST, name: str, is_function: bool = False) -> Iterator[tuple[str, ast.Call]]:
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
    found: dict[str, re.Pattern[Any]] = {}
    for name, languages in MADE_OF_DATA.items():
        for language in languages:
            notation = find_notation(language)
            assert notation is not None
            found[f"{name} {language}"] = notation.numeral
    return found
