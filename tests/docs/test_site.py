"""The documentation site builds, and no warning about a link is silenced."""

import ast
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

DOCS = Path(__file__).parents[2] / "docs"
# Options of Sphinx and MyST that would hide a dead link.
SILENCING = {"suppress_warnings", "nitpick_ignore", "nitpick_ignore_regex", "myst_ref_domains"}


@pytest.mark.slow
def test_the_site_builds_without_a_warning(tmp_path: Path) -> None:
    pytest.importorskip("sphinx")
    # In a copy, because the build writes the reference pages.
    copied = shutil.copytree(DOCS, tmp_path / "docs", ignore=shutil.ignore_patterns("_build"))

    built = subprocess.run(
        [sys.executable, "-m", "sphinx", "-W", "--keep-going", "-q", "-b", "html", copied, tmp_path / "site"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )

    assert built.returncode == 0, [line for line in built.stderr.splitlines() if "WARNING" in line or "ERROR" in line]
    assert (tmp_path / "site" / "tutorial.html").exists()


def test_the_configuration_of_the_site_silences_no_warning() -> None:
    configuration = ast.parse((DOCS / "conf.py").read_text(encoding="utf-8"))

    assigned = {node.id for node in ast.walk(configuration) if isinstance(node, ast.Name)}

    assert "exclude_patterns" in assigned
    assert not assigned & SILENCING
