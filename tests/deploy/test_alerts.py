"""The alert rules, checked and tested by the real `promtool`."""

import shutil
import subprocess
from pathlib import Path

import pytest

ALERTS = Path(__file__).parents[2] / "deploy" / "prometheus" / "alerts"
UNIT_TESTS = Path(__file__).parent / "agreement_test.yml"

pytestmark = pytest.mark.skipif(shutil.which("promtool") is None, reason="needs promtool, Debian's `prometheus`")


def test_the_rules_are_valid_and_raise_alerts_when_they_should(tmp_path: Path) -> None:
    shutil.copytree(ALERTS, tmp_path, dirs_exist_ok=True)
    shutil.copy(UNIT_TESTS, tmp_path)

    checked = subprocess.run(["promtool", "check", "rules", *tmp_path.glob("agreement.yml")], capture_output=True)
    tested = subprocess.run(["promtool", "test", "rules", tmp_path / UNIT_TESTS.name], capture_output=True, text=True)

    assert checked.returncode == 0, checked.stderr
    assert tested.returncode == 0, tested.stdout + tested.stderr
