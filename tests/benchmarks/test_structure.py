import json
from pathlib import Path

import pytest

from benchmarks.structure import main
from slimseq.models_store.store import Store


def test_a_real_translator_keeps_the_structure_of_50_documents_of_each_format(
    embedded: Store, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "found.json"

    main(["--documents", "50", "--store", str(embedded.root), "--json", str(out)])

    formats = json.loads(out.read_text(encoding="utf-8"))["formats"]
    assert {form: (each["documents"], each["different"]) for form, each in formats.items()} == {
        "html": (50, []),
        "markdown": (50, []),
    }
    assert "| markdown | 50 | 50 |" in capsys.readouterr().out
