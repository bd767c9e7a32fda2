"""The benchmark of faithful translations: when a span counts as right, and what the table compares."""

import json
from pathlib import Path

import pytest

from benchmarks.faithful import main
from benchmarks.texts.faithful_sentences import Wanted
from slimseq.models_store.store import Store


@pytest.mark.parametrize(
    ("wanted", "output", "is_right"),
    [
        (Wanted("7", ("7",)), "Es sind 7.", True),
        (Wanted("7", ("7",)), "Es sind 17.", False),
        (Wanted("7", ("7",)), "Es sind 7,5.", False),
        (Wanted("7", ("7",)), "7 von 7", False),
        (Wanted("$3", ("3",), (("$", "Dollar"),)), "3 Dollar", True),
        (Wanted("$3", ("3",), (("$", "Dollar"),)), "3 Euro", False),
    ],
    ids=["there", "in a longer number", "in a decimal", "twice", "with its currency", "with another currency"],
)
def test_a_span_is_right_if_the_translation_has_it_once_and_whole(wanted: Wanted, output: str, is_right: bool) -> None:
    assert wanted.is_in(output) is is_right


def test_a_table_compares_with_and_without_protection(
    embedded: Store, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "found.json"

    main(["--variant", "compact", "--sentences", "18", "--store", str(embedded.root), "--json", str(out)])

    found = json.loads(out.read_text(encoding="utf-8"))["found"]
    protected, plain = found["with"]["kinds"]["all"], found["without"]["kinds"]["all"]
    assert protected["right"] > plain["right"]
    assert protected["silent"] == 0
    assert "| all | 18 |" in capsys.readouterr().out
