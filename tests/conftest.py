"""What all tests share: the embedded artifacts, built once, copies of them to break, and the order of the tests.

`make test` runs the tests in several processes. The markers that this file sets say which tests run by themselves, and
which run last.
"""

import fcntl
import gc
import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from slimseq.inference.generator import TextGenerator, open_generator
from slimseq.models_store.manifest import Task
from slimseq.models_store.places import embedded_store
from slimseq.models_store.store import Store
from tests.places import ONE_TRANSLATOR, STATE
from tests.postgresql import PostgreSQL, running_postgresql

# One thread of PyTorch is enough for tiny models. On busy cores, several threads wait for each other, and take many
# times as long. Commands that tests start inherit the variable.
os.environ.setdefault("OMP_NUM_THREADS", "1")
# Without bytecode files, each process spends a minute on compiling libraries and rewriting assertions.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
sys.dont_write_bytecode = False
os.environ["XDG_STATE_HOME"] = STATE.name
# A shell makes a process in the background ignore SIGINT, and the commands that tests start would inherit that.
signal.signal(signal.SIGINT, signal.default_int_handler)

# Hypothesis draws the same examples each time: if a test fails, a change of the code has caused it. There are no
# deadlines, because cores may be busy.
settings.register_profile(
    "slimseq",
    derandomize=True,
    database=None,
    deadline=None,
    max_examples=100,
    suppress_health_check=[HealthCheck.too_slow],
)
settings.load_profile("slimseq")

# Modules whose functions start processes. Tests that import them are slow.
STARTING_PROCESSES = {"tests.command_line", "tests.service.conftest"}
# Beginnings of the ids of tests that measure seconds: other tests at the same time would change the result.
ALONE = (
    "tests/chaos/test_storm",
    "tests/inference/text/test_held_interpreter.py",
    "tests/service/test_variants_in_memory.py::test_p95",
    "tests/service/test_overload.py::test_a_request_is_answered_with_504_soon",
    "tests/service/test_stopping.py::test_a_client_that_reads_nothing",
    "tests/service/test_stopping.py::test_a_second_signal_ends_the_grace",
    "tests/service/test_stopping.py::test_a_stream_that_runs_beyond_the_grace",
    "tests/service/test_stopping.py::test_requests_that_run_beyond_the_grace",
    "tests/service/test_stopping_under_load",
    "tests/service/test_streaming.py::test_a_client_that_leaves",
)
# Tests that wait for processes of low priority. They run last, because other tests leave such processes no CPU time.
LOW_PRIORITY = (
    "tests/app/evaluations",
    "tests/app/shadowing",
    "tests/deploy/test_under_load",
    "tests/service/test_client",
    "tests/service/test_evaluation",
    "tests/service/test_lasting_evaluations",
    "tests/service/test_nothing_leaves",
    "tests/service/test_readme_requests",
    "tests/service/test_several_base_models",
    "tests/service/test_shadowing",
    "tests/web/test_evaluations",
    "tests/web/test_measurements",
)
# The files that take longest, from half a minute to minutes. They begin first, so that no process waits for one of them
# at the end.
LONGEST = (
    "tests/benchmarks/test_serving",
    "tests/cli/test_generate",
    "tests/compression/test_families",
    "tests/compression/build/",
    "tests/compression/test_interrupted_commands_and_read_only_stores",
    "tests/inference/runtimes/test_onnxruntime",
    "tests/service/test_fresh_models",
    "tests/service/test_lasting_evaluations",
    "tests/service/test_variants_in_memory",
    "tests/service/test_schemathesis",
    "tests/service/test_serving_install",
    "tests/docs/test_tutorial",
    "tests/deploy/test_under_load",
)

COMPRESSION_TESTS = Path(__file__).parent / "compression"
# A test file that names one of these libraries also runs with transformers 4 (`make test-transformers4`).
LIBRARIES = re.compile(r"\b(torch|transformers|optimum)\b")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Orders tests, and marks them for `make check`, `make test` and `make test-transformers4`."""
    items.sort(key=lambda item: (item.nodeid.startswith(LOW_PRIORITY), not item.nodeid.startswith(LONGEST)))
    uses_transformers = {
        path: path.is_relative_to(COMPRESSION_TESTS) or LIBRARIES.search(path.read_text(encoding="utf-8"))
        for path in {item.path for item in items}
    }
    for item in items:
        assert isinstance(item, pytest.Function)
        # The modules that define what the test's file imports.
        imported = {getattr(value, "__module__", None) for value in vars(item.module).values()}
        if "embedded" in item.fixturenames or imported & STARTING_PROCESSES:
            item.add_marker("slow")
        if item.nodeid.startswith(ALONE):
            item.add_marker("alone")
            item.add_marker("slow")
        if item.nodeid.startswith(LOW_PRIORITY):
            item.add_marker("low_priority")
        if uses_transformers[item.path]:
            item.add_marker("transformers4")


def pytest_collection_finish() -> None:
    """Makes the garbage collector skip the modules of libraries. Each of its runs would take 0.2 s for them."""
    gc.freeze()


@pytest.fixture(scope="session")
def embedded(tmp_path_factory: pytest.TempPathFactory) -> Store:
    """The embedded summarizer and the translator to German, with all variants that derive from them. Read only."""
    prepare = [sys.executable, "-m", "slimseq", "prepare", "--store", str(embedded_store())]
    # If several processes run tests, the first makes what is missing, and the others wait for it.
    with (tmp_path_factory.getbasetemp().parent / "prepare.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        subprocess.run(prepare, check=True, capture_output=True)
        others = shutil.ignore_patterns("portuguese*", ".tmp-*")
        shutil.copytree(embedded_store(), ONE_TRANSLATOR, ignore=others, copy_function=_link)
    return Store(ONE_TRANSLATOR)


@pytest.fixture(scope="module")
def translator(embedded: Store) -> Iterator[TextGenerator]:
    with open_generator(embedded, Task.TRANSLATION, "quantized") as generator:
        yield generator


@pytest.fixture(scope="module")
def summarizer(embedded: Store) -> Iterator[TextGenerator]:
    with open_generator(embedded, Task.SUMMARIZATION, "quantized") as generator:
        yield generator


def _link(source: str, target: str) -> None:
    """Makes a hard link to a file, or a copy where the file system has no links."""
    try:
        os.link(source, target)
    except OSError:
        shutil.copy2(source, target)


@pytest.fixture(scope="session")
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(scope="session")
def postgresql() -> Iterator[PostgreSQL]:
    """A PostgreSQL server that all tests share, each with a database of its own."""
    with running_postgresql() as server:
        yield server


@pytest.fixture
def own_store(embedded: Store, tmp_path: Path) -> Store:
    """A copy of the embedded originals and their int8 variants, to change or break."""
    others = shutil.ignore_patterns("pruned", "distilled", "compact", "compact-float")
    shutil.copytree(embedded.root, tmp_path / "artifacts", ignore=others)
    return Store(tmp_path / "artifacts")
