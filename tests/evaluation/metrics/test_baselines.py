from slimseq.evaluation.metrics.baselines import BASELINE_NAME, baseline
from slimseq.models_store.manifest import Task


def test_the_baseline_of_summarization_is_the_first_three_sentences() -> None:
    document = "The bridge opened\non Monday. It took four years. The mayor cut a ribbon. Ducks watched."

    assert baseline(Task.SUMMARIZATION, document) == (
        "The bridge opened on Monday. It took four years. The mayor cut a ribbon."
    )
    assert BASELINE_NAME[Task.SUMMARIZATION] == "lead-3"


def test_a_document_of_one_sentence_is_its_own_summary() -> None:
    assert baseline(Task.SUMMARIZATION, "Ducks watched.") == "Ducks watched."


def test_the_baseline_of_translation_is_the_source() -> None:
    assert baseline(Task.TRANSLATION, "Good morning. How are you?") == "Good morning. How are you?"
    assert BASELINE_NAME[Task.TRANSLATION] == "source-copy"
