"""The client's own distribution in an environment of its own: small, without a runtime of models, and it works."""

import os
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest

from tests.service.client import Service

ROOT = Path(__file__).parents[2]
MAX_BYTES = 30 * 1024**2
RUNTIMES = ("ctranslate2", "fastapi", "numpy", "onnxruntime", "tokenizers", "torch")
CALL = """
import sys
from slimseq.client import Client
with Client(sys.argv[1]) as client:
    print(client.translate("The children are playing in the garden.", variant="original").text)
"""
# The environment has no extra `mcp`, which is as large as all else. Mocks replace its modules.
VERSION = """
import sys
from unittest.mock import MagicMock
for name in ("mcp.server", "mcp.server.mcpserver.exceptions", "mcp.types"):
    sys.modules[name] = MagicMock()
from slimseq.client.mcp_server import MCPServer, make_server
make_server(MagicMock())
print(MCPServer.call_args.kwargs["version"])
"""


@pytest.fixture(scope="module")
def python(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The interpreter of a fresh environment with the client and nothing else, not even pip."""
    folder = tmp_path_factory.mktemp("environment")
    python = folder / "bin" / "python"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", folder], check=True)
    install = [sys.executable, "-m", "pip", "--python", str(python), "install", "--quiet", str(ROOT / "client")]
    subprocess.run(install, check=True, capture_output=True, timeout=280)
    return python


def run(python: Path, *arguments: str) -> str:
    """Runs code outside of this checkout, whose code the environment must not find."""
    command = [str(python), "-I", "-c", *arguments]
    return subprocess.run(command, check=True, capture_output=True, text=True, cwd=python.parent, timeout=60).stdout


def test_it_is_small_and_has_no_runtime_of_models(python: Path) -> None:
    find = f"import importlib.util; print([name for name in {RUNTIMES} if importlib.util.find_spec(name)])"
    used = subprocess.run(["du", "-sk", python.parents[1]], check=True, capture_output=True, text=True).stdout

    assert run(python, find).strip() == "[]"
    assert int(used.split()[0]) * 1024 < MAX_BYTES


def test_it_calls_a_service(python: Path, service: Service) -> None:
    assert "Kinder" in run(python, CALL, f"http://127.0.0.1:{service.port}")


def test_its_server_for_assistants_knows_its_version(python: Path) -> None:
    assert run(python, VERSION).strip() == project(ROOT / "client")["version"]


def test_its_server_for_assistants_starts_beside_a_checkout_that_is_not_installed(python: Path, tmp_path: Path) -> None:
    (tmp_path / "slimseq").symlink_to(ROOT)
    variables = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    command = [str(python), "-c", VERSION]

    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, env=variables, timeout=60)

    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == project(ROOT / "client")["version"]


def test_it_agrees_with_the_whole_project() -> None:
    client, whole = project(ROOT / "client"), project(ROOT)

    extras = whole["optional-dependencies"]
    assert client["version"] == whole["version"]
    assert set(client["dependencies"]) <= {*whole["dependencies"], *extras["client"]}
    assert client["optional-dependencies"]["mcp"] == extras["mcp"]


def project(folder: Path) -> dict[str, Any]:
    found: dict[str, Any] = tomllib.loads((folder / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    return found
