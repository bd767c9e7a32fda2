import json
from pathlib import Path

import pytest

from benchmarks.keys import main
from slimseq.models_store.store import Store


def test_a_service_with_keys_is_measured_beside_one_without(
    embedded: Store, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "found.json"

    main(["--seconds", "0.5", "--rounds", "1", "--store", str(embedded.root), "--json", str(out)])

    [measured] = json.loads(out.read_text(encoding="utf-8"))["rounds"]
    servers = [figures for load in measured.values() for figures in load.values()]
    assert len(servers) == 4
    assert all(figures["requests_per_second"] and not figures["errors"] for figures in servers)
    assert "with keys and limits in the process over without" in capsys.readouterr().out
