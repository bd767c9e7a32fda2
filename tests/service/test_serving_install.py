"""A serving-only install, in an environment of its own: no training library, and it answers all the same."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from slimseq.models_store.manifest import Task
from slimseq.models_store.store import Store
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


def test_it_builds_graphs_of_safetensors_when_they_are_first_asked_for(
    python: Path, embedded: Store, tmp_path: Path
) -> None:
    store = Store(tmp_path / "artifacts")
    derived = shutil.ignore_patterns("onnx", "ctranslate2")
    original = store.folder(Task.TRANSLATION, "original")
    shutil.copytree(embedded.folder(Task.TRANSLATION, "original"), original, ignore=derived)

    with running_service(tmp_path / "log", python=python, folder=tmp_path, store=store.root) as service:
        service.wait_until_ready()
        answer = ask(service, "/translate", "original")

    assert "Kinder" in answer
    store.verify(Task.TRANSLATION, "original", only="onnx")


def test_it_prepares_the_int8_variants_without_a_training_library(
    python: Path, embedded: Store, tmp_path: Path
) -> None:
    store = Store(tmp_path / "artifacts")
    for variant in ("original", "quantized"):
        folder = store.folder(Task.TRANSLATION, variant)
        derived = shutil.ignore_patterns("onnx", "ctranslate2")
        shutil.copytree(embedded.folder(Task.TRANSLATION, variant), folder, ignore=derived)

    done = subprocess.run(
        [python, "-m", "slimseq", "prepare", "--store", store.root],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        env=clean(),
    )

    assert done.returncode == 0, done.stderr
    made, wanted = (each.manifest(Task.TRANSLATION, "quantized") for each in (store, embedded))
    assert made.digest == wanted.digest


def test_a_verb_of_the_offline_side_says_what_is_missing(python: Path, tmp_path: Path) -> None:
    command = [str(python), "-m", "slimseq", "prune", "translation", "original", "--data", "nothing.jsonl"]

    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, env=clean())

    assert done.returncode == 1
    assert done.stderr == "error: this needs torch; install the offline side: pip install 'slimseq[compress]'\n"


def ask(service: Service, path: str, variant: str) -> str:
    answer = service.post(f"{path}?variant={variant}", {"text": "The children are playing in the garden."})
    assert answer.status == 200, answer.text
    text: str = answer.json["outputs"][0]["text"]
    return text


def clean() -> dict[str, str]:
    """The environment without what could bring this one's packages in."""
    return {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
