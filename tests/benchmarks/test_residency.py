import json
from pathlib import Path

import pytest

from benchmarks.residency import ROUNDS, main
from slimseq.models_store.store import Store


def test_variants_come_and_go_and_memory_is_read_after_each(
    embedded: Store, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "found.json"

    main(["translation/quantized", "translation/original", "--store", str(embedded.root), "--json", str(out)])

    states = json.loads(out.read_text(encoding="utf-8"))["states"]
    assert [state["done"] for state in states[2:5]] == [
        "load translation/original",
        "16 texts asked of translation/original",
        "unload translation/original",
    ]
    assert len(states) == 2 + 3 * ROUNDS
    assert all(state["resident_bytes"] > 20_000_000 for state in states)
    assert all(state["seconds"] > 0 for state in states[1:])
    assert "unload translation/original" in capsys.readouterr().out


def test_a_variant_that_is_not_there_ends_in_one_line(embedded: Store) -> None:
    with pytest.raises(SystemExit, match=r"^error: .*translation has no variant 'huge'"):
        main(["translation/quantized", "translation/huge", "--store", str(embedded.root)])
