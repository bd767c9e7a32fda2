"""A serving install: the wheel, in an environment of its own and without a training library, is complete and serves."""

import os
import re
import shutil
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

from slimseq.models_store.manifest import Task
from slimseq.models_store.store import Store
from tests.service.client import Service
from tests.service.conftest import running_service

# The first test waits for the wheel and its environment, another one for all that is built in it.
pytestmark = pytest.mark.timeout(900)
ROOT = Path(__file__).parents[2]
ABSENT = ("torch", "transformers", "optimum", "datasets")
ROOMS = ("app", "cli", "client", "compression", "evaluation", "inference", "models_store")
# The files of the wheel that are no Python code.
DATA = {
    *(f"slimseq/{package}/py.typed" for package in (*ROOMS, "answers")),
    *(
        f"slimseq/compression/recipes/{path.name}"
        for path in ROOT.glob("compression/slimseq/compression/recipes/*.yaml")
    ),
    *(path.relative_to(ROOT / "app").as_posix() for path in ROOT.glob("app/slimseq/app/web/static/**/*.*")),
    *(path.relative_to(ROOT / "app").as_posix() for path in ROOT.glob("app/slimseq/app/web/static/vendor/*/[LN]*")),
    "slimseq/evaluation/samples/README.md",
    "slimseq/evaluation/samples/summarization.jsonl",
    "slimseq/evaluation/samples/translation-portuguese.jsonl",
    "slimseq/evaluation/samples/translation.jsonl",
}


@pytest.fixture(scope="module")
def distributions(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the source distribution, and with the wheel that is built from it."""
    folder = tmp_path_factory.mktemp("distributions")
    build = [sys.executable, "-m", "build", "--outdir", str(folder), str(ROOT)]
    subprocess.run(build, check=True, capture_output=True, timeout=280)
    return folder


@pytest.fixture(scope="module")
def python(distributions: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The interpreter of a fresh environment with the wheel and nothing else."""
    folder = tmp_path_factory.mktemp("environment")
    python = folder / "bin" / "python"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", folder], check=True)
    (wheel,) = distributions.glob("*.whl")
    # To compile all modules takes as long as the rest, and few of them are imported.
    install = [sys.executable, "-m", "pip", "--python", str(python), "install", "--quiet", "--no-compile", str(wheel)]
    subprocess.run(install, check=True, capture_output=True, timeout=280)
    return python


def slimseq(python: Path, folder: Path, *arguments: object, **settings: str) -> "subprocess.CompletedProcess[str]":
    """Runs the installed `slimseq` in a folder that has none of this checkout's code."""
    command = [str(python.with_name("slimseq")), *map(str, arguments)]
    return subprocess.run(
        command, capture_output=True, text=True, cwd=folder, env=clean() | settings, check=False, timeout=280
    )


def test_the_wheel_has_every_file_of_the_packages_below_one_name(distributions: Path) -> None:
    (path,) = distributions.glob("*.whl")
    code = {file.relative_to(ROOT / room).as_posix() for room in ROOMS for file in ROOT.glob(f"{room}/slimseq/**/*.py")}

    with zipfile.ZipFile(path) as wheel:
        names = set(wheel.namelist())

    packaged = {name for name in names if ".dist-info/" not in name}
    assert packaged == code | DATA
    assert all(name.startswith("slimseq/") for name in packaged)


def test_the_source_distribution_is_small(distributions: Path) -> None:
    (path,) = distributions.glob("*.tar.gz")

    with tarfile.open(path) as archive:
        folders = {name.split("/")[1] for name in archive.getnames()}

    assert path.stat().st_size < 2 * 1024**2
    assert not folders & {"tests", "docs", "benchmarks", "deploy"}


def test_no_training_library_is_installed(python: Path, tmp_path: Path) -> None:
    check = "import importlib.util, sys; print([name for name in sys.argv[1:] if importlib.util.find_spec(name)])"

    done = subprocess.run(
        [python, "-c", check, *ABSENT], check=True, capture_output=True, text=True, cwd=tmp_path, env=clean()
    )

    assert done.stdout.strip() == "[]"


def test_it_prepares_quantizes_lists_and_serves_variants_and_the_page(
    python: Path, embedded: Store, tmp_path: Path
) -> None:
    store = Store(tmp_path / "artifacts")
    for task, variant in ((Task.TRANSLATION, "quantized"), *((task, "original") for task in Task)):
        derived = shutil.ignore_patterns("onnx", "ctranslate2")
        shutil.copytree(embedded.folder(task, variant), store.folder(task, variant), ignore=derived)

    prepared = slimseq(python, tmp_path, "prepare")
    quantized = slimseq(python, tmp_path, "quantize", "translation", "original", "--name", "int8")
    listed = slimseq(python, tmp_path, "list")
    (tmp_path / "texts.txt").write_text("The children are playing in the garden.\n", encoding="utf-8")
    files = ("--data", "texts.txt", "--out", "translations.txt")
    generated = slimseq(python, tmp_path, "generate", "translation", "quantized", *files)
    # Graphs are built of safetensors when they are first asked for.
    shutil.rmtree(store.folder(Task.TRANSLATION, "original") / "onnx")
    with running_service(tmp_path / "log", python=python, folder=tmp_path, store="artifacts") as service:
        page = service.get("/")
        (script,) = re.findall(r'src="(assets/app.js)"', page.text)
        answer = service.get(f"/{script}")
        summary = ask(service, "/summarize", "original")
        translations = [ask(service, "/translate", each) for each in ("original", "quantized", "int8")]

    assert (prepared.returncode, quantized.returncode) == (0, 0), prepared.stderr + quantized.stderr
    assert listed.returncode == 0
    assert listed.stderr == "Store: ./artifacts (default)\n"
    made, wanted = (each.manifest(Task.TRANSLATION, "quantized") for each in (store, embedded))
    assert made.digest == wanted.digest
    store.verify(Task.TRANSLATION, "original", only="onnx")
    assert page.status == answer.status == 200
    assert summary
    assert generated.returncode == 0, generated.stderr
    assert "Kinder" in (tmp_path / "translations.txt").read_text(encoding="utf-8")
    assert all("Kinder" in each for each in translations)


def test_a_command_that_needs_a_training_library_says_so(python: Path, tmp_path: Path) -> None:
    pruned = slimseq(python, tmp_path, "prune", "translation", "original", "--data", "nothing.jsonl")
    # A recipe that ships is found by its name, and its build trains.
    built = slimseq(python, tmp_path, "build", "wmt14-bart")
    unknown = slimseq(python, tmp_path, "build", "nope")
    shown = slimseq(python, tmp_path, "--help")

    assert pruned.returncode == 1
    assert pruned.stderr == "error: this needs torch; install the offline side: pip install 'slimseq[compress]'\n"
    assert built.stderr == pruned.stderr
    assert unknown.returncode == 1
    assert "cnn_dailymail-t5" in unknown.stderr
    assert "wmt14-bart" in unknown.stderr
    assert shown.returncode == 0
    assert "quantize" in shown.stdout
    assert "prune" in shown.stdout


def test_without_a_store_serve_says_what_to_do(python: Path, tmp_path: Path) -> None:
    done = slimseq(python, tmp_path, "serve")

    assert done.returncode == 1
    assert done.stdout == ""
    assert done.stderr == (
        "error: there is no store at ./artifacts: set SLIMSEQ_STORE to a folder of artifacts, or make the first one "
        "with `pip install 'slimseq[compress]'` and `slimseq import google-t5/t5-small --task summarization`\n"
    )


def ask(service: Service, path: str, variant: str) -> str:
    answer = service.post(f"{path}?variant={variant}", {"text": "The children are playing in the garden."})
    assert answer.status == 200, answer.text
    text: str = answer.json["outputs"][0]["text"]
    return text


def clean() -> dict[str, str]:
    """The environment's variables without those that could add the packages of the tests' own environment."""
    return {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
