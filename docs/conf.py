"""Builds the documentation site: `make docs`. The reference pages are written from the code before each build.

A link to a page or a heading that does not exist is an error.
"""

import sys
from importlib import metadata
from pathlib import Path
from typing import Any

# `setup` imports the package `docs` of the repository.
sys.path.insert(0, str(Path(__file__).parents[1]))

project = "Slimseq"
author = "The Slimseq developers"
version = release = metadata.version("slimseq")
extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon", "sphinx_copybutton"]
myst_heading_anchors = 3
html_theme = "furo"
html_title = "Slimseq"
exclude_patterns = ["_build"]
autodoc_typehints = "description"


def setup(app: Any) -> None:
    from docs.reference_pages import write_all

    app.connect("builder-inited", lambda _: write_all(Path(__file__).parent / "reference"))
