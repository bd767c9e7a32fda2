"""Schemathesis sends what the OpenAPI document allows, and what it forbids, and compares each answer with it.

`schemathesis.toml` lists the checks that are left out, and why.
"""

import subprocess
import sys
from pathlib import Path

from slimseq.app.http.keys import KeyLimits, Scope, add_key
from tests.service.conftest import running_service

CONFIGURATION = Path(__file__).parent / "schemathesis.toml"
# Generated requests of each operation, for each of the two ways to generate; more are added for every bound.
EXAMPLES = 5
SEED = 7


def schemathesis(folder: Path, port: int, *options: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "schemathesis.cli", "--config-file", str(CONFIGURATION), "run"]
    bounds = ["--max-examples", str(EXAMPLES), "--seed", str(SEED), "--no-color"]
    url = f"http://127.0.0.1:{port}/openapi.json"
    return subprocess.run([*command, url, *bounds, *options], cwd=folder, capture_output=True, text=True, check=False)


def test_every_answer_is_as_the_openapi_document_says(tmp_path: Path) -> None:
    keys = tmp_path / "keys.json"
    key = add_key(keys, "all scopes", tuple(Scope), KeyLimits(), None)[1]
    with running_service(tmp_path / "log", keys_file=keys) as service:
        found = schemathesis(tmp_path, service.port, "--header", f"Authorization: Bearer {key}")

    assert found.returncode == 0, found.stdout + found.stderr
