"""A serving-only install, in an environment of its own: no training library, and it answers all the same."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from models_store.store import Store
from tests.service.client import Service
from tests.service.conftest import running_service

ROOT = Path(__file__).parents[2]
ABSENT = ("torch", "transformers", "optimum", "datasets")


@pytest.fixture(scope="module")
def python(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The interpreter of a fresh environment with `pip install .` and nothing else."""
    folder = tmp_path_factory.mktemp("environment")
    subprocess.run([sys.executable, "-m", "venv", folder], check=True)
    install = [str(folder / "bin" / "python"), "-m", "pip", "install", "--quiet", str(ROOT)]
    subprocess.run(install, check=True, capture_output=True, timeout=280)
    return folder / "bin" / "python"


def test_no_training_library_is_installed(python: Path, tmp_path: Path) -> None:
    check = "import importlib.util, sys; print([name for name in sys.argv[1:] if importlib.util.find_spec(name)])"

    done = subprocess.run(
        [python, "-c", check, *ABSENT], check=True, capture_output=True, text=True, cwd=tmp_path, env=clean()
    )

    assert done.stdout.strip() == "[]"


def test_it_serves_built_artifacts(python: Path, embedded: Store, tmp_path: Path) -> None:
    with running_service(tmp_path / "log", python=python, folder=tmp_path, store=embedded.root) as service:
        service.wait_until_ready()

        answers = {
            (path, variant): ask(service, path, variant)
            for path in ("/translate", "/summarize")
            for variant in ("original", "quantized")
        }

    assert all(answers.values())
    assert "Kinder" in answers["/translate", "quantized"]


def ask(service: Service, path: str, variant: str) -> str:
    answer = service.post(f"{path}?variant={variant}", {"text": "The children are playing in the garden."})
    assert answer.status == 200, answer.text
    text: str = answer.json["outputs"][0]["text"]
    return text


def clean() -> dict[str, str]:
    """The environment without what could bring this one's packages in."""
    return {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
