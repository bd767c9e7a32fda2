import json
from pathlib import Path

import pytest

from benchmarks.performance_page import main as make_page
from benchmarks.step_profile import main
from slimseq.models_store.store import Store


def test_a_step_is_taken_apart_and_its_parts_are_on_the_page(
    embedded: Store, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file, page = tmp_path / "profile.json", tmp_path / "performance.md"

    main(
        [
            *("translation", "--store", str(embedded.root), "--json", str(file)),
            *("--inputs", "1", "2", "--new-tokens", "3", "--beams", "2"),
        ]
    )
    make_page(["--profiles", str(file), "--out", str(page)])

    found = json.loads(file.read_text(encoding="utf-8"))
    assert [each["inputs"] for each in found["profiles"]] == [1, 2]
    for each in found["profiles"]:
        assert 0 < each["decoder_us"] < each["step_us"]
        assert sum(each["operators_us"].values()) > 0
        assert each["nodes"] > 100
        assert "MatMulIntegerToFloat" in each["operators_us"]
    assert "2 x 2" in capsys.readouterr().out
    written = page.read_text(encoding="utf-8")
    assert "| its search and caches | " in written and "| MatMulIntegerToFloat | " in written
    assert "2 beams, 3 tokens out" in written


def test_a_variant_without_graphs_ends_in_one_line(
    embedded: Store, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        main(["translation", "compact", "--store", str(embedded.root)])

    assert "has no ONNX graphs; `slimseq prepare` makes them" in capsys.readouterr().err
