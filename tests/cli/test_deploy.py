"""`slimseq deploy` without the library that it needs."""

from pathlib import Path

import pytest

from slimseq.cli.serve import deploy
from slimseq.compression.errors import BadParameters


def test_without_ray_the_command_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)

    with pytest.raises(BadParameters, match=r"pip install .*\[cluster\]'"):
        deploy("ray", tmp_path / "serve.yaml")

    assert list(tmp_path.iterdir()) == []
