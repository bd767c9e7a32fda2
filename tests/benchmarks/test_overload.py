import json
from pathlib import Path

import pytest

from benchmarks.overload import EXPECTED, main
from slimseq.models_store.store import Store


def test_few_clients_and_a_crowd_are_measured_in_turns(
    embedded: Store, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "found.json"

    arguments = ["--clients", "24", "--few", "2", "--queue", "4", "--seconds", "3", "--turns", "1", "--deadline", "30"]
    main([*arguments, "--store", str(embedded.root), "--json", str(out)])

    found = json.loads(out.read_text(encoding="utf-8"))
    [[few, many]] = found["turns"]
    assert (few["clients"], many["clients"]) == (2, 24)
    assert set(many["statuses"]) <= EXPECTED and found["unexpected"] == []
    assert found["ratio"] == pytest.approx(many["answers_per_second"] / few["answers_per_second"])
    assert "the crowd got" in capsys.readouterr().out
