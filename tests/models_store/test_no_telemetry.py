"""Libraries send nothing to their makers, whatever imports them first."""

import ast
import json
import os
import subprocess
import sys
import types
from pathlib import Path

import pytest

from slimseq.models_store.no_telemetry import SWITCHES, switch_off

ROOT = Path(__file__).parents[2]
MODULE = "slimseq.models_store.no_telemetry"
# Rooms whose libraries send nothing. Both import the store's schema, and with it the module where there is a store.
OTHERS = {"answers", "client"}
ROOMS = [
    path
    for path in (*sorted(ROOT.glob("*/slimseq/*/__init__.py")), ROOT / "benchmarks" / "__init__.py")
    if path.parent.name not in OTHERS
]


@pytest.mark.parametrize("path", ROOMS, ids=lambda path: path.parent.name)
def test_every_room_switches_telemetry_off_before_it_imports_anything_else(path: Path) -> None:
    imports = [each for each in ast.parse(path.read_text()).body if isinstance(each, ast.Import | ast.ImportFrom)]

    first = imports[0]

    assert isinstance(first, ast.Import)
    assert [each.name for each in first.names] == [MODULE]


@pytest.mark.parametrize("room", ["app", "cli", "compression", "evaluation", "inference", "models_store"])
def test_a_variable_that_switches_telemetry_on_is_replaced_for_this_process_and_its_children(room: str) -> None:
    opposite = {name: "1" if value == "0" else "0" for name, value in SWITCHES.items()}
    child = "import json, os; print(json.dumps(dict(os.environ)))"
    program = f"import slimseq.{room}, subprocess, sys; subprocess.run([sys.executable, '-c', {child!r}])"

    ran = subprocess.run([sys.executable, "-c", program], env=os.environ | opposite, capture_output=True, text=True)

    assert ran.returncode == 0, ran.stderr
    found = json.loads(ran.stdout)
    assert {name: found[name] for name in SWITCHES} == dict(SWITCHES)


def test_a_program_that_has_imported_onnx_runtime_before_sends_no_more(monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[str] = []
    library = types.SimpleNamespace(disable_telemetry_events=lambda: calls.append("disabled"))
    monkeypatch.setitem(sys.modules, "onnxruntime", library)

    switch_off()

    assert calls == ["disabled"]
