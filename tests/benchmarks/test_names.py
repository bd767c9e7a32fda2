"""The benchmark of names: when a name counts as right, how sentences are made, and what the table compares."""

import json
from pathlib import Path

import pytest

from benchmarks.names import main
from benchmarks.texts.name_sentences import NameSentence, name_sentences
from slimseq.models_store.store import Store


@pytest.mark.parametrize(
    ("output", "lost"),
    [
        ("Łukasz Nowak e Żak", []),
        ("Łukaszs Nowak e Żak", ["Łukasz"]),
        ("Łukasz Novak e Żaks Auto", []),
        ("Lukasz e Żak", ["Łukasz"]),
        ("Łukasz-Żak", []),
    ],
    ids=["there", "in a longer word", "genitive of a possessive", "without its mark", "with a hyphen"],
)
def test_a_name_is_right_if_the_translation_has_its_words_beyond_ascii_as_whole_words(
    output: str, lost: list[str]
) -> None:
    sentence = NameSentence("Łukasz Nowak and Żak's car", "Polish", ("Łukasz Nowak", "Żak"))

    assert sentence.lost(output) == lost


def test_dev_and_test_share_no_name_and_have_thirty_languages_at_least() -> None:
    dev, test = (name_sentences(split, 500, 1) for split in ("dev", "test"))

    assert not {name for each in dev for name in each.names} & {name for each in test for name in each.names}
    assert len({each.language for each in test}) >= 30
    assert len({each.text for each in test}) == 500
    assert all(not name.isascii() and name in each.text for each in test for name in each.names)
    assert name_sentences("test", 500, 1) == test != name_sentences("test", 500, 2)


def test_a_table_compares_with_and_without_protection(
    embedded: Store, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "found.json"
    given = ["--variant", "compact", "--split", "dev", "--sentences", "20"]

    main([*given, "--store", str(embedded.root), "--json", str(out)])

    found = json.loads(out.read_text(encoding="utf-8"))["found"]["compact"]
    assert found["with"]["right"] == 20 > found["without"]["right"]
    assert "| compact, en to de |" in capsys.readouterr().out
