"""Writes the reference pages from the code: HTTP, command line, settings, metrics, errors and recipe keys.

`python -m docs.reference_pages`, or `make reference`. The pages are in git, so that links to them work in a clone. With
`--check` nothing is written, and the exit code is 1 if anything would change.
"""

import json
import sys
from collections.abc import Iterable, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any
from unittest.mock import patch

from docs.openapi import current

FOLDER = Path(__file__).parent / "reference"
WRITTEN = "<!-- Written from the code by `make reference`. -->"

# What the text format of Prometheus adds to a name.
SUFFIXES = {"counter": "_total", "info": "_info"}


def main() -> None:
    changed = changed_pages(FOLDER)
    if "--check" not in sys.argv:
        write_all(FOLDER)
    elif changed:
        sys.exit(
            f"{', '.join(changed)} of docs/reference differ from the code: make reference, and read the difference"
        )


def write_all(folder: Path) -> None:
    """Writes every page that changed, so that Sphinx rebuilds no other one."""
    for name, text in changed_pages(folder).items():
        (folder / name).write_text(text, encoding="utf-8")


def changed_pages(folder: Path) -> dict[str, str]:
    """Returns the pages that a folder lacks or has in another form, by the name of their file."""
    found = {}
    # A page has the name of the function that makes it.
    for make in (http, settings, metrics, errors, command_line, recipe_keys):
        name = f"{make.__name__.replace('_', '-')}.md"
        lines = [WRITTEN, "", *make()]
        text = "\n".join(line.rstrip() for line in lines).rstrip() + "\n"
        if not (folder / name).exists() or (folder / name).read_text(encoding="utf-8") != text:
            found[name] = text
    return found


def http() -> list[str]:
    document = current()
    lines = ["# HTTP", "", "The service shows the same at `/docs`, and as OpenAPI at `/openapi.json`.", ""]
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            lines += [f"## `{method.upper()} {path}`", "", *_operation(operation, document["components"])]
    return lines


def _operation(operation: dict[str, Any], components: dict[str, Any]) -> list[str]:
    """Returns the lines about one method of a path: its parameters, bodies and statuses."""
    lines = [operation["summary"] + ".", "", operation.get("description", ""), ""]
    parameters = operation.get("parameters")
    if parameters:
        rows = [(f"`{each['name']}`", _type(each["schema"]), each.get("description", "")) for each in parameters]
        lines += _table(("parameter", "type", "description"), rows)
    content = operation.get("requestBody", {}).get("content", {})
    # JSON if the path reads it, else the only media type.
    body = content.get("application/json", next(iter(content.values()), {})).get("schema", {})
    for schema in body.get("oneOf", [body] if body else []):
        described = _resolved(schema, components["schemas"])
        lines += [f"Body `{described['title']}`:", "", *_fields(described)]
    responses = components["responses"]
    statuses = [(status, _resolved(each, responses)["description"]) for status, each in operation["responses"].items()]
    return lines + _table(("status", "meaning"), statuses)


def settings() -> list[str]:
    from slimseq.app.settings import Settings

    described = Settings.model_json_schema()["properties"]
    rows = [
        (f"`SLIMSEQ_{name.upper()}`", _default(each), each.get("description", "")) for name, each in described.items()
    ]
    intro = ["# Settings", "", "They are environment variables, and options of `slimseq serve`.", ""]
    return [*intro, *_table(("setting", "default", "description"), rows)]


def metrics() -> list[str]:
    from slimseq.app.observability.service_metrics import ServiceMetrics

    rows = [
        (f"`{family.name}{SUFFIXES.get(family.type, '')}`", family.type, family.documentation)
        for family in ServiceMetrics("0").registry.collect()
        if family.name.startswith("slimseq")
    ]
    intro = ["# Metrics", "", "`GET /metrics` shows these series to Prometheus.", ""]
    return [*intro, *_table(("series", "type", "meaning"), rows)]


def errors() -> list[str]:
    from slimseq.app.http.problems import PROBLEM_TYPES, meaning

    intro = ["# Errors", "", "An error is an RFC 9457 problem. Its `type` is `/problems/` and one of these names.", ""]
    rows = {
        (str(found.status), f"`{found.slug}`", found.title, meaning(kind))
        for kind, found in PROBLEM_TYPES.items()
        if kind.__name__ != "SlimseqError"
    }
    return [*intro, *_table(("status", "problem", "title", "when"), sorted(rows))]


def command_line() -> list[str]:
    from slimseq.cli.main import make_app

    # Usage lines have the name of the running program (`sys.argv`), which is not `slimseq` here.
    with patch.object(sys, "argv", ["slimseq"]):
        _, _, rest = make_app().generate_docs().partition("\n")
    # The link to this heading in the contents is not the anchor that GitHub and Sphinx make of the heading.
    rest = rest.replace("(#slimseq-install-completion)", "(#slimseq---install-completion)")
    return ["# Command line", *rest.split("\n")]


def recipe_keys() -> list[str]:
    from slimseq.compression.build.recipe import Recipe
    from slimseq.compression.decode import DecodeOptions
    from slimseq.models_store.generation import GenerationOptions

    schema = Recipe.model_json_schema(by_alias=True)
    options = "The options of a step are those of its verb on the [command line](command-line.md), with underscores."
    lines = ["# Recipe keys", "", f"A recipe is a YAML file. {options}", ""]
    for name, part in {"Recipe": schema, **schema["$defs"]}.items():
        if "properties" in part:
            lines += [f"## {name}", "", " ".join(part.get("description", "").split()), "", *_fields(part)]
    settings = GenerationOptions.model_json_schema()["properties"]
    rows = [
        (f"`{each.name}`", _type(settings[each.name]), settings[each.name]["description"])
        for each in fields(DecodeOptions)
    ]
    intro = (
        "It has no verb. It sets the search with which a variant is served; settings without a value stay as they are."
    )
    return [*lines, "## The step `decode`", "", intro, "", *_table(("field", "type", "description"), rows)]


def _fields(schema: dict[str, Any]) -> list[str]:
    required = schema.get("required", ())
    rows = [
        (f"`{name}`", _type(each), "required" if name in required else _default(each), each.get("description", ""))
        for name, each in schema.get("properties", {}).items()
    ]
    return _table(("field", "type", "default", "description"), rows)


def _resolved(schema: dict[str, Any], schemas: dict[str, Any]) -> dict[str, Any]:
    """Returns the schema that a reference names, or the schema itself."""
    name = schema.get("$ref", "").rpartition("/")[2]
    return schemas[name] if name else schema


def _type(schema: dict[str, Any]) -> str:
    if "$ref" in schema:
        return str(schema["$ref"].rpartition("/")[2])
    if "anyOf" in schema:
        return " or ".join(dict.fromkeys(_type(each) for each in schema["anyOf"]))
    if "enum" in schema:
        return ", ".join(f"`{value}`" for value in schema["enum"])
    if "items" in schema:
        return f"list of {_type(schema['items'])}"
    return str(schema.get("type", "any"))


def _default(schema: dict[str, Any]) -> str:
    return f"`{json.dumps(schema['default'])}`" if schema.get("default") is not None else ""


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    cells = [[str(cell).replace("|", "\\|").replace("\n", " ") for cell in row] for row in rows]
    return [f"| {' | '.join(row)} |" for row in (head, ["---"] * len(head), *cells)] + [""]


if __name__ == "__main__":
    main()
