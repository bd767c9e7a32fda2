import json
from pathlib import Path

import pytest

from benchmarks.summary_rules import LEAD_3, main, rules
from slimseq.models_store.store import Store

DOCUMENTS = [
    ("The bridge over the river was closed on Monday. It will open again in spring. Cars take the old road.", "cnndm"),
    ("Rain fell for a week, officials said. The cellars are full of water. Pumps run day and night.", "cnndm"),
    ("Coffee prices rose. In this paper, we study why.", "scitldr"),
]


def test_every_rule_is_scored_on_the_documents_of_the_origins_that_are_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = [{"source": source, "target": source.split(".")[0], "origin": origin} for source, origin in DOCUMENTS]
    file = tmp_path / "documents.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")

    main([str(file), "--origin", "cnndm"])

    printed = capsys.readouterr().out
    assert "2 documents" in printed
    assert printed.count("+0.00 [+0.00,") >= 2, "lead-3 is not above itself"
    assert next(iter(rules())) == LEAD_3


def test_a_variant_stands_beside_the_rules(embedded: Store, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "documents.jsonl"
    rows = [{"source": source, "target": source.split(".")[0]} for source, _ in DOCUMENTS]
    file.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")

    main([str(file), "--variant", "distilled", "--store", str(embedded.root)])

    row = next(line for line in capsys.readouterr().out.splitlines() if "distilled" in line)
    assert float(row.split("|")[2]) > 0


def test_a_claim_is_what_authors_say_they_do() -> None:
    assert rules()["claim, else lead-3"](DOCUMENTS[2][0]) == "In this paper, we study why."
