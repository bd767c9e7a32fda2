"""`make` finds a Python that Slimseq runs on, and `make test` runs every test."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import ALONE

ROOT = Path(__file__).parents[1]
# A script in the place of an interpreter of another version. With `-c` it runs the code, and says that other version.
# With `-m venv FOLDER` it makes an empty file for the interpreter, since a real environment takes seconds.
FAKE_PYTHON = """#!/bin/sh
if [ "$1" = -c ]; then
  exec {python} -c 'import platform, sys
sys.version_info = tuple(map(int, "{version}".split(".")))
platform.python_version = lambda: "{version}"
exec(sys.argv[1])' "$2"
fi
exec {python} -c 'import pathlib, sys
file = pathlib.Path(sys.argv[1], "bin", "python")
file.parent.mkdir(parents=True)
file.touch()' "$3"
"""


def make_environment(folder: Path, versions: dict[str, str]) -> "subprocess.CompletedProcess[str]":
    """Runs `make .venv/bin/python` where only some Pythons are installed.

    Args:
        versions: the version of each Python, by its name. One without a version does not run.
    """
    shutil.copy(ROOT / "Makefile", folder)
    tools = folder / "bin"
    tools.mkdir()
    for tool in ("make", "sh"):
        (tools / tool).symlink_to(shutil.which(tool) or tool)
    for name, version in versions.items():
        script = FAKE_PYTHON.format(python=sys.executable, version=version) if version else "#!/bin/sh\nexit 127\n"
        (tools / name).write_text(script)
        (tools / name).chmod(0o755)
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("MAKE", "MFLAGS"))}
    return subprocess.run(
        ["make", "--no-print-directory", ".venv/bin/python"],
        cwd=folder,
        env=environment | {"PATH": str(tools)},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.parametrize(
    ("versions", "taken"),
    [
        ({"python3": "3.12.1", "python3.13": "3.13.2"}, "3.12.1"),
        ({"python3": "3.15.0", "python3.13": "3.13.2", "python3.11": "3.11.9"}, "3.13.2"),
        ({"python3": "3.9.2", "python3.14": "", "python3.11": "3.11.9"}, "3.11.9"),
        ({"python3.14": "3.14.0"}, "3.14.0"),
    ],
    ids=["the usual one", "the usual one is too new", "the usual one is too old", "no usual one"],
)
def test_make_takes_a_python_that_works_and_says_which(tmp_path: Path, versions: dict[str, str], taken: str) -> None:
    done = make_environment(tmp_path, versions)

    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(f"Using Python {taken} (")
    assert (tmp_path / ".venv" / "bin" / "python").exists()


@pytest.mark.parametrize(
    ("versions", "found"),
    [
        ({"python3": "3.15.0"}, "python3 is 3.15.0"),
        ({"python3": "3.10.4", "python3.11": ""}, "python3 is 3.10.4"),
        ({}, "none"),
    ],
    ids=["too new", "too old, and one that does not run", "none"],
)
def test_where_no_python_works_one_line_says_so_and_what_would(
    tmp_path: Path, versions: dict[str, str], found: str
) -> None:
    done = make_environment(tmp_path, versions)

    error, line_of_make = done.stderr.splitlines()
    assert done.returncode == 2
    assert line_of_make.startswith("make: ***")
    assert error == (
        f"error: Slimseq needs Python 3.11 to 3.14 with venv (found: {found}). Install one, or name one: "
        "make PYTHON=/path/to/python3.13. For Python 3.15, ONNX Runtime has no build yet."
    )
    assert not (tmp_path / ".venv").exists()


def test_make_test_looks_for_tests_that_run_alone_in_every_folder_that_has_some() -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8").replace("\\\n", "")
    named = re.search(r"^ALONE_TESTS := (.+)$", makefile, re.MULTILINE)

    assert named
    # With a slash at the end, so that `tests/web` does not cover `tests/website`.
    folders = tuple(f"{path}/" for path in named[1].split())
    assert all(f"{prefix}/".startswith(folders) for prefix in ALONE)
    assert all((ROOT / folder.rstrip("/")).exists() for folder in folders)
