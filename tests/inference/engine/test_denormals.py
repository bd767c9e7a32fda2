"""Denormal numbers are zero where graphs run, and nowhere else."""

import platform
import subprocess
import sys
import threading

import numpy as np
import onnx.parser
import onnxruntime as ort
import pytest
from numpy.typing import NDArray

from slimseq.inference.engine import graph_runs
from slimseq.inference.engine.graph_runs import without_denormals
from slimseq.models_store.store import Store

DENORMAL = 1e-39

# The condition does not ask the module, which could be wrong about the platform.
needs_linux = pytest.mark.skipif(
    (sys.platform, platform.machine()) != ("linux", "x86_64"), reason="denormals are left alone on this platform"
)


def halved() -> NDArray[np.float32]:
    """Returns half of a denormal number, as numpy computes it in this thread: 0 where such numbers are flushed."""
    return np.full(4, DENORMAL, dtype=np.float32) * np.float32(0.5)


# Half of its input, as ONNX.
GRAPH = """
<ir_version: 9, opset_import: ["" : 17]>
halves (float[N] x) => (float[N] y) { half = Constant <value_float = 0.5> () y = Mul (x, half) }
"""


@needs_linux
def test_denormals_are_zero_within_and_not_after() -> None:
    assert (halved() > 0).all()
    assert (without_denormals(halved) == 0).all()
    assert (halved() > 0).all()


@needs_linux
def test_denormals_are_kept_again_after_an_exception() -> None:
    def fail() -> None:
        raise KeyError("gone")

    with pytest.raises(KeyError):
        without_denormals(fail)

    assert (halved() > 0).all()


@needs_linux
def test_denormals_of_other_threads_are_kept() -> None:
    is_running, may_end = threading.Event(), threading.Event()

    def wait_for_end() -> None:
        is_running.set()
        may_end.wait(10)

    thread = threading.Thread(target=without_denormals, args=(wait_for_end,))
    thread.start()
    is_running.wait(10)
    meanwhile = halved()
    may_end.set()
    thread.join()

    assert (meanwhile > 0).all()


@needs_linux
def test_a_graph_that_runs_within_takes_denormals_for_zero() -> None:
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    session = ort.InferenceSession(
        onnx.parser.parse_model(GRAPH).SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    feeds = {"x": np.full(4, DENORMAL, dtype=np.float32)}

    (outside,) = session.run(None, feeds)
    (within,) = without_denormals(session.run, None, feeds)

    assert (np.asarray(outside) > 0).all()
    assert (np.asarray(within) == 0).all()


def test_where_denormals_cannot_be_flushed_nothing_changes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(graph_runs, "_LIBRARY", None)
    assert (without_denormals(halved) > 0).all()


def test_opening_a_variant_leaves_the_caller_s_arithmetic_alone(embedded: Store) -> None:
    # The library lets the first session of a process decide for the thread that opens it.
    script = (
        "import numpy as np\n"
        "from slimseq.inference.generator import open_generator\n"
        "from slimseq.models_store.manifest import Task\n"
        "from slimseq.models_store.store import Store\n"
        "from pathlib import Path\n"
        f"with open_generator(Store(Path({str(embedded.root)!r})), Task.TRANSLATION, 'original', 'onnxruntime'):\n"
        "    print((np.full(4, 1e-39, dtype=np.float32) * np.float32(0.5) > 0).all())\n"
    )

    ran = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)

    assert ran.stdout.strip() == "True"
