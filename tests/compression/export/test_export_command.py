"""`slimseq export --exporter`."""

import sys

import pytest

from slimseq.compression.context import Context
from slimseq.compression.errors import BadParameters
from slimseq.compression.export.exporting import add_onnx
from slimseq.models_store.manifest import Task
from tests.command_line import invoked

TASK = Task.TRANSLATION


def test_an_exporter_can_be_chosen(context: Context) -> None:
    """That its graphs serve too, is in `tests/inference/runtimes/test_traced_onnx.py`."""
    pytest.importorskip("optimum")

    for exporter in ("optimum", "slimseq"):
        result = invoked("export", TASK.value, "original", "--exporter", exporter, "--store", context.store.root)
        assert result.code == 0, result.error
        export = context.store.export_of(TASK, "original", "onnx")
        assert export is not None
        assert export.exporter == exporter


def test_an_exporter_that_is_not_installed_says_how_to_install_it(
    context: Context, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "optimum.exporters.onnx", None)

    with pytest.raises(BadParameters, match=r"pip install .*\[compress,optimum\]'"):
        add_onnx(context, TASK, "original", "optimum")

    assert context.store.export_of(TASK, "original", "onnx") is None
