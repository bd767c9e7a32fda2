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

# By the platform, and not by what the module makes of it.
needs_linux = pytest.mark.skipif(
    (sys.platform, platform.machine()) != ("linux", "x86_64"), reason="denormals are left alone on this platform"
)


def halved() -> NDArray[np.float32]:
    """What numpy makes of a denormal number in this thread."""
    return np.full(4, DENORMAL, dtype=np.float32) * np.float32(0.5)


# Half of its input, as ONNX.
GRAPH = """
<ir_version: 9, opset_import: ["" : 17]>
halves (float[N] x) => (float[N] y) { half = Constant <value_float = 0.5> () y = Mul (x, half) }
"""


@needs_linux
def test_they_are_zero_within_and_not_after() -> None:
    def broken() -> None:
        raise KeyError("gone")

    assert (halved() > 0).all()
    assert (without_denormals(halved) == 0).all()
    assert (halved() > 0).all()
    with pytest.raises(KeyError):
        without_denormals(broken)
    assert (halved() > 0).all()


@needs_linux
def test_other_threads_keep_theirs() -> None:
    inside, checked = threading.Event(), threading.Event()

    def work() -> None:
        inside.set()
        checked.wait(10)

    thread = threading.Thread(target=without_denormals, args=(work,))
    thread.start()
    inside.wait(10)
    kept = halved()
    checked.set()
    thread.join()
    assert (kept > 0).all()


@needs_linux
def test_a_graph_run_within_takes_them_for_zero() -> None:
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    session = ort.InferenceSession(
        onnx.parser.parse_model(GRAPH).SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    asked = {"x": np.full(4, DENORMAL, dtype=np.float32)}
    (without,) = session.run(None, asked)
    (within,) = without_denormals(session.run, None, asked)
    assert (np.asarray(without) > 0).all()
    assert (np.asarray(within) == 0).all()


def test_where_they_cannot_be_flushed_nothing_changes(monkeypatch: pytest.MonkeyPatch) -> None:
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
