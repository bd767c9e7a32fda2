import json
from pathlib import Path

import pytest

from benchmarks.step_profile import main
from slimseq.models_store.store import Store


def test_a_step_is_taken_apart_and_its_parts_are_shown(
    embedded: Store, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "profile.json"

    main(
        [
            *("translation", "--store", str(embedded.root), "--json", str(file)),
            *("--inputs", "1", "2", "--new-tokens", "3", "--beams", "2"),
        ]
    )

    found = json.loads(file.read_text(encoding="utf-8"))
    assert [each["inputs"] for each in found["profiles"]] == [1, 2]
    for each in found["profiles"]:
        assert 0 < each["decoder_us"] < each["step_us"]
        assert sum(each["operators_us"].values()) > 0
        assert each["nodes"] > 100
        assert "MatMulIntegerToFloat" in each["operators_us"]
    written = capsys.readouterr().out
    assert "| 1 input | 2 inputs |" in written
    assert "| its search and caches | " in written and "| MatMulIntegerToFloat | " in written
    assert "2 beams, 3 tokens out" in written


def test_a_variant_without_graphs_ends_in_one_line(embedded: Store) -> None:
    with pytest.raises(SystemExit, match=r"^error: .*has no ONNX graphs; `slimseq prepare` makes them"):
        main(["translation", "compact", "--store", str(embedded.root)])
