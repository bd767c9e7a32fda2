import pytest

from slimseq.evaluation.warnings.length import length_fault
from slimseq.models_store.manifest import Task

SENTENCE = "The parliament will vote on the new law on Thursday, and the government listens to the critics."


@pytest.mark.parametrize(
    ("output", "fault"),
    [
        ("Das Parlament stimmt am Donnerstag über das neue Gesetz ab, und die Regierung hört den Kritikern zu.", None),
        ("Ja.", f"The output is much shorter than its source: 3 characters for {len(SENTENCE)}."),
        ("Nein! " * 40, f"The output is much longer than its source: 240 characters for {len(SENTENCE)}."),
        ("  ", "The output is empty."),
        ("议会将于周四就新法律进行投票。政府听取批评者的意见。", None),
    ],
)
def test_a_translation_is_about_as_long_as_its_source(output: str, fault: str | None) -> None:
    assert length_fault(Task.TRANSLATION, SENTENCE, output) == fault


@pytest.mark.parametrize(("source", "output"), [("OK", "Einverstanden"), ("Computer", "Rechner"), ("DVLA", "Amt")])
def test_short_texts_may_grow_and_shrink(source: str, output: str) -> None:
    assert length_fault(Task.TRANSLATION, source, output) is None


def test_what_has_neither_letters_nor_digits_may_vanish() -> None:
    assert length_fault(Task.TRANSLATION, "***", "") is None


def test_a_summary_may_be_short_but_neither_empty_nor_longer_than_its_source() -> None:
    assert length_fault(Task.SUMMARIZATION, SENTENCE * 9, "A vote.") is None
    assert length_fault(Task.SUMMARIZATION, SENTENCE, "") == "The output is empty."
    assert "longer than its source" in str(length_fault(Task.SUMMARIZATION, "A vote.", SENTENCE))
