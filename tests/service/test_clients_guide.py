import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.service.client import Service

GUIDE = Path(__file__).parents[2] / "docs" / "guides" / "clients.md"
EXAMPLES = re.findall(r"```python\n(.*?)```", GUIDE.read_text(encoding="utf-8"), re.DOTALL)


@pytest.mark.parametrize("example", EXAMPLES, ids=range(len(EXAMPLES)))
def test_each_example_of_the_guide_runs(service: Service, example: str) -> None:
    code = example.replace(":8000", f":{service.port}")
    assert code != example

    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=120)

    assert ran.returncode == 0, ran.stderr
    assert len(ran.stdout.splitlines()) >= 2
