"""`python -m docs.surface`: prints the surface of Slimseq, all that a user can name.

The surface is every setting, endpoint, verb with its options, metric and extra. `docs/reference/surface.md` lists it,
and a test compares both: whoever adds something says so there, and asks whether it earns its place.
"""

import tomllib
from collections.abc import Iterator, Sequence
from pathlib import Path

ROOT = Path(__file__).parents[1]
LIST = ROOT / "docs" / "reference" / "surface.md"
INTRODUCTION = """# Surface

This page lists everything that a user can name. `python -m docs.surface` prints it from the code, and a test compares
it with this page. The pages beside this one explain each name.
"""


def surface() -> dict[str, list[str]]:
    """Returns the names of each kind, sorted."""
    return {
        "Settings": settings(),
        "Endpoints": endpoints(),
        "Verbs and their options": verbs(),
        "Metrics": metrics(),
        "Extras": extras(),
    }


def settings() -> list[str]:
    from slimseq.app.settings import Settings

    return sorted(f"`SLIMSEQ_{name.upper()}`" for name in Settings.model_fields)


def endpoints() -> list[str]:
    """Returns the calls of the service, and of the mounted applications for clients of other services."""
    from fastapi import FastAPI
    from starlette.routing import Mount

    from slimseq.app.main import create_app
    from slimseq.app.settings import Settings
    from slimseq.models_store.places import embedded_store

    app = create_app(Settings(store=embedded_store()))
    mounted = [route for route in app.routes if isinstance(route, Mount) and isinstance(route.app, FastAPI)]
    # By the prefix of the paths.
    documents = [("", app.openapi()), *((mount.path, mount.app.openapi()) for mount in mounted)]  # type: ignore[attr-defined]
    return sorted(
        f"`{method.upper()} {prefix}{path}`"
        for prefix, document in documents
        for path, methods in document["paths"].items()
        for method in methods
    )


def verbs() -> list[str]:
    from slimseq.cli.main import VERBS, make_app

    app = make_app()
    return [f"`{verb}`: {', '.join(_options(app[verb])) or 'none'}" for verb in sorted(VERBS)]


def _options(app: object) -> Iterator[str]:
    """Yields the options of a verb, and of the verbs below it. An option is listed by its first long name."""
    from cyclopts import App

    assert isinstance(app, App)
    if app.default_command is None:
        for name in sorted(each for each in app if not each.startswith("-")):
            yield f"`{name}` ({', '.join(_options(app[name])) or 'none'})"
        return
    names = set()
    for argument in app.assemble_argument_collection():
        long_names = [name for name in argument.names if name.startswith("--")]
        if argument.show and long_names:
            names.add(long_names[0])
    yield from (f"`{name}`" for name in sorted(names))


def metrics() -> list[str]:
    from slimseq.app.observability.service_metrics import ServiceMetrics

    families = ServiceMetrics("0").registry.collect()
    return sorted(f"`{family.name}`" for family in families if family.name.startswith("slimseq"))


def extras() -> list[str]:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    return sorted(f"`{name}`" for name in project["optional-dependencies"])


def page(found: dict[str, list[str]]) -> str:
    parts = [INTRODUCTION]
    for kind, names in found.items():
        parts.append(f"## {kind}: {len(names)}\n")
        parts.append("\n".join(_lines(names)) + "\n")
    return "\n".join(parts)


def _lines(names: Sequence[str]) -> Iterator[str]:
    yield from (f"- {name}" for name in names)


def main() -> None:
    print(page(surface()), end="")  # noqa: T201


if __name__ == "__main__":
    main()
