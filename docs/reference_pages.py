"""Writes the reference pages from the code: HTTP, command line, settings, metrics, errors and recipe keys."""

import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any


def write_all(folder: Path) -> None:
    """Writes every page that is not the same already, so that Sphinx rebuilds only what changed."""
    pages = {
        "http": http(),
        "settings": settings(),
        "metrics": metrics(),
        "errors": errors(),
        "command-line": command_line(),
        "recipe-keys": recipe_keys(),
    }
    for name, lines in pages.items():
        path, text = folder / f"{name}.md", "\n".join(lines) + "\n"
        if not path.exists() or path.read_text(encoding="utf-8") != text:
            path.write_text(text, encoding="utf-8")


def http() -> list[str]:
    """Returns the page of all calls, from the OpenAPI document."""
    document = _application().openapi()
    schemas = document["components"]["schemas"]
    lines = ["# HTTP", "", "The service shows the same at `/docs`, and as OpenAPI at `/openapi.json`.", ""]
    for path, methods in document["paths"].items():
        for method, call in methods.items():
            lines += [f"## `{method.upper()} {path}`", "", call["summary"] + ".", ""]
            lines += [call.get("description", ""), ""]
            if rows := [_parameter(each) for each in call.get("parameters", [])]:
                lines += _table(("parameter", "type", "description"), rows)
            body = call.get("requestBody", {}).get("content", {}).get("application/json", {}).get("schema")
            if body:
                lines += ["Body:", "", *_fields(_resolved(body, schemas))]
            rows = [(status, answer["description"]) for status, answer in call["responses"].items()]
            lines += _table(("status", "meaning"), rows)
    return lines


def settings() -> list[str]:
    """Returns the page of settings, from the class that reads them."""
    from slimseq.app.settings import Settings

    described = Settings.model_json_schema()["properties"]
    rows = [
        (f"`SLIMSEQ_{name.upper()}`", _default(each), each.get("description", "")) for name, each in described.items()
    ]
    return [
        "# Settings",
        "",
        "Settings of the service are environment variables.",
        "",
        *_table(("setting", "default", "description"), rows),
    ]


def metrics() -> list[str]:
    """Returns the page of Prometheus series, from the registry."""
    from slimseq.app.observability.metrics import ServiceMetrics

    rows = [
        (f"`{family.name}`", family.type, family.documentation)
        for family in ServiceMetrics("0").registry.collect()
        if family.name.startswith("slimseq")
    ]
    return [
        "# Metrics",
        "",
        "`GET /metrics` shows these series to Prometheus.",
        "",
        *_table(("series", "type", "meaning"), rows),
    ]


def _application() -> Any:
    from slimseq.app.main import create_app
    from slimseq.app.settings import Settings
    from slimseq.models_store.places import embedded_store

    return create_app(Settings(store=embedded_store()))


def _parameter(each: dict[str, Any]) -> Sequence[str]:
    return f"`{each['name']}`", _type(each["schema"]), each.get("description", "")


def _fields(schema: dict[str, Any]) -> list[str]:
    rows = [
        (
            f"`{name}`",
            _type(each),
            _default(each) if name not in schema.get("required", ()) else "required",
            each.get("description", ""),
        )
        for name, each in schema.get("properties", {}).items()
    ]
    return _table(("field", "type", "default", "description"), rows)


def _resolved(schema: dict[str, Any], schemas: dict[str, Any]) -> dict[str, Any]:
    name = schema.get("$ref", "").rpartition("/")[2]
    resolved: dict[str, Any] = schemas[name] if name else schema
    return resolved


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
